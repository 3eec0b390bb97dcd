//! Random floats, batch shapes, activations, initializers, cells, losses, transforms and networks, for your own
//! property tests.
//!
//! All cases are valid: widths agree, parameters lie in their ranges, networks build for every scalar. A failure
//! shrinks to a short network of narrow, simple layers, a small shape and small numbers.
//!
//! To test a custom layer, or a cell, activation or initializer inside a layer, [`cases_around`] puts the layer into
//! random networks. [`loss_cases`] draws outputs and targets for a loss, and [`chains_around`] draws chains for an
//! optimizer.
//!
//! ```
//! use chainrule::{layer::Mode, proptest::prelude::*, workspace::Workspace};
//! use chainrule::testing::strategies::{Case, Limits, cases};
//!
//! proptest! {
//! # #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]
//!     # /*
//!     #[test]
//!     # */
//!     fn inference_gives_what_evaluation_gives(case in cases::<f64>(Limits::default())) {
//!         let Case { network, w, x, shape } = &case;
//!         let network = network.build::<f64>()?;
//!         let mut workspace = Workspace::new(&network, shape.into())?;
//!         let evaluated = workspace.forward_with(w, x, shape.into(), Mode::Evaluate, &mut ())?.y.to_vec();
//!         prop_assert_eq!(workspace.infer(w, x, shape.into())?, evaluated);
//!     }
//! }
//! # inference_gives_what_evaluation_gives();
//! ```

mod arguments;
mod around;
mod batch_shapes;
mod losses;
mod networks;
mod numbers;
mod parts;
mod transforms;

pub use arguments::arguments_of;
pub use around::{Around, around, cases_around};
pub use batch_shapes::{OwnedBatchShape, batch_shapes, lengths};
pub use losses::{LossCase, OwnedTarget, TargetKind, loss_cases, loss_cases_of_width, losses};
pub use networks::{Limits, networks};
pub use numbers::{finite, float, values, widths};
pub use parts::{activations, cells, initializers};
pub use transforms::{chains_around, optimizers, transforms};

use self::numbers::hundredths;
use crate::{
    activation::ActivationKind,
    initializer::InitializerKind,
    layer::{BranchScale, Dims, LayerSpec},
    recurrent::{CellKind, GruVariant},
    scalar::{Scalar, scalar},
};
use alloc::vec::Vec;
use proptest::{
    arbitrary::Arbitrary,
    collection::vec,
    prop_oneof,
    strategy::{BoxedStrategy, Just, Strategy, Union},
};

/// A network with the parameters and the input of a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Case<T, N = LayerSpec> {
    /// The network.
    pub network: N,
    /// The parameters of the network, none of them 0.
    pub w: Vec<T>,
    /// An input, none of whose values is 0.
    pub x: Vec<T>,
    /// The batch shape of the input.
    pub shape: OwnedBatchShape,
}

/// Networks with parameters, input and batch shape. A failure shrinks to a simple network first, then to a small
/// shape, then to small numbers. All numbers are odd multiples of 1/128 (half of that for parameters), which avoids
/// kinks at 0.
pub fn cases<T: Scalar>(limits: Limits) -> BoxedStrategy<Case<T>> {
    let dims = |network: &LayerSpec| network.build::<T>().map(|network| network.dims()).unwrap_or_default();
    cases_of(limits, networks(limits), dims)
}

/// Networks drawn by the strategy `networks`, with parameters, input and a batch shape within `limits`. `dims` returns
/// the dimensions of a network.
fn cases_of<T: Scalar, N: core::fmt::Debug + 'static>(
    limits: Limits,
    networks: BoxedStrategy<N>,
    dims: impl Fn(&N) -> Dims + 'static,
) -> BoxedStrategy<Case<T, N>> {
    let limits = limits.capped();
    // A prime number of values, used cyclically, so that the network can shrink without drawing new values. The input
    // takes them from the start and the parameters from the end, so that neither depends on the length of the other.
    const VALUES: usize = 257;
    let values = vec((-128..=127i16).prop_map(|i| (2.0 * f64::from(i) + 1.0) / 128.0), VALUES);
    (networks, batch_shapes(limits.batch, limits.steps), values)
        .prop_map(move |(network, shape, values)| {
            let dims = dims(&network);
            let w = values.iter().rev().cycle().take(dims.parameters).map(|value| scalar(0.5 * value)).collect();
            let inputs = dims.input.saturating_mul(shape.shape().rows());
            let x = values.iter().cycle().take(inputs).map(|&value| scalar(value)).collect();
            Case { network, w, x, shape }
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
    /// Draws from [`activations`].
    ActivationKind, (), |()| activations();
    /// Draws from [`initializers`].
    InitializerKind, (), |()| initializers();
    /// Draws from [`cells`].
    CellKind, (), |()| cells();
    /// Draws from [`networks`].
    LayerSpec, Limits, |limits| networks(limits);
    /// Draws from [`batch_shapes`] of up to 3 samples and 4 time steps.
    OwnedBatchShape, (), |()| batch_shapes(3, 4);
    /// Draws one of the two variants.
    GruVariant, (), |()| Union::new([GruVariant::ResetAfter, GruVariant::ResetBefore].map(Just)).boxed();
    /// Draws a fixed or a learned scale, within ±2.
    BranchScale, (), |()| prop_oneof![
        hundredths(-200, 200).prop_map(BranchScale::Fixed),
        hundredths(-200, 200).prop_map(BranchScale::Learned),
    ].boxed();
}

/// Draws value and tangent from [`finite`].
impl<T: Scalar> Arbitrary for crate::testing::Dual<T> {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;
    fn arbitrary_with((): ()) -> Self::Strategy {
        (finite(), finite()).prop_map(|(value, tangent)| crate::testing::Dual::new(value, tangent)).boxed()
    }
}

/// Draws from [`cases`].
impl<T: Scalar> Arbitrary for Case<T> {
    type Parameters = Limits;
    type Strategy = BoxedStrategy<Self>;
    fn arbitrary_with(limits: Limits) -> Self::Strategy {
        cases(limits)
    }
}
