//! The causes of a gradient that vanishes, explodes or does not train the network.

use core::fmt;

/// The cause of a finding: a fault of the initialization, the training, the data or the number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Cause {
    /// The derivative φ′ of the activation is small at all pre-activations that occur: sigmoid's is at most ¼. So
    /// φ′ makes the gradient vanish over depth, for any weights.
    SaturatingActivation,
    /// The weights are too small: each product with them reduces the norm of the gradient.
    SmallWeights,
    /// The weights are too large: each product increases the norm of the gradient, or drives the units to where the
    /// derivative φ′ of the activation is 0.
    LargeWeights,
    /// All units of a layer have equal weights from the start, and training keeps these equal.
    ConstantWeights,
    /// Some units of a layer are copies of each other and remain so.
    DuplicatedUnits,
    /// Dead units: the derivative φ′ of their activation is 0 for every example, so that no update reaches their
    /// weights.
    DeadUnits,
    /// One layer alone reduces the norm of the gradient by more than a decade, a factor of ten.
    Bottleneck,
    /// The inputs are not near mean 0 and variance 1.
    UnscaledInput,
    /// Each time step of the backward pass reduces the gradient, so much that it vanishes within the number of steps
    /// that the task must remember.
    VanishingRecurrence,
    /// Each time step of the backward pass increases the gradient.
    ExplodingRecurrence,
    /// A gate that should carry the state from one time step to the next is closed.
    ClosedForgetGate,
    /// The updates of the optimizer are too large for the weights.
    LearningRateTooHigh,
    /// The loss surface has a cliff: the norm of the gradient jumps, and no gradient clipping limits it.
    Cliff,
    /// Clipping reduces at least half of the gradients, typically to a small fraction of their norm.
    ClipThresholdTooLow,
    /// A product or a sum left the range of the number format, `f32` or `f64`.
    Overflow,
    /// An activation or its derivative was NaN for finite values: it had no defined result. Or a parameter was NaN or
    /// infinite before the first update.
    NotANumber,
    /// A block, such as the weights or the biases of a layer, has a gradient, but its values do not change, although
    /// it was not declared frozen.
    FrozenBlock,
    /// The layer maps all inputs to nearly equal values, so that gradients do not separate them.
    CollapsedRepresentation,
    /// Part of the gradient is below the normal numbers of the format, `f32` or `f64`, and has lost digits.
    Underflow,
    /// A value of the data is NaN or infinite, a few samples are far larger than the others, or most samples have
    /// identical inputs.
    BadData,
    /// The targets are far larger than the outputs of the network, and the loss does not fall.
    UnscaledTarget,
    /// The branches of residual blocks add more than the skip connections carry: the gradient grows from block to
    /// block.
    LoudBranches,
    /// A gate admits almost nothing of the input into the state.
    ClosedInputGate,
    /// A gate passes almost nothing of the state to the output.
    ClosedOutputGate,
    /// The updates are so small beside the weights that the loss does not fall.
    LearningRateTooLow,
    /// The derivative of a unit's state with respect to its recurrent parameter is far larger than the gain of the
    /// state, its size over that of the inputs. All sizes are root mean squares. This is the curse of memory.
    SensitiveMemory,
    /// Weight decay outweighs the gradient: the weights shrink, and the loss does not fall.
    DecayTooStrong,
    /// The random masks of dropout, recurrent dropout or zoneout change the outputs more than a change of the inputs
    /// does.
    DropoutTooHeavy,
    /// The last layer squashes its outputs into a range in which the loss cannot be low.
    SquashedOutputs,
    /// The loss has no lower bound for these outputs: even outputs that ignore the inputs lower it without end. The
    /// loss expects outputs of another form, such as the logarithms of probabilities that a log-softmax computes.
    UnboundedLoss,
    /// The samples within each batch are alike, so that each update undoes the updates of other batches.
    UnmixedBatches,
    /// A permutation test finds no dependence of the targets on the inputs.
    NoInformation,
    /// No cause was found: the gradient vanishes or explodes over depth and no change that was tried repairs it, the
    /// loss climbs, or nothing was learned.
    NoCauseFound,
}

impl Cause {
    /// All causes.
    pub const ALL: [Cause; 33] = [
        Cause::SaturatingActivation,
        Cause::SmallWeights,
        Cause::LargeWeights,
        Cause::ConstantWeights,
        Cause::DuplicatedUnits,
        Cause::DeadUnits,
        Cause::Bottleneck,
        Cause::UnscaledInput,
        Cause::VanishingRecurrence,
        Cause::ExplodingRecurrence,
        Cause::ClosedForgetGate,
        Cause::LearningRateTooHigh,
        Cause::Cliff,
        Cause::ClipThresholdTooLow,
        Cause::Overflow,
        Cause::NotANumber,
        Cause::FrozenBlock,
        Cause::CollapsedRepresentation,
        Cause::Underflow,
        Cause::BadData,
        Cause::UnscaledTarget,
        Cause::LoudBranches,
        Cause::ClosedInputGate,
        Cause::ClosedOutputGate,
        Cause::LearningRateTooLow,
        Cause::SensitiveMemory,
        Cause::DecayTooStrong,
        Cause::DropoutTooHeavy,
        Cause::SquashedOutputs,
        Cause::UnboundedLoss,
        Cause::UnmixedBatches,
        Cause::NoInformation,
        Cause::NoCauseFound,
    ];

