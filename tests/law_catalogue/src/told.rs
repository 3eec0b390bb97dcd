//! Layers whose mistake is in what they tell: links, bounds, keys of masks, first values, and outputs that overflow.

use crate::{Entry, Verdict};
use chainrule::{
    BatchShape, Block, Error, Layer, Mode, Role, Scalar,
    layer::{Backward, Dims, DropoutKey, Forward, LayerSpec, MemorySizes, Samples},
    monitor::Factor,
    rand_core::Rng,
    random::{generator, uniform},
    scalar,
    testing::{Law, LayerCases, Layers, layer_laws_with},
    to_f64,
};
use std::sync::Mutex;

/// `y = f(x)`, each value by itself, and what is told of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right.
    Doubled,
    HalvedInTraining,
    Masked,
    Exponential,
    LogSum,
    SumOfBatch,
    StraightThrough,
    LogarithmOfParameter,
    IdentityFirst,
    CosineFirst,
    SignsFirst,
    /// Whole samples dropped at a rate of 2 %, 5 % or 10 %, as in stochastic depth.
    DroppedAt2,
    DroppedAt5,
    DroppedAt10,
    // Wrong.
    NoReport,
    OnlyForwardReported,
    ReportedTwice,
    OutputForInput,
    GradientBeforeScale,
    MaskedWithoutKey,
    MaskBySum,
    MaskByExclusiveOr,
    MaskOfPlaceAndStep,
    MaskOfPairs,
    MaskOfEight,
    LogSumWithoutMaximum,
    SquaresOverflow,
    CubeBounded,
    SumOfBatchBoundedByTwo,
    EvaluationUnbounded,
    SharedScratch,
    FixedGenerator,
    EqualRows,
    PanicsInBound,
    PanicsInSpec,
    RefusesToInitialize,
    ChaoticGradient,
    DifferenceQuotient,
    DifferenceQuotientOfSquares,
    HundredsHalved,
    ThroughDoubleBeyondTwo,
}

use Kind::*;

const WIDTH: usize = 3;

#[derive(Debug)]
struct Told {
    kind: Kind,
    scratch: Mutex<f64>,
}

impl Told {
    fn parameters(&self) -> usize {
        match self.kind {
            LogarithmOfParameter => WIDTH,
            IdentityFirst | CosineFirst | SignsFirst | FixedGenerator | EqualRows => WIDTH * WIDTH,
            _ => 0,
        }
    }

    fn factor<T: Scalar>(&self, mode: Mode, key: DropoutKey, place: usize, [time, sample, column]: [usize; 3]) -> T {
        let sample = key.first_sample + sample as u64;
        let parts = match self.kind {
            HalvedInTraining if mode == Mode::Train => return scalar(0.5),
            EvaluationUnbounded if mode != Mode::Train => return scalar(5.0),
            Masked | MaskedWithoutKey => [key.seed, key.step, sample, place as u64],
            MaskBySum => [key.seed + key.step, 0, sample, place as u64],
            MaskByExclusiveOr => [key.seed ^ key.step, 0, sample, place as u64],
            MaskOfPairs => [key.seed, key.step, sample / 2, place as u64],
            MaskOfEight => [key.seed, key.step, sample & !8, place as u64],
            MaskOfPlaceAndStep => [key.seed, key.step + place as u64, sample, 0],
            DroppedAt2 | DroppedAt5 | DroppedAt10 => [key.seed, key.step, sample, place as u64],
            _ => return scalar(2.0),
        };
        if mode != Mode::Train || (key.off && self.kind != MaskedWithoutKey) {
            return T::one();
        }
        let rate = match self.kind {
            DroppedAt2 => 0.02,
            DroppedAt5 => 0.05,
            DroppedAt10 => 0.1,
            _ => 0.5,
        };
        let own = if rate == 0.5 { [time as u64, column as u64] } else { [0; 2] };
        let parts = parts.into_iter().chain(own);
        let mixed = parts.fold(0x9E37_79B9_7F4A_7C15u64, |mixed, part| {
            let mixed = (mixed ^ part).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed ^ (mixed >> 31)
        });
        if uniform(&mut generator(mixed)) < rate { T::zero() } else { scalar(1.0 / (1.0 - rate)) }
    }

