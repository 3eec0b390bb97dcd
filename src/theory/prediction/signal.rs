//! Statistics of the values between two layers, the effect of layers on them, and depth scales.

use crate::{
    activation::ActivationKind,
    error::Error,
    mean_field::MeanField,
    monitor::{Factor, Shares},
    theory::sample::Spread,
};
use alloc::vec::Vec;

/// Statistics of the values between two layers, over the units of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signal {
    pub spread: Spread,
    /// Whether the values count as normally distributed, like sums over many independent weights.
    pub normal: bool,
    /// The mean product of a unit's values in two different rows; `None` if unknown. The variance of a unit over the
    /// rows of a batch is its mean square minus this product.
    pub common: Option<f64>,
}

impl Signal {
    pub fn variance(&self) -> f64 {
        (self.spread.square - self.spread.mean * self.spread.mean).max(0.0)
    }
}

/// The combined effect of consecutive layers on the values of the forward pass and on the gradient.
pub(super) struct Effect {
    /// Statistics of the values after the layers; `None` if unknown.
    pub signal: Option<Signal>,
    /// For each kind of link (factor of the chain rule), log10 of the factor by which the links of this kind on the
    /// main path multiply the gradient's norm; `None` if one link is unknown.
    pub shares: Option<Shares>,
    /// The sum of the layers' terms in β, the variance over random networks of the log of one input's squared gradient
    /// norm.
    pub beta: f64,
    /// Whether the output is uncorrelated with the input over draws of the weights. If so, the variances of input and
    /// output add up in a residual sum.
    pub mixes: bool,
}

/// The depth scales ξ_c of the layers of a network that has only weights and activations. ξ_c is the number of layers
/// over which the correlation of two inputs approaches its limit by a factor e.
#[derive(Default)]
pub(super) struct Scales {
    /// `[fan in · Var W, Var b]` of the last weights; `None` if no weights precede the next activation, or the mean of
    /// the bias is not 0.
    pub weights: Option<[f64; 2]>,
    /// The number of pairs of weights and an activation among the layers that the prediction has read.
    pub layers: usize,
    /// Σ 1/ξ_c over the layers; ξ_c is the number of layers over which a correlation approaches its limit by a
    /// factor e. `None` before the first layer, or if a layer has no ξ_c.
    pub inverse: Option<f64>,
    /// Each activation that the prediction has read, the variances `[fan in · Var W, Var b]` of the weights and
    /// biases before it, and 1/ξ_c of the pair of weights and activation. ξ_c is the number of layers over which the
    /// correlation of two inputs approaches its limit by a factor e; `None` if the pair has no ξ_c.
    pub seen: Vec<(ActivationKind, [f64; 2], Option<f64>)>,
    /// Whether the layers that the prediction has read include one without a depth scale ξ_c. It is an activation
    /// that does not follow weights with biases of mean 0, or for which the variance has no fixed point. It can also
    /// be a layer such as a norm, dropout or a residual block.
    pub lost: bool,
}

impl Scales {
    pub fn add(&mut self, activation: &ActivationKind, plain: bool) -> Result<(), Error> {
        let Some(weights) = self.weights.take().filter(|_| plain) else {
            self.lose();
            return Ok(());
        };
        let known = self.seen.iter().find(|(seen, w, _)| *w == weights && seen == activation).map(|seen| seen.2);
        let scale = match known {
            Some(scale) => scale,
            None => {
                let [weight, bias] = weights;
                let scales = MeanField::new(activation.as_any(), weight, bias)?.depth_scales();
                let scale = scales.map(|scales| 1.0 / scales.correlation);
                self.seen.push((activation.clone(), weights, scale));
                scale
            }
        };
        self.layers += 1;
        match scale {
            Some(scale) if !self.lost => self.inverse = Some(self.inverse.unwrap_or(0.0) + scale.max(0.0)),
            _ => self.lose(),
        }
        Ok(())
    }

    pub fn lose(&mut self) {
        (self.lost, self.inverse) = (true, None);
    }
}

pub(super) fn not_normal(spread: Spread) -> Signal {
    Signal { spread, normal: false, common: None }
}

pub(super) fn share(factor: Factor, decades: f64) -> Shares {
    let mut shares = Shares::default();
    match factor {
        Factor::Weights => shares.weights = decades,
        Factor::Activation => shares.activation = decades,
        Factor::Addition => shares.addition = decades,
        Factor::Other => shares.other = decades,
    }
    shares
}

pub(super) fn sum(a: Shares, b: Shares) -> Shares {
    Shares {
        weights: a.weights + b.weights,
        activation: a.activation + b.activation,
        addition: a.addition + b.addition,
        other: a.other + b.other,
    }
}
