//! The law that passes do not depend on earlier passes.

use super::{Asked, Suite};
use crate::{batch_shape::BatchShape, layer::Layer, scalar::Scalar, testing::Law};
use alloc::format;

impl Suite<'_, '_> {
    /// Tests that a pass in the scalar called `name` gives the same bits after another one, and with another forward
    /// pass before its backward pass.
    pub(super) fn repeatable<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str) {
        for shape in [BatchShape::batch(1), BatchShape::sequences(2, 3)] {
            let (Some(given), Some(other)) = (self.draw(shape, 6), self.draw(BatchShape::batch(2), 7)) else { return };
            let usual = Asked::new(shape);
            let Some(plain) = self.pass(layer, name, &given, &usual) else { return };
            let Some(_) = self.pass(layer, name, &other, &Asked::new(BatchShape::batch(2))) else { return };
            for between in [false, true] {
                let Some(again) = self.pass(layer, name, &given, &Asked { between, ..usual }) else { return };
                let how = if between { "after another forward pass before backward" } else { "repeated" };
                if !self.agree(Law::Repeatable, format!("{}, {how}", self.at(name, shape)), &plain, &again) {
                    return;
                }
            }
        }
    }
}
