//! The patients: small networks made from a grid, most with one planted fault, the others healthy in unusual ways.

use crate::data::Table;
use chainrule::{
    Activation, Error, Scalar,
    activation::{Gelu, Relu, Sigmoid, Tanh},
    diagnosis::Cause,
    initializer::{
        ByGate, Chrono, Constant, CriticalGain, Glorot, He, Initializer, LeCun, Orthogonal, Zeros, generator, sample,
    },
    layer::{LastStep, Layer, LayerNorm, Linear, Pointwise, Residual, Sequential, initialize},
    recurrent::{Elman, Lstm, Recurrent},
};

/// Pixels of a digit; classes.
const PIXELS: usize = 64;

/// How a patient is trained.
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
    /// Steps before anybody looks.
    pub before: usize,
}

/// What was planted, and where: nowhere in particular if there is no layer.
#[derive(Clone, Debug)]
pub struct Planted {
    pub cause: Cause,
    pub layers: Vec<usize>,
}

/// A network, its first parameters, its data, its training, and what is wrong with it.
pub struct Case {
    pub name: String,
    pub network: Sequential<f32>,
    pub w: Vec<f32>,
    pub x: Vec<f32>,
    pub y: Vec<usize>,
    pub width: usize,
    /// Steps of a sequence, and how many of them the task asks to remember.
    pub sequence: usize,
    pub span: usize,
    pub recipe: Recipe,
    pub planted: Option<Planted>,
}

/// √z: not a number for every pre-activation below 0.
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

/// What is drawn, before it is known whether a fault is planted.
struct Draw {
    rng: rand::Drawn,
}

mod rand {
    use super::{generator, sample};

    /// Choices drawn from a seed.
    pub struct Drawn(Box<dyn chainrule::rand_core::Rng>);

    impl Drawn {
        pub fn new(seed: u64) -> Self {
            Drawn(Box::new(generator(seed)))
        }
        pub fn below(&mut self, n: usize) -> usize {
            sample::below(&mut *self.0, n)
        }
        /// Between `low` and `high`, evenly on a logarithmic scale.
        pub fn between(&mut self, low: f64, high: f64) -> f64 {
            low * (high / low).powf(self.below(1 << 20) as f64 / f64::from(1 << 20))
        }
    }
}

/// Rows of digits with their classes, and of blobs.
pub struct Tables {
    pub digits: Table,
}

fn blobs(rng: &mut rand::Drawn, rows: usize) -> (Vec<f32>, Vec<usize>) {
    let mut normals = sample::Normals::new();
    let mut source = generator(rng.below(1 << 30) as u64);
    let mut next = || normals.next(&mut source) as f32;
    let centres: Vec<f32> = (0..10 * PIXELS).map(|_| 0.5 * next()).collect();
    let y: Vec<usize> = (0..rows).map(|i| i % 10).collect();
    let x = y.iter().flat_map(|&y| centres[y * PIXELS..][..PIXELS].to_vec()).map(|centre| centre + next()).collect();
    (x, y)
}

/// Sequences whose class is told by the first two steps; the rest is noise.
fn remembered(rng: &mut rand::Drawn, rows: usize, steps: usize, told_at: usize) -> (Vec<f32>, Vec<usize>) {
    let mut normals = sample::Normals::new();
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
        Kind::Relu => network.push(Pointwise::new(width, Relu)),
        Kind::Tanh => network.push(Pointwise::new(width, Tanh)),
        Kind::Gelu => network.push(Pointwise::new(width, Gelu)),
        Kind::Sigmoid => network.push(Pointwise::new(width, Sigmoid)),
    }
    .map(|_| ())
}

/// A plain network; at `odd` an activation that is not a number below 0.
fn plain(Plain { depth, hidden, kind, gain }: &Plain, odd: Option<usize>) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::new(PIXELS);
    for layer in 0..*depth {
        let width = if layer == 0 { PIXELS } else { *hidden };
        network.push(Linear::new(width, *hidden).weights(critical(*kind, *gain)?).bias(Zeros))?;
        if odd == Some(layer) {
            network.push(Pointwise::new(*hidden, SquareRoot))?;
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
        branch.push(Pointwise::new(hidden, Relu))?;
        branch.push(Linear::new(hidden, hidden).weights(Zeros))?;
        network.push(Residual::new(branch)?)?;
    }
    network.push(Linear::new(hidden, 10))?;
    Ok(network)
}

fn lstm(hidden: usize, bias: impl Initializer + 'static) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::new(2);
    network.push(Recurrent::new(2, hidden, Lstm).bias(bias))?;
    network.push(LastStep::new(hidden))?;
    network.push(Linear::new(hidden, 2))?;
    Ok(network)
}

fn tanh_recurrent(hidden: usize, gain: f64) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::new(2);
    network.push(Recurrent::new(2, hidden, Elman::new(Tanh)).recurrent(Orthogonal { gain }))?;
    network.push(LastStep::new(hidden))?;
    network.push(Linear::new(hidden, 2))?;
    Ok(network)
}

const FAULTS: [Cause; 16] = [
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
    Cause::ShutForgetGate,
    Cause::LowClip,
    Cause::LongStep,
    Cause::Overflow,
    Cause::NotANumber,
    Cause::FrozenBlock,
];

