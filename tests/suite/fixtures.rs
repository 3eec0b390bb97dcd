//! Shapes, blocks and parts that several test modules use.

use crate::numbers::normals;
use chainrule::{
    BatchShape, Block, Blocks, Role, Scalar,
    diagnosis::{Cause, Report},
    loss::{RowLoss, Target},
};

/// The batch of sequences of these lengths: ragged if they differ.
pub fn batch_of(lengths: &[usize]) -> BatchShape<'_> {
    match lengths.iter().all(|length| *length == lengths[0]) {
        true => BatchShape::sequences(lengths.len(), lengths[0]),
        false => BatchShape::ragged(lengths),
    }
}

/// A block of each role: weights 0 to 2, recurrent weights 2 to 4, a bias 4, and the gain 5 of another layer.
pub fn roles() -> Blocks {
    Blocks::collect(|visit| {
        visit(Block::new("a.weight", 0, [1, 2], Role::Weight));
        visit(Block::new("a.recurrent", 2, [1, 2], Role::Recurrent));
        visit(Block::new("a.bias", 4, [1, 1], Role::Bias));
        visit(Block::new("b.gain", 5, [1, 1], Role::Gain));
    })
}

/// Standard normal numbers in f32.
pub fn normal(count: usize, seed: u64) -> Vec<f32> {
    normals(count, seed)
}

/// The cause and the layer of the root finding of a report, which must have one.
pub fn root(report: &Report) -> (Cause, &str) {
    let root = report.root().unwrap_or_else(|| panic!("nothing found: {report}"));
    (root.cause, &root.layer)
}

/// A custom loss: `(y − t)²` of the first value of a row.
#[derive(Clone, Copy, Debug)]
pub struct Squared;

impl RowLoss for Squared {
    fn row<T: Scalar>(&self, y: &[T], target: Target<'_, T>) -> T {
        let Target::Values(t) = target else { return T::nan() };
        (y[0] - t[0]) * (y[0] - t[0])
    }
}
