//! Laws that compare updates with a formula, and updates in `f32` with those in `f64`.

use super::{FEW, Formula, SIZES, STEPS, Suite, Transforms, blocks};
use crate::{
    block::{Block, Blocks, Role},
    scalar::{Scalar, to_f64},
    testing::{
        Law, caught,
        law::{Trial, beyond, number},
    },
};
use alloc::{format, vec, vec::Vec};

/// The allowed error of an update, relative to the largest update of that parameter so far: 1e-3 in `f32`, 1e-9 in
/// `f64`.
pub(super) fn allowed<T: Scalar>() -> f64 {
    if to_f64(T::epsilon()) > 1e-10 { 1e-3 } else { 1e-9 }
}

/// The number of optimizer steps whose updates in `f32` and `f64` are compared.
const COMPARED: u64 = 200;

/// The fraction of all updates of single parameters in which `f32` and `f64` may differ: rounding may decide the sign
/// of an update.
pub(super) const DECIDED_BY_ROUNDING: f64 = 0.01;

impl<T: Scalar> Suite<'_, '_, T> {
    /// Tests that each update of a run is the update by the formula.
    pub(super) fn formula(&mut self, formula: Formula<'_>) {
        self.formula_in(blocks(), STEPS, formula);
        // One block of more parameters than all others have. A transform may need the blocks of the suite by name.
        let large = Blocks::collect(|visit| visit(Block::new("0.weight", 0, [26, 10], Role::Weight)));
        let make = self.make;
        if matches!(caught(|| make().validate(&large)), Ok(Ok(()))) {
            self.formula_in(large, FEW, formula);
        }
    }

    /// Tests that each update of a run of `steps` steps, on parameters in these blocks, is the update by the formula.
    fn formula_in(&mut self, blocks: Blocks, steps: u64, formula: Formula<'_>) {
        let count = blocks.parameters();
        let large = count > self.gradients[0].len();
        let w = self.numbers(count, 1, 1.0);
        let Some(mut run) = self.begun_with(blocks, w) else { return };
        let (mut memory, mut largest) = (vec![[0.0; 4]; count], vec![0.0f64; count]);
        for step in 0..steps {
            let size = SIZES[step as usize % SIZES.len()];
            let gradient = if large { self.numbers(count, 100 + step, size) } else { self.gradient(step) };
            let w: Vec<f64> = run.w.iter().map(|&w| to_f64(w)).collect();
            let Some(update) = self.step(&mut run, &gradient, step) else { return };
            for i in 0..count {
                let expected = formula(to_f64(gradient[i]), &mut memory[i], step, w[i]);
                largest[i] = largest[i].max(expected.abs());
                let error = (to_f64(update[i]) - expected).abs() / largest[i].max(f64::MIN_POSITIVE);
                if beyond(error, allowed::<T>()) {
                    let block = run.blocks.at(i).map_or("", |block| &block.name);
                    let place = format!("{}, step {step}: [{i}], in block `{block}`", self.name);
                    let input = format!("g = {}, t = {step}, w = {}", number(to_f64(gradient[i])), number(w[i]));
                    let found = number(to_f64(update[i]));
                    self.trial.breaks(Law::Formula, place, number(expected), found, input);
                    return;
                }
            }
        }
    }
}

/// Tests that updates in `f32` equal those in `f64`, to rounding.
pub(super) fn precision(transforms: &Transforms<'_>, seed: u64, trial: &mut Trial) {
    let mut single = Suite::new(transforms.single, "f32", seed, trial);
    let narrow = single.updates(COMPARED);
    let mut double = Suite::new(transforms.double, "f64", seed, trial);
    let wide = double.updates(COMPARED);
    let count = wide.first().map_or(0, Vec::len);
    let (mut largest, mut off, mut first) = (vec![0.0f64; count], 0, None);
    for (step, (narrow, wide)) in narrow.iter().zip(&wide).enumerate() {
        for i in 0..count {
            let (narrow, wide) = (f64::from(narrow[i]), wide[i]);
            largest[i] = largest[i].max(wide.abs());
            // Overflow of the format is not a mistake.
            if largest[i] < 1e30 && beyond((narrow - wide).abs(), 1e-3 * largest[i] + 1e-35) {
                off += 1;
                first = first.or(Some((step, i, wide, narrow)));
            }
        }
    }
    if let Some((step, i, wide, narrow)) =
        first.filter(|_| f64::from(off) > DECIDED_BY_ROUNDING * (count * wide.len()) as f64)
    {
        let place = format!("f32, step {step}: [{i}]");
        let expected = format!("{}, as in f64", number(wide));
        trial.breaks(Law::Precision, place, expected, number(narrow), "");
    }
}
