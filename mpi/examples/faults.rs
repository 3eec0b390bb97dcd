//! Faults of ranks for `mpi/test`, which runs it under `mpiexec` and measures the time.
//!
//! | argument | ranks | fault |
//! | --- | --- | --- |
//! | `early` | 4 | rank 0 ends, and the others do not answer for a time: it waits for all together, for one deadline |
//! | `types` | 2 | one rank sends numbers of 4 bytes, the other expects as many of 8 |

use chainrule::{Error, distributed::Communicator};
use chainrule_mpi::Mpi;
use std::{env, thread::sleep, time::Duration};

fn main() {
    let deadline = Duration::from_secs(1);
    let rank = Mpi::new().expect("MPI is initialized once a process").deadline(deadline);
    let own = Communicator::<f32>::rank(&rank);
    match env::args().nth(1).as_deref() {
        Some("early") if own == 0 => eprintln!("rank 0 ends"),
        Some("early") => sleep(5 * deadline),
        Some("types") => {
            let exchanged: Result<(), Error> = match own {
                0 => rank.exchange(1, &[1.0_f32; 8], &mut [0.0; 8]),
                _ => rank.exchange(0, &[1.0_f64; 8], &mut [0.0; 8]),
            };
            if let Err(error) = exchanged {
                let line = format!("rank {own}: {error}\n");
                eprint!("{line}");
            }
        }
        _ => eprintln!("expected early or types"),
    }
}
