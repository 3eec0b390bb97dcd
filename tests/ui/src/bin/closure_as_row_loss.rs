//~ is not the loss of a row
//~ it is a type with `RowLoss::row`, generic over the number type, which a closure cannot be
use chainrule::loss::DualLoss;

fn main() {
    let _ = DualLoss::new(|y: f32, t: f32| (y - t) * (y - t));
}
