//! The gradient budget of a network before its first step, read from its description.

use super::sample::{Sample, Spread};
use crate::mean_field::{MeanField, moments::Moments};
use crate::{
    activation::{ActivationKind, AnyActivation, Bounds, LeakyRelu},
    block::Role,
    error::{Error, require},
    initializer::{Initializer, InitializerKind, Shape},
    layer::{BranchScale, Layer, LayerSpec, join},
    monitor::{Factor, Shares},
    scalar::{Scalar, to_f64},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

/// What a network is going to be fed with.
///
/// ```
/// use chainrule::theory::InputStatistics;
/// let rows = [1.0f32, -1.0, 3.0, 1.0];
/// assert_eq!(InputStatistics::of_rows(&rows)?.second_moment(), 3.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputStatistics {
    spread: Spread,
    steps: usize,
}

impl InputStatistics {
    /// Values of mean 0 and mean square `second_moment`; 1 for standardised data.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `second_moment` is finite and at least 0.
    pub fn new(second_moment: f64) -> Result<Self, Error> {
        let valid = second_moment.is_finite() && second_moment >= 0.0;
        require(valid, "the mean square of inputs", "finite and at least 0", second_moment)?;
        Ok(InputStatistics { spread: Spread { mean: 0.0, square: second_moment }, steps: 1 })
    }

    /// The mean and mean square of these values: of a batch, or of all data.
    ///
    /// # Errors
    /// [`Error::Empty`] without values; [`Error::NonFinite`] for a value that is NaN or infinite; [`Error::Parameter`]
    /// where the mean square overflows `f64`.
    pub fn of_rows<T: Scalar>(values: &[T]) -> Result<Self, Error> {
        if values.is_empty() {
            return Err(Error::Empty { what: "the inputs of a prediction" });
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFinite { what: "the inputs of a prediction", index, found: to_f64(values[index]) });
        }
        let spread = Spread::of(values);
        Ok(InputStatistics { spread, ..Self::new(spread.square)? })
    }

    /// Sequences of that many steps.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0 `steps`.
    pub fn steps(self, steps: usize) -> Result<Self, Error> {
        require(steps > 0, "the steps of inputs", "at least 1", steps as f64)?;
        Ok(InputStatistics { steps, ..self })
    }

    pub(super) fn spread(&self) -> Spread {
        self.spread
    }

    /// The mean square of the values.
    pub fn second_moment(&self) -> f64 {
        self.spread.square
    }
}

/// Where a prediction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PredictionSource {
    /// A formula.
    Theory,
    /// Passes through a few nets with random inputs.
    Sampled,
    /// There is none: a layer of a user's own that is known by its description alone, or what comes after it.
    Unknown,
}

/// What one link is going to do to the length of a gradient; named as [`GradientBudget`] names it.
///
/// [`GradientBudget`]: crate::monitor::GradientBudget
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PredictedLink {
    /// The link's name: `2`, `3.branch.0`.
    pub name: String,
    /// The layer it belongs to: `Linear`, `Tanh`.
    pub kind: String,
    /// The factor it applies.
    pub factor: Factor,
    /// Whether it is on the one path from loss to input.
    pub on_main_path: bool,
    /// The mean square of what goes into the layer; of an activation q_l, the variance of its pre-activations.
    pub second_moment: Option<f64>,
    /// log10 of the gradient's length after over before; `None` where nothing is known.
    pub decades: Option<f64>,
    /// Its part in [`Prediction::beta`].
    pub spread: f64,
    /// Where this comes from.
    pub basis: PredictionSource,
}

