//! The printed conclusions of certificates, and layers without a bound.

use chainrule::{
    Activation, BatchShape, Bounds, Error, Gate, Layer, Scalar,
    activation::{Sigmoid, Tanh},
    diagnosis::{Cause, Diagnosis},
    layer::{Backward, Dims, Forward, Linear, MemorySizes, Mode, Residual, Samples, Sequential, initialize},
    recurrent::{
        Bidirectional, Cell, CellBackward, CellForward, Elman, GateBounds, Lstm, Recurrent, Reversed, StepBounds,
    },
    theory::{Certificate, InputStatistics},
};

/// A custom layer that states no bound and has coupled samples.
#[derive(Debug)]
struct Secret;

impl<T: Scalar> Layer<T> for Secret {
    fn dims(&self) -> Dims {
        Dims::new(2, 2, 0)
    }
    fn samples(&self) -> Samples {
        Samples::Coupled
    }
    fn forward(&self, _w: &[T], pass: Forward<'_, T>) {
        pass.y.copy_from_slice(pass.x);
    }
    fn backward(&self, _w: &[T], pass: Backward<'_, T>) {
        if let Some(dx) = pass.dx {
            dx.copy_from_slice(pass.dy);
        }
    }
}

/// A custom activation with the given bounds on its derivative, which may be missing or wrong; the certificate uses
/// them.
#[derive(Clone, Debug)]
struct Cube(Option<f64>);

impl Activation for Cube {
    fn value<T: Scalar>(&self, z: T) -> T {
        z * z * z
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        (z + z + z) * z
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        self.0.map(|sup| Bounds::new(0.0, sup))
    }
}

/// A custom linear cell with optional bounds: `first` for the first step, ½ for later steps, whose input bound is 0.
#[derive(Clone, Debug)]
struct Plain {
    first: Option<f64>,
}

impl Cell for Plain {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("hidden")] }
    }
    fn step_bounds(&self, gates: &[GateBounds], step: usize) -> Option<StepBounds> {
        let first = self.first?;
        let (state, input) = if step == 0 { (first, gates[0].weight) } else { (0.5, 0.0) };
        Some(StepBounds { state: [[state, 0.0], [0.0, 0.0]], input: [input, 0.0] })
    }
    fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        unit.h.copy_from_slice(unit.z);
    }
    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        unit.z.copy_from_slice(unit.d_h);
    }
}

fn certificate(network: &dyn Layer<f64>, steps: usize) -> Certificate {
    let w = initialize(network, 1).unwrap();
    Certificate::new(network, &w, BatchShape::sequences(1, steps)).unwrap()
}

fn missing(certificate: &Certificate) -> Vec<&str> {
    certificate.missing().map(|link| link.name.as_str()).collect()
}

/// The last line of the printed certificate.
fn ends(certificate: &Certificate) -> String {
    certificate.to_string().lines().last().unwrap().into()
}

#[test]
fn certificate_names_a_layer_without_a_bound() {
    let network = Sequential::input(2).linear(2).layer(Secret).activation(Tanh).build().unwrap();
    let certificate = certificate(&network, 1);
    assert_eq!(missing(&certificate), ["1"]);
    assert_eq!((certificate.bound(), certificate.decades()), (None, None));
    assert_eq!((certificate.gradient_bound(1.0), certificate.vanishes(1e-4)), (None, None));
    assert_eq!(ends(&certificate), "no certificate: layer 1 (Secret) states no bound");
    assert!(certificate.to_string().contains("1      Secret    unknown"), "{certificate}");
}

