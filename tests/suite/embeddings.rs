//! Embeddings: rows of a table by index, and the refusal of what is no index.

use crate::numbers::{bits, numbers};
use chainrule::{
    BatchShape, DataRule, Error, Layer, LayerRule, Mode, Scalar,
    dataset::{Batch, Dataset},
    diagnosis::{Diagnosis, first_check},
    initializer::Constant,
    layer::{Backward, Context, Dims, Embedding, Forward, Linear, Residual, Sequential, Structure, initialize},
    layer_laws,
    loss::{CrossEntropy, Target},
    monitor::Statistics,
    recurrent::Lstm,
    theory::{InputStatistics, Prediction},
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, Sgd},
    workspace::Workspace,
};

/// An index below `vocabulary` of a normal number.
fn indices(vocabulary: usize) -> impl Fn(f64) -> f64 {
    move |z| (3.0 * z.abs()).floor().min(vocabulary as f64 - 1.0)
}

layer_laws!(embedding, Embedding::new(7, 3), inputs: indices(7));
layer_laws!(embedding_of_several_columns, Embedding::new(5, 2).columns(3), inputs: indices(5));
layer_laws!(
    embedding_in_a_network,
    Sequential::input(2).embedding(5, 3).recurrent(4, Lstm::new()).last_step().linear(2).build().unwrap(),
    inputs: indices(5)
);

