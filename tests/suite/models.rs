//! Models: the predictions of a trainer from one object, from one file, from several threads, a step at a time.

use crate::numbers::{bits, seeded_numbers};
use chainrule::{
    DataRule, Error, Layer, LayerRule,
    dataset::{Dataset, Standardize},
    layer::{Backward, Dims, Forward, LastStep, LayerSpec, Linear, MeanOverSteps, Merge, Sequential, initialize},
    loss::{CrossEntropy, MeanSquaredError, Target, softmax},
    metrics::predicted_classes,
    model::{Model, Precision, StateDict},
    network::Registry,
    proptest::{
        prelude::*,
        test_runner::{TestCaseResult, TestRunner},
    },
    recurrent::Lstm,
    testing::strategies::{Limits, networks},
    trainer::{TrainConfig, Trainer},
    transform::{Adam, Sgd},
};
use half::{bf16, f16};

fn model(network: Sequential<f64>) -> Model<f64> {
    let w = initialize(&network, 3).unwrap();
    Model::new(network, w).unwrap()
}

/// A model with scales and names, and data in other units.
fn named() -> (Model<f64>, Vec<f64>) {
    let x: Vec<f64> = seeded_numbers::<f64>(1, 40).iter().map(|x| 100.0 + 30.0 * x).collect();
    let network = Sequential::input(2).lstm(3).layer_norm().linear(2).build().unwrap();
    let scales = [Standardize::of(2, &x).unwrap(), Standardize::of(2, &[0.0, 5.0, 10.0, 7.0]).unwrap()];
    let [inputs, outputs] = scales;
    let model = model(network).scale_inputs(inputs).unwrap().scale_outputs(outputs).unwrap();
    (model.name_columns(["length", "width"]).unwrap().name_classes(["iris", "rose"]).unwrap(), x)
}

#[test]
fn model_predictions_are_those_of_the_trainer() {
    let (x, y) = (seeded_numbers(1, 60), seeded_numbers(2, 40));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let network = Sequential::input(3).linear(5).tanh().dropout(0.5).linear(2).build().unwrap();
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.01), TrainConfig::default()).unwrap();
    trainer.fit(&data).unwrap();
    let expected = bits(&trainer.predict(&data).unwrap());
    assert_eq!(bits(&trainer.model().unwrap().predict(&data).unwrap()), expected);
    let model = trainer.into_model().unwrap();
    assert_eq!(bits(&model.predict(&data).unwrap()), expected);
    let mut buffer = vec![0.0; 40];
    model.predictor().unwrap().predict_into(&data, &mut buffer).unwrap();
    assert_eq!(bits(&buffer), expected);
    // Threads share a model.
    let from_threads: Vec<_> = std::thread::scope(|scope| {
        let run = || scope.spawn(|| bits(&model.predict(&data).unwrap()));
        [run(), run(), run()].map(|thread| thread.join().unwrap()).into()
    });
    assert!(from_threads.iter().all(|found| *found == expected));
    // A trainer that starts from it has its parameters, and goes on.
    let w = model.parameters().to_vec();
    let mut again = Trainer::from_model(model, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    assert_eq!(bits(&again.predict(&data).unwrap()), expected);
    assert_eq!(again.parameters(), w);
    again.fit(&data).unwrap();
    assert_ne!(again.parameters(), w);
}