/// Ways to be healthy that look like a fault to some rule.
const TRAPS: [&str; 14] = [
    "plain",
    "ReLU at half zeros",
    "one-hot inputs",
    "zero branches",
    "frozen layers",
    "sum-reduced loss",
    "tiny learning rate",
    "converged",
    "Adam at tiny gradients",
    "shallow sigmoid",
    "remembers",
    "short memory",
    "clipped at the typical norm",
    "deep and critical",
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
        steps: 150,
        before: 0,
    };
    let recurrent = match healthy {
        true => matches!(trap, "remembers" | "short memory" | "clipped at the typical norm"),
        false => {
            matches!(cause, Cause::ExplodingRecurrence | Cause::VanishingRecurrence | Cause::ShutForgetGate)
        }
    };
    let severity = |low: f64, high: f64, rng: &mut rand::Drawn| rng.between(low, high);
    let plant = |layers: Vec<usize>| (!healthy && !twin).then_some(Planted { cause, layers });
    let name = if healthy { format!("healthy: {trap}") } else { format!("{cause}") };
    if recurrent {
        let hidden = [16, 24, 32][rng.below(3)];
        let span = 20 + rng.below(21);
        let (sequence, mut told_at) = (span + 1, 0);
        (recipe.rate, recipe.adam, recipe.clip, recipe.steps) = (0.01, true, Some(1.0), 200);
        let amount = match cause {
            Cause::ExplodingRecurrence => severity(1.6, 3.5, rng),
            Cause::VanishingRecurrence => severity(0.2, 0.6, rng),
            Cause::ShutForgetGate => -severity(2.0, 8.0, rng),
            _ => severity(1.0, 3.0, rng),
        };
        let mut span = span;
        let network = if healthy {
            match trap {
                "short memory" => {
                    (told_at, span) = (sequence - 3, 3);
                    tanh_recurrent(hidden, 0.9)?
                }
                "remembers" => lstm(hidden, Chrono { span })?,
                _ => lstm(hidden, ByGate::new(Zeros).gate("forget", Constant(4.0)).gate("input", Constant(-2.0)))?,
            }
        } else {
            match cause {
                Cause::ExplodingRecurrence => {
                    (told_at, span) = (sequence - 4, 4);
                    (recipe.clip, span) = (None, span.max(sequence - 1));
                    tanh_recurrent(hidden, if twin { 0.95 } else { amount })?
                }
                Cause::VanishingRecurrence => match twin {
                    true => lstm(hidden, Chrono { span })?,
                    false => tanh_recurrent(hidden, amount)?,
                },
                Cause::ShutForgetGate if !twin => lstm(hidden, ByGate::new(Zeros).gate("forget", Constant(amount)))?,
                _ => lstm(hidden, Chrono { span })?,
            }
        };
        let (x, y) = remembered(rng, 512, sequence, told_at);
        let w = initialize(&network, seed)?;
        let planted = plant(vec![0]);
        return Ok(Case { name, network, w, x, y, width: 2, sequence, span, recipe, planted });
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
    let mut odd = None;
    let mut network = None;
    // The rate that a healthy twin trains well with.
    recipe.rate = if recipe.adam { 2e-3 } else { 0.05 };
    if healthy {
        match trap {
            "ReLU at half zeros" => net.kind = Kind::Relu,
            "one-hot inputs" => {
                x.fill(0.0);
                y.iter().enumerate().for_each(|(i, &y)| x[i * PIXELS + y * 6 + i % 6] = 1.0);
                recipe.rate *= 4.0;
            }
            "zero branches" => network = Some(residual(2 + rng.below(4), net.hidden)?),
            "frozen layers" => recipe.frozen = Some("0"),
            "sum-reduced loss" => {
                recipe.scale = 32.0;
                recipe.rate /= if recipe.adam { 1.0 } else { 32.0 };
            }
            "tiny learning rate" => recipe.rate *= 1e-5,
            "converged" => recipe.before = 400,
            "Adam at tiny gradients" => (recipe.adam, recipe.rate, recipe.scale) = (true, 2e-3, 1e-3),
            "shallow sigmoid" => (net.kind, net.depth, recipe.adam, recipe.rate) = (Kind::Sigmoid, 2, true, 5e-3),
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
            Cause::DeadUnits => (net.kind, layers) = (Kind::Relu, vec![2 * place + 1]),
            Cause::ConstantWeights => layers = all.iter().copied().chain([2 * net.depth]).collect(),
            Cause::DuplicatedUnits => layers = vec![2 * place],
            // A bounded activation would only saturate.
            Cause::Overflow => (net.kind, layers) = (Kind::Relu, vec![2 * place]),
            Cause::NotANumber => (odd, layers) = ((!twin).then_some(place), vec![2 * place + 1]),
            Cause::FrozenBlock => (recipe.still, layers) = ((!twin).then_some("2.weight"), vec![2]),
            Cause::LowClip => {
                (recipe.adam, recipe.rate) = (false, 0.05);
                recipe.clip = Some(if twin { 1.0 } else { severity(1e-4, 1e-2, rng) });
            }
            Cause::LongStep => {
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
    if !healthy && !twin {
        tamper(cause, &network, &mut w, place, net.hidden, rng)?;
    }
    Ok(Case { name, network, w, x, y, width: PIXELS, sequence: 1, span: 1, recipe, planted: plant(layers) })
}

/// Faults that are in the parameters.
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
