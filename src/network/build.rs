//! Networks built from their description, for any scalar.

use crate::{
    activation::{Activation, ActivationKind, ActivationVisitor},
    error::Error,
    initializer::InitializerKind,
    layer::{ActivationLayer, Layer, LayerSpec, Parallel, Residual, Sequential, join},
    recurrent::{
        Bidirectional, Cell, Recurrent, Reversed,
        kind::{ActivationDispatch, CellVisitor},
    },
    scalar::Scalar,
};
use alloc::{boxed::Box, string::ToString};
use core::marker::PhantomData;

impl LayerSpec {
    /// The network that this describes, for the scalar `T`.
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
    /// [`Error::CustomPart`], with its place, for an activation, cell or layer of your own. [`Error::InvalidLayer`] for
    /// layers nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep. The errors of [`Sequential::push`],
    /// [`Parallel::new`], [`Residual::new`], [`Reversed::new`], [`Bidirectional::new`] and the other constructors, for
    /// a description that was made or changed by hand.
    pub fn build<T: Scalar>(&self) -> Result<Box<dyn Layer<T>>, Error> {
        self.check_depth().map_err(|rule| rule.at(""))?;
        self.build_at::<T, Typed>("")
    }

    /// Builds the network in `f64` with activations as trait objects, for analysis. It runs slower, is compiled once
    /// instead of for each activation, and can contain custom activations.
    ///
    /// # Errors
    /// Those of [`build`](Self::build), except for custom activations.
    pub(crate) fn build_to_look_at(&self) -> Result<Box<dyn Layer<f64>>, Error> {
        self.check_depth().map_err(|rule| rule.at(""))?;
        self.build_at::<f64, Behind>("")
    }

    fn build_at<T: Scalar, A: ActivationDispatch>(&self, path: &str) -> Result<Box<dyn Layer<T>>, Error> {
        Ok(match self {
            LayerSpec::Residual { branch, scale } => {
                Box::new(Residual::boxed(branch.build_at::<T, A>(&join(path, "branch"))?)?.scale(*scale)?)
            }
            LayerSpec::Sequential { input, layers } => {
                let mut network = Sequential::new(*input);
                for (i, layer) in layers.iter().enumerate() {
                    network.push_made(layer.build_at::<T, A>(&join(path, &i.to_string()))?, true)?;
                }
                Box::new(network)
            }
            LayerSpec::Parallel { branches, merge } => {
                let part = |(i, branch): (usize, &LayerSpec)| branch.build_at::<T, A>(&join(path, &i.to_string()));
                let branches = branches.iter().enumerate().map(part).collect::<Result<_, _>>()?;
                Box::new(Parallel::new(*merge, branches)?)
            }
            LayerSpec::Reversed(layer) => Box::new(Reversed::new::<T>(layer.build_at::<T, A>(path)?)?),
            LayerSpec::Bidirectional { forward, backward } => {
                let forward = forward.build_at::<T, A>(&join(path, "forward"))?;
                Box::new(Bidirectional::new::<T>(forward, backward.build_at::<T, A>(&join(path, "backward"))?)?)
            }
            leaf => leaf.build_leaf::<T, A>(path)?,
        })
    }

    /// Builds a layer without parts. A separate function: its large stack frame must not be in each level of recursion.
    fn build_leaf<T: Scalar, A: ActivationDispatch>(&self, path: &str) -> Result<Box<dyn Layer<T>>, Error> {
        let opaque = |kind: &str| Error::CustomPart { path: path.into(), kind: kind.into() };
        Ok(match self {
            LayerSpec::ActivationLayer { width, activation } => {
                let build = BuildPointwise { width: *width, scalar: PhantomData };
                A::visit(activation, build).ok_or_else(|| opaque(activation.name()))?
            }
            LayerSpec::Recurrent { cell, inputs, hidden, weights, recurrent, bias } => {
                let (weights, recurrent, bias) = (weights.clone(), recurrent.clone(), bias.clone());
                let unroll = Unroll { widths: [*inputs, *hidden], weights, recurrent, bias, scalar: PhantomData };
                cell.visit::<A, _>(unroll).ok_or_else(|| opaque(cell.custom_part().unwrap_or_default()))?
            }
            LayerSpec::Custom { kind, .. } => return Err(opaque(kind)),
            listed => match listed.build_listed::<T>() {
                Some(layer) => layer?,
                None => self.build_at::<T, A>(path)?,
            },
        })
    }
}

/// Builds a layer for the type of each activation.
struct Typed;

impl ActivationDispatch for Typed {
    fn visit<V: ActivationVisitor>(activation: &ActivationKind, visitor: V) -> Option<V::Output> {
        activation.visit(visitor)
    }
}

/// Builds one layer for all activations, which are trait objects.
struct Behind;

impl ActivationDispatch for Behind {
    fn visit<V: ActivationVisitor>(activation: &ActivationKind, visitor: V) -> Option<V::Output> {
        Some(visitor.visit(activation.clone()))
    }
}

struct BuildPointwise<T> {
    width: usize,
    scalar: PhantomData<T>,
}

impl<T: Scalar> ActivationVisitor for BuildPointwise<T> {
    type Output = Box<dyn Layer<T>>;
    fn visit(self, activation: impl Activation) -> Self::Output {
        Box::new(ActivationLayer::new(self.width, activation))
    }
}

/// The settings of a recurrent layer without its cell.
struct Unroll<T> {
    widths: [usize; 2],
    weights: InitializerKind,
    recurrent: InitializerKind,
    bias: Option<InitializerKind>,
    scalar: PhantomData<T>,
}

impl<T: Scalar> CellVisitor for Unroll<T> {
    type Output = Box<dyn Layer<T>>;
    fn visit(self, cell: impl Cell) -> Self::Output {
        Box::new(Recurrent::from_parts(self.widths, cell, self.weights, self.recurrent, self.bias))
    }
}
