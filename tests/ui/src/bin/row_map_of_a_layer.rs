//~ is not a map of a row
//~ a layer with a backward pass of its own, such as `Linear`, needs no `DualLayer`
use chainrule::layer::{DualLayer, Linear, Sequential};

fn main() {
    let _ = Sequential::<f32>::input(2).layer(DualLayer(Linear::new(2, 1))).build();
}
