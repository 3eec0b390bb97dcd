//! Models: predictions, files, streams.

use super::entry;
use crate::{
    Entry,
    case::{Case, Fault, Taste, Verdict, ensure},
};
use chainrule::{
    Error, Layer,
    activation::Tanh,
    dataset::{Dataset, Standardize},
    initializer::{Initializer, Zeros},
    layer::{Dims, LayerSpec, MeanOverSteps, initialize},
    loss::MeanSquaredError,
    model::{Model, ModuleNames, Precision, StateDict, export_state_dict, import_state_dict},
    network::Registry,
    recurrent::{CellKind, Lstm, StateNoise},
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
};

/// A model of a random network from 3 values to 2.
fn model(c: &mut Case) -> Result<Model<f32>, Error> {
    let network = c.legal(3, 2).build::<f32>()?;
    let w = initialize(&*network, c.word())?;
    Model::new(network, w)
}

fn precision(c: &mut Case) -> Precision {
    c.of(&[Precision::F64, Precision::F32, Precision::F16, Precision::Bf16])
}

/// Predictions in each way, and a stream.
fn used(c: &mut Case, model: &Model<f32>) -> Verdict {
    let (width, steps) = (c.of(&[3_usize, 3, 3, 2]), 1 + c.below(3));
    let samples = 1 + c.below(3);
    let x = c.values::<f32>(width * steps * samples, Taste::Mild);
    let data = Dataset::sequences(width, steps, &x, None)?;
    let _ = format!("{model:?}");
    let y = model.predict(&data)?;
    let mut again = vec![0.0; c.length(y.len())];
    let done = model.predictor()?.predict_into(&data, &mut again);
    ensure(done.is_err() || y.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()), || {
        format!("{y:?} {again:?}")
    })?;
    let _ = (model.predict_classes(&data).is_ok(), model.probabilities(&data).is_ok());
    let mut stream = model.stream()?;
    for _ in 0..c.below(3) {
        let x = if c.once_in(4) { c.slice::<f32>(3) } else { c.values::<f32>(3, Taste::Mild) };
        ensure(stream.step(&x)?.len() == 2, || "a step of another size".into())?;
    }
    stream.reset();
    Ok(())
}

