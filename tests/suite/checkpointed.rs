//! Backpropagation through time in segments has the bits of the full pass, in less memory.

use crate::numbers::{bits, numbers};
use chainrule::{
    BatchShape, Error, Layer, LayerRule, Mode, Scalar,
    activation::Tanh,
    layer::{Backward, Dims, DropoutKey, Forward, LayerSpec, Linear, MeanOverSteps, Sequential, initialize},
    layer_laws,
    monitor::{GradientBudget, GradientMonitor, Link, Statistics},
    network::Builder,
    recurrent::{Bidirectional, CheckpointInterval, Checkpointed, Elman, Gru, GruVariant, Lstm, Recurrent, Reversed},
    workspace::Workspace,
};
use std::collections::BTreeMap;

type Stack<T> = fn(Builder<T>) -> Builder<T>;

fn lstm<T: Scalar>(b: Builder<T>) -> Builder<T> {
    b.recurrent(5, Lstm::new())
}

fn stack<T: Scalar>(b: Builder<T>) -> Builder<T> {
    b.recurrent(5, Lstm::new()).dropout(0.3).recurrent(5, Lstm::new()).locked_dropout(0.2).tanh()
}

fn last_of_stack<T: Scalar>(b: Builder<T>) -> Builder<T> {
    b.recurrent(5, Gru::new()).dropout(0.4).recurrent(5, Elman::new(Tanh)).dropout(0.1).last_step()
}

/// Layers with blocks of 256, 128 and 256 rows in `f64`.
fn uneven<T: Scalar>(b: Builder<T>) -> Builder<T> {
    b.lstm(5).dropout(0.3).lstm(40).gru(6)
}

fn stacks<T: Scalar>() -> [Stack<T>; 7] {
    [
        uneven,
        lstm,
        |b| b.recurrent(5, Gru::new().variant(GruVariant::ResetBefore)),
        |b| b.recurrent(6, Elman::new(Tanh)),
        stack,
        |b| b.recurrent(5, Lstm::new()).last_step(),
        last_of_stack,
    ]
}

fn checkpointed<T: Scalar>(interval: CheckpointInterval, layers: Stack<T>) -> Sequential<T> {
    Sequential::input(3).checkpointed(interval, layers).build().unwrap()
}

layer_laws!(checkpointed_stack, checkpointed(CheckpointInterval::Steps(1), stack));
layer_laws!(checkpointed_last_step, checkpointed(CheckpointInterval::SquareRoot, last_of_stack));
layer_laws!(checkpointed_within_bytes, checkpointed(CheckpointInterval::Bytes(9_000), stack));

/// y, the final state, dw, dx and the gradient of the initial state, of a pass from and to given states.
fn pass<T: Scalar + Into<f64>>(
    layer: &dyn Layer<T>,
    shape: BatchShape<'_>,
    threads: usize,
    monitor: &mut dyn GradientMonitor<T>,
) -> [Vec<u64>; 5] {
    let w = initialize(layer, 7).unwrap();
    let mut workspace = Workspace::new(layer, shape).unwrap();
    workspace.set_threads(threads).unwrap();
    workspace.compute_input_gradient(true);
    workspace.compute_state_gradient(true);
    workspace.set_dropout_key(DropoutKey::new(3, 5));
    let states = shape.batch * layer.memory(shape, Mode::Train).state;
    workspace.set_state(&numbers(states)).unwrap();
    let x = numbers(shape.rows() * layer.dims().input);
    let output = workspace.forward_with(&w, &x, shape, Mode::Train, monitor).unwrap();
    let y = output.y.to_vec();
    let dy = numbers(2 * y.len());
    output.dy.copy_from_slice(&dy[y.len()..]);
    let end = workspace.final_state().to_vec();
    workspace.final_state_gradient_mut().copy_from_slice(&numbers::<T>(states));
    let dw = workspace.backward_with(&w, monitor).unwrap().to_vec();
    [y, end, dw, workspace.input_gradient().to_vec(), workspace.state_gradient().to_vec()]
        .map(|values| bits(&values.into_iter().map(Into::into).collect::<Vec<f64>>()))
}

