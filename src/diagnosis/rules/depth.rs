//! Rules about the budget over depth, the change of the gradient's norm from loss to first weights in decades
//! (log10), measured or predicted: its severity and its cause.

use super::{
    above,
    links::{Row, first_trained, measured_rows, place as place_of, predicted_rows},
    steps::{began, exploded_at_first, first_moves},
    units::{self, has_examples, output_weights},
};
use crate::{
    diagnosis::{
        Alteration, Cause, Diagnosis, Finding, Intervention, Severity, Thresholds,
        difference::has_loaded_weights,
        figures::{count, number, signed},
        intervention::{self, Verdict, residual_blocks},
        left_out,
        place::{LayerRange, Station, place, stretches},
    },
    layer::LayerSpec,
    monitor::Factor,
    theory::Certificate,
};
use alloc::{format, string::String, vec::Vec};

/// The budget over depth: the links (factors of the chain rule) on the main path.
pub(super) struct Depth {
    /// The links (factors of the chain rule) in the order of the forward pass, without [`uncounted`] ones.
    pub(super) rows: Vec<Row>,
    /// The decades (log10 change of the gradient's norm) from loss to first weights, without [`uncounted`] links.
    pub(super) total: f64,
    /// The decades (log10 change of the gradient's norm) from loss to first weights by theory; `None` if unknown.
    pub(super) predicted: Option<f64>,
    /// Whether the decades of the links and their total were measured; otherwise theory predicts them.
    pub(super) measured: bool,
    /// Whether the decades are those of the first pass, since the gradient exploded in it and the run then diverged.
    pub(super) at_first: bool,
}

impl Depth {
    fn of(diagnosis: &Diagnosis<'_>) -> Option<Self> {
        let predicted = diagnosis.prediction.decades_to_first_weights();
        let measured = measured_rows(diagnosis);
        let is_measured = measured.is_some();
        let mut rows = measured.unwrap_or_else(|| predicted_rows(diagnosis));
        let whole = diagnosis.measured().or(predicted)?;
        let out = uncounted(diagnosis);
        let is_out = |row: &Row| out(&row.layer, row.factor);
        let of_others: f64 = rows.iter().filter(|row| is_out(row)).map(|row| row.decades).sum();
        rows.retain(|row| !is_out(row));
        let sum = rows.iter().map(|row| row.decades).sum::<f64>();
        let at_first = exploded_at_first(diagnosis);
        // If the gradient underflowed to 0, or weights began at 0, `total` is the sum over the other links.
        let skips = is_measured && (whole.is_infinite() || from_zero(diagnosis));
        let total = at_first.unwrap_or(if skips { sum } else { whole - of_others });
        (!rows.is_empty() && !total.is_nan()).then_some(Depth {
            rows,
            total,
            predicted: counted(diagnosis)[1],
            measured: is_measured,
            at_first: at_first.is_some(),
        })
    }

    /// Returns the decades (log10) from loss to first weights. Those of the weights of `outputs`, the path of the
    /// last layer with weights, are left out if they alone are below the threshold of a
    /// [bottleneck](Thresholds::bottleneck).
    pub(super) fn below_outputs(&self, diagnosis: &Diagnosis<'_>, outputs: Option<&String>) -> f64 {
        let is_output = |row: &&Row| row.factor == Factor::Weights && Some(&row.layer) == outputs;
        let small = self.rows.iter().find(is_output).map(|row| row.decades);
        self.total - small.filter(|&decades| decades < diagnosis.thresholds.bottleneck[0]).unwrap_or(0.0)
    }

    fn sum(&self, factor: Factor) -> f64 {
        self.rows.iter().filter(|row| row.factor == factor).map(|row| row.decades).sum()
    }

    /// Returns the decades (log10) of each layer's weights on the main path. Branches are left out, since the
    /// gradient also passes through the skip connection beside them.
    fn layers(&self) -> Vec<(&str, f64)> {
        let on_main_path = |row: &&Row| row.factor == Factor::Weights && !row.layer.contains("branch");
        self.rows.iter().filter(on_main_path).map(|row| (&*row.layer, row.decades)).collect()
    }

    fn activations(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.iter().filter(|row| row.factor == Factor::Activation)
    }
}

