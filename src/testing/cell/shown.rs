//! Compares the pre-activation and the activation of each gate that monitors receive with those that the cell uses.

mod placed;

use crate::{
    activation::AnyActivation,
    batch_shape::BatchShape,
    block::{Blocks, Gate, Role},
    layer::{Layer, Mode, initialize},
    monitor::{GradientMonitor, Link},
    random::{Normals, generator},
    recurrent::{Cell, Recurrent},
    testing::{
        Dual, Law, caught,
        law::{Trial, beyond},
    },
    workspace::Workspace,
};
use alloc::{format, string::String, vec, vec::Vec};
use num_traits::Float;

const INPUTS: usize = 2;
pub(super) const HIDDEN: usize = 2;
/// The number of random directions of the parameters that check the linear relation between the tangents of
/// pre-activations and those of the new state, in addition to those that determine its coefficients.
const SPARE: usize = 3;
/// The number of random points (parameters, input and state) that must all fail before a cell counts as wrong.
const POINTS: usize = 3;
/// The number of random points that are drawn to find [`POINTS`] conclusive ones; a gate with fewer is not judged.
const DRAWS: u64 = 24;
/// The allowed relative error of the linear relation between the tangents of pre-activations and those of the new
/// state. The relation is exact, but solving for it loses digits.
const RELATION: f64 = 1e-6;
/// Pre-activations at which a gate's effect is compared with its effect near 0.
const SHIFTS: [f64; 4] = [-4.0, 4.0, -15.0, 15.0];
/// The fraction of the slope at 0 up to which the slope of an activation counts as saturated.
const SATURATED: f64 = 0.05;
/// The fraction of an activation's slope at 0 below which its slope counts as 0.
const LEAST: f64 = 1e-12;
/// The factor by which the effect of a saturated gate may differ from the prediction by the slope of its activation,
/// since other factors of the effect change, too.
const FOLLOWS: f64 = 1e3;

/// The two pre-activations of a gate that [carries the state](crate::Gate::carries_state) at which the fraction of the
/// previous state in the new one is compared.
const ENDS: [f64; 2] = [-15.0, 15.0];
/// The least change of the fraction of the previous state in the new one between the pre-activations of [`ENDS`]: a
/// mean over [`CARRYING`] random layers, as a fraction of the change of the gate's value.
const CARRIED: f64 = 0.5;
/// The least change, in magnitude, of the fraction of the previous state in the new one between the pre-activations of
/// [`ENDS`], for a gate that carries the state and declares no activation.
const CARRIED_BY_ANY: f64 = 1e-3;
/// The number of random layers over which the change of the fraction of the previous state that stays is averaged.
const CARRYING: u64 = 24;
/// The number of changes whose mean is compared with [`CARRIED`]: one for each unit of each of the [`CARRYING`]
/// random layers.
const TERMS: f64 = 24.0 * HIDDEN as f64;

