//! Arguments for which a formula would give NaN, zero or a panic: kinks, jumps, ends of domains, tails, infinities.

use super::close;
use chainrule::{math, scalar, testing::Dual, to_f64};
use num_traits::{Float, Num, NumCast, One, ToPrimitive, Zero};
use std::num::FpCategory;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn at(x: f64) -> Dual<f64> {
    Dual::variable(x)
}

fn constant(x: f64) -> Dual<f64> {
    Dual::constant(x)
}

fn close_slope(found: f64, expected: f64) -> bool {
    close(found, expected, 0.0) || (found / expected - 1.0).abs() < 1e-13
}

/// A table of name, result, expected value and expected slope.
#[test]
fn dual_at_the_edges_of_domains_has_the_right_slope() {
    let one = constant(1.0);
    let table = [
        ("abs +0", at(0.0).abs(), 0.0, 1.0),
        ("abs −0", at(-0.0).abs(), 0.0, -1.0),
        ("abs −∞", at(-INF).abs(), INF, -1.0),
        ("floor on a jump", at(2.0).floor(), 2.0, 0.0),
        ("floor, steep", Dual::new(2.5, INF).floor(), 2.0, 0.0),
        ("signum 0", at(0.0).signum(), 1.0, 0.0),
        ("recip 0", at(0.0).recip(), INF, -INF),
        // The slope −a/b² is below the least positive number; its product with e⁵⁰⁰ is not.
        ("division, steep", Dual::new(-500.0, 1.0) / Dual::new(500f64.exp(), 500f64.exp()), -500.0 / 500f64.exp(), {
            501.0 / 500f64.exp()
        }),
        ("recip, steep", Dual::new(500f64.exp(), 500f64.exp()).recip(), (-500f64).exp(), -(-500f64).exp()),
        ("recip −0", at(-0.0).recip(), -INF, -INF),
        ("recip ∞", at(INF).recip(), 0.0, 0.0),
        ("1/0", one / at(0.0), INF, -INF),
        ("x/0", at(1.0) / constant(0.0), INF, INF),
        ("1/0, constants", one / constant(0.0), INF, 0.0),
        ("0/0", at(0.0) / at(0.0), NAN, NAN),
        ("x/∞", at(1.0) / constant(INF), 0.0, 0.0),
        ("∞ · constant", constant(INF) * constant(2.0), INF, 0.0),
        ("∞ · x", constant(INF) * at(2.0), INF, INF),
        ("∞ tangent · constant", Dual::new(1.0, INF) * constant(2.0), 2.0, INF),
        ("∞ tangent · 0", Dual::new(1.0, INF) * constant(0.0), 0.0, NAN),
        ("NaN tangent", Dual::new(1.0, NAN) + one, 2.0, NAN),
        ("NaN tangent in a function", Dual::new(0.0, NAN).sin(), 0.0, NAN),
        ("∞ tangent in a function", Dual::new(0.0, INF).sin(), 0.0, INF),
        ("sqrt 0", at(0.0).sqrt(), 0.0, INF),
        ("sqrt −0", at(-0.0).sqrt(), 0.0, INF),
        ("sqrt 0, constant", constant(0.0).sqrt(), 0.0, 0.0),
        ("sqrt ∞", at(INF).sqrt(), INF, 0.0),
        ("sqrt −1", at(-1.0).sqrt(), NAN, NAN),
        ("cbrt 0", at(0.0).cbrt(), 0.0, INF),
        ("cbrt −0", at(-0.0).cbrt(), 0.0, INF),
        ("cbrt −8", at(-8.0).cbrt(), -2.0, 1.0 / 12.0),
        ("exp 1000", at(1000.0).exp(), INF, INF),
        ("exp −1000", at(-1000.0).exp(), 0.0, 0.0),
        ("exp −∞", at(-INF).exp(), 0.0, 0.0),
        ("exp ∞, constant", constant(INF).exp(), INF, 0.0),
        ("exp_m1 −700", at(-700.0).exp_m1(), -1.0, (-700.0f64).exp()),
        ("ln 0", at(0.0).ln(), -INF, INF),
        ("ln −0", at(-0.0).ln(), -INF, INF),
        ("ln −1", at(-1.0).ln(), NAN, NAN),
        ("ln ∞", at(INF).ln(), INF, 0.0),
        ("ln 0, constant", constant(0.0).ln(), -INF, 0.0),
        ("log2 −0", at(-0.0).log2(), -INF, INF),
        ("log10 0", at(0.0).log10(), -INF, INF),
        ("log10 −1", at(-1.0).log10(), NAN, NAN),
        ("ln_1p −1", at(-1.0).ln_1p(), -INF, INF),
        ("ln_1p −2", at(-2.0).ln_1p(), NAN, NAN),
        ("log of base 1", at(2.0).log(one), INF, INF),
        ("log 0", at(0.0).log(constant(2.0)), -INF, INF),
        ("asin 1", at(1.0).asin(), 1f64.asin(), INF),
        ("asin −1", at(-1.0).asin(), -1f64.asin(), INF),
        ("asin 2", at(2.0).asin(), NAN, NAN),
        ("acos 1", at(1.0).acos(), 0.0, -INF),
        ("atan ∞", at(INF).atan(), INF.atan(), 0.0),
        ("atan 1e160", at(1e160).atan(), 1e160.atan(), 1e-320),
        ("acosh 1", at(1.0).acosh(), 0.0, INF),
        ("acosh 0", at(0.0).acosh(), NAN, NAN),
        ("acosh −2", at(-2.0).acosh(), NAN, NAN),
        ("acosh 1e300", at(1e300).acosh(), 1e300.acosh(), 1e-300),
        ("asinh 1e300", at(1e300).asinh(), 1e300.asinh(), 1e-300),
        ("atanh 1", at(1.0).atanh(), INF, INF),
        ("atanh −1", at(-1.0).atanh(), -INF, INF),
        ("atanh 2", at(2.0).atanh(), NAN, NAN),
        ("sin ∞", at(INF).sin(), NAN, NAN),
        ("cosh 1000", at(1000.0).cosh(), INF, INF),
        ("sinh −1000", at(-1000.0).sinh(), -INF, INF),
        ("tanh 350", at(350.0).tanh(), 1.0, 4.0 * (-700.0f64).exp()),
        ("tanh −370", at(-370.0).tanh(), -1.0, 4.0 * (-740.0f64).exp()),
        ("tanh 700", at(700.0).tanh(), 1.0, 0.0),
        ("tanh −∞", at(-INF).tanh(), -1.0, 0.0),
        ("tanh −0", at(-0.0).tanh(), 0.0, 1.0),
        ("sigmoid −700", math::sigmoid(at(-700.0)), (-700.0f64).exp(), (-700.0f64).exp()),
        ("sigmoid 700", math::sigmoid(at(700.0)), 1.0, (-700.0f64).exp()),
        ("softplus −700", math::softplus(at(-700.0)), (-700.0f64).exp(), (-700.0f64).exp()),
        ("x⁰ at 0", at(0.0).powi(0), 1.0, 0.0),
        ("x⁰ at ∞", at(INF).powi(0), 1.0, 0.0),
        ("x¹ at 0", at(0.0).powi(1), 0.0, 1.0),
        ("x² at 0", at(0.0).powi(2), 0.0, 0.0),
        ("x⁻¹ at 0", at(0.0).powi(-1), INF, -INF),
        ("least exponent", at(1.0).powi(i32::MIN), 1.0, -2147483648.0),
        ("least exponent of 2", at(2.0).powi(i32::MIN), 0.0, 0.0),
        ("greatest exponent", at(1.0).powi(i32::MAX), 1.0, 2147483647.0),
        ("(−2)³", at(-2.0).powf(constant(3.0)), -8.0, 12.0),
        ("(−2)³, exponent free", constant(-2.0).powf(at(3.0)), -8.0, NAN),
        ("(−2)^½", at(-2.0).powf(constant(0.5)), NAN, NAN),
        ("0^2", at(0.0).powf(constant(2.0)), 0.0, 0.0),
        ("0^1", at(0.0).powf(one), 0.0, 1.0),
        ("0^½", at(0.0).powf(constant(0.5)), 0.0, INF),
        ("0^0", at(0.0).powf(constant(0.0)), 1.0, 0.0),
        ("0^x at 2", constant(0.0).powf(at(2.0)), 0.0, 0.0),
        ("∞^x at −1", constant(INF).powf(at(-1.0)), 0.0, 0.0),
        ("x^0", at(3.0).powf(constant(0.0)), 1.0, 0.0),
        ("2^x at 0", constant(2.0).powf(at(0.0)), 1.0, 2f64.ln()),
        ("max, tie", at(1.0).max(one), 1.0, 1.0),
        ("max, NaN first", constant(NAN).max(at(1.0)), 1.0, 1.0),
        ("max, NaN second", at(1.0).max(constant(NAN)), 1.0, 1.0),
        ("min, NaN first", constant(NAN).min(at(1.0)), 1.0, 1.0),
        ("min, NaN second", at(1.0).min(constant(NAN)), 1.0, 1.0),
        ("min, tie", at(1.0).min(one), 1.0, 1.0),
        ("clamp on the limit", at(1.0).clamp(constant(0.0), one), 1.0, 1.0),
        ("clamp above", at(2.0).clamp(constant(0.0), one), 1.0, 0.0),
        ("clamp to a variable", constant(-1.0).clamp(at(0.0), one), 0.0, 1.0),
        ("clamp between none", at(2.0).clamp(constant(3.0), one), 3.0, 0.0),
        ("clamp NaN", at(NAN).clamp(constant(0.0), one), NAN, 1.0),
        ("abs_sub, tie", at(1.0).abs_sub(one), 0.0, 0.0),
        ("abs_sub NaN", at(NAN).abs_sub(one), NAN, 1.0),
        ("hypot 0 0", at(0.0).hypot(at(0.0)), 0.0, 0.0),
        ("hypot ∞ 1", at(INF).hypot(at(1.0)), INF, 1.0),
        ("hypot 1e200", at(3e200).hypot(at(4e200)), 5e200, 1.4),
        ("hypot 1e-200", at(3e-200).hypot(at(4e-200)), 5e-200, 1.4),
        ("atan2 0 0", at(0.0).atan2(constant(0.0)), 0.0, NAN),
        ("atan2 0 0, constants", constant(0.0).atan2(constant(0.0)), 0.0, 0.0),
        ("atan2 1e-200", at(1e-200).atan2(constant(1e-200)), 1f64.atan(), 5e199),
        ("atan2 1e200", at(1e200).atan2(constant(1e200)), 1f64.atan(), 5e-201),
        ("atan2 behind", at(0.0).atan2(constant(-2.0)), std::f64::consts::PI, -0.5),
        ("atan2 ∞", at(1.0).atan2(constant(INF)), 0.0, 0.0),
        ("∞ % 1", at(INF) % one, NAN, NAN),
        ("1 % ∞", at(1.0) % at(INF), 1.0, 1.0),
        ("1 % 0", at(1.0) % constant(0.0), NAN, NAN),
        ("−7 % 3", at(-7.0) % at(3.0), -1.0, 3.0),
        ("quotient rounds up", constant(0.3f64.next_down()) % at(0.1), 0.3f64.next_down() % 0.1, -2.0),
        ("copysign", at(2.0).copysign(constant(-0.0)), -2.0, -1.0),
        ("copysign of 0", at(0.0).copysign(constant(-1.0)), 0.0, -1.0),
        ("copysign of −0", at(-0.0).copysign(constant(-1.0)), 0.0, 1.0),
        ("fract", at(-2.25).fract(), -0.25, 1.0),
        ("degrees of ∞", at(INF).to_degrees(), INF, 1f64.to_degrees()),
        ("mul_add", constant(INF).mul_add(constant(1.0), at(1.0)), INF, 1.0),
    ];
    let wrong: Vec<_> = (table.iter())
        .filter(|(_, found, value, tangent)| {
            !close(found.value, *value, 1e-15) || !close_slope(found.tangent, *tangent)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // `mul_add` uses that of the inner scalar.
    let (a, b) = (1.0 + f64::EPSILON, 1.0 - f64::EPSILON);
    assert_eq!(at(a).mul_add(at(b), constant(-1.0)).value, a.mul_add(b, -1.0));
    assert!(at(1.0).copysign(at(-0.0)).is_sign_negative() && at(NAN).copysign(at(-1.0)).is_sign_negative());
}

/// For nested dual numbers, a tangent with value 0 can have a nonzero tangent, which must be kept.
#[test]
fn nested_dual_with_zero_tangent_keeps_the_second_derivative() {
    let x = Dual::new(Dual::new(2.0, 3.0), Dual::new(0.0, 5.0));
    assert_eq!(x.exp().tangent.tangent, 5.0 * 2f64.exp());
    assert_eq!((x * x).tangent.tangent, 20.0);
    // √(x²) has a kink at 0: its second derivative is not finite.
    let x = Dual::new(Dual::variable(0.0), Dual::constant(1.0));
    assert!(!(x * x).sqrt().tangent.tangent.is_finite());
    // x⁰ differentiated by x and by the exponent is 1/x.
    let power = Dual::new(Dual::variable(4.0), Dual::constant(0.0));
    let exponent = Dual::new(Dual::constant(0.0), Dual::constant(1.0));
    assert_eq!(power.powf(exponent).tangent.tangent, 0.25);
    let constant = Dual::new(Dual::constant(0.0), Dual::constant(0.0));
    let found = constant.sqrt();
    assert_eq!((found.value.tangent, found.tangent.value, found.tangent.tangent), (0.0, 0.0, 0.0));
    // Tails without ∞/∞.
    for x in [-1000.0, -700.0, 0.0, 700.0, 1000.0] {
        let second = Dual::new(Dual::variable(x), Dual::constant(1.0)).tanh();
        assert_eq!(second.tangent.tangent, 0.0, "tanh″({x})");
    }
}

#[test]
fn dual_constants_and_casts_have_slope_zero() {
    type D = Dual<f64>;
    let constants = [
        (D::epsilon(), f64::EPSILON),
        (D::max_value(), f64::MAX),
        (D::min_value(), f64::MIN),
        (D::min_positive_value(), f64::MIN_POSITIVE),
        (D::infinity(), INF),
        (D::neg_infinity(), -INF),
        (D::zero(), 0.0),
        (D::one(), 1.0),
        (D::default(), 0.0),
        (2.5.into(), 2.5),
        (<D as NumCast>::from(3u8).unwrap(), 3.0),
        (scalar(0.1), 0.1),
        (D::from_str_radix("12.5", 10).unwrap(), 12.5),
    ];
    for (found, expected) in constants {
        assert_eq!((found.value, found.tangent), (expected, 0.0));
    }
    assert!(D::nan().is_nan() && D::neg_zero().is_sign_negative() && !D::zero().is_sign_negative());
    assert!(D::from_str_radix("what", 10).is_err());
    assert_eq!(Dual::<f32>::epsilon().value, f32::EPSILON);
    assert_eq!(Dual::<Dual<f64>>::epsilon().value.value, f64::EPSILON);
    for x in [0.0, -0.0, 1.5, -INF, NAN, 5e-324, f64::MIN_POSITIVE] {
        let d = Dual::new(x, NAN);
        assert_eq!(d.classify(), x.classify());
        assert_eq!((d.is_finite(), d.is_infinite(), d.is_nan()), (x.is_finite(), x.is_infinite(), x.is_nan()));
        assert_eq!((d.is_normal(), d.is_subnormal()), (x.is_normal(), x.classify() == FpCategory::Subnormal));
        assert_eq!((d.is_sign_positive(), d.is_sign_negative()), (x.is_sign_positive(), x.is_sign_negative()));
        assert_eq!(d.integer_decode(), Float::integer_decode(x));
        assert_eq!(d.is_zero(), x == 0.0);
        assert_eq!(to_f64(d).to_bits(), x.to_bits());
    }
    let large = Dual::variable(1e25f64);
    assert_eq!((large.to_i128(), large.to_u128()), (1e25.to_i128(), 1e25.to_u128()));
    assert_eq!((large.to_i64(), large.to_u8(), large.to_f32()), (None, None, Some(1e25)));
    assert_eq!(Dual::variable(7f32).to_usize(), Some(7));
    assert_eq!(Dual::variable(-7f32).to_i8(), Some(-7));
}

/// Comparisons use the value only, so a branch is taken as for plain numbers.
#[test]
fn dual_comparison_uses_the_value_only() {
    assert_eq!(at(1.0), constant(1.0));
    assert!(Dual::new(1.0, 9.0) < Dual::new(2.0, 0.0) && at(NAN) != at(NAN));
    assert_eq!(at(NAN).partial_cmp(&at(1.0)), None);
}

#[test]
fn dual_prints_value_and_tangent() {
    let x = Dual::new(Dual::new(1.0, 2.0), Dual::new(-3.0, 0.25));
    assert_eq!(x.value.to_string(), "(1 + 2ε)");
    assert_eq!(format!("{x:.1}"), "((1.0 + 2.0ε) + (-3.0 + 0.2ε)ε)");
    assert_eq!(format!("{:?}", x.value), "Dual { value: 1.0, tangent: 2.0 }");
}