#[test]
fn certificate_names_nested_layers_without_a_bound() {
    let secret = || Box::new(Secret) as Box<dyn Layer<f64>>;
    let residual = |layer: Box<dyn Layer<f64>>| Residual::new(layer).unwrap();
    let inner = Sequential::input(2).linear(2).layer(residual(secret())).activation(Cube(None)).build().unwrap();
    let both =
        Bidirectional::new::<f64>(Recurrent::new(2, 2, Plain { first: None }), Recurrent::new(2, 2, Lstm::new()))
            .unwrap();
    let network = Sequential::input(2)
        .layer(residual(Box::new(inner)))
        .layer(Reversed::new::<f64>(Recurrent::new(2, 2, Plain { first: None })).unwrap())
        .layer(both)
        .layer(Linear::new(4, 2))
        .build()
        .unwrap();
    let certificate = certificate(&network, 3);
    assert_eq!(missing(&certificate), ["0.branch.1.branch", "0.branch.2", "1", "2.forward"]);
    let names: Vec<_> = certificate.horizons().iter().map(|h| (h.name.as_str(), h.bounds.is_some())).collect();
    assert_eq!(names, [("1", false), ("2.forward", false), ("2.backward", true)]);
    assert_eq!(network.samples(), Samples::Coupled);
    for (layer, samples) in [(secret(), Samples::Coupled), (Box::new(Linear::new(2, 2)), Samples::Independent)] {
        let layer =
            Bidirectional::new::<f64>(Linear::new(2, 2), Reversed::new::<f64>(residual(layer)).unwrap()).unwrap();
        assert_eq!((&layer as &dyn Layer<f64>).samples(), samples);
        assert_eq!(Layer::<f64>::samples(&std::sync::Arc::new(layer)), samples);
    }
}

/// Indices have no gradient: after an embedding, the certificate is that of the rest, to the output of the embedding.
#[test]
fn certificate_of_a_network_with_an_embedding_is_that_of_the_rest() {
    let rest = || Sequential::<f64>::input(3).lstm(4).linear(2);
    let after = rest().build().unwrap();
    let network = Sequential::<f64>::input(1).embedding(5, 3).layer(rest().build().unwrap()).build().unwrap();
    let w: Vec<f64> = initialize(&network, 2).unwrap();
    let shape = BatchShape::sequences(1, 6);
    let (whole, part) =
        (Certificate::new(&network, &w, shape).unwrap(), Certificate::new(&after, &w[5 * 3..], shape).unwrap());
    assert!(whole.bound().is_some() && whole.missing().next().is_none(), "{whole}");
    assert_eq!((whole.bound(), whole.decades()), (part.bound(), part.decades()));
    assert!(whole.links().iter().all(|link| link.kind != "Embedding"), "{whole}");
}

#[test]
fn certificate_uses_the_bounds_of_a_custom_cell() {
    let network = Recurrent::new(1, 1, Plain { first: Some(2.0) }).without_bias();
    let certificate = Certificate::new(&network, &[-3.0, 0.5], BatchShape::sequences(1, 3)).unwrap();
    // Rows of the Jacobian have one bound each, at most 3; its one column has 3 + 1½ + ¾. The initial state is zero.
    let (bound, expected) = (certificate.bound().unwrap(), (3f64 * 5.25).sqrt());
    assert!(bound >= expected && bound < expected * (1.0 + 1e-12), "{bound}");
    // Any step can be the first of the horizon, so the bound of the first step holds for all.
    let bounds = certificate.horizons()[0].bounds.clone().unwrap();
    assert!(bounds.iter().zip([1.0, 2.0, 4.0, 8.0]).all(|(found, expected)| (found / expected - 1.0).abs() < 1e-9));
}

#[test]
fn certificate_of_zero_weights_is_certain_to_vanish() {
    let network = Sequential::<f64>::input(2).linear(2).linear(2).build().unwrap();
    let w = vec![0.0; 12];
    let certificate = Certificate::new(&network, &w, BatchShape::batch(1)).unwrap();
    assert_eq!((certificate.bound(), certificate.vanishes(0.0)), (Some(0.0), Some(false)));
    assert_eq!(certificate.vanishes(Certificate::VANISHED), Some(true));
    assert_eq!(ends(&certificate), "certain to vanish: no gradient reaches the input");
}

