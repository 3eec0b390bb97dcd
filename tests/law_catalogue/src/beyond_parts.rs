//! Mistakes beyond the sizes, steps and inputs at which the laws were tested before, and right parts close to them:
//! losses, transforms, activations, initializers and monitors.

use crate::{Entry, Verdict, holds};
use chainrule::{
    Blocks, Error, Gate, GradientMonitor, Scalar,
    activation::{Activation, ActivationKind, Bounds, Softplus, Tanh},
    initializer::{Initializer, Shape},
    loss::{Loss, Reduction, Rows, Target},
    math,
    monitor::{Event, Link},
    rand_core::Rng,
    random::Normals,
    scalar,
    testing::{Law, Losses, Transforms, activation_laws, initializer_laws, loss_laws, monitor_laws, transform_laws},
    to_f64,
    transform::{GradientTransform, Outcome, Stage, TransformSpec, Update},
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Half the squared error, summed over a row, as a mean over rows, and its mistake.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Squared {
    // Right.
    Plain,
    CountsRows,
    EvenWidths,
    /// Leaves `check_width` at its default, so that a trainer learns of the width from `evaluate`.
    EvenWidthsUnsaid,
    // Wrong.
    RefusesFifty,
    RefusesZeros,
    RefusesSingle,
    RefusesDual,
    CountsRowsOfWeighedValues,
    HalfBeyondFortyRows,
    HalfBeyondFortyColumns,
    /// In `f32` alone.
    HalfBeyondFortyRowsSingle,
    DualWithoutTangent,
    DualHalved,
}

use Squared::*;

fn is_dual<T: Scalar>() -> bool {
    size_of::<T>() > 8
}

fn is_single<T: Scalar>() -> bool {
    size_of::<T>() == 4
}

impl<T: Scalar> Loss<T> for Squared {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        let refused = |found: f64| Err(Error::Parameter { what: "an output", expected: "another", found });
        if matches!(self, EvenWidths | EvenWidthsUnsaid) && width % 2 == 1 {
            return Err(Error::Length { what: "outputs", expected: width + 1, found: width });
        }
        let finite = y.iter().all(|y| y.is_finite());
        match self {
            RefusesFifty if finite && y.iter().any(|y| y.abs() > scalar(50.0)) => return refused(50.0),
            RefusesZeros if !y.is_empty() && y.iter().all(|y| y.is_zero()) => return refused(0.0),
            RefusesSingle if is_single::<T>() && finite && !y.is_empty() => {
                return Err(Error::Empty { what: "nothing" });
            }
            RefusesDual if is_dual::<T>() => return refused(2.0),
            _ => {}
        }
        let rows = Rows::new(width, y, target, row_weights, dy)?;
        let value = rows.reduce_values("Squared", width, Reduction::Mean, |y, t, dy| {
            let mut sum = T::zero();
            for i in 0..y.len() {
                let off = y[i] - t[i];
                sum += scalar::<T>(0.5) * off * off;
                dy[i] = match self {
                    HalfBeyondFortyColumns if i >= 40 => off * scalar(0.5),
                    DualHalved if is_dual::<T>() => off * scalar(0.5),
                    DualWithoutTangent => scalar(to_f64(off)),
                    _ => off,
                };
            }
            Ok(sum)
        })?;
        let halves = *self == HalfBeyondFortyRows || (*self == HalfBeyondFortyRowsSingle && is_single::<T>());
        if halves && dy.len() > 40 * width {
            let last = dy.len() - width;
            dy[last..].iter_mut().for_each(|dy| *dy *= scalar(0.5));
        }
        Ok(value)
    }

    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }

    fn check_width(&self, width: usize) -> Result<(), Error> {
        if *self == EvenWidths && width % 2 == 1 {
            return Err(Error::Length { what: "outputs", expected: width + 1, found: width });
        }
        Ok(())
    }

    fn total_weight(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
        let rows = match target {
            Target::Values(values) => values.len() / width.max(1),
            _ => 0,
        };
        let plain = row_weights.map_or(rows as f64, |weights| weights.iter().map(|&weight| to_f64(weight)).sum());
        if *self == CountsRowsOfWeighedValues { 2.0 * plain } else { plain }
    }

    fn weighs_target_values(&self) -> bool {
        !matches!(self, CountsRows | CountsRowsOfWeighedValues)
    }
}

/// Gradient descent, with momentum or without, and its mistake.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Descent {
    // Right.
    Plain,
    Momentum,
    /// The rate of the first steps rises to 1.
    WarmUp,
    // Wrong.
    MomentumOfFrozen,
    TellsItsSteps,
    StateGrows,
    StepOfTwoBytes,
    StepOfFourBytes,
    TwiceTheRate,
    HalfBeyondTwoHundred,
}

#[derive(Clone, Debug)]
struct Descends {
    kind: Descent,
    rate: f64,
    steps: u64,
}

impl<T: Scalar> GradientTransform<T> for Descends {
    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    fn state_len(&self, blocks: &Blocks) -> usize {
        let grown = if self.kind == Descent::StateGrows { self.steps as usize / 20 } else { 0 };
        blocks.parameters() + grown
    }