#[test]
fn scales_of_a_model_are_those_applied_by_hand() {
    let (model, x) = named();
    let data = Dataset::sequences(2, 5, &x, None).unwrap();
    let found = model.predict(&data).unwrap();
    let mut scaled = x.clone();
    model.input_scale().unwrap().apply(&mut scaled).unwrap();
    let plain =
        Model::new(Sequential::input(2).lstm(3).layer_norm().linear(2).build().unwrap(), model.parameters().to_vec());
    let mut by_hand = plain.unwrap().predict(&Dataset::sequences(2, 5, &scaled, None).unwrap()).unwrap();
    model.output_scale().unwrap().invert(&mut by_hand).unwrap();
    assert_eq!(bits(&found), bits(&by_hand));
    let mut probabilities = vec![0.0; found.len()];
    softmax(2, &found, &mut probabilities).unwrap();
    assert_eq!(model.probabilities(&data).unwrap(), probabilities);
    assert_eq!(model.predict_classes(&data).unwrap(), predicted_classes(2, &found).unwrap());
    let text = format!("{model:?}");
    for words in ["Lstm", "3 → 2", "standardized", "length", "rose"] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[test]
fn file_of_a_model_gives_the_model_back() {
    let (model, x) = named();
    let data = Dataset::sequences(2, 4, &x, None).unwrap();
    let expected = bits(&model.predict(&data).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    model.save(&path).unwrap();
    let loaded = Model::<f64>::load(&path).unwrap();
    assert_eq!(bits(&loaded.predict(&data).unwrap()), expected);
    assert_eq!((loaded.columns(), loaded.classes()), (model.columns(), model.classes()));
    assert_eq!(loaded.to_bytes().unwrap(), model.to_bytes().unwrap());
    // The official reader reads it.
    let bytes = std::fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("2.weight").unwrap().shape(), [2, 3]);
    // A change of any byte is found, and so is any missing end.
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(Model::<f64>::from_bytes(&damaged).is_err(), "byte {at}");
        assert!(Model::<f64>::from_bytes(&bytes[..at]).is_err(), "{at} bytes");
    }
    assert!(matches!(Model::<f64>::load(directory.path().join("none")), Err(Error::File { .. })));
    let own = Model::from_bytes_with(Sequential::input(2).lstm(3).layer_norm().linear(2).build().unwrap(), &bytes);
    assert_eq!(bits(&own.unwrap().predict(&data).unwrap()), expected);
    let other =
        Model::from_bytes_with(Sequential::<f64>::input(2).lstm(4).layer_norm().linear(2).build().unwrap(), &bytes);
    assert!(matches!(other, Err(Error::Checkpoint { .. })));
}

