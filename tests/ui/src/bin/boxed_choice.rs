//~ is not an activation
//~ an activation chosen at run time is an `ActivationKind`
use chainrule::{activation::Tanh, layer::Sequential};

fn main() {
    let _ = Sequential::<f32>::input(2).linear(1).activation(Box::new(Tanh)).build();
}
