//! Recurrent layers against PyTorch: outputs, states, all gradients, truncated windows.

use super::reference::{cases, error, name, rounded, shape, values, widened};
use chainrule::{
    BatchShape, Layer, Scalar,
    activation::{Relu, Tanh},
    layer::Sequential,
    recurrent::{Bidirectional, Cell, Elman, Gru, Lstm, Recurrent},
    workspace::Workspace,
};
use serde_json::Value;

fn cell_layer<T: Scalar>(name: &str, inputs: usize, hidden: usize, biased: bool) -> Box<dyn Layer<T>> {
    fn make<T: Scalar, C: Cell>(inputs: usize, hidden: usize, biased: bool, cell: C) -> Box<dyn Layer<T>> {
        let layer = Recurrent::new(inputs, hidden, cell);
        Box::new(if biased { layer } else { layer.without_bias() })
    }
    match name {
        n if n.starts_with("rnn_relu") => make(inputs, hidden, biased, Elman::new(Relu)),
        n if n.starts_with("rnn_tanh") => make(inputs, hidden, biased, Elman::new(Tanh)),
        n if n.starts_with("lstm") => make(inputs, hidden, biased, Lstm::new()),
        n if n.starts_with("gru") => make(inputs, hidden, biased, Gru::new()),
        other => panic!("no cell for {other}"),
    }
}

/// The parameters of one direction of one layer in this crate's layout: W, U and the sums of the two biases. The
/// recurrent bias of a GRU's candidate is separate.
fn parameters(of: &Value, suffix: &str, gru: bool) -> Vec<f64> {
    let get = |part: &str| of.get(format!("{part}_{suffix}")).map(values);
    let mut w = get("weight_ih").unwrap();
    w.extend(get("weight_hh").unwrap());
    if let (Some(input), Some(recurrent)) = (get("bias_ih"), get("bias_hh")) {
        let apart = if gru { 2 * input.len() / 3 } else { input.len() };
        w.extend(input.iter().zip(&recurrent).enumerate().map(|(i, (a, b))| if i < apart { a + b } else { *a }));
        w.extend(&recurrent[apart..]);
    }
    w
}

/// The gradients in this crate's layout. The gradients of the two biases are equal; this crate has one of them.
fn gradients(of: &Value, suffix: &str, gru: bool) -> Vec<f64> {
    let get = |part: &str| of.get(format!("{part}_{suffix}")).map(values);
    let mut w = get("weight_ih").unwrap();
    w.extend(get("weight_hh").unwrap());
    if let (Some(input), Some(recurrent)) = (get("bias_ih"), get("bias_hh")) {
        let apart = if gru { 2 * input.len() / 3 } else { input.len() };
        w.extend(&input);
        w.extend(&recurrent[apart..]);
    }
    w
}

/// PyTorch's h and c, \[layers · directions, batch, hidden\], in this crate's layout: for each layer h, then c.
fn state(h: &Value, c: Option<&Value>) -> Vec<f64> {
    let each = shape(h)[1] * shape(h)[2];
    let (h, c) = (values(h), c.map(values));
    let mut state = Vec::new();
    for (layer, h) in h.chunks(each).enumerate() {
        state.extend(h);
        if let Some(c) = &c {
            state.extend(&c[layer * each..][..each]);
        }
    }
    state
}