/// The gradient budget of a network before step 0: what each link is going to do to a gradient, in decades.
///
/// Products with weights and activations are read from mean field theory (Poole et al. 2016; Schoenholz et al. 2017),
/// with q_l along the way from the mean square of the network's inputs on:
///
/// | link | decades |
/// | --- | --- |
/// | weights, any initializer of mean 0 | `V_l = ½ log10(fan in · Var W)` |
/// | activation | `A_l = ½ log10 E φ′(√q_l z)²` |
/// | residual `x + s f(x)` | `½ log10(1 + s²χ_f)` of the whole, χ_f the branch's squared gain |
/// | LayerNorm, RmsNorm | `−log10 σ`, σ² the row's variance or mean square |
/// | dropout | `−½ log10(1 − rate)` |
/// | pooling | last step 0, mean over T steps `−½ log10 T` |
///
/// Whatever no formula covers (recurrent layers over depth, weights of another mean, layers of your own) is sampled:
/// eight nets with normal inputs. It is the mean over nets of what a batch's gradient does, as long as q_l keeps near its
/// fixed point; one input's is lower by `β/(4 ln 10)` and spreads by [`standard_deviation`](Self::standard_deviation) from
/// net to net.
///
/// Where a departure of q_l grows from layer to layer (GELU, Swish and softplus with He's or with critical weights), the rows
/// of a batch part until the few longest gradients among them make its length: no series in 1/width says how long that is.
/// With GELU, He's weights and 50 layers of 64 a batch of 64 loses 3.3 decades, not 5.7; most of its rows lose the 5.8 of
/// [`SingleInput`](super::SingleInput), which holds at any width.
///
/// ```
/// use chainrule::{activation::Sigmoid, layer::Sequential, theory::{InputStatistics, Prediction}};
/// let mut builder = Sequential::<f32>::input(64);
/// for _ in 0..10 {
///     builder = builder.linear(64).activation(Sigmoid);
/// }
/// let network = builder.build()?;
/// let prediction = Prediction::of(&network, InputStatistics::new(1.0)?)?;
/// let shares = prediction.shares().unwrap();
/// assert!((shares.activation + 6.3).abs() < 0.1); // vanishes, and it is φ′ that does it
/// println!("{prediction}");
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    links: Vec<PredictedLink>,
    shares: Option<Shares>,
    beta: f64,
    trainable_depth: Option<f64>,
    depth: usize,
}

impl Prediction {
    /// The budget of `network`, which has not been trained yet, on these inputs.
    ///
    /// Layers of your own are sampled in their place.
    ///
    /// # Errors
    /// [`Error::InvalidLayer`] for layers nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep. Where a part
    /// must be sampled: the errors of [`Workspace::new`](crate::workspace::Workspace::new) and
    /// [`initialize`](crate::layer::initialize), and [`Error::TooLarge`] for a pass of more than 2²⁸ values.
    ///
    /// # Panics
    /// As [`Workspace::forward`](crate::workspace::Workspace::forward), where a part must be sampled.
    pub fn of<T: Scalar>(network: &(impl Layer<T> + ?Sized), inputs: InputStatistics) -> Result<Self, Error> {
        Self::read(&network.describe(), inputs, &|| Sample::new(network, inputs.spread, inputs.steps).map(Some))
    }

