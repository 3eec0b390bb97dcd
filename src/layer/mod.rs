//! Layers: the trait [`Layer`], and the layers without recurrence.

use crate::{
    batch_shape::BatchShape, block::Block, compiled::Workspace, error::Error, scalar::Scalar, type_name::saved_name,
};
use alloc::{boxed::Box, vec::Vec};
use core::fmt::Debug;
use rand_core::Rng;

mod activation;
mod buffers;
mod check;
pub(crate) mod checkpoint_interval;
mod context;
mod dropout_key;
mod dual_layer;
mod facts;
mod forwarding;
mod hints;
mod in_place;
mod initialize;
mod input_rules;
mod list;
mod memory;
mod norm_statistics;
mod occurrences;
mod parallel;
mod part_pass;
mod parts;
mod pass;
mod pass_lengths;
mod path;
mod residual;
mod row_norm;
mod running_statistics;
mod segment;
mod sequential;
mod shards;
mod spec;
mod spec_walk;
mod state_layout;
mod structure;
mod trainable;

pub use activation::ActivationLayer;
#[cfg(feature = "safetensors")]
pub(crate) use buffers::{BufferPlace, buffer_places};
pub(crate) use buffers::{Buffers, check_buffers};
pub(crate) use check::{Answers, LONG, Question, assert_depth, check_depth, check_output_shape, join, twice};
pub use context::Context;
pub use dropout_key::DropoutKey;
pub(crate) use dropout_key::{drop_threshold, kept_factor};
pub use dual_layer::{DualLayer, RowMap};
pub use facts::{Dims, Samples};
pub use hints::Hints;
pub(crate) use in_place::{Chain, InPlaceStep, Parameters};
use in_place::{Collected, backward_and_update};
pub use initialize::initialize;
pub(crate) use initialize::{finite_or_initial, initialize_dyn};
pub(crate) use input_rules::InputRules;
#[cfg(feature = "safetensors")]
pub(crate) use list::Fact;
pub(crate) use list::Kind;
pub use memory::MemorySizes;
pub use parallel::{Merge, Parallel};
pub use part_pass::{BackwardPart, BackwardParts, ForwardPart, ForwardParts};
pub use parts::Parts;
pub use pass::{Backward, BackwardState, Forward, ForwardState, Mode};
pub(crate) use pass_lengths::PassLengths;
pub use path::LinkPath;
pub use residual::{BranchScale, Residual};
pub(crate) use segment::{InSegments, Segment, SegmentPass};
pub use sequential::Sequential;
pub(crate) use shards::{AddsByShard, Shards, Subtree};
pub use spec::LayerSpec;
pub(crate) use state_layout::StateLayout;
pub use structure::{PartSizes, Structure, StructureKind};
pub(crate) use structure::{Recorded, gain_bounds, state_bounds};
pub use trainable::TrainableMask;

/// Defines the method [`Layer::boxed`] of a layer of this crate: it calls the hidden method `$name` of [`Scalar`].
macro_rules! own_box {
    ($name:ident) => {
        fn boxed(self) -> alloc::boxed::Box<dyn crate::layer::Layer<T>> {
            T::$name(self)
        }
    };
}
pub(crate) use own_box;

macro_rules! files {
    ($($file:ident: $($name:ident),+;)*) => {
        $(
            mod $file;
            pub use $file::{$($name),+};
        )*
    };
}
pub(crate) use list::leaf_layers;
leaf_layers!(files);

/// The largest allowed depth of layers nested within layers; deeper ones are refused with [`Error::InvalidLayer`]. In
/// an unoptimized build a pass takes up to 8 KiB of stack per level, and the stack of a thread has 2 MiB.
pub const MAX_DEPTH: usize = 128;

/// Converts a reference to a layer, or to a trait object of one, to `&dyn Layer`. Every layer implements it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer of such numbers",
    label = "not a layer of such numbers",
    note = "a `Builder` becomes a network by `.build()?`"
)]
pub trait AsLayer<T: Scalar> {
    fn as_layer(&self) -> &dyn Layer<T>;
}

