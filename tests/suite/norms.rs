//! Norms over groups and over the rows of a batch.

use crate::{
    numbers::{bits, numbers, seeded_numbers},
    parity::reference::widened,
};
use chainrule::{
    BatchShape, Error, Layer, LayerRule, Mode, Scalar,
    dataset::Dataset,
    diagnosis::first_check,
    initializer::Normal,
    layer::{BatchNorm, Context, Forward, GroupNorm, LayerNorm, Linear, Samples, Sequential, initialize},
    loss::{MeanSquaredError, Target},
    scalar, to_f64,
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
    workspace::Workspace,
};

/// Output and gradients (of input and parameters) of a pass.
fn pass<T: Scalar>(layer: &dyn Layer<T>, w: &[T], [x, dy]: [&[T]; 2], shape: BatchShape<'_>) -> [Vec<T>; 3] {
    let mut workspace = Workspace::new(layer, shape).unwrap();
    workspace.compute_input_gradient(true);
    let output = workspace.forward(w, x, shape).unwrap();
    let y = output.y.to_vec();
    output.dy.copy_from_slice(dy);
    let dw = workspace.backward(w).unwrap().to_vec();
    [y, workspace.input_gradient().to_vec(), dw]
}

/// Rows of three groups, each of another size: values of a group are 0.5 to 1.5 times `sizes`.
fn rows<T: Scalar>(count: usize, width: usize, sizes: [f64; 3]) -> Vec<T> {
    let values = numbers::<f64>(count * width);
    let size = |i: usize| sizes[i % width / (width / 3)];
    values.iter().enumerate().map(|(i, x)| scalar(size(i) * (1.0 + 0.5 * x / (1.0 + x.abs())))).collect()
}

fn groups_are_rows_of_a_layer_norm<T: Scalar>(sizes: [f64; 3]) {
    let (count, width, size) = (5, 12, 4);
    let (x, dy) = (rows::<T>(count, width, sizes), rows::<T>(count, width, [1.0; 3]));
    let (groups, alone) = (GroupNorm::new(width, 3).unwrap().without_affine(), LayerNorm::new(size).without_affine());
    let found = pass(&groups, &[], [&x, &dy], BatchShape::batch(count));
    let expected = pass(&alone, &[], [&x, &dy], BatchShape::batch(3 * count));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(bits(&widened(found)), bits(&widened(expected)), "{sizes:?}");
    }
    // One group is a layer norm, parameters included.
    let whole = LayerNorm::new(width);
    let w: Vec<T> = numbers::<T>(2 * width);
    let found = pass(&GroupNorm::new(width, 1).unwrap(), &w, [&x, &dy], BatchShape::batch(count));
    let expected = pass(&whole, &w, [&x, &dy], BatchShape::batch(count));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(bits(&widened(found)), bits(&widened(expected)), "{sizes:?}");
    }
}

/// Also where squares overflow or vanish in the format: `1e19² > f32::MAX`.
#[test]
fn group_norm_has_the_bits_of_a_layer_norm_over_each_group() {
    for sizes in [[1.0, 1e-30, 1e19], [1e30, 1.0, 1e-3]] {
        groups_are_rows_of_a_layer_norm::<f32>(sizes);
        groups_are_rows_of_a_layer_norm::<f64>(sizes);
    }
    #[cfg(feature = "half")]
    groups_are_rows_of_a_layer_norm::<half::f16>([1.0, 1e-3, 3e4]);
    #[cfg(feature = "half")]
    groups_are_rows_of_a_layer_norm::<half::bf16>([1.0, 1e-30, 1e19]);
}

