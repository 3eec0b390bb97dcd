//! What a description says of gradients, beside what passes through networks measure.

use crate::numbers::normals;
use chainrule::{
    Activation, BatchShape, Error, Layer,
    activation::*,
    initializer::*,
    layer::*,
    mean_field::MeanField,
    monitor::{Factor, GradientBudget, LinkBudget, Shares},
    recurrent::{Bidirectional, Elman, Gru, Lstm, Recurrent},
    theory::{InputStatistics, Prediction, PredictionSource, SingleInput},
    workspace::Workspace,
};

const SEEDS: u64 = 20;

/// The budgets of `seeds` nets on the rows `x`, the input's gradient included.
fn budgets(network: &dyn Layer<f32>, x: &[f32], shape: BatchShape<'_>, seeds: u64) -> Vec<GradientBudget> {
    let mut workspace = Workspace::new(network, shape).unwrap();
    workspace.compute_input_gradient(true);
    let watch = |seed| {
        let w: Vec<f32> = initialize(network, 1000 + seed).unwrap();
        let mut budget = GradientBudget::new();
        let output = workspace.forward_with(&w, x, shape, Mode::Train, &mut budget).unwrap();
        output.dy.copy_from_slice(&normals(output.dy.len(), 5000 + seed));
        workspace.backward_with(&w, &mut budget).unwrap();
        budget
    };
    (0..seeds).map(watch).collect()
}

/// Mean, and standard deviation.
fn mean_and_deviation(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let values: Vec<f64> = values.collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (square / (values.len() as f64 - 1.0)).sqrt())
}

/// Depth layers of weights, each with its activation.
fn plain(
    width: usize,
    depth: usize,
    activation: &(impl Activation + Clone),
    weights: &InitializerKind,
    bias: &InitializerKind,
) -> Sequential<f32> {
    let mut network = Sequential::new(width);
    for _ in 0..depth {
        network.push(Linear::new(width, width).weights(weights.clone()).bias(bias.clone())).unwrap();
        network.push(ActivationLayer::new(width, activation.clone())).unwrap();
    }
    network
}

/// A batch of 64 beside the wide limit, and one input beside its walk: both within max(3 standard errors, 0.02 decades
/// per 10 layers).
fn check(name: &str, network: &Sequential<f32>, width: usize, depth: usize, wide: bool) {
    let error = |deviation: f64| deviation / (SEEDS as f64).sqrt();
    let allowed = |deviation: f64| (3.0 * error(deviation)).max(0.002 * depth as f64);
    let x = normals(64 * width, 7);
    let inputs = InputStatistics::of_rows(&x).unwrap();
    let prediction = Prediction::of(network, inputs).unwrap();
    let measured = budgets(network, &x, BatchShape::batch(64), SEEDS);
    let expected = prediction.shares().unwrap();
    let of = |shares: Shares| [shares.total(), shares.weights, shares.activation];
    for (i, factor) in ["sum", "weights", "activation"].into_iter().enumerate().filter(|_| wide) {
        let (mean, deviation) = mean_and_deviation(measured.iter().map(|budget| of(budget.shares())[i]));
        // What their own fluctuations take from the mean of a logarithm the factors give each other back.
        let apart = if factor == "sum" { 0.0 } else { prediction.beta() / 4.0 / std::f64::consts::LN_10 };
        let (predicted, allowed) = (of(expected)[i], allowed(deviation) + apart);
        let off = mean - predicted;
        assert!(off.abs() <= allowed, "{name}, {factor}: predicted {predicted:.3}, measured {mean:.3} ± {allowed:.3}");
    }
    // The rows stand side by side.
    let names = |links: &[LinkBudget]| links.iter().map(|link| (link.name.clone(), link.factor)).collect::<Vec<_>>();
    let predicted: Vec<_> = prediction.links().iter().map(|link| (link.name.clone(), link.factor)).collect();
    assert_eq!(predicted, names(measured[0].links()));

    let x = &x[..width];
    let walk = SingleInput::of(network, InputStatistics::of_rows(x).unwrap(), 300).unwrap().unwrap();
    let measured = budgets(network, x, BatchShape::batch(1), SEEDS);
    let (mean, deviation) = mean_and_deviation(measured.iter().map(|budget| budget.shares().total()));
    // Twenty nets know their own spread to 16 % only.
    let (off, allowed) = (mean - walk.mean(), allowed(deviation.max(walk.standard_deviation())));
    assert!(off.abs() <= allowed, "{name}, one input: predicted {:.3}, measured {mean:.3} ± {allowed:.3}", walk.mean());
    let ratio = deviation / walk.standard_deviation();
    assert!((0.55..1.6).contains(&ratio), "{name}: spread {deviation:.3} for {:.3}", walk.standard_deviation());
}