/// A monitor that collects the pre-activations of the gates in a time step, one gate after the other, and the names
/// of the gates.
struct Shown(Vec<Dual<f64>>, Vec<&'static str>);

impl GradientMonitor<Dual<f64>> for Shown {
    fn forward(&mut self, at: &Link<'_>, z: &[Dual<f64>], _: &[Dual<f64>]) {
        if let Some(gate) = at.gate {
            self.0.extend_from_slice(z);
            self.1.push(gate.name);
        }
    }
}

/// The results of one time step on dual numbers, whose tangents are derivatives along one direction.
pub(super) struct Step {
    /// The pre-activations that the monitor receives.
    pub(super) z: Vec<Dual<f64>>,
    /// The names of the gates, in the order of their pre-activations in `z`.
    pub(super) gates: Vec<&'static str>,
    /// The new state: the hidden state h, then the cell state.
    pub(super) state: Vec<Dual<f64>>,
}

/// A recurrent layer of the tested cell, with random parameters, input and previous state for one time step.
pub(super) struct Point<C> {
    layer: Recurrent<C>,
    pub(super) w: Vec<f64>,
    pub(super) x: Vec<f64>,
    pub(super) state: Vec<f64>,
}

impl<C: Cell> Point<C> {
    pub(super) fn draw(cell: &C, seed: u64) -> Option<Self> {
        let layer = Recurrent::new(INPUTS, HIDDEN, cell.cloned());
        let (mut rng, mut normals) = (generator(seed), Normals::new());
        let mut some = |count: usize| (0..count).map(|_| 0.5 * normals.next(&mut rng)).collect::<Vec<f64>>();
        let dims = Layer::<f64>::dims(&layer);
        let mut w: Vec<f64> = initialize(&layer, seed).ok()?;
        w.iter_mut().zip(some(dims.parameters)).for_each(|(w, by)| *w = 0.3 * *w + by);
        let state = some(HIDDEN * (1 + cell.sizes().cell_state));
        Some(Point { layer, w, x: some(INPUTS), state })
    }

    /// Runs one time step on dual numbers, with the parameters' tangents in `direction`. `None` if it fails or panics.
    pub(super) fn step(&self, direction: &[f64]) -> Option<Step> {
        self.step_from(direction, &vec![0.0; self.state.len()])
    }

    /// Runs one time step as [`step`](Self::step) does, with the tangents `d_state` of the previous state, which are
    /// 0 there.
    fn step_from(&self, direction: &[f64], d_state: &[f64]) -> Option<Step> {
        let shape = BatchShape::batch(1);
        let w: Vec<_> = self.w.iter().zip(direction).map(|(&w, &tangent)| Dual::new(w, tangent)).collect();
        let constant = |values: &[f64]| values.iter().map(|&value| Dual::constant(value)).collect::<Vec<_>>();
        let mut shown = Shown(Vec::new(), Vec::new());
        let state = caught(|| {
            let mut workspace = Workspace::new(&self.layer, shape).ok()?;
            let state = self.state.iter().zip(d_state).map(|(&value, &tangent)| Dual::new(value, tangent));
            workspace.set_state(&state.collect::<Vec<_>>()).ok()?;
            workspace.forward_with(&w, &constant(&self.x), shape, Mode::Evaluate, &mut shown).ok()?;
            Some(workspace.final_state().to_vec())
        });
        Some(Step { z: shown.0, gates: shown.1, state: state.ok()?? })
    }

    /// Returns the range of the parameters of gate number `gate` in the block of `role`; `None` if there is no such
    /// block.
    pub(super) fn gate(&self, role: Role, gate: usize) -> Option<core::ops::Range<usize>> {
        let blocks = Blocks::collect(|visit| Layer::<f64>::blocks(&self.layer, visit));
        let block = blocks.iter().find(|block| block.role == role)?;
        let each = block.range.len() / block.gates.len().max(1);
        Some(block.range.start + gate * each..block.range.start + (gate + 1) * each)
    }
}

/// Tests that the gates' pre-activations that a cell reports to monitors are the ones that it uses.
pub(super) fn shown<C: Cell>(cell: &C, seed: u64, trial: &mut Trial) {
    let gates = cell.gates();
    // A gate without a declared activation is not reported.
    if (0..gates.len()).all(|gate| cell.activation(gate).is_some()) {
        let found: Vec<_> =
            (0..POINTS as u64).map_while(|point| related(cell, seed.wrapping_mul(97).wrapping_add(point))).collect();
        if let (true, Some(found)) = (found.len() == POINTS, found.first()) {
            let expected = "a function of the pre-activations that are shown, given the state before";
            let input = "one step along directions of the parameters";
            trial.breaks(Law::CellFacts, "the new state", expected, &**found, input);
            return;
        }
    }
    for (gate, Gate { name, carries_state }) in gates.iter().enumerate() {
        let stays = (0..if *carries_state { CARRYING } else { 0 })
            .map(|draw| stays(cell, gate, seed.wrapping_mul(83).wrapping_add(draw)));
        // The mean change, over random layers and units, of the fraction of the state that stays; `None` if a time
        // step fails.
        let stays = stays.sum::<Option<f64>>().map(|sum| sum / TERMS);
        let [from, to] = ENDS;
        let place = format!("gate `{name}`, from z ≈ {from} to z ≈ {to}");
        let Some(activation) = cell.activation(gate) else {
            if let Some(stays) = stays.filter(|stays| *carries_state && stays.abs() < CARRIED_BY_ANY) {
                let expected = "another fraction of the previous state that stays, as the gate carries the state";
                trial.breaks(Law::CellFacts, place, expected, format!("{stays:.3} more of it"), "");
                return;
            }
            continue;
        };
        let apart: Vec<f64> = (0..DRAWS)
            .filter_map(|draw| placed::distance(cell, gate, activation, seed.wrapping_mul(79).wrapping_add(draw)))
            .take(POINTS)
            .take_while(|apart| *apart != 0.0)
            .collect();
        if let (true, Some(apart)) = (apart.len() == POINTS, apart.first()) {
            let place = format!("gate `{name}`: the pre-activation that is shown");
            let expected = format!("that at which the new state follows φ′ of {}", activation.name());
            trial.breaks(Law::CellFacts, place, expected, format!("one that is {:.6} away", apart.abs()), "");
            return;
        }
        let follows = activation.value_at(to) - activation.value_at(from);
        let carried = stays.filter(|_| *carries_state && follows.is_finite() && follows.abs() > 1e-3);
        if let Some(stays) = carried.filter(|stays| beyond(CARRIED, stays / follows)) {
            let expected =
                format!("about {follows:.3} more of the previous state that stays, as φ of a gate that carries it");
            trial.breaks(Law::CellFacts, place, expected, format!("{stays:.3} more"), "");
            return;
        }
        for shift in SHIFTS {
            let found: Vec<_> = (0..DRAWS)
                .filter_map(|draw| shares(cell, gate, activation, shift, seed.wrapping_mul(89).wrapping_add(draw)))
                .take(POINTS)
                .take_while(Shares::contradict)
                .collect();
            if let (true, Some(Shares { expected, found })) = (found.len() == POINTS, found.first()) {
                let place = format!("gate `{name}` at z ≈ {shift}: its effect, as a share of that at z ≈ 0");
                let expected = format!("{expected:.0e}, as φ′ of {}", activation.name());
                trial.breaks(Law::CellFacts, place, expected, format!("{found:.0e}"), "");
                return;
            }
        }
    }
}

/// Returns a contradiction, in words, to a linear relation between the tangents of pre-activations and those of the new
/// state, at a random point. `None` if there is none, or if a step fails.
fn related<C: Cell>(cell: &C, seed: u64) -> Option<String> {
    let point = Point::draw(cell, seed)?;
    let unknown = cell.gates().len() * HIDDEN;
    let (mut rng, mut normals) = (generator(seed ^ 1), Normals::new());
    let steps: Vec<Step> = (0..unknown + SPARE)
        .map(|_| point.step(&point.w.iter().map(|_| normals.next(&mut rng)).collect::<Vec<_>>()))
        .collect::<Option<_>>()?;
    if steps.iter().any(|step| step.z.len() != unknown) {
        return None;
    }
    let tangents = |values: &[Dual<f64>]| values.iter().map(|value| value.tangent).collect::<Vec<f64>>();
    let (known, spare) = steps.split_at(unknown);
    for value in 0..point.state.len() {
        let mut rows: Vec<Vec<f64>> =
            known.iter().map(|step| [tangents(&step.z), vec![step.state[value].tangent]].concat()).collect();
        let slopes = solve(&mut rows);
        let off = spare.iter().find_map(|step| {
            let terms: Vec<f64> = slopes.iter().zip(&step.z).map(|(slope, z)| slope * z.tangent).collect();
            let (expected, found) = (terms.iter().sum::<f64>(), step.state[value].tangent);
            let size = terms.iter().map(|term| term.abs()).sum::<f64>() + found.abs();
            beyond((expected - found).abs(), RELATION * size).then_some((expected, found))
        });
        if let Some((expected, found)) = off {
            return Some(format!("value {value}: a tangent of {found:.6} where they give {expected:.6}"));
        }
    }
    None
}

/// Solves a square linear system, each row of which holds the coefficients and then the right side. Undetermined
/// unknowns are 0.
fn solve(rows: &mut [Vec<f64>]) -> Vec<f64> {
    let count = rows.len();
    for pivot in 0..count {
        let best = (pivot..count).max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()));
        rows.swap(pivot, best.unwrap_or(pivot));
        let row = rows[pivot].clone();
        if row[pivot] == 0.0 {
            continue;
        }
        for (_, other) in rows.iter_mut().enumerate().filter(|(i, _)| *i != pivot) {
            let factor = other[pivot] / row[pivot];
            other.iter_mut().zip(&row).for_each(|(other, value)| *other -= factor * value);
        }
    }
    (0..count).map(|i| if rows[i][i] == 0.0 { 0.0 } else { rows[i][count] / rows[i][i] }).collect()
}

