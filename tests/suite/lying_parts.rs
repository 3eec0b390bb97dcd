//! Layers and cells whose answers break the contract are refused by name, wherever they are, before a pass or in it.

use chainrule::{
    BatchShape, Block, Error, Gate, Layer, LayerRule, Mode, Role,
    dataset::Dataset,
    layer::{Backward, Context, Dims, Forward, Linear, MemorySizes, Residual, Sequential, Structure, initialize},
    loss::{MeanSquaredError, Target},
    model::Model,
    network::summary,
    recurrent::{
        Bidirectional, Cell, CellBackward, CellForward, CellSizes, Lstm, Operand, Product, Recurrent, Reversed,
    },
    trainer::{TrainConfig, Trainer, Truncation},
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

/// The answer that a [`Liar`] gets wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    Overlap,
    Gap,
    ReversedRange,
    TooFew,
    TooMany,
    Shape,
    ShapeThatWraps,
    ShapeOfLater,
    NameTwice,
    NoName,
    Gates,
    NoPlace,
    PlaceTwice,
    ShapeUnsorted,
    ShapeWithoutSteps,
    ShapeTorn,
    ShapeOfAnotherBatch,
    MemoryShrinks,
    SavedByInference,
    CarriedByStep,
    DimsChange,
    WidthChanges,
    BlocksChange,
    PlacesChange,
    ShapeChanges,
    NeedsChange,
}

const LIES: [Lie; 26] = [
    Lie::Overlap,
    Lie::Gap,
    Lie::ReversedRange,
    Lie::TooFew,
    Lie::TooMany,
    Lie::Shape,
    Lie::ShapeThatWraps,
    Lie::ShapeOfLater,
    Lie::NameTwice,
    Lie::NoName,
    Lie::Gates,
    Lie::NoPlace,
    Lie::PlaceTwice,
    Lie::ShapeUnsorted,
    Lie::ShapeWithoutSteps,
    Lie::ShapeTorn,
    Lie::ShapeOfAnotherBatch,
    Lie::MemoryShrinks,
    Lie::SavedByInference,
    Lie::CarriedByStep,
    Lie::DimsChange,
    Lie::WidthChanges,
    Lie::BlocksChange,
    Lie::PlacesChange,
    Lie::ShapeChanges,
    Lie::NeedsChange,
];

/// The rule that a lie breaks.
fn breaks(lie: Lie, rule: &LayerRule) -> bool {
    use LayerRule::*;
    match lie {
        Lie::Overlap | Lie::Gap => matches!(rule, BlockStart { .. }),
        Lie::ReversedRange => matches!(rule, LayerRule::ReversedRange { start: 2, end: 1, .. }),
        Lie::TooFew | Lie::TooMany => matches!(rule, BlockTotal { expected: 6, .. }),
        Lie::Shape | Lie::ShapeThatWraps => matches!(rule, BlockShape { parameters: 4, .. }),
        Lie::ShapeOfLater => matches!(rule, BlockShape { rows: 3, columns: 1, parameters: 2, .. }),
        Lie::NameTwice | Lie::PlaceTwice => matches!(rule, LayerRule::NameTwice { .. }),
        Lie::NoName => matches!(rule, LayerRule::NoName { .. }),
        Lie::Gates => matches!(rule, GateRows { rows: 2, gates: 3, .. }),
        Lie::NoPlace => matches!(rule, NoLink),
        Lie::ShapeUnsorted | Lie::ShapeWithoutSteps | Lie::ShapeTorn => matches!(rule, InvalidOutputShape { .. }),
        Lie::ShapeOfAnotherBatch => matches!(rule, BatchChanged { .. }),
        Lie::MemoryShrinks => matches!(rule, LayerRule::MemoryShrinks { .. }),
        Lie::SavedByInference => matches!(rule, InferenceSaves { .. }),
        Lie::CarriedByStep => matches!(rule, StateVaries { .. }),
        _ => matches!(rule, Changed { .. }),
    }
}

