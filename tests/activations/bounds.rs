//! `derivative_bounds` is exact: never passed, and reached by search.

use super::*;
use proptest::prelude::*;

/// What rounding may add: 4 units in the last place of the largest derivative.
fn slack(activation: &ActivationKind) -> f64 {
    4.0 * f64::EPSILON * activation.derivative_bounds().unwrap().magnitude()
}

fn grid() -> impl Iterator<Item = f64> {
    (-40_000..=40_000).map(|i| f64::from(i) * 1e-3)
}

/// The best of `f` near `z`, by golden section.
fn refine(f: impl Fn(f64) -> f64, z: f64, step: f64) -> f64 {
    let (mut low, mut high) = (z - step, z + step);
    let golden = 0.618_033_988_749_894_9;
    for _ in 0..80 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if f(a) >= f(b) { high = b } else { low = a }
    }
    f(low).max(f(high)).max(f(0.5 * (low + high)))
}

#[test]
fn bounds_hold_and_are_reached() {
    for activation in all() {
        let bounds = activation.derivative_bounds().unwrap();
        let slack = slack(&activation);
        for (bound, sign) in [(bounds.sup, 1.0), (bounds.inf, -1.0)] {
            let f = |z: f64| sign * activation.derivative(z);
            let best = grid().max_by(|&a, &b| f(a).total_cmp(&f(b))).unwrap();
            // Far out for limits at infinity; beside the kinks for one-sided limits.
            let sides = activation.kinks().into_iter().flat_map(|kink| [kink - 1e-9, kink + 1e-9]);
            let far = [-1e5, 1e5].into_iter().chain(sides).map(f).fold(f64::NEG_INFINITY, f64::max);
            let reached = refine(f, best, 1e-3).max(f(best)).max(far);
            assert!(reached <= sign * bound + slack, "{activation:?}: {} passes {bound}", sign * reached);
            assert!(reached >= sign * bound - 1e-6, "{activation:?}: {} is all, not {bound}", sign * reached);
        }
    }
}

#[test]
fn declared_kinks_are_where_the_derivative_jumps() {
    let jump = |activation: &ActivationKind, z: f64| {
        (activation.derivative(z + 1e-7) - activation.derivative(z - 1e-7)).abs() > 1e-3
    };
    for activation in all() {
        let kinks = activation.kinks();
        assert!(kinks.windows(2).all(|pair| pair[0] < pair[1]), "{activation:?}");
        for &kink in &kinks {
            // ELU with α = 1 ± a little would be hard to see; ours are far from it.
            assert!(jump(&activation, kink), "{activation:?} does not jump at {kink}");
            let at = activation.derivative(kink);
            let sides = [kink - 1e-12, kink + 1e-12].map(|z| activation.derivative(z));
            assert!(sides.iter().any(|side| (side - at).abs() < 1e-9), "{activation:?}: {at} is on neither side");
        }
        for z in (-800..=800).map(|i| f64::from(i) * 0.01) {
            assert!(!jump(&activation, z) || kinks.iter().any(|k| (k - z).abs() < 1e-6), "{activation:?} at {z}");
        }
    }
}

proptest! {
    #[test]
    fn no_derivative_passes_the_bounds(z in prop_oneof![-6.0..6.0f64, -50.0..50.0f64, any::<f64>()]) {
        prop_assume!(!z.is_nan());
        for activation in all() {
            let bounds = activation.derivative_bounds().unwrap();
            let (slack, found) = (slack(&activation), activation.derivative(z));
            prop_assert!(bounds.inf - slack <= found && found <= bounds.sup + slack, "{:?}′({}) = {}", activation, z, found);
        }
    }

    #[test]
    fn bounds_follow_the_parameter(p in 0.01..5.0f64, sign in prop::bool::ANY, z in -30.0..30.0f64) {
        let signed = if sign { p } else { -p };
        for activation in [
            LeakyRelu::new(signed).unwrap().kind(),
            Swish::new(signed).unwrap().kind(),
            Elu::new(p).unwrap().kind(),
            Celu::new(p).unwrap().kind(),
            Softplus::new(p).unwrap().kind(),
            HardTanh::new(-p, 2.0 * p).unwrap().kind(),
        ] {
            let bounds = activation.derivative_bounds().unwrap();
            let (slack, found) = (slack(&activation), activation.derivative(z));
            prop_assert!(bounds.inf - slack <= found && found <= bounds.sup + slack, "{:?}′({}) = {}", activation, z, found);
        }
    }
}