#[test]
fn certificate_of_weights_that_are_not_finite_is_infinite() {
    for strange in [f64::NAN, f64::INFINITY] {
        for (layer, count) in [
            (Box::new(Linear::new(1, 1)) as Box<dyn Layer<f64>>, 2),
            (Box::new(chainrule::layer::PRelu::new(1)), 1),
            (Box::new(chainrule::layer::RmsNorm::new(1)), 1),
            (Box::new(Recurrent::new(1, 1, Lstm::new())), 12),
        ] {
            // The factor 0 of a later layer does not make the bound finite.
            let network = Sequential::input(1).layer(layer).layer(Linear::new(1, 1)).build().unwrap();
            let mut w = vec![strange; count];
            w.extend([0.0, 0.0]);
            let certificate = Certificate::new(&network, &w, BatchShape::sequences(1, 2)).unwrap();
            assert_eq!(certificate.bound(), Some(f64::INFINITY), "{network:?}");
            assert_eq!(certificate.vanishes(f64::MAX), Some(false));
            assert!(certificate.to_string().contains("vanishing is not certain: the gradient has no bound"));
        }
    }
    let cube = Sequential::<f64>::input(1).activation(Cube(Some(f64::INFINITY))).build().unwrap();
    assert_eq!(certificate(&cube, 1).bound(), Some(f64::INFINITY));
}

#[test]
fn certificate_prints_the_conclusion() {
    let network = |scale: f64| {
        let network = Sequential::<f64>::input(1).linear(1).activation(Sigmoid).build().unwrap();
        Certificate::new(&network, &[scale, 0.0], BatchShape::batch(1)).unwrap()
    };
    let shrinking = network(1e-5);
    assert_eq!(ends(&shrinking), "certain to vanish: the gradient shrinks at least 4.0e5-fold from output to input");
    let bound = shrinking.gradient_bound(8.0).unwrap();
    assert!((2e-5..2e-5 * (1.0 + 1e-12)).contains(&bound));
    let mild = ends(&network(8.2));
    assert_eq!(mild, "vanishing is not certain: the gradient's norm is multiplied by at most 2.1e0");
    let edge = network(4e-4);
    assert_eq!((edge.vanishes(1e-4), edge.vanishes(1.0001e-4)), (Some(false), Some(true)));
    let over_time = certificate(&Recurrent::new(1, 3, Elman::new(Sigmoid)), 50);
    assert!(ends(&over_time).ends_with("certain to vanish over more than 6 of 50 steps"), "{over_time}");
    assert_eq!(over_time.horizons()[0].vanishes_beyond(f64::NAN), None);
    let lstm = certificate(&Sequential::<f64>::input(1).recurrent(3, Lstm::new()).build().unwrap(), 2);
    assert!(ends(&lstm).starts_with("over time, layer 0 (Recurrent Lstm): vanishing is not certain: after 2 steps"));
}

#[test]
fn certificate_of_invalid_arguments_is_an_error() {
    let network = Linear::new(2, 2);
    let new = |w: &[f64], shape| Certificate::new(&network, w, shape).map(|_| ());
    assert!(matches!(new(&[0.0; 5], BatchShape::batch(1)), Err(Error::Length { expected: 6, found: 5, .. })));
    assert_eq!(new(&[0.0; 6], BatchShape::batch(0)), Err(Error::EmptyBatch));
    assert!(matches!(new(&[0.0; 6], BatchShape::ragged(&[1, 2])), Err(Error::LengthsNotDescending { .. })));
    let memory = Layer::<f64>::memory(&Secret, BatchShape::batch(1), Mode::Train);
    assert_eq!(memory, MemorySizes::default());
}

/// Each of 19 steps multiplies by at most ½: certain to vanish. A custom cell has no gate that can be the cause.
#[test]
fn diagnosis_of_a_cell_certain_to_vanish_names_the_recurrence() {
    let network = Sequential::input(2).layer(Recurrent::new(2, 2, Plain { first: Some(0.5) })).build().unwrap();
    let w = initialize(&network, 1).unwrap();
    let inputs = InputStatistics::new(1.0).unwrap().steps(20).unwrap();
    let diagnosis = Diagnosis::new(&network, inputs).unwrap();
    let report = diagnosis.parameters::<f64>(&network, &w, BatchShape::sequences(1, 20)).unwrap().report();
    let found = report.findings.iter().find(|finding| finding.is_proof).unwrap();
    assert_eq!((found.cause, found.layer.as_str()), (Cause::VanishingRecurrence, "0"));
    assert!((found.predicted.unwrap() - 19.0 * 0.5f64.log10()).abs() < 1e-9, "{found}");
}
