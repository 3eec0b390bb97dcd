//! Adam and AdamW.

use super::{
    GradientTransform, Outcome, TransformSpec, Update,
    adam_settings::{AdamSettings, adam_setters},
    check_amount,
    each_parameter::complement,
    matrices, own_elementwise, own_rate, ratio,
    wide::{range_of, state_of_parameters},
};
use crate::{
    block::{Block, Blocks, Role},
    error::Error,
    kernel::elementwise::update3,
    math::wide::{Wide, slots},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{vec, vec::Vec};
use num_traits::Float;

/// Adam: `w ← w − η m̂/(√v̂ + ε)`, with `m ← β₁ m + (1 − β₁) g` and `v ← β₂ v + (1 − β₂) g²`. At update t, counted
/// from 1, `m̂ = m/(1 − β₁ᵗ)` and `v̂ = v/(1 − β₂ᵗ)`.
///
/// With [`amsgrad`](Self::amsgrad) the largest v so far takes the place of v. In formats narrower than `f32`, m and
/// √v are kept with the digits of `f32`, each as several values, and an update is computed in `f64`. If g² overflows
/// the number format (|g| above about 1e20 in `f32`), the parameter never changes again: clip the gradient first.
/// Source: Kingma & Ba 2015, algorithm 1; Reddi et al. 2018, algorithm 2.
///
/// Rounding gives the average v a relative error of about the machine epsilon divided by 1 − β₂. In `f32` this is
/// 1e-4 for the default β₂ and 10 % for 0.999999; a β₂ nearer to 1 needs `f64`.
///
/// ```
/// use chainrule::{Block, Blocks, Role, transform::{Adam, Optimizer}};
/// let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Weight)));
/// let mut w = [1.0_f64];
/// let mut optimizer = Optimizer::new(Adam::new(0.1), &blocks, &w)?;
/// optimizer.step(&blocks, &mut w, &mut [3.0], &mut ())?; // a gradient of 3
/// assert!((w[0] - (1.0 - 0.1)).abs() < 1e-9); // the first step is η sign(g)
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Adam {
    #[cfg_attr(feature = "serde", serde(flatten))]
    settings: AdamSettings,
    amsgrad: bool,
}

adam_setters!(Adam);

impl Adam {
    /// Creates Adam with the learning rate η, and β = 0.9, 0.999 and ε = 1e-8 as in the paper.
    pub fn new(rate: f64) -> Self {
        Adam { settings: AdamSettings::new(rate), amsgrad: false }
    }

    /// Divides by the square root of the largest second moment so far, instead of that of the current one (AMSGrad).
    #[must_use]
    pub fn amsgrad(self) -> Self {
        Adam { amsgrad: true, ..self }
    }

    fn described<T: Scalar>(&self, kind: &str, blocks: &Blocks) -> TransformSpec {
        let spec = TransformSpec::new(kind, GradientTransform::<T>::state_len(self, blocks));
        let spec = spec.non_negative(range_of::<T>(1, blocks));
        self.settings.describe(match self.amsgrad {
            true => spec.layout("m, v, largest v").non_negative(range_of::<T>(2, blocks)),
            false => spec.layout("m, v"),
        })
    }

    /// Returns two functions: `(g, m, v) ↦ (m, v)`, the moving averages of the gradient g and of g²; and
    /// `(m, v) ↦ update`, which for AMSGrad is called with the largest v so far. `rate` is the learning rate, `step`
    /// the number of earlier updates.
    #[expect(clippy::type_complexity, reason = "two closures, each of one formula")]
    fn rule<T: Scalar>(
        &self,
        rate: f64,
        step: u64,
    ) -> (impl Fn(T, T, T) -> (T, T) + Copy + use<T>, impl Fn(T, T) -> T + Copy + use<T>) {
        let [first, second] = self.settings.betas;
        let t = step as f64 + 1.0;
        let step = scalar::<T>(-rate / complement(first, t));
        let root = scalar::<T>(Float::sqrt(complement(second, t)));
        let [b1, a1, b2, a2] = [first, 1.0 - first, second, 1.0 - second].map(scalar::<T>);
        let epsilon = scalar::<T>(self.settings.epsilon);
        let moments = move |g: T, m: T, v: T| (b1 * m + a1 * g, b2 * v + a2 * g * g);
        (moments, move |m: T, second: T| ratio(step * m, second.sqrt() / root + epsilon))
    }

    /// Replaces the gradient by Adam's update in a format narrower than `f32`. The update is computed in `f64` and
    /// rounded once. `decay(block) · w` is subtracted from the update of each parameter w.
    fn narrow<T: Scalar>(&self, update: Update<'_, T>, decay: impl Fn(&Block) -> f64) {
        let (n, start, trained) = (update.blocks.parameters(), update.start, update.trained());
        let (m, rest) = update.state.split_at_mut(slots::<T>() * n);
        let (v, most) = rest.split_at_mut(slots::<T>() * n);
        let (moments, direction) = self.rule::<f64>(self.settings.rate, update.step);
        let (mut m, mut root, mut most) = (Wide::new(m, n), Wide::new(v, n), Wide::new(most, n));
        for (block, range) in trained {
            let decay = decay(block);
            for i in range {
                let of = start + i;
                let (first, second) = moments(to_f64(update.gradient[i]), m.get(of), root.get(of) * root.get(of));
                m.set(of, first);
                root.set(of, Float::sqrt(second));
                let mut divisor = second;
                if self.amsgrad {
                    let before = most.get(of);
                    divisor = larger(second, before * before);
                    most.set(of, Float::sqrt(divisor));
                }
                let decayed = if decay == 0.0 { 0.0 } else { decay * to_f64(update.w[i]) };
                update.gradient[i] = scalar(direction(first, divisor) - decayed);
            }
        }
    }
}

impl Adam {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        if slots::<T>() > 1 {
            self.narrow(update, |_| 0.0);
            return Ok(Outcome::Apply);
        }
        let (n, start, stretches) = (update.blocks.parameters(), update.start, update.stretches());
        let (m, rest) = update.state.split_at_mut(n);
        let (v, most) = rest.split_at_mut(n);
        let (moments, direction) = self.rule::<T>(self.settings.rate, update.step);
        for range in stretches {
            let of = start + range.start..start + range.end;
            let (g, m, v) = (&mut update.gradient[range], &mut m[of.clone()], &mut v[of.clone()]);
            let Some(most) = most.get_mut(of) else {
                update3(g, m, v, move |g, m, v| {
                    let (m, v) = moments(g, m, v);
                    (direction(m, v), m, v)
                });
                continue;
            };
            for ((g, most), (m, v)) in g.iter_mut().zip(most).zip(m.iter_mut().zip(v)) {
                (*m, *v) = moments(*g, *m, *v);
                *most = larger(*v, *most);
                *g = direction(*m, *most);
            }
        }
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for Adam {
    own_elementwise!(Adam, Optimizer);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        self.check_settings::<T>()
    }

    /// Returns the length of the state: two numbers for each parameter, with AMSGrad three. First come all m, the
    /// averages of gradients, then all v, the averages of squared gradients, then with AMSGrad the largest v of each
    /// parameter so far. In `f16` and `bf16` the state holds square roots in place of v and the largest v, and each
    /// number takes three values.
    fn state_len(&self, blocks: &Blocks) -> usize {
        state_of_parameters::<T>(2 + usize::from(self.amsgrad), blocks)
    }

    own_rate!(self => self.settings.rate);

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        vec![self.described::<T>("Adam", blocks)]
    }
}

