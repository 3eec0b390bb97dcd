//! Rules about data, loss and regularization: limits on the loss that do not depend on the gradient.

use super::{layer_of_block, left_behind};
use crate::{
    block::Role,
    diagnosis::{
        Cause, Diagnosis, Finding, Severity,
        figures::number,
        place::{LayerRange, place},
        task::{Outliers, STEPS, Task, heaviest_masks},
    },
    layer::LayerSpec,
    monitor::{BlockStatistics, RunStatistics},
};
use alloc::{format, string::String, vec::Vec};

/// Reports samples that are far larger than the others: a note unless most of the gradient is due to them.
pub(super) fn outliers(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let outliers = diagnosis.task.as_ref().and_then(|task| task.outliers.as_ref());
    let Some(outliers) = outliers.filter(|outliers| outliers.is_told(&diagnosis.thresholds)) else { return };
    // Indices have no scale that could be too large.
    if diagnosis.spec.reads_indices() && !outliers.of_targets {
        return;
    }
    let finding = of_outliers(diagnosis, outliers, "sample");
    let samples = outliers.samples.clone();
    findings.push(Finding { sample: samples.first().copied(), samples, ..finding });
}

/// Returns the finding about samples, or rows of a batch, that are far larger than the others. `noun` is the word for
/// one of them, `sample` or `row`.
pub(super) fn of_outliers(diagnosis: &Diagnosis<'_>, outliers: &Outliers, noun: &str) -> Finding {
    let lines = &diagnosis.thresholds;
    // The parameters of a run that learned nothing may not show the harm that the samples did.
    let may_fit = diagnosis.chance().is_none() && diagnosis.has_fitted();
    let judged = diagnosis.has_patience() && !diagnosis.has_fallen() && !may_fit;
    let harmed = judged && !outliers.harms(lines) && outliers.harmed(lines);
    let gradient = outliers.at_first.filter(|_| harmed).unwrap_or(outliers.gradient);
    let ([with, without], [size, median]) = (gradient.map(number), outliers.size.map(number));
    let severity = if outliers.harms(lines) || harmed { Severity::Warning } else { Severity::Note };
    let (what, which) = (if outliers.of_targets { "targets" } else { "inputs" }, listed(&outliers.samples, noun));
    let (are, their, have, up_to) = match outliers.samples.len() {
        1 => ("is", "its", "has a value", ""),
        _ => ("are", "their", "have values", "up to "),
    };
    let text = match outliers.place {
        Some(column) => format!(
            "{which} {have} far larger than the others: {up_to}{size} in column {column} of the {what}, and the root \
             mean square of the median {noun} is {median}"
        ),
        None => format!(
            "{which} {are} far larger than the others: {their} {what} have a root mean square of {up_to}{size}, and \
             those of the median {noun} {median}"
        ),
    };
    let initial = if harmed { ", with initial parameters" } else { "" };
    let because = format!("with {which} left out{initial}: a gradient of norm {without} instead of {with} (measured)");
    let finding = diagnosis.finding(Cause::BadData, severity, "", text, because);
    Finding { refuted_by: "the same gradient without them", ..finding }
}

/// The largest number of samples that a sentence names; further samples are counted.
const NAMED: usize = 8;

/// Returns samples with their noun as text: for example `sample 3`, or `samples 3, 17, 29 and 4 more`.
fn listed(samples: &[usize], noun: &str) -> String {
    let named: Vec<String> = samples.iter().take(NAMED).map(|sample| format!("{sample}")).collect();
    let more = samples.len().saturating_sub(NAMED);
    match (&named[..], more) {
        ([one], 0) => format!("{noun} {one}"),
        ([others @ .., last], 0) => format!("{noun}s {} and {last}", others.join(", ")),
        (all, more) => format!("{noun}s {} and {more} more", all.join(", ")),
    }
}

