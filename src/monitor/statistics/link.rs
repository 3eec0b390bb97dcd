//! Statistics of one link (factor of the chain rule) from layer to layer, over many passes.

use super::{RunningMoments, mean_cosine};
use crate::{
    kernel::reduce::{Survey, add_slopes, survey},
    monitor::{Factor, Link},
    scalar::{Scalar, to_f64},
};
use alloc::{string::String, vec, vec::Vec};
use num_traits::Float;

/// The mean |φ′| below which a unit counts as saturated, as a fraction of sup |φ′|.
const SATURATED: f64 = 0.05;
/// The number of examples (rows: each time step of a sequence is one) after which a window of passes ends, if it also
/// has [`BATCHES`] passes. A unit without a gradient in a whole window counts as dead.
const EXAMPLES: f64 = 2000.0;
/// The number of passes after which a window (consecutive passes over which units are judged) ends, if it also has
/// [`EXAMPLES`] examples.
const BATCHES: u64 = 10;

/// Statistics, over many passes, of the gradients and the values at one link: a factor of the chain rule from layer
/// to layer.
#[derive(Clone, Debug)]
pub struct LinkStatistics {
    name: String,
    index: usize,
    factor: Factor,
    on_main_path: bool,
    activation: Option<&'static str>,
    sup_slope: Option<f64>,
    decades: RunningMoments,
    norm_in: f64,
    norm_out: f64,
    vanished_passes: u64,
    underflowed: bool,
    subnormal: f64,
    output: RunningMoments,
    first_output: Option<f64>,
    input: RunningMoments,
    cosine: Option<f64>,
    first_cosine: Option<f64>,
    collapsed_passes: u64,
    units: Units,
    sum: Vec<f64>,
    /// The norm and the counts of the values reported so far in the current pass, for the output y, the input x,
    /// ∂L/∂y and ∂L/∂x, in this order. A pass may be reported in several calls ([`Link::parts_before`]).
    parts: [Parts; 4],
}

/// The norm and the counts (of zero, subnormal and non-finite values) of the values that were reported so far in a
/// pass, and their number. A checkpointed layer reports a pass in several calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts(Survey, usize);

impl Parts {
    /// Adds `part`, the norm and counts of the `values` values that a monitor received in one call for the link `at`.
    /// The first call of a pass replaces the values of the pass before. The last call returns the norm and counts of
    /// all values and their number, other calls `None`.
    pub(super) fn add(&mut self, at: &Link<'_>, part: Survey, values: usize) -> Option<(Survey, usize)> {
        let Parts(before, count) = *self;
        *self = if at.parts_before == 0 { Parts(part, values) } else { Parts(before.and(part), count + values) };
        (at.parts_after == 0).then_some((self.0, self.1))
    }
}

/// Sums of the slope |φ′| of each unit of an activation φ over the current window of passes, and the statistics
/// that are computed from them.
#[derive(Clone, Debug, Default)]
struct Units {
    /// Three consecutive ranges with a value for each unit: Σ |φ′|, the number of examples in this sum, and the
    /// number of examples for which the unit passed a non-zero gradient.
    sums: Vec<f64>,
    /// The number of examples in the current window of passes; each time step of a sequence counts as one.
    examples: f64,
    /// Whether gradients of the current pass were added to the sums of |φ′|.
    is_read: bool,
    /// The number of passes in the current window of passes.
    batches: u64,
    /// The mean of the slope |φ′| of the activation φ over units and examples.
    slope: f64,
    /// The fraction of units whose mean slope |φ′| is below [`SATURATED`] times sup |φ′|, φ the activation.
    saturated: f64,
    /// The fraction of units that passed no gradient for any example since the last whole window of [`BATCHES`] passes
    /// and [`EXAMPLES`] examples.
    inactive_fraction: f64,
    /// In the first pass whose gradient is large enough to compute φ′: the mean slope, and the fractions of
    /// saturated units and of units that passed no gradient.
    first: Option<[f64; 3]>,
    /// The fraction of units that passed no gradient for any example of the last complete window of passes; `None`
    /// before the end of the first.
    dead: Option<f64>,
}

