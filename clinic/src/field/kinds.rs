//! Kinds of cases on real tables, images and series, of another sort than those that the thresholds were chosen on.
//!
//! Written before any rule was run on them. Each sick kind has a twin, the same draw without its fault.

use super::data::{Data, Tables};
use chainrule::{
    Activation, Blocks, Error, Layer,
    activation::{Elu, Gelu, HardSigmoid, Relu, Selu, Sigmoid, Softplus, Softsign, Swish, Tanh},
    diagnosis::Cause::{self, *},
    initializer::{
        ByGate, Chrono, Constant, CriticalGain, Glorot, He, Identity, Initializer, LeCun, Orthogonal, Zeros,
    },
    layer::{BranchScale, Dropout, LayerNorm, Linear, RmsNorm, Sequential, Softmax, initialize},
    recurrent::{Elman, Gru, Lstm, Recurrent},
};

/// An optimizer with its rate.
#[derive(Clone, Copy, Debug)]
pub enum Optimizer {
    Sgd(f64),
    Momentum(f64),
    Adam(f64),
    AdamW(f64),
    RmsProp(f64),
}

/// How a case is trained.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub optimizer: Optimizer,
    pub clip: Option<f64>,
    /// A block that moves less than others by a bug.
    pub still: Option<&'static str>,
    /// The factor on its updates.
    pub held_at: f32,
    /// Whether `clip` is a limit of single values.
    pub clips_values: bool,
    /// Steps after which a polynomial schedule has ended.
    pub ends: Option<u64>,
    /// Steps of a linear warm-up.
    pub warms_up: Option<u64>,
    /// The factor on the rate from each step to the next.
    pub ramps: Option<f64>,
    /// Steps before the monitor is attached.
    pub before: usize,
    /// Whether samples come in the order of the data.
    pub in_order: bool,
    /// Weight decay of AdamW; an L2 penalty of other optimizers.
    pub decay: Option<f64>,
    /// A factor on the rate.
    pub rate: f64,
    /// Whether all updates have the wrong sign by a bug.
    pub climbs: bool,
}

impl Recipe {
    fn new(optimizer: Optimizer) -> Self {
        Recipe {
            optimizer,
            clip: None,
            still: None,
            held_at: 0.0,
            clips_values: false,
            ends: None,
            warms_up: None,
            ramps: None,
            before: 0,
            in_order: false,
            decay: None,
            rate: 1.0,
            climbs: false,
        }
    }
}

/// A network with its first parameters, data and training.
pub struct Case {
    pub network: Sequential<f32>,
    pub w: Vec<f32>,
    pub data: Data,
    pub recipe: Recipe,
    /// Steps that the task must remember.
    pub span: usize,
    /// The data that it is judged on, where it is not that of the training.
    pub judged: Option<Data>,
}

type Make = fn(&Tables, u64, bool) -> Result<Case, Error>;

/// What is expected of a kind.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    Healthy,
    /// One of these causes.
    Sick(&'static [Cause]),
    /// Two faults, named by these causes: both must be mended.
    Two(&'static [Cause]),
    /// Sick by a fault that no cause names.
    Outside,
}

pub struct Kind {
    pub name: &'static str,
    pub expected: Expected,
    pub make: Make,
    /// The layers that hold the fault; none where it concerns the whole network.
    pub layers: &'static [usize],
    /// Whether a change of the run can mend it. Data that lacks what is asked of it must be replaced.
    pub is_curable: bool,
}

impl Kind {
    const fn incurable(self) -> Kind {
        Kind { is_curable: false, ..self }
    }

    const fn at(self, layers: &'static [usize]) -> Kind {
        Kind { layers, ..self }
    }
}

type Net = Result<Sequential<f32>, Error>;

fn case(network: Net, data: Data, optimizer: Optimizer, seed: u64) -> Result<Case, Error> {
    let network = network?;
    let w = initialize(&network, seed)?;
    Ok(Case { network, w, data, recipe: Recipe::new(optimizer), span: 1, judged: None })
}

/// Linear layers of these widths with an activation between them.
fn stack(widths: &[usize], activation: impl Activation + Copy, weights: impl Initializer + Copy + 'static) -> Net {
    let mut builder = Sequential::<f32>::input(widths[0]);
    for (i, pair) in widths.windows(2).enumerate() {
        builder = builder.layer(Linear::new(pair[0], pair[1]).weights(weights));
        if i + 2 < widths.len() {
            builder = builder.activation(activation);
        }
    }
    builder.build()
}

fn deep(input: usize, width: usize, depth: usize, outputs: usize) -> Vec<usize> {
    std::iter::once(input).chain(std::iter::repeat_n(width, depth)).chain([outputs]).collect()
}

/// Blocks `x + s · W φ(V x)`.
fn residual(input: usize, width: usize, blocks: usize, scale: BranchScale, norm: bool, outputs: usize) -> Net {
    let mut builder = Sequential::<f32>::input(input).linear(width);
    for _ in 0..blocks {
        let mut branch = Sequential::<f32>::input(width);
        if norm {
            branch = branch.layer(RmsNorm::new(width));
        }
        let branch = branch.layer(Linear::new(width, width).weights(He::normal())).activation(Relu);
        let branch = branch.layer(Linear::new(width, width).weights(LeCun::normal())).build()?;
        builder = builder.layer(chainrule::layer::Residual::new(branch)?.scale(scale)?);
    }
    if norm {
        builder = builder.layer_norm();
    }
    builder.linear(outputs).build()
}

fn normed(input: usize, width: usize, depth: usize, outputs: usize) -> Net {
    let mut builder = Sequential::<f32>::input(input);
    for _ in 0..depth {
        builder = builder.linear(width).layer_norm().activation(Relu);
    }
    builder.linear(outputs).build()
}

/// Changes the values of one block.
fn change(case: &mut Case, block: &str, change: impl Fn(&mut f32)) -> Result<(), Error> {
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&case.network, visit));
    case.w[blocks.get(block)?.range.clone()].iter_mut().for_each(change);
    Ok(())
}

