//! Factors on the learning rates of chosen blocks.

use super::{GradientTransform, Outcome, Stage, TransformSpec, Update, check_amount};
use crate::{
    block::Blocks,
    error::Error,
    scalar::{Scalar, scaled},
};
use alloc::{string::String, vec, vec::Vec};
use core::ops::Range;

/// Multiplies the updates of chosen blocks by factors, as learning rates of their own. It stands after the optimizer in
/// a chain.
///
/// ```
/// use chainrule::{BatchShape, layer::{Sequential, initialize}, workspace::Workspace};
/// use chainrule::transform::{Optimizer, ParameterGroups, Sgd};
/// let network = Sequential::<f64>::input(1).linear(1).linear(1).build()?;
/// let (mut w, workspace) = (initialize(&network, 1)?, Workspace::new(&network, BatchShape::batch(1))?);
/// let chain = (Sgd::new(1.0), ParameterGroups::new().rate("0", 0.1)); // layer 0 learns at a tenth of the rate
/// let mut optimizer = Optimizer::new(chain, workspace.blocks(), &w)?;
/// w.fill(0.0);
/// optimizer.step(workspace.blocks(), &mut w, &mut [1.0; 4], &mut ())?;
/// assert_eq!(w, [-0.1, -0.1, -1.0, -1.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParameterGroups {
    rates: Vec<(String, f64)>,
    ranges: Vec<(Range<usize>, f64)>,
}

impl ParameterGroups {
    /// Creates the transform without groups: every factor is 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Multiplies the updates of the blocks named `prefix` or under it by `factor`, not negative.
    #[must_use]
    pub fn rate(mut self, prefix: &str, factor: f64) -> Self {
        self.rates.push((prefix.into(), factor));
        self
    }
}

impl ParameterGroups {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        for (range, factor) in &self.ranges {
            update.gradient[range.clone()].iter_mut().for_each(|g| *g = scaled(*factor, *g));
        }
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for ParameterGroups {
    fn validate(&mut self, blocks: &Blocks) -> Result<(), Error> {
        self.ranges.clear();
        for (prefix, factor) in &self.rates {
            check_amount::<T>("the rate of a block", *factor)?;
            let under = blocks.under(prefix)?;
            self.ranges.extend(
                blocks.iter().enumerate().filter(|(i, _)| under.contains(i)).map(|(_, b)| (b.range.clone(), *factor)),
            );
        }
        Ok(())
    }

    fn stage(&self) -> Stage {
        Stage::Schedule
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        T::ParameterGroups(self, update)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("ParameterGroups", GradientTransform::<T>::state_len(self, blocks));
        vec![spec.setting("rates", &self.rates)]
    }
}
