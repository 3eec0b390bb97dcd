//! State dicts of PyTorch: parameters under its names, both ways.

use crate::parity::reference::{cases, error, name, shape, values};
use chainrule::{
    BatchShape, Error, Layer,
    activation::{Relu, Tanh},
    initializer::Normal,
    layer::{RmsNorm, Sequential, initialize},
    model::{ModuleNames, Precision, StateDict, export_state_dict, import_state_dict},
    recurrent::{Bidirectional, Cell, Elman, Gru, Lstm, Recurrent},
    workspace::Workspace,
};
use serde_json::Value;

/// The layers of `torch.nn.RNN`, `LSTM` or `GRU`, and the names of its tensors under module `rnn`.
fn network(case: &Value) -> (Sequential<f64>, ModuleNames) {
    fn push<C: Cell + Clone>(network: &mut Sequential<f64>, hidden: usize, cell: C, biased: bool, directions: u64) {
        let inputs = network.width();
        let layer = || {
            let layer = Recurrent::new(inputs, hidden, cell.clone());
            if biased { layer } else { layer.without_bias() }
        };
        match directions {
            1 => network.push(layer()),
            _ => network.push(Bidirectional::new::<f64>(layer(), layer()).unwrap()),
        }
        .unwrap();
    }
    let size = |key: &str| case[key].as_u64().unwrap() as usize;
    let (hidden, biased) = (size("H"), case["params"].get("bias_ih_l0").is_some());
    let directions = case["directions"].as_u64().unwrap();
    let (mut network, mut names) = (Sequential::new(size("I")), ModuleNames::new());
    for layer in 0..size("layers") {
        match name(case) {
            n if n.starts_with("rnn_relu") => push(&mut network, hidden, Elman::new(Relu), biased, directions),
            n if n.starts_with("rnn_tanh") => push(&mut network, hidden, Elman::new(Tanh), biased, directions),
            n if n.starts_with("lstm") => push(&mut network, hidden, Lstm::new(), biased, directions),
            _ => push(&mut network, hidden, Gru::new(), biased, directions),
        }
        names = names.stacked(&layer.to_string(), "rnn", layer);
    }
    (network, names)
}

fn state_of(case: &Value) -> StateDict {
    let mut state = StateDict::new();
    for (name, tensor) in case["params"].as_object().unwrap() {
        state.insert(&format!("rnn.{name}"), &shape(tensor), values(tensor)).unwrap();
    }
    state
}

/// The outputs from a start at 0.
fn outputs(network: &Sequential<f64>, w: &[f64], x: &[f64], shape: BatchShape<'_>) -> Vec<f64> {
    Workspace::new(network, shape).unwrap().forward(w, x, shape).unwrap().y.to_vec()
}

#[test]
fn imported_parameters_give_the_outputs_of_pytorch() {
    let mut compared = 0;
    for case in &cases("recurrent") {
        let (network, names) = network(case);
        let mut w = vec![0.0; Layer::<f64>::dims(&network).parameters];
        import_state_dict(&network, &mut w, &mut [], &state_of(case), &names).unwrap();
        // Those that begin with a state are compared where that is given, in `parity`.
        if case["inputs"].get("h0").is_none() {
            let [steps, batch, _] = shape(&case["inputs"]["x"])[..] else { panic!() };
            let y = outputs(&network, &w, &values(&case["inputs"]["x"]), BatchShape::sequences(batch, steps));
            assert!(error(&y, &values(&case["output"]["out"])) <= 1e-12, "{}", name(case));
            compared += 1;
        }
        // Exported and imported again they are the same parameters, also through a file that another program reads.
        let exported = export_state_dict(&network, &w, &[], &names).unwrap();
        let bytes = exported.to_bytes(Precision::F64).unwrap();
        assert_eq!(StateDict::from_bytes(&bytes).unwrap(), exported);
        let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for tensor in exported.names() {
            assert_eq!(read.tensor(tensor).unwrap().shape(), exported.get(tensor).unwrap().shape);
            assert_eq!(exported.get(tensor).unwrap().shape, state_of(case).get(tensor).unwrap().shape);
        }
        assert_eq!(exported.names().count(), state_of(case).names().count());
        let mut again = vec![0.0; w.len()];
        import_state_dict(&network, &mut again, &mut [], &exported, &names).unwrap();
        assert_eq!(again, w, "{}", name(case));
    }
    assert_eq!(compared, 3);
}

