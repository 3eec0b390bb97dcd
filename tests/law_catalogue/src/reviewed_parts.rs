//! Losses, transforms and initializers that are right, but unlike those that the laws assume. They have outputs at
//! kinks or at the ends of a range, loops over steps, runs that end, heavy tails, or gates that need each other.

use crate::{Entry, Verdict, holds};
use chainrule::{
    Blocks, Error, Gate, Scalar,
    initializer::{Initializer, Shape},
    loss::{Hinge, Loss, MeanAbsoluteError, Reduction, Rows, Target},
    rand_core::Rng,
    random::{Normals, uniform},
    scalar,
    testing::{Formula, Law, LossCases, Losses, Transforms, initializer_laws, loss_laws_with, transform_laws},
    to_f64,
    transform::{GradientTransform, Outcome, PerGroup, Sgd, Stage, Update},
};

/// −Σ t ln y, of outputs between 0 and 1 alone.
#[derive(Clone, Copy, Debug)]
struct LogScore;

impl<T: Scalar> Loss<T> for LogScore {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        let rows = Rows::new(width, y, target, row_weights, dy)?;
        rows.reduce_values("LogScore", width, Reduction::Mean, |y, t, dy| {
            let mut sum = T::zero();
            for i in 0..y.len() {
                if y[i] <= T::zero() || y[i] >= T::one() {
                    let found = to_f64(y[i]);
                    return Err(Error::Parameter { what: "an output", expected: "between 0 and 1", found });
                }
                sum -= t[i] * y[i].ln();
                dy[i] = -t[i] / y[i];
            }
            Ok(sum)
        })
    }

    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }
}

/// Gradient descent whose rate follows the step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Steps {
    // Right.
    /// The cosine of a step within its period, which a loop finds.
    Restarts,
    /// The momentum decays once for each skipped step, in a loop.
    DecaysSkipped,
    /// The run ends after 10,000 steps.
    Ends,
    /// Adam, which reports rate · √(1 − β₂ᵗ)/(1 − β₁ᵗ).
    EffectiveRate,
    /// Momentum, which reports rate/(1 − β) at each step.
    EffectiveMomentum,
    // Wrong.
    /// A constant rate that is reported as a decaying one.
    ReportsDecay,
}

use Steps::*;

/// A clip of the norm to 1.
#[derive(Clone, Debug)]
struct Clips {
    // Right: 0. Wrong: the factor (1) or the norm (2) of the gradient before.
    wrong: usize,
    factor: f64,
    norm: f64,
}

impl<T: Scalar> GradientTransform<T> for Clips {
    fn stage(&self) -> Stage {
        Stage::Clip
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let norm = update.gradient.iter().map(|&g| to_f64(g) * to_f64(g)).sum::<f64>().sqrt();
        let factor = if norm > 1.0 { 1.0 / norm } else { 1.0 };
        update.gradient.iter_mut().for_each(|g| *g *= scalar(factor));
        self.factor = if self.wrong == 1 { 1.0 } else { factor };
        self.norm = if self.wrong == 2 { norm } else { norm * factor };
        Ok(Outcome::Apply)
    }

    fn clip_factor(&self) -> Option<f64> {
        Some(self.factor)
    }

    fn clipped_norm(&self) -> Option<f64> {
        Some(self.norm)
    }
}

#[derive(Clone, Debug)]
struct Stepped {
    kind: Steps,
    rate: f64,
}

impl Stepped {
    fn factor(&self, step: u64) -> f64 {
        if self.kind != Restarts {
            return 1.0;
        }
        let mut within = step;
        while within >= 10 {
            within -= 10;
            std::hint::black_box(within);
        }
        0.55 + 0.45 * (within as f64 / 10.0 * std::f64::consts::PI).cos()
    }
}

const BETAS: [f64; 2] = [0.9, 0.999];

impl<T: Scalar> GradientTransform<T> for Stepped {
    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    fn state_len(&self, blocks: &Blocks) -> usize {
        2 * blocks.parameters() + 1
    }

    fn rate_mut(&mut self) -> Option<&mut f64> {
        Some(&mut self.rate)
    }

