//! Layers and cells as an outside tester wrote them: gates that saturate, and faults that show in one mode, one format
//! or one shape. Wrong ones must be reported by the first cause.

use crate::{Entry, Verdict};
use chainrule::{
    BatchShape, Block, Error, Gate, Layer, Mode, Role, Scalar,
    activation::{Activation, AnyActivation, Sigmoid, Tanh},
    layer::{
        Backward, Dims, Forward, Hints, LayerNorm, Linear, MemorySizes, PartSizes, Samples, Sequential, Structure,
    },
    monitor::Factor,
    rand_core::Rng,
    random::uniform,
    recurrent::{Cell, CellBackward, CellForward, CellSizes},
    scalar,
    testing::{Dual, Law, LayerCases, Layers, cell_laws, layer_laws, layer_laws_with},
    to_f64,
};
use std::sync::Mutex;

const N: usize = 3;

fn dot<T: Scalar>(a: &[T], b: &[T]) -> T {
    a.iter().zip(b).fold(T::zero(), |sum, (&a, &b)| sum + a * b)
}

fn random<T: Scalar>(w: &mut [T], rng: &mut dyn Rng) {
    w.iter_mut().for_each(|w| *w = scalar(uniform(rng) - 0.5));
}

/// Gates whose saved values saturate, with the derivatives of textbooks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gated {
    /// y = softmax(g x) ⊙ x, with one g.
    SelfGate,
    /// y = Σ_t a_t x_t with a = softmax_t(⟨q, x_t⟩), over the steps.
    Attention,
    /// y = t ⊙ tanh(W x) + (1 − t) ⊙ x with t = σ(V x + c).
    Highway,
}

use Gated::*;

impl Gated {
    fn saved_of_row(self) -> usize {
        match self {
            SelfGate => N,
            Attention => 1,
            Highway => 2 * N,
        }
    }
}

/// Exponentials of `z` minus its maximum, divided by their sum.
fn softmax<T: Scalar>(z: &mut [T]) {
    let most = z.iter().fold(T::neg_infinity(), |most, &z| most.max(z));
    z.iter_mut().for_each(|z| *z = (*z - most).exp());
    let sum = z.iter().fold(T::zero(), |sum, &z| sum + z);
    z.iter_mut().for_each(|z| *z /= sum);
}

impl<T: Scalar> Layer<T> for Gated {
    fn dims(&self) -> Dims {
        Dims::new(N, N, [1, N, 2 * N * N + N][*self as usize])
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        match self {
            SelfGate => visit(Block::new("sharpness", 0, [1, 1], Role::Gain)),
            Attention => visit(Block::new("query", 0, [1, N], Role::Weight)),
            Highway => {
                visit(Block::new("carry", 0, [N, N], Role::Weight));
                visit(Block::new("gate", N * N, [N, N], Role::Weight));
                visit(Block::new("bias", 2 * N * N, [N, 1], Role::Bias));
            }
        }
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        random(w, rng);
        Ok(())
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let saved = if mode.saves() { self.saved_of_row() * shape.rows() } else { 0 };
        MemorySizes::new(saved, 0, 0)
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        if *self == Attention { shape.collapsed() } else { shape }
    }

