//! Layer specs: networks as data that can be compared, changed, saved and built.

use approx::assert_abs_diff_eq;
use chainrule::{
    BatchShape, Layer,
    activation::{Activation, Gelu, LeakyRelu, Swish, Tanh},
    initializer::{ByGate, Constant, He, Orthogonal, Sparse, Zeros},
    layer::{
        ActivationLayer, BranchScale, Dropout, DropoutKey, LayerNorm, LayerSpec, Linear, Mode, PRelu, Residual,
        RmsNorm, Sequential, initialize,
    },
    monitor::{GradientMonitor, Link},
    network::summary,
    recurrent::{Bidirectional, Elman, Gru, GruVariant, Lstm, Recurrent, Reversed},
    workspace::Workspace,
};

/// A network with one of every kind of layer, with parameters that are not the defaults.
fn everything() -> Sequential<f64> {
    let mut branch = Sequential::new(6);
    branch.push(LayerNorm::new(6).epsilon(1e-3).unwrap()).unwrap();
    branch.push(ActivationLayer::new(6, Swish::SILU)).unwrap();
    branch.push(RmsNorm::new(6).without_affine()).unwrap();
    let gated = Recurrent::new(6, 3, Gru::new().variant(GruVariant::ResetBefore)).without_bias();
    let bias = ByGate::new(Zeros).gate("forget", Constant(2.0));
    Sequential::input(4)
        .layer(Linear::new(4, 6).weights(He::normal()).without_bias())
        .activation(LeakyRelu::new(0.2).unwrap())
        .layer(Residual::new(branch).unwrap().scale(BranchScale::Learned(0.5)).unwrap())
        .layer(PRelu::new(6).per_unit().initial(0.1).unwrap())
        .layer(Dropout::new(6, 0.25).unwrap())
        .layer(Bidirectional::new::<f64>(Recurrent::new(6, 3, Lstm::new()).bias(bias), gated).unwrap())
        .layer(
            Reversed::new::<f64>(Recurrent::new(6, 5, Elman::new(Gelu)).recurrent(Sparse::spectral_radius(1.1)))
                .unwrap(),
        )
        .mean_over_steps()
        .layer(Linear::new(5, 2).weights(Orthogonal { gain: 2.0 }))
        .build()
        .unwrap()
}

#[test]
fn layer_spec_built_again_gives_the_same_network() {
    let network = everything();
    let again = network.spec().build::<f64>().unwrap();
    assert_eq!(again.spec(), network.spec());
    let w: Vec<f64> = initialize(&network, 3).unwrap();
    assert_eq!(initialize::<f64>(&again, 3).unwrap(), w);
    let x: Vec<f64> = (0..4 * 2 * 5).map(|i| f64::from(i % 9) / 5.0 - 0.8).collect();
    let shape = BatchShape::sequences(2, 5);
    let mut workspaces = (Workspace::new(&network, shape).unwrap(), Workspace::new(&again, shape).unwrap());
    assert_eq!(workspaces.0.blocks(), workspaces.1.blocks());
    assert_eq!(workspaces.0.infer(&w, &x, shape).unwrap(), workspaces.1.infer(&w, &x, shape).unwrap());
    // The network built in `f32` agrees within the rounding of `f32`.
    let narrow = network.spec().build::<f32>().unwrap();
    let (w32, x32): (Vec<f32>, Vec<f32>) =
        (w.iter().map(|&v| v as f32).collect(), x.iter().map(|&v| v as f32).collect());
    let mut workspace = Workspace::new(&narrow, shape).unwrap();
    let wide = workspaces.0.infer(&w, &x, shape).unwrap();
    for (narrow, wide) in workspace.infer(&w32, &x32, shape).unwrap().iter().zip(wide) {
        assert_abs_diff_eq!(f64::from(*narrow), *wide, epsilon = 1e-5);
    }
}

/// Replaces every pointwise activation by tanh.
fn with_tanh(mut node: LayerSpec) -> LayerSpec {
    fn exchange(node: &mut LayerSpec) {
        match node {
            LayerSpec::ActivationLayer { activation, .. } => *activation = Tanh.kind(),
            LayerSpec::Sequential { layers, .. } => layers.iter_mut().for_each(exchange),
            LayerSpec::Residual { branch, .. } => exchange(branch),
            _ => {}
        }
    }
    exchange(&mut node);
    node
}

#[test]
fn layer_spec_with_replaced_activation_builds() {
    let described = everything().spec();
    let changed = with_tanh(described.clone());
    assert_ne!(changed, described);
    let network = changed.build::<f64>().unwrap();
    assert_eq!(network.dims(), everything().dims());
    let text = summary(&network).to_string();
    assert!(text.contains("Tanh") && !text.contains("LeakyRelu"), "{text}");
}