/// Returns the larger of the second moment `v` and its largest earlier value, `most`; NaN if `v` is NaN.
fn larger<T: Scalar>(v: T, most: T) -> T {
    if v > most || v.is_nan() { v } else { most }
}

/// Adam with decoupled weight decay: `−η λ w` is added to Adam's update.
///
/// By default only matrices decay, not biases and gains. Source: Loshchilov & Hutter 2019, algorithm 2.
///
/// ```
/// use chainrule::{Block, Blocks, Role, transform::{AdamW, Optimizer}};
/// let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Weight)));
/// let mut w = [1.0_f64];
/// let mut optimizer = Optimizer::new(AdamW::new(0.1, 0.5), &blocks, &w)?;
/// optimizer.step(&blocks, &mut w, &mut [3.0], &mut ())?; // a gradient of 3
/// assert!((w[0] - (1.0 - 0.1 - 0.1 * 0.5)).abs() < 1e-9); // that of Adam, and the decay η λ w
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AdamW {
    adam: Adam,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    decay: f64,
    roles: Vec<Role>,
}

impl AdamW {
    /// Creates AdamW with the learning rate η and the decay λ; the other settings are those of [`Adam::new`].
    pub fn new(rate: f64, decay: f64) -> Self {
        AdamW { adam: Adam::new(rate), decay, roles: matrices() }
    }

