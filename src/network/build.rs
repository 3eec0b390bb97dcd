//! Construction of networks from their layer specification (a network as data), for any scalar type.

use super::Registry;
use crate::{
    activation::{Activation, ActivationKind, ActivationVisitor},
    cell::{ActivationDispatch, CellVisitor},
    error::Error,
    initializer::InitializerKind,
    layer::{ActivationLayer, Kind, Layer, LayerSpec, Parallel, Residual, Sequential, join},
    recurrent::{Bidirectional, Cell, Checkpointed, Recurrent, Reversed, StateNoise},
    scalar::Scalar,
};
use alloc::{boxed::Box, string::ToString, vec};
use core::marker::PhantomData;

impl LayerSpec {
    /// Builds the network that this specification describes, for the scalar `T`.
    ///
    /// ```
    /// use chainrule::{Layer, activation::Tanh, layer::Sequential};
    /// let network = Sequential::<f32>::input(2).linear(3).activation(Tanh).build()?;
    /// let described = network.spec();
    /// let again = described.build::<f64>()?;
    /// assert_eq!(again.spec(), described);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::CustomPart`], with its path, for a custom activation, cell or layer, which
    /// [`build_with`](Self::build_with) builds by a registry. [`Error::InvalidLayer`] for layers nested more than
    /// [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep. The errors of [`Sequential::push`], [`Parallel::new`],
    /// [`Residual::new`], [`Reversed::new`], [`Bidirectional::new`] and the other constructors, for settings outside
    /// their range.
    pub fn build<T: Scalar>(&self) -> Result<Box<dyn Layer<T>>, Error> {
        T::layer_build(self, None)
    }

    /// Builds the network as [`build`](Self::build) does, with custom layers, cells, activations and initializers
    /// from `registry`.
    ///
    /// # Errors
    /// The errors of [`build`](Self::build) except [`Error::CustomPart`]. [`Error::Registered`] for a custom part
    /// that is not registered, is registered twice, cannot be built, or differs from its specification when it is
    /// built.
    pub fn build_with<T: Scalar>(&self, registry: &Registry<T>) -> Result<Box<dyn Layer<T>>, Error> {
        registry.check()?;
        T::layer_build(self, Some(registry))
    }

    /// Implements [`build`](Self::build) if `registry` is `None`, and [`build_with`](Self::build_with) otherwise.
    pub(crate) fn build_typed<T: Scalar>(&self, registry: Option<&Registry<T>>) -> Result<Box<dyn Layer<T>>, Error> {
        self.check_depth().map_err(|rule| rule.at(""))?;
        self.build_at("", &Typed, registry)
    }

    /// Builds the network with this specification in `f64`, with activations behind trait objects, for analysis. It
    /// runs slower than one that [`build`](Self::build) returns, but its code is compiled once, not for each
    /// activation. It can contain custom activations.
    ///
    /// # Errors
    /// The errors of [`build`](Self::build), except that a custom activation is an [`Error::CustomPart`] only if it
    /// was read from a file and no registry has built it.
    pub(crate) fn build_to_look_at(&self) -> Result<Box<dyn Layer<f64>>, Error> {
        self.check_depth().map_err(|rule| rule.at(""))?;
        self.build_at("", &Behind, None)
    }

    fn build_at<T: Scalar, A: ActivationDispatch>(
        &self,
        path: &str,
        dispatch: &A,
        registry: Option<&Registry<T>>,
    ) -> Result<Box<dyn Layer<T>>, Error> {
        let build = |part: &LayerSpec, path: &str| part.build_at(path, dispatch, registry);
        Ok(match self {
            LayerSpec::Residual { branch, scale } => {
                Residual::around(build(branch, &join(path, "branch"))?)?.scale(*scale)?.boxed()
            }
            LayerSpec::Sequential { input, layers } => {
                let mut network = Sequential::new(*input);
                for (i, layer) in layers.iter().enumerate() {
                    let own = !matches!(layer, LayerSpec::Custom { .. });
                    T::sequential_push(&mut network, build(layer, &join(path, &i.to_string()))?, own)?;
                }
                network.boxed()
            }
            LayerSpec::Parallel { branches, merge } => {
                let part = |(i, branch): (usize, &LayerSpec)| build(branch, &join(path, &i.to_string()));
                let branches = branches.iter().enumerate().map(part).collect::<Result<_, _>>()?;
                Parallel::new(*merge, branches)?.boxed()
            }
            LayerSpec::Checkpointed { interval, layers } => {
                let part = |(i, layer): (usize, &LayerSpec)| build(layer, &join(path, &i.to_string()));
                let layers = layers.iter().enumerate().map(part).collect::<Result<_, _>>()?;
                Checkpointed::new(*interval, layers)?.boxed()
            }
            LayerSpec::Reversed(layer) => Box::new(Reversed::new::<T>(build(layer, path)?)?),
            LayerSpec::Bidirectional { forward, backward } => {
                let forward = build(forward, &join(path, "forward"))?;
                Box::new(Bidirectional::new::<T>(forward, build(backward, &join(path, "backward"))?)?)
            }
            leaf => leaf.build_leaf(path, dispatch, registry)?,
        })
    }

