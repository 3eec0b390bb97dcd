//! Nested layers: time is linear in depth, the default stack of a test thread is enough, and the depth has a limit.

#[cfg(feature = "safetensors")]
use chainrule::checkpoint::{Checkpoint, Values};
use chainrule::{
    BatchShape, Block, Blocks, Error, Layer, LayerRule, Mode, Role,
    activation::{Activation, Tanh},
    diagnosis::Diagnosis,
    initializer::{ByGate, Constant},
    layer::{
        ActivationLayer, Backward, BranchScale, Dims, Dropout, Forward, Hints, LastStep, LayerSpec, Linear, MAX_DEPTH,
        MemorySizes, Merge, Parallel, PartSizes, Residual, Sequential, Structure, initialize,
    },
    loss::{MeanSquaredError, Target},
    model::Model,
    monitor::GradientBudget,
    network::summary,
    recurrent::{Bidirectional, Reversed},
    theory::{
        Certificate, Hessian, InputStatistics, Prediction, SingleInput, lyapunov_spectrum, state_jacobian,
        unit_sensitivities,
    },
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
    workspace::Workspace,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The default stack size of a test thread.
const STACK: usize = 2 << 20;

type Whole = Box<dyn Layer<f32>>;

fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap();
}

/// The ways to nest a layer of width 2 in another.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Around {
    Sequential,
    Residual,
    Reversed,
    Parallel,
    Forward,
    Backward,
    Mixed,
}

const AROUND: [Around; 7] = [
    Around::Sequential,
    Around::Residual,
    Around::Reversed,
    Around::Parallel,
    Around::Forward,
    Around::Backward,
    Around::Mixed,
];

impl Around {
    /// Nests `layer` one level deeper, or two for a kind that adds two levels.
    fn put(self, level: usize, layer: Whole) -> Result<Whole, Error> {
        match self {
            Around::Sequential => {
                let mut network = Sequential::new(2);
                network.push_boxed(layer)?;
                Ok(Box::new(network))
            }
            Around::Residual => Ok(Box::new(Residual::new(layer)?.scale(BranchScale::Fixed(0.0))?)),
            Around::Reversed => Ok(Box::new(Reversed::new::<f32>(layer)?)),
            // Bidirectional outputs 4 values for two directions of width 2; `narrowed` adds a layer from 4 to 2.
            Around::Forward => narrowed(Bidirectional::new::<f32>(layer, Linear::new(2, 2))?),
            Around::Backward => narrowed(Bidirectional::new::<f32>(Linear::new(2, 2), layer)?),
            Around::Parallel => Ok(Box::new(Parallel::new(Merge::Sum, vec![layer, Box::new(Linear::new(2, 2))])?)),
            Around::Mixed => AROUND[level % 4].put(level, layer),
        }
    }

    fn levels(self) -> usize {
        if matches!(self, Around::Forward | Around::Backward) { 2 } else { 1 }
    }

    fn nest(self, levels: usize, innermost: Whole) -> Result<Whole, Error> {
        (0..levels / self.levels()).try_fold(innermost, |layer, level| self.put(level, layer))
    }
}

fn narrowed(layer: impl Layer<f32> + 'static) -> Result<Whole, Error> {
    let mut network = Sequential::new(2);
    network.push(layer)?;
    network.push(Linear::new(4, 2))?;
    Ok(Box::new(network))
}

/// A layer that counts the calls of its descriptive methods.
#[derive(Debug, Default)]
struct Asked([AtomicUsize; 5]);

impl Asked {
    fn counts(&self) -> [usize; 5] {
        self.0.each_ref().map(|count| count.swap(0, Relaxed))
    }

    fn ask(&self, question: usize) {
        self.0[question].fetch_add(1, Relaxed);
    }
}

