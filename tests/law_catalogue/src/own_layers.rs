//! Layers of other sorts than an affine map: with a state, over time, over samples, convolutions, pools, products.

use crate::{Entry, Verdict};
use chainrule::{
    BatchShape, Block, Error, Layer, Mode, Role, Scalar,
    layer::{Backward, Dims, Forward, MemorySizes, Samples},
    monitor::Factor,
    rand_core::Rng,
    random::uniform,
    scalar,
    testing::{Law, Layers, layer_laws},
    to_f64,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// A map of each row by itself; `wrong` is a mistake in its gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// y_i = Σ_k w_k x_(i+k), around the end.
    Convolution,
    /// y_i = max(x_2i, x_2i+1).
    MaxPool,
    /// y_i = (x_2i + x_2i+1)/2.
    MeanPool,
    /// y = g v ⊙ x / ‖v‖.
    WeightNormalized,
    /// y = [x, x²].
    WithSquares,
    /// y_i = x_i x_(i+1), around the end.
    Products,
    /// y_i = Σ_(j ≤ i) x_j.
    Cumulative,
    /// y = s x, with one s for all.
    OneScale,
    /// y = x/√(1 + ‖x‖²).
    Bounded,
    /// y_i = a tanh(x_i / a) for a > 0 of each column.
    Saturating,
}

use Form::*;

const WIDTH: usize = 4;

#[derive(Clone, Copy, Debug)]
struct ByRow {
    form: Form,
    wrong: u8,
}

impl ByRow {
    fn output(self) -> usize {
        match self.form {
            MaxPool | MeanPool => WIDTH / 2,
            WithSquares => 2 * WIDTH,
            _ => WIDTH,
        }
    }

    fn parameters(self) -> usize {
        match self.form {
            Convolution => 3,
            WeightNormalized => WIDTH + 1,
            OneScale => 1,
            Saturating => WIDTH,
            _ => 0,
        }
    }

    fn forward<T: Scalar>(self, w: &[T], x: &[T], y: &mut [T]) {
        let square = |v: &[T]| v.iter().fold(T::zero(), |sum, &v| sum + v * v);
        for i in 0..y.len() {
            y[i] = match self.form {
                Convolution => (0..3).fold(T::zero(), |sum, k| sum + w[k] * x[(i + k) % WIDTH]),
                MaxPool => x[2 * i].max(x[2 * i + 1]),
                MeanPool => (x[2 * i] + x[2 * i + 1]) * scalar(0.5),
                WeightNormalized => w[WIDTH] * w[i] * x[i] / square(&w[..WIDTH]).sqrt(),
                WithSquares if i < WIDTH => x[i],
                WithSquares => x[i - WIDTH] * x[i - WIDTH],
                Products => x[i] * x[(i + 1) % WIDTH],
                Cumulative => x[..=i].iter().fold(T::zero(), |sum, &x| sum + x),
                OneScale => w[0] * x[i],
                Bounded => x[i] / (T::one() + square(x)).sqrt(),
                Saturating => w[i] * (x[i] / w[i]).tanh(),
            };
        }
    }