    /// The budget of the network that `node` describes. A layer of your own in it is unknown, and so is what depends on
    /// it.
    ///
    /// # Errors
    /// Those of [`of`](Self::of); where a part must be sampled, those of [`LayerSpec::build`] but for [`Error::Opaque`].
    pub fn of_node(node: &LayerSpec, inputs: InputStatistics) -> Result<Self, Error> {
        Self::read(node, inputs, &|| match node.build_to_look_at() {
            Ok(network) => Sample::new(&network, inputs.spread, inputs.steps).map(Some),
            Err(Error::Opaque { .. }) => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn read(
        node: &LayerSpec,
        inputs: InputStatistics,
        draw: &dyn Fn() -> Result<Option<Sample>, Error>,
    ) -> Result<Self, Error> {
        node.check_depth().map_err(|rule| rule.at(""))?;
        let mut reader =
            Reader { draw, sample: None, links: Vec::new(), scales: Scales::default(), steps: inputs.steps };
        let signal = Signal { spread: inputs.spread, normal: true };
        let effect = reader.read(node, "", Some(signal))?;
        let mut links = reader.links;
        links.reverse();
        let Scales { layers, inverse, .. } = reader.scales;
        let trainable_depth = inverse.filter(|_| layers > 0).map(|inverse| 6.0 * layers as f64 / inverse);
        Ok(Prediction { links, shares: effect.shares, beta: effect.beta, trainable_depth, depth: layers })
    }

    /// The links, from loss to input.
    pub fn links(&self) -> &[PredictedLink] {
        &self.links
    }

    /// The link of that name.
    pub fn link(&self, name: &str) -> Option<&PredictedLink> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The shares of the one path from loss to input, the input's gradient included; `None` where a link is unknown.
    ///
    /// A branch scaled by 0 is booked as [`Shares::of`] does: to nobody, if the skip carries the gradient on.
    pub fn shares(&self) -> Option<Shares> {
        self.shares
    }

    /// log10 of the length of the input's gradient over that of the output's; `None` where a link is unknown.
    pub fn decades(&self) -> Option<f64> {
        self.shares.map(|shares| shares.total())
    }

    /// The same as far as the first pre-activation, where training stops: without the weights that the input meets
    /// first, and what comes after them where they are in a branch.
    pub fn decades_to_first_weights(&self) -> Option<f64> {
        let all = self.decades()?;
        let path = || self.links.iter().filter(|link| link.on_main_path);
        let Some(first) = path().collect::<Vec<_>>().iter().rposition(|link| link.factor == Factor::Weights) else {
            return Some(all);
        };
        let sum: f64 = path().take(first).filter_map(|link| link.decades).sum();
        // A branch scaled by 0 ends the gradient of its own weights, not that of the network.
        Some(if sum.is_finite() || first + 1 == path().count() { sum } else { all }).filter(|sum| !sum.is_nan())
    }

    /// β: over nets of this width ln‖Ju‖² is about N(−β/2, β) for one input, J the Jacobian and u any direction (Hanin &
    /// Nica 2018). Above 1, whether one input's gradient vanishes is a lottery.
    ///
    /// Products with independent weights add 2/n, activations 3(E φ′⁴/(E φ′²)² − 1)/n: together 5/n a layer for ReLU.
    /// A branch counts by its share of the gradient, s²χ_f/(1 + s²χ_f), squared, and the angle between it and the skip
    /// adds to it. What is sampled adds nothing.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// The standard deviation, between nets, of log10 of the length of one input's gradient: √β/(2 ln 10) decades.
    ///
    /// A batch averages over inputs, which see the same weights but other activations: its gradient spreads less.
    pub fn standard_deviation(&self) -> f64 {
        libm::sqrt(self.beta) / (2.0 * core::f64::consts::LN_10)
    }

    /// At what depth the relation between inputs is lost and such layers were no longer trained: 6 ξ_c, where layers
    /// differ 6 over the mean of their 1/ξ_c (Schoenholz et al. 2017). `None` where this is not known: with skips,
    /// norms or sampled layers, or where the variance has no fixed point.
    pub fn trainable_depth(&self) -> Option<f64> {
        self.trainable_depth
    }
}

/// What is known of the values between two layers, over the units of a row.
#[derive(Clone, Copy, Debug)]
struct Signal {
    spread: Spread,
    /// Whether they are normal, as sums over many independent weights are.
    normal: bool,
}

impl Signal {
    fn variance(&self) -> f64 {
        (self.spread.square - self.spread.mean * self.spread.mean).max(0.0)
    }
}

/// What some layers together do.
struct Effect {
    signal: Option<Signal>,
    shares: Option<Shares>,
    beta: f64,
    /// Whether what comes out has nothing to do with what went in, as after random weights.
    mixes: bool,
}

/// Depth scales of plain layers.
#[derive(Default)]
struct Scales {
    /// Of the last weights: fan in · Var W, Var b.
    weights: Option<[f64; 2]>,
    layers: usize,
    /// Σ 1/ξ_c, or nothing where a layer has none; not yet begun where no layer was seen.
    inverse: Option<f64>,
    seen: Vec<(ActivationKind, [f64; 2], Option<f64>)>,
    lost: bool,
}

impl Scales {
    fn add(&mut self, activation: &ActivationKind, plain: bool) -> Result<(), Error> {
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

    fn lose(&mut self) {
        (self.lost, self.inverse) = (true, None);
    }
}

struct Reader<'a> {
    draw: &'a dyn Fn() -> Result<Option<Sample>, Error>,
    sample: Option<Option<Sample>>,
    /// In the order of the forward pass.
    links: Vec<PredictedLink>,
    scales: Scales,
    steps: usize,
}

impl Reader<'_> {
    fn sample(&mut self) -> Result<Option<&mut Sample>, Error> {
        if self.sample.is_none() {
            self.sample = Some((self.draw)()?);
        }
        Ok(self.sample.as_mut().and_then(Option::as_mut))
    }

    fn read(&mut self, node: &LayerSpec, path: &str, signal: Option<Signal>) -> Result<Effect, Error> {
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
            LayerSpec::Linear { inputs, outputs, weights, bias } => {
                self.linear(node, path, signal, [*inputs, *outputs], weights, bias.as_ref())
            }
            LayerSpec::ActivationLayer { width, activation } => {
                self.scales.add(activation, !path.contains('.'))?;
                self.activation(node, path, signal, *width, activation.as_any())
            }
            LayerSpec::PRelu { width, initial, .. } => {
                self.scales.lose();
                self.activation(node, path, signal, *width, &LeakyRelu::new(*initial)?)
            }
            LayerSpec::LayerNorm { width, epsilon, .. } => Ok(self.norm(node, path, signal, *width, *epsilon, true)),
            LayerSpec::RmsNorm { width, epsilon, .. } => Ok(self.norm(node, path, signal, *width, *epsilon, false)),
            LayerSpec::Dropout { rate, .. } => {
                self.scales.lose();
                let keep = 1.0 - rate;
                let after = signal.map(|Signal { spread, normal }| Signal {
                    spread: Spread { square: spread.square / keep, ..spread },
                    normal: normal && *rate == 0.0,
                });
                Ok(self.formula(node, path, Factor::Other, [signal, after], Some(-0.5 * libm::log10(keep)), 0.0))
            }
            LayerSpec::LastStep { .. } => {
                self.steps = 1;
                Ok(self.formula(node, path, Factor::Other, [signal, signal], Some(0.0), 0.0))
            }
            LayerSpec::MeanOverSteps { .. } if self.steps == 1 => {
                Ok(self.formula(node, path, Factor::Other, [signal, signal], Some(0.0), 0.0))
            }
            LayerSpec::MeanOverSteps { .. } => {
                // How much alike the steps are, no description says.
                let decades = -0.5 * libm::log10(self.steps as f64);
                self.steps = 1;
                let after = self.sample()?.and_then(|sample| sample.output(path)).map(not_normal);
                Ok(self.formula(node, path, Factor::Other, [signal, after], Some(decades), 0.0))
            }
            LayerSpec::Residual { branch, scale } => self.residual(node, path, signal, branch, *scale),
            _ => self.sampled(node, path, signal),
        }
    }

    /// `q = σw² m + σb²` and `V = ½ log10 σw²`, with `σw² = fan in · Var W`.
    fn linear(
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
        let after = signal.map(|Signal { spread, .. }| {
            let variance = weight_variance * spread.square + bias_variance;
            Signal { spread: Spread { mean: bias_mean, square: variance + bias_mean * bias_mean }, normal: true }
        });
        // Orthogonal columns keep the length of every vector.
        let kept = weights.orthogonal_gain(shape).is_some() && inputs >= outputs;
        let beta = if kept { 0.0 } else { 2.0 / inputs as f64 };
        let decades = 0.5 * libm::log10(weight_variance);
        let effect = self.formula(node, path, Factor::Weights, [signal, after], Some(decades), beta);
        Ok(Effect { mixes: true, ..effect })
    }

    /// `A = ½ log10 E φ′(√q z)²`.
    fn activation(
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
        let after = Some(Signal { spread, normal: false }).filter(|_| spread.square.is_finite());
        Ok(self.formula(node, path, Factor::Activation, [signal, after], Some(0.5 * libm::log10(slope)), beta.max(0.0)))
    }

    /// `∂y/∂x = (I − 11ᵀ/n − uuᵀ/n)/σ`, without centring `(I − uuᵀ/n)/σ`, takes k = 2 or 1 of n directions away and divides
    /// by σ; gains begin at 1.
    ///
    /// Of a normal row σ² is q χ²/n of n − k + 1 degrees, so that `E (n − k)/(n σ²)` is `(n − k)/((n − k − 1) q)`; of
    /// others it is about 1/q, for what is taken away and what 1/σ² gains by its chance are alike.
    fn norm(
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
            // Of a signal that is not next to nothing it makes a row of mean square 1.
            let after = Signal { spread: Spread { mean: 0.0, square: 1.0 }, normal: false };
            return self.formula(node, path, Factor::Other, [None, centred.then_some(after)], None, 0.0);
        };
        let square = if centred { before.variance() } else { before.spread.square };
        let sigma = libm::sqrt(square + epsilon);
        let left = width as f64 - if centred { 2.0 } else { 1.0 };
        let chance = if before.normal && left > 1.0 { left / (left - 1.0) } else { 1.0 };
        let mean = if centred { 0.0 } else { before.spread.mean / sigma };
        let after = Signal { spread: Spread { mean, square: square / (square + epsilon) }, normal: before.normal };
        let decades = if left > 0.0 { 0.5 * libm::log10(chance) - libm::log10(sigma) } else { f64::NEG_INFINITY };
        self.formula(node, path, Factor::Other, [signal, Some(after)], Some(decades), 0.0)
    }

