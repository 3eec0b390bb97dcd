//! Forward and backward passes of a network with one thing changed, on copies of its parameters and its batch.

use super::{Alteration, change::altered};
use crate::{
    batch_shape::BatchShape,
    block::{Blocks, Role},
    diagnosis::{rules::layer_of_block, task::as_in_run},
    error::Error,
    layer::{Layer, LayerSpec, initialize},
    monitor::{GradientMonitor, Statistics},
    random::{Normals, generator},
    workspace::Workspace,
};
use alloc::{borrow::Cow, format, string::String, vec::Vec};
use core::{cell::Cell, ops::Range};

/// A network in `f64` with its parameters and a batch. Interventions (gradient measurements with one change) run on
/// copies of it.
pub(super) struct Bench<'a> {
    /// The layer specification, with the present values of learned branch scales as their initial values.
    pub(super) spec: &'a LayerSpec,
    pub(super) w: &'a [f64],
    pub(super) x: &'a [f64],
    pub(super) standardized: Option<Vec<f64>>,
    pub(super) shape: BatchShape<'a>,
    pub(super) seed: u64,
    /// The largest number of passes that measurements may take. Measurements that would need more are left out.
    pub(super) most: usize,
    pub(super) passes: Cell<usize>,
}

impl Bench<'_> {
    /// Whether `passes` more passes are within the limit `most`.
    pub(super) fn may_take(&self, passes: usize) -> bool {
        self.passes.get().saturating_add(passes) <= self.most
    }

    /// Returns the number of passes, each forward and backward, that were made so far.
    pub(super) fn passes(&self) -> usize {
        self.passes.get()
    }

    /// Returns the altered layer specification, and the statistics of a pass of its network. Alterations of weights
    /// apply to `layers` alone. `None` if an alteration does not apply to the network, or no pass is left.
    pub(super) fn after(
        &self,
        alterations: &[Alteration],
        layers: &[String],
    ) -> Result<Option<(LayerSpec, Statistics)>, Error> {
        let Some(spec) = altered(self.spec, alterations, layers).filter(|_| self.may_take(1)) else { return Ok(None) };
        let mut x = self.x;
        if alterations.contains(&Alteration::StandardizedInputs) {
            let Some(standardized) = &self.standardized else { return Ok(None) };
            x = standardized;
        }
        let network = spec.build_to_look_at()?;
        let Some(w) = self.parameters(&*network, &spec, alterations, layers)? else { return Ok(None) };
        let seen = self.pass(&*network, &w, x)?;
        Ok(Some((spec, seen)))
    }

    /// Returns the parameters after the alterations; alterations of weights apply to `layers` alone. `network` and
    /// `spec` are the altered network and its layer specification. `None` if the gains or gate biases to set have
    /// their new values already.
    pub(super) fn parameters(
        &self,
        network: &dyn Layer<f64>,
        spec: &LayerSpec,
        alterations: &[Alteration],
        layers: &[String],
    ) -> Result<Option<Cow<'_, [f64]>>, Error> {
        let mut w = Cow::Borrowed(self.w);
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        if alterations.contains(&Alteration::CriticalWeights) || alterations.contains(&Alteration::ScaledBranches) {
            let drawn: Vec<f64> = initialize(network, self.seed)?;
            let critical = alterations.contains(&Alteration::CriticalWeights);
            for block in blocks.iter() {
                let layer = layer_of_block(&block.name);
                // Recurrent matrices and gate biases are changed by interventions of their own, so they are not
                // redrawn here.
                let is_own = |name: &str| layer_of_block(name) == layer;
                let recurs = || blocks.iter().any(|of| of.role == Role::Recurrent && is_own(&of.name));
                let redrawn =
                    critical && layers.iter().any(|path| path == layer) && (block.role == Role::Weight || !recurs());
                if redrawn || block.name.ends_with("scale") {
                    w.to_mut()[block.range.clone()].copy_from_slice(&drawn[block.range.clone()]);
                }
            }
        }
        let mut fixed = Vec::new();
        if alterations.contains(&Alteration::UnitGains) {
            fixed.push(unit_gains(spec, &blocks));
        }
        let opens = |alteration: &Alteration, name: &str| match alteration {
            Alteration::OpenGate(gate) => gate == name,
            other => *other == Alteration::OpenGates,
        };
        let shut = shut_gates(self.w, &blocks).into_iter();
        let opened = shut.filter(|(gate, _)| alterations.iter().any(|alteration| opens(alteration, gate)));
        let opened: Vec<_> = opened.map(|(_, range)| (range, 0.0)).collect();
        fixed.extend((!opened.is_empty()).then_some(opened));
        for values in fixed {
            let differs = |(range, value): &(Range<usize>, f64)| self.w[range.clone()].iter().any(|w| w != value);
            if !values.iter().any(differs) {
                return Ok(None);
            }
            values.into_iter().for_each(|(range, value)| w.to_mut()[range].fill(value));
        }
        Ok(Some(w))
    }

    /// Runs one forward and one backward pass of `network` with the parameters `w` on the inputs `x`, for a random
    /// gradient at the output, drawn from the standard normal distribution. Returns the statistics of both.
    pub(super) fn pass(&self, network: &dyn Layer<f64>, w: &[f64], x: &[f64]) -> Result<Statistics, Error> {
        self.pass_with(network, w, x, &mut ())
    }

    /// Like [`pass`](Self::pass), with `monitor` as an additional monitor beside the statistics.
    pub(super) fn pass_with<M: GradientMonitor<f64>>(
        &self,
        network: &dyn Layer<f64>,
        w: &[f64],
        x: &[f64],
        monitor: &mut M,
    ) -> Result<Statistics, Error> {
        self.passes.set(self.passes.get() + 1);
        let (mut workspace, mut seen) = (Workspace::new(network, self.shape)?, (Statistics::new(), monitor));
        let (mut rng, mut normals) = (generator(!self.seed), Normals::new());
        let (key, mode) = as_in_run(network);
        workspace.set_dropout_key(key);
        let output = workspace.forward_with(w, x, self.shape, mode, &mut seen)?;
        output.dy.iter_mut().for_each(|dy| *dy = normals.next(&mut rng));
        workspace.backward_with(w, &mut seen)?;
        Ok(seen.0)
    }
}

