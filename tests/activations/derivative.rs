//! Each derivative against the value it is the derivative of.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn derivative_is_the_slope_of_the_value(z in -12.0..12.0f64) {
        let h = 1e-5;
        for activation in all() {
            if activation.kinks().iter().any(|kink| (kink - z).abs() <= 2.0 * h) {
                continue;
            }
            let slope = (activation.value(z + h) - activation.value(z - h)) / (2.0 * h);
            let found = activation.derivative(z);
            // CELU's φ″ and ELU's jump at 0: a difference across it is off by h/2 · φ″.
            prop_assert!((found - slope).abs() <= 3e-5, "{:?}′({}) = {}, slope {}", activation, z, found, slope);
        }
    }
}
