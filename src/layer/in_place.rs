//! The in-place update: parameters are updated in the backward pass, while their gradient is in the cache.

use super::{Backward, Layer};
use crate::{block::Blocks, kernel::elementwise::descend, scalar::Scalar};
use core::{fmt, ops::Range};

/// The least number of parameters that gradient transforms such as Adam update at once in the backward pass. Layers
/// with fewer parameters are updated together with their neighbours; only the last update of a pass may be smaller.
/// This many parameters, with gradient and optimizer state, fit in a level-2 cache.
const WINDOW: usize = 1 << 14;

/// An update of the parameters w of a layer by their gradient g: plain gradient descent, or `w ← w + u(g)` with u a
/// sequence of element-wise gradient transforms, such as those of Adam. Sealed: only a workspace creates it.
pub struct InPlaceStep<'a, T> {
    /// The learning rate η of plain gradient descent, `w ← w − η g`; not used if there is a `chain` of transforms.
    /// It is a field of its own, not an enum variant beside `chain`. The value is copied for each layer, and an enum
    /// would be loaded in wider words than it was stored, which delays the load.
    rate: T,
    chain: Option<(&'a Blocks, &'a mut Chain<'a, T>)>,
    /// The index of the layer's first parameter in the network.
    start: usize,
}

/// A function of `(blocks, start, w, g)` that updates `w`, the network's parameters from index `start` on, by their
/// gradient g. `blocks` are all parameter blocks of the network. The function may overwrite g.
pub(crate) type Chain<'a, T> = dyn FnMut(&Blocks, usize, &mut [T], &mut [T]) + 'a;

/// Formats the learning rate or, with a chain of gradient transforms, the number of parameter blocks.
impl<T: fmt::Debug> fmt::Debug for InPlaceStep<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut step = f.debug_struct("InPlaceStep");
        match &self.chain {
            None => step.field("rate", &self.rate),
            Some((blocks, _)) => step.field("blocks", &blocks.len()),
        };
        step.field("start", &self.start).finish()
    }
}

impl<'a, T: Scalar> InPlaceStep<'a, T> {
    /// Creates an update by plain gradient descent: `w ← w − η g`, computed as `w + (−η) g`.
    pub(crate) fn plain(rate: T) -> Self {
        InPlaceStep { rate, chain: None, start: 0 }
    }

    /// Creates an update by `chain`, a sequence of gradient transforms, for a network with the parameter blocks
    /// `blocks`.
    pub(crate) fn chain(blocks: &'a Blocks, chain: &'a mut Chain<'a, T>) -> Self {
        InPlaceStep { rate: T::zero(), chain: Some((blocks, chain)), start: 0 }
    }

    /// Returns the rate η of plain gradient descent; `None` for a chain of transforms.
    pub(super) fn plain_rate(&self) -> Option<T> {
        if self.chain.is_none() { Some(self.rate) } else { None }
    }

    /// Returns the update for a layer inside this one, whose parameters begin at index `offset` of this layer's
    /// parameters.
    pub(super) fn part(&mut self, offset: usize) -> InPlaceStep<'_, T> {
        let chain: Option<(_, &mut Chain<'_, T>)> = match &mut self.chain {
            Some((blocks, chain)) => Some((*blocks, &mut **chain)),
            None => None,
        };
        InPlaceStep { rate: self.rate, chain, start: self.start + offset }
    }

    /// Updates the parameters `w` of the layer by their `gradient`, whose content is arbitrary afterwards.
    fn take(self, w: &mut [T], gradient: &mut [T]) {
        match self.chain {
            None => descend(w, self.rate, gradient),
            Some((blocks, chain)) => chain(blocks, self.start, w, gradient),
        }
    }
}

/// Runs the backward pass of `layer`, then updates its parameters `w` by `step`. It uses `pass.dw` as memory for the
/// gradient: its content is ignored on entry and arbitrary on return.
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
    /// The backward pass computes the gradient of these parameters, and leaves their values unchanged.
    Stay(&'a [T]),
    /// The backward pass updates these parameters in place by this [`InPlaceStep`]. The buffer of the gradient is
    /// reused from layer to layer.
    Update(&'a mut [T], InPlaceStep<'a, T>),
}

