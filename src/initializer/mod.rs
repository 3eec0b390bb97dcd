//! Initializers: distributions of the initial values of a parameter block.

mod by_gate;
mod chrono;
mod constant;
mod critical;
mod kind;
mod orthogonal;
mod random;
mod scaling;
mod sparse;
mod truncated;

pub use by_gate::ByGate;
pub use chrono::Chrono;
pub use constant::{Constant, Identity, Zeros};
pub use critical::CriticalGain;
pub use kind::InitializerKind;
pub use orthogonal::Orthogonal;
pub use random::{Normal, Uniform};
pub use scaling::{Distribution, Fan, Glorot, He, LeCun, VarianceScaling};
pub use sparse::{Sparse, SparseScale};
pub use truncated::TruncatedNormal;

use crate::{
    arc::Arc,
    block::{Gate, Role},
    error::{Error, require_length},
    scalar::{Scalar, scalar},
    size::{filled, product},
};
use alloc::{boxed::Box, format, string::String};
use core::fmt::Debug;
use rand_core::Rng;

/// The block that an initializer fills: one gate's rows of one parameter, or all rows of a parameter without gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shape {
    /// Rows of the block: the number of outputs, the fan-out.
    pub rows: usize,
    /// Columns of the block: the number of inputs, the fan-in; 1 for a bias.
    pub columns: usize,
    /// The purpose of the block's parameters: weight, recurrent weight, bias or gain.
    pub role: Role,
    /// The gate to which the block belongs; `None` for a parameter without gates.
    pub gate: Option<Gate>,
}

impl Shape {
    /// Creates the shape of a block of `rows` × `columns` without gates.
    pub const fn new(rows: usize, columns: usize, role: Role) -> Self {
        Shape { rows, columns, role, gate: None }
    }

    /// Sets the gate of a recurrent cell to which the block belongs.
    #[must_use]
    pub const fn gate(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// The number of inputs of a unit.
    pub const fn fan_in(&self) -> usize {
        self.columns
    }

    /// The number of units that one input reaches.
    pub const fn fan_out(&self) -> usize {
        self.rows
    }

    /// Returns [`Error::Length`] unless the number of `values` is `rows × columns`.
    fn holds(&self, values: &[f64]) -> Result<(), Error> {
        require_length("initializer values", self.rows.saturating_mul(self.columns), values.len())
    }
}

/// A distribution of the initial values of a parameter block.
///
/// Values are drawn in `f64` and rounded to the scalar of the network, so a seed gives the same bits on every platform.
///
/// ```
/// use chainrule::{Error, initializer::{Initializer, Shape}, rand_core::Rng, random::uniform};
/// /// ±1/√fan_in with equal probabilities.
/// #[derive(Debug)]
/// struct Signs;
/// impl Initializer for Signs {
///     fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
///         let (expected, found) = (shape.rows * shape.columns, values.len());
///         if found != expected {
///             return Err(Error::Length { what: "the values of Signs", expected, found });
///         }
///         let size = (shape.fan_in() as f64).sqrt().recip();
///         values.iter_mut().for_each(|value| *value = if uniform(rng) < 0.5 { size } else { -size });
///         Ok(())
///     }
/// }
/// chainrule::testing::initializer_laws(&Signs, 0).unwrap();
/// ```
///
/// # Required
/// `fill` draws the values of one gate's rows of one parameter.
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `fill_gates` | each gate by `fill`, in order | the values of a gate depend on those of another |
/// | `variance`, `mean` | `None` | they are known: predictions of gradients before training need them |
/// | `range` | `None` | values are bounded |
/// | `orthogonal_gain` | `None` | rows or columns are orthogonal |
/// | `name` | the name of the type | it is saved and registered under another name |
/// | `settings` | the `Debug` text | a saved network shall be built again from another text, such as JSON |
/// | `kind` | [`InitializerKind::Custom`] | never, outside this crate |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an initializer",
    label = "not an initializer",
    note = "a `Result` gives its value by `?`",
    note = "an initializer chosen at run time is an `InitializerKind`, as `He::normal().kind()` returns it, not a \
            `Box<dyn Initializer>`"
)]
pub trait Initializer: Debug + Send + Sync {
    /// Draws initial values for a block of `shape` from `rng`, and writes them to `values`, row-major.
    ///
    /// # Errors
    /// [`Error::Length`] if the number of `values` is not `rows × columns`. [`Error::Parameter`] for a hyper-parameter
    /// outside its range, or for a `shape` that the initializer cannot fill.
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error>;

