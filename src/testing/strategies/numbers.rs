//! Strategies that draw floats, vectors of values, and widths.

use crate::scalar::{Scalar, scalar, to_f64};
use alloc::vec::Vec;
use proptest::{
    collection::{SizeRange, vec},
    prop_oneof,
    strategy::{BoxedStrategy, Just, Strategy, Union},
};

/// Finite numbers, mostly of ordinary size, some of any size. Edge cases are 0, −0, subnormal numbers, the smallest
/// normal number, the floats next to 1, and the largest number. Numbers shrink to 0.
pub fn finite<T: Scalar>() -> BoxedStrategy<T> {
    let exponent = |x: T| to_f64(x).log2() as i32;
    let exponents = exponent(T::min_positive_value())..=exponent(T::max_value());
    let sized = (within(1.0), exponents).prop_map(|(x, exponent)| {
        let size = scalar::<T>((1.0 + x.abs()) * f64::from(exponent).exp2()).min(T::max_value());
        if x < 0.0 { -size } else { size }
    });
    let (one, two) = (T::one(), scalar::<T>(2.0));
    let edges = [
        T::zero(),
        T::neg_zero(),
        one,
        -one,
        one + T::epsilon(),
        one - T::epsilon() / two,
        T::epsilon(),
        T::min_positive_value(),
        T::min_positive_value() / two,
        -T::min_positive_value() * T::epsilon(),
        T::max_value(),
        T::min_value(),
    ];
    prop_oneof![
        5 => within(10.0).prop_map(scalar),
        2 => Union::new(edges.map(Just)),
        2 => sized,
    ]
    .boxed()
}

/// [`finite`] numbers, ±∞ and NaN.
pub fn float<T: Scalar>() -> BoxedStrategy<T> {
    prop_oneof![
        9 => finite(),
        2 => Union::new([T::infinity(), T::neg_infinity(), T::nan()].map(Just)),
    ]
    .boxed()
}

/// Multiples of `bound`/10⁶ within ±`bound`, ends included, which shrink towards 0. They are drawn as whole numbers,
/// since proptest's nonzero floats do not shrink.
pub(super) fn within(bound: f64) -> impl Strategy<Value = f64> + Clone {
    const STEPS: i32 = 1_000_000;
    (-STEPS..=STEPS).prop_map(move |i| f64::from(i) / (f64::from(STEPS) / bound))
}

/// Multiples of 0.01 from `low` hundredths to `high` hundredths, ends included, for readable parameters.
pub(super) fn hundredths(low: i32, high: i32) -> impl Strategy<Value = f64> + Clone {
    (low..=high).prop_map(|i| f64::from(i) / 100.0)
}

/// Vectors of `length` numbers (a number or a range) within ±2, for rows, inputs or parameters.
pub fn values<T: Scalar>(length: impl Into<SizeRange>) -> BoxedStrategy<Vec<T>> {
    vec(within(2.0).prop_map(scalar), length).boxed()
}

/// A width, such as a number of units: from 1 to `most`, or 1 if `most` is 0.
pub fn widths(most: usize) -> BoxedStrategy<usize> {
    (1..=most.max(1)).boxed()
}