#[test]
fn names_and_shapes_are_those_of_the_modules() {
    let network = Sequential::<f64>::input(3).linear(4).layer_norm().prelu().residual(|branch| branch.linear(4));
    let network = network.bidirectional(2, Gru::new()).linear(1).build().unwrap();
    let w = initialize(&network, 3).unwrap();
    let names = ModuleNames::new().module("0", "encoder.first").module("3", "block").module("4", "gru");
    let state = export_state_dict(&network, &w, &[], &names).unwrap();
    let mut expected = vec![
        ("encoder.first.weight", vec![4, 3]),
        ("encoder.first.bias", vec![4]),
        ("1.weight", vec![4]),
        ("1.bias", vec![4]),
        ("2.weight", vec![1]),
        ("block.branch.0.weight", vec![4, 4]),
        ("block.branch.0.bias", vec![4]),
        ("5.weight", vec![1, 4]),
        ("5.bias", vec![1]),
    ];
    for direction in ["", "_reverse"] {
        for (what, shape) in
            [("weight_ih", vec![6, 4]), ("weight_hh", vec![6, 2]), ("bias_ih", vec![6]), ("bias_hh", vec![6])]
        {
            expected.push((String::leak(format!("gru.{what}_l0{direction}")), shape));
        }
    }
    expected.sort();
    let found: Vec<_> = state.names().map(|name| (name, state.get(name).unwrap().shape.clone())).collect();
    assert_eq!(found, expected);
}

/// The last step of each direction: PyTorch's `h_n` of one bidirectional module.
#[test]
fn directions_that_end_in_their_last_step_have_the_names_of_one_module() {
    let network = Sequential::<f64>::input(3).bidirectional_summary(2, Lstm::new()).linear(1).build().unwrap();
    let whole = Sequential::<f64>::input(3).bidirectional(2, Lstm::new()).last_step().linear(1).build().unwrap();
    let names = ModuleNames::new().module("0", "lstm").module("1", "head");
    let w = initialize(&network, 3).unwrap();
    let state = export_state_dict(&network, &w, &[], &names).unwrap();
    let names_of_whole = ModuleNames::new().module("0", "lstm").module("2", "head");
    let expected = export_state_dict(&whole, &w, &[], &names_of_whole).unwrap();
    assert!(state.get("lstm.weight_ih_l0_reverse").is_some());
    assert_eq!(state, expected);
    let mut read = vec![0.0; w.len()];
    import_state_dict(&network, &mut read, &mut [], &state, &names).unwrap();
    assert_eq!(read, w);
}