/// Returns a predicate of a link, given by the path of its layer and its factor: whether it does not count in the
/// budget. Such a link is [`left_out`], or it lies between the input and the first trained weights, where no
/// parameter needs the gradient.
pub(in crate::diagnosis) fn uncounted(diagnosis: &Diagnosis<'_>) -> impl Fn(&str, Factor) -> bool {
    let without = left_out(&diagnosis.spec);
    let trained = first_trained(diagnosis);
    let from = trained.as_ref().and_then(|layer| place_of(diagnosis, layer));
    move |layer, factor| {
        let of_first = || trained.as_deref() == Some(layer) && factor == Factor::Weights;
        let is_fixed = || from.is_some_and(|from| place_of(diagnosis, layer) < Some(from) || of_first());
        without.iter().any(|of| of == layer) || is_fixed()
    }
}

/// Returns the decades (log10) from loss to first weights, measured and predicted, without [`uncounted`] links; each
/// `None` if it is unknown.
pub(in crate::diagnosis) fn counted(diagnosis: &Diagnosis<'_>) -> [Option<f64>; 2] {
    let is_out = uncounted(diagnosis);
    let of_out = |rows: Vec<Row>| -> f64 {
        let out = rows.iter().filter(|row| is_out(&row.layer, row.factor) && row.decades.is_finite());
        out.map(|row| row.decades).sum()
    };
    let measured = || Some(diagnosis.measured()? - measured_rows(diagnosis).map_or(0.0, of_out));
    let predicted = || Some(diagnosis.prediction.decades_to_first_weights()? - of_out(predicted_rows(diagnosis)));
    [measured(), predicted()]
}

/// Whether the parameters of a block on the main path, such as a layer's weights, were all 0 in the first pass.
/// Biases, branches and their scales are left out.
fn from_zero(diagnosis: &Diagnosis<'_>) -> bool {
    let blocks = diagnosis.statistics.map_or(&[][..], |statistics| statistics.blocks());
    // A scale or a weight of 0 in a branch does not stop the gradient: the skip connection passes it.
    let beside = |name: &str| name.contains("branch") || name.ends_with("scale");
    blocks.iter().any(|block| block.began_at_zero() && !block.name().ends_with("bias") && !beside(block.name()))
}

/// Returns the outcome of the interventions on the budget of `depth`: measured in passes, or predicted by theory if
/// no passes were made. `None` if the budget without a change does not agree with `depth`: if it is measured, its
/// sign differs; if it is predicted, it differs by 1 + |`total`|/10 decades or more.
fn verdict(diagnosis: &Diagnosis<'_>, depth: &Depth) -> Option<Verdict> {
    if let Some(experiments) = &diagnosis.experiments {
        return (experiments.before * depth.total > 0.0).then(|| experiments.verdict.clone());
    }
    let agrees = |predicted: f64| (predicted - depth.total).abs() < 1.0 + 0.1 * depth.total.abs();
    let whole = diagnosis.prediction.decades_to_first_weights()?;
    depth.predicted.filter(|&predicted| agrees(predicted)).map(|_| intervention::forecast(diagnosis, whole))
}

