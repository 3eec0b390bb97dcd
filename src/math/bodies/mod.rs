//! The bodies of the functions, the same for `f32` and `f64`. Each format supplies its constants and polynomials.
//!
//! Exponentials use the two-word reduction of Cody and Waite and keep its remainder. Logarithms follow `e_log.c` and
//! `s_log1p.c` of FreeBSD. `(1 + 2x) e^(x²) erfc x` is a polynomial in `(x−k)/(x+k)`, after Shepherd and
//! Laframboise, Math. Comp. 36 (1981) 249. Polynomials are Chebyshev interpolants computed with mpmath; their error is
//! below half a unit in the last place.

mod arithmetic;
mod exponential;
mod logarithm;
mod logistic;
mod mish;
mod normal;

pub(super) use self::{
    arithmetic::arithmetic, exponential::exponential, logarithm::logarithm, logistic::logistic, mish::mish,
    normal::normal,
};

/// `c₀ + c₁x + c₂x² + …` by Horner's rule.
macro_rules! polynomial {
    ($x:expr; $c:expr) => { $c };
    ($x:expr; $c:expr, $($rest:expr),+) => { mul_add::<FUSED>($x, polynomial!($x; $($rest),+), $c) };
}
pub(super) use polynomial;

/// Defines the functions of this folder for one format, `f32` or `f64`.
macro_rules! bodies {
    ($float:ident, $bits:ident) => {
        $crate::math::bodies::arithmetic!($float, $bits);
        $crate::math::bodies::exponential!($float);
        $crate::math::bodies::logistic!($float);
        $crate::math::bodies::logarithm!($float, $bits);
        $crate::math::bodies::normal!($float);
        $crate::math::bodies::mish!($float);
    };
}
pub(super) use bodies;
