//! Why the measured change of the gradient's norm from loss to first weights, in decades (log10), differs from the
//! change that theory predicts from the layer specification.

use super::{
    Diagnosis, LayerRange, ReportRow,
    figures::{count, number, signed},
    outputs,
    place::place,
    rules::layer_of_block,
};
use crate::{
    block::{Blocks, Role},
    layer::{Layer, initialize},
    scalar::{Scalar, to_f64},
};
use alloc::{format, string::String, vec::Vec};

/// A measured change of the gradient's norm agrees with theory if they differ by at most this number of decades
/// (log10), a factor of two, however small the predicted spread.
const AGREES: f64 = 0.3;

/// The number of standard errors by which the root mean square of a block's parameters may differ, by chance, from
/// the one that its initializer draws.
const APART: f64 = 4.0;

/// Returns the name and the root mean square of each parameter block, such as a layer's weights, in the order of the
/// forward pass. `w` are the parameters of the network.
pub(super) fn sizes<T: Scalar>(network: &(impl Layer<T> + ?Sized), w: &[T]) -> Vec<(String, f64)> {
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    let size = |range: core::ops::Range<usize>| w.get(range).map(root_mean_square);
    blocks.iter().filter_map(|block| Some(((*block.name).into(), size(block.range.clone())?))).collect()
}

fn root_mean_square<T: Scalar>(values: &[T]) -> f64 {
    let squares: f64 = values.iter().map(|&value| to_f64(value) * to_f64(value)).sum();
    libm::sqrt(squares / values.len().max(1) as f64)
}

/// The root mean square of the parameters of one block: as its initializer draws them, in the first monitored pass,
/// and in the last.
struct Size {
    block: String,
    is_bias: bool,
    /// The root mean square of values that the initializer of the block draws.
    drawn: f64,
    /// The largest relative difference that chance explains between the root mean square in the first monitored pass
    /// and that of the initializer's values. It is [`APART`]/√n for a block of n random values, and at least 0.05.
    spread: f64,
    /// The root mean square of the block in the first monitored pass; without one, that of the given parameters.
    first: f64,
    /// The root mean square of the block in the last monitored pass; without one, that of the given parameters.
    last: f64,
}

impl Size {
    fn layer(&self) -> &str {
        layer_of_block(&self.block)
    }

    /// Whether the initializer of the block sets it to 0, its root mean square is now above 0, and it is no bias.
    fn left_zero(&self) -> bool {
        !self.is_bias && self.drawn == 0.0 && self.last > 0.0
    }

    /// Whether the root mean square in the first monitored pass differs from that of the initializer's values by more
    /// than chance explains: the parameters were changed or loaded. False for a block that has
    /// [left 0](Self::left_zero).
    fn is_foreign(&self) -> bool {
        (self.first - self.drawn).abs() > self.spread * self.drawn && !self.left_zero()
    }
}

/// Returns the [`Size`] of each parameter block that was monitored or given; `None` for a network with a custom part.
fn of_blocks(diagnosis: &Diagnosis<'_>) -> Option<Vec<Size>> {
    let network = diagnosis.spec.build_to_look_at().ok()?;
    let w: Vec<f64> = initialize(&*network, 0).ok()?;
    let seen = diagnosis.statistics.map_or(&[][..], |statistics| statistics.blocks());
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    let size = |block: &crate::block::Block<'_>| {
        let given = || diagnosis.sizes.iter().find(|(name, _)| *name == block.name).map(|(_, size)| [*size; 2]);
        let watched = seen.iter().find(|of| of.name() == block.name);
        let watched = watched.and_then(|of| Some([of.first_parameters()?, of.parameters()]));
        let [first, last] = watched.or_else(given)?;
        let values = w.get(block.range.clone())?;
        let is_constant = values.len() > 1 && values.iter().all(|value| value == values.first().unwrap_or(value));
        let random = if is_constant { 0.0 } else { APART / libm::sqrt(values.len() as f64) };
        Some(Size {
            block: (*block.name).into(),
            is_bias: block.role == Role::Bias,
            drawn: root_mean_square(values),
            spread: f64::max(0.05, random),
            first,
            last,
        })
    };
    Some(blocks.iter().filter_map(size).collect())
}

/// Whether a run began with parameters that its initializers do not draw, such as those of a trained model or of an
/// earlier run that it resumes.
pub(super) fn is_resumed(diagnosis: &Diagnosis<'_>) -> bool {
    of_blocks(diagnosis).is_some_and(|sizes| sizes.iter().any(Size::is_foreign))
}

/// Whether parameters that are no biases have other sizes than their initializers draw. The sizes of biases, of which
/// one set by hand is enough to [differ](is_resumed), do not enter a predicted gradient.
pub(super) fn has_loaded_weights(diagnosis: &Diagnosis<'_>) -> bool {
    of_blocks(diagnosis).is_some_and(|sizes| sizes.iter().any(|size| !size.is_bias && size.is_foreign()))
}

/// Returns the weight block with the largest ratio of two root mean squares: that of its parameters in the first
/// monitored pass, and that of its initializer's values. The result is the name of the block and these root mean
/// squares, in this order. `None` if no ratio is above 1, or if no root mean square is known.
pub(super) fn most_loaded(diagnosis: &Diagnosis<'_>) -> Option<(String, [f64; 2])> {
    let sizes = of_blocks(diagnosis)?.into_iter().filter(|size| size.drawn > 0.0 && size.block.ends_with("weight"));
    let most = sizes.max_by(|a, b| (a.first / a.drawn).total_cmp(&(b.first / b.drawn)))?;
    (most.first > most.drawn).then_some((most.block, [most.first, most.drawn]))
}

