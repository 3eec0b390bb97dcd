//! Replacement of an activation through which the gradient vanishes.

use super::{Cause, Effort, Fix, FixContext, FixStrategy, critical, rewrite};
use crate::{
    activation::{Activation, ActivationKind, LeakyRelu, Tanh},
    error::Error,
    layer::LayerSpec,
    recurrent::CellKind,
};
use alloc::format;

/// Replaces activations through which the gradient vanishes, and draws weights critical for the new ones.
///
/// Saturating activations of hidden layers become tanh, which is a sigmoid with mean 0 and slope 1 at 0. Dead
/// rectifiers get a slope of 0.1 below 0. A custom activation that returns NaN for some inputs becomes tanh.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExchangeActivation;

fn instead(activation: &ActivationKind, cause: Cause) -> Option<ActivationKind> {
    let bounds = activation.derivative_bounds();
    let low = bounds.is_some_and(|bounds| bounds.magnitude() <= 0.5);
    let off = bounds.is_some_and(|bounds| bounds.inf == 0.0 && bounds.sup == 1.0) && activation.kinks().len() == 1;
    let own = matches!(activation, ActivationKind::Custom(_));
    match cause {
        Cause::NotANumber => own.then(|| Tanh.kind()),
        Cause::DeadUnits => if off { LeakyRelu::new(0.1).ok() } else { None }.map(|leaky| leaky.kind()),
        _ => low.then(|| Tanh.kind()),
    }
}

impl FixStrategy for ExchangeActivation {
    fn name(&self) -> &'static str {
        "another activation"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::SaturatingActivation | Cause::DeadUnits | Cause::NotANumber)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let (mut names, cause) = (None, context.finding.cause);
        let exchanged = rewrite(context.network, &mut |leaf, _| {
            let (LayerSpec::ActivationLayer { activation, .. }
            | LayerSpec::Recurrent { cell: CellKind::Elman(activation), .. }) = leaf
            else {
                return false;
            };
            let Some(new) = instead(activation, cause) else { return false };
            names = Some((activation.name(), new.name()));
            *activation = new;
            true
        });
        let Some((exchanged, (old, new))) = exchanged.zip(names) else { return Ok(None) };
        let after = critical::initialized(&exchanged, true).unwrap_or(exchanged);
        let why = format!("{new} replaces {old}, with critical weights for {new}");
        let fix = context.network_becomes(self.name(), Effort::Activation, after, why)?;
        let removes = cause != Cause::DeadUnits && fix.is_enough();
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
