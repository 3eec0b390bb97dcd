//! Factors on the learning rates of chosen blocks.

use super::{GradientTransform, Outcome, TransformSpec, Update, check_amount, own_elementwise};
use crate::{
    block::{Block, Blocks, Role},
    error::Error,
    scalar::{Scalar, scaled},
};
use alloc::{string::String, vec, vec::Vec};
use core::fmt;

/// A choice of blocks: by name or by role. A `&str` and a [`Role`] convert to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Group {
    /// The blocks whose name is this string or begins with this string and a dot: `2` covers `2.weight`, not
    /// `20.weight`. An empty string covers all blocks.
    Under(String),
    /// The blocks of this role. It is no error if a network has no such block.
    Role(Role),
}

impl From<&str> for Group {
    fn from(name: &str) -> Self {
        Group::Under(name.into())
    }
}

impl From<&String> for Group {
    fn from(name: &String) -> Self {
        Group::Under(name.clone())
    }
}

impl From<Role> for Group {
    fn from(role: Role) -> Self {
        Group::Role(role)
    }
}

/// Writes the name or the role that selects the blocks.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Group::Under(name) => write!(f, "{name:?}"),
            Group::Role(role) => write!(f, "{role:?}"),
        }
    }
}

impl Group {
    /// Whether `block` belongs to the group.
    pub(super) fn holds(&self, block: &Block<'_>) -> bool {
        match self {
            Group::Under(name) => block.is_under(name),
            Group::Role(role) => block.role == *role,
        }
    }

    /// Returns an error for a group by name that covers no block.
    pub(super) fn check(&self, blocks: &Blocks) -> Result<(), Error> {
        match self {
            Group::Under(name) => blocks.under(name).map(|_| ()),
            Group::Role(_) => Ok(()),
        }
    }
}

/// Multiplies the updates of chosen blocks by factors, which gives these blocks their own learning rates. In a chain
/// it follows the optimizer.
///
/// If a block belongs to several groups, their factors are multiplied. With AdamW and other decoupled decays the
/// factor also scales the decay, as a learning rate does. [`PerGroup`](super::PerGroup) gives groups of blocks their
/// own optimizers and clips.
///
/// ```
/// use chainrule::{Role, transform::{AdamW, ParameterGroups}};
/// // A tenth of the rate for the first layer, twice the rate for biases.
/// let chain = (AdamW::new(1e-3, 0.01), ParameterGroups::new().rate("0", 0.1).rate(Role::Bias, 2.0));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParameterGroups {
    rates: Vec<(Group, f64)>,
}

impl ParameterGroups {
    /// Creates the transform without groups: every factor is 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Multiplies the updates of the blocks of `group` by `factor`, which must not be negative.
    #[must_use]
    pub fn rate(mut self, group: impl Into<Group>, factor: f64) -> Self {
        self.rates.push((group.into(), factor));
        self
    }
}

impl ParameterGroups {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        for (block, range) in update.trained() {
            for (_, factor) in self.rates.iter().filter(|(group, _)| group.holds(block)) {
                update.gradient[range.clone()].iter_mut().for_each(|g| *g = scaled(*factor, *g));
            }
        }
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for ParameterGroups {
    own_elementwise!(ParameterGroups, Schedule);

    fn validate(&mut self, blocks: &Blocks) -> Result<(), Error> {
        self.rates.iter().try_for_each(|(group, factor)| {
            check_amount::<T>("the rate of a block", *factor)?;
            group.check(blocks)
        })
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("ParameterGroups", GradientTransform::<T>::state_len(self, blocks));
        vec![spec.setting("rates", &self.rates)]
    }
}
