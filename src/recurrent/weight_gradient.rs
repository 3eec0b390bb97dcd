//! The gradients of W, U and the biases over some steps: `dW += δᵀ x`, `dU += δᵀ h_{t−1}`, `db += Σ δ`.

use super::{
    cell::Operand,
    plan::{Sizes, Unrolled, rows, rows_of},
    saved_values::SavedValues,
};
use crate::{
    batch_shape::BatchShape,
    kernel::{
        gemm::{Epilogue, MR, Matrix, TransposedA, gemm_tn},
        step_rows::parallel_rows,
        sums::add_column_sums,
    },
    layer::TrainableMask,
    scalar::Scalar,
};
use core::ops::Range;

/// The factors of δ in dW and dU.
pub(super) struct Operands<'a, T> {
    pub(super) x: &'a [T],
    /// y; in a segment of a longer pass, after the output of the step before, for the samples of the segment.
    pub(super) outputs: &'a [T],
    /// The samples that ran at the step before a segment; 0 if there is none.
    pub(super) samples_before: usize,
    /// The masked h of recurrent dropout, which the products read in place of h; empty without.
    pub(super) masked: &'a [T],
    /// The initial h, which is empty if it is zero.
    pub(super) h_start: &'a [T],
}

impl Unrolled {
    /// Adds the terms of some steps to dW, dU and the gradients of the biases, from the gradients δ of the
    /// pre-activations.
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
            add_column_sums(rows(slabs.u, of.start, of.len(), apart), apart, d_recurrent_bias);
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

    /// [`add_gradient`](Self::add_gradient) for the rows `own` of W, U and the bias, which `parameters` has.
    #[allow(clippy::too_many_arguments)]
    fn add_rows<T: Scalar>(
        &self,
        shape: BatchShape<'_>,
        steps: Range<usize>,
        trainable: TrainableMask<'_>,
        &Operands { x, outputs: y, samples_before, masked, h_start }: &Operands<'_, T>,
        slabs: &SavedValues<'_, T>,
        own: Range<usize>,
        [d_weight, d_recurrent, d_bias]: [&mut [T]; 3],
        scratch: &mut [T],
    ) {
        let Sizes { hidden, z: gates, u: apart, operands, .. } = self.sizes();
        let of = rows_of(shape, steps.clone());
        let z = &rows(slabs.z, of.start, of.len(), gates)[own.start..];
        // First, while z is in the cache.
        if trainable.block(2) && !d_bias.is_empty() {
            add_column_sums(z, gates, d_bias);
        }
        for separate in [false, true] {
            let (z, u) = (Matrix::new(z, gates), rows(slabs.u, of.start, of.len(), apart));
            // dW and dU are products with the same left factor. It is packed once if each gate begins with a whole
            // strip.
            let shared = !separate && trainable.block(0) && trainable.block(1) && hidden.is_multiple_of(MR);
            let (d, spare) = match shared {
                true => TransposedA::pack(z, [of.len(), own.len()], &mut *scratch),
                false => (z.into(), &mut *scratch),
            };
            if !separate && trainable.block(0) {
                let x = Matrix::new(rows(x, of.start, of.len(), self.inputs), self.inputs);
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
                    true => Matrix::new(&u[column + mine.start - start..], apart).into(),
                    false => d.part(0, first),
                };
                let mut add = |first: usize, count: usize, operand: Matrix<'_, T>| {
                    if count > 0 {
                        let d = d.part(first - of.start, 0);
                        gemm_tn(d, operand, [outputs, hidden, count], into, Epilogue::Accumulate, spare);
                    }
                };
                if product.operand == Operand::StageOutput {
                    let from = &slabs.operands[of.start * operands + (product.stage - 1) * hidden..];
                    add(of.start, of.len(), Matrix::new(from, operands));
                    continue;
                }
                if !masked.is_empty() {
                    add(of.start, of.len(), Matrix::new(rows(masked, of.start, of.len(), hidden), hidden));
                    continue;
                }
                // In a segment, `outputs` has one more step: the operand of step 0.
                let earlier = if samples_before > 0 { shape.batch } else { 0 };
                if steps.start == 0 && earlier == 0 && !h_start.is_empty() {
                    add(0, shape.batch, Matrix::new(h_start, hidden));
                }
                // Consecutive steps with the same samples as the step before them are one product.
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
                    add(now, count, Matrix::new(rows(y, from, count, hidden), hidden));
                    step = end;
                }
            }
        }
    }
}
