//! Random networks within limits on their size, made of layers that a failing test can simplify one by one.

use super::{activations, cells, initializers, widths};
use crate::{
    activation::ActivationKind,
    initializer::{self, InitializerKind},
    layer::{BranchScale, LastStep, LayerSpec, Linear, MeanOverSteps, Merge},
    recurrent::{CellKind, StateNoise},
};
use alloc::{boxed::Box, vec::Vec};
use proptest::{
    collection::vec,
    option,
    prelude::any,
    prop_oneof,
    strategy::{BoxedStrategy, Just, Strategy},
};

/// The limits of a random network and its pass. Each limit is capped at that of [`Limits::MOST`]: larger cases would
/// fill the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The largest number of consecutive layers of the network, and of each branch inside it.
    pub layers: usize,
    /// The largest number of values per row; rows are wider after a parallel or bidirectional layer that outputs the
    /// rows of both branches.
    pub width: usize,
    /// The largest depth of branches within branches, such as a residual within a residual.
    pub depth: u32,
    /// Whether layers may be recurrent, reversed, bidirectional, or reduce sequences to one time step.
    pub recurrent: bool,
    /// The largest number of samples of a pass.
    pub batch: usize,
    /// The largest number of time steps of a sequence.
    pub steps: usize,
}

impl Limits {
    /// The largest possible limits: larger ones are reduced to these.
    pub const MOST: Limits =
        Limits { layers: 64, width: 1 << 10, depth: 8, recurrent: true, batch: 1 << 8, steps: 1 << 8 };

    /// Caps each limit at that of [`MOST`](Self::MOST).
    pub(super) fn capped(self) -> Self {
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

/// Returns limits of four consecutive layers, five values per row, and branches of depth two, with recurrent layers,
/// 3 samples and 4 time steps.
impl Default for Limits {
    fn default() -> Self {
        Limits { layers: 4, width: 5, depth: 2, recurrent: true, batch: 3, steps: 4 }
    }
}

/// A layer without its input width, so that shrinking can remove the layers before it.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Linear(usize, InitializerKind, Option<InitializerKind>),
    Activation(ActivationKind),
    Residual(Vec<Part>, BranchScale),
    Sequential(Vec<Part>),
    Recurrent(CellKind, usize, [InitializerKind; 2], Option<InitializerKind>),
    Reversed(Vec<Part>),
    Bidirectional(Vec<Part>, Vec<Part>),
    Parallel(Vec<Part>, Vec<Part>, Merge),
    LastStep,
    MeanOverSteps,
    /// The example of this number in [`LayerSpec::listed_examples`], modulo their number.
    Listed(usize),
}

impl Part {
    /// Returns this container, such as a residual, with the layers `row` inside. If it is no container, returns the
    /// layers as a sequence. Containers and their layers shrink independently.
    fn around(self, row: Vec<Part>) -> Part {
        match self {
            Part::Residual(_, scale) => Part::Residual(row, scale),
            Part::Reversed(_) => Part::Reversed(row),
            Part::Bidirectional(_, backward) => Part::Bidirectional(row, backward),
            Part::Parallel(_, second, merge) => Part::Parallel(row, second, merge),
            _ => Part::Sequential(row),
        }
    }

