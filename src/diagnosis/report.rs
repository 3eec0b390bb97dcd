//! The report: what is wrong, where, since when, by how much, from which factor.

use super::{Diagnosis, Finding, Severity, TrialReport, figures::count};
use crate::{
    monitor::{BudgetHistory, Factor, Shares},
    theory::Certificate,
};
use alloc::{format, string::String, vec::Vec};

/// One link of the budget in a report.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReportRow {
    /// The link's name.
    pub name: String,
    /// The layer's kind.
    pub kind: String,
    /// The factor it applies.
    pub factor: Factor,
    /// The measured decades.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub measured: Option<f64>,
    /// The decades predicted before training.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub predicted: Option<f64>,
    /// Whether the link is on the main path from loss to input.
    pub on_main_path: bool,
}

/// One recurrent layer over time.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReportState {
    /// The layer's name.
    pub name: String,
    /// Decades of the gradient through the state in one step back, as measured; those of the weights; those of φ′
    /// and gates.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub per_step: Option<[f64; 3]>,
    /// τ, the steps over which it changes by a factor e, as measured; infinite where it stays.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub horizon: Option<f64>,
    /// ρ(U), the largest modulus of an eigenvalue, of a cell with one recurrent matrix: what powers of U go by in the
    /// end.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub spectral_radius: Option<f64>,
    /// ‖U‖₂ from above, of such a cell: what one step of U can do at most.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub spectral_norm: Option<f64>,
    /// Over more steps than this the gradient is certain to shrink below 10⁻⁴.
    pub certified_horizon: Option<usize>,
    /// λ_i along the trajectory that was [given](Diagnosis::trajectory), in 1/step, the largest first; none where none
    /// was.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub lyapunov: Vec<f64>,
    /// ‖∂L/∂s‖ at steps of the last watched pass, from the last step to the first: pairs of step and norm, every k-th
    /// step, at most 128.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub gradient: Vec<[f64; 2]>,
}

/// The findings of a [`Diagnosis`]: printed, as JSON (feature `serde`) or as a drawing (feature `plot`).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// The findings, the root cause first.
    pub findings: Vec<Finding>,
    /// The budget, from loss to input.
    pub rows: Vec<ReportRow>,
    /// The number of monitored passes; 0 for a forecast.
    pub passes: u64,
    /// The decades from loss to first weights: measured, and predicted.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub decades: [Option<f64>; 2],
    /// The standard deviation of the predicted decades over random networks of these widths, for one input.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub predicted_spread: f64,
    /// The decades that the certificate allows from loss to input, where there is one.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub certified: Option<f64>,
    /// The recurrent layers with measurements or bounds over time.
    pub states: Vec<ReportState>,
    /// The budget over the watched passes; empty for a forecast.
    pub history: BudgetHistory,
    /// What fixes did when they were [tried](Self::tried).
    pub trials: Vec<TrialReport>,
    /// The first loss, and the mean of the last about five; `None` without reported losses.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub loss: Option<[f64; 2]>,
    /// What was examined, as phrases.
    pub examined: Vec<String>,
    /// The passes, forward and backward, that interventions and measurements of the data took on copies.
    pub passes_on_copies: usize,
}

/// What is known of a network, and so was examined.
fn examined(diagnosis: &Diagnosis<'_>, passes: u64) -> Vec<String> {
    let mut all = Vec::from([String::from("the description, by theory")]);
    if let Some(experiments) = &diagnosis.experiments {
        all.push(match experiments.passes.saturating_sub(1) {
            0 => "the parameters on one batch".into(),
            changed => format!("the parameters on one batch, and {} with a change", count(changed, "pass")),
        });
    }
    if diagnosis.certificate.is_some() {
        all.push("bounds for any input".into());
    }
    if !diagnosis.trajectories.is_empty() {
        all.push("the state along a sequence".into());
    }
    if let Some(task) = &diagnosis.task {
        let dropout = if task.masked.is_some() { ", masks of dropout" } else { "" };
        all.push(format!("data and loss (labels, range of the outputs, largest sample{dropout})"));
    }
    let updates = diagnosis.statistics.map_or(0, |statistics| statistics.run().updates());
    if passes > 0 && updates == 0 {
        all.push("the gradient and all values of a pass (scale, units, gates, number format)".into());
    } else if passes > 0 {
        let gated = diagnosis.statistics.is_some_and(|statistics| !statistics.gates().is_empty());
        let watched = count(usize::try_from(passes).unwrap_or(usize::MAX), "watched pass");
        all.push(format!(
            "{watched} of training (gradient, inputs and targets, weights, units{}, updates, clipping, number format)",
            if gated { ", gates" } else { "" }
        ));
    }
    all
}

