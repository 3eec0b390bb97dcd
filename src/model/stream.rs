//! Prediction of a sequence step by step.

use super::Model;
#[cfg(doc)]
use crate::error::DataRule;
use crate::{
    batch_shape::BatchShape,
    error::{Error, LayerRule, require_length},
    kernel::sums::RunningMeans,
    layer::{Layer, LayerSpec},
    random::{below, generator, uniform},
    scalar::{Scalar, scalar, to_f64},
    size::filled,
    workspace::Workspace,
};
use alloc::{string::String, vec::Vec};
use core::{fmt, ops::Range};

/// Returns the error about a layer that cannot run step by step, for `reason`. `path` and `kind` name the layer; an
/// empty path is the network.
fn refused(path: &str, kind: String, reason: &'static str) -> Error {
    let layer = if path.is_empty() { "network" } else { path };
    Error::InvalidLayer { layer: layer.into(), rule: LayerRule::NotStreamable { kind, reason } }
}

/// Runs a network on a sequence step by step. Each step returns the output for the sequence up to that step, and the
/// state is kept for the next.
///
/// The outputs have the same bits as one pass over the whole sequence. A network with one output a sequence, such as
/// one with [`LastStep`](crate::layer::LastStep), returns that of the sequence up to the current step. A
/// [`MeanOverSteps`](crate::layer::MeanOverSteps) gives the mean over the steps so far to the layers after it. It must
/// be the network or one of its layers; the layers of a chain inside a chain count as such.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::{Sequential, initialize}, model::Model};
/// let network = Sequential::<f64>::input(1).lstm(4).linear(1).build()?;
/// let parameters = initialize(&network, 1)?;
/// let model = Model::new(network, parameters)?;
/// let series = [0.5, -1.0, 2.0];
/// let whole = model.predict(&Dataset::sequences(1, 3, &series, None)?)?;
/// let mut stream = model.stream()?;
/// for (x, y) in series.iter().zip(&whole) {
///     assert_eq!(stream.step(&[*x])?, [*y]);
/// }
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Stream<'m, T: Scalar> {
    model: &'m Model<T>,
    /// The network as one stage. If one of its layers is a mean over steps, each layer is a stage, those of inner
    /// chains too.
    stages: Vec<Stage<'m, T>>,
    x: Vec<T>,
    y: Vec<T>,
}

/// Writes the model, which is its network, and the number of parts that run one after the other.
impl<T: Scalar> fmt::Debug for Stream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stream = f.debug_struct("Stream");
        stream.field("model", self.model).field("stages", &self.stages.len()).finish_non_exhaustive()
    }
}

/// A part of a stream that runs step by step: the whole network, or one of its layers.
struct Stage<'m, T: Scalar> {
    workspace: Workspace<T, &'m dyn Layer<T>>,
    /// The range of the part's parameters among those of the network.
    parameters: Range<usize>,
    /// The sums of the layer's outputs over all steps so far, one for each column; `None` unless it is a mean over
    /// steps.
    means: Option<RunningMeans<T>>,
}

/// Whether the layers at the paths `a` and `b` are in different branches of the layer with parallel branches at the
/// path `parallel`.
fn in_other_branches(parallel: &str, a: &str, b: &str) -> bool {
    let branch = |path: &str| {
        let below = path.strip_prefix(parallel)?;
        let below = if parallel.is_empty() { below } else { below.strip_prefix('.')? };
        below.split('.').next().map(String::from)
    };
    matches!((branch(a), branch(b)), (Some(a), Some(b)) if a != b)
}

