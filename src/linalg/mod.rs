//! Norms, eigenvalues and outward-rounded bounds of matrices.

mod eigenvalues;
mod spectral_norm;
mod upper_bound;

pub use eigenvalues::{eigenvalues, spectral_radius};
pub use spectral_norm::spectral_norm_bound;
pub(crate) use upper_bound::Upper;