    /// f and f′ of the value in `column` of a row.
    fn both<T: Scalar>(&self, w: &[T], x: T, factor: T, column: usize) -> [T; 2] {
        let (one, two) = (T::one(), scalar::<T>(2.0));
        match self.kind {
            Exponential => [x.exp(), x.exp()],
            LogSum => {
                let tail = (-x.abs()).exp();
                [
                    x.max(T::zero()) + tail.ln_1p(),
                    if x > T::zero() { (one + tail).recip() } else { tail / (one + tail) },
                ]
            }
            LogSumWithoutMaximum => [x.exp().ln_1p(), (one + (-x).exp()).recip()],
            SquaresOverflow => {
                // √(1 + x²), by way of x to the 16th.
                let power = x.powi(16);
                let y = (power / (x.powi(14) + one) + one).sqrt();
                let inner = |x: T| x.powi(16) / (x.powi(14) + one);
                let slope = (scalar::<T>(16.0) * x.powi(15) * (x.powi(14) + one) - power * scalar(14.0) * x.powi(13))
                    / ((x.powi(14) + one) * (x.powi(14) + one));
                let _ = inner;
                [y, slope / (two * y)]
            }
            CubeBounded => [x * x * x, scalar::<T>(3.0) * x * x],
            ChaoticGradient => {
                let by = one + scalar::<T>(0.1) * (x * scalar(1e15)).sin();
                [two * x, two * if to_f64(T::epsilon()) > 1e-10 { one } else { by }]
            }
            DifferenceQuotient => {
                // Central in f64; f32 is right.
                let (h, single) = (scalar::<T>(1e-6), to_f64(T::epsilon()) > 1e-10);
                let slope = ((x + h).sin() - (x - h).sin()) / (two * h);
                [x.sin(), if single { x.cos() } else { slope }]
            }
            DifferenceQuotientOfSquares => {
                let (h, single) = (scalar::<T>(1e-7), to_f64(T::epsilon()) > 1e-10);
                [x * x, if single { two * x } else { ((x + h) * (x + h) - x * x) / h }]
            }
            HundredsHalved => {
                let within = x.abs() > scalar(100.0) && x.abs() < scalar(1000.0);
                [two * x, if within { one } else { two }]
            }
            ThroughDoubleBeyondTwo if x.abs() > two => [scalar(2.0 * to_f64(x)), two],
            StraightThrough => [if x > T::zero() { one } else { T::zero() }, one],
            LogarithmOfParameter => [x * w[column].ln(), w[column].ln()],
            SharedScratch => {
                *self.scratch.lock().unwrap() = to_f64(x);
                std::thread::yield_now();
                let kept = scalar::<T>(*self.scratch.lock().unwrap());
                // Dual numbers keep their tangent.
                [two * (x + (kept - scalar(to_f64(x)))), two]
            }
            _ => [factor * x, factor],
        }
    }
}

/// The step and the sample of each row.
fn rows(shape: BatchShape<'_>) -> Vec<[usize; 2]> {
    let at = |step: usize| (0..shape.batch).filter(move |&s| step < shape.length(s)).map(move |s| [step, s]);
    (0..shape.steps).flat_map(at).collect()
}

impl<T: Scalar> Layer<T> for Told {
    fn dims(&self) -> Dims {
        Dims::new(WIDTH, WIDTH, self.parameters())
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        match self.parameters() {
            0 => {}
            WIDTH => visit(Block::new("scale", 0, [WIDTH, 1], Role::Gain)),
            _ => visit(Block::new("weight", 0, [WIDTH, WIDTH], Role::Weight)),
        }
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        if self.kind == RefusesToInitialize {
            return Err(Error::Empty { what: "the layer" });
        }
        let mut fixed = generator(42);
        for i in 0..w.len() {
            let (row, column) = (i / WIDTH, i % WIDTH);
            w[i] = scalar(match self.kind {
                IdentityFirst => f64::from(u8::from(row == column)),
                CosineFirst => (std::f64::consts::PI / WIDTH as f64 * (column as f64 + 0.5) * row as f64).cos(),
                SignsFirst => (uniform(rng) - 0.5).signum(),
                FixedGenerator => uniform(&mut fixed) - 0.5,
                EqualRows if row > 0 => to_f64(w[column]),
                EqualRows => uniform(rng) - 0.5,
                _ => 1.0 + uniform(rng),
            });
        }
        Ok(())
    }