/// Running statistics are tensors of the module, too; its count of batches is not needed.
#[test]
fn batch_norm_group_norm_and_embedding_have_the_tensors_of_their_modules() {
    let network = Sequential::<f64>::input(1).embedding(5, 4).group_norm(2).batch_norm();
    let network = network.residual(|branch| branch.linear(4).batch_norm()).build().unwrap();
    let names = ModuleNames::new().module("0", "words").module("2", "norm");
    let (w, mut workspace) =
        (initialize(&network, 3).unwrap(), Workspace::new(&network, BatchShape::batch(4)).unwrap());
    workspace.forward(&w, &[0.0, 1.0, 4.0, 2.0], BatchShape::batch(4)).unwrap();
    let buffers = workspace.buffers().to_vec();
    let mut state = export_state_dict(&network, &w, &buffers, &names).unwrap();
    let mut expected = vec![("words.weight", vec![5, 4])];
    for module in ["1", "norm", "3.branch.1"] {
        for what in
            ["weight", "bias", "running_mean", "running_var"].into_iter().take(if module == "1" { 2 } else { 4 })
        {
            expected.push((String::leak(format!("{module}.{what}")), vec![4]));
        }
    }
    expected.extend([("3.branch.0.weight", vec![4, 4]), ("3.branch.0.bias", vec![4])]);
    expected.sort();
    let found: Vec<_> = state.names().map(|name| (name, state.get(name).unwrap().shape.clone())).collect();
    assert_eq!(found, expected);
    assert_eq!(state.get("norm.running_mean").unwrap().values, buffers[..4]);
    assert_eq!(state.get("3.branch.1.running_var").unwrap().values, buffers[12..]);
    state.insert("norm.num_batches_tracked", &[], vec![1.0]).unwrap();
    let (mut w_again, mut again) = (vec![0.0; w.len()], vec![0.0; buffers.len()]);
    import_state_dict(&network, &mut w_again, &mut again, &state, &names).unwrap();
    assert_eq!((w_again, &again), (w.clone(), &buffers));
    let refused = |state: &StateDict, buffers: &mut [f64]| {
        import_state_dict(&network, &mut w.clone(), buffers, state, &names).unwrap_err()
    };
    assert!(matches!(refused(&state, &mut []), Error::Length { what: "the buffers", expected: 16, found: 0 }));
    state.insert("norm.running_var", &[5], vec![1.0; 5]).unwrap();
    let error = refused(&state, &mut again);
    assert!(matches!(&error, Error::StateDict { tensor, .. } if tensor == "norm.running_var"), "{error}");
    state.insert("norm.running_var", &[4], vec![f64::INFINITY; 4]).unwrap();
    assert!(matches!(refused(&state, &mut again), Error::CheckpointValue { .. }));
    assert_eq!(again, buffers);
    state.insert("0.num_batches_tracked", &[], vec![1.0]).unwrap();
    state.insert("norm.running_var", &[4], vec![1.0; 4]).unwrap();
    assert!(refused(&state, &mut again).to_string().contains("0.num_batches_tracked"));
}

#[test]
fn tensor_that_does_not_fit_is_named_and_nothing_changes() {
    let network = Sequential::<f32>::input(2).linear(3).build().unwrap();
    let w = initialize(&network, 1).unwrap();
    let (names, good) = (ModuleNames::new(), export_state_dict(&network, &w, &[], &ModuleNames::new()).unwrap());
    let refused = |change: &dyn Fn(&mut StateDict), names: &ModuleNames| {
        let (mut state, mut w) = (good.clone(), w.clone());
        change(&mut state);
        let before = w.clone();
        let error = import_state_dict(&network, &mut w, &mut [], &state, names).unwrap_err();
        assert_eq!(w, before);
        error
    };
    let misfit = |error: Error| match error {
        Error::StateDict { tensor, expected, found } => (tensor, expected, found),
        other => panic!("{other}"),
    };
    let (tensor, expected, found) = misfit(refused(&|_| {}, &ModuleNames::new().module("0", "encoder")));
    assert_eq!(tensor, "encoder.weight");
    assert!(expected.contains("[3, 2]") && found.contains("0.weight"), "{expected}; {found}");
    let (tensor, expected, found) =
        misfit(refused(&|state| state.insert("0.bias", &[3, 1], vec![0.0; 3]).unwrap(), &names));
    assert_eq!((&*tensor, &*expected, &*found), ("0.bias", "shape [3]", "shape [3, 1]"));
    let (tensor, ..) = misfit(refused(&|state| state.insert("1.weight", &[1], vec![0.0]).unwrap(), &names));
    assert_eq!(tensor, "1.weight");
    let infinite = refused(&|state| state.insert("0.bias", &[3], vec![0.0, 1e300, 0.0]).unwrap(), &names);
    assert!(matches!(infinite, Error::CheckpointValue { ref name, .. } if name == "0.bias"), "{infinite}");

    let (mut state, mut w) = (good.clone(), w.clone());
    state.insert("1.weight", &[1], vec![0.0]).unwrap();
    import_state_dict(&network, &mut w, &mut [], &state, &ModuleNames::new().skip("1")).unwrap();
    assert!(matches!(state.insert("a", &[2, 2], vec![0.0]), Err(Error::Length { .. })));
    assert!(state.insert("__metadata__", &[], vec![0.0]).is_err());
    assert!(import_state_dict(&network, &mut w[1..], &mut [], &state, &names).is_err());
}