/// An activation under three initializations, the third critical where it can be; `wide` where the variance comes to a
/// stable fixed point, or does not matter, so that the wide limit holds at width 64.
fn check_activation(activation: impl Activation + Clone, depth: usize, wide: bool) {
    let zeros = Zeros.kind();
    let third = match CriticalGain::new(&activation) {
        Ok(gain) => ("critical", gain.kind(), gain.kind()),
        Err(_) => ("uniform", Uniform::within(0.2).kind(), zeros.clone()),
    };
    let first = [("He", He::normal().kind(), zeros.clone()), ("Glorot", Glorot::uniform().kind(), zeros)];
    for (name, weights, bias) in first.into_iter().chain([third]) {
        check(&format!("{activation:?}, {name}"), &plain(64, depth, &activation, &weights, &bias), 64, depth, wide);
    }
}

macro_rules! activations {
    ($($name:ident: $activation:expr, $depth:literal, $wide:literal;)*) => { $(
        #[test]
        fn $name() {
            check_activation($activation, $depth, $wide);
        }
    )* };
}
activations! {
    tanh: Tanh, 20, true;
    sigmoid: Sigmoid, 10, true;
    relu: Relu, 20, true;
    leaky_relu: LeakyRelu::default(), 20, true;
    selu: Selu, 20, true;
    gelu: Gelu, 20, false;
    swish: Swish::default(), 20, false;
    softplus: Softplus::default(), 10, false;
    softsign: Softsign, 20, true;
    erf: Erf, 20, true;
    hard_tanh: HardTanh::default(), 20, true;
}

/// theory.md: checks of the whole.
#[test]
fn published_budgets() {
    let decades = |network: &Sequential<f32>| {
        Prediction::of(network, InputStatistics::new(1.0).unwrap()).unwrap().decades_to_first_weights().unwrap()
    };
    let zeros = Zeros.kind();
    // From q0 = 1, the first pre-activation: inputs of second moment 1/σw².
    let gelu = |depth| {
        let network = plain(64, depth, &Gelu, &He::normal().kind(), &zeros);
        let prediction = Prediction::of(&network, InputStatistics::new(0.5).unwrap()).unwrap();
        prediction.decades().unwrap()
    };
    assert!((gelu(20) + 2.11).abs() < 0.02 && (gelu(50) + 6.63).abs() < 0.02, "{} {}", gelu(20), gelu(50));
    let sigmoid = plain(64, 10, &Sigmoid, &LeCun::normal().kind(), &zeros);
    let prediction = Prediction::of(&sigmoid, InputStatistics::new(1.0).unwrap()).unwrap();
    assert!((prediction.decades().unwrap() + 6.32).abs() < 0.02, "{prediction}");
    // No width ratio.
    let mut funnel = Sequential::<f32>::new(784);
    for (inputs, outputs) in [(784, 512), (512, 256), (256, 128), (128, 64)] {
        funnel.push(Linear::new(inputs, outputs).weights(He::normal())).unwrap();
        funnel.push(ActivationLayer::new(outputs, Relu)).unwrap();
    }
    assert!(
        decades(&funnel).abs() < 0.16
            && Prediction::of(&funnel, InputStatistics::new(1.0).unwrap()).unwrap().decades().unwrap().abs() < 1e-9
    );
    // 6 ξ_c is that of the field; tanh with gain 5/3 has one too.
    let field = MeanField::new(&Tanh, 1.3, 0.05).unwrap().depth_scales().unwrap().trainable_depth();
    let bias = Normal { mean: 0.0, std: 0.05f64.sqrt() };
    let tanh = plain(64, 30, &Tanh, &LeCun::normal().gain(1.3f64.sqrt()).kind(), &bias.kind());
    let found = Prediction::of(&tanh, InputStatistics::new(1.0).unwrap()).unwrap().trainable_depth().unwrap();
    assert!((found - field).abs() < 1e-9 && (found - 47.0).abs() < 0.1, "{found} {field}");
}