/// y, dx and dw by the equations, with plain loops.
#[test]
fn group_norm_agrees_with_its_equations() {
    let (count, width, groups, epsilon) = (7, 6, 2, 1e-5);
    let (size, n) = (width / groups, (width / groups) as f64);
    let layer = GroupNorm::new(width, groups).unwrap();
    let (x, dy, w) = (rows::<f64>(count, width, [1.0, 2.0, 3.0]), numbers::<f64>(count * width), numbers(2 * width));
    let (gain, bias) = w.split_at(width);
    let (mut y, mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
    for row in 0..count {
        for g in 0..groups {
            let own: Vec<usize> = (0..size).map(|i| g * size + i).collect();
            let at = |i: usize| row * width + i;
            let mean = own.iter().map(|&i| x[at(i)]).sum::<f64>() / n;
            let deviation = (own.iter().map(|&i| (x[at(i)] - mean).powi(2)).sum::<f64>() / n + epsilon).sqrt();
            let unit = |i: usize| (x[at(i)] - mean) / deviation;
            let d = |i: usize| gain[i] * dy[at(i)];
            let (mean_d, mean_du) =
                (own.iter().map(|&i| d(i)).sum::<f64>() / n, own.iter().map(|&i| d(i) * unit(i)).sum::<f64>() / n);
            for &i in &own {
                y[at(i)] = gain[i] * unit(i) + bias[i];
                dx[at(i)] = (d(i) - mean_d - unit(i) * mean_du) / deviation;
                dw[i] += dy[at(i)] * unit(i);
                dw[width + i] += dy[at(i)];
            }
        }
    }
    let found = pass(&layer, &w, [&x, &dy], BatchShape::batch(count));
    for (found, expected) in found.iter().zip([&y, &dx, &dw]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-13 * (1.0 + expected.abs()), "{found} for {expected}");
        }
    }
}

/// y, dx, dw, and the running statistics after the pass, by the equations with plain loops.
fn batch_norm_by_hand(w: &[f64], [x, dy]: [&[f64]; 2], width: usize) -> [Vec<f64>; 4] {
    let (epsilon, momentum, n) = (1e-5, 0.1, (x.len() / width) as f64);
    let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let (mut dw, mut running) = (vec![0.0; 2 * width], vec![0.0; 2 * width]);
    for j in 0..width {
        let column = |of: &[f64]| of.iter().skip(j).step_by(width).copied().collect::<Vec<f64>>();
        let (own, d) = (column(x), column(dy));
        let mean = own.iter().sum::<f64>() / n;
        let squares = own.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        let deviation = (squares / n + epsilon).sqrt();
        let unit: Vec<f64> = own.iter().map(|x| (x - mean) / deviation).collect();
        let (sum, sum_u) = (d.iter().sum::<f64>(), d.iter().zip(&unit).map(|(d, u)| d * u).sum::<f64>());
        for (row, (u, d)) in unit.iter().zip(&d).enumerate() {
            y[row * width + j] = w[j] * u + w[width + j];
            dx[row * width + j] = w[j] * (d - sum / n - u * sum_u / n) / deviation;
        }
        (dw[j], dw[width + j]) = (sum_u, sum);
        running[j] = momentum * mean;
        running[width + j] = (1.0 - momentum) + momentum * squares / (n - 1.0);
    }
    [y, dx, dw, running]
}

fn assert_near(found: &[f64], expected: &[f64], unit: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let most = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= unit * most, "{what}[{i}]: {found} for {expected}, largest {most}");
    }
}