/// Reports a gradient that vanishes or explodes from loss to first weights, with its cause and its layers.
pub(super) fn over_depth(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (Some(depth), lines) = (Depth::of(diagnosis), &diagnosis.thresholds) else { return };
    if depth.total == f64::NEG_INFINITY {
        return ended(diagnosis, &depth, findings);
    }
    let total = depth.total;
    let before = match (depth.measured, depth.predicted) {
        (true, Some(predicted)) => format!("; theory predicts {} of the first weights", signed(predicted)),
        _ => String::new(),
    };
    // A recurrent layer as a whole is one link over depth: the effect of all its time steps.
    let whole = depth.rows.iter().find(|row| row.factor == Factor::Other && row.decades / total >= lines.share);
    if let Some(row) = whole.filter(|row| is_recurrent(&diagnosis.spec, &row.layer))
        && let Some(severity) = above(total, lines.exploding)
    {
        let text = format!("the gradient explodes: {} decades from loss to input{before}", signed(total));
        let because = format!("the steps of recurrent layer {} alone: {} decades", row.layer, signed(row.decades));
        let layers = LayerRange::single(&row.layer);
        let finding = depth.finding(diagnosis, Cause::ExplodingRecurrence, severity, layers, text, because);
        findings.push(finding);
        return;
    }
    let vanishes = above(-total, lines.vanishing.map(|line| -line));
    let Some(severity) = vanishes.or(above(total, lines.exploding)) else { return };
    // Small output weights are no fault: they reduce all other gradients alike, and grow by their own.
    let below = depth.below_outputs(diagnosis, output_weights(&diagnosis.spec).as_ref());
    let severity = match vanishes.is_some() {
        true => above(-below, lines.vanishing.map(|line| -line)).unwrap_or(Severity::Note),
        false => severity,
    };
    // A small gradient is harmful only if the first weights hardly move.
    let moves = vanishes.is_some() && severity == Severity::Warning && first_moves(diagnosis);
    let verdict = verdict(diagnosis, &depth).unwrap_or_default();
    let (cause, layers) = depth.cause(diagnosis, &verdict);
    let is_made_up = severity == Severity::Warning && diagnosis.may_make_up(&depth, cause);
    // The description foretells nothing of given weights that it does not draw.
    let is_note = moves || is_made_up || !depth.measured && has_loaded_weights(diagnosis);
    let severity = if is_note { Severity::Note } else { severity };
    let opens = |it: &&Intervention| matches!(it.alteration, Alteration::OpenGate(_) | Alteration::OpenGates);
    if let Some(opened) = verdict.mends.as_ref().filter(opens)
        && let Some(shut) = findings.iter_mut().filter(|finding| finding.severity > Severity::Note).find(|finding| {
            match opened.alteration {
                Alteration::OpenGate(_) => finding.cause == opened.cause(),
                _ => is_gate(finding.cause),
            }
        })
    {
        // The fault of the gate is reported already: the intervention is added to it as evidence. A note is skipped,
        // since it would hide the vanished or exploded gradient.
        (shut.because, shut.intervention) = (verdict.sentence(), Some(opened.clone()));
        return;
    }
    let certified = match diagnosis.certificate.as_ref().and_then(Certificate::decades) {
        Some(bound) if bound < lines.certificate && vanishes.is_some() => {
            format!("; certified to lose at least {} decades to the input", signed(-bound).trim_start_matches('+'))
        }
        _ => String::new(),
    };
    let (size, shares) = (depth.size(&diagnosis.spec), depth.shares(cause, &layers));
    let untried = verdict.mends.is_none() && verdict.ruled_out.is_empty();
    let because = if untried { shares } else { format!("{}; {shares}", verdict.sentence()) };
    let finding = depth.finding(diagnosis, cause, severity, layers, format!("{size}{before}{certified}"), because);
    let other = other_of_pair(verdict.mends.as_ref()).filter(|other| *other != cause);
    let refuted_by = match verdict.mends.as_ref().map(|it| &it.alteration) {
        Some(Alteration::UsualSlopes(_)) => "a gradient that changes as much with these slopes at their usual value",
        _ => finding.refuted_by,
    };
    findings.push(Finding { intervention: verdict.mends.clone(), refuted_by, ..finding });
    let is_told = |cause| findings.iter().any(|finding| finding.cause == cause && finding.severity > Severity::Note);
    if let Some(cause) = other.filter(|&cause| !is_told(cause)) {
        let alone = count(verdict.ruled_out.len(), "change");
        let text =
            format!("of {alone} tried, none alone brings the gradient back, but two together do: there are two faults");
        let layers = match cause {
            Cause::UnscaledInput => LayerRange::single("0"),
            _ => verdict.layers_of_first.clone(),
        };
        let finding = depth.finding(diagnosis, cause, severity, layers, text, verdict.sentence());
        findings.push(Finding { intervention: verdict.mends, ..finding });
    }
}

/// Returns the cause that the first change removes, if `mends` is a pair of changes; otherwise `None`.
fn other_of_pair(mends: Option<&Intervention>) -> Option<Cause> {
    let mends = mends?;
    let Alteration::Both(pair) = &mends.alteration else { return None };
    Some(Intervention { alteration: pair.first()?.clone(), ..mends.clone() }.cause())
}

