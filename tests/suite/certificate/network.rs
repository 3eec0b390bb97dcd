//! Random layer specs with all layers.

use chainrule::{BatchShape, Layer, activation::*, layer::*, recurrent::*};
use proptest::prelude::*;

/// One layer of a random network, for any input width.
#[derive(Clone, Debug)]
pub enum Part {
    Linear(usize),
    Activation(usize),
    PRelu(bool),
    Norm { centred: bool, affine: bool, epsilon: f64 },
    Dropout(f64),
    Residual(Vec<Part>, BranchScale),
    Recurrent(usize, CellKind),
    Reversed(usize, CellKind),
    Bidirectional(usize, CellKind),
    LastStep,
    Mean,
}

/// A random network with the shape of its inputs and the magnitude of its parameters.
#[derive(Clone, Debug)]
pub struct Case {
    pub input: usize,
    pub parts: Vec<Part>,
    /// The number of steps of each sample, longest first.
    pub lengths: Vec<usize>,
    pub seed: u64,
    /// log10 of the magnitude of the parameters.
    pub size: f64,
}

/// Every activation with a finite Lipschitz bound, but the sharpest, whose steepest place a grid misses.
pub fn activations() -> Vec<ActivationKind> {
    let sharp = [Swish::new(50.0).unwrap().kind(), Softplus::new(50.0).unwrap().kind()];
    let mut all = ActivationKind::examples();
    all.retain(|kind| kind.as_any().lipschitz().is_some_and(f64::is_finite) && !sharp.contains(kind));
    all
}

fn recurrent(inputs: usize, hidden: usize, cell: &CellKind) -> LayerSpec {
    let lstm = Layer::<f64>::spec(&Recurrent::new(inputs, hidden, Lstm::new()));
    let LayerSpec::Recurrent { weights, recurrent, bias, .. } = &lstm else { unreachable!() };
    let (weights, recurrent, bias) = (weights.clone(), recurrent.clone(), bias.clone());
    let noise = StateNoise::default();
    LayerSpec::Recurrent { cell: cell.clone(), inputs, hidden, weights, recurrent, bias, noise }
}

/// The layer spec with the layers `parts`, for rows of `input` values.
pub fn node(input: usize, parts: &[Part]) -> LayerSpec {
    let mut width = input;
    let mut layers = Vec::new();
    for part in parts {
        let layer = match part {
            Part::Linear(outputs) => Layer::<f64>::spec(&Linear::new(width, *outputs)),
            Part::Activation(i) => LayerSpec::ActivationLayer { width, activation: activations()[*i].clone() },
            Part::PRelu(per_unit) => {
                let layer = PRelu::new(width);
                LayerSpec::PRelu(if *per_unit { layer.per_unit() } else { layer })
            }
            Part::Norm { centred: true, affine, epsilon } => {
                let norm = LayerNorm::new(width).epsilon(*epsilon).unwrap();
                LayerSpec::LayerNorm(if *affine { norm } else { norm.without_affine() })
            }
            Part::Norm { affine, epsilon, .. } => {
                let norm = RmsNorm::new(width).epsilon(*epsilon).unwrap();
                LayerSpec::RmsNorm(if *affine { norm } else { norm.without_affine() })
            }
            Part::Dropout(rate) => LayerSpec::Dropout(Dropout::new(width, *rate).unwrap()),
            Part::Residual(branch, scale) => {
                let mut branch = branch.clone();
                branch.push(Part::Linear(width));
                LayerSpec::Residual { branch: Box::new(node(width, &branch)), scale: *scale }
            }
            Part::Recurrent(hidden, cell) => recurrent(width, *hidden, cell),
            Part::Reversed(hidden, cell) => LayerSpec::Reversed(Box::new(recurrent(width, *hidden, cell))),
            Part::Bidirectional(hidden, cell) => LayerSpec::Bidirectional {
                forward: Box::new(recurrent(width, *hidden, cell)),
                backward: Box::new(recurrent(width, hidden + 1, cell)),
            },
            Part::LastStep => LayerSpec::LastStep(LastStep::new(width)),
            Part::Mean => LayerSpec::MeanOverSteps(MeanOverSteps::new(width)),
        };
        width = layer.widths().1;
        layers.push(layer);
    }
    LayerSpec::Sequential { input, layers }
}

impl Case {
    pub fn shape(&self) -> BatchShape<'_> {
        crate::fixtures::batch_of(&self.lengths)
    }
}

pub fn cell() -> impl Strategy<Value = CellKind> {
    prop_oneof![
        (0..activations().len()).prop_map(|i| CellKind::Elman(activations()[i].clone())),
        Just(CellKind::Lstm(Lstm::new())),
        Just(CellKind::Gru(Gru::new())),
        Just(CellKind::Gru(Gru::new().variant(GruVariant::ResetBefore))),
        Just(CellKind::Mgu(Mgu::new())),
    ]
}

fn scale() -> impl Strategy<Value = BranchScale> {
    prop_oneof![(-1.5..1.5).prop_map(BranchScale::Fixed), Just(BranchScale::Learned(0.0))]
}

fn part() -> impl Strategy<Value = Part> {
    let leaf = prop_oneof![
        3 => (1..=4usize).prop_map(Part::Linear),
        3 => (0..activations().len()).prop_map(Part::Activation),
        1 => any::<bool>().prop_map(Part::PRelu),
        1 => (any::<bool>(), any::<bool>(), prop_oneof![Just(1e-5), Just(1e-2), Just(1.0)])
            .prop_map(|(centred, affine, epsilon)| Part::Norm { centred, affine, epsilon }),
        1 => (0.0..0.8).prop_map(Part::Dropout),
        2 => (1..=3usize, cell()).prop_map(|(hidden, cell)| Part::Recurrent(hidden, cell)),
        1 => (1..=3usize, cell()).prop_map(|(hidden, cell)| Part::Reversed(hidden, cell)),
        1 => (1..=2usize, cell()).prop_map(|(hidden, cell)| Part::Bidirectional(hidden, cell)),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        (prop::collection::vec(inner, 1..=2), scale()).prop_map(|(branch, scale)| Part::Residual(branch, scale))
    })
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..=5usize, 1..=3).prop_map(|mut lengths| {
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths
    })
}

pub fn case() -> impl Strategy<Value = Case> {
    let end = prop_oneof![Just(None), Just(Some(Part::LastStep)), Just(Some(Part::Mean))];
    let after = prop::collection::vec(part(), 0..=1);
    (1..=4usize, prop::collection::vec(part(), 1..=4), end, after, lengths(), any::<u64>(), -1.0..1.5).prop_map(
        |(input, mut parts, end, after, lengths, seed, size)| {
            parts.extend(end);
            parts.extend(after);
            Case { input, parts, lengths, seed, size }
        },
    )
}
