//! Orthogonal recurrent weights.

use super::{Cause, Effort, Fix, FixContext, FixStrategy, rewrite};
use crate::{
    diagnosis::intervention::rectifies,
    error::Error,
    initializer::{Identity, Initializer, Orthogonal},
    layer::LayerSpec,
};
use alloc::string::String;

/// Draws recurrent weights as orthogonal matrices. All singular values are 1, so a product of any number of them keeps
/// norms (Saxe et al. 2014; Henaff et al. 2016). Recurrent weights of a layer with a rectifier become the identity. A
/// rotation would turn half of a state of values above 0 into the flat part of the rectifier, which cuts it off, in
/// each step (Le, Jaitly & Hinton 2015).
#[derive(Clone, Copy, Debug, Default)]
pub struct OrthogonalRecurrence;

impl FixStrategy for OrthogonalRecurrence {
    fn name(&self) -> &'static str {
        "orthogonal recurrence"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::ExplodingRecurrence | Cause::VanishingRecurrence | Cause::Overflow | Cause::Cliff)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let orthogonal = rewrite(context.network, &mut |leaf, _| match leaf {
            LayerSpec::Recurrent { cell, recurrent, .. } => {
                let rectifies = cell.activation().is_some_and(rectifies);
                *recurrent = if rectifies { Identity::new(1.0).kind() } else { Orthogonal::default().kind() };
                true
            }
            _ => false,
        });
        let Some(after) = orthogonal else { return Ok(None) };
        let why =
            String::from("a recurrent matrix whose singular values are all 1: over time only φ′ and the gates remain");
        let fix = context.network_becomes(self.name(), Effort::Initialization, after, why)?;
        // A matrix that became too large during training would do so again.
        let removes = context.finding.cause == Cause::ExplodingRecurrence && !context.finding.came_with_training();
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