fn last_step(layer: impl Layer<f32> + 'static, outputs: usize) -> Net {
    let input = layer.dims().input;
    Sequential::<f32>::input(input).layer(layer).last_step().linear(outputs).build()
}

fn spanning(case: Result<Case, Error>, span: usize) -> Result<Case, Error> {
    Ok(Case { span, ..case? })
}

/// Judged on other data than that of the training.
fn judged(case: Result<Case, Error>, data: Data) -> Result<Case, Error> {
    Ok(Case { judged: Some(data), ..case? })
}

fn with(case: Result<Case, Error>, recipe: impl Fn(&mut Recipe)) -> Result<Case, Error> {
    let mut case = case?;
    recipe(&mut case.recipe);
    Ok(case)
}

const fn kind(name: &'static str, expected: Expected, make: Make) -> Kind {
    Kind { name, expected, make, layers: &[], is_curable: true }
}

const fn healthy(name: &'static str, make: Make) -> Kind {
    kind(name, Expected::Healthy, make)
}

const fn sick(name: &'static str, causes: &'static [Cause], make: Make) -> Kind {
    kind(name, Expected::Sick(causes), make)
}

const fn two(name: &'static str, causes: &'static [Cause], make: Make) -> Kind {
    kind(name, Expected::Two(causes), make)
}

const fn outside(name: &'static str, make: Make) -> Kind {
    kind(name, Expected::Outside, make)
}

use Optimizer::{Adam, AdamW, Momentum, RmsProp, Sgd};

