//! Laws that compare modes, formats and dual numbers: inference with evaluation, buffers in `f32` with those in
//! `f64`, and a backward pass on dual numbers with that in `f64`.

use super::{
    Asked, EXTENTS, Given, Results, Suite,
    adjoint::{at_rest, dot, widened},
    law_of, run,
};
use crate::{
    batch_shape::BatchShape,
    kernel::reduce::norm,
    layer::{Layer, Mode},
    random::{Normals, generator},
    scalar::{Scalar, scalar, to_f64},
    testing::{
        Dual, Law,
        law::{beyond, differ, number},
    },
};
use alloc::{format, vec::Vec};

/// The number of random changes of the last digits of parameters and inputs, one of which must show that a difference
/// of two modes is due to rounding.
const NUDGES: u64 = 8;

/// The standard deviation of a random change of the last digits of a parameter or an input, in units of the last
/// place.
const NUDGE: f64 = 32.0;

/// The allowed error of the value of a gradient on dual numbers: the first number times the norm of the gradient, plus
/// the second times the norm of a usual gradient.
const DUAL: [f64; 2] = [1e-11, 1e-13];

/// The distance, along a random direction of parameters and input, of the two passes whose gradients give a
/// difference quotient.
const STEP: f64 = 1.0 / 131_072.0;

/// The number of random cases that must all show a wrong tangent: a single case may be at a kink.
const DRAWS: u64 = 3;

/// The magnitude beyond which a buffer is not compared: it may be the largest number of its format.
const LARGEST: f64 = 1e30;

