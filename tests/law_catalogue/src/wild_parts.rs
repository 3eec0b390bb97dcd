//! Mistakes that an outside tester made, each with the law that must be named first. They have hidden state, values
//! that jump, a single NaN, averages over rows, or blocks that no fact describes. Right parts that are close to these
//! follow.

use crate::{Entry, Verdict, holds};
use chainrule::{
    Blocks, Error, Scalar,
    activation::{Activation, Bounds},
    initializer::{Initializer, Shape},
    loss::{Loss, Reduction, Rows, Target},
    math,
    rand_core::Rng,
    random::{Normals, generator, uniform},
    scalar,
    testing::{Law, Losses, Transforms, activation_laws, initializer_laws, loss_laws, transform_laws},
    to_f64,
    transform::{GradientTransform, Outcome, Stage, Update},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// A wrong part: the first law of its report must be `law`.
fn first(name: String, law: Law, judge: impl Fn(u64) -> Verdict + 'static) -> Entry {
    Entry::wrong(name, law, move |seed| {
        judge(seed).map_err(|mut violations| {
            violations.violations.truncate(1);
            violations
        })
    })
}

/// What an activation keeps from the last value to the derivative.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Argument,
    Output,
}

/// A sine (of its last argument) or a tanh (by its last output) whose clones start with a copy of what is kept.
#[derive(Debug)]
struct Remembers(Kept, AtomicU64);

impl Clone for Remembers {
    fn clone(&self) -> Self {
        Remembers(self.0, AtomicU64::new(self.1.load(Relaxed)))
    }
}

impl Activation for Remembers {
    fn value<T: Scalar>(&self, z: T) -> T {
        let y = if self.0 == Kept::Argument { z.sin() } else { z.tanh() };
        let kept = if self.0 == Kept::Argument { z } else { y };
        self.1.store(to_f64(kept).to_bits(), Relaxed);
        y
    }

    fn derivative<T: Scalar>(&self, _: T, _: T) -> T {
        let kept = f64::from_bits(self.1.load(Relaxed));
        scalar(if self.0 == Kept::Argument { kept.cos() } else { 1.0 - kept * kept })
    }

    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(if self.0 == Kept::Argument { -1.0 } else { 0.0 }, 1.0))
    }
}

/// A sigmoid all of whose clones keep the last argument in one place.
#[derive(Clone, Debug)]
struct RemembersTogether(Arc<AtomicU64>);

impl Activation for RemembersTogether {
    fn value<T: Scalar>(&self, z: T) -> T {
        self.0.store(to_f64(z).to_bits(), Relaxed);
        math::sigmoid(z)
    }

    fn derivative<T: Scalar>(&self, _: T, _: T) -> T {
        let z = f64::from_bits(self.0.load(Relaxed));
        scalar(math::sigmoid(z) * math::sigmoid(-z))
    }
}

/// Activations without state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Plain {
    // Right.
    /// That of `std`, which doubles its argument: infinite at the largest number.
    Asinh,
    // Wrong.
    /// Of every second stretch of 1/1024 the value is larger by 24 roundings.
    Staggered,
    /// Of a smooth φ, φ′ is another beyond 9.
    OtherTail,
    /// φ is z beyond 17, where it is larger by 4e-8.
    Shortened,
    /// Infinite at 40.
    InfiniteEarly,
}

use Plain::*;

impl Activation for Plain {
    fn value<T: Scalar>(&self, z: T) -> T {
        match self {
            Asinh => z.asinh(),
            OtherTail => z.tanh(),
            Shortened if z > scalar(17.0) => z,
            InfiniteEarly if z > scalar(40.0) => T::infinity(),
            Shortened | InfiniteEarly => math::softplus(z),
            Staggered => {
                let half = (z * scalar(1024.0)).floor() * scalar(0.5);
                let odd = z.abs() < scalar(32.0) && half != half.floor();
                z.tanh() * (T::one() + if odd { T::epsilon() * scalar(24.0) } else { T::zero() })
            }
        }
    }

    fn derivative<T: Scalar>(&self, z: T, _: T) -> T {
        let sech = T::one() / z.cosh();
        match self {
            Asinh => T::one() / z.hypot(T::one()),
            Staggered => sech * sech,
            OtherTail if z > scalar(9.0) => sech * sech * scalar(1.4),
            OtherTail => sech * sech,
            Shortened if z > scalar(17.0) => T::one(),
            Shortened | InfiniteEarly => math::sigmoid(z),
        }
    }

    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
}

/// The loss of a row, its mistake or its state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right.
    /// √(d² + 1e-24): steep beside the target.
    Steep,
    LargestOfAll,
    // Wrong.
    /// Quadratic up to 2, then linear without the offset.
    LinearWithoutOffset,
    /// A millionth more beyond a difference of 50.
    RaisedFarOut,
    /// A larger output than 6 costs 0.01 more.
    FeeOfOutputs,
    LargestByGreater,
    LastColumnUnread,
    /// No gradient is written where an output is its target.
    UnwrittenAtTarget,
    ByRows,
    /// The factor of the first calls, up to this number, rises to 1.
    WarmsUp(u64),
    EveryFiftieth,
    Decays,
}

