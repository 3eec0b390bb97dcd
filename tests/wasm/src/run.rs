//! A small training run, and the bits it ends with.

use chainrule::{
    BatchShape, Scalar,
    activation::{Gelu, Tanh},
    layer::{Sequential, initialize},
    loss::{CrossEntropy, Loss, Target},
    recurrent::Lstm,
    scalar, to_f64,
    transform::{Adam, ClipNorm, Optimizer, Schedule},
    workspace::Workspace,
};

/// The hash of the bits at level `plain`, recorded on x86-64.
pub const PLAIN: u64 = 0xb26f_c2c8_7245_c30d;

/// FNV-1a over the bits of the parameters after some updates, in `f32` and in `f64`.
pub fn bits() -> u64 {
    run::<f64>(run::<f32>(0xcbf2_9ce4_8422_2325))
}

fn run<T: Scalar>(mut hash: u64) -> u64 {
    const SAMPLES: usize = 12;
    const STEPS: usize = 7;
    let builder =
        Sequential::<T>::input(5).linear(9).activation(Gelu).layer_norm().recurrent(11, Lstm::new()).last_step();
    let network = builder.residual(|branch| branch.linear(11).activation(Tanh)).linear(3).build().unwrap();
    let mut w = initialize(&network, 7).unwrap();
    let mut workspace = Workspace::new(&network, BatchShape::sequences(SAMPLES, STEPS)).unwrap();
    let transform = (ClipNorm::new(1.0), Adam::new(0.01), Schedule::cosine(20, 0.1));
    let mut optimizer = Optimizer::new(transform, workspace.blocks(), &w).unwrap();
    // Exact in both formats.
    let x: Vec<T> = (0..SAMPLES * STEPS * 5).map(|i| scalar((i * 37 % 101) as f64 / 64.0 - 0.75)).collect();
    let classes: Vec<usize> = (0..SAMPLES).map(|i| i * i % 3).collect();
    for _ in 0..20 {
        let output = workspace.forward(&w, &x, BatchShape::sequences(SAMPLES, STEPS)).unwrap();
        CrossEntropy::new().evaluate(3, output.y, Target::Classes(&classes), None, output.dy).unwrap();
        workspace.backward(&w).unwrap();
        let (blocks, gradient) = workspace.blocks_and_gradient();
        optimizer.step(blocks, &mut w, gradient, &mut ()).unwrap();
    }
    for byte in w.iter().flat_map(|&w| to_f64(w).to_bits().to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}
