//! Laws of optimizers: their updates descend, and without a gradient the parameters do not grow.

use super::{FEW, Run, STEPS, Suite};
use crate::{
    scalar::{Scalar, to_f64},
    testing::{
        Law,
        law::{beyond, listed},
    },
    transform::Stage,
};
use alloc::{format, vec, vec::Vec};

/// The allowed rounding error of a sum, in units of ε times the sum of the magnitudes of its terms.
const ROUNDINGS: f64 = 1e3;

/// Whether the transform of a run is an optimizer, or a chain with one.
fn optimizes<T: Scalar>(run: &Run<T>) -> bool {
    let mut found = false;
    run.transform.members(&mut |member| found |= member.stage == Stage::Optimizer);
    found
}

impl<T: Scalar> Suite<'_, '_, T> {
    /// Tests that an optimizer descends. Two runs have a constant gradient g and its opposite, from the same
    /// parameters, which are restored before each step. The sum of ⟨u − v, g⟩ over their updates u and v is at
    /// most 0 in steps 0 to 9, in steps 10 to 99 and in the rest. In all, it is less than 0. In the difference, terms
    /// of an update that do not depend on the gradient cancel, such as weight decay and noise. A transform that is no
    /// optimizer is only tested if `promised`.
    pub(super) fn downhill(&mut self, promised: bool) {
        let gradient = self.random(6, 1.0);
        let opposite: Vec<T> = gradient.iter().map(|&g| -g).collect();
        let (Some(mut along), Some(mut against)) = (self.fresh(None), self.fresh(None)) else { return };
        if !promised && !optimizes(&along) {
            return;
        }
        let (first, mut total) = (along.w.clone(), 0.0);
        for stretch in [0..10, 10..100, 100..STEPS] {
            let (mut product, mut terms) = (0.0, 0.0);
            for step in stretch.clone() {
                along.w.copy_from_slice(&first);
                against.w.copy_from_slice(&first);
                let Some(u) = self.step(&mut along, &gradient, step) else { return };
                let Some(v) = self.step(&mut against, &opposite, step) else { return };
                for ((&u, &v), &g) in u.iter().zip(&v).zip(&gradient) {
                    let [u, v, g] = [u, v, g].map(to_f64);
                    product += (u - v) * g;
                    terms += (u.abs() + v.abs()) * g.abs();
                }
            }
            total += product;
            let last = stretch.end == STEPS;
            // A schedule may begin or end with a rate of 0.
            let rounding = ROUNDINGS * to_f64(T::epsilon()) * terms;
            if beyond(product, rounding) || (last && total >= 0.0) {
                let place =
                    format!("{}, steps {stretch:?}, gradients g and −g: ⟨u − v, g⟩ of their updates", self.name);
                let expected = if last { "less than 0 in all" } else { "at most 0" };
                let found = format!("{:e}", if last { total } else { product });
                self.trial.breaks(Law::Downhill, place, expected, found, format!("g = {}", listed(&gradient)));
                return;
            }
        }
    }

    /// Tests that an optimizer descends in each block. One run has the gradient g; another has −g in this block, and
    /// g in all others. The sum of ⟨u − v, g⟩ over their updates u and v of the block is at most 0.
    pub(super) fn downhill_by_block(&mut self, promised: bool) {
        let gradient = self.random(6, 1.0);
        let Some(run) = self.fresh(None) else { return };
        if !promised && !optimizes(&run) {
            return;
        }
        for block in run.blocks.iter() {
            let mut opposite = gradient.clone();
            opposite[block.range.clone()].iter_mut().for_each(|g| *g = -*g);
            let (Some(mut along), Some(mut against)) = (self.fresh(None), self.fresh(None)) else { return };
            let (first, mut product, mut terms) = (along.w.clone(), 0.0, 0.0);
            for step in 0..FEW {
                along.w.copy_from_slice(&first);
                against.w.copy_from_slice(&first);
                let Some(u) = self.step(&mut along, &gradient, step) else { return };
                let Some(v) = self.step(&mut against, &opposite, step) else { return };
                for i in block.range.clone() {
                    let [u, v, g] = [u[i], v[i], gradient[i]].map(to_f64);
                    product += (u - v) * g;
                    terms += (u.abs() + v.abs()) * g.abs();
                }
            }
            if beyond(product, ROUNDINGS * to_f64(T::epsilon()) * terms) {
                let what = "gradients g and −g in this block: ⟨u − v, g⟩ of its updates";
                let place = format!("{}, block `{}`, {what}", self.name, block.name);
                let input = format!("g = {}", listed(&gradient));
                return self.trial.breaks(Law::Downhill, place, "at most 0", format!("{product:e}"), input);
            }
        }
    }

    /// Tests that an optimizer with a gradient of 0 does not make the parameters grow. Two runs start from the
    /// parameters w and −w. The component of their difference along w must not become larger than at the start. In
    /// the difference, updates that do not depend on the parameters cancel, such as noise.
    pub(super) fn shrinks(&mut self) {
        let first = self.random(1, 1.0);
        let opposite = first.iter().map(|&w| -w).collect();
        let (Some(mut plus), Some(mut minus)) = (self.begun(None, first.clone()), self.begun(None, opposite)) else {
            return;
        };
        if !optimizes(&plus) {
            return;
        }
        let zero = vec![T::zero(); first.len()];
        let squares: f64 = first.iter().map(|&w| to_f64(w) * to_f64(w)).sum();
        for step in 0..FEW {
            for run in [&mut plus, &mut minus] {
                if self.step(run, &zero, step).is_none() {
                    return;
                }
            }
            let differences = plus.w.iter().zip(&minus.w).map(|(&a, &b)| to_f64(a) - to_f64(b));
            let left = differences.zip(&first).map(|(off, &w)| 0.5 * off * to_f64(w)).sum::<f64>() / squares;
            // Another law tests for updates that are not finite.
            if left > 1.0 + ROUNDINGS * to_f64(T::epsilon()) {
                let place = format!("{}, step {step}, a gradient of zero: the size of the parameters", self.name);
                let found = format!("{left} of it");
                self.trial.breaks(Law::Shrinks, place, "at most that before", found, "");
                return;
            }
        }
    }
}
