//! Saved networks with parts of a user's own, built again by a registry.

use crate::{golden_bits::networks, numbers::bits};
use chainrule::{
    Activation, Block, Error, Gate, Layer, LayerRule, RegistryRule, Role, Scalar,
    activation::{ActivationKind, Tanh},
    dataset::Dataset,
    initializer::{ByGate, Initializer, InitializerKind, Shape, Zeros},
    layer::{Backward, Dims, Forward, GatedLinear, LayerSpec, Linear, RmsNorm, Sequential, initialize},
    model::Model,
    network::Registry,
    rand_core::Rng,
    recurrent::{Cell, CellBackward, CellForward, Elman, Recurrent},
    scalar,
};

/// φ(z) = a z².
#[derive(Clone, Debug)]
struct Square(f64);

impl Activation for Square {
    fn value<T: Scalar>(&self, z: T) -> T {
        scalar::<T>(self.0) * z * z
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        scalar::<T>(self.0) * (z + z)
    }
    fn settings(&self) -> String {
        serde_json::json!({ "a": self.0 }).to_string()
    }
}

fn square(settings: &str) -> Result<Square, Error> {
    let settings: serde_json::Value = serde_json::from_str(settings).map_err(Error::settings)?;
    settings["a"].as_f64().map(Square).ok_or_else(|| Error::settings("no a"))
}

/// y = (1 + s) ⊙ x.
#[derive(Debug)]
struct Scale(usize);

impl<T: Scalar> Layer<T> for Scale {
    fn dims(&self) -> Dims {
        Dims::new(self.0, self.0, self.0)
    }
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("scale", 0, [self.0, 1], Role::Gain));
    }
    fn forward(&self, s: &[T], pass: Forward<'_, T>) {
        pass.y.iter_mut().zip(pass.x).enumerate().for_each(|(i, (y, &x))| *y = x + s[i % self.0] * x);
    }
    fn backward(&self, s: &[T], pass: Backward<'_, T>) {
        let Some(dx) = pass.dx else { return };
        dx.iter_mut().zip(pass.dy).enumerate().for_each(|(i, (dx, &dy))| *dx = dy + s[i % self.0] * dy);
    }
}

/// h = rate h + z, with a setting that the `Debug` text states.
#[derive(Clone, Debug, PartialEq)]
struct Leaky {
    rate: f64,
}

impl Cell for Leaky {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("only")] }
    }
    fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        let rate = scalar::<T>(self.rate);
        (0..unit.h.len()).for_each(|j| unit.h[j] = rate * unit.h_prev[j] + unit.z[j]);
    }
    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        for j in 0..unit.d_h.len() {
            unit.d_h_prev[j] += scalar::<T>(self.rate) * unit.d_h[j];
            unit.z[j] = unit.d_h[j];
        }
    }
}

fn leaky(settings: &str) -> Result<Leaky, Error> {
    let rate = settings.trim_start_matches("Leaky { rate: ").trim_end_matches(" }");
    rate.parse().map(|rate| Leaky { rate }).map_err(Error::settings)
}

/// 0, a, 2 a, …
#[derive(Debug)]
struct Ramp(f64);

impl Initializer for Ramp {
    fn fill(&self, _: Shape, _: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        values.iter_mut().enumerate().for_each(|(i, value)| *value = self.0 * i as f64);
        Ok(())
    }
    fn settings(&self) -> String {
        self.0.to_string()
    }
}

fn registry<T: Scalar>() -> Registry<T> {
    Registry::new()
        .layer("Scale", |dims, _| Ok(Scale(dims.input)))
        .cell("Leaky", leaky)
        .activation("Square", square)
        .initializer("Ramp", |settings| settings.parse().map(Ramp).map_err(Error::settings))
}

/// Every kind of part, in every place that holds one.
fn network<T: Scalar>() -> Sequential<T> {
    let linear = Linear::new(4, 3).weights(Ramp(0.03125));
    Sequential::input(2)
        .layer(Recurrent::new(2, 3, Leaky { rate: 0.25 }).weights(ByGate::new(Ramp(0.125)).gate("only", Zeros)))
        .layer(Recurrent::new(3, 4, Elman::new(Square(0.5))))
        .layer(linear)
        .activation(Square(0.75))
        .layer(GatedLinear::new(3, 2, Square(0.25)))
        .layer(Scale(2))
        .build()
        .unwrap()
}

