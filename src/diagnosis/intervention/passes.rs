//! Interventions by passes: the measured budget of the parameters as they are, with one thing changed.

use super::{
    Alteration, Verdict,
    change::{altered, weight_layers},
    search,
};
use crate::{
    batch_shape::BatchShape,
    block::{Blocks, Role},
    dataset::Standardize,
    diagnosis::{Thresholds, outputs},
    error::Error,
    layer::{Layer, LayerSpec, Mode, initialize},
    monitor::Statistics,
    random::{Normals, generator},
    workspace::Workspace,
};
use alloc::{borrow::Cow, format, string::String, vec::Vec};
use core::ops::Range;

/// The budget of a network on one batch, and the interventions on it where it is bad.
#[derive(Clone, Debug)]
pub(in crate::diagnosis) struct Experiments {
    /// Decades from loss to first weights.
    pub before: f64,
    pub verdict: Verdict,
}

/// A network in `f64` with its parameters and a batch, which copies are made of.
struct Bench<'a> {
    spec: &'a LayerSpec,
    w: &'a [f64],
    x: &'a [f64],
    standardized: Option<Vec<f64>>,
    shape: BatchShape<'a>,
    seed: u64,
}

impl Experiments {
    /// Measures the budget on the rows `x`, for a normal gradient at the output; tries interventions where it is bad.
    ///
    /// # Errors
    /// Those of [`LayerSpec::build`], activations left out, and of [`Workspace::forward`].
    pub fn new(
        spec: &LayerSpec,
        w: &[f64],
        x: &[f64],
        shape: BatchShape<'_>,
        seed: u64,
        lines: &Thresholds,
    ) -> Result<Self, Error> {
        let width = spec.widths().0;
        let mut scaled = x.to_vec();
        let standardized = match Standardize::of(width, x) {
            Ok(columns) if !columns.is_unit() && !spec.reads_indices() => {
                columns.apply(&mut scaled).is_ok().then_some(scaled)
            }
            _ => None,
        };
        let bench = Bench { spec, w, x, standardized, shape, seed };
        let before = bench.decades(&*spec.build_to_look_at()?, w, x)?;
        let lines = [lines.vanishing[0], lines.exploding[0]];
        let verdict = match (lines[0]..lines[1]).contains(&before) {
            true => Verdict::default(),
            false => search(before, true, lines, &weight_layers(spec), &mut |alterations, layers| {
                bench.budget(alterations, layers)
            })?,
        };
        Ok(Experiments { before, verdict })
    }
}

impl Bench<'_> {
    /// The budget with these alterations; `None` where the network has no place for one of them.
    fn budget(&self, alterations: &[Alteration], layers: &[String]) -> Result<Option<f64>, Error> {
        let Some(spec) = altered(self.spec, alterations, layers) else { return Ok(None) };
        let mut x = self.x;
        if alterations.contains(&Alteration::StandardizedInputs) {
            let Some(standardized) = &self.standardized else { return Ok(None) };
            x = standardized;
        }
        let network = spec.build_to_look_at()?;
        let Some(w) = self.parameters(&*network, &spec, alterations, layers)? else { return Ok(None) };
        self.decades(&*network, &w, x).map(Some)
    }

    /// The parameters with these alterations.
    fn parameters(
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
                let layer = block.name.rsplit_once('.').map_or("", |(layer, _)| layer);
                let redrawn = critical && layers.iter().any(|path| path == layer);
                if redrawn || block.name.ends_with("scale") {
                    w.to_mut()[block.range.clone()].copy_from_slice(&drawn[block.range.clone()]);
                }
            }
        }
        let mut fixed = Vec::new();
        if alterations.contains(&Alteration::UnitGains) {
            fixed.push(unit_gains(spec, &blocks));
        }
        if alterations.contains(&Alteration::OpenGates) {
            fixed.push(shut_gates(self.w, &blocks));
        }
        for values in fixed {
            let differs = |(range, value): &(Range<usize>, f64)| self.w[range.clone()].iter().any(|w| w != value);
            if !values.iter().any(differs) {
                return Ok(None);
            }
            values.into_iter().for_each(|(range, value)| w.to_mut()[range].fill(value));
        }
        Ok(Some(w))
    }

    /// Decades from a normal gradient at the output to the first weights, without the activation of the outputs.
    fn decades(&self, network: &dyn Layer<f64>, w: &[f64], x: &[f64]) -> Result<f64, Error> {
        let (mut workspace, mut seen) = (Workspace::new(network, self.shape)?, Statistics::new());
        let (mut rng, mut normals) = (generator(!self.seed), Normals::new());
        let output = workspace.forward_with(w, x, self.shape, Mode::to_examine(network), &mut seen)?;
        output.dy.iter_mut().for_each(|dy| *dy = normals.next(&mut rng));
        workspace.backward_with(w, &mut seen)?;
        let of_outputs = outputs(self.spec).and_then(|path| {
            let link = seen.links().iter().find(|link| link.name() == path)?;
            (link.decades().count() > 0).then(|| link.decades().last())
        });
        Ok(seen.run().decades().last() - of_outputs.unwrap_or(0.0))
    }
}

/// The gains of norms with 1, and their biases with 0.
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

/// The mean bias of a gate beyond which it stands below 0.1 or above 0.9: ln 9.
const SHUT: f64 = 2.197;

/// The biases of gates that stand open or shut, with 0, in cells with a gate that carries the state.
fn shut_gates(w: &[f64], blocks: &Blocks) -> Vec<(Range<usize>, f64)> {
    let mut found = Vec::new();
    let biases = blocks.iter().filter(|block| block.role == Role::Bias);
    for block in biases.filter(|block| block.gates.iter().any(|gate| gate.carries_state)) {
        let each = block.range.len() / block.gates.len();
        for gate in 0..block.gates.len() {
            let range = block.range.start + gate * each..block.range.start + (gate + 1) * each;
            let mean = w[range.clone()].iter().sum::<f64>() / each.max(1) as f64;
            if libm::fabs(mean) > SHUT {
                found.push((range, 0.0));
            }
        }
    }
    found
}