    /// Whether findings of this cause are never more severe than notes. They have a fix to try nevertheless, and a
    /// report prints it.
    pub(super) const fn is_always_a_note(self) -> bool {
        matches!(self, Cause::SensitiveMemory | Cause::NoInformation)
    }

    /// Returns the name of the cause, in a few words.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::SaturatingActivation => "saturating activation",
            Cause::SmallWeights => "small weights",
            Cause::LargeWeights => "large weights",
            Cause::ConstantWeights => "constant weights",
            Cause::DuplicatedUnits => "duplicated units",
            Cause::DeadUnits => "dead units",
            Cause::Bottleneck => "bottleneck",
            Cause::UnscaledInput => "unscaled input",
            Cause::VanishingRecurrence => "vanishing recurrence",
            Cause::ExplodingRecurrence => "exploding recurrence",
            Cause::ClosedForgetGate => "closed forget gate",
            Cause::LearningRateTooHigh => "learning rate too high",
            Cause::Cliff => "cliff",
            Cause::ClipThresholdTooLow => "clip threshold too low",
            Cause::Overflow => "overflow",
            Cause::NotANumber => "not a number",
            Cause::FrozenBlock => "frozen block",
            Cause::CollapsedRepresentation => "collapsed representation",
            Cause::Underflow => "underflow",
            Cause::BadData => "bad data",
            Cause::UnscaledTarget => "unscaled target",
            Cause::LoudBranches => "loud branches",
            Cause::ClosedInputGate => "closed input gate",
            Cause::ClosedOutputGate => "closed output gate",
            Cause::LearningRateTooLow => "learning rate too low",
            Cause::SensitiveMemory => "sensitive memory",
            Cause::DecayTooStrong => "decay too strong",
            Cause::DropoutTooHeavy => "dropout too heavy",
            Cause::SquashedOutputs => "squashed outputs",
            Cause::UnboundedLoss => "unbounded loss",
            Cause::UnmixedBatches => "unmixed batches",
            Cause::NoInformation => "no information",
            Cause::NoCauseFound => "no cause found",
        }
    }
}

impl Cause {
    /// Returns the usual fix as a phrase, which begins with the name of its [strategy](super::fix::FixStrategy) if
    /// there is one. [`suggest_fixes`](super::suggest_fixes) proposes the fixes that apply to a network.
    pub const fn fix(self) -> &'static str {
        match self {
            Cause::SaturatingActivation => "another activation: tanh, with weights at its critical gain",
            Cause::SmallWeights | Cause::LargeWeights => "critical initialization: weights at their critical gain",
            Cause::ConstantWeights => "critical initialization: random weights, different for each unit",
            Cause::DuplicatedUnits => "parameters drawn again: other weights for each unit",
            Cause::DeadUnits => "critical initialization; shorter steps, if the units died in training",
            Cause::Bottleneck => "parameters drawn again, those of this layer alone",
            Cause::UnscaledInput => "standardized inputs: mean 0 and variance 1 in every column",
            Cause::VanishingRecurrence => "gates: an LSTM or a GRU, whose gates can keep the state over the span",
            Cause::ExplodingRecurrence => "orthogonal recurrence: a recurrent matrix that keeps the norm of the state",
            Cause::ClosedForgetGate => "biases of the gates at which they keep the state over the span",
            Cause::LearningRateTooHigh => {
                "shorter steps: a rate at which an update is a thirtieth of the weights; held, if a schedule raised it"
            }
            Cause::Cliff | Cause::ClipThresholdTooLow => "clipping at the typical norm of the gradient",
            Cause::Overflow => "shorter steps, standardized inputs or critical initialization: smaller values",
            Cause::NotANumber => "another activation, which is defined for these inputs",
            Cause::FrozenBlock => "the same rate for all: this block is trained at the rate of the others",
            Cause::CollapsedRepresentation => "residual branches, or another activation: both keep inputs apart",
            Cause::Underflow => "the fix of the gradient that vanishes, or the format f64",
            Cause::BadData => "samples left out, or their values corrected",
            Cause::UnscaledTarget => "standardized targets: mean 0 and variance 1 in every column",
            Cause::LoudBranches => "scaled branches: by 1/√L for L residual blocks",
            Cause::ClosedInputGate | Cause::ClosedOutputGate => "an open gate: a bias of 0, at which it is half open",
            Cause::LearningRateTooLow => {
                "longer steps: the longest that lowers the loss in a trial; a held rate, if a warm-up is too long"
            }
            Cause::SensitiveMemory => "inputs of the unit scaled by √(1 − λ²), λ the share of its state that it keeps",
            Cause::DecayTooStrong => "no weight decay, from weights drawn again",
            Cause::DropoutTooHeavy => "lighter dropout: masks that add a tenth of what the signal has",
            Cause::SquashedOutputs => "outputs of any size: without the activation of the last layer",
            Cause::UnboundedLoss => "logarithms of probabilities: a log-softmax after the last layer",
            Cause::UnmixedBatches => "mixed batches: samples in random order, another in each epoch",
            Cause::NoInformation => "other inputs, or targets in the right order",
            Cause::NoCauseFound => "none is known: a trial of each fix may find one",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
