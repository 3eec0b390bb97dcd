//! An activation as data, and as a trait object.

use super::{Activation, Bounds, list::activations};
use crate::{
    arc::Arc,
    error::Error,
    scalar::{Scalar, scalar, to_f64},
    type_name::in_full,
};
use alloc::{format, string::String, vec::Vec};
use core::{
    fmt::{self, Debug},
    ops::RangeInclusive,
};

/// An [`Activation`] as a trait object, in `f64`.
///
/// Every activation implements it. Its methods have names different from those of [`Activation`], so that both
/// traits can be in scope.
///
/// ```
/// use chainrule::activation::{AnyActivation, Relu, Tanh};
/// let all: [&dyn AnyActivation; 2] = [&Relu, &Tanh];
/// assert_eq!(all.map(|activation| activation.name()), ["Relu", "Tanh"]);
/// assert_eq!(all.map(|activation| activation.derivative_at(0.5)), [1.0, 1.0 - 0.5_f64.tanh().powi(2)]);
/// assert_eq!(all.map(|activation| activation.lipschitz()), [Some(1.0); 2]);
/// ```
///
/// # Required
/// Nothing: implement [`Activation`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an activation",
    label = "not an activation",
    note = "every type that implements `chainrule::Activation` implements this trait"
)]
pub trait AnyActivation: Debug + Send + Sync {
    /// The name of the activation's type, without the module path.
    fn name(&self) -> &'static str;
    /// Returns `φ(z)`, the value of the activation φ at `z`.
    fn value_at(&self, z: f64) -> f64;
    /// Returns `φ′(z)`, the derivative of the activation φ at `z`.
    fn derivative_at(&self, z: f64) -> f64;
    /// Returns `[inf φ′, sup φ′]` over all real `z` except the jumps of φ; `None` if the bounds are not known.
    fn bounds(&self) -> Option<Bounds>;
    /// Returns the kinks of φ, the points at which φ′ jumps and φ does not, in increasing order.
    fn kink_points(&self) -> Vec<f64>;
    /// Returns the jumps of φ, the points at which φ itself jumps, in increasing order.
    fn jump_points(&self) -> Vec<f64>;
    /// Whether φ is an odd function: `φ(−z) = −φ(z)` exactly.
    fn odd(&self) -> bool;

    /// Returns the name under which the activation is saved, and registered in a
    /// [`Registry`](crate::network::Registry).
    fn saved_name(&self) -> &str {
        self.name()
    }
    /// Returns the settings as text. A file holds it beside the name, and a [`Registry`](crate::network::Registry)
    /// builds the activation from both. The default is the `Debug` text.
    fn saved_settings(&self) -> String {
        format!("{self:?}")
    }
    /// Whether the activation can compute values. A custom activation read from a file is only a name with settings
    /// until a [`Registry`](crate::network::Registry) builds it.
    #[doc(hidden)]
    fn is_built(&self) -> bool {
        true
    }

    /// The Lipschitz constant of φ: the least L with `|φ(a) − φ(b)| ≤ L |a − b|`. It is `sup |φ′|`, or ∞ where φ
    /// jumps.
    ///
    /// `None` if the constant is not known.
    fn lipschitz(&self) -> Option<f64> {
        if self.jump_points().is_empty() { self.bounds().map(|bounds| bounds.magnitude()) } else { Some(f64::INFINITY) }
    }
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
    fn jump_points(&self) -> Vec<f64> {
        Activation::jumps(self)
    }
    fn odd(&self) -> bool {
        Activation::is_odd(self)
    }
    fn saved_settings(&self) -> String {
        Activation::settings(self)
    }
}

/// An operation that is generic over the type of activation. [`ActivationKind::visit`] calls it with an activation of
/// its own type; a closure cannot be generic.
pub(crate) trait ActivationVisitor {
    type Output;
    fn visit(self, activation: impl Activation) -> Self::Output;
}

/// An entry in the list of this crate's activations: how to create an activation of one type, with parameters for
/// tests.
pub(crate) struct Entry {
    /// For each parameter of `new`, in order, the range from which random networks in tests draw the parameter.
    #[cfg_attr(not(feature = "proptest"), expect(dead_code))]
    pub ranges: &'static [RangeInclusive<f64>],
    /// The parameter lists with which tests call `new`; empty for an activation without parameters.
    pub examples: &'static [&'static [f64]],
    /// Creates the activation with the given parameters, one for each of `ranges`; a shorter slice panics. It fails for
    /// parameters that the activation refuses.
    pub new: fn(&[f64]) -> Result<ActivationKind, Error>,
}

