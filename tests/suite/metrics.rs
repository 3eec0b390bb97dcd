//! Metrics against exact rationals by scikit-learn's definitions (tests/reference/metrics.py), and their errors.

use chainrule::{
    DataRule, Error,
    metrics::{
        Average, ConfusionMatrix, accuracy, label_accuracy, mae, predicted_classes, r2, rmse, roc_auc, subset_accuracy,
        unmasked,
    },
};
use serde_json::Value;

fn cases(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../reference/metrics.json")).unwrap();
    let cases = all[kind].as_array().unwrap().clone();
    assert_eq!(cases.len(), 50);
    cases
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
}

#[track_caller]
fn assert_near(found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(f64::MIN_POSITIVE), "{found} for {expected}");
}

#[test]
fn masked_rows_are_taken_out_of_outputs_and_classes_alike() {
    let (y, classes, weights) = ([0.9, 0.1, 0.2, 0.8, 0.6, 0.4], [0, 255, 1], [1.0_f32, 0.0, 0.5]);
    let (y, classes) = (unmasked(2, &y, &weights).unwrap(), unmasked(1, &classes, &weights).unwrap());
    assert_eq!((&y[..], &classes[..]), (&[0.9, 0.1, 0.6, 0.4][..], &[0, 1][..]));
    assert_eq!(accuracy(2, &y, &classes), Ok(0.5));
    assert!(matches!(unmasked(2, &y, &weights), Err(Error::Length { .. })));
    assert!(matches!(unmasked(3, &y, &weights), Err(Error::InvalidData(DataRule::NotMultiple { .. }))));
    let text = accuracy(2, &y, &[0]).unwrap_err().to_string();
    assert!(text.ends_with("classes (one a row): expected 2 values, found 1; give one for each row"), "{text}");
}

#[test]
fn classes_random_cases_equal_the_rationals() {
    for case in cases("classes") {
        let (actual, predicted) = (sizes(&case["actual"]), sizes(&case["predicted"]));
        let classes = case["classes"].as_u64().unwrap() as usize;
        let matrix = ConfusionMatrix::new(classes, &actual, &predicted).unwrap();
        assert_near(matrix.accuracy(), &case["accuracy"]);
        for i in 0..classes {
            let row: Vec<usize> = (0..classes).map(|j| matrix.count(i, j) as usize).collect();
            assert_eq!(row, sizes(&case["matrix"][i]));
        }
        type OfClass = fn(&ConfusionMatrix, usize) -> Option<f64>;
        type Mean = fn(&ConfusionMatrix, Average) -> f64;
        let measures: [(&str, OfClass, Mean); 3] = [
            ("precision", ConfusionMatrix::precision, ConfusionMatrix::mean_precision),
            ("recall", ConfusionMatrix::recall, ConfusionMatrix::mean_recall),
            ("f1", ConfusionMatrix::f1, ConfusionMatrix::mean_f1),
        ];
        for (name, of_class, mean) in measures {
            for class in 0..classes {
                match (of_class(&matrix, class), &case[name]["classes"][class]) {
                    (None, Value::Null) => {}
                    (Some(found), expected) => assert_near(found, expected),
                    other => panic!("{name} of {class}: {other:?}"),
                }
            }
            assert_near(mean(&matrix, Average::Macro), &case[name]["macro"]);
            assert_near(mean(&matrix, Average::Micro), &case[name]["micro"]);
            assert_near(mean(&matrix, Average::Weighted), &case[name]["weighted"]);
        }
        // The same by outputs: one-hot rows of the predicted classes.
        let y: Vec<f32> = predicted.iter().flat_map(|&p| (0..classes).map(move |k| f32::from(k == p))).collect();
        assert_eq!(predicted_classes(classes, &y).unwrap(), predicted);
        assert_near(accuracy(classes, &y, &actual).unwrap(), &case["accuracy"]);
    }
}

#[test]
fn labels_random_cases_equal_the_rationals() {
    for case in cases("labels") {
        let (y, targets) = (floats(&case["y"]), floats(&case["targets"]));
        let width = case["width"].as_u64().unwrap() as usize;
        assert_near(subset_accuracy(width, &y, &targets, 0.0).unwrap(), &case["subset"]);
        assert_near(label_accuracy(&y, &targets, 0.0).unwrap(), &case["labels"]);
    }
}

#[test]
fn roc_auc_random_cases_equal_the_rationals() {
    for case in cases("scores") {
        let positive: Vec<bool> = case["positive"].as_array().unwrap().iter().map(|p| p.as_bool().unwrap()).collect();
        let scores = floats(&case["scores"]);
        assert_near(roc_auc(&scores, &positive).unwrap(), &case["auc"]);
        // The order alone counts, and the other class has the rest.
        let scaled: Vec<f64> = scores.iter().map(|score| score.exp()).collect();
        assert_near(roc_auc(&scaled, &positive).unwrap(), &case["auc"]);
        let negative: Vec<bool> = positive.iter().map(|positive| !positive).collect();
        let rest = 1.0 - roc_auc(&scores, &negative).unwrap();
        assert!((rest - case["auc"].as_f64().unwrap()).abs() < 1e-15);
    }
    assert_eq!(roc_auc(&[0.0, -0.0], &[true, false]), Ok(0.5), "zeros of either sign are tied");
    assert_eq!(roc_auc(&[f64::INFINITY, 1e300], &[true, false]), Ok(1.0));
}

#[test]
fn values_random_cases_equal_the_rationals() {
    for case in cases("values") {
        let (y, targets) = (floats(&case["y"]), floats(&case["targets"]));
        let width = case["width"].as_u64().unwrap() as usize;
        assert_near(rmse(width, &y, &targets).unwrap(), &case["rmse"]);
        assert_near(mae(width, &y, &targets).unwrap(), &case["mae"]);
        assert_near(r2(width, &y, &targets).unwrap(), &case["r2"]);
    }
}

