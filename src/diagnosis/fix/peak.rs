//! The step of a learning-rate schedule at which the trainings of a trial begin.

use super::{Change, Fix, Trial, training::Candidate};
use crate::{
    block::Blocks,
    layer::Layer,
    scalar::Scalar,
    transform::{GradientTransform, Optimizer, check_rate},
};

/// The largest number of steps of a run at which the factors of its schedules are looked up.
const LOOKED_UP: usize = 1024;

/// Which trainings begin near the highest rate of the run. The others begin at step 0 of their schedules.
///
/// Trained parameters have passed the warm-up that protects initial values, so trainings from them begin near the
/// highest rate. All trainings do so if a fix changes the rate: it must work where the rate is highest, and is
/// compared with the other fixes there.
#[derive(Clone, Copy, Default)]
pub(super) struct NearPeak {
    /// Whether a fix of the trial changes the learning rate or its schedule.
    changes_rate: bool,
    /// Whether the run has changed the current parameters since it began.
    is_trained: bool,
}

impl NearPeak {
    /// Returns the rule for a trial of `fixes`; `is_trained` is whether the run has changed the current parameters
    /// since it began.
    pub fn of(fixes: &[Fix], is_trained: bool) -> Self {
        let is_of_rate = |fix: &Fix| {
            matches!(fix.change, Change::LearningRate(_) | Change::HoldRate(_) | Change::LongerSchedule { .. })
        };
        NearPeak { changes_rate: fixes.iter().any(is_of_rate), is_trained }
    }
}

impl<T: Scalar> Trial<'_, T> {
    /// Returns `candidate` with its schedules moved forward to where its training begins.
    ///
    /// The highest rate of the run falls in the middle of the training, as far as the training then lies within the
    /// run. So a fix is judged where the schedule is hardest, and a warm-up of less than half of the training stays
    /// whole. [`NearPeak`] states which trainings begin there; `is_restarted` is whether the fix draws most
    /// parameters again, or its training begins from the first parameters of the run. Optimizers have no moments of
    /// earlier updates.
    pub(super) fn begun<'c>(&self, mut candidate: Candidate<'c, T>, is_restarted: bool) -> Candidate<'c, T> {
        let NearPeak { changes_rate, is_trained } = self.near_peak;
        if changes_rate || is_trained && !is_restarted {
            let step = begins(&mut *candidate.transform, self.length, self.steps);
            candidate.transform.schedules(&mut |schedule| schedule.advance(step));
        }
        candidate
    }

    /// Returns the learning rate of the optimizer where no schedule varies it; `None` if the optimizer states none,
    /// or is not valid for the network.
    pub(super) fn own_rate(&self, network: &dyn Layer<T>, w: &[T]) -> Option<f64> {
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        let mut transform = (self.transform)();
        transform.schedules(&mut |schedule| schedule.hold());
        Optimizer::new(transform, &blocks, w).ok()?.learning_rate(&blocks)
    }

    /// Whether the optimizer has a schedule that varies.
    pub(super) fn is_scheduled(&self) -> bool {
        let mut found = false;
        (self.transform)().schedules(&mut |schedule| found |= schedule.varies());
        found
    }
}

/// Returns the step of the schedule at which a training of `steps` steps begins. It is half of them before the first
/// step of the run at which the factor of the schedules is highest, but at least `steps` before the end of the run. A
/// run of `length` steps ends early at a factor that the format `T` cannot hold. Of a long run, evenly spaced steps
/// are looked up.
fn begins<T: Scalar>(transform: &mut dyn GradientTransform<T>, length: usize, steps: usize) -> u64 {
    let (mut highest, mut peak, mut end) = (f64::NEG_INFINITY, 0, 0);
    for step in (0..length).step_by(length.div_ceil(LOOKED_UP).max(1)) {
        let mut is_valid = true;
        transform.schedules(&mut |schedule| is_valid &= check_rate::<T>(schedule.factor(step as u64)).is_ok());
        if !is_valid {
            break;
        }
        let factor = transform.schedule_factor(step as u64);
        if factor > highest {
            (highest, peak) = (factor, step);
        }
        end = step + 1;
    }
    peak.saturating_sub(steps / 2).min(end.saturating_sub(steps)) as u64
}
