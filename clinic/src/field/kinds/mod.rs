//! Kinds of cases on real tables, images and series, of another sort than those that the thresholds were chosen on.
//!
//! Written before any rule was run on them. Each sick kind has a twin, the same draw without its fault. The kinds in
//! `varied_*` also draw data, widths and depth by their seed.

mod healthy;
mod outside;
mod sick;
mod two;
mod varied_healthy;
mod varied_outside;
mod varied_sick;

use super::{
    data::{Data, Tables, Targets},
    made,
};
use chainrule::{
    Activation, Blocks, Error, Layer,
    activation::{Elu, Gelu, HardSigmoid, Relu, Selu, Sigmoid, Softplus, Softsign, Swish, Tanh},
    dataset::Batch,
    diagnosis::Cause::{self, *},
    initializer::{
        ByGate, Chrono, Constant, CriticalGain, Glorot, He, Identity, Initializer, LeCun, Normal, Orthogonal, Uniform,
        VarianceScaling, Zeros,
    },
    layer::{
        BranchScale, Dropout, Embedding, GatedLinear, LayerNorm, Linear, RmsNorm, Sequential, Softmax, initialize,
    },
    loss::CrossEntropy,
    random::shuffle,
    recurrent::{Elman, Gru, Lstm, Recurrent},
    trainer::{TrainConfig, Trainer},
};

/// The samples of a batch, unless a recipe has another number.
pub const BATCH: usize = 32;
/// The steps of a training, unless a recipe has another number.
const STEPS: usize = 300;

/// An optimizer with its rate.
#[derive(Clone, Copy, Debug)]
pub enum Optimizer {
    Sgd(f64),
    Momentum(f64),
    Adam(f64),
    AdamW(f64),
    RmsProp(f64),
    Adagrad(f64),
}

/// The loss of a case.
#[derive(Clone, Copy, Debug)]
pub enum Objective {
    /// Cross-entropy of classes, mean squared error of values.
    Usual,
    /// Cross-entropy with label smoothing.
    Smoothed(f64),
    Huber(f64),
    /// The negative log likelihood of counts.
    Poisson,
    Cosine,
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
    pub loss: Objective,
    /// Samples of a batch.
    pub batch: usize,
    /// Batches of an update.
    pub accumulates: usize,
    pub steps: usize,
    /// Factors on the rates of blocks, on purpose.
    pub groups: &'static [(&'static str, f64)],
    /// Layers that the workspace freezes.
    pub frozen: &'static [&'static str],
    /// A layer whose weights alone decay, and how much.
    pub decays: Option<(&'static str, f64)>,
    /// Steps of the first period of a cosine schedule with warm restarts.
    pub restarts: Option<u64>,
    /// The decay of a moving average of the parameters, which is the result.
    pub average: Option<f64>,
    /// Whether the first epochs have only the first samples of the data: 30 %, and 10 % more in each epoch.
    pub grows: bool,
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
            loss: Objective::Usual,
            batch: BATCH,
            accumulates: 1,
            steps: STEPS,
            groups: &[],
            frozen: &[],
            decays: None,
            restarts: None,
            average: None,
            grows: false,
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
    /// Of a healthy kind the accuracy or R² that its median training reaches, by how the data is made.
    pub reaches: Option<f64>,
}

impl Kind {
    const fn incurable(self) -> Kind {
        Kind { is_curable: false, ..self }
    }

    const fn reaching(self, level: f64) -> Kind {
        Kind { reaches: Some(level), ..self }
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
    Kind { name, expected, make, layers: &[], is_curable: true, reaches: None }
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

use Optimizer::{Adagrad, Adam, AdamW, Momentum, RmsProp, Sgd};

/// All kinds, in lists by sort.
const LISTS: &[(&str, &[Kind])] = &[
    ("healthy", healthy::KINDS),
    ("sick", sick::KINDS),
    ("outside", outside::KINDS),
    ("two", two::KINDS),
    ("varied healthy", varied_healthy::KINDS),
    ("varied sick", varied_sick::KINDS),
    ("varied outside", varied_outside::KINDS),
];

/// All kinds.
pub fn all() -> impl Iterator<Item = &'static Kind> {
    chosen("")
}

/// The kinds of one recipe each, without those that vary by seed.
pub fn of_one_recipe() -> impl Iterator<Item = &'static Kind> {
    LISTS.iter().filter(|(list, _)| !list.starts_with("varied")).flat_map(|(_, kinds)| *kinds)
}

/// The kinds whose name contains `only`, or whose list has a name that begins with it.
pub fn chosen(only: &str) -> impl Iterator<Item = &'static Kind> {
    LISTS.iter().flat_map(move |(list, kinds)| {
        kinds.iter().filter(move |kind| kind.name.contains(only) || list.starts_with(only))
    })
}

/// Choices that depend on a seed alone, and not on the number of the training in it.
struct Dice(Box<dyn FnMut(usize) -> usize>);

impl Dice {
    /// `kind` lets kinds with the same seed choose differently.
    fn new(seed: u64, kind: u64) -> Self {
        let mut rng = chainrule::random::generator(made::of_data(seed) ^ (0xD1CE + kind) << 48);
        Dice(Box::new(move |end| chainrule::random::below(&mut rng, end)))
    }

    fn of<V: Copy>(&mut self, values: &[V]) -> V {
        values[(self.0)(values.len())]
    }

    /// A table with classes.
    fn table(&mut self, t: &Tables) -> Data {
        self.of::<fn(&Tables) -> Data>(&[Tables::wine, Tables::cancer, Tables::digits])(t)
    }
}

/// The parameters of `network` after 200 steps of Adam on classes of `data`, the output layer `last` drawn again.
fn pretrained(network: &Sequential<f32>, data: &Data, last: &str, seed: u64) -> Result<Vec<f32>, Error> {
    let samples = super::dataset(data)?;
    let config = TrainConfig { batch_size: BATCH, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, CrossEntropy::new(), chainrule::transform::Adam::new(3e-3), config)?;
    trainer.parameters_mut().copy_from_slice(&initialize(network, seed)?);
    let (mut batch, mut order) = (Batch::new(&samples, BATCH), Vec::new());
    for step in 0..200 {
        if order.len() < BATCH {
            order = (0..samples.samples()).collect();
            shuffle(&mut order, 9, step);
        }
        let rest = order.split_off(order.len() - BATCH);
        trainer.step(&samples, &mut batch, &rest, &mut ())?;
    }
    let (mut w, fresh) = (trainer.parameters().to_vec(), initialize(network, seed + 1)?);
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(network, visit));
    for name in [format!("{last}.weight"), format!("{last}.bias")] {
        let range = blocks.get(&name)?.range.clone();
        w[range.clone()].copy_from_slice(&fresh[range]);
    }
    Ok(w)
}
