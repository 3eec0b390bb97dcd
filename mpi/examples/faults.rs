//! Faults of ranks for `mpi/test`, which runs it under `mpiexec` and measures the time.
//!
//! | argument | ranks | fault |
//! | --- | --- | --- |
//! | `early` | 4 | rank 0 ends, and the others do not answer for a time: it waits for all together, for one deadline |
//! | `types` | 2 | one rank sends numbers of 4 bytes, the other expects as many of 8 |
//! | `half` | 2 | none: both exchange numbers of 16 bits, and print whether all arrived with their bits |

use chainrule::{Error, distributed::Communicator};
use chainrule_mpi::Mpi;
use half::{bf16, f16};
use std::{env, thread::sleep, time::Duration};

/// Whether an exchange with the other of two ranks, which sends the same numbers with the bits `all`, keeps all bits.
fn arrives<T: HalfBits>(rank: &Mpi, all: &[u16]) -> bool
where
    Mpi: Communicator<T>,
{
    let send: Vec<T> = all.iter().map(|&bits| T::of(bits)).collect();
    let mut received = vec![T::of(0); send.len()];
    let peer = 1 - Communicator::<T>::rank(rank);
    rank.exchange(peer, &send, &mut received).is_ok()
        && received.iter().map(|value| value.bits()).eq(all.iter().copied())
}

/// A number of 16 bits.
trait HalfBits: Copy {
    fn of(bits: u16) -> Self;
    fn bits(self) -> u16;
}

impl HalfBits for f16 {
    fn of(bits: u16) -> Self {
        f16::from_bits(bits)
    }
    fn bits(self) -> u16 {
        self.to_bits()
    }
}

impl HalfBits for bf16 {
    fn of(bits: u16) -> Self {
        bf16::from_bits(bits)
    }
    fn bits(self) -> u16 {
        self.to_bits()
    }
}

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
        Some("half") => {
            let all: Vec<u16> = (0..=u16::MAX).collect();
            println!("{}", arrives::<f16>(&rank, &all) && arrives::<bf16>(&rank, &all));
        }
        _ => eprintln!("expected early, types or half"),
    }
}
