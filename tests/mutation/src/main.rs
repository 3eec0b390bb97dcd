//! Mutation testing: all mutants of some folders in one build, each switched on at run time by its number, and judged
//! by the tests that reach it.
//!
//! `mutation build COPY` rewrites a copy of the project until it compiles; `mutation run COPY PROGRAM...` runs the
//! mutants with test programs that were built of it, and goes on where an earlier run ended.

mod rewrite;
mod run;

use rewrite::{Mutant, Rewriter};
use std::{
    collections::BTreeSet,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// The folders of `src` that have mutants.
const FOLDERS: [&str; 7] = ["activation", "cell", "initializer", "layer", "loss", "recurrent", "transform"];

/// The switch, as a module of the crate.
const SWITCH: &str = include_str!("switch.rs");

/// Rounds of leaving out what does not compile.
const ROUNDS: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["build", copy] => build(Path::new(copy)),
        ["run", copy, ref programs @ ..] if !programs.is_empty() => run::run(Path::new(copy), programs),
        _ => {
            eprintln!("mutation build COPY | mutation run COPY PROGRAM...");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

/// Rewrites the copy, and leaves out the mutants at which the compiler finds errors.
fn build(copy: &Path) {
    let originals: Vec<(String, String)> = {
        let mut paths = Vec::new();
        FOLDERS.iter().for_each(|folder| files(&copy.join("src").join(folder), &mut paths));
        let name = |path: &Path| path.strip_prefix(copy).expect("within the copy").display().to_string();
        paths.iter().map(|path| (name(path), fs::read_to_string(path).expect("a source"))).collect()
    };
    let library = copy.join("src/lib.rs");
    let text = fs::read_to_string(&library).expect("lib.rs").replacen("mod arc;", "pub mod mutation;\nmod arc;", 1);
    fs::write(&library, text).expect("lib.rs");
    fs::write(copy.join("src/mutation.rs"), SWITCH).expect("mutation.rs");
    let mut unviable = BTreeSet::new();
    for round in 0..ROUNDS {
        let (mut next, mut found, mut places) = (1, Vec::new(), Vec::new());
        for (name, source) in &originals {
            let rewritten = Rewriter::rewrite(source, name, &unviable, &mut next, &mut found);
            fs::write(copy.join(name), &rewritten.text).expect("a rewritten source");
            places.push((name.clone(), rewritten));
        }
        let errors = check(copy);
        println!("round {round}: {} mutants, {} do not compile, {} errors", found.len(), unviable.len(), errors.len());
        if errors.is_empty() {
            write_list(copy, &found, &unviable);
            return;
        }
        let before = unviable.len();
        for (spans, message) in errors {
            let ids = blamed(&places, &spans);
            if ids.is_empty() {
                eprintln!("{message}");
            }
            unviable.extend(ids);
        }
        assert!(unviable.len() > before, "errors that no mutant is to blame for");
    }
    panic!("still errors after {ROUNDS} rounds");
}

type Span = (String, Range<usize>);

/// The mutants whose text an error points at; else those of its lines.
fn blamed(places: &[(String, rewrite::Rewritten)], spans: &[Span]) -> BTreeSet<u32> {
    let within = |widen: bool| {
        let mut ids = BTreeSet::new();
        for (name, span) in spans {
            let Some((_, file)) = places.iter().find(|(file, _)| file == name) else { continue };
            let mut span = span.clone();
            if widen {
                span.start = file.text[..span.start].rfind('\n').unwrap_or(0);
                span.end = file.text[span.end..].find('\n').map_or(file.text.len(), |i| span.end + i);
            }
            let meets = |place: &Range<usize>| place.start < span.end && span.start < place.end;
            ids.extend(file.places.iter().filter(|(place, _)| meets(place)).map(|(_, id)| *id));
        }
        ids
    };
    let ids = within(false);
    if ids.is_empty() { within(true) } else { ids }
}

/// The errors of the compiler: where each points, and its text.
fn check(copy: &Path) -> Vec<(Vec<Span>, String)> {
    let output = Command::new("cargo")
        .args(["check", "--lib", "--all-features", "--message-format=json"])
        .current_dir(copy)
        .env("RUSTFLAGS", "-Awarnings")
        .output()
        .expect("cargo");
    let mut errors = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(json) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let message = &json["message"];
        if message["level"] != "error" {
            continue;
        }
        let spans: Vec<Span> = message["spans"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|span| {
                let at = |name: &str| span[name].as_u64().map(|at| at as usize);
                let primary = span["is_primary"] == true;
                primary.then_some((span["file_name"].as_str()?.to_owned(), at("byte_start")?..at("byte_end")?))
            })
            .collect();
        if !spans.is_empty() {
            errors.push((spans, message["rendered"].as_str().unwrap_or_default().to_owned()));
        }
    }
    let failed = !output.status.success() && errors.is_empty();
    assert!(!failed, "the copy cannot be checked: {}", String::from_utf8_lossy(&output.stderr));
    errors
}

fn write_list(copy: &Path, found: &[Mutant], unviable: &BTreeSet<u32>) {
    let mut text = String::new();
    for Mutant { id, file, line, function, change } in found.iter().filter(|mutant| !unviable.contains(&mutant.id)) {
        text.push_str(&format!("{id}\t{file}:{line}\t{function}\t{change}\n"));
    }
    fs::write(copy.join("mutants.tsv"), text).expect("mutants.tsv");
}
