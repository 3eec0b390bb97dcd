//! Layers: the contract, and the layers without recurrence.

use crate::{
    batch_shape::BatchShape,
    block::{Block, Blocks},
    error::{Error, LayerRule},
    random::generator,
    scalar::{Scalar, to_f64},
    size::{filled, room},
};
use alloc::{string::String, vec::Vec};
use core::fmt::Debug;
use rand_core::Rng;

mod activation;
mod check;
mod context;
mod dropout;
mod dropout_key;
mod forwarding;
mod hints;
mod linear;
mod memory;
mod norm;
mod parameters;
mod pass;
mod path;
mod pool;
mod prelu;
mod residual;
mod sequential;
mod spec;
mod spec_walk;
mod trainable;

pub use activation::ActivationLayer;
pub(crate) use check::{Answers, Bound, Question, check_blocks, check_output_shape, cut_end, hold, join};
pub use context::Context;
pub use dropout::Dropout;
pub use dropout_key::DropoutKey;
pub use hints::Hints;
pub use linear::Linear;
pub use memory::MemorySizes;
pub use norm::{LayerNorm, RmsNorm};
pub(crate) use parameters::Parameters;
use parameters::backward_and_step;
pub use pass::{Backward, BackwardState, Forward, ForwardState, Mode};
pub use path::LinkPath;
pub use pool::{LastStep, MeanOverSteps};
pub use prelu::PRelu;
pub use residual::Residual;
pub use sequential::Sequential;
pub use spec::{BranchScale, CellKind, GruVariant, LayerSpec};
pub use trainable::TrainableMask;

/// The most levels of layers within layers. A pass takes up to 8 KiB of stack a level in an unoptimized build, and the
/// stack of a thread has 2 MiB.
pub const MAX_DEPTH: usize = 128;

/// Widths of a layer, in values per row, and how many parameters it has.
///
/// Constructors of layers do not fail on sizes: [`Sequential::push`], [`initialize`] and
/// [`Workspace::new`](crate::workspace::Workspace::new) check them. A number that does not fit is `usize::MAX` here,
/// which they refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Dims {
    /// Values per input row.
    pub input: usize,
    /// Values per output row.
    pub output: usize,
    /// Parameters.
    pub parameters: usize,
}

impl Dims {
    /// The widths `input` → `output` with that many parameters.
    pub const fn new(input: usize, output: usize, parameters: usize) -> Self {
        Dims { input, output, parameters }
    }
}

/// Whether the samples of a batch depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Samples {
    /// The output of a sample depends on that sample alone: a batch gives the outputs of its samples one by one.
    Independent,
    /// The output of a sample depends on the other samples too, as in batch normalisation.
    Coupled,
}

impl Samples {
    /// The answer for two layers together: coupled if either is.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match self {
            Samples::Independent => other,
            Samples::Coupled => self,
        }
    }
}

/// A part of a network: it maps rows to rows, forward and backward.
///
/// A layer is an immutable description. Its parameters are a slice of the network's one buffer, and its memory comes
/// with each pass. So threads can share a layer, and a pass does not allocate.
///
/// # Laws
/// * `backward` writes all of `dx` and **adds** to `dw`.
/// * Both passes read only values that were given or written before.
/// * The blocks tile the parameters exactly.
/// * Every method returns the same answer each time.
///
/// A network or workspace with a layer that breaks a [`LayerRule`] is refused with [`Error::InvalidLayer`], which names
/// the layer. A violation that shows only in a pass is a panic.
pub trait Layer<T: Scalar>: Debug + Send + Sync {
    /// Widths and number of parameters.
    fn dims(&self) -> Dims;

