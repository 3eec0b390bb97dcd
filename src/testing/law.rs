//! The laws by name, and the reports of a suite.

use crate::layer::{Dims, Layer, LayerSpec};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::fmt;

macro_rules! laws {
    ($($(#[$about:meta])* $name:ident: $statement:literal,)+) => {
        /// A law of one of the traits: a property that every implementation must have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Law {
            $($(#[$about])* #[doc = concat!("*", $statement, "*")] $name,)+
        }

        impl Law {
            /// Returns the law as a sentence.
            pub const fn statement(self) -> &'static str {
                match self {
                    $(Law::$name => $statement,)+
                }
            }
        }
    };
}

laws! {
    /// Activations, losses: the derivative agrees with the tangent of a dual number passed through the value.
    Derivative: "the derivative is that of the value",
    /// Activations: φ′ of a saturated unit, which is 0 only if the true value underflows the format.
    Saturation: "a saturated derivative is small, not zero",
    /// Activations: φ′ jumps at each declared kink and nowhere else.
    Kinks: "the derivative jumps at the declared kinks and nowhere else",
    /// Activations: φ jumps at each declared jump and nowhere else. Losses: the value has no jump.
    Continuity: "the value jumps at the declared jumps and nowhere else",
    /// Activations: the declared bounds on φ′.
    BoundsHold: "no derivative lies outside the declared bounds",
    /// Activations: the declared sup and inf of φ′.
    BoundsTight: "the declared bounds are approached",
    /// Activations, losses, layers, initializers, transforms: results are finite, or infinite where the limit is.
    Extremes: "extreme values give finite results, or the infinite limit",
    /// Activations, losses, transforms, initial values of layers: results in `f32` agree with those in `f64`.
    Precision: "f32 agrees with f64 to rounding",
    /// Activations, losses: the result for an input of NaN is NaN; a loss may also be infinite.
    NotANumber: "NaN in gives NaN out",
    /// Activations with inf φ′ ≥ 0: φ does not fall.
    Monotone: "a derivative that is never negative means a value that never falls",
    /// Activations that declare to be odd.
    Odd: "φ(−z) is −φ(z)",
    /// Layers and cells: ⟨c, J v⟩ = ⟨Jᵀ c, v⟩ for the Jacobian J of a pass and random c and v, J v from dual
    /// numbers, Jᵀ c from the kernels.
    Adjoint: "backward is the transpose of the derivative of forward: ⟨c, J v⟩ = ⟨Jᵀ c, v⟩",
    /// Layers and cells: the kernels of `f32` and `f64` compared with the loops that dual numbers run, and their
    /// gradients. Losses: the value in `f64` compared with that on dual numbers.
    GenericBody: "kernels and generic loops compute the same",
    /// Layers, losses, initializers: the former content of the slices for results has no influence.
    Overwrites: "results are overwritten: nothing of what was there before is left",
    /// Layers: the gradient is accumulated in `dw`.
    Accumulates: "the gradient of the parameters is added to what is there",
    /// Layers: the content of scratch and saved memory before the forward pass has no influence.
    ReadsOnlyWritten: "nothing is read that was not given or written before",
    /// Layers and cells: memory beside the slices is untouched.
    StaysInside: "nothing outside the given slices is touched",
    /// Layers: blocks cover each parameter once, and have different names.
    BlocksTile: "the blocks tile the parameters, in order, under different names",
    /// Layers: each parameter block has a gradient other than zero for some input.
    BlocksMatter: "every block of parameters has a gradient",
    /// Layers: the memory of a pass does not shrink when its shape grows.
    MemoryGrows: "memory does not shrink when batch or steps grow, nothing is saved in inference, modes have one state",
    /// Layers with the hint `ignores_x` or `ignores_y`: the backward pass also runs with an empty slice for the input
    /// or the output.
    IgnoredRows: "rows that the backward pass is said to ignore may be missing",
    /// Layers with the hint `saved_per_row`: the backward pass also runs for each half of the samples.
    SavedPerRow: "values saved of some rows are all that the backward pass of these rows needs",
    /// Layers with the hint `accepts_short_dy` or `dx_zero_before_last_step`: leading rows of zeros are left out.
    ShortGradients: "rows of a gradient that are zero may be missing",
    /// Layers: the links (factors of the chain rule) that a layer and its inner layers report to a monitor.
    ReportsLinks: "links are reported as they are computed, inside another layer as by itself",
    /// Layers whose `reads_later_steps` is false: the first time steps alone give the same outputs.
    Causal: "steps depend on no later step, unless the layer says so",
    /// Layers with dropout: masks are a function of [`DropoutKey`](crate::layer::DropoutKey).
    DropoutKey: "dropout masks differ by seed, step, sample and layer, and are off in evaluation",
    /// Activations, layers, losses, transforms: repeated evaluations, passes, runs, and readings of settings.
    Repeatable: "the same pass gives the same bits",
    /// Layers: the modes `Evaluate` and `Infer` give the same output up to rounding.
    ModesAgree: "inference gives what evaluation gives",
    /// Layers: leaving out an optional gradient does not change the other gradients.
    OptionalGradients: "a gradient that is not requested changes no other",
    /// Layers: an omitted initial state, or gradient of the final state, has the effect of zeros.
    AbsentState: "a state, or a gradient of it, that is not given is zero",
    /// Layers, transforms: frozen blocks have no effect on other results.
    FrozenBlocks: "freezing a block changes nothing else",
    /// Layers of independent samples, at least in evaluation: reordered samples give the same rows, reordered.
    Permutation: "samples in another order give the same rows in that order",
    /// Layers of independent samples, at least in evaluation: a batch in several parts gives the bits of one pass.
    Split: "a batch in parts gives the same bits",
    /// Layers of independent samples, at least in evaluation: batches of sequences of unequal lengths.
    Ragged: "each sequence of a ragged batch gives, to the bit, what it gives alone",
    /// Layers with a state: passes over windows of a sequence, with the state carried by the caller, compared with one
    /// pass.
    Stepped: "unrolled is stepped by hand",
    /// Layers that state a gain bound.
    GainBound: "a stated bound on the gain of inputs or states is never exceeded",
    /// Cells: the declared gates, products with weights, stages and activations are consistent, and are those of the
    /// computation.
    CellFacts: "gates, products and stages fit together",
    /// Tested for initializers that state a mean.
    Mean: "entries have the stated mean",
    /// Initializers that state a variance.
    Variance: "entries have the stated variance",
    /// Initializers that state a range.
    Range: "entries lie in the stated range",
    /// Initializers that state a variance: only uncorrelated entries give sums the variance that theory assumes.
    Uncorrelated: "entries of a stated variance are uncorrelated",
    /// Initializers that state orthogonality: tested on the drawn values.
    Orthogonality: "rows or columns are orthogonal, of the stated length",
    /// Initializers, layers: initial values are a function of the seed, and differ for another seed.
    Seeded: "a seed decides every bit, and another seed other bits",
    /// Initializers, layers: no two rows of weights are equal, since such units would remain equal in training.
    Distinct: "random rows differ",
    /// All implementations: valid input causes no panic.
    NoPanic: "valid input does not make it panic",
    /// All implementations: invalid input returns an error, valid input does not.
    Refuses: "bad input comes back as an error, and valid input does not",
    /// Losses that declare a minimum at the target.
    Minimum: "the loss is least at the target, where its gradient is zero",
    /// Losses: a row of weight zero, even one of NaN, changes neither the loss nor other gradients.
    Masked: "a row of weight zero is not read, and its gradient is zero",
    /// Losses: the losses of the parts of a batch combine to the loss of the whole batch.
    Reduction: "the losses of parts make the loss of the whole",
    /// Clipping transforms: no value of the gradient grows in magnitude.
    ReducesNorm: "a clip increases the magnitude of no value",
    /// Clipping by norm: all values of the gradient are multiplied by one factor.
    KeepsDirection: "a clip by norm keeps the direction",
    /// Clipping transforms: clipping a clipped gradient again changes nothing.
    Idempotent: "clipped twice is clipped once",
    /// Optimizers without weight decay: a gradient of zero gives an update of zero.
    RestsAtZero: "a gradient of zero moves nothing",
    /// Schedules: the result is the incoming update times one number.
    Scales: "a schedule multiplies by one number, which is not negative",
    /// Layers, and transforms that update each parameter by itself: an update inside the backward pass gives the
    /// parameters plus the update.
    Descends: "a step in one pass is the update, added",
    /// Optimizers: with a constant gradient, the updates point against it.
    Downhill: "an optimizer steps downhill",
    /// Optimizers: parameters whose gradient is 0 keep their size, or shrink by weight decay.
    Shrinks: "without a gradient an optimizer does not make the parameters grow",
    /// Transforms: not every step of finite gradients returns [`Outcome::Skip`](crate::transform::Outcome).
    Applies: "not every step of finite gradients is skipped",
    /// Transforms: the learning rates, clip factors and weight averages that monitors and trainers read.
    TrueReports: "reported rates, factors and averages are those of the updates",
    /// Transforms with a given formula: each update equals that of the formula.
    Formula: "each update is that of the formula",
    /// Transforms: all values kept from step to step are in the state slice.
    Resumes: "the state slice is all that a resumed run needs",
    /// Monitors: the results of a training run are the same bits without the monitor.
    ChangesNothing: "a monitor changes nothing",
    /// Monitors, transforms: extreme values cause no panic, and later updates are finite.
    SurvivesAnything: "NaN, infinity and zero do no harm",
    /// Monitors: a member of a tuple, a `Vec`, an `Option` or another wrapper receives the same calls as alone: all
    /// of a pass, or none.
    Composes: "a member of a tuple sees what it sees alone",
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.statement())
    }
}