    fn reads_later_steps(&self) -> bool {
        *self == Attention
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Forward { x, y, saved, ctx, .. } = pass;
        let shape = ctx.shape;
        let mut kept = vec![T::zero(); self.saved_of_row() * shape.rows()];
        match self {
            SelfGate => {
                for ((a, x), y) in kept.chunks_mut(N).zip(x.chunks(N)).zip(y.chunks_mut(N)) {
                    a.iter_mut().zip(x).for_each(|(a, &x)| *a = w[0] * x);
                    softmax(a);
                    (0..N).for_each(|j| y[j] = a[j] * x[j]);
                }
            }
            Attention => {
                for (sample, y) in y.chunks_mut(N).enumerate() {
                    let rows: Vec<usize> = (0..shape.length(sample)).map(|step| shape.row(step, sample)).collect();
                    let mut a: Vec<T> = rows.iter().map(|row| dot(w, &x[row * N..][..N])).collect();
                    softmax(&mut a);
                    y.fill(T::zero());
                    for (&row, &a) in rows.iter().zip(&a) {
                        kept[row] = a;
                        (0..N).for_each(|j| y[j] += a * x[row * N + j]);
                    }
                }
            }
            Highway => {
                for ((own, x), y) in kept.chunks_mut(2 * N).zip(x.chunks(N)).zip(y.chunks_mut(N)) {
                    for k in 0..N {
                        let h = dot(&w[k * N..][..N], x).tanh();
                        let t = Sigmoid.value(dot(&w[(N + k) * N..][..N], x) + w[2 * N * N + k]);
                        y[k] = t * h + (T::one() - t) * x[k];
                        (own[k], own[N + k]) = (h, t);
                    }
                }
            }
        }
        let count = saved.len();
        saved.copy_from_slice(&kept[..count]);
        ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { x, dy, dx, dw, saved, ctx, .. } = pass;
        let (shape, one) = (ctx.shape, T::one());
        let mut d = vec![T::zero(); x.len()];
        match self {
            SelfGate => {
                for (row, a) in saved.chunks(N).enumerate() {
                    let (x, dy, d) = (&x[row * N..][..N], &dy[row * N..][..N], &mut d[row * N..][..N]);
                    let mean = (0..N).fold(T::zero(), |sum, j| sum + dy[j] * x[j] * a[j]);
                    for j in 0..N {
                        let dz = a[j] * (dy[j] * x[j] - mean);
                        dw[0] += dz * x[j];
                        d[j] = dy[j] * a[j] + dz * w[0];
                    }
                }
            }
            Attention => {
                for (sample, dy) in dy.chunks(N).enumerate() {
                    let rows: Vec<usize> = (0..shape.length(sample)).map(|step| shape.row(step, sample)).collect();
                    let along = |row: usize| dot(dy, &x[row * N..][..N]);
                    let mean = rows.iter().fold(T::zero(), |sum, &row| sum + saved[row] * along(row));
                    for &row in &rows {
                        let dz = saved[row] * (along(row) - mean);
                        for j in 0..N {
                            dw[j] += dz * x[row * N + j];
                            d[row * N + j] = saved[row] * dy[j] + dz * w[j];
                        }
                    }
                }
            }
            Highway => {
                for (row, own) in saved.chunks(2 * N).enumerate() {
                    let (x, dy, d) = (&x[row * N..][..N], &dy[row * N..][..N], &mut d[row * N..][..N]);
                    for k in 0..N {
                        let (h, t) = (own[k], own[N + k]);
                        let (dh, dt) = (dy[k] * t * (one - h * h), dy[k] * (h - x[k]) * t * (one - t));
                        for j in 0..N {
                            dw[k * N + j] += dh * x[j];
                            dw[(N + k) * N + j] += dt * x[j];
                            d[j] += dh * w[k * N + j] + dt * w[(N + k) * N + j];
                        }
                        dw[2 * N * N + k] += dt;
                        d[k] += dy[k] * (one - t);
                    }
                }
            }
        }
        if let Some(dx) = dx {
            dx.copy_from_slice(&d);
            ctx.report_backward(Factor::Other, dy, dx);
        }
    }
}

/// y = W x + b with one fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    InputSkippedIfAllFrozen,
    BiasMissingInEvaluationAt40,
    BiasMissingInEvaluationOfUnequal,
    SilentInEvaluation,
    SilentInSingle,
    SilentBeyondTwoRows,
    OtherFactorBackward,
    MaskStaysOnBackward,
    MaskInEvaluation,
    SaysInputIgnored,
    ReadsScratch,
    InputGradientAdded,
    WeightGradientAssigned,
    MeanOfBatchSubtracted,
}

use Fault::*;

