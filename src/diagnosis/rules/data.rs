//! Rules about the data: inputs and targets of an unsuitable scale.

use super::{above, layer_of, task::of_outliers};
use crate::{
    diagnosis::{
        Cause, Diagnosis, Finding, Severity,
        columns::{Columns, named},
        figures::{count, number},
        first_output, first_sized, norm_of_first,
    },
    layer::LayerSpec,
    monitor::RunStatistics,
};
use alloc::{format, string::String, vec::Vec};

/// Returns the root mean square of the output of the layer that [shows the scale](first_sized) of the inputs: the
/// first layer with weights, or a norm next to it. It is measured if there are statistics, otherwise predicted.
/// `None` if there is no such layer, or the value is unknown.
fn first_pre_activation(diagnosis: &Diagnosis<'_>) -> Option<f64> {
    if let Some(statistics) = diagnosis.statistics {
        return first_output(&diagnosis.spec, statistics);
    }
    // The input of the next layer is the output of this one.
    let layer = first_sized(&diagnosis.spec)?;
    let mut links = diagnosis.prediction.links().iter().rev().skip_while(|link| layer_of(&link.name) != layer);
    links.nth(1).and_then(|link| link.second_moment).map(libm::sqrt)
}

/// Describes the root mean square of the first pre-activations (the outputs of the first weights) with standardized
/// inputs, and with the given inputs. `size` is the root mean square of the given inputs, and `first` that of the
/// first pre-activations for these inputs, if known.
fn with_standardized(diagnosis: &Diagnosis<'_>, size: f64, first: Option<f64>) -> String {
    let measured = diagnosis.experiments.as_ref().and_then(|experiments| experiments.standardized);
    let (before, after, source) = match (measured, first) {
        (Some([before, after]), _) => (before, after, "measured"),
        // The pre-activations are proportional to the inputs.
        (None, Some(first)) => (first, first / size, "computed"),
        (None, None) => {
            return format!("with standardized inputs: a root mean square of 1 instead of {}", number(size));
        }
    };
    let [before, after] = [before, after].map(number);
    format!("with standardized inputs: first pre-activations of size {after} instead of {before} ({source})")
}

/// Returns the measurements of the input columns: those over all data if known, otherwise those over one batch.
fn columns_of<'a>(diagnosis: &'a Diagnosis<'_>) -> Option<&'a Columns> {
    let of_data = diagnosis.task.as_ref().and_then(|task| task.columns.as_ref());
    of_data.or_else(|| diagnosis.experiments.as_ref()?.columns.as_ref())
}

/// Reports few input columns that cause nearly all of the first pre-activations, so that nothing is learned from the
/// others. It is a note, unless the loss is near that of constant outputs and no other fault was found: few columns may
/// tell a little, and hide the rest.
pub(super) fn columns(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(columns) = columns_of(diagnosis) else { return };
    let Some((few, rest)) = columns.dominant() else { return };
    let run = diagnosis.statistics.map(|statistics| statistics.run());
    let [seen, certain] = diagnosis.thresholds.small_input;
    let accused = findings.iter().any(|it| it.severity > Severity::Note || it.cause == Cause::UnscaledInput);
    let harms = run.is_some_and(|run| diagnosis.is_near_chance(run));
    let severity = match rest {
        _ if accused => return,
        _ if rest < seen && harms => Severity::Warning,
        _ if rest < certain => Severity::Note,
        _ => return,
    };
    let all = columns.varying();
    let largest = few.iter().copied().max_by(|&a, &b| columns.effects[a].total_cmp(&columns.effects[b]));
    let (which, others) = (named(&few, largest.unwrap_or_default()), count(all - few.len(), "other"));
    let text = format!(
        "{which} of the inputs {} all but {} % of the size of the first pre-activations, and the {others} \
         hardly {} them{}",
        if few.len() > 1 { "make" } else { "makes" },
        number(100.0 * rest),
        if all - few.len() > 1 { "reach" } else { "reaches" },
        if severity > Severity::Note { "; nothing was learned" } else { "" }
    );
    let after = 100.0 * libm::sqrt((all - few.len()) as f64 / all as f64);
    let because = format!(
        "with standardized inputs: {} % of the first pre-activations for the {others} instead of {} % (computed){}",
        number(after),
        number(100.0 * rest),
        columns.largest().map_or(String::new(), |text| format!("; {text}"))
    );
    findings.push(diagnosis.finding(Cause::UnscaledInput, severity, "0", text, because));
}

