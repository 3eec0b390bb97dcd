//! Noise of a recurrent layer in training: dropout of the recurrent connection, and zoneout.

use crate::{
    cell::StateNoise,
    layer::{Context, DropoutKey, drop_threshold, kept_factor},
    scalar::{Scalar, scalar},
};

impl StateNoise {
    /// Overwrites `mask` with the mask of recurrent dropout, `hidden` values for each sample: 0 with the probability of
    /// the rate, otherwise 1/(1 − rate). In a pass that draws no masks all are 1. `ctx` is the context of the link
    /// (factor of the chain rule) whose values the mask multiplies; its index keys the mask.
    pub(super) fn write_mask<T: Scalar>(&self, ctx: &Context<'_, T>, hidden: usize, mask: &mut [T]) {
        if !ctx.draws_masks() {
            return mask.fill(T::one());
        }
        let (kept, threshold) = (kept_factor::<T>(self.dropout), drop_threshold(self.dropout));
        for (sample, mask) in mask.chunks_mut(hidden.max(1)).enumerate() {
            let row = ctx.dropout.without_step().row(ctx.path.index(), sample, 0);
            for (unit, mask) in mask.iter_mut().enumerate() {
                *mask = if row.is_dropped(unit, threshold) { T::zero() } else { kept };
            }
        }
    }

    /// Returns the zoneout of a pass: its rates for h and for the cell state, and the key of its masks. `ctx` is the
    /// context of the layer.
    pub(super) fn zoneout<T: Scalar>(&self, ctx: &Context<'_, T>) -> Zoneout {
        let (key, link, trains) = (ctx.dropout, ctx.path.index(), ctx.draws_masks());
        Zoneout { rates: [self.zoneout_hidden, self.zoneout_cell], key, link, trains }
    }
}

/// Computes `to ← to ⊙ mask`. An empty mask leaves `to` unchanged.
pub(super) fn multiply<T: Scalar>(to: &mut [T], mask: &[T]) {
    to.iter_mut().zip(mask).for_each(|(to, &mask)| *to *= mask);
}

/// The index of h in arrays of the two pieces of a state, h and cell state.
pub(super) const HIDDEN: usize = 0;
/// The index of the cell state in arrays of the two pieces of a state, h and cell state.
pub(super) const CELL: usize = 1;

/// Zoneout in a pass: `s_t = d ⊙ s_{t−1} + (1 − d) ⊙ s̃_t`, where s̃ is the state that the cell computed. The rate is
/// one of two, for s = h and for the cell state. In a pass that draws masks, d is 1 with the probability of the rate
/// and 0 otherwise, drawn for each unit of each time step. In other passes d is the rate itself.
#[derive(Clone, Copy)]
pub(super) struct Zoneout {
    rates: [f64; 2],
    key: DropoutKey,
    link: usize,
    trains: bool,
}

impl Zoneout {
    /// Calls `visit` with the index of each value of a piece of the state ([`HIDDEN`] or [`CELL`]) at time step
    /// `step`, and with the fraction d of its previous value that zoneout keeps. There are `values` values in rows
    /// of `width`; row 0 is sample `first` of the pass.
    fn each(
        &self,
        piece: usize,
        step: usize,
        first: usize,
        [width, values]: [usize; 2],
        mut visit: impl FnMut(usize, Share),
    ) {
        let rate = self.rates[piece];
        let threshold = drop_threshold(rate);
        for row in 0..values / width.max(1) {
            // The layer has several links; each piece of the state uses the index of its own link.
            let key = self.key.row(self.link.saturating_add(piece), first + row, step);
            for unit in 0..width {
                let share = match self.trains {
                    _ if rate == 0.0 => Share::None,
                    true if key.is_dropped(unit, threshold) => Share::All,
                    true => Share::None,
                    false => Share::Part(rate),
                };
                visit(row * width + unit, share);
            }
        }
    }

    /// Copies `state`, which the cell computed, to `computed`, and overwrites `state` with the state after zoneout.
    /// `previous` is the state of the time step before.
    ///
    /// All slices hold one `piece` of the state ([`HIDDEN`] or [`CELL`]) at `step`, in rows of `width` values; row 0 is
    /// sample `first` of the pass.
    pub(super) fn blend<T: Scalar>(
        &self,
        piece: usize,
        step: usize,
        first: usize,
        width: usize,
        previous: &[T],
        [computed, state]: [&mut [T]; 2],
    ) {
        computed.copy_from_slice(state);
        self.each(piece, step, first, [width, state.len()], |i, share| match share {
            Share::None => {}
            Share::All => state[i] = previous[i],
            Share::Part(d) => state[i] = scalar::<T>(d) * previous[i] + scalar::<T>(1.0 - d) * state[i],
        });
    }

    /// Splits the `gradient` g with respect to the state after zoneout, d being the fraction of the previous state that
    /// it keeps. `(1 − d) ⊙ g`, for the state that the cell computed, overwrites `gradient`; `d ⊙ g`, for the
    /// previous state, overwrites `kept`.
    ///
    /// Both hold one `piece` of the state ([`HIDDEN`] or [`CELL`]) at `step`, in rows of `width` values; row 0 is
    /// sample `first` of the pass.
    pub(super) fn divide<T: Scalar>(
        &self,
        piece: usize,
        step: usize,
        first: usize,
        width: usize,
        [gradient, kept]: [&mut [T]; 2],
    ) {
        self.each(piece, step, first, [width, gradient.len()], |i, share| {
            (gradient[i], kept[i]) = match share {
                Share::None => (gradient[i], T::zero()),
                Share::All => (T::zero(), gradient[i]),
                Share::Part(d) => (scalar::<T>(1.0 - d) * gradient[i], scalar::<T>(d) * gradient[i]),
            };
        });
    }
}

/// The fraction of the previous value of a unit that zoneout keeps: 0, 1, or a number between.
#[derive(Clone, Copy)]
enum Share {
    None,
    All,
    Part(f64),
}
