//! Negative controls: implementations with one planted mistake each, and the law that must catch it.

use chainrule::testing::{Evidence, Law, Violations};

mod activation;
mod cell;
mod composite;
mod initializer;
mod layer;
mod loss;
mod monitor;
mod recurrent;
mod transform;

/// Whether a suite accuses a mutant of breaking the law it breaks; if not, what it said.
fn caught(name: &str, law: Law, verdict: Result<Evidence, Violations>) -> Result<(), String> {
    match verdict {
        Ok(evidence) => Err(format!("{name} was not caught: {evidence}")),
        Err(violations) if violations.of(law).is_none() => {
            Err(format!("{name} was not caught by {law:?}: {violations}"))
        }
        Err(_) => Ok(()),
    }
}

/// Counts the mutants of a kind, all of which must be caught.
fn all_caught(kind: &str, verdicts: impl IntoIterator<Item = Result<(), String>>) {
    let verdicts: Vec<_> = verdicts.into_iter().collect();
    let missed: Vec<_> = verdicts.iter().filter_map(|verdict| verdict.as_ref().err()).cloned().collect();
    println!("{kind}: {} of {} mutants caught", verdicts.len() - missed.len(), verdicts.len());
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}
