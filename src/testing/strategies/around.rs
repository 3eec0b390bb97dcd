//! Random networks around a custom layer.

use super::{
    Limits, cases_of,
    networks::{Part, default_weights, in_a_row, parts},
    widths,
};
use crate::{
    error::Error,
    layer::{BranchScale, Layer, LayerSpec, Residual, Sequential},
    scalar::Scalar,
};
use alloc::vec::Vec;
use proptest::{
    arbitrary::any,
    collection::vec,
    option,
    strategy::{BoxedStrategy, Just, Strategy},
};

/// A network into which a custom layer is put: layers before it, layers after it, and optionally a skip connection
/// around it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Around {
    /// The layers before the custom layer; `None` for none.
    pub before: Option<LayerSpec>,
    /// The scale of the custom layer in a residual sum with its input; `None` without a skip connection.
    pub skip: Option<BranchScale>,
    /// The layers after the custom layer; `None` for none.
    pub after: Option<LayerSpec>,
}

impl Around {
    /// Builds the network with `layer` in its place. Pass a cell as a [`Recurrent`](crate::recurrent::Recurrent), an
    /// activation as an [`ActivationLayer`](crate::layer::ActivationLayer), and an initializer in a layer that uses it.
    ///
    /// # Errors
    /// The errors of [`Sequential::push`], such as [`Error::WidthMismatch`] for a layer whose widths are not those
    /// given to [`around`].
    pub fn build<T: Scalar>(&self, layer: impl Layer<T> + 'static) -> Result<Sequential<T>, Error> {
        let before = self.before.as_ref().map(LayerSpec::build).transpose()?;
        let input = before.as_ref().map_or(layer.dims().input, |before| before.dims().input);
        let mut network = Sequential::new(input);
        before.map_or(Ok(()), |before| network.push_boxed(before))?;
        match self.skip {
            Some(scale) => network.push(Residual::around(layer.boxed())?.scale(scale)?)?,
            None => network.push(layer)?,
        }
        self.after.as_ref().map_or(Ok(()), |after| network.push_boxed(after.build()?))?;
        Ok(network)
    }
}

/// Networks into which a custom layer is put that maps rows of `input` values to rows of `output` values. A failure
/// shrinks to the layer alone.
pub fn around(limits: Limits, [input, output]: [usize; 2]) -> BoxedStrategy<Around> {
    let limits = limits.capped();
    let row = || option::of((widths(limits.width), vec(parts(limits), 0..=limits.layers)));
    let skip = if input == output { option::of(any::<BranchScale>()).boxed() } else { Just(None).boxed() };
    (row(), skip, row())
        .prop_map(move |(before, skip, after)| {
            let before = before.map(|(width, mut layers)| {
                layers.push(Part::Linear(input, default_weights(), None));
                in_a_row(layers, width).0
            });
            let after = after.map(|(width, mut layers): (usize, Vec<Part>)| {
                layers.push(Part::Linear(width, default_weights(), None));
                in_a_row(layers, output).0
            });
            Around { before, skip, after }
        })
        .boxed()
}

/// Random networks around a custom layer, with parameters, input and batch shape. `make` creates the layer in the
/// scalar `T`. A failure shrinks to the layer alone, then to a small shape, then to small numbers.
///
/// ```
/// use chainrule::{layer::Linear, proptest::prelude::*, workspace::Workspace};
/// use chainrule::testing::strategies::{Case, Limits, cases_around};
///
/// proptest! {
/// # #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]
///     # /*
///     #[test]
///     # */
///     fn infers(case in cases_around::<f64, _>(Limits::default(), || Linear::new(3, 2))) {
///         let Case { network, w, x, shape } = &case;
///         let network = network.build(Linear::new(3, 2))?;
///         let mut workspace = Workspace::new(&network, shape.into())?;
///         prop_assert!(workspace.infer(w, x, shape.into())?.iter().all(|y| y.is_finite()));
///     }
/// }
/// # infers();
/// ```
pub fn cases_around<T: Scalar, L: Layer<T> + 'static>(
    limits: Limits,
    make: impl Fn() -> L + 'static,
) -> BoxedStrategy<super::Case<T, Around>> {
    let dims = make().dims();
    let built = move |network: &Around| network.build(make()).map(|network| network.dims()).unwrap_or_default();
    cases_of(limits, around(limits, [dims.input, dims.output]), built)
}
