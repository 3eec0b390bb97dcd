//! The time of an exchange between two processes by the number of values, and from it α and β of docs/scale.md:
//! `mpiexec -n 2 target/release/examples/messages`.

#[path = "../../benches/ranks/messages.rs"]
mod messages;

use chainrule_mpi::Mpi;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let ranks = Mpi::new().ok_or("MPI cannot be initialized")?;
    let wire = messages::measure(&ranks)?;
    if chainrule::distributed::Communicator::<f32>::rank(&ranks) == 0 {
        println!("α = {:.2} µs, β = {:.3} ns", 1e6 * wire.alpha, 1e9 * wire.beta);
    }
    Ok(())
}
