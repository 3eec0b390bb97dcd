//! How verdicts depend on each threshold, and on the kinds that it is chosen with: `clinic --field --leave-out`.
//!
//! A case is trained once. Before it, at its first batch and at each look at the training, the report is made anew with
//! every threshold times every factor, from the same recorded statistics. Interventions and measurements of the data
//! are shared by all thresholds that they do not depend on. Then each threshold is chosen on all kinds but one, and
//! judged on that one.

use super::{dataset, first_batch, is_look, kinds, loss, train};
use crate::Verdict;
use chainrule::{
    BatchShape, Error, Layer, Mode,
    diagnosis::{Diagnosis, Thresholds},
    layer::{DropoutKey, Samples},
    monitor::Statistics,
    random::{Normals, generator},
    theory::InputStatistics,
    workspace::Workspace,
};
use kinds::{Case, Expected, Kind};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// The factors that a threshold is chosen from.
const FACTORS: [f64; 5] = [0.5, 0.7, 1.0, 1.4, 2.0];
/// The position of 1 among them.
const SAME: usize = 2;

type Scale = fn(&mut Thresholds, f64);

/// The thresholds that no paper and no test gives, each with how it is multiplied.
const CHOSEN: &[(&str, Scale)] = &[
    ("vanishing", |t, by| t.vanishing = t.vanishing.map(|line| by * line)),
    ("over_time", |t, by| t.over_time = t.over_time.map(|line| by * line)),
    ("bottleneck", |t, by| t.bottleneck = t.bottleneck.map(|line| by * line)),
    ("activation", |t, by| t.activation *= by),
    ("slope", |t, by| t.slope = t.slope.map(|line| by * line)),
    ("predicted_saturation", |t, by| t.predicted_saturation *= by),
    ("dead", |t, by| t.dead = t.dead.map(|line| by * line)),
    ("short_way", |t, by| t.short_way = t.short_way.map(|line| line + by.log10())),
    ("input", |t, by| t.input = t.input.map(|line| by * line)),
    ("small_input", |t, by| t.small_input = t.small_input.map(|line| by * line)),
    ("target", |t, by| t.target = t.target.map(|line| by * line)),
    ("admitted", |t, by| t.admitted = t.admitted.map(|line| by * line)),
    ("shut_gate", |t, by| t.shut_gate *= by),
    ("subnormal", |t, by| t.subnormal = t.subnormal.map(|line| by * line)),
    ("checks", |t, by| t.checks = (by * t.checks as f64).round() as u64),
    ("share", |t, by| t.share *= by),
    ("similar, cosine", |t, by| t.similar[0] *= by),
    ("similar, factor", |t, by| t.similar[1] *= by),
    ("collapsed", |t, by| t.collapsed *= by),
    ("fallen", |t, by| t.fallen = t.fallen.map(|line| (by * line).min(1.0))),
    ("learned", |t, by| t.learned *= by),
    ("outweighs", |t, by| t.outweighs *= by),
    ("unreachable", |t, by| t.unreachable *= by),
    ("shrinks, cosine", |t, by| t.shrinks[0] *= by),
    ("shrinks, size", |t, by| t.shrinks[1] *= by),
    ("unmixed, correlation", |t, by| t.unmixed[0] *= by),
    ("unmixed, factor", |t, by| t.unmixed[1] *= by),
    ("changed", |t, by| t.changed *= by),
    ("patience", |t, by| t.patience = (by * t.patience as f64).round() as u64),
];

/// The thresholds as they are, then each of [`CHOSEN`] times each factor but 1.
fn variants() -> Vec<Thresholds> {
    let mut all = vec![Thresholds::default()];
    for (_, scale) in CHOSEN {
        for by in FACTORS.iter().filter(|by| **by != 1.0) {
            let mut thresholds = Thresholds::default();
            scale(&mut thresholds, *by);
            all.push(thresholds);
        }
    }
    all
}

/// The place in [`variants`] of a threshold times a factor.
fn place(threshold: usize, factor: usize) -> usize {
    let others = FACTORS.len() - 1;
    if factor == SAME { 0 } else { 1 + threshold * others + factor - usize::from(factor > SAME) }
}

/// Whether interventions depend on the difference between these thresholds and the default.
fn changes_interventions(thresholds: &Thresholds) -> bool {
    let usual = Thresholds::default();
    thresholds.vanishing != usual.vanishing
        || thresholds.over_time != usual.over_time
        || thresholds.input != usual.input
        || thresholds.small_input != usual.small_input
}

