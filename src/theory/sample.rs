//! Monitored passes of random networks on normal inputs: statistics of layers without a formula.

use crate::{
    batch_shape::BatchShape,
    error::Error,
    kernel::reduce::norm,
    layer::{Layer, Mode, initialize},
    monitor::{Factor, GradientMonitor, Link},
    random::{Normals, below, generator},
    scalar::{Scalar, scalar, to_f64},
    size::{at_most, reserve, room, saturating_product, saturating_sum},
    workspace::Workspace,
};
use alloc::{string::String, vec::Vec};

/// The number of random networks that are sampled.
const NETS: u64 = 8;
/// The largest number of samples in a batch of random inputs. A batch has fewer samples if it would otherwise have
/// more than [`ROWS`] rows.
const SAMPLES: usize = 32;
/// The largest number of rows (time steps of all samples) of a batch with several samples. For longer sequences the
/// batch is one sample.
const ROWS: usize = 1 << 16;
/// The largest number of time steps of the random input sequences; longer ones are an error. With sequences of this
/// length, 8 networks of one small layer take seconds.
const STEPS: usize = 1 << 18;
/// The largest number of values in the memory of one pass (saved, scratch, inputs and outputs): 1 GiB of `f32`. More
/// are an error.
const VALUES: usize = 1 << 28;

/// Mean and mean square of values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    pub mean: f64,
    pub square: f64,
}

impl Spread {
    pub fn of<T: Scalar>(values: &[T]) -> Self {
        let n = values.len().max(1) as f64;
        let (sum, square) = values.iter().fold((0.0, 0.0), |(sum, square), &value| {
            let value = to_f64(value);
            (sum + value, square + value * value)
        });
        Spread { mean: sum / n, square: square / n }
    }

    fn times(self, share: f64) -> Self {
        Spread { mean: self.mean * share, square: self.square * share }
    }

    fn add(&mut self, other: Self, share: f64) {
        self.mean += other.mean * share;
        self.square += other.square * share;
    }
}

/// The change of the gradient's norm in one link (a factor of the chain rule), averaged over the random networks.
#[derive(Clone, Debug)]
pub(super) struct SampledLink {
    /// The name and the index of the link in the table of link names; `None` for the change of the gradient across a
    /// layer that reports no link.
    pub told: Option<(String, usize)>,
    pub factor: Factor,
    pub on_main_path: bool,
    /// The mean over the random networks of log10 of the norm of the gradient after the link over its norm before.
    pub decades: f64,
}

impl SampledLink {
    fn name(&self) -> &str {
        self.told.as_ref().map_or("", |(name, _)| name)
    }
}

/// The means and mean squares of the input x and the output y of one link (factor of the chain rule, such as a
/// layer).
#[derive(Clone, Debug)]
struct Values {
    name: String,
    index: usize,
    /// The number of rows over which `x` and `y` are means. A checkpointed layer reports the rows of a pass in
    /// several calls.
    rows: usize,
    x: Spread,
    y: Spread,
}

/// Statistics of each link (factor of the chain rule, such as a layer) of a network. They are means over one forward
/// and backward pass in each of several copies of the network, with random parameters and inputs.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// The names of the network's links (factors of the chain rule), at their indices.
    names: Vec<String>,
    /// The change of the gradient's norm in each link (factor of the chain rule), in the order of the backward pass.
    links: Vec<SampledLink>,
    /// Statistics of the inputs and outputs of the links (factors of the chain rule), in the order of the forward
    /// pass.
    values: Vec<Values>,
    /// Mean and mean square of the network's output.
    output: Spread,
}

/// A monitor that records each link (factor of the chain rule) of one pass: the norms of the gradient before and after
/// it, and the statistics of its input and output.
#[derive(Default)]
struct Watch {
    links: Vec<(SampledLink, [f64; 2])>,
    values: Vec<Values>,
}

