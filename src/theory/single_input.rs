//! What finite width makes of one input's gradient: nets drawn no further than the input and its gradient see them.

use super::{InputStatistics, sample::Spread};
use crate::{
    activation::{AnyActivation, LeakyRelu},
    block::Role,
    error::{Error, require},
    initializer::{Initializer, Shape},
    layer::{BranchScale, Layer, LayerSpec},
    random::{Normals, generator},
    scalar::Scalar,
    size::reserve,
};
use alloc::vec::Vec;
use num_traits::Float;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The length of one input's gradient, in decades, over nets of a described network.
///
/// In a wide network q_l is a number; in one of n units it is a mean over n random squares, so that it walks from layer
/// to layer, and the gradient with it. This draws such nets, of weights only what the input and its gradient meet of
/// them, for normal weights exactly: n numbers a layer instead of n².
///
/// ```text
/// z = W h + b:   z_i ~ N(0, q),  q = Var W ‖h‖² + Var b
/// Wᵀd given z:   t h/‖h‖ + v,  v ~ N(0, Var W ‖d‖²) at right angles to h,
///                t ~ N(Var W ‖h‖ (z·d)/q, Var W Var b ‖d‖²/q)
/// ```
///
/// Along h the gradient remembers the forward pass: where the mean square grows from layer to layer without end
/// (softplus with He's weights) that alone is a decade in 50 layers of 64. For ReLU without biases it is Hanin & Nica's
/// law (2018): normal with mean −β/(4 ln 10) and standard deviation √β/(2 ln 10).
///
/// A batch is between [`Prediction`] and this while q_l keeps to its fixed point. Where it leaves (GELU or Swish with
/// He's weights), ln ‖g‖² differs between rows by so much that the few longest make the batch's length, which then is
/// neither; this is what one row sees.
///
/// [`Prediction`]: super::Prediction
///
/// ```
/// use chainrule::{activation::Relu, initializer::He, layer::{Linear, Sequential}};
/// use chainrule::theory::{InputStatistics, SingleInput};
/// let mut builder = Sequential::<f32>::input(32);
/// for _ in 0..30 {
///     builder = builder.layer(Linear::new(32, 32).weights(He::normal())).activation(Relu);
/// }
/// let network = builder.build()?;
/// let lottery = SingleInput::of(&network, InputStatistics::new(1.0)?, 300)?.unwrap();
/// assert!(lottery.mean() < -0.3 && lottery.standard_deviation() > 0.3); // the wide limit is 0 decades
/// assert!(lottery.below(-1.0) > 0.05); // in more than one net of twenty
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SingleInput {
    /// In increasing order.
    decades: Vec<f64>,
}

impl SingleInput {
    /// Draws `nets` of `network`; `None` where a part of it is none that theory describes.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0 `nets`, or a layer's parameter that its constructor refuses. [`Error::InvalidLayer`]
    /// for layers nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep. [`Error::TooLarge`] for widths or nets
    /// that memory cannot hold.
    pub fn of<T: Scalar>(
        network: &(impl Layer<T> + ?Sized),
        inputs: InputStatistics,
        nets: usize,
    ) -> Result<Option<Self>, Error> {
        Self::of_node(&network.spec(), inputs, nets)
    }

