//! Passes called by hand: each layer of the crate names the slice whose length breaks the contract, and the shape that
//! is none of a pass.

use chainrule::{
    BatchShape, Gate, Layer, Mode, Scalar,
    activation::{Sigmoid, Tanh},
    initializer::Constant,
    layer::{
        ActivationLayer, Backward, BatchNorm, BranchScale, Context, Dropout, Embedding, Forward, GatedLinear,
        GroupNorm, LastStep, LayerNorm, Linear, LogSoftmax, MeanOverSteps, Merge, PRelu, Parallel, Residual, RmsNorm,
        Sequential, Softmax, initialize,
    },
    random::generator,
    recurrent::{
        Bidirectional, Cell, CellBackward, CellForward, CellSizes, CheckpointInterval, Checkpointed, Elman, Gru,
        GruVariant, Lstm, Mgu, Operand, Product, Recurrent, Reversed,
    },
};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

type Whole = Box<dyn Layer<f64>>;

/// Layers from `width` values, each by the name that its messages have: every kind of the crate.
fn layers(width: usize) -> Vec<(&'static str, Whole)> {
    let recurrent = || Recurrent::new(width, 4, Lstm::new());
    let chain = |builder: chainrule::network::Builder<f64>| Box::new(builder.build().unwrap());
    let residual = |scale| Residual::new(Linear::new(width, width)).unwrap().scale(scale).unwrap();
    vec![
        ("Linear", Box::new(Linear::new(width, 4))),
        ("Linear", Box::new(Linear::new(width, 4).without_bias())),
        ("ActivationLayer", Box::new(ActivationLayer::new(width, Tanh))),
        ("PRelu", Box::new(PRelu::new(width))),
        ("PRelu", Box::new(PRelu::new(width).per_unit())),
        ("LayerNorm", Box::new(LayerNorm::new(width))),
        ("LayerNorm", Box::new(LayerNorm::new(width).without_affine())),
        ("RmsNorm", Box::new(RmsNorm::new(width))),
        ("GroupNorm", Box::new(GroupNorm::new(width, width).unwrap())),
        ("Embedding", Box::new(Embedding::new(2, 3).columns(width))),
        ("BatchNorm", Box::new(BatchNorm::new(width))),
        ("BatchNorm", Box::new(BatchNorm::new(width).without_affine())),
        ("Dropout", Box::new(Dropout::new(width, 0.5).unwrap())),
        ("LastStep", Box::new(LastStep::new(width))),
        ("MeanOverSteps", Box::new(MeanOverSteps::new(width))),
        ("GatedLinear", Box::new(GatedLinear::new(width, 4, Sigmoid))),
        ("Softmax", Box::new(Softmax::new(width))),
        ("LogSoftmax", Box::new(LogSoftmax::new(width))),
        ("Recurrent", Box::new(Recurrent::new(width, 4, Elman::new(Tanh)))),
        ("Recurrent", Box::new(Recurrent::new(width, 4, Gru::new()))),
        ("Recurrent", Box::new(recurrent())),
        ("Reversed", Box::new(Reversed::new::<f64>(recurrent()).unwrap())),
        (
            "Checkpointed",
            Box::new(Checkpointed::new(CheckpointInterval::SquareRoot, vec![Box::new(recurrent())]).unwrap()),
        ),
        ("Bidirectional", Box::new(Bidirectional::new::<f64>(recurrent(), LayerNorm::new(width)).unwrap())),
        ("Residual", Box::new(residual(BranchScale::Fixed(1.0)))),
        ("Residual", Box::new(residual(BranchScale::Learned(0.5)))),
        (
            "Sequential",
            chain(
                Sequential::input(width).parallel(Merge::Sum, |all| all.branch(|b| b.linear(4)).branch(|b| b.lstm(4))),
            ),
        ),
        (
            "Parallel",
            Box::new(
                Parallel::new(Merge::Concatenate, vec![Box::new(Linear::new(width, 2)), Box::new(PRelu::new(width))])
                    .unwrap(),
            ),
        ),
        ("Sequential", Box::new(Sequential::new(width))),
        ("Sequential", chain(Sequential::input(width).linear(4).relu().lstm(3).last_step().layer_norm())),
        ("Sequential", chain(Sequential::input(width).residual(|branch| branch.linear(4).tanh().linear(width)))),
    ]
}

