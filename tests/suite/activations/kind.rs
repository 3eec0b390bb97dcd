//! Activations as data.

use super::*;
use chainrule::{Layer, layer::GatedLinear, testing::Dual};
use std::sync::Arc;

#[test]
fn names_are_those_of_the_types() {
    let names: Vec<_> = ActivationKind::examples().iter().map(ActivationKind::name).collect();
    assert_eq!(names[..4], ["Identity", "Sigmoid", "Tanh", "Softsign"]);
    assert_eq!(Cube { scale: 1.0 }.kind().name(), "Cube");
    assert!(ActivationKind::examples().iter().all(|kind| !matches!(kind, ActivationKind::Custom(_))));
}

#[test]
fn facts_are_those_of_the_types() {
    fn check(activation: impl Activation) {
        let kind = activation.kind();
        assert_eq!(kind.derivative_bounds(), activation.derivative_bounds(), "{activation:?}");
        assert_eq!((kind.kinks(), kind.jumps()), (activation.kinks(), activation.jumps()), "{activation:?}");
        assert_eq!(kind.is_odd(), activation.is_odd(), "{activation:?}");
    }
    check(Sigmoid);
    check(LeakyRelu::new(0.3).unwrap());
    check(HardTanh::default());
    check(HardShrink::default());
    check(Cube { scale: 1.0 });
}

#[test]
fn equality_sees_type_and_parameters() {
    let all = ActivationKind::examples();
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate() {
            let same = i == j || (a.name() == b.name() && format!("{a:?}") == format!("{b:?}"));
            assert_eq!(a == b, same, "{a:?}, {b:?}");
        }
    }
    let cube = |scale| Cube { scale }.kind();
    assert_eq!(cube(2.0), cube(2.0).clone());
    assert_ne!(cube(2.0), cube(3.0));
    assert_ne!(cube(2.0), Identity.kind());
}

#[test]
fn custom_activation_works_through_its_kind() {
    let kind = Cube { scale: 2.0 }.kind();
    assert_eq!((kind.value(3.0), kind.derivative(3.0, 54.0)), (54.0, 54.0));
    assert_eq!((kind.value(3.0f32), kind.derivative(3.0f32, 54.0)), (54.0, 54.0));
    let of_a_dual = kind.value(Dual::variable(3.0));
    assert_eq!((of_a_dual.value, of_a_dual.tangent), (54.0, 54.0));
    assert_eq!((kind.derivative_bounds(), kind.kinks()), (None, Vec::new()));
}

/// Written for the trait object alone: e⁻ᶻ, whose slope is negative, and a root, whose slope at 0 is infinite.
#[derive(Debug)]
enum Plain {
    Decay,
    Root,
}

impl AnyActivation for Plain {
    fn name(&self) -> &'static str {
        "Plain"
    }
    fn value_at(&self, z: f64) -> f64 {
        match self {
            Plain::Decay => (-z).exp(),
            Plain::Root => z.max(0.0).sqrt(),
        }
    }
    fn derivative_at(&self, z: f64) -> f64 {
        match self {
            Plain::Decay => -(-z).exp(),
            Plain::Root => 0.5 / z.max(0.0).sqrt(),
        }
    }
    fn bounds(&self) -> Option<Bounds> {
        None
    }
    fn kink_points(&self) -> Vec<f64> {
        Vec::new()
    }
    fn jump_points(&self) -> Vec<f64> {
        Vec::new()
    }
    fn odd(&self) -> bool {
        false
    }
}

#[test]
fn activation_written_as_a_trait_object_works_as_a_kind() {
    let [decay, root] = [Plain::Decay, Plain::Root].map(|plain| ActivationKind::Custom(Arc::new(plain)));
    // Its settings are its Debug text, so that the two differ.
    assert_eq!(decay.as_any().saved_settings(), "Decay");
    assert_ne!(decay, root);
    for z in [-2.0f64, 0.0, 0.5] {
        let found = decay.value(Dual::variable(z));
        assert_eq!((found.value, found.tangent), ((-z).exp(), -(-z).exp()));
    }
    let found = root.value(Dual::variable(4.0f64));
    assert_eq!((found.value, found.tangent), (2.0, 0.25));
    // Where there is no tangent, the value is still that of the function.
    assert_eq!((decay.value(f64::INFINITY), root.value(0.0), root.value(f64::INFINITY)), (0.0, 0.0, f64::INFINITY));
    // It can compute, so a layer is built from a description that has it.
    let spec = Layer::<f64>::spec(&GatedLinear::new(1, 1, decay));
    assert_eq!(spec.build::<f64>().unwrap().spec(), spec);
}

