//! Activations: elementwise functions φ of the pre-activations, with the factor φ′ of the chain rule.

use crate::{
    arc::Arc,
    compiled::{ActivationLayer, ElmanLayer, Layer},
    scalar::{Scalar, to_f64},
};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::fmt::Debug;

mod cloned;
mod kind;
mod list;

pub(crate) use cloned::Cloned;
pub(crate) use kind::ActivationVisitor;
pub use kind::{ActivationKind, AnyActivation};
#[cfg(feature = "proptest")]
pub(crate) use kind::{Entry, LIST};

macro_rules! files {
    ($($file:ident: $($name:ident $([$($range:expr),+] $(($($parameter:expr),+))+)?),+;)+) => {
        $(
            mod $file;
            pub use $file::{$($name),+};
        )+
    };
}
list::activations!(files);

/// The range of a derivative: `[inf φ′, sup φ′]` over all real numbers except the jumps of φ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The greatest lower bound of the derivative φ′.
    pub inf: f64,
    /// The least upper bound of the derivative φ′.
    pub sup: f64,
}

impl Bounds {
    /// Creates the bounds `[inf, sup]`.
    pub const fn new(inf: f64, sup: f64) -> Self {
        Bounds { inf, sup }
    }

    /// Returns `sup |φ′|`: a backward pass through the activation multiplies the norm of a gradient by at most this
    /// factor.
    pub fn magnitude(&self) -> f64 {
        self.inf.abs().max(self.sup.abs())
    }

    /// Whether a derivative computed in `T` lies within the bounds and four roundings:
    /// `inf − 4 ε M ≤ derivative ≤ sup + 4 ε M`, with M the larger magnitude of the finite bounds and ε the
    /// machine epsilon of `T`.
    ///
    /// NaN does not lie within them. The derivatives of this crate's activations do, in `f32` and `f64`, as
    /// `testing::activation_laws` tests.
    ///
    /// ```
    /// use chainrule::Bounds;
    /// let bounds = Bounds::new(0.0, 1.0);
    /// assert!(bounds.contains(1.0f32.next_up()) && !bounds.contains(1.0 + 1e-6) && !bounds.contains(f64::NAN));
    /// ```
    pub fn contains<T: Scalar>(&self, derivative: T) -> bool {
        let finite = |bound: f64| if bound.is_finite() { bound.abs() } else { 0.0 };
        let slack = 4.0 * to_f64(T::epsilon()) * finite(self.inf).max(finite(self.sup));
        (self.inf - slack..=self.sup + slack).contains(&to_f64(derivative))
    }
}

