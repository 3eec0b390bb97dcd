//! Layers: an affine map and a norm that keep their laws, inside a wrapper that spoils one thing.

use crate::{Entry, Verdict};
use chainrule::{
    BatchShape, Block, Error, Layer, Mode, Role, Scalar,
    layer::{
        Backward, BatchNorm, Context, Dims, Forward, LayerNorm, Linear, MemorySizes, RmsNorm, Samples, Sequential,
    },
    monitor::Factor,
    rand_core::Rng,
    random::{generator, uniform},
    scalar,
    testing::{Dual, Law, Layers, layer_laws},
    to_f64,
};
use std::sync::Mutex;

/// What happens to the output, given the input, and to the gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right.
    Plain,
    Scaled,
    Squashed,
    Clipped,
    Softmax,
    Normalized,
    Masked,
    MaskedByBatch,
    // Wrong: gradients at unusual inputs, sizes or modes.
    GradientClamped,
    LargeInputsDropped,
    SoftmaxWithoutMaximum,
    SquashedByExponentials,
    ThousandRowsDropped,
    RowsBeyondTwenty,
    EvaluationHalved,
    GradientMeanOverRows,
    SmallGradientFlushed,
    // Wrong: what is kept.
    InputRemembered,
    OutputOfCallsBefore,
    LastInputAsBias,
    // Wrong: masks.
    MaskIgnoresSeed,
    MaskIgnoresStep,
    MaskIgnoresSample,
    MaskIgnoresPart,
    MaskInEvaluation,
    MaskOfOtherBackward,
    // Wrong: facts.
    SavesInInference,
    StateInTraining,
    BoundOfSmallWeights,
    BoundOfFirstRow,
    BoundAtOneStep,
    // Wrong: panics.
    PanicsAtZeroInput,
    PanicsAtManySteps,
    PanicsBackward,
}

use Kind::*;

#[derive(Debug)]
struct Wrapped {
    kind: Kind,
    inner: Linear,
    seen: Mutex<Vec<f64>>,
}

const INPUTS: usize = 3;
const OUTPUTS: usize = 4;
const KEPT: f64 = 0.7;

impl Wrapped {
    fn masks(&self) -> bool {
        matches!(
            self.kind,
            Masked
                | MaskedByBatch
                | MaskIgnoresSeed
                | MaskIgnoresStep
                | MaskIgnoresSample
                | MaskIgnoresPart
                | MaskInEvaluation
                | MaskOfOtherBackward
        )
    }

    /// The factor of an output by dropout.
    fn mask(
        &self,
        shape: BatchShape<'_>,
        mode: Mode,
        key: Option<[u64; 3]>,
        place: usize,
        row: usize,
        column: usize,
    ) -> f64 {
        let Some([seed, step, first]) = key.filter(|_| self.masks()) else { return 1.0 };
        if mode != Mode::Train && self.kind != MaskInEvaluation {
            return 1.0;
        }
        let at = |step: usize| (0..shape.batch).filter(move |&s| step < shape.length(s)).map(move |s| (step, s));
        let (time, sample) = (0..shape.steps).flat_map(at).nth(row).expect("a row of the shape");
        let sample = first + sample as u64;
        let key = match self.kind {
            MaskIgnoresSeed => [step, sample, place as u64],
            MaskIgnoresStep => [seed, sample, place as u64],
            MaskIgnoresSample => [seed, step, place as u64],
            MaskIgnoresPart => [seed, step, sample],
            _ => [seed ^ (step << 20), sample, place as u64],
        };
        let mut mixed = 0x9E37_79B9_7F4A_7C15u64;
        for part in key.into_iter().chain([time as u64, column as u64]) {
            mixed = (mixed ^ part).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(29);
        }
        if uniform(&mut generator(mixed)) < KEPT { 1.0 / KEPT } else { 0.0 }
    }

