//! The gradients of W, U and the biases over some time steps: `dW += δᵀ x`, `dU += δᵀ h_{t−1}`, `db += Σ δ`.

use super::{
    plan::{Sizes, Unrolled, rows, rows_of},
    saved_values::SavedValues,
};
use crate::{
    batch_shape::BatchShape,
    cell::Operand,
    kernel::{
        gemm::{Epilogue, MR, Matrix, TransposedA, gemm_tn},
        step_rows::parallel_rows,
        sums::add_matrix_sums,
    },
    layer::TrainableMask,
    scalar::Scalar,
};
use core::ops::Range;

/// The samples with the indices `first` to `first + count − 1` of a pass over `batch` samples. Their rows are read
/// from slices that hold the rows of all samples.
#[derive(Clone, Copy)]
pub(super) struct SampleRows {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) batch: usize,
}

impl SampleRows {
    pub(super) fn all(batch: usize) -> Self {
        SampleRows { first: 0, count: batch, batch }
    }

    /// Returns a matrix of `count` rows, each of `width` values. `values` holds the rows of all samples, of which the
    /// rows of the chosen samples are selected. `first` is the index of the first row of the matrix among the
    /// selected ones. Unless all samples are chosen, the rows must be whole time steps, and all samples must have the
    /// same length.
    pub(super) fn matrix<'a, T>(self, values: &'a [T], first: usize, count: usize, width: usize) -> Matrix<'a, T> {
        if self.count == self.batch {
            return Matrix::new(rows(values, first, count, width), width);
        }
        let first = first / self.count * self.batch + self.first;
        Matrix::grouped(&values[first * width..], width, self.count, self.batch * width)
    }
}

/// The matrices that δ, the gradient of the pre-activations, multiplies in `dW = δᵀ x` and `dU = δᵀ h_{t−1}`,
/// and the samples whose terms are added.
pub(super) struct Operands<'a, T> {
    /// The samples whose terms are added to the gradient. If they are only some of the batch, the shape given to
    /// `add_gradient` is that of a pass over them alone, while the slices hold the rows of all samples.
    pub(super) samples: SampleRows,
    pub(super) x: &'a [T],
    /// The outputs y. In a segment of a longer pass, the outputs of the time step before the segment come first, one
    /// row for each sample of the segment.
    pub(super) outputs: &'a [T],
    /// The number of samples that ran at the time step before the segment, if this is a segment of a longer pass; 0
    /// if there is no such step.
    pub(super) samples_before: usize,
    /// The h after multiplication by the mask of recurrent dropout, which the products with U read in place of h;
    /// empty without recurrent dropout.
    pub(super) masked: &'a [T],
    /// The initial h of all samples; empty if it is zero.
    pub(super) h_start: &'a [T],
}