impl<T: Scalar> GradientMonitor<T> for Watch {
    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        if at.step.is_some() {
            return;
        }
        let (x, y, rows) = (Spread::of(x), Spread::of(y), at.shape.rows());
        match self.values.iter_mut().find(|values| at.parts_before > 0 && values.index == at.index) {
            Some(values) => {
                values.rows += rows;
                let share = rows as f64 / values.rows as f64;
                for (mean, part) in [(&mut values.x, x), (&mut values.y, y)] {
                    *mean = mean.times(1.0 - share);
                    mean.add(part, share);
                }
            }
            None => self.values.push(Values { name: at.name.into(), index: at.index, rows, x, y }),
        }
    }
    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        if at.step.is_some() {
            return;
        }
        let norms = [norm(dy), norm(dx)];
        let same = |link: &SampledLink| link.told.as_ref().is_some_and(|(_, index)| *index == at.index);
        match self.links.iter_mut().find(|(link, _)| at.parts_before > 0 && same(link)) {
            Some((_, all)) => (0..2).for_each(|i| all[i] = libm::hypot(all[i], norms[i])),
            None => {
                let told = Some((at.name.into(), at.index));
                let link = SampledLink { told, factor: at.factor, on_main_path: at.on_main_path, decades: 0.0 };
                self.links.push((link, norms));
            }
        }
    }
}

impl Sample {
    /// Runs [`NETS`] passes of `network`, each with new initial weights, on normal inputs with the statistics
    /// `inputs`, or on random indices for an embedding. The inputs are sequences of `steps` time steps; the gradients
    /// at the output are normal, of mean 0 and variance 1.
    ///
    /// # Errors
    /// The errors of [`Workspace::new`] and of the initializers. [`Error::TooLarge`] for more than [`STEPS`] time
    /// steps, or if a pass has more than [`VALUES`] values.
    pub fn new<T: Scalar>(network: &(impl Layer<T> + ?Sized), inputs: Spread, steps: usize) -> Result<Self, Error> {
        let dims = network.dims();
        room::<T>("the parameters of the network", &[dims.parameters])?;
        let values = |samples: usize| {
            let shape = BatchShape::sequences(samples, steps);
            let memory = network.memory(shape, Mode::Train);
            let rows = saturating_product(&[shape.rows(), dims.input.saturating_add(dims.output)]);
            saturating_sum([memory.saved, memory.scratch, rows])
        };
        at_most("the steps of a sampled pass", steps, STEPS)?;
        let samples = (ROWS / steps.max(1)).clamp(1, SAMPLES);
        at_most(format_args!("the values of a sampled pass of {steps} steps"), values(samples), VALUES)?;
        let shape = BatchShape::sequences(samples, steps);
        let mut workspace = Workspace::new(network, shape)?;
        workspace.compute_input_gradient(true);
        let std = libm::sqrt((inputs.square - inputs.mean * inputs.mean).max(0.0));
        let mut sample = Sample { names: network.structure().link_names(""), ..Sample::default() };
        for net in 0..NETS {
            let w: Vec<T> = initialize(network, net)?;
            let (mut rng, mut normals) = (generator(!net), Normals::new());
            let count = shape.rows() * dims.input;
            let mut x: Vec<T> = reserve("the inputs of a sampled pass", count)?;
            x.extend((0..count).map(|_| match workspace.rules().vocabulary() {
                Some(vocabulary) => scalar::<T>(below(&mut rng, vocabulary) as f64),
                None => scalar(inputs.mean + std * normals.next(&mut rng)),
            }));
            let mut watch = Watch::default();
            let output = workspace.forward_with(&w, &x, shape, Mode::Train, &mut watch)?;
            output.dy.iter_mut().for_each(|dy| *dy = scalar(normals.next(&mut rng)));
            let (start, y) = (norm(output.dy), Spread::of(output.y));
            workspace.backward_with(&w, &mut watch)?;
            sample.add(watch, y, [start, norm(workspace.input_gradient())]);
        }
        Ok(sample)
    }

