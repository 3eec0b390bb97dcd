//! The measurements that the rules of a diagnosis read, collected pass by pass.

mod block;
mod distance;
mod gate;
mod jumps;
mod link;
mod log_norm;
mod mixing;
mod non_finite;
mod rates;
mod recent_means;
mod run;
mod running;
mod state;

pub use block::BlockStatistics;
pub(crate) use distance::{FITTED, part_of};
pub use gate::GateStatistics;
pub use link::LinkStatistics;
pub(crate) use log_norm::LogNorm;
pub use non_finite::{NonFinite, NonFiniteOrigin};
pub use run::RunStatistics;
pub use running::RunningMoments;
pub use state::StateStatistics;

use super::{BudgetHistory, Event, GradientMonitor, Link};
use crate::{
    block::{Block, Blocks},
    kernel::reduce::survey,
    scalar::{Scalar, to_f64},
};
use alloc::vec::Vec;
use core::fmt;

/// Collects the measurements for a [`diagnosis`](crate::diagnosis). They include the change of the gradient's norm by
/// each link (factor of the chain rule) and over time steps, saturation, dead units, and cosines between the
/// pre-activations of samples. They also include the updates of each parameter block, spikes, clipping, and the
/// origin of the first non-finite value.
///
/// The memory depends on the numbers of layers, parameter blocks and units, not on the number of passes, and holds a
/// copy of the [first parameters](Self::first_parameters). After the longest pass `Statistics` does not allocate.
/// Inside [`Every`](fn@super::Every) only monitored passes are counted.
///
/// ```
/// use chainrule::{activation::Sigmoid, dataset::{Batch, Dataset}, layer::Sequential};
/// use chainrule::loss::{MeanSquaredError, Target};
/// use chainrule::{monitor::Statistics, trainer::{TrainConfig, Trainer}, transform::Sgd};
/// let network = Sequential::<f32>::input(2).linear(8).activation(Sigmoid).linear(1).build()?;
/// let (x, y) = ([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]);
/// let data = Dataset::rows(2, &x, Target::Values(&y))?;
/// let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.5), TrainConfig::default())?;
/// let (mut batch, mut seen) = (Batch::new(&data, 4), Statistics::new());
/// for _ in 0..20 {
///     trainer.step(&data, &mut batch, &[0, 1, 2, 3], &mut seen)?;
/// }
/// let sigmoid = seen.links().iter().find(|link| link.name() == "1").unwrap();
/// assert!(sigmoid.mean_slope() <= 0.25); // φ′ never exceeds ¼
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Statistics {
    links: Vec<LinkStatistics>,
    states: Vec<StateStatistics>,
    gates: Vec<GateStatistics>,
    blocks: Vec<BlockStatistics>,
    run: RunStatistics,
    history: BudgetHistory,
    /// The parameters at the first gradient; empty before it, and for more than [`KEPT_PARAMETERS`].
    first_parameters: Vec<f64>,
    /// The norm and the counts of the network's input, over the calls so far in which the first layer reported this
    /// pass.
    input: link::Parts,
    /// The indices in `links`, `gates` and `states` at which the search for the next event's entry starts.
    next: [usize; 3],
}

/// Writes the numbers of links (factors of the chain rule), recurrent layers, gates, parameter blocks, passes and
/// updates, and the recent loss.
impl fmt::Debug for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut statistics = f.debug_struct("Statistics");
        statistics.field("links", &self.links.len()).field("states", &self.states.len());
        statistics.field("gates", &self.gates.len()).field("blocks", &self.blocks.len());
        statistics.field("passes", &self.run.passes()).field("updates", &self.run.updates());
        statistics.field("recent_loss", &self.run.recent_loss().mean()).finish()
    }
}

impl Statistics {
    /// Creates statistics of no passes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the statistics of each link (factor of the chain rule) from layer to layer, in the order of the
    /// forward pass. Links that are reported only in the backward pass follow.
    pub fn links(&self) -> &[LinkStatistics] {
        &self.links
    }

    /// Returns the statistics of the gradient with respect to the state, from time step to time step, for each
    /// recurrent layer in the order of the backward pass.
    pub fn states(&self) -> &[StateStatistics] {
        &self.states
    }

    /// Returns the statistics of each gate of each recurrent layer, in the order of the forward pass.
    pub fn gates(&self) -> &[GateStatistics] {
        &self.gates
    }

    /// Returns the statistics of each parameter block, in the order of the parameters.
    pub fn blocks(&self) -> &[BlockStatistics] {
        &self.blocks
    }

