//~ is not a loss
//~ a function of one row becomes a loss by the trait `RowLoss` and `DualLoss::new`
use chainrule::{layer::Linear, trainer::{TrainConfig, Trainer}, transform::Sgd};

fn main() {
    let loss = |y: f32, t: f32| (y - t) * (y - t);
    let _ = Trainer::<f32, _, _, _>::new(Linear::new(1, 1), loss, Sgd::new(0.1), TrainConfig::default());
}
