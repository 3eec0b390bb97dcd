//! Running statistics of a batch norm in formats of 16 bits, where they have more digits than the format.

use crate::{
    buffers::Centre,
    numbers::{normals, numbers},
};
use chainrule::{
    BatchShape, Error, Scalar,
    dataset::Dataset,
    distributed::DataParallel,
    layer::{BatchNorm, Sequential, initialize},
    loss::{MeanSquaredError, Target},
    model::{Model, ModuleNames, Precision, export_state_dict, import_state_dict},
    scalar, to_f64,
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
    workspace::Workspace,
};
use half::{bf16, f16};

fn wide<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&value| to_f64(value)).collect()
}

fn cast<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| scalar(value)).collect()
}

/// Asserts that each of `found` lies within the distance from its magnitude in `truth` to the next number of `T`.
fn within_a_digit<T: Scalar>(found: &[f64], truth: &[f64], what: &str) {
    for (found, truth) in found.iter().zip(truth) {
        let unit = to_f64(T::epsilon()) * 2f64.powf(truth.abs().log2().floor());
        assert!((found - truth).abs() <= unit, "{what}: {found} for {truth}, {} units", (found - truth).abs() / unit);
    }
}

/// Two columns over four rows, of means 3 and −0.7, exact in formats of 16 bits.
const ROWS: [f64; 8] = [2.0, -1.5, 4.0, 0.25, 3.5, -0.75, 2.5, -0.8125];

/// Mean and variance, as training in `T` leaves them after 10,000 passes.
fn after_passes<T: Scalar>(momentum: f64) -> Vec<f64> {
    let (norm, shape) = (BatchNorm::new(2).momentum(momentum).unwrap().without_affine(), BatchShape::batch(4));
    let mut workspace = Workspace::<T, _>::new(norm, shape).unwrap();
    let x = cast(&ROWS);
    for _ in 0..10_000 {
        workspace.forward(&[], &x, shape).unwrap();
    }
    wide(&workspace.buffers()[..4])
}

#[test]
fn running_statistics_of_16_bits_are_those_of_double() {
    for momentum in [0.1, 0.01, 0.001] {
        let truth = after_passes::<f64>(momentum);
        within_a_digit::<f16>(&after_passes::<f16>(momentum), &truth, &format!("f16, {momentum}"));
        within_a_digit::<bf16>(&after_passes::<bf16>(momentum), &truth, &format!("bf16, {momentum}"));
    }
}

fn trainer<T: Scalar>(momentum: f64, epochs: usize) -> Trainer<T, BatchNorm, MeanSquaredError, Sgd> {
    let norm = BatchNorm::new(2).momentum(momentum).unwrap();
    let settings = TrainConfig { epochs, batch_size: 8, ..TrainConfig::default() };
    Trainer::new(norm, MeanSquaredError::new(), Sgd::new(0.0), settings).unwrap()
}

/// Two shards of one update, whose statistics differ.
fn shards<T: Scalar>() -> Dataset<'static, T> {
    let x: Vec<T> = cast(&[ROWS, ROWS.map(|x| x / 2.0)].concat());
    Dataset::rows(2, &x, Target::Values(&x)).unwrap().into_owned()
}

/// Mean and variance after 3,000 updates, each from the mean change of two shards.
fn after_updates<T: Scalar>(momentum: f64) -> Vec<f64> {
    let mut run = trainer::<T>(momentum, 3_000);
    run.set_data_parallel(DataParallel::new(()).shards(2)).unwrap();
    run.fit(&shards()).unwrap();
    wide(&run.workspace().buffers()[..4])
}

#[test]
fn mean_change_over_shards_has_the_digits_of_the_statistics() {
    for momentum in [0.1, 0.001] {
        let truth = after_updates::<f64>(momentum);
        within_a_digit::<f16>(&after_updates::<f16>(momentum), &truth, &format!("f16, {momentum}"));
        within_a_digit::<bf16>(&after_updates::<bf16>(momentum), &truth, &format!("bf16, {momentum}"));
    }
}

#[test]
fn checkpoint_keeps_the_digits_beyond_the_format() {
    let mut whole = trainer::<bf16>(0.01, 300);
    whole.fit(&shards()).unwrap();
    let mut first = trainer::<bf16>(0.01, 150);
    first.fit(&shards()).unwrap();
    let mut second = trainer::<bf16>(0.01, 300);
    let _ = second.restore(&first.checkpoint()).unwrap();
    assert_eq!(second.workspace().buffers(), first.workspace().buffers());
    second.fit(&shards()).unwrap();
    assert_eq!(second.workspace().buffers(), whole.workspace().buffers());
}

/// Two batch norms, and two layers whose buffers are of another kind.
fn network<T: Scalar>() -> Sequential<T> {
    let network = Sequential::input(2).layer(Centre(2)).batch_norm().layer(Centre(2)).linear(3);
    network.batch_norm().linear(1).build().unwrap()
}

/// The buffers of [`network`], as values of the format and as the rounding errors behind them.
fn parts<T: Scalar>(buffers: &[T]) -> [Vec<f64>; 2] {
    let slots = if size_of::<T>() == 2 { 3 } else { 1 };
    let (mut rest, mut parts) = (buffers, [Vec::new(), Vec::new()]);
    for (values, slots) in [(2, 1), (4, slots), (2, 1), (6, slots)] {
        let (own, after) = rest.split_at(values * slots);
        parts[0].extend(wide(&own[..values]));
        parts[1].extend(wide(&own[values..]));
        rest = after;
    }
    assert!(rest.is_empty());
    parts
}

