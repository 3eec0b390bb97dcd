//! The bidirectional layer: each sequence is read from both ends.

use super::reversed::{Reversed, check_shape_after, reversed};
use crate::{
    batch_shape::BatchShape,
    error::{Error, LayerRule, require},
    layer::{
        Answers, Backward, BackwardState, Dims, Forward, ForwardState, Hints, Layer, LayerSpec, MemorySizes, Mode,
        Parameters, PassLengths, Recorded, Structure,
    },
    linalg::Upper,
    monitor::Factor,
    scalar::Scalar,
    size::{saturating_product, saturating_sum},
    slices::cut,
};
use alloc::boxed::Box;
use core::fmt;

/// Two layers that read the same sequence from opposite ends, their outputs concatenated.
///
/// `y_t = [forward(x)_t, reversed backward(x)_t]`. Source: Schuster & Paliwal 1997.
///
/// ```
/// use chainrule::{Layer, layer::Sequential, recurrent::Lstm};
/// let network = Sequential::<f32>::input(3).bidirectional(5, Lstm::new()).linear(1).build()?;
/// assert_eq!(network.dims().input, 3); // inside, rows have 10 values: 5 of each direction
/// // One row a sequence: the last step of each direction.
/// let summary = Sequential::<f32>::input(3).bidirectional_summary(5, Lstm::new()).build()?;
/// assert_eq!(summary.dims().output, 10);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x: \[rows, input\]; y: \[rows, forward's output + backward's output\]; state: forward's, then backward's.
#[derive(Clone, PartialEq)]
pub struct Bidirectional<F, B> {
    forward: F,
    backward: Reversed<B>,
    /// The results of the descriptive methods, such as [`Layer::hints`], of the two directions, cached at construction:
    /// of the forward direction, then of the reversed backward direction.
    kept: [Answers; 2],
}

/// Formats the layer as its forward and its backward direction.
impl<F: fmt::Debug, B: fmt::Debug> fmt::Debug for Bidirectional<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (forward, backward) = (&self.forward, &self.backward.layer);
        f.debug_struct("Bidirectional").field("forward", forward).field("backward", backward).finish()
    }
}

impl<F, B> Bidirectional<F, B> {
    /// Creates a layer in which `forward` reads the sequence from the start and `backward` reads it from the end.
    ///
    /// # Errors
    /// [`Error::WidthMismatch`] where the two layers take different input widths; [`Error::Parameter`] where a layer
    /// has an output width of 0; [`Error::IncompatibleLayer`] where their outputs have different numbers of rows.
    /// [`Error::InvalidLayer`] where a layer breaks a rule, or is nested more than
    /// [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep.
    pub fn new<T: Scalar>(forward: F, backward: B) -> Result<Self, Error>
    where
        F: Layer<T>,
        B: Layer<T>,
    {
        let checked = |kept: Result<Answers, LayerRule>, path: &str| {
            kept.and_then(|kept| Answers::above(kept.depth).map(|_| kept)).map_err(|rule| rule.at(path))
        };
        let mut kept = [checked(Answers::of(&forward), "forward")?, checked(Answers::of(&backward), "backward")?];
        let backward = Reversed::of(backward, kept[1]);
        kept[1] = reversed(kept[1]).map_err(|rule| rule.at("backward"))?;
        // The `Reversed` inside does not count as a level of nesting, nor does it in a layer specification.
        kept[1].depth -= 1;
        let [expected, found] = kept.map(|kept| kept.dims.input);
        if expected != found {
            let [layer, before] = ["the forward direction", "the backward direction reads"].map(Into::into);
            return Err(Error::WidthMismatch { layer, before, expected, found });
        }
        let narrowest = kept[0].dims.output.min(kept[1].dims.output);
        require(narrowest > 0, "the width of a direction", "at least 1", 0.0)?;
        let probe = BatchShape::sequences(2, 3);
        if kept[0].keeps_rows != kept[1].keeps_rows || forward.output_shape(probe) != backward.output_shape(probe) {
            return Err(Error::IncompatibleLayer {
                what: "a bidirectional layer",
                needs: "two layers that give the same rows",
            });
        }
        Ok(Bidirectional { forward, backward, kept })
    }
}