    fn spec(&self) -> LayerSpec {
        assert!(self.kind != PanicsInSpec, "no settings");
        LayerSpec::Custom { kind: "Told".into(), dims: Layer::<T>::dims(self), settings: String::new() }
    }

    fn samples(&self) -> Samples {
        if matches!(self.kind, SumOfBatch | SumOfBatchBoundedByTwo) { Samples::Coupled } else { Samples::Independent }
    }

    fn gain_bound(&self, _: &[T], shape: BatchShape<'_>) -> Option<f64> {
        assert!(self.kind != PanicsInBound, "no bound");
        match self.kind {
            Doubled | HalvedInTraining | EvaluationUnbounded => Some(2.0 + 1e-9),
            CubeBounded => Some(100.0),
            SumOfBatch => Some(1.0 + shape.batch as f64 + 1e-9),
            SumOfBatchBoundedByTwo => Some(2.0 + 1e-9),
            _ => None,
        }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let (mode, key, place) = (pass.ctx.mode, pass.ctx.dropout, pass.ctx.path.index());
        let Forward { x, y, .. } = pass;
        let rows = rows(pass.ctx.shape);
        for (i, &[time, sample]) in rows.iter().enumerate() {
            for j in 0..WIDTH {
                let x_ij = x[i * WIDTH + j];
                let factor = self.factor(mode, key, place, [time, sample, j]);
                y[i * WIDTH + j] = match self.kind {
                    SumOfBatch | SumOfBatchBoundedByTwo => {
                        let others = rows.iter().enumerate().filter(|(_, row)| row[0] == time);
                        others.fold(x_ij, |sum, (k, _)| sum + x[k * WIDTH + j])
                    }
                    _ if self.parameters() == WIDTH * WIDTH => {
                        (0..WIDTH).fold(T::zero(), |sum, k| sum + w[j * WIDTH + k] * x[i * WIDTH + k])
                    }
                    _ => self.both(w, x_ij, factor, j)[0],
                };
            }
        }
        match self.kind {
            NoReport => {}
            OutputForInput => pass.ctx.report_forward(Factor::Other, y, y),
            _ => pass.ctx.report_forward(Factor::Other, x, y),
        }
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let (mode, key, place) = (pass.ctx.mode, pass.ctx.dropout, pass.ctx.path.index());
        let Backward { x, dy, mut dx, dw, .. } = pass;
        let rows = rows(pass.ctx.shape);
        for (i, &[time, sample]) in rows.iter().enumerate() {
            for j in 0..WIDTH {
                let at = i * WIDTH + j;
                let factor = self.factor(mode, key, place, [time, sample, j]);
                let gradient = match self.kind {
                    SumOfBatch | SumOfBatchBoundedByTwo => {
                        let others = rows.iter().enumerate().filter(|(_, row)| row[0] == time);
                        others.fold(dy[at], |sum, (k, _)| sum + dy[k * WIDTH + j])
                    }
                    _ if self.parameters() == WIDTH * WIDTH => {
                        (0..WIDTH).fold(T::zero(), |sum, k| sum + w[k * WIDTH + j] * dy[i * WIDTH + k])
                    }
                    _ => dy[at] * self.both(w, x[at], factor, j)[1],
                };
                if self.kind == LogarithmOfParameter {
                    dw[j] += dy[at] * x[at] / w[j];
                } else if self.parameters() > 0 {
                    (0..WIDTH).for_each(|k| dw[j * WIDTH + k] += dy[at] * x[i * WIDTH + k]);
                }
                if let Some(dx) = dx.as_deref_mut() {
                    dx[at] = gradient;
                }
            }
        }
        let Some(dx) = dx else { return };
        let mut ctx = pass.ctx;
        match self.kind {
            NoReport | OnlyForwardReported => {}
            GradientBeforeScale => ctx.report_backward(Factor::Other, dx, dx),
            ReportedTwice => {
                ctx.part(0).report_backward(Factor::Other, dy, dx);
                ctx.report_backward(Factor::Other, dy, dx);
            }
            _ => ctx.report_backward(Factor::Other, dy, dx),
        }
    }
}

