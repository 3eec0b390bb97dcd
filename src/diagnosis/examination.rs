//! From what is known of a network to what is wrong with it.

use super::{Finding, Report, Thresholds, rules};
use crate::{
    error::Error,
    extent::Extent,
    layer::{Layer, Node},
    monitor::Statistics,
    scalar::Scalar,
    theory::{Certificate, Inputs, Prediction},
};
use alloc::vec::Vec;

/// Everything that is known of a network whose gradients are examined: its description and what follows from it, and,
/// where it was watched, what was measured.
///
/// Without [`statistics`](Self::statistics) the report is a forecast, made before the first step.
///
/// ```
/// use chainrule::{activation::Sigmoid, diagnosis::{Cause, Examination}, layer::Sequential, theory::Inputs};
/// let mut builder = Sequential::<f32>::input(64);
/// for _ in 0..10 {
///     builder = builder.linear(64).activation(Sigmoid);
/// }
/// let network = builder.linear(10).build()?;
/// let report = Examination::new(&network, Inputs::new(1.0)?)?.report();
/// assert_eq!(report.root().unwrap().cause, Cause::SaturatingActivation);
/// println!("{report}");
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Examination<'a> {
    pub(super) node: Node,
    pub(super) inputs: Inputs,
    pub(super) prediction: Prediction,
    pub(super) certificate: Option<Certificate>,
    pub(super) statistics: Option<&'a Statistics>,
    pub(super) span: Option<usize>,
    pub(super) thresholds: Thresholds,
}

impl<'a> Examination<'a> {
    /// The examination of a network that is fed with these inputs.
    ///
    /// # Errors
    /// Those of [`Prediction::of`].
    pub fn new<T: Scalar>(network: &(impl Layer<T> + ?Sized), inputs: Inputs) -> Result<Self, Error> {
        Ok(Examination {
            node: network.describe(),
            inputs,
            prediction: Prediction::of(network, inputs)?,
            certificate: None,
            statistics: None,
            span: None,
            thresholds: Thresholds::default(),
        })
    }

    /// Adds the certificate of the parameters as they are, for passes over `extent`.
    ///
    /// # Errors
    /// Those of [`Certificate::new`].
    pub fn parameters<T: Scalar>(
        self,
        network: &(impl Layer<T> + ?Sized),
        w: &[T],
        extent: Extent<'_>,
    ) -> Result<Self, Error> {
        Ok(Examination { certificate: Some(Certificate::new(network, w, extent)?), ..self })
    }

    /// Adds what was measured while it was trained, or in a single pass.
    #[must_use]
    pub fn statistics<'b>(self, statistics: &'b Statistics) -> Examination<'b>
    where
        'a: 'b,
    {
        Examination { statistics: Some(statistics), ..self }
    }

    /// Sets how many steps the task asks to remember; unless told, all of a sequence.
    #[must_use]
    pub fn span(self, steps: usize) -> Self {
        Examination { span: Some(steps), ..self }
    }

    /// Sets where the rules draw their lines.
    #[must_use]
    pub fn thresholds(self, thresholds: Thresholds) -> Self {
        Examination { thresholds, ..self }
    }

    /// The description of the network, as a remedy takes it.
    pub fn network(&self) -> &Node {
        &self.node
    }

    /// What is wrong, the root first.
    pub fn report(&self) -> Report {
        let mut findings: Vec<Finding> = Vec::new();
        for rule in rules::ALL {
            rule(self, &mut findings);
        }
        rules::order(&mut findings);
        Report::new(self, findings)
    }
}
