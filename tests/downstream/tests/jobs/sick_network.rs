//! A network that does not train: the cause, the fix, and the fixed run.

use chainrule::diagnosis::{Cause, FixContext, Trial, first_check};
use chainrule::{BatchShape, Error, Layer, dataset::Dataset, layer::Sequential, layer::initialize};
use chainrule::{
    loss::{CrossEntropy, Target},
    theory::InputStatistics,
    trainer::TrainConfig,
    transform::{Adam, GradientTransform},
};

#[test]
fn vanishing_gradient_is_found_and_fixed() -> Result<(), Error> {
    let x: Vec<f32> = (0..256 * 8).map(|i| (i as f32 * 2.399).sin()).collect();
    let y: Vec<usize> = x.chunks(8).map(|row| usize::from(row[0] > 0.0)).collect();
    let (data, loss) = (Dataset::rows(8, &x, Target::Classes(&y))?, CrossEntropy::new());
    let mut builder = Sequential::<f32>::input(8);
    for _ in 0..8 {
        builder = builder.linear(16).sigmoid();
    }
    let network = builder.linear(2).build()?;
    let report = first_check(&network, &x[..8 * 64], BatchShape::batch(64), None, 1)?;
    let root = report.root().expect("the gradient vanishes");
    assert_eq!(root.cause, Cause::SaturatingActivation);

    let optimizer = || Box::new(Adam::new(0.005)) as Box<dyn GradientTransform<f32>>;
    let spec = Layer::<f32>::spec(&network);
    let context = FixContext::new(&spec, InputStatistics::of_samples(8, &x)?, root);
    let settings = TrainConfig { epochs: 250, ..TrainConfig::default() };
    let steps = settings.epochs * data.samples().div_ceil(settings.batch_size);
    let trial = Trial::new(&data, &loss, &optimizer, steps).batch_size(settings.batch_size);
    let applied = trial.apply_best(&context, &initialize(&network, 1)?, settings)?;
    let mut run = applied.run.expect("a fix that helped");
    let epochs = run.trainer.fit(&run.data)?;
    assert!(epochs[249].loss < 0.5 * epochs[0].loss);
    Ok(())
}
