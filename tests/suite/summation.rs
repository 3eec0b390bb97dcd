//! Sums over 131,072 rows in `f32` are accurate to a few ε, compared with the same pass in `f64`.
//!
//! The error of a sum is `max |Δ| / (ε max |truth|)`. It includes the rounding of the terms.

use chainrule::{
    BatchShape, Error, Scalar,
    activation::{Identity, Tanh},
    dataset::{Batch, Dataset},
    distributed::{DataParallel, Local},
    layer::{
        ActivationLayer, BatchNorm, BranchScale, Dims, DualLayer, Embedding, GatedLinear, GroupNorm, Layer, LayerNorm,
        Linear, MeanOverSteps, PRelu, Residual, RmsNorm, RowMap, initialize,
    },
    loss::{BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError, Reduction, Target},
    monitor::{Event, GradientMonitor},
    recurrent::{Cell, Elman, Gru, Lstm, Recurrent},
    scalar,
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
    workspace::Workspace,
};
use std::thread;

const SEED: u64 = 21;
const ROWS: usize = 1 << 17;
const WIDTH: usize = 8;
const BOUND: f64 = 4.0;

/// Uniform values of 24 bits, exact in `f32`: SplitMix64 on a counter.
fn uniform(stream: u64, n: usize, [low, high]: [f64; 2]) -> Vec<f32> {
    let seed = (SEED + stream).wrapping_mul(0xD134_2543_DE82_EF95);
    let value = |i: u64| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / 16_777_216.0
    };
    (1..=n as u64).map(|i| (low + (high - low) * value(i)) as f32).collect()
}

fn cast<T: Scalar>(values: &[f32]) -> Vec<T> {
    values.iter().map(|&value| scalar(f64::from(value))).collect()
}

fn wide<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64().unwrap()).collect()
}

/// `max |found − truth| / (ε max |truth|)`, with the ε of `f32`.
fn error(found: &[f64], truth: &[f64]) -> f64 {
    let most = truth.iter().fold(0f64, |most, value| most.max(value.abs()));
    let off = found.iter().zip(truth).fold(0f64, |most, (found, truth)| most.max((found - truth).abs()));
    off / (f64::from(f32::EPSILON) * most)
}

/// The output and the parameter gradient of a pass.
fn pass<T: Scalar>(layer: &impl Layer<T>, [w, x, dy]: [&[f32]; 3], shape: BatchShape<'_>) -> [Vec<f64>; 2] {
    let (w, x) = (cast::<T>(w), cast::<T>(x));
    let mut workspace = Workspace::new(layer, BatchShape::sequences(shape.batch, shape.steps)).unwrap();
    let output = workspace.forward(&w, &x, shape).unwrap();
    output.dy.copy_from_slice(&cast::<T>(&dy[..output.dy.len()]));
    let y = wide(output.y);
    [y, wide(workspace.backward(&w).unwrap())]
}

const POSITIVE: [f64; 2] = [0.5, 1.5];
const CENTRED: [f64; 2] = [-1.0, 1.0];

/// Asserts that no block's gradient has an error above the bound, for uniform inputs in `range` and independent dy.
fn gradient_is_exact(
    name: &str,
    single: &impl Layer<f32>,
    double: &impl Layer<f64>,
    range: [f64; 2],
    shape: BatchShape<'_>,
) {
    let dims = single.dims();
    let [x, dy] = [(1, dims.input, range), (2, dims.output, POSITIVE)]
        .map(|(stream, width, range)| uniform(stream, shape.rows() * width, range));
    gradient_of_is_exact(&format!("{name}, inputs {range:?}"), single, double, [&x, &dy], shape);
}

/// Asserts that no block's gradient has an error above the bound, for inputs and gradient `[x, dy]`.
fn gradient_of_is_exact(
    name: &str,
    single: &impl Layer<f32>,
    double: &impl Layer<f64>,
    [x, dy]: [&[f32]; 2],
    shape: BatchShape<'_>,
) {
    let w = initialize::<f32>(single, SEED).unwrap();
    let [_, found] = pass(single, [&w, x, dy], shape);
    let [_, truth] = pass(double, [&w, x, dy], shape);
    let mut all = Vec::new();
    single.blocks(&mut |block| {
        let range = block.range.clone();
        all.push((block.name.to_string(), error(&found[range.clone()], &truth[range])));
    });
    for (block, error) in &all {
        println!("{name}, {} x {} rows: {block} {error:.2}", shape.batch, shape.steps);
    }
    assert!(all.iter().all(|(_, error)| *error <= BOUND), "{name}, seed {SEED}: {all:?}");
}