fn has_bits_of_full_pass<T: Scalar + Into<f64>>(stacks: &[Stack<T>]) {
    // 256 rows are a block: blocks of 1, 2, 4 or 84 steps; 34 blocks have a second level of the sum. Of a wider layer
    // blocks of 1, 2 or 42 steps.
    let ragged: Vec<usize> = (0..120).map(|i| 23 - i / 9 - i % 9 / 8).collect();
    let cases = [
        (BatchShape::sequences(257, 34), 1, CheckpointInterval::Steps(13)),
        (BatchShape::ragged(&ragged), 1, CheckpointInterval::SquareRoot),
        (BatchShape::ragged(&ragged), 4, CheckpointInterval::Steps(7)),
        (BatchShape::sequences(60, 17), 4, CheckpointInterval::Steps(1)),
        (BatchShape::sequences(3, 300), 1, CheckpointInterval::Steps(50)),
        (BatchShape::sequences(100, 70), 1, CheckpointInterval::SquareRoot),
        (BatchShape::ragged(&ragged), 4, CheckpointInterval::Bytes(0)),
        (BatchShape::sequences(257, 34), 4, CheckpointInterval::Bytes(900_000)),
    ];
    for (i, layers) in stacks.iter().enumerate() {
        let full = layers(Sequential::input(3)).build().unwrap();
        for (shape, threads, interval) in cases {
            let expected = pass(&full, shape, 1, &mut ());
            let found = pass(&checkpointed(interval, *layers), shape, threads, &mut ());
            for (what, pair) in ["y", "state", "dw", "dx", "d_state"].iter().zip(found.iter().zip(&expected)) {
                assert!(pair.0 == pair.1, "{what} of stack {i}, {interval:?}, {} steps", shape.steps);
            }
        }
    }
}

#[test]
fn checkpointed_layers_in_f64_have_the_bits_of_the_full_pass() {
    has_bits_of_full_pass::<f64>(&stacks());
}

#[test]
fn checkpointed_layers_in_f32_have_the_bits_of_the_full_pass() {
    // Blocks of 256 and 128 rows.
    has_bits_of_full_pass::<f32>(&[stack, last_of_stack, |b| b.gru(4).lstm(80)]);
}

/// Each direction has its own segments.
#[test]
fn checkpointed_directions_have_the_bits_of_the_full_pass() {
    let part = || Recurrent::new(3, 5, Lstm::new());
    let whole = |interval| -> Result<_, Error> {
        let direction = || Checkpointed::new(interval, vec![Box::new(part()) as Box<dyn Layer<f64>>]);
        Bidirectional::new::<f64>(direction()?, direction()?)
    };
    let full = Bidirectional::new::<f64>(part(), part()).unwrap();
    let shape = BatchShape::sequences(130, 11);
    let expected = pass::<f64>(&full, shape, 1, &mut ());
    assert!(expected == pass::<f64>(&whole(CheckpointInterval::Steps(2)).unwrap(), shape, 2, &mut ()));
}

/// All values of each link: those of each step apart.
#[derive(Default)]
struct Events(BTreeMap<Place, Vec<(usize, u64)>>);

