//! Layers and whole networks against PyTorch.

use super::reference::{cases, error, name, number, rounded, shape, values, widened};
use chainrule::{
    BatchShape, GradientMonitor, Layer, Scalar,
    activation::{Gelu, Relu, Sigmoid, Tanh},
    layer::{
        ActivationLayer, BatchNorm, GatedLinear, LayerNorm, Linear, LogSoftmax, Mode, PRelu, RmsNorm, Sequential,
        Softmax,
    },
    loss::{CrossEntropy, Loss, MeanSquaredError, Target},
    monitor::Link,
    to_f64,
    workspace::Workspace,
};
use serde_json::Value;

/// Compares output, input gradient and the gradient of each block of one layer with a case; returns the largest error.
fn check<T: Scalar>(layer: impl Layer<T>, case: &Value, x: &Value, w: &[Value], dw: &[Value]) -> f64 {
    let shape = BatchShape::batch(values(x).len() / layer.dims().input);
    let mut workspace = Workspace::new(layer, shape).unwrap();
    workspace.compute_input_gradient(true);
    let w: Vec<T> = rounded(&w.iter().flat_map(values).collect::<Vec<_>>());
    let expected = case.get("output").unwrap_or(&case["y"]);
    let output = workspace.forward(&w, &rounded::<T>(&values(x)), shape).unwrap();
    let mut worst = error(&widened(output.y), &values(expected));
    output.dy.copy_from_slice(&rounded::<T>(&values(&case["cotangent"])));
    workspace.backward(&w).unwrap();
    worst = worst.max(error(&widened(workspace.input_gradient()), &values(&case["grads"]["x"])));
    for (block, dw) in workspace.blocks().iter().zip(dw) {
        worst = worst.max(error(&widened(&workspace.gradient()[block.range.clone()]), &values(dw)));
    }
    worst
}

/// Asserts that both errors are at most `multiple` ε of their format, and returns the error in `f64`.
fn both(name: &str, in64: f64, in32: f64, multiple: f64) -> f64 {
    println!("{name:40} f64 {in64:.1e}  f32 {:.0} ε", in32 / f32::EPSILON as f64);
    assert!(in64 <= 1e-12, "{name}: {in64:e}");
    assert!(in32 <= multiple * f32::EPSILON as f64, "{name}: {in32:e}");
    in64
}

/// With W = I the layer is PyTorch's `glu`, of which the second half is the gate.
#[test]
fn gated_linear_layer_agrees_with_pytorch() {
    let all = cases("activations");
    let case = all.iter().find(|case| name(case) == "glu").unwrap();
    let width = shape(&case["x"])[1];
    let identity: Vec<f64> = (0..width * width).map(|i| f64::from(u8::from(i / width == i % width))).collect();
    let w = [serde_json::json!({ "data": identity })];
    let layer = || GatedLinear::new(width, width / 2, Sigmoid).without_bias();
    let in64 = check::<f64>(layer(), case, &case["x"], &w, &[]);
    both("glu", in64, check::<f32>(layer(), case, &case["x"], &w, &[]), 4.0);
}

