//! One forward and backward pass through a layer, in memory with guard values.

use crate::{
    batch_shape::BatchShape,
    layer::{
        Backward, BackwardState, Buffers, Context, DropoutKey, Forward, ForwardState, Hints, InPlaceStep, Layer,
        LinkPath, Mode, TrainableMask,
    },
    monitor::{Factor, GradientMonitor, Link},
    scalar::{Scalar, scalar, to_f64},
    testing::caught,
};
use alloc::{format, string::String, vec, vec::Vec};

/// The values given to a pass: parameters `w`, input `x`, initial state, and the gradients of output and final state.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Given<T> {
    pub(in crate::testing) w: Vec<T>,
    pub(in crate::testing) x: Vec<T>,
    /// Initial state; `None` means zero.
    pub(in crate::testing) state: Option<Vec<T>>,
    pub(in crate::testing) dy: Vec<T>,
    /// Gradient with respect to the final state; `None` means zero.
    pub(in crate::testing) d_state: Option<Vec<T>>,
    /// The input of the training passes before this one, which update the buffers; empty for none.
    pub(in crate::testing) earlier: Vec<T>,
}

impl<T: Scalar> Given<T> {
    /// Converts the values to another scalar.
    pub(in crate::testing) fn map<U>(&self, mut convert: impl FnMut(T) -> U) -> Given<U> {
        let mut all = |values: &Vec<T>| values.iter().map(|&value| convert(value)).collect::<Vec<U>>();
        Given {
            w: all(&self.w),
            x: all(&self.x),
            state: self.state.as_ref().map(&mut all),
            dy: all(&self.dy),
            d_state: self.d_state.as_ref().map(&mut all),
            earlier: all(&self.earlier),
        }
    }
}

/// The settings of a test pass: shape and mode, the former content of its memory, and which values are omitted.
#[derive(Clone, Copy, Debug)]
pub(in crate::testing) struct Asked<'a> {
    pub(in crate::testing) shape: BatchShape<'a>,
    pub(in crate::testing) mode: Mode,
    pub(in crate::testing) dropout: DropoutKey,
    /// The value that fills `saved` and `scratch` before the pass.
    pub(in crate::testing) garbage: f64,
    /// The value that fills `y`, `dx` and the states before the pass, which must be overwritten.
    pub(in crate::testing) leftover: f64,
    /// The value that fills `dw` before the pass.
    pub(in crate::testing) gradient: f64,
    /// Whether the layer must overwrite `dw` instead of adding to it.
    pub(in crate::testing) overwrite_dw: bool,
    /// Whether the backward pass gets empty slices for `x` and `y` if the layer's hints say that it does not read them.
    pub(in crate::testing) withheld: bool,
    /// The numbers of leading rows (those of the first time steps, as rows are time-major) that are omitted from `dx`
    /// (first) and `dy` (second).
    pub(in crate::testing) missing: [usize; 2],
    /// Whether the backward pass runs for the two halves of the samples, one after the other.
    pub(in crate::testing) divided: bool,
    /// The learning rate of gradient descent in the backward pass; `None` for a backward pass that updates no
    /// parameter.
    pub(in crate::testing) descends: Option<f64>,
    /// Whether the gradients with respect to input (first) and initial state (second) are requested.
    pub(in crate::testing) optional: [bool; 2],
    /// Whether each parameter block is trainable; empty if all are.
    pub(in crate::testing) trainable: &'a [bool],
    /// Whether a monitor is active.
    pub(in crate::testing) watched: bool,
    /// Whether a forward pass of another input runs between the forward and the backward pass.
    pub(in crate::testing) between: bool,
    /// The number of links (factors of the chain rule) before the layer in its network.
    pub(in crate::testing) place: usize,
    /// Whether a backward pass follows.
    pub(in crate::testing) backward: bool,
    /// Whether the forward pass updates the buffers of the layer, as in training.
    pub(in crate::testing) updates: bool,
}

impl<'a> Asked<'a> {
    pub(in crate::testing) const fn new(shape: BatchShape<'a>) -> Self {
        Asked {
            shape,
            mode: Mode::Train,
            dropout: DropoutKey::new(1, 1),
            garbage: 0.0,
            leftover: 0.0,
            gradient: 0.0,
            overwrite_dw: false,
            withheld: false,
            missing: [0, 0],
            divided: false,
            descends: None,
            optional: [true; 2],
            trainable: &[],
            watched: false,
            between: false,
            place: 0,
            backward: true,
            updates: false,
        }
    }
}

