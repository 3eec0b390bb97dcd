//! Mean-field theory of deep networks: variances of signals and gradients at each layer, from φ, σw² and σb².

use super::{
    moments::Moments,
    roots::{CERTAIN, crossings, difference},
};
use crate::{
    activation::AnyActivation,
    error::{Error, require},
    size::at_most,
};
use alloc::{vec, vec::Vec};
use core::{cmp::Ordering, iter};

/// A variance of pre-activations that a layer preserves: q* = σw² E φ(√q* z)² + σb², φ the activation, z
/// standard normal.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FixedPoint {
    /// q*, the variance of the pre-activations.
    pub variance: f64,
    /// The factor by which one layer multiplies a small deviation from q*: the slope of the variance map at q*,
    /// `σw² E (φ′² + φ φ″)`. φ is the activation, σw² the variance of a weight times the fan-in.
    pub slope: f64,
    /// Whether a small deviation from q* decays, stays or grows with depth.
    pub stability: Stability,
}

/// Whether a variance near a fixed point approaches it with depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stability {
    /// The variance approaches the fixed point.
    Stable,
    /// The variance does not change, as with ReLU and σw² = 2.
    Neutral,
    /// The variance moves away from the fixed point.
    Unstable,
}

/// Depth scales ξ: the number of layers over which a quantity decays by a factor e (Schoenholz et al. 2017).
///
/// ξ is infinite at criticality, and negative if the quantity grows.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct DepthScales {
    /// ξ_q, the number of layers over which a deviation of the variance from its fixed point q* decays by a factor e:
    /// `1/ξ_q = −ln |s|`, with s the [`slope`](FixedPoint::slope) of the variance map at q*.
    pub variance: f64,
    /// ξ_c, the number of layers over which a deviation of the correlation of two inputs from its limit c* decays by
    /// a factor e: `1/ξ_c = −ln(σw² E φ′(u₁) φ′(u₂))`. Here φ is the activation, σw² the variance of a weight times
    /// the fan-in, and u₁, u₂ are pre-activations of variance q* and correlation c*.
    pub correlation: f64,
    /// ξ_∇, the number of layers over which the squared norm of a gradient decays by a factor e:
    /// `1/ξ_∇ = −ln χ₁`, with χ₁ the value of [`MeanField::chi`] at q*. Negative if the gradient explodes.
    pub gradient: f64,
}

impl DepthScales {
    /// Returns 6 times the depth scale [`correlation`](Self::correlation), about the largest depth at which networks
    /// were trained (Schoenholz et al. 2017). Beyond it, the outputs for two inputs no longer depend on how the inputs
    /// are correlated.
    pub fn trainable_depth(&self) -> f64 {
        6.0 * self.correlation
    }
}

/// The predicted change of a gradient's norm in one layer of the backward pass, in decades (powers of ten).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PredictedLayer {
    /// q_l, the variance of the layer's pre-activations.
    pub variance: f64,
    /// A_l = ½ log10 E φ′(√q_l z)²: the change by the activation φ, in decades; z is standard normal.
    pub activation: f64,
    /// V_l = ½ log10 σw²: the change by the weights, in decades; σw² is the variance of a weight times the fan-in.
    pub weights: f64,
    /// 3 E φ′⁴/(E φ′²)² − 1, φ the activation. Divided by the layer's width, it is the layer's term in the variance
    /// of ln‖Ju‖² over random networks, J the Jacobian of the outputs with respect to one input, u any unit vector.
    pub spread: f64,
}

impl PredictedLayer {
    /// Returns the change of the gradient's norm by activation and weights together, in decades (powers of ten);
    /// negative if the norm shrinks.
    pub fn decades(&self) -> f64 {
        self.activation + self.weights
    }
}

/// Wide random layers in mean-field theory: `z_l = W φ(z_{l−1}) + b`, `W ~ N(0, σw²/fan in)`, `b ~ N(0, σb²)`
/// (Poole et al. 2016; Schoenholz et al. 2017).
///
/// The activation φ may be a built-in or a custom type, or an activation as data, from [`ActivationKind::as_any`].
///
/// ```
/// use chainrule::{activation::Tanh, mean_field::MeanField};
/// let field = MeanField::new(&Tanh, 1.3, 0.05)?;
/// let scales = field.depth_scales().unwrap();
/// assert!((scales.gradient - 7.83).abs() < 0.005); // vanishes: by a factor e in the square every 8 layers
/// assert!((field.decades(0.3, 50)? + 1.4).abs() < 0.05);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// [`ActivationKind::as_any`]: crate::activation::ActivationKind::as_any
#[derive(Clone, Debug)]
pub struct MeanField<'a> {
    moments: Moments<'a>,
    weight_variance: f64,
    bias_variance: f64,
}