/// `y = x`, two values wide, with six parameters it does not use; it saves x and lies once `lie_at` calls were
/// answered.
#[derive(Debug)]
struct Liar {
    lie: Lie,
    calls: AtomicUsize,
    lie_at: AtomicUsize,
}

impl Liar {
    fn new(lie: Lie) -> Self {
        Liar { lie, calls: AtomicUsize::new(0), lie_at: AtomicUsize::new(0) }
    }

    /// One that is honest until it is told to lie.
    fn later(lie: Lie) -> Arc<Self> {
        Arc::new(Liar { lie, calls: AtomicUsize::new(0), lie_at: AtomicUsize::new(usize::MAX) })
    }

    fn lie_from_now(&self) {
        self.lie_at.store(0, Relaxed);
    }

    fn is(&self, lie: Lie) -> bool {
        self.lie == lie && self.calls.load(Relaxed) >= self.lie_at.load(Relaxed)
    }

    /// True at every other call.
    fn wavers(&self, lie: Lie) -> bool {
        self.lie == lie && self.calls.fetch_add(1, Relaxed) % 2 == 1 && self.is(lie)
    }
}

impl Layer<f32> for Liar {
    fn dims(&self) -> Dims {
        let more = usize::from(self.wavers(Lie::DimsChange));
        Dims::new(2, 2 + usize::from(self.wavers(Lie::WidthChanges)), 6 + more)
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        let mut after = shape;
        if self.is(Lie::ShapeUnsorted) && shape.batch > 1 {
            after = BatchShape::ragged(&[1, 2]);
        }
        if self.is(Lie::ShapeWithoutSteps) {
            after = BatchShape::sequences(shape.batch, 0);
        }
        if self.is(Lie::ShapeTorn) {
            after = BatchShape::ragged(&[2, 1]);
            after.batch = shape.batch + 2;
        }
        if self.is(Lie::ShapeOfAnotherBatch) {
            after = BatchShape::sequences(shape.batch + 1, shape.steps);
        }
        if self.wavers(Lie::ShapeChanges) {
            after = BatchShape::sequences(shape.batch, shape.steps + 1);
        }
        after
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let mut memory = MemorySizes::new(if mode.saves() { 2 * shape.rows() } else { 0 }, 3 * shape.rows(), 1);
        if self.is(Lie::MemoryShrinks) {
            memory.scratch = 1000 / shape.rows();
        }
        if self.is(Lie::SavedByInference) {
            memory.saved = 2 * shape.rows();
        }
        if self.is(Lie::CarriedByStep) {
            memory.state = shape.steps;
        }
        if self.wavers(Lie::NeedsChange) {
            memory.saved += 2;
        }
        memory
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        let mut weight = Block::new("weight", 0, [2, 2], Role::Weight);
        let mut bias = Block::new("bias", 4, [2, 1], Role::Bias);
        match self.lie {
            lie if !self.is(lie) => {}
            Lie::Overlap => bias.range = 3..5,
            Lie::Gap => bias.range = 5..7,
            #[allow(clippy::reversed_empty_ranges)]
            Lie::ReversedRange => weight.range = 2..1,
            Lie::TooFew => bias = Block::new("bias", 4, [1, 1], Role::Bias),
            Lie::TooMany => bias = Block::new("bias", 4, [3, 1], Role::Bias),
            Lie::Shape => weight.shape = [2, 3],
            Lie::ShapeThatWraps => weight.shape = [usize::MAX / 2 + 3, 2],
            Lie::ShapeOfLater => bias.shape = [3, 1],
            Lie::NameTwice => bias = Block::new("weight", 4, [2, 1], Role::Bias),
            Lie::NoName => bias = Block::new("", 4, [2, 1], Role::Bias),
            Lie::Gates => weight = weight.gates(const { &[Gate::new("a"), Gate::new("b"), Gate::new("c")] }),
            _ => {}
        }
        if self.wavers(Lie::BlocksChange) {
            bias = Block::new("other", 4, [2, 1], Role::Bias);
        }
        visit(weight);
        visit(bias);
    }

