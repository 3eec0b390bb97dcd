//! Something that can be a part of a network: it maps rows to rows, forward and backward.

use crate::{
    activation::AnyActivation,
    arc::Arc,
    batch_shape::BatchShape,
    block::{Block, Blocks},
    error::{Error, LayerRule},
    kernel::elementwise::descend,
    monitor::{Factor, GradientMonitor, Link},
    random::generator,
    scalar::{Scalar, to_f64},
    size::{filled, room},
};
use alloc::{boxed::Box, string::String, vec::Vec};
use core::{fmt::Debug, ops::Range};
use rand_core::Rng;

mod check;
mod dropout;
mod linear;
mod norm;
mod pointwise;
mod pool;
mod residual;
mod sequential;
mod spec;
mod stretch;

pub(crate) use check::{Answers, Bound, Question, check_blocks, check_output_shape, cut_end, hold, join};
pub use dropout::Dropout;
pub use linear::Linear;
pub use norm::{LayerNorm, RmsNorm};
pub use pointwise::{ActivationLayer, PRelu};
pub use pool::{LastStep, MeanOverSteps};
pub use residual::Residual;
pub use sequential::Sequential;
pub use spec::{BranchScale, CellKind, GruVariant, LayerSpec};

/// The most levels of layers within layers. A pass takes up to 8 KiB of stack a level in an unoptimized build, and the
/// stack of a thread has 2 MiB.
pub const MAX_DEPTH: usize = 128;

/// Widths of a layer, in values per row, and how many parameters it has.
///
/// Constructors of layers do not fail on sizes: [`Sequential::push`], [`initialize`] and
/// [`Workspace::new`](crate::workspace::Workspace::new) check them. A number that does not fit is `usize::MAX` here, which they refuse.
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

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// DropoutKey on; what the backward pass needs is saved.
    Train,
    /// DropoutKey off; what the backward pass needs is saved.
    Evaluate,
    /// DropoutKey off; nothing is saved, no backward pass can follow.
    Infer,
}

impl Mode {
    /// Whether a backward pass can follow.
    pub const fn saves(self) -> bool {
        !matches!(self, Mode::Infer)
    }

    /// The mode of a pass that can go back, noise off where it was off.
    pub(crate) const fn saving(self) -> Self {
        if self.saves() { self } else { Mode::Evaluate }
    }
}

/// What the output of one sample depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Samples {
    /// On that sample alone: a batch gives what its samples give one by one.
    Independent,
    /// On the other samples of the batch too, as in batch normalisation.
    Coupled,
}

impl Samples {
    /// What the output of two layers together depends on.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match self {
            Samples::Independent => other,
            Samples::Coupled => self,
        }
    }
}

/// Memory a layer needs for a pass, in values. It must not shrink when batch or steps grow.
///
/// A network needs more scratch for several threads, which a layer of yours with others inside does not see: let it hand on
/// all that its own part leaves of the scratch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemorySizes {
    /// Answers from the forward to the backward pass; 0 for [`Mode::Infer`].
    pub saved: usize,
    /// Free for use within one call, forward or backward.
    pub scratch: usize,
    /// State per sample that goes from window to window (h, c).
    pub state: usize,
}

impl MemorySizes {
    /// Memory of those sizes.
    pub const fn new(saved: usize, scratch: usize, state: usize) -> Self {
        MemorySizes { saved, scratch, state }
    }
}

/// Where random masks come from: a counter-based generator keyed by layer, step and sample, so that
/// splitting a batch, resuming, or running a pass again sees the same mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropoutKey {
    /// The run's seed.
    pub seed: u64,
    /// The training step.
    pub step: u64,
    /// The sample that row 0 of the pass is.
    pub first_sample: u64,
}

impl DropoutKey {
    /// DropoutKey of training step `step` in a run with that seed.
    pub const fn new(seed: u64, step: u64) -> Self {
        DropoutKey { seed, step, first_sample: 0 }
    }

