//! The bodies, the same for both formats; a format brings its constants and polynomials.
//!
//! Methods: Cody and Waite's two-word reduction with its remainder carried along; logarithm after
//! FreeBSD's `e_log.c` and `s_log1p.c`; `(1 + 2x) e^(x²) erfc x` as a polynomial in `(x−k)/(x+k)`
//! after Shepherd and Laframboise, Math. Comp. 36 (1981) 249. Polynomials are Chebyshev
//! interpolants computed with mpmath; their error is below half a unit in the last place.

/// `c₀ + c₁x + c₂x² + …` by Horner's rule.
macro_rules! polynomial {
    ($x:expr; $c:expr) => { $c };
    ($x:expr; $c:expr, $($rest:expr),+) => { $c + $x * polynomial!($x; $($rest),+) };
}
pub(super) use polynomial;

macro_rules! bodies {
    ($float:ident, $bits:ident) => {
        /// `x` held to at most `limit`; NaN stays.
        #[inline(always)]
        fn at_most(x: $float, limit: $float) -> $float {
            if x > limit { limit } else { x }
        }

        /// `x` held to at least `limit`; NaN stays.
        #[inline(always)]
        fn at_least(x: $float, limit: $float) -> $float {
            if x < limit { limit } else { x }
        }

        /// `2ⁿ`, given `n + ROUND`; `n` within the normal exponents.
        #[inline(always)]
        fn power_of_two(shifted: $float) -> $float {
            $float::from_bits(shifted.to_bits().wrapping_add(BIAS) << MANTISSA)
        }

        /// `n` and `p` with `e^(x + low) = 2ⁿ (1 + p)`, `|p| < ½`; `low` is small beside 1.
        #[inline(always)]
        fn reduced_exp(x: $float, low: $float) -> ($float, $float) {
            let n = ((x + low) * core::$float::consts::LOG2_E + ROUND) - ROUND;
            let high = x - n * LN2_HIGH;
            let low = n * LN2_LOW - low;
            let r = high - low;
            let rest = (high - r) - low;
            (n, r + (r * r * exp_tail(r) + rest))
        }

        /// `p` and two powers of two whose product is `2ⁿ`, with `e^(x + low) = 2ⁿ (1 + p)`: in halves, so that
        /// subnormal results round once.
        #[inline(always)]
        fn exp_parts(x: $float, low: $float) -> ($float, $float, $float) {
            let (n, p) = reduced_exp(at_most(at_least(x, EXP_LEAST), EXP_MOST), low);
            let half = n * 0.5 + ROUND;
            let other = (n - (half - ROUND)) + ROUND;
            (p, power_of_two(half), power_of_two(other))
        }

        /// `e^(x + low)`.
        #[inline(always)]
        fn exp_of_sum(x: $float, low: $float) -> $float {
            let (p, half, other) = exp_parts(x, low);
            (1.0 + p) * half * other
        }

        #[inline(always)]
        pub(super) fn exp(x: $float) -> $float {
            exp_of_sum(x, 0.0)
        }

        #[inline(always)]
        pub(super) fn exp_m1(x: $float) -> $float {
            let (n, p) = reduced_exp(at_most(at_least(x, EXP_M1_LEAST), EXP_MOST), 0.0);
            // Half of it: 2ⁿ itself can overflow where the result does not.
            let scale = power_of_two(n - 1.0 + ROUND);
            let y = 2.0 * (scale * p + (scale - 0.5));
            if x.abs() < $float::EPSILON / 4.0 { x } else { y }
        }

        /// `(1 − e)/(1 + e)` with `e = e^(−2|x|)`, the exponential of the derivative too: in one loop it is computed once.
        #[inline(always)]
        pub(super) fn tanh(x: $float) -> $float {
            let a = super::magnitude(x);
            let (p, half, other) = exp_parts(-(a + a), 0.0);
            let power = half * other;
            let minus_numerator = power * p + (power - 1.0);
            quotient(-minus_numerator, 1.0 + (1.0 + p) * half * other).copysign(x)
        }

        /// `k` and `m` with `x = 2ᵏ m`, `√½ ≤ m < √2`; `x` positive and normal.
        #[inline(always)]
        fn exponent_and_significand(x: $float) -> ($float, $float) {
            const SQRT_HALF: $bits = core::$float::consts::FRAC_1_SQRT_2.to_bits();
            const ONE: $bits = (1.0 as $float).to_bits();
            // An integer in the low bits of 2^MANTISSA is that number added to it.
            const INTEGER: $bits = (1.0 / $float::EPSILON).to_bits();
            let bits = x.to_bits().wrapping_add(ONE - SQRT_HALF);
            let k = $float::from_bits((bits >> MANTISSA) | INTEGER) - ($float::from_bits(INTEGER) + BIAS as $float);
            let m = $float::from_bits((bits & ((1 << MANTISSA) - 1)) + SQRT_HALF);
            (k, m)
        }

        /// `k ln 2 + ln(1 + f) + rest`, for `√½ ≤ 1 + f < √2`.
        #[inline(always)]
        fn ln_of_parts(k: $float, f: $float, rest: $float) -> $float {
            let half_square = 0.5 * f * f;
            let s = f / (2.0 + f);
            let z = s * s;
            let tail = s * (half_square + z * ln_tail(z)) + (k * LN2_LOW + rest);
            tail - half_square + f + k * LN2_HIGH
        }

        /// `y` where `x` is positive and finite, else what the logarithm is there.
        #[inline(always)]
        fn ln_or_limit(x: $float, y: $float) -> $float {
            let outside = if x == 0.0 { $float::NEG_INFINITY } else { $float::NAN };
            let y = if x > 0.0 { y } else { outside };
            if x == $float::INFINITY { x } else { y }
        }

        #[inline(always)]
        pub(super) fn ln(x: $float) -> $float {
            let subnormal = x < $float::MIN_POSITIVE;
            let (k, m) = exponent_and_significand(if subnormal { x * (2.0 / $float::EPSILON) } else { x });
            let k = if subnormal { k - (MANTISSA + 1) as $float } else { k };
            ln_or_limit(x, ln_of_parts(k, m - 1.0, 0.0))
        }

        #[inline(always)]
        pub(super) fn ln_1p(x: $float) -> $float {
            let u = 1.0 + x;
            let (k, m) = exponent_and_significand(u);
            // What rounding 1 + x lost, unless x itself can serve.
            let lost = if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
            let whole = k == 0.0;
            let f = if whole { x } else { m - 1.0 };
            let rest = if whole { 0.0 } else { lost / u };
            let y = ln_or_limit(u, ln_of_parts(k, f, rest));
            if x.abs() < $float::EPSILON / 4.0 { x } else { y }
        }

        /// `e^(−scale x²)`, `scale` a power of two: the square is split into an exact part and the rest.
        #[inline(always)]
        fn gaussian_of(x: $float, scale: $float) -> $float {
            let x = at_most(x.abs(), GAUSSIAN_MOST);
            let high = $float::from_bits(x.to_bits() & !HALF_MASK);
            exp_of_sum(-(high * high) * scale, -((x - high) * (x + high)) * scale)
        }

        #[inline(always)]
        pub(super) fn gaussian(x: $float) -> $float {
            gaussian_of(x, 1.0)
        }

        #[inline(always)]
        pub(super) fn normal_density(x: $float) -> $float {
            gaussian_of(x, 0.5) * super::FRAC_1_SQRT_2PI as $float
        }

        /// `e^(x²) erfc x` for `x` from 0 to `ERFC_MOST`.
        #[inline(always)]
        fn scaled_erfc(x: $float) -> $float {
            erfc_polynomial((x - ERFC_CENTRE) / (x + ERFC_CENTRE)) / (1.0 + 2.0 * x)
        }

        /// `erf x` for `|x| ≤ ½`, and `erfc |x|` for larger.
        #[inline(always)]
        fn erf_parts(x: $float) -> ($float, $float) {
            let a = at_most(x.abs(), ERFC_MOST);
            (x * erf_polynomial(x * x), scaled_erfc(a) * gaussian(a))
        }

        #[inline(always)]
        pub(super) fn erf(x: $float) -> $float {
            let (near, tail) = erf_parts(x);
            if x.abs() < 0.5 { near } else { (1.0 - tail).copysign(x) }
        }

        #[inline(always)]
        pub(super) fn erfc(x: $float) -> $float {
            let (near, tail) = erf_parts(x);
            let far = if x > 0.0 { tail } else { 2.0 - tail };
            if x.abs() < 0.5 { 1.0 - near } else { far }
        }

        #[inline(always)]
        pub(super) fn normal_cdf(x: $float) -> $float {
            let u = x * core::$float::consts::FRAC_1_SQRT_2;
            let near = 0.5 + 0.5 * u * erf_polynomial(u * u);
            let tail = 0.5 * scaled_erfc(at_most(u.abs(), ERFC_MOST)) * gaussian_of(x, 0.5);
            let far = if x < 0.0 { tail } else { 1.0 - tail };
            if u.abs() < 0.5 { near } else { far }
        }
    };
}
pub(super) use bodies;