impl<'a> MeanField<'a> {
    /// Creates layers with φ = `activation`, σw² = `weight_variance` and σb² = `bias_variance`.
    ///
    /// For any initializer σw² = fan in · Var W, which is 2 for He initialization.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a variance is negative or not finite.
    pub fn new(activation: &'a dyn AnyActivation, weight_variance: f64, bias_variance: f64) -> Result<Self, Error> {
        require_variance("mean field: weight variance", weight_variance)?;
        require_variance("mean field: bias variance", bias_variance)?;
        Ok(MeanField { moments: Moments::new(activation), weight_variance, bias_variance })
    }

    /// Returns σw², the variance of a weight times the fan-in.
    pub fn weight_variance(&self) -> f64 {
        self.weight_variance
    }

    /// Returns σb², the variance of a bias.
    pub fn bias_variance(&self) -> f64 {
        self.bias_variance
    }

    /// Applies the variance map `q′ = σw² E φ(√q z)² + σb²`, φ the activation and z standard normal: returns
    /// the variance of the next layer's pre-activations, given that of this layer's (Poole et al. 2016).
    ///
    /// # Errors
    /// [`Error::Parameter`] if `q` is negative or not finite.
    pub fn variance_map(&self, q: f64) -> Result<f64, Error> {
        require_variance("mean field: variance", q)?;
        Ok(self.next_variance(q))
    }

    /// `χ₁(q) = σw² E φ′(√q z)²`, φ the activation and z standard normal: the factor by which one layer
    /// multiplies the mean square of a gradient, given pre-activations of variance `q` (Schoenholz et al. 2017).
    ///
    /// # Errors
    /// [`Error::Parameter`] if `q` is negative or not finite.
    pub fn chi(&self, q: f64) -> Result<f64, Error> {
        require_variance("mean field: variance", q)?;
        Ok(self.gradient_gain(q))
    }

    /// Applies the correlation map: returns the correlation c′, in the next layer, of two inputs whose
    /// pre-activations u₁, u₂ have variance q and correlation c. `q′ c′ = σw² E φ(u₁) φ(u₂) + σb²`,
    /// with q′ the variance in the next layer (Poole et al. 2016).
    ///
    /// # Errors
    /// [`Error::Parameter`] if `q` is negative or not finite, or `c` is outside \[−1, 1\].
    pub fn correlation_map(&self, q: f64, c: f64) -> Result<f64, Error> {
        require_variance("mean field: variance", q)?;
        require((-1.0..=1.0).contains(&c), "mean field: correlation", "between −1 and 1", c)?;
        Ok(self.next_correlation(q, c))
    }

    /// All fixed points of the variance map, in increasing order; empty if the variance grows without bound.
    ///
    /// If every q is a fixed point (ReLU with σw² = 2 and no bias), the result is the one point q* = 1, which is
    /// neutral. Positive fixed points are sign changes of [`variance_map(q)`](Self::variance_map) − q on a grid, from
    /// 10⁻¹⁶ to 10¹⁶ times max(1, σw² + σb²).
    pub fn fixed_points(&self) -> Vec<FixedPoint> {
        let at_zero = self.next_variance(0.0);
        let highest = 1.0f64.max(self.weight_variance + self.bias_variance);
        match crossings(highest, |q| (self.next_variance(q), q)) {
            None => vec![self.fixed_point_at(1.0)],
            Some(crossings) => {
                let zero = (at_zero == 0.0).then_some(0.0);
                zero.into_iter().chain(crossings).map(|q| self.fixed_point_at(q)).collect()
            }
        }
    }

    /// The fixed point that the variance approaches with depth, starting at 1. `None` if it grows without bound or
    /// oscillates.
    pub fn fixed_point(&self) -> Option<FixedPoint> {
        let points = self.fixed_points();
        let reached = if difference(self.next_variance(1.0), 1.0) > 0.0 {
            points.iter().find(|point| point.variance >= 1.0)
        } else {
            points.iter().rfind(|point| point.variance <= 1.0 + CERTAIN)
        };
        reached.copied().filter(|point| point.stability != Stability::Unstable)
    }