/// Hanin & Nica 2018: of one input, ln‖Ju‖² is N(−β/2, β), β = 5 Σ 1/n for He-ReLU and 2 Σ 1/n for linear layers.
#[test]
fn gradient_of_a_single_input_has_the_predicted_deviation() {
    fn check(activation: impl Activation + Clone, weights: InitializerKind, per_layer: f64) {
        const NETS: u64 = 400;
        let network = plain(32, 10, &activation, &weights, &Zeros.kind());
        let prediction = Prediction::of(&network, InputStatistics::new(1.0).unwrap()).unwrap();
        let beta = prediction.beta();
        assert!((beta - per_layer * 10.0 / 32.0).abs() < 1e-9, "β {beta}");
        let x = normals(32, 3);
        let measured = budgets(&network, &x, BatchShape::batch(1), NETS);
        let (mean, deviation) = mean_and_deviation(measured.iter().map(|budget| budget.shares().total()));
        let ratio = deviation / prediction.standard_deviation();
        assert!((ratio - 1.0).abs() < 0.12, "{activation:?}: {deviation} for {}", prediction.standard_deviation());
        let shift = prediction.decades().unwrap() - beta / 4.0 / std::f64::consts::LN_10;
        assert!((mean - shift).abs() < 4.0 * deviation / (NETS as f64).sqrt(), "{activation:?}: {mean} for {shift}");
        let walk = SingleInput::of(&network, InputStatistics::of_rows(&x).unwrap(), 1000).unwrap().unwrap();
        let (near, far) = (walk.mean() - shift, walk.standard_deviation() / prediction.standard_deviation());
        assert!(near.abs() < 0.02 && (far - 1.0).abs() < 0.1, "{activation:?}: {near} {far}");
        assert!((walk.below(walk.mean()) - 0.5).abs() < 0.06);
    }
    check(Relu, He::normal().kind(), 5.0);
    check(Identity, LeCun::normal().kind(), 2.0);
    // Orthogonal weights alone leave nothing to chance.
    let orthogonal = plain(32, 10, &Identity, &Orthogonal::default().kind(), &Zeros.kind());
    let inputs = InputStatistics::new(1.0).unwrap();
    assert_eq!(Prediction::of(&orthogonal, inputs).unwrap().standard_deviation(), 0.0);
    assert!(SingleInput::of(&orthogonal, inputs, 10).unwrap().unwrap().standard_deviation() < 1e-9);
    // The gradient of a network that changes nothing is as it came.
    let empty = SingleInput::of(&Sequential::<f64>::new(32), inputs, 10).unwrap().unwrap();
    assert_eq!((empty.mean(), empty.standard_deviation()), (0.0, 0.0));
}

/// Every link within `allowed` of the mean over nets, and the sum within twice that or three standard errors.
fn check_links(
    network: &Sequential<f32>,
    inputs: InputStatistics,
    x: &[f32],
    shape: BatchShape<'_>,
    allowed: f64,
) -> Prediction {
    let prediction = Prediction::of(network, inputs).unwrap();
    let measured = budgets(network, x, shape, 40);
    for (i, link) in prediction.links().iter().enumerate() {
        let of = |budget: &GradientBudget| {
            let found = &budget.links()[i];
            assert_eq!((&found.name, found.factor, found.on_main_path), (&link.name, link.factor, link.on_main_path));
            found.decades()
        };
        let (mean, _) = mean_and_deviation(measured.iter().map(of));
        let decades = link.decades.unwrap();
        assert!((mean - decades).abs() < allowed, "{}: measured {mean:.4}, predicted\n{prediction}", link.name);
    }
    let (mean, deviation) = mean_and_deviation(measured.iter().map(|budget| budget.shares().total()));
    let off = mean - prediction.decades().unwrap();
    let allowed = (3.0 * deviation / 40f64.sqrt()).max(2.0 * allowed);
    assert!(off.abs() < allowed, "measured {mean:.4}, predicted\n{prediction}");
    assert_eq!(measured[0].links().len(), prediction.links().len());
    prediction
}