/// The index, within the layer, of the first link (factor of the chain rule) of the forward direction. Link 0 is the
/// whole layer; the links of the backward direction come last.
const FORWARD_LINK: usize = 1;

/// The numbers of values that the two directions need in a pass. Each array has the number of the forward direction
/// first.
struct Parts {
    /// The numbers of output values per row: of the forward direction, then of the backward direction.
    widths: [usize; 2],
    /// The numbers of output values for all rows: of the forward direction, then of the backward direction.
    outs: [usize; 2],
    /// The numbers of values saved for the backward pass: by the forward direction, then by the backward direction.
    saved: [usize; 2],
    /// The numbers of state values of all samples: of the forward direction, then of the backward direction.
    states: [usize; 2],
    /// The length, in values, of the scratch that both directions use in turn: the larger of their two.
    scratch: usize,
    /// State values per sample, of both directions together.
    state: usize,
    /// The number of parameters of the forward direction.
    parameters: usize,
}

impl<F, B> Bidirectional<F, B> {
    /// Returns the numbers of values (outputs, saved values, states, scratch) of each direction in a pass over `shape`
    /// in `mode`. `after` is the output shape of the forward direction.
    fn parts<T: Scalar>(&self, shape: BatchShape<'_>, after: BatchShape<'_>, mode: Mode) -> Parts
    where
        F: Layer<T>,
        B: Layer<T>,
    {
        let (memory, others) = (self.forward.memory(shape, mode), self.backward.memory(shape, mode));
        let (rows, widths) = (after.rows(), self.kept.map(|kept| kept.dims.output));
        Parts {
            widths,
            outs: widths.map(|width| rows.saturating_mul(width)),
            saved: [memory.saved, others.saved],
            states: [memory, others].map(|memory| memory.state.saturating_mul(shape.batch)),
            scratch: memory.scratch.max(others.scratch),
            state: memory.state.saturating_add(others.state),
            parameters: self.kept[0].dims.parameters,
        }
    }

    fn backward_link(&self) -> usize {
        FORWARD_LINK + self.kept[0].links
    }

    /// Returns the numbers of values of each direction in a pass over `shape` in `mode`, and the lengths that the
    /// slices of the pass must have. `after` is the output shape of the forward direction. The least length of the
    /// scratch is that of the two outputs alone, since each direction checks its own scratch.
    fn sizes_of_pass<T: Scalar>(&self, shape: BatchShape<'_>, after: BatchShape<'_>, mode: Mode) -> (Parts, PassLengths)
    where
        F: Layer<T>,
        B: Layer<T>,
    {
        let parts = self.parts(shape, after, mode);
        let Parts { outs: [a, b], saved: [first, second], state, .. } = parts;
        let saved = if mode.saves() { saturating_sum([first, second, a, b]) } else { 0 };
        let lengths = PassLengths::new("Bidirectional", Layer::<T>::dims(self), &shape, &after);
        (parts, lengths.memory(MemorySizes::new(saved, a.saturating_add(b), state), shape.batch))
    }

    /// Panics unless both directions have the same output shape for an input of `shape`, with as many samples as the
    /// input. `after` is the output shape of the forward direction.
    fn check_rows<T: Scalar>(&self, shape: BatchShape<'_>, after: BatchShape<'_>)
    where
        B: Layer<T>,
    {
        check_shape_after("the forward direction of Bidirectional", shape, after);
        let same = self.backward.output_shape(shape) == after;
        assert!(same, "the directions of Bidirectional must give the same rows in every pass");
    }
}

