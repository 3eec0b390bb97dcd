//! Schedule-free AdamW.

use super::{
    GradientTransform, Member, Outcome, Stage, TransformSpec, Update,
    adam_settings::{AdamSettings, adam_setters},
    average::{begin_at, move_average},
    check_amount,
    each_parameter::complement,
    matrices, ratio,
    wide::state_of_parameters,
};
use crate::{
    block::{Blocks, Role},
    error::Error,
    math::wide::{Wide, slots},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// AdamW that needs no schedule and no end of training. It keeps a sequence z of AdamW iterates and their average x;
/// the parameters lie between the two.
///
/// The gradient g is computed at the parameters `y = (1 − β₁) z + β₁ x`. With `v ← β₂ v + (1 − β₂) g²`, update t
/// makes `z ← z − γ (g/(√v + ε) + λ y)` and `x ← (1 − c) x + c z`. Here η is the learning rate, λ the decay,
/// `γ = η √(1 − β₂ᵗ) min(1, t/warm-up)`, and `c = γ²/Σγ²` with the sum over all updates so far. Source: Defazio et
/// al. 2024, algorithm 1.
///
/// x is the result of the training: [`Trainer::evaluate`](crate::trainer::Trainer::evaluate), predictions, early
/// stopping and the models of a trainer use it ([`result`](GradientTransform::result)). The running statistics of a
/// [`BatchNorm`](crate::layer::BatchNorm) are those at y.
///
/// It is both an optimizer and an average, so an error is returned for a chain with a transform that scales its
/// update: a [`Schedule`](super::Schedule), or rates of blocks. If a parameter is set from outside, the next update
/// moves its z and x by the same amount. For a frozen block z and x are the parameters. The first update starts from
/// the current parameters. In formats narrower than `f32`, x, z and √v are kept with the digits of `f32`.
///
/// ```
/// use chainrule::{Block, Blocks, Role, transform::{Optimizer, ScheduleFreeAdamW}};
/// let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Weight)));
/// let mut w = [1.0_f64];
/// let mut optimizer = Optimizer::new(ScheduleFreeAdamW::new(0.1, 0.0).warm_up(10), &blocks, &w)?;
/// for _ in 0..400 {
///     let mut gradient = w;
///     optimizer.step(&blocks, &mut w, &mut gradient, &mut ())?;
/// }
/// assert!(optimizer.result(&blocks).unwrap()[0].abs() < 0.05);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScheduleFreeAdamW {
    #[cfg_attr(feature = "serde", serde(flatten))]
    settings: AdamSettings,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    decay: f64,
    warm_up: u64,
    roles: Vec<Role>,
}

adam_setters!(ScheduleFreeAdamW, "Sets β₁, the weight of x in the parameters, and β₂; at least 0 and below 1.");

impl ScheduleFreeAdamW {
    /// Creates the optimizer with the learning rate η and the decay λ, and with β = 0.9, 0.999, ε = 1e-8 and no
    /// warm-up.
    ///
    /// The paper's rates are 1 to 10 times those of AdamW with a schedule; its warm-up is about 5 % of the updates.
    pub fn new(rate: f64, decay: f64) -> Self {
        ScheduleFreeAdamW { settings: AdamSettings::new(rate), decay, warm_up: 0, roles: matrices() }
    }

    /// Sets the number of updates over which the rate grows linearly to η; the default is 0.
    #[must_use]
    pub fn warm_up(self, steps: u64) -> Self {
        ScheduleFreeAdamW { warm_up: steps, ..self }
    }

    /// Sets the roles of the blocks with weight decay; by default weights and recurrent weights.
    #[must_use]
    pub fn roles(self, roles: &[Role]) -> Self {
        ScheduleFreeAdamW { roles: roles.to_vec(), ..self }
    }

