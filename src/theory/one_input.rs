//! What finite width makes of one input's gradient: the theory's own random walk, drawn a few hundred times.

use super::{Inputs, sample::Spread};
use crate::{
    activation::{AnyActivation, LeakyRelu},
    block::Role,
    error::{Error, require},
    initializer::{Initializer, Shape, generator, sample::Normals},
    layer::{BranchScale, Layer, Node},
    scalar::Scalar,
};
use alloc::{vec, vec::Vec};
use num_traits::Float;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The length of one input's gradient, in decades, over nets of a described network.
///
/// In a wide network q_l is a number; in one of n units it is a mean over n random squares, so that it walks from layer to
/// layer, and the gradient with it. Given q_l, pre-activations of one input are independent normal numbers; this draws
/// them, and with them the next mean square and what φ′ and the weights do to an independent gradient:
///
/// ```text
/// z_i ~ N(0, q_l),  v_i ~ N(0, 1):   m = (1/n) Σ φ(z_i)²,   A = ½ log10 (Σ φ′(z_i)² v_i² / Σ v_i²)
/// q_{l+1} = σw² m + σb²,             V = ½ log10 (σw² χ²_n / n)
/// ```
///
/// which costs n numbers a layer instead of n². Where variance runs away from a fixed point (GELU or Swish with He's
/// weights), this, not the wide limit, is what nets do. For ReLU without biases it is Hanin & Nica's law (2018): normal
/// with mean −β/(4 ln 10) and standard deviation √β/(2 ln 10). A batch is between [`Prediction`] and this, the nearer to
/// this the more alike its inputs are.
///
/// The gradient is taken to be independent of the forward pass. Where the mean square grows from layer to layer without
/// end (softplus with He's weights) it is not, and shrinks less than this says: over 50 layers by 0.8 decades.
///
/// [`Prediction`]: super::Prediction
///
/// ```
/// use chainrule::{activation::Relu, initializer::He, layer::{Linear, Sequential}, theory::{Inputs, OneInput}};
/// let mut builder = Sequential::<f32>::input(32);
/// for _ in 0..30 {
///     builder = builder.layer(Linear::new(32, 32).weights(He::normal())).activation(Relu);
/// }
/// let network = builder.build()?;
/// let lottery = OneInput::of(&network, Inputs::new(1.0)?, 300)?.unwrap();
/// assert!(lottery.mean() < -0.3 && lottery.standard_deviation() > 0.3); // the wide limit is 0 decades
/// assert!(lottery.below(-1.0) > 0.05); // in more than one net of twenty
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OneInput {
    /// In increasing order.
    decades: Vec<f64>,
}

impl OneInput {
    /// Draws `nets` of `network`; `None` where a part of it is none that theory describes.
    ///
    /// # Errors
    /// No nets; what the layers' constructors refuse.
    pub fn of<T: Scalar>(
        network: &(impl Layer<T> + ?Sized),
        inputs: Inputs,
        nets: usize,
    ) -> Result<Option<Self>, Error> {
        Self::of_node(&network.describe(), inputs, nets)
    }

    /// Draws `nets` of the network that `node` describes; `None` where a part of it is none that theory describes.
    ///
    /// # Errors
    /// Those of [`of`](Self::of).
    pub fn of_node(node: &Node, inputs: Inputs, nets: usize) -> Result<Option<Self>, Error> {
        require(nets > 0, "one input: nets", "at least 1", nets as f64)?;
        let (mut decades, mut walk) = (Vec::with_capacity(nets), Walk { rng: generator(0), normals: Normals::new() });
        for _ in 0..nets {
            let start = Signal { spread: inputs.spread(), normal: true, exact: false, decades: 0.0 };
            let Some(end) = walk.through(node, start)? else { return Ok(None) };
            decades.push(end.decades);
        }
        decades.sort_by(f64::total_cmp);
        Ok(Some(OneInput { decades }))
    }

    /// The mean over nets of log10 of the input's gradient over the output's.
    pub fn mean(&self) -> f64 {
        self.decades.iter().sum::<f64>() / self.decades.len() as f64
    }

    /// The standard deviation between nets, in decades.
    pub fn standard_deviation(&self) -> f64 {
        let mean = self.mean();
        let square = self.decades.iter().fold(0.0, |sum, d| sum + (d - mean) * (d - mean));
        Float::sqrt(square / self.decades.len().saturating_sub(1).max(1) as f64)
    }

    /// The share of nets whose gradient changes by less than `decades`: −4 for those that lose four decades or more.
    pub fn below(&self, decades: f64) -> f64 {
        self.decades.partition_point(|found| *found < decades) as f64 / self.decades.len() as f64
    }
}

/// One net on the way.
#[derive(Clone, Copy)]
struct Signal {
    spread: Spread,
    normal: bool,
    /// Whether the weights before kept lengths: then the mean square of pre-activations is q itself.
    exact: bool,
    decades: f64,
}

struct Walk {
    rng: Xoshiro256PlusPlus,
    normals: Normals,
}

impl Walk {
    fn normal(&mut self) -> f64 {
        self.normals.next(&mut self.rng)
    }

