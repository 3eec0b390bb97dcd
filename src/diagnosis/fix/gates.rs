//! Gates in place of a plain recurrence.

use super::{Cause, Effort, Fix, FixContext, FixStrategy, rewrite};
use crate::{
    error::Error,
    initializer::{Chrono, Glorot, Initializer},
    layer::{CellKind, LayerSpec},
};
use alloc::format;

/// A plain recurrent layer becomes an LSTM whose gates remember as long as the task asks for ([`Chrono`]): its state is
/// multiplied by gates that learn to be near 1, not by one matrix again and again (Hochreiter & Schmidhuber 1997).
#[derive(Clone, Copy, Debug, Default)]
pub struct GatesInsteadOfTanh;

/// The number of steps that the gates must cover.
pub(super) fn span(context: &FixContext<'_>) -> usize {
    context.span.unwrap_or(100).max(2)
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
            LayerSpec::Recurrent { cell: cell @ CellKind::Elman(_), weights, recurrent, bias, .. } => {
                *cell = CellKind::Lstm;
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