    /// The same noise for a pass that begins at another sample: a part of a batch.
    #[must_use]
    pub const fn from_sample(self, sample: usize) -> Self {
        DropoutKey { first_sample: sample as u64, ..self }
    }

    /// The same noise for the samples of a pass from its `sample`th on.
    pub(crate) const fn later(self, sample: usize) -> Self {
        DropoutKey { first_sample: self.first_sample.wrapping_add(sample as u64), ..self }
    }
}

/// Where a layer stands in the network's table of link names.
#[derive(Clone, Copy, Debug)]
pub struct LinkPath<'a> {
    names: &'a [String],
    first: usize,
    on_main_path: bool,
}

impl<'a> LinkPath<'a> {
    /// The first place of a table of names.
    pub const fn new(names: &'a [String]) -> Self {
        LinkPath { names, first: 0, on_main_path: true }
    }

    /// The place `offset` further on: that of a part.
    #[must_use]
    pub const fn part(self, offset: usize) -> Self {
        LinkPath { first: self.first.saturating_add(offset), ..self }
    }

    /// The same place inside one of several parallel branches.
    #[must_use]
    pub const fn branch(self) -> Self {
        LinkPath { on_main_path: false, ..self }
    }

    /// Its number in the table, which tells layers apart.
    pub const fn index(self) -> usize {
        self.first
    }

    /// The link at this place.
    pub fn link(self, factor: Factor, shape: BatchShape<'a>) -> Link<'a> {
        Link {
            name: self.names.get(self.first).map_or("", String::as_str),
            index: self.first,
            factor,
            step: None,
            gate: None,
            on_main_path: self.on_main_path,
            shape,
            activation: None,
        }
    }
}

impl<'a> Link<'a> {
    /// The same link at a step of a recurrent layer.
    #[must_use]
    pub const fn at_step(self, step: usize) -> Self {
        Link { step: Some(step), ..self }
    }

    /// The same link for one gate.
    #[must_use]
    pub const fn gate(self, gate: &'static str) -> Self {
        Link { gate: Some(gate), ..self }
    }

    /// The same link with its activation.
    #[must_use]
    pub const fn activation(self, activation: &'a dyn AnyActivation) -> Self {
        Link { activation: Some(activation), ..self }
    }
}

/// Which of a layer's blocks are trained, in the order of [`Layer::blocks`].
#[derive(Clone, Copy, Debug, Default)]
pub struct TrainableMask<'a> {
    flags: &'a [bool],
    first: usize,
    /// Whether those without a flag are left out.
    none: bool,
}

impl<'a> TrainableMask<'a> {
    /// All blocks.
    pub const ALL: TrainableMask<'static> = TrainableMask { flags: &[], first: 0, none: false };

    /// No block.
    pub(crate) const NONE: TrainableMask<'static> = TrainableMask { flags: &[], first: 0, none: true };

    /// One flag a block; none at all means all are trained.
    pub const fn new(flags: &'a [bool]) -> Self {
        TrainableMask { flags, first: 0, none: false }
    }

    /// Whether block `i` is trained.
    pub fn block(self, i: usize) -> bool {
        self.flags.get(self.first.saturating_add(i)).copied().unwrap_or(!self.none)
    }

    /// The flags of a part whose blocks begin at `first`.
    #[must_use]
    pub const fn part(self, first: usize) -> Self {
        TrainableMask { first: self.first.saturating_add(first), ..self }
    }

    /// Whether any of the first `count` blocks is trained.
    pub fn any(self, count: usize) -> bool {
        // Beyond the flags all are alike.
        (0..count.min(self.flags.len().saturating_add(1))).any(|i| self.block(i))
    }
}