    fn through(&mut self, node: &Node, signal: Signal) -> Result<Option<Signal>, Error> {
        Ok(match node {
            Node::Sequential { layers, .. } => {
                let mut signal = signal;
                for layer in layers {
                    let Some(next) = self.through(layer, signal)? else { return Ok(None) };
                    signal = next;
                }
                Some(signal)
            }
            Node::Linear { inputs, outputs, weights, bias } => {
                let (shape, of_bias) =
                    (Shape::new(*outputs, *inputs, Role::Weight), Shape::new(*outputs, 1, Role::Bias));
                let bias =
                    bias.as_ref().map_or(Some((0.0, 0.0)), |bias| bias.mean(of_bias).zip(bias.variance(of_bias)));
                let variance = weights.variance(shape).filter(|_| weights.mean(shape) == Some(0.0));
                let (Some(variance), Some((mean, bias_variance))) = (variance, bias) else { return Ok(None) };
                let weight_variance = *inputs as f64 * variance;
                let exact = inputs >= outputs && weights.orthogonal_gain(shape).is_some();
                let chance = if exact { 1.0 } else { self.mean_square(*inputs) };
                let square = weight_variance * signal.spread.square + bias_variance + mean * mean;
                let decades = signal.decades + 0.5 * libm::log10(weight_variance * chance);
                Some(Signal {
                    spread: Spread { mean, square },
                    normal: true,
                    exact: exact && inputs == outputs,
                    decades,
                })
            }
            Node::Pointwise { width, activation } => self.activation(signal, *width, activation.as_any()),
            Node::PRelu { width, initial, .. } => self.activation(signal, *width, &LeakyRelu::new(*initial)?),
            Node::LayerNorm { width, epsilon, .. } => Some(self.norm(signal, *width, *epsilon, true)),
            Node::RmsNorm { width, epsilon, .. } => Some(self.norm(signal, *width, *epsilon, false)),
            Node::Residual { branch, scale } => {
                let (BranchScale::Fixed(s) | BranchScale::Learned(s)) = *scale;
                let Some(inner) = self.through(branch, Signal { decades: 0.0, ..signal })? else { return Ok(None) };
                // Two directions of n dimensions are at right angles but for a cosine of about 1/√n.
                let root = libm::sqrt(node.widths().0.max(1) as f64);
                let gain = s * libm::exp10(inner.decades);
                let whole = 1.0 + gain * gain + 2.0 * gain * self.normal() / root;
                let (x, f) = (signal.spread, inner.spread);
                let cosine = self.normal() / root;
                let cross = x.mean * f.mean + cosine * libm::sqrt(x.square * f.square);
                let square = (x.square + s * s * f.square + 2.0 * s * cross).max(0.0);
                let decades = signal.decades + 0.5 * libm::log10(whole.max(0.0));
                let spread = Spread { mean: x.mean + s * f.mean, square };
                Some(Signal { spread, normal: signal.normal && inner.normal, exact: false, decades })
            }
            _ => None,
        })
    }

    /// χ²_n/n.
    fn mean_square(&mut self, n: usize) -> f64 {
        let sum = (0..n).fold(0.0, |sum, _| {
            let v = self.normal();
            sum + v * v
        });
        sum / n.max(1) as f64
    }

    fn activation(&mut self, signal: Signal, width: usize, activation: &dyn AnyActivation) -> Option<Signal> {
        if !signal.normal {
            return None;
        }
        let n = width.max(1) as f64;
        let mut z = vec![0.0; width];
        z.fill_with(|| self.normal());
        let root = libm::sqrt((signal.spread.square - signal.spread.mean * signal.spread.mean).max(0.0));
        let length = if signal.exact { z.iter().fold(0.0, |sum, z| sum + z * z) / n } else { 1.0 };
        let scale = root / libm::sqrt(length);
        let (mut spread, mut before, mut after) = (Spread { mean: 0.0, square: 0.0 }, 0.0, 0.0);
        for z in z {
            let z = signal.spread.mean + scale * z;
            let (y, slope, v) = (activation.value_at(z), activation.derivative_at(z), self.normal());
            spread = Spread { mean: spread.mean + y / n, square: spread.square + y * y / n };
            (before, after) = (before + v * v, after + slope * slope * v * v);
        }
        let decades = signal.decades + 0.5 * libm::log10(after / before);
        Some(Signal { spread, normal: false, exact: false, decades })
    }

    /// `∂y/∂x` takes k of n directions away and divides by σ, the row's own.
    fn norm(&mut self, signal: Signal, width: usize, epsilon: f64, centred: bool) -> Signal {
        let (n, Spread { mean, square }) = (width.max(1) as f64, signal.spread);
        let square = if centred { (square - mean * mean).max(0.0) } else { square };
        let left = width.saturating_sub(if centred { 2 } else { 1 });
        // What an activation left is known; of a normal row the mean square is yet to be drawn.
        let drawn = signal.normal && !signal.exact;
        let own = if drawn { square * self.mean_square(left + 1) * (left + 1) as f64 / n } else { square };
        let sigma = libm::sqrt(own + epsilon);
        let spread = Spread { mean: if centred { 0.0 } else { mean / sigma }, square: own / (own + epsilon) };
        let decades = signal.decades + 0.5 * libm::log10(left as f64 / n) - libm::log10(sigma);
        Signal { spread, exact: true, decades, ..signal }
    }
}