/// A diagnosis without interventions, and the parameters that they are to be made with.
struct Look<'a> {
    diagnosis: Diagnosis<'a>,
    w: &'a [f32],
    /// The inputs of the first samples, and their shape.
    x: &'a [f32],
    shape: BatchShape<'a>,
}

impl Look<'_> {
    /// Judges with each of the thresholds that have no verdict yet. Passes are repeated for thresholds that they depend
    /// on, and are shared by all others.
    fn judge(self, all: &[Thresholds], found: &mut [Option<Verdict>], step: usize) -> Result<bool, Error> {
        let Look { diagnosis, w, x, shape } = self;
        let intervene = |thresholds: &Thresholds| diagnosis.clone().thresholds(*thresholds).interventions(w, x, shape);
        let usual = intervene(&Thresholds::default())?;
        for (found, thresholds) in found.iter_mut().zip(all).filter(|(found, _)| found.is_none()) {
            let own = match changes_interventions(thresholds) {
                true => intervene(thresholds)?,
                false => usual.clone().thresholds(*thresholds),
            };
            *found = own.report().root().map(|root| Verdict::of(root, step));
        }
        Ok(found.iter().all(Option::is_some))
    }
}

/// The first verdict with each of the thresholds: of a forecast, of the first batch, and of each look at the training.
fn verdicts(case: &Case, all: &[Thresholds]) -> Result<Vec<Option<Verdict>>, Error> {
    let inputs = InputStatistics::of_rows(&case.data.x)?.steps(case.data.steps)?;
    let diagnose = || Ok::<_, Error>(Diagnosis::new(&case.network, inputs)?.span(case.span));
    let (samples, loss) = (dataset(&case.data)?, loss(case)?);
    let mut found: Vec<Option<Verdict>> = vec![None; all.len()];
    let forecast = diagnose()?.task(&case.w, &samples, &*loss)?;
    for (found, thresholds) in found.iter_mut().zip(all) {
        *found = forecast.clone().thresholds(*thresholds).report().root().map(|root| Verdict::of(root, 0));
    }
    let (mut done, batch) = (found.iter().all(Option::is_some), first_batch(case, &samples)?);
    let x = &case.data.x[..batch.x().len()];
    if case.recipe.before == 0 && !done {
        let (mut workspace, mut seen) = (Workspace::new(&case.network, batch.shape())?, Statistics::new());
        let (mut rng, mut normals) = (generator(!0), Normals::new());
        workspace.set_dropout_key(DropoutKey::off());
        let mode = match Layer::<f32>::samples(&case.network) {
            Samples::CoupledInTraining => Mode::Train,
            _ => Mode::Evaluate,
        };
        let output = workspace.forward_with(&case.w, batch.x(), batch.shape(), mode, &mut seen)?;
        output.dy.iter_mut().for_each(|dy| *dy = normals.next(&mut rng) as f32);
        workspace.backward_with(&case.w, &mut seen)?;
        let diagnosis = diagnose()?.parameters(&case.network, &case.w, batch.shape())?.statistics(&seen);
        done = Look { diagnosis, w: &case.w, x, shape: batch.shape() }.judge(all, &mut found, 1)?;
    }
    if done {
        return Ok(found);
    }
    train(case, 0, &mut Statistics::new(), |seen, w, step| {
        if !is_look(&case.recipe, step) {
            return false;
        }
        let diagnosed = diagnose().and_then(|it| it.task(w, &samples, &*loss));
        let judged = diagnosed.and_then(|diagnosis| {
            let diagnosis = diagnosis.statistics(seen);
            Look { diagnosis, w, x, shape: batch.shape() }.judge(all, &mut found, step)
        });
        // A run that broke has no more reports, as in an examination.
        judged.unwrap_or(true) || step == case.recipe.steps
    })?;
    Ok(found)
}

/// Whether a verdict is right for a kind.
fn is_right(kind: &Kind, verdict: Option<&Verdict>) -> bool {
    match (kind.expected, verdict) {
        (Expected::Healthy, verdict) => verdict.is_none(),
        (Expected::Sick(causes) | Expected::Two(causes), Some(verdict)) => verdict.is_right(causes),
        _ => false,
    }
}