    /// Writes `dx` and adds to `dw`.
    fn backward<T: Scalar>(self, w: &[T], x: &[T], dy: &[T], dx: &mut [T], dw: &mut [T]) {
        let (zero, one) = (T::zero(), T::one());
        let dot = |a: &[T], b: &[T]| a.iter().zip(b).fold(zero, |sum, (&a, &b)| sum + a * b);
        let wrong = self.wrong;
        if !(wrong == 9) {
            dx.fill(zero);
        }
        match self.form {
            Convolution => {
                for i in 0..WIDTH {
                    for k in 0..3 {
                        let at = match wrong {
                            // The kernel is not turned round; the end is padded with zeros.
                            1 => (i + WIDTH - k) % WIDTH,
                            _ => (i + k) % WIDTH,
                        };
                        if !(wrong == 2 && i + k >= WIDTH) {
                            dx[at] += w[k] * dy[i];
                        }
                        // Only what does not wrap.
                        if !(wrong == 3 && i + k >= WIDTH) {
                            dw[k] += dy[i] * x[(i + k) % WIDTH];
                        }
                    }
                }
            }
            MaxPool => {
                for (i, &dy) in dy.iter().enumerate() {
                    let second = x[2 * i + 1] > x[2 * i];
                    match wrong {
                        1 => (dx[2 * i], dx[2 * i + 1]) = (dy, dy),
                        2 => dx[2 * i] = dy,
                        // All that are largest get the whole gradient.
                        3 if x[2 * i] == x[2 * i + 1] => (dx[2 * i], dx[2 * i + 1]) = (dy, dy),
                        _ => dx[2 * i + usize::from(second)] = dy,
                    }
                }
            }
            MeanPool => {
                for i in 0..WIDTH {
                    dx[i] = dy[i / 2] * scalar(if wrong == 1 { 1.0 } else { 0.5 });
                }
            }
            WeightNormalized => {
                let v = &w[..WIDTH];
                let (norm, g) = (dot(v, v).sqrt(), w[WIDTH]);
                let scaled: Vec<T> = dy.iter().zip(x).map(|(&dy, &x)| dy * x).collect();
                let along = dot(&scaled, v) / (norm * norm);
                for i in 0..WIDTH {
                    dx[i] = g * v[i] / norm * dy[i];
                    // The norm taken for a constant.
                    let through = if wrong == 1 { zero } else { along * v[i] };
                    dw[i] += g / norm * (scaled[i] - through);
                }
                dw[WIDTH] += dot(&scaled, v) / if wrong == 2 { one } else { norm };
            }
            WithSquares => {
                for i in 0..WIDTH {
                    let slope = if wrong == 1 { x[i] } else { x[i] + x[i] };
                    dx[i] = if wrong == 2 { dy[WIDTH + i] * slope } else { dy[i] + dy[WIDTH + i] * slope };
                }
            }
            Products => {
                for i in 0..WIDTH {
                    let (next, before) = ((i + 1) % WIDTH, (i + WIDTH - 1) % WIDTH);
                    dx[i] = dy[i] * x[next] + if wrong == 1 { zero } else { dy[before] * x[before] };
                }
            }
            Cumulative => {
                for i in 0..WIDTH {
                    // The sum in the same direction.
                    let seen = if wrong == 1 { &dy[..=i] } else { &dy[i..] };
                    dx[i] = seen.iter().fold(zero, |sum, &dy| sum + dy);
                }
            }
            OneScale => {
                for i in 0..WIDTH {
                    dx[i] = w[0] * dy[i];
                    if !(wrong == 1 && i + 1 == WIDTH) {
                        dw[0] += dy[i] * x[i];
                    }
                    if wrong == 2 {
                        dw[0] = dy[i] * x[i];
                    }
                }
            }
            Bounded => {
                let inverse = (one + dot(x, x)).sqrt().recip();
                let along = dot(x, dy) * inverse * inverse * inverse;
                for i in 0..WIDTH {
                    dx[i] = dy[i] * inverse - if wrong == 1 { zero } else { along * x[i] };
                }
            }
            Saturating => {
                for i in 0..WIDTH {
                    let y = (x[i] / w[i]).tanh();
                    let slope = if x[i].is_infinite() { zero } else { (x[i] / w[i]).cosh().recip() };
                    let slope = slope * slope;
                    dx[i] = dy[i] * if wrong == 1 { one - y } else { slope };
                    dw[i] += dy[i] * if wrong == 2 { y } else { y - x[i] / w[i] * slope };
                }
            }
        }
    }
}