/// What is known of each recurrent layer, measured or from its parameters.
fn states(diagnosis: &Diagnosis<'_>) -> Vec<ReportState> {
    let measured = diagnosis.statistics.map_or(&[][..], |statistics| statistics.states());
    let measured = || measured.iter().filter(|state| state.per_step().count() > 0);
    let horizons = diagnosis.certificate.as_ref().map_or(&[][..], |certificate| certificate.horizons());
    let mut names: Vec<&str> = measured().map(|state| state.name()).collect();
    let along = diagnosis.trajectories.iter().map(|trajectory| &*trajectory.layer);
    for name in horizons.iter().map(|horizon| &*horizon.name).chain(along) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let of = |name: &str| {
        let state = measured().find(|state| state.name() == name);
        let matrix = diagnosis.recurrent.iter().find(|matrix| matrix.layer == name);
        let horizon = horizons.iter().find(|horizon| horizon.name == name);
        let trajectory = diagnosis.trajectories.iter().find(|trajectory| trajectory.layer == name);
        ReportState {
            name: name.into(),
            per_step: state.map(|state| [state.per_step().mean(), state.weights().mean(), state.activation().mean()]),
            horizon: state.map(|state| state.horizon()),
            spectral_radius: matrix.map(|matrix| matrix.spectral_radius).filter(|radius| !radius.is_nan()),
            spectral_norm: matrix.map(|matrix| matrix.spectral_norm),
            certified_horizon: horizon.and_then(|horizon| horizon.vanishes_beyond(Certificate::VANISHED)),
            lyapunov: trajectory.map_or(Vec::new(), |trajectory| trajectory.exponents.clone()),
            gradient: state
                .map_or(Vec::new(), |state| state.norms().iter().map(|&(step, norm)| [step as f64, norm]).collect()),
        }
    };
    let known = |state: &ReportState| {
        state.per_step.is_some()
            || state.spectral_radius.is_some()
            || state.certified_horizon.is_some()
            || !state.lyapunov.is_empty()
    };
    names.into_iter().map(of).filter(known).collect()
}

impl Report {
    pub(super) fn new(diagnosis: &Diagnosis<'_>, findings: Vec<Finding>) -> Self {
        let links = diagnosis.statistics.map_or(&[][..], |statistics| statistics.links());
        let measured = |name: &str, factor| {
            let link = links.iter().find(|link| link.name() == name && link.factor() == factor)?;
            // A link that ends the gradient, so that the rows agree with their sum.
            let ends = link.norm_in() > 0.0 && link.norm_out() == 0.0;
            (ends || link.decades().count() > 0).then(|| if ends { f64::NEG_INFINITY } else { link.decades().mean() })
        };
        let rows: Vec<ReportRow> = diagnosis
            .prediction
            .links()
            .iter()
            .map(|link| ReportRow {
                name: link.name.clone(),
                kind: link.kind.clone(),
                factor: link.factor,
                measured: measured(&link.name, link.factor),
                predicted: link.decades,
                on_main_path: link.on_main_path,
            })
            .collect();
        let passes = diagnosis.statistics.map_or(0, |statistics| statistics.run().passes());
        Report {
            findings,
            rows,
            passes,
            decades: [diagnosis.measured(), diagnosis.prediction.decades_to_first_weights()],
            predicted_spread: diagnosis.prediction.standard_deviation(),
            certified: diagnosis.certificate.as_ref().and_then(|certificate| certificate.decades()),
            states: states(diagnosis),
            history: diagnosis
                .statistics
                .map_or_else(BudgetHistory::default, |statistics| statistics.history().clone()),
            trials: Vec::new(),
            loss: diagnosis.statistics.and_then(|statistics| {
                let run = statistics.run();
                Some([run.first_loss()?, run.recent_loss().mean()])
            }),
            examined: examined(diagnosis, passes),
            passes_on_copies: diagnosis.experiments.as_ref().map_or(0, |experiments| experiments.passes)
                + diagnosis.task.as_ref().map_or(0, |task| task.passes),
        }
    }

    /// The root cause: the first finding above a note.
    pub fn root(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.severity > Severity::Note)
    }

    /// Whether no finding is above a note.
    pub fn is_healthy(&self) -> bool {
        self.root().is_none()
    }

    /// The same report, with findings of an earlier report dated from that report.
    #[must_use]
    pub fn following(mut self, earlier: &Report) -> Self {
        for finding in &mut self.findings {
            let same = |old: &&Finding| old.cause == finding.cause && old.layer == finding.layer;
            if let Some(old) = earlier.findings.iter().find(same) {
                finding.since = old.since;
            }
        }
        self
    }

    /// The same report, with what the fixes of its root did in a trial; the root names the best of them.
    #[must_use]
    pub fn tried(mut self, trial: TrialReport) -> Self {
        if let Some(root) = self.findings.iter_mut().find(|finding| finding.severity > Severity::Note) {
            root.fix = trial.verdict();
        }
        self.trials.push(trial);
        self
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// None that a report of this crate makes.
    #[cfg(feature = "serde")]
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The shares of the path as measured, or as predicted where nothing was.
    pub fn shares(&self) -> Shares {
        let mut shares = Shares::default();
        for row in self.rows.iter().filter(|row| row.on_main_path) {
            let decades = if self.passes > 0 { row.measured } else { row.predicted }.unwrap_or(0.0);
            *match row.factor {
                Factor::Weights => &mut shares.weights,
                Factor::Activation => &mut shares.activation,
                Factor::Addition => &mut shares.injection,
                Factor::Other => &mut shares.other,
            } += decades;
        }
        shares
    }
}
