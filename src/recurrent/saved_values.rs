//! The values of a recurrent layer at each time step that the forward pass saves for the backward pass.

use super::plan::Sizes;

/// The values of all time steps that the forward pass saves for the backward pass. In
/// [`Mode::Infer`](crate::layer::Mode::Infer) they are kept for one step only, and cell states for two.
pub(super) struct SavedValues<'a, T> {
    pub(super) z: &'a mut [T],
    pub(super) u: &'a mut [T],
    pub(super) operands: &'a mut [T],
    pub(super) masked: &'a mut [T],
    pub(super) computed: [&'a mut [T]; 2],
    pub(super) cell_state: &'a mut [T],
}

impl<'a, T> SavedValues<'a, T> {
    pub(super) fn new(sizes: Sizes, rows: usize, state_rows: usize, values: &'a mut [T]) -> Self {
        let (z, rest) = values.split_at_mut(rows * sizes.z);
        let (u, rest) = rest.split_at_mut(rows * sizes.u);
        let (operands, rest) = rest.split_at_mut(rows * sizes.operands);
        let (masked, rest) = rest.split_at_mut(rows * sizes.masked);
        let (h, rest) = rest.split_at_mut(rows * sizes.computed[0]);
        let (cell, rest) = rest.split_at_mut(rows * sizes.computed[1]);
        let cell_state = &mut rest[..state_rows * sizes.cell_state];
        SavedValues { z, u, operands, masked, computed: [h, cell], cell_state }
    }
}