/// One broken law: its place, the expected and the found value, and the smallest input that breaks it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Violation {
    /// The law that is broken.
    pub law: Law,
    /// Where the law is broken: the scalar, shape, parameter block and argument, as far as they apply.
    pub place: String,
    /// The value that the law requires.
    pub expected: String,
    /// The value that the implementation computed.
    pub found: String,
    /// The smallest input found that breaks the law.
    pub input: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { law, place, expected, found, input } = self;
        write!(f, "law broken: {law}\n  where     {place}\n  expected  {expected}\n  found     {found}")?;
        if !input.is_empty() {
            write!(f, "\n  input     {input}")?;
        }
        Ok(())
    }
}

/// The broken laws of an implementation, at least one, each with its smallest example.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Violations {
    /// The implementation that was tested.
    pub subject: String,
    /// The seed that reproduces the violations.
    pub seed: u64,
    /// One for each broken law, in the order in which they were found.
    pub violations: Vec<Violation>,
}

impl Violations {
    /// Returns the violation of `law`, if the law is broken.
    pub fn of(&self, law: Law) -> Option<&Violation> {
        self.violations.iter().find(|violation| violation.law == law)
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violations { subject, seed, violations } = self;
        write!(f, "{subject} (CHAINRULE_SEED={seed})")?;
        violations.iter().try_for_each(|violation| write!(f, "\n{violation}"))
    }
}