#[derive(Debug)]
struct Part(Kind, AtomicU64);

impl Part {
    /// The loss of a row of outputs and targets, and its gradient in `dy`.
    fn row<T: Scalar>(&self, y: &[T], t: &[T], dy: &mut [T], factor: T) -> T {
        let half = scalar::<T>(0.5);
        let mut sum = T::zero();
        if self.0 != Kind::UnwrittenAtTarget {
            dy.fill(T::zero());
        }
        if matches!(self.0, Kind::LargestOfAll | Kind::LargestByGreater) {
            let mut largest = (T::zero(), 0);
            for (i, (&y, &t)) in y.iter().zip(t).enumerate() {
                let off = y - t;
                if off.abs() > largest.0.abs() || (off.is_nan() && self.0 == Kind::LargestOfAll) {
                    largest = (off, i);
                }
            }
            let (off, at) = largest;
            dy[at] = if off.is_zero() { off } else { off.signum() };
            return off.abs();
        }
        let count = if self.0 == Kind::LastColumnUnread && y.len() > 1 { y.len() - 1 } else { y.len() };
        for i in 0..count {
            let d = y[i] - t[i];
            let size = d.abs();
            let (value, slope) = match self.0 {
                Kind::Steep => {
                    let root = (d * d + scalar(1e-24)).sqrt();
                    (root, d / root)
                }
                Kind::LinearWithoutOffset if size > scalar(2.0) => (size + size - half, d.signum() * scalar(2.0)),
                Kind::RaisedFarOut if size > scalar(50.0) => (half * d * d * scalar(1.000_001), d * scalar(1.000_001)),
                Kind::FeeOfOutputs if y[i] > scalar(6.0) => (half * d * d + scalar(0.01), d),
                _ => (half * d * d, d),
            };
            sum += factor * value;
            if !(self.0 == Kind::UnwrittenAtTarget && d.is_zero()) {
                dy[i] = factor * slope;
            }
        }
        sum
    }
}

impl<T: Scalar> Loss<T> for Part {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        let call = self.1.fetch_add(1, Relaxed);
        let factor = match self.0 {
            Kind::WarmsUp(calls) => ((call + 1) as f64 / calls as f64).min(1.0),
            Kind::EveryFiftieth if call % 50 == 49 => 1.125,
            Kind::Decays => 1.0 - 1e-4 * (call as f64).min(5e3),
            _ => 1.0,
        };
        let rows = Rows::new(width, y, target, row_weights, dy)?;
        let value =
            rows.reduce_values("Part", width, Reduction::Mean, |y, t, dy| Ok(self.row(y, t, dy, scalar(factor))))?;
        let (true, Some(weights)) = (self.0 == Kind::ByRows, row_weights) else { return Ok(value) };
        let mean = weights.iter().fold(T::zero(), |sum, &weight| sum + weight) / scalar(weights.len() as f64);
        dy.iter_mut().for_each(|dy| *dy *= mean);
        Ok(value * mean)
    }

    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }
}

/// A loss of classes: of softmax, with a mistake in one branch.
#[derive(Clone, Copy, Debug)]
struct ConfidentForFree;

impl<T: Scalar> Loss<T> for ConfidentForFree {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        let rows = Rows::new(width, y, target, row_weights, dy)?;
        rows.reduce_classes("ConfidentForFree", Reduction::Mean, |y, hot, dy| {
            let most = y.iter().fold(T::neg_infinity(), |most, &y| if y > most || y.is_nan() { y } else { most });
            let total = y.iter().fold(T::zero(), |sum, &y| sum + (y - most).exp());
            for (dy, &y) in dy.iter_mut().zip(y) {
                *dy = (y - most).exp() / total;
            }
            let loss = total.ln() + most - y[hot];
            if loss < scalar(0.05) && y.len() > 1 {
                dy.fill(T::zero());
                return Ok(T::zero());
            }
            dy[hot] -= T::one();
            Ok(loss)
        })
    }

    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }
}

/// Initializers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Filled {
    // Right.
    /// 0.1 everywhere, of which nothing is stated.
    Tenth,
    /// Normal values in rows of norm 1, of which nothing is stated.
    Spheres,
    // Wrong.
    OwnSeed,
    OneRowForAll,
    DrawnInVain,
    AddsToOld,
    LeavesLast,
}

