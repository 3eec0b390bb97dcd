//! The diagnosis: collects facts about a network and runs the rules on them.

use super::{
    Finding, Report, Thresholds,
    began::{self, Batch},
    curvature::Curvature,
    difference,
    health::time_major,
    intervention::Experiments,
    rules, setup,
    task::Task,
};
use crate::{
    batch_shape::BatchShape,
    block::{Blocks, Gate, Role},
    error::{Error, require_length},
    layer::{Layer, LayerSpec, Mode},
    linalg::{spectral_norm_bound, spectral_radius},
    monitor::{Factor, GradientMonitor, Link, Statistics},
    scalar::{Scalar, to_f64},
    theory::{Certificate, InputStatistics, Prediction, UnitSensitivity, lyapunov_spectrum, unit_sensitivities},
    transform::GradientTransform,
    workspace::Workspace,
};
use alloc::{format, string::String, vec::Vec};

/// Spectral radius of the recurrent matrix U of one layer, and an upper bound on its spectral norm ‖U‖₂.
#[derive(Clone, Debug)]
pub(super) struct RecurrentMatrix {
    pub(super) layer: String,
    pub(super) spectral_radius: f64,
    pub(super) spectral_norm: f64,
}

/// Measurements of one recurrent layer along a sequence: its Lyapunov exponents per time step, the largest first, and
/// the sensitivities of its units.
#[derive(Clone, Debug)]
pub(super) struct Trajectory {
    pub(super) layer: String,
    pub(super) steps: usize,
    pub(super) exponents: Vec<f64>,
    pub(super) units: Vec<UnitSensitivity>,
}

/// Returns the paths of the layers with a gate that multiplies the state of the previous time step.
fn carries_state<T: Scalar>(network: &(impl Layer<T> + ?Sized)) -> Vec<String> {
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    let gated = blocks.iter().filter(|block| block.gates.iter().any(|gate| gate.carries_state));
    gated.map(|block| block.name.rsplit_once('.').map_or("", |(layer, _)| layer).into()).collect()
}

/// The largest number of passes, forward and backward, that interventions (gradient measurements with one change)
/// take.
const PASSES: usize = 100;

/// A monitor that records, by the path of the layer, the whole input of each layer that reports itself as one factor of
/// the chain rule ([`Factor::Other`]), such as a recurrent layer.
struct Entering<T>(Vec<(String, Vec<T>)>);

impl<T: Scalar> GradientMonitor<T> for Entering<T> {
    fn forward(&mut self, at: &Link<'_>, x: &[T], _y: &[T]) {
        if at.factor != Factor::Other || at.step.is_some() {
            return;
        }
        match self.0.iter_mut().find(|(name, _)| at.parts_before > 0 && name == at.name) {
            Some((_, all)) => all.extend_from_slice(x),
            None => self.0.push((at.name.into(), x.into())),
        }
    }
}

/// A diagnosis of a network's gradients: from its layer specification and, after training with a monitor, from
/// measurements.
///
/// Without [`statistics`](Self::statistics) the report is a forecast by theory, made before the first update.
///
/// ```
/// use chainrule::{activation::Sigmoid, diagnosis::{Cause, Diagnosis}, layer::Sequential, theory::InputStatistics};
/// let mut builder = Sequential::<f32>::input(64);
/// for _ in 0..10 {
///     builder = builder.linear(64).activation(Sigmoid);
/// }
/// let network = builder.linear(10).build()?;
/// let report = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.report();
/// assert_eq!(report.root().unwrap().cause, Cause::SaturatingActivation);
/// println!("{report}");
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Diagnosis<'a> {
    pub(super) spec: LayerSpec,
    pub(super) inputs: InputStatistics,
    pub(super) prediction: Prediction,
    /// The paths of the layers with a gate that multiplies the state of the previous time step.
    pub(super) carries_state: Vec<String>,
    /// The parameter blocks of the network.
    pub(super) blocks: Blocks,
    pub(super) certificate: Option<Certificate>,
    pub(super) recurrent: Vec<RecurrentMatrix>,
    /// For each layer with gates, its path and its gates, each with the mean of its value σ(bias), from 0 (shut) to 1
    /// (open), for given parameters. Empty if none were given.
    pub(super) gates: Vec<(String, Vec<(Gate, f64)>)>,
    pub(super) trajectories: Vec<Trajectory>,
    pub(super) experiments: Option<Experiments>,
    /// The batch on which the interventions (gradient measurements with one change) were made.
    pub(super) batch: Option<Batch>,
    /// The name and the root mean square of each block of the given parameters; empty if none were given.
    pub(super) sizes: Vec<(String, f64)>,
    pub(super) task: Option<Task>,
    pub(super) curvature: Option<Curvature>,
    pub(super) statistics: Option<&'a Statistics>,
    /// Whether the given monitor statistics were ignored, since they are of another network.
    pub(super) has_foreign_statistics: bool,
    /// Whether `statistics` are those of the single pass in `f64` that interventions start from, not of a training
    /// run.
    pub(super) is_examined_alone: bool,
    pub(super) span: Option<usize>,
    /// The gradient transforms of the run (clipping, optimizer, schedule), as text.
    pub(super) transform: Option<String>,
    /// The groups of parameter blocks with a learning rate of their own. Empty if the gradient transforms of the run,
    /// such as its optimizer, are not known.
    pub(super) groups: Vec<setup::GroupRate>,
    /// The constant ε that the run's optimizer adds to the size of a gradient before it divides by this size. `None`
    /// if the optimizer has none, or is not known.
    pub(super) epsilon: Option<f64>,
    /// Whether the updates of the run are proportional to its gradients; `None` if that is not known.
    pub(super) is_proportional: Option<bool>,
    /// The update before which a schedule of the run may raise the rate again after it was low, as warm restarts do;
    /// 0 without such a schedule.
    pub(super) rate_returns_until: u64,
    pub(super) thresholds: Thresholds,
    /// The largest number of passes, forward and backward, that interventions (gradient measurements with one change)
    /// and measurements of the data may take together. `None` limits interventions alone, to [`PASSES`].
    pub(super) allowance: Option<usize>,
}

