//! Jumps of the gradient's norm, and the harm that they do to the loss.

use super::RunningMoments;

/// The number of consecutive passes after a jump, with a loss above the limit of its [`Wake`], that make the jump a
/// harmful one. A hard batch also has a large gradient and a high loss, but no lasting effect. The number is a
/// convention.
const WORSE: u64 = 3;
/// A jump counts as harmful only if the loss is above its usual value, its mean over about 30 passes, by this
/// fraction of its decrease so far (the first loss minus the usual value). The fraction is a convention.
const UNDONE: f64 = 0.1;

/// The check whether a jump, a gradient with more than ten times the typical norm, was harmful: whether the loss is
/// above the limit `line` in the three passes after the jump.
#[derive(Clone, Copy, Debug)]
struct Wake {
    /// The loss above which the jump counts as harmful.
    line: f64,
    /// The number of passes since the jump; the loss of each was above the limit `line`, or NaN.
    worse: u64,
    /// The mean loss over about the 30 passes before the jump.
    usual: f64,
}

/// Counts of the jumps of a run (gradients with more than ten times the typical norm): of all, and of those that were
/// harmful, since a high loss followed in [`WORSE`] consecutive passes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jumps {
    pub count: u64,
    /// The number of jumps after which the loss was above the limit of their [`Wake`] in [`WORSE`] consecutive
    /// passes.
    pub harmful: u64,
    wake: Option<Wake>,
    /// The lowest of the mean losses before the harmful jumps; NaN before the first.
    before: f64,
}

impl Default for Jumps {
    fn default() -> Self {
        Jumps { count: 0, harmful: 0, wake: None, before: f64::NAN }
    }
}

impl Jumps {
    /// Receives a jump, a gradient with more than ten times the typical norm. The next calls of [`loss`](Self::loss)
    /// check whether it is harmful. `loss` has the moments of the loss over about the last 30 passes, and `learned`
    /// is the first loss minus their mean.
    pub fn jump(&mut self, loss: RunningMoments, learned: f64) {
        self.count += 1;
        let (usual, spread) = (loss.mean(), loss.standard_deviation());
        let line = (usual + 3.0 * spread).max(1.5 * usual).max(usual + UNDONE * learned);
        self.wake = Some(Wake { line, worse: 0, usual });
    }

    /// Receives the loss of a pass. While the last jump of the gradient is being checked, a loss above the limit that
    /// [`jump`](Self::jump) set, or NaN, is counted; any other loss ends the check. [`WORSE`] consecutive counted
    /// losses make the jump a harmful one.
    pub fn loss(&mut self, loss: f64) {
        if let Some(Wake { line, worse, usual }) = self.wake.take()
            && (loss > line || loss.is_nan())
        {
            match worse + 1 {
                WORSE => (self.harmful, self.before) = (self.harmful + 1, self.before.min(usual)),
                worse => self.wake = Some(Wake { line, worse, usual }),
            }
        }
    }

    /// Whether `loss`, the mean over about 30 passes, is below the mean loss before each harmful jump of the
    /// gradient, and no jump is still being checked. False without harmful jumps.
    pub fn has_recovered_from_jumps(&self, loss: f64) -> bool {
        self.wake.is_none() && loss < self.before
    }
}
