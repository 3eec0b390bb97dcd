//! Losses against PyTorch: values and gradients.

use super::reference::{cases, error, name, number, rounded, shape, values};
use chainrule::{
    Scalar,
    loss::{
        BinaryCrossEntropy, CosineDistance, CrossEntropy, Focal, Hinge, Huber, KlDivergence, Loss, MeanAbsoluteError,
        MeanSquaredError, MultiMargin, NegativeLogLikelihood, Pinball, PoissonNll, Reduction, SmoothL1, Target,
        ValueWeights, log_softmax, softmax,
    },
    to_f64,
};
use serde_json::Value;

fn loss_of<T: Scalar>(case: &Value) -> Box<dyn Loss<T>> {
    let (name, options) = (name(case), &case["options"]);
    let sum = name.contains("sum");
    let reduction = if sum { Reduction::Sum } else { Reduction::Mean };
    match name {
        n if n.starts_with("ce") => {
            let mut loss = CrossEntropy::new().reduction(reduction);
            if let Some(epsilon) = options["label_smoothing"].as_f64() {
                loss = loss.label_smoothing(epsilon).unwrap();
            }
            if options.get("weight").is_some() {
                loss = loss.class_weights(&values(&options["weight"])).unwrap();
            }
            if let Some(class) = options["ignore_index"].as_u64() {
                loss = loss.ignore_class(class as usize);
            }
            Box::new(loss)
        }
        n if n.starts_with("bce") => {
            let loss = BinaryCrossEntropy::new().reduction(reduction);
            Box::new(match options.get("pos_weight") {
                Some(weights) => loss.positive_weights(&values(weights)).unwrap(),
                None => loss,
            })
        }
        n if n.starts_with("mse") => Box::new(MeanSquaredError::new().reduction(reduction)),
        n if n.starts_with("l1") => Box::new(MeanAbsoluteError::new().reduction(reduction)),
        "huber_1.0_mean" => Box::new(Huber::new(1.0).unwrap().reduction(reduction)),
        "huber_0.5_sum" => Box::new(Huber::new(0.5).unwrap().reduction(reduction)),
        "smooth_l1_beta1_mean" => Box::new(SmoothL1::new(1.0).unwrap().reduction(reduction)),
        "smooth_l1_beta0.5_mean" => Box::new(SmoothL1::new(0.5).unwrap().reduction(reduction)),
        other => panic!("no loss for {other}"),
    }
}

fn check<T: Scalar>(case: &Value) -> f64 {
    let tensor = case.get("logits").unwrap_or(&case["prediction"]);
    let y = rounded::<T>(&values(tensor));
    let width = *shape(tensor).last().unwrap();
    let target = values(&case["target"]);
    let classes: Vec<usize> = target.iter().map(|&class| class as usize).collect();
    let dense = rounded::<T>(&target);
    let by_class = shape(&case["target"]) != shape(tensor);
    let target = if by_class { Target::Classes(&classes) } else { Target::Values(&dense) };
    let mut dy = vec![T::nan(); y.len()];
    let loss = loss_of::<T>(case).evaluate(width, &y, target, None, &mut dy).unwrap();
    let dy: Vec<f64> = dy.into_iter().map(to_f64).collect();
    let grads = case["grads"].get("logits").unwrap_or(&case["grads"]["prediction"]);
    let worst = error(&[to_f64(loss)], &[case["loss"].as_f64().unwrap()]).max(error(&dy, &values(grads)));
    let Some(expected) = case.get("log_softmax") else { return worst };
    let mut logs = vec![T::nan(); y.len()];
    log_softmax(width, &y, &mut logs).unwrap();
    let logs: Vec<f64> = logs.into_iter().map(to_f64).collect();
    worst.max(error(&logs, &values(expected)))
}

/// A PyTorch loss without reduction equals this crate's loss of each row.
#[test]
fn losses_of_single_rows_agree_with_pytorch() {
    let all = cases("losses");
    let case = all.iter().find(|case| name(case) == "ce_none_sum").unwrap();
    let (y, classes) = (values(&case["logits"]), values(&case["target"]));
    let width = shape(&case["logits"])[1];
    let one = |(y, &class): (&[f64], &f64)| {
        let target = [class as usize];
        CrossEntropy::new().evaluate(width, y, Target::Classes(&target), None, &mut vec![0.0; width]).unwrap()
    };
    let found: Vec<f64> = y.chunks(width).zip(&classes).map(one).collect();
    assert!(error(&found, &values(&case["output"])) <= 1e-12, "{found:?}");
}

#[test]
fn losses_of_batches_agree_with_pytorch() {
    let (mut worst, mut single, cases) = (0.0f64, 0.0f64, cases("losses"));
    assert_eq!(cases.len(), 21);
    for case in &cases {
        let (in64, in32) = (check::<f64>(case), check::<f32>(case));
        println!("{:30} f64 {in64:.1e}  f32 {:.1} ε", name(case), in32 / f32::EPSILON as f64);
        assert!(in64 <= 1e-12, "{}: {in64:e}", name(case));
        assert!(in32 <= 4.0 * f32::EPSILON as f64, "{}: {in32:e}", name(case));
        (worst, single) = (worst.max(in64), single.max(in32));
    }
    println!("losses: worst {worst:.2e} in f64, {single:.2e} in f32");
}