/// Bounds contain a derivative that is off by four roundings of the larger of them, and none further off.
#[test]
fn bounds_contain_four_roundings_and_no_more() {
    const EPS: f64 = f64::EPSILON;
    for (inf, sup) in [(-0.5, 4.0), (0.0, 0.25), (-64.0, 1.0), (f64::NEG_INFINITY, 1.0), (-1.0, f64::INFINITY)] {
        let bounds = Bounds::new(inf, sup);
        let finite = |bound: f64| if bound.is_finite() { bound.abs() } else { 0.0 };
        let most = finite(inf).max(finite(sup));
        for (off, contained) in [(0.0, true), (4.0, true), (8.0, false)] {
            let ends = [(sup, sup + off * EPS * most), (inf, inf - off * EPS * most)];
            for (end, derivative) in ends.into_iter().filter(|(end, _)| end.is_finite()) {
                assert_eq!(bounds.contains(derivative), contained, "{bounds:?}, {off} roundings from {end}");
            }
        }
    }
    assert!(!Bounds::new(-1.0, 1.0).contains(f64::NAN));
}

#[test]
fn kind_gives_the_bits_of_its_type_in_every_scalar() {
    fn check<T: chainrule::Scalar>(a: impl Activation) {
        let kind = a.kind();
        for z in (-400..400).map(|i| chainrule::scalar::<T>(f64::from(i) * 0.07)) {
            let y = a.value(z);
            assert_eq!((kind.value(z), kind.derivative(z, y)), (y, a.derivative(z, y)), "{a:?} at {z:?}");
        }
    }
    check::<f32>(Gelu);
    check::<f64>(Swish::new(2.0).unwrap());
    #[cfg(feature = "half")]
    check::<half::f16>(SoftShrink::default());
    check::<Dual<f64>>(HardTanh::default());
}

#[cfg(feature = "serde")]
mod serde {
    use super::*;

    #[test]
    fn written_and_read_again() {
        for kind in ActivationKind::examples() {
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<ActivationKind>(&text).unwrap(), kind, "{text}");
        }
        assert_eq!(serde_json::to_string(&Elu::default().kind()).unwrap(), r#"{"Elu":{"alpha":1.0}}"#);
    }

    #[test]
    fn custom_activation_is_written_as_name_and_settings() {
        let (kind, other) = (Cube { scale: 1.0 }.kind(), Cube { scale: 2.0 }.kind());
        let text = serde_json::to_string(&kind).unwrap();
        assert_eq!(text, r#"{"Custom":{"name":"Cube","settings":"Cube { scale: 1.0 }"}}"#);
        let read = serde_json::from_str::<ActivationKind>(&text).unwrap();
        assert_eq!(read, kind);
        assert_ne!(read, other);
        // Without its type it computes nothing.
        assert!(Activation::value(&read, 1.0_f64).is_nan() && Activation::derivative(&read, 1.0_f64, 1.0).is_nan());
        assert_eq!(read.name(), "unregistered activation");
        assert_eq!((read.derivative_bounds(), read.kinks(), read.jumps()), (None, Vec::new(), Vec::new()));
        assert!(!read.is_odd());
        assert!(serde_json::from_str::<ActivationKind>(r#"{"Custom":null}"#).is_err());
    }

    #[test]
    fn activation_read_from_a_file_is_checked() {
        for text in [
            r#"{"Celu":{"alpha":-1.0}}"#,
            r#"{"Softplus":{"beta":0.0}}"#,
            r#"{"HardTanh":{"min":1.0,"max":0.0}}"#,
            r#"{"HardShrink":{"lambda":-1.0}}"#,
            r#"{"Threshold":{"threshold":0.0}}"#,
            r#"{"Elu":{}}"#,
            r#"{"Elu":{"alpha":1.0,"beta":1.0}}"#,
        ] {
            assert!(serde_json::from_str::<ActivationKind>(text).is_err(), "{text}");
        }
    }
}