/// Returns the root mean square of the block named `block` in the first monitored pass, or of the given parameters.
/// `None` if its initializer draws values of this size.
pub(super) fn loaded_size(diagnosis: &Diagnosis<'_>, block: &str) -> Option<f64> {
    let sizes = of_blocks(diagnosis)?;
    sizes.iter().find(|size| size.block == block && size.is_foreign()).map(|size| size.first)
}

/// Returns the names of the blocks whose root mean square in the first monitored pass was below that of their
/// initializer's values by more than the factor [`changed`](super::Thresholds::changed). An ordinary update is large
/// relative to such a block, which is no fault.
pub(super) fn begun_small(diagnosis: &Diagnosis<'_>) -> Vec<String> {
    let small = |size: &Size| size.first * diagnosis.thresholds.changed < size.drawn;
    of_blocks(diagnosis).unwrap_or_default().into_iter().filter(small).map(|size| size.block).collect()
}

/// Returns, as phrases, why `measured` and `predicted` differ: both are the change of the gradient's norm from loss
/// to first weights, in decades (log10). `rows` has the links (factors of the chain rule) of the report. Empty if
/// `measured` or `predicted` is unknown, or if they agree. They agree if they differ by at most two standard
/// deviations of the prediction between random networks, or by at most a factor of two.
pub(super) fn reasons(
    diagnosis: &Diagnosis<'_>,
    rows: &[ReportRow],
    [measured, predicted]: [Option<f64>; 2],
) -> Vec<String> {
    let (Some(measured), Some(predicted)) = (measured, predicted) else { return Vec::new() };
    let line = f64::max(2.0 * diagnosis.prediction.standard_deviation(), AGREES);
    let agrees = |decades: f64| decades == predicted || (decades - predicted).abs() <= line;
    if agrees(measured) || measured.is_nan() || predicted.is_nan() {
        return Vec::new();
    }
    let (mut reasons, sizes) = (Vec::new(), of_blocks(diagnosis).unwrap_or_default());
    let ranges = |is: &dyn Fn(&Size) -> bool| LayerRange::runs(sizes.iter().map(|size| (size.layer(), is(size))));
    let zero = ranges(&|size| size.left_zero());
    if !zero.is_empty() {
        reasons.push(format!("weights of {} begin at 0 by their description, and are no longer 0", place(&zero)));
    }
    let times = |size: &Size| libm::log(size.first / size.drawn).abs();
    let foreign = sizes.iter().filter(|size| size.is_foreign()).max_by(|a, b| times(a).total_cmp(&times(b)));
    if let Some(most) = foreign {
        reasons.push(format!(
            "parameters of {} were changed or loaded: {} has a root mean square of {}, where the description draws {}",
            place(&ranges(&Size::is_foreign)),
            most.block,
            number(most.first),
            number(most.drawn)
        ));
    }
    let (begun, mut is_trained) = (diagnosis.statistics.map(|statistics| statistics.history()), false);
    let updates = diagnosis.statistics.map_or(0, |statistics| statistics.run().updates());
    let begun = begun.and_then(|history| history.totals().first().copied().flatten());
    // Decades of −∞ and +∞ have no sum.
    if let Some(begun) = begun.filter(|begun| updates > 0 && !begun.is_nan()) {
        is_trained = agrees(begun);
        let (begun, updates) = (signed(begun), count(usize::try_from(updates).unwrap_or(usize::MAX), "update"));
        reasons.push(match is_trained {
            true => format!("the first watched pass had {begun}, as theory predicts: the rest came with {updates}"),
            false => format!("the first watched pass had {begun} already"),
        });
    }
    let random = diagnosis.experiments.as_ref().map(|experiments| experiments.before);
    let random =
        random.filter(|&random| !diagnosis.is_examined_alone && outputs(&diagnosis.spec).is_none() && agrees(random));
    if let Some(random) = random {
        reasons.push(format!(
            "for a random gradient at the outputs, in place of that of the loss, the same parameters have {} \
             (measured)",
            signed(random)
        ));
    }
    if zero.is_empty() && foreign.is_none() && !is_trained && random.is_none() {
        reasons.push(match sizes.is_empty() {
            true => String::from("the measured parameters were not compared with the description"),
            false => String::from(
                "all parameters have the sizes that the description draws, so the rest lies in what theory assumes: \
                 weights without order, inputs without structure, wide layers",
            ),
        });
    }
    reasons.extend(most_of_it(rows, measured - predicted));
    reasons
}

/// Returns, as a phrase, the link (factor of the chain rule) on the main path that causes more than half of `whole`,
/// with its measured and its predicted decades. `whole` is measured minus predicted decades for all links together.
/// `None` if no link causes more than half of it.
fn most_of_it(rows: &[ReportRow], whole: f64) -> Option<String> {
    let both = |row: &ReportRow| Some((row.name.clone(), row.measured?, row.predicted?));
    let differences = rows.iter().filter(|row| row.on_main_path).filter_map(both);
    let share = |(_, measured, predicted): &(String, f64, f64)| (measured - predicted) / whole;
    let known = differences.filter(|row| share(row).is_finite());
    let (layer, measured, predicted) =
        known.max_by(|a, b| share(a).total_cmp(&share(b))).filter(|row| share(row) > 0.5)?;
    Some(format!("most of it is in layer {layer}: {} instead of {}", signed(measured), signed(predicted)))
}
