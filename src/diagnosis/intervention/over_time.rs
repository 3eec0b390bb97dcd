//! Interventions on the gradient of a recurrent state over time.

use super::{Alteration, Intervention, bench::Bench, change::altered, experiments::Tried};
use crate::{
    block::{Block, Blocks, Role},
    diagnosis::{LayerRange, rules::layer_of_block},
    error::Error,
    initializer::{Initializer, Orthogonal, Shape},
    layer::Layer,
    monitor::{StateStatistics, Statistics},
    random::generator,
};
use alloc::{string::String, vec::Vec};

impl Bench<'_> {
    /// Tries interventions on the recurrent layers whose state gradient changes by more than `line` decades of either
    /// sign over a sequence, by the statistics `seen`. The interventions are orthogonal recurrent matrices, and gates
    /// that keep the state. If neither of them repairs a layer, its input weights are redrawn. Returns (1) for each
    /// layer and intervention the decades (log10) over one time step of the backward pass, and (2) the layers whose
    /// redrawn input weights have a smaller norm than the given ones.
    pub(super) fn over_time(
        &self,
        network: &dyn Layer<f64>,
        seen: &Statistics,
        line: f64,
    ) -> Result<(Tried, Vec<String>), Error> {
        let far = |state: &&StateStatistics| {
            let total = (state.per_step().mean() * state.reach() as f64).abs();
            state.per_step().count() > 0 && (total > line || total.is_nan())
        };
        let (bad, mut found) = (seen.states().iter().filter(far).collect::<Vec<_>>(), Vec::new());
        if bad.is_empty() || !self.may_take(2) {
            return Ok((found, Vec::new()));
        }
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        for alteration in [Alteration::OrthogonalRecurrence, Alteration::RememberingGates] {
            let (mut w, mut changed) = (self.w.to_vec(), false);
            for block in blocks.iter() {
                changed |= match alteration {
                    Alteration::OrthogonalRecurrence => orthogonal(block, &mut w, self.seed)?,
                    _ => remembering(block, &mut w, self.shape.steps),
                };
            }
            if changed {
                let after = self.pass(network, &w, self.x)?;
                found.extend(steps_back(&bad, &after, &alteration));
            }
        }
        let repairs = |state: &StateStatistics, tried: &Intervention| tried.after.abs() * state.reach() as f64 <= line;
        let repaired = |state: &&StateStatistics| {
            found.iter().any(|(layer, tried): &(String, Intervention)| layer == state.name() && repairs(state, tried))
        };
        let left: Vec<&StateStatistics> = bad.into_iter().filter(|state| !repaired(state)).collect();
        let layers: Vec<String> = left.iter().map(|state| state.name().into()).collect();
        if layers.is_empty() || !self.may_take(1) {
            return Ok((found, Vec::new()));
        }
        let redrawn = [Alteration::CriticalWeights];
        let Some(spec) = altered(self.spec, &redrawn, &layers) else { return Ok((found, Vec::new())) };
        let network = spec.build_to_look_at()?;
        let Some(w) = self.parameters(&*network, &spec, &redrawn, &layers)? else { return Ok((found, Vec::new())) };
        let after = self.pass(&*network, &w, self.x)?;
        // This pass has the input weights of all these layers redrawn, so its effect is that of all changes together.
        let alteration = match &layers[..] {
            [layer] => Alteration::CriticalLayer(layer.clone()),
            _ => Alteration::CriticalLayers(layers.iter().flat_map(|layer| LayerRange::single(layer)).collect()),
        };
        found.extend(steps_back(&left, &after, &alteration));
        let norm = |w: &[f64]| w.iter().map(|w| w * w).sum::<f64>();
        let shrinks = |layer: &String| {
            let of = |block: &&Block<'_>| block.role == Role::Weight && layer_of_block(&block.name) == *layer;
            blocks.iter().filter(of).any(|block| norm(&w[block.range.clone()]) < norm(&self.w[block.range.clone()]))
        };
        Ok((found, layers.iter().filter(|layer| shrinks(layer)).cloned().collect()))
    }
}

/// Returns, for the layer of each state of `before`, the decades (log10 change of the gradient's norm) over one time
/// step of the backward pass before and after an alteration, whose measurements are `after`.
fn steps_back(before: &[&StateStatistics], after: &Statistics, alteration: &Alteration) -> Tried {
    let tried = |state: &&StateStatistics| {
        let now = after.states().iter().find(|now| now.name() == state.name())?;
        let [before, after] = [state, now].map(|state| state.per_step().mean());
        let alteration = alteration.clone();
        Some((state.name().into(), Intervention { alteration, before, after, each_step: true, measured: true }))
    };
    before.iter().filter_map(tried).collect()
}

/// Redraws the square matrices of a recurrent block, one for each gate, in `w` as orthogonal matrices. Returns whether
/// the block is recurrent.
fn orthogonal(block: &Block<'_>, w: &mut [f64], seed: u64) -> Result<bool, Error> {
    let width = block.shape[1];
    if block.role != Role::Recurrent || width == 0 {
        return Ok(false);
    }
    let mut rng = generator(seed);
    for part in w[block.range.clone()].chunks_mut(width * width) {
        let shape = Shape::new(part.len() / width, width, Role::Recurrent);
        Orthogonal::default().fill(shape, &mut rng, part)?;
    }
    Ok(true)
}

/// Sets the biases, in `w`, of gates that carry the state to ln(steps), so that a fraction 1/e of the state is left
/// after a sequence of `steps` time steps. Returns whether the block has such biases.
fn remembering(block: &Block<'_>, w: &mut [f64], steps: usize) -> bool {
    let carries = block.gates.iter().any(|gate| gate.carries_state);
    if block.role != Role::Bias || !carries {
        return false;
    }
    let each = block.range.len() / block.gates.len();
    for (gate, part) in block.gates.iter().zip(w[block.range.clone()].chunks_mut(each.max(1))) {
        if gate.carries_state {
            part.fill(libm::log(steps.max(2) as f64));
        }
    }
    true
}
