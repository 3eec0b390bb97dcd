//! An evaluation of `diagnosis`: small networks, healthy or with one planted fault, diagnosed by chainrule and by the
//! rules of other tools.
//!
//! `cargo run --release -p clinic -- --seed 1000 --cases 200`; `--verbose` lists every miss, `--short` is 24 cases.
//! `--field --cases 4` runs 4 cases of each kind of another sort, on real tables, images and series; `--only gate`
//! those kinds alone that have `gate` in their name, `--only varied` those of the lists `varied …`. `--harm --cases
//! 3` trains the same cases without a diagnosis. `--reports` prints twenty whole reports of them. `--prediction
//! --cases 40` measures predictions against the first step of 40 networks of each architecture; `--field
//! --leave-out --cases 2` how verdicts depend on each threshold, and on the kinds that it is chosen with. Thresholds
//! were tuned on seeds below 100 only, of which `--draw N` makes other networks than `--draw 0`.
//!
//! A layer is *within one* if each end of the named range is a planted layer or a neighbour of one. The range must also
//! be as tight as the fault: at most one layer longer on each side than the planted stretch. A wide range around one
//! planted layer does not count. A fault of several layers is named *with both ends* if its first and its last layer
//! are within one of those of the range.

mod cases;
#[allow(dead_code)] // shared with the examples
#[path = "../../examples/data/mod.rs"]
mod data;
mod field;
mod ours;
mod peers;
mod run;

use cases::{Case, Tables, case};
use chainrule::{
    dataset::Standardize,
    diagnosis::{Cause, Finding},
};
use peers::{Peer, Symptom, Tool};
use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// A tool's verdict on a case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    faulty: bool,
    cause: Option<Cause>,
    symptom: Option<Symptom>,
    /// The named layers, each range by its ends.
    layers: Vec<[String; 2]>,
    step: usize,
}

impl Verdict {
    fn faulty() -> Self {
        Verdict { faulty: true, ..Verdict::default() }
    }

    fn of(finding: &Finding, step: usize) -> Self {
        let layers = finding.layers.iter().map(|range| [range.first.clone(), range.last.clone()]).collect();
        Verdict { cause: Some(finding.cause), layers, step, ..Verdict::faulty() }
    }

    fn is_right(&self, causes: &[Cause]) -> bool {
        causes
            .iter()
            .any(|&cause| self.cause == Some(cause) || self.symptom.is_some_and(|symptom| symptom.is_right_for(cause)))
    }

    /// The indices of the first and the last named layer; `None` if no layer is named.
    fn ends(&self) -> Option<[usize; 2]> {
        let index = |path: &String| path.split('.').next().and_then(|layer| layer.parse::<usize>().ok());
        let all: Vec<usize> = self.layers.iter().flatten().map(index).collect::<Option<_>>()?;
        all.iter().copied().min().zip(all.iter().copied().max()).map(|(first, last)| [first, last])
    }

    /// Whether the named layers are within one of the planted ones; `None` without a planted layer.
    ///
    /// A range is as tight as the fault. Each of its ends is within one of a planted layer, and it is at most as long
    /// as the planted layers and one more on each side.
    fn is_near(&self, layers: &[usize]) -> Option<bool> {
        let [first, last] = Verdict::planted(layers)?;
        let near = |end: usize| layers.iter().any(|&layer| layer.abs_diff(end) <= NEIGHBOUR);
        let tight = |said: [usize; 2]| said[1] - said[0] <= last - first + 2 * NEIGHBOUR;
        Some(self.ends().is_some_and(|said| said.into_iter().all(near) && tight(said)))
    }

    /// Whether the named range begins and ends within one of a planted stretch of more than one layer; `None` for a
    /// fault of one layer.
    fn is_range(&self, layers: &[usize]) -> Option<bool> {
        let planted = Verdict::planted(layers).filter(|[first, last]| last - first > NEIGHBOUR)?;
        let near = |said: [usize; 2]| (0..2).all(|end| said[end].abs_diff(planted[end]) <= NEIGHBOUR);
        Some(self.ends().is_some_and(near))
    }

    fn planted(layers: &[usize]) -> Option<[usize; 2]> {
        layers.iter().copied().min().zip(layers.iter().copied().max()).map(|(first, last)| [first, last])
    }
}

/// The distance of neighbours among the layers of a network that alternates weights and activations.
const NEIGHBOUR: usize = 2;

/// The results of one case.
struct Record {
    seed: u64,
    name: String,
    planted: Option<cases::Planted>,
    verdicts: Vec<Verdict>,
    said: String,
    /// Whether chainrule's first fix brought the case to its twin's level, and the three accuracies.
    fixed: Option<bool>,
    levels: String,
}

impl Record {
    fn cause(&self) -> Option<Cause> {
        self.planted.as_ref().map(|planted| planted.causes[0])
    }
}

