//! Branches beside each other, and summaries of both directions of a sequence.

use crate::numbers::{bits, numbers};
use chainrule::{
    BatchShape, Error, Layer, Mode, Scalar,
    activation::Tanh,
    layer::{
        BatchNorm, Dropout, DropoutKey, LastStep, LayerSpec, Linear, Merge, Parallel, PartSizes, Sequential, initialize,
    },
    layer_laws,
    network::summary,
    recurrent::{Bidirectional, Elman, Gru, Lstm, Recurrent, Reversed},
    workspace::Workspace,
};

type Branch<T> = Box<dyn Layer<T>>;

/// Two dense branches, one of them recurrent with a state, and a norm that reads no output.
fn mixed<T: Scalar>() -> Parallel<T> {
    let dense = Sequential::input(3).linear(4).tanh().build().unwrap();
    let layers: [Branch<T>; 3] =
        [Box::new(dense), Box::new(Recurrent::new(3, 2, Lstm::new())), Box::new(BatchNorm::new(3))];
    Parallel::new(Merge::Concatenate, layers.into()).unwrap()
}

fn sum<T: Scalar>() -> Parallel<T> {
    let layers: [Branch<T>; 3] = [
        Box::new(Linear::new(3, 2)),
        Box::new(Recurrent::new(3, 2, Elman::new(Tanh))),
        Box::new(Recurrent::new(3, 2, Gru::new())),
    ];
    Parallel::new(Merge::Sum, layers.into()).unwrap()
}

layer_laws!(branches_concatenated, mixed());
layer_laws!(branches_summed, sum());
layer_laws!(one_branch, Parallel::new(Merge::Sum, vec![Box::new(LastStep::new(2))]).unwrap());
layer_laws!(summary_of_both_directions, Sequential::input(2).bidirectional_summary(3, Lstm::new()).build().unwrap());
layer_laws!(dropout_locked_over_steps, Dropout::new(4, 0.3).unwrap().locked());

/// y, dx, dw, the final state and the gradient of a zero initial state.
fn pass(layer: &dyn Layer<f64>, w: &[f64], shape: BatchShape<'_>, dy: &[f64]) -> [Vec<f64>; 3] {
    let mut workspace = Workspace::new(layer, shape).unwrap();
    workspace.compute_input_gradient(true);
    let output = workspace.forward(w, &numbers::<f64>(shape.rows() * layer.dims().input), shape).unwrap();
    let y = output.y.to_vec();
    output.dy.copy_from_slice(dy);
    let dw = workspace.backward(w).unwrap().to_vec();
    [y, workspace.input_gradient().to_vec(), dw]
}

/// The whole is its branches by themselves: columns beside each other or added, and gradients of the input added.
#[test]
fn parallel_layer_is_its_branches_by_themselves() {
    let shape = BatchShape::ragged(&[4, 2, 1]);
    let rows = shape.rows();
    for whole in [mixed::<f64>(), sum()] {
        let (width, w) = (whole.dims().output, initialize(&whole, 5).unwrap());
        let dy = numbers::<f64>(rows * width);
        let concatenates = matches!(whole.spec(), LayerSpec::Parallel { merge: Merge::Concatenate, .. });
        let found = pass(&whole, &w, shape, &dy);
        let (mut y, mut dx, mut dw, mut column) = (vec![0.0; rows * width], vec![], vec![], 0);
        for (_, branch, range) in whole.structure().parts() {
            let own = branch.dims().output;
            let columns = |row: usize| row * width + column..row * width + column + own;
            let own_dy: Vec<f64> = (0..rows).flat_map(|row| dy[columns(row)].to_vec()).collect();
            let [own_y, own_dx, own_dw] = pass(branch, &w[range], shape, &own_dy);
            for (row, own_y) in own_y.chunks(own).enumerate() {
                y[columns(row)].iter_mut().zip(own_y).for_each(|(y, own)| *y += own);
            }
            match dx.is_empty() {
                true => dx = own_dx,
                false => dx.iter_mut().zip(own_dx).for_each(|(dx, own)| *dx += own),
            }
            dw.extend(own_dw);
            column += if concatenates { own } else { 0 };
        }
        for (found, expected) in found.iter().zip([y, dx, dw]) {
            assert_eq!(bits(found), bits(&expected));
        }
    }
}

