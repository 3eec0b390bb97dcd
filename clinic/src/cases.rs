//! The cases: small networks drawn from a grid, most with one planted fault, the others healthy in unusual ways.

use crate::{data::Table, run::train};
use chainrule::{
    Activation, Error, Scalar,
    activation::{Gelu, Identity, Relu, Sigmoid, Tanh},
    diagnosis::Cause,
    initializer::{ByGate, Chrono, Constant, CriticalGain, Glorot, He, Initializer, LeCun, Orthogonal, Zeros},
    layer::{ActivationLayer, LastStep, Layer, LayerNorm, Linear, Residual, Sequential, initialize},
    loss::Target,
    random::{self, generator},
    recurrent::{Elman, Lstm, Recurrent},
};

/// Pixels of a digit; classes.
const PIXELS: usize = 64;

/// How a case is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    pub rate: f64,
    pub adam: bool,
    pub clip: Option<f64>,
    /// A block that gets a learning rate of 0.
    pub still: Option<&'static str>,
    /// A layer that the user froze.
    pub frozen: Option<&'static str>,
    /// The factor on the loss.
    pub scale: f32,
    pub steps: usize,
    /// Steps before the monitor is attached.
    pub before: usize,
}

/// The planted fault: its causes and layers; no layers if it concerns the whole network.
#[derive(Clone, Debug)]
pub struct Planted {
    /// The cause, then other causes that count as right for the same fault.
    pub causes: Vec<Cause>,
    pub layers: Vec<usize>,
}

/// The targets of all samples.
#[derive(Clone, Debug)]
pub enum Targets {
    Classes(Vec<usize>),
    /// A number of values a sample, of variance at most 1.
    Values(usize, Vec<f32>),
}

impl Targets {
    pub fn samples(&self) -> usize {
        match self {
            Targets::Classes(y) => y.len(),
            Targets::Values(width, y) => y.len() / width,
        }
    }

    pub fn all(&self) -> Target<'_, f32> {
        match self {
            Targets::Classes(y) => Target::Classes(y),
            Targets::Values(_, y) => Target::Values(y),
        }
    }
}

/// A network with its first parameters, data, training and planted fault.
pub struct Case {
    pub seed: u64,
    pub name: String,
    pub network: Sequential<f32>,
    pub w: Vec<f32>,
    pub x: Vec<f32>,
    pub y: Targets,
    pub width: usize,
    /// Steps of a sequence, and the number of steps that the task must remember.
    pub sequence: usize,
    pub span: usize,
    pub recipe: Recipe,
    pub planted: Option<Planted>,
}

/// `φ(z) = √z`, NaN for every z below 0.
#[derive(Clone, Copy, Debug)]
struct SquareRoot;

impl Activation for SquareRoot {
    fn value<T: Scalar>(&self, z: T) -> T {
        z.sqrt()
    }
    fn derivative<T: Scalar>(&self, _z: T, y: T) -> T {
        (y + y).recip()
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Relu,
    Tanh,
    Gelu,
    Sigmoid,
}

/// The generator of a case's choices.
struct Draw {
    rng: rand::Drawn,
}

mod rand {
    use super::{generator, random};

    /// Choices drawn from a seed.
    pub struct Drawn(Box<dyn chainrule::rand_core::Rng>);

