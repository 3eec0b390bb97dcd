//! Hostile values through every public constructor, setter and pass of chainrule, each call in a child process.
//!
//! `hostile --calls 50000 --seed 1` spreads the calls over all entries and prints a table by module. It fails if a call
//! panics, aborts, hangs, exceeds its memory, or is accepted where it must not be. A panic is allowed only with a
//! message that the documentation states. That each public function has an entry is a test of the suite,
//! `entry_points`.
//! `hostile --only NAME:INDEX --seed 1` repeats one call and prints its arguments.

#![allow(clippy::type_complexity)]

mod case;
mod entries;
mod liars;
mod run;

use case::{Case, Verdict};
use run::{Limits, Runner, Tally};
use std::{any::Any, cell::RefCell, collections::BTreeMap, process::ExitCode};

/// Some public functions, and one hostile call of them.
pub struct Entry {
    /// The names of all functions that a call goes through, the one under attack first.
    pub names: &'static [&'static str],
    /// Its share of the calls; 0 for slow calls, of which there are few.
    pub weight: u64,
    /// Fragments of the messages with which a call may panic: the laws in a section `# Panics` of one of the names.
    pub laws: &'static [&'static str],
    pub run: fn(&mut Case) -> Verdict,
}

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Where the last panic of this thread was.
pub fn last_panic_place() -> String {
    PLACE.with_borrow(Clone::clone)
}

/// The text of a panic.
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a payload without a text").into()
}

struct Arguments {
    calls: u64,
    seed: u64,
    only: Option<(String, Option<u64>)>,
    seconds: u32,
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments { calls: 2000, seed: 1, only: None, seconds: 10 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        match word.as_str() {
            "--calls" => found.calls = number(value()?)?,
            "--seed" => found.seed = number(value()?)?,
            "--seconds" => found.seconds = number(value()?)? as u32,
            "--only" => {
                let text = value()?;
                let split = text.rsplit_once(':').and_then(|(name, index)| Some((name, index.parse().ok()?)));
                found.only = Some(split.map_or((text.clone(), None), |(name, index)| (name.into(), Some(index))));
            }
            _ => return Err(format!("{word}: expected --calls, --seed, --seconds or --only NAME[:INDEX]")),
        }
    }
    Ok(found)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    // SAFETY: no other thread runs yet. A backtrace of each failed allocation takes longer than all calls.
    unsafe { std::env::set_var("RUST_BACKTRACE", "0") };
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        PLACE.with_borrow_mut(|last| *last = place);
        eprintln!("{info}");
    }));
    let entries = entries::all();
    let memory = std::env::var_os("HOSTILE_SANITIZED").is_none().then_some(1 << 30);
    let limits = Limits {
        seed: arguments.seed,
        seconds: arguments.seconds,
        memory,
        shown: matches!(arguments.only, Some((_, Some(_)))),
    };
    let mut runner = Runner::new(limits);
    let chosen = |entry: &&Entry| match &arguments.only {
        Some((name, _)) => {
            entry.names[0] == name
                || arguments.only.as_ref().is_some_and(|(_, i)| i.is_none())
                    && entry.names[0].starts_with(name.as_str())
        }
        None => true,
    };
    let weights: u64 = entries.iter().filter(chosen).map(|entry| entry.weight).sum();
    let mut modules: BTreeMap<&str, Tally> = BTreeMap::new();
    for entry in entries.iter().filter(chosen) {
        let (from, to) = match &arguments.only {
            Some((_, Some(index))) => (*index, index + 1),
            _ if entry.weight == 0 => (0, 1 + arguments.calls.div_ceil(20_000)),
            _ => (0, (arguments.calls * entry.weight).div_ceil(weights.max(1))),
        };
        let start = std::time::Instant::now();
        let tally = runner.run(entry, from, to);
        let seconds = start.elapsed().as_secs_f64();
        if seconds > 2.0 {
            println!("{}: {seconds:.0} s for {} calls", entry.names[0], tally.calls);
        }
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        for (index, kind, text) in &tally.bad {
            let alike: String = text.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
            let count = told.entry(format!("{kind} {alike}")).or_default();
            *count += 1;
            if *count <= 2 {
                println!("{kind}: --seed {} --only '{}:{index}': {text}", arguments.seed, entry.names[0]);
            }
        }
        for (what, count) in told.iter().filter(|(_, count)| **count > 2) {
            println!("  {}: {count} calls alike: {what}", entry.names[0]);
        }
        let module = entry.names[0].split("::").next().filter(|_| entry.names[0].contains("::")).unwrap_or("the root");
        modules.entry(module).or_default().add(&tally);
    }
    println!("\n| module | calls | Ok | Err | announced panics | panics | aborts | hangs | wrong accepts |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut all = Tally::default();
    let row = |name: &str, tally: &Tally| {
        let Tally { calls, right, refused, announced, panics, aborts, hangs, wrong, .. } = tally;
        println!("| {name} | {calls} | {right} | {refused} | {announced} | {panics} | {aborts} | {hangs} | {wrong} |");
    };
    for (name, tally) in &modules {
        row(name, tally);
        all.add(tally);
    }
    row("all", &all);
    if all.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
