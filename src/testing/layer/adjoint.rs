//! Compares gradients with dual numbers.

use super::{Asked, Given, Inputs, Results, Suite, USUAL, law_of, pass::Heard, run};
use crate::{
    batch_shape::BatchShape,
    block::Role,
    kernel::reduce::norm,
    layer::{DropoutKey, Mode},
    random::{Normals, generator},
    scalar::{Scalar, to_f64},
    testing::{Dual, Law, law::beyond},
};
use alloc::{format, string::String, vec::Vec};
use num_traits::Float;

/// The names of the scalars, each with the allowed difference of ⟨c, J v⟩ and ⟨Jᵀc, v⟩ as a fraction of
/// max(‖c‖‖J v‖, ‖Jᵀc‖‖v‖). J is the Jacobian of output and final state with respect to parameters,
/// input and state, v a random direction of these and c the gradient of the results.
///
/// Both products bound ⟨c, J v⟩ (Cauchy & Schwarz), and rounding errors are a small multiple of ε times the
/// larger. The remaining margin is for depth and cancellation; a wrong implementation has a far larger error in `f64`.
/// In `f32` only mistakes of the fast paths remain to be found, and these are large.
pub(super) const ADJOINT: [(&str, f64); 2] = [("f64", 1e-11), ("f32", 1e-3)];

/// The number of random changes of the last digits of the inputs by which a difference d of the two sides of the
/// adjoint law, ⟨c, J v⟩ and ⟨Jᵀc, v⟩, is judged. It is due to rounding, not to a mistake, if such changes alter both
/// d and ⟨c, J v⟩ by more than |d|/4. If |d| is small beside a usual derivative, a change of d is enough. J is the
/// Jacobian of the pass, c the gradient of its results, v the direction.
const NUDGES: usize = 8;

/// The standard deviation of a random change of the last digits of an input, in units of the last place.
const NUDGE: f64 = 32.0;

/// The factor on the random change of a value that is 0, and the distance from 0 of a state beside it. It is so small
/// that it moves a value off a kink at 0 and has no other effect.
const BESIDE_ZERO: f64 = 1e-20;

/// The fraction of ‖c‖‖v‖ times the usual gain ‖J v‖/‖v‖ that is added to the unit in which errors are measured. J is
/// the Jacobian of the pass, c the gradient of its output, v the direction. If an activation saturates, or terms
/// cancel, a gradient may consist of rounding errors alone.
const ROUNDING: f64 = 1e-2;

/// The values that a direction of differentiation changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    Everything,
    Input,
    /// All inputs of a row, by the same amount: inputs that are equal stay equal, and a tie of them remains one.
    Shift,
    State,
    Block(usize),
}

/// A random direction v of the values of `part`.
#[derive(Clone, Copy)]
pub(super) struct Direction {
    pub(super) part: Part,
    /// The number that distinguishes this direction from others of the same seed.
    pub(super) stream: u64,
}

/// The two sides of the adjoint law for a Jacobian J: `expected` is ⟨c, J v⟩ from dual numbers, `found` is
/// ⟨Jᵀc, v⟩ from the backward pass, and `scale` is the unit of their difference.
pub(super) struct Comparison {
    pub(super) expected: f64,
    pub(super) found: f64,
    scale: f64,
    /// ‖c‖‖v‖ times the usual gain: the magnitude of a usual derivative.
    usual: f64,
}

impl Comparison {
    #[inline]
    fn error(&self) -> f64 {
        let difference = (self.expected - self.found).abs();
        if difference == 0.0 { 0.0 } else { difference / self.scale }
    }
}