/// Each reader refuses the files of the others, names the file, says what it is, and names the call that reads it.
#[test]
fn files_of_another_kind_name_the_call_that_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let network = || Sequential::<f64>::input(1).linear(1).build().unwrap();
    let mut run = Trainer::new(network(), MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    run.save(path("run")).unwrap();
    run.model().unwrap().save(path("model")).unwrap();
    let mut foreign = StateDict::new();
    foreign.insert("0.weight", &[1, 1], vec![2.0]).unwrap();
    foreign.save(path("foreign"), Precision::F32).unwrap();
    std::fs::write(path("zip"), b"PK\x03\x04 and so on").unwrap();
    let later = std::collections::HashMap::from([("chainrule model".into(), "7".into())]);
    let none = || Vec::<(String, safetensors::tensor::TensorView<'_>)>::new();
    std::fs::write(path("later"), safetensors::serialize(none(), Some(later)).unwrap()).unwrap();
    std::fs::write(path("torn"), &std::fs::read(path("model")).unwrap()[..40]).unwrap();

    let model = |name: &str| Model::<f64>::load(path(name)).unwrap_err();
    let cases: [(&str, Error, &[&str]); 9] = [
        ("run", model("run"), &["is the checkpoint of a run, not a model", "`Trainer::load`"]),
        ("foreign", model("foreign"), &["another program", "`StateDict::load`", "`import_state_dict`"]),
        ("zip", model("zip"), &["zip archive, as `torch.save` writes", "`safetensors.torch.save_file`"]),
        ("later", model("later"), &["version 7", "reads 1"]),
        ("torn", model("torn"), &["cannot be read", "another copy"]),
        ("model", run.load(path("model")).unwrap_err(), &["is a model, not the checkpoint of a run", "`Model::load`"]),
        ("foreign", run.load_parameters(path("foreign")).unwrap_err(), &["another program", "`StateDict::load`"]),
        ("zip", StateDict::load(path("zip")).unwrap_err(), &["zip archive", "`StateDict::load`"]),
        ("torn", StateDict::load(path("torn")).unwrap_err(), &["cannot be read"]),
    ];
    for (name, error, words) in cases {
        let text = error.to_string();
        assert!(text.starts_with(&path(name).display().to_string()), "{name}: {text}");
        assert!(words.iter().all(|words| text.contains(words)), "{name}: {text}");
        assert!(!text.contains("none") && (name == "run" || !text.contains("checkpoint format")), "{name}: {text}");
    }
    // What the messages name reads them.
    let _ = run.load(path("run")).unwrap();
    assert_eq!(StateDict::load(path("foreign")).unwrap().get("0.weight").unwrap().values, [2.0]);
    let own = Model::load_with(network(), path("model")).unwrap();
    assert_eq!(own.parameters(), run.parameters());
    let other = Sequential::<f64>::input(1).linear(2).build().unwrap();
    let text = Model::load_with(other, path("model")).unwrap_err().to_string();
    assert!(text.starts_with("layer 0: the saved file has Linear"), "{text}");
}

/// Fine-tuning keeps what belongs to the model: without its scale, a prediction would read unscaled inputs.
#[test]
fn trainer_from_a_model_returns_its_scales_and_names() {
    let (model, x) = named();
    let (bytes, data) = (model.to_bytes().unwrap(), Dataset::sequences(2, 5, &x, None).unwrap());
    let settings = TrainConfig { epochs: 0, ..TrainConfig::default() };
    let mut trainer = Trainer::from_model(model, MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
    for model in [trainer.model().unwrap(), trainer.model_registered(&Registry::new()).unwrap()] {
        assert!(model.to_bytes().unwrap() == bytes);
    }
    // The trainer itself takes data in the scale of the network.
    let scaled = named().0.input_scale().unwrap().inputs(&data).unwrap();
    let mut by_hand = trainer.predict(&scaled).unwrap();
    named().0.output_scale().unwrap().invert(&mut by_hand).unwrap();
    let model = trainer.into_model().unwrap();
    assert_eq!(bits(&model.predict(&data).unwrap()), bits(&by_hand));
    assert!(model.to_bytes().unwrap() == bytes);
}

/// The nearest number of each format, by the crate `half` and by Rust's own conversions.
#[test]
fn file_in_each_precision_rounds_to_the_nearest() {
    let network =
        || Sequential::<f64>::input(7).layer(chainrule::layer::Linear::new(7, 9).without_bias()).build().unwrap();
    let mut w = seeded_numbers(9, 63);
    let ends = [0.0, -0.0, 1e-8, -6e-8, 2.98e-8, 5.97e-5, 6.1e-5, 65503.9, -65519.9, 2049.0, 2051.0, 1.0 + 1.0 / 256.0];
    w[..ends.len()].copy_from_slice(&ends);
    let model = Model::new(network(), w.clone()).unwrap();
    type Round = fn(f64) -> f64;
    let formats: [(Precision, Round); 4] = [
        (Precision::F64, |x| x),
        (Precision::F32, |x| f64::from(x as f32)),
        (Precision::F16, |x| f16::from_f64(x).to_f64()),
        (Precision::Bf16, |x| bf16::from_f64(x).to_f64()),
    ];
    for (precision, round) in formats {
        let bytes = model.to_bytes_as(precision).unwrap();
        let loaded = Model::<f64>::from_bytes(&bytes).unwrap();
        let expected: Vec<f64> = w.iter().map(|&x| round(x)).collect();
        assert_eq!(bits(loaded.parameters()), bits(&expected), "{precision:?}");
        // Again in the same format nothing is lost.
        assert_eq!(loaded.to_bytes_as(precision).unwrap(), bytes);
        let narrow = Model::<f32>::from_bytes(&bytes).unwrap();
        assert!(narrow.parameters().iter().zip(&expected).all(|(&found, &x)| found == x as f32));
    }
    assert_eq!(Precision::of::<f32>(), Ok(Precision::F32));
    assert_eq!(Precision::of::<f16>(), Ok(Precision::F16));
    assert_eq!(Precision::of::<bf16>(), Ok(Precision::Bf16));
    assert!(Precision::of::<chainrule::testing::Dual<f32>>().is_err());
    let large = Model::new(network(), vec![65520.0; 63]).unwrap();
    assert!(matches!(large.to_bytes_as(Precision::F16), Err(Error::CheckpointValue { .. })));
    assert!(large.to_bytes_as(Precision::Bf16).is_ok());
    let huge = Model::new(network(), vec![1e300; 63]).unwrap();
    assert!(matches!(huge.to_bytes_as(Precision::F32), Err(Error::CheckpointValue { .. })));
    assert!(matches!(Model::<f32>::from_bytes(&huge.to_bytes().unwrap()), Err(Error::CheckpointValue { .. })));
}

/// Every number of both small formats survives: through a model of f16 and of bf16.
#[test]
fn file_of_small_numbers_keeps_every_one() {
    fn check<T: chainrule::Scalar>(from_bits: fn(u16) -> T) {
        let all: Vec<T> = (0..=u16::MAX).map(from_bits).filter(|x| x.is_finite()).collect();
        let network = chainrule::layer::Linear::new(all.len(), 1).without_bias();
        let model = Model::new(network, all.clone()).unwrap();
        let loaded = Model::<T>::from_bytes(&model.to_bytes().unwrap()).unwrap();
        let signs = |x: &T| x.to_f64().unwrap().to_bits();
        assert!(loaded.parameters().iter().map(signs).eq(all.iter().map(signs)));
    }
    check::<f16>(f16::from_bits);
    check::<bf16>(bf16::from_bits);
}

fn streamed(network: &LayerSpec, steps: usize, seed: u64) -> TestCaseResult {
    let network = network.build::<f64>().unwrap();
    let (dims, w) = (network.dims(), initialize(&*network, seed).unwrap());
    let x = seeded_numbers(seed, steps * dims.input);
    let model = Model::new(network, w).unwrap();
    let mut stream = match model.stream() {
        Ok(stream) => stream,
        Err(error) => {
            let named = matches!(&error, Error::InvalidLayer { rule: LayerRule::NotStreamable { .. }, .. });
            prop_assert!(named, "{}", error);
            return Ok(());
        }
    };
    for _ in 0..2 {
        for step in 1..=steps {
            // The last output row of the sequence so far.
            let so_far = Dataset::sequences(dims.input, step, &x[..step * dims.input], None).unwrap();
            let whole = model.predict(&so_far).unwrap();
            let found = stream.step(&x[(step - 1) * dims.input..step * dims.input]).unwrap();
            prop_assert_eq!(bits(found), bits(&whole[whole.len() - dims.output..]), "step {}", step);
        }
        stream.reset();
    }
    Ok(())
}

#[test]
fn stream_of_any_network_has_the_bits_of_the_whole_pass() {
    let limits = Limits { width: 4, layers: 4, depth: 2, recurrent: true, ..Limits::default() };
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let given = (networks(limits), 1_usize..6, any::<u64>());
    let found = TestRunner::new(config).run(&given, |(network, steps, seed)| streamed(&network, steps, seed));
    found.unwrap_or_else(|error| panic!("{error}"));
}

/// The sum of the inputs of all steps, without a state: a layer of a user's own that reads all steps.
#[derive(Debug)]
struct SumOfSteps;

impl<T: chainrule::Scalar> Layer<T> for SumOfSteps {
    fn dims(&self) -> Dims {
        Dims::new(1, 1, 0)
    }
    fn forward(&self, _w: &[T], pass: Forward<'_, T>) {
        let sum = pass.x.iter().fold(T::zero(), |sum, &x| sum + x);
        pass.y.fill(sum);
    }
    fn backward(&self, _w: &[T], _pass: Backward<'_, T>) {}
}

#[test]
fn stream_of_a_custom_layer_that_reads_all_steps_is_refused() {
    let summing = Model::new(SumOfSteps, Vec::<f64>::new()).unwrap();
    let text = summing.stream().unwrap_err().to_string();
    assert!(text.starts_with("layer network: SumOfSteps ") && text.contains("a step at a time"), "{text}");
    // Inside other layers it is named, not the network, and not a custom layer that streams.
    let inside = Sequential::input(2).layer(Doubled).lstm(3).linear(1).residual(|branch| branch.layer(SumOfSteps));
    let text = model(inside.build().unwrap()).stream().unwrap_err().to_string();
    assert!(text.starts_with("layer 3.branch.0: SumOfSteps gives other outputs"), "{text}");
    let last = Sequential::input(2).layer(Doubled).linear(1).layer(LaterSteps).last_step();
    let text = model(last.build().unwrap()).stream().unwrap_err().to_string();
    assert!(text.starts_with("layer 2: LaterSteps reads later steps"), "{text}");
    let mut streams = model(Sequential::input(2).layer(Doubled).lstm(3).build().unwrap());
    streams = streams.name_columns(["a", "b"]).unwrap();
    assert!(streams.stream().is_ok());
}

/// A custom layer of width 2 that streams: `y = 2 x`.
#[derive(Debug)]
struct Doubled;

impl<T: chainrule::Scalar> Layer<T> for Doubled {
    fn dims(&self) -> Dims {
        Dims::new(2, 2, 0)
    }
    fn forward(&self, _w: &[T], pass: Forward<'_, T>) {
        pass.y.iter_mut().zip(pass.x).for_each(|(y, &x)| *y = x + x);
    }
    fn backward(&self, _w: &[T], pass: Backward<'_, T>) {
        if let Some(dx) = pass.dx {
            dx.iter_mut().zip(pass.dy).for_each(|(dx, &dy)| *dx = dy + dy);
        }
    }
}

/// A custom layer that says of itself that it reads later steps.
#[derive(Debug)]
struct LaterSteps;

impl<T: chainrule::Scalar> Layer<T> for LaterSteps {
    fn dims(&self) -> Dims {
        Dims::new(1, 1, 0)
    }
    fn forward(&self, _w: &[T], pass: Forward<'_, T>) {
        pass.y.copy_from_slice(pass.x);
    }
    fn backward(&self, _w: &[T], _pass: Backward<'_, T>) {}
    fn reads_later_steps(&self) -> bool {
        true
    }
}

/// Past the first block of a sum and the first group of blocks, and after a reset.
#[test]
fn stream_of_a_mean_over_steps_has_the_bits_of_the_whole_pass() {
    let model = model(Sequential::input(1).gru(3).linear(2).mean_over_steps().build().unwrap());
    let x = seeded_numbers(8, 1100);
    let mut stream = model.stream().unwrap();
    for steps in [1100, 40] {
        for step in 1..=steps {
            let found = bits(stream.step(&x[step - 1..step]).unwrap());
            if step <= 66 || step % 32 < 2 || step == steps {
                let so_far = Dataset::sequences(1, step, &x[..step], None).unwrap();
                assert_eq!(found, bits(&model.predict(&so_far).unwrap()), "{step} steps");
            }
        }
        stream.reset();
    }
}

/// Layers after a mean run on the mean so far; those of a branch are not after the end of another branch.
#[test]
fn stream_of_layers_after_a_mean_or_in_branches_has_the_bits_of_the_whole_pass() {
    let pooled = Sequential::input(2).lstm(3).batch_norm().mean_over_steps().linear(4).tanh().dropout(0.5).linear(2);
    let of_inputs = Sequential::input(2).mean_over_steps().linear(2).log_softmax();
    let twice = Sequential::input(2).gru(3).mean_over_steps().linear(3).mean_over_steps().linear(1);
    let encoder = Sequential::input(2).lstm(3).batch_norm().mean_over_steps();
    let inner = Sequential::input(2).linear(2).layer(encoder.build().unwrap()).linear(3).build().unwrap();
    let nested = Sequential::input(2).batch_norm().layer(inner).tanh().linear(1);
    let branches = Sequential::input(2).linear(2).parallel(Merge::Concatenate, |all| {
        all.branch(|branch| branch.lstm(4).last_step()).branch(|branch| branch.gru(4).linear(2).last_step())
    });
    for network in [pooled, of_inputs, twice, nested, branches.linear(1)] {
        let network = network.build().unwrap();
        streamed(&Layer::<f64>::spec(&network), 40, 5).unwrap();
        model(network).stream().unwrap();
    }
    let alone = MeanOverSteps::new(2);
    streamed(&Layer::<f64>::spec(&alone), 40, 5).unwrap();
    Model::<f64>::new(alone, Vec::new()).unwrap().stream().unwrap();
    let after = Sequential::input(1).parallel(Merge::Sum, |all| all.branch(|branch| branch.last_step())).lstm(3);
    let text = model(after.build().unwrap()).stream().unwrap_err().to_string();
    assert!(text.starts_with("layer 1: ") && text.contains("keeps a state after the last step"), "{text}");
}

#[test]
fn stream_refuses_an_input_that_overflows_after_scaling() {
    let scale = Standardize::from_columns(vec![[0.0, 1e-30]]).unwrap();
    let network = Sequential::<f32>::input(1).lstm(2).build().unwrap();
    let w = initialize(&network, 1).unwrap();
    let model = Model::new(network, w).unwrap().scale_inputs(scale).unwrap();
    let mut stream = model.stream().unwrap();
    assert!(matches!(stream.step(&[1e10]), Err(Error::InvalidData(DataRule::ScaledValue { row: 0, column: 0, .. }))));
    let fresh = model.stream().unwrap().step(&[1e-31]).unwrap().to_vec();
    assert_eq!(stream.step(&[1e-31]).unwrap(), fresh);
}

#[test]
fn probabilities_of_two_infinite_outputs_are_refused() {
    let model = Model::new(Linear::new(1, 2), vec![f64::MAX, f64::MAX, 0.0, 0.0]).unwrap();
    let data = Dataset::rows(1, &[10.0], None).unwrap();
    assert_eq!(model.predict(&data).unwrap(), [f64::INFINITY; 2]);
    let error = model.probabilities(&data).unwrap_err();
    assert!(matches!(error, Error::NonFinite { index: 0, .. }), "{error}");
}

#[test]
fn names_of_any_kind_of_text_are_accepted() {
    let header = String::from("length,width");
    let names: Vec<&str> = header.split(',').collect();
    let model = || Model::new(Linear::new(2, 2), vec![0.0; 6]).unwrap();
    let found = [
        model().name_columns(&names).unwrap(),
        model().name_columns(&names[..]).unwrap(),
        model().name_columns(names.iter().map(ToString::to_string)).unwrap(),
    ];
    assert!(found.iter().all(|model| model.columns() == names));
    assert_eq!(model().name_classes(&names).unwrap().classes(), names);
}

/// The running statistics of a trained network go into the model and out of it, to the state dict.
#[test]
fn buffers_of_a_model_are_those_of_its_training() {
    let network = || Sequential::<f64>::input(1).batch_norm().build().unwrap();
    let data = Dataset::rows(1, &[1.0, 3.0], Target::Values(&[0.0, 0.0])).unwrap();
    let settings = TrainConfig { epochs: 1, batch_size: 2, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network(), MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
    trainer.fit(&data).unwrap();
    let trained = trainer.workspace().buffers().to_vec();
    let model = trainer.into_model().unwrap();
    // One batch of mean 2 and unbiased variance 2, at a momentum of 0.1.
    for (found, expected) in model.buffers().iter().zip([0.2, 0.9 + 0.2]) {
        assert!((found - expected).abs() < 1e-15, "{found}");
    }
    assert_eq!(model.buffers(), trained);
    let again = Model::new(network(), model.parameters().to_vec()).unwrap();
    assert_eq!(again.buffers(), [0.0, 1.0]);
    assert_eq!(again.with_buffers(&trained).unwrap().predict(&data), model.predict(&data));
}

#[test]
fn scale_of_the_indices_of_an_embedding_is_refused() {
    let scale = Standardize::from_columns(vec![[1.0, 2.0]]).unwrap();
    let network = Sequential::<f64>::input(1).embedding(4, 2).build().unwrap();
    let error = Model::new(network, vec![0.0; 8]).unwrap().scale_inputs(scale).unwrap_err();
    assert!(matches!(error, Error::IncompatibleLayer { .. }) && error.to_string().contains("Embedding"), "{error}");
}

#[test]
fn probabilities_of_a_network_that_ends_in_softmax_are_its_outputs() {
    let probabilities = |network: Sequential<f64>| {
        let model = Model::new(network, vec![0.5, -1.0, 0.0, 0.25]).unwrap();
        model.probabilities(&Dataset::rows(1, &[2.0], None).unwrap()).unwrap()
    };
    let logits = probabilities(Sequential::input(1).linear(2).build().unwrap());
    assert_eq!(probabilities(Sequential::input(1).linear(2).softmax().build().unwrap()), logits);
    let logs = probabilities(Sequential::input(1).linear(2).log_softmax().build().unwrap());
    assert!(logs.iter().zip(&logits).all(|(a, b)| (a - b).abs() < 1e-15), "{logs:?} {logits:?}");
}

/// The file that `tests/no_std` predicts with is that of this model.
#[test]
fn model_of_the_program_without_std_is_the_one_stated() {
    let network = Sequential::<f32>::input(1).linear(2).tanh().linear(1).mean_over_steps().build().unwrap();
    let model = Model::new(network, vec![1.0, -0.5, 0.0, 0.25, 2.0, 1.0, 0.5]).unwrap();
    let series = [0.5, -1.0, 2.0, 0.25];
    let found = model.predict(&Dataset::sequences(1, 4, &series, None).unwrap()).unwrap();
    assert!((found[0] - 0.985823).abs() < 1e-6, "{found:?}");
    // The package leaves the program out.
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/no_std/model.safetensors");
    if let Ok(bytes) = std::fs::read(&file) {
        assert!(bytes == model.to_bytes().unwrap(), "save the model as {}", file.display());
    }
}

#[test]
fn stream_names_the_layer_that_cannot() {
    let after = model(Sequential::input(1).last_step().lstm(3).build().unwrap());
    let text = after.stream().unwrap_err().to_string();
    assert!(text.starts_with("layer 1: ") && text.contains("keeps a state after the last step"), "{text}");
    let both = model(Sequential::input(1).linear(2).bidirectional(3, Lstm::new()).linear(1).build().unwrap());
    let text = both.stream().unwrap_err().to_string();
    assert!(text.starts_with("layer 1: ") && text.contains("reads later steps"), "{text}");
    let mean = Sequential::input(1).lstm(3).parallel(Merge::Concatenate, |all| all.branch(|b| b.mean_over_steps()));
    let text = model(mean.build().unwrap()).stream().unwrap_err().to_string();
    assert!(text.starts_with("layer 1.0.0: MeanOverSteps reads all steps"), "{text}");
    let last = model(Sequential::input(1).lstm(3).layer(LastStep::new(3)).build().unwrap());
    let mut stream = last.stream().unwrap();
    assert!(matches!(stream.step(&[1.0, 2.0]), Err(Error::Length { .. })));
    assert!(matches!(stream.step(&[f64::NAN]), Err(Error::NonFinite { .. })));
    let first = bits(stream.step(&[0.5]).unwrap());
    stream.reset();
    assert_eq!(bits(stream.step(&[0.5]).unwrap()), first);
}

#[test]
fn wrong_models_give_typed_errors() {
    let network = || Sequential::<f64>::input(2).linear(1).build().unwrap();
    assert!(matches!(Model::new(network(), vec![0.0; 2]), Err(Error::Length { .. })));
    let nan = Model::new(network(), vec![0.0, 0.0, f64::NAN]).unwrap_err();
    assert!(matches!(&nan, Error::NonFiniteParameters { block, .. } if block == "0.bias"), "{nan}");
    let scale = Standardize::of(3, &[0.0; 3]).unwrap();
    assert!(matches!(model(network()).scale_inputs(scale.clone()), Err(Error::Length { .. })));
    assert!(matches!(model(network()).scale_outputs(scale), Err(Error::Length { .. })));
    assert!(matches!(model(network()).name_columns(["a"]), Err(Error::Length { .. })));
    let error = model(network()).name_classes(["a", "b"]).unwrap_err();
    assert!(matches!(error, Error::Length { .. }) && error.to_string().ends_with("give one for each class"), "{error}");
    let one = model(network());
    let data = Dataset::rows(2, &[0.0; 2], None).unwrap();
    assert!(matches!(one.predict_classes(&data), Err(Error::IncompatibleLayer { .. })));
    assert!(matches!(one.probabilities(&data), Err(Error::IncompatibleLayer { .. })));
    let wide = Dataset::rows(3, &[0.0; 3], None).unwrap();
    assert!(one.predict(&wide).unwrap_err().to_string().contains("rows of 3 values, but the network takes 2"));
    let settings = TrainConfig { batch_size: 0, ..TrainConfig::default() };
    assert!(Trainer::from_model(one, CrossEntropy::new(), Sgd::new(0.1), settings).is_err());
}