#[test]
fn table_has_each_layer_that_can_be_described() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/layer/spec.rs")).unwrap();
    let (_, variants) = text.split_once("pub enum LayerSpec {").expect("the enum");
    let (variants, _) = variants.split_once("\n        }").unwrap();
    let listed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/layer/list.rs")).unwrap();
    let (_, listed) = listed.split_once("$then! {").unwrap();
    let (listed, _) = listed.split_once('}').unwrap();
    let listed = listed.lines().filter_map(|line| Some(line.split_once(": ")?.1.trim_end_matches(';')));
    let listed: Vec<&str> = listed.flat_map(|names| names.split(", ")).collect();
    let word = |line: &str| line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_string();
    let of_enum = variants.lines().filter_map(|line| Some(word(line.strip_prefix("            ")?)));
    let names: Vec<String> = of_enum.filter(|name| name.starts_with(char::is_uppercase)).collect();
    assert!(names.len() + listed.len() > 10, "{names:?} {listed:?}");
    let table: Vec<String> = layers(4).iter().map(|(_, layer)| word(&format!("{:?}", layer.spec()))).collect();
    for name in names.iter().map(String::as_str).chain(listed).filter(|&name| name != "Custom") {
        assert!(table.iter().any(|found| found == name), "the table has no {name}");
    }
}

/// The slices of both passes, by name.
type Slices = BTreeMap<&'static str, Vec<f64>>;

/// A forward pass and a backward pass.
const PASSES: [&str; 2] = ["forward", "backward"];

fn run(layer: &dyn Layer<f64>, pass: &str, shape: BatchShape<'_>, mode: Mode, slices: &Slices) {
    let mut own = slices.clone();
    let mut take = |name: &str| own.remove(name).unwrap();
    let (mut y, mut saved, mut scratch, mut end) = (take("y"), take("saved"), take("scratch"), take("final_state"));
    let (mut dx, mut dw, mut d_start, w) = (take("dx"), take("dw"), take("d_initial_state"), take("w"));
    let mut no_monitor = ();
    let ctx = Context::new(shape, mode, &mut no_monitor);
    let start = Some(&slices["initial_state"][..]);
    if pass == "forward" {
        let mut pass = Forward::new(&slices["x"], &mut y, &mut saved, &mut scratch, ctx);
        (pass.state.initial_state, pass.state.final_state) = (start, &mut end);
        return layer.forward(&w, pass);
    }
    let (x, dy) = (&slices["x"], &slices["dy"]);
    let mut given = Backward::new(x, &slices["y"], dy, Some(&mut dx[..]), &mut dw, &mut saved, &mut scratch, ctx);
    given.state.initial_state = start;
    (given.state.d_final_state, given.state.d_initial_state) =
        (Some(&slices["d_final_state"][..]), Some(&mut d_start[..]));
    layer.backward(&w, given);
}

/// Slices as long as the layer says.
fn slices(layer: &dyn Layer<f64>, shape: BatchShape<'_>, mode: Mode) -> Slices {
    let (dims, memory) = (layer.dims(), layer.memory(shape, mode));
    let [ins, outs] = [shape.rows() * dims.input, layer.output_shape(shape).rows() * dims.output];
    let state = memory.state * shape.batch;
    let zeros = [
        ("x", ins),
        ("y", outs),
        ("saved", memory.saved),
        ("scratch", memory.scratch),
        ("initial_state", state),
        ("final_state", state),
        ("dy", outs),
        ("dx", ins),
        ("dw", dims.parameters),
        ("d_final_state", state),
        ("d_initial_state", state),
    ];
    let mut slices: Slices = zeros.into_iter().map(|(name, len)| (name, vec![0.5; len])).collect();
    slices.insert("w", initialize(layer, 1).unwrap());
    // A number and an index.
    slices.insert("x", vec![1.0; ins]);
    slices
}