impl LinkStatistics {
    pub(super) fn new(at: &Link<'_>) -> Self {
        LinkStatistics {
            name: at.name.into(),
            index: at.index,
            factor: at.factor,
            on_main_path: at.on_main_path,
            activation: at.activation.map(|activation| activation.name()),
            sup_slope: at.activation.and_then(|activation| activation.bounds()).map(|bounds| bounds.magnitude()),
            decades: RunningMoments::forgetting(KEEP),
            norm_in: 0.0,
            norm_out: 0.0,
            vanished_passes: 0,
            underflowed: false,
            subnormal: 0.0,
            output: RunningMoments::forgetting(KEEP),
            first_output: None,
            input: RunningMoments::forgetting(KEEP),
            cosine: None,
            first_cosine: None,
            collapsed_passes: 0,
            units: Units::default(),
            sum: Vec::new(),
            parts: Default::default(),
        }
    }

    pub(super) fn is(&self, at: &Link<'_>) -> bool {
        self.index == at.index && self.factor == at.factor
    }

    pub(super) fn forward<T: Scalar>(&mut self, at: &Link<'_>, x: &[T], y: &[T], of_y: Survey) {
        let [of_output, of_input, ..] = &mut self.parts;
        if let Some((of_y, values)) = of_output.add(at, of_y, y.len()) {
            self.output.push(root_mean_square(of_y.norm, values));
            self.first_output = self.first_output.or(Some(self.output.last()));
        }
        if at.factor == Factor::Activation
            && let Some((of_x, values)) = of_input.add(at, survey(x), x.len())
        {
            self.input.push(root_mean_square(of_x.norm, values));
        }
        // Only the rows of the first time step are compared.
        if at.factor == Factor::Activation && at.parts_before == 0 {
            let rows = at.shape.batch;
            self.cosine = mean_cosine(x, x.len() / at.shape.rows().max(1), rows, &mut self.sum);
            self.first_cosine = self.first_cosine.or(self.cosine);
            let collapsed = self.cosine.is_some_and(|cosine| cosine > 0.99);
            self.collapsed_passes = if collapsed { self.collapsed_passes + 1 } else { 0 };
            self.units.size(x.len() / at.shape.rows().max(1));
        }
    }

    /// Receives the gradients of a pass at this link, or of one segment of time steps; `after` has the norm and the
    /// counts of `dx`. Returns whether all gradients of the pass have been received.
    pub(super) fn backward<T: Scalar>(&mut self, at: &Link<'_>, dy: &[T], dx: &[T], after: Survey) -> bool {
        let part = (survey(dy), after);
        let [.., of_dy, of_dx] = &mut self.parts;
        let whole = of_dy.add(at, part.0, dy.len()).zip(of_dx.add(at, after, dx.len()));
        // φ′ cannot be computed from a gradient at the lower end of the format.
        let readable = part.0.norm >= least::<T>() && part.0.non_finite + after.non_finite == 0;
        if self.factor == Factor::Activation && readable {
            self.units.add(dy, dx);
        }
        let Some(((before, _), (after, values))) = whole else { return false };
        (self.norm_in, self.norm_out) = (before.norm, after.norm);
        self.subnormal = after.subnormal as f64 / values.max(1) as f64;
        // Underflow: ε times any value of the gradient before the link is subnormal.
        self.underflowed = after.norm == 0.0 && before.norm > 0.0 && before.norm < least::<T>();
        if before.norm > 0.0 {
            if after.norm == 0.0 {
                self.vanished_passes += 1;
            } else {
                self.decades.push(libm::log10(after.norm / before.norm));
            }
        }
        self.units.end(self.sup_slope.unwrap_or(1.0));
        true
    }

    /// Returns the number of values, over all rows of the last pass, of the gradient with respect to the output of
    /// this link (one factor of the chain rule).
    pub(super) fn gradients(&self) -> usize {
        self.parts[2].1
    }

    /// Returns the number of examples in the last backward pass. For an activation it is the number of rows, and for
    /// other factors of the chain rule the number of values.
    pub(crate) fn examples(&self) -> usize {
        self.gradients() / (self.units.sums.len() / 3).max(1)
    }

