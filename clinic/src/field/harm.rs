//! What kinds do by training alone, without a diagnosis: `clinic --field --harm`.

use super::{Expected, Outcome, Tables, data::Targets, made, of_each, reached};
use crate::share;
use chainrule::Error;

use super::kinds::{self, Kind};

/// The outcomes of one case, and whether the kind is what it is said to be.
struct Trained {
    kind: &'static Kind,
    seed: u64,
    own: Outcome,
    twin: Option<Outcome>,
    /// The accuracy of the most frequent class; 0, the R² of the mean, of values.
    constant: f64,
    is_right: bool,
}

fn one(kind: &'static Kind, seed: u64, tables: &Tables) -> Result<Trained, Error> {
    let own = reached(kind, seed, tables, true)?;
    let is_healthy = matches!(kind.expected, Expected::Healthy);
    let twin = if is_healthy { None } else { Some(reached(kind, seed, tables, false)?) };
    let case = (kind.make)(tables, made::of_training(seed, 0), true)?;
    let constant = match &case.judged.as_ref().unwrap_or(&case.data).y {
        Targets::Values(..) => 0.0,
        Targets::Classes(classes) => {
            let of = |class: usize| classes.iter().filter(|&&other| other == class).count();
            let most = classes.iter().max().into_iter().flat_map(|&last| (0..=last).map(of)).max();
            most.unwrap_or(0) as f64 / classes.len() as f64
        }
    };
    let is_right = match twin {
        Some(twin) => own.is_worse(twin),
        None => own.loss.is_finite() && own.level >= kind.reaches.unwrap_or(constant),
    };
    Ok(Trained { kind, seed, own, twin, constant, is_right })
}

/// Prints levels and losses of each case and its twin, medians of trainings.
pub fn run(seed: u64, seeds: u64, only: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (mut all, failures) = of_each(seed, seeds, only, one)?;
    for failure in failures {
        println!("failed: {failure}");
    }
    all.sort_by_key(|trained| (kinds::all().position(|kind| kind.name == trained.kind.name), trained.seed));
    println!("{:<46} {:>6} {:>7} {:>9} {:>7} {:>9} {:>9}", "kind", "seed", "level", "loss", "twin", "loss", "constant");
    for Trained { kind, seed, own, twin, constant, is_right } in &all {
        let twin = twin.map_or(format!("{:>7.3} {:>9}", kind.reaches.unwrap_or(f64::NAN), "least"), |twin| {
            format!("{:>7.3} {:>9.2e}", twin.level, twin.loss)
        });
        println!(
            "{:<46} {seed:>6} {:>7.3} {:>9.2e} {twin} {constant:>9.3}{}",
            kind.name,
            own.level,
            own.loss,
            if *is_right { "" } else { "  not" }
        );
    }
    for (what, of) in [("healthy cases that reach their level", true), ("sick cases worse than their twin", false)] {
        let of: Vec<bool> = all.iter().filter(|it| it.twin.is_none() == of).map(|it| it.is_right).collect();
        println!("{what}: {} of {}", share(of.iter().filter(|right| **right).count(), of.len()), of.len());
    }
    Ok(())
}