impl<T: Scalar, L: Layer<T>> AsLayer<T> for L {
    fn as_layer(&self) -> &dyn Layer<T> {
        self
    }
}

/// A part of a network: it maps rows of values to rows of values in the forward pass, and their gradients back in the
/// backward pass.
///
/// A layer is immutable, and holds settings, not parameters. Its parameters are a slice of the network's one buffer,
/// and each pass brings the memory that it needs. So threads can share a layer, and a pass does not allocate.
///
/// ```
/// use chainrule::{Layer, Scalar, layer::{Backward, Dims, Forward}, monitor::Factor};
/// /// `y = −x`. Backward: `dx = −dy`.
/// #[derive(Debug)]
/// struct Negative(usize);
/// impl<T: Scalar> Layer<T> for Negative {
///     fn dims(&self) -> Dims {
///         Dims::new(self.0, self.0, 0)
///     }
///     fn forward(&self, _w: &[T], pass: Forward<'_, T>) {
///         pass.y.iter_mut().zip(pass.x).for_each(|(y, &x)| *y = -x);
///         pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
///     }
///     fn backward(&self, _w: &[T], pass: Backward<'_, T>) {
///         let Some(dx) = pass.dx else { return };
///         dx.iter_mut().zip(pass.dy).for_each(|(dx, &dy)| *dx = -dy);
///         pass.ctx.report_backward(Factor::Other, pass.dy, dx);
///     }
/// }
/// chainrule::layer_laws!(negative_keeps_its_laws, Negative(3));
/// ```
///
/// # Required
/// [`dims`](Self::dims), [`forward`](Self::forward) and [`backward`](Self::backward).
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `blocks` | the blocks of the parts | the layer has parameters of its own |
/// | `initialize` | initializes the parts | parameters of its own do not begin at zero |
/// | `memory` | none | it saves values, or has scratch memory, a state or buffers |
/// | `initialize_buffers` | keeps the zeros | its buffers do not begin at zero |
/// | `output_shape` | the shape of the input | the number of time steps changes |
/// | `structure` | one link, no parts | it is made of other layers: most other answers follow from it |
/// | `samples` | coupled if a part is | it couples the samples of a batch: it must say so |
/// | `reads_later_steps` | `true` if a part does | a time step depends on later inputs: it must say so |
/// | `hints` | no promise | a network can save work |
/// | `gain_bound` | the product over a chain's parts, else `None` | the network shall have a certificate |
/// | `state_gain_bounds` | `None` | the network shall have a certificate over time |
/// | `spec` | name of the type, `Debug` text | a saved network shall be built again from another text |
///
/// A part is a layer inside this one. [`DualLayer`] makes a layer from a function of one row, without a `backward`,
/// for a prototype.
///
/// # Laws
/// * `backward` writes all of `dx` and **adds** to `dw`.
/// * Both passes read only values that were given or written before.
/// * The blocks tile the parameters exactly.
/// * Each link (factor of the chain rule) is reported once in each pass, with the values of the pass. A layer without
///   parts and without a link has the structure `Structure::LEAF.links(&[])`.
/// * Every method returns the same answer each time.
///
/// [`layer_laws!`](crate::layer_laws) tests them. A network or workspace with a layer that breaks a
/// [`LayerRule`](crate::LayerRule) is refused with [`Error::InvalidLayer`], which names the layer. A violation that
/// shows only in a pass is a panic.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer of such numbers",
    label = "not a layer of such numbers",
    note = "a `Builder` becomes a network by `.build()?`",
    note = "an activation is added by `.activation(Relu)`, a cell by `.recurrent(width, Lstm::new())`",
    note = "a `Result` gives its value by `?`"
)]
pub trait Layer<T: Scalar>: AsLayer<T> + Debug + Send + Sync {
    // Required.