impl Fault {
    fn mask<T: Scalar>(self, ctx: &chainrule::layer::Context<'_, T>, row: usize, backward: bool) -> bool {
        let drawn = match self {
            MaskStaysOnBackward if backward => ctx.mode == Mode::Train,
            MaskStaysOnBackward => ctx.mode == Mode::Train && !ctx.dropout.off,
            MaskInEvaluation => !ctx.dropout.off,
            _ => false,
        };
        let (mut time, mut sample) = (0, row);
        while sample >= ctx.shape.active(time) {
            sample -= ctx.shape.active(time);
            time += 1;
        }
        let key = [ctx.dropout.seed, ctx.dropout.step, ctx.dropout.first_sample + sample as u64];
        let all = key.into_iter().chain([ctx.path.index() as u64, time as u64]);
        let mixed = all.fold(0x51_7C_C1_B7_27_22_0A_95u64, |mixed, part| {
            (mixed ^ part).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(32)
        });
        drawn && mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 62 == 0
    }
}

impl<T: Scalar> Layer<T> for Fault {
    fn dims(&self) -> Dims {
        Dims::new(N, N, N * N + N)
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("weight", 0, [N, N], Role::Weight));
        visit(Block::new("bias", N * N, [N, 1], Role::Bias));
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        random(w, rng);
        Ok(())
    }

    fn memory(&self, _: BatchShape<'_>, _: Mode) -> MemorySizes {
        MemorySizes::new(0, N, 0)
    }

    fn hints(&self) -> Hints {
        if *self == SaysInputIgnored { Hints::NONE.ignores_x() } else { Hints::NONE }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Forward { x, y, scratch, ctx, .. } = pass;
        for (row, (x, y)) in x.chunks(N).zip(y.chunks_mut(N)).enumerate() {
            for k in 0..N {
                let begin = if *self == ReadsScratch { scratch[k] } else { T::zero() };
                y[k] = begin + dot(&w[k * N..][..N], x) + w[N * N + k];
            }
            if self.mask(&ctx, row, false) {
                y.fill(T::zero());
            }
        }
        if *self == MeanOfBatchSubtracted {
            let rows = scalar::<T>(x.chunks(N).count() as f64);
            for k in 0..N {
                let mean = y.iter().skip(k).step_by(N).fold(T::zero(), |sum, &y| sum + y) / rows;
                y.iter_mut().skip(k).step_by(N).for_each(|y| *y -= mean);
            }
        }
        ctx.report_forward(Factor::Weights, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { x, dy, dx, dw, ctx, trainable, .. } = pass;
        let (shape, mode) = (ctx.shape, ctx.mode);
        let mut dz = dy.to_vec();
        if *self == MeanOfBatchSubtracted {
            let rows = scalar::<T>(shape.rows() as f64);
            for k in 0..N {
                let mean = dy.iter().skip(k).step_by(N).fold(T::zero(), |sum, &dy| sum + dy) / rows;
                dz.iter_mut().skip(k).step_by(N).for_each(|dz| *dz -= mean);
            }
        }
        let without_bias = mode == Mode::Evaluate
            && match self {
                BiasMissingInEvaluationAt40 => shape.batch == 40,
                BiasMissingInEvaluationOfUnequal => shape.lengths.is_some(),
                _ => false,
            };
        for (row, dz) in dz.chunks_mut(N).enumerate() {
            if self.mask(&ctx, row, true) {
                dz.fill(T::zero());
            }
            for k in 0..N {
                for j in 0..N {
                    let by = dz[k] * x[row * N + j];
                    let at = &mut dw[k * N + j];
                    *at = if *self == WeightGradientAssigned { by } else { *at + by };
                }
                if !without_bias {
                    dw[N * N + k] += dz[k];
                }
            }
        }
        if *self == InputSkippedIfAllFrozen && !trainable.block(0) && !trainable.block(1) {
            return;
        }
        let Some(dx) = dx else { return };
        for (dx, dz) in dx.chunks_mut(N).zip(dz.chunks(N)) {
            for j in 0..N {
                let begin = if *self == InputGradientAdded { dx[j] } else { T::zero() };
                dx[j] = (0..N).fold(begin, |sum, k| sum + dz[k] * w[k * N + j]);
            }
        }
        let silent = match self {
            SilentInEvaluation => mode == Mode::Evaluate,
            SilentInSingle => size_of::<T>() == 4,
            SilentBeyondTwoRows => shape.rows() > 2,
            _ => false,
        };
        if !silent {
            ctx.report_backward(
                if *self == OtherFactorBackward { Factor::Activation } else { Factor::Weights },
                dy,
                dx,
            );
        }
    }
}