    fn learning_rate(&self, _: &Blocks, _: &[T], step: u64) -> Option<f64> {
        let time = (step + 1) as f64;
        Some(match self.kind {
            EffectiveRate => self.rate * (1.0 - BETAS[1].powf(time)).sqrt() / (1.0 - BETAS[0].powf(time)),
            EffectiveMomentum => self.rate / (1.0 - BETAS[0]),
            ReportsDecay => self.rate * 0.9f64.powf(step as f64),
            _ => self.rate * self.factor(step),
        })
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let Update { blocks, gradient: g, state, step, .. } = update;
        if self.kind == Ends && step >= 10_000 {
            return Err(Error::Parameter { what: "the step", expected: "below 10000", found: step as f64 });
        }
        let count = g.len();
        let (moments, last) = state.split_at_mut(2 * count);
        let rate = scalar::<T>(self.rate * self.factor(step));
        let [first, second] = BETAS.map(scalar::<T>);
        let (one, time) = (T::one(), step.min(100_000) as i32 + 1);
        if self.kind == DecaysSkipped {
            let mut at = to_f64(last[0]) as u64;
            while at < step {
                for m in &mut moments[..count] {
                    *m *= first;
                }
                at += 1;
            }
            last[0] = scalar((step + 1) as f64);
        }
        for i in 0..count {
            match self.kind {
                EffectiveRate => {
                    moments[i] = first * moments[i] + (one - first) * g[i];
                    moments[count + i] = second * moments[count + i] + (one - second) * g[i] * g[i];
                    let m = moments[i] / (one - first.powi(time));
                    let v = moments[count + i] / (one - second.powi(time));
                    g[i] = -rate * m / (v.sqrt() + scalar(1e-8));
                }
                DecaysSkipped | EffectiveMomentum => {
                    moments[i] = first * moments[i] + g[i];
                    g[i] = -rate * moments[i];
                }
                _ => g[i] = -rate * g[i],
            }
        }
        for block in blocks.iter().filter(|block| block.frozen) {
            g[block.range.clone()].fill(T::zero());
        }
        Ok(Outcome::Apply)
    }
}

/// Entries with a stated variance.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Drawn {
    // Right.
    /// Student's t with 2.001 degrees of freedom.
    Student,
    /// A log-normal distribution of σ = 3.5.
    LogNormal,
    /// 0, or ±1 in one of 10,000 entries.
    Spikes,
    /// Normal; with gates, the bias of the first is minus that of the gate that carries the state, which it needs.
    Paired,
    /// Normal; four gates or none.
    OfFour,
    // Wrong.
    /// (e_ij + e_(i+1)(j+1))/√2 of normal e.
    AlongDiagonals,
    /// (e_ij + e_(i+1)(j−1))/√2 of normal e.
    AcrossDiagonals,
}

impl Drawn {
    fn next(self, rng: &mut dyn Rng, normals: &mut Normals) -> f64 {
        match self {
            Drawn::Student => {
                let square = (1.0 - uniform(rng)).powf(-2.0 / 2.001) - 1.0;
                (2.001 * square).sqrt() * (2.0 * std::f64::consts::PI * uniform(rng)).cos()
            }
            Drawn::LogNormal => (3.5 * normals.next(rng)).exp(),
            Drawn::Spikes => {
                let at = uniform(rng);
                if at < 5e-5 {
                    1.0
                } else if at < 1e-4 {
                    -1.0
                } else {
                    0.0
                }
            }
            _ => normals.next(rng),
        }
    }
}