/// Everything of a forward pass through one layer.
///
/// # Shapes
/// `x`: \[rows, input\]; `y`: \[rows of the layer's own [`output_shape`](Layer::output_shape), output\];
/// `initial_state`, `final_state`: `state × batch` values, laid out as the layer likes.
#[non_exhaustive]
pub struct Forward<'a, T: Scalar> {
    /// Rows of `x`.
    pub shape: BatchShape<'a>,
    /// What the pass is for.
    pub mode: Mode,
    /// Where masks come from.
    pub dropout: DropoutKey,
    /// Input.
    pub x: &'a [T],
    /// Output; all of it is to be written.
    pub y: &'a mut [T],
    /// What the backward pass will find again.
    pub saved: &'a mut [T],
    /// State at the start; `None` is zero.
    pub initial_state: Option<&'a [T]>,
    /// State at the end; all of it is to be written.
    pub final_state: &'a mut [T],
    /// Memory for this call; its content is arbitrary.
    pub scratch: &'a mut [T],
    /// Who watches.
    pub monitor: &'a mut dyn GradientMonitor<T>,
    /// Where the layer stands.
    pub at: LinkPath<'a>,
}

/// Everything of a backward pass through one layer.
///
/// # Shapes
/// Those of [`Forward`]; `dw` has the layer's parameters.
#[non_exhaustive]
pub struct Backward<'a, T: Scalar> {
    /// Rows of `x`.
    pub shape: BatchShape<'a>,
    /// What the forward pass was for.
    pub mode: Mode,
    /// Where the masks came from.
    pub dropout: DropoutKey,
    /// Input of the forward pass; may be empty for a layer that does not [read](Layer::reads) it.
    pub x: &'a [T],
    /// Its output; so may this.
    pub y: &'a [T],
    /// What it saved; may be consumed.
    pub saved: &'a mut [T],
    /// State it started from; `None` is zero.
    pub initial_state: Option<&'a [T]>,
    /// Gradient with respect to `y`; for a layer that [skips](Layer::skips_zero_rows) zeros perhaps without some of its first rows,
    /// which are zero then.
    pub dy: &'a [T],
    /// Gradient with respect to the state at the end; `None` is zero.
    pub d_final_state: Option<&'a [T]>,
    /// Gradient with respect to `x`, to be overwritten; `None` where nobody asked for it. Of a layer with
    /// [`zero_rows`](Layer::zero_rows) perhaps without them.
    pub dx: Option<&'a mut [T]>,
    /// Gradient with respect to the state at the start, to be overwritten; `None` where nobody asked.
    pub d_initial_state: Option<&'a mut [T]>,
    /// Gradient with respect to the parameters, to be added to.
    pub dw: &'a mut [T],
    /// Whether nothing is in `dw` yet and its content is arbitrary, so that it is to be overwritten: only ever for a layer
    /// that [`overwrites`](Layer::overwrites).
    pub overwrite_dw: bool,
    /// Which blocks of it are wanted; the others may be left out, to save time.
    pub trainable: TrainableMask<'a>,
    /// Memory for this call; its content is arbitrary.
    pub scratch: &'a mut [T],
    /// Who watches.
    pub monitor: &'a mut dyn GradientMonitor<T>,
    /// Where the layer stands.
    pub at: LinkPath<'a>,
}

impl<'a, T: Scalar> Forward<'a, T> {
    /// A forward pass of a layer without state: `y` from `x`.
    pub fn new(
        shape: BatchShape<'a>,
        mode: Mode,
        x: &'a [T],
        y: &'a mut [T],
        saved: &'a mut [T],
        scratch: &'a mut [T],
        monitor: &'a mut dyn GradientMonitor<T>,
    ) -> Self {
        Forward {
            shape,
            mode,
            dropout: DropoutKey::default(),
            x,
            y,
            saved,
            initial_state: None,
            final_state: &mut [],
            scratch,
            monitor,
            at: LinkPath::new(&[]),
        }
    }

    /// The same pass for a shorter time.
    pub fn reborrow(&mut self) -> Forward<'_, T> {
        Forward {
            shape: self.shape,
            mode: self.mode,
            dropout: self.dropout,
            x: self.x,
            y: self.y,
            saved: self.saved,
            initial_state: self.initial_state,
            final_state: self.final_state,
            scratch: self.scratch,
            monitor: self.monitor,
            at: self.at,
        }
    }
}

