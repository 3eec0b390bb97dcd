//! Links of the chain rule, and the factors that they apply.

use crate::{activation::AnyActivation, batch_shape::BatchShape, block::Gate};

/// The factor of the chain rule that a link applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Factor {
    /// The product with the weights W: `g_out = Wᵀ g_in` in the backward pass.
    Weights,
    /// The product with the derivative of the activation φ at the pre-activation z: `g_out = φ′(z) ⊙ g_in`.
    Activation,
    /// The addition of the gradients of two paths: a skip connection, or a loss at each time step.
    Addition,
    /// Other layers: normalization, pooling, dropout, and a whole recurrent layer from its output to its input.
    Other,
}

/// One link of the chain rule, such as a product with weights or an activation: its name, its factor and its time step.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Link<'a> {
    /// The name of the link (factor of the chain rule): the path of its layer, such as `3` or `3.residual.1`, or this
    /// path and a part of the layer, such as `0.recurrent`.
    pub name: &'a str,
    /// The index of the link's name in the list of the network's link names. In this list, the names of a layer's own
    /// links precede those of the layers inside it.
    pub index: usize,
    /// The factor of the chain rule that the link applies.
    pub factor: Factor,
    /// The time step, for a link between the time steps of a recurrent layer; `None` for a link from layer to layer.
    pub step: Option<usize>,
    /// The gate of a recurrent cell whose activation the link applies; `None` for other links.
    pub gate: Option<Gate>,
    /// Whether the link (factor of the chain rule) is on the main path from loss to input, not inside a parallel
    /// branch.
    pub on_main_path: bool,
    /// The batch shape of the pass. If a link is reported in several calls, it is the shape of the segment of time
    /// steps that this call reports.
    pub shape: BatchShape<'a>,
    /// The number of earlier calls of this pass for the same link. A link from layer to layer within a
    /// [`Checkpointed`](crate::recurrent::Checkpointed) layer is reported in one call for each segment of time steps.
    /// All other links are reported in one call, with 0 here.
    pub parts_before: usize,
    /// The number of later calls of this pass for the same link: 0 in the last or only call.
    pub parts_after: usize,
    /// The activation, if the factor is [`Factor::Activation`].
    pub activation: Option<&'a dyn AnyActivation>,
}

impl core::fmt::Debug for Link<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Link")
            .field("name", &self.name)
            .field("factor", &self.factor)
            .field("step", &self.step)
            .field("gate", &self.gate.map(|gate| gate.name))
            .field("on_main_path", &self.on_main_path)
            .finish_non_exhaustive()
    }
}