#[test]
fn registry_loads_a_model_with_every_kind_of_part() {
    fn check<T: Scalar>(bits_of: fn(&[T]) -> Vec<u64>) {
        let w = initialize(&network::<T>(), 5).unwrap();
        let model = Model::new(network::<T>(), w).unwrap();
        let x: Vec<T> = (0..24).map(|i| scalar((f64::from(i) * 0.7).sin())).collect();
        let data = Dataset::sequences(2, 4, &x, None).unwrap();
        let (bytes, expected) = (model.to_bytes().unwrap(), bits_of(&model.predict(&data).unwrap()));
        let read = Model::<T>::from_bytes_registered(&bytes, &registry()).unwrap();
        assert_eq!(bits_of(&read.predict(&data).unwrap()), expected);
        assert_eq!(read.to_bytes().unwrap(), bytes);
        assert_eq!(read.network().spec(), model.network().spec());
        // Initializers are there too.
        assert_eq!(initialize(read.network(), 5).unwrap(), model.parameters());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        model.save(&path).unwrap();
        assert!(Model::<T>::load_registered(&path, &registry()).is_ok());
        // Without a registry the error names the first part and the remedy.
        let text = Model::<T>::from_bytes(&bytes).unwrap_err().to_string();
        assert!(text.contains("Leaky") && text.contains("Registry"), "{text}");
        assert!(Model::<T>::from_bytes_with(network::<T>(), &bytes).is_ok());
    }
    check::<f64>(bits);
    check::<f32>(|x| x.iter().map(|x| u64::from(x.to_bits())).collect());
}

/// A chain with a scale, generic over the scalar and over an activation that it does not use.
#[derive(Debug)]
struct Scaled<T, A> {
    inner: Scale,
    by: T,
    _activation: A,
}

impl<T: Scalar, A: Activation> Layer<T> for Scaled<T, A> {
    fn dims(&self) -> Dims {
        Layer::<T>::dims(&self.inner)
    }
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        Layer::<T>::blocks(&self.inner, visit);
    }
    fn forward(&self, s: &[T], pass: Forward<'_, T>) {
        pass.y.iter_mut().zip(pass.x).enumerate().for_each(|(i, (y, &x))| *y = (x + s[i % self.inner.0] * x) * self.by);
    }
    fn backward(&self, s: &[T], pass: Backward<'_, T>) {
        let Some(dx) = pass.dx else { return };
        dx.iter_mut().zip(pass.dy).enumerate().for_each(|(i, (dx, &dy))| {
            *dx = (dy + s[i % self.inner.0] * dy) * self.by;
        });
    }
}

/// A part is the same in every scalar: its name holds its other types alone. A model moves from f32 to f64.
#[test]
fn generic_layer_is_saved_without_its_scalar() {
    fn scaled<T: Scalar>(width: usize) -> Scaled<T, Tanh> {
        Scaled { inner: Scale(width), by: scalar(0.5), _activation: Tanh }
    }
    fn network<T: Scalar>() -> Sequential<T> {
        Sequential::input(2).linear(3).layer(scaled::<T>(3)).build().unwrap()
    }
    fn spec<T: Scalar>() -> LayerSpec {
        network::<T>().spec()
    }
    fn kind<T: Scalar>() -> String {
        let LayerSpec::Custom { ref kind, .. } = Layer::<T>::spec(&scaled::<T>(3)) else { panic!("no custom layer") };
        kind.clone()
    }
    let expected = kind::<f32>();
    assert!(expected.ends_with("::Scaled<chainrule::activation::saturating::Tanh>"), "{expected}");
    assert_eq!([kind::<f64>(), kind::<chainrule::testing::Dual<f64>>()], [expected.clone(), expected]);
    assert_eq!(spec::<f32>(), spec::<f64>());
    let model = Model::new(network::<f32>(), initialize(&network::<f32>(), 5).unwrap()).unwrap();
    let bytes = model.to_bytes().unwrap();
    let registry = Registry::<f64>::new().layer("Scaled<Tanh>", |dims, _| Ok(scaled::<f64>(dims.input)));
    let wide = Model::<f64>::from_bytes_registered(&bytes, &registry).unwrap();
    assert!(wide.parameters().iter().zip(model.parameters()).all(|(&wide, &narrow)| wide == f64::from(narrow)));
    assert!(Model::<f64>::from_bytes_with(network::<f64>(), &bytes).is_ok());
    // The name in the message is the one to register.
    let text = Model::<f32>::from_bytes(&bytes).unwrap_err().to_string();
    assert!(text.contains("(Scaled<Tanh>)") && text.contains("`load_registered`"), "{text}");
}

