//! Monitors: observers of every factor of the chain rule during a pass.

use crate::{block::Blocks, scalar::Scalar};
use core::fmt;
use progress::{Epoch, Step};
mod budget;
mod budget_table;
mod combine;
mod history;
mod link;
mod norm;
pub(crate) mod progress;
#[cfg(all(feature = "serde", feature = "std"))]
mod recorder;
#[cfg(all(feature = "serde", feature = "std"))]
mod run_record;
mod statistics;
#[cfg(feature = "tensorboard")]
mod tensorboard;
pub use budget::{BlockBudget, GradientBudget, LinkBudget, Shares};
pub use combine::Every;
pub use history::{BudgetHistory, LinkHistory};
pub use link::{Factor, Link};
pub use norm::NormStats;
#[cfg(all(feature = "serde", feature = "std"))]
pub use recorder::Recorder;
#[cfg(all(feature = "serde", feature = "std"))]
pub use run_record::RunRecord;
pub use statistics::{
    BlockStatistics, GateStatistics, LinkStatistics, NonFinite, NonFiniteOrigin, RunStatistics, RunningMoments,
    StateStatistics, Statistics,
};
pub(crate) use statistics::{FITTED, LogNorm, part_of};
#[cfg(feature = "tensorboard")]
pub use tensorboard::TensorBoard;

/// An event that a [`GradientMonitor`] receives, other than the forward or backward pass through one link (factor of
/// the chain rule): a loss, the whole gradient, an update, or a record.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a, T> {
    /// Announces that the next pass belongs to the same update, whose gradient is accumulated over several passes.
    NextPart,
    /// The weights of the output rows of the pass in the loss, sent by a [`Trainer`](crate::trainer::Trainer) before
    /// the backward pass.
    Rows {
        /// The total loss weight of the output rows of the pass, divided by that of all rows of the update, on all
        /// ranks. With [`mean_of_means`](crate::distributed::DataParallel::mean_of_means), where all shards (parts of
        /// the batch) count equally, it is the weight of the rows of the pass in the mean over shards.
        of_update: f64,
        /// The effective number of output rows of the pass, divided by their number. The effective number is
        /// `(Σ w)²/Σ w²` for rows of loss weight w (Kish 1965). If all weights are 0 or 1, it is the number of rows
        /// of weight 1.
        effective: f64,
    },
    /// All parameters and their gradient, after a backward pass. A [`Trainer`](crate::trainer::Trainer) reports it once
    /// per update, with the gradient summed over all passes of an accumulated gradient.
    Gradient {
        /// The parameter blocks: their names, and their ranges in `w` and `dw`.
        blocks: &'a Blocks,
        /// All parameters of the network.
        w: &'a [T],
        /// The gradient with respect to the parameters, in the order of `w`, before any transform, such as clipping.
        dw: &'a [T],
    },
    /// The loss on the samples of an update, their mean or sum by the loss's [`Reduction`](crate::loss::Reduction),
    /// computed from the parameters before the update.
    Loss(f64),
    /// The factor, at most 1, by which clipping multiplied the norm of the gradient of this update; with several
    /// clips, the product of their factors. It is sent with each update of a chain that clips, also if it is 1.
    Clip(f64),
    /// The parameters and the update that is added to them next.
    Update {
        /// The parameter blocks: their names, and their ranges in `w` and `update`.
        blocks: &'a Blocks,
        /// The parameters before the update.
        w: &'a [T],
        /// The update that is added to `w`.
        update: &'a [T],
    },
    /// The record of an update, sent after the update by a [`Trainer`](crate::trainer::Trainer).
    Step(&'a Step),
    /// The record of an epoch with its validation, also for a monitor that is not active. A
    /// [`Trainer`](crate::trainer::Trainer) sends it.
    Epoch(&'a Epoch),
}

/// Writes the numbers of blocks and of values in place of the slices, and all other events in full.
impl<T> fmt::Debug for Event<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = |f: &mut fmt::Formatter<'_>, name: &str, blocks: &Blocks, values: usize| {
            f.debug_struct(name).field("blocks", &blocks.len()).field("values", &values).finish()
        };
        match self {
            Event::NextPart => f.write_str("NextPart"),
            Event::Rows { of_update, effective } => {
                f.debug_struct("Rows").field("of_update", of_update).field("effective", effective).finish()
            }
            Event::Gradient { blocks, dw, .. } => sizes(f, "Gradient", blocks, dw.len()),
            Event::Loss(loss) => f.debug_tuple("Loss").field(loss).finish(),
            Event::Clip(factor) => f.debug_tuple("Clip").field(factor).finish(),
            Event::Update { blocks, update, .. } => sizes(f, "Update", blocks, update.len()),
            Event::Step(step) => fmt::Debug::fmt(step, f),
            Event::Epoch(epoch) => fmt::Debug::fmt(epoch, f),
        }
    }
}