impl<'a, T: Scalar> Backward<'a, T> {
    /// A backward pass of a layer without state: `dx` and `dw` from `dy`.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        shape: BatchShape<'a>,
        mode: Mode,
        x: &'a [T],
        y: &'a [T],
        saved: &'a mut [T],
        dy: &'a [T],
        dx: Option<&'a mut [T]>,
        dw: &'a mut [T],
        scratch: &'a mut [T],
        monitor: &'a mut dyn GradientMonitor<T>,
    ) -> Self {
        Backward {
            shape,
            mode,
            dropout: DropoutKey::default(),
            x,
            y,
            saved,
            initial_state: None,
            dy,
            d_final_state: None,
            dx,
            d_initial_state: None,
            dw,
            overwrite_dw: false,
            trainable: TrainableMask::ALL,
            scratch,
            monitor,
            at: LinkPath::new(&[]),
        }
    }

    /// The same pass for a shorter time.
    pub fn reborrow(&mut self) -> Backward<'_, T> {
        Backward {
            shape: self.shape,
            mode: self.mode,
            dropout: self.dropout,
            x: self.x,
            y: self.y,
            saved: self.saved,
            initial_state: self.initial_state,
            dy: self.dy,
            d_final_state: self.d_final_state,
            dx: self.dx.as_deref_mut(),
            d_initial_state: self.d_initial_state.as_deref_mut(),
            dw: self.dw,
            overwrite_dw: self.overwrite_dw,
            trainable: self.trainable,
            scratch: self.scratch,
            monitor: self.monitor,
            at: self.at,
        }
    }
}

/// Which of its rows a layer reads on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// Those that came.
    pub input: bool,
    /// Those that went out.
    pub output: bool,
}

impl Reads {
    /// Those that came and those that went out.
    pub const BOTH: Self = Reads { input: true, output: true };
    /// Those that came.
    pub const INPUT: Self = Reads { input: true, output: false };
    /// None of them.
    pub const NEITHER: Self = Reads { input: false, output: false };
}

/// Something that can be a part of a network.
///
/// A layer is an immutable description. Its parameters are a slice of the network's one buffer, its
/// memory comes with each pass; so it can be shared by threads and has nowhere to allocate.
///
/// Its laws: `backward` writes all of `dx` and **adds** to `dw`; both passes read only what was
/// given or written before; the blocks tile the parameters exactly; every method gives the same answer each time.
/// [`Error::InvalidLayer`] names a layer whose answers break a [`LayerRule`], where it becomes part of a network and where a
/// workspace is made. What shows only in a pass is a panic.
pub trait Layer<T: Scalar>: Debug + Send + Sync {
    /// Widths and number of parameters.
    fn dims(&self) -> Dims;