#[test]
fn registry_builds_a_network_from_json() {
    let spec = network::<f64>().spec();
    let text = serde_json::to_string(&spec).unwrap();
    let read: LayerSpec = serde_json::from_str(&text).unwrap();
    assert_eq!(read, spec);
    assert_eq!(read.build_with::<f64>(&registry()).unwrap().spec(), spec);
    // A part that was read is never mistaken for one that computes.
    for place in 0..5 {
        let LayerSpec::Sequential { layers, .. } = &read else { panic!("{read:?}") };
        let alone = layers[if place < 2 { place } else { place + 1 }].build::<f64>();
        let text = alone.unwrap_err().to_string();
        assert!(["Leaky", "Square", "Scale"].iter().any(|name| text.contains(name)), "{text}");
    }
}

fn rule(found: Result<Box<dyn Layer<f64>>, Error>) -> (String, RegistryRule) {
    match found.unwrap_err() {
        Error::Registered { name, rule, .. } => (name, *rule),
        other => panic!("{other}"),
    }
}

#[test]
fn registry_refuses_what_is_not_the_described_part() {
    let spec = network::<f64>().spec();
    let twice = registry().activation("Square", |_| Ok(Tanh));
    assert_eq!(rule(spec.build_with(&twice)), ("Square".into(), RegistryRule::Twice));
    // One name for two kinds of part is no conflict.
    assert!(spec.build_with(&registry::<f64>().layer("Square", |dims, _| Ok(Scale(dims.input)))).is_ok());

    let near = Registry::new().cell("Leak", leaky).initializer("Ramp", |_| Ok(Ramp(0.125)));
    let (name, unknown) = rule(spec.build_with(&near));
    assert_eq!(name, "Leaky");
    assert_eq!(unknown, RegistryRule::Unknown { path: "layer 0".into(), nearest: vec!["Leak".into()] });

    let scale = Sequential::<f64>::input(2).layer(Scale(2)).build().unwrap().spec();
    let wide = Registry::new().layer("Scale", |dims, _| Ok(Scale(dims.input + 1)));
    let (_, dims) = rule(scale.build_with(&wide));
    assert!(matches!(&dims, RegistryRule::Differs { what: "dims", .. }), "{dims}");
    let other = Registry::new().layer("Scale", |dims, _| Ok(RmsNorm::new(dims.input)));
    assert!(matches!(rule(scale.build_with(&other)).1, RegistryRule::Differs { what: "name", .. }));

    // A function that does not read the settings would compute something else.
    let pointwise = Sequential::<f64>::input(2).activation(Square(0.5)).build().unwrap().spec();
    let fixed = Registry::new().activation("Square", |_| Ok(Square(1.0)));
    let (_, settings) = rule(pointwise.build_with(&fixed));
    assert!(matches!(&settings, RegistryRule::Differs { what: "settings", .. }), "{settings}");
    let cell = Sequential::<f64>::input(2).recurrent(2, Leaky { rate: 0.5 }).build().unwrap().spec();
    let fixed = Registry::new().cell("Leaky", |_| Ok(Leaky { rate: 1.0 }));
    assert!(matches!(rule(cell.build_with(&fixed)).1, RegistryRule::Differs { what: "settings", .. }));

    let failing = Registry::new().activation("Square", |_| Err::<Square, _>(Error::settings("no number")));
    let failed = rule(pointwise.build_with(&failing)).1.to_string();
    assert_eq!(failed, "layer 0 could not be built: settings: no number; correct the settings in the description");
    // Depth is checked first.
    let mut deep = scale;
    for _ in 0..10_000 {
        deep = LayerSpec::Sequential { input: 2, layers: vec![deep] };
    }
    let found = deep.build_with(&registry::<f64>());
    assert!(matches!(found, Err(Error::InvalidLayer { rule: LayerRule::TooDeep { .. }, .. })));
}