/// Output and gradients are those of two linear maps, a gate and a product, each by plain loops.
#[test]
fn gated_linear_layer_agrees_with_its_equation() {
    let (inputs, outputs, rows) = (3, 5, 4);
    let layer = GatedLinear::new(inputs, outputs, Tanh);
    let w: Vec<f64> = (0..Layer::<f64>::dims(&layer).parameters).map(|i| (i as f64 * 0.7).sin()).collect();
    let x: Vec<f64> = (0..rows * inputs).map(|i| (i as f64 * 1.3).cos()).collect();
    let dy: Vec<f64> = (0..rows * outputs).map(|i| (i as f64 * 0.9).cos()).collect();
    let shape = BatchShape::batch(rows);
    let mut workspace = Workspace::new(layer, shape).unwrap();
    workspace.compute_input_gradient(true);
    let output = workspace.forward(&w, &x, shape).unwrap();
    let y = output.y.to_vec();
    output.dy.copy_from_slice(&dy);
    workspace.backward(&w).unwrap();
    let bias = 2 * inputs * outputs;
    let map = |row: usize, unit: usize| {
        (0..inputs).fold(w[bias + unit], |sum, i| sum + w[unit * inputs + i] * x[row * inputs + i])
    };
    let (mut expected_y, mut dx, mut dw) = (Vec::new(), vec![0.0; x.len()], vec![0.0; w.len()]);
    for row in 0..rows {
        for unit in 0..outputs {
            let (a, g, dy) = (map(row, unit), map(row, outputs + unit), dy[row * outputs + unit]);
            expected_y.push(a * g.tanh());
            for (unit, d) in [(unit, dy * g.tanh()), (outputs + unit, dy * a * (1.0 - g.tanh() * g.tanh()))] {
                dw[bias + unit] += d;
                for i in 0..inputs {
                    dw[unit * inputs + i] += d * x[row * inputs + i];
                    dx[row * inputs + i] += d * w[unit * inputs + i];
                }
            }
        }
    }
    for (found, expected) in [(&y[..], &expected_y), (workspace.input_gradient(), &dx), (workspace.gradient(), &dw)] {
        assert!(error(found, expected) <= 1e-14, "{found:?} {expected:?}");
    }
    let names: Vec<String> = workspace.blocks().iter().map(|block| block.name.to_string()).collect();
    assert_eq!(names, ["weight", "bias"]);
}

#[test]
fn softmax_layer_agrees_with_pytorch() {
    let all = cases("activations");
    let case = all.iter().find(|case| name(case) == "softmax").unwrap();
    let layer = Softmax::new(shape(&case["x"])[1]);
    both(
        "softmax",
        check::<f64>(layer, case, &case["x"], &[], &[]),
        check::<f32>(layer, case, &case["x"], &[], &[]),
        4.0,
    );
    // Nearly certain: p = (1 − 2⁻⁴⁰ …, 2⁻⁴⁰). The gradient is p₀ p₁ (dy₀ − dy₁), whatever both have in common.
    let (shape, far) = (BatchShape::batch(1), 40.0 * 2f64.ln());
    let mut workspace = Workspace::new(Softmax::new(2), shape).unwrap();
    workspace.compute_input_gradient(true);
    let output = workspace.forward(&[], &[far, 0.0], shape).unwrap();
    output.dy.copy_from_slice(&[1e6, 1e6 + 1.0]);
    workspace.backward(&[]).unwrap();
    let p = far.exp().recip() / (1.0 + far.exp().recip());
    let expected = [-p * (1.0 - p), p * (1.0 - p)];
    assert!(error(workspace.input_gradient(), &expected) <= 1e-15, "{:?}", workspace.input_gradient());
    // The bound ½ is attained where two values share a row.
    let output = workspace.forward(&[], &[0.0, 0.0], shape).unwrap();
    let unit = 0.5f64.sqrt();
    output.dy.copy_from_slice(&[unit, -unit]);
    workspace.backward(&[]).unwrap();
    let norm = workspace.input_gradient().iter().map(|dx| dx * dx).sum::<f64>().sqrt();
    assert!((norm - Layer::<f64>::gain_bound(&Softmax::new(2), &[], shape).unwrap()).abs() <= 1e-15);
}

#[test]
fn log_softmax_layer_agrees_with_pytorch() {
    let all = cases("activations");
    let case = all.iter().find(|case| name(case) == "log_softmax").unwrap();
    let layer = LogSoftmax::new(shape(&case["x"])[1]);
    both(
        "log_softmax",
        check::<f64>(layer, case, &case["x"], &[], &[]),
        check::<f32>(layer, case, &case["x"], &[], &[]),
        4.0,
    );
    // Nearly certain: 1 − p₀ is 2⁻⁶⁰, below the distance of two numbers near 1. The bound √2 is nearly attained.
    let (shape, far) = (BatchShape::batch(1), 60.0 * 2f64.ln());
    let mut workspace = Workspace::new(LogSoftmax::new(2), shape).unwrap();
    workspace.compute_input_gradient(true);
    for (dy, expected) in [([1.0, 0.0], [1.0, -1.0].map(|x: f64| x * 2f64.powi(-60))), ([0.0, 1.0], [-1.0, 1.0])] {
        let output = workspace.forward(&[], &[far, 0.0], shape).unwrap();
        output.dy.copy_from_slice(&dy);
        workspace.backward(&[]).unwrap();
        let dx = workspace.input_gradient();
        assert!(dx.iter().zip(expected).all(|(dx, e)| (dx / e - 1.0).abs() <= 1e-14), "{dx:?}, {expected:?}");
    }
    let bound = Layer::<f64>::gain_bound(&LogSoftmax::new(2), &[], shape).unwrap();
    assert!((bound - 2f64.sqrt()).abs() <= 1e-15);
}

