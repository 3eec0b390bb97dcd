//~ mismatched types
//~ expected type parameter `T`, found floating-point number
use chainrule::{Activation, Scalar};

#[derive(Clone, Debug)]
struct Halved;

// Both are words of the compiler, which no attribute changes: the guide `own_parts` quotes them, with the remedy
// `scalar(0.5)`.
impl Activation for Halved {
    fn value<T: Scalar>(&self, z: T) -> T {
        z * 0.5
    }
    fn derivative<T: Scalar>(&self, _z: T, _y: T) -> T {
        chainrule::scalar(0.5)
    }
}

fn main() {}
