//! Predicts, from the layer spec of an untrained network, how each layer changes the gradient's norm.

mod reader;
mod residual;
mod rows;
mod shifted;
mod signal;
mod table;

use self::{
    reader::Reader,
    signal::{Scales, Signal},
};
use super::{
    InputStatistics,
    sample::{Sample, Spread},
};
use crate::{
    error::Error,
    layer::{Layer, LayerSpec, check_depth},
    monitor::{Factor, Shares},
    scalar::Scalar,
};
use alloc::{string::String, vec::Vec};

/// The source of a link's predicted decades: a link is one factor of the chain rule, such as a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PredictionSource {
    /// The decades follow from a formula.
    Theory,
    /// The decades are means over passes of a few random networks on random inputs.
    Sampled,
    /// The decades are unknown: the link belongs to a custom layer that only a layer spec describes, or depends on
    /// the output of such a layer.
    Unknown,
}

/// The predicted effect of one link (factor of the chain rule) on the norm of a gradient. Links have the names of
/// [`GradientBudget`].
///
/// [`GradientBudget`]: crate::monitor::GradientBudget
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PredictedLink {
    /// The path of the link (factor of the chain rule) in the network: `2`, `3.branch.0`.
    pub name: String,
    /// The kind of the layer that applies this factor of the chain rule: `Linear`, `Tanh`.
    pub kind: String,
    /// The kind of this factor of the chain rule: weights, an activation, a sum or another.
    pub factor: Factor,
    /// Whether this factor of the chain rule is on the main path from loss to input, not inside a parallel branch.
    pub on_main_path: bool,
    /// The mean square of the layer's input. For an activation after weights it is q_l, the variance of
    /// pre-activations. `None` if unknown.
    pub second_moment: Option<f64>,
    /// log10 of the gradient's norm after this factor of the chain rule over its norm before, in the backward pass;
    /// `None` if unknown.
    pub decades: Option<f64>,
    /// The layer's term in β, the variance over random networks of the log of one input's squared gradient norm: see
    /// [`Prediction::beta`].
    pub spread: f64,
    /// How the decades were obtained: from a formula, from random networks, or not at all.
    pub source: PredictionSource,
}