pub const KINDS: &[Kind] = &[
    healthy("iris, tanh", |t, s, _| case(stack(&[4, 16, 3], Tanh, LeCun::normal()), t.iris(), Sgd(0.1), s)),
    healthy("iris, pyramid", |t, s, _| case(stack(&[4, 64, 32, 16, 3], Relu, He::normal()), t.iris(), Adam(3e-3), s)),
    healthy("iris, mixed activations", |t, s, _| {
        let net = Sequential::input(4).linear(20).activation(Relu).linear(16).activation(Tanh).linear(12);
        case(net.activation(Gelu).linear(3).build(), t.iris(), Adam(5e-3), s)
    }),
    healthy("wine, gelu", |t, s, _| case(stack(&deep(13, 48, 3, 3), Gelu, He::normal()), t.wine(), Adam(2e-3), s)),
    healthy("wine, sigmoid", |t, s, _| case(stack(&[13, 24, 3], Sigmoid, Glorot::uniform()), t.wine(), Adam(1e-2), s)),
    healthy("wine, softsign", |t, s, _| {
        case(stack(&deep(13, 24, 3, 3), Softsign, LeCun::normal()), t.wine(), Momentum(0.05), s)
    }),
    healthy("cancer, relu", |t, s, _| {
        case(stack(&deep(30, 32, 5, 2), Relu, He::normal()), t.cancer(), Momentum(0.01), s)
    }),
    healthy("cancer, norms", |t, s, _| case(normed(30, 32, 4, 2), t.cancer(), Adam(1e-3), s)),
    healthy("cancer, zero output layer", |t, s, _| {
        let net = Sequential::input(30).linear(40).activation(Elu::new(1.0)?).linear(40).activation(Elu::new(1.0)?);
        case(net.layer(Linear::new(40, 2).weights(Zeros)).build(), t.cancer(), Adam(3e-3), s)
    }),
    healthy("cancer, logistic regression", |t, s, _| {
        case(stack(&[30, 2], Tanh, Glorot::uniform()), t.cancer(), Sgd(0.1), s)
    }),
    healthy("diabetes, swish", |t, s, _| {
        case(stack(&deep(10, 32, 3, 1), Swish::SILU, He::normal()), t.diabetes(), AdamW(1e-3), s)
    }),
    healthy("diabetes, prelu", |t, s, _| {
        let net = Sequential::input(10).linear(32).prelu().linear(32).prelu().linear(1);
        case(net.build(), t.diabetes(), RmsProp(1e-3), s)
    }),
    healthy("digits, not centred", |t, s, _| {
        case(stack(&[64, 96, 48, 10], Relu, He::normal()), t.digits_from_zero(1.0), Sgd(0.1), s)
    }),
    healthy("digits, norm first", |t, s, _| {
        let net = Sequential::input(64).layer(RmsNorm::new(64)).linear(64).activation(Relu).linear(64).activation(Relu);
        case(net.linear(10).build(), t.digits_from_zero(16.0), Adam(2e-3), s)
    }),
    healthy("digits, first weights scaled down", |t, s, _| {
        let first = Linear::new(64, 64).weights(He::normal().gain(0.1));
        let net = Sequential::input(64).layer(first).activation(Relu).linear(10);
        case(net.build(), t.digits_from_zero(16.0), Adam(1e-3), s)
    }),
    healthy("digits, dropout", |t, s, _| {
        let net = Sequential::input(64).linear(96).activation(Relu).layer(Dropout::new(96, 0.5)?).linear(96);
        case(net.activation(Relu).layer(Dropout::new(96, 0.5)?).linear(10).build(), t.digits(), Adam(2e-3), s)
    }),
    healthy("digits, zero branches", |t, s, _| {
        let mut net = Sequential::<f32>::input(64).linear(32);
        for _ in 0..6 {
            net = net.residual(|branch| {
                let last = Linear::new(32, 32).weights(Zeros);
                branch.layer(LayerNorm::new(32)).linear(32).activation(Gelu).layer(last)
            });
        }
        case(net.layer_norm().linear(10).build(), t.digits(), Adam(2e-3), s)
    }),
    healthy("digits, ReZero", |t, s, _| {
        case(residual(64, 32, 8, BranchScale::Learned(0.0), false, 10), t.digits(), Adam(2e-3), s)
    }),
    healthy("digits, scaled residual", |t, s, _| {
        case(residual(64, 32, 10, BranchScale::Fixed(0.316), false, 10), t.digits(), Momentum(0.01), s)
    }),
    healthy("digits, pre-norm residual", |t, s, _| {
        case(residual(64, 32, 12, BranchScale::Fixed(1.0), true, 10), t.digits(), Adam(1e-3), s)
    }),
    healthy("digits, autoencoder", |t, s, _| {
        case(stack(&[64, 32, 8, 32, 64], Tanh, LeCun::normal()), t.autoencoded(), Adam(3e-3), s)
    }),
    healthy("digits, deep critical tanh", |t, s, _| {
        case(stack(&deep(64, 48, 20, 10), Tanh, CriticalGain::new(&Tanh)?), t.digits(), Sgd(0.02), s)
    }),
    healthy("digits, selu", |t, s, _| {
        case(stack(&deep(64, 48, 8, 10), Selu, LeCun::normal()), t.digits(), Momentum(0.005), s)
    }),
    healthy("digits, wide", |t, s, _| case(stack(&[64, 256, 10], Relu, He::normal()), t.digits(), Sgd(0.05), s)),
    healthy("digits, warm start", |t, s, _| {
        let net = stack(&deep(64, 64, 2, 10), Tanh, LeCun::normal());
        with(case(net, t.digits(), Adam(3e-3), s), |recipe| recipe.before = 300)
    }),
    healthy("sunspots, GRU", |t, s, _| {
        spanning(case(last_step(Recurrent::new(1, 24, Gru::new()), 1), t.sunspots(16), Adam(5e-3), s), 3)
    }),
    healthy("sunspots, Elman", |t, s, _| {
        let layer = Recurrent::new(1, 24, Elman::new(Tanh)).recurrent(Orthogonal { gain: 0.9 });
        spanning(case(last_step(layer, 1), t.sunspots(12), Adam(3e-3), s), 3)
    }),
    healthy("sunspots, stacked LSTM", |t, s, _| {
        let net = Sequential::input(1).recurrent(16, Lstm::new()).recurrent(16, Lstm::new()).last_step().linear(1);
        spanning(case(net.build(), t.sunspots(16), Adam(5e-3), s), 3)
    }),
    healthy("sunspots, bidirectional", |t, s, _| {
        let net = Sequential::input(1).bidirectional(12, Gru::new()).mean_over_steps().linear(1);
        spanning(case(net.build(), t.sunspots(12), Adam(5e-3), s), 3)
    }),
    healthy("digits by row, LSTM", |t, s, _| {
        spanning(case(last_step(Recurrent::new(8, 32, Lstm::new()), 10), t.digit_rows(), Adam(5e-3), s), 7)
    }),
    healthy("digits by row, identity recurrence", |t, s, _| {
        let layer = Recurrent::new(8, 32, Elman::new(Relu)).recurrent(Identity { scale: 1.0 });
        let made = case(last_step(layer, 10), t.digit_rows(), Adam(2e-3), s);
        spanning(with(made, |recipe| recipe.clip = Some(1.0)), 7)
    }),
    healthy("digits, weight decay of 1", |t, s, _| {
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), AdamW(3e-3), s);
        with(made, |recipe| recipe.decay = Some(1.0))
    }),
    healthy("wine, L2 penalty of 1e-2", |t, s, _| {
        let made = case(stack(&deep(13, 24, 2, 3), Tanh, LeCun::normal()), t.wine(), Sgd(0.1), s);
        with(made, |recipe| recipe.decay = Some(1e-2))
    }),
    healthy("digits, dropout of 0.7", |t, s, _| {
        let net = Sequential::input(64).linear(128).activation(Relu).layer(Dropout::new(128, 0.7)?).linear(10);
        case(net.build(), t.digits(), Adam(3e-3), s)
    }),
    healthy("digits, in their own order", |t, s, _| {
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), Sgd(0.1), s);
        with(made, |recipe| recipe.in_order = true)
    }),
    healthy("sunspots, in their own order", |t, s, _| {
        let net = last_step(Recurrent::new(1, 16, Gru::new()), 1);
        let made = case(net, t.sunspots(16), Adam(5e-3), s);
        spanning(with(made, |recipe| recipe.in_order = true), 3)
    }),
    healthy("pixels, sigmoid outputs", |t, s, _| {
        let net = Sequential::input(64).linear(32).activation(Tanh).linear(64).activation(Sigmoid);
        case(net.build(), t.autoencoded_from_zero(), Adam(5e-3), s)
    }),
    healthy("wine, a sample × 10", |t, s, _| {
        case(stack(&deep(13, 24, 2, 3), Relu, He::normal()), t.wine().wild(17, 10.0, None), Adam(2e-3), s)
    }),
    healthy("digits, relu of 14 layers", |t, s, _| {
        case(stack(&deep(64, 64, 14, 10), Relu, He::normal()), t.digits(), Adam(5e-4), s)
    }),
    healthy("cancer, tanh outputs", |t, s, _| {
        let net = Sequential::input(30).linear(24).activation(Relu).linear(30).activation(Tanh);
        let cancer = t.cancer();
        let y = super::data::Targets::Values(30, cancer.x.iter().map(|x| 0.8 * x.clamp(-1.0, 1.0)).collect());
        case(net.build(), Data { y, ..cancer }, Adam(3e-3), s)
    }),
    healthy("digits by row, dropout before an LSTM", |t, s, _| {
        let net = Sequential::input(8).layer(Dropout::new(8, 0.3)?).recurrent(32, Lstm::new()).last_step().linear(10);
        spanning(case(net.build(), t.digit_rows(), Adam(5e-3), s), 7)
    }),
    sick("inputs of 1e-3", &[UnscaledInput], |t, s, sick| {
        let data = t.iris().scaled(if sick { 1e-3 } else { 1.0 });
        case(stack(&[4, 24, 3], Tanh, LeCun::normal()), data, Sgd(0.1), s)
    })
    .at(&[0]),
    sick("raw table", &[UnscaledInput], |t, s, sick| {
        let data = if sick { t.cancer_raw() } else { t.cancer() };
        case(stack(&deep(30, 32, 3, 2), Tanh, LeCun::normal()), data, Momentum(0.01), s)
    })
    .at(&[0]),
    sick("targets as they are", &[UnscaledTarget], |t, s, sick| {
        let data = if sick { t.diabetes_raw(1.0) } else { t.diabetes() };
        case(stack(&deep(10, 24, 2, 1), Relu, He::normal()), data, Adam(1e-3), s)
    }),
    sick("targets of 1e6", &[UnscaledTarget], |t, s, sick| {
        let data = if sick { t.diabetes_raw(1e4) } else { t.diabetes() };
        case(stack(&deep(10, 24, 2, 1), Tanh, LeCun::normal()), data, Adam(3e-3), s)
    }),
    sick("gain 0.2", &[SmallWeights], |t, s, sick| {
        let gain = if sick { 0.28 } else { std::f64::consts::SQRT_2 };
        case(stack(&deep(13, 40, 10, 3), Relu, He::normal().gain(gain)), t.wine(), Adam(1e-3), s)
    }),
    sick("gain 5", &[LargeWeights], |t, s, sick| {
        let gain = if sick { 5.0 } else { 1.1 };
        case(stack(&deep(13, 40, 6, 3), Tanh, LeCun::normal().gain(gain)), t.wine(), Sgd(0.05), s)
    }),
    sick("sigmoid, 9 layers", &[SaturatingActivation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(64, 40, 9, 10), Sigmoid, Glorot::uniform()),
            false => stack(&deep(64, 40, 9, 10), Tanh, CriticalGain::new(&Tanh)?),
        };
        case(net, t.digits(), Adam(1e-3), s)
    }),
    sick("hard sigmoid, 8 layers", &[SaturatingActivation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(30, 32, 8, 2), HardSigmoid, Glorot::uniform()),
            false => stack(&deep(30, 32, 8, 2), Tanh, CriticalGain::new(&Tanh)?),
        };
        case(net, t.cancer(), Sgd(0.05), s)
    }),
    sick("softplus, 14 layers", &[SaturatingActivation, CollapsedRepresentation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(64, 40, 14, 10), Softplus::new(1.0)?, Glorot::uniform()),
            false => stack(&deep(64, 40, 14, 10), Tanh, CriticalGain::new(&Tanh)?),
        };
        case(net, t.digits(), Adam(1e-3), s)
    }),
    sick("a loaded layer × 50", &[LargeWeights], |t, s, sick| {
        let mut case = case(stack(&deep(30, 48, 4, 2), Tanh, LeCun::normal()), t.cancer(), Sgd(0.05), s)?;
        if sick {
            change(&mut case, "4.weight", |w| *w *= 50.0)?;
        }
        Ok(case)
    })
    .at(&[4]),
    sick("a loaded layer × 0.01", &[Bottleneck, SmallWeights], |t, s, sick| {
        let mut case = case(stack(&deep(13, 32, 6, 3), Relu, He::normal()), t.wine(), Sgd(0.05), s)?;
        if sick {
            change(&mut case, "6.weight", |w| *w *= 0.01)?;
        }
        Ok(case)
    })
    .at(&[6]),
    sick("output layer × 100", &[LargeWeights], |t, s, sick| {
        let mut case = case(stack(&deep(64, 48, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s)?;
        if sick {
            change(&mut case, "4.weight", |w| *w *= 100.0)?;
        }
        Ok(case)
    })
    .at(&[4]),
    sick("zero weights", &[ConstantWeights], |t, s, sick| {
        let mut case = case(stack(&deep(13, 24, 2, 3), Tanh, LeCun::normal()), t.wine(), Sgd(0.1), s)?;
        for block in ["0.weight", "2.weight", "4.weight"].into_iter().filter(|_| sick) {
            change(&mut case, block, |w| *w = 0.0)?;
        }
        Ok(case)
    })
    .at(&[0, 2, 4]),
    sick("constant weights", &[ConstantWeights], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(64, 24, 2, 10), Relu, Constant(0.05)),
            false => stack(&deep(64, 24, 2, 10), Relu, He::normal()),
        };
        case(net, t.digits(), Sgd(0.1), s)
    })
    .at(&[0, 2, 4]),
    sick("a dead layer", &[DeadUnits], |t, s, sick| {
        let mut case = case(stack(&deep(64, 32, 4, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s)?;
        if sick {
            change(&mut case, "4.bias", |w| *w = -25.0)?;
        }
        Ok(case)
    })
    .at(&[4, 5]),
    sick("norm of gain 0", &[Bottleneck, ConstantWeights], |t, s, sick| {
        let mut case = case(normed(64, 32, 3, 10), t.digits(), Adam(1e-3), s)?;
        if sick {
            change(&mut case, "4.gain", |w| *w = 0.0)?;
        }
        Ok(case)
    })
    .at(&[4]),
    sick("branches × 2", &[LoudBranches], |t, s, sick| {
        let scale = BranchScale::Fixed(if sick { 2.0 } else { 0.25 });
        case(residual(64, 24, 16, scale, false, 10), t.digits(), Adam(1e-3), s)
    }),
    sick("30 bare residual blocks", &[LoudBranches], |t, s, sick| {
        let scale = BranchScale::Fixed(if sick { 1.0 } else { 0.18 });
        case(residual(30, 24, 30, scale, false, 2), t.cancer(), Sgd(0.02), s)
    }),
    sick("ReLU, 45 layers", &[CollapsedRepresentation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(64, 32, 45, 10), Relu, He::normal()),
            false => residual(64, 32, 22, BranchScale::Fixed(0.21), false, 10),
        };
        case(net, t.digits(), Adam(1e-3), s)
    }),
    sick("rate × 1e-4", &[LearningRateTooLow], |t, s, sick| {
        let rate = if sick { 1e-5 } else { 0.1 };
        case(stack(&[4, 32, 3], Relu, He::normal()), t.iris(), Sgd(rate), s)
    }),
    sick("rate × 300", &[LearningRateTooHigh, DeadUnits, Overflow], |t, s, sick| {
        let rate = if sick { 3.0 } else { 0.01 };
        case(stack(&deep(13, 32, 3, 3), Relu, He::normal()), t.wine(), Momentum(rate), s)
    }),
    sick("clip of 1e-4", &[ClipThresholdTooLow], |t, s, sick| {
        let made = case(stack(&deep(30, 32, 2, 2), Relu, He::normal()), t.cancer(), Sgd(0.05), s);
        with(made, |recipe| recipe.clip = Some(if sick { 1e-4 } else { 1.0 }))
    }),
    sick("a block of rate 0", &[FrozenBlock], |t, s, sick| {
        let made = case(stack(&deep(64, 32, 3, 10), Gelu, He::normal()), t.digits(), Adam(1e-3), s);
        with(made, |recipe| recipe.still = sick.then_some("4.weight"))
    })
    .at(&[4]),
    sick("a block at a millionth of the rate", &[FrozenBlock], |t, s, sick| {
        let made = case(stack(&deep(64, 32, 3, 10), Gelu, He::normal()), t.digits(), Adam(1e-3), s);
        with(made, |recipe| (recipe.still, recipe.held_at) = (sick.then_some("4.weight"), 1e-6))
    })
    .at(&[4]),
    sick("a clip of values of 1e-6", &[ClipThresholdTooLow], |t, s, sick| {
        let made = case(stack(&deep(64, 32, 2, 10), Tanh, LeCun::normal()), t.digits(), Sgd(0.1), s);
        with(made, |recipe| (recipe.clip, recipe.clips_values) = (sick.then_some(1e-6), true))
    }),
    sick("first weights × 100", &[LargeWeights], |t, s, sick| {
        let mut case = case(stack(&deep(30, 32, 2, 2), Relu, He::normal()), t.cancer(), Sgd(0.05), s)?;
        if sick {
            change(&mut case, "0.weight", |w| *w *= 100.0)?;
        }
        Ok(case)
    })
    .at(&[0]),
    sick("most units held off by biases", &[DeadUnits], |t, s, sick| {
        let mut case = case(stack(&deep(64, 32, 3, 10), Relu, He::normal()), t.digits(), Sgd(0.05), s)?;
        if sick {
            let unit = std::cell::Cell::new(0);
            let hold = |w: &mut f32| *w = if unit.replace(unit.get() + 1) < 2 { *w } else { -30.0 };
            change(&mut case, "4.bias", hold)?;
        }
        Ok(case)
    })
    .at(&[5]),
    sick("small weights in one of two towers", &[SmallWeights, Bottleneck], |t, s, sick| {
        let tower = |gain: f64| {
            move |mut tower: chainrule::network::Builder<f32>| {
                for _ in 0..6 {
                    let weights = LeCun::normal().gain(gain);
                    tower = tower.layer(Linear::new(32, 32).weights(weights)).activation(Tanh);
                }
                tower
            }
        };
        let first = Sequential::<f32>::input(64).linear(32).activation(Tanh);
        let towers = first.parallel(chainrule::layer::Merge::Concatenate, |all| {
            all.branch(tower(1.0)).branch(tower(if sick { 0.2 } else { 1.0 }))
        });
        case(towers.linear(10).build(), t.digits(), Sgd(0.05), s)
    })
    .at(&[2]),
    sick("a GRU that never updates", &[ClosedInputGate], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("update", Constant(if sick { 8.0 } else { 0.0 }));
        let layer = Recurrent::new(1, 20, Gru::new()).bias(bias);
        spanning(case(last_step(layer, 1), t.sunspots(16), Adam(3e-3), s), 3)
    })
    .at(&[0]),
    sick("input gate shut", &[ClosedInputGate], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("forget", Constant(1.0));
        let bias = bias.gate("input", Constant(if sick { -8.0 } else { 0.0 }));
        spanning(case(last_step(Recurrent::new(1, 20, Lstm::new()).bias(bias), 1), t.sunspots(16), Adam(3e-3), s), 3)
    })
    .at(&[0]),
    sick("output gate shut", &[ClosedOutputGate], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("output", Constant(if sick { -8.0 } else { 0.0 }));
        spanning(case(last_step(Recurrent::new(8, 24, Lstm::new()).bias(bias), 10), t.digit_rows(), Adam(3e-3), s), 7)
    })
    .at(&[0]),
    sick("forget gate shut", &[ClosedForgetGate], |t, s, sick| {
        let layer = match sick {
            true => Recurrent::new(2, 24, Lstm::new()).bias(ByGate::new(Zeros).gate("forget", Constant(-5.0))),
            false => Recurrent::new(2, 24, Lstm::new()).bias(Chrono { span: 30 }),
        };
        spanning(case(last_step(layer, 2), t.remembered(31), Adam(1e-2), s), 30)
    })
    .at(&[0]),
    sick("tanh recurrence of gain 0.4", &[VanishingRecurrence], |t, s, sick| {
        let net = match sick {
            true => last_step(Recurrent::new(2, 24, Elman::new(Tanh)).recurrent(Orthogonal { gain: 0.4 }), 2),
            false => last_step(Recurrent::new(2, 24, Lstm::new()).bias(Chrono { span: 25 }), 2),
        };
        spanning(case(net, t.remembered(26), Adam(1e-2), s), 25)
    })
    .at(&[0]),
    sick("tanh recurrence of gain 2.5", &[ExplodingRecurrence], |t, s, sick| {
        let gain = if sick { 2.5 } else { 0.9 };
        let layer = Recurrent::new(1, 24, Elman::new(Tanh)).recurrent(Orthogonal { gain });
        spanning(case(last_step(layer, 1), t.sunspots(24), Adam(3e-3), s), 23)
    })
    .at(&[0]),
    sick("weights beyond the format", &[Overflow], |t, s, sick| {
        let mut case = case(stack(&deep(30, 32, 3, 2), Relu, He::normal()), t.cancer(), Sgd(0.05), s)?;
        for block in ["2.weight", "4.weight"].into_iter().filter(|_| sick) {
            change(&mut case, block, |w| *w *= 1e25)?;
        }
        Ok(case)
    })
    .at(&[2, 4]),
    sick("schedule of 8 steps", &[LearningRateTooLow], |t, s, sick| {
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s);
        with(made, |recipe| recipe.ends = sick.then_some(8))
    }),
    outside("labels without information", |t, s, sick| {
        let data = if sick { t.wine().shuffled_labels(s) } else { t.wine() };
        case(stack(&deep(13, 16, 1, 3), Tanh, LeCun::normal()), data, Sgd(0.05), s)
    }),
    outside("six labels in ten exchanged", |t, s, sick| {
        let data = if sick { t.digits().noisy_labels(6, s) } else { t.digits() };
        case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), data, Adam(1e-3), s)
    }),
    outside("two hidden units", |t, s, sick| {
        let width = if sick { 2 } else { 48 };
        case(stack(&[64, width, 10], Tanh, LeCun::normal()), t.digits(), Adam(3e-3), s)
    }),
    outside("a linear network on a product", |t, s, sick| {
        let data = t.diabetes().product_of([2, 8]);
        let net = match sick {
            true => stack(&deep(10, 24, 2, 1), chainrule::activation::Identity, LeCun::normal()),
            false => stack(&deep(10, 24, 2, 1), Tanh, LeCun::normal()),
        };
        case(net, data, Adam(3e-3), s)
    }),
    outside("class numbers as values", |t, s, sick| match sick {
        true => case(stack(&deep(64, 32, 2, 1), Relu, He::normal()), t.digits().classes_as_values(), Adam(1e-3), s),
        false => case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s),
    }),
    outside("targets of the sample before", |t, s, sick| {
        let data = if sick { t.diabetes().shifted_targets() } else { t.diabetes() };
        case(stack(&deep(10, 24, 2, 1), Relu, He::normal()), data, Adam(1e-3), s)
    }),
    outside("updates up the gradient", |t, s, sick| {
        let made = case(stack(&deep(13, 24, 2, 3), Tanh, LeCun::normal()), t.wine(), Sgd(0.05), s);
        with(made, |recipe| recipe.climbs = sick)
    }),
    outside("updates up the gradient, Adam", |t, s, sick| {
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s);
        with(made, |recipe| recipe.climbs = sick)
    }),
    outside("columns of other samples", |t, s, sick| {
        let data = if sick { t.wine().exchanged_columns(s, |column| column % 4 != 0) } else { t.wine() };
        case(stack(&deep(13, 24, 2, 3), Tanh, LeCun::normal()), data, Sgd(0.05), s)
    }),
    outside("a class is missing", |t, s, sick| {
        let data = t.digits().only(usize::MAX, |class| !sick || class > 2);
        judged(case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), data, Adam(1e-3), s), t.digits())
    }),
    outside("forty samples", |t, s, sick| {
        let data = t.digits().only(if sick { 40 } else { usize::MAX }, |_| true);
        judged(case(stack(&deep(64, 64, 2, 10), Gelu, He::normal()), data, Adam(1e-3), s), t.digits())
    }),
    outside("judged at another scale", |t, s, sick| {
        let made = case(stack(&deep(30, 32, 2, 2), Tanh, LeCun::normal()), t.cancer(), Sgd(0.05), s);
        judged(made, if sick { t.cancer_raw() } else { t.cancer() })
    }),
    outside("judged by exchanged labels", |t, s, sick| {
        let data = if sick { t.digits().exchanged_labels() } else { t.digits() };
        judged(case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s), data)
    }),
    outside("the last steps are missing", |t, s, sick| {
        let data = if sick { t.sunspots(16).without_last_steps(12) } else { t.sunspots(16) };
        spanning(case(last_step(Recurrent::new(1, 20, Gru::new()), 1), data, Adam(5e-3), s), 3)
    }),
    sick("Adam's rate × 1e-3", &[LearningRateTooLow], |t, s, sick| {
        let rate = if sick { 1e-5 } else { 1e-2 };
        case(stack(&deep(30, 24, 2, 2), Relu, LeCun::normal()), t.cancer(), Adam(rate), s)
    }),
    sick("targets of 1e-4", &[UnscaledTarget], |t, s, sick| {
        let data = t.diabetes().targets_scaled(if sick { 1e-4 } else { 1.0 });
        case(stack(&deep(10, 24, 2, 1), Relu, He::normal()), data, Adam(5e-3), s)
    }),
    sick("a loaded layer × 50 before a rectifier", &[LargeWeights], |t, s, sick| {
        let mut case = case(stack(&deep(64, 48, 3, 10), Relu, He::normal()), t.digits(), Sgd(0.02), s)?;
        if sick {
            change(&mut case, "2.weight", |w| *w *= 50.0)?;
        }
        Ok(case)
    })
    .at(&[2]),
    sick("two different rows", &[BadData], |t, s, sick| {
        let data = if sick { t.digits().repeated(2) } else { t.digits() };
        case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), data, Adam(1e-3), s)
    })
    .incurable(),
    healthy("digits, warm-up of 200 steps", |t, s, _| {
        let made = case(stack(&deep(64, 48, 2, 10), Relu, He::normal()), t.digits(), Adam(2e-3), s);
        with(made, |recipe| recipe.warms_up = Some(200))
    }),
    healthy("wine, four settings of two columns", |t, s, _| {
        // The signs of two columns alone: 4 different inputs.
        let mut data = t.wine();
        data.x = data.x.chunks(13).flat_map(|row| [row[6].signum(), row[9].signum()]).collect();
        data.width = 2;
        case(stack(&deep(2, 16, 2, 3), Tanh, LeCun::normal()), data, Sgd(0.1), s)
    }),
    healthy("diabetes, small targets", |t, s, _| {
        let net = Sequential::input(10).linear(24).activation(Tanh).layer(Linear::new(24, 1).weights(Zeros));
        case(net.build(), t.diabetes().targets_scaled(0.1), Adam(3e-3), s)
    }),
    sick("dropout of 0.95", &[DropoutTooHeavy], |t, s, sick| {
        let rate = if sick { 0.95 } else { 0.1 };
        let net = Sequential::input(64).linear(48).activation(Relu).layer(Dropout::new(48, rate)?).linear(48);
        case(net.activation(Relu).layer(Dropout::new(48, rate)?).linear(10).build(), t.digits(), Adam(2e-3), s)
    })
    .at(&[2, 5]),
    sick("dropout of 0.98 before an LSTM", &[DropoutTooHeavy], |t, s, sick| {
        let net = Sequential::input(8).layer(Dropout::new(8, if sick { 0.98 } else { 0.1 })?);
        let net = net.recurrent(24, Lstm::new()).last_step().linear(10).build();
        spanning(case(net, t.digit_rows(), Adam(5e-3), s), 7)
    })
    .at(&[0]),
    sick("sorted samples", &[UnmixedBatches], |t, s, sick| {
        let data = if sick { t.digits().sorted() } else { t.digits() };
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), data, Sgd(0.05), s);
        with(made, |recipe| recipe.in_order = true)
    }),
    sick("sorted table", &[UnmixedBatches], |t, s, sick| {
        let data = if sick { t.cancer().sorted() } else { t.cancer() };
        let made = case(stack(&deep(30, 24, 2, 2), Tanh, LeCun::normal()), data, Adam(5e-3), s);
        with(made, |recipe| recipe.in_order = true)
    }),
    sick("weight decay of 30", &[DecayTooStrong], |t, s, sick| {
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), AdamW(3e-3), s);
        with(made, |recipe| recipe.decay = sick.then_some(30.0))
    }),
    sick("L2 penalty of 1", &[DecayTooStrong], |t, s, sick| {
        let made = case(stack(&deep(13, 24, 2, 3), Tanh, LeCun::normal()), t.wine(), Sgd(0.05), s);
        with(made, |recipe| recipe.decay = sick.then_some(1.0))
    }),
    sick("softmax before a cross-entropy", &[SquashedOutputs], |t, s, sick| {
        let net = Sequential::input(64).linear(32).activation(Relu).linear(10);
        let net = if sick { net.layer(Softmax::new(10)) } else { net };
        case(net.build(), t.digits(), Adam(1e-3), s)
    })
    .at(&[3]),
    sick("sigmoid before a squared error", &[SquashedOutputs], |t, s, sick| {
        let net = Sequential::input(10).linear(24).activation(Tanh).linear(1);
        let net = if sick { net.activation(Sigmoid) } else { net };
        case(net.build(), t.diabetes(), Adam(3e-3), s)
    })
    .at(&[3]),
    sick("a sample × 1e5", &[BadData], |t, s, sick| {
        let data = if sick { t.wine().wild(17, 1e5, None) } else { t.wine() };
        judged(case(stack(&deep(13, 24, 2, 3), Relu, He::normal()), data, Sgd(0.05), s), t.wine())
    }),
    sick("a target of 1e5", &[BadData], |t, s, sick| {
        let data = if sick { t.diabetes().wild(40, 1.0, Some(1e5)) } else { t.diabetes() };
        judged(case(stack(&deep(10, 24, 2, 1), Relu, He::normal()), data, Adam(3e-3), s), t.diabetes())
    }),
    sick("ReLU, 60 layers, table", &[CollapsedRepresentation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(13, 24, 60, 3), Relu, He::normal()),
            false => residual(13, 24, 30, BranchScale::Fixed(0.18), false, 3),
        };
        case(net, t.wine(), Adam(1e-3), s)
    }),
    sick("softplus, 20 layers, table", &[SaturatingActivation, CollapsedRepresentation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(30, 32, 20, 2), Softplus::new(1.0)?, He::normal()),
            false => stack(&deep(30, 32, 20, 2), Tanh, CriticalGain::new(&Tanh)?),
        };
        case(net, t.cancer(), Adam(1e-3), s)
    }),
    sick("Adam's rate × 1e-4", &[LearningRateTooLow], |t, s, sick| {
        let rate = if sick { 3e-7 } else { 3e-3 };
        case(stack(&deep(64, 48, 2, 10), Gelu, He::normal()), t.digits(), Adam(rate), s)
    }),
    sick("output gate shut, series", &[ClosedOutputGate], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("output", Constant(if sick { -7.0 } else { 0.0 }));
        spanning(case(last_step(Recurrent::new(1, 20, Lstm::new()).bias(bias), 1), t.sunspots(16), Adam(3e-3), s), 3)
    })
    .at(&[0]),
    sick("weight decay of 20, LSTM", &[DecayTooStrong], |t, s, sick| {
        let made = case(last_step(Recurrent::new(8, 24, Lstm::new()), 10), t.digit_rows(), AdamW(5e-3), s);
        spanning(with(made, |recipe| recipe.decay = sick.then_some(20.0)), 7)
    }),
    sick("sigmoid before a cross-entropy", &[SquashedOutputs], |t, s, sick| {
        let net = Sequential::input(13).linear(24).activation(Tanh).linear(3);
        let net = if sick { net.activation(Sigmoid) } else { net };
        case(net.build(), t.wine(), Adam(3e-3), s)
    })
    .at(&[3]),
    sick("sorted sequences", &[UnmixedBatches], |t, s, sick| {
        let data = if sick { t.digit_rows().sorted() } else { t.digit_rows() };
        let made = case(last_step(Recurrent::new(8, 32, Gru::new()), 10), data, Adam(5e-3), s);
        spanning(with(made, |recipe| recipe.in_order = true), 7)
    }),
    healthy("digits, two tanh units between rectifiers", |t, s, _| {
        let net = Sequential::input(64).layer(Linear::new(64, 40).weights(He::normal())).activation(Relu);
        let net = net.layer(Linear::new(40, 3).weights(He::normal())).activation(Tanh);
        let net = net.layer(Linear::new(3, 40).weights(He::normal())).activation(Relu).linear(10);
        case(net.build(), t.digits(), Adam(5e-3), s)
    }),
    healthy("digits, as they are", |t, s, _| {
        case(stack(&[64, 56, 40, 10], Relu, He::normal()), t.digits_from_zero(14.0), Adam(1e-3), s)
    }),
    sick("a rate × 1.05 each step", &[LearningRateTooHigh], |t, s, sick| {
        let made = case(stack(&deep(64, 40, 2, 10), Relu, He::normal()), t.digits(), Momentum(0.01), s);
        with(made, |recipe| recipe.ramps = sick.then_some(1.05))
    }),
    sick("a rate × 1.06 each step, Adam", &[LearningRateTooHigh], |t, s, sick| {
        let made = case(stack(&deep(13, 24, 3, 3), Swish::SILU, He::normal()), t.wine(), Adam(2e-3), s);
        with(made, |recipe| recipe.ramps = sick.then_some(1.06))
    }),
    sick("momentum at a rate × 1e-4", &[LearningRateTooLow], |t, s, sick| {
        let rate = if sick { 5e-6 } else { 0.05 };
        case(stack(&deep(30, 24, 2, 2), Tanh, LeCun::normal()), t.cancer(), Momentum(rate), s)
    }),
    sick("momentum at a rate × 1e-4, LSTM", &[LearningRateTooLow], |t, s, sick| {
        let rate = if sick { 2e-5 } else { 0.2 };
        let net = last_step(Recurrent::new(8, 20, Lstm::new()), 10);
        spanning(case(net, t.digit_rows(), Momentum(rate), s), 7)
    }),
    sick("targets of mean 500", &[UnscaledTarget], |t, s, sick| {
        let data = t.diabetes().targets_moved(if sick { 500.0 } else { 0.0 });
        case(stack(&deep(10, 32, 2, 1), Tanh, LeCun::normal()), data, Adam(3e-3), s)
    }),
    sick("a gated layer × 60", &[LargeWeights], |t, s, sick| {
        let net = Sequential::input(64).gated_linear(32, Sigmoid).gated_linear(32, Sigmoid).linear(10);
        let mut case = case(net.build(), t.digits(), Momentum(0.02), s)?;
        if sick {
            change(&mut case, "1.weight", |w| *w *= 60.0)?;
        }
        Ok(case)
    })
    .at(&[1]),
    sick("input weights of a GRU × 100", &[LargeWeights], |t, s, sick| {
        let mut case = case(last_step(Recurrent::new(8, 24, Gru::new()), 10), t.digit_rows(), Adam(3e-3), s)?;
        if sick {
            change(&mut case, "0.weight", |w| *w *= 100.0)?;
        }
        spanning(Ok(case), 7)
    })
    .at(&[0]),
    two("raw table and gain 0.2", &[UnscaledInput, SmallWeights], |t, s, sick| {
        let (data, gain) = if sick { (t.cancer_raw(), 0.28) } else { (t.cancer(), std::f64::consts::SQRT_2) };
        case(stack(&deep(30, 32, 8, 2), Relu, He::normal().gain(gain)), data, Adam(1e-3), s)
    }),
    two("raw table and a block of rate 0", &[UnscaledInput, FrozenBlock], |t, s, sick| {
        let data = if sick { t.cancer_raw() } else { t.cancer() };
        let made = case(stack(&deep(30, 32, 3, 2), Tanh, LeCun::normal()), data, Momentum(0.01), s);
        with(made, |recipe| recipe.still = sick.then_some("2.weight"))
    }),
    two("a dead layer and a clip of 1e-4", &[DeadUnits, ClipThresholdTooLow], |t, s, sick| {
        let mut case = case(stack(&deep(64, 32, 3, 10), Relu, He::normal()), t.digits(), Sgd(0.1), s)?;
        if sick {
            change(&mut case, "4.bias", |w| *w = -25.0)?;
        }
        with(Ok(case), |recipe| recipe.clip = Some(if sick { 1e-4 } else { 1.0 }))
    }),
    two("targets of 150 and sigmoid, 8 layers", &[UnscaledTarget, SaturatingActivation], |t, s, sick| {
        let (net, data) = match sick {
            true => (stack(&deep(10, 24, 8, 1), Sigmoid, Glorot::uniform()), t.diabetes_raw(1.0)),
            false => (stack(&deep(10, 24, 8, 1), Tanh, CriticalGain::new(&Tanh)?), t.diabetes()),
        };
        case(net, data, Adam(1e-3), s)
    }),
    two("output layer × 100 and a block of rate 0", &[LargeWeights, FrozenBlock], |t, s, sick| {
        let mut case = case(stack(&deep(64, 48, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s)?;
        if sick {
            change(&mut case, "4.weight", |w| *w *= 100.0)?;
        }
        with(Ok(case), |recipe| recipe.still = sick.then_some("0.weight"))
    }),
    two("input gate shut and targets of 1e3", &[ClosedInputGate, UnscaledTarget], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("input", Constant(if sick { -8.0 } else { 0.0 }));
        let data = t.sunspots(16).targets_scaled(if sick { 1e3 } else { 1.0 });
        spanning(case(last_step(Recurrent::new(1, 20, Lstm::new()).bias(bias), 1), data, Adam(3e-3), s), 3)
    }),
    two("branches × 2 and a rate × 1e-4", &[LoudBranches, LearningRateTooLow], |t, s, sick| {
        let (scale, rate) = if sick { (2.0, 1e-7) } else { (0.25, 1e-3) };
        case(residual(64, 24, 16, BranchScale::Fixed(scale), false, 10), t.digits(), Adam(rate), s)
    }),
    two("constant weights and inputs of 1e-3", &[ConstantWeights, UnscaledInput], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(64, 24, 2, 10), Tanh, Constant(0.05)),
            false => stack(&deep(64, 24, 2, 10), Tanh, LeCun::normal()),
        };
        case(net, t.digits().scaled(if sick { 1e-3 } else { 1.0 }), Sgd(0.1), s)
    }),
    two("a loaded layer × 50 and a rate × 1e-4", &[LargeWeights, LearningRateTooLow], |t, s, sick| {
        let net = stack(&deep(30, 48, 4, 2), Tanh, LeCun::normal());
        let mut case = case(net, t.cancer(), Sgd(if sick { 5e-6 } else { 0.05 }), s)?;
        if sick {
            change(&mut case, "4.weight", |w| *w *= 50.0)?;
        }
        Ok(case)
    }),
    two("output gate shut and inputs of 1e-3", &[ClosedOutputGate, UnscaledInput], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("output", Constant(if sick { -8.0 } else { 0.0 }));
        let data = t.digit_rows().scaled(if sick { 1e-3 } else { 1.0 });
        spanning(case(last_step(Recurrent::new(8, 24, Lstm::new()).bias(bias), 10), data, Adam(3e-3), s), 7)
    }),
];