/// An elementwise function `y = φ(z)` of the pre-activations, with its derivative.
///
/// One implementation serves every [`Scalar`]: the `f32` of training, the `f64` of theory, dual numbers. Loops over an
/// activation vectorize if it is written with [`math`](crate::math). An activation has `Clone`: each loop clones it, so
/// keep large data in an `Arc`.
///
/// A constant is [`scalar`](crate::scalar())`(0.5)`, since `T` may be any number: `z * 0.5` does not compile. Methods
/// are generic, so a `Box<dyn Activation>` is no activation: one chosen at run time is an [`ActivationKind`].
///
/// ```
/// use chainrule::{Activation, Bounds, Scalar};
/// #[derive(Clone, Debug)]
/// struct Cube;
/// impl Activation for Cube {
///     fn value<T: Scalar>(&self, z: T) -> T { z * z * z }
///     fn derivative<T: Scalar>(&self, z: T, _y: T) -> T { (z + z + z) * z }
///     fn derivative_bounds(&self) -> Option<Bounds> { Some(Bounds::new(0.0, f64::INFINITY)) }
/// }
/// chainrule::testing::activation_laws(&Cube, 0).unwrap();
/// ```
///
/// # Required
/// `value` and `derivative`.
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `derivative_bounds` | `None` | the bounds are known: certificates need them |
/// | `kinks` | none | φ′ jumps, and φ does not |
/// | `jumps` | none | φ itself jumps |
/// | `is_odd` | `false` | `φ(−z) = −φ(z)` exactly |
/// | `settings` | the `Debug` text | a saved network shall be built again from another text, such as JSON |
/// | `kind` | [`ActivationKind::Custom`] | never, outside this crate |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an activation",
    label = "not an activation",
    note = "a `Result` gives its value by `?`, as in `LeakyRelu::new(0.1)?`",
    note = "an activation chosen at run time is an `ActivationKind`, not a `Box<dyn Activation>`"
)]
pub trait Activation: Cloned + Debug + Send + Sync + 'static {
    /// Returns `φ(z)`, the value of the activation φ at `z`.
    fn value<T: Scalar>(&self, z: T) -> T
    where
        Self: Sized;

    /// Returns the derivative `φ′(z)`, given `z` and `y = φ(z)`. At a kink or jump, it is one of the one-sided
    /// derivatives. A custom activation may compute it in `f64`: no second derivative is taken of it on dual numbers.
    fn derivative<T: Scalar>(&self, z: T, y: T) -> T
    where
        Self: Sized;

    /// `[inf φ′, sup φ′]` over all real `z` except the [`jumps`](Self::jumps). `None` if the bounds are not
    /// known. A network with the activation then has no certificate (a proven bound on its gradient).
    fn derivative_bounds(&self) -> Option<Bounds> {
        None
    }

    /// Returns the kinks of φ, the points at which φ′ jumps and φ does not, in increasing order.
    fn kinks(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Returns the jumps of φ, the points at which φ itself jumps, in increasing order. The bounds that
    /// [`derivative_bounds`](Self::derivative_bounds) returns hold between them.
    fn jumps(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Whether φ is an odd function: `φ(−z) = −φ(z)` exactly.
    fn is_odd(&self) -> bool {
        false
    }

    /// The settings as text, such as JSON, from which a [`Registry`](crate::network::Registry) builds the activation
    /// of a saved network again. In distributed training, ranks (processes) compare this text. The default is the
    /// `Debug` text; override it if that text changes during a run, for example if it contains a counter.
    fn settings(&self) -> String {
        format!("{self:?}")
    }

    /// The activation as data: its own variant for an activation of this crate, otherwise
    /// [`Custom`](ActivationKind::Custom).
    fn kind(&self) -> ActivationKind
    where
        Self: Sized,
    {
        ActivationKind::Custom(Arc::from(Box::new(self.cloned()) as Box<dyn AnyActivation>))
    }

    /// Returns `layer`, an elementwise layer with this activation, as a trait object. Do not override it: only
    /// activations whose layer this crate compiles for `f32` and `f64` do.
    #[doc(hidden)]
    fn boxed_layer<T: Scalar>(layer: ActivationLayer<Self>) -> Box<dyn Layer<T>>
    where
        Self: Sized,
    {
        Box::new(layer)
    }

    /// Returns `layer`, the recurrent layer of an [`Elman`](crate::recurrent::Elman) cell with this activation, as a
    /// trait object. Do not override it: only activations of this crate do.
    #[doc(hidden)]
    fn boxed_elman<T: Scalar>(layer: ElmanLayer<Self>) -> Box<dyn Layer<T>>
    where
        Self: Sized,
    {
        Box::new(layer)
    }
}

/// Defines the method [`Activation::kind`] for an activation of this crate: it returns the activation's own variant.
macro_rules! own_kind {
    ($name:ident) => {
        fn kind(&self) -> crate::activation::ActivationKind {
            crate::activation::ActivationKind::$name(*self)
        }
    };
}
use own_kind;

/// Defines the method [`Activation::boxed_layer`] for an activation whose layer this crate compiles for `f32` and
/// `f64`: it calls the hidden method of [`Scalar`] that has the activation's name. A second name, of the hidden method
/// for the layer of Elman cells, defines [`Activation::boxed_elman`], too.
macro_rules! own_box {
    ($name:ident $(, $elman:ident)?) => {
        fn boxed_layer<T: $crate::scalar::Scalar>(
            layer: $crate::activation::ActivationLayer<Self>,
        ) -> alloc::boxed::Box<dyn $crate::activation::Layer<T>> {
            T::$name(layer)
        }
        $(
            fn boxed_elman<T: $crate::scalar::Scalar>(
                layer: $crate::activation::ElmanLayer<Self>,
            ) -> alloc::boxed::Box<dyn $crate::activation::Layer<T>> {
                T::$elman(layer)
            }
        )?
    };
}
use own_box;

/// Implements `Deserialize` for a type with parameters through its `new`, so that parameters in a file are checked like
/// those of a call.
macro_rules! checked_when_read {
    ($name:ident { $($parameter:ident),+ }) => {
        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Unchecked {
                    $($parameter: f64),+
                }
                let unchecked = Unchecked::deserialize(deserializer)?;
                $name::new($(unchecked.$parameter),+).map_err(serde::de::Error::custom)
            }
        }
    };
}
use checked_when_read;

/// Returns `below` for z ≤ `low`, `above` for z ≥ `high`, `inside` between them, and NaN for a z that is NaN.
#[inline(always)]
fn piecewise<T: Scalar>(z: T, (low, below): (T, T), inside: T, (high, above): (T, T)) -> T {
    let inside = if z.is_nan() { z } else { inside };
    let inside = if z >= high { above } else { inside };
    if z <= low { below } else { inside }
}
