//! Recurrent layers in segments of time steps: backpropagation through time in bounded memory.

use super::segments::{Entry, Plan};
use crate::{
    batch_shape::BatchShape,
    error::{Error, LayerRule, require},
    kernel::sums::BlockSum,
    layer::{
        Answers, Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode, PassLengths, Recorded, Structure,
        checkpoint_interval::CheckpointInterval,
    },
    scalar::Scalar,
    size::{at_most, saturating_product, saturating_sum},
};
use alloc::{boxed::Box, format, string::ToString, vec::Vec};

/// Recurrent layers that keep their state only at the bounds of segments of time steps, and compute each segment
/// again in the backward pass.
///
/// The gradient is that of [`Sequential`](crate::layer::Sequential) with the same layers, to the bit. With segments
/// of k of T time steps the layers keep `T/k` states and the saved values of k steps, instead of the saved values of
/// T. The price is one more forward pass, so that both passes together take about 1.33 times as long. Source: Chen
/// et al. 2016; Gruslys et al. 2016.
///
/// The backward pass first adds up the terms of dW over blocks of consecutive time steps. A block has about as many
/// steps as fit in 128 or 256 rows, depending on the size of the layer, and at least one. An interval is rounded up
/// to whole blocks of all layers.
///
/// The layers may be recurrent layers that read from the start, activations and dropout. A
/// [`LastStep`](crate::layer::LastStep) may be the last: then the outputs of the other steps are not kept either. A
/// layer that reads later time steps is refused. Each direction of a bidirectional layer can be checkpointed by
/// itself: `Bidirectional::new(forward, backward)` takes two of these.
///
/// A monitor receives the links (factors of the chain rule) of each time step once, and a link that acts on all
/// steps in parts, one per segment ([`Link::parts_before`](crate::monitor::Link::parts_before)). Monitors of this
/// crate, such as [`GradientBudget`](crate::monitor::GradientBudget), and a diagnosis add the parts up.
///
/// Recurrent dropout and zoneout are those of the full pass: masks are keyed by sample and time step, and drawn
/// again.
///
/// ```
/// use chainrule::{layer::Sequential, recurrent::{CheckpointInterval, Lstm}};
/// let network = Sequential::<f32>::input(64)
///     .checkpointed(CheckpointInterval::SquareRoot, |segment| segment.recurrent(128, Lstm::new()).last_step())
///     .linear(1)
///     .build()?;
/// assert_eq!(network.width(), 1);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x: \[rows, input\]; y: \[rows, output\], or \[batch, output\] with a `LastStep`; blocks and state: those of the
/// layers, in order.
pub struct Checkpointed<T> {
    /// The layers that run in segments of time steps, in order, without the `LastStep`.
    pub(super) layers: Vec<Entry<T>>,
    /// The `LastStep` layer at the end, if there is one.
    pub(super) last_step: Option<Entry<T>>,
    interval: CheckpointInterval,
    /// The largest number of rows (samples at single time steps) whose terms of dW form one partial sum in a layer
    /// inside; a single time step may have more.
    block_rows: usize,
}