impl<'m, T: Scalar> Stream<'m, T> {
    pub(super) fn new(model: &'m Model<T>) -> Result<Self, Error> {
        let spec = model.network.spec();
        let (mut means, mut custom) = (Vec::new(), false);
        // The paths of the chains that no layer contains but other chains.
        let mut chains = Vec::<String>::new();
        // The paths of the layers with parallel branches, and of the layers that take the last step.
        let (mut parallels, mut ends) = (Vec::<String>::new(), Vec::<String>::new());
        for (path, part) in spec.parts() {
            let inside = path.rsplit_once('.').map_or("", |(outer, _)| outer);
            let in_chains = path.is_empty() || chains.iter().any(|chain| chain == inside);
            let ended = ends.iter().any(|end| !parallels.iter().any(|at| in_other_branches(at, end, &path)));
            let reason = match part {
                LayerSpec::Reversed(_) | LayerSpec::Bidirectional { .. } => "reads later steps",
                // After a layer that takes the last step it is the mean of one step.
                LayerSpec::MeanOverSteps(_) if ended => continue,
                LayerSpec::MeanOverSteps(_) if in_chains => {
                    means.push(path.clone());
                    ends.push(path);
                    continue;
                }
                LayerSpec::MeanOverSteps(_) => "reads all steps at once inside a layer other than a chain",
                LayerSpec::Recurrent { .. } if ended => "keeps a state after the last step",
                other => {
                    custom |= matches!(other, LayerSpec::Custom { .. });
                    match other {
                        LayerSpec::LastStep(_) => ends.push(path),
                        LayerSpec::Parallel { .. } => parallels.push(path),
                        LayerSpec::Sequential { .. } if in_chains => chains.push(path),
                        _ => {}
                    }
                    continue;
                }
            };
            return Err(refused(&path, part.title(), reason));
        }
        let reads_later = |part: &dyn Layer<T>, _: &[T]| Ok(part.reads_later_steps());
        if let Some((path, part)) = find(&*model.network, "", &model.parameters, &reads_later)? {
            return Err(refused(&path, part.spec().title(), "reads later steps"));
        }
        let dims = model.network.dims();
        let mut stream = Stream {
            model,
            stages: Vec::new(),
            x: filled("the input of a step", dims.input, T::zero())?,
            y: Vec::new(),
        };
        let whole = 0..model.parameters.len();
        push_stages(&*model.network, "", whole, &mut &model.buffers[..], &means, &mut stream.stages)?;
        let widest = stream.stages.iter().map(|stage| stage.workspace.dims().output);
        let widest = widest.chain([dims.input]).max().unwrap_or(0);
        stream.y = filled("the output of a step", widest, T::zero())?;
        // It is not known which steps a custom layer reads, so a trial decides.
        if custom && !stream.agrees()? {
            let (path, kind) = match find(&*model.network, "", &model.parameters, &disagrees)? {
                Some((path, part)) => (path, part.spec().title()),
                None => (String::new(), "the network".into()),
            };
            return Err(refused(&path, kind, "gives other outputs for a whole sequence"));
        }
        Ok(stream)
    }

    /// Whether 4 random steps, run one by one, give at each step the last output of one pass over all steps up to it.
    /// NaN equals NaN. If they do, the state is zero afterwards.
    fn agrees(&mut self) -> Result<bool, Error> {
        let mut whole = self.model.workspace(BatchShape::sequences(1, TRIAL_STEPS))?;
        let x = trial_input(&whole)?;
        for steps in 1..=TRIAL_STEPS {
            let width = self.x.len();
            let so_far = whole.infer(&self.model.parameters, &x[..steps * width], BatchShape::sequences(1, steps))?;
            self.x.copy_from_slice(&x[(steps - 1) * width..steps * width]);
            self.advance()?;
            if !equal(&self.y, &so_far[so_far.len() - self.y.len()..]) {
                return Ok(false);
            }
        }
        self.reset();
        Ok(true)
    }

    /// Runs the network on the step `self.x`, writes its output for the sequence up to this step to `self.y`, and
    /// carries the state to the next step. If a stage fails, no state is carried.
    fn advance(&mut self) -> Result<(), Error> {
        let (x, y) = (&self.x, &mut self.y);
        y.clear();
        y.extend_from_slice(x);
        for Stage { workspace, parameters, means } in &mut self.stages {
            let w = &self.model.parameters[parameters.clone()];
            let output = workspace.infer(w, y, BatchShape::batch(1))?;
            y.resize(output.len(), T::zero());
            match means {
                Some(means) => means.means_with(output, y),
                None => y.copy_from_slice(output),
            }
        }
        for Stage { workspace, means, .. } in &mut self.stages {
            if let Some(means) = means {
                means.add(workspace.output());
            }
            workspace.carry_state();
        }
        Ok(())
    }

    /// Runs the next step with the input `x`, and returns its output, both unscaled as for [`Model::predict`]. It does
    /// not allocate.
    ///
    /// # Errors
    /// [`Error::Length`] unless `x` has one value for each input of the network; [`Error::NonFinite`] for a value that
    /// is NaN or infinite; [`DataRule::ScaledValue`] for one that overflows the number format after scaling. None of
    /// them changes the state, except for an output that overflows when it is scaled back: its step is done. The errors
    /// of [`Workspace::infer`](crate::workspace::Workspace::infer).
    ///
    /// # Panics
    /// As [`Model::predict`]. The state is then that before the step.
    pub fn step(&mut self, x: &[T]) -> Result<&[T], Error> {
        require_length("the input of a step", self.x.len(), x.len())?;
        if let Some(index) = x.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { what: "the input of a step", index, found: to_f64(x[index]) });
        }
        self.x.copy_from_slice(x);
        if let Some(scale) = &self.model.interface.inputs {
            scale.apply(&mut self.x)?;
        }
        self.advance()?;
        if let Some(scale) = &self.model.interface.outputs {
            scale.invert(&mut self.y)?;
        }
        Ok(&self.y)
    }

    /// Starts a new sequence: sets the state to zero.
    pub fn reset(&mut self) {
        for stage in &mut self.stages {
            stage.workspace.clear_state();
            stage.means.iter_mut().for_each(RunningMeans::clear);
        }
    }
}