#[test]
fn branches_norms_dropout_and_heads() {
    const WIDTH: usize = 128;
    let block = |scale| {
        let mut branch = Sequential::new(WIDTH);
        branch.push(Linear::new(WIDTH, WIDTH).weights(He::normal())).unwrap();
        branch.push(ActivationLayer::new(WIDTH, Relu)).unwrap();
        branch.push(Linear::new(WIDTH, WIDTH).weights(LeCun::normal())).unwrap();
        Residual::new(branch).unwrap().scale(scale).unwrap()
    };
    let x: Vec<f32> = normals::<f32>(32 * 40, 11).iter().map(|x| 3.0 * x + 1.0).collect();
    let network = Sequential::<f32>::input(40)
        .layer(RmsNorm::new(40))
        .layer(Linear::new(40, WIDTH).weights(Uniform::within(0.3)).bias(Constant(0.5)))
        .activation(Gelu)
        .layer(Dropout::new(WIDTH, 0.3).unwrap())
        .layer(block(BranchScale::Fixed(0.5)))
        .layer(LayerNorm::new(WIDTH))
        .layer(block(BranchScale::Learned(1.5)))
        .layer(LayerNorm::new(WIDTH))
        .layer(Linear::new(WIDTH, WIDTH).weights(He::normal()))
        .layer(PRelu::new(WIDTH))
        .layer(Linear::new(WIDTH, 10).weights(Orthogonal::default()))
        .build()
        .unwrap();
    let prediction = check_links(&network, InputStatistics::of_rows(&x).unwrap(), &x, BatchShape::batch(32), 0.02);
    assert!(prediction.links().iter().all(|link| link.source == PredictionSource::Theory));
    // The walk takes dropout for no part of its own.
    assert_eq!(SingleInput::of(&network, InputStatistics::of_rows(&x).unwrap(), 10), Ok(None));
    assert_eq!(prediction.trainable_depth(), None);
    assert_eq!(
        Prediction::of_node(&Layer::<f32>::spec(&network), InputStatistics::of_rows(&x).unwrap()).unwrap(),
        prediction
    );
}

/// Narrow rows: (n − k)/((n − k − 1) q), which is 0.04 decades for eight values.
#[test]
fn norms_of_narrow_rows() {
    let x: Vec<f32> = normals::<f32>(2000 * 8, 21).iter().map(|x| 3.0 * x).collect();
    let inputs = InputStatistics::of_rows(&x).unwrap();
    let root = inputs.second_moment().sqrt();
    let check = |network: Sequential<f32>, factor: f64| {
        let prediction = Prediction::of(&network, inputs).unwrap();
        let expected = (factor.sqrt() / root).log10();
        assert!((prediction.decades().unwrap() - expected).abs() < 1e-4, "{prediction}");
        let (mean, _) = mean_and_deviation(
            budgets(&network, &x, BatchShape::batch(2000), 10).iter().map(|budget| budget.shares().total()),
        );
        assert!((mean - expected).abs() < 0.01, "{mean} for {expected}");
        let walk = SingleInput::of(&network, inputs, 4000).unwrap().unwrap();
        // The mean of a logarithm is below the logarithm of a mean.
        assert!((walk.mean() - expected + 0.03).abs() < 0.03 && walk.standard_deviation() > 0.05, "{}", walk.mean());
    };
    check(Sequential::input(8).layer(LayerNorm::new(8)).build().unwrap(), 6.0 / 5.0);
    check(Sequential::input(8).layer(RmsNorm::new(8)).build().unwrap(), 7.0 / 6.0);
    // Two groups of four.
    let network = Sequential::<f32>::input(8).group_norm(2).build().unwrap();
    let decades = Prediction::of(&network, inputs).unwrap().decades().unwrap();
    assert!((decades - (2f64.sqrt() / root).log10()).abs() < 1e-4, "{decades}");
    for (width, lost) in [(1, true), (2, true), (3, false)] {
        let network = Sequential::<f32>::input(width).layer(LayerNorm::new(width)).build().unwrap();
        let decades = Prediction::of(&network, inputs).unwrap().decades().unwrap();
        assert_eq!(decades == f64::NEG_INFINITY, lost, "{width}");
    }
}

