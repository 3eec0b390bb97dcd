//~ is not an activation
//~ gives its value by `?`, as in `LeakyRelu::new(0.1)?`
use chainrule::{activation::LeakyRelu, layer::Sequential};

fn main() {
    let _ = Sequential::<f32>::input(2).linear(1).activation(LeakyRelu::new(0.1)).build();
}
