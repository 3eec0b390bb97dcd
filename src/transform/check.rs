//! Checks that hyper-parameters are in their ranges.

use crate::{
    error::{Error, require},
    scalar::{Scalar, least_normal, scalar, scaled},
};

/// Returns an error for a learning rate that is negative or not finite in the format `T`.
pub(crate) fn check_rate<T: Scalar>(rate: f64) -> Result<(), Error> {
    check_amount::<T>("the learning rate", rate)
}

/// Returns an error for a learning rate of an optimizer that [`check_rate`] refuses, or that is above 0 but so small
/// that even the largest gradient of the format gives an update of 0.
pub(super) fn check_own_rate<T: Scalar>(rate: f64) -> Result<(), Error> {
    check_rate::<T>(rate)?;
    let moves = rate == 0.0 || scaled(rate, T::max_value()) > T::zero();
    require(moves, "the learning rate", "0, or above 0 in the number format of the network", rate)
}

/// Returns an error for a decay of a moving average outside [0, 1); the error calls it `what`.
pub(super) fn check_decay(what: &'static str, decay: f64) -> Result<(), Error> {
    require((0.0..1.0).contains(&decay), what, "at least 0 and below 1", decay)
}

/// Returns an error for a value that is negative or not finite in the format `T`; the error calls it `what`.
pub(super) fn check_amount<T: Scalar>(what: &'static str, amount: f64) -> Result<(), Error> {
    require(amount >= 0.0 && amount.is_finite(), what, "finite and not negative", amount)?;
    require(scalar::<T>(amount).is_finite(), what, "finite in the number format of the network", amount)
}

/// Returns an error for an ε that is negative or not finite. An ε other than 0 must also be a normal number of the
/// format in which `T` is computed (`f64` for formats narrower than `f32`): otherwise it would lose digits, or
/// become 0.
pub(super) fn check_epsilon<T: Scalar>(what: &'static str, epsilon: f64) -> Result<(), Error> {
    check_amount::<T>(what, epsilon)?;
    let expected = "0 or at least the smallest normal number of the number format";
    require(epsilon == 0.0 || epsilon >= least_normal::<T>(), what, expected, epsilon)
}