/// If more than this fraction of the mean square of the inputs is due to the means of their columns, rows hardly
/// differ from each other. The value is a convention.
const ALIKE: f64 = 0.9;

/// Whether the norm layer at the path `norm` takes its means over the rows of a batch, as
/// [`BatchNorm`](crate::layer::BatchNorm) does: it subtracts what all rows have in common.
fn is_over_rows(diagnosis: &Diagnosis<'_>, norm: &str) -> bool {
    diagnosis.spec.parts().iter().any(|(path, part)| path == norm && matches!(part, LayerSpec::BatchNorm(_)))
}

/// Reports inputs whose root mean square is outside the thresholds, unless that of the first pre-activations is
/// within them. It reports nothing if few samples of the data are far larger than the others, which is the subject of
/// the rule about outliers. If few rows of a batch are far larger than the others, it reports these rows instead.
pub(super) fn input(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let of_data = diagnosis.task.as_ref().and_then(|task| task.outliers.as_ref());
    let wild = of_data.is_some_and(|found| !found.of_targets && found.is_told(&diagnosis.thresholds));
    if wild || diagnosis.spec.reads_indices() {
        return;
    }
    // Without a data set, the gradient of a batch is measured for random gradients at the outputs.
    let of_batch = diagnosis.experiments.as_ref().filter(|_| diagnosis.task.is_none());
    let of_batch = of_batch.and_then(|experiments| experiments.outliers.as_ref());
    if let Some(found) = of_batch.filter(|found| found.is_told(&diagnosis.thresholds)) {
        return findings.push(of_outliers(diagnosis, found, "row"));
    }
    let (size, lines) = match diagnosis.statistics {
        Some(statistics) => (statistics.run().input().mean(), &diagnosis.thresholds),
        None => (libm::sqrt(diagnosis.inputs.second_moment()), &diagnosis.thresholds),
    };
    // A norm layer does not help small columns beside dominant ones, nor rows that hardly differ from their common
    // mean.
    let norm = norm_of_first(&diagnosis.spec);
    let keeps_means = norm.as_ref().is_none_or(|norm| !is_over_rows(diagnosis, norm));
    let hides = columns_of(diagnosis).and_then(Columns::dominant).is_some_and(|(_, rest)| rest < lines.small_input[0])
        || diagnosis.inputs.share_of_means() > ALIKE && keeps_means;
    // The output of a recurrent layer's input weights is not monitored, so it is computed from the weights.
    let by_weights = || columns_of(diagnosis).map(|columns| columns.pre_activation);
    let first = first_pre_activation(diagnosis).or_else(by_weights).filter(|_| !(hides && norm.is_some()));
    // For sparse inputs, the size of the values that are not 0 counts, since weights multiply only these.
    let present = diagnosis.statistics.map_or(0.0, |statistics| statistics.run().present_input());
    let [least, most] =
        [first.map_or(size, |first| first.min(size)), first.map_or(size, |first| first.max(size)).max(present)];
    let has_inputs = diagnosis.statistics.is_none_or(|statistics| statistics.run().input().count() > 0);
    if size == 0.0 && has_inputs {
        return findings.push(zeros(diagnosis));
    }
    // A slow run that comes down is held up by nothing.
    let line = diagnosis.chance().map(|chance| diagnosis.part(chance, lines.learned));
    let run = diagnosis.statistics.map(|statistics| statistics.run());
    let comes_down = run.zip(line).is_some_and(|(run, line)| diagnosis.falls(run) || diagnosis.comes_down(line, run));
    let stagnates = diagnosis.stands_at_chance() && !comes_down;
    let because = with_standardized(diagnosis, size, first);
    let by_column = columns_of(diagnosis).and_then(Columns::largest).map_or(String::new(), |text| format!("; {text}"));
    let of_most = diagnosis.inputs.most_rows().map(libm::sqrt);
    if let Some(most) = of_most.filter(|&most| least > lines.input[0] && most <= lines.input[0]) {
        // The effect of these rows on the gradient is not known here.
        let text = format!(
            "few rows are far larger than the others: all inputs have a root mean square of {}, and seven eighths of \
             the rows at most {}",
            number(size),
            number(most)
        );
        let because = String::from("the size of most rows is within the thresholds");
        let finding = diagnosis.finding(Cause::BadData, Severity::Note, "", text, because);
        findings.push(Finding { refuted_by: "the same gradient without them", ..finding });
    } else if let Some(severity) = above(least, lines.input) {
        // An adaptive optimizer may compensate for inputs that are only moderately too large.
        let harms = severity == Severity::Critical || diagnosis.is_harmed();
        let severity = if harms { severity } else { Severity::Note };
        let text = format!(
            "the inputs have a root mean square of {}, far above 1: outputs and gradient of the first layer grow with \
             it{by_column}",
            number(size)
        );
        findings.push(diagnosis.finding(Cause::UnscaledInput, severity, "0", text, because));
    } else if most > 0.0 && most < lines.small_input[0] && (stagnates || most < lines.small_input[1]) {
        let harm = if stagnates { ", and the loss stands still" } else { "" };
        let text = format!(
            "the inputs have a root mean square of {}, far below 1: they hardly change the outputs{harm}{by_column}",
            number(size)
        );
        let severity = if stagnates { Severity::Critical } else { Severity::Warning };
        findings.push(diagnosis.finding(Cause::UnscaledInput, severity, "0", text, because));
    }
}