    /// `‖dy + s fᵀdy‖² = (1 + s²χ_f)‖dy‖²`, for the branch's random weights leave no angle between the two but chance's.
    fn residual(
        &mut self,
        node: &LayerSpec,
        path: &str,
        signal: Option<Signal>,
        branch: &LayerSpec,
        scale: BranchScale,
    ) -> Result<Effect, Error> {
        self.scales.lose();
        let (BranchScale::Fixed(s) | BranchScale::Learned(s)) = scale;
        let injection = self.links.len();
        self.formula(node, path, Factor::Addition, [signal, None], None, 0.0);
        let inner = self.read(branch, &join(path, "branch"), signal)?;
        let scale = libm::log10(s.abs());
        self.formula(node, &join(path, "scale"), Factor::Weights, [inner.signal, None], Some(scale), 0.0);

        let own = self.own_of_residual(path, signal, &inner, s)?;
        let branch_decades = inner.shares.map(|shares| scale + shares.total());
        let link = &mut self.links[injection];
        let Some((whole, after, basis)) = own else {
            return Ok(Effect { signal: None, shares: None, beta: 0.0, mixes: inner.mixes });
        };
        (link.basis, link.decades) = (basis, branch_decades.map(|branch| whole - branch));
        let shares = inner.shares.map(|shares| match scale + shares.total() {
            f64::NEG_INFINITY => Shares { injection: whole, ..Shares::default() },
            branch => {
                let weights = shares.weights + scale;
                Shares { weights, injection: shares.injection + (whole - branch), ..shares }
            }
        });
        // d ln(1 + r) = r/(1 + r) d ln r; and 2⟨dy, s fᵀdy⟩ has variance 4 s²χ/n of ‖dy‖⁴.
        let ratio = branch_decades.map_or(0.0, |branch| libm::exp10(2.0 * branch));
        let share = if ratio.is_finite() { ratio / (1.0 + ratio) } else { 1.0 };
        let width = node.widths().0.max(1) as f64;
        let angle = 4.0 * share * (1.0 - share) / width;
        self.links[injection].spread = angle;
        for link in &mut self.links[injection + 1..] {
            link.spread *= share * share;
        }
        Ok(Effect { signal: after, shares, beta: share * share * inner.beta + angle, mixes: inner.mixes })
    }

