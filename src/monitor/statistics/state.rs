//! Statistics of the gradient with respect to a recurrent layer's state, from time step to time step.

use super::RunningMoments;
use crate::monitor::{
    Factor,
    history::{KEPT, Thinning, halve},
};
use alloc::{string::String, vec::Vec};

/// Returns the path of the layer to which the link `name` belongs: the part before the last dot, such as `0` for
/// `0.recurrent`, or the whole `name` if it has no dot.
pub(super) fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer)
}

/// The change of the norm of a recurrent layer's state gradient per time step, in decades (powers of ten), averaged
/// over time steps and passes, and how much of it weights and activations contribute.
///
/// A gradient that is added at a time step, by a loss there or by the layers above, does not count. Only the gradient
/// that a time step receives from the next one is compared.
#[derive(Clone, Debug)]
pub struct StateStatistics {
    name: String,
    /// The sums, over the time steps of the current pass, of log10 of the factors on the gradient's norm: first by
    /// weights, then by activations and gates, then by all others except additions.
    sums: [f64; 3],
    /// The number of time steps in the sums of log10 of the factors on the gradient's norm.
    steps: usize,
    /// The time step at which the gradient became exactly zero in the current pass, if it did.
    zero: Option<usize>,
    newest: usize,
    /// The last time step of the sequence at which the state gradient of the current pass is not zero.
    from: usize,
    /// Whether a gradient of the current pass is not zero.
    has_gradient: bool,
    last_step: Option<usize>,
    weights: RunningMoments,
    activation: RunningMoments,
    per_step: RunningMoments,
    sequence: usize,
    reach: usize,
    vanished_step: Option<usize>,
    /// Time steps of the last pass, from the last to the first, each with the norm of the state gradient. [`Thinning`]
    /// decides which of them are kept.
    norms: Vec<(usize, f64)>,
    thinning: Thinning,
}

impl StateStatistics {
    pub(super) fn new(name: &str) -> Self {
        let mean = RunningMoments::forgetting(0.97);
        StateStatistics {
            name: name.into(),
            sums: [0.0; 3],
            steps: 0,
            zero: None,
            newest: 0,
            from: 0,
            has_gradient: false,
            last_step: None,
            weights: mean,
            activation: mean,
            per_step: mean,
            sequence: 0,
            reach: 0,
            vanished_step: None,
            norms: Vec::with_capacity(KEPT),
            thinning: Thinning::default(),
        }
    }

    /// Receives the norm of the state gradient at the time step `step`. A pass reports its time steps from the last
    /// to the first. A `step` that is not below the previous one begins a new pass.
    fn keep(&mut self, step: usize, norm: f64) {
        if self.norms.last().is_some_and(|&(last, _)| step >= last) {
            self.norms.clear();
            self.thinning = Thinning::default();
        }
        if self.thinning.keeps(self.norms.len(), || halve(&mut self.norms)) {
            self.norms.push((step, norm));
        }
    }

    pub(super) fn backward(&mut self, factor: Factor, step: usize, before: f64, after: f64) {
        self.newest = self.newest.max(step);
        if before.max(after) > 0.0 {
            self.has_gradient = true;
            self.from = self.from.max(step);
        }
        if factor == Factor::Addition {
            return self.keep(step, after);
        }
        if before == 0.0 {
            return;
        }
        if after == 0.0 {
            self.zero = self.zero.or(Some(step));
            return;
        }
        let decades = libm::log10(after / before);
        if decades.is_finite() {
            self.sums[match factor {
                Factor::Weights => 0,
                Factor::Activation => 1,
                _ => 2,
            }] += decades;
            if self.last_step != Some(step) {
                self.steps += 1;
                self.last_step = Some(step);
            }
        }
    }

    /// Ends a backward pass: the means, over its time steps, of log10 of the factors on the gradient's norm are added
    /// to the moments over passes.
    pub(super) fn end(&mut self) {
        // A gradient that enters at the first time step is not carried to an earlier one.
        if self.steps > 0 && self.from > 0 {
            let steps = self.steps as f64;
            self.weights.push(self.sums[0] / steps);
            self.activation.push(self.sums[1] / steps);
            self.per_step.push(self.sums.iter().sum::<f64>() / steps);
        }
        self.sequence = self.newest.saturating_add(1);
        if self.has_gradient {
            self.reach = self.from;
        }
        self.vanished_step = self.zero;
        (self.sums, self.steps, self.zero, self.last_step) = ([0.0; 3], 0, None, None);
        (self.newest, self.from, self.has_gradient) = (0, 0, false);
    }

    /// The path of the recurrent layer in the network.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Returns the moments, over passes, of the decades of the state gradient per time step: the mean, over the time
    /// steps of a pass, of log10 of the factor on its norm. Later passes have more weight.
    pub fn per_step(&self) -> RunningMoments {
        self.per_step
    }
    /// Returns the moments, over passes, of the decades per time step that the weights add to
    /// [`per_step`](Self::per_step).
    pub fn weights(&self) -> RunningMoments {
        self.weights
    }
    /// Returns the moments, over passes, of the decades per time step that activations and gates add to
    /// [`per_step`](Self::per_step).
    pub fn activation(&self) -> RunningMoments {
        self.activation
    }
    /// Returns the number of time steps over which the norm of the state gradient shrinks tenfold: −1 divided by the
    /// mean of [`per_step`](Self::per_step). It is negative if the gradient grows, and infinite if the gradient does
    /// not change or no pass had a gradient.
    pub fn horizon(&self) -> f64 {
        -1.0 / self.per_step.mean()
    }
    /// Returns the number of time steps of the last pass; 0 before the first.
    pub fn sequence(&self) -> usize {
        self.sequence
    }
    /// Returns the number of time steps from the last one that has a state gradient back to the first one of the
    /// sequence, in the last pass with a gradient. It is 0 for the backward direction of a
    /// [`Bidirectional`](crate::recurrent::Bidirectional) layer that precedes a [`LastStep`](crate::layer::LastStep).
    pub fn reach(&self) -> usize {
        self.reach
    }
    /// Returns the time step at which the state gradient of the last pass, going back in time, first became exactly
    /// zero; `None` if it did not.
    pub fn vanished_step(&self) -> Option<usize> {
        self.vanished_step
    }
    /// Returns time steps of the last pass, from the last to the first, each with the norm of the state gradient.
    /// They are every k-th time step, k being the smallest power of two that keeps at most 128.
    pub fn norms(&self) -> &[(usize, f64)] {
        &self.norms
    }
}
