//! Losses of each value's distance from its target.

use super::{
    Loss, Reduction, Rows,
    each_value::{EachValue, evaluate},
    own_evaluate, reduction_setter,
};
use crate::{
    error::{Error, require},
    scalar::{Scalar, scalar},
};

macro_rules! distance {
    ($(#[$doc:meta])* $name:ident $({ $field:ident: $about:literal })?, default $default:expr;
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
                    require_in_format::<T>(concat!("the ", stringify!($field), " of ", stringify!($name)), self.$field)
                }
            )?
        }

        impl $name {
            /// Implements [`Loss::evaluate`] for any scalar type.
            pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<T, Error> {
                evaluate(self, self.reduction, rows)
            }
        }

        impl<T: Scalar> Loss<T> for $name {
            own_evaluate!($name);
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
    /// Squared error: `(y − t)²`, by default the mean over all values.
    MeanSquaredError, default MeanSquaredError { reduction: Reduction::Mean };
    value(_me, d) d * d;
    derivative d + d
}
distance! {
    /// Absolute error: `|y − t|`, by default the mean over all values. Where `y = t` its derivative is 0.
    MeanAbsoluteError, default MeanAbsoluteError { reduction: Reduction::Mean };
    value(_me, d) d.abs();
    derivative sign(d)
}
distance! {
    /// Huber's loss: `½ d²` for `|d| ≤ δ`, else `δ (|d| − ½ δ)`, with `d = y − t`. Source: Huber 1964.
    Huber { delta: "where the parabola becomes a line" }, default Huber { delta: 1.0, reduction: Reduction::Mean };
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
    /// Smooth L1: `½ d²/β` for `|d| < β`, else `|d| − ½ β`, with `d = y − t`: Huber's loss over β. Source:
    /// Girshick 2015, eq. 3.
    SmoothL1 { beta: "where the parabola becomes a line" }, default SmoothL1 { beta: 1.0, reduction: Reduction::Mean };
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
    /// Pinball loss: `−τ d` for `d < 0`, else `(1 − τ) d`, with `d = y − t`; at 0 its derivative is 0. Its
    /// minimum over y is the quantile τ of the targets. Source: Koenker & Bassett 1978.
    Pinball { quantile: "the quantile that is estimated" }, default Pinball { quantile: 0.5, reduction: Reduction::Mean };
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
    /// Creates the loss for the quantile τ, with the mean over all values.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `0 < τ < 1`.
    pub fn new(quantile: f64) -> Result<Self, Error> {
        require(quantile > 0.0 && quantile < 1.0, "the quantile of Pinball", "above 0 and below 1", quantile)?;
        Ok(Pinball { quantile, ..Self::default() })
    }
}

impl MeanSquaredError {
    /// Creates the loss with the mean over all values.
    pub fn new() -> Self {
        Self::default()
    }
}

impl MeanAbsoluteError {
    /// Creates the loss with the mean over all values.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Huber {
    /// Creates the loss with the threshold δ and the mean over all values.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `delta` is positive and finite.
    pub fn new(delta: f64) -> Result<Self, Error> {
        require(delta > 0.0 && delta.is_finite(), "Huber delta", "positive and finite", delta)?;
        Ok(Huber { delta, ..Self::default() })
    }
}

impl SmoothL1 {
    /// Creates the loss with the threshold β and the mean over all values.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `beta` is positive and finite.
    pub fn new(beta: f64) -> Result<Self, Error> {
        require(beta > 0.0 && beta.is_finite(), "SmoothL1 beta", "positive and finite", beta)?;
        Ok(SmoothL1 { beta, ..Self::default() })
    }
}

/// Refuses a positive `value` that is 0 or infinite in the format `T`; the error calls it `what`.
fn require_in_format<T: Scalar>(what: &'static str, value: f64) -> Result<(), Error> {
    let rounded = scalar::<T>(value);
    let valid = rounded > T::zero() && rounded.is_finite();
    require(valid, what, "positive and finite in the number format of the network", value)
}

/// Returns the sign of `d`: −1, 0 or 1; NaN for NaN.
fn sign<T: Scalar>(d: T) -> T {
    if d.is_zero() || d.is_nan() { d } else { d.signum() }
}