/// The message with which `call` panics.
fn message(call: impl FnOnce()) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(call)).err()?;
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    Some(text.unwrap_or("a payload without a text").into())
}

/// The slices of a pass.
fn names(pass: &str) -> &'static [&'static str] {
    match pass {
        "forward" => &["w", "x", "y", "saved", "scratch", "initial_state", "final_state"],
        _ => {
            &["w", "x", "y", "dy", "dx", "dw", "saved", "scratch", "initial_state", "d_final_state", "d_initial_state"]
        }
    }
}

#[test]
fn slice_of_another_length_is_named_with_its_layer() {
    let shapes = [BatchShape::sequences(2, 3), BatchShape::ragged(&[3, 1]), BatchShape::batch(2)];
    let known: Vec<&str> = layers(4).into_iter().map(|(name, _)| name).collect();
    let (mut all, mut unnamed) = (0, Vec::new());
    for (name, layer) in layers(5).iter().chain(&layers(32)) {
        let hints = layer.hints();
        for (shape, pass) in shapes.into_iter().flat_map(|shape| PASSES.map(|pass| (shape, pass))) {
            for mode in [Mode::Train, Mode::Infer] {
                // A backward pass after an inference has the slices of an evaluation.
                let saved = if mode == Mode::Infer && pass == "backward" { Mode::Evaluate } else { mode };
                let right = slices(&**layer, shape, saved);
                run(&**layer, pass, shape, mode, &right);
                for &slice in names(pass) {
                    let len = right[slice].len();
                    for wrong in [len.wrapping_sub(1), len + 1, 2 * len, 0] {
                        let left_out = slice == "x" && hints.ignores_x || slice == "y" && hints.ignores_y;
                        let short = slice == "dy" && hints.accepts_short_dy && wrong < len;
                        let allowed = wrong == len
                            || wrong == usize::MAX
                            || slice == "scratch" && wrong > len
                            || wrong == 0 && pass != "forward" && (left_out || short);
                        if allowed {
                            continue;
                        }
                        let mut slices = right.clone();
                        slices.get_mut(slice).unwrap().resize(wrong, 0.5);
                        let what = format!("{name}, {pass}, {mode:?}, {shape:?}: {slice} of {wrong} for {len} values");
                        // What a layer asks of scratch has room for more threads, and for longer passes.
                        let found = message(|| run(&**layer, pass, shape, mode, &slices));
                        if slice == "scratch" && found.is_none() && wrong > 0 {
                            continue;
                        }
                        let found = found.unwrap_or_else(|| "no panic".into());
                        let slice = if slice.contains("state") { "state" } else { slice };
                        // A part of the layer may be the one that is given the wrong slice.
                        let named = (slice == "state" || found.contains(&format!("`{slice}` of ")))
                            && found.contains(slice)
                            && (found.contains(name) || known.iter().any(|part| found.contains(part)));
                        all += 1;
                        if !(named && found.contains("must")) {
                            unnamed.push(format!("{what}: {found}"));
                        }
                    }
                }
            }
        }
    }
    assert!(unnamed.is_empty(), "{} of {all}:\n{}", unnamed.len(), unnamed.join("\n"));
    assert!(all > 4000, "{all}");
}

