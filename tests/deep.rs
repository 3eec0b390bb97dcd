//! Depth costs no stack: a network of thousands of layers builds, trains and drops on a small thread.

use chainrule::{
    activation::Tanh,
    data::Data,
    initializer::Orthogonal,
    layer::{Layer, Linear, Sequential},
    loss::{MeanSquared, Target},
    monitor::GradientBudget,
    trainer::{Observers, Settings, Trainer},
    transform::Sgd,
};

const LAYERS: usize = 3000;

#[test]
fn three_thousand_layers_on_two_mebibytes() {
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(train).unwrap().join().unwrap();
}

fn train() {
    let mut builder = Sequential::<f64>::input(8);
    for _ in 0..LAYERS {
        builder = builder.layer(Linear::new(8, 8).weights(Orthogonal::default())).activation(Tanh);
    }
    let network = builder.build().unwrap();
    assert_eq!((network.len(), network.dims().parameters), (2 * LAYERS, LAYERS * 72));
    let (x, t) = ([0.5; 16], [0.25; 16]);
    let data = Data::rows(8, &x, Target::Values(&t)).unwrap();
    let settings = Settings { batch: 2, epochs: 1, ..Settings::default() };
    let mut trainer = Trainer::new(network, MeanSquared::new(), Sgd::new(0.01), settings).unwrap();
    let before = trainer.parameters().to_vec();
    let mut budget = GradientBudget::new();
    let epochs = trainer.fit_with(&data, Observers::new().monitor(&mut budget)).unwrap();
    assert!(epochs[0].loss.is_finite() && epochs[0].steps == 1);
    assert!(trainer.parameters() != before);
    assert!(budget.links().len() >= 2 * LAYERS - 1, "{} links", budget.links().len());
    assert_eq!(budget.blocks().len(), 2 * LAYERS);
    let debug = format!("{:?}", trainer.network());
    assert!(debug.len() > LAYERS);
    drop(trainer);
}
