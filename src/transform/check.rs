//! Checks that hyper-parameters are in their ranges.

use crate::{
    error::{Error, require},
    scalar::{Scalar, least_normal, scalar, scaled},
};

/// Refuses a learning rate that is negative or not finite in the format `T`.
pub(crate) fn check_rate<T: Scalar>(rate: f64) -> Result<(), Error> {
    check_amount::<T>("the learning rate", rate)
}

/// Refuses the rate of an optimizer, as [`check_rate`] does, and a rate above 0 at which the update for the largest
/// gradient of the format is 0: it would change no parameter.
pub(super) fn check_own_rate<T: Scalar>(rate: f64) -> Result<(), Error> {
    check_rate::<T>(rate)?;
    let moves = rate == 0.0 || scaled(rate, T::max_value()) > T::zero();
    require(moves, "the learning rate", "0, or above 0 in the number format of the network", rate)
}

/// Refuses a decay of a moving average outside [0, 1); the error calls it `what`.
pub(super) fn check_decay(what: &'static str, decay: f64) -> Result<(), Error> {
    require((0.0..1.0).contains(&decay), what, "at least 0 and below 1", decay)
}

/// Refuses a value that is negative or not finite in the format `T`; the error calls it `what`.
pub(super) fn check_amount<T: Scalar>(what: &'static str, amount: f64) -> Result<(), Error> {
    require(amount >= 0.0 && amount.is_finite(), what, "finite and not negative", amount)?;
    require(scalar::<T>(amount).is_finite(), what, "finite in the number format of the network", amount)
}

/// Refuses an ε that is negative, not finite, or not 0 and yet too small for the format in which `T` is computed
/// (`f64` for the narrow formats): it would lose digits, or become 0.
pub(super) fn check_epsilon<T: Scalar>(what: &'static str, epsilon: f64) -> Result<(), Error> {
    check_amount::<T>(what, epsilon)?;
    let expected = "0 or at least the smallest normal number of the number format";
    require(epsilon == 0.0 || epsilon >= least_normal::<T>(), what, expected, epsilon)
}