#[test]
fn shape_that_is_none_of_a_pass_is_named_with_the_layer() {
    let torn = |batch, steps, lengths| {
        let mut shape = BatchShape::sequences(batch, steps);
        shape.lengths = Some(lengths);
        shape
    };
    let shapes = [
        BatchShape::batch(0),
        BatchShape::sequences(2, 0),
        BatchShape::sequences(0, 1 << 61),
        BatchShape::sequences(1, 1 << 61),
        BatchShape::sequences(usize::MAX, usize::MAX),
        BatchShape::ragged(&[]),
        BatchShape::ragged(&[1, 3]),
        BatchShape::ragged(&[3, 0]),
        torn(2, 3, &[3]),
        torn(2, 3, &[2, 2]),
        torn(2, 1 << 61, &[2, 2]),
    ];
    for (name, layer) in &layers(4) {
        let right = slices(&**layer, BatchShape::sequences(2, 3), Mode::Train);
        let none: Slices =
            right.keys().map(|&slice| (slice, if slice == "w" { right["w"].clone() } else { vec![] })).collect();
        for (shape, pass) in shapes.into_iter().flat_map(|shape| PASSES.map(|pass| (shape, pass))) {
            for slices in [&right, &none] {
                let found = message(|| run(&**layer, pass, shape, Mode::Train, slices));
                let found = found.unwrap_or_else(|| panic!("{name}, {pass}: no panic for {shape:?}"));
                assert!(found.contains(name) && found.contains("must"), "{name}, {pass}, {shape:?}: {found:?}");
            }
        }
    }
    // A width of 0, which no network takes.
    let shape = BatchShape::batch(2);
    let flat: [(&str, Whole); 6] = [
        ("Linear", Box::new(Linear::new(0, 2))),
        ("Softmax", Box::new(Softmax::new(0))),
        ("LogSoftmax", Box::new(LogSoftmax::new(0))),
        ("LayerNorm", Box::new(LayerNorm::new(0))),
        ("PRelu", Box::new(PRelu::new(0))),
        ("Recurrent", Box::new(Recurrent::new(2, 0, Lstm::new()))),
    ];
    for (name, layer) in &flat {
        let mut slices: Slices = slices_of_nothing();
        slices.insert("w", vec![0.5; layer.dims().parameters]);
        for pass in PASSES {
            let found = message(|| run(&**layer, pass, shape, Mode::Train, &slices)).unwrap_or_default();
            assert!(found.contains(name) && found.contains("must be at least 1"), "{name}, {pass}: {found:?}");
        }
    }
}

/// Slices without values.
fn slices_of_nothing() -> Slices {
    let names = PASSES.iter().flat_map(|pass| names(pass));
    names.map(|&name| (name, Vec::new())).collect()
}

/// A cell of the crate, one slice of which is one value too long at one stage; it notes the lengths, right and wrong.
#[derive(Clone, Debug)]
struct Longer<C> {
    cell: C,
    pass: &'static str,
    stage: usize,
    slice: &'static str,
    lengths: Arc<Mutex<Option<[usize; 2]>>>,
}

impl<C: Cell> Longer<C> {
    /// Whether a later stage multiplies what this one writes.
    fn writes_an_operand(&self, stage: usize) -> bool {
        self.cell.products().iter().any(|of| of.stage == stage + 1 && of.operand == Operand::StageOutput)
    }

    fn longer<'a, T: Scalar>(&self, right: usize, found: usize) -> &'a mut [T] {
        *self.lengths.lock().unwrap() = Some([right, found + 1]);
        Box::leak(vec![T::zero(); found + 1].into_boxed_slice())
    }
}

/// Sets the slice of `unit` that has the name of `$self.slice`.
macro_rules! lengthen {
    ($self:ident, $unit:ident, $($name:ident),+) => {
        match $self.slice {
            $(stringify!($name) => $unit.$name = $self.longer($unit.$name.len(), $unit.$name.len()),)+
            _ => {}
        }
    };
}