    /// Returns the input width and the output width, in values per row, and the number of parameters.
    fn dims(&self) -> Dims;

    /// Runs the forward pass: computes the output `pass.y` from the input `pass.x` and the parameters `w`.
    ///
    /// # Panics
    /// If `w` or a slice of `pass` does not have the length that follows from [`dims`](Self::dims),
    /// [`output_shape`](Self::output_shape) and [`memory`](Self::memory), or if the batch shape is not valid for a
    /// pass. The message of a layer of this crate names the slice and the layer. A workspace always passes slices of
    /// the right length to a layer whose methods return the same results every time.
    fn forward(&self, w: &[T], pass: Forward<'_, T>);

    /// Runs the backward pass: computes `pass.dx`, the gradient with respect to the input, from `pass.dy`, the
    /// gradient with respect to the output. It adds the gradient with respect to the parameters `w` to `pass.dw`. A
    /// layer with the hint [`overwrites_dw`](Hints#structfield.overwrites_dw) instead overwrites `pass.dw` if
    /// `pass.overwrite_dw` is set.
    ///
    /// A custom layer may compute gradients in `f64`: on dual numbers they need no tangents, since the curvature of
    /// its network is computed from differences.
    ///
    /// # Panics
    /// Under the same conditions as [`forward`](Self::forward).
    fn backward(&self, w: &[T], pass: Backward<'_, T>);

    // Parameters and memory.

    /// Calls `visit` with each parameter block, in the order of the parameters. The default visits the blocks of the
    /// parts (the layers inside this one). Override it for parameters of the layer's own.
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        self.structure().blocks(visit);
    }

    /// Writes the initial values of the parameters to `w`, which is zero on entry. The default initializes the
    /// parameters of the parts (the layers inside this one). Override it for parameters of the layer's own that do not
    /// begin at zero.
    ///
    /// # Errors
    /// The errors of [`Initializer::fill`](crate::initializer::Initializer::fill); [`Error::NonFinite`] for a value
    /// that `T` cannot hold; [`Error::InvalidLayer`] where parts have more parameters than `w`.
    ///
    /// # Panics
    /// A layer may panic where `w` does not have the parameters of [`dims`](Self::dims); [`initialize`] makes and
    /// checks it.
    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        self.structure().initialize(w, rng)
    }

    /// Returns the sizes of the layer's memory, in values, for a pass over an input of `shape`. The default is no
    /// memory. Override it for values saved for the backward pass, scratch memory, a state, or buffers.
    fn memory(&self, _shape: BatchShape<'_>, _mode: Mode) -> MemorySizes {
        MemorySizes::default()
    }

    /// Writes the initial values of the layer's own buffers (values that persist from pass to pass, such as running
    /// statistics), which are zero on entry. The default keeps the zeros.
    fn initialize_buffers(&self, _buffers: &mut [T]) {}