    /// Returns the factor on the learning rate at update t, counted from 1: √(1 − β₂ᵗ), times the warm-up
    /// `min(1, t/warm-up)`.
    fn factor(&self, t: f64) -> f64 {
        libm::sqrt(complement(self.settings.betas[1], t)) * (t / self.warm_up as f64).min(1.0)
    }

    /// Returns c, the weight of z in the average x, for the update after `step` earlier updates, and `√Σγ²` over all
    /// rates γ so far. `before` is this root over the rates of the earlier updates.
    fn weight(&self, step: u64, before: f64) -> [f64; 2] {
        let rate = self.settings.rate * self.factor(step as f64 + 1.0);
        let norm = if step == 0 { rate } else { libm::hypot(before, rate) };
        // Until the first rate above 0, x is set to z.
        let ratio = if norm > 0.0 { rate / norm } else { 1.0 };
        [ratio * ratio, norm]
    }

    /// Returns the function `(g, y, z, v) ↦ (z, v)`, with the gradient g at the parameter y, the AdamW iterate z, and
    /// the moving average v of g². `decays` states whether weight decay acts. `step` is the number of earlier
    /// updates.
    fn rule<T: Scalar>(&self, step: u64, decays: bool) -> impl Fn(T, T, T, T) -> (T, T) + use<T> {
        let second = self.settings.betas[1];
        let decay = if decays { self.decay } else { 0.0 };
        let [b2, a2, epsilon, decay] = [second, 1.0 - second, self.settings.epsilon, decay].map(scalar::<T>);
        let rate = scalar::<T>(self.settings.rate * self.factor(step as f64 + 1.0));
        move |g, y, z, v| {
            let v = b2 * v + a2 * g * g;
            let decayed = if decay.is_zero() { T::zero() } else { decay * y };
            (z - rate * (ratio(g, v.sqrt() + epsilon) + decayed), v)
        }
    }
}

/// Returns the number of values of `T` that hold one value of the average x: two in `f32` and `f64`, x and its rounding
/// error, and three in `f16` and `bf16`.
fn slots_of_x<T: Scalar>() -> usize {
    slots::<T>().max(2)
}

/// Returns the amount `w − y` by which a parameter w was changed from outside; y is its value after the last update.
/// The amount is 0 if rounding can explain it: at most 4 `epsilon` times the larger of |w|, |y| and `least`.
fn moved<S: Scalar>(w: S, y: S, epsilon: f64, least: f64) -> S {
    let (off, size) = (w - y, to_f64(w).abs().max(to_f64(y).abs()).max(least));
    if to_f64(off).abs() > 4.0 * epsilon * size { off } else { S::zero() }
}

