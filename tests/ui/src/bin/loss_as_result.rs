//~ is not a loss
//~ gives its value by `?`
use chainrule::{layer::Linear, loss::Huber, trainer::{TrainConfig, Trainer}, transform::Sgd};

fn main() {
    let _ = Trainer::<f32, _, _, _>::new(Linear::new(1, 1), Huber::new(1.0), Sgd::new(0.1), TrainConfig::default());
}