fn both(name: &str, layer: &(impl Layer<f32> + Layer<f64>), range: [f64; 2], shape: BatchShape<'_>) {
    gradient_is_exact(name, layer, layer, range, shape);
}

#[test]
fn linear_gradients_over_many_rows_keep_their_digits() {
    for range in [POSITIVE, CENTRED] {
        both("linear", &Linear::new(WIDTH, WIDTH), range, BatchShape::batch(ROWS));
    }
    both("linear", &Linear::new(3, 40), POSITIVE, BatchShape::batch(ROWS));
    both("gated linear", &GatedLinear::new(WIDTH, WIDTH, Tanh), POSITIVE, BatchShape::batch(ROWS));
}

#[test]
fn norm_gradients_over_many_rows_keep_their_digits() {
    for range in [POSITIVE, CENTRED] {
        both("layer norm", &LayerNorm::new(WIDTH), range, BatchShape::batch(ROWS));
        both("rms norm", &RmsNorm::new(WIDTH), range, BatchShape::batch(ROWS));
        both("group norm", &GroupNorm::new(WIDTH, 2).unwrap(), range, BatchShape::batch(ROWS));
    }
}

/// Normalized over the rows, a column has the sum 0. Against a gradient that does not depend on it the gain's is of the
/// size √rows, so that an error of each row in one direction is visible.
#[test]
fn batch_norm_gradients_over_many_rows_keep_their_digits() {
    let (layer, shape) = (BatchNorm::new(WIDTH), BatchShape::batch(ROWS));
    for (i, range) in [CENTRED, POSITIVE, [1000.5, 1001.5], CENTRED, CENTRED].into_iter().enumerate() {
        let x = uniform(2 * i as u64 + 1, ROWS * WIDTH, range);
        let apart = uniform(2 * i as u64 + 2, ROWS * WIDTH, POSITIVE);
        let along: Vec<f32> = x.iter().map(|x| 1.0 + (x - range[0] as f32) / 2.0).collect();
        for (name, dy) in [("apart", &apart), ("along", &along)] {
            gradient_of_is_exact(&format!("batch norm {name}, {range:?}"), &layer, &layer, [&x, dy], shape);
        }
    }
}

#[test]
fn slope_gradients_over_many_rows_keep_their_digits() {
    for layer in [PRelu::new(WIDTH), PRelu::new(WIDTH).per_unit(), PRelu::new(1)] {
        both("prelu", &layer, CENTRED, BatchShape::batch(ROWS));
    }
}

#[test]
fn residual_scale_gradient_over_many_rows_keeps_its_digits() {
    fn residual<T: Scalar>() -> Residual<T> {
        Residual::new(ActivationLayer::new(WIDTH, Identity)).unwrap().scale(BranchScale::Learned(0.5)).unwrap()
    }
    for range in [POSITIVE, CENTRED] {
        gradient_is_exact("residual", &residual::<f32>(), &residual::<f64>(), range, BatchShape::batch(ROWS));
    }
}

