//! What can be said about a gradient before it is measured.

mod certificate;
mod spectral;
mod upper;

pub use certificate::{Certificate, Horizon, LinkBound};
pub use spectral::spectral_norm_bound;
pub(crate) use upper::Upper;
