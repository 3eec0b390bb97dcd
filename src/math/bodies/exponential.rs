//! `eˣ`, `eˣ − 1` and their parts.

macro_rules! exponential {
    ($float:ident) => {
        /// Returns `n + ROUND` and `p` with `e^(x + low) = 2ⁿ (1 + p)` and `|p| < ½`. n is an integer; `ROUND` is
        /// the constant whose addition rounds to an integer. `|low|` is much smaller than 1.
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

        /// Returns `p` and two powers of two whose product is `2ⁿ`, with `e^(x + low) = 2ⁿ (1 + p)` for an integer n
        /// and `|p| < ½`. With two powers, subnormal results are rounded once.
        #[inline(always)]
        fn exp_parts<const FUSED: bool>(x: $float, low: $float) -> [$float; 3] {
            let (shifted, p) = reduced_exp::<FUSED>(at_most(at_least(x, EXP_LEAST), EXP_MOST), low);
            let n = shifted - ROUND;
            let half = mul_add::<FUSED>(n, 0.5, ROUND);
            let other = (n - (half - ROUND)) + ROUND;
            [p, power_of_two(half, 0), power_of_two(other, 0)]
        }

        /// Returns `p` and two powers of two whose product is `2ⁿ`, with `e^(x + low) = 2ⁿ (1 + p)` for an integer n,
        /// as `exp_parts` does, but for `x ≤ 0` only. The second power is the constant `LOWERED`, so the first one is
        /// 2ⁿ/`LOWERED`, which is never subnormal.
        #[inline(always)]
        fn decay_parts<const FUSED: bool>(x: $float, low: $float) -> [$float; 3] {
            let (shifted, p) = reduced_exp::<FUSED>(at_least(x, EXP_LEAST), low);
            [p, power_of_two(shifted, RAISED), LOWERED]
        }

        /// `(a + lost) e^y`, given the parts of `e^y` from `exp_parts`. `|lost|` is much smaller than `|a|`, and
        /// ignored without fused multiply-adds.
        #[inline(always)]
        fn times_exp<const FUSED: bool>(a: $float, lost: $float, [p, half, other]: [$float; 3]) -> $float {
            if FUSED {
                (a + mul_add::<FUSED>(a, p, mul_add::<FUSED>(lost, p, lost))) * half * other
            } else {
                a * (1.0 + p) * half * other
            }
        }

        /// `e^(x + low)`, where `low` is a rounding error of `x`.
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
            // 2ⁿ⁻¹, since 2ⁿ can overflow if the result does not.
            let scale = power_of_two(shifted - 1.0, 0);
            let y = 2.0 * mul_add::<FUSED>(scale, p, scale - 0.5);
            if x.abs() < $float::EPSILON / 4.0 { x } else { y }
        }
    };
}
pub(in crate::math) use exponential;
