//! The logistic function, tanh, softsign and their slopes.

macro_rules! logistic {
    ($float:ident) => {
        /// `a/(1 + e)` for `e` from 0 to 1. With `exact` and `FUSED` the result is rounded about once; otherwise the
        /// sum and the quotient are rounded.
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

        /// Returns σ(x + low) as two factors, the second a power of two, then `σ(−x − low)(1 + e)` and
        /// `e = e^(−|x + low|)`. σ is the logistic function. A subnormal product is rounded once if the power is the
        /// last factor.
        #[inline(always)]
        fn sigmoid_parts<const FUSED: bool>(x: $float, low: $float) -> [$float; 4] {
            let (y, low) = if x < 0.0 { (x, low) } else { (-x, -low) };
            let [p, half, other] = exp_parts::<FUSED>(y, low);
            let root = if y < EXP_LEAST { 0.0 } else { (1.0 + p) * half };
            let (numerator, power) = if x < 0.0 { (root, other) } else { (1.0, 1.0) };
            let e = root * other;
            [over_one_plus::<FUSED>(numerator, e, true), power, if x < 0.0 { 1.0 } else { e }, e]
        }

        /// `z σ(x + low)` with the logistic function σ; 0 if σ is 0, even for infinite `z`.
        #[inline(always)]
        pub(super) fn gated<const FUSED: bool>(z: $float, x: $float, low: $float) -> $float {
            let [sigmoid, power, ..] = sigmoid_parts::<FUSED>(x, low);
            let product = z * sigmoid;
            power * if sigmoid == 0.0 { sigmoid } else { product }
        }

        /// `σ(v) + w σ′(v) = σ(v) (1 + w σ(−v))` for `v = x + low`, with the logistic function σ, and `|w|` at
        /// most a small multiple of `|v|`.
        #[inline(always)]
        pub(super) fn gated_slope<const FUSED: bool>(w: $float, x: $float, low: $float) -> $float {
            let [sigmoid, power, other_side, e] = sigmoid_parts::<FUSED>(x, low);
            let w = at_most(at_least(w, 4.0 * EXP_LEAST), -4.0 * EXP_LEAST);
            mul_add::<FUSED>(sigmoid, over_one_plus::<FUSED>(w * other_side, e, true), sigmoid) * power
        }

        /// The slope of the activation softsign, `1/(1 + |x|)²`, without the square of the denominator, which
        /// overflows before the result is 0.
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

        /// `tanh x = ±(1 − e)/(1 + e)` with `e = e^(−2|x|)` and the sign of `x`. `tanh_slope` uses the same
        /// exponential, so a loop over both computes it once.
        #[inline(always)]
        pub(super) fn tanh<const FUSED: bool>(x: $float) -> $float {
            let a = super::magnitude(x);
            let [p, raised, lowered] = decay_parts::<FUSED>(-(a + a), 0.0);
            let power = raised * lowered;
            let minus_numerator = mul_add::<FUSED>(power, p, power - 1.0);
            over_one_plus::<FUSED>(-minus_numerator, (1.0 + p) * raised * lowered, KEEPS_LOSSES).copysign(x)
        }

        /// `1 − |tanh x| = 2e/(1 + e)` with `e = e^(−2|x|)`. The 2 multiplies a part of `e`, since a subnormal `e`
        /// is rounded more coarsely.
        #[inline(always)]
        pub(super) fn tanh_complement<const FUSED: bool>(x: $float) -> $float {
            let a = super::magnitude(x);
            let [p, raised, lowered] = decay_parts::<FUSED>(-(a + a), 0.0);
            let root = (1.0 + p) * raised;
            over_one_plus::<FUSED>(2.0 * root * lowered, root * lowered, KEEPS_LOSSES)
        }

        /// The slope of tanh, `4e/(1 + e)²` with `e = e^(−2|x|)`. The 4 multiplies a part of `e`, since a subnormal
        /// `e` is rounded more coarsely.
        #[inline(always)]
        pub(super) fn tanh_slope<const FUSED: bool>(x: $float) -> $float {
            let a = super::magnitude(x);
            let [p, raised, lowered] = decay_parts::<FUSED>(-(a + a), 0.0);
            let root = (1.0 + p) * raised;
            over_square_of_one_plus::<FUSED>(4.0 * root * lowered, root * lowered)
        }
    };
}
pub(in crate::math) use logistic;