    /// Draws `nets` of the network that `node` describes; `None` where a part of it is none that theory describes.
    ///
    /// # Errors
    /// Those of [`of`](Self::of).
    pub fn of_node(node: &LayerSpec, inputs: InputStatistics, nets: usize) -> Result<Option<Self>, Error> {
        require(nets > 0, "one input: nets", "at least 1", nets as f64)?;
        node.check_depth().map_err(|rule| rule.at(""))?;
        let (mut decades, mut walk) =
            (reserve("one input: nets", nets)?, Walk { rng: generator(0), normals: Normals::new() });
        for _ in 0..nets {
            let Spread { mean, square } = inputs.spread();
            let deviation = libm::sqrt((square - mean * mean).max(0.0));
            let x = walk.normals(node.widths().0)?.into_iter().map(|normal| mean + deviation * normal).collect();
            let mut row = Row { values: x, told: Some(square), steps: Vec::new() };
            if !walk.forward(node, &mut row)? {
                return Ok(None);
            }
            let end = walk.normals(row.values.len())?;
            let before = libm::log10(length(&end));
            let (_, after) = walk.backward(&row.steps, end)?;
            decades.push(after - before);
        }
        decades.sort_unstable_by(f64::total_cmp);
        Ok(Some(SingleInput { decades }))
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

/// What a layer did on the way forward, as far as its way back needs it.
enum Step {
    /// z = W h + b without the mean of b, and the variances of the entries of W and b.
    Weights { h: Vec<f64>, z: Vec<f64>, weight: f64, bias: f64 },
    /// W = gain · Q, or some rows or columns of it, Q an orthogonal matrix with Q h = turned.
    Rotation { h: Vec<f64>, turned: Vec<f64>, gain: f64 },
    /// φ′(z).
    Slopes(Vec<f64>),
    /// y = (x − mean)/σ, or without mean.
    Norm { y: Vec<f64>, sigma: f64, centred: bool },
    /// x + s f(x).
    Residual { branch: Vec<Step>, scale: f64 },
}

/// One input on its way through one net.
struct Row {
    values: Vec<f64>,
    /// The mean square that the network's input has for certain, until weights meet it.
    told: Option<f64>,
    steps: Vec<Step>,
}

impl Row {
    /// Gives values that have passed only through weights their stated mean square.
    fn settle(&mut self) {
        let Some(square) = self.told.take() else { return };
        let scale = libm::sqrt(square * self.values.len() as f64) / length(&self.values);
        if scale.is_finite() {
            self.values.iter_mut().for_each(|value| *value *= scale);
        }
    }
}

struct Walk {
    rng: Xoshiro256PlusPlus,
    normals: Normals,
}

impl Walk {
    fn normal(&mut self) -> f64 {
        self.normals.next(&mut self.rng)
    }

    fn normals(&mut self, count: usize) -> Result<Vec<f64>, Error> {
        let mut normals = reserve("one input: values of a row", count)?;
        normals.extend((0..count).map(|_| self.normal()));
        Ok(normals)
    }

    /// A vector of independent normal numbers at right angles to `other`, which has no more of them.
    fn beside(&mut self, other: &[f64], count: usize) -> Result<Vec<f64>, Error> {
        let (mut v, square) = (self.normals(count)?, dot(other, other));
        let along = if square > 0.0 { dot(other, &v) / square } else { 0.0 };
        v.iter_mut().zip(other).for_each(|(v, other)| *v -= along * other);
        Ok(v)
    }

    /// Whether theory describes all of it.
    fn forward(&mut self, node: &LayerSpec, row: &mut Row) -> Result<bool, Error> {
        match node {
            LayerSpec::Sequential { layers, .. } => {
                for layer in layers {
                    if !self.forward(layer, row)? {
                        return Ok(false);
                    }
                }
            }
            LayerSpec::Linear { inputs, outputs, weights, bias } => {
                let (shape, of_bias) =
                    (Shape::new(*outputs, *inputs, Role::Weight), Shape::new(*outputs, 1, Role::Bias));
                let bias =
                    bias.as_ref().map_or(Some((0.0, 0.0)), |bias| bias.mean(of_bias).zip(bias.variance(of_bias)));
                let variance = weights.variance(shape).filter(|_| weights.mean(shape) == Some(0.0));
                let (Some(weight), Some((mean, bias))) = (variance, bias) else { return Ok(false) };
                row.settle();
                let h = core::mem::take(&mut row.values);
                if let Some(gain) = weights.orthogonal_gain(shape) {
                    let mut turned = self.normals(*inputs.max(outputs))?;
                    let scale = length(&h) / length(&turned);
                    turned.iter_mut().for_each(|u| *u *= scale);
                    row.values = turned[..*outputs].iter().map(|u| gain * u).collect();
                    row.values.iter_mut().for_each(|z| *z += mean + libm::sqrt(bias) * self.normal());
                    row.steps.push(Step::Rotation { h, turned, gain });
                } else {
                    let root = libm::sqrt(weight * dot(&h, &h) + bias);
                    let mut z = self.normals(*outputs)?;
                    z.iter_mut().for_each(|z| *z *= root);
                    row.values = z.iter().map(|z| mean + z).collect();
                    row.steps.push(Step::Weights { h, z, weight, bias });
                }
            }
            LayerSpec::ActivationLayer { activation, .. } => Self::activation(row, activation.as_any()),
            LayerSpec::PRelu { initial, .. } => Self::activation(row, &LeakyRelu::new(*initial)?),
            LayerSpec::LayerNorm { epsilon, .. } => Self::norm(row, *epsilon, true),
            LayerSpec::RmsNorm { epsilon, .. } => Self::norm(row, *epsilon, false),
            LayerSpec::Residual { branch, scale } => {
                let (BranchScale::Fixed(scale) | BranchScale::Learned(scale)) = *scale;
                row.settle();
                let mut inner = Row { values: row.values.clone(), told: None, steps: Vec::new() };
                if !self.forward(branch, &mut inner)? {
                    return Ok(false);
                }
                row.values.iter_mut().zip(&inner.values).for_each(|(x, f)| *x += scale * f);
                row.steps.push(Step::Residual { branch: inner.steps, scale });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn activation(row: &mut Row, activation: &dyn AnyActivation) {
        row.told = None;
        row.steps.push(Step::Slopes(row.values.iter().map(|&z| activation.derivative_at(z)).collect()));
        row.values.iter_mut().for_each(|z| *z = activation.value_at(*z));
    }

    fn norm(row: &mut Row, epsilon: f64, centred: bool) {
        row.told = None;
        let n = row.values.len().max(1) as f64;
        let mean = if centred { row.values.iter().sum::<f64>() / n } else { 0.0 };
        row.values.iter_mut().for_each(|x| *x -= mean);
        let sigma = libm::sqrt(dot(&row.values, &row.values) / n + epsilon);
        row.values.iter_mut().for_each(|x| *x /= sigma);
        row.steps.push(Step::Norm { y: row.values.clone(), sigma, centred });
    }

    /// Of the gradient `g` that came, the direction of the one that goes on and log10 of its length.
    fn backward(&mut self, steps: &[Step], mut g: Vec<f64>) -> Result<(Vec<f64>, f64), Error> {
        let mut decades = 0.0;
        for step in steps.iter().rev() {
            match step {
                Step::Weights { h, z, weight, bias } => {
                    let (size, of_g) = (length(h), dot(&g, &g));
                    let q = weight * size * size + bias;
                    let mut along = self.normal() * libm::sqrt(weight * bias * of_g / q);
                    along += weight * size * dot(z, &g) / q;
                    let mut next = self.beside(h, h.len())?;
                    let root = libm::sqrt(weight * of_g);
                    next.iter_mut().for_each(|v| *v *= root);
                    if size > 0.0 {
                        next.iter_mut().zip(h).for_each(|(v, h)| *v += along * h / size);
                    }
                    g = next;
                }
                Step::Rotation { h, turned, gain } => {
                    let (square, of_g) = (dot(turned, turned), dot(&g, &g));
                    let along = if square > 0.0 { dot(turned, &g) / square } else { 0.0 };
                    let mut next = self.beside(h, turned.len())?;
                    let scale = libm::sqrt((of_g - along * along * square).max(0.0)) / length(&next);
                    next.iter_mut().for_each(|v| *v = if scale.is_finite() { gain * scale * *v } else { 0.0 });
                    next.iter_mut().zip(h).for_each(|(v, h)| *v += gain * along * h);
                    next.truncate(h.len());
                    g = next;
                }
                Step::Slopes(slopes) => g.iter_mut().zip(slopes).for_each(|(g, slope)| *g *= slope),
                Step::Norm { y, sigma, centred } => {
                    let n = y.len().max(1) as f64;
                    let mean = if *centred { g.iter().sum::<f64>() / n } else { 0.0 };
                    let along = dot(&g, y) / n;
                    g.iter_mut().zip(y).for_each(|(g, y)| *g = (*g - mean - along * y) / sigma);
                }
                Step::Residual { branch, scale } => {
                    let (inner, of_inner) = self.backward(branch, g.clone())?;
                    let scale = scale * libm::exp10(of_inner);
                    g.iter_mut().zip(inner).for_each(|(g, inner)| *g += scale * inner);
                }
            }
            // Of unit length again: the products of deep nets leave the range of any format.
            let size = length(&g);
            decades += libm::log10(size);
            g.iter_mut().for_each(|g| *g /= if size > 0.0 { size } else { 1.0 });
        }
        Ok((g, decades))
    }
}

/// Over the shorter of the two.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

fn length(values: &[f64]) -> f64 {
    libm::sqrt(dot(values, values))
}
