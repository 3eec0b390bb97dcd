//! Random networks that can be built for any scalar.

use chainrule::{
    BatchShape, Scalar,
    activation::{Gelu, Relu, Sigmoid, Tanh},
    layer::{BranchScale, Residual, Sequential},
    recurrent::{Elman, Gru, Lstm},
};
use proptest::prelude::*;

/// One layer of a random network.
#[derive(Clone, Debug)]
pub enum Part {
    Linear(usize),
    Activation(usize),
    Residual(Vec<Part>, Scale),
    Recurrent(usize, usize),
    LastStep,
    Mean,
}

#[derive(Clone, Copy, Debug)]
pub enum Scale {
    Fixed(f64),
    Learned,
}

/// A random network with inputs and an output gradient.
#[derive(Clone, Debug)]
pub struct Case {
    pub input: usize,
    pub parts: Vec<Part>,
    /// The number of steps of each sample, longest first.
    pub lengths: Vec<usize>,
    /// The seed of weights, inputs and output gradient.
    pub seed: u64,
}

pub fn build<T: Scalar>(input: usize, parts: &[Part]) -> Sequential<T> {
    let mut network = Sequential::<T>::input(input);
    for part in parts {
        network = match part {
            Part::Linear(outputs) => network.linear(*outputs),
            Part::Activation(0) => network.activation(Tanh),
            Part::Activation(1) => network.activation(Sigmoid),
            Part::Activation(2) => network.activation(Relu),
            Part::Activation(_) => network.activation(Gelu),
            Part::Residual(branch, scale) => {
                let residual = Residual::new(build::<T>(network.width(), branch)).unwrap();
                let scale = match scale {
                    Scale::Fixed(value) => BranchScale::Fixed(*value),
                    Scale::Learned => BranchScale::Learned(0.0),
                };
                network.layer(residual.scale(scale).unwrap())
            }
            Part::Recurrent(hidden, 0) => network.recurrent(*hidden, Elman::<Tanh>::default()),
            Part::Recurrent(hidden, 1) => network.recurrent(*hidden, Elman::new(Relu)),
            Part::Recurrent(hidden, 2) => network.recurrent(*hidden, Lstm::new()),
            Part::Recurrent(hidden, 3) => network.recurrent(*hidden, Gru::new()),
            Part::Recurrent(hidden, _) => {
                network.recurrent(*hidden, Gru::new().variant(chainrule::recurrent::GruVariant::ResetBefore))
            }
            Part::LastStep => network.last_step(),
            Part::Mean => network.mean_over_steps(),
        };
    }
    network.build().unwrap()
}

impl Case {
    pub fn shape(&self) -> BatchShape<'_> {
        crate::fixtures::batch_of(&self.lengths)
    }

    /// `count` values in [−scale, scale), a function of the case's seed and `salt`.
    pub fn values(&self, salt: u64, count: usize, scale: f64) -> Vec<f64> {
        let mut state = self.seed ^ salt.wrapping_mul(0xA076_1D64_78BD_642F);
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..count).map(|_| (2.0 * next() - 1.0) * scale).collect()
    }
}

fn width() -> impl Strategy<Value = usize> {
    2..=6usize
}

fn scale() -> impl Strategy<Value = Scale> {
    prop_oneof![(-1.5..1.5).prop_map(Scale::Fixed), Just(Scale::Learned)]
}

/// A linear layer, an activation, or a residual block of these, from `width` values to `width` values.
fn stage(width: usize, nested: bool) -> BoxedStrategy<Vec<Part>> {
    let plain = (0..4usize, prop::bool::ANY)
        .prop_map(move |(kind, first)| {
            if first {
                vec![Part::Activation(kind), Part::Linear(width)]
            } else {
                vec![Part::Linear(width), Part::Activation(kind)]
            }
        })
        .boxed();
    if nested {
        return plain;
    }
    let branch = prop::collection::vec(stage(width, true), 1..=2).prop_map(|stages| stages.concat());
    let residual = (branch.clone(), scale()).prop_map(|(branch, scale)| vec![Part::Residual(branch, scale)]);
    let twice = (branch, scale(), scale()).prop_map(|(mut branch, inner, outer)| {
        branch.push(Part::Residual(branch.clone(), inner));
        vec![Part::Residual(branch, outer)]
    });
    prop_oneof![3 => plain, 2 => residual, 1 => twice].boxed()
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let ragged = prop::collection::vec(1..=5usize, 1..=4).prop_map(|mut lengths| {
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths
    });
    prop_oneof![(1..=4usize, 1..=5usize).prop_map(|(batch, steps)| vec![steps; batch]), ragged]
}

/// Feedforward and residual networks, one to five stages deep.
pub fn feedforward() -> impl Strategy<Value = Case> {
    (width(), width(), 1..=4usize, any::<u64>())
        .prop_flat_map(|(input, width, batch, seed)| {
            let stages = prop::collection::vec(stage(width, false), 1..=5);
            (Just(input), Just(width), Just(batch), Just(seed), stages)
        })
        .prop_map(|(input, width, batch, seed, stages)| {
            let mut parts = vec![Part::Linear(width)];
            parts.extend(stages.concat());
            Case { input, parts, lengths: vec![1; batch], seed }
        })
}

/// One to three recurrent layers with other layers between them, and a loss at the last step or at each step.
pub fn recurrent() -> impl Strategy<Value = Case> {
    let layer = (width(), 0..=4usize, prop::option::of(0..4usize));
    (width(), prop::collection::vec(layer, 1..=3), lengths(), 0..3usize, any::<u64>()).prop_map(
        |(input, layers, lengths, end, seed)| {
            let mut parts = Vec::new();
            for (hidden, cell, between) in layers {
                parts.push(Part::Recurrent(hidden, cell));
                if let Some(kind) = between {
                    parts.push(Part::Residual(vec![Part::Linear(hidden), Part::Activation(kind)], Scale::Fixed(0.5)));
                }
            }
            match end {
                0 => parts.push(Part::LastStep),
                1 => parts.push(Part::Mean),
                _ => {}
            }
            parts.push(Part::Linear(3));
            Case { input, parts, lengths, seed }
        },
    )
}
