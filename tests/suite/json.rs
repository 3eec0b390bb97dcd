//! Numbers that are not finite survive JSON.

use crate::sources::sources;
use chainrule::{
    BatchShape, Error, Layer, LayerRule,
    dataset::Standardize,
    diagnosis::Thresholds,
    initializer::{Constant, InitializerKind, Normal},
    layer::{
        BatchNorm, Context, Dims, Dropout, Embedding, Forward, GroupNorm, LayerNorm, LayerSpec, PRelu, Residual,
        RmsNorm, Sequential, Structure, initialize,
    },
    loss::{
        BinaryCrossEntropy, CrossEntropy, Focal, GaussianNll, Huber, Loss, MeanSquaredError, MultiMargin, Pinball,
        SmoothL1, Target, ValueWeights,
    },
    monitor::{GradientMonitor, Link, NormStats, Recorder},
    trainer::{Epoch, TrainConfig, Trainer},
    transform::{ClipNorm, Sgd},
    workspace::Workspace,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fs, path::Path};

/// The text of `value` after it was read back, which is the same text.
fn round_trip<S: Serialize + DeserializeOwned>(value: &S) -> String {
    let text = serde_json::to_string(value).unwrap();
    let again = serde_json::to_string(&serde_json::from_str::<S>(&text).unwrap()).unwrap();
    assert_eq!(text, again);
    text
}