#[test]
fn values_at_the_ends_of_the_format_neither_overflow_nor_vanish() {
    assert_eq!(rmse(1, &[1e300, -1e300], &[0.0, 0.0]), Ok(1e300));
    assert_eq!(rmse(1, &[1e-300, -1e-300], &[0.0, 0.0]), Ok(1e-300));
    assert_eq!(r2(1, &[1e-200, 3e-200], &[1e-200, 3e-200]), Ok(1.0));
    assert_eq!(r2(1, &[2e200, 2e200], &[1e200, 3e200]), Ok(0.0));
    let wide = rmse(1, &[f64::MAX, 0.0], &[-f64::MAX, 0.0]);
    assert!(matches!(wide, Err(Error::NonFinite { what: "the difference of output and targets", .. })), "{wide:?}");
}

#[test]
fn wrong_arguments_give_typed_errors() {
    let y = [0.1, 0.9, 0.8, 0.2];
    assert!(matches!(predicted_classes(0, &y), Err(Error::Empty { .. })));
    assert!(matches!(predicted_classes::<f64>(2, &[]), Err(Error::Empty { .. })));
    assert!(matches!(
        predicted_classes(3, &y),
        Err(Error::InvalidData(DataRule::NotMultiple { found: 4, size: 3, .. }))
    ));
    assert!(matches!(predicted_classes(2, &[0.1, f64::NAN]), Err(Error::NonFinite { index: 1, .. })));
    assert_eq!(accuracy(2, &y, &[1, 1]), Ok(0.5));
    assert_eq!(accuracy(2, &[f64::NAN; 4], &[0, 0]), Ok(0.0));
    // A row with NaN has no largest output, wherever it stands.
    assert_eq!(accuracy(2, &[1.0, f64::NAN, f64::NAN, 1.0, 1.0, 0.0], &[0, 1, 0]), Ok(1.0 / 3.0));
    assert!(matches!(accuracy(2, &y, &[1]), Err(Error::Length { .. })));
    assert!(matches!(accuracy(2, &y, &[0, 2]), Err(Error::ClassOutOfRange { row: 1, label: 2, classes: 2 })));
    assert!(matches!(ConfusionMatrix::new(2, &[], &[]), Err(Error::Empty { .. })));
    assert!(matches!(ConfusionMatrix::new(0, &[0], &[0]), Err(Error::Empty { .. })));
    assert!(matches!(ConfusionMatrix::new(2, &[0], &[0, 1]), Err(Error::Length { .. })));
    assert!(matches!(ConfusionMatrix::new(2, &[0, 1], &[0, 2]), Err(Error::ClassOutOfRange { row: 1, .. })));
    assert!(matches!(ConfusionMatrix::new(usize::MAX, &[0], &[0]), Err(Error::TooLarge { .. })));
    let matrix = ConfusionMatrix::new(2, &[0, 1, 1], &[0, 1, 0]).unwrap();
    assert_eq!((matrix.count(5, 0), matrix.precision(5), matrix.recall(5), matrix.f1(5)), (0, None, None, None));
    let counts = "true  0  1\n   0  1  0\n   1  1  1\n";
    // 1/2 and 1, 1 and 1/2, twice 2/3: scikit-learn's classification_report.
    let of_classes = "   0     0.5000  1.0000  0.6667        1\n   1     1.0000  0.5000  0.6667        2";
    assert_eq!(matrix.to_string(), format!("{counts}      precision  recall      f1  support\n{of_classes}"));
    let never = ConfusionMatrix::new(2, &[0], &[0]).unwrap().to_string();
    assert!(never.ends_with("\n   1          -       -       -        0"), "{never}");
    for auc in [roc_auc(&[1.0, 2.0], &[true, true]), roc_auc(&[1.0, 2.0], &[false, false])] {
        assert!(matches!(auc, Err(Error::UndefinedMetric { .. })), "{auc:?}");
    }
    assert!(matches!(roc_auc::<f64>(&[], &[]), Err(Error::Empty { .. })));
    assert!(matches!(roc_auc(&[1.0], &[true, false]), Err(Error::Length { .. })));
    assert!(matches!(roc_auc(&[1.0, f64::NAN], &[true, false]), Err(Error::NonFinite { index: 1, .. })));
    assert!(matches!(label_accuracy(&y, &[0.0, 1.0, 0.5, 0.0], 0.5), Err(Error::Parameter { what: "a label", .. })));
    assert!(matches!(label_accuracy(&y, &y, f64::NAN), Err(Error::Parameter { .. })));
    assert!(matches!(subset_accuracy(3, &y, &y, 0.5), Err(Error::InvalidData(DataRule::NotMultiple { .. }))));
    for measure in [rmse, mae, r2] {
        assert!(matches!(measure(2, &y, &y[1..]), Err(Error::Length { .. })));
        assert!(matches!(measure(3, &y, &y), Err(Error::InvalidData(DataRule::NotMultiple { .. }))));
        assert!(matches!(measure(1, &[], &[]), Err(Error::Empty { .. })));
        assert!(matches!(measure(1, &[0.0, f64::INFINITY], &[0.0, 0.0]), Err(Error::NonFinite { index: 1, .. })));
    }
    let flat = r2(2, &[0.0, 1.0, 2.0, 3.0], &[0.0, 7.0, 1.0, 7.0]).unwrap_err();
    assert_eq!(flat.to_string(), "R² is undefined: all targets of column 1 are 7; leave this column out");
}
