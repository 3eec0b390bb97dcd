//! Removal of a last layer that bounds the outputs.

use super::{Cause, Effort, Fix, FixContext, FixStrategy};
use crate::{error::Error, layer::LayerSpec};
use alloc::format;

/// Removes a last layer, activation or softmax, whose range bounds the loss from below: a loss such as
/// [`CrossEntropy`](crate::loss::CrossEntropy) takes unbounded outputs, and applies softmax or sigmoid itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnsquashOutputs;

impl FixStrategy for UnsquashOutputs {
    fn name(&self) -> &'static str {
        "outputs of any size"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::SquashedOutputs
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let mut after = context.network.clone();
        let LayerSpec::Sequential { layers, .. } = &mut after else { return Ok(None) };
        let Some(LayerSpec::Softmax(_) | LayerSpec::ActivationLayer { .. }) = layers.pop() else { return Ok(None) };
        if layers.is_empty() {
            return Ok(None);
        }
        let why = format!(
            "without layer {} the outputs are unbounded, so the loss can fall to its least value",
            context.finding.layer
        );
        context.network_becomes(self.name(), Effort::Structure, after, why).map(|fix| Some(fix.preferred()))
    }
}