#[test]
fn linear_layers_agree_with_pytorch() {
    let mut worst = 0.0f64;
    for case in &cases("linear") {
        let [outputs, inputs] = shape(&case["params"]["weight"])[..] else { panic!() };
        let biased = case["params"].get("bias").is_some();
        let layer = || {
            let layer = Linear::new(inputs, outputs);
            if biased { layer } else { layer.without_bias() }
        };
        let pick =
            |of: &Value| -> Vec<Value> { ["weight", "bias"].iter().filter_map(|part| of.get(part).cloned()).collect() };
        let (w, dw) = (pick(&case["params"]), pick(&case["grads"]));
        let in64 = check::<f64>(layer(), case, &case["inputs"]["x"], &w, &dw);
        let in32 = check::<f32>(layer(), case, &case["inputs"]["x"], &w, &dw);
        worst = worst.max(both(name(case), in64, in32, 8.0));
    }
    println!("linear: worst {worst:.2e} in f64");
}

#[test]
fn norm_layers_agree_with_pytorch() {
    let (mut worst, mut seen) = (0.0f64, 0);
    let exact = cases("norms_true");
    for case in cases("norms").iter().filter(|case| !name(case).starts_with("batch_norm")) {
        // With a mean of 1e4 PyTorch is off by 2.5e-12, so the reference is 60-digit arithmetic.
        let case = exact.iter().find(|other| name(other) == name(case)).unwrap_or(case);
        let width = shape(&case["x"])[1];
        let epsilon = case["eps"].as_f64().unwrap();
        let parts = |of: &Value, parts: &[&str]| -> Vec<Value> { parts.iter().map(|&part| of[part].clone()).collect() };
        let (in64, in32) = if name(case).starts_with("layer_norm") {
            let (w, dw) = (parts(&case["params"], &["weight", "bias"]), parts(&case["grads"], &["weight", "bias"]));
            let layer = LayerNorm::new(width).epsilon(epsilon).unwrap();
            (check::<f64>(&layer, case, &case["x"], &w, &dw), check::<f32>(&layer, case, &case["x"], &w, &dw))
        } else {
            let (w, dw) = (parts(&case["params"], &["weight"]), parts(&case["grads"], &["weight"]));
            let layer = RmsNorm::new(width).epsilon(epsilon).unwrap();
            (check::<f64>(&layer, case, &case["x"], &w, &dw), check::<f32>(&layer, case, &case["x"], &w, &dw))
        };
        // With a mean of 1e4 and a spread of 1, rounding of the `f32` input alone is an error of 1e4 ε.
        let multiple = if name(case).ends_with("large_mean") || name(case).ends_with("tiny_var") { 2e4 } else { 16.0 };
        worst = worst.max(both(name(case), in64, in32, multiple));
        seen += 1;
    }
    assert_eq!(seen, 6);
    println!("norms: worst {worst:.2e} in f64");
}

/// The default ε of `nn.RMSNorm` is the machine epsilon of the format, that of this crate 1e-6.
#[test]
fn rms_norm_with_machine_epsilon_is_that_of_pytorch_without_eps() {
    fn run<T: Scalar>(case: &Value, layer: RmsNorm) -> f64 {
        let list = |key: &str| -> Vec<f64> { case[key].as_array().unwrap().iter().map(number).collect() };
        let (x, shape) = (rounded::<T>(&list("x")), BatchShape::batch(2));
        let mut workspace = Workspace::new(layer, shape).unwrap();
        error(&widened(workspace.infer(&[T::one(); 4], &x, shape).unwrap()), &list("y"))
    }
    let cases = cases("rms_norm");
    let [single, double] = &cases[..] else { panic!("{} cases", cases.len()) };
    let with = |epsilon: f64| RmsNorm::new(4).epsilon(epsilon).unwrap();
    let eps = f64::from(f32::EPSILON);
    assert!(run::<f32>(single, with(eps)) <= 4.0 * eps && run::<f32>(single, RmsNorm::new(4)) > 0.1);
    assert!(run::<f64>(double, with(f64::EPSILON)) <= 1e-15 && run::<f64>(double, RmsNorm::new(4)) > 0.1);
}

