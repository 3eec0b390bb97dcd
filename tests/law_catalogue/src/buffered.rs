//! Layers with buffers: values that persist from pass to pass and that passes of training move.

use crate::{Entry, Verdict};
use chainrule::{
    BatchShape, Error, Layer, Mode, Scalar,
    layer::{Backward, Context, Dims, Forward, MemorySizes, Samples},
    monitor::Factor,
    rand_core::Rng,
    scalar,
    testing::{Law, Layers, layer_laws},
};
use std::sync::atomic::{AtomicU64, Ordering};

const WIDTH: usize = 3;

/// What is added to a variance.
const EPSILON: f64 = 1e-3;

/// Columns shifted and scaled by statistics of the batch in training, and by running ones otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Running {
    /// y = (x − μ)/√(σ² + ε).
    Standardized,
    /// y = x − μ.
    Centred,
    /// y = x/√(mean x² + ε).
    MeanSquare,
    /// `Standardized`, which reads its buffers in each pass.
    Read,
    /// `Standardized`, with a third buffer of each column that counts the passes.
    Counted,
    MeanTakenForConstant,
    VarianceTakenForConstant,
    EvaluatedGradientOfTheBatch,
    TrainedGradientOfRunning,
    IndependentSaid,
    CoupledInEvaluation,
    InferredByTheBatch,
    /// In inference the mean of the running statistics is left out.
    InferredWithoutMean,
    DividesByTheVariance,
    /// The variance divided by n − 1, also of one row.
    UnbiasedOfOneRow,
    /// A third buffer counts the passes of all layers.
    CountsForAll,
}

static PASSES: AtomicU64 = AtomicU64::new(0);

use Running::*;

impl Running {
    fn subtracts_mean(self) -> bool {
        self != MeanSquare
    }

    fn divides(self) -> bool {
        self != Centred
    }

    /// Mean and mean square deviation of each column of the batch.
    fn of_batch<T: Scalar>(self, x: &[T]) -> [[T; WIDTH]; 2] {
        let n = scalar::<T>((x.len() / WIDTH) as f64);
        let mean = |of: &dyn Fn(usize, T) -> T| -> [T; WIDTH] {
            std::array::from_fn(|j| x.iter().skip(j).step_by(WIDTH).fold(T::zero(), |sum, &x| sum + of(j, x)) / n)
        };
        let center = if self.subtracts_mean() { mean(&|_, x| x) } else { [T::zero(); WIDTH] };
        [center, mean(&|j, x| (x - center[j]) * (x - center[j]))]
    }

    /// The statistics of a pass, and whether they are those of its rows.
    fn statistics<T: Scalar>(self, x: &[T], ctx: &Context<'_, T>) -> ([[T; WIDTH]; 2], bool) {
        let by_batch = match ctx.mode {
            Mode::Train => true,
            Mode::Evaluate => self == CoupledInEvaluation,
            Mode::Infer => matches!(self, InferredByTheBatch | CoupledInEvaluation),
        };
        let buffers = ctx.buffers();
        if self == Read {
            assert_eq!(buffers.len(), 2 * WIDTH, "the buffers of this layer");
        }
        if by_batch || buffers.len() < 2 * WIDTH {
            return (self.of_batch(x), true);
        }
        let kept = |first: usize| std::array::from_fn(|j| buffers[first + j]);
        let center = if self == InferredWithoutMean && ctx.mode == Mode::Infer { [T::zero(); WIDTH] } else { kept(0) };
        ([center, kept(WIDTH)], false)
    }
}

impl<T: Scalar> Layer<T> for Running {
    fn dims(&self) -> Dims {
        Dims::new(WIDTH, WIDTH, 0)
    }

    fn memory(&self, _shape: BatchShape<'_>, _mode: Mode) -> MemorySizes {
        MemorySizes::new(0, 0, 0).buffers(if matches!(self, Counted | CountsForAll) { 3 * WIDTH } else { 2 * WIDTH })
    }

    fn initialize(&self, _w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
        Ok(())
    }

    fn initialize_buffers(&self, buffers: &mut [T]) {
        for (j, value) in buffers.iter_mut().enumerate() {
            *value = if j / WIDTH == 1 { scalar(1.0 + 0.5 * j as f64) } else { T::zero() };
        }
    }

