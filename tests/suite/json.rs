//! Numbers that are not finite survive JSON.

use crate::sources::sources;
use chainrule::{
    diagnosis::Thresholds,
    initializer::{Constant, InitializerKind, Normal},
    layer::LayerSpec,
    monitor::{GradientMonitor, Link, NormStats, Recorder},
    trainer::Epoch,
    transform::ClipNorm,
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
fn every_number_of_a_type_that_is_data_is_written_by_the_module_for_it() {
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
