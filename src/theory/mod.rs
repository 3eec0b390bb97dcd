//! Predictions and bounds of a gradient before it is measured.

mod certificate;
mod curvature;
mod inputs;
mod lyapunov;
mod prediction;
mod sample;
mod sensitivity;
mod single_input;

pub use certificate::{Certificate, Horizon, LinkBound};
pub use curvature::Hessian;
pub use inputs::InputStatistics;
pub use lyapunov::{LyapunovSpectrum, lyapunov_spectrum, state_jacobian};
pub use prediction::{PredictedLink, Prediction, PredictionSource};
pub use sensitivity::{UnitSensitivity, unit_sensitivities};
pub use single_input::SingleInput;