    impl Drawn {
        pub fn new(seed: u64) -> Self {
            Drawn(Box::new(generator(seed)))
        }
        pub fn below(&mut self, n: usize) -> usize {
            random::below(&mut *self.0, n)
        }
        /// Between `low` and `high`, evenly on a logarithmic scale.
        pub fn between(&mut self, low: f64, high: f64) -> f64 {
            low * (high / low).powf(self.below(1 << 20) as f64 / f64::from(1 << 20))
        }
    }
}

/// Rows of digits with their classes, and the sunspot numbers in order, all of mean 0 and variance 1.
pub struct Tables {
    pub digits: Table,
    pub sunspots: Vec<f32>,
}

fn blobs(rng: &mut rand::Drawn, rows: usize) -> (Vec<f32>, Vec<usize>) {
    let mut normals = random::Normals::new();
    let mut source = generator(rng.below(1 << 30) as u64);
    let mut next = || normals.next(&mut source) as f32;
    let centres: Vec<f32> = (0..10 * PIXELS).map(|_| 0.5 * next()).collect();
    let y: Vec<usize> = (0..rows).map(|i| i % 10).collect();
    let x = y.iter().flat_map(|&y| centres[y * PIXELS..][..PIXELS].to_vec()).map(|centre| centre + next()).collect();
    (x, y)
}

/// Sequences whose class is in steps `told_at` and `told_at + 1`; the other values are noise.
fn remembered(rng: &mut rand::Drawn, rows: usize, steps: usize, told_at: usize) -> (Vec<f32>, Vec<usize>) {
    let mut normals = random::Normals::new();
    let mut source = generator(rng.below(1 << 30) as u64);
    let y: Vec<usize> = (0..rows).map(|_| rng.below(2)).collect();
    let mut x = Vec::new();
    for &y in &y {
        for step in 0..steps {
            let told = step == told_at || step == told_at + 1;
            let noise = normals.next(&mut source) as f32;
            x.extend([if told { if y == 1 { 1.5 } else { -1.5 } } else { 0.0 }, 0.5 * noise]);
        }
    }
    (x, y)
}

/// Windows of the sunspot numbers, each with the number that follows.
fn forecast(rng: &mut rand::Drawn, sunspots: &[f32], rows: usize, steps: usize) -> (Vec<f32>, Targets) {
    let starts: Vec<usize> = (0..rows).map(|_| rng.below(sunspots.len() - steps)).collect();
    let x = starts.iter().flat_map(|&start| sunspots[start..][..steps].to_vec()).collect();
    (x, Targets::Values(1, starts.iter().map(|&start| sunspots[start + steps]).collect()))
}

struct Plain {
    depth: usize,
    hidden: usize,
    kind: Kind,
    gain: f64,
}

fn critical(kind: Kind, gain: f64) -> Result<chainrule::initializer::InitializerKind, Error> {
    Ok(match kind {
        Kind::Relu => He::normal().gain(std::f64::consts::SQRT_2 * gain).kind(),
        Kind::Tanh => LeCun::normal().gain(1.1 * gain).kind(),
        Kind::Gelu => {
            let CriticalGain { weight_variance, .. } = CriticalGain::new(&Gelu)?;
            LeCun::normal().gain(weight_variance.sqrt() * gain).kind()
        }
        Kind::Sigmoid => Glorot::normal().gain(gain).kind(),
    })
}

fn push_activation(network: &mut Sequential<f32>, width: usize, kind: Kind) -> Result<(), Error> {
    match kind {
        Kind::Relu => network.push(ActivationLayer::new(width, Relu)),
        Kind::Tanh => network.push(ActivationLayer::new(width, Tanh)),
        Kind::Gelu => network.push(ActivationLayer::new(width, Gelu)),
        Kind::Sigmoid => network.push(ActivationLayer::new(width, Sigmoid)),
    }
    .map(|_| ())
}

/// A plain network; layer `odd` has [`SquareRoot`] as its activation.
fn plain(Plain { depth, hidden, kind, gain }: &Plain, odd: Option<usize>) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::new(PIXELS);
    for layer in 0..*depth {
        let width = if layer == 0 { PIXELS } else { *hidden };
        network.push(Linear::new(width, *hidden).weights(critical(*kind, *gain)?).bias(Zeros))?;
        if odd == Some(layer) {
            network.push(ActivationLayer::new(*hidden, SquareRoot))?;
        } else {
            push_activation(&mut network, *hidden, *kind)?;
        }
    }
    network.push(Linear::new(*hidden, 10).weights(LeCun::normal()).bias(Zeros))?;
    Ok(network)
}

