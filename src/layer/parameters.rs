//! The parameters in a backward pass: accumulate their gradient, or update them in place.

use super::{Backward, Layer};
use crate::{kernel::elementwise::descend, scalar::Scalar};
use core::ops::Range;

/// How the backward pass treats the parameters: accumulate a gradient, or update in place.
pub(crate) enum Parameters<'a, T> {
    /// The pass computes their gradient.
    Stay(&'a [T]),
    /// The pass subtracts rate times gradient. The buffer of the gradient is reused from layer to layer.
    Descend(&'a mut [T], T),
}

impl<T: Scalar> Parameters<'_, T> {
    /// The values of the parameters.
    pub(crate) fn read(&self) -> &[T] {
        match self {
            Parameters::Stay(w) => w,
            Parameters::Descend(w, _) => w,
        }
    }

    /// The parameters in `range`.
    pub(crate) fn part(&mut self, range: Range<usize>) -> Parameters<'_, T> {
        match self {
            Parameters::Stay(w) => Parameters::Stay(&w[range]),
            Parameters::Descend(w, rate) => Parameters::Descend(&mut w[range], *rate),
        }
    }

    /// Runs the backward pass of `layer`, to which the parameters belong.
    pub(crate) fn backward(self, layer: &dyn Layer<T>, mut pass: Backward<'_, T>) {
        match self {
            Parameters::Descend(w, rate) if !w.is_empty() => layer.descend(w, rate, pass),
            still => {
                let w = still.read();
                let overwrites = !w.is_empty() && layer.hints().overwrites_dw;
                if pass.overwrite_dw && !overwrites {
                    pass.dw.fill(T::zero());
                }
                pass.overwrite_dw &= overwrites;
                layer.backward(w, pass);
            }
        }
    }
}

/// The default of [`Layer::descend`]: a backward pass, then the update.
pub(super) fn backward_and_step<T: Scalar>(
    layer: &(impl Layer<T> + ?Sized),
    w: &mut [T],
    rate: T,
    mut pass: Backward<'_, T>,
) {
    pass.overwrite_dw = layer.hints().overwrites_dw;
    if !pass.overwrite_dw {
        pass.dw.fill(T::zero());
    }
    layer.backward(w, pass.reborrow());
    descend(w, rate, pass.dw);
}