impl<T: Scalar> Layer<T> for ByRow {
    fn dims(&self) -> Dims {
        Dims::new(WIDTH, self.output(), self.parameters())
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        match self.form {
            WeightNormalized => {
                visit(Block::new("direction", 0, [WIDTH, 1], Role::Gain));
                visit(Block::new("length", WIDTH, [1, 1], Role::Gain));
            }
            _ if self.parameters() > 0 => visit(Block::new("weight", 0, [self.parameters(), 1], Role::Gain)),
            _ => {}
        }
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        w.iter_mut().for_each(|w| *w = scalar(0.5 + uniform(rng)));
        Ok(())
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        for (x, y) in pass.x.chunks(WIDTH).zip(pass.y.chunks_mut(self.output())) {
            ByRow::forward(*self, w, x, y);
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { x, dy, mut dx, dw, .. } = pass;
        let mut own = [T::zero(); WIDTH];
        for (i, (x, dy)) in x.chunks(WIDTH).zip(dy.chunks(self.output())).enumerate() {
            let row = dx.as_deref_mut().map_or(&mut own[..], |dx| &mut dx[i * WIDTH..][..WIDTH]);
            ByRow::backward(*self, w, x, dy, row, dw);
        }
        if let Some(dx) = dx {
            pass.ctx.report_backward(Factor::Other, dy, dx);
        }
    }
}

/// What relates the rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Across {
    /// y_t = x_t − the mean of the sequence; said to read later steps.
    CentredInTime,
    /// y_t = (x_t + x_(t−1))/2 within a sequence.
    Smoothed,
    /// y = x − the mean of the batch; said to couple the samples.
    CentredInBatch,
    // Wrong.
    LaterStepsNotSaid,
    CentredWithEndedSamples,
    CentredWithoutItsGradient,
    SmoothedOverSamples,
    SmoothedForgetsTheNext,
    CoupledNotSaid,
    NeighbourOfTheBatch,
}

use Across::*;

/// Step and sample.
type Row = (usize, usize);

impl Across {
    /// The weight, with so many rows of a step, of row `j` in the output at row `i`.
    fn weight(self, shape: BatchShape<'_>, live: f64, i: Row, j: Row, backward: bool) -> f64 {
        let own = f64::from(u8::from(i == j));
        let ((step, sample), (other_step, other)) = (i, j);
        let length = shape.length(sample) as f64;
        match self {
            CentredWithoutItsGradient if backward => own,
            CentredInTime | LaterStepsNotSaid | CentredWithoutItsGradient => {
                own - if sample == other { 1.0 / length } else { 0.0 }
            }
            // As if all samples had as many steps as the longest.
            CentredWithEndedSamples => own - if sample == other { 1.0 / shape.steps as f64 } else { 0.0 },
            SmoothedForgetsTheNext if backward => 0.5 * own,
            Smoothed | SmoothedForgetsTheNext => {
                let before = sample == other && step == other_step + 1;
                0.5 * own + if before { 0.5 } else { 0.0 }
            }
            SmoothedOverSamples => {
                let before = step == other_step && sample == other + 1;
                0.5 * own + if before { 0.5 } else { 0.0 }
            }
            CentredInBatch | CoupledNotSaid => own - if step == other_step { 1.0 / live } else { 0.0 },
            NeighbourOfTheBatch => own + if step == other_step && other == 0 { 0.1 } else { 0.0 },
        }
    }

    fn apply<T: Scalar>(self, shape: BatchShape<'_>, backward: bool, x: &[T], y: &mut [T]) {
        let at = |step: usize| (0..shape.batch).filter(move |&s| step < shape.length(s)).map(move |s| (step, s));
        let rows: Vec<Row> = (0..shape.steps).flat_map(at).collect();
        y.fill(T::zero());
        for (i, &row) in rows.iter().enumerate() {
            let live = rows.iter().filter(|other| other.0 == row.0).count() as f64;
            for (j, &other) in rows.iter().enumerate() {
                let (to, from) = if backward { (other, row) } else { (row, other) };
                let weight = self.weight(shape, live, to, from, backward);
                if weight != 0.0 {
                    for k in 0..2 {
                        y[2 * i + k] += scalar::<T>(weight) * x[2 * j + k];
                    }
                }
            }
        }
    }
}

