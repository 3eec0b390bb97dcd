//! `ln x` and `ln(1 + x)`.

macro_rules! logarithm {
    ($float:ident, $bits:ident) => {
        /// Returns `k` and `m` with `x = 2ᵏ m` and `√½ ≤ m < √2`, for a positive normal `x`.
        #[inline(always)]
        fn exponent_and_significand(x: $float) -> ($float, $float) {
            const SQRT_HALF: $bits = core::$float::consts::FRAC_1_SQRT_2.to_bits();
            const ONE: $bits = (1.0 as $float).to_bits();
            // With an integer k in its low bits, the float 2^MANTISSA is 2^MANTISSA + k.
            const INTEGER: $bits = (1.0 / $float::EPSILON).to_bits();
            let bits = x.to_bits().wrapping_add(ONE - SQRT_HALF);
            let k = $float::from_bits((bits >> MANTISSA) | INTEGER) - ($float::from_bits(INTEGER) + BIAS as $float);
            let m = $float::from_bits((bits & ((1 << MANTISSA) - 1)) + SQRT_HALF);
            (k, m)
        }

        /// `k ln 2 + ln(1 + f) + rest`, for an integer `k`, `√½ ≤ 1 + f < √2`, and a small correction `rest`.
        #[inline(always)]
        fn ln_of_parts<const FUSED: bool>(k: $float, f: $float, rest: $float) -> $float {
            let half_square = 0.5 * f * f;
            let s = f / (2.0 + f);
            let z = s * s;
            let series = mul_add::<FUSED>(z, ln_tail::<FUSED>(z), half_square);
            let tail = mul_add::<FUSED>(s, series, mul_add::<FUSED>(k, LN2_LOW, rest));
            mul_add::<FUSED>(k, LN2_HIGH, tail - half_square + f)
        }

        /// `y` if `x` is positive and finite, otherwise the logarithm at `x` or its limit: −∞ at 0, ∞ at ∞, NaN
        /// below 0.
        #[inline(always)]
        fn ln_or_limit(x: $float, y: $float) -> $float {
            let outside = if x == 0.0 { $float::NEG_INFINITY } else { $float::NAN };
            let y = if x > 0.0 { y } else { outside };
            if x == $float::INFINITY { x } else { y }
        }

        #[inline(always)]
        pub(super) fn ln<const FUSED: bool>(x: $float) -> $float {
            let subnormal = x < $float::MIN_POSITIVE;
            let (k, m) = exponent_and_significand(if subnormal { x * (2.0 / $float::EPSILON) } else { x });
            let k = if subnormal { k - (MANTISSA + 1) as $float } else { k };
            ln_or_limit(x, ln_of_parts::<FUSED>(k, m - 1.0, 0.0))
        }

        #[inline(always)]
        pub(super) fn ln_1p<const FUSED: bool>(x: $float) -> $float {
            let u = 1.0 + x;
            let (k, m) = exponent_and_significand(u);
            // The rounding error of 1 + x, unless x itself is used.
            let lost = if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
            let whole = k == 0.0;
            let f = if whole { x } else { m - 1.0 };
            let rest = if whole { 0.0 } else { lost / u };
            let y = ln_or_limit(u, ln_of_parts::<FUSED>(k, f, rest));
            if x.abs() < $float::EPSILON / 4.0 { x } else { y }
        }
    };
}
pub(in crate::math) use logarithm;