/// Standardizes all pixels of the digits together, and the sunspot numbers, to mean 0 and variance 1.
fn tables() -> Result<Tables, Box<dyn std::error::Error>> {
    let mut digits = data::digits()?;
    let mut sunspots: Vec<f32> = data::sunspots()?.iter().map(|&number| number as f32).collect();
    for values in [&mut digits.inputs, &mut sunspots] {
        Standardize::of(1, values)?.apply(values)?;
    }
    Ok(Tables { digits, sunspots })
}

fn examine(seed: u64, tables: &Tables) -> Result<Record, chainrule::Error> {
    let subject: Case = case(seed, tables, false)?;
    let (ours, report, norm) = ours::examine(&subject)?;
    let mut verdicts = vec![ours];
    for tool in Tool::ALL {
        let mut peer = Peer::new(tool);
        let outcome = run::train(&subject, &mut peer, |_, _| false)?;
        verdicts.push(peer.verdict(outcome.level));
    }
    let (mut fixed, mut levels) = (None, String::new());
    if subject.planted.is_some() {
        let sick = run::train(&subject, &mut (), |_, _| false)?;
        let twin = run::train(&case(seed, tables, true)?, &mut (), |_, _| false)?;
        let fixed_run = ours::fix_first(&mut case(seed, tables, false)?, &report, norm)?;
        let reached =
            |fixed_run: run::Outcomes| fixed_run.level >= twin.level - 0.05 || fixed_run.loss <= 1.1 * twin.loss;
        fixed = verdicts[0].faulty.then_some(fixed_run.is_some_and(reached));
        let fixed_run = fixed_run.map_or(f64::NAN, |fixed_run| fixed_run.level);
        levels = format!("sick {:.2}, fixed {fixed_run:.2}, twin {:.2}", sick.level, twin.level);
    }
    let said = report.root().map_or(String::new(), |root| format!("{root}"));
    Ok(Record { seed, name: subject.name, planted: subject.planted, verdicts, said, fixed, levels })
}

/// A share with its 95 % interval (Wilson 1927).
fn share(yes: usize, of: usize) -> String {
    if of == 0 {
        return "–".into();
    }
    let (n, p, z) = (of as f64, yes as f64 / of as f64, 1.96);
    let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    format!("{:.1} % [{:.0}–{:.0}]", 100.0 * p, 100.0 * (centre - half).max(0.0), 100.0 * (centre + half).min(1.0))
}

/// A median with its 95 % interval, by order statistics: the ranks n/2 ± 1.96 √n/2.
fn median(sorted: &[usize]) -> String {
    let half = 0.98 * (sorted.len() as f64).sqrt();
    let middle = sorted.len() as f64 / 2.0;
    let at = |rank: f64| sorted.get((rank.max(0.0) as usize).min(sorted.len().saturating_sub(1)));
    match (at(middle), at(middle - half), at(middle + half)) {
        (Some(median), Some(low), Some(high)) => format!("{median} [{low}–{high}]"),
        _ => "–".into(),
    }
}

fn table(records: &[Record]) {
    let (sick, healthy): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.planted.is_some());
    println!("{} cases: {} healthy, {} with a planted fault\n", records.len(), healthy.len(), sick.len());
    println!(
        "{:<22} {:>17} {:>17} {:>17} {:>17} {:>17} {:>10}",
        "", "recall", "accused", "precision", "cause right", "layer within one", "steps"
    );
    for (tool, name) in ["this crate"].into_iter().chain(Tool::ALL.map(Tool::name)).enumerate() {
        let flagged: Vec<_> = sick.iter().filter(|record| record.verdicts[tool].faulty).collect();
        let accused = healthy.iter().filter(|record| record.verdicts[tool].faulty).count();
        let planted = |record: &&&&Record| {
            record.planted.as_ref().is_some_and(|planted| record.verdicts[tool].is_right(&planted.causes))
        };
        let right = flagged.iter().filter(planted).count();
        let near: Vec<bool> = flagged
            .iter()
            .filter_map(|record| record.verdicts[tool].is_near(&record.planted.as_ref()?.layers))
            .collect();
        let mut steps: Vec<usize> = flagged.iter().map(|record| record.verdicts[tool].step).collect();
        steps.sort_unstable();
        println!(
            "{name:<22} {:>17} {:>17} {:>17} {:>17} {:>17} {:>10}",
            share(flagged.len(), sick.len()),
            share(accused, healthy.len()),
            share(flagged.len(), flagged.len() + accused),
            share(right, flagged.len()),
            share(near.iter().filter(|near| **near).count(), near.len()),
            median(&steps)
        );
    }
    let of_stretches = |record: &&Record| record.verdicts[0].is_range(&record.planted.as_ref()?.layers);
    let ranges: Vec<bool> = sick.iter().filter(|record| record.verdicts[0].faulty).filter_map(of_stretches).collect();
    println!(
        "\na fault of several layers is named with both ends within one: {} of {}",
        share(ranges.iter().filter(|right| **right).count(), ranges.len()),
        ranges.len()
    );
    let all = Kind::of(&sick);
    let budgets: Vec<&Record> = sick.iter().copied().filter(|record| cases::is_of_budget(record.cause())).collect();
    let Kind { cases, early: [before, first], .. } = Kind::of(&budgets);
    println!("first fix, applied as it stands, reaches the healthy twin: {}", share(all.fixed, all.named));
    println!(
        "a vanishing or exploding budget is named before step 0 {}, at the first check {}",
        share(before, cases),
        share(first, cases)
    );
    println!(
        "\n{:<22} {:>5} {:>6} {:>6} {:>7} {:>7} {:>6}",
        "this crate, by fault", "cases", "named", "cause", "before", "first", "fixed"
    );
    for cause in cases::FAULTS {
        let of: Vec<&Record> = sick.iter().copied().filter(|record| record.cause() == Some(cause)).collect();
        let Kind { cases, named, right, early: [before, first], fixed } = Kind::of(&of);
        println!("{cause:<22} {cases:>5} {named:>6} {right:>6} {before:>7} {first:>7} {fixed:>6}");
    }
}