impl Suite<'_, '_> {
    /// Tests that inference and evaluation agree after training passes that changed the buffers, in the scalar type
    /// `T`. Messages call it `name`.
    pub(super) fn modes_agree_later<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str) {
        let shape = BatchShape::sequences(2, 3);
        let Some(given) = self.draw(shape, 2) else { return };
        self.modes_agree(layer, name, &given, &Asked::new(shape));
    }

    /// Tests that inference and evaluation agree in `f32` and in `f64`, for random values of the magnitudes
    /// `self.inputs`.
    #[inline]
    pub(super) fn modes_agree_at(&mut self, shape: BatchShape<'_>) {
        let Some(given) = self.draw(shape, 1) else { return };
        self.modes_agree(self.layers.single, "f32", &given, &Asked::new(shape));
        self.modes_agree(self.layers.double, "f64", &given, &Asked::new(shape));
    }

    /// Tests that inference gives the outputs and final states of evaluation, to rounding, in the scalar type `T`,
    /// which messages call `name`. A difference is due to rounding if a change of the last digits of parameters and
    /// inputs alters the result by a similar amount.
    pub(super) fn modes_agree<T: Scalar>(
        &mut self,
        layer: &dyn Layer<T>,
        name: &str,
        given: &Given<f64>,
        usual: &Asked<'_>,
    ) {
        let [evaluates, infers] = [Mode::Evaluate, Mode::Infer].map(|mode| Asked { mode, backward: false, ..*usual });
        let Some(evaluated) = self.pass(layer, name, given, &evaluates) else { return };
        let Some(inferred) = self.pass(layer, name, given, &infers) else { return };
        let strange = |results: &Results<T>| results.y.iter().any(|y| !y.is_finite());
        // Parameters of another size or sign may be outside the domain of the layer.
        if self.inputs.parameters != 1.0 && (strange(&evaluated) || strange(&inferred)) {
            return;
        }
        for (which, ((what, a), (_, b))) in evaluated.named().into_iter().zip(inferred.named()).take(2).enumerate() {
            let size = a.iter().fold(0.0, |most: f64, &a| most.max(to_f64(a).abs()));
            let allowed = 1e3 * to_f64(T::epsilon()) * size;
            let Some(i) = (0..a.len()).find(|&i| differ(to_f64(a[i]), to_f64(b[i]), allowed)) else { continue };
            let of = |results: &Results<T>| to_f64(results.named()[which].1[i]);
            let off = (to_f64(a[i]) - to_f64(b[i])).abs();
            let moves = |seed| {
                let nudged = self.nudged(given, to_f64(T::epsilon()), seed).map(scalar);
                run(layer, &nudged, &evaluates).is_ok_and(|moved| 4.0 * (of(&moved) - of(&evaluated)).abs() > off)
            };
            if !(0..NUDGES).any(moves) {
                let place = format!("{}: {what}[{i}]", self.at(name, usual.shape));
                self.trial.breaks(Law::ModesAgree, place, format!("{:?}", a[i]), format!("{:?}", b[i]), "");
            }
        }
    }

    /// Returns `given` with a random change of the last digits of each value, in units of `epsilon`.
    #[inline]
    fn nudged(&self, given: &Given<f64>, epsilon: f64, seed: u64) -> Given<f64> {
        let (mut rng, mut normals) = (generator(seed), Normals::new());
        let mut nudged = given.map(|value| value * (1.0 + NUDGE * epsilon * normals.next(&mut rng)));
        self.admit(&mut nudged.x);
        self.admit(&mut nudged.earlier);
        self.admit_parameters(&mut nudged.w);
        nudged
    }

    /// Tests that a forward pass of training leaves the same buffers in `f32` as in `f64`, to rounding. A difference
    /// is due to rounding if a change of the last digits of the input in `f32` alters the buffer as much.
    #[inline]
    pub(super) fn buffers_agree(&mut self) {
        const ALLOWED: f64 = 1e-3;
        for shape in [BatchShape::batch(4), BatchShape::batch(33)] {
            let Some(given) = self.draw(shape, 6) else { return };
            let asked = Asked { updates: true, backward: false, ..Asked::new(shape) };
            let Some(double) = self.pass(self.layers.double, "f64", &given, &asked) else { return };
            let Some(single) = self.pass(self.layers.single, "f32", &given, &asked) else { return };
            let usual = double.buffers.iter().chain(&given.x).filter(|value| value.abs() < LARGEST);
            let largest = usual.fold(0.0, |most: f64, value| most.max(value.abs()));
            let pairs = double.buffers.iter().zip(&single.buffers).enumerate();
            for (i, (&expected, &found)) in pairs.filter(|(_, (double, _))| double.abs() < LARGEST) {
                let off = (expected - f64::from(found)).abs();
                let moves = |seed| {
                    let nudged = self.nudged(&given, f32::EPSILON.into(), seed);
                    let moved = run(self.layers.double, &nudged, &asked);
                    moved.is_ok_and(|moved| 4.0 * (moved.buffers[i] - expected).abs() > off)
                };
                let is_off = differ(expected, found.into(), ALLOWED * (expected.abs() + 0.1 * largest));
                if is_off && !(0..NUDGES).any(moves) {
                    let place = format!("{}, after an update: buffer [{i}]", self.at("f32", shape));
                    let expected = format!("{}, as in f64", number(expected));
                    return self.trial.breaks(Law::Precision, place, expected, number(found.into()), "");
                }
            }
        }
    }

    /// Tests the backward pass on dual numbers: it gives the gradients of that in `f64`. Without a custom part, whose
    /// backward pass may compute in `f64`, the tangents are the derivatives of these. By them the curvature of a
    /// network without custom parts is computed.
    #[inline]
    pub(super) fn dual_backward(&mut self) {
        let is_custom = self.layers.double.spec().has_custom_part();
        for shape in [BatchShape::batch(2), EXTENTS[4]] {
            if self.trial.broken(Law::GenericBody) || self.trial.broken(Law::Adjoint) {
                return;
            }
            let Some(given) = self.draw(shape, 3) else { return };
            let asked = Asked::new(shape);
            let Some(double) = self.pass(self.layers.double, "f64", &given, &asked) else { return };
            let dual = match run(self.layers.dual, &given.map(Dual::constant), &asked) {
                Ok(dual) => dual,
                Err(found) if is_custom && law_of(&found) == Law::NoPanic => {
                    return self.trial.notes("not tested on dual numbers: the backward pass, which panics there");
                }
                Err(found) => {
                    let place = format!("{}, backward", self.at("dual numbers", shape));
                    return self.trial.breaks(law_of(&found), place, "the gradients, as in f64", found, "");
                }
            };
            let c = norm(&given.dy) + norm(given.d_state.as_deref().unwrap_or(&[]));
            let values = widened(&dual);
            for ((what, a), (_, b)) in double.named().into_iter().zip(values.named()).skip(2) {
                let off: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
                let allowed = DUAL[0] * norm(a) + DUAL[1] * self.gain * c;
                if beyond(norm(&off), allowed) {
                    let i = (0..off.len()).max_by(|&i, &j| off[i].abs().total_cmp(&off[j].abs())).unwrap_or(0);
                    let place = format!("{}, backward: {what}[{i}]", self.at("dual numbers", shape));
                    let expected = format!("{}, as in f64", number(a[i]));
                    return self.trial.breaks(Law::GenericBody, place, expected, number(b[i]), "");
                }
            }
            if is_custom || self.trial.excepts(Law::Adjoint) {
                continue;
            }
            let off: Vec<_> = (0..DRAWS).filter_map(|draw| self.tangent_off(&asked, 3 + 20 * draw)).collect();
            if let Some([expected, found]) = off.first().filter(|_| off.len() as u64 == DRAWS) {
                let place = format!("{}, backward: a tangent of the gradients", self.at("dual numbers", shape));
                let expected = format!("{}, by their difference quotient", number(*expected));
                let found = match *found {
                    0.0 => "0: the gradients carry no tangent, as through f64".into(),
                    found => number(found),
                };
                return self.trial.breaks(Law::GenericBody, place, expected, found, "");
            }
        }
    }

    /// Returns the derivative of the gradients along a random direction of parameters and input, as a difference
    /// quotient and as a tangent on dual numbers, both along a second random direction. `None` if they agree, or if
    /// the quotient over half the distance is another: at a kink, or where rounding errors are large.
    #[inline]
    fn tangent_off(&mut self, asked: &Asked<'_>, stream: u64) -> Option<[f64; 2]> {
        const ALLOWED: f64 = 0.1;
        const ROUNDING: f64 = 1e-7;
        let given = self.draw(asked.shape, stream)?;
        let (mut rng, mut normals) = (generator(self.seed.wrapping_add(stream)), Normals::new());
        let mut direction = at_rest(&given);
        direction.w.iter_mut().chain(&mut direction.x).for_each(|value| *value = normals.next(&mut rng));
        // Of norm 1: the more values move, the smaller each step, so that few of many units cross a kink.
        let length = libm::hypot(norm(&direction.w), norm(&direction.x)).max(f64::MIN_POSITIVE);
        direction.w.iter_mut().chain(&mut direction.x).for_each(|value| *value /= length);
        let moved = |by: f64| {
            let all = |values: &[f64], v: &[f64]| values.iter().zip(v).map(|(x, v)| x + by * v).collect::<Vec<f64>>();
            let mut moved = given.clone();
            (moved.w, moved.x) = (all(&given.w, &direction.w), all(&given.x, &direction.x));
            moved
        };
        // A layer of whole numbers, or of positive parameters, has no neighbours to compare.
        let sides = [-STEP, STEP, -0.5 * STEP, 0.5 * STEP].map(moved);
        let is_valid = |given: &Given<f64>| {
            given.x.iter().all(|&x| (self.admit)(x) == x) && given.w.iter().all(|&w| (self.admit_w)(w) == w)
        };
        if !sides.iter().all(is_valid) {
            return None;
        }
        let gradients = |results: &Results<f64>| [&results.dx[..], &results.dw].concat();
        let [before, after, near_before, near_after] =
            sides.map(|given| run(self.layers.double, &given, asked).map(|it| gradients(&it)));
        let (before, after, near) = (before.ok()?, after.ok()?, [near_before.ok()?, near_after.ok()?]);
        let lift = |values: &[f64], v: &[f64]| values.iter().zip(v).map(|(&x, &v)| Dual::new(x, v)).collect();
        let mut lifted = given.map(Dual::constant);
        (lifted.w, lifted.x) = (lift(&given.w, &direction.w), lift(&given.x, &direction.x));
        let dual = run(self.layers.dual, &lifted, asked).ok()?;
        let tangents: Vec<f64> = dual.dx.iter().chain(&dual.dw).map(|dual| dual.tangent).collect();
        let along: Vec<f64> = tangents.iter().map(|_| normals.next(&mut rng)).collect();
        let expected = (dot(&after, &along) - dot(&before, &along)) / (2.0 * STEP);
        let narrow = (dot(&near[1], &along) - dot(&near[0], &along)) / STEP;
        let found = dot(&tangents, &along);
        let rounding = ROUNDING * norm(&along) * norm(&after).max(self.gain * norm(&given.dy));
        let converged = (expected - narrow).abs() <= ALLOWED * narrow.abs() + rounding;
        let is_off = beyond((expected - found).abs(), ALLOWED * (expected.abs() + found.abs()) + rounding);
        (converged && is_off).then_some([expected, found])
    }
}