    /// A row of outputs and, with a gradient, its gradient.
    fn row<T: Scalar>(&self, z: &[T], y: &mut [T], dy: Option<&mut [T]>) {
        let (zero, one) = (T::zero(), T::one());
        let n = scalar::<T>(z.len() as f64);
        match self.kind {
            Squashed | SquashedByExponentials => {
                for (y, &z) in y.iter_mut().zip(z) {
                    *y = if self.kind == Squashed { z.tanh() } else { (z.exp() - (-z).exp()) / (z.exp() + (-z).exp()) };
                }
                if let Some(dy) = dy {
                    dy.iter_mut().zip(z).for_each(|(dy, &z)| *dy *= z.cosh().recip() * z.cosh().recip());
                }
            }
            Clipped => {
                let most = scalar::<T>(2.0);
                y.iter_mut().zip(z).for_each(|(y, &z)| {
                    *y = if z > most {
                        most
                    } else if z < -most {
                        -most
                    } else {
                        z
                    }
                });
                if let Some(dy) = dy {
                    dy.iter_mut().zip(z).filter(|(_, z)| z.abs() > most).for_each(|(dy, _)| *dy = zero);
                }
            }
            Softmax | SoftmaxWithoutMaximum => {
                let most = z.iter().fold(z[0], |most, &z| most.max(z));
                let most = if self.kind == Softmax { most } else { zero };
                let sum = z.iter().fold(zero, |sum, &z| sum + (z - most).exp());
                y.iter_mut().zip(z).for_each(|(y, &z)| *y = (z - most).exp() / sum);
                if let Some(dy) = dy {
                    let mean = dy.iter().zip(&*y).fold(zero, |sum, (&dy, &y)| sum + dy * y);
                    dy.iter_mut().zip(&*y).for_each(|(dy, &y)| *dy = y * (*dy - mean));
                }
            }
            Normalized => {
                let epsilon = scalar::<T>(1e-3);
                let mean = z.iter().fold(zero, |sum, &z| sum + z) / n;
                let square = z.iter().fold(zero, |sum, &z| sum + (z - mean) * (z - mean)) / n;
                let inverse = (square + epsilon).sqrt().recip();
                y.iter_mut().zip(z).for_each(|(y, &z)| *y = (z - mean) * inverse);
                if let Some(dy) = dy {
                    let sum = dy.iter().fold(zero, |sum, &dy| sum + dy) / n;
                    let along = dy.iter().zip(&*y).fold(zero, |sum, (&dy, &y)| sum + dy * y) / n;
                    dy.iter_mut().zip(&*y).for_each(|(dy, &y)| *dy = inverse * (*dy - sum - y * along));
                }
            }
            Scaled => {
                let by = one + one;
                y.iter_mut().zip(z).for_each(|(y, &z)| *y = by * z);
                dy.into_iter().flatten().for_each(|dy| *dy *= by);
            }
            _ => y.copy_from_slice(z),
        }
    }
}