impl Initializer for Drawn {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        holds(shape, values)?;
        let mut normals = Normals::new();
        values.iter_mut().for_each(|value| *value = self.next(rng, &mut normals));
        if matches!(self, Drawn::AlongDiagonals | Drawn::AcrossDiagonals) {
            let width = shape.columns + 1;
            let drawn: Vec<f64> = (0..(shape.rows + 1) * width).map(|_| normals.next(rng)).collect();
            for (i, value) in values.iter_mut().enumerate() {
                let at = i / shape.columns * width + i % shape.columns;
                let other = if *self == Drawn::AlongDiagonals { [at, at + width + 1] } else { [at + 1, at + width] };
                *value = (drawn[other[0]] + drawn[other[1]]) / std::f64::consts::SQRT_2;
            }
        }
        Ok(())
    }

    fn fill_gates(&self, shape: Shape, gates: &[Gate], rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        let size = shape.rows * shape.columns;
        let expected = size * gates.len();
        if values.len() != expected {
            return Err(Error::Length { what: "values", expected, found: values.len() });
        }
        let refused = Error::Parameter { what: "the gates", expected: "others", found: gates.len() as f64 };
        let mut normals = Normals::new();
        values.iter_mut().for_each(|value| *value = self.next(rng, &mut normals));
        match self {
            Drawn::OfFour if gates.len() != 4 => Err(refused),
            Drawn::Paired => {
                let carries = gates.iter().position(|gate| gate.carries_state).filter(|_| gates.len() > 1);
                let carries = carries.ok_or(refused)?;
                let other = usize::from(carries == 0);
                for i in 0..size {
                    values[other * size + i] = -values[carries * size + i];
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn variance(&self, _: Shape) -> Option<f64> {
        Some(match self {
            Drawn::Student => 2.001 / 0.001,
            Drawn::LogNormal => 3.5f64.powi(2).exp() * 3.5f64.powi(2).exp_m1(),
            Drawn::Spikes => 1e-4,
            _ => 1.0,
        })
    }

    fn mean(&self, _: Shape) -> Option<f64> {
        Some(if *self == Drawn::LogNormal { (0.5 * 3.5f64.powi(2)).exp() } else { 0.0 })
    }
}

/// The laws of a loss whose outputs are converted.
fn with_outputs<L>(loss: &L, outputs: &dyn Fn(f64) -> f64, seed: u64) -> Verdict
where
    L: Loss<f32> + Loss<f64> + Loss<chainrule::testing::Dual<f64>>,
{
    let cases = LossCases { outputs, ..LossCases::default() };
    loss_laws_with(Losses { single: loss, double: loss, dual: loss }, cases, seed)
}

fn sigmoid(y: f64) -> f64 {
    1.0 / (1.0 + (-y).exp())
}

pub fn entries() -> Vec<Entry> {
    let mut list = vec![
        Entry::right("reviewed/AbsoluteErrorOfPositives", |seed| {
            with_outputs(&MeanAbsoluteError::new(), &|y| y.max(0.0), seed)
        }),
        Entry::right("reviewed/HingeClamped", |seed| with_outputs(&Hinge::new(), &|y| y.clamp(-1.0, 1.0), seed)),
        Entry::right("reviewed/LogScoreClamped", |seed| {
            with_outputs(&LogScore, &|y| sigmoid(y).clamp(1e-9, 1.0 - 1e-9), seed)
        }),
        Entry::right("reviewed/LogScore", |seed| with_outputs(&LogScore, &sigmoid, seed)),
        Entry::right("reviewed/Groups", |seed| {
            let like: Formula<'_> = &|g, _, _, _| -0.1 * g;
            let transforms = Transforms {
                single: &|| Box::new(PerGroup::new(Sgd::new(0.1)).group("2", Sgd::new(0.1))),
                double: &|| Box::new(PerGroup::new(Sgd::new(0.1)).group("2", Sgd::new(0.1))),
                like: Some(like),
            };
            transform_laws(transforms, &[], seed)
        }),
    ];
    let stepped = |kind: Steps| {
        move |seed| {
            let make = move || Stepped { kind, rate: 0.01 };
            let transforms = Transforms { single: &|| Box::new(make()), double: &|| Box::new(make()), like: None };
            transform_laws(transforms, &[], seed)
        }
    };
    for kind in [Restarts, DecaysSkipped, Ends, EffectiveRate, EffectiveMomentum] {
        list.push(Entry::right(format!("reviewed/{kind:?}"), stepped(kind)));
    }
    list.push(Entry::wrong("reviewed/ReportsDecay", Law::TrueReports, stepped(ReportsDecay)));
    let clips = |wrong: usize| {
        move |seed| {
            let make = move || Clips { wrong, factor: 1.0, norm: 0.0 };
            let transforms = Transforms { single: &|| Box::new(make()), double: &|| Box::new(make()), like: None };
            transform_laws(transforms, &[], seed)
        }
    };
    list.push(Entry::right("reviewed/Clips", clips(0)));
    list.push(Entry::wrong("reviewed/ClipsWithFactorOfOne", Law::TrueReports, clips(1)));
    list.push(Entry::wrong("reviewed/ClipsWithNormBefore", Law::TrueReports, clips(2)));
    for kind in [Drawn::Student, Drawn::LogNormal, Drawn::Spikes, Drawn::Paired, Drawn::OfFour] {
        list.push(Entry::right(format!("reviewed/{kind:?}"), move |seed| initializer_laws(&kind, seed)));
    }
    for kind in [Drawn::AlongDiagonals, Drawn::AcrossDiagonals] {
        let judge = move |seed| initializer_laws(&kind, seed);
        list.push(Entry::wrong(format!("reviewed/{kind:?}"), Law::Uncorrelated, judge));
    }
    list
}
