//! The bias of a shut gate, set to 0.

use super::{Cause, Effort, Fix, FixContext, FixStrategy, rewrite};
use crate::{
    error::Error,
    initializer::{ByGate, Initializer, Zeros},
    layer::LayerSpec,
};
use alloc::format;

/// Initializes the bias of the input or the output gate, whichever the finding is about, to 0 in all recurrent layers,
/// so that the gate is half open. The biases of the other gates are kept.
///
/// In a cell without an input gate, such as a GRU, the gate that carries the state admits the input, and its bias is
/// set instead.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenGate;

impl FixStrategy for OpenGate {
    fn name(&self) -> &'static str {
        "an open gate"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::ClosedInputGate | Cause::ClosedOutputGate)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let shut = if context.finding.cause == Cause::ClosedOutputGate { "output" } else { "input" };
        let mut opened = None;
        let after = rewrite(context.network, &mut |leaf, _| {
            let LayerSpec::Recurrent { cell, bias: Some(bias), .. } = leaf else { return false };
            let Some(gates) = cell.gates() else { return false };
            let named = gates.iter().find(|gate| gate.name == shut);
            let admits = || gates.iter().find(|gate| gate.carries_state && shut == "input");
            let Some(gate) = named.or_else(admits) else { return false };
            *bias = ByGate::new(bias.clone()).gate(gate.name, Zeros).kind();
            opened = Some(gate.name);
            true
        });
        let Some((after, gate)) = after.zip(opened) else { return Ok(None) };
        let why = format!("gate {gate} starts half open");
        context.network_becomes(self.name(), Effort::Initialization, after, why).map(|fix| Some(fix.preferred()))
    }
}