/// The fraction of a gate's effect that is left where its activation saturates.
struct Shares {
    /// The fraction that the slope φ′ of the activation predicts.
    expected: f64,
    found: f64,
}

impl Shares {
    fn contradict(&self) -> bool {
        let Shares { expected, found } = *self;
        let less = expected > LEAST * FOLLOWS && found * FOLLOWS < expected;
        less || found > FOLLOWS * expected.max(LEAST)
    }
}

/// Returns the fraction of the effect of gate number `gate` at z ≈ 0 that is left at z ≈ `shift`, z being its
/// pre-activation at a random point. The effect is the largest derivative of a value of the new state along the gate's
/// bias. `None` unless the effect and the slope of the activation are at least 1e-3 at z ≈ 0, and the activation
/// saturates at `shift`.
fn shares<C: Cell>(cell: &C, gate: usize, activation: &dyn AnyActivation, shift: f64, seed: u64) -> Option<Shares> {
    let mut point = Point::draw(cell, seed)?;
    let bias = point.gate(Role::Bias, gate)?;
    let mut direction = vec![0.0; point.w.len()];
    direction[bias.clone()].fill(1.0);
    let mut measure = |shift: f64| {
        point.w[bias.clone()].fill(shift);
        let step = point.step(&direction)?;
        let z: Vec<f64> = step.z.iter().filter(|z| z.tangent == 1.0).map(|z| z.value).collect();
        let effect = step.state.iter().fold(0.0, |most: f64, value| most.max(value.tangent.abs()));
        let slope = z.iter().fold(0.0, |most: f64, &z| most.max(activation.derivative_at(z).abs()));
        let value = z.iter().fold(f64::INFINITY, |least: f64, &z| least.min(activation.value_at(z).abs()));
        Some((effect, slope, value))
    };
    let ((effect_at_0, slope_at_0, _), (effect, slope, value)) = (measure(0.0)?, measure(shift)?);
    if Float::min(effect_at_0, slope_at_0) < 1e-3 {
        return None;
    }
    let (expected, found) = (slope / slope_at_0, effect / effect_at_0);
    let saturated = expected <= SATURATED && (value >= 0.1 || slope == 0.0);
    saturated.then_some(Shares { expected, found })
}

/// Returns the change of ∂s/∂s_prev, the fraction of the state s that stays, summed over the units, when the
/// pre-activation of gate number `gate` goes from the first of [`ENDS`] to the second. `None` if a step fails.
fn stays<C: Cell>(cell: &C, gate: usize, seed: u64) -> Option<f64> {
    let mut point = Point::draw(cell, seed)?;
    let bias = point.gate(Role::Bias, gate)?;
    // Recurrent weights also make the new state depend on the old one, but this is no fraction of it that stays.
    for gate in 0..cell.gates().len() {
        let recurrent = point.gate(Role::Recurrent, gate).unwrap_or(0..0);
        point.w[recurrent].fill(0.0);
    }
    let at_rest = vec![0.0; point.w.len()];
    let mut kept = [0.0; 2];
    for (kept, end) in kept.iter_mut().zip(ENDS) {
        point.w[bias.clone()].fill(end);
        for i in 0..point.state.len() {
            let mut direction = vec![0.0; point.state.len()];
            direction[i] = 1.0;
            *kept += point.step_from(&at_rest, &direction)?.state.get(i)?.tangent;
        }
    }
    Some(kept[1] - kept[0])
}
