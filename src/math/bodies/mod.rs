//! The bodies, the same for both formats; a format brings its constants and polynomials.
//!
//! Methods: Cody and Waite's two-word reduction with its remainder carried along; logarithm after
//! FreeBSD's `e_log.c` and `s_log1p.c`; `(1 + 2x) e^(x²) erfc x` as a polynomial in `(x−k)/(x+k)`
//! after Shepherd and Laframboise, Math. Comp. 36 (1981) 249. Polynomials are Chebyshev
//! interpolants computed with mpmath; their error is below half a unit in the last place.

/// `c₀ + c₁x + c₂x² + …` by Horner's rule.
macro_rules! polynomial {
    ($x:expr; $c:expr) => { $c };
    ($x:expr; $c:expr, $($rest:expr),+) => { mul_add::<FUSED>($x, polynomial!($x; $($rest),+), $c) };
}
pub(super) use polynomial;

macro_rules! bodies {
    ($float:ident, $bits:ident) => {
        /// `a · b + c`, at once where the CPU has an instruction for it; elsewhere that would be a library call.
        #[inline(always)]
        fn mul_add<const FUSED: bool>(a: $float, b: $float, c: $float) -> $float {
            if FUSED { num_traits::Float::mul_add(a, b, c) } else { a * b + c }
        }

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

        /// `2^(n + raised)`, given `n + ROUND`; the exponent is a normal one.
        #[inline(always)]
        fn power_of_two(shifted: $float, raised: $bits) -> $float {
            $float::from_bits(shifted.to_bits().wrapping_add(BIAS + raised) << MANTISSA)
        }

        /// `1/(b + lost)`, `lost` small beside `b`: rounded, and what rounding lost.
        #[inline(always)]
        fn inverse<const FUSED: bool>(b: $float, lost: $float) -> ($float, $float) {
            let inverse = 1.0 / b;
            let rest = mul_add::<FUSED>(-inverse, lost, mul_add::<FUSED>(-inverse, b, 1.0));
            (inverse, inverse * rest)
        }

        /// What rounding `a + b` loses.
        #[inline(always)]
        fn lost_by_sum(a: $float, b: $float) -> $float {
            let sum = a + b;
            let b_held = sum - a;
            (a - (sum - b_held)) + (b - b_held)
        }

        /// `n + ROUND` and `p` with `e^(x + low) = 2ⁿ (1 + p)`, `|p| < ½`; `low` is small beside 1.
        #[inline(always)]
        fn reduced_exp<const FUSED: bool>(x: $float, low: $float) -> ($float, $float) {
            let shifted = mul_add::<FUSED>(x, core::$float::consts::LOG2_E, ROUND);
            let n = shifted - ROUND;
            let high = mul_add::<FUSED>(-n, LN2_HIGH, x);
            let low = mul_add::<FUSED>(-n, LN2_LOW, low);
            let r = high + low;
            let square = r * r;
            if !KEEPS_LOSSES {
                return (shifted, mul_add::<FUSED>(square, exp_tail::<FUSED>(r), r));
            }
            let rest = (high - r) + low;
            (shifted, r + mul_add::<FUSED>(square, exp_tail::<FUSED>(r), rest))
        }

        /// `p` and two powers of two whose product is `2ⁿ`, with `e^(x + low) = 2ⁿ (1 + p)`: in halves, so that
        /// subnormal results round once.
        #[inline(always)]
        fn exp_parts<const FUSED: bool>(x: $float, low: $float) -> [$float; 3] {
            let (shifted, p) = reduced_exp::<FUSED>(at_most(at_least(x, EXP_LEAST), EXP_MOST), low);
            let n = shifted - ROUND;
            let half = mul_add::<FUSED>(n, 0.5, ROUND);
            let other = (n - (half - ROUND)) + ROUND;
            [p, power_of_two(half, 0), power_of_two(other, 0)]
        }

        /// The same for `x ≤ 0`, where one of the powers can be a constant: with the other, `1 + p` is far from subnormal.
        #[inline(always)]
        fn decay_parts<const FUSED: bool>(x: $float, low: $float) -> [$float; 3] {
            let (shifted, p) = reduced_exp::<FUSED>(at_least(x, EXP_LEAST), low);
            [p, power_of_two(shifted, RAISED), LOWERED]
        }

        /// `(a + lost) e^y` for the parts of `e^y`; `lost` is small beside `a`.
        #[inline(always)]
        fn times_exp<const FUSED: bool>(a: $float, lost: $float, [p, half, other]: [$float; 3]) -> $float {
            if FUSED {
                (a + mul_add::<FUSED>(a, p, mul_add::<FUSED>(lost, p, lost))) * half * other
            } else {
                a * (1.0 + p) * half * other
            }
        }

        /// `e^(x + low)`.
        #[inline(always)]
        pub(super) fn exp_of_sum<const FUSED: bool>(x: $float, low: $float) -> $float {
            let [p, half, other] = exp_parts::<FUSED>(x, low);
            (1.0 + p) * half * other
        }

        #[inline(always)]
        pub(super) fn exp<const FUSED: bool>(x: $float) -> $float {
            exp_of_sum::<FUSED>(x, 0.0)
        }

        #[inline(always)]
        pub(super) fn exp_m1<const FUSED: bool>(x: $float) -> $float {
            let (shifted, p) = reduced_exp::<FUSED>(at_most(at_least(x, EXP_M1_LEAST), EXP_MOST), 0.0);
            // Half of it: 2ⁿ itself can overflow where the result does not.
            let scale = power_of_two(shifted - 1.0, 0);
            let y = 2.0 * mul_add::<FUSED>(scale, p, scale - 0.5);
            if x.abs() < $float::EPSILON / 4.0 { x } else { y }
        }

        /// `a/(1 + e)` for `e` from 0 to 1; `exact` but for one rounding, or nearly.
        #[inline(always)]
        fn over_one_plus<const FUSED: bool>(a: $float, e: $float, exact: bool) -> $float {
            let sum = 1.0 + e;
            if !(FUSED && exact) {
                return quotient(a, sum);
            }
            let (inverse, lost) = inverse::<FUSED>(sum, e - (sum - 1.0));
            mul_add::<FUSED>(a, inverse, a * lost)
        }

        /// `a/(1 + e)²` for `e` from 0 to 1.
        #[inline(always)]
        fn over_square_of_one_plus<const FUSED: bool>(a: $float, e: $float) -> $float {
            let sum = 1.0 + e;
            if !(FUSED && KEEPS_LOSSES) {
                return quotient(quotient(a, sum), sum);
            }
            let (inverse, lost) = inverse::<FUSED>(sum, e - (sum - 1.0));
            let square = inverse * inverse;
            let lost = mul_add::<FUSED>(inverse, inverse, -square) + 2.0 * inverse * lost;
            mul_add::<FUSED>(a, square, a * lost)
        }

        /// `e^(−|x + low|)`.
        #[inline(always)]
        fn exp_of_minus_magnitude<const FUSED: bool>(x: $float, low: $float) -> $float {
            let (x, low) = if x < 0.0 { (x, low) } else { (-x, -low) };
            let [p, raised, lowered] = decay_parts::<FUSED>(x, low);
            (1.0 + p) * raised * lowered
        }

        #[inline(always)]
        pub(super) fn sigmoid_of_sum<const FUSED: bool>(x: $float, low: $float) -> $float {
            let e = exp_of_minus_magnitude::<FUSED>(x, low);
            over_one_plus::<FUSED>(if x < 0.0 { e } else { 1.0 }, e, KEEPS_LOSSES)
        }

        #[inline(always)]
        pub(super) fn sigmoid_slope_of_sum<const FUSED: bool>(x: $float, low: $float) -> $float {
            let e = exp_of_minus_magnitude::<FUSED>(x, low);
            over_square_of_one_plus::<FUSED>(e, e)
        }

        /// `σ(x + low)` as two factors, the latter a power of two: where the product is subnormal, it rounds once if it
        /// comes last.
        #[inline(always)]
        fn sigmoid_parts<const FUSED: bool>(x: $float, low: $float) -> [$float; 4] {
            let (y, low) = if x < 0.0 { (x, low) } else { (-x, -low) };
            let [p, half, other] = exp_parts::<FUSED>(y, low);
            let root = if y < EXP_LEAST { 0.0 } else { (1.0 + p) * half };
            let (numerator, power) = if x < 0.0 { (root, other) } else { (1.0, 1.0) };
            let e = root * other;
            [over_one_plus::<FUSED>(numerator, e, true), power, if x < 0.0 { 1.0 } else { e }, e]
        }

        /// `z σ(x + low)`; 0 where σ is, even for infinite `z`.
        #[inline(always)]
        pub(super) fn gated<const FUSED: bool>(z: $float, x: $float, low: $float) -> $float {
            let [sigmoid, power, ..] = sigmoid_parts::<FUSED>(x, low);
            let product = z * sigmoid;
            power * if sigmoid == 0.0 { sigmoid } else { product }
        }

        /// `σ(v) + w σ′(v)` for `v = x + low`, with `w` at most some times as large as `v`: `σ(v) (1 + w σ(−v))`.
        #[inline(always)]
        pub(super) fn gated_slope<const FUSED: bool>(w: $float, x: $float, low: $float) -> $float {
            let [sigmoid, power, other_side, e] = sigmoid_parts::<FUSED>(x, low);
            let w = at_most(at_least(w, 4.0 * EXP_LEAST), -4.0 * EXP_LEAST);
            mul_add::<FUSED>(sigmoid, over_one_plus::<FUSED>(w * other_side, e, true), sigmoid) * power
        }

        /// `1/(1 + |x|)²`, not by the square of the denominator: that would overflow where the result does not vanish.
        #[inline(always)]
        pub(super) fn softsign_slope<const FUSED: bool>(x: $float) -> $float {
            let x = at_most(x.abs(), $float::MAX);
            let sum = 1.0 + x;
            if !(FUSED && KEEPS_LOSSES) {
                return (1.0 / sum) * (1.0 / sum);
            }
            let (inverse, lost) = inverse::<FUSED>(sum, lost_by_sum(1.0, x));
            mul_add::<FUSED>(inverse, inverse, 2.0 * inverse * lost)
        }

        /// `(1 − e)/(1 + e)` with `e = e^(−2|x|)`, the exponential of the derivative too: in one loop it is computed once.
        #[inline(always)]
        pub(super) fn tanh<const FUSED: bool>(x: $float) -> $float {
            let a = super::magnitude(x);
            let [p, raised, lowered] = decay_parts::<FUSED>(-(a + a), 0.0);
            let power = raised * lowered;
            let minus_numerator = mul_add::<FUSED>(power, p, power - 1.0);
            over_one_plus::<FUSED>(-minus_numerator, (1.0 + p) * raised * lowered, KEEPS_LOSSES).copysign(x)
        }

        /// `1 − |tanh x| = 2e/(1 + e)`; the 2 as the 4 of the slope.
        #[inline(always)]
        pub(super) fn tanh_complement<const FUSED: bool>(x: $float) -> $float {
            let a = super::magnitude(x);
            let [p, raised, lowered] = decay_parts::<FUSED>(-(a + a), 0.0);
            let root = (1.0 + p) * raised;
            over_one_plus::<FUSED>(2.0 * root * lowered, root * lowered, KEEPS_LOSSES)
        }

        /// `4e/(1 + e)²`; the 4 goes to a part of e, for e itself is rounded more coarsely where it is subnormal.
        #[inline(always)]
        pub(super) fn tanh_slope<const FUSED: bool>(x: $float) -> $float {
            let a = super::magnitude(x);
            let [p, raised, lowered] = decay_parts::<FUSED>(-(a + a), 0.0);
            let root = (1.0 + p) * raised;
            over_square_of_one_plus::<FUSED>(4.0 * root * lowered, root * lowered)
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
        fn ln_of_parts<const FUSED: bool>(k: $float, f: $float, rest: $float) -> $float {
            let half_square = 0.5 * f * f;
            let s = f / (2.0 + f);
            let z = s * s;
            let series = mul_add::<FUSED>(z, ln_tail::<FUSED>(z), half_square);
            let tail = mul_add::<FUSED>(s, series, mul_add::<FUSED>(k, LN2_LOW, rest));
            mul_add::<FUSED>(k, LN2_HIGH, tail - half_square + f)
        }

        /// `y` where `x` is positive and finite, else what the logarithm is there.
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
            // What rounding 1 + x lost, unless x itself can serve.
            let lost = if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
            let whole = k == 0.0;
            let f = if whole { x } else { m - 1.0 };
            let rest = if whole { 0.0 } else { lost / u };
            let y = ln_or_limit(u, ln_of_parts::<FUSED>(k, f, rest));
            if x.abs() < $float::EPSILON / 4.0 { x } else { y }
        }

        /// The parts of `e^(−scale x²)`, `scale` a power of two: the square is a rounded part and the rest.
        #[inline(always)]
        fn gaussian_parts<const FUSED: bool>(x: $float, scale: $float) -> [$float; 3] {
            let x = at_most(x.abs(), GAUSSIAN_MOST);
            let (square, rest) = if FUSED {
                (x * x, mul_add::<FUSED>(x, x, -(x * x)))
            } else {
                let high = $float::from_bits(x.to_bits() & !HALF_MASK);
                (high * high, (x - high) * (x + high))
            };
            exp_parts::<FUSED>(-square * scale, -rest * scale)
        }

        #[inline(always)]
        pub(super) fn gaussian<const FUSED: bool>(x: $float) -> $float {
            times_exp::<FUSED>(1.0, 0.0, gaussian_parts::<FUSED>(x, 1.0))
        }

        #[inline(always)]
        pub(super) fn erf_slope<const FUSED: bool>(x: $float) -> $float {
            times_exp::<FUSED>(FRAC_2_SQRT_PI, FRAC_2_SQRT_PI_LOST, gaussian_parts::<FUSED>(x, 1.0))
        }

        #[inline(always)]
        pub(super) fn normal_density<const FUSED: bool>(x: $float) -> $float {
            times_exp::<FUSED>(FRAC_1_SQRT_2PI, FRAC_1_SQRT_2PI_LOST, gaussian_parts::<FUSED>(x, 0.5))
        }

        /// `e^(x²) erfc x` for `x + low` from 0 to `ERFC_MOST`: rounded, and what rounding lost.
        #[inline(always)]
        fn scaled_erfc<const FUSED: bool>(x: $float, low: $float) -> ($float, $float) {
            let numerator = erfc_polynomial::<FUSED>((x - ERFC_CENTRE) / (x + ERFC_CENTRE));
            let sum = 1.0 + 2.0 * x;
            if !(FUSED && KEEPS_LOSSES) {
                return (numerator / sum, 0.0);
            }
            let (inverse, lost) = inverse::<FUSED>(sum, lost_by_sum(1.0, 2.0 * x) + 2.0 * low);
            let rounded = numerator * inverse;
            (rounded, mul_add::<FUSED>(numerator, inverse, -rounded) + numerator * lost)
        }

        /// `erf x` for `|x| ≤ ½`, and `erfc |x|`.
        #[inline(always)]
        fn erf_parts<const FUSED: bool>(x: $float) -> ($float, $float) {
            let (scaled, lost) = scaled_erfc::<FUSED>(at_most(x.abs(), ERFC_MOST), 0.0);
            let tail = times_exp::<FUSED>(scaled, lost, gaussian_parts::<FUSED>(x, 1.0));
            (x * erf_polynomial::<FUSED>(x * x), tail)
        }

        #[inline(always)]
        pub(super) fn erf<const FUSED: bool>(x: $float) -> $float {
            let (near, tail) = erf_parts::<FUSED>(x);
            if x.abs() < 0.5 { near } else { (1.0 - tail).copysign(x) }
        }

        #[inline(always)]
        pub(super) fn erfc<const FUSED: bool>(x: $float) -> $float {
            let (near, tail) = erf_parts::<FUSED>(x);
            let far = if x > 0.0 { tail } else { 2.0 - tail };
            // Beyond ⅛ the difference would show the error of what is taken away.
            if x > -0.5 && x < 0.125 { 1.0 - near } else { far }
        }

        /// `a` and `lost` with `1 − Φ(|x|) = (a + lost) e^(−x²/2)`, and `Φ(x)` near 0.
        #[inline(always)]
        fn normal_parts<const FUSED: bool>(x: $float) -> [$float; 3] {
            let a = at_most(x.abs(), GAUSSIAN_MOST);
            let u = a * core::$float::consts::FRAC_1_SQRT_2;
            let low = if FUSED {
                let low = mul_add::<FUSED>(a, core::$float::consts::FRAC_1_SQRT_2, -u);
                mul_add::<FUSED>(a, FRAC_1_SQRT_2_LOST, low)
            } else {
                0.0
            };
            let (scaled, lost) = scaled_erfc::<FUSED>(u, low);
            let near = mul_add::<FUSED>((0.5 * u).copysign(x), erf_polynomial::<FUSED>(u * u), 0.5);
            [0.5 * scaled, 0.5 * lost, near]
        }

        #[inline(always)]
        pub(super) fn normal_cdf<const FUSED: bool>(x: $float) -> $float {
            let [a, lost, near] = normal_parts::<FUSED>(x);
            let tail = times_exp::<FUSED>(a, lost, gaussian_parts::<FUSED>(x, 0.5));
            let far = if x < 0.0 { tail } else { 1.0 - tail };
            // Below −0.2 the sum would show the error of what is taken away.
            if x > -0.2 && x < 0.7 { near } else { far }
        }

        /// `x Φ(x)`.
        #[inline(always)]
        pub(super) fn gelu<const FUSED: bool>(x: $float) -> $float {
            let [a, lost, _] = normal_parts::<FUSED>(x);
            let held = at_least(x, -GAUSSIAN_MOST);
            let tail = times_exp::<FUSED>(held * a, held * lost, gaussian_parts::<FUSED>(x, 0.5));
            if x < -0.2 { tail } else { x * normal_cdf::<FUSED>(x) }
        }

        /// `Φ(x) + x φ(x)`, its tail with the exponential taken out.
        #[inline(always)]
        pub(super) fn gelu_slope<const FUSED: bool>(x: $float) -> $float {
            let [a, lost, near] = normal_parts::<FUSED>(x);
            let held = at_most(x.abs(), GAUSSIAN_MOST);
            let inner = mul_add::<FUSED>(-held, FRAC_1_SQRT_2PI, a);
            let lost = mul_add::<FUSED>(-held, FRAC_1_SQRT_2PI_LOST, lost);
            let tail = times_exp::<FUSED>(inner, lost, gaussian_parts::<FUSED>(x, 0.5));
            // Next to 0, where the two parts of the tail are nearly ½ and nearly 0.
            let density = times_exp::<FUSED>(FRAC_1_SQRT_2PI, FRAC_1_SQRT_2PI_LOST, gaussian_parts::<FUSED>(x, 0.5));
            let tail = if x > -0.2 && x < 0.0 { mul_add::<FUSED>(-held, density, near) } else { tail };
            if x < 0.0 { tail } else { 1.0 - tail }
        }

        /// For `e = e^(−|x|)`, its parts where `x < 0` and those of 1 elsewhere, and `[e, factor, d, lost]` with
        /// `tanh(ln(1 + eˣ)) = (1 − c) · parts` and its slope `4 factor (1 + e)/d² · parts`, where c is `e (1 + e)/d` or `2e²/d`.
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
            // The exponential of the right side is 1, but 1 times an infinity with its rest is NaN.
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
pub(super) use bodies;