#[test]
fn bidirectional_layer_is_a_parallel_one_with_a_reversed_branch() {
    let (shape, forward, backward) =
        (BatchShape::ragged(&[5, 5, 3, 1]), Recurrent::new(3, 4, Lstm::new()), Recurrent::new(3, 2, Gru::new()));
    let both = Bidirectional::new::<f64>(forward.clone(), backward.clone()).unwrap();
    let branches: [Branch<f64>; 2] = [Box::new(forward), Box::new(Reversed::new::<f64>(backward).unwrap())];
    let parallel = Parallel::new(Merge::Concatenate, branches.into()).unwrap();
    let (w, dy) = (initialize(&both, 2).unwrap(), numbers::<f64>(shape.rows() * 6));
    assert_eq!(bits(&initialize(&parallel, 2).unwrap()), bits(&w));
    for (one, other) in pass(&both, &w, shape, &dy).iter().zip(&pass(&parallel, &w, shape, &dy)) {
        assert_eq!(bits(one), bits(other));
    }
    assert!(parallel.reads_later_steps());
}

#[test]
fn parallel_layer_is_the_same_with_threads_and_a_monitor() {
    let (shape, network) = (BatchShape::sequences(40, 6), || {
        let branches =
            |all: chainrule::network::Branches<f64>| all.branch(|b| b.linear(64).tanh()).branch(|b| b.lstm(32));
        Sequential::<f64>::input(48).parallel(Merge::Concatenate, branches).linear(3).build().unwrap()
    });
    let w = initialize(&network(), 1).unwrap();
    let mut all = Vec::new();
    for (threads, watched) in [(1, false), (3, false), (1, true)] {
        let (mut workspace, mut budget) =
            (Workspace::new(network(), shape).unwrap(), chainrule::monitor::GradientBudget::new());
        workspace.set_threads(threads).unwrap();
        workspace.compute_input_gradient(true);
        let x = numbers::<f64>(shape.rows() * 48);
        let monitor: &mut dyn chainrule::GradientMonitor<f64> = if watched { &mut budget } else { &mut () };
        let output = workspace.forward_with(&w, &x, shape, Mode::Train, monitor).unwrap();
        output.dy.copy_from_slice(&numbers::<f64>(shape.rows() * 3));
        all.push(bits(workspace.backward_with(&w, monitor).unwrap()));
        let names: Vec<&str> = budget.links().iter().map(|link| &*link.name).collect();
        assert!(!watched || ["0", "0.0.0", "0.0.1", "0.1.0"].iter().all(|name| names.contains(name)), "{names:?}");
    }
    assert!(all[0] == all[1] && all[0] == all[2]);
}

#[test]
fn bound_of_branches_is_attained() {
    let of = |merge| {
        let branches: [Branch<f64>; 2] =
            [Box::new(Linear::new(2, 2).without_bias()), Box::new(Linear::new(2, 2).without_bias())];
        Parallel::new(merge, branches.into()).unwrap()
    };
    let w = [3.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 4.0];
    // ‖(3 I, 4 I)‖ = 5 and ‖3 I + 4 I‖ = 7.
    for (merge, expected) in [(Merge::Concatenate, 5.0), (Merge::Sum, 7.0)] {
        let bound = of(merge).gain_bound(&w, BatchShape::batch(1)).unwrap();
        assert!((expected..expected * (1.0 + 1e-6)).contains(&bound), "{merge:?}: {bound}");
    }
    let unknown: [Branch<f64>; 2] =
        [Box::new(Linear::new(2, 2)), Box::new(chainrule::layer::Embedding::new(3, 1).columns(2))];
    let unknown = Parallel::new(Merge::Sum, unknown.into()).unwrap();
    assert_eq!(unknown.gain_bound(&[1.0; 9], BatchShape::batch(1)), None);
}

