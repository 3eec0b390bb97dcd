//! Compares the pre-activation of a gate that monitors receive with the argument at which the cell applies the gate's
//! activation.

use super::{HIDDEN, Point};
use crate::{activation::AnyActivation, block::Role, kernel::reduce::norm, recurrent::Cell};
use alloc::{vec, vec::Vec};

/// The numbers that are added to the bias of a gate, one after the other.
const BIASES: [f64; 7] = [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5];
/// The largest distance from the pre-activation that a monitor receives at which the argument of φ is searched for.
/// The search compares `PLACES` + 1 evenly spaced distances, and refines the best.
const FARTHEST: f64 = 3.0;
const PLACES: i32 = 96;
/// The misfit up to which an effect of a gate's bias on the state counts as proportional to φ′, as a fraction of the
/// norm of the effect. The relation is exact, so only rounding is left.
const FITS: f64 = 1e-8;
/// The distance up to which two pre-activations are the same.
const SAME: f64 = 1e-6;
/// The norm below which nothing is concluded from an effect of a gate's bias on the state.
const LEAST: f64 = 1e-3;

/// Returns the distance from the pre-activation of the first unit of gate number `gate` that a monitor receives to the
/// argument z of φ in the cell, at a random point; 0 if they are equal. `activation` is φ.
///
/// The effect of the gate's bias on a value of the new state that is linear in φ(z) is a multiple of φ′(z), for each
/// bias with the same factor. As z, the received pre-activation is tried first, then the sum of weighted inputs,
/// weighted state and bias. If φ has no kink, other numbers near the received pre-activation follow. `None` if no z
/// fits, or if a step fails.
pub(super) fn distance<C: Cell>(cell: &C, gate: usize, activation: &dyn AnyActivation, seed: u64) -> Option<f64> {
    let mut point = Point::draw(cell, seed)?;
    let bias = point.gate(Role::Bias, gate)?.start;
    let mut direction = vec![0.0; point.w.len()];
    direction[bias] = 1.0;
    let (first, name) = (point.w[bias], cell.gates()[gate].name);
    let (mut z, mut effects) = (Vec::new(), Vec::new());
    for by in BIASES {
        point.w[bias] = first + by;
        let step = point.step(&direction)?;
        let at = step.gates.iter().position(|gate| *gate == name)?;
        z.push(step.z.get(at * HIDDEN)?.value);
        effects.push(step.state.iter().map(|value| value.tangent).collect::<Vec<f64>>());
    }
    point.w[bias] = first;
    let usual = point.step(&direction)?;
    let others: Vec<f64> = usual.z.iter().map(|z| z.value).collect();
    let values = effects[0].len();
    let effects = (0..values).map(|value| effects.iter().map(|at| at[value]).collect::<Vec<f64>>());
    let effects: Vec<Vec<f64>> = effects.filter(|effect| norm(effect) > LEAST).collect();
    let fits = |z: &[f64]| effects.iter().any(|effect| misfit(effect, z, 0.0, activation) <= FITS);
    let own: Vec<f64> = BIASES.iter().map(|by| Some(point.sum(gate)? + by)).collect::<Option<_>>()?;
    // If φ′ is even, z and −z fit equally well.
    if fits(&z) {
        return Some(0.0);
    }
    if fits(&own) {
        return Some(own.iter().zip(&z).map(|(own, z)| (own - z).abs()).fold(0.0, f64::max));
    }
    // With a kink, a different activation, cut off elsewhere, might fit by accident.
    if !activation.kink_points().is_empty() {
        return None;
    }
    effects.iter().find_map(|effect| {
        let of = |by: f64| misfit(effect, &z, by, activation);
        let place = |i: i32| FARTHEST * f64::from(i) / f64::from(PLACES / 2);
        let best = (-PLACES / 2..=PLACES / 2).min_by(|&a, &b| of(place(a)).total_cmp(&of(place(b))))?;
        let (mut low, mut high) = (place(best - 1), place(best + 1));
        for _ in 0..80 {
            let third = (high - low) / 3.0;
            if of(low + third) <= of(high - third) {
                high -= third;
            } else {
                low += third;
            }
        }
        let by = 0.5 * (low + high);
        // A gate that is applied to the sum of two pre-activations follows φ at their sum.
        let is_of_another = others.iter().any(|other| (by - other).abs() <= SAME);
        (of(by) <= FITS && !is_of_another).then_some(by)
    })
}

impl<C: Cell> Point<C> {
    /// Returns the weighted inputs, the weighted state and the bias of the first unit of gate number `gate`, summed.
    fn sum(&self, gate: usize) -> Option<f64> {
        let dot = |role: Role, values: &[f64]| {
            let weights = self.gate(role, gate).map_or(&[][..], |range| &self.w[range]);
            weights.iter().zip(values).map(|(w, value)| w * value).sum::<f64>()
        };
        let bias = self.w[self.gate(Role::Bias, gate)?.start];
        Some(dot(Role::Weight, &self.x) + dot(Role::Recurrent, &self.state[..HIDDEN]) + bias)
    }
}

/// Returns the distance from `effect` to the nearest multiple of φ′(z + `by`), as a fraction of its norm. `effect`
/// holds the derivatives of a value of the new state along the gate's bias, one for each of `z`.
fn misfit(effect: &[f64], z: &[f64], by: f64, activation: &dyn AnyActivation) -> f64 {
    let slopes: Vec<f64> = z.iter().map(|z| activation.derivative_at(z + by)).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let square = dot(&slopes, &slopes);
    let factor = if square == 0.0 { 0.0 } else { dot(effect, &slopes) / square };
    let off: Vec<f64> = effect.iter().zip(&slopes).map(|(effect, slope)| effect - factor * slope).collect();
    norm(&off) / norm(effect)
}
