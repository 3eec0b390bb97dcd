//! Trains a small network and predicts with a saved model, with its own panic handler and allocator, and no std.
#![no_std]
#![no_main]

extern crate alloc;

use chainrule::{
    BatchShape,
    activation::Tanh,
    layer::{Sequential, initialize},
    dataset::Dataset,
    loss::{Loss, MeanSquaredError, Target},
    model::Model,
    transform::{Adam, Optimizer},
    workspace::Workspace,
};
use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Hands out pieces of one block of memory and takes none back.
struct Bump {
    memory: UnsafeCell<[u8; 1 << 20]>,
    used: AtomicUsize,
}

// SAFETY: each byte is handed out once, by an atomic counter.
unsafe impl Sync for Bump {}

// SAFETY: pieces are aligned as asked for, do not overlap, and lie within the block; null where it is full.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get() as usize;
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let start = (base + used).next_multiple_of(layout.align());
            let end = start - base + layout.size();
            if end > 1 << 20 {
                return core::ptr::null_mut();
            }
            match self.used.compare_exchange(used, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return start as *mut u8,
                Err(now) => used = now,
            }
        }
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static MEMORY: Bump = Bump { memory: UnsafeCell::new([0; 1 << 20]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

fn train() -> Result<f64, chainrule::Error> {
    let network = Sequential::<f64>::input(2).linear(8).activation(Tanh).linear(1).build()?;
    let mut w = initialize(&network, 1)?;
    let mut workspace = Workspace::new(&network, BatchShape::batch(4))?;
    let mut optimizer = Optimizer::new(Adam::new(0.05), workspace.blocks(), &w)?;
    let (x, y) = ([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]);
    let mut loss = 0.0;
    for _ in 0..500 {
        let output = workspace.forward(&w, &x, BatchShape::batch(4))?;
        loss = MeanSquaredError::new().evaluate(1, output.y, Target::Values(&y), None, output.dy)?;
        workspace.backward(&w)?;
        let (blocks, gradient) = workspace.blocks_and_gradient();
        optimizer.step(blocks, &mut w, gradient, &mut ())?;
    }
    Ok(loss)
}

/// The model in a file within the program: a whole series at once, and its steps one by one.
fn predict() -> Result<bool, chainrule::Error> {
    let model = Model::<f32>::from_bytes(include_bytes!("../model.safetensors"))?;
    let series = [0.5, -1.0, 2.0, 0.25];
    let whole = model.predict(&Dataset::sequences(1, 4, &series, None)?)?;
    let mut stream = model.stream()?;
    let mut last = f32::NAN;
    for x in series {
        last = stream.step(&[x])?[0];
    }
    Ok(whole.len() == 1 && whole[0] == last && (last - EXPECTED).abs() < 1e-6)
}

/// The mean of 2 tanh(x) + tanh(1/4 − x/2) + 1/2 over the series.
const EXPECTED: f32 = 0.985823;

// The `alloc` that ships with Rust was compiled to unwind and names these two, which are std's; nothing here
// unwinds. (Were std linked in, its own would clash with the panic handler above.)
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    loop {}
}

// The C library gives memcpy and the start of the program; Rust's std is nowhere.
#[link(name = "c")]
unsafe extern "C" {}

/// Exit code 0 where the loss fell and the prediction is the expected one.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    i32::from(!matches!((train(), predict()), (Ok(loss), Ok(true)) if loss < 0.05))
}