/// y = x minus a mean that passes in training move, in a `Mutex`: hidden from the caller.
#[derive(Debug)]
struct RunningMean(Mutex<f64>);

impl<T: Scalar> Layer<T> for RunningMean {
    fn dims(&self) -> Dims {
        Dims::new(N, N, 0)
    }

    fn samples(&self) -> Samples {
        Samples::CoupledInTraining
    }

    fn forward(&self, _: &[T], pass: Forward<'_, T>) {
        let Forward { x, y, ctx, .. } = pass;
        let mut running = self.0.lock().unwrap();
        let mut mean = scalar(*running);
        if ctx.mode == Mode::Train {
            mean = x.iter().fold(T::zero(), |sum, &x| sum + x) / scalar(x.len() as f64);
            *running += 0.1 * (to_f64(mean) - *running);
        }
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x - mean);
        ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, _: &[T], pass: Backward<'_, T>) {
        let Backward { dy, dx, ctx, .. } = pass;
        let Some(dx) = dx else { return };
        let sum = dy.iter().fold(T::zero(), |sum, &dy| sum + dy);
        let mean = if ctx.mode == Mode::Train { sum / scalar(dy.len() as f64) } else { T::zero() };
        dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = dy - mean);
        ctx.report_backward(Factor::Other, dy, dx);
    }
}

/// y = f(x) + g(x), with what a container may get wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Container {
    Sum,
    BoundOfTheLarger,
    RunsAPartTwice,
    /// Both parts have dropout, the second one with the same masks for each seed.
    SeedOfAPartFixed,
    PartsForBranches,
}

#[derive(Debug)]
struct Pair<T: Scalar> {
    kind: Container,
    parts: [Box<dyn Layer<T>>; 2],
}

impl<T: Scalar> Pair<T> {
    fn new(kind: Container) -> Self {
        let network = Sequential::input(N).linear(4).activation(Tanh).linear(N).build().expect("a network");
        if kind == Container::SeedOfAPartFixed {
            let masked = || Sequential::input(N).dropout(0.5).linear(N).build().expect("a network");
            return Pair { kind, parts: [Box::new(masked()), Box::new(masked())] };
        }
        Pair { kind, parts: [Box::new(Linear::new(N, N)), Box::new(network)] }
    }

    fn sizes(&self) -> PartSizes {
        PartSizes::of(&*self.parts[0])
    }
}

impl<T: Scalar> Layer<T> for Pair<T> {
    fn dims(&self) -> Dims {
        Dims::new(N, N, self.parts.iter().map(|part| part.dims().parameters).sum())
    }