/// Reports identical inputs. Their severity depends on the lowest loss of any function of the inputs, as a fraction
/// of the loss of the best constant outputs: critical above [`learned`](crate::diagnosis::Thresholds::learned), a
/// warning above [`unreachable`](crate::diagnosis::Thresholds::unreachable). It is a note if most inputs repeat,
/// unless there are fewer different inputs than classes. It is also a note if the targets are values and at most half
/// of the inputs are the same. A warning becomes a note if the loss of the run is near that lowest loss. Without
/// data, it reports a batch whose rows are all identical: a note unless the run is stuck.
pub(super) fn identical(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let of_batch = diagnosis.experiments.as_ref().filter(|it| diagnosis.task.is_none() && it.is_one_input);
    if of_batch.is_some() && !diagnosis.spec.reads_indices() {
        let text =
            String::from("all samples of the batch have the same inputs: no function of them tells any two apart");
        let because = String::from("their inputs were compared, value by value");
        // A batch of equal rows can be intended, as in a smoke test.
        let severity = if diagnosis.is_stuck() { Severity::Warning } else { Severity::Note };
        let finding = diagnosis.finding(Cause::BadData, severity, "", text, because);
        let fix = String::from("other inputs: these are those of one sample");
        findings.push(Finding { fix, refuted_by: "two of these samples whose inputs differ", ..finding });
        return;
    }
    let Some((task, identical)) = diagnosis.task.as_ref().and_then(|task| Some((task, task.identical.as_ref()?)))
    else {
        return;
    };
    let (lines, Some(chance)) = (&diagnosis.thresholds, task.measured.chance()) else { return };
    let part = |share| task.measured.part(chance, share);
    // The network has learned all that these inputs tell.
    let has_learned_all = diagnosis.has_patience()
        && diagnosis.statistics.is_some_and(|statistics| {
            statistics.run().recent_loss().mean() <= task.measured.part(identical.least, 1.1)
        });
    // A sparse table has empty rows: of them the run must show the harm.
    let may_be_meant = identical.are_empty && !diagnosis.is_held_up();
    let severity = match identical.least {
        least if least.is_nan() || least <= part(lines.unreachable) => return,
        // Inputs with few possible values repeat, and then the noise of the targets limits the loss.
        _ if identical.may_be_chosen() || diagnosis.beats_constants() && identical.repeats => Severity::Note,
        least if least > part(lines.learned) => Severity::Critical,
        _ if has_learned_all || identical.repeats || may_be_meant => Severity::Note,
        _ => Severity::Warning,
    };
    let samples = identical.samples.clone();
    let which = match identical.classes.filter(|_| identical.is_confounded()) {
        None => format!(
            "the inputs of {} of {} samples are identical, {}",
            samples.len(),
            identical.compared,
            listed(&samples, "sample")
        ),
        Some(classes) => format!(
            "{} samples have only {} different inputs, fewer than their {classes} classes",
            identical.compared, identical.distinct
        ),
    };
    let text = format!(
        "{which}: no function of them has a loss below {}, and outputs that are the same for all inputs reach {}",
        number(identical.least),
        number(task.measured.constant)
    );
    let because = format!(
        "outputs that are the same for identical inputs, each at its best: a loss of {} (a bound)",
        number(identical.least)
    );
    let finding = diagnosis.finding(Cause::BadData, severity, "", text, because);
    let fix = String::from("other inputs: these do not tell their targets apart");
    let (refuted_by, is_proof) = ("two of these samples whose inputs differ", severity == Severity::Critical);
    findings.push(Finding { fix, samples, refuted_by, is_proof, ..finding });
}

/// Reports a last layer whose outputs are limited to a range in which no loss is below the fraction
/// [`unreachable`](crate::diagnosis::Thresholds::unreachable) of that of the best constant outputs.
pub(super) fn squashed(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(task) = &diagnosis.task else { return };
    let high = task.measured.chance().map(|chance| task.measured.part(chance, diagnosis.thresholds.unreachable));
    let Some(least) = task.least.filter(|&least| high.is_some_and(|high| least > high)) else { return };
    let layer = &*diagnosis.spec.last_layer().0;
    let text = format!(
        "the outputs of layer {layer} are squashed: within their range no loss is below {}, and outputs that are the \
         same for all inputs reach {}",
        number(least),
        number(task.measured.constant)
    );
    let because = format!("each output at its best within that range: a loss of {} (a bound)", number(least));
    let finding = diagnosis.finding(Cause::SquashedOutputs, Severity::Critical, layer, text, because);
    findings.push(Finding { is_proof: true, ..finding });
}

