//! Initializers: normal, and of unusual distributions, right and with mistakes.

use crate::{Entry, Verdict};
use chainrule::{
    Error, Gate, Role,
    initializer::{Initializer, Shape},
    rand_core::Rng,
    random::{Normals, below, generator, uniform},
    testing::{Law, initializer_laws},
};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right.
    Plain,
    LogNormal,
    LogNormalHeavy,
    Laplace,
    Exponential,
    Signs,
    Triangular,
    Arcsine,
    Quantized,
    Mixture,
    OneSignARow,
    TwoSignsARow,
    ScaledIdentityWithNoise,
    LooksLinear,
    BlockDiagonal,
    Householder,
    ColumnScaled,
    RowsOfLengthOne,
    SquareOnly,
    MatricesOnly,
    BiasFromFanIn,
    Ramp,
    OfGates,
    SharedAcrossGatesByDesign,
    Permuted,
    Cauchy,
    // Wrong: moments of some shapes.
    BiasTwice,
    GainZero,
    RecurrentTenPercentMore,
    SmallerFan,
    LargerFan,
    ColumnVectorSmaller,
    RowVectorSmaller,
    WideSmaller,
    TallSmaller,
    BiasShifted,
    BeyondSixtyFourRowsLess,
    // Wrong: entries that know of each other.
    Pairs,
    OppositePairs,
    CentredRows,
    CentredColumns,
    Symmetric,
    Antisymmetric,
    Autoregressive,
    AlongColumns,
    CommonFactorOfARow,
    CommonFactorOfAll,
    OppositeRows,
    Toeplitz,
    ComplexPairs,
    // Wrong: gates.
    GatesCopied,
    LastGateLeftOut,
    GatesAdded,
    GatesOfAnyLength,
    GatesPanicOnLength,
    GatesUnseeded,
    GatesIgnoreTheirNames,
    GatesFail,
    GatesNotFinite,
    GatesInAnotherScale,
    // Wrong: else.
    RangeOfBias,
    ZeroRowAtOddHeight,
    RandomRowTwice,
    OrthogonalOnlySquare,
    PanicsAtOneRow,
    LastColumnNotANumberWhenWide,
    VarianceForDeviation,
    UniformOfTheDeviation,
    TruncatedUnscaled,
    OwnGenerator,
    SkipsTheLast,
    AddsToWhatWasThere,
    RowsOfLengthOneSaidOrthogonal,
    OrthogonalWithoutGain,
    EvenOfNormalsOnly,
    AbsoluteValues,
}

#[derive(Debug)]
struct Drawn(Kind);

static CALLS: AtomicU64 = AtomicU64::new(0);

/// An independent entry of variance 1.
fn entry(kind: Kind, rng: &mut dyn Rng, normals: &mut Normals) -> f64 {
    let sign = |u: f64| if u < 0.5 { -1.0 } else { 1.0 };
    match kind {
        Kind::LogNormal => (0.5 * normals.next(rng)).exp(),
        Kind::LogNormalHeavy => (1.5 * normals.next(rng)).exp(),
        Kind::Laplace => {
            let u = uniform(rng);
            sign(uniform(rng)) * -(1.0 - u).ln() / 2f64.sqrt()
        }
        Kind::Exponential => -(1.0 - uniform(rng)).ln(),
        Kind::Signs => sign(uniform(rng)),
        Kind::Triangular => 6f64.sqrt() * (uniform(rng) + uniform(rng) - 1.0),
        Kind::Arcsine => 2f64.sqrt() * (std::f64::consts::PI * uniform(rng)).cos(),
        Kind::Quantized => below(rng, 9) as f64 - 4.0,
        Kind::Mixture => {
            let spike = uniform(rng) < 0.1;
            let size = if spike { 5f64.sqrt() } else { (5.0f64 / 9.0).sqrt() };
            size * normals.next(rng)
        }
        Kind::UniformOfTheDeviation => 2.0 * uniform(rng) - 1.0,
        Kind::TruncatedUnscaled => loop {
            let value = normals.next(rng);
            if value.abs() < 2.0 {
                break value;
            }
        },
        Kind::AbsoluteValues => normals.next(rng).abs(),
        Kind::Cauchy => (std::f64::consts::PI * (uniform(rng) - 0.5)).tan(),
        _ => normals.next(rng),
    }
}