/// The results of a pass: output, final state, the gradients, and the reports that a monitor received.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Results<T> {
    pub(in crate::testing) y: Vec<T>,
    pub(in crate::testing) state: Vec<T>,
    pub(in crate::testing) dx: Vec<T>,
    pub(in crate::testing) d_state: Vec<T>,
    /// The gradient of the parameters; after gradient descent, the parameters.
    pub(in crate::testing) dw: Vec<T>,
    /// All reports to an active monitor, in order; none without one.
    pub(in crate::testing) heard: Vec<Heard<T>>,
    /// The buffers, such as running means, of the layer and its inner layers after the forward pass.
    pub(in crate::testing) buffers: Vec<T>,
}

/// One report of a link (a factor of the chain rule) to a monitor.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Heard<T> {
    /// The index of the link (factor of the chain rule) in the list of the network's link names.
    pub(in crate::testing) link: usize,
    /// Whether the report is of the backward pass.
    pub(in crate::testing) backward: bool,
    pub(in crate::testing) factor: Factor,
    pub(in crate::testing) on_main_path: bool,
    /// Whether this is the last report of the link in this pass. A checkpointed layer reports a pass in several
    /// calls.
    pub(in crate::testing) last: bool,
    /// Whether the link is over time, from step to step.
    pub(in crate::testing) over_time: bool,
    /// For a forward report of an activation φ: the input z whose output y has the largest error |y − φ(z)|/(1 +
    /// |φ(z)|), then this error. `None` for other reports.
    pub(in crate::testing) apart: Option<[f64; 2]>,
    /// The two slices of the report: `x` and `y`, or `dy` and `dx`.
    pub(in crate::testing) values: [Vec<T>; 2],
}

impl<T: Scalar> Heard<T> {
    /// Returns the report in `f64`.
    pub(in crate::testing) fn widened(&self) -> Heard<f64> {
        let &Heard { link, backward, factor, on_main_path, last, over_time, apart, ref values } = self;
        let values = values.each_ref().map(|values| values.iter().map(|&value| to_f64(value)).collect());
        Heard { link, backward, factor, on_main_path, last, over_time, apart, values }
    }
}

impl<T: Scalar> Results<T> {
    /// Returns the name and the values of every result except what the monitor received: output, final state, and the
    /// gradients of input, initial state and parameters.
    #[inline]
    pub(in crate::testing) fn named(&self) -> [(&'static str, &[T]); 5] {
        [
            ("y", &self.y),
            ("final_state", &self.state),
            ("dx", &self.dx),
            ("d_initial_state", &self.d_state),
            ("dw", &self.dw),
        ]
    }
}

impl<T: Scalar> Results<T> {
    /// Formats value `i` of the result named `what` for a message. The text is `nothing` if there is no such value.
    pub(in crate::testing) fn value(&self, what: &str, i: usize) -> String {
        let named = self.named();
        let value = named.iter().find(|(name, _)| *name == what).and_then(|(_, values)| values.get(i));
        value.map_or_else(|| "nothing".into(), |value| format!("{value:?}"))
    }
}

/// The number of guard values on each side of a slice, which detect writes out of bounds.
const MARGIN: usize = 32;
/// The number of training passes that change the buffers before a pass with `earlier` inputs.
const EARLIER: u64 = 4;
/// The guard value: a number that no computation is likely to give.
const GUARD: f64 = -3.141_592e-5;

struct Guarded<T> {
    what: &'static str,
    values: Vec<T>,
}

impl<T: Scalar> Guarded<T> {
    #[inline]
    fn new(what: &'static str, length: usize, content: f64) -> Self {
        let mut values = vec![scalar(GUARD); length + 2 * MARGIN];
        values[MARGIN..MARGIN + length].fill(scalar(content));
        Guarded { what, values }
    }

    #[inline]
    fn slice(&mut self) -> &mut [T] {
        let length = self.values.len();
        &mut self.values[MARGIN..length - MARGIN]
    }

