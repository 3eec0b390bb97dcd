//~ is not an initializer
//~ gives its value by `?`
use chainrule::{initializer::Uniform, layer::Linear};

fn main() {
    let _ = Linear::new(2, 1).weights(Ok::<_, chainrule::Error>(Uniform { low: -0.1, high: 0.1 }));
}