/// A case of `losses_by_definition`: PyTorch's definitions in 60 digits.
fn by_definition<T: Scalar>(case: &Value) -> f64 {
    let loss: Box<dyn Loss<T>> = match name(case) {
        "pinball_0.9" => Box::new(Pinball::new(0.9).unwrap()),
        "poisson" => Box::new(PoissonNll::new()),
        "poisson_full" => Box::new(PoissonNll::new().full()),
        "focal_2" | "focal_2_far" => Box::new(Focal::new(2.0).unwrap()),
        "focal_2_0.25" => Box::new(Focal::new(2.0).unwrap().alpha(0.25).unwrap()),
        "focal_0.5" => Box::new(Focal::new(0.5).unwrap()),
        "cosine" | "cosine_near" => Box::new(CosineDistance::new()),
        "margin_1" => Box::new(MultiMargin::new()),
        "margin_0.5_squared" => Box::new(MultiMargin::new().margin(0.5).unwrap().squared()),
        "kl" => Box::new(KlDivergence::new()),
        "nll" => Box::new(NegativeLogLikelihood::new()),
        other => panic!("no loss for {other}"),
    };
    let list = |key: &str| -> Vec<f64> { case[key].as_array().unwrap().iter().map(number).collect() };
    let (y, target) = (rounded::<T>(&list("y")), list("target"));
    let (values, classes): (Vec<T>, Vec<usize>) = (rounded(&target), target.iter().map(|&t| t as usize).collect());
    let target = if values.len() == y.len() { Target::Values(&values) } else { Target::Classes(&classes) };
    let mut dy = vec![T::nan(); y.len()];
    let found = loss.evaluate(case["width"].as_u64().unwrap() as usize, &y, target, None, &mut dy).unwrap();
    let dy: Vec<f64> = dy.into_iter().map(to_f64).collect();
    error(&[to_f64(found)], &[number(&case["loss"])]).max(error(&dy, &list("dy")))
}

#[test]
fn losses_agree_with_their_definitions() {
    let cases = cases("losses_by_definition");
    assert_eq!(cases.len(), 13);
    for case in &cases {
        let (in64, in32) = (by_definition::<f64>(case), by_definition::<f32>(case));
        println!("{:30} f64 {in64:.1e}  f32 {:.1} ε", name(case), in32 / f32::EPSILON as f64);
        // Directions that are 1e-6 apart, of which each is rounded; 1 − cos would be 1e-4 off. f32 cannot hold them.
        let near = name(case) == "cosine_near";
        assert!(in64 <= if near { 1e-9 } else { 1e-14 }, "{}: {in64:e}", name(case));
        assert!(near || in32 <= 8.0 * f32::EPSILON as f64, "{}: {in32:e}", name(case));
    }
}

#[test]
fn log_probabilities_agree_with_pytorch() {
    let (mut worst, mut seen) = (0.0f64, 0);
    for case in cases("activations").iter().filter(|case| name(case) == "softmax" || name(case) == "log_softmax") {
        let (x, width) = (values(&case["x"]), shape(&case["x"])[1]);
        let (mut p, cotangent) = (vec![0.0; x.len()], values(&case["cotangent"]));
        softmax(width, &x, &mut p).unwrap();
        let expected = values(&case["y"]);
        if name(case) == "softmax" {
            worst = worst.max(error(&p, &expected));
        } else {
            // Σ c log softmax(x) is −CE with the targets c, and CE is linear in the targets: one pass for each sign
            // of c.
            let mut found = vec![0.0; x.len()];
            log_softmax(width, &x, &mut found).unwrap();
            worst = worst.max(error(&found, &expected));
            let (mut value, mut dx) = (0.0, vec![0.0; x.len()]);
            for sign in [1.0, -1.0] {
                let target: Vec<f64> = cotangent.iter().map(|c| (sign * c).max(0.0)).collect();
                let loss = CrossEntropy::new().reduction(Reduction::Sum);
                value -= sign * loss.evaluate(width, &x, Target::Values(&target), None, &mut found).unwrap();
                dx.iter_mut().zip(&found).for_each(|(dx, &found): (&mut f64, _)| *dx -= sign * found);
            }
            worst = worst.max(error(&[value], &[case["loss"].as_f64().unwrap()]));
            worst = worst.max(error(&dx, &values(&case["grads"]["x"])));
        }
        seen += 1;
    }
    assert_eq!(seen, 2);
    assert!(worst <= 1e-12, "{worst:e}");
    println!("softmax: worst {worst:.2e} in f64");
}

