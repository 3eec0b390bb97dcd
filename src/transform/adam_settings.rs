//! The hyper-parameters that Adam and its variants share.

use super::{TransformSpec, check_decay, check_epsilon, check_own_rate};
use crate::{error::Error, scalar::Scalar};

/// The settings that Adam and its variants share. η is the learning rate, β₁ and β₂ are the decays of the first and
/// second moments, and ε is added to the square root of the second moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct AdamSettings {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub rate: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub betas: [f64; 2],
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub epsilon: f64,
}

impl AdamSettings {
    /// Creates the settings with the rate η, β = 0.9, 0.999 and ε = 1e-8, as in the paper (Kingma & Ba 2015).
    pub fn new(rate: f64) -> Self {
        AdamSettings { rate, betas: [0.9, 0.999], epsilon: 1e-8 }
    }

    /// Returns an error for a rate that is negative or not finite, a β outside [0, 1), and an ε that is negative, not
    /// finite or too small for `T`. The error names β₁ and β₂ by the strings `betas`, and ε by the string `epsilon`.
    pub fn check<T: Scalar>(&self, betas: [&'static str; 2], epsilon: &'static str) -> Result<(), Error> {
        check_own_rate::<T>(self.rate)?;
        check_decay(betas[0], self.betas[0])?;
        check_decay(betas[1], self.betas[1])?;
        check_epsilon::<T>(epsilon, self.epsilon)
    }

    /// Returns `spec` with the learning rate, the betas and ε added to its settings.
    pub fn describe(&self, spec: TransformSpec) -> TransformSpec {
        spec.setting("rate", self.rate).setting("betas", self.betas).setting("epsilon", self.epsilon)
    }
}

/// Defines the methods `betas`, `epsilon` and `check_settings` of an optimizer that has a field
/// `settings: AdamSettings`. `$betas` is the doc comment of the method `betas`.
macro_rules! adam_setters {
    ($optimizer:ident, $betas:literal) => {
        impl $optimizer {
            #[doc = $betas]
            #[must_use]
            pub fn betas(mut self, first: f64, second: f64) -> Self {
                self.settings.betas = [first, second];
                self
            }

            /// Sets ε, which keeps the divisor of the update from 0; not negative. The default is 1e-8.
            #[must_use]
            pub fn epsilon(mut self, epsilon: f64) -> Self {
                self.settings.epsilon = epsilon;
                self
            }

            fn check_settings<T: crate::scalar::Scalar>(&self) -> Result<(), crate::error::Error> {
                self.settings.check::<T>(
                    [
                        concat!("the first beta of ", stringify!($optimizer)),
                        concat!("the second beta of ", stringify!($optimizer)),
                    ],
                    concat!("epsilon of ", stringify!($optimizer)),
                )
            }
        }
    };
    ($optimizer:ident) => {
        $crate::transform::adam_settings::adam_setters!($optimizer, "Sets β₁ and β₂, at least 0 and below 1.");
    };
}
pub(super) use adam_setters;

/// Implements `GradientTransform` for an optimizer that has a field `settings: AdamSettings`, a method `rule` and two
/// values of state for each parameter.
///
/// `$state` names the two values, and `$doc` documents `state_len`. `$roots` states for each of the two whether its
/// square root is stored in formats narrower than `f32`, for [`update_each`](super::each_parameter::update_each).
macro_rules! two_moments {
    ($optimizer:ident, $state:literal, $roots:expr, $doc:literal) => {
        impl $optimizer {
            /// Implements [`GradientTransform::update`] for any scalar type.
            pub(crate) fn update_generic<T: $crate::scalar::Scalar>(
                &mut self,
                update: $crate::transform::Update<'_, T>,
            ) -> Result<$crate::transform::Outcome, $crate::error::Error> {
                let (wide, rule) = (self.rule::<f64>(update.step), self.rule::<T>(update.step));
                $crate::transform::each_parameter::update_each(update, $roots, |_| Some(false), wide, rule);
                Ok($crate::transform::Outcome::Apply)
            }
        }

        impl<T: $crate::scalar::Scalar> $crate::transform::GradientTransform<T> for $optimizer {
            $crate::transform::own_elementwise!($optimizer, Optimizer);

            fn validate(&mut self, _blocks: &$crate::block::Blocks) -> Result<(), $crate::error::Error> {
                self.check_settings::<T>()
            }

            #[doc = $doc]
            fn state_len(&self, blocks: &$crate::block::Blocks) -> usize {
                $crate::transform::wide::state_of_parameters::<T>(2, blocks)
            }

            $crate::transform::own_rate!(self => self.settings.rate);

            fn spec(&self, blocks: &$crate::block::Blocks) -> alloc::vec::Vec<$crate::transform::TransformSpec> {
                let values = $crate::transform::GradientTransform::<T>::state_len(self, blocks);
                let spec = $crate::transform::TransformSpec::new(stringify!($optimizer), values).layout($state);
                let spec = spec.non_negative($crate::transform::wide::range_of::<T>(1, blocks));
                alloc::vec![self.settings.describe(spec)]
            }
        }
    };
}
pub(super) use two_moments;
