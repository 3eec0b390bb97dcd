//! Passes with changed parameters: without biases, to test units that output 0 for every row, and with redrawn
//! weights, to test layers whose outputs are large.

use super::{
    Alteration, Intervention,
    bench::Bench,
    change::{altered, weight_layers},
};
use crate::{
    activation::{Activation, ActivationKind},
    block::{Blocks, Role},
    diagnosis::{has_weights, is_inside, rules::layer_of_block, splits},
    error::Error,
    layer::LayerSpec,
    monitor::{Factor, GradientMonitor, Link, LinkStatistics, Statistics},
    scalar::{Scalar, to_f64},
};
use alloc::{string::String, vec, vec::Vec};

/// Whether φ is 0 far below 0, and unbounded above: a unit far below 0 passes no gradient.
pub(in crate::diagnosis) fn rectifies(activation: &ActivationKind) -> bool {
    activation.value(-1e3_f64) == 0.0 && activation.value(1e3_f64) > 100.0
}

/// Whether φ(a z) = a φ(z) for a > 0, so that scaling the weights before φ scales all values after it by the same
/// factor.
pub(in crate::diagnosis) fn is_homogeneous(activation: &ActivationKind) -> bool {
    let grows = |z: f64| (activation.value(4.0 * z) - 4.0 * activation.value(z)).abs() < 1e-9;
    grows(1.0) && grows(-1.0) && activation.value(1.0_f64) != 0.0
}

/// Whether φ(a z) is nearly a φ(z) for a > 0 and |z| of a hundred or more, as for GELU: of large pre-activations, φ
/// passes the size on.
fn passes_size_on(activation: &ActivationKind) -> bool {
    const FAR: f64 = 100.0;
    let grows = |z: f64| (activation.value(4.0 * z) - 4.0 * activation.value(z)).abs() < 0.02 * 4.0 * FAR;
    grows(FAR) && grows(-FAR) && activation.value(FAR) > 0.5 * FAR
}

/// A monitor of the pre-activations and outputs of rectifiers, in activation layers and in recurrent layers.
pub(super) struct Reach(Vec<Units>);

/// The units of one layer, over all rows and time steps of a pass.
struct Units {
    layer: String,
    /// The lowest and the highest pre-activation of each unit.
    ends: Vec<[f64; 2]>,
    /// Whether the output of each unit was other than 0 for at least one row.
    lives: Vec<bool>,
}

impl Reach {
    pub fn new(network: &LayerSpec) -> Self {
        let units = |(layer, part): (String, &LayerSpec)| {
            let activation = match part {
                LayerSpec::ActivationLayer { activation, .. } => activation,
                LayerSpec::Recurrent { cell, .. } => cell.activation()?,
                _ => return None,
            };
            let width = part.widths().1;
            let ends = vec![[f64::INFINITY, f64::NEG_INFINITY]; width];
            rectifies(activation).then(|| Units { layer, ends, lives: vec![false; width] })
        };
        Reach(network.parts().into_iter().filter_map(units).collect())
    }

    /// Returns, for each layer, the fraction of units that are off: they output 0 for every row, by a margin. The
    /// pre-activations of such a unit lie in \[low, high\] with `high + (high − low) < 0`.
    fn off(&self) -> impl Iterator<Item = (&String, f64)> {
        self.0.iter().map(|Units { layer, ends, lives }| {
            let is_off = |&(&[low, high], &lives): &(&[f64; 2], &bool)| !lives && high > low && 2.0 * high < low;
            (layer, ends.iter().zip(lives).filter(is_off).count() as f64 / ends.len().max(1) as f64)
        })
    }
}

impl<T: Scalar> GradientMonitor<T> for Reach {
    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        let is_own = |units: &&mut Units| at.factor == Factor::Activation && units.layer == at.name;
        let Some(Units { ends, lives, .. }) = self.0.iter_mut().find(is_own) else { return };
        let width = ends.len().max(1);
        for (z, y) in x.chunks(width).zip(y.chunks(width)) {
            for ((ends, lives), (&z, &y)) in ends.iter_mut().zip(&mut *lives).zip(z.iter().zip(y)) {
                let z = to_f64(z);
                *ends = [ends[0].min(z), ends[1].max(z)];
                *lives |= !y.is_zero();
            }
        }
    }
}

/// The fraction of a layer's units that output 0 for every row of the batch.
#[derive(Clone, Debug)]
pub(in crate::diagnosis) struct Off {
    pub layer: String,
    /// The fraction of units that output 0 for every row, with the parameters of the diagnosed network.
    pub share: f64,
    /// The fraction of units that output 0 for every row, with all biases set to 0.
    pub unbiased: f64,
}