impl Suite<'_, '_> {
    /// Tests the gradients of input, state and each parameter block against dual numbers.
    #[inline]
    pub(super) fn adjoint(&mut self, shape: BatchShape<'_>, mode: Mode) {
        let Some(given) = self.draw(shape, 1) else { return };
        // Biases come first: their gradient is the sum of that of the pre-activations, so it locates a mistake best.
        let mut parts: Vec<Part> = (0..self.blocks.len()).map(Part::Block).collect();
        parts.sort_by_key(|part| matches!(part, Part::Block(i) if self.block(*i).role != Role::Bias));
        parts.extend(given.state.is_some().then_some(Part::State));
        parts.push(Part::Input);
        parts.extend(self.inputs.alike.then_some(Part::Shift));
        let mut asked = Asked { mode, ..Asked::new(shape) };
        if self.inputs.off {
            asked.dropout = DropoutKey::off();
        }
        let Some(double) = self.pass(self.layers.double, "f64", &given, &asked) else { return };
        let Some(single) = self.pass(self.layers.single, "f32", &given, &asked) else { return };
        // Parameters of another size or sign may be outside the domain of the layer.
        let strange = |y: &[f64]| y.iter().any(|y| !y.is_finite());
        let results = [&double, &widened(&single)];
        if self.inputs.parameters != 1.0
            && results.iter().any(|results| strange(&results.y) || strange(&results.dx) || strange(&results.dw))
        {
            return;
        }
        if !self.are_numbers(&double, "f64", &asked)
            || !self.are_numbers(&single, "f32", &asked)
            || !self.are_finite(&double, &single, &given, &asked)
        {
            return;
        }
        for (block, matters) in self.blocks.iter().zip(&mut self.matters) {
            let dw = &double.dw[block.range.clone()];
            let each = (dw.len() / matters.len()).max(1);
            for (matters, dw) in matters.iter_mut().zip(dw.chunks(each)) {
                *matters |= dw.iter().any(|&dw| dw != 0.0);
            }
        }
        let results = [double, widened(&single)];
        // Measures the usual gain before gradients with a smaller one are tested.
        let all = Direction { part: Part::Everything, stream: 0 };
        if self.comparisons(all, &given, &asked, &results).is_none() {
            return;
        }
        for part in parts {
            self.adjoint_of(part, &given, &asked, &results);
        }
    }

    #[inline]
    pub(super) fn adjoint_of(
        &mut self,
        part: Part,
        given: &Given<f64>,
        asked: &Asked<'_>,
        results: &[Results<f64>; 2],
    ) {
        if self.trial.broken(Law::Adjoint) || self.trial.excepts(Law::Adjoint) {
            return;
        }
        let Some(comparisons) = self.comparisons(Direction { part, stream: 0 }, given, asked, results) else { return };
        for (i, &(name, allowed)) in ADJOINT.iter().enumerate() {
            let error = comparisons[i].error();
            if error <= allowed {
                // Errors are recorded at usual inputs only: at others a gradient may be made of rounding errors.
                if self.inputs == USUAL {
                    self.trial.measures(Law::Adjoint, name, error, allowed);
                }
                continue;
            }
            if self.fails(Direction { part, stream: 0 }, given, asked, i) {
                self.accuse(part, given, asked, i, &comparisons[i]);
                return;
            }
        }
    }