impl<'a> Diagnosis<'a> {
    /// Creates a diagnosis of `network` for inputs with the statistics `inputs`.
    ///
    /// # Errors
    /// Those of [`Prediction::of`].
    pub fn new<T: Scalar>(network: &(impl Layer<T> + ?Sized), inputs: InputStatistics) -> Result<Self, Error> {
        let prediction = Prediction::of(network, inputs)?;
        Ok(Diagnosis {
            spec: network.spec(),
            inputs,
            prediction,
            carries_state: carries_state(network),
            blocks: Blocks::collect(|visit| network.blocks(visit)),
            certificate: None,
            recurrent: Vec::new(),
            gates: Vec::new(),
            trajectories: Vec::new(),
            experiments: None,
            batch: None,
            sizes: Vec::new(),
            task: None,
            curvature: None,
            statistics: None,
            has_foreign_statistics: false,
            is_examined_alone: false,
            span: None,
            transform: None,
            groups: Vec::new(),
            epsilon: None,
            is_proportional: None,
            rate_returns_until: 0,
            thresholds: Thresholds::default(),
            allowance: None,
        })
    }

    /// Adds bounds from the current parameters: a [`Certificate`] for passes over `shape`, and the spectral radius and
    /// norm of each square recurrent matrix. A cell with several gates has no such matrix. Without statistics, gates
    /// are judged by the biases in `w`. The time grows with the cube of the matrix's width.
    ///
    /// # Errors
    /// Those of [`Certificate::new`]; [`Error::Length`] where a recurrent block does not have the values of its shape.
    ///
    /// # Panics
    /// If a block of the network lies outside its parameters, which no correct implementation of [`Layer`] does.
    pub fn parameters<T: Scalar>(
        self,
        network: &(impl Layer<T> + ?Sized),
        w: &[T],
        shape: BatchShape<'_>,
    ) -> Result<Self, Error> {
        let (certificate, mut recurrent) = (Certificate::new(network, w, shape)?, Vec::new());
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        for block in blocks.iter() {
            let [rows, columns] = block.shape;
            // A gated cell has a matrix for each gate, and no power of a single one describes several time steps.
            if block.role == Role::Recurrent && rows == columns {
                let matrix = &w[block.range.clone()];
                let layer = block.name.rsplit_once('.').map_or("", |(layer, _)| layer);
                recurrent.push(RecurrentMatrix {
                    layer: layer.into(),
                    spectral_radius: spectral_radius(matrix, rows)?,
                    spectral_norm: spectral_norm_bound(matrix, rows, rows),
                });
            }
        }
        let gates = rules::by_biases(&blocks, w);
        let sizes = difference::sizes(network, w);
        Ok(Diagnosis { certificate: Some(certificate), recurrent, gates, sizes, ..self })
    }

