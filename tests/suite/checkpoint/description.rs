//! A checkpoint knows its network and its chain: what is not theirs is refused, and what may differ is reported.

use super::{Run, network, seen, trainer};
use crate::trainer::values;
use chainrule::{
    Block, Blocks, Error, Layer, Role, Scalar,
    activation::{Activation, LeakyRelu, Relu, Tanh},
    checkpoint::{Checkpoint, Differences, Values},
    dataset::Dataset,
    layer::{
        Backward, BatchNorm, BranchScale, Dims, Dropout, Embedding, Forward, GatedLinear, LayerNorm, PRelu, Residual,
        Sequential, Softmax,
    },
    loss::{Huber, MeanSquaredError, Target},
    recurrent::{Elman, Gru, Lstm},
    scalar,
    trainer::{TrainConfig, Trainer},
    transform::{
        Adagrad, Adam, AdamW, ClipNorm, GradientTransform, Outcome, ReduceOnPlateau, RmsProp, Schedule, Sgd,
        SkipNonFinite, Unordered, Update, WeightAverage,
    },
};

/// The error of loading a run of `saved` into one of `current`: block, expected and found.
#[track_caller]
fn mismatch<G: GradientTransform<f64>, H: GradientTransform<f64>>(saved: G, current: H) -> [String; 3] {
    let bytes = trainer(8, saved, TrainConfig::default()).to_bytes().unwrap();
    let mut run = trainer(8, current, TrainConfig::default());
    let before = seen(&run);
    let error = run.load_bytes(&bytes).unwrap_err();
    assert_eq!(seen(&run), before, "a failed load changes nothing");
    match error {
        Error::Checkpoint { block, expected, found } => [block, expected, found],
        other => panic!("{other}"),
    }
}

#[test]
fn load_state_of_other_transforms_refused() {
    let momentum = || RmsProp::new(0.1).momentum(0.9);
    assert_eq!(mismatch(Adam::new(0.1), momentum()), ["transform 1", "RmsProp { v, momentum }", "Adam { m, v }"]);
    assert_eq!(
        mismatch((ClipNorm::new(1.0), Adam::new(0.1)), (ClipNorm::new(1.0), momentum())),
        ["transform 2", "RmsProp { v, momentum }", "Adam { m, v }"]
    );
    assert_eq!(mismatch(RmsProp::new(0.1).centred(), momentum())[2], "RmsProp { v, mean }");
    assert_eq!(mismatch(AdamW::new(0.1, 0.0), Adam::new(0.1))[2], "AdamW { m, v }");
    assert_eq!(mismatch(Adagrad::new(0.1), RmsProp::new(0.1))[2], "Adagrad { s }");
    assert_eq!(mismatch(Sgd::new(0.1).momentum(0.5), Sgd::new(0.1))[1..], ["Sgd", "Sgd { momentum }"]);
    let schedules = (Schedule::cosine(9, 0.0), Schedule::step(9, 0.5));
    let [at, expected, _] = mismatch((Sgd::new(0.1), schedules.0), (Sgd::new(0.1), schedules.1));
    assert_eq!([at, expected], ["transform 2", "Schedule (step)"]);
    let averages = [WeightAverage::new(0.9), WeightAverage::new(0.9).debias()].map(|average| (Sgd::new(0.1), average));
    let [initial, debiased] = averages;
    assert_eq!(mismatch(initial, debiased)[0], "transform 2");
    // One transform too many, and one too few.
    let pair = || (Adam::new(0.1), WeightAverage::new(0.9));
    assert_eq!(mismatch(pair(), Adam::new(0.1)), ["transform 2", "nothing", "WeightAverage { average }"]);
    assert_eq!(mismatch(Adam::new(0.1), pair())[2], "nothing");
}

#[test]
fn load_transforms_in_other_order_refused() {
    let saved = (SkipNonFinite::new(), Adam::new(0.1), WeightAverage::new(0.9));
    let current = Unordered((WeightAverage::new(0.9), Adam::new(0.1), SkipNonFinite::new()));
    assert_eq!(mismatch(saved, current)[0], "transform 1");
}

#[test]
fn load_nested_chain_is_the_flat_chain() {
    let nested = ((SkipNonFinite::new(), ClipNorm::new(1.0)), Adam::new(0.1));
    let bytes = trainer(8, nested, TrainConfig::default()).to_bytes().unwrap();
    let boxed: Box<dyn GradientTransform<f64>> = Box::new((SkipNonFinite::new(), ClipNorm::new(1.0), Adam::new(0.1)));
    assert_eq!(trainer(8, boxed, TrainConfig::default()).load_bytes(&bytes), Ok(Differences::default()));
}

