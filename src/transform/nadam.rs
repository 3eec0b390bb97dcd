//! NAdam.

use super::{
    GradientTransform, Outcome, TransformSpec, Update,
    adam_settings::{AdamSettings, adam_setters},
    check_amount,
    each_parameter::{complement, update_each},
    own_applied, own_rate, ratio,
    wide::{range_of, state_of_parameters},
};
use crate::{
    block::Blocks,
    error::Error,
    math::wide::{Wide, slots},
    scalar::{Scalar, scalar},
};
use alloc::{vec, vec::Vec};

/// NAdam: Adam with Nesterov's momentum, learning rate η and momentum decay ψ.
///
/// `w ← w − η m̂/(√(v/(1 − β₂ᵗ)) + ε)` with m and v as in [`Adam`](super::Adam), and
/// `m̂ = μ_{t+1} m/(1 − Π_{i≤t+1} μ_i) + (1 − μ_t) g/(1 − Π_{i≤t} μ_i)`, where
/// `μ_t = β₁ (1 − ½ · 0.96^{t ψ})` at update t. If g² overflows the number format (|g| above about 1e20 in `f32`),
/// the parameter never changes again: clip the gradient first. Source: Dozat 2016, algorithm 2; as in PyTorch.
///
/// ```
/// use chainrule::{Block, Blocks, Role, transform::{NAdam, Optimizer}};
/// let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Weight)));
/// let mut w = [1.0_f64];
/// let mut optimizer = Optimizer::new(NAdam::new(0.1), &blocks, &w)?;
/// optimizer.step(&blocks, &mut w, &mut [3.0], &mut ())?; // a gradient of 3
/// let [now, next] = [1.0, 2.0].map(|t| 0.9 * (1.0 - 0.5 * 0.96_f64.powf(0.004 * t)));
/// let moved = next * 0.1 / (1.0 - now * next) + 1.0; // m̂ over |g|
/// assert!((w[0] - (1.0 - 0.1 * moved)).abs() < 1e-9);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NAdam {
    #[cfg_attr(feature = "serde", serde(flatten))]
    settings: AdamSettings,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    momentum_decay: f64,
}

adam_setters!(NAdam);

impl NAdam {
    /// Creates NAdam with the learning rate η, and β = 0.9, 0.999, ε = 1e-8 and ψ = 0.004.
    pub fn new(rate: f64) -> Self {
        NAdam { settings: AdamSettings::new(rate), momentum_decay: 0.004 }
    }

    /// Sets ψ, not negative: the momentum of update t is `β₁ (1 − ½ · 0.96^{t ψ})`. The default is 0.004.
    #[must_use]
    pub fn momentum_decay(self, decay: f64) -> Self {
        NAdam { momentum_decay: decay, ..self }
    }

    /// Returns the momentum `μ_t = β₁ (1 − ½ · 0.96^{t ψ})` of update `t`, counted from 1.
    fn momentum(&self, t: f64) -> f64 {
        self.settings.betas[0] * (1.0 - 0.5 * libm::pow(0.96, t * self.momentum_decay))
    }

    /// Returns the function from `(w, g, [m, v])` to the update and the new `[m, v]`, the moving averages of the
    /// gradient g and of g². The update includes the learning rate, and is added to w. The parameter w is not used.
    /// `step` is the number of earlier updates, `product` the product of the momenta `μ_i` of all updates including
    /// this one.
    fn rule<T: Scalar>(&self, step: u64, product: f64) -> impl Fn(T, T, [T; 2]) -> (T, [T; 2]) + use<T> {
        let ([first, second], t) = (self.settings.betas, step as f64 + 1.0);
        let [now, next] = [self.momentum(t), self.momentum(t + 1.0)];
        let of_m = scalar::<T>(-self.settings.rate * next / (1.0 - product * next));
        let of_g = scalar::<T>(-self.settings.rate * (1.0 - now) / (1.0 - product));
        let root = scalar::<T>(libm::sqrt(complement(second, t)));
        let [b1, a1, b2, a2] = [first, 1.0 - first, second, 1.0 - second].map(scalar::<T>);
        let epsilon = scalar::<T>(self.settings.epsilon);
        move |_, g, [m, v]| {
            let (m, v) = (b1 * m + a1 * g, b2 * v + a2 * g * g);
            (ratio(of_m * m + of_g * g, v.sqrt() / root + epsilon), [m, v])
        }
    }
}

impl NAdam {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let Update { blocks, w, gradient, state, step, start, recorded, clip } = update;
        let (state, product) = state.split_at_mut(2 * slots::<T>() * gradient.len());
        let mut product = Wide::new(product, 1);
        let so_far = product.get(0) * self.momentum(step as f64 + 1.0);
        product.set(0, so_far);
        let (wide, rule) = (self.rule::<f64>(step, so_far), self.rule::<T>(step, so_far));
        let update = Update { blocks, w, gradient, state, step, start, recorded, clip };
        update_each(update, [false, true], |_| Some(false), wide, rule);
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for NAdam {
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        self.check_settings::<T>()?;
        check_amount::<T>("the momentum decay of NAdam", self.momentum_decay)
    }

    own_applied!(Optimizer);

    /// The length of the state, two values for each parameter: all m, the averages of gradients, then all v, the
    /// averages of squared gradients. One more value is the product of all momenta so far. In `f16` and `bf16` the
    /// state holds m, √v and the product, each as three values.
    fn state_len(&self, blocks: &Blocks) -> usize {
        state_of_parameters::<T>(2, blocks).saturating_add(slots::<T>())
    }

    fn init_state(&self, blocks: &Blocks, _w: &[T], state: &mut [T]) {
        Wide::new(&mut state[2 * slots::<T>() * blocks.parameters()..], 1).set(0, 1.0);
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        T::NAdam(self, update)
    }

    own_rate!(self => self.settings.rate);

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("NAdam", GradientTransform::<T>::state_len(self, blocks));
        let after = state_of_parameters::<T>(2, blocks);
        let spec = spec.layout("m, v, product of momenta").non_negative(range_of::<T>(1, blocks));
        let spec = spec.non_negative(after..after.saturating_add(1));
        let spec = self.settings.describe(spec);
        vec![spec.setting("momentum decay", self.momentum_decay)]
    }
}