impl<T: Scalar> Checkpointed<T> {
    /// Creates a layer that runs `layers` in sequence, checkpointed at `interval`.
    ///
    /// # Errors
    /// [`Error::InvalidLayer`], naming the layer, where a layer is of a kind that cannot be checkpointed, breaks a
    /// rule, or is nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep. [`Error::Empty`] without a recurrent
    /// layer. [`Error::WidthMismatch`] where the input width of a layer is not the output width of the layer before
    /// it; [`Error::Parameter`] for an interval of 0 time steps or a width of 0.
    pub fn new(interval: CheckpointInterval, layers: Vec<Box<dyn Layer<T>>>) -> Result<Self, Error> {
        if let CheckpointInterval::Steps(steps) = interval {
            require(steps > 0, "the steps between checkpoints", "at least 1", 0.0)?;
        }
        let mut all = Checkpointed { layers: Vec::new(), last_step: None, interval, block_rows: 0 };
        let (mut parameter, mut block, mut link, mut width) = (0usize, 0, 0, None);
        for (i, layer) in layers.into_iter().enumerate() {
            let place = i.to_string();
            let checked = Answers::of(&*layer).and_then(|kept| Answers::above(kept.depth).map(|_| kept));
            let kept = checked.map_err(|rule| rule.at(&place))?;
            let Dims { input, output, parameters } = kept.dims;
            require(input > 0 && output > 0, "the width of a layer", "at least 1", 0.0)?;
            if let Some(found) = width.filter(|&found| found != input) {
                let before = format!("layer {} outputs", i.saturating_sub(1));
                return Err(Error::WidthMismatch { layer: place, before, expected: input, found });
            }
            let (rows, spec) = (layer.in_segments().map(|layer| layer.0.block_rows()), layer.spec());
            // A custom layer may have the description of another, but not its sealed methods.
            let is_own = layer.adds_by_shard(BatchShape::batch(1)).0;
            let is_recurrent = matches!(spec, LayerSpec::Recurrent { .. }) && rows.is_some();
            let is_by_step = is_own && matches!(spec, LayerSpec::Dropout(_) | LayerSpec::ActivationLayer { .. });
            let is_last_step = is_own && matches!(spec, LayerSpec::LastStep(_));
            let refused = kept.reads_later_steps || !(is_recurrent || is_by_step || is_last_step);
            if refused || all.last_step.is_some() {
                return Err(LayerRule::NotInSegments.at(&place));
            }
            let block_rows = rows.filter(|_| is_recurrent).unwrap_or(0);
            all.block_rows = all.block_rows.max(block_rows);
            let state = layer.memory(BatchShape::batch(1), Mode::Infer).state;
            let entry = Entry {
                kept,
                block_rows,
                states: if is_recurrent { [output, state.saturating_sub(output)] } else { [0, 0] },
                parameters: parameter..parameter.saturating_add(parameters),
                first_block: block,
                first_link: link,
                layer,
            };
            width = Some(output);
            parameter = entry.parameters.end;
            (block, link) = (block + kept.blocks, link + kept.links);
            if is_last_step { all.last_step = Some(entry) } else { all.layers.push(entry) }
        }
        match all.block_rows {
            0 => Err(Error::Empty { what: "the recurrent layers of a checkpointed layer" }),
            _ => Ok(all),
        }
    }

    /// Sets the interval to [`CheckpointInterval::Bytes`] of `bytes`, and checks that so many bytes suffice for a
    /// training pass over `shape`. They then suffice for fewer samples or time steps, too.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where no interval fits, with the least possible number of bytes; the errors of
    /// [`BatchShape::check`].
    pub fn within(self, bytes: usize, shape: BatchShape<'_>) -> Result<Self, Error> {
        shape.check()?;
        let least = self.plan_within(bytes, shape, Mode::Train).1.saturating_mul(size_of::<T>());
        at_most("the least bytes of checkpointed layers", least, bytes)?;
        Ok(Checkpointed { interval: CheckpointInterval::Bytes(bytes), ..self })
    }

    /// Returns the setting of the number of time steps between the states that the layer keeps.
    pub fn interval(&self) -> CheckpointInterval {
        self.interval
    }

    /// Returns the division of a pass over `shape` in `mode` into segments.
    pub(super) fn plan(&self, shape: BatchShape<'_>, mode: Mode) -> Plan {
        match self.interval {
            CheckpointInterval::Bytes(bytes) => self.plan_within(bytes, shape, mode).0,
            CheckpointInterval::Steps(steps) => Plan::new(steps, self.block_rows, shape),
            // ⌈T / ⌊√T⌋⌉ ≤ ⌊√T⌋ + 2.
            CheckpointInterval::SquareRoot => {
                let root = shape.steps.isqrt();
                Plan { slots: root.saturating_add(2), ..Plan::new(root.max(1), self.block_rows, shape) }
            }
        }
    }