    /// The name of the link (one factor of the chain rule): the path of its layer, `3`, or this path and a part,
    /// `0.input`.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Returns the index of the link's name in the list of the network's link names. In this list, the names of a
    /// layer's own links, such as a residual's, precede those of the layers inside it.
    pub fn index(&self) -> usize {
        self.index
    }
    /// Returns the factor of the chain rule that the link applies, such as weights or an activation.
    pub fn factor(&self) -> Factor {
        self.factor
    }
    /// Whether this link (factor of the chain rule) is on the main path from loss to input, not in a parallel branch.
    pub fn on_main_path(&self) -> bool {
        self.on_main_path
    }
    /// Returns the name of the activation, if the factor is [`Factor::Activation`].
    pub fn activation(&self) -> Option<&'static str> {
        self.activation
    }
    /// Returns sup |φ′|, the largest slope of the activation φ; `None` if it is unknown or the statistics are those
    /// of another kind of layer.
    pub fn sup_slope(&self) -> Option<f64> {
        self.sup_slope
    }
    /// Returns the moments of log10 of the factor by which this link of the chain rule multiplies the norm of the
    /// gradient, over passes in which the gradient is not zero. Later passes have more weight.
    pub fn decades(&self) -> RunningMoments {
        self.decades
    }
    /// The norm of the gradient with respect to the output of this link (factor of the chain rule), in the last pass;
    /// 0 before the first.
    pub fn norm_in(&self) -> f64 {
        self.norm_in
    }
    /// The norm of the gradient with respect to the input of this link (factor of the chain rule), in the last pass;
    /// 0 before the first.
    pub fn norm_out(&self) -> f64 {
        self.norm_out
    }
    /// The number of passes in which this link (factor of the chain rule) reduced a gradient to exactly zero.
    pub fn vanished_passes(&self) -> u64 {
        self.vanished_passes
    }
    /// Whether this link (factor of the chain rule) reduced the gradient of the last pass to zero by underflow: the
    /// norm before it was below the smallest normal number divided by the machine epsilon.
    pub fn underflowed(&self) -> bool {
        self.underflowed
    }
    /// Returns the fraction of subnormal values in the gradient with respect to the input of this link (factor of the
    /// chain rule), in the last pass.
    pub fn subnormal(&self) -> f64 {
        self.subnormal
    }
    /// Returns the moments, over passes, of the root mean square of the output of this link (factor of the chain
    /// rule).
    pub fn output(&self) -> RunningMoments {
        self.output
    }
    /// Returns the moments, over passes, of the root mean square of the pre-activations. They have no values unless
    /// these are the statistics of an activation.
    pub fn input(&self) -> RunningMoments {
        self.input
    }
    /// Returns the mean cosine between the pre-activations of different samples, over up to 16 samples of the last
    /// pass at their first time step. `None` for a link (factor of the chain rule) that is no activation, for fewer
    /// than two samples, or if a row is zero or not finite.
    pub fn cosine(&self) -> Option<f64> {
        self.cosine
    }
    /// Returns the [cosine](Self::cosine) of the first monitored pass that has one; `None` before it.
    pub fn first_cosine(&self) -> Option<f64> {
        self.first_cosine
    }
    /// Returns the number of consecutive passes, up to the last, with a [cosine](Self::cosine) above 0.99.
    pub fn collapsed_passes(&self) -> u64 {
        self.collapsed_passes
    }
    /// Returns the mean slope |φ′| of the activation φ, over all units and over the examples of the current window
    /// whose gradient is large enough to compute φ′; 0 before the first. A window is at least 10 consecutive passes
    /// with at least 2,000 examples; each time step of a sequence is one.
    pub fn mean_slope(&self) -> f64 {
        self.units.slope
    }
    /// Returns the fraction of units whose mean slope |φ′| is below 5 % of sup |φ′|, over the passes of the current
    /// window so far. A window has at least 10 passes and 2,000 examples. 0 before the first backward pass, and for
    /// layers that are no activation.
    pub fn saturated(&self) -> f64 {
        self.units.saturated
    }
    /// Returns two fractions of the units in the first pass whose gradient is large enough to compute φ′. They are
    /// those saturated (mean slope below 5 % of the largest), and those that passed no gradient. `None` before that
    /// pass, and without an activation.
    pub fn at_first(&self) -> Option<[f64; 2]> {
        self.units.first.map(|[_, saturated, inactive]| [saturated, inactive])
    }
    /// Returns the number of units of the activation; 0 before the first backward pass, and for other kinds of
    /// layers.
    pub(crate) fn units(&self) -> usize {
        self.units.sums.len() / 3
    }
    /// Returns the root mean square of the output of this link (factor of the chain rule) in the first pass; `None`
    /// before it.
    pub(crate) fn first_output(&self) -> Option<f64> {
        self.first_output
    }
    /// Returns the mean slope |φ′| of the activation in the first pass whose gradient is large enough to compute
    /// φ′; `None` before that pass, and for other kinds of layers.
    pub fn first_slope(&self) -> Option<f64> {
        self.units.first.map(|[slope, ..]| slope)
    }
    /// Returns the fraction of units that passed no gradient for any example of the current window so far; a window
    /// has at least 10 passes and 2,000 examples. 0 before the first backward pass, and without an activation.
    pub fn inactive_fraction(&self) -> f64 {
        self.units.inactive_fraction
    }
    /// Returns the fraction of units that passed no gradient for any example of the last complete window. A window
    /// has at least 2,000 examples and 10 passes. `None` before the end of the first window, and for layers that are
    /// no activation.
    pub fn dead(&self) -> Option<f64> {
        self.units.dead
    }
}

