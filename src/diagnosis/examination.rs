//! From what is known of a network to what is wrong with it.

use super::{Finding, Report, Thresholds, rules};
use crate::{
    block::{Blocks, Role},
    error::Error,
    extent::Extent,
    layer::{Layer, Node},
    monitor::Statistics,
    scalar::Scalar,
    theory::{Certificate, Inputs, Prediction, spectral_norm_bound, spectral_radius},
};
use alloc::{string::String, vec::Vec};

/// What is known of U of one layer.
#[derive(Clone, Debug)]
pub(super) struct RecurrentMatrix {
    pub(super) layer: String,
    pub(super) spectral_radius: f64,
    pub(super) spectral_norm: f64,
}

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
    pub(super) recurrent: Vec<RecurrentMatrix>,
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
            recurrent: Vec::new(),
            statistics: None,
            span: None,
            thresholds: Thresholds::default(),
        })
    }

    /// Adds what follows from the parameters as they are: the certificate of passes over `extent`, and the spectral radius
    /// and norm of each recurrent matrix, in time that grows with the cube of its width.
    ///
    /// # Errors
    /// Those of [`Certificate::new`] and of [`spectral_radius`].
    pub fn parameters<T: Scalar>(
        self,
        network: &(impl Layer<T> + ?Sized),
        w: &[T],
        extent: Extent<'_>,
    ) -> Result<Self, Error> {
        let (certificate, mut recurrent) = (Certificate::new(network, w, extent)?, Vec::new());
        for block in Blocks::collect(|visit| network.blocks(visit)).iter() {
            let [rows, columns] = block.shape;
            // Of a gated cell there is a matrix for each gate, and no power of any of them.
            if block.role == Role::Recurrent && rows == columns {
                let matrix = &w[block.range.clone()];
                let layer = block.name.rsplit_once('.').map_or("", |(layer, _)| layer);
                recurrent.push(RecurrentMatrix {
                    layer: layer.into(),
                    spectral_radius: spectral_radius(matrix, rows)?,
                    spectral_norm: spectral_norm_bound(matrix, rows, rows),
                });
            }
        }
        Ok(Examination { certificate: Some(certificate), recurrent, ..self })
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