impl<T: Scalar> Layer<T> for Across {
    fn dims(&self) -> Dims {
        Dims::new(2, 2, 0)
    }
    fn samples(&self) -> Samples {
        if *self == CentredInBatch { Samples::Coupled } else { Samples::Independent }
    }
    fn reads_later_steps(&self) -> bool {
        matches!(self, CentredInTime | CentredWithEndedSamples | CentredWithoutItsGradient)
    }
    fn forward(&self, _: &[T], pass: Forward<'_, T>) {
        self.apply(pass.ctx.shape, false, pass.x, pass.y);
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }
    fn backward(&self, _: &[T], pass: Backward<'_, T>) {
        if let Some(dx) = pass.dx {
            self.apply(pass.ctx.shape, true, pass.dy, dx);
            pass.ctx.report_backward(Factor::Other, pass.dy, dx);
        }
    }
}

/// `h_t = a ⊙ h_{t−1} + W x_t + b`: a state, and one number of decay a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaky {
    Right,
    FinalGradientLeftOut,
    InitialStateForgottenBackward,
    InitialStateIgnored,
    InitialGradientNotWritten,
    FinalStateOfEndedIsZero,
    FinalStateOnlyAfterTwoSteps,
    FinalStateMissingInInference,
    OnlyTheLastStepLearns,
    TruncatedAtFourSteps,
    FirstStepWithoutBias,
    CountsSteps,
    NothingIsOne,
    DecayGradientOfNewState,
    DecayGradientAssigned,
    KeepsItsState,
    StateOfSampleZero,
    FirstValuesOfOwnCounter,
    FirstValuesNotNumbers,
    FirstValuesOfTheFormat,
}

const INPUTS: usize = 3;
const UNITS: usize = 2;
static KEPT: AtomicU64 = AtomicU64::new(0);
static FILLS: AtomicU64 = AtomicU64::new(0);