/// Softplus with He's weights: the mean square grows without end, and along the input the gradient remembers the way it
/// came. Of a gradient that is independent of the forward pass the decades would be lower by a tenth.
#[test]
fn gradient_of_a_single_input_depends_on_its_forward_pass() {
    let network = plain(16, 12, &Softplus::default(), &He::normal().kind(), &Zeros.kind());
    let x = normals(16, 5);
    let walk = SingleInput::of(&network, InputStatistics::of_rows(&x).unwrap(), 4000).unwrap().unwrap();
    let measured = budgets(&network, &x, BatchShape::batch(1), 1500);
    let (mean, deviation) = mean_and_deviation(measured.iter().map(|budget| budget.shares().total()));
    let error = (deviation * deviation / 1500.0 + walk.standard_deviation().powi(2) / 4000.0).sqrt();
    assert!((mean - walk.mean()).abs() < 4.0 * error, "{mean} for {} ± {error}", walk.mean());
    assert!((deviation / walk.standard_deviation() - 1.0).abs() < 0.08, "{deviation} {}", walk.standard_deviation());
}

/// Twelve normalized branches: the walk sees what the budget does.
#[test]
fn single_input_walk_passes_branches_and_norms() {
    let mut network = Sequential::<f32>::new(48);
    for _ in 0..12 {
        let mut branch = Sequential::new(48);
        branch.push(RmsNorm::new(48)).unwrap();
        branch.push(Linear::new(48, 48).weights(He::normal())).unwrap();
        branch.push(ActivationLayer::new(48, Relu)).unwrap();
        branch.push(Linear::new(48, 48).weights(LeCun::normal())).unwrap();
        network.push(Residual::new(branch).unwrap()).unwrap();
    }
    let x = normals(48, 12);
    let inputs = InputStatistics::of_rows(&x).unwrap();
    let walk = SingleInput::of(&network, inputs, 400).unwrap().unwrap();
    let measured = budgets(&network, &x, BatchShape::batch(1), 60);
    let (mean, deviation) = mean_and_deviation(measured.iter().map(|budget| budget.shares().total()));
    assert!((mean - walk.mean()).abs() < 3.0 * deviation / 60f64.sqrt(), "{mean} {deviation} {}", walk.mean());
    let ratio = deviation / walk.standard_deviation();
    assert!((ratio - 1.0).abs() < 0.3, "{deviation} for {}", walk.standard_deviation());
    let prediction = Prediction::of(&network, inputs).unwrap();
    let ratio = deviation / prediction.standard_deviation();
    assert!((ratio - 1.0).abs() < 0.35, "{deviation} for {}", prediction.standard_deviation());
}

/// A branch scaled by 0 is booked as the budget books it.
#[test]
fn branches_of_nothing() {
    let branch = Linear::new(16, 16).weights(He::normal());
    let network = Sequential::<f32>::input(16)
        .layer(Residual::new(branch).unwrap().scale(BranchScale::Learned(0.0)).unwrap())
        .layer(Linear::new(16, 16).weights(LeCun::normal()))
        .build()
        .unwrap();
    let x = normals(16 * 8, 2);
    let prediction = Prediction::of(&network, InputStatistics::of_rows(&x).unwrap()).unwrap();
    let measured = &budgets(&network, &x, BatchShape::batch(8), 1)[0];
    let of = |name: &str| prediction.link(name).unwrap().decades.unwrap();
    assert_eq!([of("0.scale"), of("0")], [f64::NEG_INFINITY, f64::INFINITY]);
    let (expected, found) = (prediction.shares().unwrap(), measured.shares());
    assert_eq!((expected.addition, found.addition), (0.0, 0.0));
    assert_eq!((expected.weights, expected.activation, expected.other), (0.0, 0.0, 0.0));
    assert!(found.weights.abs() < 0.1);
    // Weights of nothing lose it all, and say so.
    let dead = plain(4, 2, &Tanh, &Zeros.kind(), &Zeros.kind());
    assert_eq!(Prediction::of(&dead, InputStatistics::new(1.0).unwrap()).unwrap().decades(), Some(f64::NEG_INFINITY));
}

/// `y = 2 tanh(x)`, which states nothing of itself.
#[derive(Debug, Clone)]
struct Silent(usize);

impl Layer<f32> for Silent {
    fn dims(&self) -> Dims {
        Dims::new(self.0, self.0, 0)
    }
    fn forward(&self, _w: &[f32], pass: Forward<'_, f32>) {
        pass.y.iter_mut().zip(pass.x).for_each(|(y, x)| *y = 2.0 * x.tanh());
    }
    fn backward(&self, _w: &[f32], pass: Backward<'_, f32>) {
        let Some(dx) = pass.dx else { return };
        for ((dx, x), dy) in dx.iter_mut().zip(pass.x).zip(pass.dy) {
            *dx = 2.0 * (1.0 - x.tanh().powi(2)) * dy;
        }
    }
}

