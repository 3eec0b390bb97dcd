//! Interventions by theory: the predicted budget of a changed description.

use super::{
    Alteration, Verdict,
    change::{altered, weight_layers},
    search,
};
use crate::{
    diagnosis::Diagnosis,
    error::Error,
    theory::{InputStatistics, Prediction},
};

/// Returns the interventions on the budget that theory predicts for the description. A change whose budget is unknown
/// is skipped.
pub(in crate::diagnosis) fn forecast(diagnosis: &Diagnosis<'_>, before: f64) -> Verdict {
    let (network, lines) = (&diagnosis.node, &diagnosis.thresholds);
    let lines = [lines.vanishing[0], lines.exploding[0]];
    let mut budget = |alterations: &[Alteration], layers: &[_]| -> Result<Option<f64>, Error> {
        if alterations.iter().any(|it| matches!(it, Alteration::UnitGains | Alteration::OpenGates)) {
            return Ok(None);
        }
        let mut inputs = diagnosis.inputs;
        if alterations.contains(&Alteration::StandardizedInputs) {
            // Inputs of about unit scale need no standardization.
            if (0.25..4.0).contains(&inputs.second_moment()) {
                return Ok(None);
            }
            inputs = inputs.standardized();
        }
        let Some(after) = altered(network, alterations, layers) else { return Ok(None) };
        match Prediction::of_node(&after, inputs) {
            Ok(prediction) => Ok(prediction.decades_to_first_weights()),
            Err(_) => Ok(None),
        }
    };
    search(before, false, lines, &weight_layers(network), &mut budget).unwrap_or_default()
}

impl InputStatistics {
    /// Returns the statistics with mean 0 and mean square 1.
    fn standardized(self) -> Self {
        InputStatistics::new(1.0).and_then(|unit| unit.steps(self.sequence_steps())).unwrap_or(self)
    }
}