fn residual(depth: usize, hidden: usize) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::new(PIXELS);
    network.push(Linear::new(PIXELS, hidden))?;
    for _ in 0..depth {
        let mut branch = Sequential::new(hidden);
        branch.push(LayerNorm::new(hidden))?;
        branch.push(Linear::new(hidden, hidden).weights(He::normal()))?;
        branch.push(ActivationLayer::new(hidden, Relu))?;
        branch.push(Linear::new(hidden, hidden).weights(Zeros))?;
        network.push(Residual::new(branch)?)?;
    }
    network.push(Linear::new(hidden, 10))?;
    Ok(network)
}

/// A recurrent layer, its last step, and a linear layer on it.
fn over_time(layer: impl Layer<f32> + 'static, outputs: usize) -> Result<Sequential<f32>, Error> {
    let [input, hidden] = [layer.dims().input, layer.dims().output];
    let mut network = Sequential::new(input);
    network.push(layer)?;
    network.push(LastStep::new(hidden))?;
    network.push(Linear::new(hidden, outputs))?;
    Ok(network)
}

fn lstm(hidden: usize, bias: impl Initializer + 'static) -> Result<Sequential<f32>, Error> {
    over_time(Recurrent::new(2, hidden, Lstm::new()).bias(bias), 2)
}

fn elman(activation: impl Activation, hidden: usize, gain: f64) -> Result<Sequential<f32>, Error> {
    over_time(Recurrent::new(2, hidden, Elman::new(activation)).recurrent(Orthogonal { gain }), 2)
}

/// The causes that are planted.
pub const FAULTS: [Cause; 17] = [
    Cause::SaturatingActivation,
    Cause::SmallWeights,
    Cause::LargeWeights,
    Cause::ConstantWeights,
    Cause::DuplicatedUnits,
    Cause::DeadUnits,
    Cause::Bottleneck,
    Cause::UnscaledInput,
    Cause::ExplodingRecurrence,
    Cause::VanishingRecurrence,
    Cause::ClosedForgetGate,
    Cause::Cliff,
    Cause::ClipThresholdTooLow,
    Cause::LearningRateTooHigh,
    Cause::Overflow,
    Cause::NotANumber,
    Cause::FrozenBlock,
];

/// Whether a fault makes a budget vanish or explode from the start.
pub fn is_of_budget(cause: Option<Cause>) -> bool {
    use Cause::*;
    let over_depth = matches!(cause, Some(SaturatingActivation | SmallWeights | LargeWeights | Bottleneck));
    over_depth || matches!(cause, Some(ExplodingRecurrence | VanishingRecurrence | ClosedForgetGate))
}

/// Kinds of healthy networks that some rule may accuse.
const TRAPS: [&str; 16] = [
    "plain",
    "ReLU at half zeros",
    "one-hot inputs",
    "zero branches",
    "frozen layers",
    "sum-reduced loss",
    "low learning rate",
    "converged",
    "Adam at tiny gradients",
    "shallow sigmoid",
    "remembers",
    "short memory",
    "clipped at the typical norm",
    "deep and critical",
    "late saturation of outputs",
    "sunspots",
];