/// Returns the ranges of the parameters of all normalization layers, each with the value to set: 1 for gains, and 0
/// for biases.
fn unit_gains(spec: &LayerSpec, blocks: &Blocks) -> Vec<(Range<usize>, f64)> {
    let mut found = Vec::new();
    for (path, _) in spec.parts().iter().filter(|(_, part)| part.is_norm()) {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
        for (name, value) in [("gain", 1.0), ("bias", 0.0)] {
            found.extend(blocks.get(&format!("{prefix}{name}")).ok().map(|block| (block.range.clone(), value)));
        }
    }
    found
}

/// The magnitude of a gate's mean bias b, ln 9, above which the gate's value σ(b) is below 0.1 or above 0.9.
const SHUT: f64 = 2.197;

/// Returns the gates that are nearly always shut, each with the range of its biases, in cells with a gate that
/// carries the state. A gate is nearly always shut if its mean bias is below −[`SHUT`], and nearly always open above
/// [`SHUT`]. In a cell without an input gate, the gate that carries the state shuts out the input if it is nearly
/// always open. There, this gate is returned if it is nearly always open, not if it is nearly always shut.
pub(super) fn shut_gates(w: &[f64], blocks: &Blocks) -> Vec<(&'static str, Range<usize>)> {
    let mut found = Vec::new();
    let biases = blocks.iter().filter(|block| block.role == Role::Bias);
    for block in biases.filter(|block| block.gates.iter().any(|gate| gate.carries_state)) {
        let each = block.range.len() / block.gates.len();
        let has_input = block.gates.iter().any(|gate| gate.name == "input");
        // The candidate is a new value of the state, not a gate.
        let gates = block.gates.iter().enumerate().filter(|(_, gate)| gate.name != "candidate");
        for (place, gate) in gates {
            let range = block.range.start + place * each..block.range.start + (place + 1) * each;
            let mean = w[range.clone()].iter().sum::<f64>() / each.max(1) as f64;
            let shuts = if gate.carries_state && !has_input { mean } else { -mean };
            if shuts > SHUT {
                found.push((gate.name, range));
            }
        }
    }
    found
}