/// A name for a path at which the network has no layer is refused, with the paths that are most like it.
#[test]
fn module_name_of_no_layer_is_refused() {
    let network = Sequential::<f64>::input(2).linear(3).relu().residual(|b| b.linear(3)).build().unwrap();
    let mut w = vec![0.5; Layer::<f64>::dims(&network).parameters];
    let state = export_state_dict(&network, &w, &[], &ModuleNames::new()).unwrap();
    for (path, near) in [("3", "1, 0, 2"), ("2.brunch", "2.branch"), ("head", "")] {
        let names = ModuleNames::new().module(path, "head");
        let imported = import_state_dict(&network, &mut w, &mut [], &state, &names).unwrap_err();
        assert_eq!(imported, export_state_dict(&network, &w, &[], &names).unwrap_err());
        let text = imported.to_string();
        assert!(text.contains(&format!("{path:?}")) && (near.len() < 8 || text.contains(near)), "{text}");
    }
    // Those of activations, of containers and of the network are paths of layers.
    for path in ["", "1", "2", "2.branch"] {
        export_state_dict(&network, &w, &[], &ModuleNames::new().module(path, "head")).unwrap();
    }
}

#[test]
fn foreign_file_is_read_tensor_by_tensor() {
    use safetensors::{Dtype, serialize, tensor::TensorView};
    let floats: Vec<u8> = [0.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let counter = 7i64.to_le_bytes();
    let flags = [1u8, 0, 1];
    let signed = [-3i8 as u8];
    let tensors = [
        ("a.weight", TensorView::new(Dtype::F32, vec![1, 2], &floats).unwrap()),
        ("bn.num_batches_tracked", TensorView::new(Dtype::I64, vec![], &counter).unwrap()),
        ("mask", TensorView::new(Dtype::BOOL, vec![3], &flags).unwrap()),
        ("small", TensorView::new(Dtype::I8, vec![1], &signed).unwrap()),
    ];
    let state = StateDict::from_bytes(&serialize(tensors, None).unwrap()).unwrap();
    let get = |name: &str| state.get(name).map(|tensor| (tensor.shape.clone(), tensor.values.clone()));
    assert_eq!(get("a.weight"), Some((vec![1, 2], vec![0.5, -2.0])));
    assert_eq!(get("bn.num_batches_tracked"), Some((vec![], vec![7.0])));
    assert_eq!(get("mask"), Some((vec![3], vec![1.0, 0.0, 1.0])));
    assert_eq!(get("small"), Some((vec![1], vec![-3.0])));
    let large = ((1i64 << 53) + 1).to_le_bytes();
    let tensors = [("id", TensorView::new(Dtype::I64, vec![1], &large).unwrap())];
    let error = StateDict::from_bytes(&serialize(tensors, None).unwrap()).unwrap_err();
    assert!(matches!(error, Error::StateDict { ref tensor, .. } if tensor == "id"), "{error}");
    assert!(StateDict::from_bytes(b"no file").is_err());
}

#[test]
fn gru_whose_reset_gate_acts_first_is_refused() {
    let cell = Gru::new().variant(chainrule::recurrent::GruVariant::ResetBefore);
    let layer = Recurrent::new(2, 3, cell).weights(Normal { mean: 0.0, std: 1.0 });
    let w = initialize::<f64>(&layer, 1).unwrap();
    assert!(matches!(export_state_dict::<f64>(&layer, &w, &[], &ModuleNames::new()), Err(Error::StateDict { .. })));
}

/// The network of a file in `tests/reference/state_dicts`, written by PyTorch (`state_dicts.py`), and its modules.
fn network_of_pytorch(name: &str) -> (Sequential<f64>, ModuleNames) {
    let input = || Sequential::<f64>::input(3);
    let stacked = |network: Sequential<f64>| {
        let names = (0..network.len()).fold(ModuleNames::new(), |names, at| names.stacked(&at.to_string(), "", at));
        (network, names)
    };
    let plain = |network: Sequential<f64>| (network, ModuleNames::new());
    match name {
        "linear" => plain(input().linear(4).tanh().linear(2).build().unwrap()),
        "embedding" => plain(Sequential::input(1).embedding(7, 3).linear(2).build().unwrap()),
        "layer_norm" => plain(input().linear(4).layer_norm().build().unwrap()),
        "rms_norm" => plain(input().linear(4).layer(RmsNorm::new(4).epsilon(1e-5).unwrap()).build().unwrap()),
        "group_norm" => plain(input().linear(4).group_norm(2).build().unwrap()),
        "batch_norm" => plain(input().linear(4).batch_norm().build().unwrap()),
        "rnn_tanh" => stacked(input().recurrent(4, Elman::new(Tanh)).build().unwrap()),
        "rnn_relu_stacked_both" => {
            let cell = || Elman::new(Relu);
            stacked(input().bidirectional(4, cell()).bidirectional(4, cell()).build().unwrap())
        }
        "lstm" => stacked(input().lstm(4).build().unwrap()),
        "lstm_stacked_both" => {
            stacked(input().bidirectional(4, Lstm::new()).bidirectional(4, Lstm::new()).build().unwrap())
        }
        "gru_stacked" => stacked(input().gru(4).gru(4).build().unwrap()),
        "gru_both_without_bias" => {
            let direction = || Recurrent::new(3, 4, Gru::new()).without_bias();
            stacked(input().layer(Bidirectional::new::<f64>(direction(), direction()).unwrap()).build().unwrap())
        }
        other => panic!("{other}"),
    }
}

/// The shape of the pass over an input: rows, or \[steps, batch, width\].
fn shape_of(input: &[usize]) -> BatchShape<'static> {
    match *input {
        [steps, batch, _] => BatchShape::sequences(batch, steps),
        [batch, ..] => BatchShape::batch(batch),
        [] => panic!("no axes"),
    }
}