    fn structure(&self) -> Structure<'_, f32> {
        let links: &[&str] = match () {
            () if self.is(Lie::NoPlace) => &[],
            () if self.is(Lie::PlaceTwice) => &["", ""],
            () if self.wavers(Lie::PlacesChange) => &["", "other"],
            () => &[""],
        };
        Structure::LEAF.links(links)
    }

    fn forward(&self, _w: &[f32], pass: Forward<'_, f32>) {
        pass.y.copy_from_slice(pass.x);
        pass.state.final_state.fill(0.0);
        let saved = pass.saved.len().min(pass.x.len());
        pass.saved[..saved].copy_from_slice(&pass.x[..saved]);
    }

    fn backward(&self, _w: &[f32], pass: Backward<'_, f32>) {
        if let Some(dx) = pass.dx {
            dx.copy_from_slice(pass.dy);
        }
    }
}

type Whole = Box<dyn Layer<f32>>;

/// Where a layer of width 2 can be, with its path there when the network is put together, and in the whole network.
fn places(part: &dyn Fn() -> Whole) -> Vec<(&'static str, &'static str, Result<Whole, Error>)> {
    let sequential = || {
        let mut network = Sequential::<f32>::new(2);
        network.push(Linear::new(2, 2))?;
        network.push_boxed(part())?;
        network.push(Linear::new(2, 2))?;
        Ok(Box::new(network) as Whole)
    };
    let built = Sequential::<f32>::input(2).linear(2).residual(|branch| branch.layer(part()).linear(2)).build();
    let lstm = || Recurrent::new(2, 3, Lstm::new());
    vec![
        ("network", "network", Ok(part())),
        ("1", "1", sequential()),
        ("branch", "branch", Residual::new(part()).map(|layer| Box::new(layer) as Whole)),
        ("1.branch.0", "1.branch.0", built.map(|layer| Box::new(layer) as Whole)),
        ("forward", "forward", Bidirectional::new::<f32>(part(), lstm()).map(|layer| Box::new(layer) as Whole)),
        ("backward", "backward", Bidirectional::new::<f32>(lstm(), part()).map(|layer| Box::new(layer) as Whole)),
        ("network", "network", Reversed::new::<f32>(part()).map(|layer| Box::new(layer) as Whole)),
    ]
}

#[test]
fn layer_that_lies_is_refused_by_name_wherever_it_is() {
    for lie in LIES {
        for (path, _, network) in places(&|| Box::new(Liar::new(lie))) {
            let error =
                network.and_then(|network| Workspace::new(network, BatchShape::sequences(4, 3)).map(|_| ())).err();
            let Some(Error::InvalidLayer { layer, rule }) = &error else { panic!("{lie:?} at {path}: {error:?}") };
            assert!(layer == path && breaks(lie, rule), "{lie:?} at {path}: {error:?}");
            assert!(error.unwrap().to_string().contains("must"), "{lie:?}");
        }
    }
}

#[test]
fn layer_that_lies_when_the_workspace_is_made_is_refused_by_name() {
    for lie in LIES {
        let liars = std::cell::RefCell::new(Vec::new());
        let part = || -> Whole {
            liars.borrow_mut().push(Liar::later(lie));
            Box::new(liars.borrow().last().unwrap().clone())
        };
        for (_, path, network) in places(&part) {
            let network = network.unwrap();
            liars.borrow().iter().for_each(|liar| liar.lie_from_now());
            let error = Workspace::new(network, BatchShape::sequences(4, 3)).err();
            // A rule is as broken by the other answer as by its being another.
            let Some(Error::InvalidLayer { layer, .. }) = &error else { panic!("{lie:?} at {path}: {error:?}") };
            assert_eq!(layer, path, "{lie:?}");
        }
    }
}

