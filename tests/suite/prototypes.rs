//! Layers and losses without a backward pass of their own, by dual numbers, against those with one.

use crate::numbers::bits;
use chainrule::{
    Block, Error, Layer, Role, Scalar,
    dataset::Dataset,
    layer::{Dims, DualLayer, Linear, RowMap, Sequential, initialize},
    layer_laws,
    loss::{CrossEntropy, DualLoss, Loss, MeanSquaredError, Reduction, RowLoss, Target},
    loss_laws,
    testing::Dual,
    trainer::{TrainConfig, Trainer},
    transform::{Adam, Sgd},
};
use std::ops::Range;

/// `y = W x + b`, as `Linear`.
#[derive(Clone, Copy, Debug)]
struct Affine(usize, usize);

impl RowMap for Affine {
    fn dims(&self) -> Dims {
        Dims::new(self.0, self.1, self.0 * self.1 + self.1)
    }
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("weight", 0, [self.1, self.0], Role::Weight));
        visit(Block::new("bias", self.0 * self.1, [self.1, 1], Role::Bias));
    }
    fn row<T: Scalar>(&self, w: &[T], x: &[T], y: &mut [T]) {
        let (weights, biases) = w.split_at(self.0 * self.1);
        for ((y, w), &b) in y.iter_mut().zip(weights.chunks(self.0)).zip(biases) {
            *y += w.iter().zip(x).fold(b, |sum, (&w, &x)| sum + w * x);
        }
    }
}

/// Radial functions `exp(−|x − w_j|²)`: no layer of the crate, with one block of parameters by default.
#[derive(Clone, Copy, Debug)]
struct Radial(usize, usize);

impl RowMap for Radial {
    fn dims(&self) -> Dims {
        Dims::new(self.0, self.1, self.0 * self.1)
    }
    fn row<T: Scalar>(&self, w: &[T], x: &[T], y: &mut [T]) {
        for (y, w) in y.iter_mut().zip(w.chunks(self.0)) {
            *y = (-x.iter().zip(w).fold(T::zero(), |sum, (&x, &w)| sum + (x - w) * (x - w))).exp();
        }
    }
}

/// A map without parameters: `y_j = x_j sin x_j`.
#[derive(Clone, Copy, Debug)]
struct Wave(usize);

impl RowMap for Wave {
    fn dims(&self) -> Dims {
        Dims::new(self.0, self.0, 0)
    }
    fn row<T: Scalar>(&self, _w: &[T], x: &[T], y: &mut [T]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * x.sin());
    }
}

layer_laws!(affine_by_dual, DualLayer(Affine(3, 2)));
layer_laws!(radial_by_dual, DualLayer(Radial(2, 4)));
layer_laws!(wave_by_dual, DualLayer(Wave(3)));

/// The squares of a row, as the mean of `MeanSquaredError` over one column.
#[derive(Clone, Copy, Debug)]
struct Squares;

impl RowLoss for Squares {
    fn row<T: Scalar>(&self, y: &[T], target: Target<'_, T>) -> T {
        let Target::Values(t) = target else { return T::nan() };
        y.iter().zip(t).fold(T::zero(), |sum, (&y, &t)| sum + (y - t) * (y - t))
    }
}

/// Cross-entropy of classes.
#[derive(Clone, Copy, Debug)]
struct Entropy;

impl RowLoss for Entropy {
    fn row<T: Scalar>(&self, y: &[T], target: Target<'_, T>) -> T {
        let Target::Classes(&[class]) = target else { return T::nan() };
        let most = y.iter().fold(y[0], |most, &y| most.max(y));
        y.iter().fold(T::zero(), |sum, &y| sum + (y - most).exp()).ln() + most - y[class]
    }
    fn takes_classes(&self) -> bool {
        true
    }
}

loss_laws!(squares_by_dual, DualLoss::new(Squares));
loss_laws!(squares_by_dual_sum, DualLoss::new(Squares).reduction(Reduction::Sum));
loss_laws!(entropy_by_dual, DualLoss::new(Entropy));

fn values(salt: u64, count: usize) -> Vec<f64> {
    (0..count).map(|i| ((i as f64 + 0.5) * (salt as f64 + 0.37)).sin()).collect()
}

