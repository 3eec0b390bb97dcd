//! Random floats, extents, activations, initializers, cells and networks, for property tests of your own.
//!
//! What they draw is valid: widths agree, parameters lie in their ranges, networks build for every scalar. A failure
//! shrinks to a short network of narrow, simple layers, a small extent and small numbers.
//!
//! ```
//! use chainrule::{layer::Mode, proptest::prelude::*, testing::strategies::{Case, Limits, cases}, workspace::Workspace};
//!
//! proptest! {
//! # #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]
//!     # /*
//!     #[test]
//!     # */
//!     fn inference_gives_what_evaluation_gives(case in cases::<f64>(Limits::default())) {
//!         let Case { network, w, x, extent } = &case;
//!         let network = network.build::<f64>()?;
//!         let mut workspace = Workspace::new(&network, extent.into())?;
//!         let evaluated = workspace.forward_with(w, x, extent.into(), Mode::Evaluate, &mut ())?.y.to_vec();
//!         prop_assert_eq!(workspace.infer(w, x, extent.into())?, evaluated);
//!     }
//! }
//! # inference_gives_what_evaluation_gives();
//! ```

use crate::{
    activation::{
        ActivationKind, Celu, Elu, Erf, Gelu, GeluTanh, HardSigmoid, HardSwish, HardTanh, Identity, LeakyRelu,
        LogSigmoid, Mish, Relu, Relu6, Selu, Sigmoid, Softplus, Softsign, Swish, Tanh,
    },
    batch_shape::BatchShape,
    initializer::{self, ByGate, Constant, Distribution, Fan, InitializerKind, Sparse, SparseScale},
    layer::{BranchScale, CellKind, GruVariant, LayerSpec},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{boxed::Box, vec::Vec};
use proptest::{
    arbitrary::Arbitrary,
    collection::{SizeRange, vec},
    option,
    prelude::any,
    prop_oneof,
    strategy::{BoxedStrategy, Just, Strategy, Union},
};

/// Finite numbers: mostly of ordinary size, some of any size, and the edges: 0, −0, subnormal numbers, the least
/// normal one, the neighbours of 1, the largest. They shrink to 0.
pub fn finite<T: Scalar>() -> BoxedStrategy<T> {
    let exponent = |x: T| to_f64(x).log2() as i32;
    let exponents = exponent(T::min_positive_value())..=exponent(T::max_value());
    let sized = (within(1.0), exponents).prop_map(|(x, exponent)| {
        let size = scalar::<T>((1.0 + x.abs()) * f64::from(exponent).exp2()).min(T::max_value());
        if x < 0.0 { -size } else { size }
    });
    let (one, two) = (T::one(), scalar::<T>(2.0));
    let edges = [
        T::zero(),
        T::neg_zero(),
        one,
        -one,
        one + T::epsilon(),
        one - T::epsilon() / two,
        T::epsilon(),
        T::min_positive_value(),
        T::min_positive_value() / two,
        -T::min_positive_value() * T::epsilon(),
        T::max_value(),
        T::min_value(),
    ];
    prop_oneof![
        5 => within(10.0).prop_map(scalar),
        2 => Union::new(edges.map(Just)),
        2 => sized,
    ]
    .boxed()
}

/// [`finite`] numbers, ±∞ and NaN.
pub fn float<T: Scalar>() -> BoxedStrategy<T> {
    prop_oneof![
        9 => finite(),
        2 => Union::new([T::infinity(), T::neg_infinity(), T::nan()].map(Just)),
    ]
    .boxed()
}

/// Numbers within ±`bound` of few decimals, which shrink towards 0. From whole numbers, for those of proptest's floats
/// that are not 0 do not shrink.
fn within(bound: f64) -> impl Strategy<Value = f64> + Clone {
    const STEPS: i32 = 1_000_000;
    (-STEPS..=STEPS).prop_map(move |i| f64::from(i) / (f64::from(STEPS) / bound))
}

/// Hundredths from `low` to `high`: a parameter of something, easy to read.
fn hundredths(low: i32, high: i32) -> impl Strategy<Value = f64> + Clone {
    (low..=high).prop_map(|i| f64::from(i) / 100.0)
}

/// As many numbers within ±2 as asked for: a row, an input, parameters.
pub fn values<T: Scalar>(length: impl Into<SizeRange>) -> BoxedStrategy<Vec<T>> {
    vec(within(2.0).prop_map(scalar), length).boxed()
}

/// A number of units from 1 to `most`.
pub fn widths(most: usize) -> BoxedStrategy<usize> {
    (1..=most.max(1)).boxed()
}

/// Lengths of 1 to `max_batch` sequences, each from 1 to `max_steps`, longest first; of no more sequences than
/// [`Limits::MOST`] has samples.
pub fn lengths(max_batch: usize, max_steps: usize) -> BoxedStrategy<Vec<usize>> {
    let sorted = |mut lengths: Vec<usize>| {
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths
    };
    vec(widths(max_steps), 1..=max_batch.clamp(1, Limits::MOST.batch)).prop_map(sorted).boxed()
}

/// An [`BatchShape`] that owns its lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedExtent {
    /// As many samples of one step.
    Batch(usize),
    /// Sequences of equal length.
    Sequences {
        /// Samples.
        batch: usize,
        /// Steps of each.
        steps: usize,
    },
    /// Sequences of these lengths, longest first.
    Ragged(Vec<usize>),
}

