//! Laws of what a loss accepts, of large batches, and of its gradient on dual numbers.

use super::{ALLOWED, BESIDE_ZERO, Case, DRAWS, LARGEST_SINGLE, Outputs, ROUNDINGS, Suite};
use crate::{
    error::Error,
    kernel::reduce::norm,
    loss::Loss,
    random::{Normals, generator},
    scalar::{Scalar, scalar},
    testing::{
        Dual, Law,
        law::{beyond, number},
    },
};
use alloc::{format, string::ToString, vec, vec::Vec};

/// Numbers of rows and widths beyond those at which each derivative is tested by itself.
const LARGE: [[usize; 2]; 2] = [[130, 2], [2, 129]];

/// The distance from the outputs, in both directions, at which two gradients give a difference quotient.
const STEP: f64 = 1.0 / 131_072.0;

impl Suite<'_, '_> {
    /// Tests, in a case of this size, that targets which the loss takes with usual outputs are taken with all
    /// outputs, in each format and on dual numbers. In `f32` the loss may be unable to hold a parameter or a target,
    /// which is noted. Where outputs are converted to valid ones, those beyond the usual ones are left out: rounding
    /// may have moved them to the end of the valid range.
    #[inline]
    pub(super) fn accepts(&mut self, size: [usize; 2], outputs: Outputs, weighted: bool) {
        let case = self.draw(size, outputs, weighted, 1);
        let usual = Case { y: self.draw(size, Outputs::Usual, weighted, 1).y, ..case.clone() };
        let is_taken = matches!(usual.of(self.losses.double, &mut vec![0.0; usual.y.len()]), Ok(Ok(_)));
        if !is_taken || !case.y.iter().all(|y| y.is_finite()) {
            return;
        }
        let ends = usual.y.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], &y| [a.min(y), b.max(y)]);
        if !self.admits_all() && !case.y.iter().all(|y| (ends[0]..=ends[1]).contains(y)) {
            return;
        }
        self.accepted(self.losses.double, "f64", &case);
        self.accepted(self.losses.dual, "dual numbers", &case);
        let single = case.of(self.losses.single, &mut vec![0.0; case.y.len()]);
        if matches!(single, Ok(Err(Error::Parameter { .. }))) {
            return self.trial.notes("not tested in f32 where it refuses a parameter or target there");
        }
        self.accepted(self.losses.single, "f32", &case);
    }

    /// Tests that a loss accepts `case` in the scalar type `T`, which messages call `name`. The loss accepts the
    /// targets of `case` with other outputs.
    fn accepted<T: Scalar>(&mut self, loss: &dyn Loss<T>, name: &str, case: &Case) {
        if let Ok(Err(error)) = case.of(loss, &mut vec![scalar(0.0); case.y.len()]) {
            let expected = "a loss, as for these targets with other outputs, in f64";
            self.trial.breaks(Law::Refuses, self.at(name, case), expected, error.to_string(), case.described());
        }
    }

    /// Tests batches with many rows or columns: the value of the loss, its combination from two parts of the batch,
    /// and its gradient.
    #[inline]
    pub(super) fn large(&mut self) {
        for (size, weighted) in LARGE.into_iter().flat_map(|size| [false, true].map(|weighted| (size, weighted))) {
            let case = self.draw(size, Outputs::Usual, weighted, 1);
            if !matches!(case.of(self.losses.double, &mut vec![0.0; case.y.len()]), Ok(Ok(_))) {
                continue;
            }
            self.values(size, Outputs::Usual, weighted);
            self.whole(self.losses.single, 1, size, weighted);
            self.whole(self.losses.double, 0, size, weighted);
            for scalar in [0, 1] {
                let wrong: Vec<_> =
                    (0..DRAWS).filter_map(|draw| self.along(size, weighted, 1 + 100 * draw, scalar)).collect();
                if let Some([expected, found]) = wrong.first().filter(|_| wrong.len() as u64 == DRAWS) {
                    let place = format!("{}: ⟨dy, v⟩ for random v", self.at(ALLOWED[scalar].0, &case));
                    let expected = format!("{}, {}", number(*expected), ["by dual numbers", "as in f64"][scalar]);
                    self.trial.breaks(Law::Derivative, place, expected, number(*found), "");
                }
            }
        }
    }

    /// Returns the expected and the found derivative of the loss along a random direction of the outputs, if they
    /// differ by more than rounding. In `f64` (`scalar` 0) the expected one is that of dual numbers; in `f32`
    /// (`scalar` 1) each element of the gradient is compared with that in `f64`. `None` at a kink, such as outputs
    /// that equal their targets.
    #[inline]
    fn along(&mut self, size: [usize; 2], weighted: bool, stream: u64, scalar: usize) -> Option<[f64; 2]> {
        let case = self.draw(size, Outputs::Usual, weighted, stream);
        let (value, double) = self.evaluated(self.losses.double, "f64", &case, 0.0)?;
        // Values that may overflow `f32` are not compared.
        if !(value.abs() < LARGEST_SINGLE && double.iter().all(|dy| dy.abs() < LARGEST_SINGLE)) {
            return None;
        }
        let allowed = ALLOWED[scalar].1;
        let floor = ROUNDINGS * self.unit * case.weight();
        if scalar == 1 {
            let (_, single) = self.evaluated(self.losses.single, "f32", &case, 0.0)?;
            let most = allowed * norm(&double) + floor * f64::from(f32::EPSILON);
            let is_kink = |i| self.at_kink(&case, i, single[i], f32::EPSILON.into(), most);
            let off = (0..double.len()).find(|&i| beyond((single[i] - double[i]).abs(), most) && !is_kink(i));
            return off.map(|i| [double[i], single[i]]);
        }
        let (mut rng, mut normals) = (generator(self.seed.wrapping_add(stream)), Normals::new());
        let v: Vec<f64> = case.y.iter().map(|_| normals.next(&mut rng)).collect();
        let y: Vec<_> = case.y.iter().zip(&v).map(|(&y, &v)| Dual::new(y, v)).collect();
        let found = double.iter().zip(&v).map(|(dy, v)| dy * v).sum::<f64>();
        let dual = case.lifted(self.losses.dual, &y, &mut vec![Dual::constant(0.0); y.len()]).ok()?.ok()?;
        let most = (100.0 * allowed * norm(&double) + floor * f64::EPSILON) * norm(&v);
        if !dual.tangent.is_finite() || !beyond((dual.tangent - found).abs(), most) {
            return None;
        }
        let beside = |sign: f64| {
            let moved = y.iter().map(|&y| {
                let step = if y.value == 0.0 { BESIDE_ZERO } else { y.value.abs() * 32.0 * f64::EPSILON };
                Dual::new(y.value + sign * step * y.tangent.signum(), y.tangent)
            });
            let moved: Vec<_> = moved.collect();
            case.lifted(self.losses.dual, &moved, &mut vec![Dual::constant(0.0); moved.len()]).ok()?.ok()
        };
        let is_smooth = |side: Dual<f64>| (side.tangent - dual.tangent).abs() <= most;
        (is_smooth(beside(-1.0)?) && is_smooth(beside(1.0)?)).then_some([dual.tangent, found])
    }

    /// Tests that the gradient on dual numbers, by which the curvature of a network with this loss is computed, is
    /// that in `f64`, and that its tangent is the derivative of the gradient.
    #[inline]
    pub(super) fn curvature(&mut self, size: [usize; 2]) {
        if self.trial.broken(Law::Derivative) || self.trial.excepts(Law::Derivative) || !self.admits_all() {
            return;
        }
        let wrong: Vec<_> = (0..DRAWS).filter_map(|draw| self.curvature_off(size, 70 + 100 * draw)).collect();
        if let Some((what, [expected, found])) = wrong.first().filter(|_| wrong.len() as u64 == DRAWS) {
            let place = format!("{}, {what}", self.at("dual numbers", &self.draw(size, Outputs::Usual, false, 70)));
            let expected = format!("{}, by gradients in f64", number(*expected));
            let found = match *found {
                0.0 => "0: the gradient carries no tangent, as through f64".into(),
                found => number(found),
            };
            self.trial.breaks(Law::Derivative, place, expected, found, "");
        }
    }

    /// Returns what is wrong with the gradient on dual numbers along a random direction of the outputs, the expected
    /// and the found number. `None` if nothing is.
    #[inline]
    fn curvature_off(&mut self, size: [usize; 2], stream: u64) -> Option<(&'static str, [f64; 2])> {
        let case = self.draw(size, Outputs::Usual, false, stream);
        let (mut rng, mut normals) = (generator(self.seed.wrapping_add(stream)), Normals::new());
        let v: Vec<f64> = case.y.iter().map(|_| normals.next(&mut rng)).collect();
        let mut gradient = |by: f64| {
            let y = case.y.iter().zip(&v).map(|(y, v)| y + by * v).collect();
            Some(self.evaluated(self.losses.double, "f64", &Case { y, ..case.clone() }, 0.0)?.1)
        };
        let [before, at, after] = [gradient(-STEP)?, gradient(0.0)?, gradient(STEP)?];
        // Gradients that may overflow are not compared.
        if [&before, &at, &after].iter().any(|dy| !dy.iter().all(|dy| dy.abs() < LARGEST_SINGLE)) {
            return None;
        }
        let y: Vec<_> = case.y.iter().zip(&v).map(|(&y, &v)| Dual::new(y, v)).collect();
        let mut dual = vec![Dual::constant(0.0); y.len()];
        case.lifted(self.losses.dual, &y, &mut dual).ok()?.ok()?;
        let size = norm(&at).max(1e-3 * self.unit);
        if let Some(i) = (0..at.len()).find(|&i| beyond((dual[i].value - at[i]).abs(), 1e-9 * size)) {
            return Some(("the gradient dy", [at[i], dual[i].value]));
        }
        let expected = (0..v.len()).map(|i| (after[i] - before[i]) * v[i]).sum::<f64>() / (2.0 * STEP);
        let found = (0..v.len()).map(|i| dual[i].tangent * v[i]).sum::<f64>();
        let most = 0.1 * (expected.abs() + found.abs()) + 1e-6 * size * norm(&v);
        beyond((expected - found).abs(), most).then_some(("the tangent of dy along a direction", [expected, found]))
    }
}
