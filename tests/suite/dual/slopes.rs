//! The slope of every method against an independent closed form, at random arguments, up to the second derivative.

use super::close;
use chainrule::{Scalar, scalar, testing::Dual};
use num_traits::{Float, One};
use proptest::prelude::*;
use std::f64::consts::{LN_2, LN_10, PI};

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// `x` as a variable of two nested dual numbers: the tangent of the tangent is the second derivative.
fn twice(x: f64) -> Dual<Dual<f64>> {
    Dual::new(Dual::variable(x), Dual::constant(1.0))
}

/// A test for each method: its value is that of `f64`, its slope that of the closed form, and its second derivative the
/// slope of the closed form.
macro_rules! one_argument {
    ($($method:ident($($argument:expr)?) in $range:expr, |$x:ident| $slope:expr;)+) => {
        proptest! {
            #![proptest_config(config())]
            $(
                #[test]
                fn $method(x in $range) {
                    let x: f64 = x;
                    fn slope<T: Scalar>($x: T) -> T { $slope }
                    let found = Dual::variable(x).$method($($argument)?);
                    prop_assert_eq!(found.value.to_bits(), Float::$method(x $(, $argument)?).to_bits());
                    prop_assert!(close(found.tangent, slope(x), 1e-12), "{} for {}", found.tangent, slope(x));
                    let (second, expected) = (twice(x).$method($($argument)?).tangent, slope(Dual::variable(x)));
                    prop_assert!(close(second.value, expected.value, 1e-12));
                    prop_assert!(close(second.tangent, expected.tangent, 1e-11), "{second} for {expected}");
                    // The tangent of x scales the slope; a constant has slope 0.
                    let scaled = Dual::new(x, -2.5).$method($($argument)?).tangent;
                    prop_assert!(close(scaled, -2.5 * found.tangent, 1e-15), "{scaled}");
                    prop_assert_eq!(Dual::constant(x).$method($($argument)?).tangent, 0.0);
                    // The same in `f32`.
                    let single = Dual::variable(x as f32).$method($($argument)?).tangent;
                    let expected = slope(f64::from(x as f32));
                    prop_assert!(close(single.into(), expected, 2e-5), "{single} for {expected}");
                }
            )+
        }
    };
}

one_argument! {
    abs() in -9.0..9.0, |x| if x < T::zero() { -T::one() } else { T::one() };
    floor() in -9.0..9.0, |_x| T::zero();
    ceil() in -9.0..9.0, |_x| T::zero();
    round() in -9.0..9.0, |_x| T::zero();
    trunc() in -9.0..9.0, |_x| T::zero();
    signum() in -9.0..9.0, |_x| T::zero();
    fract() in -9.0..9.0, |_x| T::one();
    recip() in 0.1..9.0, |x| -T::one() / (x * x);
    sqrt() in 0.01..9.0, |x| x.powf(scalar(-0.5)) / scalar(2.0);
    cbrt() in 0.01..9.0, |x| x.powf(scalar(-2.0 / 3.0)) / scalar(3.0);
    exp() in -9.0..9.0, |x| T::one() / (-x).exp();
    exp2() in -9.0..9.0, |x| scalar::<T>(LN_2) * (x * scalar(LN_2)).exp();
    exp_m1() in -9.0..9.0, |x| x.exp2().powf(scalar(1.0 / LN_2));
    ln() in 0.01..9.0, |x| T::one() / x;
    log2() in 0.01..9.0, |x| T::one() / x / scalar(LN_2);
    log10() in 0.01..9.0, |x| T::one() / x / scalar(LN_10);
    ln_1p() in -0.9..9.0, |x| T::one() / (T::one() + x);
    sin() in -9.0..9.0, |x| T::one() - scalar::<T>(2.0) * (x / scalar(2.0)).sin().powi(2);
    cos() in -9.0..9.0, |x| -scalar::<T>(2.0) * (x / scalar(2.0)).sin() * (x / scalar(2.0)).cos();
    tan() in -1.4..1.4, |x| x.cos().powi(-2);
    asin() in -0.9..0.9, |x| (T::one() - x * x).powf(scalar(-0.5));
    acos() in -0.9..0.9, |x| -(T::one() - x * x).powf(scalar(-0.5));
    atan() in -9.0..9.0, |x| T::one() / (T::one() + x * x);
    sinh() in -9.0..9.0, |x| (x.exp() + (-x).exp()) / scalar(2.0);
    cosh() in -9.0..9.0, |x| (x.exp_m1() - (-x).exp_m1()) / scalar(2.0);
    tanh() in -9.0..9.0, |x| T::one() / x.cosh().powi(2);
    asinh() in -9.0..9.0, |x| (x * x + T::one()).powf(scalar(-0.5));
    acosh() in 1.1..9.0, |x| (x * x - T::one()).powf(scalar(-0.5));
    atanh() in -0.9..0.9, |x| (T::one() / (T::one() + x) + T::one() / (T::one() - x)) / scalar(2.0);
    to_degrees() in -9.0..9.0, |_x| scalar(180.0 / PI);
    to_radians() in -9.0..9.0, |_x| scalar(PI / 180.0);
    powi(5) in -2.0..2.0, |x| scalar::<T>(5.0) * x * x * x * x;
}

