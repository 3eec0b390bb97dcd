//! A network of 16-bit floats, on two threads.

use chainrule::{Error, dataset::Dataset, layer::Sequential};
use chainrule::{
    loss::{MeanSquaredError, Target},
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ClipNorm},
};
use half::f16;

#[test]
fn half_precision_trains_to_the_same_bits_on_any_number_of_threads() -> Result<(), Error> {
    let x: Vec<f16> = (0..128).map(|i| f16::from_f32((i as f32).sin())).collect();
    let data = Dataset::rows(2, &x, Target::Values(&x[..64]))?;
    let train = |threads| {
        let network = Sequential::<f16>::input(2).linear(16).tanh().linear(1).build()?;
        let settings = TrainConfig { epochs: 5, threads, ..TrainConfig::default() };
        let chain = (ClipNorm::new(1.0), Adam::new(0.01));
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, settings)?;
        let epochs = trainer.fit(&data)?;
        assert!(epochs[4].loss < epochs[0].loss);
        Ok::<_, Error>(trainer.parameters().to_vec())
    };
    assert_eq!(train(1)?, train(2)?);
    Ok(())
}
