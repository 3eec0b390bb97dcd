//! Whole reports of runs, for reading: `clinic --reports`.

use super::{
    Outcome, chain, dataset, examine, first_batch,
    kinds::{self, Case, Expected, Kind},
    loss, train, with_fix,
};
use chainrule::{
    Error,
    diagnosis::{Diagnosis, Report},
    monitor::Statistics,
    theory::InputStatistics,
};
use std::collections::BTreeSet;

/// Healthy runs among the reports, and all of them.
const HEALTHY: usize = 5;
const ALL: usize = 20;

/// How to read them.
const INTRODUCTION: &str = "\
Small networks on real tables, images and series, each examined before the training, at the first batch, and during 300
steps of batches of 32. What was planted stands at the end.

The first line of a finding says what is wrong, where, and how much; the second the fix, with the loss with and
without it; then why, and what would refute it. A trial trains the network with each fix on the same batches. The same
rules examine the best fix, or if none helped the first that removes the fault: what they find there is behind the
first fault. The table is the change of the gradient's norm in each layer, from the loss back to the input; its sum
ends at the output of the first weights. Predicted is what theory says of the untrained network before any data is
seen: weights that begin at 0 stop the gradient until the first step moves them. Where the two differ by more than
theory's own spread, the line below the table says why.";

/// The report at the end of a run in which nothing was found.
fn last(case: &Case) -> Result<(Outcome, Report), Error> {
    let (mut seen, mut w) = (Statistics::new(), Vec::new());
    let reached = train(case, 0, &mut seen, |_, now, step| {
        if step == case.recipe.steps {
            w = now.to_vec();
        }
        false
    })?;
    let inputs = InputStatistics::of_rows(&case.data.x)?.steps(case.data.steps)?;
    let (samples, loss) = (dataset(&case.data)?, loss(case)?);
    let batch = first_batch(case, &samples)?;
    let run = chain(&case.recipe);
    let diagnosis = Diagnosis::new(&case.network, inputs)?.span(case.span).transform(&*run);
    let diagnosis =
        diagnosis.interventions(&w, &case.data.x[..batch.x().len()], batch.shape())?.task(&w, &samples, &*loss)?;
    Ok((reached, diagnosis.statistics(&seen).report()))
}

/// Prints 20 reports as Markdown, five of them of healthy runs, of kinds at equal distances in the list, and what was
/// planted.
pub fn run(seed: u64) -> Result<(), Box<dyn std::error::Error>> {
    let tables = super::data::Tables::read()?;
    let of = |healthy: bool| {
        let is_healthy = |kind: &&Kind| matches!(kind.expected, Expected::Healthy);
        kinds::of_one_recipe()
            .filter(|kind| !matches!(kind.expected, Expected::Outside))
            .filter(move |kind| is_healthy(kind) == healthy)
    };
    let (sound, sick) = (of(true).count(), of(false).count());
    let mut chosen: Vec<&Kind> = (0..ALL - HEALTHY).filter_map(|i| of(false).nth(i * sick / (ALL - HEALTHY))).collect();
    for i in 0..HEALTHY {
        chosen.insert(4 * i, of(true).nth(i * sound / HEALTHY).ok_or("no healthy kind")?);
    }
    let (mut planted, mut text, mut words) = (Vec::new(), String::new(), BTreeSet::new());
    for (i, kind) in chosen.iter().enumerate() {
        let case = (kind.make)(&tables, seed + i as u64, true)?;
        let (when, report) = match examine(&case)? {
            None => {
                let (Outcome { loss, level }, report) = last(&case)?;
                (format!("At the end, with a loss of {loss:.3} and an accuracy or R² of {level:.2}"), report)
            }
            Some(found) => {
                let when = match found.verdict.step {
                    0 => String::from("Before the training"),
                    step => format!("At step {step}"),
                };
                let trial = with_fix(&case, &found)?.map(|(_, trial)| trial);
                (when, trial.into_iter().fold(found.report, Report::tried))
            }
        };
        text += &format!("\n## {}\n\n```text\n{when}:\n\n{report}\n```\n", i + 1);
        let long = format!("{report:#}");
        let meanings = long.split_once("\nwords\n").map_or("", |(_, after)| after).lines();
        words.extend(meanings.map_while(|line| line.strip_prefix("  ")).map(String::from));
        planted.push(format!(
            "{}. {}: {}",
            i + 1,
            kind.name,
            match kind.expected {
                Expected::Healthy => "healthy".into(),
                Expected::Sick(causes) | Expected::Two(causes) => format!("{causes:?}"),
                Expected::Outside => "a fault without a name".into(),
            }
        ));
    }
    println!("# Twenty reports\n");
    println!("Made by `cargo run --release -p clinic -- --reports --seed {seed}`.\n\n{INTRODUCTION}");
    println!("\n## Words\n\n`{{report:#}}` explains the words of a report. Those of all of these are:\n\n```text");
    words.iter().for_each(|line| println!("{line}"));
    println!("```\n{text}\n## What was planted\n");
    for line in planted {
        println!("{line}");
    }
    Ok(())
}