/// Runs `pass` and returns its message, if it panics.
fn message<R>(pass: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(pass)).map_err(|payload| match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast::<&str>().map_or_else(|_| "?".into(), |message| message.to_string()),
    })
}

#[test]
fn layer_that_lies_in_a_pass_gives_right_numbers_an_error_or_a_panic_with_the_law() {
    for threads in [1, 4] {
        for lie in LIES {
            let liars = std::cell::RefCell::new(Vec::new());
            let part = || -> Whole {
                liars.borrow_mut().push(Liar::later(lie));
                Box::new(liars.borrow().last().unwrap().clone())
            };
            for (_, path, network) in places(&part) {
                let network = network.unwrap();
                liars.borrow().iter().for_each(|liar| liar.lie_at.store(usize::MAX, Relaxed));
                let w = initialize(&*network, 3).unwrap();
                let shape = BatchShape::sequences(4, 3);
                let mut workspace = Workspace::new(network, shape).unwrap();
                workspace.set_threads(threads).unwrap();
                let x: Vec<f32> = (0..24).map(|i| (i as f32).sin()).collect();
                let mut run = |shape: BatchShape<'_>| -> Result<[Vec<f32>; 2], Error> {
                    let output = workspace.forward(&w, &x[..2 * shape.rows()], shape)?;
                    output.dy.fill(1.0);
                    let y = output.y.to_vec();
                    Ok([y, workspace.backward(&w)?.to_vec()])
                };
                for shape in [shape, BatchShape::sequences(3, 2), BatchShape::ragged(&[3, 1])] {
                    liars.borrow().iter().for_each(|liar| liar.lie_at.store(usize::MAX, Relaxed));
                    let right = run(shape).unwrap();
                    liars.borrow().iter().for_each(|liar| liar.lie_from_now());
                    match message(|| run(shape)) {
                        Ok(Ok(found)) => assert_eq!(found, right, "{lie:?} at {path}, {threads} threads"),
                        Ok(Err(error)) => {
                            assert!(matches!(error, Error::InvalidLayer { .. }), "{lie:?} at {path}: {error:?}")
                        }
                        Err(message) => assert!(message.contains("must"), "{lie:?} at {path}: {message}"),
                    }
                }
            }
        }
    }
}

/// The answer that a [`Fraud`] gets wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    NoGates,
    GateTwice,
    GateWithoutName,
    ReversedGates,
    NoGatesOfAProduct,
    GatesBeyond,
    SeparateOutOfOrder,
    SeparateWithGap,
    OwnAtStart,
    StageLeftOut,
    StageHuge,
    Memory,
    Held,
    GatesChange,
    ProductsChange,
    MemoryChanges,
}

const FAULTS: [Fault; 16] = [
    Fault::NoGates,
    Fault::GateTwice,
    Fault::GateWithoutName,
    Fault::ReversedGates,
    Fault::NoGatesOfAProduct,
    Fault::GatesBeyond,
    Fault::SeparateOutOfOrder,
    Fault::SeparateWithGap,
    Fault::OwnAtStart,
    Fault::StageLeftOut,
    Fault::StageHuge,
    Fault::Memory,
    Fault::Held,
    Fault::GatesChange,
    Fault::ProductsChange,
    Fault::MemoryChanges,
];

fn violates(fault: Fault, rule: &LayerRule) -> bool {
    use LayerRule::*;
    match fault {
        Fault::NoGates => matches!(rule, LayerRule::NoGates),
        Fault::GateTwice => matches!(rule, NameTwice { what: "gate", .. }),
        Fault::GateWithoutName => matches!(rule, NoName { what: "gate" }),
        Fault::ReversedGates => matches!(rule, ProductGates { product: 0, start: 2, end: 1, .. }),
        Fault::NoGatesOfAProduct | Fault::GatesBeyond => matches!(rule, ProductGates { .. }),
        Fault::SeparateOutOfOrder => matches!(rule, SeparateGates { product: 1, expected: 3, found: 1 }),
        Fault::SeparateWithGap => matches!(rule, SeparateGates { product: 1, expected: 1, found: 2 }),
        Fault::OwnAtStart => matches!(rule, StageOutputAtStart { product: 0 }),
        Fault::StageLeftOut | Fault::StageHuge => matches!(rule, StageWithoutProduct { stage: 1 }),
        Fault::Memory | Fault::Held => matches!(rule, CellSize { .. }),
        _ => matches!(rule, Changed { .. }),
    }
}

