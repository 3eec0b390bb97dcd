//! A gated cell in place of a plain recurrent cell.

use super::{Cause, Effort, Fix, FixContext, FixStrategy, rewrite};
use crate::{
    block::Gate,
    error::Error,
    initializer::{Chrono, Glorot, Initializer},
    layer::LayerSpec,
    recurrent::{CellKind, Lstm},
};
use alloc::format;

/// Replaces each recurrent layer without a gate that multiplies the former state by an LSTM. Its gates keep the state
/// over the time steps that the task must remember ([`Chrono`]).
///
/// The state is multiplied by gates that can learn to be near 1, instead of by the same matrix at every step
/// (Hochreiter & Schmidhuber 1997).
#[derive(Clone, Copy, Debug, Default)]
pub struct GatesInsteadOfTanh;

/// Returns the number of time steps over which the gates keep the state, at least 2: the number that the task must
/// remember. If this number is unknown, it is the number of time steps of a sequence, or 100 for inputs of one time
/// step.
pub(super) fn span(context: &FixContext<'_>) -> usize {
    let sequence = Some(context.inputs.sequence_steps()).filter(|&steps| steps > 1);
    context.span.or(sequence).unwrap_or(100).max(2)
}

/// Whether no gate of the cell multiplies the former state. False for an [`Mgu`](crate::recurrent::Mgu), whose gate
/// does so but is not marked, and for a custom cell, whose gates are unknown.
fn is_ungated(cell: &CellKind) -> bool {
    let carries = |gates: &[Gate]| gates.iter().any(|gate| gate.carries_state);
    !matches!(cell, CellKind::Mgu(_)) && cell.gates().is_some_and(|gates| !carries(gates))
}

impl FixStrategy for GatesInsteadOfTanh {
    fn name(&self) -> &'static str {
        "gates"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::VanishingRecurrence | Cause::ExplodingRecurrence)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let span = span(context);
        let gated = rewrite(context.network, &mut |leaf, _| match leaf {
            LayerSpec::Recurrent { cell, weights, recurrent, bias, .. } if is_ungated(cell) => {
                *cell = CellKind::Lstm(Lstm::new());
                (*weights, *recurrent) = (Glorot::uniform().kind(), Glorot::uniform().kind());
                *bias = Some(Chrono { span }.kind());
                true
            }
            _ => false,
        });
        let Some(after) = gated else { return Ok(None) };
        let why = format!(
            "an LSTM whose units forget after 2 to {span} steps, in place of a product of {span} equal matrices"
        );
        let fix = context.network_becomes(self.name(), Effort::Structure, after, why)?;
        let removes = context.finding.cause == Cause::VanishingRecurrence;
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
