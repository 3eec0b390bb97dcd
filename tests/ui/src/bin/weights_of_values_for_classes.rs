//~ `CrossEntropy` is not computed value by value, so it takes no weights of values
//~ `ValueWeights` takes `MeanSquaredError`, `MeanAbsoluteError`, `Huber`, `SmoothL1`, `Pinball`, `PoissonNll`
use chainrule::{layer::Linear, loss::{CrossEntropy, ValueWeights}, trainer::{TrainConfig, Trainer}, transform::Sgd};

fn main() {
    let loss = ValueWeights::new(CrossEntropy::new());
    let _ = Trainer::<f32, _, _, _>::new(Linear::new(1, 2), loss, Sgd::new(0.1), TrainConfig::default());
}
