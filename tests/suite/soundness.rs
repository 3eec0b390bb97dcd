//! Layers called directly with sizes that overflow, slices of wrong length and contradictory batch shapes. Each call
//! must panic with the broken law, and never access other memory.

use chainrule::{
    BatchShape, Block, Layer, Scalar,
    layer::{Backward, Context, Dims, Forward, Linear, MemorySizes, Mode, Sequential, initialize},
    rand_core::Rng,
    recurrent::{Lstm, Recurrent},
    workspace::Workspace,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// The message with which `call` panics.
fn panic_of<R>(call: impl FnOnce() -> R) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).err().expect("a panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.into())).unwrap_or_default()
}

#[cfg(target_pointer_width = "64")]
#[test]
fn linear_map_whose_weights_wrap_panics() {
    // The product with 3 wraps to 32768.
    let outputs = 32768usize.wrapping_mul(0xAAAA_AAAA_AAAA_AAAB);
    let network = Linear::new(3, outputs).without_bias();
    let (w, x) = (vec![1.0f64; 32768], [1.0; 9]);
    assert!(Workspace::<f64, _>::for_inference(&network, BatchShape::batch(3)).is_err());
    let (mut y, mut scratch, mut silent) = (vec![0.0; 32768], vec![0.0; 1 << 17], ());
    let ctx = Context::new(BatchShape::batch(3), Mode::Infer, &mut silent);
    let pass = Forward::new(&x, &mut y, &mut [], &mut scratch, ctx);
    panic_of(|| network.forward(&w, pass));
    let (dy, mut dx, mut dw) = (vec![0.0; 32768], [0.0; 9], vec![0.0; 32768]);
    let (saved, dx) = (&mut [][..], Some(&mut dx[..]));
    let ctx = Context::new(BatchShape::batch(3), Mode::Train, &mut silent);
    let pass = Backward::new(&x, &y, &dy, dx, &mut dw, saved, &mut scratch, ctx);
    panic_of(|| network.backward(&w, pass));
}

#[test]
fn linear_map_of_as_many_outputs_and_rows_as_can_be_counted_panics() {
    let network = Linear::new(0, usize::MAX);
    for rows in [usize::MAX - 7, usize::MAX / 2 + 2, 1] {
        let (mut y, mut scratch, mut silent) = ([0.0f32; 64], [0.0; 64], ());
        let ctx = Context::new(BatchShape::batch(rows), Mode::Infer, &mut silent);
        let pass = Forward::new(&[], &mut y, &mut [], &mut scratch, ctx);
        let text = panic_of(|| network.forward(&[0.0; 8], pass));
        assert!(text.contains("Linear"), "{rows}: {text}");
    }
}

/// Calls both passes of a layer with one slice after the other too short by one value.
fn short_slices<L: Layer<f64>>(layer: &L, shape: BatchShape<'_>) {
    let (dims, memory) = (layer.dims(), layer.memory(shape, Mode::Train));
    let after = layer.output_shape(shape).rows() * dims.output;
    let states = memory.state * shape.batch;
    let full = [dims.parameters, shape.rows() * dims.input, after, memory.saved, memory.scratch, states];
    for short in 0..full.len() {
        let mut lengths = full;
        if lengths[short] == 0 {
            continue;
        }
        lengths[short] -= 1;
        let call = |lengths: [usize; 6], backward: bool| {
            let [w, x, y, saved, scratch, state] = lengths;
            let (w, x, dy) = (vec![0.1; w], vec![0.5; x], vec![0.5; y]);
            let (mut y, mut saved, mut scratch, mut end) =
                (vec![0.0; y], vec![0.0; saved], vec![0.0; scratch], vec![0.0; state]);
            let (mut dx, mut dw, mut silent) = (vec![0.0; x.len()], vec![0.0; w.len()], ());
            let ctx = Context::new(shape, Mode::Train, &mut silent);
            if backward {
                let dx = Some(&mut dx[..]);
                layer.backward(&w, Backward::new(&x, &y, &dy, dx, &mut dw, &mut saved, &mut scratch, ctx));
            } else {
                let mut pass = Forward::new(&x, &mut y, &mut saved, &mut scratch, ctx);
                pass.state.final_state = &mut end;
                layer.forward(&w, pass);
            }
        };
        for backward in [false, true] {
            call(full, backward);
            // One pass may need less scratch than the other. A backward pass reads no bias, and has no state here.
            let reads =
                if backward { [false, true, true, true, false, false] } else { [true, true, true, true, false, true] };
            if reads[short] {
                let found = catch_unwind(AssertUnwindSafe(|| call(lengths, backward)));
                assert!(found.is_err(), "{layer:?}, backward: {backward}, slice {short} is short of a value");
            }
        }
    }
}