/// Reports a loss that has no lower bound for constant outputs, if the last layer does not limit the outputs:
/// training then only makes the outputs larger. It is reported only for targets that are classes, or values of which
/// none is below 0. For other targets such a loss may be intended, as for a critic.
pub(super) fn unbounded(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(task) = diagnosis.task.as_ref().filter(|task| task.measured.is_unbounded && task.has_shares) else {
        return;
    };
    let (layer, last) = diagnosis.spec.last_layer();
    if task.least.is_some() || matches!(last, LayerSpec::LogSoftmax(_)) {
        return;
    }
    let text = format!(
        "the loss {} has no lower bound for the outputs of layer {layer}: outputs that are the same for all inputs \
         lower it without end",
        task.name
    );
    let because = format!(
        "gradient descent on constant outputs: a loss of {} after {STEPS} steps, and still falling (measured)",
        number(task.measured.constant)
    );
    let finding = diagnosis.finding(Cause::UnboundedLoss, Severity::Critical, &layer, text, because);
    findings.push(Finding { is_proof: true, ..finding });
}

/// Reports weight decay that outweighs the gradient, if the loss has not fallen. Either all matrices have shrunk, and
/// updates point to smaller weights; or at least two matrices have shrunk, and nothing was learned.
pub(super) fn decay(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let run = statistics.run();
    let matrices = statistics.blocks().iter().filter(|block| matches!(block.role(), Role::Weight | Role::Recurrent));
    let trained: Vec<_> = matrices.filter(|block| !block.frozen() && !block.began_at_zero()).collect();
    let size = |block: &BlockStatistics| block.parameters() / block.first_parameters().unwrap_or(f64::NAN);
    let [shrinks, shrunk] = diagnosis.thresholds.shrinks;
    // If the gradient itself shrinks the weights, this is no evidence of decay.
    let by_gradient = |block: &BlockStatistics| block.pull().mean() > shrinks;
    let points = |block: &BlockStatistics| block.shrinkage().mean() > shrinks && !by_gradient(block);
    let is_small = |block: &BlockStatistics| size(block) > 0.0 && size(block) < shrunk;
    let is_tiny = |block: &BlockStatistics| size(block) > 0.0 && size(block) < shrunk * shrunk && !by_gradient(block);
    // Weights held small may have learned a little; outputs of another size then show how little.
    let hides = diagnosis.task.as_ref().is_some_and(Task::hides_more);
    let learns_nothing = diagnosis.learns_nothing(run) || hides && diagnosis.stays_up();
    let is_shrunk = |block: &BlockStatistics| is_small(block) && points(block) || learns_nothing && is_tiny(block);
    let found: Vec<_> = trained.iter().copied().filter(|block| is_shrunk(block)).collect();
    // The gradient may shrink a single matrix to a small optimum, but hardly several consecutive matrices.
    if found.len() < trained.len() && !(learns_nothing && found.len() > 1) || trained.len() == 1 && !points(trained[0])
    {
        return;
    }
    let harms = run.recent_loss().count() >= 10 && !diagnosis.has_fallen() && !diagnosis.has_fitted();
    // Of a weak dependence the best weights are small: then outputs of another size are hardly better.
    let harms = harms && (hides || !diagnosis.beats_constants());
    let Some(most) = found.iter().map(|block| size(block)).reduce(f64::max).filter(|_| harms) else { return };
    let layers = LayerRange::runs(trained.iter().map(|block| (layer_of_block(block.name()), is_shrunk(block))));
    let whole = found.len() == trained.len();
    let text = format!(
        "weight decay outweighs the gradient: {} have shrunk, to {:.0} % of their first size or less, and {}",
        if whole { String::from("all weights") } else { format!("the weights of {}", place(&layers)) },
        100.0 * most,
        diagnosis.not_fallen()
    );
    let least = found.iter().map(|block| block.shrinkage().mean()).fold(1.0, f64::min);
    let because = match least > shrinks {
        true => format!(
            "updates point to smaller weights, with a cosine of at least {least:.2}; without decay it would be near 0"
        ),
        false => {
            String::from("no update of the gradient alone is likely to shrink several matrices of a product so far")
        }
    };
    let severity = if diagnosis.has_no_information() { Severity::Note } else { Severity::Critical };
    let finding = diagnosis.finding(Cause::DecayTooStrong, severity, "", text, because);
    let finding = if whole { finding } else { finding.in_layers(layers) };
    findings.push(Finding { decades: Some(libm::log10(most)), ..finding });
}

