//~ is not a transform or a chain of transforms
//~ a chain is a tuple
use chainrule::{layer::Linear, loss::MeanSquaredError, trainer::{TrainConfig, Trainer}, transform::Sgd};

fn main() {
    let chain = [Sgd::new(0.1), Sgd::new(0.2)];
    let _ = Trainer::<f32, _, _, _>::new(Linear::new(1, 1), MeanSquaredError::new(), chain, TrainConfig::default());
}