/// A cell of three gates whose answers break a rule.
#[derive(Clone, Debug)]
struct Fraud(Fault, Arc<AtomicUsize>);

impl Fraud {
    fn wavers(&self, fault: Fault) -> bool {
        self.0 == fault && self.1.fetch_add(1, Relaxed) % 2 == 1
    }
}

fn product(first: usize, end: usize, stage: usize, operand: Operand, keep_separate: bool) -> Product {
    Product { gates: first..end, stage, operand, keep_separate }
}

impl Cell for Fraud {
    fn gates(&self) -> &'static [Gate] {
        match self.0 {
            Fault::NoGates => &[],
            Fault::GateTwice => const { &[Gate::new("a"), Gate::new("b"), Gate::new("a")] },
            Fault::GateWithoutName => const { &[Gate::new("a"), Gate::new(""), Gate::new("c")] },
            Fault::GatesChange if self.wavers(Fault::GatesChange) => const { &[Gate::new("a"), Gate::new("b")] },
            _ => const { &[Gate::new("a"), Gate::new("b"), Gate::new("c")] },
        }
    }

    fn products(&self) -> Vec<Product> {
        use Operand::{Hidden, StageOutput};
        match self.0 {
            Fault::ReversedGates => vec![product(2, 1, 0, Hidden, false)],
            Fault::NoGatesOfAProduct => vec![product(1, 1, 0, Hidden, false)],
            Fault::GatesBeyond => vec![product(0, 4, 0, Hidden, false)],
            Fault::SeparateOutOfOrder => {
                vec![product(2, 3, 0, Hidden, true), product(1, 2, 0, Hidden, true)]
            }
            Fault::SeparateWithGap => {
                vec![product(0, 1, 0, Hidden, true), product(2, 3, 0, Hidden, true)]
            }
            Fault::OwnAtStart => vec![product(0, 3, 0, StageOutput, false)],
            Fault::StageLeftOut => {
                vec![product(0, 2, 0, Hidden, false), product(2, 3, 2, StageOutput, false)]
            }
            Fault::StageHuge => vec![product(0, 3, usize::MAX - 1, StageOutput, false)],
            Fault::ProductsChange if self.wavers(Fault::ProductsChange) => vec![],
            _ => vec![product(0, 3, 0, Hidden, false)],
        }
    }

    fn sizes(&self) -> CellSizes {
        let changes = usize::from(self.wavers(Fault::MemoryChanges));
        CellSizes {
            cell_state: if self.0 == Fault::Memory { usize::MAX } else { changes },
            between_stages: if self.0 == Fault::Held { usize::MAX / 2 } else { 0 },
        }
    }

    fn forward<T: chainrule::Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        unit.h.copy_from_slice(&unit.z[..unit.h_prev.len()]);
    }

    fn backward<T: chainrule::Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        unit.z.fill(T::zero());
    }
}

