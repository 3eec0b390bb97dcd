//~ is not data of such numbers
//~ gives its value by `?`
use chainrule::{dataset::Dataset, layer::Linear, loss::MeanSquaredError};
use chainrule::{trainer::{TrainConfig, Trainer}, transform::Sgd};

fn main() {
    let trainer = Trainer::new(Linear::new(1, 1), MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default());
    let _ = trainer.unwrap().fit(&Dataset::rows(1, &[1.0_f32], None));
}