/// Expands to a closure that creates the activation `$name` from a slice of parameters: it passes the first values of
/// the slice, as many as ranges are given, to `new`. Without ranges the type has no parameters, and the slice is
/// ignored.
macro_rules! constructor {
    ($name:ident) => {
        |_| Ok(ActivationKind::$name(super::$name))
    };
    ($name:ident $first:expr) => {
        |parameters| Ok(ActivationKind::$name(super::$name::new(parameters[0])?))
    };
    ($name:ident $first:expr, $second:expr) => {
        |parameters| Ok(ActivationKind::$name(super::$name::new(parameters[0], parameters[1])?))
    };
}

macro_rules! kinds {
    ($($file:ident: $($name:ident $([$($range:expr),+] $(($($parameter:expr),+))+)?),+;)+) => {
        /// An activation as data: one of this crate with its parameters, or a custom one.
        ///
        /// ```
        /// use chainrule::activation::{Activation, ActivationKind, Tanh};
        /// let kind = Tanh.kind();
        /// assert_eq!(kind, ActivationKind::Tanh(Tanh));
        /// assert_eq!((kind.name(), kind.value(0.5f32)), ("Tanh", Tanh.value(0.5)));
        /// ```
        #[derive(Clone)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum ActivationKind {
            $($(
                #[doc = concat!("[`", stringify!($name), "`](super::", stringify!($name), ").")]
                $name(super::$name),
            )+)+
            /// A custom activation, saved as its name and [`settings`](Activation::settings). A custom activation read
            /// from a file returns NaN until a [`Registry`](crate::network::Registry) builds it.
            #[cfg_attr(feature = "serde", serde(with = "saved"))]
            Custom(Arc<dyn AnyActivation>),
        }

        impl ActivationKind {
            /// Returns the activation as a trait object.
            pub fn as_any(&self) -> &dyn AnyActivation {
                match self {
                    $($(ActivationKind::$name(activation) => activation,)+)+
                    ActivationKind::Custom(activation) => &**activation,
                }
            }

            /// Calls `visitor` with the activation as its own type and returns the result. For a custom activation,
            /// returns `None` without a call.
            pub(crate) fn visit<V: ActivationVisitor>(&self, visitor: V) -> Option<V::Output> {
                match self {
                    $($(ActivationKind::$name(activation) => Some(visitor.visit(activation.clone())),)+)+
                    ActivationKind::Custom(_) => None,
                }
            }
        }

        /// Writes the activation as Rust source; a custom one by its name and [`settings`](Activation::settings).
        impl fmt::Debug for ActivationKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($(ActivationKind::$name(activation) => {
                        f.debug_tuple(stringify!($name)).field(activation).finish()
                    })+)+
                    ActivationKind::Custom(own) => {
                        write!(f, "Custom({})", in_full(own.saved_name(), &own.saved_settings()))
                    }
                }
            }
        }

        /// Every activation type of this crate, in the order of the enum's variants.
        pub(crate) const LIST: &[Entry] = &[$($(Entry {
            ranges: &[$($($range),+)?],
            examples: &[$($(&[$($parameter),+]),+)?],
            new: constructor!($name $($($range),+)?),
        },)+)+];

        /// Compares activations: custom ones are equal if their names and settings are.
        impl PartialEq for ActivationKind {
            fn eq(&self, other: &Self) -> bool {
                match (self, other) {
                    $($((ActivationKind::$name(a), ActivationKind::$name(b)) => a == b,)+)+
                    (ActivationKind::Custom(a), ActivationKind::Custom(b)) => {
                        a.saved_name() == b.saved_name() && a.saved_settings() == b.saved_settings()
                    }
                    _ => false,
                }
            }
        }
    };
}

activations!(kinds);

