//! What can be said about a gradient before it is measured.

mod certificate;
mod critical;
mod mean_field;
mod moments;
mod quadrature;
mod spectral;
mod upper;

pub use certificate::{Certificate, Horizon, LinkBound};
pub use critical::{CriticalPoint, backward_gain, critical_weight_variance, forward_gain};
pub use mean_field::{DepthScales, FixedPoint, MeanField, PredictedLayer, Stability};
pub use spectral::spectral_norm_bound;
pub(crate) use upper::Upper;