    /// The rows of `y`, given those of `x`.
    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        shape
    }

    /// Memory for a pass over `shape`.
    fn memory(&self, _shape: BatchShape<'_>, _mode: Mode) -> MemorySizes {
        MemorySizes::default()
    }

    /// Gives the parameters their first values.
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

    /// Which of its rows `backward` reads. A network does not keep rows between two layers that neither reads, and gives it
    /// empty slices instead.
    fn reads(&self) -> Reads {
        Reads::BOTH
    }

    /// Whether what is saved of a row lies by itself, row after row, as x and y do, in every mode that saves, or nothing is saved
    /// at all. Then threads can take some of the rows each through several layers, if it has no parameters or saves nothing, and
    /// a network need not ask for its [`memory`](Layer::memory) in each pass. A layer around another asks that one.
    fn saves_by_row(&self) -> bool {
        false
    }

    /// How many of the first rows of `dx` are zero whatever `dy` is: those of all steps before the last, of a layer that goes
    /// on from the last. [`Backward::dx`] may come without them.
    fn zero_rows(&self, _shape: BatchShape<'_>) -> usize {
        0
    }

    /// Whether [`Backward::dy`] may come without some of its first rows, where they are zero. A network then has the layer after
    /// leave out its [`zero_rows`](Layer::zero_rows), as long as nobody watches, and nothing is spent on them.
    fn skips_zero_rows(&self) -> bool {
        false
    }

    /// What the output of one sample depends on.
    fn samples(&self) -> Samples {
        Samples::Independent
    }

    /// Whether `backward` heeds [`Backward::overwrite_dw`], which saves clearing `dw` and reading it again. Any other layer finds
    /// zeros to add to. Blocks that are not [trained](Backward::trainable) may be left as they are.
    fn overwrites(&self) -> bool {
        false
    }

    /// An upper bound on `‖∂y/∂x‖₂` for one sample with all its steps (for a whole batch, where its
    /// [`rows`](Layer::samples) meet), from a state of zero, in any [`Mode`], valid for every x; or `None` where none is
    /// known.
    ///
    /// Without one a network has no [`Certificate`](crate::theory::Certificate). Round it up, if at all.
    fn gain_bound(&self, _w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        None
    }

    /// Visits the layer's links, named as its [`places`](Layer::places) are, with bounds whose product is
    /// that of [`gain_bound`](Layer::gain_bound); where there is none, with the parts that have none.
    fn gain_bounds(&self, w: &[T], shape: BatchShape<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<f64>)) {
        visit(path, self.gain_bound(w, shape));
    }

    /// Visits each layer here that has a state, with upper bounds on `‖∂s_t/∂s_{t−k}‖₂` for k = 0, 1, …, steps,
    /// for every t within the steps, from a state of zero and for every x; or with `None` where none are known.
    fn state_bounds(&self, _w: &[T], shape: BatchShape<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<&[f64]>)) {
        if self.memory(shape, Mode::Infer).state > 0 {
            visit(path, None);
        }
    }

    /// The layer as data; a layer of your own is opaque.
    fn spec(&self) -> LayerSpec {
        LayerSpec::Custom { kind: core::any::type_name::<Self>().into(), dims: self.dims() }
    }

    /// Computes `y` from `x`.
    ///
    /// # Panics
    /// Where a slice of `pass`, or `w`, is not as long as [`dims`](Self::dims), [`output_shape`](Self::output_shape) and
    /// [`memory`](Self::memory) say; a layer of this crate names it. A workspace never passes such slices to a layer that
    /// keeps the law: the same answers every time.
    fn forward(&self, w: &[T], pass: Forward<'_, T>);

    /// Computes `dx` and adds to `dw`, from `dy`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    fn backward(&self, w: &[T], pass: Backward<'_, T>);

    /// [`backward`](Self::backward) and a step of plain gradient descent: `w ← w − η dw`, of all blocks.
    ///
    /// `pass.dw` is memory for a gradient, as long as `w`; what is in it is arbitrary, before and after; `pass.trained` is
    /// all. The step is to be the bits of `w + −η · dw`, but for the sign of a zero. As it stands both are done one after the other; a layer of others can let each take its
    /// step while its gradient is in the cache.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    fn descend(&self, w: &mut [T], rate: T, pass: Backward<'_, T>) {
        backward_and_step(self, w, rate, pass);
    }

    /// The answers that a layer of layers kept when it was made; `None` for one without parts. Sealed.
    #[doc(hidden)]
    fn kept(&self) -> Option<Result<Answers, LayerRule>> {
        None
    }

    /// Checks the answers of all layers inside once more, for passes of a workspace. Sealed.
    #[doc(hidden)]
    fn ask_parts(&self, _question: Question<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// What [`Layer::descend`] is, in two passes.
fn backward_and_step<T: Scalar>(layer: &(impl Layer<T> + ?Sized), w: &mut [T], rate: T, mut pass: Backward<'_, T>) {
    pass.overwrite_dw = layer.overwrites();
    if !pass.overwrite_dw {
        pass.dw.fill(T::zero());
    }
    layer.backward(w, pass.reborrow());
    descend(w, rate, pass.dw);
}

/// The parameters on the way back.
pub(crate) enum Parameters<'a, T> {
    /// Their gradient is added to, or begun.
    Stay(&'a [T]),
    /// They take a step at that rate, and what memory there is for their gradient is used again and again.
    Descend(&'a mut [T], T),
}

impl<T: Scalar> Parameters<'_, T> {
    /// Them as they are.
    pub(crate) fn read(&self) -> &[T] {
        match self {
            Parameters::Stay(w) => w,
            Parameters::Descend(w, _) => w,
        }
    }

    /// Some of them.
    pub(crate) fn part(&mut self, range: Range<usize>) -> Parameters<'_, T> {
        match self {
            Parameters::Stay(w) => Parameters::Stay(&w[range]),
            Parameters::Descend(w, rate) => Parameters::Descend(&mut w[range], *rate),
        }
    }

    /// Goes back through `layer`, whose parameters they are.
    pub(crate) fn down(self, layer: &dyn Layer<T>, mut pass: Backward<'_, T>) {
        match self {
            Parameters::Descend(w, rate) if !w.is_empty() => layer.descend(w, rate, pass),
            still => {
                let w = still.read();
                let overwrites = !w.is_empty() && layer.overwrites();
                if pass.overwrite_dw && !overwrites {
                    pass.dw.fill(T::zero());
                }
                pass.overwrite_dw &= overwrites;
                layer.backward(w, pass);
            }
        }
    }
}

