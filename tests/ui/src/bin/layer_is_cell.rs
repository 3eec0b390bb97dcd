//~ is not a layer of such numbers
//~ a cell by `.recurrent(width, Lstm::new())`
use chainrule::{layer::Sequential, recurrent::Lstm};

fn main() {
    let _ = Sequential::<f32>::input(2).layer(Lstm::new()).build();
}