/// Weights and an ignored class of `nll_loss`, weights of `multi_margin_loss`, and the hinge of values.
#[test]
fn weights_of_classes_and_hinge_agree_with_pytorch() {
    fn check<T: Scalar>(case: &Value) -> f64 {
        let list = |key: &str| -> Vec<f64> { case[key].as_array().unwrap().iter().map(number).collect() };
        let (width, mut y) = (case["width"].as_u64().unwrap() as usize, list("y"));
        let reduction = if case["reduction"] == "mean" { Reduction::Mean } else { Reduction::Sum };
        let margin = || MultiMargin::new().margin(0.5).unwrap().class_weights(&list("weights")).unwrap();
        let loss: Box<dyn Loss<T>> = match name(case) {
            "nll" => {
                let loss = NegativeLogLikelihood::new().class_weights(&list("weights")).unwrap();
                Box::new(loss.ignore_class(1).reduction(reduction))
            }
            "margin 1" => Box::new(margin().reduction(reduction)),
            "margin 2" => Box::new(margin().squared().reduction(reduction)),
            "hinge" => Box::new(Hinge::new().reduction(reduction)),
            other => panic!("no loss for {other}"),
        };
        let (target, expected) = (list("target"), list("dy"));
        if name(case) == "nll" {
            // The case is of logits. Their gradient is `g − softmax(y) Σ g`, g being that of the logarithms.
            let mut logs = vec![0.0; y.len()];
            log_softmax(width, &y, &mut logs).unwrap();
            y = logs;
        }
        let classes: Vec<usize> = target.iter().map(|&class| class as usize).collect();
        let (values, of_t) = (rounded::<T>(&target), rounded::<T>(&y));
        let targets = if target.len() == y.len() { Target::Values(&values) } else { Target::Classes(&classes) };
        let mut dy = vec![T::nan(); y.len()];
        let value = loss.evaluate(width, &of_t, targets, None, &mut dy).unwrap();
        let mut dy: Vec<f64> = dy.iter().map(|&dy| to_f64(dy)).collect();
        if name(case) == "nll" {
            for (dy, logs) in dy.chunks_mut(width).zip(y.chunks(width)) {
                let sum: f64 = dy.iter().sum();
                dy.iter_mut().zip(logs).for_each(|(dy, log)| *dy -= log.exp() * sum);
            }
        }
        error(&[to_f64(value)], &[number(&case["loss"])]).max(error(&dy, &expected))
    }
    let cases = cases("class_losses");
    assert_eq!(cases.len(), 8);
    for case in &cases {
        let (in64, in32) = (check::<f64>(case), check::<f32>(case));
        assert!(in64 <= 1e-14, "{}: {in64:e}", name(case));
        assert!(in32 <= 8.0 * f32::EPSILON as f64, "{}: {in32:e}", name(case));
    }
}

/// PyTorch's means of `mse_loss` and `l1_loss` divide by the weights, as ours, the others by the number of values.
#[test]
fn weights_of_values_agree_with_pytorch() {
    fn check<T: Scalar>(case: &Value) -> f64 {
        let [y, target, weight] = ["y", "target", "weight"].map(|key| values(&case[key]));
        let width = shape(&case["y"])[1];
        let of_means = case["reduction"] == "mean";
        let reduction = if of_means { Reduction::Mean } else { Reduction::Sum };
        let loss: Box<dyn Loss<T>> = match name(case) {
            "mse" => Box::new(ValueWeights::new(MeanSquaredError::new().reduction(reduction))),
            "l1" => Box::new(ValueWeights::new(MeanAbsoluteError::new().reduction(reduction))),
            "huber 0.7" => Box::new(ValueWeights::new(Huber::new(0.7).unwrap().reduction(reduction))),
            "bce with logits" => Box::new(ValueWeights::new(BinaryCrossEntropy::new().reduction(reduction))),
            other => panic!("no loss for {other}"),
        };
        let by_count = of_means && !["mse", "l1"].contains(&name(case));
        let factor = if by_count { weight.len() as f64 / weight.iter().sum::<f64>() } else { 1.0 };
        let targets: Vec<f64> =
            target.chunks(width).zip(weight.chunks(width)).flat_map(|(t, v)| [t, v].concat()).collect();
        let (y, targets) = (rounded::<T>(&y), rounded::<T>(&targets));
        let mut dy = vec![T::nan(); y.len()];
        let value = loss.evaluate(width, &y, Target::Values(&targets), None, &mut dy).unwrap();
        let weights = loss.total_weight(width, Target::Values(&targets), None);
        assert!((weights / weight.iter().sum::<f64>() - 1.0).abs() < 4.0 * to_f64(T::epsilon()));
        let found: Vec<f64> = dy.iter().map(|&dy| to_f64(dy) / factor).collect();
        let of_value = error(&[to_f64(value) / factor], &[number(&case["loss"])]);
        of_value.max(error(&found, &values(&case["dy"])))
    }
    let cases = cases("value_weights");
    assert_eq!(cases.len(), 8);
    for case in &cases {
        let (in64, in32) = (check::<f64>(case), check::<f32>(case));
        assert!(in64 <= 1e-14, "{}: {in64:e}", name(case));
        assert!(in32 <= 8.0 * f32::EPSILON as f64, "{}: {in32:e}", name(case));
    }
}
