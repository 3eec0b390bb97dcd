//! Critical initialization (the edge of chaos): variances for which the norm of a gradient does not change with depth.

use super::{
    FixedPoint, MeanField, Stability,
    moments::Moments,
    recursion::require_variance,
    roots::{crossings, difference},
};
use crate::{
    activation::AnyActivation,
    error::{Error, require},
};
use alloc::{vec, vec::Vec};

/// Variances of weights and biases for which the norm of a gradient does not change with depth: χ₁(q*) = 1. χ₁(q)
/// is the factor by which a layer with pre-activations of variance q multiplies the mean square of a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CriticalPoint {
    /// σw², the variance of a weight times the fan-in.
    pub weight_variance: f64,
    /// σb², the variance of a bias.
    pub bias_variance: f64,
    /// The fixed point q* of the variance of pre-activations, at which χ₁(q*) = 1.
    pub fixed_point: FixedPoint,
    /// c′(0) = (σw² (E φ)² + σb²)/q*: the correlation, after one layer with the activation φ, of two
    /// uncorrelated inputs.
    pub alikeness: f64,
}

/// The largest correlation, after one layer, of two uncorrelated inputs at which a [`CriticalPoint`] is usable.
const MOST_ALIKE: f64 = 0.5;
/// The largest magnitude, at which a [`CriticalPoint`] is usable, of the factor by which one layer multiplies a small
/// deviation from the fixed point q* of the variance. At 1.2, the deviation grows by a factor e in 1/ln 1.2 = 5.5
/// layers.
const MOST_SLOPE: f64 = 1.2;

impl CriticalPoint {
    /// Returns the critical point at which the pre-activations keep the variance `q`: σw² = 1/E φ′(√q z)² and
    /// σb² = q − σw² E φ(√q z)², with φ the `activation` and z standard normal. `None` if σb² would be
    /// negative or σw² infinite.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `q` is negative or not finite.
    pub fn at(activation: &dyn AnyActivation, q: f64) -> Result<Option<Self>, Error> {
        require_variance("critical point: variance", q)?;
        let moments = Moments::new(activation);
        let weight_variance = 1.0 / moments.derivative_square(q);
        let bias_variance = match difference(q, weight_variance * moments.square(q)) {
            0.0 => 0.0,
            share => share * q,
        };
        if !(weight_variance.is_finite() && bias_variance >= 0.0) {
            return Ok(None);
        }
        let field = MeanField::new(activation, weight_variance, bias_variance)?;
        let (fixed_point, alikeness) = (field.fixed_point_at(q), field.next_correlation(q, 0.0));
        Ok(Some(CriticalPoint { weight_variance, bias_variance, fixed_point, alikeness }))
    }

    /// All critical points of `activation` with σb² = `bias_variance`, in increasing order of q*, the variance of
    /// pre-activations that a layer keeps.
    ///
    /// If every q is a fixed point and critical (ReLU without bias), the result is the one point with q* = 1.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `bias_variance` is negative or not finite.
    pub fn all(activation: &dyn AnyActivation, bias_variance: f64) -> Result<Vec<Self>, Error> {
        require_variance("critical point: bias variance", bias_variance)?;
        let moments = Moments::new(activation);
        let needed = |q: f64| moments.square(q) / moments.derivative_square(q) + bias_variance;
        let roots = match crossings(1.0f64.max(bias_variance), |q| (q, needed(q))) {
            None => vec![1.0],
            Some(roots) => (needed(0.0) == 0.0).then_some(0.0).into_iter().chain(roots).collect(),
        };
        let point = |q| Ok(Self::at(activation, q)?.map(|point| CriticalPoint { bias_variance, ..point }));
        roots.into_iter().filter_map(|q| point(q).transpose()).collect()
    }

    /// Whether training can start with these variances. The correlation of two uncorrelated inputs must be at most 0.5
    /// after one layer. One layer may multiply a small deviation of the variance from its fixed point q* by at most 1.2
    /// in magnitude. A fixed point q* = 0 must not be unstable.
    ///
    /// A factor slightly above 1 is allowed: for GELU, a deviation of the variance from q* grows by 7 % per layer. Both
    /// thresholds are this crate's choice.
    pub fn is_usable(&self) -> bool {
        let FixedPoint { variance, slope, stability } = self.fixed_point;
        let runs_away = slope.abs() > MOST_SLOPE || (variance == 0.0 && stability == Stability::Unstable);
        !runs_away && self.alikeness <= MOST_ALIKE
    }
}

/// The smallest weight variance σw² of all [usable](CriticalPoint::is_usable) critical points of `activation` with
/// σb² = `bias_variance`; `None` without one.
///
/// For sigmoid without bias, χ₁ = 1 only at σw² ≈ 103. With such large weights, the positive mean of sigmoid
/// makes uncorrelated inputs strongly correlated after one layer. The fix is an activation of mean 0 such as tanh,
/// not larger weights.
///
/// ```
/// use chainrule::{activation::{Sigmoid, Tanh}, mean_field::critical_weight_variance};
/// assert!((critical_weight_variance(&Tanh, 0.05)?.unwrap() - 1.760955).abs() < 1e-6);
/// assert_eq!(critical_weight_variance(&Sigmoid, 0.0)?, None);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] if `bias_variance` is negative or not finite.
pub fn critical_weight_variance(activation: &dyn AnyActivation, bias_variance: f64) -> Result<Option<f64>, Error> {
    let points = CriticalPoint::all(activation, bias_variance)?;
    let usable = points.iter().filter(|point| point.is_usable()).map(|point| point.weight_variance);
    Ok(usable.reduce(f64::min))
}

/// Returns the gain σw, the standard deviation of a weight times √(fan in), for which a layer without bias keeps the
/// variance `q` of its pre-activations: `√(q / E φ(√q z)²)`, φ the `activation`, z standard normal.
///
/// For ReLU the gain is √2 at any q, as in He et al. (2015). The gain is infinite if φ is 0 everywhere.
///
/// # Errors
/// [`Error::Parameter`] unless `q` is finite and above 0.
pub fn forward_gain(activation: &dyn AnyActivation, q: f64) -> Result<f64, Error> {
    require(q.is_finite() && q > 0.0, "gain: variance", "finite and above 0", q)?;
    Ok(libm::sqrt(q / Moments::new(activation).square(q)))
}

/// Returns the gain σw, the standard deviation of a weight times √(fan in), for which a layer keeps the norm of a
/// gradient, given pre-activations of variance `q`: `1/√E φ′(√q z)²`, φ the `activation`, z standard normal.
/// Then `σw² E φ′²`, the factor on the mean square of a gradient, is 1.
///
/// ```
/// use chainrule::{activation::Tanh, mean_field::backward_gain};
/// assert!((backward_gain(&Tanh, 1.0)? - 1.46741).abs() < 5e-6); // PyTorch's gain 5/3 makes gradients explode
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] unless `q` is finite and above 0.
pub fn backward_gain(activation: &dyn AnyActivation, q: f64) -> Result<f64, Error> {
    require(q.is_finite() && q > 0.0, "gain: variance", "finite and above 0", q)?;
    Ok(1.0 / libm::sqrt(Moments::new(activation).derivative_square(q)))
}
