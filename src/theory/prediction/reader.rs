//! Reads a layer spec layer by layer, and predicts the change of the gradient by formula or from passes of random
//! networks.

use super::{
    PredictedLink, PredictionSource,
    shifted::Shifted,
    signal::{Effect, Scales, Signal, not_normal, share, sum},
};
use crate::{
    activation::{AnyActivation, LeakyRelu},
    block::Role,
    error::Error,
    initializer::{Initializer, InitializerKind, Shape},
    layer::{Dropout, LayerSpec, Linear, PRelu, join},
    mean_field::moments::Moments,
    monitor::{Factor, Shares},
    theory::sample::{Sample, Spread},
};
use alloc::{string::ToString, vec::Vec};

/// The state of a prediction while it reads a layer spec, layer by layer.
pub(super) struct Reader<'a> {
    /// Runs passes of random networks and returns their statistics; `None` if the layer spec has a custom layer that
    /// cannot be built.
    pub draw: &'a dyn Fn() -> Result<Option<Sample>, Error>,
    /// The statistics of the random networks that `draw` has returned; `None` before the first layer without a
    /// formula, `Some(None)` if the layer spec cannot be built.
    pub sample: Option<Option<Sample>>,
    /// The predicted links (factors of the chain rule) in the order of the forward pass.
    pub links: Vec<PredictedLink>,
    /// The depth scales ξ_c (numbers of layers over which correlations approach their limit) of the layers that the
    /// prediction has read.
    pub scales: Scales,
    /// The number of time steps of a sequence at the output of the layers that the prediction has read.
    pub steps: usize,
}