fn named(name: &str, saved: &str, current: &str) -> [String; 3] {
    [name.into(), saved.into(), current.into()]
}

#[test]
fn load_other_numbers_reported() {
    let saved = (SkipNonFinite::new(), Adam::new(0.1), Schedule::cosine(9, 0.0), ReduceOnPlateau::new(0.5, 3));
    let current = (
        SkipNonFinite::new().limit(3),
        Adam::new(0.2).betas(0.8, 0.999),
        Schedule::cosine(9, 0.1),
        ReduceOnPlateau::new(0.5, 3),
    );
    let settings = TrainConfig { seed: 3, epochs: 5, ..TrainConfig::default() };
    let saved = trainer(8, saved, settings);
    let mut run = trainer(8, current, TrainConfig { seed: 4, batch_size: 8, ..TrainConfig::default() });
    run.workspace_mut().freeze("0.bias").unwrap();
    let differences = run.load_bytes(&saved.to_bytes().unwrap()).unwrap();
    let found: Vec<[String; 3]> =
        differences.iter().map(|found| [found.name.clone(), found.saved.clone(), found.current.clone()]).collect();
    let expected = [
        named("transform 1 (SkipNonFinite { skipped in a row }), limit", "10", "3"),
        named("transform 2 (Adam { m, v }), betas", "[0.9, 0.999]", "[0.8, 0.999]"),
        named("transform 2 (Adam { m, v }), rate", "0.1", "0.2"),
        named(
            "transform 3 (Schedule (cosine)), settings",
            "Cosine { steps: 9, least: 0.0, restart: None }",
            "Cosine { steps: 9, least: 0.1, restart: None }",
        ),
        named("batch_size", "32", "8"),
        named("epochs", "5", "10"),
        named("frozen blocks", "[]", "[\"0.bias\"]"),
        named("seed", "3", "4"),
    ];
    assert_eq!(found, expected);
    assert_eq!(run.settings().seed, 3, "the saved seed holds");
    assert_eq!(differences.to_string().lines().count(), expected.len());
    assert_eq!(differences[2].to_string(), "transform 2 (Adam { m, v }), rate: 0.1 in the checkpoint, 0.2 in this run");
    // Another loss.
    let mut other = Trainer::new(network(8), Huber::new(1.0).unwrap(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    let found = other.load_bytes(&trainer(8, Sgd::new(0.1), TrainConfig::default()).to_bytes().unwrap()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, "loss");
}

/// Transforms of a user's own: without a specification, and with one.
#[derive(Debug)]
struct Halve(usize);

#[derive(Debug)]
struct Third(usize);

macro_rules! scales {
    ($name:ident, $factor:expr) => {
        impl GradientTransform<f64> for $name {
            fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
                Ok(())
            }
            fn state_len(&self, _blocks: &Blocks) -> usize {
                self.0
            }
            fn update(&mut self, update: Update<'_, f64>) -> Result<Outcome, Error> {
                update.gradient.iter_mut().for_each(|g| *g *= $factor);
                Ok(Outcome::Apply)
            }
        }
    };
}
scales!(Halve, 0.5);
scales!(Third, 1.0 / 3.0);

#[test]
fn load_transform_without_spec_matched_by_type_and_state_length() {
    let with = |own: Halve| trainer(8, (Sgd::new(0.1), own), TrainConfig::default());
    let bytes = with(Halve(2)).to_bytes().unwrap();
    assert_eq!(with(Halve(2)).load_bytes(&bytes), Ok(Differences::default()));
    let [at, expected, found] = mismatch((Sgd::new(0.1), Halve(2)), (Sgd::new(0.1), Halve(3)));
    assert_eq!([&*at, &*expected, &*found], ["transform 2", "Halve, values of state 3", "Halve, values of state 2"]);
    assert_eq!(mismatch((Sgd::new(0.1), Halve(2)), (Sgd::new(0.1), Third(2)))[1..], ["Third", "Halve"]);
    assert_eq!(mismatch((Halve(2), Sgd::new(0.1)), (Sgd::new(0.1), Halve(2)))[1..], ["Sgd", "Halve"]);
}

/// Loads the bytes of one network into another: the differences, or where they do not agree.
fn exchange(saved: Sequential<f64>, current: Sequential<f64>) -> Result<Vec<String>, String> {
    let run = |network| Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    let bytes = run(saved).to_bytes().unwrap();
    let mut run: Trainer<f64, Sequential<f64>, _, _> = run(current);
    let parameters = run.parameters().to_vec();
    let alone = Checkpoint::from_bytes(run.network(), &bytes, Values::Finite).map(|_| ());
    let loaded = run.load_bytes(&bytes);
    assert_eq!(alone, loaded.clone().map(|_| ()), "for inference it is the same");
    match loaded {
        Ok(differences) => Ok(differences.into_iter().map(|difference| difference.name).collect()),
        Err(Error::Checkpoint { block, expected, found }) => {
            assert_eq!(run.parameters(), parameters);
            Err(format!("{block}: {expected} / {found}"))
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn load_other_network_refused() {
    let plain = || Sequential::input(3).linear(3);
    let with = |activate: fn(chainrule::Builder<f64>) -> chainrule::Builder<f64>| activate(plain()).build().unwrap();
    let tanh = || with(|network| network.activation(Tanh));
    let relu = with(|network| network.activation(Relu));
    assert_eq!(exchange(tanh(), tanh()), Ok(vec![]));
    assert_eq!(exchange(tanh(), relu), Err("layer 1: Relu / Tanh".into()));
    let leaky = |slope| plain().activation(LeakyRelu::new(slope).unwrap()).build().unwrap();
    assert!(exchange(leaky(0.1), leaky(0.2)).unwrap_err().starts_with("layer 1: LeakyRelu"));
    let norm = |epsilon| plain().layer(LayerNorm::new(3).epsilon(epsilon).unwrap()).build().unwrap();
    assert!(exchange(norm(1e-5), norm(1e-3)).is_err());
    let dropout = |rate| plain().dropout(rate).build().unwrap();
    assert_eq!(exchange(dropout(0.1), dropout(0.2)), Ok(vec!["layer 1 (Dropout), rate".into()]));
    let scaled = |scale| {
        let branch = Sequential::<f64>::input(3).linear(3).build().unwrap();
        plain().layer(Residual::new(branch).unwrap().scale(BranchScale::Fixed(scale)).unwrap()).build().unwrap()
    };
    assert!(exchange(scaled(1.0), scaled(0.5)).unwrap_err().starts_with("layer 1: Residual"));
    // Cells that have the same blocks.
    let recurrent = |network: chainrule::Builder<f64>| network.build().unwrap();
    let elman = |own| match own {
        true => recurrent(Sequential::input(3).recurrent(3, Elman::new(Tanh))),
        false => recurrent(Sequential::input(3).recurrent(3, Elman::new(Relu))),
    };
    assert_eq!(exchange(elman(true), elman(false)), Err("layer 0: Elman Relu / Elman Tanh".into()));
    let gru = |reset| recurrent(Sequential::input(3).recurrent(3, Gru::new().variant(reset)));
    let resets = (chainrule::recurrent::GruVariant::ResetAfter, chainrule::recurrent::GruVariant::ResetBefore);
    assert!(exchange(gru(resets.0), gru(resets.1)).is_err());
    let lstm = |twice: bool| {
        let network = Sequential::input(3).recurrent(3, Lstm::new());
        recurrent(if twice { network.last_step() } else { network.mean_over_steps() })
    };
    assert!(exchange(lstm(true), lstm(false)).unwrap_err().starts_with("layer 1"));
}

/// An activation of a user's own, with a factor, and settings other than its `Debug` text.
#[derive(Clone, Debug)]
struct Scaled(f64, &'static str);

impl Activation for Scaled {
    fn value<T: Scalar>(&self, z: T) -> T {
        scalar::<T>(self.0) * z
    }
    fn derivative<T: Scalar>(&self, _z: T, _y: T) -> T {
        scalar(self.0)
    }
    fn settings(&self) -> String {
        if self.1.is_empty() { format!("{self:?}") } else { self.1.into() }
    }
}

/// Layers that have the same blocks, and one setting apart: the message names the setting with both values.
#[test]
fn load_layer_with_another_setting_refused_by_its_name() {
    let refused = |saved: &dyn Layer<f64>, current: &dyn Layer<f64>, settings: [&str; 2]| {
        let parameters = saved.dims().parameters;
        let bytes = Checkpoint::new(vec![0.5; parameters]).to_bytes(saved).unwrap();
        Checkpoint::from_bytes(saved, &bytes, Values::Finite).unwrap();
        match Checkpoint::from_bytes(current, &bytes, Values::Finite).map(drop) {
            Err(Error::Checkpoint { expected, found, .. }) => {
                assert!(found.contains(settings[0]) && expected.contains(settings[1]), "{expected}, {found}");
            }
            other => panic!("{current:?}: {other:?}"),
        }
    };
    let norm = |epsilon| BatchNorm::new(3).epsilon(epsilon).unwrap();
    refused(&norm(0.25), &norm(0.5), ["epsilon 0.25", "epsilon 0.5"]);
    let dropout = |width| Dropout::new(width, 0.5).unwrap();
    refused(&dropout(3), &dropout(2), ["width 3", "width 2"]);
    refused(&Softmax::new(3), &Softmax::new(2), ["width 3", "width 2"]);
    refused(&PRelu::new(1), &PRelu::new(1).per_unit(), ["per unit false", "per unit true"]);
    let table = |padding| Embedding::new(3, 2).padding(padding).unwrap();
    refused(&table(0), &table(1), ["padding Some(0)", "padding Some(1)"]);
    let gated = |own| GatedLinear::new(2, 3, Scaled(own, ""));
    refused(&gated(0.25), &gated(0.5), ["Scaled(0.25, \"\")", "Scaled(0.5, \"\")"]);
    // Settings that do not begin with the name come after it.
    let gated = |own| GatedLinear::new(2, 3, Scaled(1.0, own));
    refused(&gated("first"), &gated("second"), ["Scaled first", "Scaled second"]);
    let gated = |slope| GatedLinear::new(2, 3, LeakyRelu::new(slope).unwrap());
    refused(&gated(0.25), &gated(0.5), ["LeakyRelu { slope: 0.25 }", "LeakyRelu { slope: 0.5 }"]);
}

#[test]
fn load_parameters_of_a_run_and_of_parameters_alone() {
    let (x, y) = (values(1, 8 * 3), values(2, 8 * 2));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let paths = ["run", "parameters"].map(|name| directory.path().join(name));
    let mut saved = trainer(8, Adam::new(1e-2), TrainConfig::default());
    saved.fit(&data).unwrap();
    saved.save(&paths[0]).unwrap();
    Checkpoint::new(saved.parameters().to_vec()).save(saved.network(), &paths[1]).unwrap();
    let expected = saved.predict(&data).unwrap();
    for path in &paths {
        // Of another optimizer: the parameters are all that is read.
        let mut other = trainer(8, Sgd::new(0.1), TrainConfig { seed: 9, ..TrainConfig::default() });
        assert_eq!(other.load_parameters(path), Ok(Differences::default()));
        assert_eq!(other.predict(&data).unwrap(), expected);
        assert_eq!((other.optimizer().steps(), other.settings().seed), (0, 9));
    }
    let error = saved.load(&paths[1]).unwrap_err();
    assert!(matches!(&error, Error::Checkpoint { found, .. } if found.contains("load_parameters")), "{error}");
}

/// Sets one thing in a sound run, and tries to save and to restore it.
#[track_caller]
fn spoiled(spoil: impl Fn(&mut Checkpoint<f64>), name: &str) {
    let transform = || (Adam::new(1e-2), ReduceOnPlateau::new(0.5, 1));
    let mut run: Run<_> = trainer(8, transform(), TrainConfig { seed: 1, ..TrainConfig::default() });
    let mut checkpoint = run.checkpoint();
    spoil(&mut checkpoint);
    let before = seen(&run);
    match run.restore(&checkpoint) {
        Err(Error::CheckpointValue { name: found, .. }) => assert_eq!(found, name),
        other => panic!("{name}: {other:?}"),
    }
    assert_eq!(seen(&run), before);
    // Through bytes.
    checkpoint.values = Values::Any;
    let bytes = checkpoint.to_bytes(run.network()).unwrap();
    assert!(matches!(run.load_bytes(&bytes), Err(Error::CheckpointValue { name: found, .. }) if found == name));
    assert_eq!(seen(&run), before);
}

#[test]
fn restore_numbers_out_of_range_refused() {
    let set =
        |name: &'static str, value: u64| move |run: &mut Checkpoint<f64>| *run.numbers.get_mut(name).unwrap() = value;
    spoiled(set("steps", u64::MAX), "steps");
    spoiled(set("epochs", u64::MAX), "epochs");
    spoiled(set("waited", 1), "waited");
    spoiled(set("best loss", f64::NAN.to_bits()), "best loss");
    spoiled(set("best loss", f64::NEG_INFINITY.to_bits()), "best loss");
    spoiled(set("best loss", 1.0_f64.to_bits()), "best loss");
    spoiled(set("epochs before the run", 1), "epochs before the run");
    spoiled(set("stopped early", 2), "stopped early");
    spoiled(set("best restored", 1), "best restored");
}

#[test]
fn restore_values_not_finite_refused_unless_asked_for() {
    let m = "state of transform 1 (Adam)";
    let set = |slice: &'static str, i: usize, value: f64| {
        move |run: &mut Checkpoint<f64>| run.slices.get_mut(slice).unwrap()[i] = value
    };
    spoiled(set("optimizer.state", 0, f64::INFINITY), m);
    // The averages of squared gradients follow those of gradients: one value of each for each parameter.
    let parameters = trainer(8, Sgd::new(0.1), TrainConfig::default()).parameters().len();
    spoiled(set("optimizer.state", parameters, -1e-9), m);
    let last =
        trainer(8, (Adam::new(1e-2), ReduceOnPlateau::new(0.5, 1)), TrainConfig::default()).optimizer().state().len()
            - 1;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run");
    let mut run = trainer(8, (Adam::new(1e-2), ReduceOnPlateau::new(0.5, 1)), TrainConfig::default());
    // A plateau that has seen no metric has ∞ in its state.
    assert!(run.optimizer().state()[last - 3].is_infinite());
    run.save(&path).unwrap();
    let _ = run.load(&path).unwrap();
    // A run that has diverged does not replace a good file, unless asked for.
    let whole = std::fs::read(&path).unwrap();
    run.parameters_mut()[3] = f64::NAN;
    assert!(matches!(run.save(&path), Err(Error::CheckpointValue { name, .. }) if name == "0.weight"));
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    let mut checkpoint = run.checkpoint();
    checkpoint.values = Values::Any;
    checkpoint.save(run.network(), &path).unwrap();
    assert!(matches!(run.load(&path), Err(Error::CheckpointValue { .. })));
    let diverged = Checkpoint::load(run.network(), &path, Values::Any).unwrap();
    let mut other = trainer(8, (Adam::new(1e-2), ReduceOnPlateau::new(0.5, 1)), TrainConfig::default());
    assert_eq!(other.restore(&diverged), Ok(Differences::default()));
    assert!(other.parameters()[3].is_nan());
}

/// A layer of one value a block, with names of its author's choice.
#[derive(Debug)]
struct Named(Vec<&'static str>);

impl Layer<f64> for Named {
    fn dims(&self) -> Dims {
        Dims { input: 1, output: 1, parameters: self.0.len() }
    }
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        for (i, name) in self.0.iter().enumerate() {
            visit(Block::new(name, i, [1, 1], Role::Gain));
        }
    }
    fn forward(&self, w: &[f64], pass: Forward<'_, f64>) {
        let sum: f64 = w.iter().sum();
        pass.y.iter_mut().zip(pass.x).for_each(|(y, x)| *y = sum * x);
    }
    fn backward(&self, _w: &[f64], _pass: Backward<'_, f64>) {}
}

#[test]
fn save_reserved_block_names_escaped() {
    let names =
        vec!["best", "carried", "optimizer.state", "__metadata__", "chainrule/slice/best", "chainrule/block/x", ""];
    let network = Named(names);
    let mut checkpoint = Checkpoint::new((0..7).map(|i| scalar(f64::from(i))).collect());
    for slice in ["best", "carried", "__metadata__", ""] {
        checkpoint.slices.insert(slice.into(), vec![-1.0]);
    }
    let bytes = checkpoint.to_bytes(&network).unwrap();
    let found = Checkpoint::from_bytes(&network, &bytes, Values::Finite).unwrap();
    assert_eq!((&found.parameters, &found.slices), (&checkpoint.parameters, &checkpoint.slices));
    assert!(safetensors::SafeTensors::deserialize(&bytes).is_ok());
}

#[test]
fn save_two_blocks_of_one_name_refused_before_the_file_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run");
    std::fs::write(&path, b"old").unwrap();
    let network = Named(vec!["gain", "gain"]);
    let error = Checkpoint::new(vec![1.0, 2.0]).save(&network, &path).unwrap_err();
    assert!(matches!(error, Error::CheckpointValue { name, .. } if name == "gain"));
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
}
