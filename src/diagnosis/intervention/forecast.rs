//! Interventions by theory: the predicted budget, the change of the gradient's norm from loss to first weights in
//! decades (log10), of a changed layer specification.

use super::{
    Alteration, Budget, Verdict,
    change::{altered, weight_layers},
    search,
};
use crate::{
    diagnosis::Diagnosis,
    error::Error,
    monitor::Factor,
    theory::{InputStatistics, Prediction},
};
use alloc::vec::Vec;

/// Tries interventions by theory: predicts the budget, the decades (log10 change of the gradient's norm) from loss to
/// first weights, of the changed layer specification. `before` is the predicted budget without a change. A change
/// whose budget is unknown is skipped.
pub(in crate::diagnosis) fn forecast(diagnosis: &Diagnosis<'_>, before: f64) -> Verdict {
    let (network, lines) = (&diagnosis.spec, &diagnosis.thresholds);
    let lines = [lines.vanishing[0], lines.exploding[0]];
    let mut budget = |alterations: &[Alteration], layers: &[_]| -> Result<Option<Budget>, Error> {
        if alterations.iter().any(|it| matches!(it, Alteration::UnitGains)) {
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
            Ok(prediction) => Ok(Budget::predicted(&prediction)),
            Err(_) => Ok(None),
        }
    };
    let links = Budget::predicted(&diagnosis.prediction).map_or(Vec::new(), |budget| budget.links);
    search(network, &weight_layers(network), &[], &Budget { total: before, links }, false, lines, &mut budget)
        .unwrap_or_default()
}

impl Budget {
    fn predicted(prediction: &Prediction) -> Option<Self> {
        let total = prediction.decades_to_first_weights()?;
        // The gradient is followed to the output of the first weights, so the product with these weights is left out.
        let on_main_path = prediction.links().iter().rev().filter(|link| link.on_main_path).enumerate();
        let on_main_path =
            on_main_path.filter(|(at, link)| *at > 0 || link.factor != Factor::Weights).map(|(_, link)| link);
        Some(Budget {
            total,
            links: on_main_path.filter_map(|link| Some((link.name.clone(), link.factor, link.decades?))).collect(),
        })
    }
}

impl InputStatistics {
    /// Returns the statistics of these inputs after standardization: mean 0 and mean square 1.
    fn standardized(self) -> Self {
        InputStatistics::new(1.0).and_then(|unit| unit.steps(self.sequence_steps())).unwrap_or(self)
    }
}