#[test]
fn branches_that_do_not_fit_are_refused() {
    let made = |merge, branches: Vec<Branch<f64>>| Parallel::new(merge, branches).map(|_| ()).unwrap_err();
    let linear = |inputs, outputs| -> Branch<f64> { Box::new(Linear::new(inputs, outputs)) };
    assert_eq!(
        made(Merge::Sum, vec![]).to_string(),
        "the branches of a parallel layer is empty; give at least 1 element"
    );
    let mismatch = |error: Error| match error {
        Error::WidthMismatch { layer, expected, found, .. } => (layer, expected, found),
        other => panic!("{other}"),
    };
    assert_eq!(mismatch(made(Merge::Concatenate, vec![linear(2, 1), linear(3, 1)])), ("branch 1".into(), 3, 2));
    let sum = mismatch(made(Merge::Sum, vec![linear(2, 1), linear(2, 1), linear(2, 4)]));
    assert_eq!(sum, ("the sum of the branches".into(), 1, 4));
    let rows = made(Merge::Sum, vec![linear(2, 2), Box::new(LastStep::new(2))]);
    assert!(matches!(rows, Error::IncompatibleLayer { .. }), "{rows}");
    let built =
        Sequential::<f64>::input(2).parallel(Merge::Sum, |all| all.branch(|b| b.linear(1)).branch(|b| b.dropout(2.0)));
    assert!(matches!(built.build(), Err(Error::Parameter { what: "dropout rate", .. })));
    let empty = Sequential::<f64>::input(2).parallel(Merge::Sum, |all| all).build();
    assert!(matches!(empty, Err(Error::Empty { .. })));
}

#[test]
fn parallel_layer_is_built_again_from_its_description() {
    let network = Sequential::<f64>::input(3)
        .parallel(Merge::Concatenate, |all| {
            all.branch(|b| b.linear(4).relu()).branch(|b| {
                b.parallel(Merge::Sum, |sum| sum.branch(|b| b.linear(2)).branch(|b| b.batch_norm().linear(2)))
            })
        })
        .linear(1)
        .build()
        .unwrap();
    assert_eq!(network.width(), 1);
    let spec = network.spec();
    let again = spec.build::<f64>().unwrap();
    assert_eq!(again.spec(), spec);
    assert_eq!(spec.clone(), spec);
    let w = initialize(&network, 9).unwrap();
    assert_eq!(bits(&initialize(&*again, 9).unwrap()), bits(&w));
    let (mut one, mut other) =
        (Workspace::new(&network, BatchShape::batch(4)).unwrap(), Workspace::new(again, BatchShape::batch(4)).unwrap());
    let names: Vec<String> = one.blocks().iter().map(|block| block.name.to_string()).collect();
    let sum = [
        "0.1.0.0.0.weight",
        "0.1.0.0.0.bias",
        "0.1.0.1.0.gain",
        "0.1.0.1.0.bias",
        "0.1.0.1.1.weight",
        "0.1.0.1.1.bias",
    ];
    assert_eq!(names, [&["0.0.0.weight", "0.0.0.bias"][..], &sum, &["1.weight", "1.bias"]].concat());
    assert_eq!(one.buffers().len(), 6);
    let x = numbers::<f64>(12);
    for mode in [Mode::Train, Mode::Evaluate] {
        let y = bits(one.forward_with(&w, &x, BatchShape::batch(4), mode, &mut ()).unwrap().y);
        assert_eq!(y, bits(other.forward_with(&w, &x, BatchShape::batch(4), mode, &mut ()).unwrap().y));
    }
    assert_eq!(bits(one.buffers()), bits(other.buffers()));
    let text = summary(&network).to_string();
    assert!(text.contains("Parallel, Concatenate") && text.contains("0.1.0.1.0"), "{text}");
    let sizes = PartSizes::of(&network as &dyn Layer<f64>);
    assert_eq!((sizes.blocks, sizes.links), (names.len(), network.structure().link_names("").len()));
    #[cfg(feature = "serde")]
    {
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<LayerSpec>(&text).unwrap(), spec);
        let none: LayerSpec = serde_json::from_str(r#"{"Parallel":{"branches":[],"merge":"Sum"}}"#).unwrap();
        assert!(matches!(none.build::<f32>(), Err(Error::Empty { .. })));
        assert_eq!(none.widths(), (0, 0));
    }
}