/// Reports a gradient that becomes 0, and the layer in which it does, unless an earlier finding explains it.
fn ended(diagnosis: &Diagnosis<'_>, depth: &Depth, findings: &mut Vec<Finding>) {
    let told = |finding: &Finding| {
        let ends = finding.decades == Some(f64::NEG_INFINITY);
        ends || matches!(finding.cause, Cause::DeadUnits | Cause::ConstantWeights | Cause::ClosedInputGate)
    };
    if findings.iter().any(told) {
        return;
    }
    let link = depth.rows.iter().find(|row| row.decades == f64::NEG_INFINITY);
    let (layer, factor) = link.map_or(("", None), |row| (&*row.layer, Some(row.factor)));
    if factor == Some(Factor::Activation) && !has_examples(diagnosis, layer) {
        return;
    }
    let is_flat = units::bounded(diagnosis, layer);
    if is_flat && findings.iter().any(|it| it.cause == Cause::LargeWeights && it.severity == Severity::Critical) {
        return;
    }
    let cause = match factor {
        Some(Factor::Activation) if is_flat => Cause::LargeWeights,
        Some(Factor::Activation) => Cause::DeadUnits,
        Some(Factor::Weights) => Cause::ConstantWeights,
        _ => Cause::Bottleneck,
    };
    let text = format!("the gradient vanishes: none of it passes layer {layer}");
    let because = String::from("the gradient that leaves it is 0, exactly");
    let layers = LayerRange::single(layer);
    let finding = depth.finding(diagnosis, cause, Severity::Critical, layers, text, because);
    findings.push(finding.told_by(diagnosis.mends_an_end()));
}

impl Depth {
    fn finding(
        &self,
        diagnosis: &Diagnosis<'_>,
        cause: Cause,
        severity: Severity,
        layers: Vec<LayerRange>,
        text: String,
        because: String,
    ) -> Finding {
        let finding = diagnosis.finding(cause, severity, "", text, because).in_layers(layers);
        // A gradient that vanished or exploded already in the first pass did not come with training.
        let lines = &diagnosis.thresholds;
        let was = |began: f64| if self.total < 0.0 { began < lines.vanishing[0] } else { began > lines.exploding[0] };
        let since = if began(diagnosis).is_some_and(was) { Some(0) } else { finding.since };
        Finding { since, decades: self.measured.then_some(self.total), predicted: self.predicted, ..finding }
    }

    /// Returns the cause and its layers: by the intervention of `verdict` that brings the gradient between the
    /// thresholds, or otherwise by the parts of weights and activations in the change of the gradient's norm.
    pub(super) fn cause(&self, diagnosis: &Diagnosis<'_>, verdict: &Verdict) -> (Cause, Vec<LayerRange>) {
        let lines = &diagnosis.thresholds;
        let flattest = self.activations().min_by(|a, b| a.decades.total_cmp(&b.decades));
        let flat = self.activations().any(|row| row.saturated >= lines.saturated[0]);
        let vanishes = self.total < 0.0;
        if let Some(mends) = &verdict.mends {
            return match mends.cause() {
                // The weights are too large: they drive the units into the flat part of φ.
                Cause::SmallWeights if flat || verdict.shrinks => (Cause::LargeWeights, verdict.layers.clone()),
                Cause::Bottleneck if verdict.shrinks => (Cause::LargeWeights, verdict.layers.clone()),
                Cause::UnscaledInput => (Cause::UnscaledInput, LayerRange::single("0")),
                cause => (cause, verdict.layers.clone()),
            };
        }
        if !verdict.ruled_out.is_empty() && diagnosis.experiments.is_some() {
            return (Cause::NoCauseFound, Vec::new());
        }
        if let Some(narrow) = self.narrow(lines).filter(|_| vanishes) {
            return (Cause::Bottleneck, narrow);
        }
        let each = self.sum(Factor::Activation) / self.activations().count().max(1) as f64;
        let sup = flattest.and_then(|row| row.sup).unwrap_or(1.0);
        let saturates = vanishes && each < lines.activation && sup <= 0.5;
        let starts = if saturates { Factor::Activation } else { Factor::Weights };
        let cause = match (vanishes, saturates) {
            (false, _) => Cause::LargeWeights,
            (true, true) => Cause::SaturatingActivation,
            (true, false) if flat => Cause::LargeWeights,
            (true, false) => Cause::SmallWeights,
        };
        (cause, stretches(&self.stations(starts)))
    }