impl Reader<'_> {
    pub(super) fn sample(&mut self) -> Result<Option<&mut Sample>, Error> {
        if self.sample.is_none() {
            self.sample = Some((self.draw)()?);
        }
        Ok(self.sample.as_mut().and_then(Option::as_mut))
    }

    pub(super) fn read(&mut self, node: &LayerSpec, path: &str, signal: Option<Signal>) -> Result<Effect, Error> {
        match node {
            LayerSpec::Sequential { layers, .. } => {
                let mut all = Effect { signal, shares: Some(Shares::default()), beta: 0.0, mixes: false };
                for (i, layer) in layers.iter().enumerate() {
                    let next = self.read(layer, &join(path, &i.to_string()), all.signal)?;
                    all.signal = next.signal;
                    all.shares = all.shares.zip(next.shares).map(|(a, b)| sum(a, b));
                    all.beta += next.beta;
                    all.mixes |= next.mixes;
                }
                Ok(all)
            }
            LayerSpec::Linear(Linear { inputs, outputs, weights, bias }) => {
                self.linear(node, path, signal, [*inputs, *outputs], weights, bias.as_ref())
            }
            LayerSpec::ActivationLayer { width, activation } => {
                self.scales.add(activation, !path.contains('.'))?;
                self.activation(node, path, signal, *width, activation.as_any())
            }
            LayerSpec::PRelu(PRelu { width, initial, .. }) => {
                self.scales.lose();
                self.activation(node, path, signal, *width, &LeakyRelu::new(*initial)?)
            }
            LayerSpec::LayerNorm(norm) => Ok(self.norm(node, path, signal, norm.width, norm.epsilon, true)),
            LayerSpec::RmsNorm(norm) => Ok(self.norm(node, path, signal, norm.width, norm.epsilon, false)),
            LayerSpec::GroupNorm(norm) => Ok(self.norm(node, path, signal, norm.size(), norm.epsilon, true)),
            LayerSpec::Embedding(embedding) => {
                self.scales.lose();
                // The gradient ends at the embedding's table: indices have no gradient.
                let spread = |(mean, variance)| Spread { mean, square: variance + mean * mean };
                let common = |mean: f64| signal.and_then(|signal| signal.common).map(|_| mean * mean);
                let moments = embedding.moments();
                let after = moments.map(|of| Signal { spread: spread(of), normal: true, common: common(of.0) });
                Ok(self.formula(node, path, Factor::Weights, [signal, after], Some(f64::NEG_INFINITY), 0.0))
            }
            LayerSpec::BatchNorm(norm) => self.batch_norm(node, path, signal, norm.epsilon),
            LayerSpec::Dropout(Dropout { rate, .. }) => {
                self.scales.lose();
                let keep = 1.0 - rate;
                let after = signal.map(|before| Signal {
                    spread: Spread { square: before.spread.square / keep, ..before.spread },
                    normal: before.normal && *rate == 0.0,
                    ..before
                });
                Ok(self.formula(node, path, Factor::Other, [signal, after], Some(-0.5 * libm::log10(keep)), 0.0))
            }
            LayerSpec::LastStep(_) => {
                self.steps = 1;
                Ok(self.formula(node, path, Factor::Other, [signal, signal], Some(0.0), 0.0))
            }
            LayerSpec::MeanOverSteps(_) if self.steps == 1 => {
                Ok(self.formula(node, path, Factor::Other, [signal, signal], Some(0.0), 0.0))
            }
            LayerSpec::MeanOverSteps(_) => {
                // The layer spec does not show how time steps are correlated, so the output is sampled.
                let decades = -0.5 * libm::log10(self.steps as f64);
                self.steps = 1;
                let after = self.sample()?.and_then(|sample| sample.output(path)).map(not_normal);
                Ok(self.formula(node, path, Factor::Other, [signal, after], Some(decades), 0.0))
            }
            LayerSpec::Residual { branch, scale } => self.residual(node, path, signal, branch, *scale),
            _ => self.sampled(node, path, signal),
        }
    }

    /// Predicts a linear layer: the change `V = ½ log10 σw²` of the gradient, and the mean square
    /// `q = σw² m + σb²` of the output. `σw² = fan in · Var W`, σb² is the mean square of the bias, and m that
    /// of the input, which `signal` describes. Without `signal` only V is known. The layer is sampled if the
    /// weights have a nonzero mean, or if their variance or a moment of the bias is not known.
    pub(super) fn linear(
        &mut self,
        node: &LayerSpec,
        path: &str,
        signal: Option<Signal>,
        [inputs, outputs]: [usize; 2],
        weights: &InitializerKind,
        bias: Option<&InitializerKind>,
    ) -> Result<Effect, Error> {
        let shape = Shape::new(outputs, inputs, Role::Weight);
        let of_bias = |bias: &InitializerKind| {
            let shape = Shape::new(outputs, 1, Role::Bias);
            bias.mean(shape).zip(bias.variance(shape))
        };
        let bias = bias.map_or(Some((0.0, 0.0)), of_bias);
        let variance = weights.variance(shape).filter(|_| weights.mean(shape) == Some(0.0));
        let (Some(variance), Some((bias_mean, bias_variance))) = (variance, bias) else {
            return self.sampled(node, path, signal);
        };
        let weight_variance = inputs as f64 * variance;
        self.scales.weights = Some([weight_variance, bias_variance]).filter(|_| bias_mean == 0.0);
        let after = signal.map(|Signal { spread, common, .. }| {
            let of_bias = bias_variance + bias_mean * bias_mean;
            let sum = |mean_product: f64| weight_variance * mean_product + of_bias;
            let spread = Spread { mean: bias_mean, square: sum(spread.square) };
            Signal { spread, normal: true, common: common.map(sum) }
        });
        // The columns of Wᵀ are orthogonal: it keeps the norm of every gradient.
        let kept = weights.orthogonal_gain(shape).is_some() && inputs >= outputs;
        let beta = if kept { 0.0 } else { 2.0 / inputs as f64 };
        let decades = 0.5 * libm::log10(weight_variance);
        let effect = self.formula(node, path, Factor::Weights, [signal, after], Some(decades), beta);
        Ok(Effect { mixes: true, ..effect })
    }

    /// Predicts an activation φ: the change `A = ½ log10 E φ′(u)²` of the gradient, u normal with the mean and the
    /// variance of the input, which `signal` describes. The activation is sampled if its input is not normal or has
    /// no finite mean square. Without `signal` the change is unknown. `width` is the number of units.
    pub(super) fn activation(
        &mut self,
        node: &LayerSpec,
        path: &str,
        signal: Option<Signal>,
        width: usize,
        activation: &dyn AnyActivation,
    ) -> Result<Effect, Error> {
        let Some(before) = signal else {
            return Ok(self.formula(node, path, Factor::Activation, [None, None], None, 0.0));
        };
        if !before.normal || !before.spread.square.is_finite() {
            return self.sampled(node, path, signal);
        }
        let shifted = Shifted { activation, by: before.spread.mean };
        let moments = Moments::new(if shifted.by == 0.0 { activation } else { &shifted });
        let q = before.variance();
        let slope = moments.derivative_square(q);
        let spread = Spread { mean: moments.mean(q), square: moments.square(q) };
        let kurtosis = moments.derivative_fourth(q) / (slope * slope);
        let beta = if kurtosis.is_finite() { 3.0 * (kurtosis - 1.0) / width.max(1) as f64 } else { 0.0 };
        let correlation = |common: f64| ((common - before.spread.mean * before.spread.mean) / q).clamp(-1.0, 1.0);
        let common = before.common.filter(|_| q > 0.0).map(|common| match correlation(common) {
            0.0 => spread.mean * spread.mean,
            c => moments.pair(q, c),
        });
        let after = Some(Signal { spread, normal: false, common }).filter(|_| spread.square.is_finite());
        Ok(self.formula(node, path, Factor::Activation, [signal, after], Some(0.5 * libm::log10(slope)), beta.max(0.0)))
    }

    /// Predicts a normalization over groups of n = `width` values. Without `signal`, the statistics of its input, the
    /// change of the gradient is unknown. `∂y/∂x = (I − 11ᵀ/n − uuᵀ/n)/σ` if `centred`, otherwise `(I −
    /// uuᵀ/n)/σ`, u the normalized values: it removes k = 2 or 1 of n directions and divides by σ, the root of
    /// variance or mean square plus `epsilon`. Gains are 1 before training.
    ///
    /// For a normal row of variance q, n σ²/q has a χ² distribution with n − k + 1 degrees of freedom, so
    /// `E (n − k)/(n σ²) = (n − k)/((n − k − 1) q)`. For other rows the expectation is about 1/q: the removed
    /// directions and the variance of 1/σ² about cancel.
    pub(super) fn norm(
        &mut self,
        node: &LayerSpec,
        path: &str,
        signal: Option<Signal>,
        width: usize,
        epsilon: f64,
        centred: bool,
    ) -> Effect {
        self.scales.lose();
        let Some(before) = signal else {
            // The output of LayerNorm has mean square 1, unless the variance of its input is near ε.
            let after = not_normal(Spread { mean: 0.0, square: 1.0 });
            return self.formula(node, path, Factor::Other, [None, centred.then_some(after)], None, 0.0);
        };
        let square = if centred { before.variance() } else { before.spread.square };
        let sigma = libm::sqrt(square + epsilon);
        let left = width as f64 - if centred { 2.0 } else { 1.0 };
        let chance = if before.normal && left > 1.0 { left / (left - 1.0) } else { 1.0 };
        let mean = if centred { 0.0 } else { before.spread.mean / sigma };
        let centre = if centred { before.spread.mean * before.spread.mean } else { 0.0 };
        let common = before.common.map(|common| (common - centre) / (square + epsilon));
        let spread = Spread { mean, square: square / (square + epsilon) };
        let after = Signal { spread, normal: before.normal, common };
        let decades = if left > 0.0 { 0.5 * libm::log10(chance) - libm::log10(sigma) } else { f64::NEG_INFINITY };
        self.formula(node, path, Factor::Other, [signal, Some(after)], Some(decades), 0.0)
    }

    /// Predicts batch normalization over the rows of a large batch: `∂y/∂x = (I − 11ᵀ/N − uuᵀ/N)/σ` for a column
    /// of N rows and its normalized values u, with gains of 1. σ² is the mean square of a unit's values minus their
    /// mean product in two rows (Yang et al. 2019), plus `epsilon`. The layer is sampled if `signal` has no mean
    /// product of two rows.
    pub(super) fn batch_norm(
        &mut self,
        node: &LayerSpec,
        path: &str,
        signal: Option<Signal>,
        epsilon: f64,
    ) -> Result<Effect, Error> {
        self.scales.lose();
        let Some((before, common)) = signal.and_then(|before| before.common.map(|common| (before, common))) else {
            return self.sampled(node, path, signal);
        };
        let variance = (before.spread.square - common).max(0.0);
        let spread = Spread { mean: 0.0, square: variance / (variance + epsilon) };
        let after = Signal { spread, normal: before.normal, common: Some(0.0) };
        let decades = -0.5 * libm::log10(variance + epsilon);
        Ok(self.formula(node, path, Factor::Other, [signal, Some(after)], Some(decades), 0.0))
    }

    /// Adds the one link (factor of the chain rule) of the layer at `path`. Its `decades` follow from a formula; `None`
    /// if they are unknown. Returns the effect of the layer.
    ///
    /// `before` and `after` are the statistics of the layer's input and output. `spread` is its term in β, the
    /// variance over random networks of the log of one input's squared gradient norm.
    pub(super) fn formula(
        &mut self,
        node: &LayerSpec,
        path: &str,
        factor: Factor,
        [before, after]: [Option<Signal>; 2],
        decades: Option<f64>,
        spread: f64,
    ) -> Effect {
        self.links.push(PredictedLink {
            name: path.into(),
            kind: node.title(),
            factor,
            on_main_path: true,
            second_moment: before.map(|before| before.spread.square),
            decades,
            spread,
            source: if decades.is_some() { PredictionSource::Theory } else { PredictionSource::Unknown },
        });
        let shares = decades.map(|decades| share(factor, decades));
        Effect { signal: after, shares, beta: spread, mixes: false }
    }

    /// Adds the links (factors of the chain rule) of the layer at `path` from the sampled passes. If no pass can be
    /// sampled, since the network has a custom layer, it adds one link without decades. Returns the effect of the
    /// layer.
    pub(super) fn sampled(&mut self, node: &LayerSpec, path: &str, signal: Option<Signal>) -> Result<Effect, Error> {
        self.scales.lose();
        let Some(sample) = self.sample()? else {
            let effect = self.formula(node, path, Factor::Other, [signal, None], None, 0.0);
            return Ok(Effect { mixes: true, ..effect });
        };
        let (links, after) = (sample.links(path), sample.output(path).map(not_normal));
        let mut shares = Shares::default();
        for link in links.iter().rev() {
            if link.on_main_path {
                shares = sum(shares, share(link.factor, link.decades));
            }
            self.links.push(PredictedLink {
                name: link.told.as_ref().map_or_else(|| path.into(), |(name, _)| name.clone()),
                kind: node.title(),
                factor: link.factor,
                on_main_path: link.on_main_path,
                second_moment: signal.map(|signal| signal.spread.square),
                decades: Some(link.decades),
                spread: 0.0,
                source: PredictionSource::Sampled,
            });
        }
        Ok(Effect { signal: after, shares: Some(shares), beta: 0.0, mixes: true })
    }
}
