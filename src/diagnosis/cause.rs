//! What can be at the root of a gradient that does not do its work.

use core::fmt;

/// The cause of a finding, as a factor of the chain rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Cause {
    /// The activation's derivative is small wherever its units work: sigmoid's never exceeds ¼. The gradient vanishes
    /// over depth by φ′, whatever the weights.
    SaturatingActivation,
    /// The weights are too small: each product with them shortens the gradient.
    SmallWeights,
    /// The weights are too large: each product lengthens the gradient, or drives the units where φ′ is 0.
    LargeWeights,
    /// All units of a layer start equal and remain equal.
    ConstantWeights,
    /// Some units of a layer are copies of each other and remain so.
    DuplicatedUnits,
    /// Dead units: φ′ is 0 for every example, so that no update reaches their weights.
    DeadUnits,
    /// One layer alone reduces the gradient by more than a decade.
    Bottleneck,
    /// The inputs are not near mean 0 and variance 1.
    UnscaledInput,
    /// Each step back in time reduces the gradient, within the span that the task must remember.
    VanishingRecurrence,
    /// Each step back in time increases the gradient.
    ExplodingRecurrence,
    /// A gate that should carry the state from step to step is closed.
    ClosedForgetGate,
    /// The updates of the optimizer are too large for the weights.
    LearningRateTooHigh,
    /// The loss surface has a wall: the gradient jumps, and nothing clips it.
    Cliff,
    /// Clipping reduces nearly every gradient to a small fraction.
    ClipThresholdTooLow,
    /// A product or a sum left the range of the format.
    Overflow,
    /// An operation had no defined result.
    NotANumber,
    /// A block has a gradient and no update, but is not frozen.
    FrozenBlock,
    /// The layer maps all inputs to nearly equal values, so that gradients do not separate them.
    CollapsedRepresentation,
    /// The gradient is below the normal numbers of the format.
    Underflow,
    /// A value of the data is NaN or infinite, or one sample outweighs all others.
    BadData,
    /// The targets are far larger than what the network gives, and the loss does not fall.
    UnscaledTarget,
    /// The branches of residual blocks add more than the skips carry: the gradient grows from block to block.
    LoudBranches,
    /// A gate lets next to nothing of the input into the state.
    ClosedInputGate,
    /// A gate lets next to nothing of the state out.
    ClosedOutputGate,
    /// The updates are so small beside the weights that the loss does not fall.
    LearningRateTooLow,
    /// The state of a unit depends on the parameter that carries it far more strongly than it is large: the curse of
    /// memory.
    SensitiveMemory,
    /// Weight decay outweighs the gradient: the weights shrink, and the loss does not fall.
    DecayTooStrong,
    /// The masks of dropout change the outputs more than the inputs do.
    DropoutTooHeavy,
    /// The last layer squashes its outputs into a range in which the loss cannot be low.
    SquashedOutputs,
    /// The samples of a batch are alike: each update undoes those of other batches.
    UnmixedBatches,
    /// The targets do not depend on the inputs, as far as a permutation test tells.
    NoInformation,
    /// The budget is bad, and no change that was tried mends it.
    NoCauseFound,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 32] = [
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
        Cause::UnmixedBatches,
        Cause::NoInformation,
        Cause::NoCauseFound,
    ];

    /// The name of the cause, in a few words.
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
            Cause::ClosedForgetGate => "shut forget gate",
            Cause::LearningRateTooHigh => "long step",
            Cause::Cliff => "cliff",
            Cause::ClipThresholdTooLow => "low clip",
            Cause::Overflow => "overflow",
            Cause::NotANumber => "not a number",
            Cause::FrozenBlock => "frozen block",
            Cause::CollapsedRepresentation => "lost angles",
            Cause::Underflow => "underflow",
            Cause::BadData => "bad data",
            Cause::UnscaledTarget => "unscaled target",
            Cause::LoudBranches => "loud branches",
            Cause::ClosedInputGate => "shut input gate",
            Cause::ClosedOutputGate => "shut output gate",
            Cause::LearningRateTooLow => "short step",
            Cause::SensitiveMemory => "sensitive memory",
            Cause::DecayTooStrong => "strong decay",
            Cause::DropoutTooHeavy => "heavy dropout",
            Cause::SquashedOutputs => "squashed outputs",
            Cause::UnmixedBatches => "unmixed batches",
            Cause::NoInformation => "no information",
            Cause::NoCauseFound => "no cause found",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
