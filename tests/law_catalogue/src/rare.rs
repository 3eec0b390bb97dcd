//! Mistakes that only rare values, sizes or places show: parameters of another sign, buffers that have moved, batches
//! of one size, gates by pairs; and right implementations that take few values or sizes.

use crate::{Entry, Verdict, holds};
use chainrule::{
    BatchShape, Block, Blocks, Error, Gate, GradientMonitor, Layer, Mode, Role, Scalar,
    activation::{Activation, Gelu},
    initializer::{Initializer, Shape},
    layer::{Backward, Dims, Forward, MemorySizes, Structure},
    loss::{Loss, Reduction, Target},
    monitor::{Event, Factor},
    rand_core::Rng,
    random::{Normals, uniform},
    scalar,
    testing::{Law, Layers, Losses, Transforms, initializer_laws, layer_laws, loss_laws, monitor_laws, transform_laws},
    to_f64,
    transform::{GradientTransform, Outcome, Stage, Update},
};

fn is_f32<T: Scalar>() -> bool {
    T::epsilon() > scalar(1e-10)
}

/// A layer of columns: `y = f(x)` of each value, with one parameter of each column where it has any.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Columns {
    // Right.
    /// y = |g| x.
    Magnitude,
    /// y = max(g, 0) x.
    Open,
    // Wrong.
    MagnitudeWithoutSign,
    OpenWithoutMask,
    /// y = max(x, g x), with the slope of g ≤ 1 for all g.
    SlopeByMaximum,
    LastOfManyRowsSingle,
    LastRowOfThirtyTwo,
    LastRowOfFive,
    /// y_t = x_t + x_(t+3)/2.
    LooksThreeAhead,
    /// y_t = x_t + sin t, in `f32` sin t/2.
    PositionSingle,
    SecondLinkSilent,
    /// GELU, with a bound of 1.12 instead of 1.129.
    BoundJustBelow,
    /// y_t = x_0 + … + x_t, with a bound that holds to 5 steps.
    BoundOfFiveSteps,
}

const WIDTH: usize = 3;

use Columns::*;

impl Columns {
    fn parameters(self) -> usize {
        let has = [Magnitude, Open, MagnitudeWithoutSign, OpenWithoutMask, SlopeByMaximum];
        if has.contains(&self) { WIDTH } else { 0 }
    }

    /// y of one value.
    fn value<T: Scalar>(self, x: T, g: T) -> T {
        match self {
            Magnitude | MagnitudeWithoutSign => g.abs() * x,
            Open | OpenWithoutMask => g.max(T::zero()) * x,
            SlopeByMaximum => x.max(g * x),
            BoundJustBelow => Gelu.value(x),
            _ => x,
        }
    }

    /// ∂y/∂x and ∂y/∂g of one value.
    fn slopes<T: Scalar>(self, x: T, g: T) -> [T; 2] {
        let (zero, one) = (T::zero(), T::one());
        match self {
            Magnitude => [g.abs(), g.signum() * x],
            MagnitudeWithoutSign => [g.abs(), x],
            Open => [g.max(zero), if g > zero { x } else { zero }],
            OpenWithoutMask => [g.max(zero), x],
            SlopeByMaximum if x > zero => [one, zero],
            SlopeByMaximum => [g, x],
            BoundJustBelow => [Gelu.derivative(x, Gelu.value(x)), zero],
            _ => [one, zero],
        }
    }
}

/// The step and the sample of each row.
fn rows(shape: BatchShape<'_>) -> Vec<[usize; 2]> {
    let at = |step: usize| (0..shape.batch).filter(move |&s| step < shape.length(s)).map(move |s| [step, s]);
    (0..shape.steps).flat_map(at).collect()
}

