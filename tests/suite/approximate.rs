//! The crate's numeric types compare to a tolerance, each number of the one with that of the other.

use chainrule::{Bounds, approx::*, monitor::Shares, testing::Dual};

/// The three comparisons of `a` with numbers near by and far away.
macro_rules! compares {
    ($a:expr, near: $near:expr, far: [$($far:expr),+]) => {
        assert_abs_diff_eq!($a, $near, epsilon = 1e-6);
        assert_relative_eq!($a, $near, max_relative = 1e-6);
        assert_ulps_eq!($a, $a);
        assert_ulps_ne!($a, $near, epsilon = 0.0);
        assert_abs_diff_ne!($a, $near);
        assert_relative_ne!($a, $near);
        $(
            assert_abs_diff_ne!($a, $far, epsilon = 1e-6);
            assert_relative_ne!($a, $far, max_relative = 1e-6);
            assert_ulps_ne!($a, $far, epsilon = 1e-6);
        )+
    };
}

#[test]
fn numbers_near_and_far() {
    let dual = Dual::new(1.0, 100.0);
    compares!(dual, near: Dual::new(1.0 + 1e-7, 100.0 - 1e-7), far: [Dual::new(1.1, 100.0), Dual::new(1.0, 100.1)]);
    let bounds = Bounds::new(-0.5, 2.0);
    compares!(bounds, near: Bounds::new(-0.5 + 1e-7, 2.0), far: [Bounds::new(-0.6, 2.0), Bounds::new(-0.5, 2.1)]);
    let shares = |shift: [f64; 4]| {
        let mut shares = Shares::default();
        [shares.weights, shares.activation, shares.addition, shares.other] = shift.map(|x| x - 3.0);
        shares
    };
    let far = |i: usize| {
        let mut shift = [0.0; 4];
        shift[i] = 0.1;
        shares(shift)
    };
    compares!(shares([0.0; 4]), near: shares([0.0, 1e-7, 0.0, 1e-7]), far: [far(0), far(1), far(2), far(3)]);
}

#[test]
fn nested_and_infinite() {
    let x = Dual::new(Dual::new(1.0, 2.0), Dual::new(3.0, 4.0f64));
    let mut y = x;
    y.tangent.tangent += 1e-9;
    assert_abs_diff_eq!(x, y, epsilon = 1e-8);
    y.tangent.tangent += 1.0;
    assert_abs_diff_ne!(x, y, epsilon = 1e-8);
    assert_relative_eq!(Bounds::new(0.0, f64::INFINITY), Bounds::new(0.0, f64::INFINITY));
    assert_relative_ne!(Dual::variable(f64::NAN), Dual::variable(f64::NAN));
    assert_ulps_eq!(Dual::new(1.0f32, 0.0), Dual::new(1.0f32.next_up(), 0.0), max_ulps = 1);
}