impl<T: Scalar> Layer<T> for Leaky {
    fn dims(&self) -> Dims {
        Dims::new(INPUTS, UNITS, UNITS * INPUTS + 2 * UNITS)
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("weight", 0, [UNITS, INPUTS], Role::Weight));
        visit(Block::new("bias", UNITS * INPUTS, [UNITS, 1], Role::Bias));
        visit(Block::new("decay", UNITS * INPUTS + UNITS, [UNITS, 1], Role::Gain));
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        w.iter_mut().for_each(|w| *w = scalar(uniform(rng) - 0.5));
        match self {
            Leaky::FirstValuesOfOwnCounter => w[0] += scalar(1e-6 * FILLS.fetch_add(1, Ordering::Relaxed) as f64),
            Leaky::FirstValuesNotNumbers => w[1] = T::zero() / T::zero(),
            // A generator of floats draws other bits for each format.
            Leaky::FirstValuesOfTheFormat if T::epsilon() > scalar(1e-10) => w.reverse(),
            _ => {}
        }
        Ok(())
    }

    fn memory(&self, _: BatchShape<'_>, _: Mode) -> MemorySizes {
        MemorySizes::new(0, 0, UNITS)
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let (shape, mode) = (pass.ctx.shape, pass.ctx.mode);
        let Forward { x, y, state, .. } = pass;
        let (weight, rest) = w.split_at(UNITS * INPUTS);
        let (bias, decay) = rest.split_at(UNITS);
        for sample in 0..shape.batch {
            for unit in 0..UNITS {
                let from = if *self == Leaky::StateOfSampleZero { 0 } else { sample };
                let nothing = if *self == Leaky::NothingIsOne { T::one() } else { T::zero() };
                let mut h = state.initial_state.map_or(nothing, |initial| initial[from * UNITS + unit]);
                if *self == Leaky::InitialStateIgnored {
                    h = T::zero();
                }
                if *self == Leaky::KeepsItsState {
                    h += scalar(1e-3 * f64::from_bits(KEPT.load(Ordering::Relaxed)));
                }
                for step in 0..shape.length(sample) {
                    let row = shape.row(step, sample);
                    let x = &x[row * INPUTS..][..INPUTS];
                    let product = x.iter().zip(&weight[unit * INPUTS..]).fold(T::zero(), |sum, (&x, &w)| sum + x * w);
                    let mut bias = bias[unit];
                    if *self == Leaky::FirstStepWithoutBias && step == 0 {
                        bias = T::zero();
                    }
                    if *self == Leaky::CountsSteps {
                        bias += scalar(0.01 * step as f64);
                    }
                    h = decay[unit] * h + product + bias;
                    y[row * UNITS + unit] = h;
                }
                if *self == Leaky::FinalStateOfEndedIsZero && shape.length(sample) < shape.steps {
                    h = T::zero();
                }
                let writes = !(*self == Leaky::FinalStateOnlyAfterTwoSteps && shape.steps < 2)
                    && !(*self == Leaky::FinalStateMissingInInference && mode == Mode::Infer);
                if writes {
                    state.final_state[sample * UNITS + unit] = h;
                }
                if *self == Leaky::KeepsItsState {
                    KEPT.store(to_f64(h).to_bits(), Ordering::Relaxed);
                }
            }
        }
        pass.ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let shape = pass.ctx.shape;
        let Backward { x, y, dy, mut dx, dw, state, .. } = pass;
        let (weight, rest) = w.split_at(UNITS * INPUTS);
        let decay = &rest[UNITS..];
        if let Some(dx) = dx.as_deref_mut() {
            dx.fill(T::zero());
        }
        let mut d_initial = state.d_initial_state;
        if *self == Leaky::DecayGradientAssigned {
            dw[UNITS * INPUTS + UNITS..].fill(T::zero());
        }
        for sample in 0..shape.batch {
            for unit in 0..UNITS {
                let mut dh = state.d_final_state.map_or(T::zero(), |d_final| d_final[sample * UNITS + unit]);
                if *self == Leaky::FinalGradientLeftOut
                    || (*self == Leaky::FinalStateOfEndedIsZero && shape.length(sample) < shape.steps)
                {
                    dh = T::zero();
                }
                let nothing = if *self == Leaky::NothingIsOne { T::one() } else { T::zero() };
                let initial = match state.initial_state {
                    Some(initial)
                        if !matches!(self, Leaky::InitialStateForgottenBackward | Leaky::InitialStateIgnored) =>
                    {
                        initial[if *self == Leaky::StateOfSampleZero { 0 } else { sample } * UNITS + unit]
                    }
                    _ => nothing,
                };
                let length = shape.length(sample);
                for step in (0..length).rev() {
                    let row = shape.row(step, sample);
                    dh += dy[row * UNITS + unit];
                    if *self == Leaky::OnlyTheLastStepLearns && step + 1 < length {
                        continue;
                    }
                    let before = if step == 0 { initial } else { y[shape.row(step - 1, sample) * UNITS + unit] };
                    let before = if *self == Leaky::DecayGradientOfNewState { y[row * UNITS + unit] } else { before };
                    for input in 0..INPUTS {
                        dw[unit * INPUTS + input] += dh * x[row * INPUTS + input];
                        if let Some(dx) = dx.as_deref_mut() {
                            dx[row * INPUTS + input] += dh * weight[unit * INPUTS + input];
                        }
                    }
                    if !(*self == Leaky::FirstStepWithoutBias && step == 0) {
                        dw[UNITS * INPUTS + unit] += dh;
                    }
                    dw[UNITS * INPUTS + UNITS + unit] += dh * before;
                    dh *= decay[unit];
                    if *self == Leaky::TruncatedAtFourSteps && length > 4 && step % 4 == 0 {
                        dh = T::zero();
                    }
                }
                if *self == Leaky::InitialStateIgnored {
                    dh = T::zero();
                }
                if let (Some(d_initial), false) = (d_initial.as_deref_mut(), *self == Leaky::InitialGradientNotWritten)
                {
                    d_initial[sample * UNITS + unit] = dh;
                }
            }
        }
        if let Some(dx) = dx {
            pass.ctx.report_backward(Factor::Other, dy, dx);
        }
    }
}

