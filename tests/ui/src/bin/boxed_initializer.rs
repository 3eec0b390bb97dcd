//~ `Box<dyn Initializer>` is not an initializer
//~ an initializer chosen at run time is an `InitializerKind`, as `He::normal().kind()` returns it
use chainrule::{initializer::{He, Initializer}, layer::Linear};

fn main() {
    let weights: Box<dyn Initializer> = Box::new(He::normal());
    let _ = Linear::new(2, 1).weights(weights);
}
