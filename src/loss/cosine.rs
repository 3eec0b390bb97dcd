//! The cosine distance: a loss of the angle between output and target.

use super::{InBoth, Loss, Reduction, Rows, check_finite, in_double, own_evaluate, reduction_setter};
use crate::{
    error::{Error, require},
    scalar::{Scalar, is_narrow, scalar, to_f64},
};

/// Cosine distance of each row of outputs y and targets t: `1 − ⟨y, t⟩/(‖y‖ ‖t‖)`, by default the mean over rows.
///
/// Computed as `½ ‖ŷ − t̂‖²` of the directions `ŷ = y/‖y‖` and `t̂ = t/‖t‖`, so that a small distance keeps its
/// digits. An output of norm 0 has distance 1 and gradient 0. A target of norm 0 causes an error. It equals PyTorch's
/// `CosineEmbeddingLoss` with label 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CosineDistance {
    reduction: Reduction,
}

impl CosineDistance {
    /// Creates the loss, reduced to the mean over rows.
    pub fn new() -> Self {
        Self::default()
    }
}

reduction_setter!(CosineDistance, "rows");

/// Returns \[m, ‖row/m‖\], with m the largest magnitude of the row's values: m is NaN if a value is NaN, and ‖row/m‖
/// is NaN if m is 0. The two are returned separately because their product, the norm of the row, may overflow.
fn norm<T: Scalar>(row: &[T]) -> [T; 2] {
    let larger = |most: T, x: &T| if x.abs() > most || x.is_nan() { x.abs() } else { most };
    let most = row.iter().fold(T::zero(), larger);
    let square = row.iter().fold(T::zero(), |sum, &x| sum + (x / most) * (x / most));
    [most, square.sqrt()]
}

impl CosineDistance {
    /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and returns the
    /// loss as (rounded to `T`, as an `f64`).
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        if is_narrow::<T>() {
            return in_double(rows, |rows| self.evaluate_generic(rows));
        }
        let width = rows.width;
        Loss::<T>::check_width(self, width)?;
        let target = rows.values("CosineDistance", width)?;
        let share = rows.total(1).share(self.reduction)?;
        let half = scalar::<T>(0.5);
        rows.evaluate(share, |row, weight, y, dy, mean| {
            let t = &target[row * width..][..width];
            check_finite("targets", row * width, t)?;
            let ([of_y, y_norm], [of_t, t_norm]) = (norm(y), norm(t));
            require(!of_t.is_zero(), "the norm of a target of CosineDistance", "positive", to_f64(of_t))?;
            if of_y.is_zero() {
                mean.add(weight, T::one());
                dy.fill(T::zero());
                return Ok(());
            }
            let apart = |y: T, t: T| y / of_y / y_norm - t / of_t / t_norm;
            let distance = half * y.iter().zip(t).fold(T::zero(), |sum, (&y, &t)| sum + apart(y, t) * apart(y, t));
            mean.add(weight, distance);
            // ∂(1 − cos)/∂y = (cos ŷ − t̂)/‖y‖, and cos ŷ − t̂ = (ŷ − t̂) − (1 − cos) ŷ.
            for ((&y, &t), dy) in y.iter().zip(t).zip(dy) {
                *dy = share.of(weight, (apart(y, t) - distance * (y / of_y / y_norm)) / y_norm / of_y);
            }
            Ok(())
        })
    }
}

impl<T: Scalar> Loss<T> for CosineDistance {
    own_evaluate!(CosineDistance);

    fn check_width(&self, width: usize) -> Result<(), Error> {
        let needs = "at least 2 outputs, as a single number has no direction but its sign; for 1 output use \
                     MeanSquaredError";
        if width == 1 { Err(Error::IncompatibleLayer { what: "CosineDistance", needs }) } else { Ok(()) }
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn minimum_at_target(&self) -> bool {
        true
    }
}