/// Twelve files that PyTorch wrote: parameters and buffers give its output. What is exported again is what was there,
/// but for the two biases of a gate, of which only the sum counts. With `CHAINRULE_EXPORTS` set, networks of other
/// parameters are written to that folder with their outputs, which `.ci/pytorch` compares with PyTorch's.
#[test]
fn networks_of_pytorch_give_its_outputs_and_are_exported_under_its_names() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/state_dicts");
    let (mut count, mut worst) = (0, 0.0_f64);
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let state = StateDict::load(&file).unwrap();
        let (network, names) = network_of_pytorch(name);
        let shape = shape_of(&state.get("example.input").unwrap().shape);
        let x = &state.get("example.input").unwrap().values;
        let mut workspace = Workspace::new(&network, shape).unwrap();
        let mut w = vec![0.0; Layer::<f64>::dims(&network).parameters];
        let mut buffers = workspace.buffers().to_vec();
        // Without `skip` the two tensors of the example are refused by name.
        let refused = import_state_dict(&network, &mut w, &mut buffers, &state, &names).unwrap_err();
        assert!(refused.to_string().contains("example."), "{name}: {refused}");
        let skipping = names.clone().skip("example");
        import_state_dict(&network, &mut w, &mut buffers, &state, &skipping).unwrap();
        workspace.set_buffers(&buffers).unwrap();
        let y = workspace.infer(&w, x, shape).unwrap();
        let off = error(y, &state.get("example.output").unwrap().values);
        assert!(off <= 1e-12, "{name}: {off:e}");
        worst = worst.max(off);
        count += 1;

        let exported = export_state_dict(&network, &w, &buffers, &names).unwrap();
        for tensor in state.names().filter(|name| !name.starts_with("example.") && !name.ends_with("tracked")) {
            let [ours, theirs] = [&exported, &state].map(|state| state.get(tensor).unwrap());
            assert_eq!(ours.shape, theirs.shape, "{name}, {tensor}");
            assert!(tensor.contains("bias_") || ours.values == theirs.values, "{name}, {tensor}");
        }
        if let Ok(folder) = std::env::var("CHAINRULE_EXPORTS") {
            let w: Vec<f64> = initialize(&network, 9).unwrap();
            let mut exported = export_state_dict(&network, &w, &buffers, &names).unwrap();
            let y = workspace.infer(&w, x, shape).unwrap().to_vec();
            exported.insert("example.input", &state.get("example.input").unwrap().shape, x.clone()).unwrap();
            exported.insert("example.output", &state.get("example.output").unwrap().shape, y).unwrap();
            exported.save(std::path::Path::new(&folder).join(format!("{name}.safetensors")), Precision::F64).unwrap();
        }
    }
    assert_eq!(count, 12);
    println!("state dicts of PyTorch: worst relative error {worst:.1e}");
}