    /// The decades of the whole residual, and what comes out of it.
    fn own_of_residual(
        &mut self,
        path: &str,
        signal: Option<Signal>,
        inner: &Effect,
        s: f64,
    ) -> Result<Option<(f64, Option<Signal>, PredictionSource)>, Error> {
        let Some(branch) = inner.shares.map(|shares| shares.total() + libm::log10(s.abs())) else { return Ok(None) };
        if inner.mixes || branch == f64::NEG_INFINITY {
            let sum = |(x, f): (Signal, Signal)| {
                let mean = x.spread.mean + s * f.spread.mean;
                let cross = 2.0 * s * x.spread.mean * f.spread.mean;
                let square = x.spread.square + s * s * f.spread.square + cross;
                Signal { spread: Spread { mean, square }, normal: x.normal && (f.normal || s == 0.0) }
            };
            let after = signal.zip(inner.signal).map(sum);
            let whole = if branch > 150.0 { branch } else { 0.5 * libm::log1p(libm::exp10(2.0 * branch)) * LOG10_E };
            return Ok(Some((whole, after, PredictionSource::Theory)));
        }
        // Without random weights the branch goes with the skip, or against it.
        let Some(sample) = self.sample()? else { return Ok(None) };
        let (injection, after) = (sample.link(path), sample.output(path).map(not_normal));
        Ok(injection.map(|injection| (branch + injection, after, PredictionSource::Sampled)))
    }

    /// Books what a formula says of a layer's one link.
    fn formula(
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
            basis: if decades.is_some() { PredictionSource::Theory } else { PredictionSource::Unknown },
        });
        let shares = decades.map(|decades| share(factor, decades));
        Effect { signal: after, shares, beta: spread, mixes: false }
    }

    /// Books what a few nets did.
    fn sampled(&mut self, node: &LayerSpec, path: &str, signal: Option<Signal>) -> Result<Effect, Error> {
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
                basis: PredictionSource::Sampled,
            });
        }
        Ok(Effect { signal: after, shares: Some(shares), beta: 0.0, mixes: true })
    }
}

const LOG10_E: f64 = core::f64::consts::LOG10_E;

fn not_normal(spread: Spread) -> Signal {
    Signal { spread, normal: false }
}

