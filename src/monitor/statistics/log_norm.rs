//! The norm of the gradient over updates: its typical value, spikes and jumps.

use super::RunningMoments;

/// The decay of the moving averages of the loss, of log10 of the gradient norm's change along the main path, and of
/// ln ‖g‖, g being the gradient of all parameters. It is that of ZClip (Kumar et al. 2025), like [`WARM_UP`].
pub(super) const KEEP: f64 = 0.97;
/// The number of gradients before spikes and jumps are counted, and of losses before a run is judged to stagnate.
pub(super) const WARM_UP: u64 = 25;
/// The number of standard deviations of ln ‖g‖ above its mean from which a gradient g counts as a spike.
const MARK: f64 = 2.5;
/// The distance of ln ‖g‖ above its mean from which a gradient g counts as a jump: ten times the typical norm.
const TENFOLD: f64 = core::f64::consts::LN_10;

/// The moments of ln ‖g‖ over updates, g being the gradient of all parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogNorm(RunningMoments);

/// How the norm of a gradient g compares with those before it; both fields are false for the first 25 gradients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unusual {
    /// Whether ln ‖g‖, g being the gradient of all parameters, is more than 2.5 standard deviations above its mean.
    pub spike: bool,
    /// Whether the norm of the gradient of all parameters is more than ten times its typical value.
    pub jump: bool,
}

impl Default for LogNorm {
    fn default() -> Self {
        LogNorm(RunningMoments::forgetting(KEEP))
    }
}

impl LogNorm {
    /// Compares the norm of the next gradient with the norms before it, and adds its logarithm to the moments. A norm
    /// above ten times the typical one enters as ten times that one.
    pub(crate) fn push(&mut self, norm: f64) -> Unusual {
        let mut ln = libm::log(norm);
        let apart = ln - self.0.mean();
        let counts = self.0.count() >= WARM_UP && ln.is_finite();
        let unusual =
            Unusual { spike: counts && apart > MARK * self.0.standard_deviation(), jump: counts && apart > TENFOLD };
        // A jump must not dominate the typical norm.
        if self.0.count() > 0 && apart > TENFOLD {
            ln = self.0.mean() + TENFOLD;
        }
        self.0.push(ln);
        unusual
    }

    /// Returns the moments, over updates, of ln ‖g‖, g being the gradient of all parameters.
    pub(crate) fn moments(&self) -> RunningMoments {
        self.0
    }
}
