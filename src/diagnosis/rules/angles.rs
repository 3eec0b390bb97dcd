//! The rule about representations that collapse: different inputs look alike.

use super::{layer_of, steps::diverges};
use crate::{
    diagnosis::{Cause, Diagnosis, Finding, Severity, figures::number, place::LayerRange},
    monitor::LinkStatistics,
};
use alloc::{format, string::String, vec::Vec};
use num_traits::Float;

/// Returns (1 − `first`)/(1 − `here`), where `first` and `here` are mean cosines between the pre-activations of
/// different samples: `first` in the first layer, `here` in the layer under test. Returns 1 unless both are known and
/// 1 − `here` is below `apart`.
fn closer([first, here]: [Option<f64>; 2], apart: f64) -> f64 {
    let both = first.zip(here).filter(|&(_, here)| 1.0 - here < apart);
    both.map_or(1.0, |(first, here)| (1.0 - first) / (1.0 - here).max(1e-12))
}

/// Reports the layers in which different inputs have nearly equal pre-activations, now or in the first pass, by the
/// thresholds [`similar`](crate::diagnosis::Thresholds::similar). The finding is critical if the loss has not fallen
/// after enough passes. Once the run has learned something, the factor
/// [`collapsed`](crate::diagnosis::Thresholds::collapsed) replaces the second value of `similar`. Otherwise, a cosine
/// above 0.99 in some consecutive passes is a note.
pub(super) fn angles(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let (links, run) = (statistics.links(), statistics.run());
    let Some(first) = links.iter().find(|link| link.cosine().is_some()) else { return };
    let ([apart, ratio], patience) = (diagnosis.thresholds.similar, diagnosis.thresholds.patience);
    let at_first = |link: &LinkStatistics| closer([first, link].map(LinkStatistics::first_cosine), apart);
    let judged = run.recent_loss().count() >= patience && !diagnosis.has_fitted();
    // Updates of the usual size may soon tell inputs apart, in a run whose loss has left that of constant outputs.
    let stands = judged && !diagnosis.has_fallen() && (!diagnosis.makes_up() || diagnosis.is_near_chance(run));
    let long = |link: &&LinkStatistics| link.collapsed_passes() >= diagnosis.thresholds.checks;
    let now = |link: &LinkStatistics| closer([first, link].map(LinkStatistics::cosine), apart);
    // Training separates inputs that a random network maps near each other; a falling loss shows that it does.
    let line = if diagnosis.is_near_chance(run) { ratio } else { diagnosis.thresholds.collapsed };
    // In a run whose loss climbs, representations that collapsed later are an effect and not the cause.
    let climbs = diverges(diagnosis, run);
    let alike = |link: &&LinkStatistics| stands && (now(link) > line && !climbs || at_first(link) > line);
    let Some(link) = links.iter().find(|link| alike(link) || long(link)) else { return };
    let harms = alike(&link);
    let last = links.iter().rfind(|link| alike(link) || long(link)).unwrap_or(link);
    let severity = if harms { Severity::Critical } else { Severity::Note };
    let [of_first, of_link] =
        [first, link].map(|link| [link.first_cosine(), link.cosine()].map(|it| it.unwrap_or(1.0)));
    let [first, _] = of_first.map(number);
    let [began, here] = [of_link[0], of_link[1]].map(number);
    let (look, cosine) = if now(link) > ratio || !harms { ("look", here) } else { ("looked", began.clone()) };
    let text = format!(
        "from layer {} on, different inputs {look} alike: their pre-activations have a cosine of {cosine} on \
         average{}{}",
        link.name(),
        if look == "look" { "" } else { " in the first pass" },
        if harms { format!(", and {}", diagnosis.not_fallen()) } else { String::new() }
    );
    let because = format!(
        "the cosine was {first} in the first layer and {began} here at the first step: two inputs differ here by {} % \
         of what they differ there, relative to their norm",
        // 1 − cosine is proportional to the squared distance, hence the square root.
        number(100.0 / Float::sqrt(now(link).max(at_first(link))))
    );
    let [layer, last] = [link, last].map(|link| String::from(layer_of(link.name())));
    let finding = diagnosis.finding(Cause::CollapsedRepresentation, severity, "", text, because);
    let since = if at_first(link) > line { diagnosis.seen_at(0) } else { finding.since };
    findings.push(Finding { since, ..finding.in_layers(LayerRange::over(&[layer, last])) });
}