impl<T: Scalar> Layer<T> for Columns {
    fn dims(&self) -> Dims {
        Dims::new(WIDTH, WIDTH, self.parameters())
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        if self.parameters() > 0 {
            visit(Block::new("gain", 0, [WIDTH, 1], Role::Gain));
        }
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        w.iter_mut().for_each(|w| *w = scalar(0.25 + 0.5 * uniform(rng)));
        Ok(())
    }

    fn structure(&self) -> Structure<'_, T> {
        if *self == SecondLinkSilent { Structure::LEAF.links(&["", "second"]) } else { Structure::LEAF }
    }

    fn gain_bound(&self, _: &[T], _: BatchShape<'_>) -> Option<f64> {
        match self {
            BoundJustBelow => Some(1.12),
            BoundOfFiveSteps => Some(4.0),
            _ => None,
        }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Forward { x, y, ctx, .. } = pass;
        let rows = rows(ctx.shape);
        for (i, &[time, sample]) in rows.iter().enumerate() {
            for j in 0..WIDTH {
                let at = i * WIDTH + j;
                let of = |step: usize| rows.iter().position(|row| *row == [step, sample]).map(|k| x[k * WIDTH + j]);
                y[at] = self.value(x[at], w.get(j).copied().unwrap_or(T::one()));
                if *self == LooksThreeAhead {
                    y[at] += of(time + 3).unwrap_or(T::zero()) * scalar(0.5);
                }
                if *self == PositionSingle {
                    y[at] += scalar::<T>(if is_f32::<T>() { 0.5 * time as f64 } else { time as f64 }).sin();
                }
                if *self == BoundOfFiveSteps {
                    y[at] = (0..=time).filter_map(of).fold(T::zero(), |sum, x| sum + x);
                }
            }
        }
        ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { x, dy, dx, dw, ctx, .. } = pass;
        let rows = rows(ctx.shape);
        let mut all = vec![T::zero(); dy.len()];
        for (i, &[time, sample]) in rows.iter().enumerate() {
            for j in 0..WIDTH {
                let at = i * WIDTH + j;
                let place = |step: usize| rows.iter().position(|row| *row == [step, sample]);
                let [of_x, of_g] = self.slopes(x[at], w.get(j).copied().unwrap_or(T::one()));
                all[at] += dy[at] * of_x;
                if let Some(dw) = dw.get_mut(j) {
                    *dw += dy[at] * of_g;
                }
                if *self == LooksThreeAhead
                    && let Some(k) = place(time + 3)
                {
                    all[k * WIDTH + j] += dy[at] * scalar(0.5);
                }
                if *self == BoundOfFiveSteps {
                    for k in (0..time).filter_map(place) {
                        all[k * WIDTH + j] += dy[at];
                    }
                }
            }
        }
        let lost = match self {
            LastOfManyRowsSingle => is_f32::<T>() && rows.len() > 1000,
            LastRowOfThirtyTwo => rows.len() % 32 == 0,
            LastRowOfFive => rows.len() == 5,
            _ => false,
        };
        if lost {
            let from = all.len() - WIDTH;
            all[from..].fill(T::zero());
        }
        if let Some(dx) = dx {
            dx.copy_from_slice(&all);
            ctx.report_backward(Factor::Other, dy, dx);
        }
    }
}

/// `s_t = s_(t−1) + x_t`, which is the output, too.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Summed {
    Right,
    /// The gradient of the state is only written beside that of the input.
    StateWithInputAlone,
    /// Large states have no gradient.
    LargeStatesCutOff,
}

impl<T: Scalar> Layer<T> for Summed {
    fn dims(&self) -> Dims {
        Dims::new(WIDTH, WIDTH, 0)
    }

    fn memory(&self, _: BatchShape<'_>, _: Mode) -> MemorySizes {
        MemorySizes::new(0, 0, WIDTH)
    }

    fn initialize(&self, _: &mut [T], _: &mut dyn Rng) -> Result<(), Error> {
        Ok(())
    }

