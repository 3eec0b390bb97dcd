//! The events of a recurrent layer's time steps for a monitor: gates, and the gradient through each link (factor of
//! the chain rule).

use super::{plan::Unrolled, stage::Stages};
use crate::{
    activation::AnyActivation,
    layer::Context,
    monitor::{Factor, Link},
    scalar::{Scalar, scalar, to_f64},
};

/// The index, within a recurrent layer, of the link (factor of the chain rule) of the input product `W x`, which acts
/// on all time steps at once. Link 0 is the whole layer.
pub(super) const INPUT_LINK: usize = 1;
/// The index, within a recurrent layer, of the addition at each time step, a link (factor of the chain rule). It
/// adds the gradient with respect to the step's output to the gradient that the next step passes back.
pub(super) const ADDITION_LINK: usize = 2;
/// The index, within a recurrent layer, of the link (factor of the chain rule) of each time step through the gates
/// and the other element-wise functions.
pub(super) const ACTIVATION_LINK: usize = 3;
/// The index, within a recurrent layer, of the link (factor of the chain rule) of each time step through the
/// products with the recurrent weights U.
pub(super) const RECURRENT_LINK: usize = 4;

impl Unrolled {
    /// Returns the activation of a cell with one gate; `None` for several gates, or if the cell states no activation.
    pub(super) fn sole_activation<'a, T>(&self, cell: &'a dyn Stages<T>) -> Option<&'a dyn AnyActivation> {
        if self.plan.gates.len() == 1 { cell.activation(0) } else { None }
    }

    /// Copies pre-activations from `z` to `monitored_z` before `stage` overwrites them: all of them before stage 0,
    /// later only those to which the stage's products were added. Both hold the rows of all active samples. If
    /// `monitored_z` is empty, nothing is copied.
    pub(super) fn record_pre_activations<T: Scalar>(&self, stage: usize, z: &[T], monitored_z: &mut [T]) {
        if monitored_z.is_empty() {
            return;
        }
        let width = self.sizes().z;
        for (z, monitored_z) in z.chunks(width.max(1)).zip(monitored_z.chunks_mut(width.max(1))) {
            if stage == 0 {
                monitored_z.copy_from_slice(z);
                continue;
            }
            for (product, column) in
                self.products().filter(|(product, _)| product.stage == stage && !product.keep_separate)
            {
                let columns = column..column + product.gates.len() * self.hidden;
                monitored_z[columns.clone()].copy_from_slice(&z[columns]);
            }
        }
    }

    /// Reports each gate's pre-activations and values at a time step to the monitor of `ctx`, except for gates
    /// without an activation. `z` holds the pre-activations of all gates, `active` rows. `live` is memory for two
    /// values of each unit of these rows.
    pub(super) fn report_gates<T: Scalar>(
        &self,
        cell: &dyn Stages<T>,
        ctx: Context<'_, T>,
        step: usize,
        z: &[T],
        active: usize,
        live: &mut [T],
    ) {
        let (hidden, width) = (self.hidden, z.len() / active);
        for (index, &gate) in self.plan.gates.iter().enumerate() {
            let Some(activation) = cell.activation(index) else { continue };
            let (before, after) = live.split_at_mut(active * hidden);
            let after = &mut after[..active * hidden];
            for (row, z) in before.chunks_mut(hidden).zip(z.chunks(width)) {
                row.copy_from_slice(&z[index * hidden..][..hidden]);
            }
            for (y, &z) in after.iter_mut().zip(&*before) {
                *y = scalar(activation.value_at(to_f64(z)));
            }
            let link = ctx.path.link(Factor::Activation, ctx.shape).at_step(step).gate(gate);
            ctx.monitor.forward(&link.activation(activation), before, after);
        }
    }
}

/// The gradient through the links (factors of the chain rule) of one time step, for a monitor. Values from several
/// slices are gathered into one of two buffers; the other has the gradient before the link. Without an active
/// monitor its methods do nothing.
pub(super) struct StepGradient<'a, T: Scalar> {
    buffers: Option<[&'a mut [T]; 2]>,
    before: usize,
    gathered: usize,
    ctx: Context<'a, T>,
    step: usize,
}

impl<'a, T: Scalar> StepGradient<'a, T> {
    pub(super) fn new(live: &'a mut [T], ctx: Context<'a, T>, step: usize) -> Self {
        let (before, after) = live.split_at_mut(live.len() / 2);
        let buffers = ctx.monitor.is_active().then_some([before, after]);
        StepGradient { buffers, before: 0, gathered: 0, ctx, step }
    }

    /// Appends the slices `parts` to the gradient that is being gathered for the next report to the monitor.
    pub(super) fn gather(&mut self, parts: &[&[T]]) {
        let Some([_, after]) = &mut self.buffers else { return };
        for part in parts {
            after[self.gathered..][..part.len()].copy_from_slice(part);
            self.gathered += part.len();
        }
    }

    /// Appends the columns `first` to `first + count − 1` of the matrix `slab`, whose rows have `stride` values, to
    /// the gradient that is being gathered for the next report to the monitor.
    pub(super) fn gather_columns(&mut self, slab: &[T], stride: usize, first: usize, count: usize) {
        if self.buffers.is_some() {
            slab.chunks(stride).for_each(|row| self.gather(&[&row[first..][..count]]));
        }
    }

    /// Makes the gathered gradient the gradient before the next link (factor of the chain rule), without a report to
    /// the monitor.
    pub(super) fn advance(&mut self) {
        if let Some(buffers) = &mut self.buffers {
            buffers.swap(0, 1);
        }
        (self.before, self.gathered) = (self.gathered, 0);
    }

    /// Reports the link (factor of the chain rule) with index `link` within the layer, of the kind `factor`: the
    /// gradient before it and the gathered one, which is then the gradient before the next link. `activation` is the
    /// activation of the link; `None` if it has none or several.
    pub(super) fn report(&mut self, link: usize, factor: Factor, activation: Option<&dyn AnyActivation>) {
        if let Some([before, after]) = &self.buffers {
            let link = self.ctx.path.part(link).link(factor, self.ctx.shape).at_step(self.step);
            let link = Link { activation, ..link };
            self.ctx.monitor.backward(&link, &before[..self.before], &after[..self.gathered]);
        }
        self.advance();
    }
}