impl OwnedExtent {
    /// The extent.
    pub fn extent(&self) -> BatchShape<'_> {
        match self {
            OwnedExtent::Batch(batch) => BatchShape::batch(*batch),
            OwnedExtent::Sequences { batch, steps } => BatchShape::sequences(*batch, *steps),
            OwnedExtent::Ragged(lengths) => BatchShape::ragged(lengths),
        }
    }
}

impl<'a> From<&'a OwnedExtent> for BatchShape<'a> {
    fn from(owned: &'a OwnedExtent) -> Self {
        owned.extent()
    }
}

/// Batches, sequences and ragged sequences of up to so many samples and steps.
pub fn extents(max_batch: usize, max_steps: usize) -> BoxedStrategy<OwnedExtent> {
    prop_oneof![
        widths(max_batch).prop_map(OwnedExtent::Batch),
        (widths(max_batch), widths(max_steps)).prop_map(|(batch, steps)| OwnedExtent::Sequences { batch, steps }),
        lengths(max_batch, max_steps).prop_map(OwnedExtent::Ragged),
    ]
    .boxed()
}

/// Every activation of the crate, with parameters on both sides of the usual. They shrink to the identity.
pub fn activations() -> BoxedStrategy<ActivationKind> {
    use ActivationKind as Kind;
    let plain = [
        Kind::Identity(Identity),
        Kind::Relu(Relu),
        Kind::Tanh(Tanh),
        Kind::Sigmoid(Sigmoid),
        Kind::Relu6(Relu6),
        Kind::Selu(Selu),
        Kind::Gelu(Gelu),
        Kind::GeluTanh(GeluTanh),
        Kind::Mish(Mish),
        Kind::Softsign(Softsign),
        Kind::LogSigmoid(LogSigmoid),
        Kind::HardSigmoid(HardSigmoid),
        Kind::HardSwish(HardSwish),
        Kind::Erf(Erf),
    ];
    // The ranges are within what `new` takes; the default would stand in for what it does not.
    prop_oneof![
        14 => Union::new(plain.map(Just)),
        1 => hundredths(-200, 200).prop_map(|slope| Kind::LeakyRelu(LeakyRelu::new(slope).unwrap_or_default())),
        1 => hundredths(0, 300).prop_map(|alpha| Kind::Elu(Elu::new(alpha).unwrap_or_default())),
        1 => hundredths(10, 300).prop_map(|alpha| Kind::Celu(Celu::new(alpha).unwrap_or_default())),
        1 => hundredths(-300, 300).prop_map(|beta| Kind::Swish(Swish::new(beta).unwrap_or_default())),
        1 => hundredths(10, 300).prop_map(|beta| Kind::Softplus(Softplus::new(beta).unwrap_or_default())),
        1 => (hundredths(-200, 50), hundredths(10, 300))
            .prop_map(|(min, width)| Kind::HardTanh(HardTanh::new(min, min + width).unwrap_or_default())),
    ]
    .boxed()
}