    fn forward(&self, _: &[T], pass: Forward<'_, T>) {
        let Forward { x, y, state, ctx, .. } = pass;
        let end = state.final_state;
        match state.initial_state {
            Some(initial) => end.copy_from_slice(initial),
            None => end.fill(T::zero()),
        }
        for (i, [_, sample]) in rows(ctx.shape).into_iter().enumerate() {
            for j in 0..WIDTH {
                end[sample * WIDTH + j] += x[i * WIDTH + j];
                y[i * WIDTH + j] = end[sample * WIDTH + j];
            }
        }
        ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, _: &[T], pass: Backward<'_, T>) {
        let Backward { dy, mut dx, state, ctx, .. } = pass;
        let mut carried = vec![T::zero(); ctx.shape.batch * WIDTH];
        if let Some(end) = state.d_final_state {
            carried.copy_from_slice(end);
        }
        for (i, [_, sample]) in rows(ctx.shape).into_iter().enumerate().rev() {
            for j in 0..WIDTH {
                carried[sample * WIDTH + j] += dy[i * WIDTH + j];
                if let Some(dx) = dx.as_deref_mut() {
                    dx[i * WIDTH + j] = carried[sample * WIDTH + j];
                }
            }
        }
        if let (LargeStatesCutOff, Some(initial)) = (self, state.initial_state) {
            let large = carried.iter_mut().zip(initial).filter(|(_, state)| state.abs() > scalar(5.5));
            large.for_each(|(gradient, _)| *gradient = T::zero());
        }
        if let Some(d_initial) = state.d_initial_state
            && (*self != Summed::StateWithInputAlone || dx.is_some())
        {
            d_initial.copy_from_slice(&carried);
        }
        if let Some(dx) = dx {
            ctx.report_backward(Factor::Other, dy, dx);
        }
    }
}

use Summed::LargeStatesCutOff;

/// `y = W x` with first rows that are equal.
#[derive(Clone, Copy, Debug)]
struct EqualRows {
    rows: usize,
    columns: usize,
    /// Of so many rows each is a copy of the first.
    group: usize,
}

impl<T: Scalar> Layer<T> for EqualRows {
    fn dims(&self) -> Dims {
        Dims::new(self.columns, self.rows, self.rows * self.columns)
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("weight", 0, [self.rows, self.columns], Role::Weight));
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        for i in 0..self.rows {
            for j in 0..self.columns {
                let fresh = scalar(uniform(rng) - 0.5);
                w[i * self.columns + j] = if i % self.group == 0 { fresh } else { w[(i - 1) * self.columns + j] };
            }
        }
        Ok(())
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        for (x, y) in pass.x.chunks(self.columns).zip(pass.y.chunks_mut(self.rows)) {
            for (y, w) in y.iter_mut().zip(w.chunks(self.columns)) {
                *y = w.iter().zip(x).fold(T::zero(), |sum, (&w, &x)| sum + w * x);
            }
        }
        pass.ctx.report_forward(Factor::Weights, pass.x, pass.y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { x, dy, dx, dw, ctx, .. } = pass;
        for (x, dy) in x.chunks(self.columns).zip(dy.chunks(self.rows)) {
            for (dw, &dy) in dw.chunks_mut(self.columns).zip(dy) {
                dw.iter_mut().zip(x).for_each(|(dw, &x)| *dw += dy * x);
            }
        }
        let Some(dx) = dx else { return };
        for (dx, dy) in dx.chunks_mut(self.columns).zip(dy.chunks(self.rows)) {
            dx.fill(T::zero());
            for (w, &dy) in w.chunks(self.columns).zip(dy) {
                dx.iter_mut().zip(w).for_each(|(dx, &w)| *dx += dy * w);
            }
        }
        ctx.report_backward(Factor::Weights, dy, dx);
    }
}

