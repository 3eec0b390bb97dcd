//! Training of blocks that do not change.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::{diagnosis::Finding, error::Error};
use alloc::{
    format,
    string::{String, ToString},
};

/// Trains the layers that the finding names at the rate of the other layers: without a rate of 0 or a freeze of their
/// own.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrainBlock;

impl FixStrategy for TrainBlock {
    fn name(&self) -> &'static str {
        "the same rate for all"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::FrozenBlock
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let is_one = context
            .finding
            .layers
            .iter()
            .all(|range| range.first == context.finding.layer && range.first == range.last);
        let why = match is_one {
            true => format!("layer {} is trained at the rate of the others", context.finding.layer),
            false => format!("{} are trained at the rate of the others", context.finding.place()),
        };
        let blocks = Change::TrainBlock(common(context.finding));
        Ok(Some(context.fix(self.name(), Effort::Training, blocks, why).preferred()))
    }
}

/// Returns the path of the innermost layer that contains all layers of the finding; empty if that is the whole
/// network.
fn common(finding: &Finding) -> String {
    let ends = finding.layers.iter().flat_map(|range| [&range.first, &range.last]);
    let shared = |a: String, b: &String| {
        let same = a.split('.').zip(b.split('.')).take_while(|(a, b)| a == b).map(|(part, _)| part);
        same.collect::<alloc::vec::Vec<_>>().join(".")
    };
    ends.fold(finding.layer.to_string(), shared)
}