impl<T: Scalar> Layer<T> for Wrapped {
    fn dims(&self) -> Dims {
        Layer::<T>::dims(&self.inner)
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let mut memory = Layer::<T>::memory(&self.inner, shape, mode);
        memory.saved = if mode.saves() || self.kind == SavesInInference { shape.rows() * OUTPUTS } else { 0 };
        memory.scratch += shape.rows() * 2 * OUTPUTS;
        memory.state = usize::from(self.kind == StateInTraining && mode == Mode::Train);
        memory
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        self.inner.initialize(w, rng)
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("weight", 0, [OUTPUTS, INPUTS], Role::Weight));
        visit(Block::new("bias", OUTPUTS * INPUTS, [OUTPUTS, 1], Role::Bias));
    }

    fn samples(&self) -> Samples {
        if self.kind == MaskedByBatch { Samples::Coupled } else { Samples::Independent }
    }

    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        let square = |w: &[T]| w.iter().map(|&w| to_f64(w).powi(2)).sum::<f64>();
        let weights = &w[..OUTPUTS * INPUTS];
        match self.kind {
            Plain => Some(1.001 * square(weights).sqrt()),
            BoundOfSmallWeights => Some(1.001 * square(weights).sqrt().min(3.0)),
            BoundOfFirstRow => Some(1.001 * square(&weights[..INPUTS]).sqrt()),
            BoundAtOneStep => Some(square(weights).sqrt() / shape.steps as f64),
            _ => None,
        }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Context { shape, mode, dropout, path, .. } = pass.ctx;
        let at = path.index();
        let key = (!dropout.off).then_some([dropout.seed, dropout.step, dropout.first_sample]);
        let Forward { x, y, saved, .. } = pass;
        match self.kind {
            PanicsAtZeroInput => assert!(x.iter().any(|x| !x.is_zero()), "all inputs are zero"),
            PanicsAtManySteps => assert!(shape.steps < 10, "too many steps"),
            _ => {}
        }
        let mut z = vec![T::zero(); OUTPUTS];
        for (i, (x, y)) in x.chunks(INPUTS).zip(y.chunks_mut(OUTPUTS)).enumerate() {
            for (j, z) in z.iter_mut().enumerate() {
                *z = x.iter().zip(&w[j * INPUTS..]).fold(w[OUTPUTS * INPUTS + j], |sum, (&x, &w)| sum + x * w);
            }
            if self.kind == OutputOfCallsBefore || self.kind == LastInputAsBias {
                let mut seen = self.seen.lock().unwrap();
                let last = seen.last().copied().unwrap_or(0.0);
                z[0] += scalar(1e-6 * last);
                seen.push(if self.kind == LastInputAsBias { to_f64(x[0]) } else { last + 1.0 });
            }
            if !saved.is_empty() {
                saved[i * OUTPUTS..][..OUTPUTS].copy_from_slice(&z);
            }
            self.row(&z, y, None);
            for (j, y) in y.iter_mut().enumerate() {
                *y *= scalar(self.mask(shape, mode, key, at, i, j));
            }
        }
        if self.kind == InputRemembered {
            *self.seen.lock().unwrap() = x.iter().map(|&x| to_f64(x)).collect();
        }
        pass.ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Context { shape, mode, dropout, path, .. } = pass.ctx;
        let at = path.index();
        let mut key = (!dropout.off).then_some([dropout.seed, dropout.step, dropout.first_sample]);
        if self.kind == MaskOfOtherBackward {
            key.iter_mut().for_each(|key| key[1] += 1);
        }
        let Backward { x, saved, dy, mut dx, dw, .. } = pass;
        assert!(self.kind != PanicsBackward || shape.rows() < 6, "too many rows");
        let (mut y, mut dz) = (vec![T::zero(); OUTPUTS], vec![T::zero(); OUTPUTS]);
        let remembered = self.seen.lock().unwrap().clone();
        let rows = shape.rows();
        for (i, dy) in dy.chunks(OUTPUTS).enumerate() {
            let z = &saved[i * OUTPUTS..][..OUTPUTS];
            for (j, (dz, &dy)) in dz.iter_mut().zip(dy).enumerate() {
                *dz = dy * scalar(self.mask(shape, mode, key, at, i, j));
            }
            self.row(z, &mut y, Some(&mut dz));
            let mut x: Vec<T> = x[i * INPUTS..][..INPUTS].to_vec();
            match self.kind {
                GradientClamped => dz.iter_mut().for_each(|dz| *dz = dz.max(scalar(-3.5)).min(scalar(3.5))),
                LargeInputsDropped if x.iter().any(|x| x.abs() > scalar(20.0)) => dz.fill(T::zero()),
                ThousandRowsDropped if i >= 1024 => dz.fill(T::zero()),
                RowsBeyondTwenty if i >= 20 && rows < 24 => dz.fill(T::zero()),
                EvaluationHalved if mode == Mode::Evaluate => dz.iter_mut().for_each(|dz| *dz *= scalar(0.5)),
                SmallGradientFlushed => {
                    dz.iter_mut().filter(|dz| dz.abs() < scalar(1e-3)).for_each(|dz| *dz = T::zero());
                }
                InputRemembered => {
                    for (x, &seen) in x.iter_mut().zip(remembered.get(i * INPUTS..).unwrap_or(&[])) {
                        *x = scalar(seen);
                    }
                }
                _ => {}
            }
            let share = if self.kind == GradientMeanOverRows { scalar(1.0 / rows as f64) } else { T::one() };
            for (j, &dz) in dz.iter().enumerate() {
                for (k, &x) in x.iter().enumerate() {
                    dw[j * INPUTS + k] += share * dz * x;
                }
                dw[OUTPUTS * INPUTS + j] += share * dz;
            }
            if let Some(dx) = dx.as_deref_mut() {
                for (k, dx) in dx[i * INPUTS..][..INPUTS].iter_mut().enumerate() {
                    *dx = dz.iter().enumerate().fold(T::zero(), |sum, (j, &dz)| sum + dz * w[j * INPUTS + k]);
                }
            }
        }
        if let Some(dx) = dx {
            pass.ctx.report_backward(Factor::Other, dy, dx);
        }
    }
}

/// `y = (x − mean) / √(variance + ε)`, each row.
#[derive(Debug)]
struct Norm {
    epsilon: f64,
}

impl Norm {
    /// 1/√(variance + ε); `y` is written.
    fn row<T: Scalar>(&self, x: &[T], y: &mut [T]) -> T {
        let n = scalar::<T>(x.len() as f64);
        let mean = x.iter().fold(T::zero(), |sum, &x| sum + x) / n;
        let square = x.iter().fold(T::zero(), |sum, &x| sum + (x - mean) * (x - mean)) / n;
        let inverse = (square + scalar(self.epsilon)).sqrt().recip();
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - mean) * inverse);
        inverse
    }
}

impl<T: Scalar> Layer<T> for Norm {
    fn dims(&self) -> Dims {
        Dims::new(OUTPUTS, OUTPUTS, 0)
    }