    /// Whether the two sides of the adjoint law, ⟨c, J v⟩ and ⟨Jᵀc, v⟩, differ by more than rounding, or
    /// cannot be computed. J is the Jacobian of the pass, c the gradient of its results (output, final state). `scalar`
    /// is 0 for `f64` and 1 for `f32`.
    #[inline]
    pub(super) fn fails(&mut self, v: Direction, given: &Given<f64>, asked: &Asked<'_>, scalar: usize) -> bool {
        let Some(comparison) = self.comparison(v, given, asked, scalar) else { return true };
        if !beyond(comparison.error(), ADJOINT[scalar].1) {
            return false;
        }
        // If terms cancel or a kink is near, changes of the last digits of the inputs alter both the difference and
        // the derivative. With a mistake, at least one of them stays.
        let off = comparison.expected - comparison.found;
        let (mut rng, mut normals) = (generator(v.stream), Normals::new());
        let mut moved = [0.0, 0.0];
        for _ in 0..NUDGES {
            let mut nudged = given.map(|value| {
                let by = NUDGE * [f64::EPSILON, f32::EPSILON.into()][scalar] * normals.next(&mut rng);
                // A value of 0 is moved off a tie or a kink.
                let nudged = if value == 0.0 { BESIDE_ZERO * by } else { value * (1.0 + by) };
                if scalar == 0 { nudged } else { f64::from(nudged as f32) }
            });
            self.admit(&mut nudged.x);
            self.admit_parameters(&mut nudged.w);
            // Values of 0 in the state, with which sequences begin, are not changed.
            let states = nudged.state.iter_mut().flatten().zip(given.state.iter().flatten());
            states.filter(|(_, value)| **value == 0.0).for_each(|(nudged, _)| *nudged = 0.0);
            let Some(other) = self.comparison(v, &nudged, asked, scalar) else { continue };
            let by = [other.expected - other.found - off, other.expected - comparison.expected];
            moved
                .iter_mut()
                .zip(by)
                .for_each(|(most, by)| *most = if by.is_nan() { f64::INFINITY } else { by.abs().max(*most) });
        }
        let [steady, fixed] = moved.map(|by| !beyond(4.0 * by, off.abs()));
        let steady = steady || (fixed && off.abs() > ADJOINT[scalar].1 * comparison.usual);
        (steady && !self.of_a_side(v, given, asked, scalar, &comparison)) || !off.is_finite()
    }

    /// Whether the gradient of the comparison `at` is that on one side of a kink. Then it equals the gradient after
    /// all zeros of the state are replaced by a small positive or by a small negative number. False if no value of
    /// the state is 0.
    #[inline]
    fn of_a_side(
        &mut self,
        v: Direction,
        given: &Given<f64>,
        asked: &Asked<'_>,
        scalar: usize,
        at: &Comparison,
    ) -> bool {
        if !given.state.iter().flatten().any(|&value| value == 0.0) {
            return false;
        }
        [-BESIDE_ZERO, BESIDE_ZERO].into_iter().any(|side| {
            let mut beside = given.clone();
            beside.state.iter_mut().flatten().filter(|value| **value == 0.0).for_each(|value| *value = side);
            let beside = self.comparison(v, &beside, asked, scalar);
            beside.is_some_and(|beside| !beyond((beside.expected - at.found).abs() / at.scale, ADJOINT[scalar].1))
        })
    }

    /// Runs a pass, and computes the two sides of the adjoint law, ⟨c, J v⟩ and ⟨Jᵀc, v⟩. J is the Jacobian
    /// of the pass and c the gradient of its output. `scalar` is 0 for `f64` and 1 for `f32`. `None` if a pass fails.
    #[inline]
    fn comparison(&mut self, v: Direction, given: &Given<f64>, asked: &Asked<'_>, scalar: usize) -> Option<Comparison> {
        let double = run(self.layers.double, given, asked).ok()?;
        let single = run(self.layers.single, &given.map(|value| value as f32), asked).ok()?;
        let comparisons = self.comparisons(v, given, asked, &[double, widened(&single)])?;
        comparisons.into_iter().nth(scalar)
    }