/// Losses of values that take few targets or widths.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Narrow {
    // Right.
    /// ½ ‖y − t‖² of four columns, as of a box.
    OfFour,
    /// ½ ‖y − t‖² of six columns.
    OfSix,
    /// −log softmax(y) of the one column whose target is 1.
    OfOneHot,
    /// 1 − cos(y, t), least at t.
    CosineLeastAtTarget,
    /// Targets of 0 and 1 alone.
    OfZeroAndOne,
    // Wrong.
    HardWithoutTarget,
    CountsWithoutTarget,
    SixteenColumnsHalved,
    TenColumnsHalved,
    WidthRefused,
    WidthPanics,
    NegativeSum,
}

use Narrow::*;

impl Narrow {
    /// The loss of a row; overwrites `dy`. `None` for targets or a width that it does not take.
    fn row<T: Scalar>(self, y: &[T], t: &[T], dy: &mut [T]) -> Option<T> {
        let (zero, one, half) = (T::zero(), T::one(), scalar::<T>(0.5));
        let binary = || t.iter().all(|&t| t == zero || t == one);
        let of_width = match self {
            OfFour => y.len() == 4,
            OfSix => y.len() == 6,
            _ => true,
        };
        if !of_width {
            return None;
        }
        let mut sum = zero;
        match self {
            OfZeroAndOne | HardWithoutTarget => {
                if !binary() {
                    return None;
                }
                for i in 0..y.len() {
                    let e = (-y[i].abs()).exp();
                    let share = if y[i] >= zero { one / (one + e) } else { e / (one + e) };
                    sum += y[i].max(zero) + e.ln_1p() - t[i] * y[i];
                    dy[i] = if self == OfZeroAndOne { share - t[i] } else { share };
                }
            }
            CountsWithoutTarget => {
                if t.iter().any(|&t| t < zero || t != t.floor()) {
                    return None;
                }
                for i in 0..y.len() {
                    sum += y[i].exp() - t[i] * y[i];
                    dy[i] = y[i].exp();
                }
            }
            OfOneHot => {
                let hot = (0..t.len())
                    .find(|&i| t[i] == one)
                    .filter(|&i| t.iter().enumerate().all(|(j, &t)| j == i || t == zero))?;
                let most = y.iter().fold(T::neg_infinity(), |most, &y| if y.is_nan() { y } else { most.max(y) });
                let total = y.iter().fold(zero, |sum, &y| sum + (y - most).exp());
                sum = total.ln() - (y[hot] - most);
                for i in 0..y.len() {
                    dy[i] = (y[i] - most).exp() / total - if i == hot { one } else { zero };
                }
            }
            CosineLeastAtTarget => {
                let dot = |a: &[T], b: &[T]| a.iter().zip(b).fold(zero, |sum, (&a, &b)| sum + a * b);
                let least = scalar::<T>(1e-8);
                let (ny, nt) = (dot(y, y).sqrt(), dot(t, t).sqrt().max(least));
                let scale = ny.max(least);
                sum = one - dot(y, t) / (scale * nt);
                for i in 0..y.len() {
                    let radial = if ny > least { dot(y, t) * y[i] / (scale * scale) } else { zero };
                    dy[i] = -((t[i] - radial) / (scale * nt));
                }
            }
            _ => {
                let wrong =
                    (self == SixteenColumnsHalved && y.len() % 16 == 0) || (self == TenColumnsHalved && y.len() == 10);
                for i in 0..y.len() {
                    let off = y[i] - t[i];
                    sum += half * off * off;
                    dy[i] = if wrong && i + 1 == y.len() { half * off } else { off };
                }
            }
        }
        Some(sum)
    }
}