/// Returns the finding about inputs that are all 0: the gradient of the first weights is `dyᵀ x = 0`, whatever the
/// weights. It is a note for a network with a state, which may run without inputs.
fn zeros(diagnosis: &Diagnosis<'_>) -> Finding {
    let has_state = diagnosis.spec.parts().iter().any(|(_, part)| matches!(part, LayerSpec::Recurrent { .. }));
    let severity = if has_state { Severity::Note } else { Severity::Warning };
    let text =
        String::from("all inputs are 0: the first weights have no gradient, and outputs are the same in every row");
    let because =
        String::from("the mean square of the inputs is 0, and a gradient of weights is a product with inputs");
    let finding = diagnosis.finding(Cause::BadData, severity, "", text, because);
    Finding { fix: "other inputs: these are all 0".into(), refuted_by: "an input that is not 0", ..finding }
}

/// Whether the loss does not show the distance from outputs to targets: the targets are classes, or the loss has a
/// constant part. It has a constant part if its lowest value for any outputs is above the fraction 1 −
/// [`learned`](crate::diagnosis::Thresholds::learned) of its lowest value for constant outputs. It also has one if
/// the gradient at the outputs has fallen more than the loss. Without a constant part, a squared error falls as the
/// square of its gradient, and a cross-entropy no less than it.
fn has_floor(diagnosis: &Diagnosis<'_>, run: &RunStatistics) -> bool {
    let high = 1.0 - diagnosis.thresholds.learned;
    if diagnosis
        .task
        .as_ref()
        .is_some_and(|it| it.has_classes || it.measured.floor.is_some_and(|floor| floor > high * it.measured.constant))
    {
        return true;
    }
    let gradient = run.output_gradient().mean();
    let loss = run.first_loss().map_or(f64::NAN, |first| run.recent_loss().mean() / first);
    gradient < diagnosis.thresholds.fallen[0] && loss > gradient
}