    /// Returns the gradient with respect to the values `part`: its name for a message, its shape and its values in
    /// `results`. There are no values for `Part::Everything`.
    #[inline]
    pub(super) fn part<'r>(&self, part: Part, results: &'r Results<f64>) -> (String, [usize; 2], &'r [f64]) {
        let dims = self.layers.double.dims();
        match part {
            Part::Everything => ("all gradients".into(), [0, 0], &[]),
            Part::Input | Part::Shift => {
                let dx = &results.dx;
                ("the gradient of the input".into(), [dx.len() / dims.input.max(1), dims.input], dx)
            }
            Part::State => ("the gradient of the state".into(), [results.d_state.len(), 1], &results.d_state),
            Part::Block(i) => {
                let block = self.block(i);
                let dw = &results.dw[block.range.clone()];
                (format!("the gradient of block `{}`", block.name), block.shape, dw)
            }
        }
    }

    /// Computes the two sides of the adjoint law, ⟨c, J v⟩ and ⟨Jᵀc, v⟩, in `f64` and `f32`, whose passes
    /// gave `results`. J is the Jacobian of the pass and c the gradient of its output. `None` if the pass on dual
    /// numbers fails, or overflows at unusual inputs.
    #[inline]
    fn comparisons(
        &mut self,
        Direction { part, stream }: Direction,
        given: &Given<f64>,
        asked: &Asked<'_>,
        results: &[Results<f64>; 2],
    ) -> Option<[Comparison; 2]> {
        let mut rng = generator(self.seed.wrapping_mul(7_919).wrapping_add(stream));
        let mut normals = Normals::new();
        let mut direction = at_rest(given);
        let mut fill = |values: &mut [f64]| values.iter_mut().for_each(|value| *value = normals.next(&mut rng));
        match part {
            Part::Everything => {
                fill(&mut direction.w);
                fill(&mut direction.x);
                direction.state.iter_mut().for_each(|state| fill(state));
            }
            Part::Input => fill(&mut direction.x),
            Part::Shift => {
                let width = self.layers.double.dims().input.max(1);
                for row in direction.x.chunks_mut(width) {
                    fill(&mut row[..1]);
                    row.fill(row[0]);
                }
            }
            Part::State => direction.state.iter_mut().for_each(|state| fill(state)),
            Part::Block(i) => fill(&mut direction.w[self.block(i).range.clone()]),
        }
        let (expected, image) = self.along(given, &direction, asked)?;
        let Inputs { size, alike, mixed, parameters, .. } = self.inputs;
        let unusual = size != 1.0 || alike || mixed || parameters != 1.0;
        if unusual && !expected.is_finite() {
            return None;
        }
        let c = Float::hypot(norm(&given.dy), norm(given.d_state.as_deref().unwrap_or(&[])));
        let length = [&direction.w, &direction.x, direction.state.as_ref().unwrap_or(&direction.dy)]
            .into_iter()
            .fold(0.0, |length, part| Float::hypot(length, norm(part)));
        if !unusual {
            // If terms of a derivative cancel, its rounding errors may be as large as those of the outputs.
            let values = norm(&results[0].y) / (norm(&given.x) + Float::sqrt(given.x.len() as f64));
            self.gain = self.gain.max(image / (c * length).max(f64::MIN_POSITIVE)).max(values);
            self.size = self.size.max(largest(given));
        }
        if part == Part::Everything {
            self.gain_here = image / (c * length).max(f64::MIN_POSITIVE);
        }
        // Rounding errors of a small gradient may be as large as those of other gradients in the pass.
        let weights = Float::max(self.inputs.parameters.abs(), 1.0);
        let usual = Float::max(self.gain * self.growth(part, given), self.gain_here) * weights * c * length;
        let floor = ROUNDING * usual;
        let compare = |results: &Results<f64>, smallest: f64| {
            let pairs = [
                (&results.dw, &direction.w),
                (&results.dx, &direction.x),
                (&results.d_state, direction.state.as_ref().unwrap_or(&direction.dy)),
            ];
            let moved = |values: &[f64]| values.iter().any(|&value| value != 0.0);
            let found = pairs.iter().map(|(gradient, direction)| dot(gradient, direction)).sum();
            let lengths = pairs.iter().filter(|(_, direction)| moved(direction));
            let (gradient, moved) = lengths.fold((0.0, 0.0), |(gradient, length): (f64, f64), pair| {
                let part = match part {
                    Part::Block(_) => self.part(part, results).2,
                    _ => pair.0,
                };
                (Float::hypot(gradient, norm(part)), Float::hypot(length, norm(pair.1)))
            });
            // Values that underflow the format are not a mistake.
            Comparison { expected, found, scale: image.max(gradient * moved) + smallest * moved + floor, usual }
        };
        Some([compare(&results[0], 1e-290), compare(&results[1], 1e-35)])
    }

    /// Returns the factor by which rounding errors of the gradient of `part` may exceed those at usual inputs. It is v
    /// for inputs and states, v² for parameters, where v ≥ 1 is the largest input or state over the usual largest. The
    /// gradient of a pre-activation is a product with one value x, such as dy · x · σ′ of a gate: where σ′ is near 0,
    /// its relative error grows with x. The gradient of weights is also a product with their input, hence v².
    #[inline]
    fn growth(&self, part: Part, given: &Given<f64>) -> f64 {
        let values = if self.size > 0.0 { Float::max(largest(given) / self.size, 1.0) } else { 1.0 };
        match part {
            Part::Block(_) | Part::Everything => values * values,
            Part::Input | Part::Shift | Part::State => values,
        }
    }

    /// Computes J v, the derivative of output (first) and final state (second) in the direction `v` of parameters,
    /// input and state, by a forward pass on dual numbers. `None` if the pass fails, which is noted as a violation.
    #[inline]
    pub(super) fn image(&mut self, given: &Given<f64>, v: &Given<f64>, asked: &Asked<'_>) -> Option<[Vec<f64>; 2]> {
        let zip = |values: &[f64], tangents: &[f64]| {
            values.iter().zip(tangents).map(|(&value, &tangent)| Dual::new(value, tangent)).collect::<Vec<_>>()
        };
        let state = given.state.as_ref().zip(v.state.as_ref()).map(|(state, tangent)| zip(state, tangent));
        let (w, x) = (zip(&given.w, &v.w), zip(&given.x, &v.x));
        let earlier = given.earlier.iter().map(|&x| Dual::constant(x)).collect();
        let lifted = Given { w, x, state, dy: Vec::new(), d_state: None, earlier };
        match run(self.layers.dual, &lifted, &Asked { backward: false, ..*asked }) {
            Ok(results) => Some([results.y, results.state].map(|dual| dual.iter().map(|dual| dual.tangent).collect())),
            Err(found) => {
                let place = self.at("dual numbers", asked.shape);
                self.trial.breaks(law_of(&found), place, "a pass that writes to the given slices alone", found, "");
                None
            }
        }
    }

    /// Computes ⟨c, J v⟩ and ‖c‖‖J v‖, with the Jacobian J of the pass from dual numbers, and c the
    /// gradients of output and final state in `given`. `None` if the pass on dual numbers fails.
    #[inline]
    pub(super) fn along(&mut self, given: &Given<f64>, v: &Given<f64>, asked: &Asked<'_>) -> Option<(f64, f64)> {
        let [y, end] = self.image(given, v, asked)?;
        let d_state = given.d_state.as_deref().unwrap_or(&[]);
        let lengths = Float::hypot(norm(&given.dy), norm(d_state)) * Float::hypot(norm(&y), norm(&end));
        Some((dot(&given.dy, &y) + dot(d_state, &end), lengths))
    }
}

/// Returns the direction 0 for a pass on `given`: a tangent of 0 for each of its values.
#[inline]
pub(super) fn at_rest(given: &Given<f64>) -> Given<f64> {
    Given { dy: Vec::new(), d_state: None, ..given.map(|_| 0.0) }
}

#[inline]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Returns the largest magnitude of the values of input and initial state in `given`.
#[inline]
fn largest(given: &Given<f64>) -> f64 {
    given.x.iter().chain(given.state.iter().flatten()).fold(0.0, |most: f64, value| most.max(value.abs()))
}

/// Converts the results of a pass to `f64`.
pub(super) fn widened<T: Scalar>(results: &Results<T>) -> Results<f64> {
    let all = |values: &Vec<T>| values.iter().map(|&value| to_f64(value)).collect::<Vec<f64>>();
    let Results { y, state, dx, d_state, dw, heard, buffers } = results;
    let (dx, d_state, dw, buffers) = (all(dx), all(d_state), all(dw), all(buffers));
    let heard = heard.iter().map(Heard::widened).collect();
    Results { y: all(y), state: all(state), dx, d_state, dw, heard, buffers }
}
