//! Losses against PyTorch: value and gradient.

use crate::reference::{cases, error, name, rounded, shape, values};
use chainrule::{
    Scalar,
    loss::{
        BinaryCrossEntropy, CrossEntropy, Huber, Loss, MeanAbsolute, MeanSquared, Reduction, SmoothL1, Target, softmax,
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
        n if n.starts_with("mse") => Box::new(MeanSquared::new().reduction(reduction)),
        n if n.starts_with("l1") => Box::new(MeanAbsolute::new().reduction(reduction)),
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
    error(&[to_f64(loss)], &[case["loss"].as_f64().unwrap()]).max(error(&dy, &values(grads)))
}

#[test]
fn losses() {
    let (mut worst, cases) = (0.0f64, cases("losses"));
    assert_eq!(cases.len(), 21);
    for case in &cases {
        let (in64, in32) = (check::<f64>(case), check::<f32>(case));
        println!("{:30} f64 {in64:.1e}  f32 {:.1} ε", name(case), in32 / f32::EPSILON as f64);
        assert!(in64 <= 1e-12, "{}: {in64:e}", name(case));
        // Logits of 1e3 have 1e3 ε of noise in f32; of the loss, 2e3, that is still a small share.
        let multiple = if name(case).contains("extreme") { 32.0 } else { 8.0 };
        assert!(in32 <= multiple * f32::EPSILON as f64, "{}: {in32:e}", name(case));
        worst = worst.max(in64);
    }
    println!("losses: worst {worst:.2e} in f64");
}

#[test]
fn probabilities() {
    let (mut worst, mut seen) = (0.0f64, 0);
    for case in cases("activations").iter().filter(|case| name(case) == "softmax" || name(case) == "log_softmax") {
        let (x, width) = (values(&case["x"]), shape(&case["x"])[1]);
        let (mut p, cotangent) = (vec![0.0; x.len()], values(&case["cotangent"]));
        softmax(width, &x, &mut p).unwrap();
        let expected = values(&case["y"]);
        if name(case) == "softmax" {
            worst = worst.max(error(&p, &expected));
        } else {
            // The gradient of Σ c log softmax(x) is that of cross-entropy with targets −c.
            let logs: Vec<f64> = p.iter().map(|p: &f64| p.ln()).collect();
            worst = worst.max(error(&logs, &expected));
            let mut dx = vec![0.0; x.len()];
            let target: Vec<f64> = cotangent.iter().map(|c| -c).collect();
            let loss = CrossEntropy::new().reduction(Reduction::Sum);
            let value = loss.evaluate(width, &x, Target::Values(&target), None, &mut dx).unwrap();
            worst = worst.max(error(&[value], &[case["loss"].as_f64().unwrap()]));
            worst = worst.max(error(&dx, &values(&case["grads"]["x"])));
        }
        seen += 1;
    }
    assert_eq!(seen, 2);
    assert!(worst <= 1e-12, "{worst:e}");
    println!("softmax: worst {worst:.2e} in f64");
}