/// Training and evaluation: output, gradients, and the running statistics after the pass.
fn batch_norm_case<T: Scalar>(case: &Value) -> f64 {
    let number = |key: &str| case[key].as_f64().unwrap();
    let (x, shape) = (rounded::<T>(&values(&case["x"])), BatchShape::batch(shape(&case["x"])[0]));
    let layer = BatchNorm::new(x.len() / shape.batch).epsilon(number("eps")).unwrap();
    let mut workspace = Workspace::new(layer.momentum(number("momentum")).unwrap(), shape).unwrap();
    workspace.compute_input_gradient(true);
    let joined = |of: &Value, names: [&str; 2]| names.iter().flat_map(|&name| values(&of[name])).collect::<Vec<_>>();
    let w: Vec<T> = rounded(&joined(&case["params"], ["weight", "bias"]));
    let cotangent = rounded::<T>(&values(&case["cotangent"]));
    let mut worst = 0.0f64;
    // Both modes begin with the same running statistics.
    for (mode, expected, after) in
        [(Mode::Train, case, "running_after"), (Mode::Evaluate, &case["eval"], "running_before")]
    {
        workspace.set_buffers(&rounded::<T>(&joined(&case["running_before"], ["mean", "var"]))).unwrap();
        let output = workspace.forward_with(&w, &x, shape, mode, &mut ()).unwrap();
        worst = worst.max(error(&widened(output.y), &values(&expected["output"])));
        output.dy.copy_from_slice(&cotangent);
        let dw = widened(workspace.backward(&w).unwrap());
        worst = worst.max(error(&dw, &joined(&expected["grads"], ["weight", "bias"])));
        worst = worst.max(error(&widened(workspace.input_gradient()), &values(&expected["grads"]["x"])));
        worst = worst.max(error(&widened(workspace.buffers()), &joined(&case[after], ["mean", "var"])));
    }
    worst
}

#[test]
fn batch_norm_layers_agree_with_pytorch() {
    let all = cases("norms");
    let all: Vec<_> = all.iter().filter(|case| name(case).starts_with("batch_norm")).collect();
    assert_eq!(all.len(), 3);
    let exact = cases("norms_true");
    for case in all {
        // With a mean of 1e4 PyTorch is off by 1e-12.
        let case = exact.iter().find(|other| name(other) == name(case)).unwrap_or(case);
        let multiple = if name(case) == "batch_norm" { 32.0 } else { 2e4 };
        both(name(case), batch_norm_case::<f64>(case), batch_norm_case::<f32>(case), multiple);
    }
}

#[test]
fn prelu_layers_agree_with_pytorch() {
    let mut worst = 0.0f64;
    for case in cases("activations").iter().filter(|case| name(case).starts_with("prelu")) {
        let width = *shape(&case["x"]).last().unwrap();
        let layer = if name(case).ends_with("per_channel") { PRelu::new(width).per_unit() } else { PRelu::new(width) };
        let (w, dw) = ([case["weight"].clone()], [case["grads"]["weight"].clone()]);
        let in64 = check::<f64>(&layer, case, &case["x"], &w, &dw);
        // The first case has points within 1e-300 of the kink. They are 0 in `f32`, on the other side.
        let in32 = if name(case) == "prelu" { 0.0 } else { check::<f32>(&layer, case, &case["x"], &w, &dw) };
        worst = worst.max(both(name(case), in64, in32, 8.0));
    }
    println!("prelu: worst {worst:.2e} in f64");
}

