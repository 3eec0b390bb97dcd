//! One parameter block over many passes.

use super::RunningMoments;
use crate::{
    block::{Block, Role},
    kernel::reduce::survey,
    scalar::{Scalar, to_f64},
};
use alloc::{string::String, vec::Vec};
use num_traits::Float;

/// The units of a weight matrix are compared with each other in the first four passes, and then once in this many
/// passes.
const COMPARED: u64 = 64;

/// Statistics, over many passes, of the parameters of a block (a named range of parameters, such as a weight matrix),
/// their gradient, and their updates.
#[derive(Clone, Debug)]
pub struct BlockStatistics {
    name: String,
    role: Role,
    frozen: bool,
    rows: usize,
    columns: usize,
    /// The number of gates, 1 without gates. A unit has one row in each gate.
    gates: usize,
    parameters: f64,
    first_parameters: Option<f64>,
    parameters_broken: bool,
    gradient: f64,
    gradient_broken: bool,
    update_broken: bool,
    values: usize,
    ratio: RunningMoments,
    first_ratio: Option<f64>,
    moved: bool,
    shrinkage: RunningMoments,
    pull: RunningMoments,
    /// Over all updates: the sum of the ratios (norm of the update) / (norm of the parameters before it), and the
    /// number of updates.
    way: [f64; 2],
    /// The highest mean, over about [`WINDOW`] updates, of log10 of an update's norm divided by that of the
    /// parameters. The first value is for the whole run, the second since the mean loss was lowest.
    longest: [f64; 2],
    /// log10 of three measures of the last update u: its root mean square, `‖u‖ / ‖gradient‖` and `‖u‖ /
    /// ‖parameters‖`. Which one is equal for all blocks depends on the optimizer. `None` if a norm is 0 or not finite,
    /// for frozen blocks, and for other roles than weights.
    paces: Option<[f64; 3]>,
    lag: RunningMoments,
    long: u64,
    still: u64,
    duplicate_rows: usize,
    duplicate_checks: u64,
    sums: Vec<[f64; 2]>,
}

impl BlockStatistics {
    pub(super) fn new(block: &Block<'_>) -> Self {
        BlockStatistics {
            name: (&*block.name).into(),
            role: block.role,
            frozen: block.frozen,
            rows: block.shape[0],
            columns: block.shape[1],
            gates: block.gates.len().max(1),
            parameters: 0.0,
            first_parameters: None,
            parameters_broken: false,
            gradient: 0.0,
            gradient_broken: false,
            update_broken: false,
            values: block.range.len(),
            ratio: RunningMoments::forgetting(0.9),
            first_ratio: None,
            moved: false,
            shrinkage: RunningMoments::forgetting(0.9),
            pull: RunningMoments::forgetting(0.9),
            way: [0.0; 2],
            longest: [f64::NEG_INFINITY; 2],
            paces: None,
            lag: RunningMoments::forgetting(0.9),
            long: 0,
            still: 0,
            duplicate_rows: 0,
            duplicate_checks: 0,
            sums: Vec::new(),
        }
    }

    /// Whether these statistics have the name and the shape of `block`.
    pub(super) fn is_of(&self, block: &Block<'_>) -> bool {
        self.name == block.name && [self.rows, self.columns] == block.shape
    }

    pub(super) fn gradient<T: Scalar>(&mut self, pass: u64, block: &Block<'_>, w: &[T], dw: &[T]) {
        let (of_w, of_dw) = (survey(w), survey(dw));
        self.frozen = block.frozen;
        (self.parameters, self.gradient) = (of_w.norm, of_dw.norm);
        self.first_parameters = self.first_parameters.or(Some(of_w.norm));
        (self.parameters_broken, self.gradient_broken) = (of_w.non_finite > 0, of_dw.non_finite > 0);
        let is_matrix = matches!(self.role, Role::Weight | Role::Recurrent);
        if is_matrix {
            self.pull.push(-against(w, dw));
        }
        let matrix = is_matrix && self.units() > 1;
        if matrix && !block.frozen && (pass < 4 || pass.is_multiple_of(COMPARED)) {
            let before = self.duplicate_rows;
            self.duplicate_rows = self.count_duplicates(w, dw);
            self.duplicate_checks = if self.duplicate_rows > 0 && before > 0 {
                self.duplicate_checks + 1
            } else {
                u64::from(self.duplicate_rows > 0)
            };
        }
    }

