//! Results of networks of every layer and every cell, as hashes of their bits: a change that should change no result
//! changes no hash.
//!
//! The hashes in `golden_bits.txt` are recorded per CPU level. They are the one exception to the rule that no test
//! asserts what the code happens to print. `CHAINRULE_RECORD=1 cargo test golden_bits -- --nocapture` prints a new
//! table. A changed hash raises `RESULTS` in `src/trainer/agreement.rs`, which ranks compare.

use crate::numbers::numbers;
use chainrule::{
    BatchShape, Builder, CpuLevel, Error, Layer, Scalar,
    activation::{Gelu, Relu, Sigmoid, Swish, Tanh},
    layer::{BranchScale, DropoutKey, Embedding, LayerSpec, Merge, Mode, PRelu, Residual, Sequential, initialize},
    recurrent::{Bidirectional, CheckpointInterval, Elman, Gru, GruVariant, Lstm, Mgu, Recurrent, Reversed},
    scalar,
    workspace::Workspace,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

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

/// The indices that an embedding of this vocabulary reads, as its input.
const VOCABULARY: usize = 11;

/// Hashes of output, input gradient and parameter gradient. A network that begins with an embedding reads indices.
fn hashes<T: Scalar>(network: &Sequential<T>, shape: BatchShape<'_>, threads: usize) -> Result<[u64; 3], Error> {
    let w = initialize(network, 3)?;
    let mut workspace = Workspace::new(network, shape)?;
    workspace.set_threads(threads)?;
    workspace.compute_input_gradient(true);
    workspace.set_dropout_key(DropoutKey::new(5, 9).from_sample(2));
    let values = shape.rows() * network.dims().input;
    let x = match network.spec() {
        LayerSpec::Sequential { ref layers, .. } if matches!(layers[0], LayerSpec::Embedding(_)) => {
            (0..values).map(|i| scalar((i * i + 3 * i) as f64 % VOCABULARY as f64)).collect()
        }
        _ => numbers::<T>(values),
    };
    let output = workspace.forward_with(&w, &x, shape, Mode::Train, &mut ())?;
    let y = hash(output.y);
    let dy = numbers(output.y.len());
    output.dy.copy_from_slice(&dy);
    let dw = hash(workspace.backward(&w)?);
    Ok([y, hash(workspace.input_gradient()), dw])
}

const RAGGED: [usize; 19] = [23, 23, 20, 18, 18, 17, 12, 12, 12, 11, 9, 9, 8, 5, 5, 3, 2, 1, 1];

/// A network of that name, with a batch for it.
pub type Named<T> = (&'static str, Sequential<T>, BatchShape<'static>);

/// Each layer and each cell, with batch shapes of one step, of several, and ragged ones.
pub fn networks<T: Scalar>() -> Result<Vec<Named<T>>, Error> {
    let (rows, steps, ragged) = (BatchShape::batch(37), BatchShape::sequences(19, 11), BatchShape::ragged(&RAGGED));
    let input = Sequential::<T>::input;
    let learned = |branch: Builder<T>| Residual::new(branch.build()?)?.scale(BranchScale::Learned(0.7));
    let scaled = |branch: Builder<T>| Residual::new(branch.build()?)?.scale(BranchScale::Fixed(0.4));
    let both = Bidirectional::new::<T>(Recurrent::new(17, 13, Lstm::new()), Recurrent::new(17, 9, Elman::new(Tanh)))?;
    let reversed = Reversed::new::<f32>(Recurrent::new(17, 12, Gru::new())).unwrap();
    let table = Embedding::new(VOCABULARY, 5).columns(2).padding(4)?;
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
        ("batch norm", input(33).linear(21).batch_norm().activation(Relu).linear(4).build()?, rows),
        ("group norm", input(33).linear(24).group_norm(4).activation(Gelu).linear(3).build()?, rows),
        ("embedding", input(2).layer(table).linear(7).build()?, steps),
        ("gated linear", input(33).gated_linear(21, Sigmoid).linear(4).build()?, rows),
        ("softmax", input(33).linear(21).softmax().build()?, rows),
        ("log softmax", input(33).linear(21).log_softmax().build()?, rows),
        (
            "parallel",
            input(33)
                .parallel(Merge::Concatenate, |all| all.branch(|b| b.linear(9).tanh()).branch(|b| b.linear(5)))
                .parallel(Merge::Sum, |all| all.branch(|b| b.linear(6).relu()).branch(|b| b.layer_norm().linear(6)))
                .build()?,
            rows,
        ),
        (
            "checkpointed",
            input(17)
                .checkpointed(CheckpointInterval::Steps(4), |layers| layers.lstm(12).dropout(0.2).gru(8))
                .linear(5)
                .build()?,
            ragged,
        ),
        (
            "recurrent dropout",
            input(17).recurrent_with(12, Gru::new(), |layer| layer.recurrent_dropout(0.3)).linear(5).build()?,
            steps,
        ),
        ("mgu", input(17).recurrent(27, Mgu::new()).linear(5).build()?, ragged),
        (
            "zoneout",
            input(17).recurrent_with(12, Lstm::new(), |layer| layer.zoneout(0.2, 0.4)).linear(5).build()?,
            ragged,
        ),
    ])
}

/// The names in the lists of listed layers and of cells, and the variants of a layer specification that contain layers.
/// They are read from the sources, as the lists are macros of the crate.
fn listed_names() -> BTreeSet<&'static str> {
    let names = |line: &'static str| line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let between =
        |text: &'static str, start: &str, end: &str| text.split_once(start).unwrap().1.split_once(end).unwrap().0;
    let layers = between(include_str!("../../src/layer/list.rs"), "$then! {", "\n        }");
    let cells = between(include_str!("../../src/cell/list.rs"), "$then! {", "\n        }");
    let of_lists = layers.lines().chain(cells.lines()).filter_map(|line| line.split_once(": "));
    let of_lists = of_lists.flat_map(|(_, types)| names(types.split(['[', ';']).next().unwrap()));
    let spec = between(include_str!("../../src/layer/spec.rs"), "pub enum LayerSpec {", "$($(");
    let variants = spec.lines().filter(|line| line.starts_with(&" ".repeat(12)) && !line.starts_with(&" ".repeat(13)));
    of_lists
        .chain(variants.filter(|line| !line.contains("///")).flat_map(|line| names(line).take(1)))
        .filter(|name| name.starts_with(char::is_uppercase))
        .collect()
}

#[test]
fn networks_contain_each_listed_layer_cell_and_container() {
    let all = networks::<f32>().unwrap();
    let specs: Vec<String> = all.iter().map(|(_, network, _)| format!("{:?}", network.spec())).collect();
    let found: BTreeSet<&str> = specs.iter().flat_map(|spec| spec.split(|c: char| !c.is_alphanumeric())).collect();
    let listed = listed_names();
    assert!(
        ["Linear", "GroupNorm", "Lstm", "Elman", "Reversed", "Checkpointed"].iter().all(|name| listed.contains(name))
    );
    let missing: Vec<_> = listed.difference(&found).collect();
    assert!(missing.is_empty(), "no network has {missing:?}");
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
    assert!(recorded.keys().any(|name| name.starts_with(&format!("{level} "))), "level {level} has no recorded bits");
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
