//! The law of the gain bound.

use super::{Asked, Given, Suite, adjoint::at_rest};
use crate::{
    batch_shape::BatchShape,
    kernel::reduce::norm,
    testing::{
        Law,
        law::{beyond, listed},
    },
};
use alloc::format;

impl Suite<'_, '_> {
    /// Tests the stated bound on ‖J‖, the spectral norm of J = ∂y/∂x: `‖Jᵀ c‖ ≤ bound · ‖c‖`, for
    /// directions c from 12 steps of power iteration with `J Jᵀ`.
    #[inline]
    pub(super) fn gain_bound(&mut self) {
        const ITERATIONS: usize = 12;
        const ROUNDING: f64 = 1e-9;
        let layer = self.layers.double;
        let shapes = [BatchShape::batch(1), BatchShape::sequences(1, 5)];
        for (shape, size) in shapes.into_iter().flat_map(|shape| [1.0, 0.01, 10.0].map(|size| (shape, size))) {
            let Some(given) = self.draw(shape, 5) else { return };
            let w = given.w.iter().map(|w| size * w).collect();
            let mut given = Given { w, state: None, d_state: None, ..given };
            let Some(bound) = layer.gain_bound(&given.w, shape) else { continue };
            for _ in 0..ITERATIONS {
                // ‖Jᵀ‖ = ‖J‖, and the backward pass applies Jᵀ.
                let Some(results) = self.pass(layer, "f64", &given, &Asked::new(shape)) else { return };
                let gain = norm(&results.dx) / norm(&given.dy).max(f64::MIN_POSITIVE);
                if beyond(gain, bound * (1.0 + ROUNDING)) {
                    let place = self.at("f64", shape);
                    let input = format!("x = {}; parameters of seed {}, times {size}", listed(&given.x), self.seed);
                    let expected = format!("at most {bound:e}, the stated bound");
                    self.trial.breaks(Law::GainBound, place, expected, format!("{gain:e}"), input);
                    return;
                }
                let direction = Given { x: results.dx, ..at_rest(&given) };
                let Some([image, _]) = self.image(&given, &direction, &Asked::new(shape)) else { return };
                let length = norm(&image);
                if length == 0.0 {
                    break;
                }
                given.dy = image.iter().map(|value| value / length).collect();
            }
        }
    }
}