impl Unrolled {
    /// Adds the terms of the time steps `steps` to `dw`, the gradient of all parameters: to dW, dU and the gradients
    /// of those biases that are `trainable`. In `slabs`, z and u hold δ, the gradients with respect to the
    /// pre-activations.
    ///
    /// `shape` is the batch shape of the samples of `operands` alone, and `steps` are time steps of it. `scratch`
    /// may be sized for fewer threads than there are.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn add_gradient<T: Scalar>(
        &self,
        shape: BatchShape<'_>,
        steps: Range<usize>,
        trainable: TrainableMask<'_>,
        operands: &Operands<'_, T>,
        slabs: &SavedValues<'_, T>,
        dw: &mut [T],
        scratch: &mut [T],
    ) {
        let Sizes { hidden, z: gates, u: apart, .. } = self.sizes();
        let of = rows_of(shape, steps.clone());
        let [d_weight, d_recurrent, d_bias, d_recurrent_bias] = self.split_mut(dw);
        if trainable.block(3) && !d_recurrent_bias.is_empty() {
            let u = operands.samples.matrix(slabs.u, of.start, of.len(), apart);
            add_matrix_sums(u, of.len(), d_recurrent_bias);
        }
        let bias = usize::from(!d_bias.is_empty());
        let parameters = [(d_weight, self.inputs), (d_recurrent, hidden), (d_bias, bias)];
        // The scratch may have been sized for fewer threads.
        let parts = self.gradient_parts(of.len());
        let parts = if self.gradient_scratch::<T>(of.len(), parts) > scratch.len() { 1 } else { parts };
        parallel_rows([parts, gates, MR], parameters, scratch, |own, parameters, scratch| {
            self.add_rows(shape, steps.clone(), trainable, operands, slabs, own, parameters, scratch);
        });
    }

    /// Does the work of [`add_gradient`](Self::add_gradient) for the rows `own` of W, U and the bias alone. `d_weight`,
    /// `d_recurrent` and `d_bias` hold the gradients of these rows, to which the terms are added; `d_bias` is empty
    /// without a bias. The other arguments are those of `add_gradient`.
    #[allow(clippy::too_many_arguments)]
    fn add_rows<T: Scalar>(
        &self,
        shape: BatchShape<'_>,
        steps: Range<usize>,
        trainable: TrainableMask<'_>,
        &Operands { samples, x, outputs: y, samples_before, masked, h_start }: &Operands<'_, T>,
        slabs: &SavedValues<'_, T>,
        own: Range<usize>,
        [d_weight, d_recurrent, d_bias]: [&mut [T]; 3],
        scratch: &mut [T],
    ) {
        let Sizes { hidden, z: gates, u: apart, operands, .. } = self.sizes();
        let of = rows_of(shape, steps.clone());
        let z = samples.matrix(slabs.z, of.start, of.len(), gates).skip(0, own.start);
        // The bias first, while z is in the cache.
        if trainable.block(2) && !d_bias.is_empty() {
            add_matrix_sums(z, of.len(), d_bias);
        }
        for separate in [false, true] {
            let u = samples.matrix(slabs.u, of.start, of.len(), apart);
            // dW and dU are products with the same left factor. It is packed once if each gate begins with a whole
            // strip of `MR` rows.
            let shared = !separate && trainable.block(0) && trainable.block(1) && hidden.is_multiple_of(MR);
            let (d, spare) = match shared {
                true => TransposedA::pack(z, [of.len(), own.len()], &mut *scratch),
                false => (z.into(), &mut *scratch),
            };
            if !separate && trainable.block(0) {
                let x = samples.matrix(x, of.start, of.len(), self.inputs);
                gemm_tn(d, x, [own.len(), self.inputs, of.len()], d_weight, Epilogue::Accumulate, spare);
            }
            let products = self.products().filter(|(product, _)| product.keep_separate == separate);
            for (product, column) in products.filter(|_| trainable.block(1)) {
                let start = product.gates.start * hidden;
                let mine = own.start.max(start)..own.end.min(product.gates.end * hidden);
                if mine.is_empty() {
                    continue;
                }
                let (outputs, first) = (mine.len(), mine.start - own.start);
                let into = &mut d_recurrent[first * hidden..][..outputs * hidden];
                let d: TransposedA<'_, T> = match separate {
                    true => u.skip(0, column + mine.start - start).into(),
                    false => d.part(0, first),
                };
                let mut add = |first: usize, count: usize, operand: Matrix<'_, T>| {
                    if count > 0 {
                        let d = d.part(first - of.start, 0);
                        gemm_tn(d, operand, [outputs, hidden, count], into, Epilogue::Accumulate, spare);
                    }
                };
                if product.operand == Operand::StageOutput {
                    let from = samples.matrix(slabs.operands, of.start, of.len(), operands);
                    add(of.start, of.len(), from.skip(0, (product.stage - 1) * hidden));
                    continue;
                }
                if !masked.is_empty() {
                    add(of.start, of.len(), samples.matrix(masked, of.start, of.len(), hidden));
                    continue;
                }
                // In a segment, `y` begins with the outputs of the time step before it: the operand of step 0.
                let earlier = if samples_before > 0 { shape.batch } else { 0 };
                if steps.start == 0 && earlier == 0 && !h_start.is_empty() {
                    add(0, shape.batch, Matrix::new(&h_start[samples.first * hidden..], hidden));
                }
                // Consecutive time steps with the same samples as the step before them are one product.
                let mut step = if earlier > 0 { steps.start } else { steps.start.max(1) };
                while step < steps.end {
                    let (now, count) = (shape.step(step).start, shape.active(step));
                    let (before, from) = match step {
                        0 => (samples_before, 0),
                        _ => (shape.active(step - 1), earlier + shape.step(step - 1).start),
                    };
                    let next = |step: usize| step < steps.end && before == count && shape.active(step) == count;
                    let end = (step + 1..steps.end).find(|&step| !next(step)).unwrap_or(steps.end);
                    let count = (end - step) * count;
                    add(now, count, samples.matrix(y, from, count, hidden));
                    step = end;
                }
            }
        }
    }
}