impl Layer<f32> for Asked {
    fn dims(&self) -> Dims {
        self.ask(0);
        Dims::new(2, 2, 2)
    }
    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        self.ask(1);
        shape
    }
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        self.ask(2);
        MemorySizes::new(if mode.saves() { shape.rows() } else { 0 }, 0, 0)
    }
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        self.ask(3);
        visit(Block::new("gain", 0, [2, 1], Role::Gain));
    }
    fn hints(&self) -> Hints {
        self.ask(4);
        Hints::NONE
    }
    fn forward(&self, _w: &[f32], pass: Forward<'_, f32>) {
        pass.y.copy_from_slice(pass.x);
        pass.saved.fill(1.0);
    }
    fn backward(&self, _w: &[f32], pass: Backward<'_, f32>) {
        pass.dx.into_iter().for_each(|dx| dx.copy_from_slice(pass.dy));
    }
}

#[test]
fn innermost_layer_at_any_depth_is_queried_a_constant_number_of_times() {
    on_a_small_stack(|| {
        for around in AROUND {
            let counts = [1, 3, 30].map(|halves| {
                let leaf = Arc::new(Asked::default());
                let network = around.nest(4 * halves, Box::new(leaf.clone())).unwrap();
                let built = leaf.counts();
                let one = BatchShape::sequences(3, 2);
                network.dims();
                network.hints();
                network.reads_later_steps();
                network.samples();
                network.output_shape(one);
                network.memory(one, Mode::Train);
                Blocks::collect(|visit| network.blocks(visit));
                let asked = leaf.counts();
                let w = initialize(&*network, 1).unwrap();
                network.gain_bound(&w, one);
                Certificate::new(&*network, &w, one).unwrap();
                network.structure().link_names("");
                network.spec();
                summary(&*network);
                let walked = leaf.counts();
                drop(Workspace::new(network, one).unwrap());
                [built, asked, walked, leaf.counts()]
            });
            assert_eq!(counts[0], counts[1], "{around:?}");
            assert_eq!(counts[0], counts[2], "{around:?}");
            let [_, asked, ..] = counts[0];
            assert!(asked.iter().all(|&count| count <= 2), "{around:?}: {asked:?}");
        }
    });
}

#[test]
fn network_at_the_depth_limit_runs_on_a_default_stack() {
    on_a_small_stack(|| {
        for around in AROUND {
            let innermost = Box::new(ActivationLayer::new(2, Tanh));
            let network = around.nest(MAX_DEPTH - 1, innermost).unwrap();
            let described = network.spec();
            assert!(described.depth() >= MAX_DEPTH - 1, "{around:?}");
            assert!(described.clone() == described);
            assert_eq!(described.widths(), (2, 2));
            assert!(format!("{described:?} {described:#?} {network:?} {network:#?}").len() > 4 * MAX_DEPTH);
            let again = described.build::<f32>().unwrap();
            assert!(again.spec() == described && again.dims() == network.dims());
            // A `Reversed` has the path of its inner layer.
            let rows = summary(&*network).rows.len();
            assert!(rows >= if around == Around::Reversed { 1 } else { MAX_DEPTH / 2 }, "{around:?}: {rows}");
            let shape = BatchShape::sequences(3, 2);
            let w = initialize(&*network, 1).unwrap();
            Certificate::new(&*network, &w, shape).unwrap();
            Prediction::of_node(&described, InputStatistics::new(1.0).unwrap()).unwrap();
            let mut workspace = Workspace::new(&network, shape).unwrap();
            for threads in [1, 2] {
                workspace.set_threads(threads).unwrap();
                workspace.compute_input_gradient(true);
                let mut budget = GradientBudget::new();
                let output = workspace.forward_with(&w, &[0.5; 12], shape, Mode::Train, &mut budget).unwrap();
                output.dy.fill(1.0);
                workspace.backward_with(&w, &mut budget).unwrap();
                let mut copy = w.clone();
                workspace.forward(&w, &[0.5; 12], shape).unwrap().dy.fill(1.0);
                workspace.descend(&mut copy, 0.1).unwrap();
                workspace.infer(&w, &[0.5; 12], shape).unwrap();
            }
        }
    });
}

fn is_too_deep(error: &Error) -> bool {
    matches!(error, Error::InvalidLayer { rule: LayerRule::TooDeep { limit: MAX_DEPTH }, .. })
}