#[test]
fn numbers_that_are_not_finite_survive_json() {
    let epoch = r#"{"epoch":3,"loss":"NaN","validation":{"loss":"inf","accuracy":"-inf"},"steps":7,"skipped":7}"#;
    let epoch: Epoch = serde_json::from_str(epoch).unwrap();
    assert!(epoch.loss.is_nan());
    let evaluation = epoch.validation.unwrap();
    assert_eq!((evaluation.loss, evaluation.accuracy), (f64::INFINITY, Some(f64::NEG_INFINITY)));
    assert!(round_trip(&epoch).contains(r#""loss":"NaN""#));

    assert!(round_trip(&ClipNorm::new(1.0).p(f64::INFINITY)).contains(r#""p":"inf""#));
    let mut thresholds = Thresholds::default();
    thresholds.vanishing = [f64::NEG_INFINITY, f64::INFINITY];
    assert!(round_trip(&thresholds).contains(r#"["-inf","inf"]"#));
    let kind = InitializerKind::Constant(Constant(f64::INFINITY));
    assert_eq!(round_trip(&kind), r#"{"Constant":"inf"}"#);
    assert!(round_trip(&InitializerKind::Normal(Normal { mean: 0.0, std: f64::NAN })).contains(r#""std":"NaN""#));
    let node: LayerSpec = serde_json::from_str(r#"{"Dropout":{"width":2,"rate":"NaN"}}"#).unwrap();
    assert!(round_trip(&node).contains(r#""rate":"NaN""#));
    assert!(matches!(node.build::<f32>(), Err(chainrule::Error::Parameter { .. })));
    // A number is a number as before, and other texts are refused.
    assert_eq!(serde_json::from_str::<Constant>("1").unwrap(), Constant(1.0));
    for text in ["null", "\"Infinity\"", "\"1\""] {
        assert!(serde_json::from_str::<Constant>(text).is_err(), "{text}");
    }
}

#[test]
fn recorder_writes_norms_that_are_not_finite() {
    assert_eq!(
        serde_json::to_string(&NormStats::of(&[1.0f64, f64::NAN])).unwrap(),
        r#"{"norm":"NaN","zeros":0,"non_finite":1,"values":2}"#
    );
    let _ = |recorder: &mut Recorder<Vec<u8>>, link: &Link<'_>| {
        GradientMonitor::<f64>::forward(recorder, link, &[f64::INFINITY], &[0.0]);
    };
}

/// Whether a line declares a field of numbers: `pub loss: f64,`, `Fixed(f64),`.
fn holds_numbers(line: &str) -> bool {
    let line = line.trim();
    let kind = line.split_once(": ").map_or(line, |(_, kind)| kind);
    !line.starts_with("//") && !line.contains("fn ") && line.ends_with(',') && kind.contains("f64")
}

#[test]
fn numbers_of_serialized_types_use_the_module_for_non_finite_ones() {
    let mut seen = 0;
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        // An activation's parameters are finite by its constructor, which reads them too.
        for start in (0..lines.len()).filter(|&i| {
            let data = lines[i].contains("derive(") && lines[i].contains("Serialize");
            data && !path.to_str().unwrap().contains("activation")
        }) {
            let item =
                lines[start..].iter().position(|line| line.contains("struct ") || line.contains("enum ")).unwrap();
            if lines[start + item].ends_with(';') {
                continue;
            }
            let indent = lines[start + item].len() - lines[start + item].trim_start().len();
            for at in start + item + 1.. {
                let line = lines[at];
                if line.len() > indent && line.as_bytes()[indent] != b' ' {
                    break;
                }
                if holds_numbers(line) {
                    seen += 1;
                    let has = |mark: &str| line.contains(mark) || lines[at - 1].contains(mark);
                    let marked = has("crate::number") || has("serde(skip)");
                    assert!(marked, "{}:{}: {line}", path.display(), at + 1);
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} numbers found");
}

/// A layer with one part, which it runs.
#[derive(Debug)]
struct Around<L>(L);

impl<L: Layer<f64>> Layer<f64> for Around<L> {
    fn dims(&self) -> Dims {
        self.0.dims()
    }
    fn structure(&self) -> Structure<'_, f64> {
        Structure::chain().part("inner", &self.0)
    }
    fn forward(&self, w: &[f64], pass: Forward<'_, f64>) {
        let ctx = Context::new(pass.ctx.shape, pass.ctx.mode, &mut *pass.ctx.monitor);
        self.0.forward(w, Forward::new(pass.x, pass.y, pass.saved, pass.scratch, ctx));
    }
    fn backward(&self, _w: &[f64], _pass: chainrule::layer::Backward<'_, f64>) {}
}

/// Reads a layer, and asserts that every way into a network refuses it at the path that is part of this way.
#[track_caller]
fn layer_is_refused<L: Layer<f64> + Clone + DeserializeOwned + 'static>(text: &str) {
    let layer: L = serde_json::from_str(text).unwrap();
    let refused = |error: Error, path: &str| {
        let Error::InvalidLayer { layer, rule: LayerRule::InvalidSetting { reason } } = &error else {
            panic!("{text}: {error}")
        };
        assert!(matches!(**reason, Error::Parameter { .. }), "{text}: {error}");
        assert_eq!(layer, path, "{text}");
    };
    let one = BatchShape::batch(1);
    refused(initialize::<f64>(&layer, 1).unwrap_err(), "network");
    refused(initialize::<f64>(&Around(layer.clone()), 1).unwrap_err(), "inner");
    refused(Workspace::<f64, _>::new(&layer, one).unwrap_err(), "network");
    refused(Workspace::<f64, _>::new(Around(layer.clone()), one).unwrap_err(), "inner");
    refused(Sequential::<f64>::new(layer.dims().input).push(layer.clone()).unwrap_err(), "0");
    refused(Residual::<f64>::new(layer.clone()).unwrap_err(), "branch");
    let trainer = Trainer::new(layer.clone(), MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default());
    refused(trainer.unwrap_err(), "network");
    // A description is checked as before.
    assert!(matches!(layer.spec().build::<f64>(), Err(Error::Parameter { .. })), "{text}");
}

#[test]
fn layer_that_was_read_with_settings_out_of_range_enters_no_network() {
    layer_is_refused::<Embedding>(r#"{"columns":2,"vocabulary":3,"dimension":1,"padding":7,"weights":{"Constant":1}}"#);
    for groups in [0, 2, 10] {
        let text = format!(r#"{{"width":5,"groups":{groups},"epsilon":1e-5,"affine":true}}"#);
        layer_is_refused::<GroupNorm>(&text);
    }
    for rate in ["2", "1", "-0.5", r#""NaN""#] {
        layer_is_refused::<Dropout>(&format!(r#"{{"width":2,"rate":{rate},"locked":false}}"#));
    }
    for epsilon in ["-1", "0", r#""inf""#, r#""NaN""#] {
        let text = format!(r#"{{"width":2,"epsilon":{epsilon},"affine":true}}"#);
        layer_is_refused::<LayerNorm>(&text);
        layer_is_refused::<RmsNorm>(&text);
        layer_is_refused::<BatchNorm>(&format!(r#"{{"width":2,"epsilon":{epsilon},"momentum":0.1,"affine":true}}"#));
    }
    layer_is_refused::<BatchNorm>(r#"{"width":2,"epsilon":1e-5,"momentum":2,"affine":true}"#);
    layer_is_refused::<PRelu>(r#"{"width":2,"per_unit":true,"initial":"inf"}"#);
}

/// Reads a loss, and asserts that a trainer and an evaluation refuse it.
#[track_caller]
fn loss_is_refused<C: Loss<f64> + Clone + DeserializeOwned>(text: &str) {
    let loss: C = serde_json::from_str(text).unwrap();
    assert!(matches!(loss.check_width(2), Err(Error::Parameter { .. })), "{text}");
    let network = Sequential::<f64>::input(1).linear(2).build().unwrap();
    let trainer = Trainer::new(network, loss.clone(), Sgd::new(0.1), TrainConfig::default());
    assert!(matches!(trainer, Err(Error::Parameter { .. })), "{text}: {trainer:?}");
    let (values, classes) = ([0.5, 0.25, 1.0, 1.0], [1]);
    let targets = [Target::Classes(&classes), Target::Values(&values[..loss.target_width(2)])];
    // One of the two kinds of targets is that of the loss.
    let refused =
        |target| matches!(loss.evaluate(2, &[0.5, 0.1], target, None, &mut [0.0; 2]), Err(Error::Parameter { .. }));
    assert!(targets.into_iter().any(refused), "{text}");
}

#[test]
fn loss_that_was_read_with_settings_out_of_range_is_refused() {
    for quantile in ["3", "0", "1", "-1", r#""NaN""#] {
        loss_is_refused::<Pinball>(&format!(r#"{{"quantile":{quantile},"reduction":"Mean"}}"#));
        loss_is_refused::<ValueWeights<Pinball>>(&format!(r#"{{"quantile":{quantile},"reduction":"Mean"}}"#));
    }
    for size in ["0", "-1", r#""inf""#, r#""NaN""#] {
        loss_is_refused::<Huber>(&format!(r#"{{"delta":{size},"reduction":"Mean"}}"#));
        loss_is_refused::<SmoothL1>(&format!(r#"{{"beta":{size},"reduction":"Sum"}}"#));
        loss_is_refused::<MultiMargin>(&format!(r#"{{"margin":{size},"squared":false,"reduction":"Mean"}}"#));
    }
    for smoothing in ["2", "-0.5", r#""NaN""#] {
        loss_is_refused::<CrossEntropy>(&format!(
            r#"{{"smoothing":{smoothing},"weights":[],"ignored":null,"reduction":"Mean"}}"#
        ));
    }
    for weights in ["[-1,1]", r#"[1,"inf"]"#, r#"["NaN",1]"#] {
        loss_is_refused::<CrossEntropy>(&format!(
            r#"{{"smoothing":0,"weights":{weights},"ignored":null,"reduction":"Mean"}}"#
        ));
        loss_is_refused::<BinaryCrossEntropy>(&format!(r#"{{"positive":{weights},"reduction":"Mean"}}"#));
    }
    for settings in [r#""gamma":-3,"alpha":null"#, r#""gamma":2,"alpha":5"#, r#""gamma":"NaN","alpha":null"#] {
        loss_is_refused::<Focal>(&format!(r#"{{{settings},"reduction":"Mean"}}"#));
    }
    for epsilon in ["-1", r#""inf""#, r#""NaN""#] {
        loss_is_refused::<GaussianNll>(&format!(r#"{{"full":false,"epsilon":{epsilon},"reduction":"Mean"}}"#));
    }
}

#[test]
fn standardization_that_was_read_is_one_that_can_be_made() {
    for columns in ["[[0,-1]]", r#"[[1,1],["NaN",1]]"#, r#"[[0,"inf"]]"#] {
        assert!(serde_json::from_str::<Standardize>(&format!(r#"{{"columns":{columns}}}"#)).is_err(), "{columns}");
    }
    let made = Standardize::from_columns(vec![[0.5, 2.0], [1.0, 0.0]]).unwrap();
    assert_eq!(round_trip(&made), r#"{"columns":[[0.5,2.0],[1.0,0.0]]}"#);
}