/// The statistics are those of all rows that exist: of a ragged batch, and of more columns than a register has.
#[test]
fn batch_norm_agrees_with_its_equations() {
    for (width, shape) in [
        (3, BatchShape::batch(7)),
        (37, BatchShape::batch(300)),
        (5, BatchShape::sequences(3, 4)),
        (5, BatchShape::ragged(&[4, 3, 3, 1])),
        (2, BatchShape::ragged(&[2])),
    ] {
        let rows = shape.rows();
        let (x, dy, w) =
            (numbers::<f64>(rows * width), numbers::<f64>(rows * width + 1)[1..].to_vec(), numbers(2 * width));
        let mut workspace = Workspace::new(BatchNorm::new(width), shape).unwrap();
        workspace.compute_input_gradient(true);
        let output = workspace.forward(&w, &x, shape).unwrap();
        let y = output.y.to_vec();
        output.dy.copy_from_slice(&dy);
        let dw = workspace.backward(&w).unwrap().to_vec();
        let expected = batch_norm_by_hand(&w, [&x, &dy], width);
        let found = [&y[..], workspace.input_gradient(), &dw, workspace.buffers()];
        // Of two rows, dx is a difference of nearly equal terms.
        let unit = if rows == 2 { 1e-9 } else { 1e-13 };
        for ((found, expected), what) in found.iter().zip(&expected).zip(["y", "dx", "dw", "running"]) {
            assert_near(found, expected, unit, &format!("{shape:?}: {what}"));
        }
        // Evaluation is a linear map by the running statistics.
        let y = workspace.infer(&w, &x, shape).unwrap();
        let [.., running] = &expected;
        let by_hand = |(i, x): (usize, &f64)| {
            let j = i % width;
            w[j] * (x - running[j]) / (running[width + j] + 1e-5).sqrt() + w[width + j]
        };
        assert_near(y, &x.iter().enumerate().map(by_hand).collect::<Vec<_>>(), 1e-13, "evaluation");
    }
}

/// Columns whose squares overflow or vanish in the format, against the same columns in f64.
#[test]
fn batch_norm_of_huge_and_tiny_columns_is_exact() {
    fn all<T: Scalar>(sizes: [f64; 3], unit: f64) {
        let (width, shape) = (12, BatchShape::batch(9));
        let (x, dy) = (rows::<T>(9, width, sizes), numbers::<T>(10 * width)[width / 2..][..9 * width].to_vec());
        let plain = BatchNorm::new(width).without_affine();
        let found = pass(&plain, &[], [&x, &dy], shape);
        let expected = pass::<f64>(&plain, &[], [&widened(&x), &widened(&dy)], shape);
        for (of, what) in ["y", "dx"].iter().enumerate() {
            for j in 0..width {
                let column = |all: &[f64]| all.iter().skip(j).step_by(width).copied().collect::<Vec<f64>>();
                let place = format!("{sizes:?}, {what} of column {j}");
                // Below the format a gradient is 0.
                let expected = column(&expected[of]);
                let least = to_f64(T::min_positive_value());
                if expected.iter().any(|x| x.abs() > 1e3 * least) {
                    assert_near(&column(&widened(&found[of])), &expected, unit, &place);
                }
            }
        }
    }
    all::<f32>([1.0, 1e-30, 1e19], 1e-5);
    all::<f32>([1e25, 2e38, 1e-3], 1e-5);
    #[cfg(feature = "half")]
    all::<half::bf16>([1.0, 1e-30, 1e19], 1e-2);
    #[cfg(feature = "half")]
    all::<half::f16>([1.0, 1e-3, 3e4], 1e-2);
}

/// The column `j` of rows of `width` values.
fn column<T: Copy>(all: &[T], j: usize, width: usize) -> Vec<T> {
    all.iter().skip(j).step_by(width).copied().collect()
}

/// Columns of every size, and of zeros, beside one another: y, dx and the running statistics of each are those of a
/// norm of that column alone, to the bit.
#[test]
fn batch_norm_has_the_bits_of_a_norm_over_each_column() {
    let (count, width, shape) = (9, 37, BatchShape::batch(9));
    let sizes = [1.0, 1e-30, 1e19, 0.0, 3e-3, 2e38, 7e-39, 1e4];
    let x: Vec<f32> =
        numbers::<f64>(count * width).iter().enumerate().map(|(i, x)| (x * sizes[i % width % 8]) as f32).collect();
    let dy = seeded_numbers::<f32>(3, count * width);
    let run = |x: &[f32], dy: &[f32], width: usize| {
        let mut workspace = Workspace::new(BatchNorm::new(width).without_affine(), shape).unwrap();
        workspace.compute_input_gradient(true);
        let output = workspace.forward(&[], x, shape).unwrap();
        let y = output.y.to_vec();
        output.dy.copy_from_slice(dy);
        workspace.backward(&[]).unwrap();
        let buffers = workspace.buffers();
        [y, workspace.input_gradient().to_vec(), buffers[..width].to_vec(), buffers[width..].to_vec()]
    };
    let whole = run(&x, &dy, width);
    for j in 0..width {
        let alone = run(&column(&x, j, width), &column(&dy, j, width), 1);
        for (whole, alone) in whole.iter().zip(&alone) {
            assert_eq!(bits(&widened(&column(whole, j, width))), bits(&widened(alone)), "column {j}");
        }
    }
}