/// y, dE and dx of a small table, by hand.
#[test]
fn embedding_copies_rows_and_adds_their_gradients() {
    let layer = Embedding::new(4, 2).columns(2).padding(3).unwrap();
    let shape = BatchShape::batch(3);
    let w = initialize::<f64>(&layer, 1).unwrap();
    assert!(w[..6].iter().all(|&w| w != 0.0) && w[6..] == [0.0, 0.0], "{w:?}");
    let w = [0.0, 0.1, 1.0, 1.1, 2.0, 2.1, 3.0, 3.1];
    let mut workspace = Workspace::new(layer, shape).unwrap();
    workspace.compute_input_gradient(true);
    let output = workspace.forward(&w, &[1.0, 0.0, 3.0, 1.0, 1.0, 1.0], shape).unwrap();
    assert_eq!(output.y, [1.0, 1.1, 0.0, 0.1, 3.0, 3.1, 1.0, 1.1, 1.0, 1.1, 1.0, 1.1]);
    output.dy.copy_from_slice(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0]);
    // Index 2 is not met, index 3 is padding.
    let dw = workspace.backward(&w).unwrap();
    assert_eq!(dw, [4.0, 8.0, 1.0 + 64.0 + 256.0 + 1024.0, 2.0 + 128.0 + 512.0 + 2048.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(workspace.input_gradient(), [0.0; 6]);
}

/// An embedding is a linear map of the index as one of `vocabulary` columns.
#[test]
fn embedding_has_the_bits_of_a_linear_map_of_one_hot_rows() {
    let (vocabulary, dimension, shape) = (6, 4, BatchShape::sequences(3, 5));
    let x: Vec<f64> = numbers::<f64>(15).iter().map(|x| ((x + 1.0) * 3.0).floor()).collect();
    let one_hot: Vec<f64> =
        x.iter().flat_map(|&x| (0..vocabulary).map(move |i| f64::from(u8::from(i as f64 == x)))).collect();
    let table = numbers::<f64>(vocabulary * dimension);
    // A linear map has a row for each output.
    let matrix: Vec<f64> =
        (0..vocabulary * dimension).map(|i| table[i % vocabulary * dimension + i / vocabulary]).collect();
    let pass = |layer: &dyn Layer<f64>, w: &[f64], x: &[f64]| {
        let mut workspace = Workspace::new(layer, shape).unwrap();
        let output = workspace.forward(w, x, shape).unwrap();
        let y = output.y.to_vec();
        output.dy.copy_from_slice(&numbers::<f64>(y.len()));
        (y, workspace.backward(w).unwrap().to_vec())
    };
    let (y, dw) = pass(&Embedding::new(vocabulary, dimension), &table, &x);
    let (expected, d_matrix) = pass(&Linear::new(vocabulary, dimension).without_bias(), &matrix, &one_hot);
    assert_eq!(bits(&y), bits(&expected));
    for (i, dw) in dw.iter().enumerate() {
        let other = d_matrix[i % dimension * vocabulary + i / dimension];
        assert!((dw - other).abs() <= 1e-15, "dE[{i}]: {dw} for {other}");
    }
}

fn network() -> Sequential<f32> {
    Sequential::input(2).embedding(5, 3).lstm(4).last_step().linear(2).build().unwrap()
}

fn rule(error: Error) -> DataRule {
    let Error::InvalidData(rule) = error else { panic!("{error}") };
    rule
}

#[test]
fn value_that_is_no_index_is_refused_where_the_data_meets_the_network() {
    // Three samples of two steps of two columns; the last step of sample 1 has a wrong second column.
    for (wrong, text) in [(2.5f32, "2.5"), (5.0, "5"), (-1.0, "-1"), (1e30, "1.0000000150474662e30")] {
        let mut x = [0.0f32, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 0.0, 3.0, 4.0, 0.0, 1.0];
        x[7] = wrong;
        let data = Dataset::sequences(2, 2, &x, Target::Classes(&[0, 1, 0])).unwrap();
        let is_expected = |error: Error, place: [usize; 3]| {
            let message = error.to_string();
            let DataRule::Index { sample, step, column, vocabulary, found } = rule(error) else { panic!() };
            assert_eq!(([sample, step.unwrap(), column], vocabulary, found), (place, 5, f64::from(wrong)));
            assert!(message.contains(text) && message.contains("from 0 to 4"), "{message}");
        };
        let place = [1, 1, 1];
        let settings = TrainConfig { batch_size: 2, ..TrainConfig::default() };
        let mut trainer = Trainer::new(network(), CrossEntropy::new(), Sgd::new(0.1), settings).unwrap();
        is_expected(trainer.fit(&data).unwrap_err(), place);
        assert_eq!(trainer.optimizer().steps(), 0);
        is_expected(trainer.evaluate(&data).unwrap_err(), place);
        is_expected(trainer.predict(&data).unwrap_err(), place);
        is_expected(trainer.fit_with(&data, FitOptions::new().validation(&data)).unwrap_err(), place);
        // One update names the sample of the data, not of the batch.
        let mut batch = Batch::new(&data, 2);
        is_expected(trainer.step(&data, &mut batch, &[2, 1], &mut ()).unwrap_err(), place);
        trainer.step(&data, &mut batch, &[2, 0], &mut ()).unwrap();
        let model = trainer.into_model().unwrap();
        is_expected(model.predict(&data).unwrap_err(), place);
        assert!(model.stream().unwrap().step(&[0.0, wrong]).is_err());
        // A pass by hand through a workspace, time-major: sample 1 of two is in row 3.
        let mut workspace = Workspace::new(network(), BatchShape::sequences(2, 2)).unwrap();
        let w = initialize(workspace.network(), 1).unwrap();
        let rows = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, wrong];
        is_expected(workspace.forward(&w, &rows, BatchShape::sequences(2, 2)).unwrap_err(), place);
        is_expected(workspace.infer(&w, &rows, BatchShape::sequences(2, 2)).unwrap_err(), place);
        workspace.input_mut(BatchShape::ragged(&[2, 1])).unwrap().copy_from_slice(&[0.0, 0.0, 1.0, wrong, 2.0, 2.0]);
        let filled = workspace.forward_filled(&w, BatchShape::ragged(&[2, 1]), Mode::Train, &mut ());
        is_expected(filled.unwrap_err(), [1, 0, 1]);
        // Rows of no sequence have no step.
        let mut flat = Workspace::new(Embedding::new(5, 1).columns(2), BatchShape::batch(2)).unwrap();
        let refused = rule(flat.infer(&[0.0f32; 5], &[0.0, 0.0, 1.0, wrong], BatchShape::batch(2)).unwrap_err());
        assert!(matches!(refused, DataRule::Index { sample: 1, step: None, column: 1, .. }), "{refused:?}");
    }
}

#[test]
#[should_panic(expected = "`x` of Embedding must hold whole numbers from 0 to 2, found 0.5")]
fn pass_by_hand_panics_with_the_law() {
    let (mut y, mut none) = ([0.0; 2], ());
    let ctx = Context::new(BatchShape::batch(1), Mode::Infer, &mut none);
    Embedding::new(3, 2).forward(&[0.0; 6], Forward::new(&[0.5], &mut y, &mut [], &mut [], ctx));
}

#[test]
fn vocabulary_beyond_the_number_format_is_refused() {
    // Whole numbers up to 2¹¹ are exact in f16, up to 2²⁴ in f32.
    fn is_refused<T: Scalar>(vocabulary: usize) -> bool {
        match Workspace::<T, _>::new(Embedding::new(vocabulary, 1), BatchShape::batch(1)) {
            Ok(_) => false,
            Err(Error::Parameter { what, found, .. }) => {
                assert!(what.contains("vocabulary") && found == vocabulary as f64);
                true
            }
            Err(error) => panic!("{error}"),
        }
    }
    #[cfg(feature = "half")]
    assert!(!is_refused::<half::f16>(2049) && is_refused::<half::f16>(2050));
    #[cfg(feature = "half")]
    assert!(!is_refused::<half::bf16>(257) && is_refused::<half::bf16>(258));
    assert!(!is_refused::<f32>((1 << 24) + 1) && is_refused::<f32>((1 << 24) + 2));
    assert!(!is_refused::<f64>((1 << 24) + 2));
}

