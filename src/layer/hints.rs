//! Promises of a layer that let a network do less work.

use crate::batch_shape::BatchShape;

/// Promises of a layer that let a network do less work. All are false by default, which is safe.
///
/// A wrong promise gives wrong results; [`layer_laws!`](crate::layer_laws) tests each of them. A layer made of other
/// layers returns the hints that hold for the whole layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hints {
    /// `backward` does not read `x`, and may receive an empty slice: the network need not keep `x`.
    pub ignores_x: bool,
    /// `backward` does not read `y`, and may receive an empty slice.
    pub ignores_y: bool,
    /// `saved`, the memory for the backward pass, holds a fixed number of values per row, in row order, in every mode
    /// that saves. Threads may then process disjoint row ranges. For a layer without state a network does not call
    /// [`memory`](super::Layer::memory) again in each pass.
    pub saved_per_row: bool,
    /// `backward` overwrites `dw` if [`overwrite_dw`](super::Backward::overwrite_dw) is set. Without the hint `dw` is
    /// set to zero before such a pass, and `backward` adds. Blocks of `dw` that are not
    /// [trainable](super::Backward::trainable) may be left unchanged.
    pub overwrites_dw: bool,
    /// [`dy`](super::Backward::dy) may omit leading rows that are zero: `backward` then receives only the rows after
    /// them.
    pub accepts_short_dy: bool,
    /// For sequences of one length, all rows of `dx` before the last time step are zero for every `dy`, and
    /// [`dx`](super::Backward::dx) may omit them.
    pub dx_zero_before_last_step: bool,
}

impl Hints {
    /// No promise: every field is false.
    pub const NONE: Self = Hints {
        ignores_x: false,
        ignores_y: false,
        saved_per_row: false,
        overwrites_dw: false,
        accepts_short_dy: false,
        dx_zero_before_last_step: false,
    };

    /// Adds the promise [`ignores_x`](Self#structfield.ignores_x): `backward` does not read the input `x`.
    #[must_use]
    pub const fn ignores_x(self) -> Self {
        Hints { ignores_x: true, ..self }
    }

    /// Adds the promise [`ignores_y`](Self#structfield.ignores_y): `backward` does not read the output `y`.
    #[must_use]
    pub const fn ignores_y(self) -> Self {
        Hints { ignores_y: true, ..self }
    }

    /// Adds the promise [`saved_per_row`](Self#structfield.saved_per_row): the forward pass saves a fixed number of
    /// values per row, in row order.
    #[must_use]
    pub const fn saved_per_row(self) -> Self {
        Hints { saved_per_row: true, ..self }
    }

    /// Adds the promise [`overwrites_dw`](Self#structfield.overwrites_dw): `backward` overwrites the parameter
    /// gradient `dw` when asked to, instead of adding to it.
    #[must_use]
    pub const fn overwrites_dw(self) -> Self {
        Hints { overwrites_dw: true, ..self }
    }

    /// Adds the promise [`accepts_short_dy`](Self#structfield.accepts_short_dy): `backward` accepts a `dy` without
    /// its leading zero rows.
    #[must_use]
    pub const fn accepts_short_dy(self) -> Self {
        Hints { accepts_short_dy: true, ..self }
    }

    /// Adds the promise [`dx_zero_before_last_step`](Self#structfield.dx_zero_before_last_step): for sequences of one
    /// length, `dx` is zero before the last time step.
    #[must_use]
    pub const fn dx_zero_before_last_step(self) -> Self {
        Hints { dx_zero_before_last_step: true, ..self }
    }

    /// Returns the number of leading rows of `dx` that
    /// [`dx_zero_before_last_step`](Self#structfield.dx_zero_before_last_step) promises to be zero: 0 without this
    /// hint, or for sequences of unequal length.
    pub(crate) fn zero_rows(self, shape: BatchShape<'_>) -> usize {
        match self.dx_zero_before_last_step && shape.lengths.is_none() {
            true => shape.step(shape.steps.saturating_sub(1)).start,
            false => 0,
        }
    }
}
