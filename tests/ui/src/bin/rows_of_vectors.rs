//~ `Vec<f32>` is not a scalar
//~ by `Dataset::from_rows`
use chainrule::{dataset::Dataset, loss::Target};

fn main() {
    let rows = vec![vec![0.0_f32, 1.0], vec![2.0, 3.0]];
    let _ = Dataset::rows(2, &rows, Target::Classes(&[0, 1]));
}