    /// The batch shape of the output `y`, given the `shape` of the input `x`. The default is the same shape.
    /// Override it where the number of time steps changes; the number of samples must stay the same. A trainer or a
    /// model takes a network whose output has the time steps of its input, or one; a workspace takes any.
    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        shape
    }

    // Optional facts.

    /// Returns the links of the layer (the factors of the chain rule that it reports to a monitor) and its parts, the
    /// layers inside it. The default is one link and no parts. Override it for a layer with parts, or with several
    /// links.
    fn structure(&self) -> Structure<'_, T> {
        Structure::LEAF
    }

    /// Whether the output of a sample depends on other samples of the batch. By default samples are coupled in each
    /// mode in which a part (a layer inside this one) couples them. Override it where the layer itself couples them.
    fn samples(&self) -> Samples {
        self.structure().samples()
    }

    /// Whether the output at a time step depends on the input at later time steps. The default is true if it is true
    /// for any part (a layer inside this one). Override it for a layer that itself looks ahead or reads from the
    /// end. Of one that changes the number of steps, it is false if the first steps alone give the first outputs.
    fn reads_later_steps(&self) -> bool {
        self.structure().reads_later_steps()
    }

    /// Returns promises that let a network do less work. The default is no promise, which is always safe. Override it
    /// for speed.
    fn hints(&self) -> Hints {
        Hints::NONE
    }

    /// An upper bound on `‖∂y/∂x‖₂` for one sample with all its time steps in a pass over `shape` with the
    /// parameters `w`. It holds from a zero state, in any [`Mode`], for every x. If [`samples`](Layer::samples) are
    /// coupled, the bound is for the whole batch. The default is the product over the parts of a chain; otherwise it
    /// is `None`, for no known bound.
    ///
    /// Override it for a [`Certificate`](crate::theory::Certificate), which a network has only if each layer has a
    /// bound. If the bound is computed in floating point, round it up.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        self.structure().gain_bound(w, shape)
    }

    /// Returns upper bounds on `‖∂s_t/∂s_{t−k}‖₂`, where s_t is the state after time step t. Element k of the vector
    /// is the bound for k time steps, k from 0 to the number of time steps of `shape`. The bounds hold for every t of
    /// the pass, from a state of zero and for every x. The default is `None`, for no known bounds. Override it for a
    /// certificate over time.
    fn state_gain_bounds(&self, _w: &[T], _shape: BatchShape<'_>) -> Option<Vec<f64>> {
        None
    }

    /// Returns the layer's kind and settings as data, from which it can be saved and built again. The default is
    /// [`LayerSpec::Custom`] with the name of the type, without the scalar `T` among its arguments, and the `Debug`
    /// text as settings.
    fn spec(&self) -> LayerSpec {
        let settings = alloc::format!("{self:?}");
        LayerSpec::Custom { kind: saved_name::<Self, T>(), dims: self.dims(), settings }
    }

    /// Runs [`backward`](Self::backward), and updates the parameters `w` by `step`: plain gradient descent, or other
    /// element-wise transforms of the gradient. Sealed: custom layers cannot implement it.
    ///
    /// `pass.dw` is memory for a gradient, as long as `w`; its content is arbitrary, before and after. All blocks are
    /// trainable. The result has the same bits as an update after `backward`, except for the sign of a zero.
    #[doc(hidden)]
    fn backward_in_place(&self, w: &mut [T], step: InPlaceStep<'_, T>, pass: Backward<'_, T>) {
        backward_and_update(self, w, step, pass);
    }

    /// Whether a backward pass over `shape` can sum the gradient of the parameters separately for each shard, a range
    /// of samples in data-parallel training. Sealed: custom layers cannot, so data-parallel training runs a pass for
    /// each shard.
    #[doc(hidden)]
    fn adds_by_shard(&self, _shape: BatchShape<'_>) -> AddsByShard {
        AddsByShard(false)
    }

    /// Returns the layer as a trait object. Sealed: the methods of a layer of this crate are then compiled in this
    /// crate, for `f32` and `f64`.
    #[doc(hidden)]
    fn boxed(self) -> Box<dyn Layer<T>>
    where
        Self: Sized + 'static,
    {
        Box::new(self)
    }

    /// Converts a workspace for this layer to a workspace for a trait object. Sealed: for a layer of this crate, the
    /// conversion is then compiled in this crate.
    #[doc(hidden)]
    fn unsize<'a>(workspace: &'a mut Workspace<T, Self>) -> &'a mut Workspace<T, dyn Layer<T> + 'a>
    where
        Self: Sized,
    {
        workspace
    }

    /// Returns the backward pass over segments of consecutive time steps, for a recurrent layer. `None` for a layer
    /// without such a pass: `backward` then runs on each segment by itself. Sealed: custom layers have none.
    #[doc(hidden)]
    fn in_segments(&self) -> Option<InSegments<'_, T>> {
        None
    }
}
