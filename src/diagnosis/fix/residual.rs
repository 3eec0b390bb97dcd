//! Skip connections around the hidden layers.

use super::{Cause, Effort, Fix, FixContext, FixStrategy};
use crate::{
    error::Error,
    layer::{BranchScale, LayerSpec, Linear},
};
use alloc::{boxed::Box, format, vec::Vec};

/// Turns pairs of a hidden activation and a square `Linear` layer into the branches of residual layers, up to two pairs
/// in each: `x + W φ(V φ(x))/√L` for L ≥ 2 branches (He et al. 2016, "Identity mappings"; the scale of Hayou et
/// al. 2021). The skip connections pass the gradient unchanged.
///
/// A branch ends in its weights: weights of mean 0 add values of mean 0. The values of a branch that ended in a
/// rectifier would have a mean of one sign. L branches would add √L times that mean, and all inputs would become
/// alike. A branch has two products. The first mixes the units; without it every branch would read the same units of a
/// sum that hardly changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResidualBranches;

fn is_pair(layers: &[LayerSpec]) -> bool {
    match layers {
        [LayerSpec::ActivationLayer { .. }, LayerSpec::Linear(Linear { inputs, outputs, .. }), ..] => inputs == outputs,
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
        let (mut after, mut blocks, mut rest) = (Vec::new(), Vec::new(), &layers[..]);
        while let Some(first) = rest.first() {
            let pairs = (0..2).take_while(|&pair| rest.get(2 * pair..).is_some_and(is_pair)).count();
            if pairs > 0 {
                blocks.push(after.len());
                after.push(LayerSpec::Sequential { input: first.widths().0, layers: rest[..2 * pairs].to_vec() });
            } else {
                after.push(first.clone());
            }
            rest = &rest[(2 * pairs).max(1)..];
        }
        if blocks.len() < 2 {
            return Ok(None);
        }
        let scale = BranchScale::Fixed(1.0 / libm::sqrt(blocks.len() as f64));
        for &block in &blocks {
            after[block] = LayerSpec::Residual { branch: Box::new(after[block].clone()), scale };
        }
        let why = format!("skips past {0} blocks of hidden layers, with branches scaled by 1/√{0}", blocks.len());
        let after = LayerSpec::Sequential { input: *input, layers: after };
        let fix = context.network_becomes(self.name(), Effort::Structure, after, why)?;
        // Skip connections keep the angles between inputs; no initialization of layers without skip connections does.
        let removes = context.finding.cause == Cause::CollapsedRepresentation && fix.is_enough();
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
