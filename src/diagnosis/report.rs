//! The report of a diagnosis: each fault with its layer, the pass in which it was first seen, its size and its factor
//! of the chain rule.

use super::{
    Cause, Diagnosis, Finding, Severity, TrialReport, difference,
    figures::count,
    fix::is_seen_within,
    rules::{counted, layer_of, uncounted},
};
use crate::{
    monitor::{BudgetHistory, Factor, Shares},
    theory::Certificate,
};
use alloc::{format, string::String, vec::Vec};

/// One link, a factor of the chain rule, with its effect on the norm of the gradient.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReportRow {
    /// The path of the link in the network, such as `3.branch.0`.
    pub name: String,
    /// The kind of the link's layer, such as `Linear`.
    pub kind: String,
    /// The factor of the chain rule that the link applies.
    pub factor: Factor,
    /// The measured decades of the link: log10 of the factor by which it multiplies the norm of the gradient, averaged
    /// over passes. −∞ if it made the gradient of the last pass 0; `None` if it was not measured.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub measured: Option<f64>,
    /// The decades (log10 change of the gradient's norm) of the link by theory, before training; `None` if they are
    /// unknown.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub predicted: Option<f64>,
    /// Whether the link is on the main path from loss to input.
    pub on_main_path: bool,
    /// Whether the link counts in the budget, the sum of decades from loss to first weights. The activation of the
    /// outputs does not count, nor a norm directly after the first weights, which removes their scale. If the first
    /// layers are frozen, the links between the first trained weights and the input do not count.
    pub counts: bool,
}

/// The gradient of one recurrent layer over time: measurements and bounds.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReportState {
    /// The path of the recurrent layer.
    pub name: String,
    /// The measured mean change of the gradient's norm over one time step of the backward pass, in decades (log10),
    /// negative if it shrinks. The three values are for the whole state, for the weights alone, and for φ′ and
    /// gates alone. `None` if not measured.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub per_step: Option<[f64; 3]>,
    /// The measured number of time steps over which the gradient of the state shrinks tenfold; negative if it grows,
    /// infinite if it does not change, `None` if it was not measured.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub horizon: Option<f64>,
    /// ρ(U), the largest modulus of an eigenvalue of the recurrent matrix U: the growth rate of high powers of U.
    /// `None` for a cell with several matrices, one for each gate, and without [`Diagnosis::parameters`].
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub spectral_radius: Option<f64>,
    /// An upper bound on ‖U‖₂, the largest factor by which the recurrent matrix U multiplies a norm in one time
    /// step; `None` for a cell with several matrices, and without [`Diagnosis::parameters`].
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub spectral_norm: Option<f64>,
    /// The number of time steps beyond which the norm of a gradient is certain to fall below 10⁻⁴ of its value;
    /// `None` if no bound proves this.
    pub certified_horizon: Option<usize>,
    /// The Lyapunov exponents along the [given](Diagnosis::trajectory) trajectory, in decades (log10) per time step,
    /// the largest first. Empty without a trajectory.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub lyapunov: Vec<f64>,
    /// The norm of ∂L/∂s, s the state, in the last monitored pass: at most 128 pairs of time step and norm, at
    /// equal distances in time, from the last time step to the first.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub gradient: Vec<[f64; 2]>,
}

