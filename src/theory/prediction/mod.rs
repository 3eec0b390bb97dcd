//! The gradient budget of a network before its first step, read from its description.

mod reader;
mod residual;
mod shifted;
mod signal;
mod table;

use self::{
    reader::Reader,
    signal::{Scales, Signal},
};
use super::{InputStatistics, sample::Sample};
use crate::{
    error::Error,
    layer::{Layer, LayerSpec},
    monitor::{Factor, Shares},
    scalar::Scalar,
};
use alloc::{string::String, vec::Vec};

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
/// eight nets with normal inputs. It is the mean over nets of what a batch's gradient does, as long as q_l keeps near
/// its fixed point; one input's is lower by `β/(4 ln 10)` and spreads by
/// [`standard_deviation`](Self::standard_deviation) from net to net.
///
/// A departure of q_l can grow from layer to layer: with GELU, Swish and softplus, for He's or for critical weights.
/// Then the few longest gradients among the rows of a batch decide its norm. No series in 1/width gives it. With GELU,
/// He's weights and 50 layers of 64 a batch of 64 loses 3.3 decades, not 5.7; most of its rows lose the 5.8 of
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
        Self::read(&network.spec(), inputs, &|| Sample::new(network, inputs.spread, inputs.steps).map(Some))
    }

    /// The budget of the network that `node` describes. A layer of your own in it is unknown, and so is what depends on
    /// it.
    ///
    /// # Errors
    /// Those of [`of`](Self::of); where a part must be sampled, those of [`LayerSpec::build`] but for
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
    /// A branch scaled by 0 is booked as in [`Shares::of`]: to no factor, if the skip carries the gradient.
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

    /// β: over nets of this width ln‖Ju‖² is about N(−β/2, β) for one input, J the Jacobian and u any direction (Hanin
    /// & Nica 2018). Above 1, whether one input's gradient vanishes is a lottery.
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