    fn forward(&self, _: &[T], pass: Forward<'_, T>) {
        for (x, y) in pass.x.chunks(OUTPUTS).zip(pass.y.chunks_mut(OUTPUTS)) {
            self.row(x, y);
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    fn backward(&self, _: &[T], pass: Backward<'_, T>) {
        let Some(dx) = pass.dx else { return };
        let mut y = vec![T::zero(); OUTPUTS];
        let n = scalar::<T>(OUTPUTS as f64);
        for ((x, dy), dx) in pass.x.chunks(OUTPUTS).zip(pass.dy.chunks(OUTPUTS)).zip(dx.chunks_mut(OUTPUTS)) {
            let inverse = self.row(x, &mut y);
            let sum = dy.iter().fold(T::zero(), |sum, &dy| sum + dy) / n;
            let along = dy.iter().zip(&y).fold(T::zero(), |sum, (&dy, &y)| sum + dy * y) / n;
            for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(&y) {
                *dx = inverse * (dy - sum - y * along);
            }
        }
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}

fn judge(kind: Kind) -> impl Fn(u64) -> Verdict {
    move |seed| {
        let layer = Wrapped { kind, inner: Linear::new(INPUTS, OUTPUTS), seen: Mutex::new(Vec::new()) };
        layer_laws(Layers::of(&layer), seed)
    }
}

fn right<L: Layer<f32> + Layer<f64> + Layer<Dual<f64>> + 'static>(name: &str, layer: L) -> Entry {
    Entry::right(format!("layer/{name}"), move |seed| layer_laws(Layers::of(&layer), seed))
}

/// Biases before a batch norm, whose gradient is 0 but for rounding.
fn network<T: Scalar>() -> Sequential<T> {
    let input = Sequential::input(3).linear(4).batch_norm().relu();
    input.residual(|branch| branch.linear(4).batch_norm()).build().expect("a network")
}

pub fn entries() -> Vec<Entry> {
    let mut all = vec![
        right("Norm", Norm { epsilon: 1e-3 }),
        Entry::wrong("layer/NormWithoutEpsilon", Law::Extremes, |seed| {
            layer_laws(Layers::of(&Norm { epsilon: 0.0 }), seed)
        }),
        right("Linear_wide", Linear::new(34, 9)),
        right("LayerNorm", LayerNorm::new(5)),
        right("LayerNorm_two", LayerNorm::new(2)),
        right("RmsNorm_one", RmsNorm::new(1)),
        right("BatchNorm", BatchNorm::new(3)),
        right("BatchNorm_plain", BatchNorm::new(17).without_affine()),
        Entry::right("layer/BatchNorm_network", |seed| {
            let layers = Layers { single: &network::<f32>(), double: &network::<f64>(), dual: &network() };
            layer_laws(layers, seed)
        }),
    ];
    for kind in [Plain, Scaled, Squashed, Clipped, Softmax, Normalized, Masked, MaskedByBatch] {
        all.push(Entry::right(format!("layer/{kind:?}"), judge(kind)));
    }
    for (kind, law) in [
        (GradientClamped, Law::Adjoint),
        (LargeInputsDropped, Law::Adjoint),
        (SoftmaxWithoutMaximum, Law::Extremes),
        (SquashedByExponentials, Law::Extremes),
        (ThousandRowsDropped, Law::Adjoint),
        (RowsBeyondTwenty, Law::Split),
        (EvaluationHalved, Law::Adjoint),
        (GradientMeanOverRows, Law::Adjoint),
        (SmallGradientFlushed, Law::Adjoint),
        (InputRemembered, Law::Repeatable),
        (OutputOfCallsBefore, Law::Repeatable),
        (LastInputAsBias, Law::Repeatable),
        (MaskIgnoresSeed, Law::DropoutKey),
        (MaskIgnoresStep, Law::DropoutKey),
        (MaskIgnoresSample, Law::DropoutKey),
        (MaskIgnoresPart, Law::DropoutKey),
        (MaskInEvaluation, Law::DropoutKey),
        (MaskOfOtherBackward, Law::Adjoint),
        (SavesInInference, Law::MemoryGrows),
        (StateInTraining, Law::MemoryGrows),
        (BoundOfSmallWeights, Law::GainBound),
        (BoundOfFirstRow, Law::GainBound),
        (BoundAtOneStep, Law::GainBound),
        (PanicsAtZeroInput, Law::NoPanic),
        (PanicsAtManySteps, Law::NoPanic),
        (PanicsBackward, Law::NoPanic),
    ] {
        all.push(Entry::wrong(format!("layer/{kind:?}"), law, judge(kind)));
    }
    all
}
