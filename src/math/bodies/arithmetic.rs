//! Multiply-add, clamps, powers of two and rounding errors.

macro_rules! arithmetic {
    ($float:ident, $bits:ident) => {
        /// `a · b + c`, rounded once if `FUSED`, which is for CPUs with FMA; without FMA a fused operation would be a
        /// library call.
        #[inline(always)]
        fn mul_add<const FUSED: bool>(a: $float, b: $float, c: $float) -> $float {
            if FUSED { num_traits::Float::mul_add(a, b, c) } else { a * b + c }
        }

        /// The smaller of `x` and `limit`; NaN if `x` is NaN.
        #[inline(always)]
        fn at_most(x: $float, limit: $float) -> $float {
            if x > limit { limit } else { x }
        }

        /// The larger of `x` and `limit`; NaN if `x` is NaN.
        #[inline(always)]
        fn at_least(x: $float, limit: $float) -> $float {
            if x < limit { limit } else { x }
        }

        /// `2^(n + raised)`, which must be a normal number, for an integer n given as `shifted = n + ROUND`. `ROUND` is
        /// so large that the sum has n in the low bits of its mantissa.
        #[inline(always)]
        fn power_of_two(shifted: $float, raised: $bits) -> $float {
            $float::from_bits(shifted.to_bits().wrapping_add(BIAS + raised) << MANTISSA)
        }

        /// `1/b` rounded, and the difference of `1/(b + lost)` from it; `|lost|` is much smaller than `|b|`.
        #[inline(always)]
        fn inverse<const FUSED: bool>(b: $float, lost: $float) -> ($float, $float) {
            let inverse = 1.0 / b;
            let rest = mul_add::<FUSED>(-inverse, lost, mul_add::<FUSED>(-inverse, b, 1.0));
            (inverse, inverse * rest)
        }

        /// The rounding error of `a + b`: the exact sum minus the rounded one.
        #[inline(always)]
        fn lost_by_sum(a: $float, b: $float) -> $float {
            let sum = a + b;
            let b_held = sum - a;
            (a - (sum - b_held)) + (b - b_held)
        }
    };
}
pub(in crate::math) use arithmetic;
