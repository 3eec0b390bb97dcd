//! A check-up of gradients on real data: where they vanish or explode, why, and the fixes.
//!
//! `cargo run --release --example checkup` runs all of it on the data that ships with the repository, in under a minute
//! on two cores. `-- --csv FILE --label COLUMN` reports on a table of your own; `-- --pictures DIR` says where the
//! pictures go; `-- --short` is the same with less training.

#[path = "../data/mod.rs"]
mod data;
mod depth;
mod forecast;
mod gap;
mod pictures;
mod progress;
mod table;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Instant};

/// The options of the command line.
struct Wishes {
    csv: Option<(String, String)>,
    pictures: PathBuf,
    short: bool,
}

fn wishes() -> Result<Wishes, String> {
    let (mut csv, mut label, mut pictures, mut short) = (None, None, PathBuf::from("pictures"), false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--csv" => csv = Some(value()?),
            "--label" => label = Some(value()?),
            "--pictures" => pictures = value()?.into(),
            "--short" => short = true,
            _ => return Err(format!("{word}: expected --csv FILE --label COLUMN, --pictures DIR or --short")),
        }
    }
    let csv = match (csv, label) {
        (Some(file), Some(label)) => Some((file, label)),
        (None, None) => None,
        _ => return Err("--csv FILE and --label COLUMN go together".into()),
    };
    Ok(Wishes { csv, pictures, short })
}

fn run(wishes: &Wishes) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    if let Some((file, label)) = &wishes.csv {
        return table::report(file, label, wishes.short);
    }
    std::fs::create_dir_all(&wishes.pictures).map_err(|error| format!("{}: {error}", wishes.pictures.display()))?;
    let (train, test) = data::digits()?.split(1);
    let mut drawn = depth::report(&train, &test, &wishes.pictures, wishes.short)?;
    drawn.extend(gap::report(&train, &test, &wishes.pictures, wishes.short)?);
    drawn.extend(forecast::report(&data::sunspots()?, &wishes.pictures, wishes.short)?);
    println!("\n## Pictures");
    for picture in drawn {
        println!("{}", picture.canonicalize().unwrap_or(picture).display());
    }
    println!("\nDone in {:.0} s.", start.elapsed().as_secs_f64());
    Ok(())
}

fn main() -> ExitCode {
    match wishes().map_err(Into::into).and_then(|wishes| run(&wishes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("checkup: {error}");
            ExitCode::FAILURE
        }
    }
}
