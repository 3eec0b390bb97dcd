//! Gate biases that keep the state for the number of time steps that the task must remember.

use super::{Cause, Effort, Fix, FixContext, FixStrategy, gates::span, rewrite};
use crate::{
    error::Error,
    initializer::{Chrono, Initializer},
    layer::LayerSpec,
};
use alloc::format;

/// Draws the biases of gates by [`Chrono`] (Tallec & Ollivier 2018) for the number of time steps that the task must
/// remember. If this number is unknown, the number of time steps of a sequence takes its place, or 100 for inputs of
/// one time step. Only cells with a gate that multiplies the former state change.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForgetBias;

impl FixStrategy for ForgetBias {
    fn name(&self) -> &'static str {
        "biases of the gates"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, ClosedForgetGate | ClosedInputGate | ClosedOutputGate | VanishingRecurrence)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let span = span(context);
        let open = rewrite(context.network, &mut |leaf, _| match leaf {
            LayerSpec::Recurrent { cell, bias: Some(bias), .. }
                if cell.gates().is_some_and(|gates| gates.iter().any(|gate| gate.carries_state)) =>
            {
                *bias = Chrono { span }.kind();
                true
            }
            _ => false,
        });
        let Some(after) = open else { return Ok(None) };
        let why = format!("gate biases for memory over 2 to {span} steps, uniformly distributed over the units");
        context.network_becomes(self.name(), Effort::Initialization, after, why).map(|fix| Some(fix.preferred()))
    }
}
