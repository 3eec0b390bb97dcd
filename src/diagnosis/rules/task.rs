//! Rules about data, loss and regularization: what a run cannot reach, whatever its gradient.

use crate::{
    block::Role,
    diagnosis::{Cause, Diagnosis, Finding, Severity, decades::signed, task::Task},
    layer::LayerSpec,
    monitor::RunStatistics,
};
use alloc::{format, vec::Vec};

/// The share of the loss of the best constant outputs above which a loss has learned nothing. Convention.
const NOTHING: f64 = 0.9;
/// The passes before a loss is compared with it.
const CHECKED: u64 = 25;

/// Whether the run does no better than outputs that ignore the inputs, after enough passes.
pub(super) fn learns_nothing(diagnosis: &Diagnosis<'_>, run: &RunStatistics) -> bool {
    match &diagnosis.task {
        Some(Task { constant, .. }) => {
            run.passes() >= CHECKED && *constant > 0.0 && run.recent_loss().mean() > NOTHING * constant
        }
        None => run.stagnates(),
    }
}

/// The factor of the gradient with a sample over that without it from which the sample outweighs all others.
const OUTWEIGHS: f64 = 10.0;

/// Reports a sample that is far larger than the others: a note unless it makes most of the gradient.
pub(super) fn outlier(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(outlier) = diagnosis.task.as_ref().and_then(|task| task.outlier) else { return };
    // An index has no scale.
    if diagnosis.node.reads_indices() && !outlier.of_targets {
        return;
    }
    let ([with, without], [size, median]) = (outlier.gradient, outlier.size);
    let severity = if with > OUTWEIGHS * without { Severity::Warning } else { Severity::Note };
    let what = if outlier.of_targets { "targets" } else { "inputs" };
    let text = format!(
        "sample {} is far larger than the others: its {what} have a root mean square of {size:.1e}, and those of the \
         median sample {median:.1e}",
        outlier.sample
    );
    let because = format!("with sample {} left out: a gradient of {without:.1e} instead of {with:.1e}", outlier.sample);
    let finding = diagnosis.finding(Cause::BadData, severity, "", text);
    findings.push(Finding { because: Some(because), sample: Some(outlier.sample), ..finding });
}

/// The share of the loss of the best constant outputs above which a bound on the loss is a fault. Convention: below a
/// third a loss has fallen far.
const HIGH: f64 = 1.0 / 3.0;

/// Reports a last layer in whose range the loss cannot be low.
pub(super) fn squashed(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(task) = &diagnosis.task else { return };
    let Some(least) = task.least.filter(|&least| least > HIGH * task.constant && task.constant > 0.0) else { return };
    let layer = &*diagnosis.node.last_layer().0;
    let text = format!(
        "the outputs of layer {layer} are squashed: within their range no loss is below {least:.2e}, and outputs that \
         ignore the inputs reach {:.2e}",
        task.constant
    );
    let because = format!("the loss of the best outputs in their range is {least:.2e}, a bound for any parameters");
    let finding = diagnosis.finding(Cause::SquashedOutputs, Severity::Critical, layer, text);
    findings.push(Finding { because: Some(because), confidence: 1.0, ..finding });
}

/// −cos(Δ, w) above which updates do little but shrink the weights. Convention: half.
const SHRINKS: f64 = 0.5;
/// The share of their first size below which weights have shrunk.
const SHRUNK: f64 = 0.5;

/// Reports weight decay that outweighs the gradient: all matrices shrink, and the loss has not fallen.
pub(super) fn decay(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let run = statistics.run();
    let matrices = statistics.blocks().iter().filter(|block| matches!(block.role(), Role::Weight | Role::Recurrent));
    let (mut most, mut least) = (0.0_f64, 1.0_f64);
    for block in matrices.filter(|block| !block.frozen() && !block.began_at_zero()) {
        most = most.max(block.parameters() / block.first_parameters().unwrap_or(f64::NAN));
        least = least.min(block.shrinkage().mean());
    }
    let harms = run.passes() >= 10 && !diagnosis.has_fallen() && !run.has_fitted();
    if !(harms && most > 0.0 && most < SHRUNK && least > SHRINKS) {
        return;
    }
    let text = format!(
        "weight decay outweighs the gradient: all weights have shrunk, the least to {:.0} % of their first size, and \
         the loss has not fallen",
        100.0 * most
    );
    let because = format!("updates have a cosine of at least {least:.2} with −w, and a gradient has next to none");
    let finding = diagnosis.finding(Cause::DecayTooStrong, Severity::Critical, "", text);
    findings.push(Finding { because: Some(because), decades: Some(libm::log10(most)), ..finding });
}