#[test]
fn summary_of_every_layer_counts_all_parameters() {
    let network = everything();
    let summary = summary(&network);
    assert_eq!(summary.parameters, Layer::<f64>::dims(&network).parameters);
    let own: usize = summary.rows.iter().filter(|row| !row.path.contains('.')).map(|row| row.parameters).sum();
    assert_eq!(own, summary.parameters);
    let row = |path: &str| summary.rows.iter().find(|row| row.path == path).unwrap();
    assert_eq!((row("0").input, row("0").output, row("0").parameters), (4, 6, 24));
    assert_eq!(row("2").parameters, 13); // a scale, and the gain and bias of a norm
    assert_eq!(row("5.forward").parameters, 12 * (6 + 3) + 12);
    assert_eq!(row("5.backward").parameters, 9 * (6 + 3));
    assert!(summary.to_string().contains(&summary.parameters.to_string()));
}

#[test]
fn sequential_reports_its_length_and_the_name_of_each_link() {
    let network = everything();
    assert_eq!((network.len(), network.is_empty(), Sequential::<f64>::new(4).is_empty()), (9, false, true));
    let names = network.structure().link_names("");
    for name in ["0", "2", "5", "5.forward.activation", "5.backward.recurrent", "6", "6.activation", "8"] {
        assert!(names.iter().any(|known| known == name), "no {name} in {names:?}");
    }
}

#[test]
fn initialize_uses_the_initializer_of_each_layer() {
    fn first(layer: impl Layer<f64> + 'static) -> Vec<f64> {
        initialize(&Sequential::input(2).layer(layer).build().unwrap(), 1).unwrap()
    }
    assert_eq!(first(PRelu::new(2)), [0.25]);
    assert_eq!(first(PRelu::new(2).initial(0.1).unwrap().per_unit()), [0.1, 0.1]);
    assert_eq!(first(Linear::new(2, 3).bias(Constant(0.3)))[6..], [0.3; 3]);
    let recurrent = || Recurrent::new(2, 3, Lstm::new());
    assert_eq!(first(Reversed::new::<f64>(recurrent()).unwrap()), first(recurrent()));
    assert!(first(recurrent()).iter().any(|&w| w != 0.0));
}

/// Dropout masks are those of SplitMix64 keyed by seed, training step, link path, sample and step, so a run can be
/// repeated on any machine.
#[test]
fn dropout_mask_is_a_function_of_its_keys() {
    fn mix(z: u64) -> u64 {
        let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    // First output of the published generator from state 0 (Vigna's splitmix64.c).
    assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF);
    let (width, shape) = (70, BatchShape::sequences(2, 3));
    let mut workspace = Workspace::new(Sequential::<f64>::input(width).dropout(0.3).build().unwrap(), shape).unwrap();
    workspace.set_dropout_key(DropoutKey::new(11, 5));
    let y = workspace.forward(&[], &vec![1.0; shape.rows() * width], shape).unwrap().y;
    for (i, &y) in y.iter().enumerate() {
        let (row, unit) = (i / width, i % width);
        let parts = [5, 0, row as u64 % 2, row as u64 / 2];
        let key = parts.into_iter().fold(mix(11), |key, part| mix(key ^ mix(part)));
        let dropped = (mix(key.wrapping_add(unit as u64)) as f64) < 0.3 * 2f64.powi(64);
        assert_eq!(y == 0.0, dropped, "row {row}, unit {unit}");
    }
}

/// A monitor gets each gate with the gate's own activation.
#[test]
fn monitor_of_a_cell_gets_the_activation_of_each_gate() {
    #[derive(Debug, Default)]
    struct Gates(Vec<(String, f64)>);
    impl GradientMonitor<f64> for Gates {
        fn forward(&mut self, at: &Link<'_>, _x: &[f64], _y: &[f64]) {
            if let (Some(gate), Some(activation)) = (at.gate, at.activation) {
                self.0.push((gate.to_string(), activation.value_at(1.0)));
            }
        }
    }
    let network = Sequential::<f64>::input(2).recurrent(3, Gru::new()).build().unwrap();
    let w = initialize(&network, 1).unwrap();
    let mut seen = Gates::default();
    let mut workspace = Workspace::new(&network, BatchShape::batch(1)).unwrap();
    workspace.forward_with(&w, &[0.1, 0.2], BatchShape::batch(1), Mode::Train, &mut seen).unwrap();
    let (sigmoid, tanh) = (1.0 / (1.0 + (-1.0f64).exp()), 1.0f64.tanh());
    for ((gate, value), (name, expected)) in
        seen.0.iter().zip([("reset", sigmoid), ("update", sigmoid), ("candidate", tanh)])
    {
        assert_eq!(gate, name);
        assert_abs_diff_eq!(*value, expected, epsilon = 1e-15);
    }
    assert_eq!(seen.0.len(), 3);
}