impl<T: Scalar> Parameters<'_, T> {
    /// Returns the values of the parameters.
    pub(crate) fn read(&self) -> &[T] {
        match self {
            Parameters::Stay(w) => w,
            Parameters::Update(w, _) => w,
        }
    }

    /// Returns the rate η of plain gradient descent in place; `None` for an update by a chain of transforms, and
    /// without an update in place.
    pub(super) fn plain_rate(&self) -> Option<T> {
        match self {
            Parameters::Stay(_) => None,
            Parameters::Update(_, step) => step.plain_rate(),
        }
    }

    /// Returns the parameters in `range`, counted from the first of these parameters. They are treated like all of
    /// these: left unchanged, or updated in place.
    pub(crate) fn part(&mut self, range: Range<usize>) -> Parameters<'_, T> {
        match self {
            Parameters::Stay(w) => Parameters::Stay(&w[range]),
            Parameters::Update(w, step) => Parameters::Update(&mut w[range.clone()], step.part(range.start)),
        }
    }

    /// Runs the backward pass of `layer`, to which the parameters belong. It updates them if they are to be updated in
    /// place; otherwise it adds to `pass.dw`, or overwrites it if `pass.overwrite_dw` is set.
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

/// Divides parameters and gradient among consecutive layers in a backward pass, from the last layer to the first.
///
/// With in-place updates the memory of the gradient is reused: a layer of many parameters is updated by itself, smaller
/// layers together.
pub(super) struct Collected<'w, 'd, T> {
    pub(super) w: Parameters<'w, T>,
    pub(super) dw: &'d mut [T],
    /// The least number of parameters that are updated at once: those of one layer, or of smaller layers together.
    /// `usize::MAX` without in-place updates, 0 with plain gradient descent.
    window: usize,
    /// The number of parameters, counted from the last one back, that are already updated. The gradient of the
    /// parameters before them is at the end of `dw`.
    updated: usize,
}

impl<'w, 'd, T: Scalar> Collected<'w, 'd, T> {
    pub(super) fn new(w: Parameters<'w, T>, dw: &'d mut [T]) -> Self {
        let window = match &w {
            Parameters::Stay(_) => usize::MAX,
            Parameters::Update(_, step) if step.plain_rate().is_some() => 0,
            Parameters::Update(..) => WINDOW,
        };
        Collected { w, dw, window, updated: 0 }
    }

    /// Returns the range of `dw` that holds the gradient of the parameters in `range`. Both ranges count from the first
    /// parameter of the network that owns the layers.
    #[inline]
    pub(super) fn place(&self, range: &Range<usize>) -> Range<usize> {
        range.start + self.updated..range.end + self.updated
    }

    /// Returns the parameters of the layer that owns `range`, and the memory for their gradient. A layer with enough
    /// parameters updates them in its own pass; the pending updates of smaller layers after it are then made first. The
    /// pass of a smaller layer only computes the gradient, and its update is made later, with those of its neighbours.
    #[inline]
    pub(super) fn layer(&mut self, range: Range<usize>) -> (Parameters<'_, T>, &mut [T]) {
        if range.len() < self.window {
            let place = self.place(&range);
            return (Parameters::Stay(&self.w.read()[range]), &mut self.dw[place]);
        }
        if self.window > 0 {
            self.update_from(range.end);
        }
        let place = self.place(&range);
        (self.w.part(range), &mut self.dw[place])
    }

    /// Records that the gradient of a layer with the parameters in `range` is complete. It is called for each layer,
    /// from the last to the first.
    #[inline]
    pub(super) fn complete(&mut self, range: Range<usize>) {
        if range.len() >= self.window {
            self.updated = self.w.read().len() - range.start;
        } else {
            self.complete_together(range);
        }
    }

    /// Records that the gradients of consecutive layers that ran together on several threads, with the parameters in
    /// `range`, are complete. With plain gradient descent, the passes of the layers have updated the parameters
    /// already; with other transforms they are updated once at least `window` parameters are pending.
    #[inline]
    pub(super) fn complete_together(&mut self, range: Range<usize>) {
        let all = self.w.read().len();
        if self.window == 0 {
            self.updated = all - range.start;
        } else if all - range.start - self.updated >= self.window {
            self.update_from(range.start);
        }
    }

    /// Updates the parameters from index `start` on that are not updated yet. Without in-place updates it does nothing.
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
