//~ is not a layer
//~ a `Builder` becomes a network by `.build()?`
use chainrule::{layer::Sequential, loss::MeanSquaredError, trainer::{TrainConfig, Trainer}, transform::Sgd};

fn main() {
    let network = Sequential::<f32>::input(2).linear(1);
    let _ = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default());
}