/// A link, its step, its gate, and whether the pass is a backward one.
type Place = (usize, Option<usize>, Option<&'static str>, bool);

impl GradientMonitor<f64> for Events {
    fn forward(&mut self, at: &Link<'_>, x: &[f64], y: &[f64]) {
        let key = (at.index, at.step, at.gate.map(|gate| gate.name), false);
        self.0.entry(key).or_default().push((x.len(), y.iter().sum::<f64>().to_bits()));
    }

    fn backward(&mut self, at: &Link<'_>, dy: &[f64], dx: &[f64]) {
        let key = (at.index, at.step, at.gate.map(|gate| gate.name), true);
        self.0.entry(key).or_default().push((dy.len(), dx.iter().sum::<f64>().to_bits()));
    }
}

#[test]
fn checkpointed_layers_report_each_link_and_step_once() {
    let shape = BatchShape::ragged(&[9, 9, 7, 7, 3]);
    let lengths: Vec<usize> = (0..300).map(|i| shape.lengths.unwrap()[i / 60]).collect();
    let shape = BatchShape::ragged(&lengths);
    let (mut full, mut found) = (Events::default(), Events::default());
    pass(&stack(Sequential::input(3)).build().unwrap(), shape, 1, &mut full);
    pass(&checkpointed(CheckpointInterval::Steps(2), stack), shape, 1, &mut found);
    assert!(full.0.keys().eq(found.0.keys()));
    for (key, expected) in &full.0 {
        let found = &found.0[key];
        match key.1 {
            Some(_) => assert_eq!(found, expected, "{key:?}"),
            // A link over depth is reported in parts, one a segment.
            None => {
                let rows = |events: &[(usize, u64)]| events.iter().map(|event| event.0).sum::<usize>();
                assert_eq!((found.len(), rows(found)), (5, rows(expected)), "{key:?}");
            }
        }
    }
    // Steps before the last have a gradient of zero, which a monitor sees.
    let (shape, mut full, mut found) = (BatchShape::sequences(300, 9), Events::default(), Events::default());
    let last: Stack<f64> = |b| b.recurrent(5, Lstm::new()).last_step();
    pass(&last(Sequential::input(3)).build().unwrap(), shape, 1, &mut full);
    pass(&checkpointed(CheckpointInterval::Steps(2), last), shape, 1, &mut found);
    assert!(full.0.keys().eq(found.0.keys()));
    for (key, expected) in full.0.iter().filter(|(key, _)| key.1.is_some()) {
        assert_eq!(&found.0[key], expected, "{key:?}");
    }
}

/// Statistics and budget add up the parts of a link. Layers with an activation: its slopes and cosines too.
#[test]
fn statistics_of_checkpointed_layers_are_those_of_the_full_pass() {
    let lengths: Vec<usize> = (0..300).map(|i| [9, 9, 7, 7, 3][i / 60]).collect();
    let shape = BatchShape::ragged(&lengths);
    let measure = |layer: &dyn Layer<f64>| {
        let mut monitors = (Statistics::new(), GradientBudget::new());
        (0..3).for_each(|_| drop(pass(layer, shape, 1, &mut monitors)));
        monitors
    };
    let (full, full_budget) = measure(&stack(Sequential::input(3)).build().unwrap());
    let (found, budget) = measure(&checkpointed(CheckpointInterval::Steps(2), stack));
    let near = |what: &str, a: f64, b: f64| assert!((a - b).abs() <= 1e-12 * b.abs(), "{what}: {a} for {b}");
    assert_eq!(found.links().len(), full.links().len());
    for (found, full) in found.links().iter().zip(full.links()) {
        let name = found.name();
        assert_eq!((found.index(), found.decades().count()), (full.index(), full.decades().count()), "{name}");
        near(name, found.decades().mean(), full.decades().mean());
        near(name, found.norm_in(), full.norm_in());
        near(name, found.norm_out(), full.norm_out());
        near(name, found.output().mean(), full.output().mean());
        near(name, found.mean_slope(), full.mean_slope());
        assert_eq!(found.cosine(), full.cosine(), "{name}");
        assert_eq!(found.inactive_fraction(), full.inactive_fraction(), "{name}");
    }
    for (found, full) in found.states().iter().zip(full.states()) {
        assert_eq!((found.sequence(), found.per_step().mean()), (full.sequence(), full.per_step().mean()));
    }
    for (found, full) in found.gates().iter().zip(full.gates()) {
        assert_eq!(found.opening().count(), full.opening().count());
        near("opening", found.opening().mean(), full.opening().mean());
    }
    assert_eq!(budget.links().len(), full_budget.links().len());
    for (found, full) in budget.links().iter().zip(full_budget.links()) {
        near(&found.name, found.norm_in.norm, full.norm_in.norm);
        assert_eq!((found.factor, found.norm_out.values), (full.factor, full.norm_out.values));
    }
}

/// A loss at each step: input, output of the layer, its gradient, and segments. The bar is 110 MB.
#[test]
fn checkpointed_network_with_a_loss_at_each_step_needs_one_gradient_of_all_steps() {
    let segments = |b: Builder<f32>| b.recurrent(128, Lstm::new());
    let network = Sequential::<f32>::input(64).checkpointed(CheckpointInterval::SquareRoot, segments).linear(1);
    let (network, shape) = (network.build().unwrap(), BatchShape::sequences(8, 10_000));
    let outside = shape.rows() * (64 + 1 + 1) + Layer::<f32>::dims(&network).parameters;
    let workspace = bytes(&network, shape) + 4 * outside;
    assert!(workspace <= 110_000_000, "{workspace}");
}

fn bytes(layer: &dyn Layer<f32>, shape: BatchShape<'_>) -> usize {
    let memory = layer.memory(shape, Mode::Train);
    4 * (memory.saved + memory.scratch)
}

#[test]
fn checkpointed_memory_grows_with_the_root_of_the_steps() {
    let network = Sequential::<f32>::input(64)
        .checkpointed(CheckpointInterval::SquareRoot, |b| b.recurrent(128, Lstm::new()).last_step())
        .build()
        .unwrap();
    let of = |steps| bytes(&network, BatchShape::sequences(8, steps));
    // Without the input: 20.5 MB of 10,000 steps, 205 MB of 100,000.
    assert!(of(10_000) < 9_500_000, "{}", of(10_000));
    assert!(of(100_000) < 25_000_000, "{}", of(100_000));
    assert!(of(1_000_000) < 4 * of(10_000) * 3);
}

#[test]
fn checkpointed_memory_does_not_shrink_with_batch_or_steps() {
    let budgets = [0, 5_000, 40_000, 300_000].map(CheckpointInterval::Bytes);
    for interval in [CheckpointInterval::SquareRoot, CheckpointInterval::Steps(7)].into_iter().chain(budgets) {
        let layer = checkpointed::<f32>(interval, stack);
        let of = |batch, steps| {
            [Mode::Train, Mode::Infer].map(|mode| layer.memory(BatchShape::sequences(batch, steps), mode))
        };
        for batch in [1, 2, 3, 5, 8, 100, 257] {
            for steps in (1..40).chain([99, 100, 255, 256, 1000]) {
                for (before, more) in
                    [(of(batch, steps), of(batch + 1, steps)), (of(batch, steps), of(batch, steps + 1))]
                {
                    for (before, more) in before.iter().zip(&more) {
                        assert!(before.saved <= more.saved && before.scratch <= more.scratch, "{batch} × {steps}");
                    }
                }
            }
        }
    }
}

/// The bytes that a budget counts.
fn counted(layer: &dyn Layer<f32>, shape: BatchShape<'_>) -> usize {
    4 * layer.memory(shape, Mode::Train).saved
}

#[test]
fn checkpointed_budget_too_small_is_refused_with_the_least() {
    let layers = || -> Vec<Box<dyn Layer<f32>>> { vec![Box::new(Recurrent::new(3, 5, Lstm::new()))] };
    let make = || Checkpointed::new(CheckpointInterval::SquareRoot, layers()).unwrap();
    let shape = BatchShape::sequences(100, 1000);
    let Err(Error::TooLarge { factors, limit: 1000, .. }) = make().within(1000, shape) else { panic!() };
    let least = make().within(factors[0], shape).unwrap();
    assert_eq!(counted(&least, shape), factors[0]);
    assert!(make().within(factors[0] - 1, shape).is_err());
    assert!(matches!(make().within(1000, BatchShape::sequences(0, 3)), Err(Error::EmptyBatch)));
}

/// A budget is used, and holds, for every shape: unless the whole takes less, or no interval takes so few. The other
/// memory is the scratch of one layer, as without segments.
#[test]
fn checkpointed_budget_in_bytes_holds_for_every_shape() {
    let budget = 1_000_000;
    for (batch, steps) in [(1, 10), (3, 100), (7, 1000), (8, 10_000), (1, 100_000), (300, 2000)] {
        let shape = BatchShape::sequences(batch, steps);
        let of = |bytes| checkpointed::<f32>(CheckpointInterval::Bytes(bytes), stack);
        let [least, found, whole] = [0, budget, usize::MAX].map(|bytes| counted(&of(bytes), shape));
        assert_eq!(found, budget.max(least).min(whole), "{batch} × {steps}");
        let root = bytes(&checkpointed::<f32>(CheckpointInterval::SquareRoot, stack), shape);
        assert!(least <= root, "{batch} × {steps}: {least} above {root}");
        let full = stack(Sequential::<f32>::input(3)).build().unwrap();
        let scratch = |layer: &dyn Layer<f32>| layer.memory(shape, Mode::Train).scratch;
        assert!(scratch(&of(budget)) <= scratch(&full), "{batch} × {steps}");
    }
}

/// A workspace for the longest sequences holds shorter ones, whose segments are longer, and other batches.
#[test]
fn checkpointed_budget_in_bytes_has_the_bits_of_the_full_pass_in_a_larger_workspace() {
    let (full, cut) = (stack(Sequential::input(3)).build(), CheckpointInterval::Bytes(60_000));
    let networks: [Sequential<f64>; 2] = [full.unwrap(), checkpointed(cut, stack)];
    let w = initialize(&networks[0], 7).unwrap();
    let mut spaces = networks.each_ref().map(|it| Workspace::new(it, BatchShape::sequences(40, 60)).unwrap());
    let before = spaces[1].bytes();
    for (batch, steps) in [(40, 60), (1, 60), (40, 3), (13, 31), (2, 2), (40, 59), (1, 1)] {
        let shape = BatchShape::sequences(batch, steps);
        let x: Vec<f64> = numbers(shape.rows() * 3);
        let gradient = |space: &mut Workspace<f64, &Sequential<f64>>| {
            let output = space.forward(&w, &x, shape).unwrap();
            let dy = numbers(output.y.len());
            output.dy.copy_from_slice(&dy);
            bits(space.backward(&w).unwrap())
        };
        let [full, cut] = &mut spaces;
        assert!(gradient(full) == gradient(cut), "{batch} × {steps}");
    }
    assert_eq!(spaces[1].bytes(), before);
}

/// The identity, with the description of another layer.
#[derive(Debug)]
struct Described(LayerSpec);

impl Layer<f64> for Described {
    fn dims(&self) -> Dims {
        Dims::new(3, 3, 0)
    }
    fn spec(&self) -> LayerSpec {
        self.0.clone()
    }
    fn forward(&self, _w: &[f64], pass: Forward<'_, f64>) {
        pass.y.copy_from_slice(pass.x);
    }
    fn backward(&self, _w: &[f64], pass: Backward<'_, f64>) {
        pass.dx.unwrap_or_default().copy_from_slice(pass.dy);
    }
}

#[test]
fn checkpointed_layer_that_needs_other_steps_is_refused_by_name() {
    let lstm = || Box::new(Recurrent::new(3, 3, Lstm::new())) as Box<dyn Layer<f64>>;
    let reversed = Box::new(Reversed::new::<f64>(lstm()).unwrap());
    let last = Box::new(chainrule::layer::LastStep::new(3));
    let others: [Box<dyn Layer<f64>>; 3] = [reversed, Box::new(MeanOverSteps::new(3)), Box::new(Linear::new(3, 3))];
    let new = |layers| Checkpointed::new(CheckpointInterval::SquareRoot, layers).map(drop).unwrap_err();
    for other in others {
        let expected = Error::InvalidLayer { layer: "1".into(), rule: LayerRule::NotInSegments };
        assert_eq!(new(vec![lstm(), other]), expected);
    }
    assert!(matches!(new(vec![lstm(), last, lstm()]), Error::InvalidLayer { layer, .. } if layer == "2"));
    assert!(matches!(new(vec![]), Error::Empty { .. }));
    for (inputs, hidden) in [(0, 3), (3, 0), (0, 0)] {
        let error = new(vec![Box::new(Recurrent::new(inputs, hidden, Lstm::new()))]);
        assert!(matches!(error, Error::Parameter { what: "the width of a layer", .. }), "{error}");
    }
    // A layer of another crate with the description of one that runs in segments cannot.
    let all = Sequential::<f64>::input(3).layer(Recurrent::new(3, 3, Lstm::new())).dropout(0.5).tanh().last_step();
    let spec = all.build().unwrap().spec();
    let LayerSpec::Sequential { layers, .. } = &spec else { panic!() };
    for described in layers {
        let error = new(vec![lstm(), Box::new(Described(described.clone()))]);
        assert_eq!(error, Error::InvalidLayer { layer: "1".into(), rule: LayerRule::NotInSegments });
    }
    let none = Checkpointed::new(CheckpointInterval::Steps(0), vec![lstm()]).map(drop);
    assert!(matches!(none, Err(Error::Parameter { .. })));
}

#[cfg(feature = "serde")]
#[test]
fn checkpointed_layers_as_json_are_built_again() {
    let network = checkpointed::<f64>(CheckpointInterval::Steps(20), last_of_stack);
    let text = serde_json::to_string(&network.spec()).unwrap();
    let read: chainrule::layer::LayerSpec = serde_json::from_str(&text).unwrap();
    assert_eq!(read, network.spec());
    assert_eq!(read.build::<f32>().unwrap().spec(), network.spec());
    assert_eq!(read.widths(), (3, 5));
}
