//! Layers in sequence, run without recursion.

mod backward;
mod forward;
mod layout;
mod parallel;

use super::{
    AddsByShard, Answers, Backward, Dims, Forward, Hints, InPlaceStep, Layer, LayerSpec, MemorySizes, Mode, Parameters,
    PassLengths, Recorded, Structure,
};
use crate::{
    batch_shape::BatchShape,
    compiled::Workspace,
    error::{Error, LayerRule, require},
    scalar::Scalar,
    size::{room, saturating_sum},
};
use alloc::{boxed::Box, format, string::ToString, vec, vec::Vec};
use core::ops::Range;
use parallel::SMALL;

/// Layers in sequence: `y = f_L(… f_2(f_1(x)))`.
///
/// Both passes are loops over a precomputed table, with two alternating buffers. So a deeper network needs no more
/// stack; only its saved values take more memory.
///
/// ```
/// use chainrule::layer::{Layer, Linear, Sequential};
/// let built = Sequential::<f32>::input(4).linear(8).relu().linear(2).build()?;
/// let mut pushed = Sequential::<f32>::new(4); // the same, layer by layer
/// pushed.push(Linear::new(4, 8))?;
/// assert_eq!((built.dims().output, built.dims().parameters), (2, 4 * 8 + 8 + 8 * 2 + 2));
/// println!("{built:?}"); // a table of the layers
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Sequential<T> {
    layers: Vec<Entry<T>>,
    /// Prefix sums of the widths: the input width of layer i is `columns[i + 1] − columns[i]`.
    columns: Vec<usize>,
    /// Prefix sums of the widths of the activations kept for the backward pass: `kept[i + 1] − kept[i]` is the input
    /// width of layer i, or 0 if its input is not kept. The activations before layer 0 and after the last layer belong
    /// to the caller.
    kept: Vec<usize>,
    /// Prefix sums over the layers of the numbers of values that each saves per row; a layer without a fixed number
    /// counts as 0.
    saved: Vec<usize>,
    /// The first parameter of each layer: layer i has the parameters `starts[i]..starts[i + 1]` of the network.
    starts: Vec<usize>,
    /// The indices of the layers whose output may have a batch shape different from that of their input.
    changing: Vec<usize>,
    /// The largest width between two layers, in values per row.
    widest: usize,
    /// The longest ranges of layers that can be in a span, in order. A span is several consecutive layers through which
    /// each thread takes some of the samples.
    runs: Vec<Range<usize>>,
}

struct Entry<T> {
    layer: Box<dyn Layer<T>>,
    first_block: usize,
    first_link: usize,
    parameters: Range<usize>,
    /// The input width of the layer.
    width: usize,
    /// The input width if the layer's input is kept for the backward pass, otherwise 0.
    kept_width: usize,
    /// The number of values that the layer saves per row; 0 if it does not save a fixed number per row.
    saved_width: usize,
    /// The results of the layer's descriptive methods, such as [`Layer::hints`], cached when it was added.
    kept: Answers,
    /// Whether the layer is one of this crate without parts: its methods return the same results in every pass.
    is_own: bool,
}

impl<T: Scalar> Sequential<T> {
    /// Creates an empty network for rows of `input` values.
    pub fn new(input: usize) -> Self {
        Sequential {
            layers: Vec::new(),
            columns: vec![0, input],
            kept: vec![0],
            saved: vec![0],
            starts: vec![0],
            changing: Vec::new(),
            widest: 0,
            runs: Vec::new(),
        }
    }

    /// Adds a layer at the end.
    ///
    /// # Errors
    /// [`Error::WidthMismatch`] where the layer's input width is not [`width`](Self::width); [`Error::Parameter`] for a
    /// width of 0. [`Error::TooLarge`] where the network's widths or parameters are more than memory can hold.
    /// [`Error::InvalidLayer`] where the layer breaks a rule, or is nested more than [`MAX_DEPTH`](super::MAX_DEPTH)
    /// deep. On an error the network is unchanged.
    pub fn push(&mut self, layer: impl Layer<T> + 'static) -> Result<(), Error> {
        self.push_boxed(layer.boxed())
    }

    /// Adds a boxed layer at the end.
    ///
    /// # Errors
    /// The errors of [`push`](Self::push).
    pub fn push_boxed(&mut self, layer: Box<dyn Layer<T>>) -> Result<(), Error> {
        T::sequential_push(self, layer, false)
    }