/// `h_t = a tanh(h_{t−1}) + x_t` of each unit, with bounds on the gain of the state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Carried {
    Right,
    BoundOfTheFirstUnit,
    BoundSquared,
    BoundsTooFew,
    ForgottenInTraining,
    ShortSamplesBeginAtZero,
}

const UNITS: usize = 2;
const DECAYS: [f64; UNITS] = [0.3, 0.9];

impl Carried {
    fn begins_at_zero(self, shape: BatchShape<'_>, mode: Mode, sample: usize) -> bool {
        match self {
            Carried::ForgottenInTraining => mode == Mode::Train,
            Carried::ShortSamplesBeginAtZero => shape.length(sample) < shape.steps,
            _ => false,
        }
    }
}

impl<T: Scalar> Layer<T> for Carried {
    fn dims(&self) -> Dims {
        Dims::new(UNITS, UNITS, 0)
    }

    fn memory(&self, _: BatchShape<'_>, _: Mode) -> MemorySizes {
        MemorySizes::new(0, 0, UNITS)
    }

    fn state_gain_bounds(&self, _: &[T], shape: BatchShape<'_>) -> Option<Vec<f64>> {
        let decay: f64 = if *self == Carried::BoundOfTheFirstUnit { DECAYS[0] } else { DECAYS[1] };
        let last = shape.steps - usize::from(*self == Carried::BoundsTooFew);
        let power = if *self == Carried::BoundSquared { 2 } else { 1 };
        Some((0..=last).map(|k| decay.powi((k * power) as i32) * (1.0 + 1e-9)).collect())
    }

    fn forward(&self, _: &[T], pass: Forward<'_, T>) {
        let (shape, mode) = (pass.ctx.shape, pass.ctx.mode);
        let Forward { x, y, state, .. } = pass;
        for sample in 0..shape.batch {
            for (unit, &decay) in DECAYS.iter().enumerate() {
                let initial = state.initial_state.filter(|_| !self.begins_at_zero(shape, mode, sample));
                let mut h = initial.map_or(T::zero(), |initial| initial[sample * UNITS + unit]);
                for step in 0..shape.length(sample) {
                    let at = shape.row(step, sample) * UNITS + unit;
                    h = scalar::<T>(decay) * h.tanh() + x[at];
                    y[at] = h;
                }
                state.final_state[sample * UNITS + unit] = h;
            }
        }
        pass.ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, _: &[T], pass: Backward<'_, T>) {
        let (shape, mode) = (pass.ctx.shape, pass.ctx.mode);
        let Backward { y, dy, mut dx, state, .. } = pass;
        let mut d_initial = state.d_initial_state;
        for sample in 0..shape.batch {
            for (unit, &decay) in DECAYS.iter().enumerate() {
                let zero = self.begins_at_zero(shape, mode, sample);
                let initial = state.initial_state.filter(|_| !zero);
                let initial = initial.map_or(T::zero(), |initial| initial[sample * UNITS + unit]);
                let mut dh = state.d_final_state.map_or(T::zero(), |d_final| d_final[sample * UNITS + unit]);
                for step in (0..shape.length(sample)).rev() {
                    let at = shape.row(step, sample) * UNITS + unit;
                    dh += dy[at];
                    if let Some(dx) = dx.as_deref_mut() {
                        dx[at] = dh;
                    }
                    let before = if step == 0 { initial } else { y[shape.row(step - 1, sample) * UNITS + unit] };
                    let tanh = before.tanh();
                    dh *= scalar::<T>(decay) * (T::one() - tanh * tanh);
                }
                if let Some(d_initial) = d_initial.as_deref_mut() {
                    d_initial[sample * UNITS + unit] = if zero { T::zero() } else { dh };
                }
            }
        }
        if let Some(dx) = dx {
            pass.ctx.report_backward(Factor::Other, dy, dx);
        }
    }
}