pub fn entries() -> Vec<Entry> {
    let by_row = |form, wrong| -> Box<dyn Fn(u64) -> Verdict> {
        Box::new(move |seed| layer_laws(Layers::of(&ByRow { form, wrong }), seed))
    };
    let across =
        |across: Across| -> Box<dyn Fn(u64) -> Verdict> { Box::new(move |seed| layer_laws(Layers::of(&across), seed)) };
    let leaky =
        |leaky: Leaky| -> Box<dyn Fn(u64) -> Verdict> { Box::new(move |seed| layer_laws(Layers::of(&leaky), seed)) };
    let mut all = Vec::new();
    for form in [
        Convolution,
        MaxPool,
        MeanPool,
        WeightNormalized,
        WithSquares,
        Products,
        Cumulative,
        OneScale,
        Bounded,
        Saturating,
    ] {
        all.push(Entry::right(format!("layer/{form:?}"), by_row(form, 0)));
    }
    for right in [CentredInTime, Smoothed, CentredInBatch] {
        all.push(Entry::right(format!("layer/{right:?}"), across(right)));
    }
    all.push(Entry::right("layer/Leaky", leaky(Leaky::Right)));
    for (form, mistakes) in [
        (Convolution, 1..4),
        (MaxPool, 1..4),
        (MeanPool, 1..2),
        (WeightNormalized, 1..3),
        (WithSquares, 1..3),
        (Products, 1..2),
        (Cumulative, 1..2),
        (OneScale, 1..2),
        (Bounded, 1..2),
        (Saturating, 1..3),
    ] {
        for wrong in mistakes {
            let name = format!("layer/{form:?}_{wrong}");
            all.push(Entry::wrong(name, Law::Adjoint, by_row(form, wrong)));
        }
    }
    // What was there stays, for a gradient that is added up.
    all.push(Entry::wrong("layer/ConvolutionAddsToInput", Law::Overwrites, by_row(Convolution, 9)));
    all.push(Entry::wrong("layer/OneScaleAssigns", Law::Accumulates, by_row(OneScale, 2)));
    for (wrong, law) in [
        (LaterStepsNotSaid, Law::Causal),
        (CentredWithEndedSamples, Law::Ragged),
        (CentredWithoutItsGradient, Law::Adjoint),
        (SmoothedOverSamples, Law::Split),
        (SmoothedForgetsTheNext, Law::Adjoint),
        (CoupledNotSaid, Law::Split),
        (NeighbourOfTheBatch, Law::Split),
    ] {
        all.push(Entry::wrong(format!("layer/{wrong:?}"), law, across(wrong)));
    }
    for (wrong, law) in [
        (Leaky::FinalGradientLeftOut, Law::Adjoint),
        (Leaky::InitialStateForgottenBackward, Law::Adjoint),
        (Leaky::InitialStateIgnored, Law::Stepped),
        (Leaky::InitialGradientNotWritten, Law::Overwrites),
        (Leaky::FinalStateOfEndedIsZero, Law::Ragged),
        (Leaky::FinalStateOnlyAfterTwoSteps, Law::Overwrites),
        (Leaky::FinalStateMissingInInference, Law::ModesAgree),
        (Leaky::OnlyTheLastStepLearns, Law::Adjoint),
        (Leaky::TruncatedAtFourSteps, Law::Adjoint),
        (Leaky::FirstStepWithoutBias, Law::Stepped),
        (Leaky::CountsSteps, Law::Stepped),
        (Leaky::NothingIsOne, Law::AbsentState),
        (Leaky::DecayGradientOfNewState, Law::Adjoint),
        (Leaky::DecayGradientAssigned, Law::Accumulates),
        (Leaky::KeepsItsState, Law::Repeatable),
        (Leaky::StateOfSampleZero, Law::Adjoint),
        (Leaky::FirstValuesOfOwnCounter, Law::Seeded),
        (Leaky::FirstValuesNotNumbers, Law::Extremes),
        (Leaky::FirstValuesOfTheFormat, Law::Precision),
    ] {
        all.push(Entry::wrong(format!("layer/leaky_{wrong:?}"), law, leaky(wrong)));
    }
    all
}
