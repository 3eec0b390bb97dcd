//! Networks built from their description, for any scalar.

use crate::{
    activation::{Activation, ActivationKind, ActivationVisitor},
    error::Error,
    initializer::InitializerKind,
    layer::{
        ActivationLayer, Dropout, LastStep, Layer, LayerNorm, LayerSpec, Linear, MeanOverSteps, PRelu, Residual,
        RmsNorm, Sequential, join,
    },
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
    /// [`Residual::new`], [`Reversed::new`], [`Bidirectional::new`] and the other constructors, for a description that
    /// was made or changed by hand.
    pub fn build<T: Scalar>(&self) -> Result<Box<dyn Layer<T>>, Error> {
        self.check_depth().map_err(|rule| rule.at(""))?;
        self.build_at::<T, Typed>("")
    }

    /// The same network for what looks at it once: in `f64`, its activations behind pointers. It runs slower, and this
    /// crate compiles it for one activation instead of for each; those of a user's own go in, too.
    ///
    /// # Errors
    /// Those of [`build`](Self::build), activations left out.
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
                    network.push_boxed(layer.build_at::<T, A>(&join(path, &i.to_string()))?)?;
                }
                Box::new(network)
            }
            LayerSpec::Reversed(layer) => Box::new(Reversed::new::<T>(layer.build_at::<T, A>(path)?)?),
            LayerSpec::Bidirectional { forward, backward } => {
                let forward = forward.build_at::<T, A>(&join(path, "forward"))?;
                Box::new(Bidirectional::new::<T>(forward, backward.build_at::<T, A>(&join(path, "backward"))?)?)
            }
            leaf => leaf.build_leaf::<T, A>(path)?,
        })
    }

    /// A layer without parts. Apart, for its large frame is not to lie on the stack once a level.
    fn build_leaf<T: Scalar, A: ActivationDispatch>(&self, path: &str) -> Result<Box<dyn Layer<T>>, Error> {
        let opaque = |kind: &str| Error::CustomPart { path: path.into(), kind: kind.into() };
        Ok(match self {
            LayerSpec::Linear { inputs, outputs, weights, bias } => {
                Box::new(Linear::from_parts(*inputs, *outputs, weights.clone(), bias.clone()))
            }
            LayerSpec::ActivationLayer { width, activation } => {
                let build = BuildPointwise { width: *width, scalar: PhantomData };
                A::visit(activation, build).ok_or_else(|| opaque(activation.name()))?
            }
            LayerSpec::PRelu { width, per_unit, initial } => {
                let layer = PRelu::new(*width).initial(*initial)?;
                Box::new(if *per_unit { layer.per_unit() } else { layer })
            }
            LayerSpec::LayerNorm { width, epsilon, affine } => {
                let layer = LayerNorm::new(*width).epsilon(*epsilon)?;
                Box::new(if *affine { layer } else { layer.without_affine() })
            }
            LayerSpec::RmsNorm { width, epsilon, affine } => {
                let layer = RmsNorm::new(*width).epsilon(*epsilon)?;
                Box::new(if *affine { layer } else { layer.without_affine() })
            }
            LayerSpec::Dropout { width, rate } => Box::new(Dropout::new(*width, *rate)?),
            LayerSpec::LastStep { width } => Box::new(LastStep::new(*width)),
            LayerSpec::MeanOverSteps { width } => Box::new(MeanOverSteps::new(*width)),
            LayerSpec::Recurrent { cell, inputs, hidden, weights, recurrent, bias } => {
                let (weights, recurrent, bias) = (weights.clone(), recurrent.clone(), bias.clone());
                let unroll = Unroll { widths: [*inputs, *hidden], weights, recurrent, bias, scalar: PhantomData };
                cell.visit::<A, _>(unroll).ok_or_else(|| opaque(cell.custom_part().unwrap_or_default()))?
            }
            LayerSpec::Custom { kind, .. } => return Err(opaque(kind)),
            listed => match listed.listed::<T>() {
                Some(layer) => layer,
                None => self.build_at::<T, A>(path)?,
            },
        })
    }
}

/// As what it is: a layer for each type.
struct Typed;

impl ActivationDispatch for Typed {
    fn visit<V: ActivationVisitor>(activation: &ActivationKind, visitor: V) -> Option<V::Output> {
        activation.visit(visitor)
    }
}

/// Behind a pointer: one layer for all of them.
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

/// Everything of a recurrent layer but its cell.
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