    /// Whether the last gradient had the names and shapes of `blocks`: then the statistics are those of a network with
    /// these blocks. True before the first gradient.
    pub(crate) fn is_of(&self, blocks: &Blocks) -> bool {
        let same = |(known, block): (&BlockStatistics, &Block<'_>)| known.is_of(block);
        self.blocks.is_empty() || self.blocks.len() == blocks.len() && self.blocks.iter().zip(blocks).all(same)
    }

    /// The statistics of the whole run: loss, gradient norm, clipping.
    pub fn run(&self) -> &RunStatistics {
        &self.run
    }

    /// Returns the decades (powers of ten) by which each link (factor of the chain rule) changes the norm of the
    /// gradient, over the monitored passes. Links inside parallel branches, and links from time step to time step,
    /// are left out.
    pub fn history(&self) -> &BudgetHistory {
        &self.history
    }

    /// Returns the parameters of the first monitored gradient, before its update: those at which the run began or was
    /// resumed. If the run has learned nothing and no longer improves, a [`Diagnosis`](crate::diagnosis::Diagnosis)
    /// also judges the network with these parameters.
    ///
    /// `None` before the first gradient, and for a network of more than 2²² parameters. The copy is made once, of
    /// 8 bytes for each parameter.
    pub fn first_parameters(&self) -> Option<&[f64]> {
        (!self.first_parameters.is_empty()).then_some(&self.first_parameters)
    }

    /// Copies from `run`, statistics of the same network, whether each block is frozen.
    pub(crate) fn freeze_as_in(&mut self, run: &Statistics) {
        let both = self.blocks.iter_mut().zip(&run.blocks).filter(|(own, of)| own.name() == of.name());
        both.for_each(|(own, of)| own.freeze(of.frozen()));
    }
}

/// The largest number of parameters that are copied at the first gradient: 32 MiB of `f64`. The parameters of a
/// larger network are not copied.
const KEPT_PARAMETERS: usize = 1 << 22;

/// Returns the index of the first entry of `list` for which `is` holds, from the index `next` on and then from the
/// start. If there is none, it appends the entry that `make` returns. `next` is set to the index after the entry.
fn find<S>(list: &mut Vec<S>, next: &mut usize, is: impl Fn(&S) -> bool, make: impl FnOnce() -> S) -> usize {
    let start = (*next).min(list.len());
    let found = (start..list.len()).chain(0..start).find(|&i| is(&list[i]));
    let place = found.unwrap_or_else(|| {
        list.push(make());
        list.len() - 1
    });
    *next = place + 1;
    place
}

impl<T: Scalar> GradientMonitor<T> for Statistics {
    fn begin_pass(&mut self) {
        self.next = [0; 3];
        self.history.end();
        self.run.begin();
    }

    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        let pass = self.run.pass();
        match (at.step, at.gate) {
            (Some(step), Some(gate)) => {
                if step % at.shape.steps.div_ceil(gate::STEPS).max(1) == 0 {
                    let place = find(
                        &mut self.gates,
                        &mut self.next[1],
                        |g| g.is(at.name, gate),
                        || GateStatistics::new(at.name, gate),
                    );
                    self.gates[place].push(at, x, y);
                }
            }
            (Some(_), None) => {}
            (None, _) => {
                let of_y = survey(y);
                if of_y.non_finite > 0 && self.run.non_finite().is_none() {
                    let made_here = x.iter().all(|x| x.is_finite());
                    let origin = if made_here { NonFiniteOrigin::Forward } else { NonFiniteOrigin::Input };
                    let found = NonFinite::new(pass, origin, at.name, Some(at.factor), y);
                    let of_input = !made_here && self.run.is_first_link();
                    let width = x.len() / at.shape.rows().max(1);
                    self.run.note(if of_input { found.of_input(x, width) } else { found });
                }
                if (at.index == 0 || self.run.is_first_link())
                    && let Some((of_x, values)) = self.input.add(at, survey(x), x.len())
                {
                    self.run.see_input(of_x, values);
                }
                let make = || LinkStatistics::new(at);
                let place = find(&mut self.links, &mut self.next[0], |link| link.is(at), make);
                self.links[place].forward(at, x, y, of_y);
                self.run.see_output(self.links[place].output().last());
            }
        }
    }

    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        let pass = self.run.pass();
        let of_dx = survey(dx);
        if of_dx.non_finite > 0 && self.run.non_finite().is_none() {
            let made_here = dy.iter().all(|dy| dy.is_finite());
            let origin = if made_here { NonFiniteOrigin::Backward } else { NonFiniteOrigin::Loss };
            self.run.note(NonFinite::new(pass, origin, at.name, Some(at.factor), dx));
        }
        match at.step {
            None => {
                let make = || LinkStatistics::new(at);
                let place = find(&mut self.links, &mut self.next[0], |link| link.is(at), make);
                let link = &mut self.links[place];
                if link.backward(at, dy, dx, of_dx) && at.on_main_path {
                    self.run.see_loss_gradient(at, dy, link.norm_in());
                    self.run.on_main_path(link.norm_in(), link.norm_out(), link.gradients());
                    self.history.push(pass + 1, at.name, at.factor, [link.norm_in(), link.norm_out()]);
                }
            }
            Some(step) => {
                let layer = state::layer_of(at.name);
                let make = || StateStatistics::new(layer);
                let place = find(&mut self.states, &mut self.next[2], |state| state.name() == layer, make);
                self.next[2] = place;
                self.states[place].backward(at.factor, step, survey(dy).norm, of_dx.norm);
            }
        }
    }

    fn event(&mut self, event: &Event<'_, T>) {
        match *event {
            Event::Loss(loss) => self.run.loss(loss),
            Event::Rows { of_update, effective } => self.run.rows([of_update, effective]),
            Event::Clip(factor) => self.run.clip(factor),
            Event::Gradient { blocks, w, dw } => self.gradient(blocks, w, dw),
            Event::Update { blocks, w, update } => self.update(blocks, w, update),
            Event::Step(step) => self.run.step(step),
            _ => {}
        }
    }
}

