//! The noise of a recurrent layer as data: the rates of recurrent dropout and of zoneout.

use crate::{
    error::{Error, require},
    linalg::Upper,
};

/// The noise of a [`Recurrent`](crate::recurrent::Recurrent) layer in training: rates of recurrent dropout and of
/// zoneout.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct StateNoise {
    /// The rate of [`recurrent_dropout`](crate::recurrent::Recurrent::recurrent_dropout): the probability that a value
    /// of its mask is 0.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub dropout: f64,
    /// The rate of [`zoneout`](crate::recurrent::Recurrent::zoneout) of h: the probability that a unit keeps its
    /// previous h.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub zoneout_hidden: f64,
    /// The rate of [`zoneout`](crate::recurrent::Recurrent::zoneout) of the cell state: the probability that a unit
    /// keeps its previous cell state.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub zoneout_cell: f64,
}

impl StateNoise {
    /// Whether there is no noise: all rates are 0.
    pub fn is_none(&self) -> bool {
        *self == StateNoise::default()
    }

    /// Returns the name and the value of each rate that is not 0.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let StateNoise { dropout, zoneout_hidden, zoneout_cell } = *self;
        let rates =
            [("recurrent dropout", dropout), ("zoneout of h", zoneout_hidden), ("zoneout of the cell", zoneout_cell)];
        rates.into_iter().filter(|(_, rate)| *rate != 0.0)
    }

    /// Checks the rates: returns [`Error::Parameter`] if one is outside \[0, 1).
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.facts().try_for_each(|(what, rate)| {
            require((0.0..1.0).contains(&rate), what, "a rate of at least 0 and below 1", rate)
        })
    }

    /// Whether recurrent dropout is on: its rate is not 0.
    pub(crate) fn masks(&self) -> bool {
        self.dropout != 0.0
    }

    /// Whether zoneout is on: one of its rates is not 0.
    pub(crate) fn zones_out(&self) -> bool {
        self.zoneout_hidden != 0.0 || self.zoneout_cell != 0.0
    }

    /// Returns an upper bound on the values of the mask of recurrent dropout: `1/(1 − rate)`, or 1 without recurrent
    /// dropout.
    pub(crate) fn largest_factor(&self) -> Upper {
        // 1 − rate is rounded: the next float below it is at most the exact difference.
        if self.masks() { Upper::ONE.over((1.0 - self.dropout).next_down()) } else { Upper::ONE }
    }
}