/// Adds `layer`, at `path`, to `stages` as one stage. If it is a chain with a mean over steps, in it or in a chain
/// inside, its layers are added one by one. `parameters` is its range among those of the network, and `means` are the
/// paths of the means. The values of the layer's buffers, such as running statistics, are the first of `buffers`, and
/// are removed.
fn push_stages<'m, T: Scalar>(
    layer: &'m dyn Layer<T>,
    path: &str,
    parameters: Range<usize>,
    buffers: &mut &[T],
    means: &[String],
    stages: &mut Vec<Stage<'m, T>>,
) -> Result<(), Error> {
    let is_mean = means.iter().any(|mean| mean == path);
    let structure = layer.structure();
    if !is_mean && means.iter().any(|mean| is_below(mean, path)) {
        return structure.parts().try_for_each(|(name, part, range)| {
            let range = parameters.start + range.start..parameters.start + range.end;
            push_stages(part, &structure.below(path, name), range, buffers, means, stages)
        });
    }
    let mut workspace = Workspace::for_inference(layer, BatchShape::batch(1))?;
    let (own, rest) = buffers.split_at(workspace.buffers().len());
    workspace.set_buffers(own)?;
    *buffers = rest;
    let means = if is_mean { Some(RunningMeans::new(layer.dims().output)?) } else { None };
    stages.push(Stage { workspace, parameters, means });
    Ok(())
}

/// Whether the layer at `path` is inside the layer at the path `outer`, or is that layer.
fn is_below(path: &str, outer: &str) -> bool {
    let below = path.strip_prefix(outer);
    below.is_some_and(|below| outer.is_empty() || below.is_empty() || below.starts_with('.'))
}

/// The number of random steps for which outputs step by step are compared with those of one pass.
const TRIAL_STEPS: usize = 4;

/// Returns [`TRIAL_STEPS`] random input rows for the network of `workspace`: values between −1 and 1, or indices for
/// a network that reads indices.
fn trial_input<T: Scalar>(workspace: &Workspace<T, &dyn Layer<T>>) -> Result<Vec<T>, Error> {
    let mut rng = generator(0);
    let count = workspace.dims().input.saturating_mul(TRIAL_STEPS);
    let mut x = filled("the steps of a trial", count, T::zero())?;
    x.iter_mut().for_each(|x| {
        *x = match workspace.rules().vocabulary() {
            Some(vocabulary) => scalar(below(&mut rng, vocabulary) as f64),
            None => scalar(2.0 * uniform(&mut rng) - 1.0),
        }
    });
    Ok(x)
}

/// Whether the values are equal. NaN equals NaN.
fn equal<T: Scalar>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan())
}

/// Whether `layer` with the parameters `w`, run on random steps one by one with its state carried, gives at any step
/// another output than the last row of one pass over the steps so far.
fn disagrees<T: Scalar>(layer: &dyn Layer<T>, w: &[T]) -> Result<bool, Error> {
    let mut whole = Workspace::for_inference(layer, BatchShape::sequences(1, TRIAL_STEPS))?;
    let mut single = Workspace::for_inference(layer, BatchShape::batch(1))?;
    let x = trial_input(&whole)?;
    let width = single.dims().input;
    for steps in 1..=TRIAL_STEPS {
        let so_far = whole.infer(w, &x[..steps * width], BatchShape::sequences(1, steps))?;
        let y = single.infer(w, &x[(steps - 1) * width..steps * width], BatchShape::batch(1))?;
        if !equal(y, &so_far[so_far.len() - y.len()..]) {
            return Ok(true);
        }
        single.carry_state();
    }
    Ok(false)
}

/// A test of a property of a layer, given the layer and its parameters.
type Test<'t, T> = dyn Fn(&dyn Layer<T>, &[T]) -> Result<bool, Error> + 't;

/// The path of a layer, and the layer; `None` if there is none.
type Found<'a, T> = Option<(String, &'a dyn Layer<T>)>;

/// Returns the innermost layer for which `test` is true: `layer`, at `path` and with the parameters `w`, or the first
/// layer inside it that is. `None` if `test` is false for `layer`. Layers inside a layer for which it is false are not
/// tested.
fn find<'a, T: Scalar>(
    layer: &'a dyn Layer<T>,
    path: &str,
    w: &[T],
    test: &Test<'_, T>,
) -> Result<Found<'a, T>, Error> {
    if !test(layer, w)? {
        return Ok(None);
    }
    let structure = layer.structure();
    for (name, part, range) in structure.parts() {
        let Some(w) = w.get(range) else { continue };
        if let Some(found) = find(part, &structure.below(path, name), w, test)? {
            return Ok(Some(found));
        }
    }
    Ok(Some((path.into(), layer)))
}