/// The predicted gradient budget of a network before its first update: the change of a gradient's norm in each
/// link (factor of the chain rule), in decades (powers of ten).
///
/// Weights and activations follow mean-field theory (Poole et al. 2016; Schoenholz et al. 2017). q_l, the mean square
/// of the pre-activations of layer l, follows from the mean square of the network's inputs.
///
/// | link | decades |
/// | --- | --- |
/// | weights, any initializer of mean 0 | `V_l = ½ log10(fan in · Var W)` |
/// | activation | `A_l = ½ log10 E φ′(√q_l z)²` |
/// | residual `x + s f(x)` | `½ log10(1 + s²χ_f)` in total, χ_f the branch's squared gain |
/// | LayerNorm, RmsNorm | `−log10 σ`, σ² the row's variance or mean square |
/// | BatchNorm | `−log10 σ`, σ² the variance of a unit over rows: `σ_w² Var φ` after weights and activation |
/// | dropout | `−½ log10(1 − rate)` |
/// | pooling | last step 0, mean over T steps `−½ log10 T` |
///
/// If the inputs were given as rows ([`InputStatistics::of_samples`]), the gradients of rows of different norms are
/// predicted separately, and their squares are added.
///
/// Layers without a formula (recurrent layers, weights of nonzero mean, custom layers) are sampled with eight random
/// networks and normal inputs.
///
/// The prediction is the mean, over random networks, of log10 of the change of a batch's gradient norm, as long as
/// q_l stays near its fixed point. The mean change for one input is lower by `β/(4 ln 10)` decades, [β](Self::beta)
/// the variance of the log of its squared norm over random networks. Between networks it varies by
/// [`standard_deviation`](Self::standard_deviation).
///
/// A deviation of q_l from its fixed point can grow from layer to layer: with GELU, Swish and softplus, for He's and
/// for critical weights. Then a few rows with the largest gradients determine the norm of a batch's gradient, which no
/// series in 1/width describes. An example is GELU with He's weights and 50 layers of width 64. The gradient of a batch
/// of 64 loses 3.3 decades, while 5.7 are predicted. Most of its rows lose the 5.8 decades of
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
/// assert!((shares.activation + 6.3).abs() < 0.1); // vanishes, because of φ′
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
    /// Predicts the gradient budget (the decades by which each link, a factor of the chain rule, changes the gradient's
    /// norm) of the untrained `network`, on inputs with the statistics `inputs`. Custom layers are sampled.
    ///
    /// # Errors
    /// [`Error::InvalidLayer`] if layers are nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep. If a layer
    /// must be sampled: the errors of [`Workspace::new`](crate::workspace::Workspace::new) and
    /// [`initialize`](crate::layer::initialize), and [`Error::TooLarge`] for more than 2¹⁸ time steps, or for a pass
    /// of more than 2²⁸ values.
    ///
    /// # Panics
    /// If a layer must be sampled, and [`Workspace::forward`](crate::workspace::Workspace::forward) panics.
    pub fn of<T: Scalar>(network: &(impl Layer<T> + ?Sized), inputs: InputStatistics) -> Result<Self, Error> {
        check_depth(&network)?;
        Self::read(&network.spec(), inputs, &|| Sample::new(network, inputs.spread, inputs.steps).map(Some))
    }

    /// Predicts the change of the gradient's norm in each layer, like [`of`](Self::of), for the network that `node`
    /// describes, on inputs with the statistics `inputs`. It is unknown for custom layers, and for layers whose
    /// prediction depends on their outputs.
    ///
    /// # Errors
    /// The errors of [`of`](Self::of). If a layer must be sampled, also those of [`LayerSpec::build`], except
    /// [`Error::CustomPart`].
    pub fn of_node(node: &LayerSpec, inputs: InputStatistics) -> Result<Self, Error> {
        Self::read(node, inputs, &|| match node.build_to_look_at() {
            Ok(network) => Sample::new(&network, inputs.spread, inputs.steps).map(Some),
            Err(Error::CustomPart { .. }) => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn read(
        node: &LayerSpec,
        inputs: InputStatistics,
        draw: &dyn Fn() -> Result<Option<Sample>, Error>,
    ) -> Result<Self, Error> {
        node.check_depth().map_err(|rule| rule.at(""))?;
        let common = inputs.common.unwrap_or(inputs.spread.mean * inputs.spread.mean);
        let whole = Self::of_spread(node, inputs.spread, common, inputs.steps, draw)?;
        let theory = |link: &PredictedLink| link.source == PredictionSource::Theory;
        // Batch normalization divides all rows by one variance.
        let apart = !node.normalizes_over_rows() && whole.links.iter().all(theory);
        let Some(rows) = inputs.rows.filter(|rows| apart && rows::differ(rows)) else {
            return Ok(whole);
        };
        let row = |square: f64| {
            let by = libm::sqrt(square / inputs.spread.square);
            let spread = Spread { mean: by * inputs.spread.mean, square };
            Self::of_spread(node, spread, by * by * common, inputs.steps, draw)
        };
        let each = rows.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
        Ok(whole.clone().of_different_rows(&each).unwrap_or(whole))
    }

    fn of_spread(
        node: &LayerSpec,
        spread: Spread,
        common: f64,
        steps: usize,
        draw: &dyn Fn() -> Result<Option<Sample>, Error>,
    ) -> Result<Self, Error> {
        let mut reader = Reader { draw, sample: None, links: Vec::new(), scales: Scales::default(), steps };
        // Rows do not affect each other. Only batch normalization reads the mean product of two rows.
        let norms = node.parts().iter().any(|(_, part)| matches!(part, LayerSpec::BatchNorm(_)));
        let common = norms.then_some(common);
        let effect = reader.read(node, "", Some(Signal { spread, normal: true, common }))?;
        let mut links = reader.links;
        links.reverse();
        let Scales { layers, inverse, .. } = reader.scales;
        let trainable_depth = inverse.filter(|_| layers > 0).map(|inverse| 6.0 * layers as f64 / inverse);
        Ok(Prediction { links, shares: effect.shares, beta: effect.beta, trainable_depth, depth: layers })
    }

    /// Returns the links (factors of the chain rule), from loss to input.
    pub fn links(&self) -> &[PredictedLink] {
        &self.links
    }

    /// Returns the link (factor of the chain rule) with the path `name`, such as `3.branch.0`; `None` if there is none.
    pub fn link(&self, name: &str) -> Option<&PredictedLink> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Returns the decades (powers of ten) by which each kind of factor of the chain rule changes the gradient's norm
    /// on the main path, from loss to input. `None` if a layer on this path has no prediction.
    ///
    /// A residual branch scaled by 0 adds to no kind if the skip connection carries the gradient, as in
    /// [`Shares::of`].
    pub fn shares(&self) -> Option<Shares> {
        self.shares
    }

    /// log10 of the input gradient's norm over the output gradient's norm; `None` if a link (factor of the chain rule)
    /// between them has no prediction.
    pub fn decades(&self) -> Option<f64> {
        self.shares.map(|shares| shares.total())
    }

    /// Returns log10 of the gradient's norm at the first pre-activations, the last gradient that training needs, over
    /// its norm at the output. `None` if it is unknown.
    ///
    /// It excludes the weights nearest to the input, and all layers between these weights and the input.
    pub fn decades_to_first_weights(&self) -> Option<f64> {
        let all = self.decades()?;
        let path = || self.links.iter().filter(|link| link.on_main_path);
        let Some(first) = path().collect::<Vec<_>>().iter().rposition(|link| link.factor == Factor::Weights) else {
            return Some(all);
        };
        let sum: f64 = path().take(first).filter_map(|link| link.decades).sum();
        // A branch scaled by 0 ends the gradient of its own weights only. So the decades up to the first weights are
        // the total without the terms after them.
        let after: f64 = path().skip(first).filter_map(|link| link.decades).sum();
        let in_branch = path().nth(first).is_some_and(|link| link.name.contains("branch"));
        let found = match (sum.is_finite(), in_branch) {
            (false, true) => all,
            (false, false) if sum.is_nan() => all - after,
            _ => sum,
        };
        Some(found).filter(|found| !found.is_nan())
    }

    /// β, the variance of ln‖Ju‖² over random networks of this width, J the Jacobian for one input, u any
    /// direction.
    ///
    /// ln‖Ju‖² is distributed about as N(−β/2, β) (Hanin & Nica 2018). If β is above 1, random variation decides
    /// whether one input's gradient vanishes in a given network.
    ///
    /// Independent weights with n inputs add 2/n, an activation of n units 3(E φ′⁴/(E φ′²)² − 1)/n: for ReLU 5/n a
    /// layer. The terms of a residual branch are multiplied by (s²χ_f/(1 + s²χ_f))², its squared share of the
    /// gradient. Here s is the branch's scale, and χ_f the factor by which it multiplies the squared norm of a
    /// gradient. The random angle between the gradients of branch and skip adds a term. Layers without a formula add
    /// nothing.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// The standard deviation, over random networks, of log10 of the norm of one input's gradient: √β/(2 ln 10)
    /// decades.
    ///
    /// The gradient of a batch varies less: it averages over inputs, which have the same weights but different
    /// activations.
    pub fn standard_deviation(&self) -> f64 {
        libm::sqrt(self.beta) / (2.0 * core::f64::consts::LN_10)
    }

    /// The number of layers like those of this network up to which it could be trained: 6 ξ_c, or 6 over the mean of
    /// 1/ξ_c if layers differ (Schoenholz et al. 2017).
    ///
    /// ξ_c is the number of layers over which the correlation of two inputs approaches its limit by a factor e. In a
    /// deeper network, the outputs for two inputs no longer depend on how the inputs are correlated.
    ///
    /// `None` with skip connections, normalization or layers without a formula, or if the variance has no fixed
    /// point.
    pub fn trainable_depth(&self) -> Option<f64> {
        self.trainable_depth
    }
}