    fn structure(&self) -> Structure<'_, T> {
        Structure::branches().part("map", &*self.parts[0]).part("network", &*self.parts[1])
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let [f, g] = [0, 1].map(|i| self.parts[i].memory(shape, mode));
        let values = shape.rows() * N;
        let saved = if mode.saves() { f.saved + g.saved + 2 * values } else { 0 };
        MemorySizes::new(saved, f.scratch.max(g.scratch) + 2 * values, 0)
    }

    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        let (f, g) = w.split_at(self.sizes().parameters);
        let (f, g) = (self.parts[0].gain_bound(f, shape)?, self.parts[1].gain_bound(g, shape)?);
        Some(if self.kind == Container::BoundOfTheLarger { f.max(g) } else { f + g })
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Forward { x, y, saved, scratch, mut ctx, .. } = pass;
        let (shape, mode, sizes) = (ctx.shape, ctx.mode, self.sizes());
        let (own, parts) = saved.split_at_mut(if mode.saves() { 2 * y.len() } else { 0 });
        let (spare, scratch) = scratch.split_at_mut(2 * y.len());
        let both = if mode.saves() { own } else { spare };
        let (first, second) = parts.split_at_mut(self.parts[0].memory(shape, mode).saved);
        let saves = [first, second];
        let (fw, gw) = w.split_at(sizes.parameters);
        for (i, ((w, saved), y)) in [fw, gw].into_iter().zip(saves).zip(both.chunks_mut(y.len())).enumerate() {
            let offset = 1 + i * sizes.links;
            let twice = i == 1 && self.kind == Container::RunsAPartTwice;
            for _ in 0..1 + usize::from(twice) {
                let mut ctx =
                    if self.kind == Container::PartsForBranches { ctx.part(offset) } else { ctx.branch(offset) };
                if i == 1 && self.kind == Container::SeedOfAPartFixed {
                    ctx.dropout.seed = 3;
                }
                self.parts[i].forward(w, Forward::new(x, y, saved, scratch, ctx));
            }
        }
        let (f, g) = both.split_at(y.len());
        y.iter_mut().zip(f.iter().zip(g)).for_each(|(y, (&f, &g))| *y = f + g);
        ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { x, dy, dx, dw, saved, scratch, trainable, mut ctx, .. } = pass;
        let (shape, mode, sizes) = (ctx.shape, ctx.mode, self.sizes());
        let (both, parts) = saved.split_at_mut(2 * dy.len());
        let (gradients, scratch) = scratch.split_at_mut(2 * x.len());
        let (first, second) = parts.split_at_mut(self.parts[0].memory(shape, mode).saved);
        let saves = [first, second];
        let (fw, gw) = w.split_at(sizes.parameters);
        let (df, dg) = dw.split_at_mut(sizes.parameters);
        let each = [fw, gw].into_iter().zip([df, dg]).zip(saves).zip(both.chunks(dy.len()));
        for (i, ((((w, dw), saved), y), dx)) in each.zip(gradients.chunks_mut(x.len())).enumerate() {
            let offset = 1 + i * sizes.links;
            let mut ctx = if self.kind == Container::PartsForBranches { ctx.part(offset) } else { ctx.branch(offset) };
            if i == 1 && self.kind == Container::SeedOfAPartFixed {
                ctx.dropout.seed = 3;
            }
            let mut pass = Backward::new(x, y, dy, Some(dx), dw, saved, scratch, ctx);
            pass.trainable = trainable.part(i * sizes.blocks);
            self.parts[i].backward(w, pass);
        }
        let Some(dx) = dx else { return };
        let (f, g) = gradients.split_at(x.len());
        dx.iter_mut().zip(f.iter().zip(g)).for_each(|(dx, (&f, &g))| *dx = f + g);
        ctx.report_backward(Factor::Other, dy, dx);
    }
}

/// Cells with one gate that carries the state: h = f h_prev + (1 − f) tanh(z_n).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Carrying {
    Minimal,
    /// The gradient of the state before is written, not added.
    GradientAssigned,
    /// z_f also depends on the unit's own state, and monitors see it.
    Peephole,
    /// As `Peephole`, and monitors see the products with weights alone.
    PeepholeNotShown,
}

impl Carrying {
    fn peephole(self) -> f64 {
        if matches!(self, Carrying::Peephole | Carrying::PeepholeNotShown) { 0.7 } else { 0.0 }
    }
}

impl Cell for Carrying {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::carrying_state("forget"), Gate::new("candidate")] }
    }

    fn sizes(&self) -> CellSizes {
        CellSizes { cell_state: 0, between_stages: 0 }
    }

    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation> {
        Some(if gate == 0 { &Sigmoid } else { &Tanh })
    }

    fn forward<T: Scalar>(&self, _: usize, unit: CellForward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            unit.z[j] += scalar::<T>(self.peephole()) * unit.h_prev[j];
            if *self == Carrying::Peephole && !unit.monitored_z.is_empty() {
                unit.monitored_z[j] = unit.z[j];
            }
            let f = Sigmoid.value(unit.z[j]);
            unit.h[j] = f * unit.h_prev[j] + (T::one() - f) * unit.z[n + j].tanh();
        }
    }

    fn backward<T: Scalar>(&self, _: usize, unit: CellBackward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let (f, m, dh) = (Sigmoid.value(unit.z[j]), unit.z[n + j].tanh(), unit.d_h[j]);
            let df = dh * (unit.h_prev[j] - m) * Sigmoid.derivative(unit.z[j], f);
            let dn = dh * (T::one() - f) * Tanh.derivative(unit.z[n + j], m);
            let back = dh * f + scalar::<T>(self.peephole()) * df;
            let before = if *self == Carrying::GradientAssigned { T::zero() } else { unit.d_h_prev[j] };
            unit.d_h_prev[j] = before + back;
            (unit.z[j], unit.z[n + j]) = (df, dn);
        }
    }
}