/// Reports batches whose samples have correlated gradients. It is a warning if no other fault explains the run, and
/// the loss on all data has not fallen or is far above that of recent batches; otherwise a note.
pub(super) fn unmixed(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let [unmixed, factor] = diagnosis.thresholds.unmixed;
    let Some(correlation) = run.batch_correlation().filter(|&correlation| correlation > unmixed) else { return };
    // Faults of the parameters that came with training, after a sound first pass, may be due to the order of samples.
    let is_explained = |finding: &Finding| finding.severity == Severity::Note || left_behind(diagnosis, finding);
    let unexplained = findings.iter().all(is_explained);
    let has_wreck = findings.iter().any(|finding| finding.severity > Severity::Note);
    let recent = run.recent_loss().mean();
    let contradicts = diagnosis.task.as_ref().filter(|task| !task.initial).is_some_and(|task| {
        let fallen = run.first_loss().is_some_and(|first| task.loss < diagnosis.part(first, 2.0 / 3.0));
        // Without the variance of the rows, an error that all share is no explanation of a loss above that of constant
        // outputs.
        let stays = match run.batch_variance() {
            Some(_) => !fallen,
            None => diagnosis.has_patience() && diagnosis.chance().is_some_and(|chance| task.loss > chance),
        };
        let harms = task.loss > factor * recent || stays || has_wreck;
        harms && !has_common_error(task, run, correlation)
    });
    // On all of the data, and not on the last batches alone, the loss has fallen.
    let has_fallen = diagnosis.task.as_ref().filter(|task| !task.initial).is_some_and(|task| {
        let line = |chance| task.measured.part(chance, diagnosis.thresholds.fallen[1]);
        task.measured.chance().is_some_and(|chance| task.loss < line(chance))
    });
    let severity = if contradicts && unexplained && !has_fallen { Severity::Warning } else { Severity::Note };
    let text = format!(
        "batches are not mixed: the samples of a batch are alike, with a correlation of {correlation:.2} between \
         their gradients, where that of samples drawn at random is 0"
    );
    let because = match diagnosis.task.as_ref().filter(|task| !task.initial) {
        Some(task) => format!(
            "on samples from all of the data: a loss of {} instead of {} on recent batches (measured)",
            number(task.loss),
            number(recent)
        ),
        None => format!("the loss on recent batches is {}; that on all of the data was not measured", number(recent)),
    };
    findings.push(diagnosis.finding(Cause::UnmixedBatches, severity, "", text, because));
}

/// Whether an error that all rows share, such as a wrong mean of the outputs, explains the `correlation` c of the row
/// gradients in a batch. While this error changes, so do the means of batches. Two conditions must hold: `v_b > ½ v`
/// and `m²/v > c/(1 − c)`. Here v_b is the variance of the row gradients within a batch, v their variance over all of
/// the data, and m² the square of their mean over all of the data.
fn has_common_error(task: &Task, run: &RunStatistics, correlation: f64) -> bool {
    let Some([of_batch, rows]) = run.batch_variance() else { return false };
    let [of_data, common, all] = task.row_gradients;
    // If the loss is a mean over rows, the gradient of each row has the factor 1/rows.
    let scale = if task.all.is_some() { (rows / all) * (rows / all) } else { 1.0 };
    scale * of_batch > 0.5 * of_data && common * (1.0 - correlation) > correlation * of_data
}

