//! Activations, initializers and cells.

use super::numbers::hundredths;
use crate::{
    activation::{
        ActivationKind, Celu, Elu, Erf, Gelu, GeluTanh, HardSigmoid, HardSwish, HardTanh, Identity, LeakyRelu,
        LogSigmoid, Mish, Relu, Relu6, Selu, Sigmoid, Softplus, Softsign, Swish, Tanh,
    },
    initializer::{self, ByGate, Constant, Distribution, Fan, InitializerKind, Sparse, SparseScale},
    layer::CellKind,
};
use proptest::{
    prop_oneof,
    strategy::{BoxedStrategy, Just, Strategy, Union},
};

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
        2 => activations().prop_flat_map(|activation| Union::new(CellKind::with_activation(&activation).into_iter().map(Just))),
        2 => Union::new(CellKind::plain().into_iter().map(Just)),
    ]
    .boxed()
}
