//! A log-softmax after the last layer.

use super::{Cause, Effort, Fix, FixContext, FixStrategy};
use crate::{
    error::Error,
    layer::{LayerSpec, LogSoftmax},
};
use alloc::format;

/// Adds a [`LogSoftmax`] as the last layer, for a loss such as
/// [`NegativeLogLikelihood`](crate::loss::NegativeLogLikelihood), which expects logarithms of probabilities.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogProbabilities;

impl FixStrategy for LogProbabilities {
    fn name(&self) -> &'static str {
        "logarithms of probabilities"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::UnboundedLoss
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        // Of one output the logarithm of its probability is always 0.
        if context.network.widths().1 < 2 {
            return Ok(None);
        }
        let mut after = context.network.clone();
        let LayerSpec::Sequential { layers, .. } = &mut after else { return Ok(None) };
        layers.push(LayerSpec::LogSoftmax(LogSoftmax::new(context.network.widths().1)));
        let why = format!(
            "after layer {} a log-softmax makes each row logarithms of probabilities, none above 0",
            context.finding.layer
        );
        context.network_becomes(self.name(), Effort::Structure, after, why).map(|fix| Some(fix.preferred()))
    }
}
