//! Losses that are a function of the difference of each value and its target.

use super::{
    InBoth, Loss, Reduction, Rows,
    each_value::{EachValue, evaluate},
    own_evaluate, reduction_setter,
};
use crate::{
    error::{Error, require},
    scalar::{Scalar, scalar},
};

macro_rules! distance {
    ($(#[$doc:meta])* $name:ident $({ $field:ident $(below $end:literal)?: $expected:literal })?, default $default:expr;
     value($me:ident, $d:ident) $value:expr; derivative $derivative:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name {
            $(#[cfg_attr(feature = "serde", serde(with = "crate::number"))] $field: f64,)?
            reduction: Reduction,
        }

        impl Default for $name {
            fn default() -> Self {
                $default
            }
        }

        reduction_setter!($name, "values");

        impl<T: Scalar> EachValue<T> for $name {
            const NAME: &'static str = stringify!($name);
            #[inline(always)]
            fn of(&self, _column: usize, y: T, t: T) -> (T, T) {
                let ($me, $d) = (self, y - t);
                ($value, $derivative)
            }
            $(
                fn check(&self, _width: usize) -> Result<(), Error> {
                    self.check_setting()?;
                    require_in_format::<T>(concat!("the ", stringify!($field), " of ", stringify!($name)), self.$field)
                }
            )?
        }

        $(
            impl $name {
                /// Returns an error if the setting of the loss, such as its threshold, is outside its range, like the
                /// constructor.
                fn check_setting(&self) -> Result<(), Error> {
                    let valid = self.$field > 0.0 && self.$field.is_finite() $(&& self.$field < $end)?;
                    let what = concat!("the ", stringify!($field), " of ", stringify!($name));
                    require(valid, what, $expected, self.$field)
                }
            }
        )?

        impl $name {
            /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and
            /// returns the loss as (rounded to `T`, as an `f64`).
            pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
                evaluate(self, self.reduction, rows)
            }
        }

        impl<T: Scalar> Loss<T> for $name {
            own_evaluate!($name);
            fn check_width(&self, width: usize) -> Result<(), Error> {
                EachValue::<T>::check(self, width)
            }
            fn reduction(&self) -> Reduction {
                self.reduction
            }
            fn minimum_at_target(&self) -> bool {
                true
            }
        }
    };
}

distance! {
    /// Squared error of each output y with target t: `(y − t)²`, by default the mean over all values.
    MeanSquaredError, default MeanSquaredError { reduction: Reduction::Mean };
    value(_me, d) d * d;
    derivative d + d
}
distance! {
    /// Absolute error of each output y with target t: `|y − t|`, by default the mean over all values. Where `y = t`
    /// its derivative is 0.
    MeanAbsoluteError, default MeanAbsoluteError { reduction: Reduction::Mean };
    value(_me, d) d.abs();
    derivative sign(d)
}
distance! {
    /// Huber's loss of each output y with target t: `½ d²` for `|d| ≤ δ`, else `δ (|d| − ½ δ)`, with `d = y − t`.
    /// Source: Huber 1964.
    Huber { delta: "positive and finite" }, default Huber { delta: 1.0, reduction: Reduction::Mean };
    value(me, d) {
        let (delta, half) = (scalar::<T>(me.delta), scalar::<T>(0.5));
        if d.abs() <= delta { half * d * d } else { delta * (d.abs() - half * delta) }
    };
    derivative {
        let delta = scalar::<T>(me.delta);
        if d.abs() <= delta { d } else { delta * sign(d) }
    }
}
distance! {
    /// Smooth L1 loss of each output y with target t: `½ d²/β` for `|d| < β`, else `|d| − ½ β`, with `d = y − t`. It
    /// is Huber's loss divided by β. Source: Girshick 2015, eq. 3.
    SmoothL1 { beta: "positive and finite" }, default SmoothL1 { beta: 1.0, reduction: Reduction::Mean };
    value(me, d) {
        let (beta, half) = (scalar::<T>(me.beta), scalar::<T>(0.5));
        if d.abs() < beta { half * d * d / beta } else { d.abs() - half * beta }
    };
    derivative {
        let beta = scalar::<T>(me.beta);
        if d.abs() < beta { d / beta } else { sign(d) }
    }
}

distance! {
    /// Pinball loss of each output y with target t: `−τ d` for `d < 0`, else `(1 − τ) d`, with `d = y − t`; at 0 its
    /// derivative is 0. Its minimum over y is the quantile τ of the targets. Source: Koenker & Bassett 1978.
    Pinball { quantile below 1.0: "above 0 and below 1" },
    default Pinball { quantile: 0.5, reduction: Reduction::Mean };
    value(me, d) {
        let [above, below] = [1.0 - me.quantile, me.quantile].map(scalar::<T>);
        if d < T::zero() { -below * d } else { above * d }
    };
    derivative {
        let [above, below] = [1.0 - me.quantile, me.quantile].map(scalar::<T>);
        if d.is_zero() || d.is_nan() {
            d
        } else if d < T::zero() {
            -below
        } else {
            above
        }
    }
}

impl Pinball {
    /// Creates the pinball loss for the quantile τ, `quantile`, with the mean over all values.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `0 < τ < 1`.
    pub fn new(quantile: f64) -> Result<Self, Error> {
        let loss = Pinball { quantile, ..Self::default() };
        loss.check_setting().map(|()| loss)
    }
}

impl MeanSquaredError {
    /// Creates the loss, reduced to the mean over all values.
    pub fn new() -> Self {
        Self::default()
    }
}

impl MeanAbsoluteError {
    /// Creates the loss, reduced to the mean over all values.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Huber {
    /// Creates the loss with the threshold δ, `delta`, and the mean over all values.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `delta` is positive and finite.
    pub fn new(delta: f64) -> Result<Self, Error> {
        let loss = Huber { delta, ..Self::default() };
        loss.check_setting().map(|()| loss)
    }
}

impl SmoothL1 {
    /// Creates the loss with the threshold β, `beta`, and the mean over all values.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `beta` is positive and finite.
    pub fn new(beta: f64) -> Result<Self, Error> {
        let loss = SmoothL1 { beta, ..Self::default() };
        loss.check_setting().map(|()| loss)
    }
}

/// Returns an error for a positive `value` that is 0 or infinite in the format `T`; `what` is the name of the value
/// in the error.
fn require_in_format<T: Scalar>(what: &'static str, value: f64) -> Result<(), Error> {
    let rounded = scalar::<T>(value);
    let valid = rounded > T::zero() && rounded.is_finite();
    require(valid, what, "positive and finite in the number format of the network", value)
}

/// Returns the sign of `d`: −1, 0 or 1; NaN for NaN.
fn sign<T: Scalar>(d: T) -> T {
    if d.is_zero() || d.is_nan() { d } else { d.signum() }
}