impl ScheduleFreeAdamW {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let (n, trained) = (update.blocks.parameters(), update.trained());
        let Update { w, gradient, state, step, .. } = update;
        let (x, rest) = state.split_at_mut(slots_of_x::<T>() * n);
        let (z, rest) = rest.split_at_mut(slots::<T>() * n);
        let (v, rates) = rest.split_at_mut(slots::<T>() * n);
        // The parameters may have been set since the optimizer was created; for a frozen block z and x are the
        // parameters.
        for block in update.blocks.iter().filter(|block| block.frozen || step == 0) {
            for of in [&mut *x, &mut *z] {
                begin_at(block.range.clone(), w, of, n);
            }
        }
        let mut rates = Wide::new(rates, 1);
        let [weight, norm] = self.weight(step, rates.get(0));
        rates.set(0, norm);
        let (of_z, epsilon, least) =
            (1.0 - self.settings.betas[0], to_f64(T::epsilon()), to_f64(T::min_positive_value()));
        for (block, range) in trained {
            let decays = self.decay > 0.0 && self.roles.contains(&block.role);
            if slots::<T>() > 1 {
                let rule = self.rule::<f64>(step, decays);
                let (mut x, mut z, mut root) = (Wide::new(&mut *x, n), Wide::new(&mut *z, n), Wide::new(&mut *v, n));
                for i in range {
                    let parameter = to_f64(w[i]);
                    let between = |x: f64, z: f64| x + of_z * (z - x);
                    let off = moved(parameter, between(x.get(i), z.get(i)), epsilon, least);
                    let (average, before, second) = (x.get(i) + off, z.get(i) + off, root.get(i) * root.get(i));
                    let (next, second) = rule(to_f64(gradient[i]), parameter, before, second);
                    let average = average + weight * (next - average);
                    x.set(i, average);
                    z.set(i, next);
                    root.set(i, libm::sqrt(second));
                    gradient[i] = scalar(between(average, next) - parameter);
                }
                continue;
            }
            let rule = self.rule::<T>(step, decays);
            let (of_z, weight, (x, lost)) = (scalar::<T>(of_z), scalar::<T>(weight), x.split_at_mut(n));
            let between = |x: T, z: T| x + of_z * (z - x);
            for i in range {
                let off = moved(w[i], between(x[i], z[i]), epsilon, least);
                (x[i], z[i]) = (x[i] + off, z[i] + off);
                (z[i], v[i]) = rule(gradient[i], w[i], z[i], v[i]);
                move_average(&mut x[i], &mut lost[i], z[i], weight);
                gradient[i] = between(x[i], z[i]) - w[i];
            }
        }
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for ScheduleFreeAdamW {
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        self.check_settings::<T>()?;
        check_amount::<T>("the weight decay of ScheduleFreeAdamW", self.decay)
    }

    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    /// Reports this transform as an optimizer followed by an average. The check of a chain then returns an error for
    /// a later transform that scales the update.
    fn members(&self, visit: &mut dyn FnMut(Member)) {
        visit(Member::applied::<Self>(Stage::Optimizer));
        visit(Member { name: "its average", ..Member::applied::<Self>(Stage::Average) });
    }

    /// The length of the state, four values for each parameter: all averages x, then all rounding errors of x, then
    /// all AdamW iterates z, then all averages v of squared gradients. Two more values hold `√Σγ²` of the rates γ. In
    /// `f16` and `bf16` the state holds x, z, √v and `√Σγ²`, each as three values.
    fn state_len(&self, blocks: &Blocks) -> usize {
        let of_x = slots_of_x::<T>().saturating_mul(blocks.parameters().saturating_add(1));
        of_x.saturating_add(state_of_parameters::<T>(2, blocks))
    }

    fn init_state(&self, _blocks: &Blocks, w: &[T], state: &mut [T]) {
        let n = w.len();
        state[..n].copy_from_slice(w);
        state[slots_of_x::<T>() * n..][..n].copy_from_slice(w);
    }

    fn begin_at(&self, _blocks: &Blocks, w: &[T], state: &mut [T]) {
        let n = w.len();
        let (x, rest) = state.split_at_mut(slots_of_x::<T>() * n);
        for of in [x, &mut rest[..slots::<T>() * n]] {
            begin_at(0..n, w, of, n);
        }
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        T::ScheduleFreeAdamW(self, update)
    }

    fn averaged_weights<'a>(&self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
        state.get(..blocks.parameters())
    }

    fn result<'a>(&self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
        self.averaged_weights(blocks, state)
    }

    fn learning_rate(&self, _blocks: &Blocks, _state: &[T], step: u64) -> Option<f64> {
        Some(self.settings.rate * self.factor(step as f64 + 1.0))
    }

    fn rate_mut(&mut self) -> Option<&mut f64> {
        Some(&mut self.settings.rate)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("ScheduleFreeAdamW", GradientTransform::<T>::state_len(self, blocks));
        let of_v = (slots_of_x::<T>() + slots::<T>()).saturating_mul(blocks.parameters());
        let spec = spec.layout("x, z, v, rates").non_negative(of_v..of_v.saturating_add(blocks.parameters()));
        let spec = self.settings.describe(spec).setting("decay", self.decay);
        vec![spec.setting("warm-up", self.warm_up).setting("roles", &self.roles)]
    }
}