impl<C: Cell + Clone> Cell for Longer<C> {
    fn gates(&self) -> &'static [Gate] {
        self.cell.gates()
    }
    fn products(&self) -> Vec<Product> {
        self.cell.products()
    }
    fn sizes(&self) -> CellSizes {
        self.cell.sizes()
    }
    fn forward<T: Scalar>(&self, stage: usize, mut unit: CellForward<'_, T>) {
        if self.pass == "forward" && self.stage == stage {
            match self.slice {
                "operand" if !self.writes_an_operand(stage) => {}
                "monitored_z" => unit.monitored_z = self.longer(unit.z.len(), unit.monitored_z.len()),
                _ => lengthen!(self, unit, z, u, h_prev, cell_state_prev, cell_state, operand),
            }
        }
        self.cell.forward(stage, unit);
    }
    fn backward<T: Scalar>(&self, stage: usize, mut unit: CellBackward<'_, T>) {
        if self.pass == "backward" && self.stage == stage {
            match self.slice {
                "d_operand" if !self.writes_an_operand(stage) => {}
                "between_stages" | "d_operand" => lengthen!(self, unit, between_stages, d_operand),
                "d_h" | "d_cell_state" | "d_h_prev" => lengthen!(self, unit, d_h, d_cell_state, d_h_prev),
                _ => lengthen!(self, unit, z, u, h_prev, cell_state_prev, cell_state),
            }
        }
        self.cell.backward(stage, unit);
    }
}

/// Tries each slice of each stage, and returns the number of those that the cell has.
fn cell_names_its_slices(name: &str, cell: impl Cell + Clone) -> usize {
    let state = ["z", "u", "h_prev", "cell_state_prev", "cell_state"];
    let others = ["operand", "monitored_z", "d_h", "d_cell_state", "d_operand", "d_h_prev", "between_stages"];
    let mut tried = 0;
    for (pass, stage) in PASSES.into_iter().flat_map(|pass| [(pass, 0), (pass, 1)]) {
        for slice in state.into_iter().chain(others) {
            let (shape, lengths) = (BatchShape::sequences(2, 2), Arc::<Mutex<Option<[usize; 2]>>>::default());
            let longer = Longer { cell: cell.clone(), pass, stage, slice, lengths: lengths.clone() };
            let layer = Recurrent::new(2, 3, longer);
            let right = slices(&layer, shape, Mode::Train);
            let found = message(|| PASSES.iter().for_each(|pass| run(&layer, pass, shape, Mode::Train, &right)));
            let expected = lengths.lock().unwrap().map(|[right, found]| {
                format!("`{slice}` of {name} must have {right} values, found {found}: a layer must give the same")
            });
            let begins = found.as_deref().zip(expected.as_deref()).is_some_and(|(a, b)| a.starts_with(b));
            assert!(
                begins || (found.is_none() && expected.is_none()),
                "{pass}, stage {stage}: {found:?}, {expected:?}"
            );
            tried += usize::from(begins);
        }
    }
    tried
}

#[test]
fn slice_of_another_length_is_named_with_its_cell() {
    assert_eq!(cell_names_its_slices("Elman", Elman::new(Tanh)), 6 + 9);
    assert_eq!(cell_names_its_slices("Lstm", Lstm::new()), 6 + 9);
    assert_eq!(cell_names_its_slices("Gru", Gru::new()), 6 + 9);
    // Two stages, of which the first writes an operand.
    let before = Gru::new().variant(GruVariant::ResetBefore);
    assert_eq!(cell_names_its_slices("Gru", before), 2 * (6 + 9) + 2);
    assert_eq!(cell_names_its_slices("Mgu", Mgu::new()), 2 * (6 + 9) + 2);
}

/// Whatever the memory held before, every parameter has its first value.
#[test]
fn layer_of_the_crate_initializes_every_parameter() {
    for (name, layer) in layers(4) {
        let mut w = vec![f64::NAN; layer.dims().parameters];
        layer.initialize(&mut w, &mut generator(1)).unwrap();
        assert!(w.iter().all(|w| w.is_finite()), "{name}: {w:?}");
    }
    // Both halves of a gated layer, by their own initializers.
    let gated = GatedLinear::new(2, 3, Tanh).weights(Constant(0.5)).bias(Constant(-0.25));
    assert_eq!(initialize::<f64>(&gated, 1).unwrap(), [[0.5; 12].as_slice(), &[-0.25; 6]].concat());
}