/// Reports dropout whose masks change the outputs more than the inputs do, if no other fault was found. The loss has
/// not fallen, with masks or without, and the masks add more to it than was learned below the loss of constant
/// outputs. What masks add must [drown](Task::is_drowned) what can be learned, or the loss must stand still for four
/// times [`patience`](crate::diagnosis::Thresholds::patience) losses: before that, a slow run shows the same. A run
/// that is [certainly](Diagnosis::beats_constants) below constant outputs is accused only if the masks
/// [hide](Task::hides_more) more than it learned.
pub(super) fn dropout(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let Some((task, [masked, share])) = diagnosis.task.as_ref().and_then(|task| Some((task, task.masked?))) else {
        return;
    };
    let is_explained = |finding: &Finding| finding.severity == Severity::Note || left_behind(diagnosis, finding);
    let unexplained = findings.iter().all(is_explained);
    let (bounds, lines) = (&task.measured, &diagnosis.thresholds);
    let (Some(chance), start) = (bounds.chance(), diagnosis.start().unwrap_or(f64::NAN)) else { return };
    let drowns = task.is_drowned();
    let nears = || diagnosis.nears([start, diagnosis.part(start, lines.fallen[0])], run);
    let is_falling = || diagnosis.falls(run) || diagnosis.falls_steadily(run) || !diagnosis.stagnates() && nears();
    let judged = drowns || run.recent_loss().count() >= 4 * lines.patience && !is_falling();
    // Masks add to the loss; without them the same parameters may have learned.
    let stays =
        diagnosis.has_patience() && !diagnosis.has_fallen() && task.loss >= bounds.part(chance, lines.fallen[1]);
    // If the masks add less to the loss than was learned, the signal is weak, and the masks are no fault.
    let costs_more = masked - task.loss > chance - masked;
    let harms = judged && stays && costs_more && (drowns || task.hides_more() || !diagnosis.beats_constants());
    if !(share > lines.drowns && unexplained && harms) {
        return;
    }
    let severity = if diagnosis.has_no_information() { Severity::Note } else { Severity::Warning };
    let parts = diagnosis.spec.parts();
    let masks = parts.iter().filter_map(|(path, part)| Some((&**path, heaviest_masks(part)?)));
    let (_, (name, rate)) = masks.max_by(|a, b| a.1.1.total_cmp(&b.1.1)).unwrap_or(("", ("dropout", 0.0)));
    // Masks of a rate above one half add more variance than the signal has.
    let is_heavy = |part: &LayerSpec| heaviest_masks(part).is_some_and(|(_, of)| of >= rate.min(0.5));
    let layers = LayerRange::runs(parts.iter().map(|(path, part)| (&**path, is_heavy(part))));
    let text = format!(
        "{name} of rate {} is too heavy: masks cause {} of the variance of the outputs, and {}",
        number(rate),
        percent(share),
        diagnosis.not_fallen()
    );
    let because =
        format!("with all masks disabled: a loss of {} instead of {} (measured)", number(task.loss), number(masked));
    let finding = diagnosis.finding(Cause::DropoutTooHeavy, severity, "", text, because);
    findings.push(finding.in_layers(layers));
}

/// Returns a fraction as text, for example `61 %`; above 99 % as its distance from 1, such as `all but 0.2 %`.
fn percent(share: f64) -> String {
    let rest = 100.0 * (1.0 - share);
    if rest < 1.0 { format!("all but {} %", number(rest)) } else { format!("{:.0} %", 100.0 * share) }
}

/// Reports, as a note, targets that are all the same, or may not depend on the inputs. Equal targets may be intended,
/// such as the class of the positive pair in a contrastive loss. A falling loss is no evidence of a dependence: a
/// network can memorize random targets.
pub(super) fn information(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(task) = &diagnosis.task else { return };
    if task.same_targets {
        let text = String::from("all targets are the same: outputs that ignore the inputs are right for every sample");
        let because = String::from("the targets of all samples were compared, value by value");
        let finding = diagnosis.finding(Cause::NoInformation, Severity::Note, "", text, because);
        return findings.push(Finding { refuted_by: "two samples whose targets differ", ..finding });
    }
    let Some(p) = task.independent.filter(|&p| p > diagnosis.thresholds.independent) else { return };
    let text = String::from("the targets may not depend on the inputs: no dependence was found");
    let because = format!(
        "in {:.0} % of random permutations the targets have as large a distance covariance, a measure of any \
         dependence, with the inputs",
        100.0 * p
    );
    findings.push(diagnosis.finding(Cause::NoInformation, Severity::Note, "", text, because));
}
