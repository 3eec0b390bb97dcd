//! Interventions by passes: the measured change of the gradient's norm with the current parameters and one thing
//! changed.

use super::{
    Alteration, Budget, Intervention, Verdict,
    bench::{Bench, shut_gates},
    change::{weight_layers, with_scales},
    redrawn::{Loud, Off, Reach},
    search,
    tower::OfTower,
};
use crate::{
    batch_shape::BatchShape,
    block::Blocks,
    dataset::Standardize,
    diagnosis::{
        Thresholds,
        columns::{Columns, Entering},
        first_output, left_out,
        task::{Outliers, Sizes},
    },
    error::Error,
    layer::{Layer, LayerSpec, finite_or_initial},
    monitor::Statistics,
};
use alloc::{string::String, vec::Vec};
use core::cell::Cell;

/// Interventions (gradient measurements with one change), each with the path of the changed layer.
pub(super) type Tried = Vec<(String, Intervention)>;

/// The measured budget of a network on one batch: the change of the gradient's norm from loss to first weights, in
/// decades (log10). If the budget is outside the thresholds, also the outcome of the interventions.
#[derive(Clone, Debug)]
pub(in crate::diagnosis) struct Experiments {
    /// The decades (log10) by which the gradient's norm changes from loss to first weights, without a change.
    pub before: f64,
    /// The measurements of the pass without a change, with the given parameters.
    pub seen: Statistics,
    /// Whether a given parameter is not finite. All measurements except [`seen`](Self::seen), the pass with the given
    /// parameters, were then made with initial values.
    pub initial: bool,
    pub verdict: Verdict,
    /// The root mean square of the first pre-activations, with the given inputs and with inputs standardized by
    /// column. `None` if the inputs are standardized already, or both they and the first pre-activations are within
    /// the thresholds.
    pub standardized: Option<[f64; 2]>,
    /// Interventions in recurrent layers in which the gradient's norm changes too much over the sequence, each with
    /// the path of its layer. Their decades (log10) are those of one time step of the backward pass.
    pub over_time: Tried,
    /// Whether the batch has at least eight samples, and all have the same inputs.
    pub is_one_input: bool,
    /// The sizes of the input columns of the batch, and their effects on the first pre-activations; `None` if they
    /// cannot be measured.
    pub columns: Option<Columns>,
    /// The few samples of the batch, at most an eighth of all or one, whose inputs are far larger than those of the
    /// others, as a whole or by single values. Their effect on the gradient is included. `None` if there are none, or
    /// if the effect was not measured.
    pub outliers: Option<Outliers>,
    /// The paths of the recurrent layers in which the gradient's norm changes too much over the sequence, and whose
    /// input weights have a larger norm than weights redrawn by their initializer.
    pub large: Vec<String>,
    /// The branches of parallel layers in which the gradient vanishes or explodes while the main path is sound, with
    /// their interventions.
    pub towers: Vec<OfTower>,
    /// The layers of which many units are off: these units output 0 for every row.
    pub off: Vec<Off>,
    /// The first layer whose outputs are large although its inputs are not.
    pub loud: Option<Loud>,
    /// The number of passes, forward and backward, that the measurements took.
    pub passes: usize,
}

/// The smallest number of samples in a batch whose equal inputs are taken as a property of the data. In a smaller
/// batch the inputs may be equal by choice.
const FEW: usize = 8;

impl Experiments {
    /// Measures the budget, the decades (log10 change of the gradient's norm) from loss to first weights, with the
    /// parameters `w` on the time-major rows `x`. The gradient at the output is drawn from the standard normal
    /// distribution. If the budget is outside the thresholds, tries interventions, in about `most` passes at most. If
    /// a parameter is not finite, all but [`seen`](Self::seen) is measured with initial values.
    ///
    /// # Errors
    /// The errors of [`LayerSpec::build`], except that a custom activation is no error, and those of
    /// [`Workspace::forward`].
    pub fn new(
        spec: &LayerSpec,
        w: &[f64],
        x: &[f64],
        shape: BatchShape<'_>,
        most: usize,
        thresholds: &Thresholds,
    ) -> Result<Self, Error> {
        let width = spec.widths().0;
        let mut scaled = x.to_vec();
        let standardized = match Standardize::of(width, x) {
            Ok(columns) if !columns.is_unit() && !spec.reads_indices() => {
                columns.apply(&mut scaled).is_ok().then_some(scaled)
            }
            _ => None,
        };
        let network = spec.build_to_look_at()?;
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        let (given, w) = (w, &*finite_or_initial(&*network, w)?);
        let initial = !core::ptr::eq(given, w);
        let described = with_scales(spec, &|scale| {
            blocks.get(scale).ok().and_then(|block| w.get(block.range.start).copied()).filter(|scale| scale.is_finite())
        });
        let bench = Bench { spec: &described, w, x, standardized, shape, seed: 0, most, passes: Cell::new(0) };
        let mut watched = (Entering::new(spec), Reach::new(spec));
        let sound = bench.pass_with(&*network, w, x, &mut watched)?;
        let (entering, reach) = watched;
        let columns = Columns::of(&blocks, w, width, x, &entering);
        let budget = Budget::measured(spec, &sound);
        let before = budget.total;
        let lines = [thresholds.vanishing[0], thresholds.exploding[0]];
        let verdict = match (lines[0]..lines[1]).contains(&before) {
            true => Verdict::default(),
            false => {
                let mut gates: Vec<&str> = shut_gates(w, &blocks).into_iter().map(|(gate, _)| gate).collect();
                gates.sort_unstable();
                gates.dedup();
                search(spec, &weight_layers(spec), &gates, &budget, true, lines, &mut |alterations, layers| {
                    bench.budget(alterations, layers)
                })?
            }
        };
        let shrinks = bench.shrinks(verdict.mends.as_ref())?;
        let verdict = Verdict { shrinks, ..verdict };
        let is_sound = verdict.mends.is_none() && verdict.ruled_out.is_empty();
        let towers = if is_sound { bench.towers(&sound, lines)? } else { Vec::new() };
        let scale = thresholds.small_input[0]..thresholds.input[0];
        let standardized = match (&bench.standardized, first_output(spec, &sound)) {
            (Some(x), Some(first))
                if bench.may_take(1) && (!scale.contains(&sound.run().input().mean()) || !scale.contains(&first)) =>
            {
                first_output(spec, &bench.pass(&*network, w, x)?).map(|after| [first, after])
            }
            _ => None,
        };
        let (over_time, large) = bench.over_time(&*network, &sound, thresholds.over_time[0])?;
        let outliers = if spec.reads_indices() { None } else { bench.outliers(&*network, thresholds.input[0])? };
        let off = bench.off(&reach, thresholds.dead[0], thresholds.similar[0])?;
        let loud = bench.loud(&sound, thresholds.input[0])?;
        let seen = if initial { bench.pass(&*network, given, x)? } else { sound };
        let passes = bench.passes.get();
        Ok(Experiments {
            before,
            seen,
            initial,
            verdict,
            standardized,
            over_time,
            large,
            is_one_input: shape.batch >= FEW && is_one_input(x, shape),
            columns,
            outliers,
            towers,
            off,
            loud,
            passes,
        })
    }
}