    /// c*, the limit with depth of the correlation of two inputs, at the [`fixed_point`](Self::fixed_point) of their
    /// variance; `None` without a fixed point.
    ///
    /// If χ₁, the value of [`chi`](Self::chi) at that fixed point, is at most 1, c* is 1: all inputs become the
    /// same. Otherwise it is less than 1: nearby inputs separate, the chaotic phase (Poole et al. 2016). An activation
    /// that jumps separates inputs at any χ₁.
    pub fn fixed_correlation(&self) -> Option<f64> {
        self.fixed_point().map(|point| self.fixed_correlation_at(point.variance))
    }

    /// The depth scales at the [`fixed_point`](Self::fixed_point) of the variance; `None` without a fixed point.
    pub fn depth_scales(&self) -> Option<DepthScales> {
        let point = self.fixed_point()?;
        let (q, chi) = (point.variance, self.gradient_gain(point.variance));
        let correlation = match self.fixed_correlation_at(q) {
            1.0 => chi,
            c => self.weight_variance * self.moments.pair_slope(q, c),
        };
        Some(DepthScales {
            variance: depth_scale(point.slope.abs()),
            correlation: depth_scale(correlation),
            gradient: depth_scale(chi),
        })
    }

    /// Returns an infinite iterator over predictions for consecutive layers, the first with pre-activations of variance
    /// `q`.
    ///
    /// `q` may be measured, or computed as σw² times the mean square of the network's inputs, plus σb².
    ///
    /// # Errors
    /// [`Error::Parameter`] if `q` is negative or not finite.
    pub fn layers(&self, q: f64) -> Result<impl Iterator<Item = PredictedLayer> + use<'a, '_>, Error> {
        require_variance("mean field: variance", q)?;
        Ok(iter::successors(Some(self.layer(q)), |last| {
            let q = self.next_variance(last.variance).min(f64::MAX);
            Some(if q == last.variance { *last } else { self.layer(q) })
        }))
    }

    /// The change of a gradient's norm through `depth` layers, in decades (powers of ten), negative if it shrinks:
    /// `½ Σ log10 χ₁(q_l)`. Here χ₁ is the function [`chi`](Self::chi), and q_l the variance of the pre-activations of
    /// layer l.
    ///
    /// `q` is the variance of the pre-activations of the first layer.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `q` is negative or not finite. [`Error::TooLarge`] if more than 2¹² layers have
    /// different variances.
    pub fn decades(&self, q: f64, depth: usize) -> Result<f64, Error> {
        let (mut sum, mut last) = (0.0, None);
        for (i, layer) in self.layers(q)?.take(depth).enumerate() {
            let each = layer.decades();
            // The variance has converged: the remaining layers all contribute `each`.
            if last == Some(layer.variance) {
                let left = depth - i;
                let added = left.min(MOST_LAYERS);
                return Ok((0..added).fold(sum, |sum, _| sum + each) + (left - added) as f64 * each);
            }
            if i == MOST_LAYERS {
                at_most("mean field: layers that differ", depth, MOST_LAYERS)?;
            }
            sum += each;
            last = Some(layer.variance);
        }
        Ok(sum)
    }

    /// β, the variance of ln‖Ju‖² over random networks whose layers have `widths` units, J the Jacobian of the
    /// outputs with respect to one input, u any unit vector. `q` is the variance of the pre-activations of the first
    /// layer.
    ///
    /// ln‖Ju‖² is distributed about as N(−β/2, β) (Hanin & Nica 2018). If β is above 1, random variation decides
    /// whether a gradient vanishes in a given network.
    ///
    /// `β = Σ_l (3 E φ′⁴/(E φ′²)² − 1)/n_l`, φ the activation, n_l the width of layer l: 5 Σ 1/n for ReLU and 2 Σ 1/n
    /// without activations, as in the paper. Each term is the relative variance of Σ_i φ′(z_i)² (W u)_i², the
    /// pre-activations z and W u independent. For activations other than ReLU, random deviations of the variance from
    /// q_l increase β; they are not included.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `q` is negative or not finite, or a width is 0.
    pub fn lottery(&self, q: f64, widths: &[usize]) -> Result<f64, Error> {
        let mut beta = 0.0;
        for (layer, &width) in self.layers(q)?.zip(widths) {
            require(width > 0, "mean field: width", "at least 1", width as f64)?;
            beta += layer.spread / width as f64;
        }
        Ok(beta)
    }

