//! Wrong initializers.

use super::{all_caught, caught};
use chainrule::{
    Error,
    initializer::{Initializer, Shape},
    rand_core::Rng,
    random::{Normals, uniform},
    testing::{Law, initializer_laws},
};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    VarianceTwoPercentOff,
    FanOutForFanIn,
    MeanShifted,
    RangeExceededNowAndThen,
    NotQuiteOrthogonal,
    GainForgotten,
    Unseeded,
    SeedIgnored,
    Added,
    LastEntryLeftOut,
    RowsAlike,
    LengthNotChecked,
    TooLongRefusedByPanic,
    NotFinite,
    RefusesEverything,
}

/// Normal, variance 1/fan_in; or, for the faults of such, orthogonal rows.
#[derive(Debug)]
struct Wrong(Fault, AtomicU64);

impl Wrong {
    fn is(&self, fault: Fault) -> bool {
        self.0 == fault
    }

    fn rotates(&self) -> bool {
        self.is(Fault::NotQuiteOrthogonal) || self.is(Fault::GainForgotten)
    }
}

impl Initializer for Wrong {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        let count = shape.rows * shape.columns;
        match self.0 {
            Fault::RefusesEverything => return Err(Error::Empty { what: "everything" }),
            Fault::LengthNotChecked => {}
            Fault::TooLongRefusedByPanic => assert!(values.len() <= count),
            _ => {}
        }
        if values.len() < count || (values.len() > count && !self.is(Fault::LengthNotChecked)) {
            return Err(Error::Length { what: "values", expected: count, found: values.len() });
        }
        if self.rotates() {
            // The identity turned a little in its first two rows.
            let (cosine, sine) = (0.8, if self.is(Fault::NotQuiteOrthogonal) { 0.6 + 1e-9 } else { 0.6 });
            values.fill(0.0);
            (0..shape.rows.min(shape.columns)).for_each(|i| values[i * shape.columns + i] = 1.0);
            if shape.rows.min(shape.columns) > 1 {
                values[..2].copy_from_slice(&[cosine, sine]);
                values[shape.columns..shape.columns + 2].copy_from_slice(&[-sine, cosine]);
            }
            return Ok(());
        }
        let fan = if self.is(Fault::FanOutForFanIn) { shape.fan_out() } else { shape.fan_in() };
        let std =
            (fan as f64).recip().sqrt() * if self.is(Fault::VarianceTwoPercentOff) { 1.02f64.sqrt() } else { 1.0 };
        let calls = self.1.fetch_add(1, Ordering::Relaxed);
        let mut normals = Normals::new();
        let end = values.len() - self.is(Fault::LastEntryLeftOut) as usize;
        for (i, value) in values[..end].iter_mut().enumerate() {
            let mut drawn = match self.0 {
                Fault::SeedIgnored => std * ((i as f64 * 0.7).sin() * 1.4),
                // Uniform, of the same variance, in ±√3 std.
                Fault::RangeExceededNowAndThen => 3.0f64.sqrt() * std * (2.0 * uniform(rng) - 1.0),
                _ => std * normals.next(rng),
            };
            match self.0 {
                Fault::MeanShifted => drawn += 0.02 * std,
                Fault::Unseeded => drawn += 1e-12 * calls as f64,
                Fault::Added => drawn += *value,
                Fault::RangeExceededNowAndThen if i % 500 == 499 => drawn = 1.8 * std,
                Fault::NotFinite if i % 700 == 699 => drawn = f64::NAN,
                _ => {}
            }
            *value = drawn;
        }
        if self.is(Fault::RowsAlike) {
            values.copy_within(..shape.columns, values.len() - shape.columns);
        }
        Ok(())
    }

    fn mean(&self, _: Shape) -> Option<f64> {
        (!self.rotates()).then_some(0.0)
    }

    fn variance(&self, shape: Shape) -> Option<f64> {
        (!self.rotates()).then_some((shape.fan_in() as f64).recip())
    }

    fn range(&self, shape: Shape) -> Option<[f64; 2]> {
        let most = (3.0 / shape.fan_in() as f64).sqrt();
        self.is(Fault::RangeExceededNowAndThen).then_some([-most, most])
    }

    fn orthogonal_gain(&self, _: Shape) -> Option<f64> {
        self.rotates().then_some(if self.is(Fault::GainForgotten) { 1.1 } else { 1.0 })
    }
}

#[test]
fn mutants_of_initializers() {
    initializer_laws(&Wrong(Fault::None, AtomicU64::new(0)), 0).expect("without a mistake there is nothing to accuse");
    let all = [
        (Fault::VarianceTwoPercentOff, Law::Variance),
        (Fault::FanOutForFanIn, Law::Variance),
        (Fault::MeanShifted, Law::Mean),
        (Fault::RangeExceededNowAndThen, Law::Range),
        (Fault::NotQuiteOrthogonal, Law::Orthogonality),
        (Fault::GainForgotten, Law::Orthogonality),
        (Fault::Unseeded, Law::Seeded),
        (Fault::SeedIgnored, Law::Seeded),
        (Fault::Added, Law::Overwrites),
        (Fault::LastEntryLeftOut, Law::Overwrites),
        (Fault::RowsAlike, Law::Distinct),
        (Fault::LengthNotChecked, Law::Refuses),
        (Fault::TooLongRefusedByPanic, Law::Refuses),
        (Fault::NotFinite, Law::Extremes),
        (Fault::RefusesEverything, Law::Refuses),
    ];
    all_caught(
        "initializers",
        all.map(|(fault, law)| {
            caught(&format!("{fault:?}"), law, initializer_laws(&Wrong(fault, AtomicU64::new(0)), 0))
        }),
    );
}
