//! The distribution of one input's gradient over random networks of finite width, by simulation of one row.

use super::{InputStatistics, sample::Spread};
use crate::{
    activation::{AnyActivation, LeakyRelu},
    block::Role,
    error::{Error, require},
    initializer::{Initializer, Shape},
    layer::{BranchScale, Layer, LayerSpec, Linear, check_depth},
    random::{Normals, generator},
    scalar::Scalar,
    size::reserve,
};
use alloc::vec::Vec;
use num_traits::Float;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The distribution, over random networks, of `log10(‖∂L/∂x‖/‖∂L/∂y‖)` for one input x and its output
/// y.
///
/// In the limit of wide layers, the mean square q_l of the pre-activations of layer l is a fixed number. With n units
/// it is a mean of n random squares. So q_l and the norm of the gradient take a random walk over the layers. This type
/// simulates random networks. Of a weight matrix it draws only the products with the input and with the gradient, n
/// numbers a layer instead of n². For normal weights the simulation is exact.
///
/// ```text
/// z = W h + b:   z_i ~ N(0, q),  q = Var W ‖h‖² + Var b
/// Wᵀd given z:   t h/‖h‖ + v,  v ~ N(0, Var W ‖d‖²) orthogonal to h,
///                t ~ N(Var W ‖h‖ (z·d)/q, Var W Var b ‖d‖²/q)
/// ```
///
/// The component along h of the gradient with respect to h, the input of a layer, depends on the forward pass. If the
/// mean square grows without bound over the layers (softplus with He's weights), this dependence alone amounts to a
/// factor of ten in 50 layers of width 64. For ReLU without biases, the distribution is that of Hanin & Nica (2018):
/// normal with mean −β/(4 ln 10) and standard deviation √β/(2 ln 10), β = Σ 5/n_l over layers l of width n_l.
///
/// The gradient norm of a batch lies between [`Prediction`] and this distribution while q_l is near its fixed point. If
/// q_l departs from it (GELU or Swish with He's weights), a few rows with large gradients determine the norm of the
/// batch. That norm is then near neither; this type describes a single row.
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
/// assert!(lottery.below(-1.0) > 0.05); // in more than 5 % of the networks
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SingleInput {
    /// The log10 of input gradient norm over output gradient norm of each network, in increasing order.
    decades: Vec<f64>,
}

impl SingleInput {
    /// Simulates `nets` random networks with the layers of `network`, each on one random input with the mean and the
    /// mean square of `inputs`. The random numbers have a fixed seed.
    ///
    /// `None` if one of the layers has no formula here. The layers with a formula are activations, PRelu, LayerNorm,
    /// RmsNorm, linear layers with weights of mean 0 and known variances, and residuals of these.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `nets` is 0, or a constructor refuses a parameter of a layer. [`Error::InvalidLayer`] if
    /// layers are nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep. [`Error::TooLarge`] if memory cannot
    /// hold the widths or the number of networks.
    pub fn of<T: Scalar>(
        network: &(impl Layer<T> + ?Sized),
        inputs: InputStatistics,
        nets: usize,
    ) -> Result<Option<Self>, Error> {
        check_depth(&network)?;
        Self::of_node(&network.spec(), inputs, nets)
    }

    /// Simulates `nets` random networks described by `node`, each on one random input with the mean and the mean square
    /// of `inputs`. `None` if one of the layers has no formula: see [`of`](Self::of).
    ///
    /// # Errors
    /// The errors of [`of`](Self::of).
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
            let mut end = walk.normals(row.values.len())?;
            let size = length(&end);
            end.iter_mut().for_each(|g| *g /= size);
            let (_, of_unit) = walk.backward(&row.steps, end)?;
            decades.push(of_unit);
        }
        decades.sort_unstable_by(f64::total_cmp);
        Ok(Some(SingleInput { decades }))
    }

    /// Returns the mean, over the simulated networks, of log10 of input gradient norm over output gradient norm.
    pub fn mean(&self) -> f64 {
        self.decades.iter().sum::<f64>() / self.decades.len() as f64
    }

    /// Returns the standard deviation, over the simulated networks, of log10 of input gradient norm over output
    /// gradient norm.
    pub fn standard_deviation(&self) -> f64 {
        let mean = self.mean();
        let square = self.decades.iter().fold(0.0, |sum, d| sum + (d - mean) * (d - mean));
        Float::sqrt(square / self.decades.len().saturating_sub(1).max(1) as f64)
    }

    /// Returns the fraction of networks in which log10 of input gradient norm over output gradient norm is below
    /// `decades`. For −4, it is the fraction of networks in which the gradient shrinks more than 10⁴-fold.
    pub fn below(&self, decades: f64) -> f64 {
        self.decades.partition_point(|found| *found < decades) as f64 / self.decades.len() as f64
    }
}

