//! The parameters in a backward pass: accumulate their gradient, or update them in place.

use super::{Backward, Layer};
use crate::{kernel::elementwise::descend, scalar::Scalar};
use core::ops::Range;

/// The parameters on the way back.
pub(crate) enum Parameters<'a, T> {
    /// Their gradient is added to, or begun.
    Stay(&'a [T]),
    /// They take a step at that rate, and what memory there is for their gradient is used again and again.
    Descend(&'a mut [T], T),
}

impl<T: Scalar> Parameters<'_, T> {
    /// Them as they are.
    pub(crate) fn read(&self) -> &[T] {
        match self {
            Parameters::Stay(w) => w,
            Parameters::Descend(w, _) => w,
        }
    }

    /// Some of them.
    pub(crate) fn part(&mut self, range: Range<usize>) -> Parameters<'_, T> {
        match self {
            Parameters::Stay(w) => Parameters::Stay(&w[range]),
            Parameters::Descend(w, rate) => Parameters::Descend(&mut w[range], *rate),
        }
    }

    /// Goes back through `layer`, whose parameters they are.
    pub(crate) fn down(self, layer: &dyn Layer<T>, mut pass: Backward<'_, T>) {
        match self {
            Parameters::Descend(w, rate) if !w.is_empty() => layer.descend(w, rate, pass),
            still => {
                let w = still.read();
                let overwrites = !w.is_empty() && layer.overwrites();
                if pass.overwrite_dw && !overwrites {
                    pass.dw.fill(T::zero());
                }
                pass.overwrite_dw &= overwrites;
                layer.backward(w, pass);
            }
        }
    }
}

/// What [`Layer::descend`] is, in two passes.
pub(super) fn backward_and_step<T: Scalar>(
    layer: &(impl Layer<T> + ?Sized),
    w: &mut [T],
    rate: T,
    mut pass: Backward<'_, T>,
) {
    pass.overwrite_dw = layer.overwrites();
    if !pass.overwrite_dw {
        pass.dw.fill(T::zero());
    }
    layer.backward(w, pass.reborrow());
    descend(w, rate, pass.dw);
}