/// A monitor gets the whole pre-activation of a gate, also if the cell saves another value for the backward pass.
#[test]
fn monitor_of_a_cell_gets_the_pre_activations_of_each_gate() {
    const INPUTS: usize = 2;
    const HIDDEN: usize = 3;
    #[derive(Default)]
    struct Seen(Vec<Vec<f64>>);
    impl GradientMonitor<f64> for Seen {
        fn forward(&mut self, at: &Link<'_>, x: &[f64], _y: &[f64]) {
            if at.gate.is_some() {
                self.0.push(x.to_vec());
            }
        }
    }
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    let (shape, x) = (BatchShape::sequences(1, 2), [0.4, -0.7, 1.1, 0.3]);
    let after = Gru::new().variant(GruVariant::ResetAfter);
    let before = Gru::new().variant(GruVariant::ResetBefore);
    let layers: [(Sequential<f64>, usize, Option<GruVariant>); 4] = [
        (Sequential::input(INPUTS).recurrent(HIDDEN, Elman::new(Tanh)).build().unwrap(), 1, None),
        (Sequential::input(INPUTS).recurrent(HIDDEN, Lstm::new()).build().unwrap(), 4, None),
        (Sequential::input(INPUTS).recurrent(HIDDEN, after).build().unwrap(), 3, Some(GruVariant::ResetAfter)),
        (Sequential::input(INPUTS).recurrent(HIDDEN, before).build().unwrap(), 3, Some(GruVariant::ResetBefore)),
    ];
    for (network, gates, reset) in layers {
        let mut w = initialize(&network, 1).unwrap();
        w.iter_mut().enumerate().for_each(|(i, w)| *w = 1.5 * *w + 0.01 * (i % 7) as f64);
        let (mut workspace, mut seen) = (Workspace::new(&network, shape).unwrap(), Seen::default());
        let y = workspace.forward_with(&w, &x, shape, Mode::Train, &mut seen).unwrap().y.to_vec();
        let (weight, rest) = w.split_at(gates * HIDDEN * INPUTS);
        let (recurrent, rest) = rest.split_at(gates * HIDDEN * HIDDEN);
        let (bias, recurrent_bias) = rest.split_at(gates * HIDDEN);
        assert_eq!(seen.0.len(), 2 * gates);
        for (step, shown) in seen.0.chunks(gates).enumerate() {
            let h = if step == 0 { vec![0.0; HIDDEN] } else { y[..HIDDEN].to_vec() };
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let input = |row: usize| dot(&weight[row * INPUTS..][..INPUTS], &x[step * INPUTS..]) + bias[row];
            let product = |row: usize, of: &[f64]| dot(&recurrent[row * HIDDEN..][..HIDDEN], of);
            let r: Vec<f64> = (0..HIDDEN).map(|j| sigmoid(input(j) + product(j, &h))).collect();
            let reset_h: Vec<f64> = r.iter().zip(&h).map(|(r, h)| r * h).collect();
            for (gate, shown) in shown.iter().enumerate() {
                for (j, &shown) in shown.iter().enumerate() {
                    let row = gate * HIDDEN + j;
                    let expected = input(row)
                        + match reset {
                            Some(GruVariant::ResetAfter) if gate == 2 => r[j] * (product(row, &h) + recurrent_bias[j]),
                            Some(GruVariant::ResetBefore) if gate == 2 => product(row, &reset_h),
                            _ => product(row, &h),
                        };
                    assert_abs_diff_eq!(shown, expected, epsilon = 1e-14);
                }
            }
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn layer_spec_saved_and_read_is_equal() {
    let described = everything().spec();
    let text = serde_json::to_string(&described).unwrap();
    let read: LayerSpec = serde_json::from_str(&text).unwrap();
    assert_eq!(read, described);
    assert!(serde_json::from_str::<LayerSpec>(&text.replace("\"Linear\"", "\"Linea\"")).is_err());
    // A custom layer can be read, but not built.
    let custom = r#"{"Custom":{"kind":"Mine","dims":{"input":1,"output":1,"parameters":0}}}"#;
    let custom: LayerSpec = serde_json::from_str(custom).unwrap();
    assert!(matches!(custom.build::<f32>(), Err(chainrule::Error::CustomPart { .. })));
}
