//! Strategies that draw activations, initializers and cells.

use super::numbers::hundredths;
use crate::{
    activation::{ActivationKind, Entry, Identity, LIST},
    initializer::{self, ByGate, Constant, Distribution, Fan, InitializerKind, Sparse, SparseScale},
    recurrent::CellKind,
};
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use proptest::{
    prop_oneof,
    strategy::{BoxedStrategy, Just, Strategy, Union},
};

/// Every activation of the crate, each with parameters that are multiples of 0.01 in a range fit for that activation. A
/// failure shrinks to the identity.
pub fn activations() -> BoxedStrategy<ActivationKind> {
    let of = |entry: &'static Entry| {
        let hundredth = |x: f64| (100.0 * x).round() as i32;
        let parameter = |range: &RangeInclusive<f64>| hundredths(hundredth(*range.start()), hundredth(*range.end()));
        let parameters: Vec<_> = entry.ranges.iter().map(parameter).collect();
        // `new` accepts every value of the ranges, so the default is never used.
        parameters.prop_map(|p| (entry.new)(&p).unwrap_or(ActivationKind::Identity(Identity)))
    };
    Union::new(LIST.iter().map(of)).boxed()
}

/// The initializers of the crate, except `Chrono`, `CriticalGain`, and a sparse matrix of given spectral radius, which
/// must be square. A failure shrinks to zeros.
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

/// Every cell of the crate. A failure shrinks to an Elman cell.
pub fn cells() -> BoxedStrategy<CellKind> {
    prop_oneof![
        2 => activations().prop_flat_map(|activation| Union::new(CellKind::with_activation(&activation).into_iter().map(Just))),
        2 => Union::new(CellKind::plain().into_iter().map(Just)),
    ]
    .boxed()
}