impl<T: Scalar> Loss<T> for Narrow {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        if width == 0 || y.is_empty() {
            return Err(Error::Empty { what: "the output" });
        }
        let Target::Values(t) = target else {
            return Err(Error::TargetKind { loss: "Narrow", expected: "values", found: "classes" });
        };
        let rows = y.len() / width;
        let lengths =
            [("output", rows * width, y.len()), ("targets", y.len(), t.len()), ("gradient", y.len(), dy.len())];
        let weights = row_weights.map_or_else(|| vec![T::one(); rows], <[T]>::to_vec);
        for (what, expected, found) in lengths.into_iter().chain([("weights", rows, weights.len())]) {
            if expected != found {
                return Err(Error::Length { what, expected, found });
            }
        }
        let range =
            |found: T| Error::Parameter { what: "a target or weight", expected: "another", found: to_f64(found) };
        if let Some(&weight) = weights.iter().find(|weight| !weight.is_finite()) {
            return Err(range(weight));
        }
        let total = weights.iter().fold(T::zero(), |sum, &weight| sum + weight);
        if !(total > T::zero()) && *self != NegativeSum || total.is_zero() {
            return Err(range(total));
        }
        let mut sum = T::zero();
        for (i, &weight) in weights.iter().enumerate() {
            let of = i * width..(i + 1) * width;
            if weight.is_zero() {
                dy[of].fill(T::zero());
                continue;
            }
            if let Some(&strange) = t[of.clone()].iter().find(|t| !t.is_finite()) {
                return Err(range(strange));
            }
            let Some(value) = self.row(&y[of.clone()], &t[of.clone()], &mut dy[of.clone()]) else {
                return Err(range(t[of.start]));
            };
            sum += weight * value;
            dy[of].iter_mut().for_each(|dy| *dy = *dy * weight / total);
        }
        Ok(sum / total)
    }

    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }

    fn minimum_at_target(&self) -> bool {
        matches!(self, OfFour | OfSix | CosineLeastAtTarget)
    }

    fn check_width(&self, width: usize) -> Result<(), Error> {
        assert!(*self != WidthPanics, "no width");
        if *self == WidthRefused {
            Err(Error::Length { what: "columns", expected: width + 1, found: width })
        } else {
            Ok(())
        }
    }
}

/// Transforms whose mistake only a zero gradient, a frozen block, a role or a new beginning shows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moved {
    // Right.
    Normed,
    Average,
    // Wrong.
    NormedOfZero,
    ClipOfZero,
    BiasClimbs,
    GainClimbs,
    NeighbourBesideFrozen,
    AverageBeginsNowhere,
}

use Moved::*;

impl<T: Scalar> GradientTransform<T> for Moved {
    fn stage(&self) -> Stage {
        if *self == ClipOfZero { Stage::Clip } else { Stage::Optimizer }
    }

    fn state_len(&self, blocks: &Blocks) -> usize {
        blocks.parameters()
    }

    fn init_state(&self, _: &Blocks, w: &[T], state: &mut [T]) {
        if matches!(self, Average | AverageBeginsNowhere) {
            state.copy_from_slice(w);
        }
    }

    fn begin_at(&self, _: &Blocks, w: &[T], state: &mut [T]) {
        if *self == Average {
            state.copy_from_slice(w);
        }
    }

    fn averaged_weights<'a>(&self, _: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
        matches!(self, Average | AverageBeginsNowhere).then_some(state)
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let Update { blocks, w, gradient: g, state, .. } = update;
        let (rate, zero) = (scalar::<T>(0.01), T::zero());
        let norm = g.iter().fold(zero, |sum, &g| sum + g * g).sqrt();
        let any_frozen = blocks.iter().any(|block| block.frozen);
        match self {
            Normed => g.iter_mut().for_each(|g| *g = -rate * *g / (norm + rate)),
            NormedOfZero => g.iter_mut().for_each(|g| *g = -rate * *g / norm),
            ClipOfZero => {
                let largest = g.iter().fold(zero, |most: T, g| most.max(g.abs()));
                let norm = g.iter().fold(zero, |sum, &g| sum + (g / largest) * (g / largest)).sqrt() * largest;
                g.iter_mut().for_each(|g| *g = *g / norm * norm.min(T::one()));
            }
            _ => {
                for block in blocks.iter().filter(|block| !block.frozen) {
                    for i in block.range.clone() {
                        let climbs = match self {
                            BiasClimbs => block.role == Role::Bias,
                            GainClimbs => block.role == Role::Gain,
                            _ => false,
                        };
                        if *self == NeighbourBesideFrozen {
                            state[i] = scalar::<T>(0.9) * state[i] + g[i];
                            let place = if any_frozen && i > 0 { i - 1 } else { i };
                            g[i] = -rate * state[place];
                        } else {
                            g[i] = if climbs { rate * g[i] } else { -rate * g[i] };
                        }
                    }
                }
            }
        }
        if matches!(self, Average | AverageBeginsNowhere) {
            for ((state, &w), &g) in state.iter_mut().zip(w).zip(g.iter()) {
                *state += scalar::<T>(0.1) * (w + g - *state);
            }
        }
        Ok(Outcome::Apply)
    }
}

