//~ `i32` is not a scalar
//~ with the feature `half`
use chainrule::layer::{Linear, initialize};

fn main() {
    let _: Result<Vec<i32>, _> = initialize(&Linear::new(2, 1), 0);
}