/// The findings of a [`Diagnosis`]. A report can be printed, written as JSON (feature `serde`) or drawn (feature
/// `plot`). `{report:#}` explains the words that it uses.
///
/// ```
/// use chainrule::{BatchShape, diagnosis::first_check, layer::Sequential};
/// let mut network = Sequential::<f64>::input(8);
/// for _ in 0..20 {
///     network = network.linear(8).sigmoid();
/// }
/// let x: Vec<f64> = (0..64 * 8).map(|i| (i as f64).sin()).collect();
/// let report = first_check(&network.build()?, &x, BatchShape::batch(64), None, 1)?;
/// assert!(!report.is_healthy()); // 20 sigmoids: each factor is at most ¼
/// println!("{report}"); // the rows of the budget, and each finding with its evidence and fix
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// The findings, the root cause first and notes last.
    pub findings: Vec<Finding>,
    /// The change of the gradient's norm in decades (log10): a row for each link (factor of the chain rule), from
    /// loss to input.
    pub rows: Vec<ReportRow>,
    /// The number of monitored passes; 0 for a forecast by theory.
    pub passes: u64,
    /// The change of the gradient's norm from loss to first weights, in decades (log10), over the rows that
    /// [count](ReportRow::counts): first as measured, then as predicted; each `None` if it is unknown.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub decades: [Option<f64>; 2],
    /// The standard deviation of the predicted decades (log10) from loss to first weights, over random networks with
    /// the widths of this one, for one input.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub predicted_spread: f64,
    /// Why the measured and the predicted decades (log10) from loss to first weights differ, as phrases, if they
    /// differ by more than two standard deviations and by more than 0.3. Empty otherwise.
    pub difference: Vec<String>,
    /// An upper bound on the change of the gradient's norm from loss to input, in decades (log10), for any input;
    /// `None` without [`Diagnosis::parameters`], or if a layer states no bound.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub certified: Option<f64>,
    /// The recurrent layers with measurements or bounds over time.
    pub states: Vec<ReportState>,
    /// The change of the gradient's norm, in decades (log10), by each link (factor of the chain rule) over the
    /// monitored passes; empty for a forecast by theory.
    pub history: BudgetHistory,
    /// The results of trials: short trainings with fixes that were [tried](Self::tried).
    pub trials: Vec<TrialReport>,
    /// The first loss, and the mean of about the last five losses; `None` without reported losses.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub loss: Option<[f64; 2]>,
    /// The loss of the best constant outputs, which ignore the inputs. `None` without [`Diagnosis::task`], for data
    /// without targets, for a network or a loss that `task` cannot examine, and for a loss without a lower bound.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub chance: Option<f64>,
    /// The name of the loss; `None` without [`Diagnosis::task`], for data without targets, and for a network that
    /// `task` cannot examine.
    pub loss_name: Option<String>,
    /// The gradient transforms of the run, such as its optimizer, with their settings; `None` without
    /// [`Diagnosis::transform`] and without a trial.
    pub transform: Option<String>,
    /// The sources of evidence that were examined, as phrases, such as `bounds for any input`.
    pub examined: Vec<String>,
    /// The number of passes, forward and backward, that interventions and measurements of the data took on copies of
    /// the network, including those of a trial's [examination](super::Trial::behind) of a fixed network.
    pub passes_on_copies: usize,
}

/// The phrase for initial parameters, which are examined if a parameter of the run is NaN or infinite.
const INITIAL: &str = "initial parameters, since those of the run are not finite";

