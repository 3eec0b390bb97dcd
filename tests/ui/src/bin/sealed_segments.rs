//~ `InSegments` is private
use chainrule::{Scalar, layer::{InSegments, Layer}};

fn main() {}

fn in_segments<T: Scalar>(layer: &dyn Layer<T>) -> Option<InSegments<'_, T>> {
    layer.in_segments()
}
