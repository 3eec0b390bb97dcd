//! The thresholds of the rules of a diagnosis.

/// The thresholds of the rules of a diagnosis, each with its source. Every field can be set.
///
/// A source is a paper, a statistical test, or a convention: chosen on networks of the clinic (`cargo run -p clinic`)
/// whose seeds are below 100. How the verdicts depend on each convention is in `docs/diagnosis.md`.
///
/// The limits by which [`Statistics`](crate::monitor::Statistics) counts events are not fields, since they cannot be
/// changed after a run. A jump is tenfold. A window of units has 2,000 examples of at least 10 passes. Averages over
/// passes have the decay of ZClip (0.97, Kumar et al. 2025). Inputs are alike above a cosine of 0.99.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Thresholds {
    /// The decades from loss to first weights below which a gradient vanishes: for a warning, and for a critical
    /// finding. Convention: at −2 the first layer learns a hundred times slower than the last.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub vanishing: [f64; 2],
    /// The decades from loss to first weights above which a gradient explodes: for a warning, and for a critical
    /// finding. Convention: ratio 70 of AUTOTRAINER (Zhang et al. 2021), and 1000.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub exploding: [f64; 2],
    /// The decades over the span of the task, of either sign, beyond which a state gradient vanishes or explodes: for a
    /// warning, and for a critical finding. Convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub over_time: [f64; 2],
    /// A layer is a bottleneck if the decades of its weights are below the first value, while those of the median layer
    /// are above the second. Convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub bottleneck: [f64; 2],
    /// The mean decades of an activation below which the activation, not the weights, reduces the gradient; −0.35 by
    /// default. ReLU has −0.15, tanh at its critical line −0.1, sigmoid at most −0.6.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub activation: f64,
    /// The fraction of a layer's units that are saturated, above which weights are too large: for a warning, and for a
    /// critical finding. A unit is saturated if |φ′| is below 5 % of its bound. SageMaker Debugger stops at 50 %.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub saturated: [f64; 2],
    /// The mean of φ′ over the units of a layer with a bounded activation, as a fraction of its bound, below which
    /// the units are saturated from the start. One for a warning, and one for a critical finding. It is 0.5 for tanh at
    /// the gain 5/3 of the usual table, and 0.35 at a gain of 2.5.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub slope: [f64; 2],
    /// The predicted decades of an activation above which theory predicts no saturation. If units are saturated in the
    /// first monitored pass nevertheless, the weights are not initial values of the description. Convention: tanh at
    /// the gain 5/3 of the usual table has −0.2.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub predicted_saturation: f64,
    /// The fraction of a layer's units that pass no gradient for any example of a window, beyond the fraction of the
    /// first pass: for a warning, and for a critical finding. Convention; the deeper a ReLU network, the more of its
    /// units are off from the start.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub dead: [f64; 2],
    /// log10 of the norm of an update over that of its parameters, above which updates are too large: for a warning,
    /// and for a critical finding. −1 is the upper end of Karpathy's and TheDeepChecker's range.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub long_step: [f64; 2],
    /// The factor by which clipping multiplies a typical gradient, below which the clip threshold is too low, if the
    /// updates are also small: for a warning, and for a critical finding. Pascanu et al. 2013 find half to ten times
    /// the typical norm good.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub low_clip: [f64; 2],
    /// log10 of the norm of an update over that of its parameters, below which updates are small. −4 is the lower end
    /// of the range of `long_step`.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub small_step: f64,
    /// log10 of the largest update over its parameters, below which updates are too small if the loss does not fall:
    /// for a warning, and for a critical finding. Half a decade, and two decades, below the range of `long_step`.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub short_step: [f64; 2],
    /// The rate over the largest that is stable, 2/λ with λ the largest [curvature](super::Diagnosis::curvature) of
    /// the loss, above which a rate is too high: for a warning, and for a critical finding. Training at the edge of
    /// stability has 0.98 to 1.05 (Cohen et al. 2021); above 2 a loss hardly comes down again (Lewkowycz et al. 2020).
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub edge: [f64; 2],
    /// The fraction of the way along the direction of largest [curvature](super::Diagnosis::curvature) that all steps
    /// together go, below which they are too short for a loss that stands still. One for a warning, and one for a
    /// critical finding. At 1 − 1/e the time constant of that direction is as long as the run.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub covered: [f64; 2],
    /// The root mean square of the inputs above which they are not scaled: for a warning, and for a critical finding.
    /// LeCun et al. 1998, section 4.3, ask for 1.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub input: [f64; 2],
    /// The root mean square of the first pre-activations below which small inputs are a fault: if the loss does not
    /// fall, and in any case. Convention: one-hot inputs of a hundred columns are at 0.1.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub small_input: [f64; 2],
    /// The root mean square distance from the first outputs to their targets, over the larger of 1 and the root mean
    /// square of the outputs, above which targets are not scaled. One for a warning, and one for a critical finding.
    /// Convention: for standardized targets it is 1.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub target: [f64; 2],
    /// The fraction of its input that a state holds at the end of a sequence, or of its state that a layer outputs,
    /// below which a gate is shut. One for a warning, and one for a critical finding. Convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub admitted: [f64; 2],
    /// The mean value of a gate that carries the state, below which the gate is shut. Convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub shut_gate: f64,
    /// The fraction of values of a gradient that are below the normal numbers of the format. Above the first value it
    /// is a note, above the second a warning. Convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub subnormal: [f64; 2],
    /// The number of monitored passes in a row in which a fluctuating statistic, such as the size of updates, must be
    /// out of range.
    pub checks: u64,
    /// The fraction of the decades of a budget above which the steps of a recurrent layer are named as the cause of an
    /// explosion.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub share: f64,
    /// The decades from loss to input below which the upper bound of a [certificate](crate::theory::Certificate) is
    /// reported. Convention: tenfold.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub certificate: f64,
    /// Two values by which inputs are alike: 1 − cosine of their pre-activations in a layer is below the first, and
    /// smaller than in the first layer by the second as a factor. Convention: a rectifier with critical weights brings
    /// independent inputs to 0.05 in about 20 layers; a cosine of 0.7 is 6 times farther from 1 than a cosine of 0.95.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub alike: [f64; 2],
    /// A factor in place of the second of `alike`, for inputs that were alike in the first pass and are no more, while
    /// the loss has begun to fall. Convention: a decade of the distance between pre-activations, whose squares a cosine
    /// counts.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub collapsed: f64,
    /// The fractions of its first value below which a loss has fallen, and has fallen far. They lower the severity of
    /// findings by one degree and by two. Convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub fallen: [f64; 2],
    /// The fraction of the loss of the best constant outputs above which a run has learned nothing. Convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub learned: f64,
    /// The ratio of the norm of the gradient with a sample to the norm without it, above which the sample outweighs all
    /// others. Convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub outweighs: f64,
    /// The fraction of the loss of the best constant outputs above which the lowest loss within the range of the last
    /// layer is a fault. Convention: below a third a loss has fallen far.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub unreachable: f64,
    /// The cosine of updates with −w, above which updates mostly shrink the weights w, and the fraction of their
    /// first size, below which all weights have shrunk. Convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub shrinks: [f64; 2],
    /// Two limits, above which batches are not mixed. First the correlation of the gradients of two rows of one batch.
    /// Then the ratio of the loss on all data to that of recent batches. Convention: half of the variance.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub unmixed: [f64; 2],
    /// The fraction of the variance of the outputs above which dropout masks change them more than the inputs do. By
    /// definition one half.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub drowns: f64,
    /// The p-value of a permutation test above which targets may be independent of inputs. At 0.05 one of twenty
    /// independent targets is not noted. A statistical test.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub independent: f64,
    /// The ratio of the root mean square of the weights to the standard deviation of their initializer, above which
    /// weights count as changed or loaded. Convention.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub changed: f64,
    /// The number of monitored passes before a loss is judged. Convention.
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
            short_step: [-4.5, -6.0],
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
            alike: [0.05, 6.0],
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