/// Normal values of variance 1 of four gates.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gates {
    // Right.
    Independent,
    // Wrong.
    ThirdCopied,
    LastNegated,
    Correlated,
}

impl Initializer for Gates {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        holds(shape, values)?;
        let mut normals = Normals::new();
        values.iter_mut().for_each(|value| *value = normals.next(rng));
        Ok(())
    }

    fn fill_gates(&self, shape: Shape, gates: &[Gate], rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        let size = shape.rows * shape.columns;
        let expected = size * gates.len();
        if values.len() != expected {
            return Err(Error::Length { what: "values", expected, found: values.len() });
        }
        let mut normals = Normals::new();
        values.iter_mut().for_each(|value| *value = normals.next(rng));
        for i in 0..size {
            match self {
                Gates::Independent => {}
                Gates::ThirdCopied => values[3 * size + i] = values[2 * size + i],
                Gates::LastNegated => values[3 * size + i] = -values[2 * size + i],
                Gates::Correlated => values[3 * size + i] = 0.8 * values[2 * size + i] + 0.6 * values[3 * size + i],
            }
        }
        Ok(())
    }

    fn mean(&self, _: Shape) -> Option<f64> {
        Some(0.0)
    }

    fn variance(&self, _: Shape) -> Option<f64> {
        Some(1.0)
    }
}

/// Monitors that need what a run may lack.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Needs {
    Validation,
    Accuracy,
    LearningRate,
    Applied,
    OneRank,
    NothingSkipped,
}

impl<T: Scalar> GradientMonitor<T> for Needs {
    fn event(&mut self, event: &Event<'_, T>) {
        match (event, self) {
            (Event::Epoch(epoch), Needs::Validation) => _ = epoch.validation.unwrap(),
            (Event::Epoch(epoch), Needs::Accuracy) => {
                _ = epoch.validation.map(|validation| validation.accuracy.unwrap());
            }
            (Event::Epoch(epoch), Needs::NothingSkipped) => assert_eq!(epoch.skipped, 0),
            (Event::Step(step), Needs::LearningRate) => _ = step.learning_rate.unwrap(),
            (Event::Step(step), Needs::Applied) => assert!(step.applied),
            (Event::Step(step), Needs::OneRank) => assert!(step.communication.is_none()),
            _ => {}
        }
    }
}

fn of_layer<L>(layer: L) -> impl Fn(u64) -> Verdict
where
    L: Layer<f32> + Layer<f64> + Layer<chainrule::testing::Dual<f64>> + Copy,
{
    move |seed| layer_laws(Layers { single: &layer, double: &layer, dual: &layer }, seed)
}

fn of_transform(kind: Moved, promises: &'static [Law]) -> impl Fn(u64) -> Verdict {
    move |seed| {
        let transforms = Transforms { single: &|| Box::new(kind), double: &|| Box::new(kind), like: None };
        transform_laws(transforms, promises, seed)
    }
}