/// The buffers that 50 passes of training leave.
fn trained<T: Scalar>() -> (Vec<T>, Vec<T>) {
    let (network, shape) = (network::<T>(), BatchShape::batch(8));
    let w = initialize(&network, 3).unwrap();
    let mut workspace = Workspace::new(&network, shape).unwrap();
    for pass in 0..50 {
        let x: Vec<T> = cast(&normals::<f64>(16, pass).iter().map(|x| x + 3.0).collect::<Vec<_>>());
        workspace.forward(&w, &x, shape).unwrap();
    }
    (w, workspace.buffers().to_vec())
}

fn model<T: Scalar>() -> Model<T> {
    let (w, buffers) = trained();
    Model::new(network(), w).unwrap().with_buffers(&buffers).unwrap()
}

fn predictions<T: Scalar>(model: &Model<T>) -> Vec<T> {
    model.predict(&Dataset::rows(2, &numbers::<T>(20), None).unwrap()).unwrap()
}

fn buffers_of<T: Scalar>(model: Model<T>) -> Vec<T> {
    let run = Trainer::from_model(model, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    run.workspace().buffers().to_vec()
}

/// Saves the model of `A` in a file of another format, and reads it as a model of `B`.
fn through_a_file<A: Scalar, B: Scalar>(precision: Precision, round: impl Fn(f64) -> f64) {
    let bytes = model::<A>().to_bytes_as(precision).unwrap();
    let tensor = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensor.tensor("chainrule/buffers").unwrap().shape(), [14]);
    let read = Model::<B>::from_bytes_with(network(), &bytes).unwrap();
    let [values, errors] = parts(&buffers_of(read));
    let [before, _] = parts(&trained::<A>().1);
    let expected: Vec<f64> = before.iter().map(|&x| to_f64(scalar::<B>(round(x)))).collect();
    assert_eq!(values, expected, "{precision:?}");
    assert!(errors.iter().all(|&error| error == 0.0), "{precision:?}: {errors:?}");
}

#[test]
fn model_files_of_any_format_have_the_values_of_the_format() {
    let half = |x: f64| f16::from_f64(x).to_f64();
    let brain = |x: f64| bf16::from_f64(x).to_f64();
    through_a_file::<f32, f16>(Precision::F16, half);
    through_a_file::<f32, f32>(Precision::F16, half);
    through_a_file::<f16, f32>(Precision::F16, |x| x);
    through_a_file::<f32, bf16>(Precision::F32, |x| x);
    through_a_file::<bf16, bf16>(Precision::Bf16, |x| x);
    through_a_file::<bf16, f64>(Precision::F64, |x| x);
    through_a_file::<bf16, f16>(Precision::Bf16, brain);
    // A model of 16 bits predicts what it did before it was saved.
    let model = model::<bf16>();
    let read = Model::<bf16>::from_bytes_with(network(), &model.to_bytes().unwrap()).unwrap();
    assert_eq!(predictions(&read), predictions(&model));
}

#[test]
fn model_file_with_another_number_of_buffers_is_refused() {
    let centre =
        Model::<bf16>::new(Sequential::input(2).layer(Centre(2)).linear(1).build().unwrap(), vec![bf16::ONE; 3]);
    let bytes = centre.unwrap().to_bytes().unwrap();
    let larger = Sequential::<bf16>::input(2).layer(Centre(2)).layer(BatchNorm::new(2).without_affine()).linear(1);
    let error = Model::from_bytes_with(larger.build().unwrap(), &bytes).unwrap_err();
    assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
}

#[test]
fn state_dict_of_16_bits_has_mean_and_variance_of_the_format() {
    let (network, names) = (network::<bf16>(), ModuleNames::new());
    let (w, buffers) = trained::<bf16>();
    let [values, _] = parts(&buffers);
    let state = export_state_dict(&network, &w, &buffers, &names).unwrap();
    let tensor = |name: &str| state.get(name).unwrap_or_else(|| panic!("{name}")).values.clone();
    assert_eq!(tensor("1.running_mean"), values[2..4]);
    assert_eq!(tensor("1.running_var"), values[4..6]);
    assert_eq!(tensor("4.running_mean"), values[8..11]);
    assert_eq!(tensor("4.running_var"), values[11..]);
    assert_eq!(state.get("4.running_var").unwrap().shape, [3]);
    let (mut w_again, mut again) = (vec![bf16::ZERO; w.len()], vec![bf16::ONE; buffers.len()]);
    import_state_dict(&network, &mut w_again, &mut again, &state, &names).unwrap();
    let [read, errors] = parts(&again);
    assert_eq!((w_again, read), (w, values));
    assert!(errors.iter().all(|&error| error == 0.0), "{errors:?}");
}

#[test]
fn rounding_error_below_zero_is_no_variance_below_zero() {
    let (_, mut buffers) = trained::<bf16>();
    let [_, errors] = parts(&buffers);
    assert!(errors.iter().any(|&error| error < 0.0), "{errors:?}");
    let mut workspace = Workspace::new(network(), BatchShape::batch(1)).unwrap();
    workspace.set_buffers(&buffers).unwrap();
    assert_eq!(workspace.buffers(), buffers);
    // A mean, a variance, and the error of a variance of the first norm.
    for (place, legal) in [(3, true), (5, false), (9, true)] {
        let before = std::mem::replace(&mut buffers[place], bf16::NEG_ONE);
        let set = workspace.set_buffers(&buffers);
        assert!(set.is_ok() == legal && set.is_ok() != matches!(set, Err(Error::Parameter { .. })), "{place}: {set:?}");
        buffers[place] = before;
    }
}
