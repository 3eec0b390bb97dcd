//! A transform with its state and the parameters that it updates, and the blocks and metrics of the runs.

use super::EPOCH;
use crate::{
    block::{Block, Blocks, Role},
    error::Error,
    scalar::Scalar,
    transform::{GradientTransform, Outcome, Update},
};
use alloc::{boxed::Box, vec::Vec};

/// A transform with its state and the parameters that it updates.
pub(super) struct Run<T: Scalar> {
    pub transform: Box<dyn GradientTransform<T>>,
    pub blocks: Blocks,
    pub state: Vec<T>,
    pub w: Vec<T>,
    /// Whether clips compute the norm of the gradient after clipping.
    pub recorded: bool,
    /// Whether any optimizer step so far was applied, not skipped.
    pub applied: bool,
}

impl<T: Scalar> Run<T> {
    /// Runs one optimizer step, with a gradient of 0 in frozen blocks. Returns what was added to the parameters: the
    /// update, or 0 if the transform skips the step.
    pub fn step(&mut self, gradient: &[T], step: u64) -> Result<Vec<T>, Error> {
        let mut gradient = gradient.to_vec();
        for block in self.blocks.iter().filter(|block| block.frozen) {
            gradient[block.range.clone()].fill(T::zero());
        }
        let update = Update::new(&self.blocks, &self.w, &mut gradient, &mut self.state, step).recorded(self.recorded);
        if self.transform.update(update)? == Outcome::Apply {
            self.applied = true;
            self.w.iter_mut().zip(&gradient).for_each(|(w, &update)| *w += update);
        } else {
            gradient.fill(T::zero());
        }
        Ok(gradient)
    }

    /// Runs one optimizer step of an element-wise chain of transforms on each piece of `length` parameters, one after
    /// the other. Before the last step of every [`EPOCH`] steps the transform receives a metric, such as a validation
    /// loss.
    pub fn step_in_pieces(&mut self, gradient: &[T], step: u64, length: usize) -> Result<(), Error> {
        let mut gradient = gradient.to_vec();
        if step % EPOCH == EPOCH - 1 {
            self.transform.on_metric(&self.blocks, metric(step), &mut self.state);
        }
        for (i, (w, gradient)) in self.w.chunks_mut(length).zip(gradient.chunks_mut(length)).enumerate() {
            let update = Update::new(&self.blocks, w, gradient, &mut self.state, step).starting_at(i * length);
            self.transform.update(update)?;
            w.iter_mut().zip(gradient).for_each(|(w, update)| *w += *update);
        }
        Ok(())
    }
}

/// The blocks of a run: seven blocks with 80 parameters in all, of every role. One of them is a single parameter.
pub(super) fn blocks() -> Blocks {
    Blocks::collect(|visit| {
        let mut start = 0;
        for (name, shape, role) in [
            ("0.weight", [6, 5], Role::Weight),
            ("0.bias", [6, 1], Role::Bias),
            ("1.gain", [6, 1], Role::Gain),
            ("2.weight", [5, 4], Role::Weight),
            ("2.recurrent", [3, 5], Role::Recurrent),
            ("2.bias", [2, 1], Role::Bias),
            ("3.gain", [1, 1], Role::Gain),
        ] {
            visit(Block::new(name, start, shape, role));
            start += shape[0] * shape[1];
        }
    })
}

/// Returns the metric (such as a validation loss) that a transform receives before step `step`. Successive metrics
/// rise and fall.
pub(super) fn metric(step: u64) -> f64 {
    1.0 + 0.5 * (step / EPOCH % 7) as f64 - 1.0 / (1.0 + step as f64)
}

/// Returns the first index at which two updates differ; `None` if they are equal. All NaN count as equal.
pub(super) fn differ<T: Scalar>(a: &[T], b: &[T]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b && !(a.is_nan() && b.is_nan()))
}