#[test]
fn indices_that_a_layer_computes_are_refused() {
    let refused = |network: Sequential<f64>, path: &str| {
        let error = Workspace::new(network, BatchShape::batch(1)).unwrap_err();
        let Error::InvalidLayer { layer, rule: LayerRule::ComputedIndices } = &error else { panic!("{error}") };
        assert_eq!(layer, path);
    };
    refused(Sequential::input(2).linear(1).embedding(3, 2).build().unwrap(), "1");
    refused(Sequential::input(2).embedding(3, 2).embedding(3, 1).build().unwrap(), "1");
    let branch = Sequential::input(1).tanh().embedding(3, 1).build().unwrap();
    refused(Sequential::input(1).layer(Residual::new(branch).unwrap()).build().unwrap(), "0.branch.1");
    // Rows that are only chosen stay indices.
    let network = Sequential::<f64>::input(1).last_step().embedding(3, 2).build().unwrap();
    let mut workspace = Workspace::new(&network, BatchShape::sequences(1, 2)).unwrap();
    let w = initialize(&network, 1).unwrap();
    assert_eq!(workspace.infer(&w, &[0.0, 2.0], BatchShape::sequences(1, 2)).unwrap(), &w[4..]);
    assert!(workspace.infer(&w, &[0.0, 3.0], BatchShape::sequences(1, 2)).is_err());
}

/// The first column is an index, the second a number beside its vector.
#[derive(Debug)]
struct IndexAndNumber(Embedding);

impl Layer<f64> for IndexAndNumber {
    fn dims(&self) -> Dims {
        let inner = Layer::<f64>::dims(&self.0);
        Dims::new(2, inner.output + 1, inner.parameters)
    }
    fn structure(&self) -> Structure<'_, f64> {
        Structure::branches().part("table", &self.0)
    }
    fn forward(&self, w: &[f64], pass: Forward<'_, f64>) {
        for (x, y) in pass.x.chunks(2).zip(pass.y.chunks_mut(3)) {
            let ctx = Context::new(BatchShape::batch(1), pass.ctx.mode, &mut *pass.ctx.monitor);
            self.0.forward(w, Forward::new(&x[..1], &mut y[..2], &mut [], &mut [], ctx));
            y[2] = x[1];
        }
    }
    fn backward(&self, _w: &[f64], _pass: Backward<'_, f64>) {}
}

#[test]
fn layer_of_a_users_own_may_divide_its_input() {
    let mut workspace = Workspace::new(IndexAndNumber(Embedding::new(2, 2)), BatchShape::batch(2)).unwrap();
    let y = workspace.infer(&[1.0, 2.0, 3.0, 4.0], &[1.0, 0.5, 0.0, -7.25], BatchShape::batch(2)).unwrap();
    assert_eq!(y, [3.0, 4.0, 0.5, 1.0, 2.0, -7.25]);
}

/// Adds 1 to an index.
#[derive(Debug)]
struct Next;

