//~ is not an activation
//~ an activation chosen at run time is an `ActivationKind`, not a `Box<dyn Activation>`
use chainrule::{Activation, activation::Tanh, layer::Sequential};

fn main() {
    let tanh: Box<dyn Activation> = Box::new(Tanh);
    let _ = Sequential::<f32>::input(2).linear(1).activation(tanh).build();
}