/// The weight of the past in exponential means over passes: about 30 passes count.
const KEEP: f64 = 0.97;

fn root_mean_square(norm: f64, values: usize) -> f64 {
    norm / Float::sqrt(values.max(1) as f64)
}

/// Returns the smallest positive normal number of `T` divided by the machine epsilon ε of `T`. If a gradient has a
/// norm below it, ε times the gradient is subnormal.
fn least<T: Scalar>() -> f64 {
    to_f64(T::min_positive_value()) / to_f64(T::epsilon())
}

impl Units {
    fn size(&mut self, width: usize) {
        if self.sums.len() != 3 * width {
            *self = Units { sums: vec![0.0; 3 * width], ..Units::default() };
        }
    }

    /// Adds |φ′| of each unit to the sums, from the gradients with respect to the output, `dy`, and the input, `dx`,
    /// of the activation φ. They may be those of a whole pass, or of one segment of its time steps.
    fn add<T: Scalar>(&mut self, dy: &[T], dx: &[T]) {
        let width = self.sums.len() / 3;
        if width == 0 {
            return;
        }
        self.examples += (dx.len() / width) as f64;
        self.is_read = true;
        let (sums, rest) = self.sums.split_at_mut(width);
        let (counts, alive) = rest.split_at_mut(width);
        add_slopes(dy, dx, [sums, counts, alive]);
    }

    /// Ends a pass, and computes the mean slope and the fractions of saturated and inactive units, if the gradients
    /// were large enough to compute the slope φ′. `sup` is sup |φ′|.
    fn end(&mut self, sup: f64) {
        if !core::mem::take(&mut self.is_read) {
            return;
        }
        let width = self.sums.len() / 3;
        self.batches += 1;
        let (sums, rest) = self.sums.split_at_mut(width);
        let (counts, alive) = rest.split_at_mut(width);
        let share = |units: usize| units as f64 / width as f64;
        let counted: f64 = counts.iter().sum();
        self.slope = sums.iter().sum::<f64>() / counted.max(1.0);
        let low = sums.iter().zip(&*counts).filter(|(sum, count)| **count > 0.0 && **sum < SATURATED * sup * **count);
        self.saturated = share(low.count());
        self.inactive_fraction = share(alive.iter().filter(|alive| **alive == 0.0).count());
        self.first = self.first.or(Some([self.slope, self.saturated, self.inactive_fraction]));
        if self.batches >= BATCHES && self.examples >= EXAMPLES {
            self.dead = Some(self.inactive_fraction);
            (self.examples, self.batches) = (0.0, 0);
            self.sums.fill(0.0);
        }
    }
}