pub fn entries() -> Vec<Entry> {
    let mut list = Vec::new();
    let name = |kind: &dyn std::fmt::Debug| format!("rare/{kind:?}");
    for kind in [Magnitude, Open] {
        list.push(Entry::right(name(&kind), of_layer(kind)));
    }
    for (kind, law) in [
        (MagnitudeWithoutSign, Law::Adjoint),
        (OpenWithoutMask, Law::Adjoint),
        (SlopeByMaximum, Law::Adjoint),
        (LastOfManyRowsSingle, Law::Adjoint),
        (LastRowOfThirtyTwo, Law::Adjoint),
        (LastRowOfFive, Law::Adjoint),
        (LooksThreeAhead, Law::Causal),
        (PositionSingle, Law::GenericBody),
        (SecondLinkSilent, Law::ReportsLinks),
        (BoundJustBelow, Law::GainBound),
        (BoundOfFiveSteps, Law::GainBound),
    ] {
        list.push(Entry::wrong(name(&kind), law, of_layer(kind)));
    }
    list.push(Entry::right("rare/Summed", of_layer(Summed::Right)));
    list.push(Entry::wrong("rare/StateWithInputAlone", Law::OptionalGradients, of_layer(Summed::StateWithInputAlone)));
    list.push(Entry::wrong("rare/LargeStatesCutOff", Law::Adjoint, of_layer(LargeStatesCutOff)));
    for (rows, columns, group) in [(2, 3, 2), (4, 3, 2), (6, 20, 3)] {
        let kind = EqualRows { rows, columns, group };
        list.push(Entry::wrong(name(&kind), Law::Distinct, of_layer(kind)));
    }
    let of_loss = |kind: Narrow| move |seed| loss_laws(Losses { single: &kind, double: &kind, dual: &kind }, seed);
    for kind in [OfFour, OfSix, OfOneHot, CosineLeastAtTarget, OfZeroAndOne] {
        list.push(Entry::right(name(&kind), of_loss(kind)));
    }
    for (kind, law) in [
        (HardWithoutTarget, Law::Derivative),
        (CountsWithoutTarget, Law::Derivative),
        (SixteenColumnsHalved, Law::Derivative),
        (TenColumnsHalved, Law::Derivative),
        (WidthRefused, Law::Refuses),
        (WidthPanics, Law::NoPanic),
        (NegativeSum, Law::Refuses),
    ] {
        list.push(Entry::wrong(name(&kind), law, of_loss(kind)));
    }
    for kind in [Normed, Average] {
        list.push(Entry::right(name(&kind), of_transform(kind, &[])));
    }
    list.push(Entry::wrong(
        name(&ClipOfZero),
        Law::Extremes,
        of_transform(ClipOfZero, &[Law::ReducesNorm, Law::KeepsDirection]),
    ));
    for (kind, law) in [
        (NormedOfZero, Law::Extremes),
        (BiasClimbs, Law::Downhill),
        (GainClimbs, Law::Downhill),
        (NeighbourBesideFrozen, Law::FrozenBlocks),
        (AverageBeginsNowhere, Law::TrueReports),
    ] {
        list.push(Entry::wrong(name(&kind), law, of_transform(kind, &[])));
    }
    let of_gates = |kind: Gates| move |seed| initializer_laws(&kind, seed);
    list.push(Entry::right(name(&Gates::Independent), of_gates(Gates::Independent)));
    for (kind, law) in [
        (Gates::ThirdCopied, Law::Distinct),
        (Gates::LastNegated, Law::Uncorrelated),
        (Gates::Correlated, Law::Uncorrelated),
    ] {
        list.push(Entry::wrong(name(&kind), law, of_gates(kind)));
    }
    for kind in
        [Needs::Validation, Needs::Accuracy, Needs::LearningRate, Needs::Applied, Needs::OneRank, Needs::NothingSkipped]
    {
        let entry = move |seed| monitor_laws(|| kind, seed);
        list.push(Entry::wrong(format!("rare/Needs{kind:?}"), Law::SurvivesAnything, entry));
    }
    list
}
