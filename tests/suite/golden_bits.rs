//! Results of 20 networks, as hashes of their bits: a change that should change no result changes no hash.
//!
//! The hashes in `golden_bits.txt` are recorded per CPU level. They are the one exception to the rule that no test
//! asserts what the code happens to print. `CHAINRULE_RECORD=1 cargo test golden_bits -- --nocapture` prints a new
//! table. A changed hash raises `RESULTS` in `src/trainer/agreement.rs`, which ranks compare.

use crate::numbers::numbers;
use chainrule::{
    BatchShape, Builder, CpuLevel, Error, Layer, Scalar,
    activation::{Gelu, Relu, Sigmoid, Swish, Tanh},
    layer::{BranchScale, DropoutKey, Mode, PRelu, Residual, Sequential, initialize},
    recurrent::{Bidirectional, Elman, Gru, GruVariant, Lstm, Recurrent, Reversed},
    workspace::Workspace,
};
use std::{collections::BTreeMap, process::Command};

/// FNV-1a over the exact value of each number.
fn hash<T: Scalar>(values: &[T]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for value in values {
        let (mantissa, exponent, sign) = value.integer_decode();
        for part in [mantissa, exponent as u64, sign as u64, u64::from(value.is_nan())] {
            hash = (hash ^ part).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

/// Hashes of output, input gradient and parameter gradient.
fn hashes<T: Scalar>(network: &Sequential<T>, shape: BatchShape<'_>, threads: usize) -> Result<[u64; 3], Error> {
    let w = initialize(network, 3)?;
    let mut workspace = Workspace::new(network, shape)?;
    workspace.set_threads(threads)?;
    workspace.compute_input_gradient(true);
    workspace.set_dropout_key(DropoutKey::new(5, 9).from_sample(2));
    let x = numbers::<T>(shape.rows() * network.dims().input);
    let output = workspace.forward_with(&w, &x, shape, Mode::Train, &mut ())?;
    let y = hash(output.y);
    let dy = numbers(output.y.len());
    output.dy.copy_from_slice(&dy);
    let dw = hash(workspace.backward(&w)?);
    Ok([y, hash(workspace.input_gradient()), dw])
}

const RAGGED: [usize; 19] = [23, 23, 20, 18, 18, 17, 12, 12, 12, 11, 9, 9, 8, 5, 5, 3, 2, 1, 1];

/// A network of that name, with a batch for it.
type Named<T> = (&'static str, Sequential<T>, BatchShape<'static>);

/// Each layer and each cell, with batch shapes of one step, of several, and ragged ones.
fn networks<T: Scalar>() -> Result<Vec<Named<T>>, Error> {
    let (rows, steps, ragged) = (BatchShape::batch(37), BatchShape::sequences(19, 11), BatchShape::ragged(&RAGGED));
    let input = Sequential::<T>::input;
    let learned = |branch: Builder<T>| Residual::new(branch.build()?)?.scale(BranchScale::Learned(0.7));
    let scaled = |branch: Builder<T>| Residual::new(branch.build()?)?.scale(BranchScale::Fixed(0.4));
    let both = Bidirectional::new::<T>(Recurrent::new(17, 13, Lstm::new()), Recurrent::new(17, 9, Elman::new(Tanh)))?;
    let reversed = Reversed::new::<f32>(Recurrent::new(17, 12, Gru::new())).unwrap();
    let nested = input(33).linear(21).activation(Tanh).build()?;
    Ok(vec![
        ("tanh", input(33).linear(45).activation(Tanh).linear(7).build()?, rows),
        ("relu, wide", input(301).linear(523).activation(Relu).linear(263).build()?, BatchShape::batch(300)),
        ("gelu and layer norm", input(33).linear(45).activation(Gelu).layer_norm().linear(7).build()?, rows),
        ("swish and rms norm", input(33).rms_norm().linear(45).activation(Swish::new(1.3)?).build()?, rows),
        ("prelu", input(33).linear(29).prelu().layer(PRelu::new(29).per_unit()).linear(3).build()?, rows),
        ("dropout", input(33).dropout(0.3).linear(45).activation(Relu).dropout(0.5).linear(7).build()?, rows),
        ("residual", input(33).layer(scaled(input(33).linear(33).activation(Relu))?).linear(2).build()?, rows),
        ("residual, learned", input(33).layer(learned(input(33).layer_norm().linear(33))?).build()?, rows),
        ("elman", input(17).recurrent(24, Elman::new(Tanh)).linear(5).build()?, steps),
        ("elman, relu", input(17).recurrent(24, Elman::new(Relu)).linear(5).build()?, ragged),
        ("lstm", input(17).recurrent(27, Lstm::new()).linear(5).build()?, steps),
        ("lstm, last step", input(17).recurrent(27, Lstm::new()).last_step().linear(5).build()?, ragged),
        ("gru", input(17).recurrent(27, Gru::new()).linear(5).build()?, steps),
        ("gru, reset before", input(17).recurrent(27, Gru::new().variant(GruVariant::ResetBefore)).build()?, ragged),
        ("bidirectional", input(17).layer(both).linear(5).build()?, ragged),
        ("reversed", input(17).layer(reversed).linear(5).build()?, steps),
        ("mean over steps", input(17).recurrent(12, Lstm::new()).mean_over_steps().linear(5).build()?, steps),
        (
            "stacked with dropout",
            input(17).recurrent(12, Lstm::new()).dropout(0.4).recurrent(9, Lstm::new()).build()?,
            ragged,
        ),
        ("nested", input(33).layer(nested).linear(4).build()?, rows),
        (
            "sigmoid, deep",
            {
                let deep = (0..12).fold(input(20), |network, _| network.linear(20).activation(Sigmoid));
                deep.linear(1).build()?
            },
            BatchShape::batch(5),
        ),
    ])
}

/// All hashes at this process's CPU level, one line a network and scalar.
fn table<T: Scalar>(scalar: &str, lines: &mut BTreeMap<String, String>) -> Result<(), Error> {
    for (name, network, shape) in networks::<T>()? {
        let alone = hashes(&network, shape, 1)?;
        assert_eq!(hashes(&network, shape, 3)?, alone, "{name} of {scalar}: 3 threads against 1");
        let [y, dx, dw] = alone;
        lines.insert(format!("{} {scalar} {name}", CpuLevel::current()?), format!("{y:016x} {dx:016x} {dw:016x}"));
    }
    Ok(())
}

#[test]
fn results_at_this_level_have_the_recorded_bits() {
    let mut found = BTreeMap::new();
    table::<f32>("f32", &mut found).unwrap();
    table::<f64>("f64", &mut found).unwrap();
    if std::env::var_os("CHAINRULE_RECORD").is_some() {
        found.iter().for_each(|(name, hashes)| println!("{name}: {hashes}"));
        return;
    }
    let recorded: BTreeMap<&str, &str> =
        include_str!("golden_bits.txt").lines().filter_map(|line| line.split_once(": ")).collect();
    let level = CpuLevel::current().unwrap().to_string();
    if !recorded.keys().any(|name| name.starts_with(&level)) {
        println!("level {level} has no recorded bits");
        return;
    }
    let differ: Vec<_> =
        found.iter().filter(|(name, hashes)| recorded.get(name.as_str()) != Some(&hashes.as_str())).collect();
    assert!(differ.is_empty(), "y, dx, dw differ from those recorded: {differ:#?}");
}

/// The level is read once a process: each other one has a process of its own.
#[test]
fn results_at_every_available_level_have_the_recorded_bits() {
    for level in CpuLevel::available() {
        let test = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "golden_bits::results_at_this_level_have_the_recorded_bits", "--nocapture"])
            .env("CHAINRULE_LEVEL", level.to_string())
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&test.stdout), String::from_utf8_lossy(&test.stderr));
        assert!(test.status.success() && out.contains("1 passed"), "{level}: {out}{err}");
    }
}
