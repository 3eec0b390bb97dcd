//! The thresholds of the rules of a diagnosis.

/// The thresholds of the rules of a diagnosis, each with its source. Every field can be set.
///
/// A source is a paper, a statistical test, or a convention, which is a value chosen on the networks of the clinic
/// (`cargo run -p clinic`) with seeds below 100. In a pair of limits, the first is for a warning and the second for a
/// critical finding, unless its field says otherwise. Decades are powers of ten of a gradient's norm. How the
/// verdicts depend on each convention is in `docs/diagnosis.md`.
///
/// The limits by which [`Statistics`](crate::monitor::Statistics) counts events are not fields, since they cannot be
/// changed after a run. A jump is tenfold. A window of passes, in which dead units are counted, has at least 2,000
/// examples and 10 passes. Averages over passes decay by the factor 0.97 per pass, as in ZClip (Kumar et al. 2025).
/// Inputs are alike if their pre-activations have a cosine above 0.99.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Thresholds {
    /// The decades from loss to first weights (powers of ten of the gradient's norm) below which a gradient vanishes,
    /// \[warning, critical\]: −2 and −4 by default. The values are conventions: at −2 the first layer learns a
    /// hundred times slower than the last.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub vanishing: [f64; 2],
    /// The decades from loss to first weights (powers of ten of the gradient's norm) above which a gradient explodes,
    /// \[warning, critical\]: 1.85 and 3 by default. These are the ratio 70 of AUTOTRAINER (Zhang et al. 2021), and a
    /// ratio of 1000 by convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub exploding: [f64; 2],
    /// The change of a state's gradient over the time steps that the task must remember, in decades (log10) of either
    /// sign. Beyond it the gradient vanishes or explodes, \[warning, critical\]: 2 and 4 by default, which are
    /// conventions.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub over_time: [f64; 2],
    /// Two limits for the change of the gradient's norm by one layer's weights, in decades (log10): −1 and −0.3 by
    /// default, which are conventions. A layer below the first limit is a bottleneck if the median layer is above the
    /// second.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub bottleneck: [f64; 2],
    /// The change of the gradient's norm by one activation layer, in decades (log10), as a mean over these layers. If
    /// it is below this limit, the activations, not the weights, reduce the gradient; −0.35 by default. ReLU has
    /// −0.15, tanh at its critical line −0.1, sigmoid at most −0.6.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub activation: f64,
    /// The fraction of a layer's units that are saturated, less its standard error, above which its weights are too
    /// large, \[warning, critical\]: 0.3 and 0.5 by default. A unit is saturated if its mean |φ′| is below 5 % of the
    /// bound of |φ′|. SageMaker Debugger stops at 50 %.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub saturated: [f64; 2],
    /// The mean of |φ′| over the units of a layer with a bounded activation in the first pass, as a fraction of the
    /// bound of |φ′|. Below these limits, \[warning, critical\], the units are saturated from the start: 0.35 and
    /// 0.2 by default. The mean is 0.5 for tanh with weights at the gain 5/3, as in PyTorch's `calculate_gain`, and
    /// 0.35 at a gain of 2.5.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub slope: [f64; 2],
    /// The change of the gradient's norm by an activation, in decades (log10), above which theory counts as
    /// predicting no saturation; −0.2 by default. Units that are saturated in the first monitored pass in spite of
    /// this prediction are reported only if their weights are not those that the initializers draw. The value is a
    /// convention: tanh with weights at the gain 5/3, as in PyTorch's `calculate_gain`, has −0.2.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub predicted_saturation: f64,
    /// Limits for dead units, \[warning, critical\]: the fraction of a layer's units that pass no gradient for any
    /// example of a window (some consecutive passes), minus that fraction in the first pass. They are 0.3 and 0.6 by
    /// default, which are conventions. The first pass is subtracted because units of a deep ReLU network are off from
    /// the start.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub dead: [f64; 2],
    /// log10 of the ratio of an update's norm to the norm of its parameters, above which updates are too large,
    /// \[warning, critical\]: −0.7 and −0.3 by default. −1 is the upper end of Karpathy's and TheDeepChecker's range.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub long_step: [f64; 2],
    /// The factor by which clipping multiplies a typical gradient: below it the clip threshold is too low if the
    /// updates are also small, \[warning, critical\]. The defaults are 0.1 and 0.01. Pascanu et al. 2013 find
    /// thresholds of half to ten times the typical norm good.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub low_clip: [f64; 2],
    /// log10 of the ratio of an update's norm to the norm of its parameters, below which updates are small; −4 by
    /// default, the lower end of Karpathy's and TheDeepChecker's range. Updates with a ratio above it are never too
    /// small.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub small_step: f64,
    /// log10 of the sum, over all updates, of the ratio of an update's norm to the norm of its parameters. Below it,
    /// updates are too small if the loss does not fall, \[warning, critical\]: −1 and −3 by default. A layer of n
    /// inputs learns while its weights move by 1/√n of their norm (Chizat et al. 2019): a tenth for n = 100, more
    /// for smaller n.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub short_way: [f64; 2],
    /// The ratio of the learning rate to the largest stable rate, above which it is too high, \[warning, critical\]:
    /// 1.2 and 2 by default. The largest stable rate is 2 (1 + β)/λ, with β the momentum and λ the largest
    /// [curvature](super::Diagnosis::curvature) of the loss. Training at the edge of stability has 0.98 to 1.05
    /// (Cohen et al. 2021); above 2 a loss hardly falls again (Lewkowycz et al. 2020).
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub edge: [f64; 2],
    /// Limits for updates that are too small while the loss stands still, \[warning, critical\]: 0.632 and 0.01 by
    /// default. They are too small if all together cover less than this fraction of the way to the minimum along the
    /// direction of largest [curvature](super::Diagnosis::curvature). At the first limit, 1 − 1/e, the time constant
    /// of that direction is as long as the run.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub covered: [f64; 2],
    /// The root mean square above which inputs are not scaled, \[warning, critical\]: 5 and 20 by default. That of
    /// the first pre-activations must be above it too. The first value is also the ratio of a sample's size to that
    /// of the median sample above which it may count as far larger than the others. LeCun et al. 1998, section 4.3,
    /// ask for inputs of 1.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub input: [f64; 2],
    /// The root mean square below which both inputs and first pre-activations must be for small inputs to be a fault:
    /// the first value if the loss does not fall, the second in any case. The defaults are 0.1 and 0.01, which are
    /// conventions: one-hot inputs of a hundred columns are at 0.1.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub small_input: [f64; 2],
    /// The root mean square distance from the first outputs to their targets, over the larger of 1 and the root mean
    /// square of the outputs, above which targets are not scaled, \[warning, critical\]. The defaults are 10 and 100,
    /// which are conventions: for standardized targets the distance is 1.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub target: [f64; 2],
    /// The fraction below which a gate is shut, \[warning, critical\]. For an input gate it is the fraction of the
    /// inputs that the state still holds at the end of a sequence, computed from the mean values of the gates. For an
    /// output gate it is the mean value of the gate. The defaults are 0.1 and 0.03, which are conventions.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub admitted: [f64; 2],
    /// The mean value, from 0 to 1, of a gate that carries the state, below which the gate is shut; 0.4 by default, a
    /// convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub shut_gate: f64,
    /// Subnormal numbers in a gradient are reported if the fraction of its values that are subnormal exceeds one of
    /// these limits, \[note, warning\]. The defaults are 0.1 and 0.5, which are conventions.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub subnormal: [f64; 2],
    /// The number of consecutive monitored passes in which a fluctuating statistic, such as the norm of updates, must
    /// be out of range before it is reported; 3 by default.
    pub checks: u64,
    /// One recurrent layer is named as the cause of an exploding gradient if its time steps cause at least this
    /// fraction of the change, in decades (log10), from loss to first weights; 0.7 by default.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub share: f64,
    /// An upper bound on the gradient by a [certificate](crate::theory::Certificate) is reported if it is below this
    /// change of the gradient's norm from loss to input, in decades (log10). The default is −1, by convention: a
    /// tenth of the norm.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub certificate: f64,
    /// Two limits for inputs that a layer makes alike. In such a layer, 1 − cosine of the pre-activations of two
    /// inputs is below the first limit, and smaller than in the first layer by a factor above the second limit. The
    /// defaults are 0.05 and 6, which are conventions. A rectifier with critical weights brings independent inputs to
    /// 0.05 in about 20 layers; a cosine of 0.7 is 6 times farther from 1 than a cosine of 0.95.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub similar: [f64; 2],
    /// The factor that replaces the second value of [`similar`](Self::similar) in a run that has learned something,
    /// for inputs that are alike now or were in the first pass; 100 by default. The value is a convention: 1 − cosine
    /// is proportional to the square of the distance between pre-activations, so 100 stands for a tenth of the
    /// distance.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub collapsed: f64,
    /// Two fractions of a reference loss: below the first a loss has fallen, below the second it has fallen far. The
    /// reference is the first loss. It is the loss of the best constant outputs instead if that is known and is
    /// lower, or if that is known and the run began with trained parameters. A loss that has fallen lowers the
    /// severity of findings by one degree, and a loss that has fallen far by two. The defaults are 2/3 and 1/3, which
    /// are conventions.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub fallen: [f64; 2],
    /// The fraction of the loss of the best constant outputs above which a run has learned nothing; 0.9 by default, a
    /// convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub learned: f64,
    /// Few samples outweigh all others if the norm of the gradient with them exceeds the norm without them by more
    /// than this factor; 10 by default, a convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub outweighs: f64,
    /// The fraction of the loss of the best constant outputs above which the lowest loss that can be reached is a
    /// fault. That lowest loss is limited by the range of the last layer, or by inputs that are mostly identical. The
    /// default is 1/3, a convention: below a third a loss has fallen far.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub unreachable: f64,
    /// Weight decay is too strong if all weight matrices pass both of these limits. The cosine of their updates with
    /// −w, w the weights, is above the first: updates mostly shrink weights. Their root mean square, as a fraction of
    /// its first value, is below the second: they have shrunk. Both are 0.5 by default, by convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub shrinks: [f64; 2],
    /// Two limits for batches that are not mixed. The first is the correlation of the gradients of two rows of one
    /// batch above which batches are not mixed. The second is the ratio of the loss on all data to that of recent
    /// batches above which the finding is a warning, not a note. The defaults are 0.5, half of the variance, and 1.5,
    /// by convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub unmixed: [f64; 2],
    /// The fraction of the variance of the outputs above which dropout masks change them more than the inputs do. At
    /// one half, the default, masks and inputs change the outputs equally.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub drowns: f64,
    /// The p-value of a permutation test above which targets may be independent of inputs. At the default of 0.05,
    /// independence is missed in one of twenty cases.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub independent: f64,
    /// The ratio of the root mean square of the weights to the standard deviation of their initializer, above which
    /// weights count as changed or loaded; 3 by default, a convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub changed: f64,
    /// The number of monitored passes that a run must have before its loss is judged; 25 by default, a convention.
    pub patience: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            vanishing: [-2.0, -4.0],
            exploding: [1.85, 3.0],
            over_time: [2.0, 4.0],
            bottleneck: [-1.0, -0.3],
            activation: -0.35,
            saturated: [0.3, 0.5],
            slope: [0.35, 0.2],
            predicted_saturation: -0.2,
            dead: [0.3, 0.6],
            long_step: [-0.7, -0.3],
            low_clip: [0.1, 0.01],
            small_step: -4.0,
            short_way: [-1.0, -3.0],
            edge: [1.2, 2.0],
            covered: [0.632, 0.01],
            input: [5.0, 20.0],
            small_input: [0.1, 0.01],
            target: [10.0, 100.0],
            admitted: [0.1, 0.03],
            shut_gate: 0.4,
            subnormal: [0.1, 0.5],
            checks: 3,
            share: 0.7,
            certificate: -1.0,
            similar: [0.05, 6.0],
            collapsed: 100.0,
            fallen: [2.0 / 3.0, 1.0 / 3.0],
            learned: 0.9,
            outweighs: 10.0,
            unreachable: 1.0 / 3.0,
            shrinks: [0.5, 0.5],
            unmixed: [0.5, 1.5],
            drowns: 0.5,
            independent: 0.05,
            changed: 3.0,
            patience: 25,
        }
    }
}
