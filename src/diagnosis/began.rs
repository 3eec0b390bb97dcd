//! For a run whose loss does not fall: the faults that its parameters had before the first update.

use super::{Diagnosis, Finding, Report, Severity, difference, intervention::Experiments, rules, task::Task};
use crate::batch_shape::BatchShape;
use alloc::vec::Vec;

/// The batch on which interventions, each with one thing changed, measure the gradient. Its rows are time-major: all
/// samples of time step 0, then of step 1.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    x: Vec<f64>,
    samples: usize,
    steps: usize,
    lengths: Option<Vec<usize>>,
}

impl Batch {
    pub fn new(x: Vec<f64>, shape: BatchShape<'_>) -> Self {
        Batch { x, samples: shape.batch, steps: shape.steps, lengths: shape.lengths.map(Vec::from) }
    }

    pub fn x(&self) -> &[f64] {
        &self.x
    }

    fn shape(&self) -> BatchShape<'_> {
        match &self.lengths {
            Some(lengths) => BatchShape::ragged(lengths),
            None => BatchShape::sequences(self.samples, self.steps),
        }
    }
}

/// Returns the report on the first parameters, those before the first update, of a run whose loss has not clearly
/// fallen. It is made by the same interventions (gradient measurements with one change) on the same batch as the
/// report on the last parameters. It has only faults that lie in parameters: these faults are older than the first
/// update, so the updates did not cause them.
///
/// If the run has learned something, a fault is kept only if `findings`, the findings on the last parameters, have
/// the same cause or any fault that lies in parameters. Otherwise training has overcome it. `None` for a loss that
/// has fallen, for a gradient of the wrong sign, without interventions, and if the limit on passes is reached. `None`
/// also if the first parameters are unknown or not finite, or if each of their blocks has the root mean square that
/// it has now.
pub(super) fn examined(diagnosis: &Diagnosis<'_>, findings: &[Finding]) -> Option<Report> {
    let (statistics, batch) = (diagnosis.statistics?, diagnosis.batch.as_ref()?);
    // A gradient of the wrong sign is proven: its effects say nothing about the first parameters.
    if diagnosis.task.as_ref().is_some_and(|task| task.is_reversed) {
        return None;
    }
    let is_held_up = diagnosis.is_held_up();
    let stays = is_held_up || diagnosis.stays_up();
    let may = stays && !diagnosis.is_examined_alone && diagnosis.passes_left() > 0;
    diagnosis.experiments.as_ref().filter(|_| may)?;
    let first = statistics.first_parameters().filter(|first| first.iter().all(|value| value.is_finite()))?;
    let network = diagnosis.spec.build_to_look_at().ok().filter(|it| it.dims().parameters == first.len())?;
    let sizes = difference::sizes(&*network, first);
    if sizes == diagnosis.sizes {
        return None;
    }
    let (spec, lines) = (&diagnosis.spec, &diagnosis.thresholds);
    let experiments = Experiments::new(spec, first, batch.x(), batch.shape(), diagnosis.passes_left(), lines).ok()?;
    let mut seen = experiments.seen.clone();
    seen.freeze_as_in(statistics);
    // The measurements on the last parameters say nothing about the first parameters.
    let task = diagnosis.task.clone().map(|task| Task {
        loss: statistics.run().first_loss().unwrap_or(task.loss),
        masked: None,
        errors_below: None,
        passes: 0,
        ..task
    });
    let begun = Diagnosis {
        statistics: Some(&seen),
        is_examined_alone: true,
        experiments: Some(experiments),
        sizes,
        task,
        curvature: None,
        // Nothing made up for the faults of a run that does not fall, unless it still may.
        is_proportional: Some(!diagnosis.makes_up()),
        certificate: None,
        recurrent: Vec::new(),
        gates: Vec::new(),
        trajectories: Vec::new(),
        ..diagnosis.clone()
    };
    let mut report = begun.report();
    let is_fault = |it: &Finding| it.severity > Severity::Note && rules::of_first_parameters(it.cause);
    let is_wrecked = findings.iter().any(is_fault);
    let remains = |it: &Finding| is_held_up || is_wrecked || findings.iter().any(|last| last.cause == it.cause);
    report.findings.retain(|it| is_fault(it) && remains(it));
    Some(report)
}