pub fn entries() -> Vec<Entry> {
    vec![
        entry(
            6,
            &[
                "model::Model::new",
                "model::Model::with_buffers",
                "model::Model::predict",
                "model::Model::predict_classes",
                "model::Model::probabilities",
                "model::Predictor::predict",
                "model::Predictor::predict_into",
                "model::Stream::step",
            ],
            &[],
            |c| {
                let network = c.legal(3, 2).build::<f32>()?;
                let count = Layer::<f32>::dims(&network).parameters;
                let w = if c.once_in(3) { c.slice::<f32>(count.min(1 << 16)) } else { initialize(&*network, 1)? };
                let (model, buffers) = (Model::new(network, w)?, c.slice::<f32>(1));
                let model = if c.once_in(4) { model.with_buffers(&buffers)? } else { model };
                ensure(model.parameters().iter().all(|w| w.is_finite()), || "a parameter is not finite".into())?;
                used(c, &model)
            },
        ),
        entry(
            3,
            &[
                "model::Model::scale_inputs",
                "model::Model::scale_outputs",
                "model::Model::name_columns",
                "model::Model::name_classes",
            ],
            &[],
            |c| {
                let mut model = model(c)?;
                let scale = Standardize::of(c.width(), &c.slice::<f32>(6))?;
                model = if c.flag() { model.scale_inputs(scale)? } else { model.scale_outputs(scale)? };
                let names: Vec<String> = (0..c.few()).map(|_| c.text()).collect();
                model = if c.flag() { model.name_columns(names)? } else { model.name_classes(names)? };
                used(c, &model)
            },
        ),
        entry(2, &["trainer::Trainer::from_model", "trainer::Trainer::model_registered"], &[], |c| {
            let settings = TrainConfig { batch_size: c.few(), epochs: 1, ..TrainConfig::default() };
            let mut trainer = Trainer::from_model(model(c)?, MeanSquaredError::new(), Sgd::new(0.01), settings)?;
            let values = c.values::<f32>(4, Taste::Mild);
            trainer.fit(&Dataset::rows(3, &[0.5; 6], chainrule::loss::Target::Values(&values))?)?;
            used(c, &trainer.model()?)?;
            used(c, &trainer.model_registered(&Registry::new())?)
        }),
        entry(
            6,
            &[
                "model::Model::to_bytes_as",
                "checkpoint::Precision::of",
                "model::Model::save",
                "model::Model::save_as",
                "model::Model::load",
                "model::Model::from_bytes",
                "model::Model::from_bytes_with",
                "model::Model::load_with",
            ],
            &[],
            |c| {
                let own = [Precision::of::<f32>()?, Precision::of::<f64>()?];
                ensure(own == [Precision::F32, Precision::F64], || format!("{own:?}"))?;
                let model = model(c)?;
                let mut bytes = model.to_bytes_as(precision(c))?;
                let whole = !c.flag();
                if !whole {
                    if c.flag() {
                        bytes.truncate(c.size().min(bytes.len().saturating_sub(1)));
                    } else {
                        let at = c.below(bytes.len());
                        bytes[at] ^= 1 << c.below(8);
                    }
                }
                let read = Model::<f32>::from_bytes(&bytes);
                ensure(whole || read.is_err(), || "damaged bytes are read".into())?;
                let spec = model.network().spec();
                let with = Model::from_bytes_with(spec.build::<f32>()?, &bytes);
                ensure(whole == with.is_ok(), || format!("{:?}", with.err()))?;
                let path = std::env::temp_dir().join(format!("chainrule-hostile-{}", std::process::id()));
                let saved = if c.flag() { model.save(&path) } else { model.save_as(&path, precision(c)) };
                let loaded = Model::<f32>::load(&path);
                let with = Model::load_with(spec.build::<f32>()?, &path);
                ensure(loaded.is_ok() == with.is_ok(), || format!("{:?}", with.err()))?;
                let _ = std::fs::remove_file(&path);
                saved?;
                used(c, &loaded?)?;
                used(c, &read?)
            },
        ),
        entry(
            4,
            &[
                "network::Registry::layer",
                "network::Registry::cell",
                "network::Registry::activation",
                "network::Registry::initializer",
                "layer::LayerSpec::build_with",
                "model::Model::from_bytes_registered",
                "model::Model::load_registered",
                "Error::settings",
            ],
            &[],
            |c| {
                // Parts of the crate under names of a user's own, never those of the description.
                let (name, refuse, width) = (c.of(&["Mine", "Other"]), c.flag(), c.size());
                let reason = c.text();
                let check = move || if refuse { Err(Error::settings(&reason)) } else { Ok(()) };
                let (a, b, d) = (check.clone(), check.clone(), check.clone());
                let registry = Registry::<f32>::new()
                    .layer(name, move |_, _| check().map(|()| MeanOverSteps::new(width)))
                    .cell(name, move |_| a().map(|()| Lstm::new()))
                    .activation(name, move |_| b().map(|()| Tanh))
                    .initializer(name, move |_| d().map(|()| Zeros));
                let registry = if c.once_in(8) { registry.activation(name, |_| Ok(Tanh)) } else { registry };
                let settings = c.text();
                let own = match c.below(3) {
                    0 => LayerSpec::Custom { kind: "Mine".into(), dims: Dims::new(3, c.size(), c.size()), settings },
                    1 => {
                        let custom = serde_json::json!({ "Custom": { "name": "Mine", "settings": settings } });
                        let layer = serde_json::json!({ "ActivationLayer": { "width": 3, "activation": custom } });
                        serde_json::from_value(layer).map_err(|error| Fault::Refused(error.to_string()))?
                    }
                    _ => {
                        let cell = CellKind::Custom { name: "Mine".into(), settings };
                        let (weights, recurrent) = (Zeros.kind(), Zeros.kind());
                        let (hidden, noise) = (c.size(), StateNoise::default());
                        LayerSpec::Recurrent { cell, inputs: 3, hidden, weights, recurrent, bias: None, noise }
                    }
                };
                ensure(own.build_with(&registry).is_err(), || format!("{own:?} {registry:?}"))?;
                let model = model(c)?;
                let bytes = model.to_bytes()?;
                let path = std::env::temp_dir().join(format!("chainrule-registered-{}", std::process::id()));
                let saved = model.save(&path);
                let loaded = Model::<f32>::load_registered(&path, &registry);
                let _ = std::fs::remove_file(&path);
                saved?;
                used(c, &loaded?)?;
                used(c, &Model::from_bytes_registered(&bytes, &registry)?)
            },
        ),
        entry(
            4,
            &[
                "model::import_state_dict",
                "model::export_state_dict",
                "model::ModuleNames::new",
                "model::ModuleNames::module",
                "model::ModuleNames::stacked",
                "model::ModuleNames::skip",
                "model::StateDict::new",
                "model::StateDict::insert",
                "model::StateDict::get",
                "model::StateDict::from_bytes",
                "model::StateDict::to_bytes",
                "model::StateDict::save",
                "model::StateDict::load",
            ],
            &[],
            |c| {
                let network = c.legal(3, 2).build::<f32>()?;
                let w = initialize(&*network, c.word())?;
                let mut names = ModuleNames::new();
                if c.flag() {
                    names = names.module(&c.text(), &c.text()).stacked(&c.text(), &c.text(), c.size());
                    names = names.skip(&c.text());
                }
                let mut state = export_state_dict(&*network, &w, &[], &names)?;
                let name = c.text();
                let inserted = c.flag() && {
                    let (shape, values) = ([c.size(), c.size()], c.slice::<f64>(4));
                    state.insert(&name, &shape, values).is_ok()
                };
                ensure(!inserted || state.get(&name).is_some(), || name.clone())?;
                let mut bytes = state.to_bytes(precision(c))?;
                let whole = !c.flag();
                if !whole {
                    bytes.truncate(c.size().min(bytes.len().saturating_sub(1)));
                }
                let read = StateDict::from_bytes(&bytes);
                ensure(whole == read.is_ok(), || format!("{read:?}"))?;
                let path = std::env::temp_dir().join(format!("chainrule-state-{}", std::process::id()));
                let saved = state.save(&path, precision(c));
                let loaded = StateDict::load(&path);
                let _ = std::fs::remove_file(&path);
                saved?;
                let mut again = vec![0.0; c.length(w.len())];
                import_state_dict(&*network, &mut again, &mut [], &loaded?, &names)?;
                ensure(again.len() == w.len() && again.iter().all(|w| w.is_finite()), || format!("{again:?}"))
            },
        ),
    ]
}
