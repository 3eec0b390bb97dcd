//! A rule about a loss that climbs without a known cause.

use super::steps::{course, diverges, matrices};
use crate::diagnosis::{Cause, Diagnosis, Finding, Severity, figures::figure};
use alloc::{format, string::String, vec::Vec};

/// The mean cosine with the weights above which the direction of gradients, and of updates, is told by it. Convention.
const POINTS: f64 = 0.1;

/// Reports a loss that climbs above its first value and that of constant outputs, if no other fault was found. Updates
/// that point up the gradient do that, whatever the rate.
pub(super) fn climb(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let is_above = diagnosis.chance().is_some_and(|chance| run.recent_loss().mean() > chance);
    let accused = findings.iter().any(|finding| finding.severity > Severity::Note);
    if accused || !(is_above && diagnosis.has_patience() && diverges(diagnosis, run)) {
        return;
    }
    // With gradients g and updates Δ the cosines with the weights w: that of g, and that of −Δ.
    let cosines = matrices(diagnosis).map(|block| [block.pull().mean(), block.shrinkage().mean()]);
    let told = cosines.filter(|both| both.iter().all(|cosine| cosine.abs() > POINTS));
    let strongest = told.max_by(|a, b| a[0].abs().total_cmp(&b[0].abs()));
    let up = strongest.filter(|[gradient, against]| gradient * against < 0.0);
    let because = match up {
        Some([gradient, against]) => format!(
            "updates point up the gradient: their cosine with the weights is {}, and that of the gradient {}, which \
             have opposite signs in a descent",
            figure(-against, 2),
            figure(gradient, 2)
        ),
        None => String::from("no other fault was found, and no update is long beside its parameters"),
    };
    let text = format!("the loss climbs: it went {}", course(run));
    let finding = diagnosis.finding(Cause::NoCauseFound, Severity::Warning, "", text, because);
    let finding = Finding { refuted_by: "a loss that falls with a smaller rate", ..finding };
    let fix = "the sign of the rate, and that of the gradient of the loss, if either is your own code";
    findings.push(if up.is_some() { Finding { fix: fix.into(), ..finding } } else { finding });
}