    /// Whether this layer's own scratch is part of its saved values, at the end of the slice, in a pass in `mode`.
    /// True under [`CheckpointInterval::Bytes`] in a mode that saves: only the sum of both lengths has a bound that
    /// does not shrink as a batch grows.
    pub(super) fn has_scratch_in_saved(&self, mode: Mode) -> bool {
        matches!(self.interval, CheckpointInterval::Bytes(_)) && mode.saves()
    }

    /// Returns the division into segments, by [`CheckpointInterval::Bytes`] of `bytes`, of a pass over `shape` in
    /// `mode`, and a bound on the number of values that this interval counts. For a larger batch or more time steps
    /// the bound is not smaller.
    fn plan_within(&self, bytes: usize, shape: BatchShape<'_>, mode: Mode) -> (Plan, usize) {
        let plan = |power: u32| Plan::new(1 << power, self.block_rows, shape);
        let values = |power| saturating_sum(self.own_sizes(&plan(power), mode));
        // With the power `last`, or a larger one, there is one segment.
        let last = shape.steps.checked_next_power_of_two().map_or(usize::BITS - 1, usize::ilog2);
        let least = (0..=last).map(values).min().unwrap_or_default();
        let bound = (bytes / size_of::<T>().max(1)).max(least).min(values(last));
        let power = (0..=last).rfind(|&power| values(power) <= bound).unwrap_or_default();
        (plan(power), bound)
    }

    /// Returns all layers, in order, with the `LastStep` at the end.
    fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry<T>> {
        self.layers.iter().chain(&self.last_step)
    }

    /// Returns the number of state values per sample, summed over all layers.
    pub(super) fn state(&self) -> usize {
        saturating_sum(self.layers.iter().flat_map(|entry| entry.states))
    }

    /// Returns two lengths, in values, for the layer `entry` in a segment of `plan`. The first is the length of its
    /// saved values; it is 0 in a `mode` that does not save. The second is that of its outputs, with room for one
    /// time step before the segment.
    pub(super) fn segment_sizes(entry: &Entry<T>, plan: &Plan, mode: Mode) -> [usize; 2] {
        let saved = entry.layer.memory(BatchShape::sequences(1, plan.rows), mode).saved;
        [saved, plan.batch.saturating_add(plan.rows).saturating_mul(entry.kept.dims.output)]
    }

    /// Returns three lengths, in values, for all layers of a pass divided by `plan`: of the states before the segments,
    /// of one segment's saved values and outputs, and of the partial sums of gradients. In a `mode` that does not save,
    /// there is room for one state, and none for sums.
    pub(super) fn lengths_of(&self, plan: &Plan, mode: Mode) -> [usize; 3] {
        let slots = if mode.saves() { plan.slots } else { 1 };
        let states = saturating_product(&[slots, plan.batch, self.state()]);
        let segment = self.layers.iter().flat_map(|entry| Self::segment_sizes(entry, plan, mode));
        let sums = self.layers.iter().map(|entry| Self::sum_buffer(entry, plan));
        [states, saturating_sum(segment), if mode.saves() { saturating_sum(sums) } else { 0 }]
    }

    pub(super) fn sum_buffer(entry: &Entry<T>, plan: &Plan) -> usize {
        let parameters = if entry.is_recurrent() { entry.kept.dims.parameters } else { 0 };
        BlockSum::<T>::buffer_len(parameters, plan.all_steps.div_ceil(entry.block_steps(plan.batch)))
    }

    pub(super) fn widest(&self) -> usize {
        self.layers.iter().map(|entry| entry.kept.dims.output).max().unwrap_or(0)
    }