#[test]
fn layers_of_your_own_are_sampled_in_their_place() {
    let build = |own: bool| {
        let linear = || Linear::new(96, 96).weights(LeCun::normal());
        let mut network = Sequential::<f32>::new(96);
        network.push(linear()).unwrap();
        let own_branch = || {
            let mut branch = Sequential::new(96);
            branch.push(linear()).unwrap();
            branch.push(Silent(96)).unwrap();
            branch.push(linear()).unwrap();
            branch
        };
        if own {
            network.push(Silent(96)).unwrap();
            network.push(Residual::new(own_branch()).unwrap()).unwrap();
        } else {
            network.push(ActivationLayer::new(96, Tanh)).unwrap();
        }
        network.push(linear()).unwrap();
        network
    };
    let (own, inputs) = (build(true), InputStatistics::new(1.0).unwrap());
    let prediction = Prediction::of(&own, inputs).unwrap();
    let expected = 0.5 * (4.0 * MeanField::new(&Tanh, 1.0, 0.0).unwrap().chi(1.0).unwrap()).log10();
    let link = prediction.link("1").unwrap();
    assert_eq!((link.source, link.factor), (PredictionSource::Sampled, Factor::Other));
    assert!((link.decades.unwrap() - expected).abs() < 0.01, "{expected}\n{prediction}");
    // What comes out of it is known again: 4 E tanh² goes into the branch.
    let square = 4.0 * MeanField::new(&Tanh, 1.0, 0.0).unwrap().variance_map(1.0).unwrap();
    let into = prediction.link("2.branch.0").unwrap().second_moment.unwrap();
    assert!((into / square - 1.0).abs() < 0.05, "{into} for {square}");
    let x = normals(96 * 32, 4);
    let (mean, deviation) =
        mean_and_deviation(budgets(&own, &x, BatchShape::batch(32), 20).iter().map(|budget| budget.shares().total()));
    let off = mean - prediction.decades().unwrap();
    assert!(off.abs() < (3.0 * deviation / 20f64.sqrt()).max(0.02), "measured {mean}\n{prediction}");
    // By its description alone it is unknown, and so are sums; weights are known all the same.
    let prediction = Prediction::of_node(&Layer::<f32>::spec(&own), inputs).unwrap();
    assert_eq!((prediction.decades(), prediction.link("1").unwrap().source), (None, PredictionSource::Unknown));
    assert!(prediction.link("2.branch.2").unwrap().decades.unwrap().abs() < 1e-12);
    assert!(prediction.to_string().contains("unknown, because layer"), "{prediction}");
    let plain = Prediction::of_node(&Layer::<f32>::spec(&build(false)), inputs).unwrap();
    assert_eq!(plain, Prediction::of(&build(false), inputs).unwrap());
}

/// What two silent neighbours did together is booked once.
#[test]
fn silent_neighbours_are_not_counted_twice() {
    let network = Sequential::<f32>::input(64)
        .layer(Linear::new(64, 64).weights(LeCun::normal()))
        .layer(Silent(64))
        .layer(Silent(64))
        .layer(Linear::new(64, 64).weights(LeCun::normal()))
        .build()
        .unwrap();
    let x = normals(64 * 32, 5);
    let prediction = Prediction::of(&network, InputStatistics::of_rows(&x).unwrap()).unwrap();
    let (mean, _) = mean_and_deviation(
        budgets(&network, &x, BatchShape::batch(32), 20).iter().map(|budget| budget.shares().total()),
    );
    let found = prediction.decades().unwrap();
    assert!((mean - found).abs() < 0.03 && found.abs() > 0.08, "measured {mean}\n{prediction}");
}

