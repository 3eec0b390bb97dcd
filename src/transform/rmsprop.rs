//! RMSprop.

use super::{
    GradientTransform, Outcome, TransformSpec, Update, check_decay, check_epsilon, check_own_rate, own_elementwise,
    own_rate, ratio,
    wide::{range_of, state_of_parameters},
};
use crate::{
    block::Blocks,
    error::Error,
    math::wide::{Wide, slots},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{vec, vec::Vec};
use num_traits::Float;

/// RMSprop with learning rate η and decay α: `w ← w − η g/(√v + ε)`, with `v ← α v + (1 − α) g²`.
///
/// With [`centred`](Self::centred) the square root is that of `v − ḡ²`, where ḡ is a moving average of g with the
/// same α. With momentum μ the update is `−η b`, with `b ← μ b + g/(√v + ε)`. If g² overflows the number format (|g|
/// above about 1e20 in `f32`), the parameter never changes again: clip the gradient first. Source: Tieleman & Hinton
/// 2012; Graves 2013 (centred); as in PyTorch.
///
/// ```
/// use chainrule::{Block, Blocks, Role, transform::{Optimizer, RmsProp}};
/// let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Weight)));
/// let mut w = [1.0_f64];
/// let mut optimizer = Optimizer::new(RmsProp::new(0.1), &blocks, &w)?;
/// optimizer.step(&blocks, &mut w, &mut [3.0], &mut ())?; // a gradient of 3
/// assert!((w[0] - (1.0 - 0.1 / 0.01_f64.sqrt())).abs() < 1e-7); // √v = √(1 − α) |g|
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RmsProp {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    rate: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    alpha: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    epsilon: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    momentum: f64,
    centred: bool,
}

impl RmsProp {
    /// Creates RMSprop with the learning rate η, α = 0.99, ε = 1e-8 and no momentum.
    pub fn new(rate: f64) -> Self {
        RmsProp { rate, alpha: 0.99, epsilon: 1e-8, momentum: 0.0, centred: false }
    }

    /// Sets α, the decay of the moving average of squared gradients, at least 0 and below 1. The default is 0.99.
    #[must_use]
    pub fn alpha(self, alpha: f64) -> Self {
        RmsProp { alpha, ..self }
    }

    /// Sets ε, which is added to the square root in the denominator; not negative. The default is 1e-8.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        RmsProp { epsilon, ..self }
    }

    /// Sets the momentum μ, at least 0 and below 1. The default is 0, which is no momentum.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        RmsProp { momentum, ..self }
    }

    /// Divides by the standard deviation of the gradient instead of its root mean square.
    #[must_use]
    pub fn centred(self) -> Self {
        RmsProp { centred: true, ..self }
    }
}

impl RmsProp {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let (n, start, all) = (update.blocks.parameters(), update.start, update.stretches().flatten());
        let (v, rest) = update.state.split_at_mut(slots::<T>() * n);
        let (mean, buffer) = rest.split_at_mut(if self.centred { slots::<T>() * n } else { 0 });
        if slots::<T>() > 1 {
            // The state keeps (1 − μ) b, since b may be 1/(1 − μ) times as large as an update and overflow the
            // format.
            let (rule, share) = (self.rule::<f64>(), 1.0 - self.momentum);
            let (mut root, mut mean, mut buffer) = (Wide::new(v, n), Wide::new(mean, n), Wide::new(buffer, n));
            for i in all {
                let (g, of) = (to_f64(update.gradient[i]), start + i);
                let before = root.get(of);
                let (square, mean_g, b, step) = rule(g, before * before, mean.get(of), buffer.get(of) / share);
                root.set(of, Float::sqrt(square));
                mean.set(of, mean_g);
                buffer.set(of, b * share);
                update.gradient[i] = scalar(step);
            }
            return Ok(Outcome::Apply);
        }
        let rule = self.rule::<T>();
        for i in all {
            let of = start + i;
            let [mean_g, b] = [&*mean, &*buffer].map(|values| values.get(of).copied().unwrap_or(T::zero()));
            let (square, mean_g, b, step) = rule(update.gradient[i], v[of], mean_g, b);
            v[of] = square;
            if let Some(mean) = mean.get_mut(of) {
                *mean = mean_g;
            }
            if let Some(buffer) = buffer.get_mut(of) {
                *buffer = b;
            }
            update.gradient[i] = step;
        }
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for RmsProp {
    own_elementwise!(RmsProp, Optimizer);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_own_rate::<T>(self.rate)?;
        check_decay("alpha of RMSprop", self.alpha)?;
        check_decay("momentum", self.momentum)?;
        check_epsilon::<T>("epsilon of RMSprop", self.epsilon)
    }

    /// The length of the state: for each parameter v, the average of g². If centred, then for each parameter ḡ, the
    /// average of g. With momentum, then for each parameter b, the momentum buffer. In `f16` and `bf16` the state
    /// holds √v, ḡ and `(1 − μ) b`, each as three values.
    fn state_len(&self, blocks: &Blocks) -> usize {
        state_of_parameters::<T>(1 + usize::from(self.centred) + usize::from(self.momentum > 0.0), blocks)
    }

    own_rate!(self => self.rate);

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let layout = match (self.centred, self.momentum > 0.0) {
            (false, false) => "v",
            (true, false) => "v, mean",
            (false, true) => "v, momentum",
            (true, true) => "v, mean, momentum",
        };
        let spec = TransformSpec::new("RmsProp", GradientTransform::<T>::state_len(self, blocks))
            .layout(layout)
            .non_negative(range_of::<T>(0, blocks))
            .setting("rate", self.rate);
        let spec = spec.setting("alpha", self.alpha).setting("epsilon", self.epsilon);
        vec![spec.setting("momentum", self.momentum).setting("centred", self.centred)]
    }
}

impl RmsProp {
    /// Returns the function from `(g, v, ḡ, b)` to the new v, ḡ and b, and the update. Here g is the gradient, v and
    /// ḡ are the moving averages of g² and of g, and b is the momentum buffer.
    fn rule<T: Scalar>(&self) -> impl Fn(T, T, T, T) -> (T, T, T, T) + use<T> {
        let [rate, alpha, fresh, epsilon, momentum] =
            [self.rate, self.alpha, 1.0 - self.alpha, self.epsilon, self.momentum].map(scalar::<T>);
        let (centred, with_momentum) = (self.centred, self.momentum > 0.0);
        move |g, v, mean, b| {
            let v = alpha * v + fresh * g * g;
            let (mut square, mut mean) = (v, mean);
            if centred {
                mean += fresh * (g - mean);
                square -= mean * mean;
                // The variance is not negative, but the rounded difference may be.
                square = if square < T::zero() { T::zero() } else { square };
            }
            let step = ratio(g, square.sqrt() + epsilon);
            let step = if with_momentum { momentum * b + step } else { step };
            (v, mean, step, -rate * step)
        }
    }
}
