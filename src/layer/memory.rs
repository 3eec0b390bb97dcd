//! Sizes of the memory that a layer needs for a pass.

use core::fmt::Debug;

/// Sizes of the memory that a layer needs for a pass, in numbers of values. They must not shrink when the number of
/// samples or of time steps grows.
///
/// A network needs more scratch for several threads. A layer with parts cannot compute how much: it passes all scratch
/// that it does not use itself to its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemorySizes {
    /// Values saved by the forward pass for the backward pass; 0 for [`Mode::Infer`](super::Mode::Infer).
    pub saved: usize,
    /// Values of temporary memory within one call of `forward` or `backward`.
    pub scratch: usize,
    /// Values of state per sample, such as h and c of an LSTM.
    pub state: usize,
    /// Values that persist from pass to pass beside the parameters, such as a running mean. Their number is the same
    /// for every pass. This field is not read for a layer with parts: the parts report their own.
    pub buffers: usize,
}

impl MemorySizes {
    /// Creates the sizes `saved`, `scratch` and `state`, without buffers.
    pub const fn new(saved: usize, scratch: usize, state: usize) -> Self {
        MemorySizes { saved, scratch, state, buffers: 0 }
    }

    /// Sets the number of values that persist from pass to pass. In a pass,
    /// [`Context::buffers`](super::Context::buffers) returns them.
    #[must_use]
    pub const fn buffers(self, buffers: usize) -> Self {
        MemorySizes { buffers, ..self }
    }
}
