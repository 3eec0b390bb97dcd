//! One gate of a cell over many passes.

use super::RunningMoments;
use crate::{
    block::Gate,
    monitor::Link,
    scalar::{Scalar, to_f64},
};
use alloc::string::String;

/// The largest number of time steps of a sequence, evenly spaced, at which gates are measured.
pub(super) const STEPS: usize = 8;
/// The largest number of a gate's values at one time step, evenly spaced over examples and units, that are measured.
const VALUES: usize = 256;

/// The moments, over time steps and passes, of a gate's values and of the slopes of its activation.
#[derive(Clone, Debug)]
pub struct GateStatistics {
    layer: String,
    gate: Gate,
    opening: RunningMoments,
    slope: RunningMoments,
    saturated: RunningMoments,
}

impl GateStatistics {
    pub(super) fn new(link: &str, gate: Gate) -> Self {
        let [opening, slope, saturated] = [RunningMoments::forgetting(0.99); 3];
        GateStatistics { layer: super::state::layer_of(link).into(), gate, opening, slope, saturated }
    }

    pub(super) fn is(&self, link: &str, gate: Gate) -> bool {
        self.gate == gate && self.layer == super::state::layer_of(link)
    }

    pub(super) fn push<T: Scalar>(&mut self, at: &Link<'_>, z: &[T], y: &[T]) {
        let Some(activation) = at.activation else { return };
        let sup = activation.bounds().map_or(1.0, |bounds| bounds.magnitude());
        let (mut opening, mut slope, mut low, mut count) = (0.0, 0.0, 0.0, 0.0);
        for (&z, &y) in z.iter().zip(y).step_by(z.len().div_ceil(VALUES).max(1)) {
            let share = activation.derivative_at(to_f64(z)).abs() / sup;
            opening += to_f64(y);
            slope += share;
            low += if share < 0.05 { 1.0 } else { 0.0 };
            count += 1.0;
        }
        if count > 0.0 {
            self.opening.push(opening / count);
            self.slope.push(slope / count);
            self.saturated.push(low / count);
        }
    }

    /// Returns the path of the layer to which the gate belongs.
    pub fn layer(&self) -> &str {
        &self.layer
    }
    /// Returns the gate that the statistics describe.
    pub fn gate(&self) -> Gate {
        self.gate
    }
    /// Returns the moments, over time steps and passes, of the gate's value (after its activation), averaged at each
    /// measured time step over at most 256 of its units and examples. Up to 8 time steps of a sequence are measured.
    pub fn opening(&self) -> RunningMoments {
        self.opening
    }
    /// Returns the moments, over time steps and passes, of |φ′| / sup |φ′| of the gate's activation φ, averaged at
    /// each measured time step over at most 256 of its units and examples. sup |φ′| counts as 1 if it is unknown.
    pub fn slope(&self) -> RunningMoments {
        self.slope
    }
    /// Returns the moments, over time steps and passes, of the fraction of the gate's values, at each measured step,
    /// for which the slope |φ′| of its activation φ is below 5 % of sup |φ′|. An unknown sup |φ′| counts as
    /// 1.
    pub fn saturated(&self) -> RunningMoments {
        self.saturated
    }
}