    fn samples(&self) -> Samples {
        match self {
            IndependentSaid => Samples::Independent,
            _ => Samples::CoupledInTraining,
        }
    }

    fn forward(&self, _w: &[T], mut pass: Forward<'_, T>) {
        let ([mean, variance], by_batch) = self.statistics(pass.x, &pass.ctx);
        for (i, (&x, y)) in pass.x.iter().zip(pass.y.iter_mut()).enumerate() {
            let j = i % WIDTH;
            let variance = variance[j] + scalar(EPSILON);
            let deviation = match self {
                Centred => T::one(),
                DividesByTheVariance => variance,
                _ => variance.sqrt(),
            };
            *y = (x - if self.subtracts_mean() { mean[j] } else { T::zero() }) / deviation;
        }
        let moved = if by_batch { [mean, variance] } else { self.of_batch(pass.x) };
        if let Some(buffers) = pass.ctx.buffers_to_update() {
            let share = scalar::<T>(0.1);
            for (j, value) in buffers.iter_mut().enumerate() {
                *value = match j / WIDTH {
                    2 if *self == CountsForAll => scalar(PASSES.fetch_add(1, Ordering::Relaxed) as f64),
                    2 => *value + T::one(),
                    1 if *self == UnbiasedOfOneRow => {
                        let n = scalar::<T>((pass.x.len() / WIDTH) as f64);
                        (T::one() - share) * *value + share * moved[1][j % WIDTH] * n / (n - T::one())
                    }
                    k => (T::one() - share) * *value + share * moved[k][j % WIDTH],
                };
            }
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    /// `dx = (dy − mean(dy) − u mean(dy u))/s` where the statistics are those of the rows, else `dx = dy/s`.
    fn backward(&self, _w: &[T], pass: Backward<'_, T>) {
        let Some(dx) = pass.dx else { return };
        let ([mean, variance], by_batch) = self.statistics(pass.x, &pass.ctx);
        let by_batch = match self {
            EvaluatedGradientOfTheBatch => true,
            TrainedGradientOfRunning => false,
            _ => by_batch,
        };
        let n = scalar::<T>((pass.x.len() / WIDTH) as f64);
        for j in 0..WIDTH {
            let center = if self.subtracts_mean() { mean[j] } else { T::zero() };
            let s = if self.divides() { (variance[j] + scalar(EPSILON)).sqrt() } else { T::one() };
            let column = || pass.x.iter().zip(pass.dy).skip(j).step_by(WIDTH);
            let u = |x: T| (x - center) / s;
            let (mut of_dy, mut of_dyu) =
                column().fold((T::zero(), T::zero()), |(a, b), (&x, &dy)| (a + dy / n, b + dy * u(x) / n));
            if !by_batch || !self.subtracts_mean() || *self == MeanTakenForConstant {
                of_dy = T::zero();
            }
            if !by_batch || !self.divides() || *self == VarianceTakenForConstant {
                of_dyu = T::zero();
            }
            for (dx, (&x, &dy)) in dx.iter_mut().skip(j).step_by(WIDTH).zip(column()) {
                *dx = (dy - of_dy - u(x) * of_dyu) / s;
            }
        }
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}

pub fn entries() -> Vec<Entry> {
    let judge =
        |layer: Running| -> Box<dyn Fn(u64) -> Verdict> { Box::new(move |seed| layer_laws(Layers::of(&layer), seed)) };
    let mut all: Vec<Entry> = [Standardized, Centred, MeanSquare, Read, Counted]
        .into_iter()
        .map(|layer| Entry::right(format!("layer/running_{layer:?}"), judge(layer)))
        .collect();
    for (layer, law) in [
        (MeanTakenForConstant, Law::Adjoint),
        (VarianceTakenForConstant, Law::Adjoint),
        (EvaluatedGradientOfTheBatch, Law::Adjoint),
        (TrainedGradientOfRunning, Law::Adjoint),
        (IndependentSaid, Law::Split),
        (CoupledInEvaluation, Law::Split),
        (InferredByTheBatch, Law::ModesAgree),
        (InferredWithoutMean, Law::ModesAgree),
        (DividesByTheVariance, Law::Adjoint),
        (UnbiasedOfOneRow, Law::Extremes),
        (CountsForAll, Law::Repeatable),
    ] {
        all.push(Entry::wrong(format!("layer/running_{layer:?}"), law, judge(layer)));
    }
    all
}