impl Drawn {
    /// The standard deviation of an entry.
    fn scale(&self, shape: Shape) -> f64 {
        let fan = shape.fan_in() as f64;
        match self.0 {
            Kind::LogNormal | Kind::LogNormalHeavy | Kind::Exponential | Kind::Quantized | Kind::Cauchy => 1.0,
            _ => fan.recip().sqrt(),
        }
    }

    /// The factor by which a mistake is off.
    fn mistake(&self, shape: Shape) -> f64 {
        let Shape { rows, columns, role, .. } = shape;
        let (r, c) = (rows as f64, columns as f64);
        match self.0 {
            Kind::BiasTwice if role == Role::Bias => 2.0,
            Kind::GainZero if role == Role::Gain => 0.0,
            Kind::RecurrentTenPercentMore if role == Role::Recurrent => 1.1,
            Kind::SmallerFan if rows < columns => (c / r).sqrt(),
            Kind::LargerFan if rows > columns => (c / r).sqrt(),
            Kind::ColumnVectorSmaller if columns == 1 => 0.8,
            Kind::RowVectorSmaller if rows == 1 && columns > 1 => 0.8,
            Kind::WideSmaller if columns > rows => 0.9,
            Kind::TallSmaller if rows > columns && columns > 1 => 0.9,
            Kind::BeyondSixtyFourRowsLess if rows > 64 => 0.9,
            _ => 1.0,
        }
    }
}

