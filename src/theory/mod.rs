//! What can be said about a gradient before it is measured.

mod certificate;
mod critical;
mod eigenvalues;
mod lyapunov;
mod mean_field;
mod moments;
mod one_input;
mod prediction;
mod quadrature;
mod sample;
mod spectral;
mod upper;

pub use certificate::{Certificate, Horizon, LinkBound};
pub use critical::{CriticalPoint, backward_gain, critical_weight_variance, forward_gain};
pub use eigenvalues::{eigenvalues, spectral_radius};
pub use lyapunov::{LyapunovSpectrum, lyapunov_spectrum, state_jacobian};
pub use mean_field::{DepthScales, FixedPoint, MeanField, PredictedLayer, Stability};
pub use one_input::OneInput;
pub use prediction::{Basis, Inputs, PredictedLink, Prediction};
pub use spectral::spectral_norm_bound;
pub(crate) use upper::Upper;