fn check<T: Scalar>(case: &Value) -> f64 {
    let size = |key: &str| case[key].as_u64().unwrap() as usize;
    let (steps, batch, inputs, hidden) = (size("T"), size("B"), size("I"), size("H"));
    let (layers, directions) = (size("layers"), size("directions"));
    let (name, gru) = (name(case), name(case).starts_with("gru"));
    let biased = case["params"].get("bias_ih_l0").is_some();
    let mut network = Sequential::<T>::new(inputs);
    let (mut w, mut dw) = (Vec::new(), Vec::new());
    for layer in 0..layers {
        let inputs = network.width();
        if directions == 2 {
            let forward = cell_layer::<T>(name, inputs, hidden, biased);
            let backward = cell_layer::<T>(name, inputs, hidden, biased);
            network.push(Bidirectional::new::<T>(forward, backward).unwrap()).unwrap();
        } else {
            network.push(cell_layer::<T>(name, inputs, hidden, biased)).unwrap();
        }
        for suffix in [format!("l{layer}"), format!("l{layer}_reverse")].iter().take(directions) {
            w.extend(parameters(&case["params"], suffix, gru));
            dw.extend(gradients(&case["grads"], suffix, gru));
        }
    }
    let shape = BatchShape::sequences(batch, steps);
    let mut workspace = Workspace::new(network, shape).unwrap();
    workspace.compute_input_gradient(true);
    workspace.compute_state_gradient(true);
    let start = case["inputs"].get("h0").map(|h| state(h, case["inputs"].get("c0")));
    if let Some(start) = &start {
        workspace.set_state(&rounded::<T>(start)).unwrap();
    }
    let w = rounded::<T>(&w);
    let x = rounded::<T>(&values(&case["inputs"]["x"]));
    let output = workspace.forward(&w, &x, shape).unwrap();
    let mut worst = error(&widened(output.y), &values(&case["output"]["out"]));
    output.dy.copy_from_slice(&rounded::<T>(&values(&case["cotangent"]["out"])));
    let end = state(&case["output"]["h_n"], case["output"].get("c_n"));
    worst = worst.max(error(&widened(workspace.final_state()), &end));
    let d_end = state(&case["cotangent"]["h_n"], case["cotangent"].get("c_n"));
    workspace.final_state_gradient_mut().copy_from_slice(&rounded::<T>(&d_end));
    workspace.backward(&w).unwrap();
    for block in workspace.blocks() {
        let found = widened(&workspace.gradient()[block.range.clone()]);
        worst = worst.max(error(&found, &dw[block.range.clone()]));
    }
    worst = worst.max(error(&widened(workspace.input_gradient()), &values(&case["grads"]["x"])));
    if start.is_some() {
        let d_start = state(&case["grads"]["h0"], case["grads"].get("c0"));
        worst = worst.max(error(&widened(workspace.state_gradient()), &d_start));
    }
    worst
}

#[test]
fn recurrent_layers_agree_with_pytorch() {
    let (mut worst64, mut worst32) = (0.0f64, 0.0f64);
    let cases = cases("recurrent");
    assert_eq!(cases.len(), 12);
    for case in &cases {
        let (in64, in32) = (check::<f64>(case), check::<f32>(case));
        println!("{:40} f64 {in64:.1e}  f32 {:.0} ε", name(case), in32 / f32::EPSILON as f64);
        assert!(in64 <= 1e-12, "{}: {in64:e}", name(case));
        // An exploding recurrence multiplies rounding errors as much as the gradient.
        let allowed = if name(case).contains("exploding") { 20_000.0 } else { 64.0 };
        assert!(in32 <= allowed * f32::EPSILON as f64, "{}: {in32:e}", name(case));
        (worst64, worst32) = (worst64.max(in64), worst32.max(in32));
    }
    println!("recurrent: worst {worst64:.2e} in f64, {worst32:.2e} in f32");
}

#[test]
fn recurrent_layers_in_truncated_windows_agree_with_pytorch() {
    let mut worst = 0.0f64;
    let cases = cases("tbptt");
    assert_eq!(cases.len(), 15);
    for case in &cases {
        let k = case["k"].as_u64().unwrap() as usize;
        let [steps, batch, inputs] = shape(&case["inputs"]["x"])[..] else { panic!() };
        let hidden = shape(&case["params"]["weight_hh_l0"])[1];
        let gru = name(case).starts_with("gru");
        let layer = cell_layer::<f64>(name(case), inputs, hidden, true);
        let mut workspace = Workspace::new(layer, BatchShape::sequences(batch, k)).unwrap();
        workspace.compute_input_gradient(true);
        let w = parameters(&case["params"], "l0", gru);
        let (x, cotangent) = (values(&case["inputs"]["x"]), values(&case["cotangent"]["out"]));
        let (mut y, mut dx) = (Vec::new(), Vec::new());
        for first in (0..steps).step_by(k) {
            let shape = BatchShape::sequences(batch, k.min(steps - first));
            let window = |width: usize| first * batch * width..(first + shape.steps) * batch * width;
            let output = workspace.forward(&w, &x[window(inputs)], shape).unwrap();
            y.extend_from_slice(output.y);
            output.dy.copy_from_slice(&cotangent[window(hidden)]);
            workspace.accumulate(&w).unwrap();
            dx.extend_from_slice(workspace.input_gradient());
            workspace.carry_state();
        }
        let mut this = error(&y, &values(&case["output"]["out"]));
        this = this.max(error(&dx, &values(&case["grads"]["x"])));
        let dw = gradients(&case["grads"], "l0", gru);
        for block in workspace.blocks() {
            this = this.max(error(&workspace.gradient()[block.range.clone()], &dw[block.range.clone()]));
        }
        assert!(this <= 1e-12, "{}: {this:e}", name(case));
        worst = worst.max(this);
    }
    println!("tbptt: worst {worst:.2e} in f64");
}
