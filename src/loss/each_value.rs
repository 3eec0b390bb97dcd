//! Losses that are a sum or mean over all values.

use super::{Reduction, Rows, check_finite};
use crate::{error::Error, scalar::Scalar};

/// A loss `Σ ℓ(y, t)` over all values, or their mean.
pub(super) trait EachValue<T: Scalar> {
    /// The name of the loss, for errors.
    const NAME: &'static str;

    /// Returns `ℓ(y, t)` and `∂ℓ/∂y`.
    fn of(&self, y: T, t: T) -> (T, T);

    /// Refuses a target outside the range of the loss.
    fn check_target(&self, _t: T) -> Result<(), Error> {
        Ok(())
    }
}

/// Computes [`Loss::evaluate`](super::Loss::evaluate) of a loss that is a sum or mean over all values.
pub(super) fn evaluate<T: Scalar, E: EachValue<T>>(
    loss: &E,
    reduction: Reduction,
    rows: Rows<'_, T>,
) -> Result<T, Error> {
    let width = rows.width;
    let target = rows.values(E::NAME, width)?;
    let share = rows.total(width).share(reduction)?;
    rows.evaluate(share, |row, weight, y, dy, mean| {
        let target = &target[row * width..][..width];
        check_finite("targets", row * width, target)?;
        for ((&y, &target), dy) in y.iter().zip(target).zip(dy) {
            loss.check_target(target)?;
            let (value, slope) = loss.of(y, target);
            mean.add(weight, value);
            *dy = share.of(weight, slope);
        }
        Ok(())
    })
}