/// A test for each method of two arguments: value, and slope along a random direction.
macro_rules! two_arguments {
    ($($method:ident in $first:expr, $second:expr, |$x:ident, $y:ident| $slopes:expr;)+) => {
        proptest! {
            #![proptest_config(config())]
            $(
                #[test]
                fn $method(x in $first, y in $second, dx in -2.0..2.0, dy in -2.0..2.0) {
                    fn slopes<T: Scalar>($x: T, $y: T) -> (T, T) { $slopes }
                    let (x, y): (f64, f64) = (x, y);
                    let found = Dual::new(x, dx).$method(Dual::new(y, dy));
                    prop_assert_eq!(found.value.to_bits(), x.$method(y).to_bits());
                    let (by_x, by_y) = slopes(x, y);
                    let expected = dx * by_x + dy * by_y;
                    let size = (dx * by_x).abs().max((dy * by_y).abs()).max(1.0);
                    prop_assert!((found.tangent - expected).abs() <= 1e-12 * size, "{found} for {expected}");
                    // The second derivative in the same direction.
                    let direct = |x: f64, dx: f64| Dual::new(Dual::new(x, dx), Dual::constant(dx));
                    let second = direct(x, dx).$method(direct(y, dy)).tangent.tangent;
                    let (by_x, by_y) = slopes(Dual::new(x, dx), Dual::new(y, dy));
                    let expected = dx * by_x.tangent + dy * by_y.tangent;
                    let size = (dx * by_x.tangent).abs().max((dy * by_y.tangent).abs()).max(1.0);
                    prop_assert!((second - expected).abs() <= 1e-11 * size, "{second} for {expected}");
                }
            )+
        }
    };
}

two_arguments! {
    powf in 0.2..3.0, -3.0..3.0, |x, y| {
        let power = (y * x.ln()).exp();
        (y * power / x, power * x.ln())
    };
    log in 0.2..9.0, 1.2..9.0, |x, y| {
        let unit = y.ln();
        (T::one() / (x * unit), -x.ln() / (y * unit * unit))
    };
    hypot in 0.1..9.0, -9.0..9.0, |x, y| {
        let length = (x * x + y * y).sqrt();
        (x / length, y / length)
    };
    atan2 in -9.0..9.0, 0.1..9.0, |x, y| {
        let square = x * x + y * y;
        (y / square, -x / square)
    };
    max in -9.0..9.0, -9.0..9.0, |x, y| if x > y { (T::one(), T::zero()) } else { (T::zero(), T::one()) };
    min in -9.0..9.0, -9.0..9.0, |x, y| if x < y { (T::one(), T::zero()) } else { (T::zero(), T::one()) };
    copysign in -9.0..9.0, -9.0..9.0, |x, y| (x.signum() * y.signum(), T::zero());
}

fn variable(x: f64, tangent: f64) -> impl Fn(f64) -> Dual<f64> {
    move |h| Dual::new(x, h * tangent)
}