/// Initializers that can fill every shape, of the crate's own but one: a sparse matrix of given spectral radius must be
/// square. They shrink to zeros.
pub fn initializers() -> BoxedStrategy<InitializerKind> {
    use InitializerKind as Kind;
    let fan = Union::new([Fan::In, Fan::Out, Fan::Average].map(Just));
    let distribution = Union::new([Distribution::Uniform, Distribution::Normal, Distribution::Truncated].map(Just));
    let single = prop_oneof![
        Just(Kind::Zeros(initializer::Zeros)),
        hundredths(-100, 100).prop_map(|value| Kind::Constant(Constant(value))),
        hundredths(-100, 100).prop_map(|scale| Kind::Identity(initializer::Identity { scale })),
        (hundredths(-100, 100), hundredths(0, 100))
            .prop_map(|(low, width)| Kind::Uniform(initializer::Uniform { low, high: low + width })),
        (hundredths(-50, 50), hundredths(0, 100))
            .prop_map(|(mean, std)| Kind::Normal(initializer::Normal { mean, std })),
        (hundredths(-50, 50), hundredths(0, 100), hundredths(-200, 100), hundredths(50, 300)).prop_map(
            |(mean, std, low, width)| {
                Kind::TruncatedNormal(initializer::TruncatedNormal::new(mean, std).between(low, low + width))
            }
        ),
        (hundredths(0, 200), fan, distribution).prop_map(|(gain, fan, distribution)| {
            Kind::VarianceScaling(initializer::VarianceScaling { gain, fan, distribution })
        }),
        hundredths(-150, 150).prop_map(|gain| Kind::Orthogonal(initializer::Orthogonal { gain })),
        (1..=4usize, hundredths(0, 100))
            .prop_map(|(non_zeros, std)| Kind::Sparse(Sparse { non_zeros, scale: SparseScale::Std(std) })),
    ];
    let gate = Union::new(["forget", "input", "reset", "update"].map(Just));
    let by_gate = (single.clone(), gate, single.clone())
        .prop_map(|(default, gate, other)| Kind::ByGate(ByGate::new(default).gate(gate, other)));
    prop_oneof![9 => single, 1 => by_gate].boxed()
}

/// Every cell of the crate. They shrink to the plain one.
pub fn cells() -> BoxedStrategy<CellKind> {
    prop_oneof![
        2 => activations().prop_map(CellKind::Elman),
        1 => Just(CellKind::Lstm),
        1 => any::<GruVariant>().prop_map(CellKind::Gru),
    ]
    .boxed()
}

/// How large a network and its pass may be. Limits above [`Limits::MOST`] are those of it: larger cases would fill the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Layers in a row: of the network, and of each branch within.
    pub layers: usize,
    /// Values per row.
    pub width: usize,
    /// Branches within branches.
    pub depth: u32,
    /// Whether layers may be recurrent, reversed, bidirectional, or bring sequences down to one step.
    pub recurrent: bool,
    /// Samples of a pass.
    pub batch: usize,
    /// Steps of a pass.
    pub steps: usize,
}

impl Limits {
    /// The largest limits that strategies heed.
    pub const MOST: Limits =
        Limits { layers: 64, width: 1 << 10, depth: 8, recurrent: true, batch: 1 << 10, steps: 1 << 10 };

    /// Each no larger than that of [`MOST`](Self::MOST).
    fn capped(self) -> Self {
        let most = Self::MOST;
        Limits {
            layers: self.layers.min(most.layers),
            width: self.width.min(most.width),
            depth: self.depth.min(most.depth),
            recurrent: self.recurrent,
            batch: self.batch.min(most.batch),
            steps: self.steps.min(most.steps),
        }
    }
}

/// Up to four layers in a row, five values wide, two branches deep, recurrent ones among them; 3 samples, 4 steps.
impl Default for Limits {
    fn default() -> Self {
        Limits { layers: 4, width: 5, depth: 2, recurrent: true, batch: 3, steps: 4 }
    }
}

/// A layer before it is known what comes in: what stands before it can be taken away.
#[derive(Clone, Debug)]
enum Part {
    Linear(usize, InitializerKind, Option<InitializerKind>),
    Activation(ActivationKind),
    PRelu(bool, f64),
    LayerNorm(f64, bool),
    RmsNorm(f64, bool),
    Dropout(f64),
    Residual(Vec<Part>, BranchScale),
    Sequential(Vec<Part>),
    Recurrent(CellKind, usize, [InitializerKind; 2], Option<InitializerKind>),
    Reversed(Vec<Part>),
    Bidirectional(Vec<Part>, Vec<Part>),
    LastStep,
    MeanOverSteps,
}

impl Part {
    /// The branch `row` in the shell that this is: a shell shrinks by itself, down to none.
    fn around(self, row: Vec<Part>) -> Part {
        match self {
            Part::Residual(_, scale) => Part::Residual(row, scale),
            Part::Reversed(_) => Part::Reversed(row),
            Part::Bidirectional(_, backward) => Part::Bidirectional(row, backward),
            _ => Part::Sequential(row),
        }
    }