/// y = a x.
#[derive(Debug)]
struct Times {
    factor: f64,
}

impl<T: Scalar> Layer<T> for Times {
    fn dims(&self) -> Dims {
        Dims::new(2, 2, 0)
    }
    fn forward(&self, _: &[T], pass: Forward<'_, T>) {
        pass.y.iter_mut().zip(pass.x).for_each(|(y, &x)| *y = scalar::<T>(self.factor) * x);
    }
    fn backward(&self, _: &[T], pass: Backward<'_, T>) {
        let Some(dx) = pass.dx else { return };
        dx.iter_mut().zip(pass.dy).for_each(|(dx, &dy)| *dx = scalar::<T>(self.factor) * dy);
    }
}

/// A custom layer of as many parameters, and another setting, is another layer; and so is a cell.
#[test]
fn checkpoint_of_a_custom_part_with_other_settings_is_refused() {
    use chainrule::checkpoint::{Checkpoint, Values};
    let network = |factor: f64, rate: f64| {
        let cell = Recurrent::new(2, 2, Leaky { rate });
        Sequential::<f64>::input(2).layer(Times { factor }).layer(cell).build().unwrap()
    };
    let saved = network(2.0, 0.25);
    let bytes = Checkpoint::new(initialize(&saved, 1).unwrap()).to_bytes(&saved).unwrap();
    let load = |factor, rate| Checkpoint::from_bytes(&network(factor, rate), &bytes, Values::Finite);
    assert!(load(2.0, 0.25).is_ok());
    for (factor, rate, place, texts) in [
        (3.0, 0.25, "layer 0", ["Times { factor: 3.0 }", "Times { factor: 2.0 }"]),
        (2.0, 0.9, "layer 1", ["Leaky { rate: 0.9 }", "Leaky { rate: 0.25 }"]),
    ] {
        let Err(Error::Checkpoint { block, expected, found }) = load(factor, rate) else { panic!("loaded") };
        assert_eq!(block, place);
        assert!(expected.contains(texts[0]) && found.contains(texts[1]), "{expected}, {found}");
    }
}

/// The paths, as of [`serde_json::Value::pointer`], of the activations and initializers in a layer specification.
fn kinds_in(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    use serde_json::{Value, from_value};
    let is_activation = from_value::<ActivationKind>(value.clone()).is_ok();
    let is_initializer = from_value::<InitializerKind>(value.clone()).is_ok();
    let is_by_gate = value.get("ByGate").is_some();
    if (is_activation || is_initializer) && !is_by_gate {
        return found.push(path.into());
    }
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, part)| kinds_in(part, &format!("{path}/{name}"), found))
        }
        Value::Array(parts) => {
            parts.iter().enumerate().for_each(|(i, part)| kinds_in(part, &format!("{path}/{i}"), found));
        }
        _ => {}
    }
}

/// The networks of [`networks`] contain each listed layer.
#[test]
fn custom_kinds_of_each_layer_are_refused_by_an_empty_registry() {
    let mut seen = 0;
    for (name, network, _) in networks::<f32>().unwrap() {
        let (spec, mut paths) = (serde_json::to_value(network.spec()).unwrap(), Vec::new());
        kinds_in(&spec, "", &mut paths);
        for path in paths {
            let mut changed = spec.clone();
            *changed.pointer_mut(&path).unwrap() = serde_json::json!({ "Custom": { "name": "Own", "settings": "" } });
            let changed: LayerSpec = serde_json::from_value(changed).unwrap_or_else(|e| panic!("{name}, {path}: {e}"));
            let built = changed.build_with(&Registry::<f32>::new());
            assert!(matches!(built, Err(Error::Registered { .. })), "{name}, {path}: {built:?}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} activations and initializers");
}