impl core::error::Error for Violations {}

/// The evidence that an implementation keeps its laws: the worst error under each law that measures errors.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evidence {
    /// The implementation that was tested.
    pub subject: String,
    /// The seed of the random inputs of the tests.
    pub seed: u64,
    /// The law, the scalar (`"f32"` or `"f64"`), the worst error and the allowed error, for each law and scalar with
    /// a measured error. Each law has its own unit of errors.
    pub worst: Vec<(Law, &'static str, f64, f64)>,
}

impl Evidence {
    /// Returns the worst error measured under `law` in `scalar` (`"f32"` or `"f64"`). `None` if no error was measured.
    pub fn worst(&self, law: Law, scalar: &str) -> Option<f64> {
        self.worst.iter().find(|entry| entry.0 == law && entry.1 == scalar).map(|entry| entry.2)
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Evidence { subject, seed, worst } = self;
        write!(f, "{subject} keeps its laws (CHAINRULE_SEED={seed})")?;
        worst.iter().try_for_each(|(law, scalar, worst, allowed)| {
            write!(f, "\n  {scalar}: {worst:.1e} of {allowed:.1e} allowed: {law}")
        })
    }
}

/// The results of a test suite so far: the broken laws, and the worst error under each law.
#[derive(Debug)]
pub(super) struct Trial {
    subject: String,
    seed: u64,
    violations: Vec<Violation>,
    worst: Vec<(Law, &'static str, f64, f64)>,
    /// The laws that are not tested.
    excepted: Vec<Law>,
}

impl Trial {
    pub(super) fn new(subject: impl Into<String>, seed: u64) -> Self {
        Trial { subject: subject.into(), seed, violations: Vec::new(), worst: Vec::new(), excepted: Vec::new() }
    }

    /// Leaves out the laws `excepted`: their violations are not noted, and reports name the laws. Laws that all other
    /// tests assume are always tested.
    pub(super) fn except(mut self, excepted: &[Law]) -> Self {
        if !excepted.is_empty() {
            let names: Vec<String> = excepted.iter().map(|law| format!("{law:?}")).collect();
            self.notes(&format!("not tested: {}", names.join(", ")));
        }
        self.excepted = excepted.to_vec();
        self
    }