    /// Adds measurements of each recurrent layer along a sequence of the data. These are its Lyapunov exponents, by
    /// [`lyapunov_spectrum`] without the first quarter of the time steps, and its [`unit_sensitivities`]. A forecast
    /// before training then describes the state for these inputs. The bounds of [`parameters`](Self::parameters) hold
    /// for every input, and are less sharp. The time grows with the cube of the state's size. Custom cells are
    /// skipped.
    ///
    /// # Shapes
    /// x: \[time steps, input\], one sequence.
    ///
    /// # Errors
    /// [`Error::Length`] where `x` is empty or does not fill whole rows. The errors of [`Workspace::new`],
    /// [`Workspace::forward`] and [`lyapunov_spectrum`].
    ///
    /// # Panics
    /// As [`Workspace::forward`], and if `network` is not the diagnosed one.
    pub fn trajectory<T: Scalar>(self, network: &(impl Layer<T> + ?Sized), w: &[T], x: &[T]) -> Result<Self, Error> {
        let width = network.dims().input.max(1);
        let steps = x.len() / width;
        require_length("the inputs of a trajectory", steps.max(1) * width, x.len())?;
        let (shape, mut seen) = (BatchShape::sequences(1, steps), Entering(Vec::new()));
        Workspace::new(network, shape)?.forward_with(w, x, shape, Mode::Evaluate, &mut seen)?;
        let (blocks, mut trajectories) = (Blocks::collect(|visit| network.blocks(visit)), Vec::new());
        for (path, part) in self.spec.parts() {
            let LayerSpec::Recurrent { cell, .. } = part else { continue };
            let Some((_, x)) = seen.0.iter().find(|(name, _)| *name == path) else { continue };
            if cell.custom_part().is_some() {
                continue;
            }
            let layer = part.build::<T>()?;
            let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
            let Some(first) = blocks.iter().find(|block| block.name.starts_with(&prefix)) else { continue };
            let own = &w[first.range.start..][..layer.dims().parameters];
            let count = layer.memory(BatchShape::batch(1), Mode::Evaluate).state;
            let spectrum = lyapunov_spectrum(&*layer, own, x, steps / 4, count)?;
            let units = unit_sensitivities(&*layer, own, x)?.unwrap_or_default();
            trajectories.push(Trajectory { layer: path, steps, exponents: spectrum.exponents(), units });
        }
        Ok(Diagnosis { trajectories, gates: rules::by_biases(&blocks, w), ..self })
    }

    /// Adds interventions: measurements of the gradient with the parameters `w` on the batch `x`, without a change and
    /// with one thing changed. The gradient at the outputs is drawn from the standard normal distribution. The
    /// measured quantity is the budget: the decades (powers of ten) by which the norm of this gradient changes from
    /// the outputs to the first weights.
    ///
    /// If the gradient vanishes or explodes, the budget is measured again with other inputs, weights, gains, gates,
    /// branches or activations. The changes are made on copies in `f64`; the run is not changed. The smallest change
    /// that repairs the budget identifies the cause. Without [`statistics`](Self::statistics) the rules judge the
    /// pass without a change: the parameters `w`, not those that the initializers draw.
    ///
    /// Call [`thresholds`](Self::thresholds) first: thresholds set later have no effect on these measurements.
    ///
    /// If the budget lies within the thresholds, this takes one forward and backward pass; otherwise up to 30, or up
    /// to 100 where pairs of changes are tried. Inputs or outputs out of scale take one more pass each, samples far
    /// larger than the others two more, and a state gradient that vanishes or explodes over time up to three more.
    /// There are never more than 100 passes in all. A network with a custom layer or cell has no interventions. If a
    /// parameter is NaN or infinite, the changes are made to initial values.
    ///
    /// # Shapes
    /// x: \[rows, input\], sample after sample, as [`Dataset::inputs`](crate::dataset::Dataset::inputs) has them.
    ///
    /// # Errors
    /// Those of [`Workspace::new`] and [`Workspace::forward`].
    ///
    /// # Panics
    /// As [`Workspace::forward`].
    pub fn interventions<T: Scalar>(self, w: &[T], x: &[T], shape: BatchShape<'_>) -> Result<Self, Error> {
        shape.check()?;
        let width = self.spec.widths().0;
        self.interventions_of_pass(w, &time_major(width, x, shape), shape)
    }

