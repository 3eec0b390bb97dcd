//! Whole reports of runs, for reading: `clinic --reports`.

use super::{
    BATCH, STEPS, dataset, examine,
    kinds::{Case, Expected, KINDS, Kind},
    loss, mended, train,
};
use chainrule::{
    Error,
    dataset::Batch,
    diagnosis::{Diagnosis, Report},
    monitor::Statistics,
    theory::InputStatistics,
};

/// Healthy runs among the reports, and all of them.
const HEALTHY: usize = 5;
const ALL: usize = 20;

/// The report at the end of a run in which nothing was found.
fn last(case: &Case) -> Result<Report, Error> {
    let (mut seen, mut w) = (Statistics::new(), Vec::new());
    train(case, &mut seen, |_, now, step| {
        if step == STEPS {
            w = now.to_vec();
        }
        false
    })?;
    let inputs = InputStatistics::of_rows(&case.data.x)?.steps(case.data.steps)?;
    let (samples, loss) = (dataset(&case.data)?, loss(&case.data));
    let mut batch = Batch::new(&samples, BATCH);
    batch.gather(&samples, &(0..BATCH).collect::<Vec<_>>(), false)?;
    let diagnosis = Diagnosis::new(&case.network, inputs)?.span(case.span);
    Ok(diagnosis.interventions(&w, batch.x(), batch.shape())?.task(&w, &samples, &*loss)?.statistics(&seen).report())
}

/// Prints 20 reports as Markdown, five of them of healthy runs, of kinds at equal distances in the list, and what was
/// planted.
pub fn run(seed: u64) -> Result<(), Box<dyn std::error::Error>> {
    let tables = super::data::Tables::read()?;
    let of = |healthy: bool| {
        let is_healthy = |kind: &&Kind| matches!(kind.expected, Expected::Healthy);
        KINDS
            .iter()
            .filter(|kind| !matches!(kind.expected, Expected::Outside))
            .filter(move |kind| is_healthy(kind) == healthy)
    };
    let (sound, sick) = (of(true).count(), of(false).count());
    let mut chosen: Vec<&Kind> = (0..ALL - HEALTHY).filter_map(|i| of(false).nth(i * sick / (ALL - HEALTHY))).collect();
    for i in 0..HEALTHY {
        chosen.insert(4 * i, of(true).nth(i * sound / HEALTHY).ok_or("no healthy kind")?);
    }
    println!("# Twenty reports\n");
    println!(
        "Made by `cargo run --release -p clinic -- --reports --seed {seed}`: small networks on real tables, images and"
    );
    println!(
        "series, each examined before the training, at the first batch and during it. What was planted stands at the end."
    );
    let mut planted = Vec::new();
    for (i, kind) in chosen.iter().enumerate() {
        let case = (kind.make)(&tables, seed + i as u64, true)?;
        println!("\n## {}\n\n```text", i + 1);
        match examine(&case)? {
            None => println!("{}", last(&case)?),
            Some((verdict, report, seen)) => {
                match verdict.step {
                    0 => println!("Before the training:\n"),
                    step => println!("At step {step}:\n"),
                }
                println!("{report}");
                if let Some((_, trials)) = mended(&case, &report, &seen)? {
                    println!("\n{trials}");
                }
            }
        }
        println!("```");
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
    println!("\n## What was planted\n");
    for line in planted {
        println!("{line}");
    }
    Ok(())
}