    /// Fills a parameter with gates stacked in its rows, each a block of `shape`. By default it fills each gate with
    /// [`fill`](Self::fill), in order.
    ///
    /// Override it if the values of a gate depend on the values of another gate.
    ///
    /// # Errors
    /// The errors of [`fill`](Self::fill), and [`Error::Length`] if the number of `values` is not `rows × columns`
    /// for each gate.
    fn fill_gates(&self, shape: Shape, gates: &[Gate], rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        let each = Shape { rows: shape.rows.saturating_mul(gates.len()), ..shape };
        each.holds(values)?;
        let size = shape.rows.saturating_mul(shape.columns).max(1);
        gates
            .iter()
            .zip(values.chunks_mut(size))
            .try_for_each(|(&gate, values)| self.fill(shape.gate(gate), rng, values))
    }

    /// The variance of one entry of a block of `shape`, E\[w²\] − E\[w\]². Entries with such a variance are
    /// uncorrelated. `None` if entries are correlated or have different variances, no closed form is known, or
    /// [`fill`](Self::fill) fails. Gradients before training are then predicted from samples, if at all.
    fn variance(&self, shape: Shape) -> Option<f64> {
        let _ = shape;
        None
    }

    /// The mean of one entry of a block of `shape`, E\[w\]. `None` if the entries have different means, or the mean is
    /// not known. Gradients before training are then predicted from samples, if at all.
    fn mean(&self, shape: Shape) -> Option<f64> {
        let _ = shape;
        None
    }

    /// The smallest and the largest value of an entry of a block of `shape`, \[smallest, largest\]. `None` if the
    /// distribution is unbounded, or the bounds are not known.
    fn range(&self, shape: Shape) -> Option<[f64; 2]> {
        let _ = shape;
        None
    }

    /// The gain g if the rows or the columns of W, whichever are fewer, are orthogonal and have norm g: `W Wᵀ` or
    /// `WᵀW` is `g² I`. `None` for other matrices: predictions before training treat their entries as independent.
    fn orthogonal_gain(&self, shape: Shape) -> Option<f64> {
        let _ = shape;
        None
    }

    /// Returns the name under which the initializer is saved, and registered in a
    /// [`Registry`](crate::network::Registry). The default is the name of the type, without its path.
    fn name(&self) -> &str {
        let path = core::any::type_name::<Self>();
        let generics = path.find('<').unwrap_or(path.len());
        path[..generics].rfind("::").map_or(path, |colons| &path[colons + 2..])
    }

    /// The settings as text, such as JSON, from which a [`Registry`](crate::network::Registry) builds the initializer
    /// of a saved network again. In distributed training, ranks (processes) compare this text. The default is the
    /// `Debug` text; override it if that text changes during a run, for example if it contains a counter.
    fn settings(&self) -> String {
        format!("{self:?}")
    }

    /// Returns the initializer as data, which layers keep: its own variant for an initializer of this crate, otherwise
    /// [`InitializerKind::Custom`].
    fn kind(self) -> InitializerKind
    where
        Self: Sized + 'static,
    {
        InitializerKind::Custom(Arc::from(Box::new(self) as Box<dyn Initializer>))
    }
}

/// Fills the parameter `w`, row-major, `rows` × `columns`, with initial values. Its rows are divided evenly among
/// `gates`, in order; without gates it is filled as one block.
///
/// # Errors
/// The errors of [`Initializer::fill`]; [`Error::NonFinite`] for a value that `T` cannot hold; [`Error::TooLarge`]
/// if memory cannot hold the values.
pub(crate) fn fill_gates<T: Scalar>(
    initializer: &dyn Initializer,
    rows: usize,
    columns: usize,
    role: Role,
    gates: &[Gate],
    rng: &mut dyn Rng,
    w: &mut [T],
) -> Result<(), Error> {
    let what = "the values of an initializer (rows × columns)";
    let mut values = filled(what, product(what, &[rows, columns])?, 0.0)?;
    let shape = Shape::new(rows / gates.len().max(1), columns, role);
    let filled = match gates {
        [] => initializer.fill(shape, rng, &mut values),
        gates => initializer.fill_gates(shape, gates, rng, &mut values),
    };
    for (w, &value) in w.iter_mut().zip(&values) {
        *w = scalar(value);
    }
    filled?;
    match w.iter().position(|w| !w.is_finite()) {
        Some(index) => Err(Error::NonFinite { what: "initial parameters", index, found: values[index] }),
        None => Ok(()),
    }
}

/// Returns [`Error::NonFinite`], with the name `what` of the slice, for the first value that is NaN or infinite.
fn check_finite(what: &'static str, values: &[f64]) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::NonFinite { what, index, found: values[index] }),
        None => Ok(()),
    }
}