    /// Adds a layer as [`push_boxed`](Self::push_boxed). `own` states whether it is a layer of this crate. Such a
    /// layer, if it has no parts, does not check the slices of a pass again.
    pub(crate) fn push_made(&mut self, layer: Box<dyn Layer<T>>, own: bool) -> Result<(), Error> {
        let i = self.layers.len();
        let checked = Answers::of(&*layer).and_then(|kept| Answers::above(kept.depth).map(|_| kept));
        let kept = checked.map_err(|rule| rule.at(&i.to_string()))?;
        let (dims, width) = (kept.dims, self.width());
        if dims.input != width {
            let before = i.checked_sub(1).map_or("the input has".into(), |before| format!("layer {before} outputs"));
            return Err(Error::WidthMismatch { layer: i.to_string(), before, expected: dims.input, found: width });
        }
        require(dims.input > 0 && dims.output > 0, "the width of a layer", "at least 1", 0.0)?;
        let sum_of = |what: &str, before: usize, own: usize| {
            room::<T>(format_args!("{what} of layers 0 to {i}"), &[before.saturating_add(own)])
        };
        let columns = sum_of("the widths", self.columns[i + 1], dims.output)?;
        let parameters = sum_of("the parameters", self.starts[i], dims.parameters)?;
        let saved_width = if kept.hints.saved_per_row { kept.saved } else { 0 };
        let saved = sum_of("the values kept of a row", self.saved[i], saved_width)?;
        let last = self.layers.last();
        let reads = last.is_some_and(|last| !last.kept.hints.ignores_y) || !kept.hints.ignores_x;
        let kept_width = if reads { width } else { 0 };
        let entry = Entry {
            first_block: last.map_or(0, |last| last.first_block + last.kept.blocks),
            first_link: last.map_or(0, |last| last.first_link + last.kept.links),
            parameters: self.starts[i]..parameters,
            width,
            kept_width,
            saved_width,
            kept,
            is_own: own && kept.depth == 1,
            layer,
        };
        self.kept.push(self.kept[i] + kept_width);
        self.saved.push(saved);
        if !kept.keeps_rows {
            self.changing.push(i);
        } else if kept.plain && dims.parameters <= SMALL {
            match self.runs.last_mut().filter(|run| run.end == i) {
                Some(run) => run.end = i + 1,
                None => self.runs.push(i..i + 1),
            }
        }
        if !self.layers.is_empty() {
            self.widest = self.widest.max(width);
        }
        self.columns.push(columns);
        self.starts.push(parameters);
        self.layers.push(entry);
        Ok(())
    }

    /// Adds all layers of `other` at the end.
    ///
    /// # Errors
    /// The errors of [`push`](Self::push), for the first layer of `other` that is refused; the layers before it
    /// remain added.
    pub fn append(&mut self, other: Self) -> Result<(), Error> {
        other.layers.into_iter().try_for_each(|link| T::sequential_push(self, link.layer, link.is_own))
    }

    /// Returns the layers, in order.
    pub(crate) fn into_layers(self) -> Vec<Box<dyn Layer<T>>> {
        self.layers.into_iter().map(|link| link.layer).collect()
    }

    /// The output width of the last layer; the input width if there is no layer.
    pub fn width(&self) -> usize {
        self.width_before(self.layers.len())
    }

    /// The number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether the network has no layers.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

/// The name of the saved values, which are divided among the layers, in the message of a panic.
const SAVED: &str = "`saved` of Sequential";
/// The name of the scratch, which is divided among the layers, in the message of a panic.
const SCRATCH: &str = "`scratch` of Sequential";
/// The name of the state, which is divided among the layers, in the message of a panic.
const STATE: &str = "the state of Sequential";

impl<T: Scalar> Sequential<T> {
    /// Returns the results of the network's descriptive methods, such as [`Layer::hints`], from those of its layers.
    /// Refuses a network that is nested too deep.
    fn answers(&self) -> Result<Answers, LayerRule> {
        let parts = self.layers.iter().map(|link| link.kept);
        let answers = Answers::of_parts(self.dims(), self.hints(), [0; 2], parts)?;
        let one = if let [one] = &self.layers[..] { Some(one.kept) } else { None };
        let (saved, by_row) = one.map_or((0, false), |one| (one.saved, one.by_row));
        Ok(Answers { keeps_rows: self.changing.is_empty(), saved, by_row, ..answers })
    }

    /// Returns the lengths that the slices of a pass through the network must have, for an input of `shape`.
    #[inline(always)]
    fn lengths(&self, shape: &BatchShape<'_>) -> PassLengths {
        if self.changing.is_empty() {
            let lengths = PassLengths::new("Sequential", self.dims(), shape, shape);
            return if self.layers.is_empty() { lengths.memory(MemorySizes::default(), 1) } else { lengths };
        }
        PassLengths::new("Sequential", self.dims(), shape, &self.output_shape(*shape))
    }
}

/// The methods of [`Layer`] that are compiled once for each scalar.
impl<T: Scalar> Sequential<T> {
    /// Implements [`Layer::unsize`].
    #[inline(never)]
    pub(crate) fn unsize_of<'a>(workspace: &'a mut Workspace<T, Self>) -> &'a mut Workspace<T, dyn Layer<T> + 'a> {
        workspace
    }