#[test]
fn constructor_beyond_the_depth_limit_returns_an_error() {
    on_a_small_stack(|| {
        for around in AROUND {
            let network = around.nest(100_000, Box::new(Linear::new(2, 2)));
            assert!(is_too_deep(&network.unwrap_err()), "{around:?}");
        }
        let deep = || Around::Residual.nest(MAX_DEPTH - 1, Box::new(Linear::new(2, 2))).unwrap();
        assert!(is_too_deep(&Sequential::new(2).push(deep()).unwrap_err()));
        assert!(is_too_deep(&Residual::new(deep()).unwrap_err()));
        assert!(is_too_deep(&Reversed::new::<f32>(deep()).unwrap_err()));
        assert!(is_too_deep(&Bidirectional::new::<f32>(deep(), Linear::new(2, 2)).unwrap_err()));
        assert!(is_too_deep(&Bidirectional::new::<f32>(Linear::new(2, 2), deep()).unwrap_err()));
        assert!(is_too_deep(&Sequential::input(2).layer(deep()).build().unwrap_err()));
        let error = Sequential::input(2).residual(|branch| branch.layer(deep())).build().unwrap_err();
        assert!(is_too_deep(&error) && error.to_string().contains("128"), "{error}");
    });
}

/// A custom layer with another inside. No constructor has checked its depth.
#[derive(Debug)]
struct Deep(Option<Box<Deep>>);

impl Deep {
    fn levels(levels: usize) -> Self {
        (1..levels).fold(Deep(None), |inner, _| Deep(Some(Box::new(inner))))
    }
}

impl Layer<f32> for Deep {
    fn dims(&self) -> Dims {
        Dims::new(2, 2, 0)
    }

    fn structure(&self) -> Structure<'_, f32> {
        match &self.0 {
            Some(inner) => Structure::chain().part("inner", &**inner),
            None => Structure::LEAF,
        }
    }

    fn forward(&self, w: &[f32], pass: Forward<'_, f32>) {
        match &self.0 {
            Some(inner) => inner.forward(w, pass),
            None => pass.y.copy_from_slice(pass.x),
        }
    }

    fn backward(&self, _w: &[f32], _pass: Backward<'_, f32>) {}
}

/// The depth of a user's own layers is checked from the top, before a call for each level overflows the stack.
#[test]
fn custom_layer_beyond_the_depth_limit_is_refused_from_the_top() {
    on_a_small_stack(|| {
        for levels in [MAX_DEPTH + 1, 10_000] {
            let (deep, shape) = (|| Deep::levels(levels), BatchShape::batch(1));
            let inputs = InputStatistics::new(1.0).unwrap();
            let loss = MeanSquaredError::new();
            let errors = [
                Sequential::new(2).push(deep()).unwrap_err(),
                Residual::new(deep()).unwrap_err(),
                Reversed::new::<f32>(deep()).unwrap_err(),
                Bidirectional::new::<f32>(deep(), Linear::new(2, 2)).unwrap_err(),
                Parallel::new(Merge::Sum, vec![Box::new(deep()) as Whole]).unwrap_err(),
                Workspace::new(deep(), shape).unwrap_err(),
                Trainer::new(deep(), loss, Sgd::new(0.1), TrainConfig::default()).unwrap_err(),
                initialize(&deep(), 1).unwrap_err(),
                Certificate::new(&deep(), &[], shape).unwrap_err(),
                SingleInput::of(&deep(), inputs, 3).unwrap_err(),
                Model::new(deep(), Vec::new()).unwrap_err(),
                Prediction::of(&deep(), inputs).unwrap_err(),
                Diagnosis::new(&deep(), inputs).map(drop).unwrap_err(),
                unit_sensitivities(&deep(), &[], &[]).map(drop).unwrap_err(),
                lyapunov_spectrum(&deep(), &[], &[0.0; 2], 0, 1).map(drop).unwrap_err(),
                state_jacobian(&deep(), &[], &[0.0; 2], &[]).map(drop).unwrap_err(),
                Hessian::new(&deep(), &[], &[0.0; 2], shape, &MeanSquaredError::new(), Target::Values(&[0.0; 2]))
                    .map(drop)
                    .unwrap_err(),
                #[cfg(feature = "safetensors")]
                Model::from_bytes_with(deep(), &[]).unwrap_err(),
                #[cfg(feature = "safetensors")]
                Checkpoint::<f32>::from_bytes(&deep(), &[], Values::Finite).unwrap_err(),
                #[cfg(feature = "safetensors")]
                Checkpoint::<f32>::new(Vec::new()).to_bytes(&deep()).unwrap_err(),
            ];
            // Functions without an error panic with the rule.
            let panics: [&dyn Fn(); 2] =
                [&|| drop(summary(&deep())), &|| _ = PartSizes::of(&deep() as &dyn Layer<f32>)];
            for panics in panics {
                let message = catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
                assert!(message.downcast_ref::<String>().unwrap().contains("128 deep"));
            }
            for (number, error) in errors.iter().enumerate() {
                assert!(is_too_deep(error), "{levels} levels, call {number}: {error}");
            }
        }
    });
}