#[test]
fn cell_that_breaks_a_rule_is_refused_by_name_and_its_layer_describes_itself_before() {
    for fault in FAULTS {
        let layer = || Recurrent::new(2, 2, Fraud(fault, Arc::default()));
        let alone = layer();
        assert_eq!(Layer::<f32>::dims(&alone).input, 2, "{fault:?}");
        assert_eq!(Layer::<f32>::spec(&alone), Layer::<f32>::spec(&alone), "{fault:?}");
        for mode in [Mode::Train, Mode::Infer] {
            assert!(Layer::<f32>::memory(&alone, BatchShape::sequences(3, 4), mode).scratch < 1000, "{fault:?}");
        }
        let w = initialize::<f32>(&alone, 1).unwrap();
        assert_eq!(summary::<f32>(&alone).parameters, w.len(), "{fault:?}");
        for (path, _, network) in places(&|| Box::new(layer())) {
            let error =
                network.and_then(|network| Workspace::new(network, BatchShape::sequences(4, 3)).map(|_| ())).err();
            let Some(Error::InvalidLayer { layer, rule }) = &error else { panic!("{fault:?} at {path}: {error:?}") };
            assert!(layer == path && violates(fault, rule), "{fault:?} at {path}: {error:?}");
        }
        let (mut y, mut end, mut scratch) = ([0.0; 2], [0.0; 2], [0.0f32; 1000]);
        let (mut saved, mut silent) = ([0.0f32; 0], ());
        let ctx = Context::new(BatchShape::batch(1), Mode::Infer, &mut silent);
        let mut pass = Forward::new(&[0.0; 2], &mut y, &mut saved, &mut scratch, ctx);
        pass.state.final_state = &mut end;
        let message = message(|| alone.forward(&w, pass)).unwrap_err();
        assert!(message.contains("must"), "{fault:?}: {message}");
    }
}

/// Hands the recurrent layer inside a pass that breaks the contract, as a layer of layers may by mistake.
#[derive(Debug)]
struct Careless {
    inner: Recurrent<Lstm>,
    wrong: Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Lengths,
    Carried,
    Saved,
    Input,
    Output,
}

impl Layer<f32> for Careless {
    fn dims(&self) -> Dims {
        Layer::<f32>::dims(&self.inner)
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let memory = Layer::<f32>::memory(&self.inner, shape, mode);
        MemorySizes::new(memory.saved, memory.scratch, memory.state)
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        Layer::<f32>::blocks(&self.inner, visit);
    }

    fn forward(&self, w: &[f32], mut pass: Forward<'_, f32>) {
        const UNSORTED: [usize; 45] = {
            let mut lengths = [1; 45];
            lengths[0] = 12;
            let mut i = 13;
            while i < 45 {
                lengths[i] = 12;
                i += 1;
            }
            lengths
        };
        match self.wrong {
            Wrong::Lengths => pass.ctx.shape = BatchShape::ragged(&UNSORTED),
            Wrong::Carried => pass.state.final_state = &mut pass.state.final_state[1..],
            Wrong::Saved => pass.saved = &mut pass.saved[1..],
            Wrong::Input => pass.x = &pass.x[1..],
            Wrong::Output => pass.y = &mut pass.y[1..],
        }
        self.inner.forward(w, pass);
    }

    fn backward(&self, w: &[f32], pass: Backward<'_, f32>) {
        self.inner.backward(w, pass);
    }
}

#[test]
fn pass_with_slices_or_lengths_against_the_contract_panics_with_the_law() {
    for threads in [1, 4] {
        for wrong in [Wrong::Lengths, Wrong::Carried, Wrong::Saved, Wrong::Input, Wrong::Output] {
            let network = Careless { inner: Recurrent::new(8, 16, Lstm::new()), wrong };
            let w = initialize(&network, 1).unwrap();
            let shape = BatchShape::sequences(45, 12);
            let mut workspace = Workspace::new(&network, shape).unwrap();
            workspace.set_threads(threads).unwrap();
            let message = message(|| workspace.forward(&w, &vec![0.5; 45 * 12 * 8], shape).map(|_| ())).unwrap_err();
            assert!(message.contains("must"), "{wrong:?}: {message}");
        }
    }
}