    /// Implements [`Layer::memory`].
    pub(crate) fn memory_of(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let (mut all, mut scratch, mut rows) = (MemorySizes::default(), 0, shape);
        for (i, link) in self.layers.iter().enumerate() {
            let memory = link.layer.memory(rows, mode);
            rows = self.shape_after(i, rows);
            scratch = scratch.max(memory.scratch);
            all.saved = all.saved.saturating_add(memory.saved);
            all.state = all.state.saturating_add(memory.state);
        }
        if mode.saves() {
            all.saved = all.saved.saturating_add(self.kept_in_all(shape));
        }
        let [output, input] = self.buffers_between(shape);
        all.scratch = saturating_sum([output, input, scratch, self.parallel_scratch(shape, mode)]);
        all
    }

    /// Implements [`Layer::structure`].
    pub(crate) fn structure_of(&self) -> Structure<'_, T> {
        let whole = Structure::chain().recorded(Recorded::Checked(self.answers()));
        let layers = self.layers.iter().enumerate();
        layers.fold(whole, |whole, (i, link)| whole.kept_part(i.to_string(), &*link.layer, link.kept))
    }

    /// Implements [`Layer::spec`].
    pub(crate) fn spec_of(&self) -> LayerSpec {
        let layers = self.layers.iter().map(|link| link.layer.spec()).collect();
        LayerSpec::Sequential { input: self.width_before(0), layers }
    }

    /// Implements [`Layer::forward`].
    pub(crate) fn forward_of(&self, w: &[T], pass: Forward<'_, T>) {
        self.lengths(&pass.ctx.shape).forward(w, &pass);
        self.forward_links(w, pass);
    }

    /// Implements [`Layer::backward`].
    pub(crate) fn backward_of(&self, w: &[T], pass: Backward<'_, T>) {
        self.lengths(&pass.ctx.shape).backward(|| self.hints(), w, &pass);
        self.backward_links(Parameters::Stay(w), pass);
    }

    /// Implements [`Layer::backward_in_place`].
    pub(crate) fn backward_in_place_of(&self, w: &mut [T], mut step: InPlaceStep<'_, T>, pass: Backward<'_, T>) {
        self.lengths(&pass.ctx.shape).backward(|| self.hints(), w, &pass);
        self.backward_links(Parameters::Update(w, step.part(0)), pass);
    }
}

impl<T: Scalar> Layer<T> for Sequential<T> {
    crate::layer::own_box!(Sequential);

    fn unsize<'a>(workspace: &'a mut Workspace<T, Self>) -> &'a mut Workspace<T, dyn Layer<T> + 'a> {
        T::sequential_unsize(workspace)
    }

    fn dims(&self) -> Dims {
        Dims::new(self.width_before(0), self.width(), self.starts[self.layers.len()])
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        self.shape_before(self.layers.len(), shape)
    }

    /// Saved: the rows between layers that the backward pass reads, and the saved values of each layer. Scratch: two
    /// buffers for the other rows between layers (one buffer if there are two layers), and the largest scratch of
    /// any layer. With threads also the scratch of spans (layers through which each thread takes some of the
    /// samples).
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        T::sequential_memory(self, shape, mode)
    }

    /// Returns the promises of the first layer about x and dx, of the last layer about y and dy, and, if there is only
    /// one layer, of that layer about its saved values. A backward pass can always overwrite dw. Without layers
    /// nothing is read.
    fn hints(&self) -> Hints {
        let [first, last] = [self.layers.first(), self.layers.last()].map(|link| link.map(|link| link.kept.hints));
        Hints {
            ignores_x: first.is_none_or(|first| first.ignores_x),
            ignores_y: last.is_none_or(|last| last.ignores_y),
            saved_per_row: matches!(&self.layers[..], [one] if one.kept.hints.saved_per_row),
            overwrites_dw: true,
            accepts_short_dy: last.is_some_and(|last| last.accepts_short_dy),
            dx_zero_before_last_step: first.is_some_and(|first| first.dx_zero_before_last_step),
        }
    }

    fn structure(&self) -> Structure<'_, T> {
        T::sequential_structure(self)
    }

    fn adds_by_shard(&self, shape: BatchShape<'_>) -> AddsByShard {
        let mut rows = shape;
        AddsByShard(self.layers.iter().enumerate().all(|(i, link)| {
            let before = rows;
            rows = self.shape_after(i, before);
            link.layer.adds_by_shard(before).0
        }))
    }

    fn spec(&self) -> LayerSpec {
        T::sequential_spec(self)
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        T::sequential_forward(self, w, pass);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        T::sequential_backward(self, w, pass);
    }

    fn backward_in_place(&self, w: &mut [T], step: InPlaceStep<'_, T>, pass: Backward<'_, T>) {
        T::sequential_backward_in_place(self, w, step, pass);
    }
}
