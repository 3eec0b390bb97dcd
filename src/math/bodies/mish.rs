//! Mish and its slope.

macro_rules! mish {
    ($float:ident) => {
        /// Returns the parts (as `exp_parts` gives them) of `e = e^(−|x|)` if `x < 0`, otherwise those of 1, and `[e,
        /// factor, d, lost]`. `factor` is 1 if `x < 0`, otherwise e²; d is the denominator `e² + 2e + 2` if `x < 0`,
        /// otherwise `2e² + 2e + 1`, rounded, and `d + lost` the exact one. `tanh(ln(1 + eˣ))` is `(1 − c) ·
        /// parts`, where c is `e (1 + e)/d` if `x < 0`, otherwise `2e²/d`. Its slope is `4 factor (1 + e)/d² ·
        /// parts`.
        #[inline(always)]
        fn mish_parts<const FUSED: bool>(x: $float) -> ([$float; 3], [$float; 4]) {
            let y = -super::magnitude(x);
            let [p, half, other] = exp_parts::<FUSED>(y, 0.0);
            let half = if y < EXP_LEAST { 0.0 } else { half };
            let e = (1.0 + p) * half * other;
            // d is e² + 2e + 2, or 2e² + 2e + 1.
            let (parts, factor, [first, last]) =
                if x < 0.0 { ([p, half, other], 1.0, [1.0, 2.0]) } else { ([0.0, 1.0, 1.0], e * e, [2.0, 1.0]) };
            let inner = mul_add::<FUSED>(first, e, 2.0);
            let d = mul_add::<FUSED>(e, inner, last);
            let inner_lost = mul_add::<FUSED>(first, e, 2.0 - inner);
            (parts, [e, factor, d, mul_add::<FUSED>(e, inner_lost, mul_add::<FUSED>(e, inner, last - d))])
        }

        #[inline(always)]
        pub(super) fn mish<const FUSED: bool>(x: $float) -> $float {
            let (parts, [e, _, d, _]) = mish_parts::<FUSED>(x);
            let missing = if x < 0.0 { e * (1.0 + e) / d } else { 2.0 * e * e / d };
            let held = at_least(x, EXP_LEAST);
            let value = mul_add::<FUSED>(-held, missing, held);
            // For x ≥ 0 the exponential is 1, but an infinity times its parts is NaN.
            let product = times_exp::<FUSED>(if missing == 0.0 { held } else { value }, 0.0, parts);
            if x == $float::INFINITY { x } else { product }
        }

        #[inline(always)]
        pub(super) fn mish_slope<const FUSED: bool>(x: $float) -> $float {
            let (parts, [e, factor, d, lost]) = mish_parts::<FUSED>(x);
            let held = at_most(at_least(x, EXP_LEAST), -EXP_LEAST);
            let (inverse, inverse_lost) = inverse::<FUSED>(d, lost);
            let sum = 1.0 + e;
            let over = sum * inverse;
            let missing = if x < 0.0 { e * over } else { 2.0 * factor * inverse };
            let steep = 4.0 * held * factor * over;
            let mut rest = 0.0;
            if FUSED {
                let lost = mul_add::<FUSED>(sum, inverse, -over);
                let lost = mul_add::<FUSED>(sum, inverse_lost, mul_add::<FUSED>(e - (sum - 1.0), inverse, lost));
                let k = 4.0 * held * factor;
                let steep_lost = mul_add::<FUSED>(k, over, -steep) + k * lost;
                rest = mul_add::<FUSED>(steep, inverse_lost, steep_lost * inverse);
            }
            times_exp::<FUSED>(mul_add::<FUSED>(steep, inverse, 1.0 - missing + rest), 0.0, parts)
        }
    };
}
pub(in crate::math) use mish;
