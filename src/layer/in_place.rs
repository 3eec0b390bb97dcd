//! The in-place step: parameters are updated in the backward pass, while their gradient is in the cache.

use super::{Backward, Layer};
use crate::{block::Blocks, kernel::elementwise::descend, scalar::Scalar};
use core::ops::Range;

/// Parameters that a chain updates at once: with gradient and state they fit in a level-2 cache.
const WINDOW: usize = 1 << 14;

/// A step `w ← w + u(g)` of an element-wise chain, for the parameters of a layer. Sealed: only a workspace makes one.
pub struct InPlaceStep<'a, T> {
    /// The rate η of plain gradient descent, `w ← w − η g`; not read where there is a chain. Beside the chain and
    /// not in place of it: a step is copied for each layer, and a union would be read back wider than it was written.
    rate: T,
    chain: Option<(&'a Blocks, &'a mut Chain<'a, T>)>,
    /// Where the parameters of the layer begin in those of the network.
    start: usize,
}

/// `(blocks, start, w, g)`: updates the parameters of the network from `start` on; the content of g is arbitrary after.
pub(crate) type Chain<'a, T> = dyn FnMut(&Blocks, usize, &mut [T], &mut [T]) + 'a;

impl<'a, T: Scalar> InPlaceStep<'a, T> {
    /// A step of plain gradient descent: `w ← w − η g`, computed as `w + (−η) g`.
    pub(crate) fn plain(rate: T) -> Self {
        InPlaceStep { rate, chain: None, start: 0 }
    }

    /// A step of `chain` on parameters in these blocks.
    pub(crate) fn chain(blocks: &'a Blocks, chain: &'a mut Chain<'a, T>) -> Self {
        InPlaceStep { rate: T::zero(), chain: Some((blocks, chain)), start: 0 }
    }

    /// The rate η of plain gradient descent.
    pub(super) fn plain_rate(&self) -> Option<T> {
        if self.chain.is_none() { Some(self.rate) } else { None }
    }

    /// The step of a layer whose parameters begin `offset` later.
    pub(super) fn part(&mut self, offset: usize) -> InPlaceStep<'_, T> {
        let chain: Option<(_, &mut Chain<'_, T>)> = match &mut self.chain {
            Some((blocks, chain)) => Some((*blocks, &mut **chain)),
            None => None,
        };
        InPlaceStep { rate: self.rate, chain, start: self.start + offset }
    }

    /// Updates the parameters `w` of the layer.
    fn take(self, w: &mut [T], gradient: &mut [T]) {
        match self.chain {
            None => descend(w, self.rate, gradient),
            Some((blocks, chain)) => chain(blocks, self.start, w, gradient),
        }
    }
}

/// The backward pass of `layer`, and then the step.
pub(super) fn backward_and_update<T: Scalar>(
    layer: &(impl Layer<T> + ?Sized),
    w: &mut [T],
    step: InPlaceStep<'_, T>,
    mut pass: Backward<'_, T>,
) {
    pass.overwrite_dw = layer.hints().overwrites_dw;
    if !pass.overwrite_dw {
        pass.dw.fill(T::zero());
    }
    layer.backward(w, pass.reborrow());
    step.take(w, pass.dw);
}

/// How the backward pass treats the parameters: accumulate a gradient, or update in place.
pub(crate) enum Parameters<'a, T> {
    /// The pass computes their gradient.
    Stay(&'a [T]),
    /// The pass updates them. The buffer of the gradient is reused from layer to layer.
    Update(&'a mut [T], InPlaceStep<'a, T>),
}

impl<T: Scalar> Parameters<'_, T> {
    /// The values of the parameters.
    pub(crate) fn read(&self) -> &[T] {
        match self {
            Parameters::Stay(w) => w,
            Parameters::Update(w, _) => w,
        }
    }

    /// The rate η of plain gradient descent in place.
    pub(super) fn plain_rate(&self) -> Option<T> {
        match self {
            Parameters::Stay(_) => None,
            Parameters::Update(_, step) => step.plain_rate(),
        }
    }

    /// The parameters in `range`.
    pub(crate) fn part(&mut self, range: Range<usize>) -> Parameters<'_, T> {
        match self {
            Parameters::Stay(w) => Parameters::Stay(&w[range]),
            Parameters::Update(w, step) => Parameters::Update(&mut w[range.clone()], step.part(range.start)),
        }
    }

    /// Runs the backward pass of `layer`, to which the parameters belong.
    pub(crate) fn backward(self, layer: &dyn Layer<T>, mut pass: Backward<'_, T>) {
        match self {
            Parameters::Update(w, step) if !w.is_empty() => layer.backward_in_place(w, step, pass),
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

/// Parameters and gradient of layers one after the other, in a backward pass: from the last layer to the first.
///
/// In place the memory of the gradient is reused: a layer of many parameters is updated by itself, smaller ones
/// together.
pub(super) struct Collected<'w, 'd, T> {
    pub(super) w: Parameters<'w, T>,
    pub(super) dw: &'d mut [T],
    /// Parameters of a layer that takes the step itself, at least.
    alone: usize,
    /// Parameters that layers collect for a step together, at least.
    window: usize,
    /// Parameters at the end that are updated. The gradient of those before lies at the end of `dw`.
    updated: usize,
}

impl<'w, 'd, T: Scalar> Collected<'w, 'd, T> {
    pub(super) fn new(w: Parameters<'w, T>, dw: &'d mut [T]) -> Self {
        let (alone, window) = match &w {
            Parameters::Stay(_) => (usize::MAX, usize::MAX),
            Parameters::Update(_, step) if step.plain_rate().is_some() => (0, 0),
            Parameters::Update(..) => (WINDOW, WINDOW),
        };
        Collected { w, dw, alone, window, updated: 0 }
    }

    /// Where in `dw` the gradient of the parameters in `range` lies.
    #[inline]
    pub(super) fn place(&self, range: &Range<usize>) -> Range<usize> {
        range.start + self.updated..range.end + self.updated
    }

    /// Parameters and gradient of the layer with the parameters in `range`.
    #[inline]
    pub(super) fn layer(&mut self, range: Range<usize>) -> (Parameters<'_, T>, &mut [T]) {
        if range.len() < self.alone {
            let place = self.place(&range);
            return (Parameters::Stay(&self.w.read()[range]), &mut self.dw[place]);
        }
        if self.window > 0 {
            self.update_from(range.end);
        }
        let place = self.place(&range);
        (self.w.part(range), &mut self.dw[place])
    }

    /// Notes that the gradient of a layer with the parameters in `range` is complete.
    #[inline]
    pub(super) fn complete(&mut self, range: Range<usize>) {
        if range.len() >= self.alone {
            self.updated = self.w.read().len() - range.start;
        } else {
            self.complete_together(range);
        }
    }

    /// [`complete`](Self::complete) of layers that ran together: they take no step but that of plain gradient descent.
    #[inline]
    pub(super) fn complete_together(&mut self, range: Range<usize>) {
        let all = self.w.read().len();
        if self.window == 0 {
            self.updated = all - range.start;
        } else if all - range.start - self.updated >= self.window {
            self.update_from(range.start);
        }
    }

    /// Updates the parameters from `start` on that are not updated yet, if parameters are updated.
    pub(super) fn update_from(&mut self, start: usize) {
        if let Parameters::Update(w, step) = &mut self.w
            && start < w.len() - self.updated
        {
            let range = start..w.len() - self.updated;
            let place = range.start + self.updated..range.end + self.updated;
            self.updated = w.len() - start;
            step.part(start).take(&mut w[range], &mut self.dw[place]);
        }
    }
}