impl<F, B> Bidirectional<F, B> {
    /// Returns the results of the descriptive methods, such as [`Layer::hints`], of the bidirectional layer, from those
    /// of the two directions. Refuses a layer that is nested too deep.
    fn answers<T: Scalar>(&self) -> Result<Answers, LayerRule>
    where
        F: Layer<T>,
        B: Layer<T>,
    {
        let (dims, hints) = (Layer::<T>::dims(self), Layer::<T>::hints(self));
        let answers = Answers::of_parts(dims, hints, [0, FORWARD_LINK], self.kept.into_iter())?;
        Ok(Answers { reads_later_steps: true, ..answers })
    }
}

impl<T: Scalar, F: Layer<T>, B: Layer<T>> Layer<T> for Bidirectional<F, B> {
    fn dims(&self) -> Dims {
        let [first, second] = self.kept.map(|kept| kept.dims);
        let sum = usize::saturating_add;
        Dims::new(first.input, sum(first.output, second.output), sum(first.parameters, second.parameters))
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        self.forward.output_shape(shape)
    }

    /// Saved: the saved values and outputs of both directions. Scratch: the larger scratch of the two, both outputs (or
    /// the gradients with respect to them), and one gradient of the input.
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let parts = self.parts(shape, self.forward.output_shape(shape), mode);
        let Parts { outs: [a, b], saved: [first, second], scratch, state, .. } = parts;
        let input = saturating_product(&[shape.rows(), self.kept[0].dims.input]);
        let saved = if mode.saves() { saturating_sum([first, second, a, b]) } else { 0 };
        MemorySizes::new(saved, saturating_sum([scratch, a, b, input]), state)
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_y().overwrites_dw()
    }

    fn reads_later_steps(&self) -> bool {
        true
    }

    fn structure(&self) -> Structure<'_, T> {
        let whole = Structure::branches().recorded(Recorded::Checked(self.answers::<T>()));
        let whole = whole.kept_part("forward", &self.forward, self.kept[0]);
        whole.kept_part("backward", &self.backward, self.kept[1])
    }

    /// Returns `√(f² + b²)`, where f and b are upper bounds on the 2-norms of the Jacobians of the forward and the
    /// backward direction, whose outputs are concatenated. `None` if a direction has no bound, or `w` is too short.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        let (first, second) = w.split_at_checked(self.kept[0].dims.parameters)?;
        let first = Upper::of(self.forward.gain_bound(first, shape)?);
        let second = Upper::of(self.backward.gain_bound(second, shape)?);
        Some((first * first + second * second).sqrt().get())
    }

    fn spec(&self) -> LayerSpec {
        let [forward, backward] = [self.forward.spec(), self.backward.layer.spec()].map(Box::new);
        LayerSpec::Bidirectional { forward, backward }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let after = self.forward.output_shape(pass.ctx.shape);
        let (parts, lengths) = self.sizes_of_pass(pass.ctx.shape, after, pass.ctx.mode);
        lengths.forward(w, &pass);
        self.check_rows(pass.ctx.shape, after);
        let Parts { widths, outs, saved: sizes, states, parameters, .. } = parts;
        let Forward { x, y, saved, scratch, state, mut ctx } = pass;
        let (first_w, second_w) = w.split_at(parameters);
        let (first_state, second_state) = split_option(state.initial_state, states[0]);
        let (first_end, second_end) = state.final_state.split_at_mut(states[0]);
        let (first_saved, rest) = saved.split_at_mut(sizes[0]);
        let (second_saved, kept) = rest.split_at_mut(sizes[1]);
        let (spare, scratch) = scratch.split_at_mut(outs[0] + outs[1]);
        let both = if ctx.mode.saves() { kept } else { spare };
        let (first, second) = both.split_at_mut(outs[0]);
        self.forward.forward(
            first_w,
            Forward {
                x,
                y: first,
                saved: first_saved,
                scratch,
                state: ForwardState { initial_state: first_state, final_state: first_end },
                ctx: ctx.branch(FORWARD_LINK),
            },
        );
        self.backward.forward(
            second_w,
            Forward {
                x,
                y: second,
                saved: second_saved,
                scratch,
                state: ForwardState { initial_state: second_state, final_state: second_end },
                ctx: ctx.branch(self.backward_link()),
            },
        );
        let parts = first.chunks(widths[0]).zip(second.chunks(widths[1]));
        for (y, (first, second)) in y.chunks_mut(widths[0] + widths[1]).zip(parts) {
            y[..widths[0]].copy_from_slice(first);
            y[widths[0]..].copy_from_slice(second);
        }
        ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let after = self.forward.output_shape(pass.ctx.shape);
        let (parts, lengths) = self.sizes_of_pass(pass.ctx.shape, after, pass.ctx.mode.saving());
        lengths.backward(|| Layer::<T>::hints(self), w, &pass);
        self.check_rows(pass.ctx.shape, after);
        let Parts { widths, outs, saved: sizes, states, parameters, .. } = parts;
        let Backward { x, dy, mut dx, dw, saved, scratch, state, overwrite_dw, trainable, mut ctx, .. } = pass;
        let (first_w, second_w) = w.split_at(parameters);
        let (first_dw, second_dw) = dw.split_at_mut(parameters);
        let (first_state, second_state) = split_option(state.initial_state, states[0]);
        let (first_end, second_end) = split_option(state.d_final_state, states[0]);
        let (first_start, second_start) = match state.d_initial_state {
            Some(gradient) => {
                let (first, second) = gradient.split_at_mut(states[0]);
                (Some(first), Some(second))
            }
            None => (None, None),
        };
        let (first_saved, rest) = saved.split_at_mut(sizes[0]);
        let (second_saved, kept) = rest.split_at_mut(sizes[1]);
        let (first_y, second_y) = kept.split_at_mut(outs[0]);
        let (first_dy, scratch) = scratch.split_at_mut(outs[0]);
        let (second_dy, mut scratch) = scratch.split_at_mut(outs[1]);
        let other_dx = cut("`scratch` of Bidirectional", &mut scratch, x.len());
        let parts = first_dy.chunks_mut(widths[0]).zip(second_dy.chunks_mut(widths[1]));
        for (dy, (first, second)) in dy.chunks(widths[0] + widths[1]).zip(parts) {
            first.copy_from_slice(&dy[..widths[0]]);
            second.copy_from_slice(&dy[widths[0]..]);
        }
        Parameters::Stay(first_w).backward(
            &self.forward,
            Backward {
                x,
                y: first_y,
                dy: first_dy,
                dx: dx.as_deref_mut(),
                dw: first_dw,
                saved: first_saved,
                scratch,
                state: BackwardState {
                    initial_state: first_state,
                    d_final_state: first_end,
                    d_initial_state: first_start,
                },
                overwrite_dw,
                trainable,
                ctx: ctx.branch(FORWARD_LINK),
            },
        );
        Parameters::Stay(second_w).backward(
            &self.backward,
            Backward {
                x,
                y: second_y,
                dy: second_dy,
                dx: dx.is_some().then_some(&mut *other_dx),
                dw: second_dw,
                saved: second_saved,
                scratch,
                state: BackwardState {
                    initial_state: second_state,
                    d_final_state: second_end,
                    d_initial_state: second_start,
                },
                overwrite_dw,
                trainable: trainable.part(self.kept[0].blocks),
                ctx: ctx.branch(self.backward_link()),
            },
        );
        if let Some(dx) = dx {
            dx.iter_mut().zip(&*other_dx).for_each(|(dx, &other)| *dx += other);
            ctx.report_backward(Factor::Other, dy, dx);
        }
    }
}

fn split_option<T>(state: Option<&[T]>, at: usize) -> (Option<&[T]>, Option<&[T]>) {
    match state.map(|state| state.split_at(at)) {
        Some((first, second)) => (Some(first), Some(second)),
        None => (None, None),
    }
}