    /// The batch shape of `y`, given that of `x`. The default is the same shape.
    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        shape
    }

    /// Sizes of the buffers for a pass over `shape`. The default is none.
    fn memory(&self, _shape: BatchShape<'_>, _mode: Mode) -> MemorySizes {
        MemorySizes::default()
    }

    /// Initializes the parameters.
    ///
    /// # Errors
    /// The errors of [`Initializer::fill`](crate::initializer::Initializer::fill); [`Error::NonFinite`] for a value
    /// that `T` cannot hold.
    ///
    /// # Panics
    /// A layer may panic where `w` does not have the parameters of [`dims`](Self::dims); [`initialize`] makes and
    /// checks it.
    fn initialize(&self, _w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
        Ok(())
    }

    /// Visits the parameter blocks in the order of `w`.
    fn blocks(&self, _visit: &mut dyn FnMut(Block<'_>)) {}

    /// Visits the names of the layer's links; the first is its own `path`.
    fn places(&self, path: &str, visit: &mut dyn FnMut(String)) {
        visit(path.into());
    }

    /// Promises that let a network do less work. The default is none.
    fn hints(&self) -> Hints {
        Hints::NONE
    }

    /// Whether the samples of a batch depend on each other. The default is [`Samples::Independent`].
    fn samples(&self) -> Samples {
        Samples::Independent
    }

    /// Whether the output at a step depends on the input at later steps, as in a layer that reads from the end. The
    /// default is `false`.
    fn reads_later_steps(&self) -> bool {
        false
    }

    /// An upper bound on `‖∂y/∂x‖₂` for one sample with all its steps, from a zero state, in any [`Mode`], for every x.
    /// If [`samples`](Layer::samples) are coupled, the bound is for the whole batch. `None` if none is known, which is
    /// the default.
    ///
    /// Without a bound a network has no [`Certificate`](crate::theory::Certificate). If the bound is computed in
    /// floating point, round it up.
    fn gain_bound(&self, _w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        None
    }

    /// Visits the layer's links, named as its [`places`](Layer::places) are, with bounds whose product is
    /// that of [`gain_bound`](Layer::gain_bound); where there is none, with the parts that have none.
    fn gain_bounds(&self, w: &[T], shape: BatchShape<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<f64>)) {
        visit(path, self.gain_bound(w, shape));
    }

    /// Visits each layer here that has a state, with upper bounds on `‖∂s_t/∂s_{t−k}‖₂` for k = 0, 1, …, steps.
    /// They hold for every t within the steps, from a state of zero and for every x. Without bounds: `None`.
    fn state_bounds(&self, _w: &[T], shape: BatchShape<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<&[f64]>)) {
        if self.memory(shape, Mode::Infer).state > 0 {
            visit(path, None);
        }
    }

    /// The layer as data. The default is [`LayerSpec::Custom`] with the name of the type.
    fn spec(&self) -> LayerSpec {
        LayerSpec::Custom { kind: core::any::type_name::<Self>().into(), dims: self.dims() }
    }

    /// Computes `y` from `x`.
    ///
    /// # Panics
    /// Where a slice of `pass`, or `w`, is not as long as [`dims`](Self::dims), [`output_shape`](Self::output_shape)
    /// and [`memory`](Self::memory) say; a layer of this crate names it. A workspace never passes such slices to a
    /// layer that keeps the law: the same answers every time.
    fn forward(&self, w: &[T], pass: Forward<'_, T>);

    /// Computes `dx` and adds to `dw`, from `dy`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    fn backward(&self, w: &[T], pass: Backward<'_, T>);

    /// [`backward`](Self::backward) and a step of plain gradient descent: `w ← w − η dw`, of all blocks.
    ///
    /// `pass.dw` is memory for a gradient, as long as `w`; what is in it is arbitrary, before and after; `pass.trained`
    /// is all. The step is to be the bits of `w + −η · dw`, but for the sign of a zero. As it stands both are done one
    /// after the other; a layer of others can let each take its step while its gradient is in the cache.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    fn descend(&self, w: &mut [T], rate: T, pass: Backward<'_, T>) {
        backward_and_step(self, w, rate, pass);
    }

    /// The answers that a container recorded when it was made; `None` for a layer without parts. Sealed.
    #[doc(hidden)]
    fn kept(&self) -> Option<Result<Answers, LayerRule>> {
        None
    }

    /// Checks the answers of all layers inside again, before a workspace runs them. Sealed.
    #[doc(hidden)]
    fn ask_parts(&self, _question: Question<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// The first values of all parameters of `layer`, the same bits for the same seed on every platform.
///
/// # Errors
/// Those of the layer's initializers; [`Error::InitialValue`] for a value that is not finite in `T`;
/// [`Error::TooLarge`] for more parameters than memory can hold.
pub fn initialize<T: Scalar>(layer: &(impl Layer<T> + ?Sized), seed: u64) -> Result<Vec<T>, Error> {
    let parameters = room::<T>("the parameters of the network", &[layer.dims().parameters])?;
    let mut w = filled("the parameters of the network", parameters, T::zero())?;
    let (initialized, index) = (layer.initialize(&mut w, &mut generator(seed)), non_finite(&w));
    let Some(index) = index else { return initialized.map(|()| w) };
    let found = match initialized {
        Err(Error::NonFinite { found, .. }) => found,
        Err(other) => return Err(other),
        Ok(()) => to_f64(w[index]),
    };
    let blocks = Blocks::collect(|visit| layer.blocks(visit));
    let (block, first) =
        blocks.at(index).map_or_else(Default::default, |block| (block.name.clone(), block.range.start));
    Err(Error::InitialValue { block: block.into_owned(), index: index - first, found })
}

fn non_finite<T: Scalar>(w: &[T]) -> Option<usize> {
    w.iter().position(|w| !w.is_finite())
}