    /// The layer for rows of `width` values, and the width that comes out.
    fn placed(self, width: usize) -> (LayerSpec, usize) {
        match self {
            Part::Linear(outputs, weights, bias) => {
                (LayerSpec::Linear { inputs: width, outputs, weights, bias }, outputs)
            }
            Part::Activation(activation) => (LayerSpec::ActivationLayer { width, activation }, width),
            Part::PRelu(per_unit, initial) => (LayerSpec::PRelu { width, per_unit, initial }, width),
            Part::LayerNorm(epsilon, affine) => (LayerSpec::LayerNorm { width, epsilon, affine }, width),
            Part::RmsNorm(epsilon, affine) => (LayerSpec::RmsNorm { width, epsilon, affine }, width),
            Part::Dropout(rate) => (LayerSpec::Dropout { width, rate }, width),
            Part::Residual(layers, scale) => {
                let (mut branch, output) = in_a_row(layers, width);
                if let (LayerSpec::Sequential { layers, .. }, true) = (&mut branch, output != width) {
                    layers.push(Part::Linear(width, default_weights(), None).placed(output).0);
                }
                (LayerSpec::Residual { branch: Box::new(unwrapped(branch)), scale }, width)
            }
            Part::Sequential(layers) => branch(layers, width),
            Part::Recurrent(cell, hidden, [weights, recurrent], bias) => {
                (LayerSpec::Recurrent { cell, inputs: width, hidden, weights, recurrent, bias }, hidden)
            }
            Part::Reversed(layers) => {
                let (layers, output) = branch(layers, width);
                (LayerSpec::Reversed(Box::new(layers)), output)
            }
            Part::Bidirectional(forward, backward) => {
                let ((forward, first), (backward, second)) = (branch(forward, width), branch(backward, width));
                (
                    LayerSpec::Bidirectional { forward: Box::new(forward), backward: Box::new(backward) },
                    first.saturating_add(second),
                )
            }
            Part::LastStep => (LayerSpec::LastStep { width }, width),
            Part::MeanOverSteps => (LayerSpec::MeanOverSteps { width }, width),
        }
    }
}

fn in_a_row(parts: Vec<Part>, input: usize) -> (LayerSpec, usize) {
    let (mut layers, mut width) = (Vec::with_capacity(parts.len()), input);
    for part in parts {
        let (layer, output) = part.placed(width);
        layers.push(layer);
        width = output;
    }
    (LayerSpec::Sequential { input, layers }, width)
}

/// A row of one layer is that layer, so that failures shrink out of branches.
fn unwrapped(mut row: LayerSpec) -> LayerSpec {
    match &mut row {
        LayerSpec::Sequential { layers, .. } if layers.len() == 1 => layers.remove(0),
        _ => row,
    }
}

fn branch(parts: Vec<Part>, input: usize) -> (LayerSpec, usize) {
    let (row, output) = in_a_row(parts, input);
    (unwrapped(row), output)
}

fn default_weights() -> InitializerKind {
    InitializerKind::VarianceScaling(initializer::Glorot::uniform())
}

/// Layers that keep the steps; simple ones first, for a failure shrinks to the first that shows it.
fn parts(limits: Limits) -> BoxedStrategy<Part> {
    let width = || widths(limits.width);
    let bias = || option::of(initializers());
    let epsilon = || (1..=6).prop_map(|decimals: i32| 10f64.powi(-decimals));
    let feedforward = prop_oneof![
        3 => activations().prop_map(Part::Activation),
        3 => (width(), initializers(), bias()).prop_map(|(outputs, weights, bias)| Part::Linear(outputs, weights, bias)),
        1 => (any::<bool>(), hundredths(-100, 100)).prop_map(|(per_unit, initial)| Part::PRelu(per_unit, initial)),
        1 => (epsilon(), any::<bool>()).prop_map(|(epsilon, affine)| Part::LayerNorm(epsilon, affine)),
        1 => (epsilon(), any::<bool>()).prop_map(|(epsilon, affine)| Part::RmsNorm(epsilon, affine)),
        1 => hundredths(0, 90).prop_map(Part::Dropout),
    ];
    let recurrent = (cells(), width(), [initializers(), initializers()], bias())
        .prop_map(|(cell, hidden, weights, bias)| Part::Recurrent(cell, hidden, weights, bias));
    let leaf =
        if limits.recurrent { prop_oneof![3 => feedforward, 1 => recurrent].boxed() } else { feedforward.boxed() };
    let layers = limits.layers.max(1);
    leaf.prop_recursive(limits.depth, (layers * layers) as u32, layers as u32, move |inner| {
        let row = vec(inner, 1..=layers);
        let residual = any::<BranchScale>().prop_map(|scale| Part::Residual(Vec::new(), scale));
        let shell = prop_oneof![1 => Just(Part::Sequential(Vec::new())), 2 => residual];
        let both = row.clone().prop_map(|backward| Part::Bidirectional(Vec::new(), backward));
        let timed = prop_oneof![3 => shell.clone(), 1 => Just(Part::Reversed(Vec::new())), 1 => both];
        let shell = if limits.recurrent { timed.boxed() } else { shell.boxed() };
        (shell, row).prop_map(|(shell, row)| shell.around(row))
    })
    .boxed()
}

