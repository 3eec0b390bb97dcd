//! Update rules that compute the update of each parameter from its gradient and a few values of state.

use super::Update;
use crate::{
    block::Block,
    math::wide::{Wide, slots},
    scalar::{Scalar, scalar, to_f64},
};
use core::array::from_fn;

/// Returns `1 − β^t`, the bias correction of a moving average with decay β after t updates, to at least 13 digits.
/// The result is 1 if `(1 − β) t > 50`, since then `β^t ≤ e^{−(1 − β) t} < 2⁻⁷²`. If the subtraction would cancel
/// digits, it is computed as `−expm1(t ln β)`.
#[inline]
pub(super) fn complement(beta: f64, t: f64) -> f64 {
    let short = 1.0 - beta;
    if short * t > 50.0 {
        1.0
    } else if short * t < 1e-3 {
        -libm::expm1(t * libm::log1p(-short))
    } else {
        1.0 - libm::pow(beta, t)
    }
}

/// Replaces each gradient g by the update of `rule`, which maps `(w, g, state)` to `(update, state)` with N values of
/// state for each parameter. The state of `update` holds the first values of all parameters, then all second values,
/// and so on.
///
/// Frozen blocks, and blocks for which `decays` returns `None`, are left unchanged. If it returns `Some(false)`, the
/// rule receives 0 instead of the parameter w, so that weight decay has no effect.
///
/// In formats narrower than `f32`, `wide` is used instead of `rule`. There the state holds the square root of value k
/// if `roots[k]`, since the root needs only half the range of exponents.
pub(super) fn update_each<T: Scalar, const N: usize>(
    update: Update<'_, T>,
    roots: [bool; N],
    decays: impl Fn(&Block) -> Option<bool>,
    wide: impl Fn(f64, f64, [f64; N]) -> (f64, [f64; N]),
    rule: impl Fn(T, T, [T; N]) -> (T, [T; N]),
) {
    let trained = update.trained();
    let Update { blocks, w, gradient, state, start, .. } = update;
    let n = blocks.parameters();
    for (block, range) in trained {
        let Some(decays) = decays(block) else { continue };
        for i in range {
            let of = start + i;
            let parameter = if decays { w[i] } else { T::zero() };
            if slots::<T>() == 1 {
                let (step, next) = rule(parameter, gradient[i], from_fn(|k| state[k * n + of]));
                (0..N).for_each(|k| state[k * n + of] = next[k]);
                gradient[i] = step;
                continue;
            }
            let size = slots::<T>() * n;
            let before = from_fn(|k| {
                let value = Wide::new(&mut state[k * size..][..size], n).get(of);
                if roots[k] { value * value } else { value }
            });
            let (step, next) = wide(to_f64(parameter), to_f64(gradient[i]), before);
            for k in 0..N {
                let value = if roots[k] { libm::sqrt(next[k]) } else { next[k] };
                Wide::new(&mut state[k * size..][..size], n).set(of, value);
            }
            gradient[i] = scalar(step);
        }
    }
}
