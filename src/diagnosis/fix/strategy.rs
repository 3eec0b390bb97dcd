//! The trait of strategies that propose fixes.

use super::{Cause, Fix, FixContext};
use crate::error::Error;
#[cfg(doc)]
use crate::theory::Prediction;
use core::fmt::Debug;

/// A strategy that proposes a fix for some causes, with the predicted budget: the decades from loss to first weights.
///
/// ```
/// use chainrule::{Error, Layer, activation::Sigmoid, layer::Sequential, theory::InputStatistics};
/// use chainrule::diagnosis::{Cause, Diagnosis, Fix, FixContext, fix::{CriticalInitialization, FixStrategy}};
/// /// Critical initialization, for sigmoids only.
/// #[derive(Debug)]
/// struct OfSigmoids;
/// impl FixStrategy for OfSigmoids {
///     fn name(&self) -> &'static str {
///         "critical weights of sigmoids"
///     }
///     fn applies_to(&self, cause: Cause) -> bool {
///         cause == Cause::SaturatingActivation
///     }
///     fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
///         CriticalInitialization { orthogonal: true }.propose(context)
///     }
/// }
/// let mut builder = Sequential::<f32>::input(64);
/// for _ in 0..10 {
///     builder = builder.linear(64).activation(Sigmoid);
/// }
/// let (network, inputs) = (builder.linear(10).build()?, InputStatistics::new(1.0)?);
/// let report = Diagnosis::new(&network, inputs)?.report();
/// let (described, root) = (Layer::<f32>::spec(&network), report.root().expect("it vanishes"));
/// assert!(OfSigmoids.applies_to(root.cause));
/// if let Some(fix) = OfSigmoids.propose(&FixContext::new(&described, inputs, root))? {
///     println!("{fix}"); // what changes, and the budgets before and after
/// }
/// # Ok::<(), Error>(())
/// ```
///
/// # Required
/// | method | result |
/// | --- | --- |
/// | `name` | the name of the strategy |
/// | `applies_to` | whether it has fixes for a cause |
/// | `propose` | the fix of another strategy, as it is or with its public fields changed |
///
/// There are no optional methods.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a strategy of fixes",
    label = "not a strategy of fixes",
    note = "a strategy implements `FixStrategy::propose`",
    note = "the strategies of this crate are `diagnosis::fix::strategies()`"
)]
pub trait FixStrategy: Debug + Send + Sync {
    /// The name of the strategy, in a few words.
    fn name(&self) -> &'static str;
    /// Whether the strategy proposes fixes for `cause`.
    fn applies_to(&self, cause: Cause) -> bool;
    /// Proposes a fix for this context, with its predicted decades to the first weights if it changes the layers;
    /// `None` if the strategy does not apply.
    ///
    /// # Errors
    /// Those of [`Prediction::of_node`] for the layer specification before or after the change. A custom layer is no
    /// error.
    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error>;
}
