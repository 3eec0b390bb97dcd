//~ is not a layer of such numbers
//~ an activation is added by `.activation(Relu)`
use chainrule::{activation::Relu, layer::Sequential};

fn main() {
    let _ = Sequential::<f32>::input(2).linear(4).layer(Relu).build();
}