impl Bench<'_> {
    /// Returns the layers in which more than the fraction `line` of the units is [off](Reach::off) in the pass that
    /// `reach` monitored. Each layer has this fraction, and the fraction after the biases of all layers without gates
    /// are set to 0. A layer is left out if, without these biases, the mean cosine of two rows is above 1 − `apart`.
    /// Empty for fewer than eight rows, and if the budget of passes is used up.
    pub(super) fn off(&self, reach: &Reach, line: f64, apart: f64) -> Result<Vec<Off>, Error> {
        let many: Vec<(&String, f64)> = reach.off().filter(|(_, share)| *share > line).collect();
        if many.is_empty() || self.shape.rows() < 8 || !self.may_take(1) {
            return Ok(Vec::new());
        }
        let network = self.spec.build_to_look_at()?;
        let (mut w, blocks) = (self.w.to_vec(), Blocks::collect(|visit| network.blocks(visit)));
        let biases = blocks.iter().filter(|block| block.role == Role::Bias && block.gates.len() < 2);
        biases.for_each(|block| w[block.range.clone()].fill(0.0));
        let mut after = Reach::new(self.spec);
        let seen = self.pass_with(&*network, &w, self.x, &mut after)?;
        let are_alike = |layer: &String| {
            let own = seen.links().iter().find(|link| link.name() == layer);
            own.and_then(LinkStatistics::cosine).is_some_and(|cosine| 1.0 - cosine < apart)
        };
        let without = |layer: &String| after.off().find(|(of, _)| *of == layer).map_or(0.0, |(_, share)| share);
        let off = |(layer, share): (&String, f64)| Off { layer: layer.clone(), share, unbiased: without(layer) };
        Ok(many.into_iter().filter(|(layer, _)| !are_alike(layer)).map(off).collect())
    }

    /// Returns the first layer whose outputs have a root mean square above `line` in the pass `seen`, with the effect
    /// of redrawing its weights. `None` if the inputs of the network are as large, if the layer is not a `Linear` on
    /// the main path, and in networks with norms. `None` also unless the layer has the last weights of the network,
    /// or all activations after it, except that of the outputs, scale with their inputs, as ReLU does.
    pub(super) fn loud(&self, seen: &Statistics, line: f64) -> Result<Option<Loud>, Error> {
        let (parts, outputs) = (self.spec.parts(), self.spec.last_layer().0);
        let of =
            |path: &String| seen.links().iter().find(|link| link.name() == path && link.factor() == Factor::Weights);
        let is_beside = |path: &String| parts.iter().any(|(of, part)| splits(part) && is_inside(path, of));
        let first = seen.links().iter().find(|link| link.output().last() > line);
        let first = first.filter(|_| seen.run().input().last() <= line);
        let is_first = |(path, part): &(String, &LayerSpec)| {
            let is_own = first.is_some_and(|link| link.name() == path && link.factor() == Factor::Weights);
            matches!(part, LayerSpec::Linear(_)) && is_own && !is_beside(path)
        };
        let Some(at) = parts.iter().position(is_first).filter(|_| !parts.iter().any(|(_, part)| part.is_norm())) else {
            return Ok(None);
        };
        let passes_on = |(_, part): &(String, &LayerSpec)| match part {
            LayerSpec::ActivationLayer { activation, .. } => Some(passes_size_on(activation)),
            LayerSpec::PRelu(_) => Some(true),
            LayerSpec::Recurrent { .. } | LayerSpec::Softmax(_) | LayerSpec::LogSoftmax(_) => Some(false),
            _ => None,
        };
        let mut later = parts[at + 1..].iter().filter(|(path, _)| *path != outputs).filter_map(passes_on).peekable();
        let is_last = !parts[at + 1..].iter().any(|(_, part)| has_weights(part));
        let keeps_size = is_last || later.peek().is_some() && later.all(|passes_on| passes_on);
        let (layers, redraws) = ([parts[at].0.clone()], [Alteration::CriticalWeights]);
        let spec = altered(self.spec, &redraws, &layers).filter(|_| keeps_size && self.may_take(1));
        let (Some(spec), Some(before)) = (spec, of(&layers[0])) else { return Ok(None) };
        let network = spec.build_to_look_at()?;
        let Some(w) = self.parameters(&*network, &spec, &redraws, &layers)? else { return Ok(None) };
        let after = self.pass(&*network, &w, self.x)?;
        let after = after.links().iter().find(|link| link.name() == layers[0] && link.factor() == Factor::Weights);
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        let own = blocks.iter().find(|block| block.role == Role::Weight && layer_of_block(&block.name) == layers[0]);
        let norm = |w: &[f64]| own.map_or(0.0, |own| libm::sqrt(w[own.range.clone()].iter().map(|w| w * w).sum()));
        let [layer] = layers;
        Ok(after.map(|after| {
            let sizes = [before, after].map(|link| link.output().last());
            // Trained weights give larger outputs than random ones for inputs that they fit, without being larger.
            Loud { layer, sizes, times: f64::min(sizes[0] / sizes[1], norm(self.w) / norm(&w)), is_last }
        }))
    }
}

impl Bench<'_> {
    /// Whether `mends` redraws the weights of one layer, or of all, at their critical gain, and these are then smaller.
    pub(super) fn shrinks(&self, mends: Option<&Intervention>) -> Result<bool, Error> {
        let layers = match mends.map(|mends| &mends.alteration) {
            Some(Alteration::CriticalLayer(layer)) => Vec::from([layer.clone()]),
            Some(Alteration::CriticalWeights) => weight_layers(self.spec),
            _ => return Ok(false),
        };
        let redraws = [Alteration::CriticalWeights];
        let Some(spec) = altered(self.spec, &redraws, &layers) else { return Ok(false) };
        let network = spec.build_to_look_at()?;
        let Some(w) = self.parameters(&*network, &spec, &redraws, &layers)? else { return Ok(false) };
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        let is_own = |name: &str| layers.iter().any(|layer| layer == layer_of_block(name));
        let own = || blocks.iter().filter(|block| block.role == Role::Weight && is_own(&block.name));
        let square = |w: &[f64]| own().flat_map(|block| &w[block.range.clone()]).map(|w| w * w).sum::<f64>();
        Ok(square(&w) < square(self.w))
    }
}

/// A layer whose outputs are large although its inputs are not.
#[derive(Clone, Debug)]
pub(in crate::diagnosis) struct Loud {
    pub layer: String,
    /// The root mean square of the layer's outputs: with its own weights, and with weights redrawn at their critical
    /// gain.
    pub sizes: [f64; 2],
    /// The lower of two ratios between the layer's own weights and the redrawn ones: that of the root mean squares of
    /// the outputs, and that of the norms of the weights.
    pub times: f64,
    /// Whether the layer is the last with weights in the network.
    pub is_last: bool,
}