/// Whether the slopes of `f` along `x` and along `y` are those given, and the slope along both is their sum.
fn follows(f: impl Fn(Dual<f64>, Dual<f64>) -> Dual<f64>, (x, y): (f64, f64), value: f64, slopes: [f64; 2]) -> bool {
    let (dx, dy) = (variable(x, 1.5), variable(y, -0.7));
    let found = [f(dx(1.0), dy(0.0)), f(dx(0.0), dy(1.0)), f(dx(1.0), dy(1.0))];
    let expected = [1.5 * slopes[0], -0.7 * slopes[1], 1.5 * slopes[0] - 0.7 * slopes[1]];
    let scale = expected.iter().fold(1e-300f64, |scale, slope| scale.max(slope.abs()));
    found.iter().zip(expected).all(|(f, slope)| f.value == value && (f.tangent - slope).abs() <= 1e-14 * scale)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn dual_operators_have_the_slopes_of_the_closed_forms(x in -9.0..9.0, y in prop_oneof![0.1..9.0, -9.0..-0.1]) {
        let (x, y): (f64, f64) = (x, y);
        let at = (x, y);
        let times = |x: f64| ((x - x % y) / y).round();
        let below = if x > y { [1.0, -1.0] } else { [0.0, 0.0] };
        assert!(follows(|a, b| a + b, at, x + y, [1.0, 1.0]));
        assert!(follows(|a, b| a - b, at, x - y, [1.0, -1.0]));
        assert!(follows(|a, b| a * b, at, x * y, [y, x]));
        assert!(follows(|a, b| a / b, at, x / y, [1.0 / y, -x / (y * y)]));
        assert!(follows(|a, b| a % b, at, x % y, [1.0, -times(x)]));
        assert!(follows(|a, b| a.abs_sub(b), at, (x - y).max(0.0), below));
        assert!(follows(|a, b| a.mul_add(b, b), at, x.mul_add(y, y), [y, x + 1.0]));
        let assigned = |mut a: Dual<f64>, b| { a += b; a -= b; a *= b; a };
        assert!(follows(assigned, at, (x + y - y) * y, [y, x + y - y]));
        let assigned = |mut a: Dual<f64>, b| { a /= b; a %= b; a };
        assert!(follows(assigned, at, x / y % y, [1.0 / y, -x / (y * y) - times(x / y)]));
        assert_eq!((-Dual::new(x, y)).tangent, -y);
    }

    /// f⁻¹(f(x)) = x, with slope 1.
    #[test]
    fn dual_function_after_its_inverse_has_slope_one(x in 0.05..0.95) {
        let x = Dual::variable(x);
        let pairs = [
            x.exp().ln(), x.ln().exp(), x.exp2().log2(), x.log2().exp2(), x.exp_m1().ln_1p(), x.ln_1p().exp_m1(),
            x.sin().asin(), x.asin().sin(), x.cos().acos(), x.acos().cos(), x.tan().atan(), x.atan().tan(),
            x.sinh().asinh(), x.asinh().sinh(), x.cosh().acosh(), (x + Dual::one()).acosh().cosh() - Dual::one(),
            x.tanh().atanh(), x.atanh().tanh(), x.sqrt() * x.sqrt(), (x * x).sqrt(), x.cbrt().powi(3), x.powi(3).cbrt(),
            x.recip().recip(), x.to_degrees().to_radians(), Dual::constant(10.0).powf(x.log10()), x.powf(x).log(x),
            x.powf(Dual::constant(2.5)).powf(Dual::constant(0.4)), x.sin().atan2(x.cos()),
            x.sin().hypot(x.cos()) * x,
        ];
        for (i, found) in pairs.into_iter().enumerate() {
            let kept = (found.value - x.value).abs() < 1e-12 && (found.tangent - 1.0).abs() < 1e-11;
            prop_assert!(kept, "pair {i}: {found}");
        }
        let (sin, cos) = x.sin_cos();
        prop_assert_eq!((sin.tangent, cos.tangent), (x.sin().tangent, x.cos().tangent));
    }

    /// x = y·k + x % y, for values and slopes, with y larger or smaller than x.
    #[test]
    fn dual_remainder_has_the_slope_of_the_division(x in -1e3..1e3f64, y in prop_oneof![1e-3..1e3, -1e3..-1e-3]) {
        let (x, y) = (Dual::new(x, 1.0), Dual::new(y, 0.5));
        let times = ((x.value - x.value % y.value) / y.value).round();
        let again = y * Dual::constant(times) + x % y;
        prop_assert!((again.value - x.value).abs() < 1e-9 && (again.tangent - 1.0).abs() < 1e-9, "{again}");
    }
}