    /// Returns two lengths, in values, for a pass in `mode` divided by `plan`: of the values kept from segment to
    /// segment, and of the layer's own scratch.
    fn own_sizes(&self, plan: &Plan, mode: Mode) -> [usize; 2] {
        let [states, segment, sums] = self.lengths_of(plan, mode);
        let gradients = saturating_product(&[2, plan.rows, self.widest()]);
        let all_states = saturating_product(&[3, plan.batch, self.state()]);
        [states.saturating_add(segment), saturating_sum([gradients, all_states, sums])]
    }

    /// Returns the length, in values, of the largest scratch of a layer inside, for a pass over `shape` in `mode`
    /// divided by `plan`.
    fn scratch_of_layers(&self, plan: &Plan, shape: BatchShape<'_>, mode: Mode) -> usize {
        let own = |entry: &Entry<T>| match entry.layer.in_segments() {
            Some(layer) => layer.0.scratch(shape, mode),
            None => entry.layer.memory(BatchShape::sequences(1, plan.rows), mode).scratch,
        };
        self.layers.iter().map(own).max().unwrap_or(0)
    }

    /// Returns the lengths that the slices of a pass over `shape` in `mode` must have.
    pub(super) fn lengths(&self, shape: BatchShape<'_>, mode: Mode) -> PassLengths {
        let lengths = PassLengths::new("Checkpointed", self.dims(), &shape, &self.output_shape(shape));
        lengths.memory(self.memory(shape, mode), shape.batch)
    }

    fn answers(&self) -> Result<Answers, LayerRule> {
        let parts = self.entries().map(|entry| entry.kept);
        let answers = Answers::of_parts(self.dims(), self.hints(), [0; 2], parts)?;
        Ok(Answers { keeps_rows: self.last_step.is_none(), ..answers })
    }
}

impl<T: Scalar> Layer<T> for Checkpointed<T> {
    crate::layer::own_box!(Checkpointed);

    fn dims(&self) -> Dims {
        let dims = |entry: Option<&Entry<T>>| entry.map_or(Dims::default(), |entry| entry.kept.dims);
        let parameters = saturating_sum(self.layers.iter().map(|entry| entry.kept.dims.parameters));
        Dims::new(dims(self.layers.first()).input, dims(self.layers.last()).output, parameters)
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        if self.last_step.is_some() { shape.collapsed() } else { shape }
    }

    /// Saved: the states before the segments, and the saved values and outputs of one segment. Scratch: the largest
    /// scratch of the layers, two gradients of a segment, three states of the batch, and the partial sums of dW. If
    /// `mode` does not save, the saved part is scratch, too. If it does, under [`CheckpointInterval::Bytes`], the
    /// scratch except for that of the layers is part of the saved values.
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let (plan, [kept, own]) = match self.interval {
            CheckpointInterval::Bytes(bytes) => {
                let (plan, bound) = self.plan_within(bytes, shape, mode);
                (plan, [bound, 0])
            }
            _ => {
                let plan = self.plan(shape, mode);
                let sizes = self.own_sizes(&plan, mode);
                (plan, sizes)
            }
        };
        let scratch = own.saturating_add(self.scratch_of_layers(&plan, shape, mode));
        match mode.saves() {
            true => MemorySizes::new(kept, scratch, self.state()),
            false => MemorySizes::new(0, scratch.saturating_add(kept), self.state()),
        }
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_y()
    }

    fn structure(&self) -> Structure<'_, T> {
        let whole = Structure::chain().recorded(Recorded::Checked(self.answers()));
        let entries = self.entries().enumerate();
        entries.fold(whole, |whole, (i, entry)| whole.kept_part(i.to_string(), &*entry.layer, entry.kept))
    }

    fn spec(&self) -> LayerSpec {
        let layers = self.entries().map(|entry| entry.layer.spec()).collect();
        LayerSpec::Checkpointed { interval: self.interval, layers }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        self.forward_segments(w, pass);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        self.backward_segments(w, pass);
    }
}