/// A reference to a layer, or a layer behind a pointer, is a layer.
macro_rules! delegate {
    ([$($generics:tt)*] $type:ty) => {
        impl<T: Scalar, $($generics)*> Layer<T> for $type {
            fn dims(&self) -> Dims {
                (**self).dims()
            }
            fn output_shape<'x>(&self, shape: BatchShape<'x>) -> BatchShape<'x> {
                (**self).output_shape(shape)
            }
            fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
                (**self).memory(shape, mode)
            }
            fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
                (**self).initialize(w, rng)
            }
            fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
                (**self).blocks(visit);
            }
            fn places(&self, path: &str, visit: &mut dyn FnMut(String)) {
                (**self).places(path, visit);
            }
            fn reads(&self) -> Reads {
                (**self).reads()
            }
            fn saves_by_row(&self) -> bool {
                (**self).saves_by_row()
            }
            fn zero_rows(&self, shape: BatchShape<'_>) -> usize {
                (**self).zero_rows(shape)
            }
            fn skips_zero_rows(&self) -> bool {
                (**self).skips_zero_rows()
            }
            fn samples(&self) -> Samples {
                (**self).samples()
            }
            fn overwrites(&self) -> bool {
                (**self).overwrites()
            }
            fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
                (**self).gain_bound(w, shape)
            }
            fn gain_bounds(&self, w: &[T], shape: BatchShape<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<f64>)) {
                (**self).gain_bounds(w, shape, path, visit);
            }
            fn state_bounds(
                &self,
                w: &[T],
                shape: BatchShape<'_>,
                path: &str,
                visit: &mut dyn FnMut(&str, Option<&[f64]>),
            ) {
                (**self).state_bounds(w, shape, path, visit);
            }
            fn spec(&self) -> LayerSpec {
                (**self).spec()
            }
            fn forward(&self, w: &[T], pass: Forward<'_, T>) {
                (**self).forward(w, pass);
            }
            fn backward(&self, w: &[T], pass: Backward<'_, T>) {
                (**self).backward(w, pass);
            }
            fn descend(&self, w: &mut [T], rate: T, pass: Backward<'_, T>) {
                (**self).descend(w, rate, pass);
            }
            fn kept(&self) -> Option<Result<Answers, LayerRule>> {
                (**self).kept()
            }
            fn ask_parts(&self, question: Question<'_>) -> Result<(), Error> {
                (**self).ask_parts(question)
            }
        }
    };
}

delegate!([L: Layer<T> + ?Sized] &L);
delegate!([L: Layer<T> + ?Sized] Box<L>);
delegate!([L: Layer<T> + ?Sized] Arc<L>);

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