/// The case of a seed; with `twin`, the same without its fault.
pub fn case(seed: u64, tables: &Tables, twin: bool) -> Result<Case, Error> {
    let mut draw = Draw { rng: rand::Drawn::new(seed) };
    let rng = &mut draw.rng;
    let healthy = rng.below(10) < 4;
    let (trap, cause) = (TRAPS[rng.below(TRAPS.len())], FAULTS[rng.below(FAULTS.len())]);
    let kind = [Kind::Relu, Kind::Tanh, Kind::Gelu][rng.below(3)];
    let mut net = Plain { depth: 3 + rng.below(4), hidden: [24, 32, 48][rng.below(3)], kind, gain: 1.0 };
    let mut recipe = Recipe {
        rate: 0.05,
        adam: rng.below(2) == 1,
        clip: None,
        still: None,
        frozen: None,
        scale: 1.0,
        steps: 300,
        before: 0,
    };
    let recurrent = match healthy {
        true => matches!(trap, "remembers" | "short memory" | "clipped at the typical norm" | "sunspots"),
        false => {
            use Cause::*;
            matches!(cause, ExplodingRecurrence | VanishingRecurrence | ClosedForgetGate | Cliff)
        }
    };
    let severity = |low: f64, high: f64, rng: &mut rand::Drawn| rng.between(low, high);
    let plant = |causes: Vec<Cause>, layers: Vec<usize>| (!healthy && !twin).then_some(Planted { causes, layers });
    let name = if healthy { format!("healthy: {trap}") } else { format!("{cause}") };
    if recurrent {
        let hidden = [16, 24, 32][rng.below(3)];
        let span = 20 + rng.below(21);
        let (sequence, mut told_at) = (span + 1, 0);
        (recipe.rate, recipe.adam, recipe.clip, recipe.steps) = (0.01, true, Some(1.0), 200);
        let amount = match cause {
            Cause::ExplodingRecurrence => severity(1.6, 3.5, rng),
            Cause::VanishingRecurrence => severity(0.2, 0.6, rng),
            Cause::ClosedForgetGate => -severity(2.0, 8.0, rng),
            Cause::Cliff => severity(0.15, 0.6, rng),
            _ => severity(1.0, 3.0, rng),
        };
        let of_sunspots =
            if healthy { trap == "sunspots" } else { cause == Cause::ExplodingRecurrence && rng.below(2) == 0 };
        let (mut span, mut causes) = (span, vec![cause]);
        let network = if healthy {
            match trap {
                "short memory" => {
                    (told_at, span) = (sequence - 3, 3);
                    elman(Tanh, hidden, 0.9)?
                }
                // The next number depends on the last few.
                "sunspots" => {
                    span = 3;
                    over_time(Recurrent::new(1, hidden, Lstm::new()), 1)?
                }
                "remembers" => lstm(hidden, Chrono { span })?,
                _ => lstm(hidden, ByGate::new(Zeros).gate("forget", Constant(4.0)).gate("input", Constant(-2.0)))?,
            }
        } else {
            match cause {
                Cause::ExplodingRecurrence => {
                    (told_at, span, recipe.clip) = (sequence - 4, sequence - 1, None);
                    let gain = if twin { 0.95 } else { amount };
                    match of_sunspots {
                        true => {
                            over_time(Recurrent::new(1, hidden, Elman::new(Tanh)).recurrent(Orthogonal { gain }), 1)?
                        }
                        false => elman(Tanh, hidden, gain)?,
                    }
                }
                // The state is unbounded: after one step that is too long, the powers of U grow.
                Cause::Cliff => {
                    causes.extend([Cause::ExplodingRecurrence, Cause::LearningRateTooHigh]);
                    (recipe.adam, recipe.rate, recipe.clip) = (false, amount, twin.then_some(1.0));
                    elman(Identity, hidden, 1.0)?
                }
                Cause::VanishingRecurrence => match twin {
                    true => lstm(hidden, Chrono { span })?,
                    false => elman(Tanh, hidden, amount)?,
                },
                Cause::ClosedForgetGate if !twin => lstm(hidden, ByGate::new(Zeros).gate("forget", Constant(amount)))?,
                _ => lstm(hidden, Chrono { span })?,
            }
        };
        let (x, y) = match of_sunspots {
            true => forecast(rng, &tables.sunspots, 512, sequence),
            false => {
                let (x, y) = remembered(rng, 512, sequence, told_at);
                (x, Targets::Classes(y))
            }
        };
        let (w, width) = (initialize(&network, seed)?, network.dims().input);
        let planted = plant(causes, vec![0]);
        let mut case = Case { seed, name, network, w, x, y, width, sequence, span, recipe, planted };
        if !healthy && cause == Cause::Cliff {
            meet_the_wall(&mut case)?;
        }
        return Ok(case);
    }
    // Inputs: digits of mean 0 and variance about 1, or blobs.
    let (mut x, y) = if rng.below(2) == 0 {
        let Table { inputs, labels, .. } = &tables.digits;
        let first = rng.below(900);
        (inputs[first * PIXELS..][..800 * PIXELS].to_vec(), labels[first..][..800].to_vec())
    } else {
        blobs(rng, 800)
    };
    let mut layers = vec![];
    let place = 1 + rng.below(net.depth - 1);
    let all: Vec<usize> = (0..net.depth).map(|layer| 2 * layer).collect();
    let (mut odd, mut network, mut causes, mut targets) = (None, None, vec![cause], None);
    // Units die by their bias, or by an update.
    let by_step = cause == Cause::DeadUnits && rng.below(2) == 0;
    // The learning rate at which the healthy twin trains well.
    recipe.rate = if recipe.adam { 2e-3 } else { 0.05 };
    if healthy {
        match trap {
            "ReLU at half zeros" => net.kind = Kind::Relu,
            "one-hot inputs" => {
                x.fill(0.0);
                y.iter().enumerate().for_each(|(i, &y)| x[i * PIXELS + y * 6 + i % 6] = 1.0);
                recipe.rate *= 2.0;
            }
            "zero branches" => network = Some(residual(2 + rng.below(4), net.hidden)?),
            "frozen layers" => recipe.frozen = Some("0"),
            "sum-reduced loss" => {
                recipe.scale = 32.0;
                recipe.rate /= if recipe.adam { 1.0 } else { 32.0 };
            }
            "low learning rate" => recipe.rate *= 0.1,
            "converged" => recipe.before = 400,
            "Adam at tiny gradients" => (recipe.adam, recipe.rate, recipe.scale) = (true, 2e-3, 1e-3),
            "shallow sigmoid" => (net.kind, net.depth, recipe.adam, recipe.rate) = (Kind::Sigmoid, 2, true, 5e-3),
            "late saturation of outputs" => {
                (recipe.adam, recipe.rate, recipe.before) = (true, 5e-3, 600);
                let signs = y.iter().flat_map(|&y| (0..10).map(move |class| if class == y { 1.0 } else { -1.0 }));
                targets = Some(Targets::Values(10, signs.collect()));
                let mut bounded = plain(&net, None)?;
                bounded.push(ActivationLayer::new(10, Tanh))?;
                network = Some(bounded);
            }
            "deep and critical" => (net.depth, net.kind, recipe.rate) = (14, Kind::Tanh, recipe.rate * 0.3),
            _ => {}
        }
    } else {
        match cause {
            Cause::SaturatingActivation => {
                net.depth = 6 + rng.below(8);
                net.kind = if twin { Kind::Tanh } else { Kind::Sigmoid };
                layers = (0..net.depth).map(|layer| 2 * layer + 1).collect();
            }
            Cause::SmallWeights => {
                net.depth = 8 + rng.below(5);
                net.gain = if twin { 1.0 } else { severity(0.15, 0.5, rng) };
                layers = (0..net.depth).map(|layer| 2 * layer).collect();
            }
            Cause::LargeWeights => {
                net.depth = 8 + rng.below(5);
                net.gain = if twin { 1.0 } else { severity(2.5, 6.0, rng) };
                layers = (0..net.depth).map(|layer| 2 * layer).collect();
            }
            Cause::Bottleneck => (net.depth, layers) = (6 + rng.below(5), vec![2 * place]),
            Cause::DeadUnits if by_step => {
                net.kind = Kind::Relu;
                causes.push(Cause::LearningRateTooHigh);
                (recipe.adam, recipe.rate) = (false, if twin { 0.05 } else { severity(1.5, 15.0, rng) });
            }
            Cause::DeadUnits => (net.kind, layers) = (Kind::Relu, vec![2 * place + 1]),
            Cause::ConstantWeights => layers = all.iter().copied().chain([2 * net.depth]).collect(),
            Cause::DuplicatedUnits => layers = vec![2 * place],
            // A bounded activation would saturate instead.
            Cause::Overflow => (net.kind, layers) = (Kind::Relu, vec![2 * place]),
            Cause::NotANumber => (odd, layers) = ((!twin).then_some(place), vec![2 * place + 1]),
            Cause::FrozenBlock => (recipe.still, layers) = ((!twin).then_some("2.weight"), vec![2]),
            Cause::ClipThresholdTooLow => {
                (recipe.adam, recipe.rate) = (false, 0.05);
                recipe.clip = Some(if twin { 1.0 } else { severity(1e-4, 1e-2, rng) });
            }
            Cause::LearningRateTooHigh => {
                recipe.rate *= if twin { 1.0 } else { severity(60.0, 600.0, rng) };
                layers = all.iter().copied().chain([2 * net.depth]).collect();
            }
            Cause::UnscaledInput => {
                let (by, shift) = (severity(15.0, 300.0, rng) as f32, rng.below(2) as f32);
                layers = vec![0];
                if !twin {
                    x.iter_mut().for_each(|x| *x = by * (*x + shift));
                }
            }
            _ => {}
        }
    }
    let network = match network {
        Some(network) => network,
        None => plain(&net, odd)?,
    };
    let mut w = initialize(&network, seed)?;
    if !healthy && !twin && !by_step {
        tamper(cause, &network, &mut w, place, net.hidden, rng)?;
    }
    let (y, planted) = (targets.unwrap_or(Targets::Classes(y)), plant(causes, layers));
    Ok(Case { seed, name, network, w, x, y, width: PIXELS, sequence: 1, span: 1, recipe, planted })
}