impl Budget {
    /// Returns the budget of the last pass of `seen`: the decades from the gradient at the output to the first
    /// weights, without those of the layers that are [`left_out`].
    fn measured(spec: &LayerSpec, seen: &Statistics) -> Self {
        let without = left_out(spec);
        let (mut total, mut links) = (seen.run().decades().last(), Vec::new());
        let mut on_main_path: Vec<_> = seen.links().iter().filter(|link| link.on_main_path()).collect();
        // Links (factors of the chain rule) that report in the backward pass only come last in the statistics.
        on_main_path.sort_by_key(|link| link.index());
        for link in on_main_path {
            let known = link.decades().count() > 0;
            match without.iter().any(|layer| layer == link.name()) {
                true if known => total -= link.decades().last(),
                true => {}
                false if link.norm_in() > 0.0 && link.norm_out() == 0.0 => {
                    links.push((link.name().into(), link.factor(), f64::NEG_INFINITY));
                }
                false => links.extend(known.then(|| (link.name().into(), link.factor(), link.decades().last()))),
            }
        }
        Budget { total, links }
    }
}

impl Bench<'_> {
    /// Returns the budget, the decades (log10 change of the gradient's norm) from loss to first weights, after the
    /// alterations; alterations of weights apply to `layers` alone. `None` if an alteration does not apply to the
    /// network, or no pass is left.
    fn budget(&self, alterations: &[Alteration], layers: &[String]) -> Result<Option<Budget>, Error> {
        Ok(self.after(alterations, layers)?.map(|(spec, seen)| Budget::measured(&spec, &seen)))
    }

    /// Returns the few samples of the batch whose inputs, by their root mean square or by single values, are far
    /// above the others and over `factor` times the median. The result includes the norm of the gradient of all
    /// parameters with and without these samples, for random gradients at the outputs. `None` if there are none, if
    /// sequences have different lengths, or if fewer than two passes are left.
    fn outliers(&self, network: &dyn Layer<f64>, factor: f64) -> Result<Option<Outliers>, Error> {
        let BatchShape { batch, steps, lengths, .. } = self.shape;
        let width = self.x.len() / (batch * steps).max(1);
        if lengths.is_some() || width == 0 || !self.may_take(2) {
            return Ok(None);
        }
        let rows = |sample: usize| (0..steps).map(move |step| &self.x[(step * batch + sample) * width..][..width]);
        let each: Vec<Vec<f64>> = (0..batch).map(|sample| rows(sample).flatten().copied().collect()).collect();
        let sizes = Sizes::of(width, each.iter().map(|sample| &sample[..]));
        let Some(found) = sizes.larger(false, factor) else { return Ok(None) };
        let mut gradient = [0.0; 2];
        for (without, norm) in gradient.iter_mut().enumerate() {
            let kept = |row: &usize| without == 0 || found.samples.binary_search(&(row % batch)).is_err();
            let chosen = (0..batch * steps).filter(kept);
            let x: Vec<f64> = chosen.flat_map(|row| &self.x[row * width..][..width]).copied().collect();
            let shape = BatchShape::sequences(x.len() / (steps * width), steps);
            let bench = Bench { standardized: None, x: &x, shape, passes: Cell::new(0), ..*self };
            *norm = bench.pass(network, self.w, &x)?.run().typical_norm();
            self.passes.set(self.passes.get() + 1);
        }
        Ok(Some(Outliers { gradient, ..found }))
    }
}

/// Whether all samples of the time-major rows `x` have the same inputs; `false` for sequences of different lengths.
fn is_one_input(x: &[f64], shape: BatchShape<'_>) -> bool {
    let mut steps = x.chunks((x.len() / shape.steps.max(1)).max(1));
    let is_one = |step: &[f64]| {
        let mut samples = step.chunks((step.len() / shape.batch.max(1)).max(1));
        samples.next().is_none_or(|first| samples.all(|sample| sample == first))
    };
    shape.lengths.is_none() && steps.all(is_one)
}
