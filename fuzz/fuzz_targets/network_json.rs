//! Text as the description of a network: an error, or a network that describes itself in the same way and runs.
#![no_main]

use chainrule::{
    BatchShape, Layer,
    layer::{LayerSpec, initialize},
    workspace::Workspace,
};
use libfuzzer_sys::fuzz_target;

/// Networks with more values than this are not run.
const MOST: usize = 1 << 12;

fuzz_target!(|text: &[u8]| {
    let Ok(spec) = serde_json::from_slice::<LayerSpec>(text) else { return };
    let Ok(network) = spec.build::<f32>() else { return };
    let dims = network.dims();
    if dims.input.max(dims.output).max(dims.parameters) > MOST {
        return;
    }
    let again = network.spec().build::<f32>().expect("a network that was built describes itself");
    assert_eq!(again.dims(), dims);
    let shape = BatchShape::sequences(2, 3);
    let (Ok(w), Ok(mut workspace)) = (initialize::<f32>(&network, 1), Workspace::new(&network, shape)) else { return };
    let x = vec![0.5; 2 * 3 * dims.input];
    if let Ok(output) = workspace.forward(&w, &x, shape) {
        output.dy.fill(1.0);
        workspace.backward(&w).unwrap();
    }
});
