//! A strategy that draws arguments of one activation.

use super::{finite, numbers::within};
use crate::{
    activation::Activation,
    scalar::{Scalar, scalar, to_f64},
    testing::{Measured, measure_derivative},
};
use alloc::{vec, vec::Vec};
use proptest::{
    prop_oneof,
    sample::select,
    strategy::{BoxedStrategy, Strategy},
};

/// Arguments at which `activation` is likely to be wrong, for your own property tests.
///
/// Four in nine are special points, or lie a few units in the last place or a small distance beside one. Special
/// points are the extremes of φ′ that [`measure_derivative`] finds, kinks, jumps, integers and halves up to ±20, and
/// ±88 and ±709, where exponentials overflow. Two in nine are in the tails from ±10 to ±1000, two are within ±10, and
/// one is any [`finite`] number.
///
/// 256 cases find a bound that is wrong by 1e-6, whether φ′ has an extreme or approaches it at ±∞.
///
/// ```
/// use chainrule::{Activation, activation::Gelu, proptest::prelude::*, testing::strategies::arguments_of};
/// proptest!(|(z in arguments_of::<f32>(&Gelu))| {
///     let derivative = Gelu.derivative(z, Gelu.value(z));
///     prop_assert!(Gelu.derivative_bounds().unwrap().contains(derivative));
/// });
/// ```
pub fn arguments_of<T: Scalar>(activation: &impl Activation) -> BoxedStrategy<T> {
    let largest = to_f64(T::max_value());
    let Measured { inf_at, sup_at, kinks, jumps, .. } = measure_derivative(activation, 0);
    // An extreme that is approached at ±∞ is nearly reached at large arguments.
    let far = |at: f64| if at.is_finite() { vec![at] } else { [1e3, 1e6, largest].map(|z| z.copysign(at)).to_vec() };
    let extremes = [far(sup_at), far(inf_at)].concat();
    let mut breaks = [activation.kinks(), activation.jumps(), kinks, jumps].concat();
    breaks.retain(|place| place.is_finite() && place.abs() <= largest);
    breaks.push(0.0);
    let turns: Vec<f64> = (0..=40).map(|i| 0.5 * f64::from(i)).chain([88.0, 709.0]).collect();
    let signs = || select(&[1.0, -1.0][..]);
    let tail = (signs(), 1000..=3000i32).prop_map(|(sign, exponent)| sign * libm::exp10(f64::from(exponent) * 1e-3));
    prop_oneof![
        2 => within(10.0).prop_map(scalar),
        2 => beside(select(extremes)),
        1 => beside(select(breaks)),
        1 => beside((signs(), select(turns)).prop_map(|(sign, turn)| sign * turn)),
        2 => tail.prop_map(scalar),
        1 => finite(),
    ]
    .boxed()
}

/// A number drawn from `places`, or one up to four units in the last place beside it, or at a random distance of up
/// to 1, 0.1, … or 1e-8 from it.
fn beside<T: Scalar>(places: impl Strategy<Value = f64> + Clone + 'static) -> BoxedStrategy<T> {
    let roundings = (places.clone(), -4..=4i32).prop_map(|(place, ulps)| {
        let place = scalar::<T>(place);
        let size = if place.is_zero() { T::min_positive_value() } else { place.abs() * T::epsilon() };
        place + scalar::<T>(ulps.into()) * size
    });
    let near = (places.clone(), within(1.0), 0..=8i32)
        .prop_map(|(place, share, decades)| scalar(place + share * libm::exp10(-f64::from(decades))));
    let finite = |z: T| z.max(T::min_value()).min(T::max_value());
    prop_oneof![2 => places.prop_map(scalar), 1 => roundings, 1 => near].prop_map(finite).boxed()
}