impl ActivationKind {
    /// The name of the activation's type, without the module path.
    pub fn name(&self) -> &'static str {
        self.as_any().name()
    }

    /// Returns the name with all settings as text. Checkpoints compare layers by this text.
    pub(crate) fn in_full(&self) -> String {
        match self {
            ActivationKind::Custom(own) => in_full(own.saved_name(), &own.saved_settings()),
            listed => format!("{:?}", listed.as_any()),
        }
    }

    /// Returns every activation of this crate; those with parameters several times, with different values of the
    /// parameters.
    pub fn examples() -> Vec<ActivationKind> {
        let of = |entry: &Entry| {
            let examples = if entry.examples.is_empty() { &[[].as_slice()] } else { entry.examples };
            examples.iter().filter_map(|parameters| (entry.new)(parameters).ok()).collect::<Vec<_>>()
        };
        LIST.iter().flat_map(of).collect()
    }
}

/// A visitor that computes φ at the number that it holds.
struct Value<T>(T);

impl<T: Scalar> ActivationVisitor for Value<T> {
    type Output = T;
    fn visit(self, activation: impl Activation) -> T {
        activation.value(self.0)
    }
}

/// A visitor that computes φ′(z) from its two numbers, z and φ(z).
struct Derivative<T>(T, T);

impl<T: Scalar> ActivationVisitor for Derivative<T> {
    type Output = T;
    fn visit(self, activation: impl Activation) -> T {
        activation.derivative(self.0, self.1)
    }
}

/// Computes the activation in every scalar. A custom activation computes in `f64`, and keeps the first derivative of a
/// dual number.
impl Activation for ActivationKind {
    fn value<T: Scalar>(&self, z: T) -> T {
        if let Some(y) = self.visit(Value(z)) {
            return y;
        }
        let at = to_f64(z);
        let (y, slope) = (scalar(self.as_any().value_at(at)), self.as_any().derivative_at(at));
        // The difference z − at is 0 for a plain number, and the tangent of a dual number. The result is y + φ′ (z
        // − at), as a subtraction of a product that is not −0: so a y of −0 stays −0.
        let difference = if slope < 0.0 { z - scalar(at) } else { scalar::<T>(at) - z };
        if at.is_finite() && slope.is_finite() { y - difference * scalar(slope.abs()) } else { y }
    }
    fn derivative<T: Scalar>(&self, z: T, y: T) -> T {
        self.visit(Derivative(z, y)).unwrap_or_else(|| scalar(self.as_any().derivative_at(to_f64(z))))
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        self.as_any().bounds()
    }
    fn kinks(&self) -> Vec<f64> {
        self.as_any().kink_points()
    }
    fn jumps(&self) -> Vec<f64> {
        self.as_any().jump_points()
    }
    fn is_odd(&self) -> bool {
        self.as_any().odd()
    }
    fn kind(&self) -> ActivationKind {
        self.clone()
    }
}

/// A custom activation as read from a file: its name and settings. Its values and derivatives are NaN.
#[cfg(feature = "serde")]
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Unbuilt {
    name: String,
    settings: String,
}

#[cfg(feature = "serde")]
impl AnyActivation for Unbuilt {
    fn name(&self) -> &'static str {
        "unregistered activation"
    }
    fn value_at(&self, _z: f64) -> f64 {
        f64::NAN
    }
    fn derivative_at(&self, _z: f64) -> f64 {
        f64::NAN
    }
    fn bounds(&self) -> Option<Bounds> {
        None
    }
    fn kink_points(&self) -> Vec<f64> {
        Vec::new()
    }
    fn jump_points(&self) -> Vec<f64> {
        Vec::new()
    }
    fn odd(&self) -> bool {
        false
    }
    fn saved_name(&self) -> &str {
        &self.name
    }
    fn saved_settings(&self) -> String {
        self.settings.clone()
    }
    fn is_built(&self) -> bool {
        false
    }
}

/// The serialized form of a custom activation: its name and settings.
#[cfg(feature = "serde")]
mod saved {
    use super::*;
    use alloc::boxed::Box;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(own: &Arc<dyn AnyActivation>, serializer: S) -> Result<S::Ok, S::Error> {
        Unbuilt { name: own.saved_name().into(), settings: own.saved_settings() }.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<dyn AnyActivation>, D::Error> {
        Ok(Arc::from(Box::new(Unbuilt::deserialize(deserializer)?) as Box<dyn AnyActivation>))
    }
}