    fn learning_rate(&self, _: &Blocks, _: &[T], step: u64) -> Option<f64> {
        match self.kind {
            Descent::TwiceTheRate => Some(2.0 * self.rate),
            Descent::WarmUp => Some(self.rate * ((step + 1) as f64 / 10.0).min(1.0)),
            _ => Some(self.rate),
        }
    }

    fn rate_mut(&mut self) -> Option<&mut f64> {
        Some(&mut self.rate)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let name =
            if self.kind == Descent::TellsItsSteps { format!("Descends{}", self.steps) } else { "Descends".into() };
        vec![TransformSpec::new(&name, GradientTransform::<T>::state_len(self, blocks))]
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let Update { blocks, gradient: g, state, step, .. } = update;
        self.steps += 1;
        let factor = match self.kind {
            Descent::WarmUp => ((step + 1) as f64 / 10.0).min(1.0),
            Descent::StepOfTwoBytes => 1.0 / f64::from((step as u16).wrapping_add(1)),
            Descent::StepOfFourBytes => 1.0 / f64::from((step as u32).wrapping_add(1)),
            _ => 1.0,
        };
        let momentum =
            scalar::<T>(if matches!(self.kind, Descent::Momentum | Descent::MomentumOfFrozen) { 0.9 } else { 0.0 });
        let count = g.len();
        for block in blocks.iter() {
            let frozen = block.frozen && self.kind != Descent::MomentumOfFrozen;
            for i in block.range.clone() {
                state[i] = momentum * state[i] + g[i];
                let late = self.kind == Descent::HalfBeyondTwoHundred && i >= 200 && count > 200;
                let by = scalar::<T>(-self.rate * factor * if late { 0.5 } else { 1.0 });
                g[i] = if frozen { T::zero() } else { by * state[i] };
            }
        }
        Ok(Outcome::Apply)
    }
}

/// Activations.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Curve {
    // Right.
    Tanh,
    SlopeWithoutTangent,
    SlopeWithoutTangentBeyondOne,
    // Wrong.
    KindOfAnother,
    KindOfAnotherSize,
}

impl Activation for Curve {
    fn value<T: Scalar>(&self, z: T) -> T {
        if matches!(self, Curve::KindOfAnotherSize) { math::softplus(z) } else { z.tanh() }
    }

    fn derivative<T: Scalar>(&self, z: T, _: T) -> T {
        if matches!(self, Curve::KindOfAnotherSize) {
            return math::sigmoid(z);
        }
        let sech = T::one() / z.cosh();
        let slope = sech * sech;
        let loses =
            *self == Curve::SlopeWithoutTangent || (*self == Curve::SlopeWithoutTangentBeyondOne && z.abs() > T::one());
        if loses { scalar(to_f64(slope)) } else { slope }
    }

    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }

    fn kind(&self) -> ActivationKind {
        match self {
            Curve::KindOfAnother => ActivationKind::Softplus(Softplus::default()),
            Curve::KindOfAnotherSize => ActivationKind::Tanh(Tanh),
            _ => ActivationKind::Custom(std::sync::Arc::new(*self)),
        }
    }
}

/// Its settings change with each answer.
#[derive(Debug)]
struct Counts(AtomicU64);

impl Clone for Counts {
    fn clone(&self) -> Self {
        Counts(AtomicU64::new(self.0.load(Relaxed)))
    }
}

impl Activation for Counts {
    fn value<T: Scalar>(&self, z: T) -> T {
        z.tanh()
    }

    fn derivative<T: Scalar>(&self, z: T, y: T) -> T {
        Curve::Tanh.derivative(z, y)
    }

    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }

    fn settings(&self) -> String {
        format!("{}", self.0.fetch_add(1, Relaxed))
    }
}

/// Normal values of variance 1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Filled {
    // Right.
    Everywhere,
    // Wrong.
    HalfOfTwoGates,
    HalfOfOneGate,
    HalfOfThreeGates,
    LateRowsUnwritten,
    LateColumnsUnwritten,
    LateRowsZero,
}

