//! New random initial values for all parameters, or for the layers that a finding names as the cause.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy, survivors::accused};
use crate::{
    diagnosis::Thresholds,
    error::Error,
    initializer::{Initializer, Zeros},
    layer::LayerSpec,
};
use alloc::{format, string::String};

/// Draws parameters again from the network's own initializers.
///
/// Independent draws of all parameters separate units that were set to equal values. For other causes only the
/// parameters of the layers that the finding names are drawn. It is proposed only if the measured decades differ from
/// the prediction by more than 1, or if an intervention over time shows that the draw helps. Units that were dead
/// before training are drawn again if the initial biases of their layers are 0. Initializers that make the fault, such
/// as those of biases of a mean other than 0 or of a large embedding table, are replaced by usual ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Redraw;

impl FixStrategy for Redraw {
    fn name(&self) -> &'static str {
        "parameters drawn again"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, DuplicatedUnits | Bottleneck | LargeWeights | SmallWeights | DeadUnits | NotANumber | Overflow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        if context.finding.cause == Cause::DuplicatedUnits {
            let why = String::from("independent random weights make the units different");
            let fix = context.fix(self.name(), Effort::Initialization, Change::Redraw, why);
            return Ok(Some(fix.preferred()));
        }
        let layers = accused(context.network, context.finding);
        // Of what the description draws faulty, a draw as described is no fix.
        if let Some((sound, drawn)) = context.with_sound_draws(context.network) {
            let why = format!("the parameters of {}, with {drawn}", context.finding.place());
            let fix = context.network_becomes(self.name(), Effort::Initialization, sound, why)?;
            return Ok(Some(fix.preferred()));
        }
        // A draw from the same initializers has the same distribution. So it helps only if the current values differ
        // from it.
        let described = context.budget(context.network)?;
        let expected = context.finding.predicted.filter(|predicted| predicted.is_finite()).or(described);
        // Decades over time have no forecast over depth; the intervention has shown that the draw helps.
        let over_time = context.finding.intervention.as_ref().is_some_and(|tried| tried.each_step);
        // Units that biases hold off, of layers whose biases begin at 0.
        let held_off = context.finding.cause == Cause::DeadUnits && !context.finding.came_with_training();
        let differs = match (context.finding.decades, expected) {
            _ if over_time => true,
            _ if held_off => draws_no_bias(context.network, &layers),
            // Decades beside a prediction of 0 are those of a size over the drawn one.
            (Some(found), Some(0.0)) => found.abs() > libm::log10(context.thresholds.changed),
            (Some(found), Some(expected)) => (found - expected).abs() > 1.0,
            _ => false,
        };
        // A budget that is faulty as described stays so.
        let Thresholds { vanishing: [low, _], exploding: [high, _], .. } = context.thresholds;
        let is_faulty = described.is_some_and(|decades| !(low..high).contains(&decades)) && !over_time && !held_off;
        if layers.is_empty() || !differs || is_faulty {
            return Ok(None);
        }
        let why = match layers.len() {
            1 | 2 => format!("the parameters of layer {} as the description draws them", layers.join(" and ")),
            _ => format!("the parameters of {} as the description draws them", context.finding.place()),
        };
        let fix = context.fix(self.name(), Effort::Initialization, Change::RedrawLayers(layers), why);
        let killed = context.finding.came_with_training();
        let after = described.filter(|_| !over_time && !held_off);
        Ok(Some(if killed { fix } else { Fix { after, ..fix }.preferred() }))
    }
}

/// Whether there is a `Linear` layer at the paths `layers`, and all such layers there have initial biases of 0.
fn draws_no_bias(network: &LayerSpec, layers: &[String]) -> bool {
    let parts = network.parts();
    let mut linear = parts.iter().filter(|(path, _)| layers.contains(path)).filter_map(|(_, part)| match part {
        LayerSpec::Linear(linear) => Some(linear),
        _ => None,
    });
    let is_zero = |linear: &crate::layer::Linear| linear.bias.as_ref().is_some_and(|bias| *bias == Zeros.kind());
    linear.next().is_some_and(is_zero) && linear.all(is_zero)
}