/// Draws first parameters until unclipped training meets the cliff.
fn meet_the_wall(case: &mut Case) -> Result<(), Error> {
    let clip = case.recipe.clip.take();
    for attempt in 1..20 {
        if train(case, &mut (), |_, _| false)?.level < 0.9 {
            break;
        }
        case.w = initialize(&case.network, case.seed + (attempt << 32))?;
    }
    case.recipe.clip = clip;
    Ok(())
}

/// Plants the faults that are in the parameters.
fn tamper(
    cause: Cause,
    network: &Sequential<f32>,
    w: &mut [f32],
    place: usize,
    hidden: usize,
    rng: &mut rand::Drawn,
) -> Result<(), Error> {
    let blocks = chainrule::Blocks::collect(|visit| network.blocks(visit));
    let range = |name: String| blocks.get(&name).map(|block| block.range.clone());
    let weights = range(format!("{}.weight", 2 * place))?;
    match cause {
        Cause::Bottleneck => {
            let by = rng.between(1e-3, 0.04) as f32;
            w[weights].iter_mut().for_each(|w| *w *= by);
        }
        Cause::DeadUnits => w[range(format!("{}.bias", 2 * place))?].fill(-rng.between(20.0, 200.0) as f32),
        Cause::Overflow => w[weights].iter_mut().for_each(|w| *w *= 2e38),
        Cause::ConstantWeights => {
            let value = rng.between(0.01, 0.1) as f32;
            for block in blocks.iter().filter(|block| block.role == chainrule::Role::Weight) {
                w[block.range.clone()].fill(value);
            }
        }
        Cause::DuplicatedUnits => {
            let next = range(format!("{}.weight", 2 * place + 2))?;
            let (copies, outputs) = (hidden / 3, next.len() / hidden);
            for unit in 1..copies {
                w.copy_within(weights.start..weights.start + hidden, weights.start + unit * hidden);
                for row in 0..outputs {
                    w[next.start + row * hidden + unit] = w[next.start + row * hidden];
                }
            }
        }
        _ => {}
    }
    Ok(())
}
