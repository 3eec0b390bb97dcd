//! The number of bytes that a workspace has allocated.

use super::Workspace;
use crate::{layer::Layer, scalar::Scalar};

impl<T: Scalar, L: Layer<T> + ?Sized> Workspace<T, L> {
    /// Returns the number of bytes of the workspace's arrays: input and output rows, values saved for the backward
    /// pass, scratch, states, buffers, and the gradient of the parameters. Partial sums of the gradient are included;
    /// they exist if an update adds more than 32 passes.
    ///
    /// Parameters, optimizer state, data, and the stacks of threads are not included.
    ///
    /// ```
    /// use chainrule::{BatchShape, layer::Linear, workspace::Workspace};
    /// let [small, large] = [1, 1000].map(|batch| {
    ///     Workspace::<f32, _>::new(Linear::new(3, 2), BatchShape::batch(batch)).map(|workspace| workspace.bytes())
    /// });
    /// assert!(large? - small? >= 999 * 4 * (3 + 2 + 2)); // x, y and the gradient of y
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn bytes(&self) -> usize {
        let memory = &self.memory;
        let values = [&memory.x, &memory.y, &memory.dy, &memory.dx, &memory.saved, &memory.scratch, &memory.gradient];
        let states = [&memory.state_end, &memory.d_state, &memory.d_state_end];
        let lengths = values.into_iter().chain(states).map(|values| values.len());
        let count: usize =
            lengths.sum::<usize>() + memory.state.len() + memory.buffers.count() + memory.part_sums.len();
        count * size_of::<T>()
    }
}