/// The forward direction has read all inputs at the last step, the backward one at the first.
#[test]
fn summary_of_both_directions_has_read_the_whole_sequence() {
    let shape = BatchShape::ragged(&[5, 3, 1]);
    let (all, network) = (
        Sequential::<f64>::input(2).bidirectional(4, Gru::new()).build().unwrap(),
        Sequential::<f64>::input(2).bidirectional_summary(4, Gru::new()).build().unwrap(),
    );
    let w = initialize(&all, 3).unwrap();
    assert_eq!(bits(&initialize(&network, 3).unwrap()), bits(&w));
    let x = numbers::<f64>(shape.rows() * 2);
    let steps = Workspace::new(&all, shape).unwrap().forward(&w, &x, shape).unwrap().y.to_vec();
    let mut workspace = Workspace::new(&network, shape).unwrap();
    let output = workspace.forward(&w, &x, shape).unwrap();
    assert_eq!((output.shape.batch, output.shape.steps), (3, 1));
    for (sample, y) in output.y.chunks(8).enumerate() {
        let last = shape.row([5, 3, 1][sample] - 1, sample);
        let expected = [&steps[last * 8..][..4], &steps[sample * 8 + 4..][..4]].concat();
        assert_eq!(bits(y), bits(&expected), "sample {sample}");
    }
    let spec = network.spec();
    assert_eq!(spec.build::<f32>().unwrap().spec(), spec);
    assert!(Sequential::<f64>::input(2).bidirectional_summary(0, Gru::new()).build().is_err());
}

#[test]
fn locked_dropout_drops_the_same_units_in_each_step() {
    let (width, shape) = (40, BatchShape::sequences(3, 6));
    let masks = |layer: Dropout, key: DropoutKey, shape: BatchShape<'_>| {
        let mut workspace = Workspace::<f64, _>::new(layer, shape).unwrap();
        workspace.set_dropout_key(key);
        workspace.forward(&[], &vec![1.0; shape.rows() * width], shape).unwrap().y.to_vec()
    };
    let (plain, key) = (Dropout::new(width, 0.5).unwrap(), DropoutKey::new(3, 7));
    let locked = plain.clone().locked();
    let y = masks(locked.clone(), key, shape);
    let row = |step: usize, sample: usize| y[shape.row(step, sample) * width..][..width].to_vec();
    for sample in 0..3 {
        assert!((1..6).all(|step| row(step, sample) == row(0, sample)), "sample {sample}");
        assert!((0..sample).all(|other| row(0, sample) != row(0, other)));
    }
    assert!(y.iter().all(|&y| y == 0.0 || y == 2.0) && y.contains(&0.0));
    assert_ne!(y, masks(plain.clone(), key, shape));
    // Of one step they are the same layer; a part of a batch has the masks of its samples.
    assert_eq!(masks(locked.clone(), key, BatchShape::batch(3)), masks(plain, key, BatchShape::batch(3)));
    let last = masks(locked.clone(), key.from_sample(2), BatchShape::sequences(1, 6));
    assert_eq!(last[..width], row(0, 2));
    let spec = Layer::<f64>::spec(&locked);
    assert_eq!(spec.build::<f32>().unwrap().spec(), spec);
    let network = Sequential::<f32>::input(width).locked_dropout(0.5).build().unwrap();
    assert!(format!("{network:?}").contains("Dropout 0.5 locked"), "{network:?}");
    #[cfg(feature = "serde")]
    {
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(text, r#"{"Dropout":{"width":40,"rate":0.5,"locked":true}}"#);
        assert_eq!(serde_json::from_str::<LayerSpec>(&text).unwrap(), spec);
        let plain = r#"{"Dropout":{"width":40,"rate":0.5}}"#;
        let read: LayerSpec = serde_json::from_str(plain).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), plain);
    }
}