/// An observer of every link of a forward and backward pass. A link is one factor of the chain rule, such as a
/// product with weights. Its methods receive shared slices, so that they cannot change a pass.
///
/// ```
/// use chainrule::{GradientMonitor, Scalar, monitor::Link, to_f64};
/// /// The largest |∂L/∂x| of all links.
/// #[derive(Debug, Default)]
/// struct Largest(f64);
/// impl<T: Scalar> GradientMonitor<T> for Largest {
///     fn backward(&mut self, _at: &Link<'_>, _dy: &[T], dx: &[T]) {
///         self.0 = dx.iter().fold(self.0, |largest, &dx| largest.max(to_f64(dx).abs()));
///     }
/// }
/// chainrule::testing::monitor_laws(Largest::default, 0).unwrap();
/// ```
///
/// # Required
/// Nothing.
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `begin_pass` | does nothing | values are kept for one pass only, as in [`GradientBudget`] |
/// | `is_active` | `true` | some passes need no monitor: layers then compute nothing for it |
/// | `forward` | does nothing | values are read: the input and the output of each link |
/// | `backward` | does nothing | gradients are read: with respect to the output and the input of each link |
/// | `event` | does nothing | loss, clipping, the whole gradient or the update are read: see [`Event`] |
/// | `should_stop` | `false` | the monitor can end a run: see [`should_stop`](Self::should_stop) |
///
/// # Order of calls
/// For links from layer to layer, `backward` is called once per link, in the order of the backward pass. For a link
/// within a [`Checkpointed`](crate::recurrent::Checkpointed) layer it is called once per segment of time steps;
/// [`Link::parts_before`] counts the calls. Within a recurrent layer it is also called for each factor of each time
/// step, with [`Link::step`] set. `forward`, `backward` and `event` are called only while the monitor is active;
/// [`Event::NextPart`] and [`Event::Epoch`] are always sent.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a monitor",
    label = "not a monitor",
    note = "monitors are combined as tuples, `Vec`, `Option` or `Every`"
)]
pub trait GradientMonitor<T: Scalar> {
    /// Called at the start of every forward pass, also if the monitor is not active. The backward pass that follows
    /// belongs to the same pass.
    fn begin_pass(&mut self) {}

    /// Whether the monitor receives the events of this pass. If not, layers compute nothing for it.
    ///
    /// The answer must not change between the start of a forward or backward pass and its end.
    fn is_active(&self) -> bool {
        true
    }

    /// Receives the input `x` and the output `y` of a link, the factor of the chain rule that `at` describes. For an
    /// activation `x` is the pre-activation `z`.
    fn forward(&mut self, _at: &Link<'_>, _x: &[T], _y: &[T]) {}

    /// Receives the gradients with respect to the output, `dy`, and the input, `dx`, of a link, the factor of the chain
    /// rule that `at` describes.
    ///
    /// For an addition, `dy` and `dx` are the gradients before and after the addition.
    fn backward(&mut self, _at: &Link<'_>, _dy: &[T], _dx: &[T]) {}

    /// Receives an event of the pass or the update. Match the events that the monitor needs, and ignore all others.
    ///
    /// # Panics
    /// A monitor may panic where slices do not have the parameters of their `blocks`; workspaces, trainers and
    /// optimizers pass slices of the right length.
    fn event(&mut self, _event: &Event<'_, T>) {}

    /// Whether the run should end. A [`Trainer`](crate::trainer::Trainer) asks in a fit after each update (with
    /// truncated backpropagation, after all windows of the current samples) and after each epoch, also if the monitor
    /// is not active.
    ///
    /// If it is true after an update, the epoch ends with that update. The epoch still has its record and its
    /// validation, and is the last of the run. Then [`Trainer::stopped_early`](crate::trainer::Trainer::stopped_early)
    /// is true. The guide [`own_parts`](crate::guide::own_parts) has an example.
    fn should_stop(&self) -> bool {
        false
    }
}