    /// Returns the layers whose weights reduce the gradient's norm far more than those of the median layer, by the
    /// thresholds of a [bottleneck](Thresholds::bottleneck). `None` if there are none, and for fewer than three
    /// layers with weights.
    fn narrow(&self, lines: &Thresholds) -> Option<Vec<LayerRange>> {
        let layers = self.layers();
        let mut gains: Vec<f64> = layers.iter().map(|layer| layer.1).collect();
        gains.sort_unstable_by(f64::total_cmp);
        let median = gains.get(gains.len() / 2).copied()?;
        let (layer, gain) = layers.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1))?;
        let [lowest, usual] = lines.bottleneck;
        let is_narrow = layers.len() >= 3 && gain < lowest && median > usual && gain.is_finite();
        let narrow =
            || stretches(&layers.iter().map(|&(at, gain)| Station::new(at, gain - median)).collect::<Vec<_>>());
        is_narrow.then(narrow).map(|found| if found.is_empty() { LayerRange::single(layer) } else { found })
    }

    /// Returns the decades (log10) by layer. A layer begins at a link of the kind `starts` or at the addition of a
    /// residual block; the links up to the beginning of the next layer belong to it.
    fn stations(&self, starts: Factor) -> Vec<Station> {
        let mut found: Vec<Station> = Vec::new();
        for row in &self.rows {
            if row.factor == starts || row.factor == Factor::Addition {
                found.push(Station::new(&row.layer, 0.0));
            }
            if let Some(station) = found.last_mut() {
                station.decades += row.decades;
            }
        }
        found
    }

    /// Returns a phrase with the change of the gradient's norm, and the number of layers over which it happens.
    pub(super) fn size(&self, network: &LayerSpec) -> String {
        let (blocks, hidden) = (residual_blocks(network), self.activations().count());
        let over = match (blocks, hidden) {
            (0, 0) => count(self.layers().len().max(1), "layer"),
            (0, hidden) => count(hidden, "hidden layer"),
            (blocks, _) => count(blocks, "residual block"),
        };
        let how = if self.total < 0.0 { "vanishes" } else { "explodes" };
        let when = if self.at_first { ", in the first pass" } else { "" };
        format!("the gradient {how}: {} decades over {over}{when}", signed(self.total))
    }

    /// Describes, for a finding of `cause` in `layers`, the decades (log10) caused by all weights and by all φ′.
    pub(super) fn shares(&self, cause: Cause, layers: &[LayerRange]) -> String {
        let [weights, slopes] = [Factor::Weights, Factor::Activation].map(|factor| signed(self.sum(factor)));
        let shares = format!("all weights together {weights}, all φ′ {slopes}");
        match cause {
            Cause::SaturatingActivation if self.total < 0.0 => {
                let hidden = self.activations().count().max(1) as f64;
                let slope = self.activations().filter_map(|row| row.slope).sum::<f64>() / hidden;
                let sup = self.activations().filter_map(|row| row.sup).fold(f64::INFINITY, f64::min);
                match (self.measured, sup.is_finite()) {
                    (true, true) => format!("{shares}; φ′ is {} on average, at most {}", number(slope), number(sup)),
                    (false, true) => format!("{shares}; φ′ never exceeds {}", number(sup)),
                    _ => shares,
                }
            }
            Cause::Bottleneck => {
                let own = |row: &&Row| row.factor != Factor::Activation && !row.layer.contains("branch");
                let lowest = self.rows.iter().filter(own).map(|row| row.decades).fold(f64::INFINITY, f64::min);
                format!("{shares}, those of one layer alone {}", signed(lowest))
            }
            Cause::SmallWeights => format!("{shares}: the weights amplify less than φ′ attenuates"),
            Cause::LargeWeights if self.total < 0.0 => {
                let layers = if layers.is_empty() { String::from("all layers") } else { place(layers) };
                format!("{shares}: the weights of {layers} drive their units to where φ′ is near 0")
            }
            // The remaining decades are those of norms and additions.
            Cause::LargeWeights if self.sum(Factor::Weights) + self.sum(Factor::Activation) > 0.5 * self.total => {
                format!("{shares}: the weights amplify more than φ′ attenuates")
            }
            _ => shares,
        }
    }
}

fn is_gate(cause: Cause) -> bool {
    matches!(cause, Cause::ClosedForgetGate | Cause::ClosedInputGate | Cause::ClosedOutputGate)
}

/// Whether the layer at this path is recurrent, or runs recurrent layers backward or in both directions.
fn is_recurrent(spec: &LayerSpec, path: &str) -> bool {
    let has_state = |part: &LayerSpec| {
        matches!(part, LayerSpec::Recurrent { .. } | LayerSpec::Reversed(_) | LayerSpec::Bidirectional { .. })
    };
    spec.parts().into_iter().any(|(at, part)| at == path && has_state(part))
}
