//! The Gaussian, the error function, the normal distribution and GELU.

macro_rules! normal {
    ($float:ident) => {
        /// Returns the parts (as `exp_parts` gives them) of `e^(−scale x²)`, where `scale` is a power of two. The
        /// square is computed as a rounded value and its rounding error.
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

        /// Returns `e^(v²) erfc v` at `v = x + low` from 0 to `ERFC_MOST`, rounded, and its rounding error (the exact
        /// value minus the rounded one). The error is 0 in `f32`, and without fused multiply-adds.
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

        /// Returns `erf x`, which is accurate for `|x| ≤ ½` only, and `erfc |x|`.
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
            // Beyond ⅛ the difference would magnify the error of `near`.
            if x > -0.5 && x < 0.125 { 1.0 - near } else { far }
        }

        /// Returns `a` and `lost` with `1 − Φ(|x|) = (a + lost) e^(−x²/2)`, then `Φ(x)`, which is only accurate
        /// near 0.
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
            // Below −0.2 the sum would magnify the error of its terms.
            if x > -0.2 && x < 0.7 { near } else { far }
        }

        /// The activation GELU, `x Φ(x)` with the normal distribution function Φ.
        #[inline(always)]
        pub(super) fn gelu<const FUSED: bool>(x: $float) -> $float {
            let [a, lost, _] = normal_parts::<FUSED>(x);
            let held = at_least(x, -GAUSSIAN_MOST);
            let tail = times_exp::<FUSED>(held * a, held * lost, gaussian_parts::<FUSED>(x, 0.5));
            if x < -0.2 { tail } else { x * normal_cdf::<FUSED>(x) }
        }

        /// The slope `Φ(x) + x φ(x)` of GELU, with the normal distribution function Φ and density φ. In the lower
        /// tail, `e^(−x²/2)` is a factor of the whole sum.
        #[inline(always)]
        pub(super) fn gelu_slope<const FUSED: bool>(x: $float) -> $float {
            let [a, lost, near] = normal_parts::<FUSED>(x);
            let held = at_most(x.abs(), GAUSSIAN_MOST);
            let inner = mul_add::<FUSED>(-held, FRAC_1_SQRT_2PI, a);
            let lost = mul_add::<FUSED>(-held, FRAC_1_SQRT_2PI_LOST, lost);
            let tail = times_exp::<FUSED>(inner, lost, gaussian_parts::<FUSED>(x, 0.5));
            // Near 0 the two terms of the tail are nearly ½ and nearly 0.
            let density = times_exp::<FUSED>(FRAC_1_SQRT_2PI, FRAC_1_SQRT_2PI_LOST, gaussian_parts::<FUSED>(x, 0.5));
            let tail = if x > -0.2 && x < 0.0 { mul_add::<FUSED>(-held, density, near) } else { tail };
            if x < 0.0 { tail } else { 1.0 - tail }
        }
    };
}
pub(in crate::math) use normal;