    /// Adds a note in brackets to the name of the implementation, once.
    pub(super) fn notes(&mut self, note: &str) {
        if !self.subject.contains(note) {
            self.subject = format!("{} ({note})", self.subject);
        }
    }

    /// Whether `law` was left out of the tests. False for the laws that all other tests assume: no panic, no write
    /// outside the slices, repeatable passes, blocks that tile the parameters.
    pub(super) fn excepts(&self, law: Law) -> bool {
        let is_basic = matches!(law, Law::NoPanic | Law::StaysInside | Law::Repeatable | Law::BlocksTile);
        !is_basic && self.excepted.contains(&law)
    }

    /// Whether an example of a broken `law` was noted. Further examples are then not needed.
    pub(super) fn broken(&self, law: Law) -> bool {
        self.violations.iter().any(|violation| violation.law == law)
    }

    /// Notes a [`Violation`] of `law` with these texts for its fields, unless one of the same law was noted before.
    pub(super) fn breaks(
        &mut self,
        law: Law,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        input: impl Into<String>,
    ) {
        if !self.broken(law) && !self.excepts(law) {
            let (place, expected, found, input) = (place.into(), expected.into(), found.into(), input.into());
            self.violations.push(Violation { law, place, expected, found, input });
        }
    }

    /// Drops the violations of laws for which `follows` is true: they are consequences of another violation.
    pub(super) fn drops(&mut self, follows: impl Fn(Law) -> bool) {
        self.violations.retain(|violation| !follows(violation.law));
    }

    /// Notes an `error` measured under `law` in `scalar` (`"f32"` or `"f64"`), if it is the largest so far. Returns
    /// whether it is at most `allowed`; NaN is not.
    pub(super) fn measures(&mut self, law: Law, scalar: &'static str, error: f64, allowed: f64) -> bool {
        match self.worst.iter_mut().find(|entry| entry.0 == law && entry.1 == scalar) {
            Some(entry) if error <= entry.2 => {}
            Some(entry) => *entry = (law, scalar, error, allowed),
            None => self.worst.push((law, scalar, error, allowed)),
        }
        !beyond(error, allowed)
    }

    pub(super) fn verdict(self) -> Result<Evidence, Violations> {
        let Trial { subject, seed, violations, worst, .. } = self;
        if violations.is_empty() {
            Ok(Evidence { subject, seed, worst })
        } else {
            Err(Violations { subject, seed, violations })
        }
    }
}

/// Whether two results of the tested code differ by more than `allowed`. Equal infinities and two NaN do not differ:
/// other laws test for overflow.
pub(super) fn differ(a: f64, b: f64, allowed: f64) -> bool {
    let same = a == b || a.is_nan() && b.is_nan();
    !same && beyond((a - b).abs(), allowed)
}

/// Whether `error` exceeds `allowed`, or either is NaN.
pub(super) fn beyond(error: f64, allowed: f64) -> bool {
    error.is_nan() || allowed.is_nan() || error > allowed
}

/// Formats values for a message: all, or the first 12 and the number of all.
pub(super) fn listed<T: fmt::Debug>(values: &[T]) -> String {
    const SHOWN: usize = 12;
    if values.len() <= SHOWN {
        format!("{values:?}")
    } else {
        let shown = format!("{:?}", &values[..SHOWN]);
        format!("{}, … {} in all]", shown.trim_end_matches(']').to_owned(), values.len())
    }
}

/// Formats a number with all its digits, in scientific notation outside 1e-4 to 1e6.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-4..1e6).contains(&size) { format!("{value}") } else { format!("{value:e}") }
}

/// Describes a layer, or a network with its layers: `Linear, 3 → 2, 8 parameters`.
pub(super) fn summary(layer: &dyn Layer<f64>) -> String {
    const SHOWN: usize = 8;
    let (spec, Dims { input, output, parameters, .. }) = (layer.spec(), layer.dims());
    let mut text = format!("{}, {input} → {output}, {parameters} parameters", spec.title());
    if let LayerSpec::Sequential { layers, .. } = &spec {
        for (i, layer) in layers.iter().take(SHOWN).enumerate() {
            text.push_str(if i == 0 { ": " } else { ", " });
            text.push_str(&layer.title());
        }
        if layers.len() > SHOWN {
            text.push_str(", …");
        }
    }
    text
}

/// Returns the `Debug` text of an implementation, cut after 160 characters.
pub(super) fn subject(implementation: &(impl fmt::Debug + ?Sized)) -> String {
    const LONGEST: usize = 160;
    let mut text = format!("{implementation:?}");
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push('…');
    }
    text
}