    /// Changes β, ε and AMSGrad by `change`, for example `.adam(|adam| adam.betas(0.9, 0.95))`.
    #[must_use]
    pub fn adam(self, change: impl FnOnce(Adam) -> Adam) -> Self {
        AdamW { adam: change(self.adam), ..self }
    }

    /// Sets the roles of the blocks with weight decay; by default weights and recurrent weights.
    #[must_use]
    pub fn roles(self, roles: &[Role]) -> Self {
        AdamW { roles: roles.to_vec(), ..self }
    }
}

impl AdamW {
    /// Whether weight decay acts on `block`.
    pub(super) fn decays(&self, block: &Block<'_>) -> bool {
        self.decay > 0.0 && self.roles.contains(&block.role)
    }

    /// Whether the update is divided by the square root of the largest second moment so far (AMSGrad).
    pub(super) fn is_amsgrad(&self) -> bool {
        self.adam.amsgrad
    }

    /// Returns the function from `(w, g, [m, v])` to the update and the new `[m, v]`, the moving averages of the
    /// gradient g and of g². It uses `factor` times the learning rate, and no AMSGrad. Pass 0 for the parameter w if
    /// its block does not decay. `step` is the number of earlier updates.
    pub(super) fn whole_rule<T: Scalar>(
        &self,
        factor: f64,
        step: u64,
    ) -> impl Fn(T, T, [T; 2]) -> (T, [T; 2]) + use<T> {
        let rate = factor * self.adam.settings.rate;
        let ((moments, direction), decay) = (self.adam.rule::<T>(rate, step), scalar::<T>(rate * self.decay));
        move |w, g, [m, v]| {
            let (m, v) = moments(g, m, v);
            (direction(m, v) - decay * w, [m, v])
        }
    }

    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let decay = self.adam.settings.rate * self.decay;
        if slots::<T>() > 1 {
            self.adam.narrow(update, |block| if self.decays(block) { decay } else { 0.0 });
            return Ok(Outcome::Apply);
        }
        let trained = update.trained();
        let Update { blocks, w, gradient, state, step, start, recorded, clip } = update;
        let outcome = self.adam.update(Update { blocks, w, gradient, state, step, start, recorded, clip })?;
        let decay = scalar::<T>(decay);
        for (_, range) in trained.filter(|(block, _)| self.decays(block)) {
            gradient[range.clone()].iter_mut().zip(&w[range]).for_each(|(g, &w)| *g -= decay * w);
        }
        Ok(outcome)
    }
}

impl<T: Scalar> GradientTransform<T> for AdamW {
    own_elementwise!(AdamW, Optimizer);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_amount::<T>("the weight decay of AdamW", self.decay)?;
        self.adam.check_settings::<T>()
    }

    fn state_len(&self, blocks: &Blocks) -> usize {
        GradientTransform::<T>::state_len(&self.adam, blocks)
    }

    own_rate!(self => self.adam.settings.rate);

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = self.adam.described::<T>("AdamW", blocks);
        vec![spec.setting("decay", self.decay).setting("roles", &self.roles)]
    }
}