/// Values of a column far from 0 beside its spread, huge and tiny: y and the running statistics are those of f64.
#[test]
fn batch_norm_of_columns_far_from_zero_or_huge_has_the_statistics_of_f64() {
    let (width, shape) = (4, BatchShape::batch(7));
    // The unit in the last place at 2²⁰ is 1/8, and the mean of seven multiples is none.
    let steps = [0.0, 1.0, 5.0, -3.0, 2.0, 0.0, 4.0f64];
    let of = |step: f64| [1048576.0 + step / 8.0, 5e18 * (step - 1.0), 1e-25 * (1.0 + step), step];
    let x: Vec<f32> = steps.iter().flat_map(|&step| of(step)).map(|x| x as f32).collect();
    let w: Vec<f32> = [[2.0; 4], [0.0; 4]].concat();
    let mut workspace = Workspace::new(BatchNorm::new(width), shape).unwrap();
    let y = workspace.forward(&w, &x, shape).unwrap().y.to_vec();
    let [expected, _, _, running] = batch_norm_by_hand(&widened(&w), [&widened(&x), &[0.0; 28]], width);
    for j in 0..width {
        let name = format!("column {j}");
        assert_near(&column(&widened(&y), j, width), &column(&expected, j, width), 1e-5, &name);
        let statistics = [workspace.buffers()[j], workspace.buffers()[width + j]].map(f64::from);
        for (found, expected) in statistics.into_iter().zip([running[j], running[width + j]]) {
            assert!((found / expected - 1.0).abs() < 1e-5, "{name}: {found:e} for {expected:e}");
        }
    }
}