impl Initializer for Filled {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        holds(shape, values)?;
        let mut normals = Normals::new();
        for (i, value) in values.iter_mut().enumerate() {
            let (row, column) = (i / shape.columns, i % shape.columns);
            let drawn = normals.next(rng);
            match self {
                Filled::LateRowsUnwritten if row >= 200 => {}
                Filled::LateColumnsUnwritten if column >= 200 => {}
                Filled::LateRowsZero if row >= 130 => *value = 0.0,
                _ => *value = drawn,
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
        let halved = match self {
            Filled::HalfOfOneGate => 1,
            Filled::HalfOfTwoGates => 2,
            Filled::HalfOfThreeGates => 3,
            _ => 0,
        };
        let mut normals = Normals::new();
        for value in values {
            *value = normals.next(rng) * if gates.len() == halved { 0.5 } else { 1.0 };
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

/// Monitors that listen to a part of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Listens {
    // Right: it listens to three passes.
    ThreePasses(u64),
    // Wrong: it listens to five links.
    FiveLinks(u64),
}

impl<T: Scalar> GradientMonitor<T> for Listens {
    fn begin_pass(&mut self) {
        if let Listens::ThreePasses(count) = self {
            *count += 1;
        }
    }

    fn is_active(&self) -> bool {
        match self {
            Listens::ThreePasses(count) => *count <= 3,
            Listens::FiveLinks(count) => *count < 5,
        }
    }

    fn forward(&mut self, _: &Link<'_>, _: &[T], _: &[T]) {
        if let Listens::FiveLinks(count) = self {
            *count += 1;
        }
    }

    fn event(&mut self, _: &Event<'_, T>) {}
}

pub fn entries() -> Vec<Entry> {
    let mut list = Vec::new();
    let name = |kind: &dyn std::fmt::Debug| format!("beyond/{kind:?}");
    let of_loss = |kind: Squared| move |seed| loss_laws(Losses { single: &kind, double: &kind, dual: &kind }, seed);
    for kind in [Plain, CountsRows, EvenWidths, EvenWidthsUnsaid] {
        list.push(Entry::right(format!("beyond/Squared{kind:?}"), of_loss(kind)));
    }
    for (kind, law) in [
        (RefusesFifty, Law::Refuses),
        (RefusesZeros, Law::Refuses),
        (RefusesSingle, Law::Refuses),
        (RefusesDual, Law::Refuses),
        (CountsRowsOfWeighedValues, Law::Reduction),
        (HalfBeyondFortyRows, Law::Derivative),
        (HalfBeyondFortyColumns, Law::Derivative),
        (HalfBeyondFortyRowsSingle, Law::Derivative),
        (DualWithoutTangent, Law::Derivative),
        (DualHalved, Law::Derivative),
    ] {
        list.push(Entry::wrong(format!("beyond/Squared{kind:?}"), law, of_loss(kind)));
    }
    let of_transform = |kind: Descent| {
        move |seed| -> Verdict {
            let make = move || Descends { kind, rate: 0.01, steps: 0 };
            let like: &dyn Fn(f64, &mut [f64; 4], u64, f64) -> f64 = &|g, _, _, _| -0.01 * g;
            let like = matches!(kind, Descent::Plain | Descent::HalfBeyondTwoHundred).then_some(like);
            let transforms = Transforms { single: &|| Box::new(make()), double: &|| Box::new(make()), like };
            transform_laws(transforms, &[], seed)
        }
    };
    for kind in [Descent::Plain, Descent::Momentum, Descent::WarmUp] {
        list.push(Entry::right(format!("beyond/Descent{kind:?}"), of_transform(kind)));
    }
    for (kind, law) in [
        (Descent::MomentumOfFrozen, Law::FrozenBlocks),
        (Descent::TellsItsSteps, Law::Resumes),
        (Descent::StateGrows, Law::Resumes),
        (Descent::StepOfTwoBytes, Law::Extremes),
        (Descent::StepOfFourBytes, Law::Extremes),
        (Descent::TwiceTheRate, Law::TrueReports),
        (Descent::HalfBeyondTwoHundred, Law::Formula),
    ] {
        list.push(Entry::wrong(format!("beyond/Descent{kind:?}"), law, of_transform(kind)));
    }
    for curve in [Curve::Tanh, Curve::SlopeWithoutTangent, Curve::SlopeWithoutTangentBeyondOne] {
        list.push(Entry::right(format!("beyond/Curve{curve:?}"), move |seed| activation_laws(&curve, seed)));
    }
    for (kind, law) in [(Curve::KindOfAnother, Law::Repeatable), (Curve::KindOfAnotherSize, Law::Repeatable)] {
        list.push(Entry::wrong(name(&kind), law, move |seed| activation_laws(&kind, seed)));
    }
    let counts = |seed| activation_laws(&Counts(AtomicU64::new(0)), seed);
    list.push(Entry::wrong("beyond/SettingsCount", Law::Repeatable, counts));
    list.push(Entry::right("beyond/FilledEverywhere", |seed| initializer_laws(&Filled::Everywhere, seed)));
    for (kind, law) in [
        (Filled::HalfOfOneGate, Law::Variance),
        (Filled::HalfOfTwoGates, Law::Variance),
        (Filled::HalfOfThreeGates, Law::Variance),
        (Filled::LateRowsUnwritten, Law::Overwrites),
        (Filled::LateColumnsUnwritten, Law::Overwrites),
        (Filled::LateRowsZero, Law::Variance),
    ] {
        list.push(Entry::wrong(name(&kind), law, move |seed| initializer_laws(&kind, seed)));
    }
    list.push(Entry::right("beyond/ThreePasses", |seed| monitor_laws(|| Listens::ThreePasses(0), seed)));
    let five = |seed| monitor_laws(|| Listens::FiveLinks(0), seed);
    list.push(Entry::wrong("beyond/FiveLinks", Law::Composes, five));
    list
}
