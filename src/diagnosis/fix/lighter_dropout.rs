//! Lower dropout rates, so that the noise of the masks stays below the signal.

use super::{Cause, Effort, Fix, FixContext, FixStrategy, rewrite};
use crate::{diagnosis::task::heaviest_masks, error::Error, layer::LayerSpec};
use alloc::format;

/// Lowers all rates of dropout above a common limit p to p, so that all masks together add at most a given fraction s
/// to the second moment of the outputs.
///
/// A mask of rate p multiplies the second moment of the masked values by 1/(1 − p), L masks by 1/(1 − p)ᴸ. The
/// product is 1 + s at p = 1 − (1 + s)^(−1/L). For a fraction s of 1 and one layer the rate is ½. L counts the
/// layers with masks. Recurrent dropout and zoneout are lowered to the same rate.
#[derive(Clone, Copy, Debug)]
pub struct LighterDropout {
    /// The fraction s of the second moment of the outputs that all masks together may add.
    pub(super) share: f64,
}

/// Returns the strategy with s = 0.1: the masks add a tenth of what the signal has.
impl Default for LighterDropout {
    fn default() -> Self {
        LighterDropout { share: 0.1 }
    }
}

impl FixStrategy for LighterDropout {
    fn name(&self) -> &'static str {
        "lighter dropout"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::DropoutTooHeavy
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let masked = context.network.parts().iter().filter(|(_, part)| heaviest_masks(part).is_some()).count();
        let most = 1.0 - libm::pow(1.0 + self.share, -1.0 / masked.max(1) as f64);
        let lighter = rewrite(context.network, &mut |leaf, _| {
            let lowers = heaviest_masks(leaf).is_some_and(|(_, rate)| rate > most);
            match leaf {
                LayerSpec::Dropout(dropout) => dropout.rate = dropout.rate.min(most),
                LayerSpec::Recurrent { noise, .. } => {
                    for rate in [&mut noise.dropout, &mut noise.zoneout_hidden, &mut noise.zoneout_cell] {
                        *rate = rate.min(most);
                    }
                }
                _ => {}
            }
            lowers
        });
        let Some(after) = lighter else { return Ok(None) };
        let why = format!("rates of at most {most:.2}: masks add {:.0} % of the signal", 100.0 * self.share);
        context.network_becomes(self.name(), Effort::Training, after, why).map(|fix| Some(fix.preferred()))
    }
}