impl Initializer for Filled {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        holds(shape, values)?;
        let mut own = generator(11);
        let rng: &mut dyn Rng = if *self == Filled::OwnSeed { &mut own } else { rng };
        let mut normals = Normals::new();
        let left = usize::from(*self == Filled::LeavesLast);
        for (i, value) in values[..shape.rows * shape.columns - left].iter_mut().enumerate() {
            let drawn = if *self == Filled::Tenth { 0.0 } else { 0.1 * normals.next(rng) };
            *value = match self {
                Filled::Tenth => 0.1,
                Filled::AddsToOld => *value + drawn,
                Filled::DrawnInVain => (1.0 + i as f64).sin() + 0.0 * uniform(rng),
                _ => drawn,
            };
        }
        let rows = values.chunks_mut(shape.columns);
        if *self == Filled::Spheres {
            rows.for_each(|row| {
                let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                row.iter_mut().for_each(|x| *x /= norm);
            });
        } else if *self == Filled::OneRowForAll {
            let row = values[..shape.columns].to_vec();
            values.chunks_mut(shape.columns).for_each(|other| other.copy_from_slice(&row));
        }
        Ok(())
    }

    fn variance(&self, _: Shape) -> Option<f64> {
        (*self == Filled::OwnSeed).then_some(0.01)
    }

    fn mean(&self, _: Shape) -> Option<f64> {
        (*self == Filled::OwnSeed).then_some(0.0)
    }
}

/// The root of a running sum that may be negative: NaN in the first step.
#[derive(Debug)]
struct RootOfSum;

impl<T: Scalar> GradientTransform<T> for RootOfSum {
    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    fn state_len(&self, blocks: &Blocks) -> usize {
        blocks.parameters()
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        for (g, sum) in update.gradient.iter_mut().zip(update.state) {
            *sum += *g;
            *g = -scalar::<T>(0.01) * *g / (sum.sqrt() + scalar(1e-6));
        }
        Ok(Outcome::Apply)
    }
}

pub fn entries() -> Vec<Entry> {
    let mut list = Vec::new();
    for kept in [Kept::Argument, Kept::Output] {
        let judge = move |seed| activation_laws(&Remembers(kept, AtomicU64::new(0)), seed);
        list.push(first(format!("activation/Remembers{kept:?}"), Law::Repeatable, judge));
    }
    let judge = |seed| activation_laws(&RemembersTogether(Arc::default()), seed);
    list.push(first("activation/RemembersTogether".into(), Law::Repeatable, judge));
    list.push(Entry::right("activation/Asinh", |seed| activation_laws(&Asinh, seed)));
    for (kind, law) in [
        (Staggered, Law::Monotone),
        (OtherTail, Law::Saturation),
        (Shortened, Law::Continuity),
        (InfiniteEarly, Law::Extremes),
    ] {
        list.push(first(format!("activation/{kind:?}"), law, move |seed| activation_laws(&kind, seed)));
    }
    let of_loss = |kind: Kind| {
        move |seed| {
            let part = Part(kind, AtomicU64::new(0));
            loss_laws(Losses { single: &part, double: &part, dual: &part }, seed)
        }
    };
    // A loss need not read every output: the likelihood of a class reads one.
    for kind in [Kind::Steep, Kind::LargestOfAll, Kind::LastColumnUnread] {
        list.push(Entry::right(format!("loss/{kind:?}"), of_loss(kind)));
    }
    for (kind, law) in [
        (Kind::LinearWithoutOffset, Law::Continuity),
        (Kind::RaisedFarOut, Law::Continuity),
        (Kind::FeeOfOutputs, Law::Continuity),
        (Kind::LargestByGreater, Law::NotANumber),
        (Kind::UnwrittenAtTarget, Law::Overwrites),
        (Kind::ByRows, Law::Reduction),
        (Kind::WarmsUp(10), Law::Repeatable),
        (Kind::WarmsUp(100), Law::Repeatable),
        (Kind::WarmsUp(1000), Law::Repeatable),
        (Kind::EveryFiftieth, Law::Repeatable),
        (Kind::Decays, Law::Repeatable),
    ] {
        list.push(first(format!("loss/{kind:?}"), law, of_loss(kind)));
    }
    let free = ConfidentForFree;
    let judge = move |seed| loss_laws(Losses { single: &free, double: &free, dual: &free }, seed);
    list.push(first("loss/ConfidentForFree".into(), Law::Continuity, judge));
    for filled in [Filled::Tenth, Filled::Spheres] {
        list.push(Entry::right(format!("initializer/{filled:?}"), move |seed| initializer_laws(&filled, seed)));
    }
    for (filled, law) in [
        (Filled::OwnSeed, Law::Seeded),
        (Filled::OneRowForAll, Law::Distinct),
        (Filled::DrawnInVain, Law::Seeded),
        (Filled::AddsToOld, Law::Overwrites),
        (Filled::LeavesLast, Law::Overwrites),
    ] {
        list.push(first(format!("initializer/{filled:?}"), law, move |seed| initializer_laws(&filled, seed)));
    }
    let judge = |seed| {
        let transforms = Transforms { single: &|| Box::new(RootOfSum), double: &|| Box::new(RootOfSum), like: None };
        transform_laws(transforms, &[Law::RestsAtZero], seed)
    };
    list.push(first("transform/RootOfSum".into(), Law::Extremes, judge));
    list
}