fn recurrent<C: Cell + Clone>(name: &str, cell: C, batch_shapes: &[BatchShape<'_>]) {
    for &shape in batch_shapes {
        both(name, &Recurrent::new(3, 2, cell.clone()), POSITIVE, shape);
    }
}

#[test]
fn elman_gradients_over_many_steps_keep_their_digits() {
    recurrent("elman", Elman::new(Tanh), &[BatchShape::ragged(&[ROWS]), BatchShape::sequences(ROWS / 4, 4)]);
}

#[test]
fn lstm_gradients_over_many_steps_keep_their_digits() {
    let lengths: Vec<usize> = (0..32).map(|sample| if sample < 16 { 4096 } else { 4000 }).collect();
    recurrent("lstm", Lstm::new(), &[BatchShape::sequences(1, ROWS), BatchShape::ragged(&lengths)]);
}

#[test]
fn gru_gradients_over_many_steps_keep_their_digits() {
    recurrent("gru", Gru::new(), &[BatchShape::sequences(32, ROWS / 32)]);
}

#[test]
fn equal_lengths_as_a_ragged_batch_give_the_same_gradient_bits() {
    let layer = Recurrent::new(3, 2, Lstm::new());
    let w = initialize::<f32>(&layer, SEED).unwrap();
    let (x, dy) = (uniform(1, 3 * 3 * 5000, POSITIVE), uniform(2, 2 * 3 * 5000, POSITIVE));
    let gradient = |shape| pass::<f32>(&layer, [&w, &x, &dy], shape);
    assert_eq!(gradient(BatchShape::sequences(3, 5000)), gradient(BatchShape::ragged(&[5000; 3])));
}

#[test]
fn gradients_over_many_rows_have_the_same_bits_on_any_number_of_threads() {
    fn gradient(layer: &impl Layer<f32>, shape: BatchShape<'_>, threads: usize) -> Vec<f32> {
        let dims = layer.dims();
        let w = initialize::<f32>(layer, SEED).unwrap();
        let mut workspace = Workspace::new(layer, shape).unwrap();
        workspace.set_threads(threads).unwrap();
        let output = workspace.forward(&w, &uniform(1, shape.rows() * dims.input, POSITIVE), shape).unwrap();
        output.dy.copy_from_slice(&uniform(2, shape.rows() * dims.output, POSITIVE));
        workspace.backward(&w).unwrap().to_vec()
    }
    fn same_bits(layer: &impl Layer<f32>, shape: BatchShape<'_>) {
        let alone = gradient(layer, shape, 1);
        for threads in 2..4 {
            assert!(gradient(layer, shape, threads) == alone, "{layer:?}, {threads} threads");
        }
    }
    same_bits(&Linear::new(70, 70), BatchShape::batch(10_000));
    same_bits(&LayerNorm::new(300), BatchShape::batch(2_000));
    same_bits(&Recurrent::new(16, 24, Gru::new()), BatchShape::sequences(16, 800));
}

#[test]
fn mean_over_many_steps_keeps_its_digits() {
    let lengths: Vec<usize> = [ROWS / 8, ROWS / 8, 1000, 33, 1].to_vec();
    for shape in [BatchShape::sequences(1, ROWS), BatchShape::sequences(3, ROWS / 4), BatchShape::ragged(&lengths)] {
        let layer = MeanOverSteps::new(WIDTH);
        let x = uniform(1, shape.rows() * WIDTH, POSITIVE);
        let dy = vec![0.0; shape.batch * WIDTH];
        let [found, _] = pass::<f32>(&layer, [&[], &x, &dy], shape);
        let [truth, _] = pass::<f64>(&layer, [&[], &x, &dy], shape);
        let error = error(&found, &truth);
        assert!(error <= BOUND, "{shape:?}, seed {SEED}: {error}");
    }
}

/// The loss and the total weight of all rows.
fn loss<T: Scalar>(loss: &impl Loss<T>, [y, weights]: [&[f32]; 2], target: Target<'_, T>) -> Vec<f64> {
    let (y, weights) = (cast::<T>(y), cast::<T>(weights));
    let mut dy = vec![T::zero(); y.len()];
    let value = loss.evaluate(WIDTH, &y, target, Some(&weights), &mut dy).unwrap();
    vec![value.to_f64().unwrap(), loss.total_weight(WIDTH, target, Some(&weights))]
}

#[test]
fn losses_over_many_rows_keep_their_digits() {
    let (y, weights) = (uniform(1, ROWS * WIDTH, CENTRED), uniform(2, ROWS, POSITIVE));
    let classes: Vec<usize> = (0..ROWS).map(|row| row * 7 % WIDTH).collect();
    let targets = uniform(3, ROWS * WIDTH, [0.0, 1.0]);
    let (single, double) = (Target::Values(&targets[..]), cast::<f64>(&targets));
    let (double, input) = (Target::Values(&double[..]), [&y[..], &weights[..]]);
    let pairs = [
        (
            "mean squared",
            loss::<f32>(&MeanSquaredError::new(), input, single),
            loss(&MeanSquaredError::new(), input, double),
        ),
        (
            "binary",
            loss::<f32>(&BinaryCrossEntropy::new(), input, single),
            loss(&BinaryCrossEntropy::new(), input, double),
        ),
        (
            "classes",
            loss::<f32>(&CrossEntropy::new(), input, Target::Classes(&classes)),
            loss::<f64>(&CrossEntropy::new(), input, Target::Classes(&classes)),
        ),
        ("probabilities", loss::<f32>(&CrossEntropy::new(), input, single), loss(&CrossEntropy::new(), input, double)),
    ];
    for (name, found, truth) in pairs {
        for (found, truth) in found.iter().zip(&truth) {
            let error = error(&[*found], &[*truth]);
            assert!(error <= BOUND, "{name}, seed {SEED}: {found} is not {truth}, by {error}");
        }
    }
}

/// The gradient of a table of `vocabulary` rows of `WIDTH` values, for these indices in rows of `columns`, with its ε:
/// in `T`, and from the sums of the same gradients in `f64`.
fn table_gradient<T: Scalar>(vocabulary: usize, columns: usize, indices: &[usize]) -> ([Vec<f64>; 2], f64) {
    let layer = Embedding::new(vocabulary, WIDTH).columns(columns);
    let shape = BatchShape::batch(indices.len() / columns);
    let (w, x) = (vec![T::zero(); vocabulary * WIDTH], indices.iter().map(|&i| scalar(i as f64)).collect::<Vec<T>>());
    let dy: Vec<T> = cast(&uniform(2, indices.len() * WIDTH, POSITIVE));
    let mut workspace = Workspace::new(&layer, shape).unwrap();
    workspace.forward(&w, &x, shape).unwrap().dy.copy_from_slice(&dy);
    let found = wide(workspace.backward(&w).unwrap());
    let mut truth = vec![0.0; found.len()];
    for (place, &index) in indices.iter().enumerate() {
        let sum = truth[index * WIDTH..][..WIDTH].iter_mut();
        sum.zip(wide(&dy[place * WIDTH..][..WIDTH])).for_each(|(sum, dy)| *sum += dy);
    }
    ([found, truth], chainrule::to_f64(T::epsilon()))
}

/// Asserts that the gradient of each index has an error within the bound, relative to its own largest value.
fn table_is_exact<T: Scalar>(vocabulary: usize, columns: usize, indices: &[usize]) {
    let ([found, truth], epsilon) = table_gradient::<T>(vocabulary, columns, indices);
    for (i, (found, truth)) in found.chunks(WIDTH).zip(truth.chunks(WIDTH)).enumerate() {
        let most = truth.iter().fold(0f64, |most, value| most.max(value.abs()));
        let off = found.iter().zip(truth).fold(0f64, |most, (found, truth)| most.max((found - truth).abs()));
        assert!(off <= BOUND * epsilon * most, "index {i} of {vocabulary}, seed {SEED}: off by {off}, {epsilon:e}");
    }
}

#[test]
fn table_gradients_of_frequent_indices_keep_their_digits() {
    table_is_exact::<f32>(1, 1, &vec![0; ROWS]);
    let skewed: Vec<usize> = (0..ROWS).map(|i| if i % 3 == 0 { i * 7919 % 50 } else { 17 }).collect();
    for columns in [1, 4] {
        table_is_exact::<f32>(50, columns, &skewed);
    }
    table_is_exact::<f64>(50, 2, &skewed);
    #[cfg(feature = "half")]
    {
        table_is_exact::<half::f16>(50, 1, &skewed[..8_000]);
        table_is_exact::<half::bf16>(50, 1, &skewed);
    }
}

#[cfg(feature = "half")]
#[test]
fn table_gradient_counts_beyond_the_digits_of_the_format() {
    let (layer, shape) = (Embedding::new(2, 1), BatchShape::batch(4096 + 3));
    let x: Vec<half::f16> = (0..4099).map(|i| half::f16::from_f32(if i % 1400 == 1 { 0.0 } else { 1.0 })).collect();
    let mut workspace = Workspace::new(&layer, shape).unwrap();
    let w = [half::f16::ZERO; 2];
    workspace.forward(&w, &x, shape).unwrap().dy.fill(half::f16::ONE);
    assert_eq!(wide(workspace.backward(&w).unwrap()), [3.0, 4096.0]);
    // A second pass is added.
    workspace.forward(&w, &x, shape).unwrap().dy.fill(half::f16::ONE);
    assert_eq!(wide(workspace.accumulate(&w).unwrap()), [6.0, 8192.0]);
}

/// `y = w₁ x + w₂`.
#[derive(Debug)]
struct Line;

impl RowMap for Line {
    fn dims(&self) -> Dims {
        Dims::new(1, 1, 2)
    }
    fn row<T: Scalar>(&self, w: &[T], x: &[T], y: &mut [T]) {
        y[0] = w[0] * x[0] + w[1];
    }
}

#[test]
fn dual_layer_gradients_over_many_rows_keep_their_digits() {
    for range in [POSITIVE, CENTRED] {
        gradient_is_exact("line", &DualLayer(Line), &DualLayer(Line), range, BatchShape::batch(ROWS));
    }
}

/// `Σ y t`: its gradient is the target t.
#[derive(Debug)]
struct Given;

impl Loss<f32> for Given {
    fn reduction(&self) -> Reduction {
        Reduction::Sum
    }

    fn evaluate(
        &self,
        _width: usize,
        y: &[f32],
        target: Target<'_, f32>,
        _weights: Option<&[f32]>,
        dy: &mut [f32],
    ) -> Result<f32, Error> {
        let Target::Values(target) = target else { return Err(Error::EmptyBatch) };
        dy.copy_from_slice(target);
        Ok(y.iter().zip(target).map(|(y, t)| y * t).sum())
    }
}

/// The gradient of the last update.
#[derive(Default)]
struct Last(Vec<f32>);

impl GradientMonitor<f32> for Last {
    fn event(&mut self, event: &Event<'_, f32>) {
        if let Event::Gradient { dw, .. } = event {
            self.0 = dw.to_vec();
        }
    }
}

/// One update from all rows, of which a pass has only some: plain, and in shards that are larger than a batch.
#[test]
fn gradient_accumulated_over_many_parts_keeps_its_digits() {
    const COLUMNS: usize = 3;
    let (x, t) = (uniform(1, ROWS * COLUMNS, POSITIVE), uniform(2, ROWS * COLUMNS, POSITIVE));
    let data = Dataset::rows(COLUMNS, &x, Target::Values(&t)).unwrap();
    let mut truth = [0.0; COLUMNS * (COLUMNS + 1)];
    for (x, t) in x.chunks(COLUMNS).zip(t.chunks(COLUMNS)) {
        for (o, &t) in t.iter().enumerate() {
            x.iter().enumerate().for_each(|(i, &x)| truth[o * COLUMNS + i] += f64::from(x) * f64::from(t));
            truth[COLUMNS * COLUMNS + o] += f64::from(t);
        }
    }
    let all: Vec<usize> = (0..ROWS).collect();
    let gradient = |batch_size: usize, threads: usize, parallel: Option<DataParallel<f32>>| -> Vec<f32> {
        let accumulation_steps = ROWS / batch_size;
        let settings = TrainConfig { batch_size, accumulation_steps, threads, ..TrainConfig::default() };
        let network = Linear::new(COLUMNS, COLUMNS);
        let mut run = Trainer::new(network, Given, Sgd::new(0.0), settings).unwrap();
        parallel.into_iter().for_each(|parallel| run.set_data_parallel(parallel).unwrap());
        let mut last = Last::default();
        run.step(&data, &mut Batch::new(&data, batch_size), &all, &mut last).unwrap();
        last.0
    };
    for batch_size in [8, 32, 4096] {
        let alone = gradient(batch_size, 1, None);
        let sharded = gradient(batch_size, 1, Some(DataParallel::new(())));
        for (name, found) in [("plain", &alone), ("in shards", &sharded)] {
            let (found, bias) = (wide(found), COLUMNS * COLUMNS);
            for range in [0..bias, bias..truth.len()] {
                let error = error(&found[range.clone()], &truth[range.clone()]);
                println!("{name}, batches of {batch_size}, {range:?}: {error:.2}");
                assert!(error <= BOUND, "{name}, batches of {batch_size}, {range:?}, seed {SEED}: {error}");
            }
        }
        assert_eq!(gradient(batch_size, 2, None), alone);
        let ranks = thread::scope(|scope| {
            let ranks = Local::new(2).unwrap();
            let ranks =
                ranks.into_iter().map(|rank| scope.spawn(|| gradient(batch_size, 1, Some(DataParallel::new(rank)))));
            ranks.collect::<Vec<_>>().into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(ranks.iter().all(|found| *found == sharded));
    }
}
