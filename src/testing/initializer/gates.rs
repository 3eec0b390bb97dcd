//! The laws of [`Initializer::fill_gates`], which fills a block whose gates are stacked in its rows.

use super::{Facts, MOMENTS, between_gates, differ, lengths, moments, range, repeatable};
use crate::{
    block::{Gate, Role},
    error::Error,
    initializer::{Initializer, Shape},
    random::generator,
    testing::{
        Law, caught,
        law::{Trial, number},
    },
};
use alloc::{format, string::ToString, vec, vec::Vec};

const GATES: [Gate; 4] =
    [Gate::new("input"), Gate::carrying_state("forget"), Gate::new("candidate"), Gate::new("output")];
/// Shapes of one gate: each block to fill has four such gates, stacked.
const SHAPES: [Shape; 3] =
    [Shape::new(8, 5, Role::Recurrent), Shape::new(6, 1, Role::Bias), Shape::new(5, 7, Role::Weight)];
/// The number of entries of a gate from which its moments are estimated, for blocks of four gates. A variance that is
/// 10 % off is then 12 standard errors away.
const ENTRIES: usize = 32_768;
/// The number of entries of a gate from which its moments are estimated, for blocks of one to three gates.
const FEW: usize = 8_192;

/// Tests the laws of an initializer on blocks with one to four gates stacked in their rows.
pub(super) fn gates(initializer: &dyn Initializer, seed: u64, trial: &mut Trial) {
    for (gates, entries) in [(&GATES[..], ENTRIES), (&GATES[..1], FEW), (&GATES[..2], FEW), (&GATES[1..], FEW)] {
        of_gates(initializer, gates, entries, seed, trial);
    }
}

/// Tests the laws of an initializer on blocks with `gates` stacked in their rows. Moments are estimated from
/// `entries` entries of each gate.
fn of_gates(initializer: &dyn Initializer, gates: &[Gate], entries: usize, seed: u64, trial: &mut Trial) {
    for shape in SHAPES {
        let size = shape.rows * shape.columns;
        let place = format!("{:?} of {} gates of {} × {}", shape.role, gates.len(), shape.rows, shape.columns);
        let alone = |gate: &Gate| {
            let mut values = vec![0.0; size];
            matches!(caught(|| initializer.fill(shape.gate(*gate), &mut generator(seed), &mut values)), Ok(Ok(())))
        };
        if !gates.iter().all(alone) {
            continue;
        }
        let mut again = |seed: u64, before: f64, trial: &mut Trial| {
            let mut values = vec![before; size * gates.len()];
            let (law, found) = match caught(|| initializer.fill_gates(shape, gates, &mut generator(seed), &mut values))
            {
                Ok(Ok(())) => return Some(values),
                // Gates may need each other, or be those of one cell.
                Ok(Err(Error::Parameter { .. })) if gates.len() != GATES.len() => return None,
                Ok(Err(error)) => (Law::Refuses, error.to_string()),
                Err(panic) => (Law::NoPanic, panic),
            };
            trial.breaks(law, &*place, "values, as of each gate alone", found, "");
            None
        };
        let Some(values) = again(seed, 0.0, trial) else { return };
        if let Some(i) = values.iter().position(|value| !value.is_finite()) {
            trial.breaks(Law::Extremes, format!("{place}: [{i}]"), "a number", number(values[i]), "");
            return;
        }
        repeatable(&mut again, &place, seed, &values, trial);
        let others: Vec<_> = (0..4).filter_map(|by| again(seed.wrapping_add(by), 0.0, trial)).collect();
        let fill = |rng: &mut dyn rand_core::Rng, values: &mut [f64]| initializer.fill_gates(shape, gates, rng, values);
        lengths(&fill, &place, values.len(), trial);
        let mut rng = generator(seed ^ MOMENTS);
        let mut fills = vec![0.0; entries.div_ceil(size) * values.len()];
        if !fills.chunks_mut(values.len()).all(|stacked| fill(&mut rng, stacked).is_ok()) {
            return;
        }
        for (i, gate) in gates.iter().copied().enumerate() {
            let own = i * size..(i + 1) * size;
            let shape = shape.gate(gate);
            let place = format!("{place}, gate `{}`", gate.name);
            range(initializer, shape, &place, &values[own.clone()], trial);
            let random = initializer.variance(shape).is_some_and(|variance| variance > 0.0);
            for (j, before) in gates.iter().copied().enumerate().take(i).filter(|_| size > 16 && random) {
                let copies =
                    |values: &Vec<f64>| differ(&values[j * size..(j + 1) * size], &values[own.clone()]).is_none();
                // Gates of one number may lack the few other entries of a heavy tail.
                let varies = |values: &Vec<f64>| values[own.clone()].iter().any(|&value| value != values[own.start]);
                if others.iter().all(copies) && others.iter().any(varies) {
                    let found = format!("those of gate `{}`", before.name);
                    trial.breaks(Law::Distinct, &*place, "values of its own", found, "");
                }
            }
            // The first fills, which were made before, are used for each gate.
            let mut from_stack = fills.chunks(values.len()).map(|stacked| &stacked[own.clone()]);
            let mut rng = generator(seed ^ MOMENTS ^ i as u64);
            let mut stacked = vec![0.0; values.len()];
            let mut next = |values: &mut [f64]| {
                if let Some(drawn) = from_stack.next() {
                    values.copy_from_slice(drawn);
                    return true;
                }
                let filled = fill(&mut rng, &mut stacked).is_ok();
                values.copy_from_slice(&stacked[own.clone()]);
                filled
            };
            moments(&mut next, &Facts::of(initializer, shape, place), entries, trial);
        }
        between_gates(&fills, initializer, (shape, gates), &place, trial);
    }
}