    /// Adds [`interventions`](Self::interventions) with the parameters `w` on `x`, whose rows are time-major: all
    /// samples of time step 0, then of time step 1.
    pub(super) fn interventions_of_pass<T: Scalar>(
        self,
        w: &[T],
        x: &[T],
        shape: BatchShape<'_>,
    ) -> Result<Self, Error> {
        let wide = |values: &[T]| values.iter().map(|&value| to_f64(value)).collect::<Vec<f64>>();
        let (batch, most) = (Batch::new(wide(x), shape), self.passes_left());
        let experiments = match Experiments::new(&self.spec, &wide(w), batch.x(), shape, most, &self.thresholds) {
            Ok(experiments) => Some(experiments),
            Err(Error::CustomPart { .. }) => None,
            Err(error) => return Err(error),
        };
        let sizes = match self.spec.build_to_look_at() {
            Ok(network) => difference::sizes(&*network, &wide(w)),
            Err(_) => self.sizes,
        };
        Ok(Diagnosis { experiments, sizes, batch: Some(batch), ..self })
    }

    /// Returns the number of passes, forward and backward, that interventions may still take.
    pub(super) fn passes_left(&self) -> usize {
        let taken = self.task.as_ref().map_or(0, |task| task.passes)
            + self.experiments.as_ref().map_or(0, |experiments| experiments.passes);
        self.allowance.map_or(PASSES, |all| all.saturating_sub(taken))
    }

    /// Adds `statistics`, the measurements of a monitored training or of a single monitored pass. Statistics without
    /// a pass are ignored: the report is then one before training. Statistics of a network whose parameter blocks
    /// have other names or shapes are ignored too, and the report says so.
    ///
    /// If the run has learned nothing, or diverged, the parameters where it began are judged, too. The [first
    /// parameters](Statistics::first_parameters) are then examined with the same [interventions](Self::interventions)
    /// on the same batch, with the same limit on the number of passes.
    #[must_use]
    pub fn statistics<'b>(self, statistics: &'b Statistics) -> Diagnosis<'b>
    where
        'a: 'b,
    {
        let is_own = statistics.is_of(&self.blocks);
        let statistics = Some(statistics).filter(|statistics| is_own && statistics.run().passes() > 0);
        Diagnosis { statistics, has_foreign_statistics: !is_own, ..self }
    }

    /// Sets the number of time steps that the task must remember. The default is the whole sequence.
    #[must_use]
    pub fn span(self, steps: usize) -> Self {
        Diagnosis { span: Some(steps), ..self }
    }

    /// Adds `chain`, the gradient transforms of the run, such as clipping and an optimizer. The report names them
    /// with their rates, and finds an ε of the optimizer that is larger than the gradients. A group of blocks with a
    /// lower learning rate, or a rate of 0, is then intended, and no fault.
    #[must_use]
    pub fn transform<T: Scalar>(self, chain: &(impl GradientTransform<T> + ?Sized)) -> Self {
        let (blocks, transform) = (Blocks::default(), setup::transforms(chain, &Blocks::default()));
        let (epsilon, groups) = (setup::epsilon(chain, &blocks), setup::group_rates(chain, &blocks));
        let is_proportional = setup::is_proportional(chain, &blocks);
        let rate_returns_until = chain.rate_returns_until();
        Diagnosis { transform: Some(transform), epsilon, groups, is_proportional, rate_returns_until, ..self }
    }

    /// Sets the thresholds of the rules. Call it before [`interventions`](Self::interventions) and
    /// [`task`](Self::task), whose measurements depend on them.
    #[must_use]
    pub fn thresholds(self, thresholds: Thresholds) -> Self {
        Diagnosis { thresholds, ..self }
    }

    /// Returns the layer specification of the network, for [`FixContext::new`](super::FixContext::new).
    pub fn network(&self) -> &LayerSpec {
        &self.spec
    }

    /// Runs the rules and returns the report, the root cause first. With the feature `tracing` each finding is also
    /// sent as an event.
    pub fn report(&self) -> Report {
        if let (None, Some(experiments)) = (self.statistics, &self.experiments) {
            let examined = self.clone().statistics(&experiments.seen);
            return Diagnosis { is_examined_alone: true, ..examined }.report();
        }
        let mut findings: Vec<Finding> = Vec::new();
        for rule in rules::ALL {
            rule(self, &mut findings);
        }
        rules::temper(self, &mut findings);
        let mut began = began::examined(self, &findings);
        if let Some(began) = &mut began {
            rules::begin(&mut findings, core::mem::take(&mut began.findings));
        }
        rules::merge(&mut findings);
        rules::order(self, &mut findings);
        #[cfg(feature = "tracing")]
        findings.iter().for_each(super::trace::finding);
        let report = Report::new(self, findings);
        match began {
            Some(began) => report.with_beginning(began.passes_on_copies),
            None => report,
        }
    }
}