    /// Builds a layer without layers inside it; errors name its `path`. Custom cells, activations and initializers
    /// come from `registry`. Without a registry they cause an error, except for activations that `dispatch` supports.
    /// `dispatch` builds the layer either with the activation's own type, which is unknown for a custom activation,
    /// or with a trait object.
    ///
    /// It is a separate function, so that its large stack frame is not in each level of recursion.
    fn build_leaf<T: Scalar, A: ActivationDispatch>(
        &self,
        path: &str,
        dispatch: &A,
        registry: Option<&Registry<T>>,
    ) -> Result<Box<dyn Layer<T>>, Error> {
        let opaque = |kind: &str| Error::CustomPart { path: path.into(), kind: kind.into() };
        let mut leaf = self.shallow();
        leaf.exchange_kinds(&mut |part| match (registry, part) {
            (Some(registry), part) => registry.exchange(path, part),
            (None, Kind::Activation(ActivationKind::Custom(own))) if !own.is_built() => Err(opaque(own.saved_name())),
            (None, _) => Ok(()),
        })?;
        Ok(match &leaf {
            LayerSpec::ActivationLayer { width, activation } => match (registry, activation) {
                (Some(registry), ActivationKind::Custom(_)) => registry.activation_layer(path, activation, *width)?,
                _ => {
                    let build = BuildActivationLayer { width: *width, scalar: PhantomData };
                    dispatch.visit(activation, build).ok_or_else(|| opaque(activation.as_any().saved_name()))?
                }
            },
            LayerSpec::Recurrent { cell, inputs, hidden, weights, recurrent, bias, noise } => {
                noise.check()?;
                let (weights, recurrent, bias) = (weights.clone(), recurrent.clone(), bias.clone());
                let (widths, noise) = ([*inputs, *hidden], *noise);
                let unroll = Unroll { widths, weights, recurrent, bias, noise, scalar: PhantomData };
                match (registry, cell.custom_part()) {
                    (Some(registry), Some(_)) => registry.recurrent(path, cell, unroll)?,
                    (_, part) => cell.visit(dispatch, unroll).ok_or_else(|| opaque(part.unwrap_or_default()))?,
                }
            }
            LayerSpec::Custom { kind, dims, settings } => match registry {
                Some(registry) => registry.layer_of(path, kind, *dims, settings)?,
                None => return Err(opaque(kind)),
            },
            listed => match listed.build_listed::<T>() {
                Some(layer) => layer?,
                None => self.build_at(path, dispatch, registry)?,
            },
        })
    }

    /// Calls `exchange`, which may replace its argument, with each activation and initializer in the specification of
    /// a layer without inner layers. Returns the first error.
    fn exchange_kinds(&mut self, exchange: &mut dyn FnMut(Kind<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let kinds = match self {
            LayerSpec::ActivationLayer { activation, .. } => vec![Kind::Activation(activation)],
            LayerSpec::Recurrent { cell, weights, recurrent, bias, .. } => {
                let initializers = [weights, recurrent].into_iter().chain(bias).map(Kind::Initializer);
                cell.activation_mut().map(Kind::Activation).into_iter().chain(initializers).collect()
            }
            listed => listed.listed_kinds_mut(),
        };
        kinds.into_iter().try_for_each(|kind| match kind {
            Kind::Initializer(InitializerKind::ByGate(gates)) => {
                gates.parts_mut().try_for_each(|part| exchange(Kind::Initializer(part)))
            }
            kind => exchange(kind),
        })
    }
}

/// A marker type by which layers are built as types that are generic over the activation, so that each activation is
/// compiled into its own layer type.
struct Typed;

impl ActivationDispatch for Typed {
    fn visit<V: ActivationVisitor>(&self, activation: &ActivationKind, visitor: V) -> Option<V::Output> {
        activation.visit(visitor)
    }
}

/// A marker type by which layers are built with their activation behind a trait object, so that one compiled layer
/// type serves all activations.
struct Behind;

impl ActivationDispatch for Behind {
    fn visit<V: ActivationVisitor>(&self, activation: &ActivationKind, visitor: V) -> Option<V::Output> {
        Some(visitor.visit(activation.clone()))
    }
}

struct BuildActivationLayer<T> {
    width: usize,
    scalar: PhantomData<T>,
}

impl<T: Scalar> ActivationVisitor for BuildActivationLayer<T> {
    type Output = Box<dyn Layer<T>>;
    fn visit(self, activation: impl Activation) -> Self::Output {
        ActivationLayer::new(self.width, activation).boxed()
    }
}

/// The settings of a recurrent layer without its cell: widths, initializers and noise. As a [`CellVisitor`], it
/// builds the recurrent layer with the visited cell.
pub(super) struct Unroll<T> {
    widths: [usize; 2],
    weights: InitializerKind,
    recurrent: InitializerKind,
    bias: Option<InitializerKind>,
    noise: StateNoise,
    scalar: PhantomData<T>,
}

impl<T: Scalar> CellVisitor for Unroll<T> {
    type Output = Box<dyn Layer<T>>;
    fn visit(self, cell: impl Cell) -> Self::Output {
        let Unroll { widths, weights, recurrent, bias, noise, .. } = self;
        Recurrent::from_parts(widths, cell, weights, recurrent, bias, noise).boxed()
    }
}