/// Found by this test: a shape of more samples passed for more memory than the workspace has.
#[test]
fn smaller_pass_that_needs_more_than_the_workspace_has_is_an_error() {
    #[derive(Debug)]
    struct Odd;
    impl Layer<f32> for Odd {
        fn dims(&self) -> Dims {
            Dims::new(1, 1, 0)
        }
        fn memory(&self, shape: BatchShape<'_>, _mode: Mode) -> MemorySizes {
            MemorySizes::new(0, if shape.batch == 3 { 100 } else { 1 }, 0)
        }
        fn forward(&self, _w: &[f32], pass: Forward<'_, f32>) {
            pass.y.copy_from_slice(pass.x);
        }
        fn backward(&self, _w: &[f32], _pass: Backward<'_, f32>) {}
    }
    let mut workspace = Workspace::new(Odd, BatchShape::batch(8)).unwrap();
    assert!(workspace.forward(&[], &[0.0; 2], BatchShape::batch(2)).is_ok());
    let error = workspace.forward(&[], &[0.0; 3], BatchShape::batch(3)).err();
    let expected = LayerRule::MemoryShrinks { what: "scratch", smaller: 100, larger: 1 };
    assert_eq!(error, Some(Error::InvalidLayer { layer: "network".into(), rule: expected }));
    assert!(workspace.infer(&[], &[0.0; 3], BatchShape::batch(3)).is_err());
}

/// A layer that has no answer for its own sizes.
#[derive(Debug)]
struct Speechless(Dims);

impl Layer<f32> for Speechless {
    fn dims(&self) -> Dims {
        self.0
    }
    fn blocks(&self, _visit: &mut dyn FnMut(Block<'_>)) {
        panic!("no blocks for {:?}", self.0);
    }
    fn memory(&self, _shape: BatchShape<'_>, _mode: Mode) -> MemorySizes {
        panic!("no memory for {:?}", self.0);
    }
    fn forward(&self, _w: &[f32], _pass: Forward<'_, f32>) {}
    fn backward(&self, _w: &[f32], _pass: Backward<'_, f32>) {}
}

#[test]
fn layer_of_impossible_sizes_is_refused_before_it_is_asked_for_more() {
    for dims in [(0, 2, 0), (2, 0, 0), (0, 0, 0), (2, 2, usize::MAX), (usize::MAX, 2, 0), (2, usize::MAX, 0)] {
        let layer = || Speechless(Dims::new(dims.0, dims.1, dims.2));
        assert!(Workspace::new(layer(), BatchShape::batch(1)).is_err(), "{dims:?}");
        let mut network = Sequential::<f32>::new(dims.0);
        assert!(network.push(layer()).is_err(), "{dims:?}");
    }
}

/// The first steps of each sequence: as many of all steps as the function says. A ragged batch has those of its
/// shortest sample.
#[derive(Debug)]
struct First(fn(usize) -> usize);

impl Layer<f32> for First {
    fn dims(&self) -> Dims {
        Dims::new(2, 2, 0)
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        let shortest = shape.lengths.and_then(|lengths| lengths.last().copied()).unwrap_or(shape.steps);
        BatchShape::sequences(shape.batch, (self.0)(shortest))
    }

    fn forward(&self, _w: &[f32], pass: Forward<'_, f32>) {
        pass.y.copy_from_slice(&pass.x[..pass.y.len()]);
    }

    fn backward(&self, _w: &[f32], pass: Backward<'_, f32>) {
        let Some(dx) = pass.dx else { return };
        dx.fill(0.0);
        dx[..pass.dy.len()].copy_from_slice(pass.dy);
    }
}

/// Data has one target for each step or one for the sample, so no trainer and no model pairs other rows with data. A
/// workspace runs them.
#[test]
fn output_of_neither_all_steps_nor_one_runs_in_a_workspace_alone() {
    let network = |steps: fn(usize) -> usize| -> Result<Sequential<f32>, Error> {
        Sequential::input(2).tanh().layer(First(steps)).linear(1).build()
    };
    let (x, y): (Vec<f32>, Vec<f32>) = ((0..24).map(|i| i as f32 / 24.0).collect(), vec![0.5; 12]);
    let data = Dataset::sequences(2, 4, &x, Target::Values(&y)).unwrap();
    let trainer = |network| Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default());
    let is_refused = |error: Error| {
        let Error::InvalidLayer { layer, rule: LayerRule::OutputSteps { .. } } = &error else { panic!("{error}") };
        assert_eq!(layer, "1");
        assert!(error.to_string().contains("Workspace"), "{error}");
    };
    let shorter: [fn(usize) -> usize; 4] =
        [|steps| steps.div_ceil(2), |steps| steps.min(2), |steps| steps.min(500), |steps| (steps / 2).max(1)];
    for steps in shorter {
        is_refused(trainer(network(steps).unwrap()).unwrap_err());
        let w = initialize(&network(steps).unwrap(), 1).unwrap();
        is_refused(Model::new(network(steps).unwrap(), w.clone()).unwrap_err());
        // A workspace that replaces that of a trainer.
        let mut other = trainer(Sequential::input(2).tanh().tanh().linear(1).build().unwrap()).unwrap();
        *other.workspace_mut() = Workspace::new(network(steps).unwrap(), BatchShape::sequences(3, 4)).unwrap();
        is_refused(other.predict(&data).unwrap_err());
        is_refused(other.fit(&data).unwrap_err());
        // By hand.
        let shape = BatchShape::sequences(3, 4);
        let mut workspace = Workspace::new(network(steps).unwrap(), shape).unwrap();
        let output = workspace.forward(&w, &x, shape).unwrap();
        assert_eq!((output.shape.steps, output.y.len()), (steps(4), 3 * steps(4)));
        output.dy.fill(1.0);
        assert_eq!(workspace.backward(&w).unwrap()[2], 3.0 * steps(4) as f32);
        // One step of these steps is one row for the sample.
        let last = Sequential::input(2).layer(First(steps)).last_step().linear(1).build().unwrap();
        assert!(trainer(last).is_ok());
    }
    // All steps, but not those of the longer samples of a ragged batch; and one step.
    is_refused(trainer(network(|steps| steps).unwrap()).unwrap_err());
    assert!(trainer(network(|_| 1).unwrap()).is_ok());
}

/// The rows of the steps that no check asked for are counted in the pass.
#[test]
fn output_of_other_steps_in_long_sequences_is_refused_in_the_pass() {
    #[derive(Debug)]
    struct Long;
    impl Layer<f32> for Long {
        fn dims(&self) -> Dims {
            Dims::new(1, 1, 0)
        }
        fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
            if shape.steps > 1200 { BatchShape::sequences(shape.batch, 1200) } else { shape }
        }
        fn forward(&self, _w: &[f32], pass: Forward<'_, f32>) {
            pass.y.copy_from_slice(&pass.x[..pass.y.len()]);
        }
        fn backward(&self, _w: &[f32], _pass: Backward<'_, f32>) {}
    }
    let model = Model::new(Long, Vec::new()).unwrap();
    for (samples, steps) in [(1, 2000), (2, 2000), (2, 1200)] {
        let x = vec![0.5; samples * steps];
        let y = model.predict(&Dataset::sequences(1, steps, &x, None).unwrap());
        match y {
            Ok(y) => assert!(steps <= 1200 && y == x),
            Err(Error::InvalidLayer { rule: LayerRule::OutputSteps { steps: found, .. }, .. }) => {
                assert!(steps > 1200 && found == steps);
            }
            Err(error) => panic!("{error}"),
        }
    }
    // In windows of 1,500 steps, and in training: no rows are misplaced, and no target is called wrong.
    let x = vec![0.5; 2000];
    let data = Dataset::sequences(1, 2000, &x, Target::Values(&x)).unwrap();
    let settings = TrainConfig { truncation: Some(Truncation::new(1500)), ..TrainConfig::default() };
    let trainer = |settings| Trainer::new(Long, MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
    let error = trainer(settings).predict(&data).unwrap_err();
    assert!(matches!(error, Error::InvalidLayer { rule: LayerRule::OutputSteps { .. }, .. }), "{error}");
    let error = trainer(TrainConfig::default()).fit(&data).unwrap_err();
    assert!(!error.to_string().contains("target value a step"), "{error}");
}