    /// Counts the units of a block with parameters `w` and gradient `dw` that repeat another unit in both: k equal
    /// units count k − 1. A unit has one row for each gate. Two units count as equal if a weighted sum over their
    /// parameters is the same, and that over their gradients is within a relative 1e-5. A unit whose gradient is 0
    /// does not count: this batch does not show how it would be trained. Returns 0 if the gradient of the block is 0
    /// or not finite.
    fn count_duplicates<T: Scalar>(&mut self, w: &[T], dw: &[T]) -> usize {
        if self.gradient == 0.0 || !self.gradient.is_finite() {
            return 0;
        }
        self.sums.clear();
        self.sums.reserve(self.units());
        // Equal rows have equal sums. The irrational weights make the sums of different rows differ.
        let weight = |place: usize| 1.0 + Float::fract(place as f64 * 0.618_033_988_749_895);
        let sum = |row: &[T]| row.iter().enumerate().map(|(j, &x)| to_f64(x) * weight(j)).sum::<f64>();
        let (units, columns) = (self.units(), self.columns);
        let of_unit = |values: &[T], unit: usize| {
            let rows = (0..self.gates).map(|gate| {
                let first = (gate * units + unit) * columns;
                values.get(first..first + columns).unwrap_or_default()
            });
            rows.enumerate().map(|(gate, row)| weight(gate) * sum(row)).sum::<f64>()
        };
        let both = (0..units).map(|unit| [of_unit(w, unit), of_unit(dw, unit)]);
        self.sums.extend(both.filter(|[_, gradient]| *gradient != 0.0));
        self.sums.sort_unstable_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        // Duplicated units sum their gradients in about the same order.
        let same = |a: f64, b: f64| a == b || Float::abs(a - b) <= 1e-5 * Float::abs(a).max(Float::abs(b));
        self.sums.windows(2).filter(|pair| pair[0][0] == pair[1][0] && same(pair[0][1], pair[1][1])).count()
    }

    /// Adds the `update` of the block to the statistics; `w` are the parameters before it. `is_best` states whether
    /// the mean loss is the lowest so far.
    pub(super) fn update<T: Scalar>(&mut self, w: &[T], update: &[T], is_best: bool) {
        let of_update = survey(update);
        self.longest[1] = if is_best { f64::NEG_INFINITY } else { self.longest[1] };
        if matches!(self.role, Role::Weight | Role::Recurrent) {
            self.shrinkage.push(against(w, update));
        }
        self.update_broken = of_update.non_finite > 0;
        if self.parameters > 0.0 && of_update.norm > 0.0 {
            self.ratio.push(libm::log10(of_update.norm / self.parameters));
            self.first_ratio = self.first_ratio.or(Some(self.ratio.last()));
            self.way[0] += of_update.norm / self.parameters;
            if self.ratio.count() >= WINDOW {
                self.longest = self.longest.map(|longest| longest.max(self.ratio.mean()));
            }
            self.long = if self.ratio.last() > LONG { self.long + 1 } else { 0 };
        }
        self.way[1] += 1.0;
        self.moved |= of_update.norm > 0.0;
        let is_matrix = matches!(self.role, Role::Weight | Role::Recurrent) && !self.frozen;
        let sizes = [of_update.norm, self.gradient, self.parameters];
        let is_sized = is_matrix && sizes.iter().all(|&size| size > 0.0 && size.is_finite());
        self.paces = is_sized.then(|| {
            let [update, gradient, parameters] = sizes.map(libm::log10);
            [update - 0.5 * libm::log10(self.values.max(1) as f64), update - gradient, update - parameters]
        });
        let stands_still = of_update.norm == 0.0 && self.gradient > 0.0 && !self.frozen;
        self.still = if stands_still { self.still + 1 } else { 0 };
    }

    pub(super) fn paces(&self) -> Option<[f64; 3]> {
        self.paces
    }

    /// Subtracts from each of the three log10 values of [`paces`](Self::paces) its maximum over all blocks,
    /// `largest`. The difference that is nearest to 0 is added to the moments that [`lag`](Self::lag) returns.
    pub(super) fn lags(&mut self, largest: [f64; 3]) {
        if let Some(paces) = self.paces {
            let behind = paces.iter().zip(largest).map(|(pace, most)| pace - most);
            self.lag.push(behind.fold(f64::NEG_INFINITY, f64::max));
        }
    }