impl Statistics {
    fn gradient<T: Scalar>(&mut self, blocks: &Blocks, w: &[T], dw: &[T]) {
        let pass = self.run.pass();
        let mut square = 0.0;
        // The parameters are copied at the first gradient, and again if the blocks are those of another network.
        if self.blocks.is_empty() || !self.is_of(blocks) {
            self.first_parameters.clear();
            let kept = if w.len() <= KEPT_PARAMETERS { w } else { &[] };
            self.first_parameters.extend(kept.iter().copied().map(to_f64));
        }
        self.states.iter_mut().for_each(StateStatistics::end);
        for (i, block) in blocks.iter().enumerate() {
            if self.blocks.get(i).is_none_or(|known| !known.is_of(block)) {
                self.blocks.truncate(i);
                self.blocks.push(BlockStatistics::new(block));
            }
            let (w, dw) = (&w[block.range.clone()], &dw[block.range.clone()]);
            let known = &mut self.blocks[i];
            known.gradient(pass, block, w, dw);
            square += known.gradient_norm() * known.gradient_norm();
            let broken = [
                (known.parameters_broken(), NonFiniteOrigin::Parameters, w),
                (known.gradient_broken(), NonFiniteOrigin::Gradient, dw),
            ];
            for (broken, origin, values) in broken {
                if broken && self.run.non_finite().is_none() {
                    self.run.note(NonFinite::new(pass, origin, &block.name, None, values));
                }
            }
        }
        self.blocks.truncate(blocks.len());
        self.run.gradient(num_traits::Float::sqrt(square));
    }

    fn update<T: Scalar>(&mut self, blocks: &Blocks, w: &[T], update: &[T]) {
        let pass = self.run.pass();
        let is_best = self.run.is_at_its_lowest();
        for (block, known) in blocks.iter().zip(&mut self.blocks) {
            let (w, update) = (&w[block.range.clone()], &update[block.range.clone()]);
            known.update(w, update, is_best);
            if known.update_broken() && self.run.non_finite().is_none() {
                self.run.note(NonFinite::new(pass, NonFiniteOrigin::Update, &block.name, None, update));
            }
        }
        let largest = |most: [f64; 3], paces: [f64; 3]| [0, 1, 2].map(|i| f64::max(most[i], paces[i]));
        let largest = self.blocks.iter().filter_map(BlockStatistics::paces).fold([f64::NEG_INFINITY; 3], largest);
        self.blocks.iter_mut().for_each(|block| block.lags(largest));
        self.run.updated();
    }
}

/// Returns the mean cosine of the angle between two rows, over all pairs of the compared rows. These are up to
/// [`ROWS`] evenly spaced rows among the first `rows` rows of `x`, of `width` values each. `None` for fewer than two
/// rows, or if the norm of one is 0 or not finite. `sum` is scratch.
fn mean_cosine<T: Scalar>(x: &[T], width: usize, rows: usize, sum: &mut Vec<f64>) -> Option<f64> {
    let stride = rows.div_ceil(ROWS).max(1);
    sum.clear();
    sum.resize(width, 0.0);
    let mut count = 0.0;
    for row in x.chunks_exact(width.max(1)).take(rows).step_by(stride) {
        let length = survey(row).norm;
        if !(length > 0.0 && length.is_finite()) {
            return None;
        }
        sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += to_f64(x) / length);
        count += 1.0;
    }
    let square: f64 = sum.iter().map(|sum| sum * sum).sum();
    (count >= 2.0).then(|| (square - count) / (count * (count - 1.0)))
}

/// The largest number of rows of a batch whose pre-activations are compared with each other. In a larger batch,
/// evenly spaced rows are compared.
const ROWS: usize = 16;