#[test]
fn layer_with_a_slice_too_short_panics() {
    short_slices(&Linear::new(3, 4), BatchShape::batch(5));
    short_slices(&Linear::new(3, 4), BatchShape::batch(1));
    short_slices(&Linear::new(70, 300).without_bias(), BatchShape::batch(9));
    short_slices(&Recurrent::new(3, 8, Lstm::new()), BatchShape::sequences(4, 5));
}

const SAMPLES: usize = 64;
const STEPS: usize = 12;
const WIDTH: usize = 32;

/// A wrapper that gives its recurrent layer other lengths.
#[derive(Debug)]
struct Reordering {
    recurrent: Recurrent<Lstm>,
    lengths: Vec<usize>,
    reorders: AtomicBool,
}

impl Reordering {
    fn output_shape<'a>(&'a self, shape: BatchShape<'a>) -> BatchShape<'a> {
        if self.reorders.load(Relaxed) { BatchShape::ragged(&self.lengths) } else { shape }
    }
}

impl<T: Scalar> Layer<T> for Reordering {
    fn dims(&self) -> Dims {
        Layer::<T>::dims(&self.recurrent)
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        Layer::<T>::memory(&self.recurrent, shape, mode)
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), chainrule::Error> {
        self.recurrent.initialize(w, rng)
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        Layer::<T>::blocks(&self.recurrent, visit);
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let shape = self.output_shape(pass.ctx.shape);
        let values = shape.rows() * WIDTH;
        let Forward { x, y, saved, scratch, state, mut ctx, .. } = pass;
        let mut ctx = ctx.part(0);
        ctx.shape = shape;
        let mut pass = Forward::new(&x[..values], &mut y[..values], saved, scratch, ctx);
        pass.state = state;
        self.recurrent.forward(w, pass);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let shape = self.output_shape(pass.ctx.shape);
        let values = shape.rows() * WIDTH;
        let Backward { x, y, dy, dx, dw, saved, scratch, mut ctx, .. } = pass;
        let mut ctx = ctx.part(0);
        ctx.shape = shape;
        let (x, y, dy) = (&x[..values], &y[..values], &dy[..values]);
        self.recurrent.backward(w, Backward::new(x, y, dy, dx, dw, saved, scratch, ctx));
    }
}

#[test]
fn recurrent_layer_with_lengths_that_increase_panics_and_leaves_a_usable_workspace() {
    let mut lengths = vec![STEPS];
    lengths.resize(32, 1);
    lengths.resize(SAMPLES, STEPS);
    let shape = BatchShape::sequences(SAMPLES, STEPS);
    let x: Vec<f32> = (0..shape.rows() * WIDTH).map(|i| (i % 17) as f32 / 17.0).collect();
    let new = || {
        let recurrent = Recurrent::new(WIDTH, WIDTH, Lstm::new());
        let layer = Reordering { recurrent, lengths: lengths.clone(), reorders: AtomicBool::new(false) };
        Sequential::<f32>::input(WIDTH).layer(std::sync::Arc::new(layer)).build().unwrap()
    };
    let network = new();
    let w = initialize(&network, 1).unwrap();
    let pass = |workspace: &mut Workspace<f32, _>| {
        let output = workspace.forward(&w, &x, shape).unwrap();
        let y = output.y.to_vec();
        output.dy.fill(1.0);
        [y, workspace.backward(&w).unwrap().to_vec()]
    };
    let expected = pass(&mut Workspace::new(network, shape).unwrap());
    for threads in [1, 4] {
        let recurrent = Recurrent::new(WIDTH, WIDTH, Lstm::new());
        let layer =
            std::sync::Arc::new(Reordering { recurrent, lengths: lengths.clone(), reorders: AtomicBool::new(false) });
        let network = Sequential::<f32>::input(WIDTH).layer(layer.clone()).build().unwrap();
        let mut workspace = Workspace::new(network, shape).unwrap();
        workspace.set_threads(threads).unwrap();
        layer.reorders.store(true, Relaxed);
        let text = panic_of(|| workspace.forward(&w, &x, shape).map(|_| ()));
        assert!(text.contains("must not increase"), "{text}");
        layer.reorders.store(false, Relaxed);
        let output = workspace.forward(&w, &x, shape).unwrap();
        output.dy.fill(1.0);
        layer.reorders.store(true, Relaxed);
        let text = panic_of(|| workspace.backward(&w).map(|_| ()));
        assert!(text.contains("must not increase"), "{text}");
        layer.reorders.store(false, Relaxed);
        assert!(pass(&mut workspace) == expected, "{threads} threads");
    }
}