/// The middle of the best factors.
fn best(scores: &[f64]) -> usize {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let of_most: Vec<usize> = (0..scores.len()).filter(|&factor| scores[factor] > most - 1e-9).collect();
    of_most[of_most.len() / 2]
}

/// Prints for each threshold the share of right verdicts as it is, at half and at double, chosen on all kinds, and
/// chosen without the kind that it is judged on.
pub fn run(seed: u64, cases: u64, only: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (tables, all) = (super::data::Tables::read()?, variants());
    let judged = |kind: &&Kind| !matches!(kind.expected, Expected::Outside | Expected::Two(_));
    let kinds: Vec<&Kind> = kinds::chosen(only).filter(judged).collect();
    // For each kind and variant the share of right verdicts.
    let (next, shares) = (AtomicUsize::new(0), Mutex::new(vec![Vec::new(); kinds.len()]));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(kind) = kinds.get(index) else { break };
                    let mut right = vec![0.0; all.len()];
                    for case in 0..cases {
                        let made = (kind.make)(&tables, seed + case, true);
                        match made.and_then(|case| verdicts(&case, &all)) {
                            Ok(found) => right.iter_mut().zip(&found).for_each(|(right, found)| {
                                *right += f64::from(u8::from(is_right(kind, found.as_ref()))) / cases as f64;
                            }),
                            Err(error) => failed
                                .lock()
                                .unwrap_or_else(|it| it.into_inner())
                                .push(format!("{}: {error}", kind.name)),
                        }
                    }
                    shares.lock().unwrap_or_else(|it| it.into_inner())[index] = right;
                }
            });
        }
    });
    for failure in failed.into_inner()? {
        println!("failed: {failure}");
    }
    let shares = shares.into_inner()?;
    let count = kinds.len() as f64;
    println!("{} kinds, {cases} cases each from seed {seed}: right verdicts, in percent\n", kinds.len());
    println!(
        "{:<22} {:>6} {:>6} {:>6} {:>8} {:>8}  kinds that differ without themselves",
        "threshold", "half", "as is", "double", "chosen", "without"
    );
    let (mut sums, mut differing) = ([0.0; 2], Vec::new());
    for (threshold, (name, _)) in CHOSEN.iter().enumerate() {
        let of = |kind: usize, factor: usize| shares[kind][place(threshold, factor)];
        let total = |factor: usize| (0..kinds.len()).map(|kind| of(kind, factor)).sum::<f64>();
        let totals: Vec<f64> = (0..FACTORS.len()).map(total).collect();
        let chosen = best(&totals);
        let (mut without, mut differ) = (0.0, Vec::new());
        for (kind, of_kind) in kinds.iter().enumerate() {
            let rest: Vec<f64> = (0..FACTORS.len()).map(|factor| totals[factor] - of(kind, factor)).collect();
            let score = of(kind, best(&rest));
            without += score;
            if (score - of(kind, chosen)).abs() > 1e-9 {
                differ.push(format!("{} {:.0} for {:.0}", of_kind.name, 100.0 * score, 100.0 * of(kind, chosen)));
            }
        }
        let percent = |sum: f64| format!("{:.1}", 100.0 * sum / count);
        sums = [sums[0] + totals[chosen], sums[1] + without];
        differing.push(differ.len());
        println!(
            "{name:<22} {:>6} {:>6} {:>6} {:>8} {:>8}  {}",
            percent(totals[0]),
            percent(totals[SAME]),
            percent(totals[FACTORS.len() - 1]),
            format!("{} ×{}", percent(totals[chosen]), FACTORS[chosen]),
            percent(without),
            differ.join("; ")
        );
    }
    let wrong = kinds.iter().zip(&shares).filter(|(_, shares)| shares[0] < 1.0);
    let wrong: Vec<String> = wrong.map(|(kind, shares)| format!("{} {:.0}", kind.name, 100.0 * shares[0])).collect();
    println!("\nbelow 100 with the thresholds as they are: {}", wrong.join("; "));
    let [chosen, without] = sums.map(|sum| 100.0 * sum / count / CHOSEN.len() as f64);
    println!(
        "\nmean of {} thresholds: {chosen:.2} chosen on all kinds, {without:.2} chosen without the judged kind; \
         {} of {} pairs of threshold and kind differ",
        CHOSEN.len(),
        differing.iter().sum::<usize>(),
        CHOSEN.len() * kinds.len()
    );
    Ok(())
}