/// What is said first: the cause, of which the rest follows.
fn first(verdict: Verdict) -> Verdict {
    verdict.map_err(|mut violations| {
        violations.violations.truncate(1);
        violations
    })
}

/// One cause, said once: with others beside it, `law` does not count as found.
fn alone(law: Law, verdict: Verdict) -> Verdict {
    verdict.map_err(|mut violations| {
        if violations.violations.len() > 1 {
            violations.violations.retain(|violation| violation.law != law);
        }
        violations
    })
}

fn pair(kind: Container) -> impl Fn(u64) -> Verdict {
    move |seed| {
        let layers = Layers { single: &Pair::new(kind), double: &Pair::new(kind), dual: &Pair::new(kind) };
        first(layer_laws(layers, seed))
    }
}

/// Layers whose gates saturate, one after the other.
fn network<T: Scalar>() -> Sequential<T> {
    let input = Sequential::input(N).layer(Highway).layer(LayerNorm::new(N)).layer(SelfGate);
    input.layer(Highway).linear(2).build().expect("a network")
}

pub fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    for kind in [SelfGate, Attention, Highway] {
        all.push(Entry::right(format!("layer/wild/{kind:?}"), move |seed| layer_laws(Layers::of(&kind), seed)));
    }
    all.push(Entry::right("layer/wild/network", |seed| {
        let layers = Layers { single: &network::<f32>(), double: &network::<f64>(), dual: &network::<Dual<f64>>() };
        layer_laws(layers, seed)
    }));
    all.push(Entry::right("layer/wild/Sum", pair(Container::Sum)));
    for (fault, law) in [
        (InputSkippedIfAllFrozen, Law::FrozenBlocks),
        (BiasMissingInEvaluationAt40, Law::Adjoint),
        (BiasMissingInEvaluationOfUnequal, Law::Adjoint),
        (SilentInEvaluation, Law::ReportsLinks),
        (SilentInSingle, Law::ReportsLinks),
        (SilentBeyondTwoRows, Law::ReportsLinks),
        (OtherFactorBackward, Law::ReportsLinks),
        (MaskStaysOnBackward, Law::Adjoint),
        (MaskInEvaluation, Law::DropoutKey),
        (SaysInputIgnored, Law::IgnoredRows),
        (ReadsScratch, Law::ReadsOnlyWritten),
        (InputGradientAdded, Law::Overwrites),
        (WeightGradientAssigned, Law::Accumulates),
        (MeanOfBatchSubtracted, Law::Split),
    ] {
        all.push(Entry::wrong(format!("layer/wild/{fault:?}"), law, move |seed| {
            let cases = LayerCases { shapes: &[BatchShape::batch(40)], ..LayerCases::default() };
            alone(law, layer_laws_with(Layers::of(&fault), cases, seed))
        }));
    }
    all.push(Entry::wrong("layer/wild/RunningMean", Law::Repeatable, |seed| {
        alone(Law::Repeatable, layer_laws(Layers::of(&RunningMean(Mutex::new(0.0))), seed))
    }));
    for (kind, law) in [
        (Container::BoundOfTheLarger, Law::GainBound),
        (Container::RunsAPartTwice, Law::ReportsLinks),
        (Container::SeedOfAPartFixed, Law::DropoutKey),
        (Container::PartsForBranches, Law::ReportsLinks),
    ] {
        all.push(Entry::wrong(format!("layer/wild/{kind:?}"), law, pair(kind)));
    }
    for kind in [Carrying::Minimal, Carrying::Peephole] {
        all.push(Entry::right(format!("cell/wild/{kind:?}"), move |seed| cell_laws(&kind, seed)));
    }
    for (kind, law) in [(Carrying::GradientAssigned, Law::Adjoint), (Carrying::PeepholeNotShown, Law::CellFacts)] {
        all.push(Entry::wrong(format!("cell/wild/{kind:?}"), law, move |seed| first(cell_laws(&kind, seed))));
    }
    all
}