#[test]
fn recurrent_layers_are_sampled_over_depth() {
    let cell = Elman::new(Tanh);
    let network = Sequential::<f32>::input(5)
        .recurrent(24, Gru::new())
        .layer(Recurrent::new(24, 24, cell.clone()))
        .layer(Bidirectional::new::<f32>(Recurrent::new(24, 16, Lstm::new()), Recurrent::new(24, 16, cell)).unwrap())
        .layer(MeanOverSteps::new(32))
        .linear(3)
        .build()
        .unwrap();
    let shape = BatchShape::sequences(32, 7);
    let x = normals(shape.rows() * 5, 8);
    let inputs = InputStatistics::of_rows(&x).unwrap().steps(7).unwrap();
    let prediction = check_links(&network, inputs, &x, shape, 0.04);
    assert_eq!(prediction.link("3").unwrap().decades, Some(-0.5 * 7f64.log10()));
    assert!(prediction.links().iter().any(|link| !link.on_main_path));
    // Weights that share a mean are no random matrix of mean 0.
    let shared = Linear::new(64, 64).weights(Uniform { low: 0.0, high: 0.2 });
    let network = Sequential::<f32>::input(64).layer(shared).activation(Tanh).linear(64).build().unwrap();
    let x = normals(32 * 64, 9);
    let prediction = check_links(&network, InputStatistics::of_rows(&x).unwrap(), &x, BatchShape::batch(32), 0.04);
    assert_eq!(prediction.link("0").unwrap().source, PredictionSource::Sampled);
}

#[test]
fn impossible_settings_are_refused() {
    assert!(InputStatistics::new(-1.0).is_err() && InputStatistics::new(f64::NAN).is_err());
    assert_eq!(InputStatistics::of_rows::<f32>(&[]), Err(Error::Empty { what: "the inputs of a prediction" }));
    assert!(matches!(InputStatistics::of_rows(&[1.0, f64::NAN]), Err(Error::NonFinite { index: 1, .. })));
    assert!(InputStatistics::new(1.0).unwrap().steps(0).is_err());
    assert!(SingleInput::of(&Sequential::<f32>::new(3), InputStatistics::new(1.0).unwrap(), 0).is_err());
    let empty = Sequential::<f32>::new(3);
    assert_eq!(Prediction::of(&empty, InputStatistics::new(1.0).unwrap()).unwrap().decades(), Some(0.0));
}

#[test]
fn prediction_prints_a_table() {
    let network = plain(8, 2, &Tanh, &Glorot::uniform().kind(), &Zeros.kind());
    let text = Prediction::of(&network, InputStatistics::new(1.0).unwrap()).unwrap().to_string();
    println!("{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>(),
        ["layer", "kind", "E", "x²", "weights", "φ′", "added", "other"]
    );
    assert!(lines[2].starts_with("3      Tanh"), "{text}");
    let ends =
        |line: &str, column: &str| line.find(column).map(|at| line[..at].chars().count() + column.chars().count());
    let figure = lines[2].split_whitespace().last().unwrap();
    assert_eq!(ends(lines[2], figure), ends(lines[1], "φ′"), "{text}");
}