    pub(super) fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
    }
    pub(super) fn parameters_broken(&self) -> bool {
        self.parameters_broken
    }
    pub(super) fn gradient_broken(&self) -> bool {
        self.gradient_broken
    }
    pub(super) fn update_broken(&self) -> bool {
        self.update_broken
    }

    /// The name of the block, such as `0.weight`.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The role of the block: weight, recurrent weight, bias or gain.
    pub fn role(&self) -> Role {
        self.role
    }
    /// Whether the block was frozen in the last pass, so that optimizers do not update it.
    pub fn frozen(&self) -> bool {
        self.frozen
    }
    /// Returns the number of units of the block: its rows, or those of one gate.
    pub fn units(&self) -> usize {
        self.rows / self.gates
    }
    /// Returns the numbers of rows and columns of the block.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }
    /// Returns the root mean square of the block's parameters, in the last pass.
    pub fn parameters(&self) -> f64 {
        self.parameters / Float::sqrt(self.values.max(1) as f64)
    }
    /// Returns the root mean square of the block's parameters, in the first monitored pass; `None` before it.
    pub fn first_parameters(&self) -> Option<f64> {
        self.first_parameters.map(|norm| norm / Float::sqrt(self.values.max(1) as f64))
    }
    /// Returns the norm of the block's gradient in the last pass, before any clipping.
    pub fn gradient_norm(&self) -> f64 {
        self.gradient
    }
    /// Returns the moments, over nonzero updates, of log10 of the root mean square of an update divided by that of
    /// the block's parameters. The update is the change of the parameters, after clipping and optimizer. Later
    /// updates have more weight.
    pub fn update_ratio(&self) -> RunningMoments {
        self.ratio
    }
    /// Returns log10 of the root mean square of an update over that of the parameters before it, for the first
    /// monitored update with neither equal to 0; `None` before it.
    pub fn first_update_ratio(&self) -> Option<f64> {
        self.first_ratio
    }
    /// Returns the moments, over updates, of −cos(Δ, w), with w the block's parameters and Δ their update, for
    /// weights and recurrent weights only. It is 1 if updates only shrink the parameters. It is estimated from at most
    /// 256 of the values. Later updates have more weight.
    pub fn shrinkage(&self) -> RunningMoments {
        self.shrinkage
    }
    /// Returns the moments, over updates, of log10 of the size of the block's update divided by the largest size in
    /// any block, for weights and recurrent weights. Of three measures of size, the one whose result is nearest to 0
    /// counts. The first is the root mean square of the update, which adaptive optimizers make equal for all blocks.
    /// The second is its norm over that of the gradient (equal in gradient descent), the third its norm over that of
    /// the parameters (equal in layer-wise optimizers). With one learning rate for all blocks the result is about 0.
    /// Later updates have more weight.
    pub fn lag(&self) -> RunningMoments {
        self.lag
    }
    /// Returns the moments, over updates, of cos(g, w), with w the block's parameters and g their gradient, estimated
    /// as in [`shrinkage`](Self::shrinkage). It is 1 if descent along the gradient, without decay, only shrinks the
    /// parameters.
    pub(crate) fn pull(&self) -> RunningMoments {
        self.pull
    }
    /// Returns two numbers: log10 of the mean, over all updates, of an update's norm over that of the parameters before
    /// it, and log10 of the sum of these ratios. Both are −∞ if no update was other than 0.
    pub(crate) fn way(&self) -> [f64; 2] {
        let [sum, updates] = self.way;
        if sum > 0.0 { [libm::log10(sum / updates), libm::log10(sum)] } else { [f64::NEG_INFINITY; 2] }
    }
    /// Returns the highest mean, over about ten updates, of [`update_ratio`](Self::update_ratio): in the whole run,
    /// and since the mean loss was lowest. Each is the recent mean if that is higher. After units have died or weights
    /// have exploded, updates are small: the highest mean shows the updates before.
    pub(crate) fn longest_updates(&self) -> [f64; 2] {
        self.longest.map(|longest| longest.max(self.ratio.mean()))
    }
    /// Whether the block's parameters were all 0 in the first monitored pass, so that updates have no scale to compare
    /// with.
    pub fn began_at_zero(&self) -> bool {
        self.first_parameters == Some(0.0)
    }
    /// Whether any monitored update changed the block.
    pub fn moved(&self) -> bool {
        self.moved
    }
    /// Returns the number of consecutive monitored updates, up to the last, with a root mean square above a tenth of
    /// that of the block's parameters. Updates of 0, and updates of parameters that are all 0, are ignored.
    pub fn long_steps(&self) -> u64 {
        self.long
    }
    /// Returns the number of consecutive monitored updates, up to the last, that left the block unchanged although it
    /// had a gradient and was not frozen.
    pub fn still(&self) -> u64 {
        self.still
    }
    /// Returns two counts for a weight matrix. The first is the number of [units](Self::units) that repeated another
    /// unit in both parameters and gradient at the last comparison; k equal units count k − 1. The second is the
    /// number of consecutive comparisons, up to the last, that found such units. Units are compared in the first 4
    /// passes and every 64th, and not in frozen blocks.
    pub fn duplicate_rows(&self) -> (usize, u64) {
        (self.duplicate_rows, self.duplicate_checks)
    }
}

/// The number of updates before the highest mean of the update ratio is first taken: about as many as that mean
/// covers.
const WINDOW: u64 = 10;

/// log10 of the ratio of an update's norm to that of its block's parameters, above which the update counts as large.
const LONG: f64 = -1.0;

/// The largest number of values of a block from which the cosine of update and parameters is estimated. In a larger
/// block, evenly spaced values are used.
const COMPARED_VALUES: usize = 256;

/// Returns −cos(Δ, w) of the update Δ and the parameters w of a block, over at most 256 evenly spaced values; 0 if
/// the chosen values of either are all 0, or not finite.
fn against<T: Scalar>(w: &[T], update: &[T]) -> f64 {
    // An odd stride reaches every column of most matrices.
    let stride = w.len().div_ceil(COMPARED_VALUES) | 1;
    let [mut product, mut of_w, mut of_update] = [0.0; 3];
    for (&w, &update) in w.iter().zip(update).step_by(stride) {
        let [w, update] = [to_f64(w), to_f64(update)];
        product -= w * update;
        of_w += w * w;
        of_update += update * update;
    }
    let scale = Float::sqrt(of_w) * Float::sqrt(of_update);
    if scale > 0.0 && scale.is_finite() { product / scale } else { 0.0 }
}
