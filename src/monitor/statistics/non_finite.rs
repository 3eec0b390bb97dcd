//! The first non-finite value of a run.

use crate::{monitor::Factor, scalar::Scalar};
use alloc::string::String;

/// The stage of an update at which the first non-finite value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum NonFiniteOrigin {
    /// The input of a link (factor of the chain rule, such as a layer) in the forward pass. It is the network's
    /// input, or the output of a layer that reports no link.
    Input,
    /// The output of a link (factor of the chain rule, such as a layer) in the forward pass, from a finite input.
    Forward,
    /// The gradient of the loss with respect to the output, or the gradient that leaves a layer that reports no link.
    Loss,
    /// The gradient with respect to the input of a link (factor of the chain rule, such as a layer) in the backward
    /// pass, although that with respect to its output is finite.
    Backward,
    /// The gradient of a parameter block.
    Gradient,
    /// The update of a parameter block.
    Update,
    /// The values of a parameter block.
    Parameters,
}

/// The first non-finite value of a run: its origin, the layer or parameter block that has it, and its pass.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NonFinite {
    /// The index, from 0, of the pass among the monitored ones; a pass without the monitor does not count.
    pub pass: u64,
    /// The stage of the update in which the value was found.
    pub origin: NonFiniteOrigin,
    /// The name of the link (factor of the chain rule, such as a layer) or of the parameter block.
    pub name: String,
    /// The kind of factor of the chain rule, such as weights or an activation; `None` for a parameter block.
    pub factor: Option<Factor>,
    /// Whether any of the non-finite values is infinite; otherwise all are NaN.
    pub infinite: bool,
    /// The row (time-major, among all rows of the batch) and column of the first non-finite value, if it is in the
    /// network's input; otherwise `None`.
    pub place: Option<[usize; 2]>,
}

impl NonFinite {
    pub(super) fn new<T: Scalar>(
        pass: u64,
        origin: NonFiniteOrigin,
        name: &str,
        factor: Option<Factor>,
        values: &[T],
    ) -> Self {
        let infinite = values.iter().any(|x| x.is_infinite());
        NonFinite { pass, origin, name: name.into(), factor, infinite, place: None }
    }

    /// Adds the row and column of the first non-finite value of the network's input `x`, whose rows have `width`
    /// values.
    pub(super) fn of_input<T: Scalar>(self, x: &[T], width: usize) -> Self {
        let index = x.iter().position(|x| !x.is_finite());
        NonFinite { place: index.map(|index| [index / width.max(1), index % width.max(1)]), ..self }
    }
}