#[cfg(feature = "safetensors")]
#[test]
fn model_at_the_depth_limit_is_read_from_its_own_bytes() {
    on_a_small_stack(|| {
        for around in AROUND {
            let network = around.nest(MAX_DEPTH - 1, Box::new(Linear::new(2, 2))).unwrap();
            let w = initialize(&*network, 1).unwrap();
            let bytes = Model::new(network, w).unwrap().to_bytes().unwrap();
            let read = Model::<f32>::from_bytes(&bytes).unwrap();
            assert_eq!(read.to_bytes().unwrap(), bytes, "{around:?}");
        }
    });
}

/// A layer spec of `levels` levels, built without constructors.
fn described(around: Around, levels: usize) -> LayerSpec {
    let leaf = || Layer::<f32>::spec(&LastStep::new(2));
    (1..levels).fold(leaf(), |node, level| match if around == Around::Mixed { AROUND[level % 6] } else { around } {
        Around::Sequential => LayerSpec::Sequential { input: 2, layers: vec![leaf(), node] },
        Around::Residual => LayerSpec::Residual { branch: Box::new(node), scale: BranchScale::Fixed(1.0) },
        Around::Reversed => LayerSpec::Reversed(Box::new(node)),
        Around::Parallel => LayerSpec::Parallel { branches: vec![leaf(), node], merge: Merge::Concatenate },
        Around::Forward => LayerSpec::Bidirectional { forward: Box::new(node), backward: Box::new(leaf()) },
        _ => LayerSpec::Bidirectional { forward: Box::new(leaf()), backward: Box::new(node) },
    })
}

/// The innermost part of a layer spec.
fn bottom(node: &mut LayerSpec) -> &mut LayerSpec {
    match node {
        LayerSpec::Sequential { layers, .. } | LayerSpec::Parallel { branches: layers, .. } => {
            bottom(layers.last_mut().unwrap())
        }
        LayerSpec::Residual { branch: part, .. } | LayerSpec::Reversed(part) => bottom(part),
        LayerSpec::Bidirectional { forward, backward } => {
            bottom(if backward.depth() == 1 { forward } else { backward })
        }
        leaf => leaf,
    }
}

#[test]
fn layer_spec_of_any_depth_can_be_cloned_compared_printed_and_dropped() {
    on_a_small_stack(|| {
        for around in AROUND {
            for levels in [1, 2, 1000, 100_000] {
                let node = described(around, levels);
                assert_eq!(node.depth(), levels);
                let mut copy = node.clone();
                assert!(copy == node, "{around:?}");
                let (input, output) = node.widths();
                assert!(input == 2 && output >= 2, "{around:?}");
                let printed = format!("{node:?}");
                match node.build::<f32>() {
                    Err(error) if levels > MAX_DEPTH => {
                        assert!(is_too_deep(&error) && printed.contains(&levels.to_string()), "{error}");
                        let prediction = Prediction::of_node(&node, InputStatistics::new(1.0).unwrap());
                        assert!(is_too_deep(&prediction.unwrap_err()));
                    }
                    _ => assert!(levels <= 2, "{around:?}"),
                }
                // A difference in the innermost part makes two specs unequal.
                if levels <= 1000 {
                    *bottom(&mut copy) = LayerSpec::Dropout(Dropout::new(2, 0.0).unwrap());
                }
                assert_eq!(copy == node, levels > 1000, "{around:?}");
            }
        }
    });
}