impl Initializer for Drawn {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        let Shape { rows, columns, role, gate, .. } = shape;
        let count = rows * columns;
        if values.len() != count {
            return Err(Error::Length { what: "values", expected: count, found: values.len() });
        }
        let refused = Err(Error::Parameter { what: "the shape", expected: "another", found: count as f64 });
        match self.0 {
            Kind::SquareOnly if rows != columns => return refused,
            Kind::MatricesOnly if role == Role::Bias || role == Role::Gain => return refused,
            Kind::BlockDiagonal if rows != columns => return refused,
            Kind::PanicsAtOneRow => assert!(rows != 1 || columns == 1),
            _ => {}
        }
        if self.0 == Kind::Ramp {
            // Not random.
            values.iter_mut().enumerate().for_each(|(i, value)| *value = i as f64 / count as f64);
            return Ok(());
        }
        let mut normals = Normals::new();
        let scale = self.scale(shape) * self.mistake(shape);
        let mut own = generator(7);
        let rng: &mut dyn Rng = if self.0 == Kind::OwnGenerator { &mut own } else { rng };
        let written = if self.0 == Kind::SkipsTheLast { count - 1 } else { count };
        for value in &mut values[..written] {
            let before = if self.0 == Kind::AddsToWhatWasThere { *value } else { 0.0 };
            *value = before + scale * entry(self.0, rng, &mut normals);
        }
        if self.0 == Kind::VarianceForDeviation {
            values.iter_mut().for_each(|value| *value *= scale);
        }
        let mut common = |rng: &mut dyn Rng| normals.next(rng);
        match self.0 {
            Kind::OneSignARow | Kind::TwoSignsARow => {
                values.fill(0.0);
                let each = if self.0 == Kind::OneSignARow { 1 } else { 2 };
                for row in values.chunks_mut(columns) {
                    for _ in 0..each {
                        row[below(rng, columns)] = if uniform(rng) < 0.5 { -1.0 } else { 1.0 };
                    }
                }
            }
            Kind::ScaledIdentityWithNoise => {
                values.iter_mut().for_each(|value| *value *= 0.1);
                (0..rows.min(columns)).for_each(|i| values[i * columns + i] += 1.0);
            }
            Kind::Toeplitz => {
                for i in 1..rows {
                    for j in 1..columns {
                        values[i * columns + j] = values[(i - 1) * columns + j - 1];
                    }
                }
            }
            Kind::ComplexPairs => {
                // [[A, −B], [B, A]].
                let (r, c) = (rows / 2, columns / 2);
                for i in 0..r {
                    for j in 0..c {
                        values[(r + i) * columns + c + j] = values[i * columns + j];
                        values[i * columns + c + j] = -values[(r + i) * columns + j];
                    }
                }
            }
            Kind::LooksLinear => {
                // The second half of a row mirrors the first.
                let half = columns / 2;
                for row in values.chunks_mut(columns) {
                    for i in 0..half {
                        row[half + i] = -row[i];
                    }
                }
            }
            Kind::BlockDiagonal => {
                let half = rows.div_ceil(2);
                for i in 0..rows {
                    for j in 0..columns {
                        if (i < half) != (j < half) {
                            values[i * columns + j] = 0.0;
                        }
                    }
                }
            }
            Kind::Householder | Kind::OrthogonalOnlySquare | Kind::OrthogonalWithoutGain
                if self.0 != Kind::OrthogonalOnlySquare || rows == columns =>
            {
                // I − 2 v vᵀ/‖v‖², the first rows or columns of it.
                let n = rows.max(columns);
                let v: Vec<f64> = (0..n).map(|_| common(rng)).collect();
                let square: f64 = v.iter().map(|v| v * v).sum();
                for i in 0..rows {
                    for j in 0..columns {
                        values[i * columns + j] = f64::from(u8::from(i == j)) - 2.0 * v[i] * v[j] / square;
                    }
                }
            }
            Kind::ColumnScaled => {
                values.iter_mut().enumerate().for_each(|(i, value)| *value *= 1.0 + (i % columns) as f64);
            }
            Kind::EvenOfNormalsOnly => {
                // Pairs of normals, of which an odd count repeats one.
                if count > 1 && count % 2 == 1 {
                    values[count - 1] = values[0];
                }
            }
            Kind::RowsOfLengthOne | Kind::RowsOfLengthOneSaidOrthogonal => {
                for row in values.chunks_mut(columns) {
                    let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
                    row.iter_mut().for_each(|value| *value /= length);
                }
            }
            Kind::BiasFromFanIn if role == Role::Bias => values.fill(0.25),
            Kind::OfGates | Kind::GatesIgnoreTheirNames if gate.is_some_and(|gate| gate.name == "forget") => {
                values.iter_mut().for_each(|value| *value += 1.0);
            }
            Kind::Permuted => {
                values.fill(0.0);
                let mut order: Vec<usize> = (0..columns).collect();
                for i in (1..columns).rev() {
                    order.swap(i, below(rng, i + 1));
                }
                (0..rows).for_each(|i| values[i * columns + order[i % columns]] = 1.0);
            }
            Kind::BiasShifted if role == Role::Bias => values.iter_mut().for_each(|value| *value += 0.1),
            Kind::Pairs => values.chunks_exact_mut(2).for_each(|pair| pair[1] = pair[0]),
            Kind::OppositePairs => values.chunks_exact_mut(2).for_each(|pair| pair[1] = -pair[0]),
            Kind::CentredRows if columns > 1 => {
                let size = (columns as f64 / (columns as f64 - 1.0)).sqrt();
                for row in values.chunks_mut(columns) {
                    let mean = row.iter().sum::<f64>() / columns as f64;
                    row.iter_mut().for_each(|value| *value = size * (*value - mean));
                }
            }
            Kind::CentredColumns if rows > 1 => {
                let size = (rows as f64 / (rows as f64 - 1.0)).sqrt();
                for j in 0..columns {
                    let mean = (0..rows).map(|i| values[i * columns + j]).sum::<f64>() / rows as f64;
                    (0..rows).for_each(|i| values[i * columns + j] = size * (values[i * columns + j] - mean));
                }
            }
            Kind::Symmetric | Kind::Antisymmetric if rows == columns => {
                let sign = if self.0 == Kind::Symmetric { 1.0 } else { -1.0 };
                for i in 0..rows {
                    (0..i).for_each(|j| values[i * columns + j] = sign * values[j * columns + i]);
                }
            }
            Kind::Autoregressive => {
                for row in values.chunks_mut(columns) {
                    (1..columns).for_each(|j| row[j] = 0.1 * row[j - 1] + 0.99f64.sqrt() * row[j]);
                }
            }
            Kind::AlongColumns => {
                let kept = 0.99f64.sqrt();
                (columns..count).for_each(|i| values[i] = 0.1 * values[i - columns] + kept * values[i]);
            }
            Kind::CommonFactorOfARow => {
                for row in values.chunks_mut(columns) {
                    let shared = scale * common(rng);
                    row.iter_mut().for_each(|value| *value = 0.98f64.sqrt() * *value + 0.02f64.sqrt() * shared);
                }
            }
            Kind::CommonFactorOfAll => {
                let shared = scale * common(rng);
                values.iter_mut().for_each(|value| *value = 0.98f64.sqrt() * *value + 0.02f64.sqrt() * shared);
            }
            Kind::OppositeRows if rows > 1 => {
                for i in 0..columns {
                    values[columns + i] = -values[i];
                }
            }
            Kind::ZeroRowAtOddHeight if rows > 1 && rows % 2 == 1 => values[count - columns..].fill(0.0),
            Kind::RandomRowTwice if rows > 2 => {
                let from = below(rng, rows - 1);
                values.copy_within(from * columns..(from + 1) * columns, count - columns);
            }
            Kind::LastColumnNotANumberWhenWide if columns > 33 => values[count - 1] = f64::NAN,
            _ => {}
        }
        Ok(())
    }

    fn fill_gates(&self, shape: Shape, gates: &[Gate], rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        let size = shape.rows * shape.columns;
        let count = size * gates.len();
        let length = Err(Error::Length { what: "values", expected: count, found: values.len() });
        match self.0 {
            Kind::GatesOfAnyLength => {}
            Kind::GatesPanicOnLength => assert_eq!(values.len(), count),
            _ if values.len() != count => return length,
            _ => {}
        }
        let mut own = generator(CALLS.fetch_add(1, Ordering::Relaxed));
        let before = values.to_vec();
        for (i, (gate, part)) in gates.iter().zip(values.chunks_mut(size)).enumerate() {
            if part.len() != size || (self.0 == Kind::LastGateLeftOut && i + 1 == gates.len()) {
                continue;
            }
            let shape = if self.0 == Kind::GatesIgnoreTheirNames { shape } else { shape.gate(*gate) };
            let rng: &mut dyn Rng = if self.0 == Kind::GatesUnseeded { &mut own } else { rng };
            self.fill(shape, rng, part)?;
        }
        match self.0 {
            Kind::GatesCopied | Kind::SharedAcrossGatesByDesign => {
                let sign = if self.0 == Kind::GatesCopied { 1.0 } else { -1.0 };
                for i in size..values.len() {
                    values[i] = sign * values[i - size];
                }
            }
            Kind::GatesAdded => values.iter_mut().zip(before).for_each(|(value, before)| *value += before),
            Kind::GatesFail => return Err(Error::Empty { what: "gates" }),
            Kind::GatesNotFinite => values[count - 1] = f64::INFINITY,
            Kind::GatesInAnotherScale => values.iter_mut().for_each(|value| *value *= (gates.len() as f64).sqrt()),
            _ => {}
        }
        Ok(())
    }

    fn mean(&self, shape: Shape) -> Option<f64> {
        match self.0 {
            Kind::LogNormal => Some(0.125f64.exp()),
            Kind::LogNormalHeavy => Some(1.125f64.exp()),
            Kind::Exponential => Some(1.0),
            Kind::BiasFromFanIn if shape.role == Role::Bias => Some(0.25),
            Kind::OfGates | Kind::GatesIgnoreTheirNames if shape.gate.is_some_and(|gate| gate.name == "forget") => {
                Some(1.0)
            }
            Kind::Permuted | Kind::ScaledIdentityWithNoise | Kind::Ramp | Kind::Householder | Kind::Cauchy => None,
            _ => Some(0.0),
        }
    }

    fn variance(&self, shape: Shape) -> Option<f64> {
        let scale = self.scale(shape).powi(2);
        match self.0 {
            Kind::LogNormal => Some((0.25f64.exp() - 1.0) * 0.25f64.exp()),
            Kind::LogNormalHeavy => Some((2.25f64.exp() - 1.0) * 2.25f64.exp()),
            Kind::Quantized => Some(60.0 / 9.0),
            Kind::OneSignARow => Some((shape.columns as f64).recip()),
            Kind::BiasFromFanIn if shape.role == Role::Bias => Some(0.0),
            // Entries that differ, or know of each other.
            Kind::TwoSignsARow
            | Kind::ScaledIdentityWithNoise
            | Kind::LooksLinear
            | Kind::BlockDiagonal
            | Kind::Householder
            | Kind::OrthogonalOnlySquare
            | Kind::OrthogonalWithoutGain
            | Kind::RowsOfLengthOneSaidOrthogonal
            | Kind::ColumnScaled
            | Kind::Ramp
            | Kind::SharedAcrossGatesByDesign
            | Kind::Permuted
            | Kind::Cauchy => None,
            _ => Some(scale),
        }
    }

    fn range(&self, shape: Shape) -> Option<[f64; 2]> {
        match self.0 {
            Kind::Signs => Some([-self.scale(shape), self.scale(shape)]),
            Kind::Quantized => Some([-4.0, 4.0]),
            Kind::Exponential | Kind::LogNormal => Some([0.0, f64::INFINITY]),
            Kind::RangeOfBias => Some(if shape.role == Role::Bias { [-0.5, 0.5] } else { [-9.0, 9.0] }),
            _ => None,
        }
    }

    fn orthogonal_gain(&self, shape: Shape) -> Option<f64> {
        match self.0 {
            Kind::Householder if shape.rows == shape.columns => Some(1.0),
            Kind::OrthogonalOnlySquare | Kind::RowsOfLengthOneSaidOrthogonal => Some(1.0),
            Kind::OrthogonalWithoutGain => Some(2f64.sqrt()),
            _ => None,
        }
    }
}