    /// Returns the layer for input rows of `width` values, and its output width.
    fn placed(self, width: usize) -> (LayerSpec, usize) {
        match self {
            Part::Linear(outputs, weights, bias) => {
                (LayerSpec::Linear(Linear { inputs: width, outputs, weights, bias }), outputs)
            }
            Part::Activation(activation) => (LayerSpec::ActivationLayer { width, activation }, width),
            Part::Residual(layers, scale) => {
                let (mut branch, output) = in_a_row(layers, width);
                if let (LayerSpec::Sequential { layers, .. }, true) = (&mut branch, output != width) {
                    layers.push(Part::Linear(width, default_weights(), None).placed(output).0);
                }
                (LayerSpec::Residual { branch: Box::new(unwrapped(branch)), scale }, width)
            }
            Part::Sequential(layers) => branch(layers, width),
            Part::Recurrent(cell, hidden, [weights, recurrent], bias) => {
                let noise = StateNoise::default();
                (LayerSpec::Recurrent { cell, inputs: width, hidden, weights, recurrent, bias, noise }, hidden)
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
            Part::Parallel(first, second, merge) => {
                let ((first, output), (mut second, other)) = (branch(first, width), in_a_row(second, width));
                let sums = merge == Merge::Sum;
                if let (LayerSpec::Sequential { layers, .. }, true) = (&mut second, sums && other != output) {
                    layers.push(Part::Linear(output, default_weights(), None).placed(other).0);
                }
                let branches = [first, unwrapped(second)].into();
                (LayerSpec::Parallel { branches, merge }, if sums { output } else { output.saturating_add(other) })
            }
            Part::LastStep => (LayerSpec::LastStep(LastStep::new(width)), width),
            Part::MeanOverSteps => (LayerSpec::MeanOverSteps(MeanOverSteps::new(width)), width),
            Part::Listed(i) => {
                let mut all = LayerSpec::listed_examples(width);
                let layer = all.swap_remove(i % all.len());
                let output = layer.widths().1;
                (layer, output)
            }
        }
    }
}

pub(super) fn in_a_row(parts: Vec<Part>, input: usize) -> (LayerSpec, usize) {
    let (mut layers, mut width) = (Vec::with_capacity(parts.len()), input);
    for part in parts {
        let (layer, output) = part.placed(width);
        layers.push(layer);
        width = output;
    }
    (LayerSpec::Sequential { input, layers }, width)
}

/// Replaces a sequence of one layer by that layer, so that failures shrink to fewer levels.
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

pub(super) fn default_weights() -> InitializerKind {
    InitializerKind::VarianceScaling(initializer::Glorot::uniform())
}

/// Draws layers that keep the number of time steps, the simplest first: a failure shrinks to the first kind that
/// reproduces it.
pub(super) fn parts(limits: Limits) -> BoxedStrategy<Part> {
    let width = || widths(limits.width);
    let bias = || option::of(initializers());
    let feedforward = prop_oneof![
        3 => activations().prop_map(Part::Activation),
        3 => (width(), initializers(), bias()).prop_map(|(out, weights, bias)| Part::Linear(out, weights, bias)),
        5 => (0..64usize).prop_map(Part::Listed),
    ];
    let recurrent = (cells(), width(), [initializers(), initializers()], bias())
        .prop_map(|(cell, hidden, weights, bias)| Part::Recurrent(cell, hidden, weights, bias));
    let leaf =
        if limits.recurrent { prop_oneof![3 => feedforward, 1 => recurrent].boxed() } else { feedforward.boxed() };
    let layers = limits.layers.max(1);
    leaf.prop_recursive(limits.depth, (layers * layers) as u32, layers as u32, move |inner| {
        let row = vec(inner, 1..=layers);
        let residual = any::<BranchScale>().prop_map(|scale| Part::Residual(Vec::new(), scale));
        let merge = prop_oneof![Just(Merge::Sum), Just(Merge::Concatenate)];
        let parallel = (row.clone(), merge).prop_map(|(second, merge)| Part::Parallel(Vec::new(), second, merge));
        let shell = prop_oneof![1 => Just(Part::Sequential(Vec::new())), 2 => residual, 1 => parallel];
        let both = row.clone().prop_map(|backward| Part::Bidirectional(Vec::new(), backward));
        let timed = prop_oneof![3 => shell.clone(), 1 => Just(Part::Reversed(Vec::new())), 1 => both];
        let shell = if limits.recurrent { timed.boxed() } else { shell.boxed() };
        (shell, row).prop_map(|(shell, row)| shell.around(row))
    })
    .boxed()
}

/// Random networks: a sequence of layers, some of them branches, that builds for every scalar. A failure shrinks to one
/// simple layer.
///
/// Rows can be wider than the limit after a bidirectional or parallel layer, which outputs the rows of both branches.
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
