//! The initializer of sparse matrices, with a given number of nonzero entries in each row.

use super::{Initializer, InitializerKind, Shape, check_finite};
use crate::random::{Normals, below};
use crate::{
    error::{Error, require},
    linalg::spectral_radius,
    size::reserve,
};
use rand_core::Rng;

/// How the size of the nonzero values of a [`Sparse`] matrix is set: by their standard deviation, or by the spectral
/// radius of the matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SparseScale {
    /// The standard deviation of the nonzero values; finite, at least 0.
    Std(#[cfg_attr(feature = "serde", serde(with = "crate::number"))] f64),
    /// The spectral radius (largest |eigenvalue|) of the matrix; finite, above 0. Each drawn matrix, which must be
    /// square, is multiplied by the factor that gives it exactly this radius, up to rounding. A drawn matrix of radius
    /// 0 is an error of `fill`.
    SpectralRadius(#[cfg_attr(feature = "serde", serde(with = "crate::number"))] f64),
}

/// In every row, `non_zeros` entries at random columns are normal with mean 0; the others are 0.
///
/// With 15 connections per unit it is the sparse initialization of Martens (2010, "Deep learning via Hessian-free
/// optimization"). With a set spectral radius it initializes the recurrent networks of Sutskever, Martens, Dahl and
/// Hinton (2013) and of Pascanu, Mikolov and Bengio (2013).
///
/// The radius is computed for the drawn matrix, including complex eigenvalues; it is not an asymptotic value. With a
/// set standard deviation, the variance over the random columns is std² · non_zeros/columns.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sparse {
    /// The number of nonzero inputs of a unit, at least 1. A unit with fewer inputs uses all of them.
    pub non_zeros: usize,
    /// How the size of the nonzero values is set: by their standard deviation, or by the spectral radius of the
    /// matrix.
    pub scale: SparseScale,
}

impl Sparse {
    /// Creates the initializer with 15 nonzero inputs per unit, of standard deviation `std`.
    pub const fn std(std: f64) -> Self {
        Sparse { non_zeros: 15, scale: SparseScale::Std(std) }
    }

    /// Creates the initializer with 15 nonzero inputs per unit, for square matrices. Each drawn matrix is rescaled to
    /// have exactly the spectral radius (largest |eigenvalue|) `radius`; another shape is an error of `fill`.
    pub const fn spectral_radius(radius: f64) -> Self {
        Sparse { non_zeros: 15, scale: SparseScale::SpectralRadius(radius) }
    }

    /// Sets the number of nonzero inputs per unit, at least 1.
    #[must_use]
    pub const fn non_zeros(mut self, non_zeros: usize) -> Self {
        self.non_zeros = non_zeros;
        self
    }

    fn check(&self, shape: Shape) -> Result<(), Error> {
        require(self.non_zeros > 0, "sparse initializer: non_zeros", "at least 1", 0.0)?;
        match self.scale {
            SparseScale::Std(std) => {
                require(std.is_finite() && std >= 0.0, "sparse initializer: std", "finite and at least 0", std)
            }
            SparseScale::SpectralRadius(radius) => {
                let valid = radius.is_finite() && radius > 0.0;
                require(valid, "sparse initializer: spectral radius", "finite and above 0", radius)?;
                let square = shape.rows == shape.columns;
                let what = "sparse initializer: columns of a matrix with a spectral radius";
                require(square, what, "as many as its rows", shape.columns as f64)
            }
        }
    }
}

impl Initializer for Sparse {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        self.check(shape)?;
        shape.holds(values)?;
        if values.is_empty() {
            return Ok(());
        }
        values.fill(0.0);
        let std = match self.scale {
            SparseScale::Std(std) => std,
            SparseScale::SpectralRadius(_) => 1.0,
        };
        let columns = shape.columns;
        let count = self.non_zeros.min(columns);
        let mut normals = Normals::new();
        // Each row shuffles the columns and takes the first `count`. A shuffle may start from any order, so from that
        // of the row before.
        let mut places = reserve("the places of a row", columns)?;
        places.extend(0..columns);
        for row in values.chunks_exact_mut(columns) {
            for i in 0..count {
                places.swap(i, i + below(rng, columns - i));
                row[places[i]] = std * normals.next(rng);
            }
        }
        if let SparseScale::SpectralRadius(radius) = self.scale {
            let drawn = spectral_radius(values, columns)?;
            let valid = drawn.is_finite() && drawn > 0.0;
            require(valid, "sparse initializer: spectral radius of the matrix drawn", "finite and above 0", drawn)?;
            let factor = radius / drawn;
            for value in values.iter_mut() {
                *value *= factor;
            }
        }
        check_finite("sparse initializer", values)
    }

    fn variance(&self, shape: Shape) -> Option<f64> {
        self.check(shape).ok()?;
        match self.scale {
            SparseScale::Std(std) if shape.columns > 0 => {
                Some(std * std * self.non_zeros.min(shape.columns) as f64 / shape.columns as f64)
            }
            _ => None,
        }
    }

    fn mean(&self, shape: Shape) -> Option<f64> {
        self.check(shape).ok().map(|()| 0.0)
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::Sparse(self)
    }
}