    pub(super) fn fixed_point_at(&self, variance: f64) -> FixedPoint {
        let slope = self.weight_variance * self.moments.square_slope(variance);
        // If the slope is 1, the fixed point is stable if the map decreases a variance slightly above it.
        let above = 1e-4 + 1.01 * variance;
        let departure = match slope.abs() - 1.0 {
            departure if departure.abs() > INDIFFERENT => departure,
            _ => difference(self.next_variance(above), above),
        };
        let stability = match difference(departure + 1.0, 1.0).total_cmp(&0.0) {
            Ordering::Less => Stability::Stable,
            Ordering::Equal => Stability::Neutral,
            Ordering::Greater => Stability::Unstable,
        };
        FixedPoint { variance, slope, stability }
    }

    fn next_variance(&self, q: f64) -> f64 {
        self.weight_variance * self.moments.square(q) + self.bias_variance
    }

    fn gradient_gain(&self, q: f64) -> f64 {
        self.weight_variance * self.moments.derivative_square(q)
    }

    pub(super) fn next_correlation(&self, q: f64, c: f64) -> f64 {
        let next = |moment: f64| self.weight_variance * moment + self.bias_variance;
        next(self.moments.pair(q, c)) / next(self.moments.pair(q, 1.0))
    }

    /// Returns the slope of the correlation map, `dc′/dc = q σw² E φ′(u₁) φ′(u₂) / q′`. Here u₁ and
    /// u₂ are pre-activations of variance `q` and correlation `c`; c′ and q′ are correlation and variance in the
    /// next layer.
    fn correlation_slope(&self, q: f64, c: f64) -> f64 {
        q * self.weight_variance * self.moments.pair_slope(q, c) / self.next_variance(q)
    }

    /// Computes c*, the limit with depth of the correlation of two inputs with pre-activations of variance `q`, by
    /// Newton's method from c = 0. The map is a power series in c with non-negative coefficients (Mehler's formula), so
    /// it is convex on \[0, 1\]. Hence the iterates approach the first fixed point from below.
    fn fixed_correlation_at(&self, q: f64) -> f64 {
        if self.gradient_gain(q) <= 1.0 + INDIFFERENT && !self.moments.jumps() {
            return 1.0;
        }
        let mut c = 0.0;
        for _ in 0..100 {
            let step = (self.next_correlation(q, c) - c) / (1.0 - self.correlation_slope(q, c));
            c = (c + step).clamp(0.0, 1.0);
            // Exact iterates rise to c*. A step downward, or within the quadrature error, shows that c has converged.
            if step.is_nan() || step <= CERTAIN {
                break;
            }
        }
        c
    }

    fn layer(&self, q: f64) -> PredictedLayer {
        let square = self.moments.derivative_square(q);
        PredictedLayer {
            variance: q,
            activation: 0.5 * libm::log10(square),
            weights: 0.5 * libm::log10(self.weight_variance),
            spread: 3.0 * self.moments.derivative_fourth(q) / (square * square) - 1.0,
        }
    }
}

/// Maximum number of layers with different variances that are evaluated; more are an error.
const MOST_LAYERS: usize = 1 << 12;
/// The factor by which a layer multiplies a variance or a squared gradient norm counts as 1 if it is this near to 1.
/// The limit is larger than [`CERTAIN`], because a fixed point with a slope near 1 is less accurate than an integral.
const INDIFFERENT: f64 = 1e-9;

pub(super) fn require_variance(what: &'static str, variance: f64) -> Result<(), Error> {
    require(variance.is_finite() && variance >= 0.0, what, "finite and at least 0", variance)
}

/// Returns the depth scale ξ = −1/ln rate, for a quantity that each layer multiplies by `rate`; negative for a rate
/// above 1, infinite if it is within [`INDIFFERENT`] of 1.
fn depth_scale(rate: f64) -> f64 {
    if (rate - 1.0).abs() <= INDIFFERENT { f64::INFINITY } else { -1.0 / libm::log(rate) }
}