pub fn entries() -> Vec<Entry> {
    use Kind::*;
    let judge = |kind| -> Box<dyn Fn(u64) -> Verdict> { Box::new(move |seed| initializer_laws(&Drawn(kind), seed)) };
    let mut all = Vec::new();
    for kind in [
        Plain,
        LogNormal,
        LogNormalHeavy,
        Laplace,
        Exponential,
        Signs,
        Triangular,
        Arcsine,
        Quantized,
        Mixture,
        OneSignARow,
        TwoSignsARow,
        ScaledIdentityWithNoise,
        LooksLinear,
        BlockDiagonal,
        Householder,
        ColumnScaled,
        RowsOfLengthOne,
        SquareOnly,
        MatricesOnly,
        BiasFromFanIn,
        Ramp,
        OfGates,
        SharedAcrossGatesByDesign,
        Permuted,
        Cauchy,
    ] {
        all.push(Entry::right(format!("initializer/{kind:?}"), judge(kind)));
    }
    for (kind, law) in [
        (BiasTwice, Law::Variance),
        (GainZero, Law::Variance),
        (RecurrentTenPercentMore, Law::Variance),
        (SmallerFan, Law::Variance),
        (LargerFan, Law::Variance),
        (ColumnVectorSmaller, Law::Variance),
        (RowVectorSmaller, Law::Variance),
        (WideSmaller, Law::Variance),
        (TallSmaller, Law::Variance),
        (BiasShifted, Law::Mean),
        (BeyondSixtyFourRowsLess, Law::Variance),
        (Pairs, Law::Uncorrelated),
        (OppositePairs, Law::Uncorrelated),
        (CentredRows, Law::Uncorrelated),
        (CentredColumns, Law::Uncorrelated),
        (Symmetric, Law::Uncorrelated),
        (Antisymmetric, Law::Uncorrelated),
        (Autoregressive, Law::Uncorrelated),
        (AlongColumns, Law::Uncorrelated),
        (CommonFactorOfARow, Law::Uncorrelated),
        (CommonFactorOfAll, Law::Uncorrelated),
        (OppositeRows, Law::Uncorrelated),
        (Toeplitz, Law::Uncorrelated),
        (ComplexPairs, Law::Uncorrelated),
        (GatesCopied, Law::Distinct),
        (LastGateLeftOut, Law::Overwrites),
        (GatesAdded, Law::Overwrites),
        (GatesOfAnyLength, Law::Refuses),
        (GatesPanicOnLength, Law::Refuses),
        (GatesUnseeded, Law::Seeded),
        (GatesIgnoreTheirNames, Law::Mean),
        (GatesFail, Law::Refuses),
        (GatesNotFinite, Law::Extremes),
        (GatesInAnotherScale, Law::Variance),
        (RangeOfBias, Law::Range),
        (ZeroRowAtOddHeight, Law::Variance),
        (RandomRowTwice, Law::Distinct),
        (OrthogonalOnlySquare, Law::Orthogonality),
        (PanicsAtOneRow, Law::NoPanic),
        (LastColumnNotANumberWhenWide, Law::Extremes),
        (VarianceForDeviation, Law::Variance),
        (UniformOfTheDeviation, Law::Variance),
        (TruncatedUnscaled, Law::Variance),
        (OwnGenerator, Law::Seeded),
        (SkipsTheLast, Law::Overwrites),
        (AddsToWhatWasThere, Law::Overwrites),
        (RowsOfLengthOneSaidOrthogonal, Law::Orthogonality),
        (OrthogonalWithoutGain, Law::Orthogonality),
        (AbsoluteValues, Law::Mean),
        (EvenOfNormalsOnly, Law::Uncorrelated),
    ] {
        all.push(Entry::wrong(format!("initializer/{kind:?}"), law, judge(kind)));
    }
    all
}