/// Reports targets far from the first outputs. It is a note, unless the loss does not fall, a value became NaN or
/// infinite, or the outputs are still farther from the targets than from 0. If the targets are not far, it reports
/// targets that differ from each other by far less than this distance, while the loss is still above that of constant
/// outputs.
pub(super) fn targets(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let Some([distance, output]) = run.first_distance() else { return };
    if has_floor(diagnosis, run) {
        return;
    }
    let ratio = distance / f64::max(output, 1.0);
    let Some(severity) = above(ratio, diagnosis.thresholds.target) else {
        return findings.extend(alike_targets(diagnosis, run, distance));
    };
    // A distance larger than the outputs themselves is no better than a constant prediction.
    let judged = diagnosis.chance().is_none() && run.recent_loss().count() >= diagnosis.thresholds.patience;
    let no_better = judged && run.distance().mean() > 1.0;
    // A loss above that of constant outputs may fall, but so slowly that it never comes down to that loss.
    let is_far = diagnosis.has_patience()
        && diagnosis.chance().is_some_and(|it| run.recent_loss().mean() > it && !diagnosis.comes_down(it, run));
    let harms = no_better || diagnosis.is_stuck() || is_far || run.non_finite().is_some();
    let severity = if harms { severity } else { Severity::Note };
    let text = format!(
        "the outputs began with a root mean square of {}, and their targets {} away{}",
        number(output),
        number(distance),
        match (no_better, diagnosis.is_stuck()) {
            (true, _) => "; the outputs are still farther from their targets than from 0",
            (_, true) => "; nothing was learned",
            _ if is_far => "; outputs that are the same for all inputs are nearer",
            _ => "",
        }
    );
    // Outputs that were trained on the given targets may be farther from standardized targets: then this is no
    // evidence.
    let standardized = diagnosis.task.as_ref().and_then(|task| task.targets).filter(|[before, after]| after < before);
    let because = match standardized {
        Some(targets) => {
            let [before, after] = targets.map(number);
            format!(
                "with standardized targets: a distance of {after} instead of {before}, over the outputs' root mean \
                 square or 1 (measured)"
            )
        }
        None => format!("updates move outputs of size 1, and these must move by {} times their size", number(ratio)),
    };
    findings.push(diagnosis.finding(Cause::UnscaledTarget, severity, "", text, because));
}

/// Returns the finding about targets whose spread is far below `distance`, the distance from the first outputs to the
/// targets. There is a finding only if, after [`patience`](crate::diagnosis::Thresholds::patience) losses, the loss
/// is above that of constant outputs and falls too slowly to [reach](Diagnosis::nears) it soon. `None` also for a
/// loss that does not accept standardized targets, such as a loss of probabilities.
fn alike_targets(diagnosis: &Diagnosis<'_>, run: &RunStatistics, distance: f64) -> Option<Finding> {
    let task = diagnosis.task.as_ref()?;
    task.targets?;
    let spread = task.target_spread.filter(|&spread| spread > 0.0)?;
    // Capped at 1: outputs that begin farther away would be far from standardized targets, too.
    let severity = above(distance.min(1.0) / spread, diagnosis.thresholds.target)?;
    let (recent, chance) = (run.recent_loss().mean(), diagnosis.chance()?);
    let near = [run.first_loss()?, chance];
    let text = format!(
        "the targets differ by {} only, and the outputs began {} away: the loss, lately {}, is above {}, that of \
         outputs that are the same for all inputs",
        number(spread),
        number(distance),
        number(recent),
        number(chance)
    );
    let because =
        format!("steps that move outputs of size 1 are {} times as large as the targets differ", number(1.0 / spread));
    let finding = || diagnosis.finding(Cause::UnscaledTarget, severity, "", text, because);
    (diagnosis.has_patience() && recent > chance && !diagnosis.nears(near, run)).then(finding)
}
