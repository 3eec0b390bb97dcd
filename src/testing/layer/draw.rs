//! Random values for a pass, their description, and the comparison of results.

use super::Given;
use crate::{
    batch_shape::BatchShape,
    block::Blocks,
    kernel::reduce::norm,
    layer::{Layer, Mode},
    random::{Normals, generator},
    scalar::{Scalar, to_f64},
    testing::caught,
};
use alloc::{format, string::String, vec, vec::Vec};
use num_traits::Float;

/// Draws parameters, input, initial state, and gradients of output and final state for a pass, all representable in
/// `f32`. `stream` distinguishes the draws of one `seed`.
///
/// # Errors
/// The error or panic of `initialize`.
pub(in crate::testing) fn draw<T: Scalar>(
    layer: &dyn Layer<T>,
    shape: BatchShape<'_>,
    seed: u64,
    stream: u64,
) -> Result<Given<f64>, String> {
    let dims = layer.dims();
    let mut rng = generator(seed.wrapping_mul(1_000_003).wrapping_add(stream));
    let mut w = vec![T::zero(); dims.parameters];
    let initialized = caught(|| layer.initialize(&mut w, &mut rng));
    initialized.and_then(|result| result.map_err(|error| format!("{error}")))?;
    let mut w: Vec<f64> = w.into_iter().map(to_f64).collect();
    let mut normals = Normals::new();
    let mut normal = |scale: f64| f64::from((normals.next(&mut rng) * scale) as f32);
    for block in &Blocks::collect(|visit| layer.blocks(visit)) {
        // Parameters of 0 or 1 hide mistakes, so all are perturbed.
        let w = &mut w[block.range.clone()];
        let size = norm(w) / Float::sqrt(w.len().max(1) as f64);
        let shift = if size == 0.0 { 0.3 } else { 0.1 * size };
        w.iter_mut().for_each(|w| *w = f64::from((*w + normal(shift)) as f32));
    }
    let mut some = |count: usize| (0..count).map(|_| normal(1.0)).collect::<Vec<f64>>();
    let states = layer.memory(shape, Mode::Train).state * shape.batch;
    Ok(Given {
        w,
        x: some(shape.rows() * dims.input),
        state: (states > 0).then(|| some(states)),
        dy: some(layer.output_shape(shape).rows() * dims.output),
        d_state: (states > 0).then(|| some(states)),
        earlier: Vec::new(),
    })
}

/// A batch shape in words, for a message.
#[inline]
pub(super) fn described(shape: BatchShape<'_>) -> String {
    let BatchShape { batch, steps, lengths, .. } = shape;
    let samples = if batch == 1 { "1 sample".into() } else { format!("{batch} samples") };
    match lengths {
        Some(lengths) => format!("samples of {lengths:?} steps"),
        None if steps == 1 => samples,
        None => format!("{samples} of {steps} steps"),
    }
}

/// Returns the first index at which two slices differ in a bit; 0 if they differ only in length, `None` if they are
/// equal. All NaN count as equal.
pub(in crate::testing) fn unequal<T: Scalar>(a: &[T], b: &[T]) -> Option<usize> {
    let same =
        |(&a, &b): (&T, &T)| (a == b && a.is_sign_negative() == b.is_sign_negative()) || (a.is_nan() && b.is_nan());
    a.iter().zip(b).position(|pair| !same(pair)).or((a.len() != b.len()).then_some(0))
}
