//~ is not a cell of a recurrent layer
//~ `Elman` takes its activation: `Elman::new(Tanh)`
use chainrule::{activation::Tanh, layer::Sequential};

fn main() {
    let _ = Sequential::<f32>::input(2).recurrent(4, Tanh).build();
}