/// Networks: layers in a row with branches inside, which build for every scalar. They shrink to one simple layer.
///
/// Rows can be wider than the limit where two directions put theirs side by side.
pub fn networks(limits: Limits) -> BoxedStrategy<LayerSpec> {
    let limits = limits.capped();
    let part = parts(limits);
    let part = if limits.recurrent {
        prop_oneof![8 => part, 1 => Just(Part::LastStep), 1 => Just(Part::MeanOverSteps)].boxed()
    } else {
        part
    };
    let layers = vec(part, 1..=limits.layers.max(1));
    (widths(limits.width), layers).prop_map(|(input, layers)| in_a_row(layers, input).0).boxed()
}

/// A network with all that a pass through it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Case<T> {
    /// The network.
    pub network: LayerSpec,
    /// Its parameters, none of them 0.
    pub w: Vec<T>,
    /// An input, none of whose values is 0.
    pub x: Vec<T>,
    /// The rows of the input.
    pub extent: OwnedExtent,
}

/// Networks with parameters, input and extent. A failure shrinks to a simple network first, then to a small extent,
/// then to small numbers: odd multiples of 1/128, which do not meet the kinks at 0.
pub fn cases<T: Scalar>(limits: Limits) -> BoxedStrategy<Case<T>> {
    let limits = limits.capped();
    // A prime number of values, taken in turn: the network can shrink without new ones being drawn.
    const VALUES: usize = 257;
    let values = vec((-128..=127i16).prop_map(|i| (2.0 * f64::from(i) + 1.0) / 128.0), VALUES);
    (networks(limits), extents(limits.batch, limits.steps), values)
        .prop_map(|(network, extent, values)| {
            let dims = network.build::<T>().map(|network| network.dims()).unwrap_or_default();
            let mut values = values.into_iter().cycle();
            let w = values.by_ref().take(dims.parameters).map(|value| scalar(0.5 * value)).collect();
            let x = values.take(dims.input.saturating_mul(extent.extent().rows())).map(scalar).collect();
            Case { network, w, x, extent }
        })
        .boxed()
}

macro_rules! arbitrary {
    ($($(#[$about:meta])* $type:ty, $parameters:ty, |$with:pat_param| $strategy:expr;)+) => {
        $(
            $(#[$about])*
            impl Arbitrary for $type {
                type Parameters = $parameters;
                type Strategy = BoxedStrategy<Self>;
                fn arbitrary_with($with: Self::Parameters) -> Self::Strategy {
                    $strategy
                }
            }
        )+
    };
}

arbitrary! {
    /// [`activations`].
    ActivationKind, (), |()| activations();
    /// [`initializers`].
    InitializerKind, (), |()| initializers();
    /// [`cells`].
    CellKind, (), |()| cells();
    /// [`networks`].
    LayerSpec, Limits, |limits| networks(limits);
    /// [`extents`] of up to 3 samples and 4 steps.
    OwnedExtent, (), |()| extents(3, 4);
    /// Both.
    GruVariant, (), |()| Union::new([GruVariant::ResetAfter, GruVariant::ResetBefore].map(Just)).boxed();
    /// Fixed or learned, within ±2.
    BranchScale, (), |()| prop_oneof![
        hundredths(-200, 200).prop_map(BranchScale::Fixed),
        hundredths(-200, 200).prop_map(BranchScale::Learned),
    ].boxed();
}

/// [`finite`] value and tangent.
impl<T: Scalar> Arbitrary for super::Dual<T> {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;
    fn arbitrary_with((): ()) -> Self::Strategy {
        (finite(), finite()).prop_map(|(value, tangent)| super::Dual::new(value, tangent)).boxed()
    }
}

/// [`cases`].
impl<T: Scalar> Arbitrary for Case<T> {
    type Parameters = Limits;
    type Strategy = BoxedStrategy<Self>;
    fn arbitrary_with(limits: Limits) -> Self::Strategy {
        cases(limits)
    }
}
