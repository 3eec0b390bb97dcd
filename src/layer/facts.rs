//! Widths of a layer, and whether its samples depend on each other.

/// The widths of a layer, in values per row, and its number of parameters.
///
/// Constructors of layers do not fail on sizes: [`Sequential::push`](super::Sequential::push),
/// [`initialize`](super::initialize) and [`Workspace::new`](crate::workspace::Workspace::new) check them. A layer
/// whose size overflows states `usize::MAX` here, which these functions refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Dims {
    /// Values per input row.
    pub input: usize,
    /// Values per output row.
    pub output: usize,
    /// The number of parameters.
    pub parameters: usize,
}

impl Dims {
    /// Creates the sizes of a layer with `input` values per input row, `output` values per output row, and `parameters`
    /// parameters.
    pub const fn new(input: usize, output: usize, parameters: usize) -> Self {
        Dims { input, output, parameters }
    }
}

/// Whether the samples of a batch depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Samples {
    /// The output of a sample depends on that sample alone: a batch gives the same outputs as its samples one by one.
    Independent,
    /// In training the output of a sample depends on the other samples too, as in batch normalization. In the other
    /// modes samples are independent.
    CoupledInTraining,
    /// In every mode the output of a sample depends on the other samples too.
    Coupled,
}

impl Samples {
    /// Combines the answers of two layers: samples are coupled in each mode in which either layer couples them.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Samples::Independent, other) => other,
            (Samples::Coupled, _) | (_, Samples::Independent) => self,
            (Samples::CoupledInTraining, _) => other,
        }
    }
}