    /// Returns the content between the guard values, or an error text if a guard value has changed.
    #[inline]
    fn open(self) -> Result<Vec<T>, String> {
        let Guarded { what, mut values } = self;
        let after = values.split_off(values.len() - MARGIN);
        let content = values.split_off(MARGIN);
        let guard = scalar::<T>(GUARD);
        let touched = values.iter().chain(&after).any(|&value| value != guard);
        if touched { Err(format!("a write beside `{what}`")) } else { Ok(content) }
    }
}

/// An active monitor that keeps all reports of the forward and the backward pass.
struct ActiveMonitor<T> {
    heard: Vec<Heard<T>>,
}

impl<T: Scalar> ActiveMonitor<T> {
    fn note(&mut self, at: &Link<'_>, backward: bool, values: [&[T]; 2]) {
        let &Link { index: link, factor, on_main_path, parts_after, step, activation, .. } = at;
        // Rounding may move an argument across a jump of φ.
        let beside = 4.0 * to_f64(T::epsilon());
        let off = |(&z, &y): (&T, &T)| {
            let (function, z) = (activation?, to_f64(z));
            let off = |at: f64| (to_f64(y) - function.value_at(at)).abs() / (1.0 + function.value_at(at).abs());
            let off = [z * (1.0 - beside), z, z * (1.0 + beside)].map(off).into_iter().fold(f64::INFINITY, f64::min);
            off.is_finite().then_some([z, off])
        };
        let pairs = values[0].iter().zip(values[1]).filter(|_| !backward);
        let apart = pairs.filter_map(off).max_by(|a, b| a[1].total_cmp(&b[1]));
        let (last, over_time, values) = (parts_after == 0, step.is_some(), values.map(<[T]>::to_vec));
        self.heard.push(Heard { link, backward, factor, on_main_path, last, over_time, apart, values });
    }
}

impl<T: Scalar> GradientMonitor<T> for ActiveMonitor<T> {
    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        self.note(at, false, [x, y]);
    }

    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        self.note(at, true, [dy, dx]);
    }
}

/// Runs a forward pass, and a backward pass if the mode has one and `asked.backward` is set.
///
/// # Errors
/// The name of the slice whose guard values changed, or the text of a panic.
pub(in crate::testing) fn run<T: Scalar>(
    layer: &dyn Layer<T>,
    given: &Given<T>,
    asked: &Asked<'_>,
) -> Result<Results<T>, String> {
    caught(|| pass(layer, given, asked)).and_then(|results| results)
}