/// The sums over the rows overflow on the way: those of a fraction of the gradient do not.
#[test]
fn batch_norm_of_gradients_near_the_limit_of_the_format_is_exact() {
    let (width, shape) = (2, BatchShape::batch(6));
    let w = [0.125f32, -0.25, 0.0, 0.0];
    // u is ±1, nearly, so that the sums end within the format.
    let x: Vec<f32> = (0..12).map(|i| if i / 2 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let dy: Vec<f32> = [3e38f32, 3e38, -3e38, -2e38, 1e38, -1e38].iter().flat_map(|&d| [d, 0.5 * d]).collect();
    let found = pass(&BatchNorm::new(width), &w, [&x, &dy], shape);
    let [y, dx, dw, _] = batch_norm_by_hand(&widened(&w), [&widened(&x), &widened(&dy)], width);
    for (found, (expected, what)) in found.iter().zip([(y, "y"), (dx, "dx"), (dw, "dw")]) {
        assert_near(&widened(found), &expected, 1e-5, what);
    }
}

/// The sum over a row of gradients of one sign overflows, and dx does not.
#[test]
fn layer_norm_of_gradients_near_the_limit_of_the_format_is_exact() {
    let (width, shape) = (8, BatchShape::batch(3));
    let layer = LayerNorm::new(width).without_affine();
    let x = seeded_numbers::<f32>(5, 24);
    let dy: Vec<f32> = seeded_numbers::<f32>(6, 24).iter().map(|d| 3e38 * (0.8 + 0.2 * d)).collect();
    let [_, found, _] = pass(&layer, &[], [&x, &dy], shape);
    let [_, expected, _] = pass::<f64>(&layer, &[], [&widened(&x), &widened(&dy)], shape);
    assert_near(&widened(&found), &expected, 1e-5, "dx");
}

/// `max |γ|/√ε`: with equal rows the deviation is √ε, and a gradient of sum 0 is multiplied by just that.
#[test]
fn batch_norm_states_its_largest_gain() {
    let (w, shape) = ([0.5, -3.0, 1.0, 0.0], BatchShape::batch(2));
    let layer = BatchNorm::new(2).epsilon(0.25).unwrap();
    let bound = Layer::<f64>::gain_bound(&layer, &w, shape).unwrap();
    assert!((6.0..6.0 + 1e-12).contains(&bound), "{bound}");
    let [_, dx, _] = pass(&layer, &w, [&[1.0; 4], &[0.0, 1.0, 0.0, -1.0]], shape);
    assert_near(&dx, &[0.0, -6.0, 0.0, 6.0], 1e-14, "dx");
    let plain = Layer::<f64>::gain_bound(&layer.without_affine(), &[], shape).unwrap();
    assert!((2.0..2.0 + 1e-12).contains(&plain), "{plain}");
}

#[test]
fn batch_norm_has_the_same_bits_on_any_number_of_threads() {
    let network = || {
        let mut network = Sequential::<f32>::input(40);
        for _ in 0..4 {
            network = network.linear(300).batch_norm().relu();
        }
        network.linear(3).build().unwrap()
    };
    let (shape, mut all) = (BatchShape::batch(300), Vec::new());
    for threads in [1, 4] {
        let mut workspace = Workspace::new(network(), shape).unwrap();
        workspace.set_threads(threads).unwrap();
        workspace.compute_input_gradient(true);
        let w = initialize(workspace.network(), 1).unwrap();
        let output = workspace.forward(&w, &numbers::<f32>(300 * 40), shape).unwrap();
        let y = output.y.to_vec();
        output.dy.copy_from_slice(&numbers::<f32>(y.len()));
        let dw = workspace.backward(&w).unwrap().to_vec();
        let of = [y, dw, workspace.input_gradient().to_vec(), workspace.buffers().to_vec()];
        all.push(of.map(|values| bits(&widened(&values))));
    }
    assert!(all[0] == all[1]);
}

#[test]
fn batch_norm_predicts_samples_one_by_one_as_together() {
    let network = Sequential::<f64>::input(2).linear(3).batch_norm().tanh().linear(1).build().unwrap();
    assert_eq!(network.samples(), Samples::CoupledInTraining);
    let (samples, x) = (2500, numbers::<f64>(5000));
    let targets = numbers::<f64>(samples);
    let data = Dataset::rows(2, &x, Target::Values(&targets)).unwrap();
    let settings = TrainConfig { epochs: 1, batch_size: 100, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
    trainer.fit(&data).unwrap();
    let together = trainer.predict(&data).unwrap();
    for sample in [0, 1, 1023, 1024, 2499] {
        let alone = trainer.predict(&data.select(&[sample]).unwrap()).unwrap();
        assert_eq!(bits(&alone), bits(&together[sample..=sample]), "sample {sample}");
    }
    let model = trainer.into_model().unwrap();
    let mut stream = model.stream().unwrap();
    assert_eq!(bits(stream.step(&x[..2]).unwrap()), bits(&together[..1]));
}

/// A batch in parts: each part has its own statistics, and the gradients are added.
#[test]
fn batch_norm_normalizes_the_parts_of_an_accumulated_update_apart() {
    let network = Sequential::<f64>::input(3).linear(4).batch_norm().tanh().linear(2).build().unwrap();
    let (w, x, dy) = (initialize(&network, 1).unwrap(), numbers::<f64>(30), numbers::<f64>(20));
    let shape = BatchShape::batch(5);
    let mut workspace = Workspace::new(&network, BatchShape::batch(10)).unwrap();
    let mut gradients = Vec::new();
    for (x, dy) in x.chunks(15).zip(dy.chunks(10)) {
        workspace.forward(&w, x, shape).unwrap().dy.copy_from_slice(dy);
        gradients.push(workspace.backward(&w).unwrap().to_vec());
    }
    for (i, (x, dy)) in x.chunks(15).zip(dy.chunks(10)).enumerate() {
        workspace.forward(&w, x, shape).unwrap().dy.copy_from_slice(dy);
        if i == 0 {
            workspace.backward(&w).unwrap()
        } else {
            workspace.accumulate(&w).unwrap()
        };
    }
    let expected: Vec<f64> = gradients[0].iter().zip(&gradients[1]).map(|(a, b)| a + b).collect();
    assert_near(workspace.gradient(), &expected, 1e-14, "dw");
    workspace.forward(&w, &x, BatchShape::batch(10)).unwrap().dy.copy_from_slice(&dy);
    let whole = workspace.backward(&w).unwrap();
    assert!(whole.iter().zip(&expected).any(|(whole, parts)| (whole - parts).abs() > 1e-3));
}

#[test]
fn batch_norm_over_one_row_is_refused_in_training() {
    let network = || Sequential::<f64>::input(2).linear(3).batch_norm().linear(1).build().unwrap();
    let w = initialize(&network(), 1).unwrap();
    let mut workspace = Workspace::new(network(), BatchShape::sequences(2, 2)).unwrap();
    let refused = |found: Error| {
        let Error::InvalidLayer { layer, rule } = &found else { panic!("{found}") };
        assert!(layer == "1" && matches!(rule, LayerRule::TooFewRows { found: 1 }), "{found}");
        assert!(found.to_string().contains("at least 2, found 1; choose a batch size"), "{found}");
    };
    refused(workspace.forward(&w, &[0.5; 2], BatchShape::batch(1)).unwrap_err());
    let first = workspace.buffers().to_vec();
    assert_eq!(first, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    // One sample of two steps has two rows, and other modes have no rule.
    workspace.forward(&w, &[0.5; 4], BatchShape::sequences(1, 2)).unwrap();
    workspace.forward_with(&w, &[0.5; 2], BatchShape::batch(1), Mode::Evaluate, &mut ()).unwrap();
    workspace.infer(&w, &[0.5; 2], BatchShape::batch(1)).unwrap();
    // A trainer says so before the first update: the last of 9 samples would be alone.
    let (x, y) = (numbers::<f64>(18), numbers::<f64>(9));
    let data = Dataset::rows(2, &x, Target::Values(&y)).unwrap();
    for (batch_size, fits) in [(4, false), (1, false), (8, false), (9, true), (100, true), (7, true)] {
        let settings = TrainConfig { epochs: 1, batch_size, ..TrainConfig::default() };
        let mut trainer = Trainer::new(network(), MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
        match trainer.fit(&data) {
            Ok(_) => assert!(fits, "{batch_size}"),
            Err(error) => {
                assert!(!fits && trainer.optimizer().steps() == 0, "{batch_size}: {error}");
                refused(error);
            }
        }
    }
    // After a summary of the sequence, one sample has one row.
    let summary = Sequential::<f64>::input(2).last_step().batch_norm().build().unwrap();
    let w = initialize(&summary, 1).unwrap();
    let mut workspace = Workspace::new(summary, BatchShape::sequences(1, 2)).unwrap();
    refused(workspace.forward(&w, &[0.5; 4], BatchShape::sequences(1, 2)).unwrap_err());
    // By hand, a pass follows the equation: y = β.
    let layer = BatchNorm::new(2);
    let (mut y, mut saved, mut none) = ([0.0; 2], [0.0; 8], ());
    let ctx = Context::new(BatchShape::batch(1), Mode::Train, &mut none);
    layer.forward(&[2.0, 2.0, 0.25, -0.5], Forward::new(&[3.0, 1e300], &mut y, &mut saved, &mut [], ctx));
    assert_eq!(y, [0.25, -0.5]);
}

/// A batch that is not finite leaves the running statistics of its columns.
#[test]
fn running_statistics_stay_finite() {
    let mut workspace = Workspace::new(BatchNorm::new(2).without_affine(), BatchShape::batch(2)).unwrap();
    let x = [1.0f32, f32::INFINITY, 3.0, 0.0];
    let y = workspace.forward(&[], &x, BatchShape::batch(2)).unwrap().y.to_vec();
    assert!(y[1].is_nan() && y[0] == -y[2]);
    let buffers = workspace.buffers().to_vec();
    assert_near(&widened(&buffers), &[0.2, 0.0, 0.9 + 0.1 * 2.0, 1.0], 1e-6, "buffers");
    // Nor does a mean enter whose variance is beyond the format.
    workspace.forward(&[], &[1.0, 2e38, 3.0, 1e38], BatchShape::batch(2)).unwrap();
    assert_eq!([1, 3].map(|i| workspace.buffers()[i]), [0.0, 1.0]);
}

#[test]
fn batch_norm_is_built_again_from_its_description() {
    let layer = BatchNorm::new(4).epsilon(1e-3).unwrap().momentum(0.25).unwrap().without_affine();
    let spec = Layer::<f64>::spec(&layer);
    assert_eq!(spec.build::<f32>().unwrap().spec(), spec);
    for momentum in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(BatchNorm::new(2).momentum(momentum), Err(Error::Parameter { .. })), "{momentum}");
    }
    assert!(BatchNorm::new(2).epsilon(0.0).is_err());
    #[cfg(feature = "serde")]
    {
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(text, r#"{"BatchNorm":{"width":4,"epsilon":0.001,"momentum":0.25,"affine":false}}"#);
        let read: chainrule::layer::LayerSpec = serde_json::from_str(&text.replace("0.25", "2.0")).unwrap();
        assert!(read.build::<f32>().is_err());
    }
    // A linear map to one unit, so that the table shows it.
    let network = Sequential::<f32>::input(3).layer(Linear::new(3, 4)).batch_norm().build().unwrap();
    assert!(format!("{network:?}").contains("BatchNorm 0.1"), "{network:?}");
}

#[test]
fn group_norm_is_built_again_from_its_description() {
    let network = Sequential::<f64>::input(6).linear(6).group_norm(3).build().unwrap();
    let spec = network.spec();
    assert_eq!(spec.build::<f32>().unwrap().spec(), spec);
    let blocks: Vec<(String, Vec<f64>)> = {
        let w = initialize(&network, 1).unwrap();
        let workspace = Workspace::new(&network, BatchShape::batch(1)).unwrap();
        let of = |block: &chainrule::Block<'static>| (block.name.to_string(), w[block.range.clone()].to_vec());
        workspace.blocks().iter().skip(2).map(of).collect()
    };
    assert_eq!(blocks, [("1.gain".into(), vec![1.0; 6]), ("1.bias".into(), vec![0.0; 6])]);
    #[cfg(feature = "serde")]
    {
        let text = serde_json::to_string(&spec).unwrap();
        assert!(text.contains(r#""GroupNorm":{"width":6,"groups":3,"epsilon":0.00001,"affine":true}"#), "{text}");
        assert_eq!(serde_json::from_str::<chainrule::layer::LayerSpec>(&text).unwrap(), spec);
        let text = text.replace(r#""groups":3"#, r#""groups":4"#);
        let read: chainrule::layer::LayerSpec = serde_json::from_str(&text).unwrap();
        assert!(read.build::<f32>().is_err());
    }
}

/// Weights of any size are brought to scale by the statistics of the batch, as in training: nothing is to be found.
#[test]
fn network_with_batch_norm_is_examined_by_the_statistics_of_the_batch() {
    let network = |norms: bool| {
        let mut network = Sequential::<f32>::input(16);
        for _ in 0..6 {
            network = network.layer(Linear::new(16, 16).weights(Normal { mean: 0.0, std: 5.0 }));
            network = if norms { network.batch_norm() } else { network };
            network = network.tanh();
        }
        network.linear(3).build().unwrap()
    };
    let (x, shape) = (seeded_numbers::<f32>(3, 64 * 16), BatchShape::batch(64));
    let x: Vec<f32> = x.iter().map(|x| x * 3f32.sqrt()).collect();
    let report = first_check(&network(false), &x, shape, None, 1).unwrap();
    assert!(!report.is_healthy(), "{report}");
    let report = first_check(&network(true), &x, shape, None, 1).unwrap();
    assert!(report.is_healthy(), "{report}");
}