/// Counts of cases named with the right cause before step 0, named at the first check, and fixed.
struct Kind {
    cases: usize,
    named: usize,
    right: usize,
    early: [usize; 2],
    fixed: usize,
}

impl Kind {
    fn of(records: &[&Record]) -> Self {
        let named: Vec<_> = records.iter().filter(|record| record.verdicts[0].faulty).collect();
        let at = |step| named.iter().filter(|record| record.verdicts[0].step == step).count();
        let right = |record: &&&&Record| {
            record.planted.as_ref().is_some_and(|planted| record.verdicts[0].is_right(&planted.causes))
        };
        Kind {
            cases: records.len(),
            named: named.len(),
            right: named.iter().filter(right).count(),
            early: [at(0), at(1)],
            fixed: named.iter().filter(|record| record.fixed == Some(true)).count(),
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (mut seed, mut count, mut draw, mut verbose) = (1000u64, 200u64, 0u64, false);
    let (mut field, mut harm, mut reports, mut prediction, mut leave_out) = (false, false, false, false, false);
    let mut only = String::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--only" {
            only = words.next().ok_or("--only needs a part of a name")?;
            continue;
        }
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or(format!("{word} needs a number"));
        match word.as_str() {
            "--seed" => seed = number()?,
            "--cases" => count = number()?,
            "--draw" => draw = number()?,
            "--verbose" => verbose = true,
            "--short" => count = 24,
            "--field" => (field, count) = (true, 4),
            "--harm" => harm = true,
            "--reports" => reports = true,
            "--leave-out" => leave_out = true,
            "--prediction" => (prediction, count) = (true, 40),
            _ => {
                return Err(format!(
                    "{word}: expected --seed N, --cases N, --draw N, --field, --harm, --only NAME, --leave-out, \
                     --reports, --prediction, --verbose or --short"
                )
                .into());
            }
        }
    }
    if reports {
        return field::reports::run(seed);
    }
    if prediction {
        return field::prediction::run(seed, count, &only);
    }
    if leave_out {
        return field::leave_out::run(seed, count, &only);
    }
    if harm {
        return field::harm::run(seed, count, &only);
    }
    if field {
        return field::run(seed, count, &only, verbose);
    }
    let tables = tables()?;
    let (next, records, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    match examine(seed + index + (draw << 40), &tables) {
                        Ok(record) => records.lock().unwrap_or_else(|lock| lock.into_inner()).push(record),
                        Err(error) => {
                            *failed.lock().unwrap_or_else(|lock| lock.into_inner()) = Some((seed + index, error))
                        }
                    }
                }
            });
        }
    });
    if let Some((seed, error)) = failed.into_inner()? {
        return Err(format!("seed {seed}: {error}").into());
    }
    let mut records = records.into_inner()?;
    records.sort_by_key(|record| record.seed);
    for record in records.iter().filter(|_| verbose) {
        let ours = &record.verdicts[0];
        let wrong = match &record.planted {
            Some(planted) => !ours.is_right(&planted.causes) || ours.is_near(&planted.layers) == Some(false),
            None => ours.faulty,
        };
        if wrong || record.fixed == Some(false) {
            let planted = record.planted.as_ref().map(|planted| &planted.layers);
            println!(
                "seed {}: {} {planted:?}: step {}, fixed {:?} ({})",
                record.seed, record.name, ours.step, record.fixed, record.levels
            );
            println!("{}\n", record.said);
        }
    }
    table(&records);
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clinic: {error}");
            ExitCode::FAILURE
        }
    }
}
