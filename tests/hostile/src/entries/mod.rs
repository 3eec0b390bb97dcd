//! The table of entries: a hostile call for each public function.

mod data;
mod diagnosis;
mod functions;
mod layers;
mod models;
mod monitors;
mod parts;
mod read;
mod testing;
mod theory;
mod trainers;
mod transforms;
mod workspaces;

use crate::{
    Entry,
    case::{Case, Fault, Taste, Verdict, ensure, output, parameters},
};
use chainrule::{
    Scalar,
    layer::{DropoutKey, Layer, LayerSpec, Mode, initialize},
    network::summary,
    workspace::Workspace,
};

/// An entry: its share of the calls, the functions that a call goes through, the panics that their documentation
/// states, and the call.
fn entry(
    weight: u64,
    names: &'static [&'static str],
    laws: &'static [&'static str],
    run: fn(&mut Case) -> Verdict,
) -> Entry {
    Entry { names, weight, laws, run }
}

pub fn all() -> Vec<Entry> {
    [
        parts::entries(),
        read::entries(),
        functions::entries(),
        layers::entries(),
        workspaces::entries(),
        data::entries(),
        trainers::entries(),
        models::entries(),
        transforms::entries(),
        monitors::entries(),
        theory::entries(),
        diagnosis::entries(),
        testing::entries(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is known of a network without asking it.
pub struct Known {
    pub input: usize,
    pub output: usize,
    pub parameters: u128,
    /// Whether all outputs for mild inputs and drawn weights are finite.
    pub finite: bool,
}

impl Known {
    /// What a description says, exact.
    pub fn of(node: &LayerSpec, input: usize) -> Self {
        Known { input, output: output(node).unwrap_or(0), parameters: parameters(node), finite: false }
    }
}

/// Builds `node` and drives the network through everything that a network is used for.
pub fn drive_node<T: Scalar>(c: &mut Case, node: &LayerSpec, input: usize) -> Verdict {
    let network = node.build::<T>()?;
    drive(c, network, Some(Known::of(node, input)))
}

/// Drives a network through a workspace, its capacity, slices and batch shapes hostile.
pub fn drive<T: Scalar>(c: &mut Case, network: Box<dyn Layer<T>>, known: Option<Known>) -> Verdict {
    let _ = format!("{network:?}");
    let described = network.spec();
    let _ = (format!("{described:?}"), described.clone() == described);
    let _ = format!("{:?}", summary(&*network));
    let capacity = c.rows();
    let training = !c.once_in(4);
    let mut workspace = if training {
        Workspace::new(&*network, capacity.shape())?
    } else {
        Workspace::for_inference(&*network, capacity.shape())?
    };
    let truth = capacity.truth();
    ensure(truth.is_some(), || format!("a workspace for {capacity:?}"))?;
    if c.once_in(5) {
        let threads = c.of(&[1_usize, 2, 3, 4, 0, 7]);
        workspace.set_threads(threads)?;
    }
    let dims = network.dims();
    if let Some(known) = &known {
        ensure(
            (dims.input, dims.output, dims.parameters as u128) == (known.input, known.output, known.parameters),
            || format!("{dims:?} for {} → {}, {} parameters", known.input, known.output, known.parameters),
        )?;
    }
    let drawn = initialize(&*network, c.next())?;
    // The answers of a liar may change between two calls.
    let as_many = known.is_none() || drawn.len() == dims.parameters;
    ensure(as_many, || format!("{} values drawn, {dims:?}", drawn.len()))?;
    ensure(drawn.iter().all(|w: &T| w.is_finite()), || "initial weights are not finite".into())?;
    if c.flag() {
        workspace.compute_input_gradient(true);
    }
    for _ in 0..2 {
        let rows = if c.flag() { capacity.clone() } else { c.rows() };
        let (mut w, plain) = if c.once_in(3) { (c.slice(dims.parameters), false) } else { (drawn.clone(), true) };
        let inputs =
            rows.truth().and_then(|rows| usize::try_from(rows.saturating_mul(dims.input as u128)).ok()).unwrap_or(7);
        let x: Vec<T> = if c.flag() { c.values(inputs, Taste::Mild) } else { c.slice(inputs) };
        let mild = plain && x.iter().all(|x| x.abs() <= T::one());
        let pass = pass(
            c,
            &mut workspace,
            &mut w,
            &x,
            &rows.shape(),
            dims.output,
            mild && known.as_ref().is_some_and(|k| k.finite),
        );
        match pass {
            Err(Fault::Refused(_)) => {}
            other => other?,
        }
        if c.once_in(3) {
            workspace.carry_state();
        }
        let _ = (
            workspace.final_state().len(),
            workspace.state().len(),
            workspace.state_gradient().len(),
            workspace.input_gradient().len(),
        );
    }
    let _ = format!("{workspace:?}");
    Ok(())
}

fn pass<T: Scalar, L: Layer<T>>(
    c: &mut Case,
    workspace: &mut Workspace<T, L>,
    w: &mut [T],
    x: &[T],
    rows: &chainrule::BatchShape<'_>,
    width: usize,
    finite: bool,
) -> Verdict {
    if c.once_in(4) {
        let y = workspace.infer(w, x, *rows)?;
        return ensure(!finite || y.iter().all(|y| y.is_finite()), || "the output is not finite".into());
    }
    workspace.set_dropout_key(DropoutKey::new(c.next(), c.next()));
    let mode = c.of(&[Mode::Train, Mode::Evaluate, Mode::Infer]);
    let taste = c.taste();
    let output = workspace.forward_with(w, x, *rows, mode, &mut ())?;
    ensure(output.y.len() == output.shape.rows() * width, || "the output has another size".into())?;
    ensure(!finite || output.y.iter().all(|y| y.is_finite()), || "the output is not finite".into())?;
    let dy = c.values::<T>(output.dy.len(), taste);
    output.dy[..dy.len()].copy_from_slice(&dy);
    if c.once_in(4) {
        let rate = chainrule::scalar(c.about(0.1));
        return Ok(workspace.descend(w, rate)?);
    }
    let mild = finite && taste == Taste::Mild;
    let gradient = workspace.backward(w)?;
    ensure(!mild || gradient.iter().all(|g| g.is_finite()), || "the gradient is not finite".into())?;
    Ok(())
}
