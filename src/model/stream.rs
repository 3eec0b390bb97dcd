//! Prediction of a sequence time step by time step.

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

/// Returns [`LayerRule::NotStreamable`]: the layer at `path` cannot run time step by time step, for `reason`. `kind`
/// is the kind of the layer; an empty path stands for the whole network.
fn refused(path: &str, kind: String, reason: &'static str) -> Error {
    let layer = if path.is_empty() { "network" } else { path };
    Error::InvalidLayer { layer: layer.into(), rule: LayerRule::NotStreamable { kind, reason } }
}

/// Runs a network on a sequence, time step by time step. Each step returns the output for the sequence up to that
/// step, and the recurrent state is kept for the next step.
///
/// The outputs have the same bits as those of one pass over the whole sequence. If the network has one output for a
/// whole sequence, for example through [`LastStep`](crate::layer::LastStep), a step returns the output for the
/// sequence so far. A [`MeanOverSteps`](crate::layer::MeanOverSteps) computes the mean over the time steps so far; it
/// must be the network itself, or a layer of a [`Sequential`](crate::layer::Sequential) that is inside no other kind
/// of layer.
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
    /// The parts of the network that run one after the other: one stage for the whole network. If it contains a mean
    /// over time steps, each layer of its chains (`Sequential`) is a stage.
    stages: Vec<Stage<'m, T>>,
    x: Vec<T>,
    y: Vec<T>,
}

/// Writes the model, which shows its network, and the number of stages that run one after the other.
impl<T: Scalar> fmt::Debug for Stream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stream = f.debug_struct("Stream");
        stream.field("model", self.model).field("stages", &self.stages.len()).finish_non_exhaustive()
    }
}

/// A part of the network that a stream runs time step by time step: the whole network, or one of its layers.
struct Stage<'m, T: Scalar> {
    workspace: Workspace<T, &'m dyn Layer<T>>,
    /// The range of the stage's parameters among the parameters of the network.
    parameters: Range<usize>,
    /// The sums of the layer's outputs over all time steps so far, one for each column; `None` unless the layer is a
    /// mean over time steps.
    means: Option<RunningMeans<T>>,
}

/// Whether the layers at the paths `a` and `b` are in different branches of the layer at the path `parallel`, which
/// has parallel branches.
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
        // The paths of the chains (`Sequential`) that lie inside no layers but other chains.
        let mut chains = Vec::<String>::new();
        // The paths of the layers with parallel branches, and of the layers whose output is one row for all time
        // steps.
        let (mut parallels, mut ends) = (Vec::<String>::new(), Vec::<String>::new());
        for (path, part) in spec.parts() {
            let inside = path.rsplit_once('.').map_or("", |(outer, _)| outer);
            let in_chains = path.is_empty() || chains.iter().any(|chain| chain == inside);
            let ended = ends.iter().any(|end| !parallels.iter().any(|at| in_other_branches(at, end, &path)));
            let reason = match part {
                LayerSpec::Reversed(_) | LayerSpec::Bidirectional { .. } => "reads later steps",
                // Below a layer that outputs one row for the whole sequence, it is a mean over one time step, which
                // needs no sums.
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
        // Which time steps a custom layer reads is not known, so the network runs a trial.
        if custom && !stream.agrees()? {
            let (path, kind) = match find(&*model.network, "", &model.parameters, &disagrees)? {
                Some((path, part)) => (path, part.spec().title()),
                None => (String::new(), "the network".into()),
            };
            return Err(refused(&path, kind, "gives other outputs for a whole sequence"));
        }
        Ok(stream)
    }

    /// Tests the stream: runs the network on 4 random time steps, one by one. Returns whether the output at each step
    /// equals the last output of one pass over all steps so far; NaN equals NaN. If so, the state is set to zero.
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

    /// Runs the network on `self.x`, the input of one time step, and writes its output for the sequence so far to
    /// `self.y`. The state is kept for the next step. If a layer returns an error, the state remains that before this
    /// step.
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

    /// Runs the next time step with the input `x`, and returns the output for the sequence so far. Input and output
    /// are unscaled, as for [`Model::predict`]. The call does not allocate.
    ///
    /// # Errors
    /// [`Error::Length`] unless `x` has one value for each input of the network; [`Error::NonFinite`] for a value
    /// that is NaN or infinite; [`DataRule::ScaledValue`] for a value that overflows the number format when it is
    /// scaled. These errors leave the state unchanged, unless an output overflows: then the step has already been
    /// made. The errors of [`Workspace::infer`](crate::workspace::Workspace::infer).
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

    /// Starts a new sequence: sets the recurrent state to zero.
    pub fn reset(&mut self) {
        for stage in &mut self.stages {
            stage.workspace.clear_state();
            stage.means.iter_mut().for_each(RunningMeans::clear);
        }
    }
}

/// Adds `layer`, at `path`, to `stages`, the parts of a stream: as one stage, or layer by layer if it contains a mean
/// over time steps. `means` has the paths of all such means. `parameters` is the range of the layer's parameters
/// among those of the network. The values of its buffers, such as running statistics, are taken from the front of
/// `buffers`.
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

/// Whether the layer at `path` is the layer at the path `outer`, or lies inside it.
fn is_below(path: &str, outer: &str) -> bool {
    let below = path.strip_prefix(outer);
    below.is_some_and(|below| outer.is_empty() || below.is_empty() || below.starts_with('.'))
}

/// The number of random time steps for which step-by-step outputs are compared with those of one pass.
const TRIAL_STEPS: usize = 4;

/// Returns random inputs for [`TRIAL_STEPS`] time steps of the network of `workspace`: values between −1 and 1, or
/// valid indices if the network reads indices.
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

/// Whether the values in `a` and `b` are equal; NaN equals NaN.
fn equal<T: Scalar>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan())
}

/// Whether `layer`, with the parameters `w`, gives other outputs step by step than in one pass. It runs the layer on
/// random time steps one by one, with its state carried, and compares each output with the last row of one pass over
/// the steps so far.
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

/// A function that tests whether a layer, given with its parameters, has some property.
type Test<'t, T> = dyn Fn(&dyn Layer<T>, &[T]) -> Result<bool, Error> + 't;

/// The result of a search for a layer: (path, layer), or `None` if none was found.
type Found<'a, T> = Option<(String, &'a dyn Layer<T>)>;

/// Returns the innermost layer for which `test` is true, with its path: the first such layer inside `layer`, or
/// `layer` itself, which is at `path` and has the parameters `w`. If `test` is false for a layer, the layers inside
/// it are not tested; `None` if it is false for `layer`.
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