#[test]
fn sequential_appended_to_another_is_one_of_all_layers() {
    let [first, second] = [|| Sequential::<f32>::input(2).linear(3), || Sequential::<f32>::input(3).tanh().linear(1)];
    let mut network = first().build().unwrap();
    network.append(second().build().unwrap()).unwrap();
    assert_eq!(network.spec(), first().tanh().linear(1).build().unwrap().spec());
    // The first layer that does not fit ends it, and those before stay.
    let mut other = first().build().unwrap();
    let mut wrong = Sequential::new(3);
    wrong.push(ActivationLayer::new(3, Tanh)).unwrap();
    wrong.push(Linear::new(3, 2)).unwrap();
    other.append(wrong).unwrap();
    let refused = other.append(second().build().unwrap());
    assert!(matches!(refused, Err(Error::WidthMismatch { .. })), "{refused:?}");
    assert_eq!(other.width(), 2);
}

#[test]
fn by_gate_nested_in_by_gate_is_flattened() {
    on_a_small_stack(|| {
        let nested = (0..100_000).fold(ByGate::new(Constant(0.0)), |inner, i| {
            let name = ["input", "forget"][i % 2];
            ByGate::new(inner.clone()).gate(name, Constant(i as f64)).gate("output", inner)
        });
        let gates = [("input", 99_998.0), ("forget", 99_999.0), ("output", 0.0)];
        let expected = gates.into_iter().fold(ByGate::new(Constant(0.0)), |all, (name, x)| all.gate(name, Constant(x)));
        assert_eq!(format!("{nested:?}").len(), format!("{expected:?}").len());
        assert!(nested.clone() == nested);
    });
}

#[test]
fn layer_spec_prints_as_rust_source() {
    let node = described(Around::Mixed, 7);
    let text = "Sequential { input: 2, layers: [LastStep { width: 2 }, Bidirectional { forward: LastStep { width: 2 }, \
                backward: Bidirectional { forward: Parallel { branches: [LastStep { width: 2 }, \
                Reversed(Residual { branch: LastStep { width: 2 }, scale: Fixed(1.0) })], merge: Concatenate }, \
                backward: LastStep { width: 2 } } }] }";
    assert_eq!(format!("{node:?}"), text);
    let activation = LayerSpec::ActivationLayer { width: 3, activation: Tanh.kind() };
    assert_eq!(format!("{activation:?}"), "ActivationLayer { width: 3, activation: Tanh(Tanh) }");
}

#[cfg(feature = "serde")]
#[test]
fn layer_spec_saved_at_the_depth_limit_is_read_and_one_beyond_is_refused() {
    on_a_small_stack(|| {
        // 1.5 kB of JSON that no constructor has checked.
        let leaf = serde_json::to_string(&Layer::<f32>::spec(&Linear::new(2, 2))).unwrap();
        let text = (0..40).fold(leaf, |inner, _| format!(r#"{{"Sequential":{{"input":2,"layers":[{inner}]}}}}"#));
        let node: LayerSpec = serde_json::from_str(&text).unwrap();
        assert_eq!((node.depth(), node.widths()), (41, (2, 2)));
        let network = node.build::<f32>().unwrap();
        assert_eq!((network.dims().parameters, network.hints().ignores_x), (6, false));
        assert_eq!(serde_json::to_string(&network.spec()).unwrap(), text);
        for around in AROUND {
            let node = described(around, MAX_DEPTH);
            assert!(serde_json::to_string(&node).is_ok(), "{around:?}");
            let back: LayerSpec = serde_json::from_value(serde_json::to_value(&node).unwrap()).unwrap();
            assert!(back == node, "{around:?}");
            let error = serde_json::to_string(&described(around, MAX_DEPTH + 1)).unwrap_err().to_string();
            assert!(error.contains("128 deep"), "{error}");
            assert!(serde_json::to_string(&described(around, 100_000)).is_err(), "{around:?}");
        }
        // After a refused spec, the nesting counter is 0 again.
        assert!(serde_json::to_string(&described(Around::Mixed, MAX_DEPTH)).is_ok());
        let text = (0..1000).fold(String::from("1"), |inner, _| format!(r#"{{"Reversed":{inner}}}"#));
        assert!(serde_json::from_str::<LayerSpec>(&text).is_err());
    });
}
