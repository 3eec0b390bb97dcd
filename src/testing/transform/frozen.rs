//! The law of frozen blocks: they keep their bits, and do not affect other blocks.

use super::{
    FEW, Suite,
    formula::{DECIDED_BY_ROUNDING, allowed},
};
use crate::{
    block::Blocks,
    scalar::{Scalar, to_f64},
    testing::{
        Law,
        law::{beyond, number},
    },
};
use alloc::{format, vec, vec::Vec};

impl<T: Scalar> Suite<'_, '_, T> {
    /// Tests that frozen blocks keep their bits, and do not affect the updates of other blocks.
    pub(super) fn frozen(&mut self) {
        for name in ["0", "1.gain", "2.bias"] {
            let Some(mut run) = self.fresh(Some(name)) else { return };
            for step in 0..FEW {
                let Some(update) = self.step(&mut run, &self.gradient(step), step) else { return };
                let mut moved = run.blocks.iter().filter(|block| block.frozen).flat_map(|block| block.range.clone());
                if let Some(i) = moved.find(|&i| !update[i].is_zero()) {
                    let place = format!("{}, `{name}` frozen, step {step}: [{i}]", self.name);
                    self.trial.breaks(Law::FrozenBlocks, place, "0", format!("{:?}", update[i]), "");
                }
            }
            self.beside_frozen(name, &run.blocks);
            self.frozen_later(name);
        }
    }

    /// Tests that the blocks under `name` keep their bits from the step on before which they are frozen.
    fn frozen_later(&mut self, name: &str) {
        const BEFORE: u64 = 10;
        let Some(mut run) = self.fresh(None) else { return };
        for step in 0..BEFORE {
            if self.step(&mut run, &self.gradient(step), step).is_none() {
                return;
            }
        }
        // An optimizer refuses blocks that need a state of another length.
        let froze = run.blocks.freeze(name).is_ok();
        let length = self.ask("state_len", || run.transform.state_len(&run.blocks));
        if !froze || length != Some(run.state.len()) {
            return;
        }
        for step in BEFORE..FEW {
            let Some(update) = self.step(&mut run, &self.gradient(step), step) else { return };
            let mut moved = run.blocks.iter().filter(|block| block.frozen).flat_map(|block| block.range.clone());
            if let Some(i) = moved.find(|&i| !update[i].is_zero()) {
                let place = format!("{}, `{name}` frozen before step {BEFORE}, step {step}: [{i}]", self.name);
                return self.trial.breaks(Law::FrozenBlocks, place, "0", format!("{:?}", update[i]), "");
            }
        }
    }

    /// Tests the updates of all other blocks while the blocks named `name` or below it are frozen, as in `blocks`.
    /// The updates must be those of a run without frozen blocks in which the parameters and gradients of the blocks
    /// at `name` are 0. Rounding, and a common factor of all updates of an optimizer step, are allowed.
    fn beside_frozen(&mut self, name: &str, blocks: &Blocks) {
        let silence = |values: &mut [T]| {
            blocks.iter().filter(|block| block.frozen).for_each(|block| values[block.range.clone()].fill(T::zero()));
        };
        let mut w = self.random(1, 1.0);
        silence(&mut w);
        let (Some(found), Some(expected)) = (self.effects(Some(name), &w, &silence), self.effects(None, &w, &silence))
        else {
            return;
        };
        let (mut largest, mut off, mut count, mut first) = (vec![0.0_f64; w.len()], 0, 0, None);
        for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let live = || blocks.iter().filter(|block| !block.frozen).flat_map(|block| block.range.clone());
            let size = |values: &[f64]| libm::sqrt(live().map(|i| values[i] * values[i]).sum());
            // With frozen blocks, a mean over the trainable parameters has fewer terms, which changes all updates by
            // one factor.
            let factor = if size(found) > 0.0 { size(expected) / size(found) } else { 1.0 };
            for i in live() {
                largest[i] = largest[i].max(expected[i].abs());
                count += 1;
                if beyond((factor * found[i] - expected[i]).abs(), allowed::<T>() * largest[i]) {
                    off += 1;
                    first = first.or(Some((step, i, expected[i], found[i])));
                }
            }
        }
        // Rounding decides the sign of some updates.
        let Some((step, i, expected, found)) =
            first.filter(|_| f64::from(off) > DECIDED_BY_ROUNDING * f64::from(count))
        else {
            return;
        };
        let place = format!("{}, `{name}` frozen, step {step}: [{i}], the effect of the gradient", self.name);
        let expected = format!("{}, as beside parameters and gradients of 0", number(expected));
        self.trial.breaks(Law::FrozenBlocks, place, expected, number(found), "");
    }

    /// Returns the effect of the gradient on the updates of a run from `w`: u − v for the updates u of gradients g and
    /// v of −g, in which noise and weight decay cancel. `silence` writes zeros to the gradients of some blocks. The
    /// blocks under `frozen` are frozen, if it is given. `None` after a failure.
    fn effects(&mut self, frozen: Option<&str>, w: &[T], silence: &dyn Fn(&mut [T])) -> Option<Vec<Vec<f64>>> {
        let (mut along, mut against) = (self.begun(frozen, w.to_vec())?, self.begun(frozen, w.to_vec())?);
        let mut effects = Vec::new();
        for step in 0..FEW {
            let mut gradient = self.gradient(step);
            silence(&mut gradient);
            let opposite: Vec<T> = gradient.iter().map(|&g| -g).collect();
            let (u, v) = (self.step(&mut along, &gradient, step)?, self.step(&mut against, &opposite, step)?);
            effects.push(u.iter().zip(&v).map(|(&u, &v)| to_f64(u) - to_f64(v)).collect());
            // Both runs continue from the same parameters, so that terms of the updates that depend on the parameters
            // cancel, too.
            against.w.copy_from_slice(&along.w);
        }
        Some(effects)
    }
}