    /// Adds the records of one network, `watch`, and the statistics of its output to the means over networks. `start`
    /// and `end` are the norms of the gradient at the network's output and input.
    fn add(&mut self, watch: Watch, output: Spread, [start, end]: [f64; 2]) {
        let share = 1.0 / NETS as f64;
        let decades = |before: f64, after: f64| if before == after { 0.0 } else { libm::log10(after / before) * share };
        // A layer that reports nothing to monitors changes the gradient between the reports of its neighbours.
        let (mut last, mut links) = (start, Vec::new());
        let silent = |decades| SampledLink { told: None, factor: Factor::Other, on_main_path: true, decades };
        for (link, [before, after]) in watch.links {
            if link.on_main_path && before != last {
                links.push(silent(decades(last, before)));
            }
            last = if link.on_main_path { after } else { last };
            links.push(SampledLink { decades: decades(before, after), ..link });
        }
        if last != end {
            links.push(silent(decades(last, end)));
        }
        self.output.add(output, share);
        if self.links.is_empty() {
            self.links = links;
            self.values = watch.values;
            for values in &mut self.values {
                (values.x, values.y) = (values.x.times(share), values.y.times(share));
            }
            return;
        }
        for (mean, link) in self.links.iter_mut().zip(links) {
            mean.decades += link.decades;
        }
        for (mean, values) in self.values.iter_mut().zip(watch.values) {
            mean.x.add(values.x, share);
            mean.y.add(values.y, share);
        }
    }

    /// Returns the links (factors of the chain rule) of the layer at `path`, in the order of the backward pass. Empty
    /// if the network has no link of this name.
    ///
    /// For a layer that reports no link, the result is one link with the change of the gradient across the layer.
    /// Adjacent layers of this kind share one change: the first call returns it, and later calls return 0.
    pub fn links(&mut self, path: &str) -> Vec<SampledLink> {
        let told: Vec<_> = self.links.iter().filter(|link| is_within(link.name(), path)).cloned().collect();
        if !told.is_empty() {
            return told;
        }
        let Some(place) = self.names.iter().position(|name| name == path) else { return Vec::new() };
        // Selects the reports of layers nearer to the input. The scale of a residual precedes its branch in `names`,
        // but is nearer to the output.
        let nearer = |link: &SampledLink| {
            let around = link.name().strip_suffix("scale").is_some_and(|around| path.starts_with(around));
            link.told.as_ref().is_some_and(|(_, index)| *index < place) && !around
        };
        let end = self.links.iter().position(nearer).unwrap_or(self.links.len());
        match self.links.get_mut(end.wrapping_sub(1)) {
            Some(link) if link.told.is_none() => {
                let found = SampledLink { told: Some((path.into(), place)), ..link.clone() };
                link.decades = 0.0;
                Vec::from([found])
            }
            // The layer does not change the norm of the gradient.
            _ => {
                let told = Some((path.into(), place));
                Vec::from([SampledLink { told, factor: Factor::Other, on_main_path: true, decades: 0.0 }])
            }
        }
    }

    /// Returns the mean change of the gradient's norm in the link (factor of the chain rule) `name`, in decades. `None`
    /// if no such link was reported.
    pub fn link(&self, name: &str) -> Option<f64> {
        self.links.iter().find(|link| link.name() == name).map(|link| link.decades)
    }

    /// Returns the mean and the mean square of the output of the layer at `path`. `None` if the network has no such
    /// layer, or no link in its container reports these values.
    pub fn output(&self, path: &str) -> Option<Spread> {
        if let Some(values) = self.values.iter().rfind(|values| values.name == path) {
            return Some(values.y);
        }
        if let Some(values) = self.values.iter().rfind(|values| is_within(&values.name, path)) {
            return Some(values.y);
        }
        // The layer reports no link. Its output is the input of the next link in the same container, or the network's
        // output.
        let place = self.names.iter().position(|name| name == path)?;
        let around = path.rfind('.').map_or("", |dot| &path[..=dot]);
        match self.values.iter().find(|values| values.index > place) {
            Some(values) => values.name.starts_with(around).then_some(values.x),
            None => around.is_empty().then_some(self.output),
        }
    }
}

/// Whether the link (factor of the chain rule) `name` belongs to the layer at `path` or to a layer inside it. An empty
/// `path` is the whole network.
fn is_within(name: &str, path: &str) -> bool {
    let rest = name.strip_prefix(path);
    path.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
