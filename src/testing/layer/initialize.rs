//! The laws of initial values of parameters.

use super::Suite;
use crate::{
    layer::Layer,
    random::generator,
    scalar::{Scalar, to_f64},
    testing::{Law, caught, law::beyond},
};
use alloc::{format, string::String, vec, vec::Vec};

/// The difference between `f32` and `f64` that is allowed, as a fraction of the largest value. It leaves room for a
/// decomposition in `f32`. Other random numbers differ by far more.
const ALLOWED: f64 = 1e-3;

/// Returns the initial values of the parameters for a seed, converted to `f64`, or the text of the error or panic.
fn initial<T: Scalar>(layer: &dyn Layer<T>, seed: u64) -> Result<Vec<f64>, String> {
    let mut w = vec![T::zero(); layer.dims().parameters];
    caught(|| layer.initialize(&mut w, &mut generator(seed)))?.map_err(|error| format!("{error}"))?;
    Ok(w.into_iter().map(to_f64).collect())
}

impl Suite<'_, '_> {
    /// Tests that initial values are finite, a function of the seed to the bit, and the same in both scalars to
    /// rounding.
    #[inline]
    pub(super) fn initializes(&mut self) {
        let (single, double) = (self.layers.single, self.layers.double);
        for seed in [self.seed, self.seed.wrapping_add(1)] {
            // A panic or an error is noted by `draw`.
            let Ok(w) = initial(double, seed) else { return };
            let (Ok(again), Ok(short)) = (initial(double, seed), initial(single, seed)) else { return };
            let size = w.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
            for (i, &value) in w.iter().enumerate() {
                let (law, expected, found) = if !value.is_finite() {
                    (Law::Extremes, String::from("a number"), value)
                } else if value.to_bits() != again[i].to_bits() {
                    (Law::Seeded, format!("{value:?} again"), again[i])
                } else if beyond((value - short[i]).abs(), ALLOWED * size) {
                    (Law::Precision, format!("{value:?} as in f64"), short[i])
                } else {
                    continue;
                };
                let place = format!("{}initialize with seed {seed}: w[{i}]", self.label);
                return self.trial.breaks(law, place, expected, format!("{found:?}"), "");
            }
        }
    }
}
