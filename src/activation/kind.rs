//! An activation as data, and as a trait object.

use super::{
    Activation, Bounds, Celu, Elu, Erf, Gelu, GeluTanh, HardSigmoid, HardSwish, HardTanh, Identity, LeakyRelu,
    LogSigmoid, Mish, Relu, Relu6, Selu, Sigmoid, Softplus, Softsign, Swish, Tanh,
};
use crate::{
    arc::Arc,
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{format, vec::Vec};
use core::fmt::Debug;

/// An [`Activation`] as a trait object, in `f64`.
///
/// Every activation implements it. Its methods have other names, so that both traits can be in scope.
pub trait AnyActivation: Debug + Send + Sync {
    /// The name of the type, without the path.
    fn name(&self) -> &'static str;
    /// `φ(z)`.
    fn value_at(&self, z: f64) -> f64;
    /// `φ′(z)`.
    fn derivative_at(&self, z: f64) -> f64;
    /// `[inf φ′, sup φ′]` over all real `z`, or `None` if it is not known.
    fn bounds(&self) -> Option<Bounds>;
    /// The points at which φ′ jumps, in increasing order.
    fn kink_points(&self) -> Vec<f64>;
    /// Whether `φ(−z) = −φ(z)` exactly.
    fn odd(&self) -> bool;
}

impl<A: Activation> AnyActivation for A {
    fn name(&self) -> &'static str {
        let path = core::any::type_name::<A>();
        let generics = path.find('<').unwrap_or(path.len());
        path[..generics].rfind("::").map_or(path, |colons| &path[colons + 2..])
    }
    fn value_at(&self, z: f64) -> f64 {
        Activation::value(self, z)
    }
    fn derivative_at(&self, z: f64) -> f64 {
        Activation::derivative(self, z, Activation::value(self, z))
    }
    fn bounds(&self) -> Option<Bounds> {
        Activation::derivative_bounds(self)
    }
    fn kink_points(&self) -> Vec<f64> {
        Activation::kinks(self)
    }
    fn odd(&self) -> bool {
        Activation::is_odd(self)
    }
}

/// A generic operation on an activation of known type.
pub(crate) trait ActivationVisitor {
    type Output;
    fn visit(self, activation: impl Activation) -> Self::Output;
}

macro_rules! kinds {
    ($($name:ident)+) => {
        /// An activation as data: one of this crate with its parameters, or a custom one.
        ///
        /// ```
        /// use chainrule::activation::{Activation, ActivationKind, Tanh};
        /// let kind = Tanh.kind();
        /// assert_eq!(kind, ActivationKind::Tanh(Tanh));
        /// assert_eq!(kind.name(), "Tanh");
        /// assert_eq!(kind.derivative(0.0), 1.0);
        /// ```
        #[derive(Clone, Debug)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum ActivationKind {
            $(#[doc = concat!("[`", stringify!($name), "`](super::", stringify!($name), ").")] $name($name),)+
            /// A custom activation. It cannot be written to a file.
            #[cfg_attr(feature = "serde", serde(skip_deserializing, serialize_with = "refuse"))]
            Custom(Arc<dyn AnyActivation>),
        }

        impl ActivationKind {
            /// The activation as a trait object.
            pub fn as_any(&self) -> &dyn AnyActivation {
                match self {
                    $(ActivationKind::$name(activation) => activation,)+
                    ActivationKind::Custom(activation) => &**activation,
                }
            }

            /// Calls `visitor` with the typed activation; `None` for a custom one.
            pub(crate) fn visit<V: ActivationVisitor>(&self, visitor: V) -> Option<V::Output> {
                match self {
                    $(ActivationKind::$name(activation) => Some(visitor.visit(activation.clone())),)+
                    ActivationKind::Custom(_) => None,
                }
            }
        }

        /// Custom activations are equal if their names and `Debug` texts are.
        impl PartialEq for ActivationKind {
            fn eq(&self, other: &Self) -> bool {
                match (self, other) {
                    $((ActivationKind::$name(a), ActivationKind::$name(b)) => a == b,)+
                    (ActivationKind::Custom(a), ActivationKind::Custom(b)) => {
                        a.name() == b.name() && format!("{a:?}") == format!("{b:?}")
                    }
                    _ => false,
                }
            }
        }
    };
}

kinds! {
    Identity Sigmoid Tanh Relu LeakyRelu Relu6 Elu Celu Selu Gelu GeluTanh Swish Mish Softplus Softsign LogSigmoid
    HardTanh HardSigmoid HardSwish Erf
}

impl ActivationKind {
    /// The name of the type, without the path.
    pub fn name(&self) -> &'static str {
        self.as_any().name()
    }
    /// `φ(z)`.
    pub fn value(&self, z: f64) -> f64 {
        self.as_any().value_at(z)
    }
    /// `φ′(z)`.
    pub fn derivative(&self, z: f64) -> f64 {
        self.as_any().derivative_at(z)
    }
    /// `[inf φ′, sup φ′]` over all real `z`, or `None` if it is not known.
    pub fn derivative_bounds(&self) -> Option<Bounds> {
        self.as_any().bounds()
    }
    /// The points at which φ′ jumps, in increasing order.
    pub fn kinks(&self) -> Vec<f64> {
        self.as_any().kink_points()
    }
    /// Whether `φ(−z) = −φ(z)` exactly.
    pub fn is_odd(&self) -> bool {
        self.as_any().odd()
    }
}

/// An activation that is called through its trait object, in `f64` for every scalar.
#[derive(Clone, Debug)]
pub(crate) struct Dynamic(pub ActivationKind);

impl Activation for Dynamic {
    fn value<T: Scalar>(&self, z: T) -> T {
        scalar(self.0.value(to_f64(z)))
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        scalar(self.0.derivative(to_f64(z)))
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        self.0.derivative_bounds()
    }
    fn kinks(&self) -> Vec<f64> {
        self.0.kinks()
    }
    fn is_odd(&self) -> bool {
        self.0.is_odd()
    }
    fn kind(&self) -> ActivationKind {
        self.0.clone()
    }
}

#[cfg(feature = "serde")]
fn refuse<S: serde::Serializer>(activation: &Arc<dyn AnyActivation>, _: S) -> Result<S::Ok, S::Error> {
    use serde::ser::Error;
    let name = activation.name();
    Err(S::Error::custom(format!("{name} is a custom activation: it cannot be written as data")))
}