fn pass<T: Scalar>(layer: &dyn Layer<T>, given: &Given<T>, asked: &Asked<'_>) -> Result<Results<T>, String> {
    let &Asked {
        shape, mode, dropout, garbage, leftover, gradient, overwrite_dw, optional, trainable, watched, ..
    } = asked;
    let (dims, memory) = (layer.dims(), layer.memory(shape, mode));
    let states = memory.state * shape.batch;
    let mut names = vec![String::new(); asked.place];
    names.extend(layer.structure().link_names("layer"));
    let path = LinkPath::new(&names).part(asked.place);
    let mut monitor: &mut dyn GradientMonitor<T> = &mut ();
    let mut listening = ActiveMonitor { heard: Vec::new() };
    if watched {
        monitor = &mut listening;
    }

    let mut buffers = Buffers::of(layer).map_err(|error| format!("{error}"))?.after(asked.place);
    if !given.earlier.is_empty() && !buffers.values().is_empty() {
        earlier(layer, given, asked, path, &mut buffers)?;
    }

    let mut y = Guarded::new("y", layer.output_shape(shape).rows() * dims.output, leftover);
    let mut saved = Guarded::new("saved", memory.saved, garbage);
    let mut scratch = Guarded::new("scratch", memory.scratch, garbage);
    let mut final_state = Guarded::new("final_state", states, leftover);
    layer.forward(
        &given.w,
        Forward {
            x: &given.x,
            y: y.slice(),
            saved: saved.slice(),
            scratch: scratch.slice(),
            state: ForwardState { initial_state: given.state.as_deref(), final_state: final_state.slice() },
            ctx: Context {
                dropout,
                path,
                buffers: buffers.for_pass(asked.updates),
                ..Context::new(shape, mode, monitor)
            },
        },
    );
    let after = buffers.values().to_vec();
    scratch.open()?;
    let (y, state) = (y.open()?, final_state.open()?);
    if !(mode.saves() && asked.backward) {
        saved.open()?;
        let (dx, d_state, dw) = (Vec::new(), Vec::new(), Vec::new());
        return Ok(Results { y, state, dx, d_state, dw, heard: listening.heard, buffers: after });
    }

    if asked.between {
        let other = Given { x: given.x.iter().rev().copied().collect(), ..given.clone() };
        pass(layer, &other, &Asked { between: false, backward: false, ..*asked })?;
    }
    let hints = if asked.withheld { layer.hints() } else { Hints::NONE };
    let x = if hints.ignores_x { &[] } else { &given.x[..] };
    let y_read = if hints.ignores_y { &[] } else { &y[..] };
    let mut scratch = Guarded::new("scratch", memory.scratch, garbage);
    let inputs = given.x.len() - asked.missing[0] * dims.input;
    let mut dx = Guarded::new("dx", if optional[0] { inputs } else { 0 }, leftover);
    let mut d_initial_state = Guarded::new("d_initial_state", if optional[1] { states } else { 0 }, leftover);
    let mut dw = Guarded::new("dw", dims.parameters, gradient);
    let backward = Backward {
        x,
        y: y_read,
        dy: &given.dy[asked.missing[1] * dims.output..],
        dx: optional[0].then_some(dx.slice()),
        dw: dw.slice(),
        saved: saved.slice(),
        scratch: scratch.slice(),
        state: BackwardState {
            initial_state: given.state.as_deref(),
            d_final_state: given.d_state.as_deref(),
            d_initial_state: optional[1].then_some(d_initial_state.slice()),
        },
        overwrite_dw,
        trainable: TrainableMask::new(trainable),
        ctx: Context { dropout, path, buffers: buffers.for_pass(false), ..Context::new(shape, mode, monitor) },
    };
    let mut w = Guarded::new("w", dims.parameters, 0.0);
    w.slice().copy_from_slice(&given.w);
    match asked.descends {
        Some(rate) => layer.backward_in_place(w.slice(), InPlaceStep::plain(scalar(rate)), backward),
        None if asked.divided => {
            let Backward { x, y, dy, mut dx, dw, saved, scratch, mut ctx, .. } = backward;
            for own in [0..shape.batch / 2, shape.batch / 2..shape.batch] {
                let part = |all: usize| all / shape.batch * own.start..all / shape.batch * own.end;
                let dx = dx.as_deref_mut().map(|dx| &mut dx[part(given.x.len())]);
                let (x, y, dy) = (&x[part(x.len())], &y[part(y.len())], &dy[part(dy.len())]);
                let (rows, saved) = (BatchShape::batch(own.len()), &mut saved[part(memory.saved)]);
                let ctx = Context { shape: rows, dropout: dropout.later(own.start), ..ctx.part(0) };
                layer.backward(w.slice(), Backward::new(x, y, dy, dx, dw, saved, scratch, ctx));
            }
        }
        None => layer.backward(w.slice(), backward),
    }
    saved.open()?;
    scratch.open()?;
    let (dw, w) = (dw.open()?, w.open()?);
    let dw = if asked.descends.is_some() { w } else { dw };
    let (dx, d_state) = (dx.open()?, d_initial_state.open()?);
    Ok(Results { y, state, dx, d_state, dw, heard: listening.heard, buffers: after })
}

/// Runs [`EARLIER`] forward training passes on the input `given.earlier`, which update the `buffers`. Parameters and
/// input have tangents of 0 in them, since buffers are constants in a later pass.
fn earlier<T: Scalar>(
    layer: &dyn Layer<T>,
    given: &Given<T>,
    asked: &Asked<'_>,
    path: LinkPath<'_>,
    buffers: &mut Buffers<T>,
) -> Result<(), String> {
    let constant = |values: &[T]| values.iter().map(|&value| scalar(to_f64(value))).collect::<Vec<T>>();
    let (shape, mode) = (asked.shape, Mode::Train);
    let (dims, memory) = (layer.dims(), layer.memory(shape, mode));
    let (w, x) = (constant(&given.w), constant(&given.earlier));
    let [mut y, mut saved, mut scratch, mut state] =
        [layer.output_shape(shape).rows() * dims.output, memory.saved, memory.scratch, memory.state * shape.batch]
            .map(|length| vec![T::zero(); length]);
    for pass in 0..EARLIER {
        let (dropout, mut monitor) = (DropoutKey::new(2, pass), ());
        let ctx = Context { dropout, path, buffers: buffers.for_pass(true), ..Context::new(shape, mode, &mut monitor) };
        let state = ForwardState { initial_state: None, final_state: &mut state };
        layer.forward(&w, Forward { x: &x, y: &mut y, saved: &mut saved, scratch: &mut scratch, state, ctx });
    }
    Ok(())
}
