//! Figures of docs/scale.md between processes of this machine, which `mpiexec` starts.
//!
//! | argument | result |
//! | --- | --- |
//! | `messages` | α and β between two ranks |
//! | `steps` | 1, 2 and 4 ranks beside the model |
//! | `overlap` | parts of the gradient that travel beside the pass |
//! | `update 2 15` | the median of 15 updates of the LSTM on 2 ranks, and the first loss; 0: without ranks |

#[path = "../../benches/ranks/messages.rs"]
mod messages;
#[path = "../../benches/ranks/overlap.rs"]
mod overlap;
#[path = "../../benches/ranks/steps.rs"]
mod steps;

use chainrule::distributed::{Communicator, DataParallel};
use chainrule_mpi::Mpi;
use messages::Wire;
use std::{env, error::Error, process::Command, str::FromStr, sync::Arc, time::Duration};
use steps::WORKLOADS;

/// Runs this program with `arguments` on so many ranks. Returns the numbers of the last line that rank 0 prints, and
/// prints the lines before.
fn launch(ranks: usize, arguments: &[String]) -> Result<[f64; 2], Box<dyn Error>> {
    let mut job = Command::new("mpiexec");
    let count = ranks.to_string();
    job.args(["-n", &count]).arg(env::current_exe()?).args(["--rank", &count]).args(arguments);
    let output = job.stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(|error| format!("mpiexec: {error}; install mpich"))?;
    let text = String::from_utf8(output.stdout)?;
    let (table, numbers) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    if !output.status.success() {
        return Err(format!("a job of {ranks} ranks failed:\n{text}").into());
    }
    if !table.is_empty() {
        println!("{table}");
    }
    let numbers: Result<Vec<f64>, _> = numbers.split(' ').map(f64::from_str).collect();
    Ok(numbers?.try_into().map_err(|_| "expected two numbers")?)
}

/// The part of one rank of `ranks`. Rank 0 prints the two numbers.
fn rank(ranks: usize, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let rank = Mpi::new().ok_or("MPI cannot be initialized")?;
    let found = Communicator::<f32>::size(&rank);
    if found != ranks {
        let reason = "`mpiexec` and the MPI library do not match";
        return Err(format!("one of {found} ranks instead of {ranks}: {reason}").into());
    }
    let own = Communicator::<f32>::rank(&rank);
    let [first, second] = match *arguments {
        ["messages"] => {
            let Wire { alpha, beta } = messages::measure(&rank)?;
            [alpha, beta]
        }
        ["overlap"] => {
            overlap::table(Arc::new(rank))?;
            [0.0; 2]
        }
        ["update", workload, sleep, updates] => {
            let (workload, sleep) = (&WORKLOADS[workload.parse::<usize>()?], sleep.parse()?);
            let sleep = Duration::from_secs_f64(if own == 1 { sleep } else { 0.0 });
            workload.time(workload.batch, Some(DataParallel::new(rank)), sleep, updates.parse()?)?
        }
        _ => return Err("expected messages, overlap or update".into()),
    };
    if own == 0 {
        println!("{first:e} {second:e}");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let update = |ranks: usize, workload: usize, sleep: Duration, updates: usize| {
        let sleep = sleep.as_secs_f64().to_string();
        launch(ranks, &["update".into(), workload.to_string(), sleep, updates.to_string()])
    };
    match *arguments {
        ["--rank", ranks, ref arguments @ ..] => rank(ranks.parse()?, arguments)?,
        ["messages"] => drop(launch(2, &["messages".into()])?),
        ["overlap"] => drop(launch(2, &["overlap".into()])?),
        ["steps"] => {
            let [alpha, beta] = launch(2, &["messages".into()])?;
            steps::compare::<Box<dyn Error>>(Wire { alpha, beta }, |workload, ranks, sleep| {
                let place = WORKLOADS.iter().position(|other| other.name == workload.name).unwrap_or(0);
                Ok(update(ranks, place, sleep, steps::UPDATES)?[0])
            })?;
        }
        ["update", ranks, updates] => {
            let (lstm, updates) = (&WORKLOADS[1], updates.parse()?);
            let [seconds, loss] = match ranks.parse()? {
                0 => lstm.time(lstm.batch, None, Duration::ZERO, updates)?,
                ranks => update(ranks, 1, Duration::ZERO, updates)?,
            };
            println!("{{\"ms\": {:.2}, \"loss\": {loss:.6e}}}", 1e3 * seconds);
        }
        _ => return Err("expected messages, steps, overlap or update".into()),
    }
    Ok(())
}