/// Sequences of unequal length with masked rows, batches, and two epochs: the run of the layers written by hand.
#[test]
fn prototypes_train_as_layers_and_losses_written_by_hand() {
    let lengths = [3, 1, 4, 2, 5, 1, 2];
    let rows: usize = lengths.iter().sum();
    let (x, classes): (_, Vec<usize>) = (values(1, rows * 3), (0..rows).map(|i| i * i % 4).collect());
    let weights: Vec<f64> = (0..rows).map(|i| [1.0, 0.0, 0.5][i % 3]).collect();
    let data = Dataset::ragged(3, &lengths, &x, Target::Classes(&classes)).unwrap().row_weights(&weights).unwrap();
    let settings = |threads| TrainConfig { batch_size: 3, epochs: 4, threads, ..TrainConfig::default() };
    let by_hand = Sequential::<f64>::input(3).gru(4).linear(5).tanh().linear(4).build().unwrap();
    let prototype = || {
        let network = Sequential::<f64>::input(3).gru(4).layer(DualLayer(Affine(4, 5))).tanh();
        network.layer(DualLayer(Affine(5, 4))).build().unwrap()
    };
    let start = initialize(&by_hand, 3).unwrap();
    let mut right = Trainer::new(by_hand, CrossEntropy::new(), Adam::new(0.02), settings(1)).unwrap();
    right.parameters_mut().copy_from_slice(&start);
    let expected = right.fit(&data).unwrap();
    for threads in [1, 2] {
        let mut found = Trainer::new(prototype(), DualLoss::new(Entropy), Adam::new(0.02), settings(threads)).unwrap();
        found.parameters_mut().copy_from_slice(&start);
        let epochs = found.fit(&data).unwrap();
        for (found, expected) in epochs.iter().zip(&expected) {
            assert!((found.loss - expected.loss).abs() <= 1e-12 * expected.loss, "{found} for {expected}");
        }
        for (found, expected) in found.parameters().iter().zip(right.parameters()) {
            assert!((found - expected).abs() <= 1e-12, "{found} for {expected} with {threads} threads");
        }
        assert!(epochs[3].loss < epochs[0].loss);
    }
}

/// A row without a weight in the loss has no gradient, even where the map has an infinite slope.
#[test]
fn row_without_gradient_is_skipped() {
    #[derive(Clone, Copy, Debug)]
    struct Root;
    impl RowMap for Root {
        fn dims(&self) -> Dims {
            Dims::new(1, 1, 1)
        }
        fn row<T: Scalar>(&self, w: &[T], x: &[T], y: &mut [T]) {
            y[0] = w[0] * x[0].sqrt();
        }
    }
    let data = Dataset::rows(1, &[0.0, 4.0], Target::Values(&[1.0, 1.0])).unwrap().row_weights(&[0.0, 1.0]).unwrap();
    let network = Sequential::<f64>::input(1).layer(DualLayer(Root)).build().unwrap();
    let settings = TrainConfig { epochs: 1, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, DualLoss::new(Squares), Sgd::new(0.125), settings).unwrap();
    trainer.parameters_mut()[0] = 1.0;
    trainer.fit(&data).unwrap();
    // (2 w − 1)² has the slope 4 (2 w − 1) = 4.
    assert_eq!(trainer.parameters(), [0.5]);
}

#[test]
fn gradients_of_prototypes_are_those_written_by_hand() {
    let (y, t) = (values(5, 6), values(6, 6));
    let (mut found, mut expected) = ([0.0; 6], [0.0; 6]);
    for weights in [None, Some(&[0.5, 2.0][..])] {
        let value = DualLoss::new(Squares).evaluate(3, &y, Target::Values(&t), weights, &mut found).unwrap();
        // The mean over rows is 3 times that over values.
        let mean = MeanSquaredError::new().evaluate(3, &y, Target::Values(&t), weights, &mut expected).unwrap();
        assert!((value - 3.0 * mean).abs() <= 1e-15 * value);
        assert!(found.iter().zip(&expected).all(|(found, mean)| (found - 3.0 * mean).abs() <= 4e-16));
    }
    let loss = DualLoss::new(Entropy);
    assert!(matches!(loss.evaluate(3, &y, Target::Values(&t), None, &mut found), Err(Error::TargetKind { .. })));
    let wrong = loss.evaluate(3, &y, Target::Classes(&[0, 3]), None, &mut found);
    assert!(matches!(wrong, Err(Error::ClassOutOfRange { row: 1, label: 3, classes: 3 })));
    // Second derivatives: the gradient of dual numbers is that of dual numbers of dual numbers.
    let point: Vec<Dual<f64>> = y[..3].iter().map(|&y| Dual::variable(y)).collect();
    let mut of_dual = [Dual::constant(0.0); 3];
    loss.evaluate(3, &point, Target::Classes(&[1]), None, &mut of_dual).unwrap();
    // Along (1, 1, 1) softmax does not change.
    assert!(of_dual.iter().all(|dy| dy.tangent.abs() <= 1e-16), "{of_dual:?}");
}

/// The parameters begin as PyTorch's `Linear`: uniform in ±1/√inputs, and other ones for another seed.
#[test]
fn parameters_of_a_prototype_begin_uniform() {
    let layer = DualLayer(Radial(4, 300));
    let w: Vec<f64> = initialize(&layer, 1).unwrap();
    let (least, most) = w.iter().fold((0.0f64, 0.0f64), |(least, most), &w| (least.min(w), most.max(w)));
    assert!((-0.5..-0.48).contains(&least) && (0.48..0.5).contains(&most), "{least} {most}");
    assert_ne!(bits(&w), bits(&initialize(&layer, 2).unwrap()));
    let of: Range<usize> = 0..1200;
    let mut blocks = Vec::new();
    Layer::<f64>::blocks(&layer, &mut |block| blocks.push((block.name.to_string(), block.range.clone())));
    assert_eq!(blocks, [("weight".to_string(), of)]);
    assert_eq!(Layer::<f64>::dims(&DualLayer(Affine(4, 5))), Layer::<f64>::dims(&Linear::new(4, 5)));
}
