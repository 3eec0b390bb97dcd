//! References, boxes and shared pointers to layers are layers.

use super::{
    AddsByShard, Backward, Dims, Forward, Hints, InPlaceStep, InSegments, Layer, LayerSpec, MemorySizes, Mode, Samples,
    Structure,
};
use crate::{arc::Arc, batch_shape::BatchShape, block::Block, error::Error, scalar::Scalar};
use alloc::{boxed::Box, vec::Vec};
use rand_core::Rng;

/// Implements [`Layer`] for `$type`, a reference or pointer to a layer, by the methods of that layer.
macro_rules! delegate {
    ([$($generics:tt)*] $type:ty) => {
        impl<T: Scalar, $($generics)*> Layer<T> for $type {
            fn dims(&self) -> Dims {
                (**self).dims()
            }
            fn output_shape<'x>(&self, shape: BatchShape<'x>) -> BatchShape<'x> {
                (**self).output_shape(shape)
            }
            fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
                (**self).memory(shape, mode)
            }
            fn initialize_buffers(&self, buffers: &mut [T]) {
                (**self).initialize_buffers(buffers);
            }
            fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
                (**self).initialize(w, rng)
            }
            fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
                (**self).blocks(visit);
            }
            fn hints(&self) -> Hints {
                (**self).hints()
            }
            fn samples(&self) -> Samples {
                (**self).samples()
            }
            fn reads_later_steps(&self) -> bool {
                (**self).reads_later_steps()
            }
            fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
                (**self).gain_bound(w, shape)
            }
            fn state_gain_bounds(&self, w: &[T], shape: BatchShape<'_>) -> Option<Vec<f64>> {
                (**self).state_gain_bounds(w, shape)
            }
            fn structure(&self) -> Structure<'_, T> {
                (**self).structure()
            }
            fn spec(&self) -> LayerSpec {
                (**self).spec()
            }
            fn forward(&self, w: &[T], pass: Forward<'_, T>) {
                (**self).forward(w, pass);
            }
            fn backward(&self, w: &[T], pass: Backward<'_, T>) {
                (**self).backward(w, pass);
            }
            fn backward_in_place(&self, w: &mut [T], step: InPlaceStep<'_, T>, pass: Backward<'_, T>) {
                (**self).backward_in_place(w, step, pass);
            }
            fn adds_by_shard(&self, shape: BatchShape<'_>) -> AddsByShard {
                (**self).adds_by_shard(shape)
            }
            fn in_segments(&self) -> Option<InSegments<'_, T>> {
                (**self).in_segments()
            }
        }
    };
}

delegate!([L: Layer<T> + ?Sized] &L);
delegate!([L: Layer<T> + ?Sized] Box<L>);
delegate!([L: Layer<T> + ?Sized] Arc<L>);