/// Returns the sources of evidence about a network that were examined, as phrases. `passes` is the number of monitored
/// passes.
fn examined(diagnosis: &Diagnosis<'_>, passes: u64) -> Vec<String> {
    let mut all = Vec::from([String::from("the description, by theory")]);
    if let Some(experiments) = &diagnosis.experiments {
        let which =
            if experiments.initial { format!("{INITIAL}, on one batch") } else { "the parameters on one batch".into() };
        all.push(match experiments.passes.saturating_sub(1 + usize::from(experiments.initial)) {
            0 => which,
            changed => format!("{which}, and {} with a change", count(changed, "pass")),
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
        let which = if task.initial { format!(", with {INITIAL}") } else { String::new() };
        all.push(format!("data and loss (labels, range of the outputs, largest sample{dropout}){which}"));
    }
    all.extend(diagnosis.curvature.as_ref().map(|curvature| curvature.sentence()));
    if diagnosis.has_foreign_statistics {
        all.push("not the given statistics, which are of a network with other parameter blocks".into());
    }
    let updates = diagnosis.statistics.map_or(0, |statistics| statistics.run().updates());
    if passes > 0 && updates == 0 {
        // A pass in `f64` says nothing about the range of `f32`.
        let format = if diagnosis.is_examined_alone { "" } else { ", number format" };
        all.push(format!("the gradient and all values of a pass (scale, units, gates{format})"));
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

/// Returns the measurements and bounds of each recurrent layer.
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
            lyapunov: trajectory.map_or(Vec::new(), |trajectory| {
                trajectory.exponents.iter().map(|exponent| exponent * core::f64::consts::LOG10_E).collect()
            }),
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
            // A link that makes the gradient 0 has −∞ decades (log10), so that the sum over all rows is −∞, too.
            let ends = link.norm_in() > 0.0 && link.norm_out() == 0.0;
            (ends || link.decades().count() > 0).then(|| if ends { f64::NEG_INFINITY } else { link.decades().mean() })
        };
        let is_out = uncounted(diagnosis);
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
                counts: !is_out(layer_of(&link.name), link.factor),
            })
            .collect();
        let passes = diagnosis.statistics.map_or(0, |statistics| statistics.run().passes());
        let decades = [diagnosis.measured(), diagnosis.prediction.decades_to_first_weights()];
        Report {
            findings,
            difference: difference::reasons(diagnosis, &rows, decades),
            rows,
            passes,
            decades: counted(diagnosis),
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
            chance: diagnosis
                .task
                .as_ref()
                .and_then(|task| task.all.filter(|it| !it.is_unbounded))
                .map(|it| it.constant),
            loss_name: diagnosis.task.as_ref().map(|task| task.name.clone()),
            transform: diagnosis.transform.clone(),
            examined: examined(diagnosis, passes),
            passes_on_copies: diagnosis.experiments.as_ref().map_or(0, |experiments| experiments.passes)
                + diagnosis.task.as_ref().map_or(0, |task| task.passes),
        }
    }

    /// Adds to the report that the first parameters of the run were examined, with `passes`, the number of passes that
    /// this took.
    pub(super) fn with_beginning(mut self, passes: usize) -> Self {
        let changed = count(passes.saturating_sub(1), "pass");
        self.examined.push(format!("the first parameters of the run on the same batch, and {changed} with a change"));
        self.passes_on_copies += passes;
        self
    }

    /// Returns the root cause: the first finding more severe than a note.
    pub fn root(&self) -> Option<&Finding> {
        self.faults().next()
    }

    /// Returns the findings more severe than a note: the root cause, and others after it.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity > Severity::Note)
    }

    /// Whether no finding is more severe than a note.
    pub fn is_healthy(&self) -> bool {
        self.root().is_none()
    }

    /// Returns the report with [`since`](Finding::since), the pass in which a finding was first seen, taken from
    /// `earlier` for each finding that `earlier` has with the same cause and layer.
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

    /// Returns the report with `trial`, the trial of fixes for its root cause, added. The `fix` of the root then
    /// names the best fix, or says that none helped. Next come the faults that the trial found
    /// [behind](crate::diagnosis::Trial::behind) the root, in the network with the root fixed, then the other faults
    /// of the report. A fault that is gone with the fix of the root becomes a note. Notes come last.
    #[must_use]
    pub fn tried(mut self, mut trial: TrialReport) -> Self {
        let is_fault = |finding: &Finding| finding.severity > Severity::Note;
        if let Some(at) = self.findings.iter().position(is_fault) {
            let known: Vec<Cause> = self.findings.iter().filter(|it| is_fault(it)).map(|it| it.cause).collect();
            if let Some(behind) = &mut trial.behind {
                self.passes_on_copies += behind.passes;
                let causes = behind.findings.iter().map(|finding| finding.cause);
                behind.named = causes.filter(|cause| known.contains(cause)).collect();
            }
            // A fix that no trial can apply, such as a longer schedule, keeps the text of its rule.
            if !trial.outcomes.is_empty() || !trial.untried.is_empty() {
                self.findings[at].fix = trial.verdict();
            }
            let hidden = trial.behind.iter().flat_map(|behind| &behind.findings);
            // A fault that is gone with the fix of the first fault is an effect of the first fault.
            if let Some(behind) = trial.behind.as_ref().filter(|behind| behind.removed) {
                let is_gone = |it: &Finding| {
                    !it.is_proof && !behind.causes.contains(&it.cause) && is_seen_within(it, behind.watched)
                };
                for finding in self.findings[at + 1..].iter_mut().filter(|it| is_fault(it) && is_gone(it)) {
                    finding.severity = Severity::Note;
                    finding.because =
                        format!("gone with {}: an effect of the first fault; {}", behind.name, finding.because);
                }
            }
            let new: Vec<Finding> = hidden.filter(|finding| !known.contains(&finding.cause)).cloned().collect();
            self.findings.splice(at + 1..at + 1, new);
            // Notes come after all faults.
            self.findings.sort_by_key(|finding| !is_fault(finding));
        }
        self.transform.get_or_insert_with(|| trial.transform.clone());
        self.trials.push(trial);
        self
    }

    /// Returns the report as JSON.
    ///
    /// # Errors
    /// Reports created by this crate cause none.
    #[cfg(feature = "serde")]
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Returns, for each kind of factor of the chain rule, the change of the gradient's norm by its links on the main
    /// path, in decades (log10). It is measured, or predicted if no pass was measured. Unknown decades count as 0.
    pub fn shares(&self) -> Shares {
        let mut shares = Shares::default();
        for row in self.rows.iter().filter(|row| row.on_main_path) {
            let decades = if self.passes > 0 { row.measured } else { row.predicted }.unwrap_or(0.0);
            *match row.factor {
                Factor::Weights => &mut shares.weights,
                Factor::Activation => &mut shares.activation,
                Factor::Addition => &mut shares.addition,
                Factor::Other => &mut shares.other,
            } += decades;
        }
        shares
    }
}
