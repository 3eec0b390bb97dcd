//! Input columns: the root mean square of each, and its effect on the first pre-activations, which are the outputs of
//! the first weights.

use super::{figures::number, has_weights, rules::layer_of_block};
use crate::{
    block::{Block, Blocks, Role},
    dataset::{Standardize, varies},
    layer::LayerSpec,
    monitor::{GradientMonitor, Link},
    scalar::{Scalar, to_f64},
};
use alloc::{format, string::String, vec::Vec};

/// The largest number of columns that a phrase lists. For more columns the phrase names only the largest one, and
/// counts the others.
const NAMED: usize = 3;

/// The ratio of the root mean square of a column to that of the median column above which a report names the column.
const LARGE: f64 = 5.0;

/// A few columns count as dominant only if the smallest of their effects exceeds the effect of every other column by
/// at least this factor. The value is a convention.
const GAP: f64 = 10.0;

/// A monitor that keeps the input of the first layer with weights.
pub(super) struct Entering {
    layer: Option<String>,
    x: Vec<f64>,
}

impl Entering {
    /// Creates the monitor for the first layer with weights of a network. It keeps nothing if that layer reads indices
    /// or is custom.
    pub fn new(network: &LayerSpec) -> Self {
        let first = network.parts().into_iter().find(|(_, part)| has_weights(part));
        let reads_values = |part: &LayerSpec| !matches!(part, LayerSpec::Embedding(_) | LayerSpec::Custom { .. });
        Entering { layer: first.filter(|(_, part)| reads_values(part)).map(|(layer, _)| layer), x: Vec::new() }
    }
}

impl<T: Scalar> GradientMonitor<T> for Entering {
    fn forward(&mut self, at: &Link<'_>, x: &[T], _y: &[T]) {
        if at.step.is_none() && self.layer.as_deref() == Some(at.name) {
            self.x.extend(x.iter().map(|&x| to_f64(x)));
        }
    }
}

/// Input columns with their effect on the first pre-activations, the outputs of the first layer with weights.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// The root mean square of each input column.
    pub sizes: Vec<f64>,
    /// For each column, its standard deviation where it enters the first layer with weights, times the norm of its
    /// weights in that layer.
    pub effects: Vec<f64>,
    /// The root mean square of the first pre-activations, computed as if the columns were independent.
    pub pre_activation: f64,
}

impl Columns {
    /// Measures the columns of the inputs `x`, rows of `width` values. `w` are the parameters of the network, whose
    /// ranges are in `blocks`. `entering` has the values that reached the first layer with weights in a pass over
    /// `x`. `None` if a value is not finite, if the first layer with weights reads indices or is custom, or if it
    /// does not have one input per column.
    pub fn of<T: Scalar>(blocks: &Blocks, w: &[T], width: usize, x: &[T], entering: &Entering) -> Option<Self> {
        let (layer, raw) = (entering.layer.as_ref()?, Standardize::of(width, x).ok()?);
        let of_layer = |block: &&Block<'_>| {
            block.role == Role::Weight && layer_of_block(&block.name) == layer && block.shape[1] == width
        };
        let weights = w.get(blocks.iter().find(of_layer)?.range.clone())?;
        let (received, mut effects) = (Standardize::of(width, &entering.x).ok()?, alloc::vec![0.0; width]);
        for row in weights.chunks_exact(width) {
            effects.iter_mut().zip(row).for_each(|(square, &w)| *square += to_f64(w) * to_f64(w));
        }
        let squares = received
            .columns()
            .iter()
            .zip(&effects)
            .map(|(&[mean, deviation], &square)| (mean * mean + deviation * deviation) * square);
        let units = (weights.len() / width.max(1)).max(1);
        let pre_activation = libm::sqrt(squares.sum::<f64>() / units as f64);
        let deviations =
            received.columns().iter().map(|&[mean, deviation]| if varies(mean, deviation) { deviation } else { 0.0 });
        effects.iter_mut().zip(deviations).for_each(|(effect, deviation)| *effect = libm::sqrt(*effect) * deviation);
        let sizes = raw.columns().iter().map(|&[mean, deviation]| libm::hypot(mean, deviation)).collect();
        effects.iter().all(|effect| effect.is_finite()).then_some(Columns { sizes, effects, pre_activation })
    }

    /// Returns a phrase that names the columns whose root mean square is far above that of the median column; without
    /// such columns, a phrase with the range of root mean squares. `None` for fewer than two columns.
    pub fn largest(&self) -> Option<String> {
        let mut order: Vec<usize> = (0..self.sizes.len()).collect();
        order.sort_by(|&a, &b| self.sizes[b].total_cmp(&self.sizes[a]));
        let (&first, &last) = (order.first()?, order.last()?);
        let median = self.sizes[order[order.len() / 2]];
        let mut large: Vec<usize> = order.into_iter().take_while(|&it| self.sizes[it] > LARGE * median).collect();
        let [most, median, least] = [self.sizes[first], median, self.sizes[last]].map(number);
        let up_to = if large.len() > 1 { "up to " } else { "" };
        large.sort_unstable();
        Some(match (large.len(), self.sizes.len()) {
            (_, 1) => return None,
            (0, count) if least == most => format!("all {count} columns are alike in size"),
            (0, count) => format!("the {count} columns have root mean squares from {least} to {most}"),
            (..) => {
                let have = if large.len() > 1 { "have root mean squares" } else { "has a root mean square" };
                format!("{} {have} of {up_to}{most}, and the median column {median}", named(&large, first))
            }
        })
    }

    /// Returns the dominant columns: at most half of the columns with an effect above 0, separated from the others by
    /// a [gap](GAP) of effects. The second value is the 2-norm of the effects of the other columns over the 2-norm of
    /// all effects. `None` without dominant columns.
    pub fn dominant(&self) -> Option<(Vec<usize>, f64)> {
        let mut order: Vec<usize> = (0..self.effects.len()).filter(|&column| self.effects[column] > 0.0).collect();
        order.sort_by(|&a, &b| self.effects[b].total_cmp(&self.effects[a]));
        let effect = |place: usize| self.effects[order[place]];
        let gap = |few: &usize| effect(few - 1) / effect(*few);
        let few = (1..=order.len() / 2).max_by(|a, b| gap(a).total_cmp(&gap(b)))?;
        let square = |places: core::ops::Range<usize>| places.map(|place| effect(place) * effect(place)).sum::<f64>();
        let rest = libm::sqrt(square(few..order.len()) / square(0..order.len()));
        let mut columns = order[..few].to_vec();
        columns.sort_unstable();
        (gap(&few) >= GAP).then_some((columns, rest))
    }

    /// Returns the number of columns with an effect above 0.
    pub fn varying(&self) -> usize {
        self.effects.iter().filter(|&&effect| effect > 0.0).count()
    }
}

/// Returns columns with their noun: `column 3`, `columns 3, 5 and 9`. Of more than three columns it names only the
/// column `largest` and counts the others: `column 12 and 20 more`.
pub(super) fn named(columns: &[usize], largest: usize) -> String {
    let text: Vec<String> = columns.iter().map(|column| format!("{column}")).collect();
    match &text[..] {
        [one] => format!("column {one}"),
        [others @ .., last] if text.len() <= NAMED => format!("columns {} and {last}", others.join(", ")),
        _ => format!("column {largest} and {} more", text.len() - 1),
    }
}