/// The correlation of the rows of a batch from which batches are not mixed. Convention: half of the variance.
const ALIKE: f64 = 0.5;
/// The factor over the loss of recent batches from which the loss on all of the data contradicts it.
const CONTRADICTS: f64 = 1.5;

/// Reports batches whose samples are alike, where the loss on all of the data has not fallen as that of batches.
pub(super) fn unmixed(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let Some(correlation) = run.batch_correlation().filter(|&correlation| correlation > ALIKE) else { return };
    let unexplained = findings.iter().all(|finding| finding.severity == Severity::Note);
    let recent = run.recent_loss().mean();
    let contradicts = diagnosis.task.as_ref().map(|task| {
        let fallen = run.first_loss().is_some_and(|first| task.loss < first * 2.0 / 3.0);
        task.loss > CONTRADICTS * recent || !fallen
    });
    let severity = match contradicts {
        Some(true) if unexplained => Severity::Warning,
        _ => Severity::Note,
    };
    let loss = diagnosis.task.as_ref().map_or(f64::NAN, |task| task.loss);
    let text = format!(
        "batches are not mixed: the gradients of rows of a batch have a correlation of {correlation:.2}, and samples \
         drawn at random have 0; the loss is {recent:.2e} on recent batches"
    );
    let because = format!("the loss of samples from all of the data is {loss:.2e} instead of {recent:.2e}");
    let finding = diagnosis.finding(Cause::UnmixedBatches, severity, "", text);
    findings.push(Finding { because: contradicts.map(|_| because), ..finding });
}

/// The share of the variance of the outputs above which masks of dropout change them more than the inputs do.
const DROWNS: f64 = 0.5;

/// Reports dropout whose masks change the outputs more than the inputs do, where the run has learned nothing.
pub(super) fn dropout(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let Some((task, [masked, share])) = diagnosis.task.as_ref().and_then(|task| Some((task, task.masked?))) else {
        return;
    };
    let unexplained = findings.iter().all(|finding| finding.severity == Severity::Note);
    if !(share > DROWNS && unexplained && learns_nothing(diagnosis, run)) {
        return;
    }
    let parts = diagnosis.node.parts();
    let rate = |part: &LayerSpec| if let LayerSpec::Dropout(dropout) = part { dropout.rate } else { 0.0 };
    let heaviest = parts.iter().max_by(|a, b| rate(a.1).total_cmp(&rate(b.1)));
    let layer = heaviest.map_or("", |(path, _)| path);
    let text = format!(
        "dropout is too heavy: its masks make {:.0} % of the variance of the outputs, and the loss is no lower than \
         that of outputs that ignore the inputs, {:.2e}",
        100.0 * share,
        task.constant
    );
    let because = format!("with dropout disabled: a loss of {:.2e} instead of {masked:.2e}", task.loss);
    let finding = diagnosis.finding(Cause::DropoutTooHeavy, Severity::Warning, layer, text);
    let noise = libm::log10(share / (1.0 - share));
    let text = format!("{}; noise over signal {} decades", finding.text, signed(noise));
    findings.push(Finding { because: Some(because), text, ..finding });
}

/// The p-value above which targets may be independent of inputs.
const INDEPENDENT: f64 = 0.05;

/// Notes targets that may not depend on the inputs, where the loss has not fallen.
pub(super) fn information(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let p = diagnosis.task.as_ref().and_then(|task| task.independent);
    let Some(p) = p.filter(|&p| p > INDEPENDENT && !diagnosis.has_fallen()) else { return };
    let text = format!(
        "the targets may not depend on the inputs: a permutation of them has as large a distance covariance with the \
         inputs in {:.0} % of cases",
        100.0 * p
    );
    findings.push(diagnosis.finding(Cause::NoInformation, Severity::Note, "", text));
}