fn share(factor: Factor, decades: f64) -> Shares {
    let mut shares = Shares::default();
    match factor {
        Factor::Weights => shares.weights = decades,
        Factor::Activation => shares.activation = decades,
        Factor::Addition => shares.injection = decades,
        Factor::Other => shares.other = decades,
    }
    shares
}

fn sum(a: Shares, b: Shares) -> Shares {
    Shares {
        weights: a.weights + b.weights,
        activation: a.activation + b.activation,
        injection: a.injection + b.injection,
        other: a.other + b.other,
    }
}

/// φ(z + by): pre-activations of another mean than 0.
#[derive(Debug)]
struct Shifted<'a> {
    activation: &'a dyn AnyActivation,
    by: f64,
}

impl AnyActivation for Shifted<'_> {
    fn name(&self) -> &'static str {
        self.activation.name()
    }
    fn value_at(&self, z: f64) -> f64 {
        self.activation.value_at(z + self.by)
    }
    fn derivative_at(&self, z: f64) -> f64 {
        self.activation.derivative_at(z + self.by)
    }
    fn bounds(&self) -> Option<Bounds> {
        self.activation.bounds()
    }
    fn kink_points(&self) -> Vec<f64> {
        self.activation.kink_points().into_iter().map(|kink| kink - self.by).collect()
    }
    fn odd(&self) -> bool {
        false
    }
}

/// A number of decades in a table.
fn figure(decades: Option<f64>) -> String {
    match decades {
        None => "unknown".into(),
        Some(0.0) => "·".into(),
        Some(d) if d.is_infinite() => String::from(if d > 0.0 { "+∞" } else { "−∞" }),
        Some(d) => format!("{d:+.2}").replace('-', "−"),
    }
}

/// A row per link, from loss to input, with its decades under its factor; then the sum, and what to make of it.
impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |text: fn(&PredictedLink) -> &str| self.links.iter().map(|link| text(link).chars().count()).max();
        let name = widest(|link| &link.name).unwrap_or(0).max("layer".len());
        let kind = widest(|link| &link.kind).unwrap_or(0).max("kind".len());
        writeln!(f, "predicted gradient budget, from loss to input; shares in decades (log10 of each factor)")?;
        writeln!(
            f,
            "{:<name$}  {:<kind$}  {:>9} {:>8} {:>8} {:>8} {:>8}",
            "layer", "kind", "E x²", "weights", "φ′", "added", "other"
        )?;
        for link in &self.links {
            let square = link.second_moment.map_or(String::from("unknown"), |square| format!("{square:.3e}"));
            let column = |factor| if link.factor == factor { figure(link.decades) } else { String::new() };
            let row = [Factor::Weights, Factor::Activation, Factor::Addition, Factor::Other].map(column);
            let [weights, activation, injection, other] = row;
            let note = match (link.basis, link.on_main_path) {
                (PredictionSource::Sampled, true) => "  sampled",
                (PredictionSource::Sampled, false) => "  sampled, beside the path",
                _ => "",
            };
            let row = format!(
                "{:<name$}  {:<kind$}  {square:>9} {weights:>8} {activation:>8} {injection:>8} {other:>8}{note}",
                link.name, link.kind
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        match self.shares {
            Some(shares) => {
                let row = [shares.weights, shares.activation, shares.injection, shares.other].map(|d| figure(Some(d)));
                let [weights, activation, injection, other] = row;
                let sum = "sum";
                writeln!(
                    f,
                    "{sum:<name$}  {:<kind$}  {:>9} {weights:>8} {activation:>8} {injection:>8} {other:>8}",
                    "", ""
                )?;
                let total = figure(Some(shares.total()));
                write!(f, "from output to input: {total} decades, ± {:.2} between nets", self.standard_deviation())?;
                write!(f, " for one input (β {:.2}); a batch spreads less", self.beta)?;
            }
            None => {
                let unknown = self.links.iter().find(|link| link.decades.is_none());
                write!(f, "from output to input: unknown, for layer")?;
                write!(f, " {} is", unknown.map_or("", |link| &link.name))?;
            }
        }
        if self.beta > 1.0 {
            write!(f, "\nwhether one input's gradient vanishes is a lottery: wider layers, or fewer of them, help")?;
        }
        if let Some(depth) = self.trainable_depth {
            let most = if depth.is_finite() { format!("{depth:.0}") } else { "∞".into() };
            write!(f, "\ntrainable to a depth of about {most} such layers; there are {}", self.depth)?;
        }
        Ok(())
    }
}