fn judge(kind: Kind) -> impl Fn(u64) -> Verdict {
    move |seed| {
        let layer = Told { kind, scratch: Mutex::new(0.0) };
        let positive = |w: f64| w.abs() + 1e-3;
        let usual = LayerCases::default();
        let cases = match kind {
            LogarithmOfParameter => LayerCases { parameters: &positive, ..usual },
            StraightThrough => LayerCases { except: &[Law::Adjoint], ..usual },
            _ => usual,
        };
        layer_laws_with(Layers::of(&layer), cases, seed)
    }
}

pub fn entries() -> Vec<Entry> {
    let carried = |layer: Carried| -> Box<dyn Fn(u64) -> Verdict> {
        Box::new(move |seed| layer_laws_with(Layers::of(&layer), LayerCases::default(), seed))
    };
    let mut all = vec![Entry::right("layer/carried_Right", carried(Carried::Right))];
    for (wrong, law) in [
        (Carried::BoundOfTheFirstUnit, Law::GainBound),
        (Carried::BoundSquared, Law::GainBound),
        (Carried::BoundsTooFew, Law::GainBound),
        (Carried::ForgottenInTraining, Law::Stepped),
        (Carried::ShortSamplesBeginAtZero, Law::Ragged),
    ] {
        all.push(Entry::wrong(format!("layer/carried_{wrong:?}"), law, carried(wrong)));
    }
    for kind in [
        Doubled,
        HalvedInTraining,
        Masked,
        Exponential,
        LogSum,
        SumOfBatch,
        StraightThrough,
        LogarithmOfParameter,
        IdentityFirst,
        CosineFirst,
        SignsFirst,
        DroppedAt2,
        DroppedAt5,
        DroppedAt10,
    ] {
        all.push(Entry::right(format!("layer/told_{kind:?}"), judge(kind)));
    }
    for (kind, law) in [
        (NoReport, Law::ReportsLinks),
        (OnlyForwardReported, Law::ReportsLinks),
        (ReportedTwice, Law::ReportsLinks),
        (OutputForInput, Law::ReportsLinks),
        (GradientBeforeScale, Law::ReportsLinks),
        (MaskedWithoutKey, Law::DropoutKey),
        (MaskBySum, Law::DropoutKey),
        (MaskByExclusiveOr, Law::DropoutKey),
        (MaskOfPlaceAndStep, Law::DropoutKey),
        (MaskOfPairs, Law::DropoutKey),
        (MaskOfEight, Law::DropoutKey),
        (LogSumWithoutMaximum, Law::Extremes),
        (SquaresOverflow, Law::Extremes),
        (CubeBounded, Law::GainBound),
        (SumOfBatchBoundedByTwo, Law::GainBound),
        (EvaluationUnbounded, Law::GainBound),
        (SharedScratch, Law::Repeatable),
        (FixedGenerator, Law::Seeded),
        (EqualRows, Law::Distinct),
        (PanicsInBound, Law::NoPanic),
        (PanicsInSpec, Law::NoPanic),
        (RefusesToInitialize, Law::Refuses),
        (ChaoticGradient, Law::Adjoint),
        (DifferenceQuotient, Law::Adjoint),
        (DifferenceQuotientOfSquares, Law::Adjoint),
        (HundredsHalved, Law::Adjoint),
        (ThroughDoubleBeyondTwo, Law::Adjoint),
    ] {
        all.push(Entry::wrong(format!("layer/told_{kind:?}"), law, judge(kind)));
    }
    all
}