/// E φ′² and Var φ of a standard normal number, by Simpson's rule on each side of 0.
fn moments_by_simpson(activation: &impl Activation) -> [f64; 2] {
    let half = |sign: f64| {
        let (n, end) = (20_000, 12.0);
        let mut sums = [0.0; 3];
        for i in 0..=n {
            // Beside 0, where ReLU has a kink.
            let z = sign * (f64::from(i) / f64::from(n) * end).max(1e-300);
            let weight = if i == 0 || i == n { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
            let density =
                weight * end / f64::from(n) / 3.0 * (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let y = activation.value(z);
            let slope = activation.derivative(z, y);
            for (sum, value) in sums.iter_mut().zip([slope * slope, y, y * y]) {
                *sum += density * value;
            }
        }
        sums
    };
    let (left, right) = (half(-1.0), half(1.0));
    let [slope, mean, square] = [0, 1, 2].map(|i| left[i] + right[i]);
    [slope, square - mean * mean]
}

/// Per layer of weights, batch norm and activation, ‖g‖² grows by E φ′²/Var φ (Yang et al. 2019).
fn growth_with_batch_norm(activation: impl Activation + Copy, limit: f64, measures: bool) {
    const WIDTH: usize = 512;
    const DEPTH: usize = 12;
    let mut network = Sequential::<f32>::input(WIDTH);
    for _ in 0..DEPTH {
        network = network.layer(Linear::new(WIDTH, WIDTH).weights(He::normal())).batch_norm().activation(activation);
    }
    let network = network.build().unwrap();
    let [slope, variance] = moments_by_simpson(&activation);
    assert!((slope / variance - limit).abs() < 1e-4, "{slope} {variance}");
    let prediction = Prediction::of(&network, InputStatistics::new(1.0).unwrap()).unwrap();
    assert!(prediction.links().iter().all(|link| link.source == PredictionSource::Theory), "{prediction}");
    // Layer l takes the gradient from its activation through its norm and its weights; the first has other inputs.
    let growth = |decades: &dyn Fn(&str) -> f64, layers: std::ops::Range<usize>| {
        let count = layers.len() as f64;
        let all: f64 = layers.flat_map(|l| (3 * l..3 * l + 3).map(|link| decades(&link.to_string()))).sum();
        10f64.powf(2.0 * all / count)
    };
    for l in 1..DEPTH {
        let found = growth(&|name| prediction.link(name).unwrap().decades.unwrap(), l..l + 1);
        assert!((found - slope / variance).abs() < 1e-4, "layer {l}: {found} for {limit}");
    }
    if !measures {
        return;
    }
    let x = normals(256 * WIDTH, 3);
    let budgets = budgets(&network, &x, BatchShape::batch(256), 1);
    let measured =
        growth(&|name| budgets[0].links().iter().find(|link| link.name == name).unwrap().decades(), 2..DEPTH - 1);
    println!("{activation:?}: {measured:.4} a layer, predicted {limit:.4}");
    assert!((measured / limit - 1.0).abs() < 0.02, "{activation:?}: {measured} for {limit}");
}

#[test]
fn gradient_through_batch_norm_grows_as_predicted() {
    let pi = std::f64::consts::PI;
    growth_with_batch_norm(Relu, pi / (pi - 1.0), true);
    growth_with_batch_norm(Tanh, 1.1778, true);
    growth_with_batch_norm(Identity, 1.0, true);
}

/// The mean decades of the measured budgets of a network on these rows.
fn mean_decades(network: &Sequential<f32>, width: usize, x: &[f32]) -> f64 {
    let measured = budgets(network, x, BatchShape::batch(x.len() / width), 12);
    mean_and_deviation(measured.iter().map(|budget| budget.shares().total())).0
}

/// The squared norm of a batch's gradient is the sum of those of its rows, of which the smallest lose least in tanh.
#[test]
fn rows_of_different_norms_are_predicted_apart() -> Result<(), Error> {
    const WIDTH: usize = 96;
    let mut x = normals(64 * WIDTH, 9);
    for (i, row) in x.chunks_mut(WIDTH).enumerate() {
        let size = 10f32.powf((i % 32) as f32 / 10.0 - 0.5);
        row.iter_mut().for_each(|x| *x *= size);
    }
    let network = plain(WIDTH, 3, &Tanh, &LeCun::normal().kind(), &Zeros.kind());
    let measured = mean_decades(&network, WIDTH, &x);
    let decades = |inputs| Prediction::of(&network, inputs).map(|prediction| prediction.decades().unwrap());
    let [apart, together] =
        [decades(InputStatistics::of_samples(WIDTH, &x)?)?, decades(InputStatistics::of_rows(&x)?)?];
    assert!((apart - measured).abs() < 0.05, "{apart} for {measured}");
    assert!(together < measured - 0.5, "{together} for {measured}");
    // Rows of about one norm stand for each other.
    let same = normals::<f32>(64 * WIDTH, 9);
    let [apart, together] =
        [decades(InputStatistics::of_samples(WIDTH, &same)?)?, decades(InputStatistics::of_rows(&same)?)?];
    assert!((apart - together).abs() < 0.01, "{apart} {together}");
    Ok(())
}

/// A norm over the batch subtracts what rows have in common, and divides by what is left.
#[test]
fn common_part_of_rows_is_predicted_through_a_norm_over_the_batch() -> Result<(), Error> {
    const WIDTH: usize = 96;
    let (mut x, shared) = (normals(64 * WIDTH, 4), normals::<f32>(WIDTH, 5));
    x.chunks_mut(WIDTH).for_each(|row| row.iter_mut().zip(&shared).for_each(|(x, shared)| *x = 0.2 * *x + shared));
    let network = Sequential::<f32>::input(WIDTH).linear(WIDTH).batch_norm().activation(Relu).linear(8).build()?;
    let measured = mean_decades(&network, WIDTH, &x);
    let decades = |inputs| Prediction::of(&network, inputs).map(|prediction| prediction.decades().unwrap());
    let [known, unknown] = [decades(InputStatistics::of_samples(WIDTH, &x)?)?, decades(InputStatistics::of_rows(&x)?)?];
    assert!((known - measured).abs() < 0.05, "{known} for {measured}");
    assert!(unknown < measured - 0.5, "{unknown} for {measured}");
    Ok(())
}