/// A monitor that records the output and the output gradient of each link.
#[derive(Default)]
struct Recorder {
    outputs: Vec<Vec<f64>>,
    gradients: Vec<Vec<f64>>,
}

impl<T: Scalar> GradientMonitor<T> for Recorder {
    fn forward(&mut self, _at: &Link<'_>, _x: &[T], y: &[T]) {
        self.outputs.push(widened(y));
    }
    fn backward(&mut self, _at: &Link<'_>, dy: &[T], _dx: &[T]) {
        self.gradients.push(widened(dy));
    }
}

fn mlp_case<T: Scalar>(case: &Value) -> f64 {
    let dims: Vec<usize> = case["dims"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
    let (mut network, mut w, mut dw) = (Sequential::<T>::new(dims[0]), Vec::new(), Vec::new());
    let last = dims.len() - 2;
    for (i, pair) in dims.windows(2).enumerate() {
        network.push(Linear::new(pair[0], pair[1])).unwrap();
        if i < last {
            match case["activation"].as_str().unwrap() {
                "tanh" => network.push(ActivationLayer::new(pair[1], Tanh)),
                "relu" => network.push(ActivationLayer::new(pair[1], Relu)),
                "sigmoid" => network.push(ActivationLayer::new(pair[1], Sigmoid)),
                "gelu_exact" => network.push(ActivationLayer::new(pair[1], Gelu)),
                other => panic!("no activation {other}"),
            }
            .unwrap();
        }
        for part in ["weight", "bias"] {
            w.extend(values(&case["params"][format!("{part}{i}")]));
            dw.push(values(&case["grads"][format!("{part}{i}")]));
        }
    }
    let x = values(&case["inputs"]["x"]);
    let shape = BatchShape::batch(x.len() / dims[0]);
    let mut workspace = Workspace::new(network, shape).unwrap();
    workspace.compute_input_gradient(true);
    let w = rounded::<T>(&w);
    let mut recorder = Recorder::default();
    let output = workspace.forward_with(&w, &rounded::<T>(&x), shape, Mode::Train, &mut recorder).unwrap();
    let target = values(&case["inputs"]["target"]);
    let width = dims[last + 1];
    let loss = if case["loss_name"] == "ce_mean" {
        let classes: Vec<usize> = target.iter().map(|&class| class as usize).collect();
        CrossEntropy::new().evaluate(width, output.y, Target::Classes(&classes), None, output.dy)
    } else {
        MeanSquaredError::new().evaluate(width, output.y, Target::Values(&rounded::<T>(&target)), None, output.dy)
    };
    let loss = to_f64(loss.unwrap());
    let mut worst = error(&[loss], &[case["loss"].as_f64().unwrap()]);
    workspace.backward_with(&w, &mut recorder).unwrap();
    // Outputs of each pair of linear layer and activation, and of the last linear layer; gradients in reverse order.
    let outputs: Vec<_> = recorder.outputs.iter().skip(1).step_by(2).chain(recorder.outputs.last()).collect();
    for (found, expected) in outputs.iter().zip(case["layer_outputs"].as_array().unwrap()) {
        worst = worst.max(error(found, &values(expected)));
    }
    let gradients: Vec<_> = recorder.gradients.iter().rev().collect();
    let gradients: Vec<_> = gradients.iter().skip(1).step_by(2).chain(gradients.last()).collect();
    for (found, expected) in gradients.iter().zip(case["layer_output_grads"].as_array().unwrap()) {
        worst = worst.max(error(found, &values(expected)));
    }
    for (block, dw) in workspace.blocks().iter().zip(&dw) {
        worst = worst.max(error(&widened(&workspace.gradient()[block.range.clone()]), dw));
    }
    worst.max(error(&widened(workspace.input_gradient()), &values(&case["grads"]["x"])))
}

#[test]
fn networks_agree_with_pytorch_in_every_output_and_gradient() {
    let mut worst = 0.0f64;
    let cases = cases("mlp");
    assert_eq!(cases.len(), 8);
    for case in &cases {
        worst = worst.max(both(name(case), mlp_case::<f64>(case), mlp_case::<f32>(case), 32.0));
    }
    println!("mlp: worst {worst:.2e} in f64");
}