/// Values of one layer's forward pass that its backward pass uses.
enum Step {
    /// A linear layer with independent weights: z = W h + b minus the mean of b, h its input. `weight` and `bias` are
    /// the variances of the entries of W and b.
    Weights { h: Vec<f64>, z: Vec<f64>, weight: f64, bias: f64 },
    /// A linear layer with the orthogonal weights W = gain · Q, or some rows or columns of them. Q is an orthogonal
    /// matrix with Q h = turned, h the layer's input.
    Rotation { h: Vec<f64>, turned: Vec<f64>, gain: f64 },
    /// The slopes φ′(z) of an activation.
    Slopes(Vec<f64>),
    /// A normalization of the row x: y = (x − mean)/σ, or y = x/σ if not `centred`; `sigma` is σ.
    Norm { y: Vec<f64>, sigma: f64, centred: bool },
    /// A residual y = x + s f(x): `branch` holds the values of the layers of f, `scale` is s.
    Residual { branch: Vec<Step>, scale: f64 },
}

/// One row of a forward pass through one random network, and the values of each layer that the backward pass uses.
struct Row {
    values: Vec<f64>,
    /// The stated mean square of the network's inputs. `None` after the first layer, and in a branch.
    told: Option<f64>,
    steps: Vec<Step>,
}

impl Row {
    /// Scales the values to exactly the stated mean square of the network's inputs. Only the first call has this
    /// effect, and none after an activation or normalization.
    fn settle(&mut self) {
        let Some(square) = self.told.take() else { return };
        let scale = libm::sqrt(square * self.values.len() as f64) / length(&self.values);
        if scale.is_finite() {
            self.values.iter_mut().for_each(|value| *value *= scale);
        }
    }
}

/// A simulation of random networks, one after the other, with its source of random numbers.
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

    /// Returns a vector of `count` normal values of mean 0 and variance 1, projected to be orthogonal to `other`.
    /// `other` has at most `count` values; zeros replace the missing ones.
    fn beside(&mut self, other: &[f64], count: usize) -> Result<Vec<f64>, Error> {
        let (mut v, square) = (self.normals(count)?, dot(other, other));
        let along = if square > 0.0 { dot(other, &v) / square } else { 0.0 };
        v.iter_mut().zip(other).for_each(|(v, other)| *v -= along * other);
        Ok(v)
    }

    /// Simulates the forward pass of `node`, which replaces the values of `row` and adds those for the backward pass
    /// to `row.steps`. Returns whether all its layers have a formula.
    fn forward(&mut self, node: &LayerSpec, row: &mut Row) -> Result<bool, Error> {
        match node {
            LayerSpec::Sequential { layers, .. } => {
                for layer in layers {
                    if !self.forward(layer, row)? {
                        return Ok(false);
                    }
                }
            }
            LayerSpec::Linear(Linear { inputs, outputs, weights, bias }) => {
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
            LayerSpec::PRelu(layer) => Self::activation(row, &LeakyRelu::new(layer.initial)?),
            LayerSpec::LayerNorm(norm) => Self::norm(row, norm.epsilon, true),
            LayerSpec::RmsNorm(norm) => Self::norm(row, norm.epsilon, false),
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

    /// Simulates the backward pass of the gradient `g` through the layers that the forward pass recorded in `steps`,
    /// from the last one. Returns the direction of the result, a unit vector or 0, and log10 of its norm.
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
            // The gradient is normalized after each layer: the product over a deep network can leave the range of
            // `f64`.
            let size = length(&g);
            decades += libm::log10(size);
            g.iter_mut().for_each(|g| *g /= if size > 0.0 { size } else { 1.0 });
        }
        Ok((g, decades))
    }
}

/// Returns the inner product of `a` and `b`, up to the length of the shorter one.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

fn length(values: &[f64]) -> f64 {
    libm::sqrt(dot(values, values))
}