impl Layer<f64> for Next {
    fn dims(&self) -> Dims {
        Dims::new(1, 1, 0)
    }
    fn forward(&self, _w: &[f64], pass: Forward<'_, f64>) {
        pass.y.iter_mut().zip(pass.x).for_each(|(y, x)| *y = x + 1.0);
    }
    fn backward(&self, _w: &[f64], _pass: Backward<'_, f64>) {}
}

#[test]
fn layer_of_a_users_own_may_compute_indices() {
    let mut network = Sequential::new(1);
    network.push(Next).unwrap();
    network.push(Embedding::new(3, 1)).unwrap();
    let mut workspace = Workspace::new(network, BatchShape::batch(2)).unwrap();
    assert_eq!(workspace.infer(&[5.0, 6.0, 7.0], &[0.0, 1.0], BatchShape::batch(2)).unwrap(), [6.0, 7.0]);
}

#[test]
fn description_of_a_table_without_rows_is_refused() {
    for (layer, legal) in [(Embedding::new(0, 3), false), (Embedding::new(1, 3), true)] {
        let built = Layer::<f64>::spec(&layer).build::<f64>();
        assert!(built.is_ok() && legal || matches!(built, Err(Error::Parameter { .. })) && !legal, "{built:?}");
    }
}

/// The class is that of the index: a network can only learn it by the table.
#[test]
fn embedding_learns_a_class_for_each_index() {
    let x: Vec<f32> = (0..60).map(|i| (i % 12) as f32).collect();
    let classes: Vec<usize> = x.iter().map(|&x| [0, 2, 1, 1, 0, 2, 2, 0, 1, 2, 0, 1][x as usize]).collect();
    let data = Dataset::rows(1, &x, Target::Classes(&classes)).unwrap();
    for threads in [1, 2] {
        let network = Sequential::input(1).embedding(12, 4).linear(3).build().unwrap();
        let settings = TrainConfig { epochs: 60, batch_size: 10, threads, ..TrainConfig::default() };
        let mut trainer = Trainer::new(network, CrossEntropy::new(), Adam::new(0.05), settings).unwrap();
        trainer.fit(&data).unwrap();
        assert_eq!(trainer.evaluate(&data).unwrap().accuracy, Some(1.0));
    }
}

#[test]
fn embedding_is_built_again_from_its_description() {
    let layer = Embedding::new(5, 2).columns(3).padding(4).unwrap().weights(Constant(0.5));
    let spec = Layer::<f64>::spec(&layer);
    let again = spec.build::<f64>().unwrap();
    assert_eq!(again.spec(), spec);
    assert_eq!(initialize(&*again, 1).unwrap(), [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0]);
    assert!(matches!(Embedding::new(5, 2).padding(5), Err(Error::Parameter { .. })));
    #[cfg(feature = "serde")]
    {
        let text = serde_json::to_string(&spec).unwrap();
        assert!(text.starts_with(r#"{"Embedding":{"columns":3,"vocabulary":5,"dimension":2,"padding":4,"#), "{text}");
        assert_eq!(serde_json::from_str::<chainrule::layer::LayerSpec>(&text).unwrap(), spec);
        let read: chainrule::layer::LayerSpec =
            serde_json::from_str(&text.replace(r#""padding":4"#, r#""padding":5"#)).unwrap();
        assert!(read.build::<f32>().is_err());
    }
}

/// The gradient ends at the table; above it the prediction is that of any network of such a signal.
#[test]
fn prediction_ends_at_the_table() {
    let network = Sequential::<f32>::input(1).embedding(50, 64).linear(64).tanh().linear(8).build().unwrap();
    let prediction = Prediction::of(&network, InputStatistics::new(1.0).unwrap()).unwrap();
    assert_eq!(prediction.decades(), Some(f64::NEG_INFINITY));
    let above = Sequential::<f32>::input(64).linear(64).tanh().linear(8).build().unwrap();
    let expected = Prediction::of(&above, InputStatistics::new(1.0).unwrap()).unwrap().decades().unwrap();
    let found = prediction.decades_to_first_weights().unwrap();
    assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
    // Parts that are sampled are given indices.
    let network = Sequential::<f32>::input(1).embedding(50, 8).lstm(8).last_step().linear(2).build().unwrap();
    let sampled = Prediction::of(&network, InputStatistics::new(1.0).unwrap().steps(4).unwrap()).unwrap();
    assert!(sampled.decades_to_first_weights().unwrap().is_finite(), "{sampled}");
}

/// Indices have no scale: a network that reads words of a large vocabulary is healthy before and after training.
#[test]
fn diagnosis_takes_indices_for_no_unscaled_input() {
    const WORDS: usize = 5000;
    let network = Sequential::<f32>::input(1).embedding(WORDS, 16).lstm(16).last_step().linear(2).build().unwrap();
    let x: Vec<f32> = (0..40 * 6).map(|i| (i * 7919 % WORDS) as f32).collect();
    let classes: Vec<usize> = x.chunks(6).map(|words| usize::from(words[5] as usize % 2 == 1)).collect();
    let report = first_check(&network, &x, BatchShape::sequences(40, 6), None, 1).unwrap();
    assert!(report.is_healthy(), "{report}");
    let data = Dataset::sequences(1, 6, &x, Target::Classes(&classes)).unwrap();
    let mut seen = Statistics::new();
    let settings = TrainConfig { epochs: 20, batch_size: 10, ..TrainConfig::default() };
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), Adam::new(0.01), settings).unwrap();
    trainer.fit_with(&data, FitOptions::new().monitor(&mut seen)).unwrap();
    let inputs = InputStatistics::of_rows(&x).unwrap().steps(6).unwrap();
    let diagnosis = Diagnosis::new(&network, inputs).unwrap().statistics(&seen);
    let report = diagnosis.parameters(&network, trainer.parameters(), BatchShape::sequences(40, 6)).unwrap().report();
    assert!(report.is_healthy(), "{report}");
}
