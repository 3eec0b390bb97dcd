//! Skip connections around the hidden layers.

use super::{Cause, Effort, Fix, FixContext, FixStrategy};
use crate::{
    error::Error,
    layer::{BranchScale, LayerSpec, Linear},
};
use alloc::{boxed::Box, format, vec, vec::Vec};

/// Makes each hidden pair of weights and activation of equal widths the branch of a residual block, scaled by 1/√L
/// for L pairs (Hayou et al. 2021). The gradient passes the skip connections unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResidualBranches;

fn is_pair(layers: &[LayerSpec]) -> bool {
    match layers {
        [LayerSpec::Linear(Linear { inputs, outputs, .. }), LayerSpec::ActivationLayer { .. }, ..] => inputs == outputs,
        _ => false,
    }
}

impl FixStrategy for ResidualBranches {
    fn name(&self) -> &'static str {
        "residual branches"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, SaturatingActivation | SmallWeights | LargeWeights | Bottleneck | CollapsedRepresentation)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let LayerSpec::Sequential { input, layers } = context.network else { return Ok(None) };
        let pairs = (0..layers.len()).filter(|&i| is_pair(&layers[i..])).count();
        if pairs < 2 {
            return Ok(None);
        }
        let scale = BranchScale::Fixed(1.0 / libm::sqrt(pairs as f64));
        let (mut after, mut i) = (Vec::new(), 0);
        while i < layers.len() {
            if is_pair(&layers[i..]) {
                let branch = LayerSpec::Sequential {
                    input: layers[i].widths().0,
                    layers: vec![layers[i].clone(), layers[i + 1].clone()],
                };
                after.push(LayerSpec::Residual { branch: Box::new(branch), scale });
                i += 2;
            } else {
                after.push(layers[i].clone());
                i += 1;
            }
        }
        let why = format!("skip connections past {pairs} layers, with branches scaled by 1/√{pairs}");
        let after = LayerSpec::Sequential { input: *input, layers: after };
        let fix = context.network_becomes(self.name(), Effort::Structure, after, why)?;
        // A skip carries the angles between inputs, which no first values of plain layers keep.
        let removes = context.finding.cause == Cause::CollapsedRepresentation && fix.is_enough();
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
