//! A catalogue of implementations that the law suites do not know: wrong ones, each with the law that must catch it at
//! every seed, and right but unusual ones, which no law may accuse.
//!
//! Results are appended to a file, one line for each entry and seed; a run that is started again skips those.

mod activations;
mod beyond;
mod beyond_parts;
mod buffered;
mod cells;
mod initializers;
mod layers;
mod losses;
mod monitors;
mod own_layers;
mod probabilities;
mod rare;
mod reported;
mod reviewed;
mod reviewed_parts;
mod told;
mod transforms;
mod wild_layers;
mod wild_parts;

use chainrule::{
    Error,
    initializer::Shape,
    testing::{Evidence, Law, Violations},
};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, read_to_string},
    io::Write,
    process::ExitCode,
    time::Instant,
};

/// What a law suite says of an implementation at a seed.
type Verdict = Result<Evidence, Violations>;

/// One implementation.
struct Entry {
    /// Its kind and its own name: `loss/clamped_gradient`.
    name: String,
    /// The law that must catch it; `None` of a right implementation.
    expected: Option<Law>,
    /// Its law suite at a seed.
    judge: Box<dyn Fn(u64) -> Verdict>,
}

impl Entry {
    fn wrong(name: impl Into<String>, law: Law, judge: impl Fn(u64) -> Verdict + 'static) -> Self {
        Entry { name: name.into(), expected: Some(law), judge: Box::new(judge) }
    }

    fn right(name: impl Into<String>, judge: impl Fn(u64) -> Verdict + 'static) -> Self {
        Entry { name: name.into(), expected: None, judge: Box::new(judge) }
    }

    /// `caught`, `missed` or `by another law` of a wrong one, `accused` or `lawful` of a right one, with the laws.
    fn outcome(&self, seed: u64) -> (&'static str, String) {
        let verdict = (self.judge)(seed);
        let laws = verdict.as_ref().err().map_or_else(String::new, |violations| {
            let laws: Vec<String> = violations.violations.iter().map(|found| format!("{:?}", found.law)).collect();
            laws.join(" ")
        });
        match (&verdict, self.expected) {
            (Ok(_), None) => ("lawful", laws),
            (Err(violations), None) => ("accused", format!("{violations}").replace('\n', " | ")),
            (Ok(_), Some(_)) => ("missed", laws),
            (Err(violations), Some(law)) if violations.of(law).is_some() => ("caught", laws),
            (Err(_), Some(_)) => ("by another law", laws),
        }
    }
}

/// Returns an error unless the number of `values` is that of a block of `shape`.
fn holds(shape: Shape, values: &[f64]) -> Result<(), Error> {
    let expected = shape.rows * shape.columns;
    match values.len() {
        found if found == expected => Ok(()),
        found => Err(Error::Length { what: "values", expected, found }),
    }
}

fn catalogue() -> Vec<Entry> {
    [
        activations::entries(),
        losses::entries(),
        initializers::entries(),
        transforms::entries(),
        reported::entries(),
        monitors::entries(),
        cells::entries(),
        layers::entries(),
        own_layers::entries(),
        beyond::entries(),
        beyond_parts::entries(),
        buffered::entries(),
        told::entries(),
        probabilities::entries(),
        rare::entries(),
        wild_parts::entries(),
        wild_layers::entries(),
        reviewed::entries(),
        reviewed_parts::entries(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The value of an argument `--name value`.
fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name)?;
    arguments.next()
}

fn number(name: &str, default: u64) -> u64 {
    argument(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} {text}: not a number")))
}

fn main() -> ExitCode {
    let (first, seeds) = (number("--first", 0), number("--seeds", 20));
    let only = argument("--only").unwrap_or_default();
    let shard = argument("--shard").unwrap_or_else(|| "0/1".into());
    let (part, parts) = shard.split_once('/').expect("--shard PART/PARTS");
    let (part, parts): (u64, u64) = (part.parse().expect("PART"), parts.parse().expect("PARTS"));
    let path = argument("--results").unwrap_or_else(|| "target/law_catalogue.txt".into());
    // Panics are findings of the suites, which print them.
    std::panic::set_hook(Box::new(|_| {}));

    let done = read_to_string(&path).unwrap_or_default();
    let mut outcomes: BTreeMap<(String, u64), (String, String)> = BTreeMap::new();
    for line in done.lines() {
        let mut fields = line.splitn(4, '\t');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        let (name, seed, outcome, detail) = (field(), field(), field(), field());
        outcomes.insert((name, seed.parse().unwrap_or(u64::MAX)), (outcome, detail));
    }
    let mut file = match OpenOptions::new().create(true).append(true).open(&path) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let right_alone = std::env::args().any(|argument| argument == "--right");
    let is_asked = |entry: &Entry| entry.name.starts_with(&only) && !(right_alone && entry.expected.is_some());
    let entries: Vec<Entry> = catalogue().into_iter().filter(is_asked).collect();
    run(&entries, first..first + seeds, [part, parts], &mut outcomes, &mut file);
    report(&entries, first..first + seeds, &outcomes)
}

/// Tries the entries and seeds of a part that have no outcome yet.
fn run(
    entries: &[Entry],
    seeds: std::ops::Range<u64>,
    [part, parts]: [u64; 2],
    outcomes: &mut BTreeMap<(String, u64), (String, String)>,
    file: &mut File,
) {
    for (i, entry) in entries.iter().enumerate() {
        let start = Instant::now();
        let mut tried = 0;
        for seed in seeds.clone() {
            let key = (entry.name.clone(), seed);
            if (i as u64 + seed) % parts != part || outcomes.contains_key(&key) {
                continue;
            }
            let (outcome, detail) = entry.outcome(seed);
            writeln!(file, "{}\t{seed}\t{outcome}\t{detail}", entry.name).expect("the file of results can be written");
            outcomes.insert(key, (outcome.into(), detail));
            tried += 1;
        }
        if tried > 0 && start.elapsed().as_secs() >= tried {
            println!("slow: {}: {:.1} s a seed", entry.name, start.elapsed().as_secs_f64() / tried as f64);
        }
    }
}

/// Prints what is not as it should be, and the sums.
fn report(
    entries: &[Entry],
    seeds: std::ops::Range<u64>,
    outcomes: &BTreeMap<(String, u64), (String, String)>,
) -> ExitCode {
    let [mut wrong, mut caught, mut right, mut runs, mut accused] = [0; 5];
    for entry in entries {
        let found: Vec<&(String, String)> =
            seeds.clone().filter_map(|seed| outcomes.get(&(entry.name.clone(), seed))).collect();
        let count = |outcome: &str| found.iter().filter(|found| found.0 == outcome).count();
        let odd = found.iter().find(|found| found.0 != "caught" && found.0 != "lawful");
        if let Some(law) = entry.expected {
            wrong += 1;
            caught += usize::from(count("caught") == found.len());
            if let Some((outcome, laws)) = odd {
                let (caught, all) = (count("caught"), found.len());
                println!("{}: caught by {law:?} at {caught} of {all} seeds; {outcome} {laws}", entry.name);
            }
        } else {
            right += 1;
            runs += found.len();
            accused += count("accused");
            if let Some((_, text)) = odd {
                println!("{}: accused at {} of {} seeds: {text}", entry.name, count("accused"), found.len());
            }
        }
    }
    println!("wrong: {caught} of {wrong} caught at each seed by their law");
    println!("right: {accused} accusations in {runs} runs of {right} implementations");
    if caught == wrong && accused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
