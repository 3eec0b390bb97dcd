//! Sequences of unequal length, with weights and masks of steps.

use chainrule::dataset::{Dataset, mask_lengths, unpad};
use chainrule::{
    Error,
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    trainer::{TrainConfig, Trainer},
    transform::Adam,
};

#[test]
fn masked_targets_of_ragged_sequences_change_nothing() -> Result<(), Error> {
    let padded = [0.5, -0.1, 0.0, 0.4, 0.9, -0.7]; // 2 samples, padded to 3 steps
    let lengths = mask_lengths(3, &[true, true, false, true, true, true])?;
    let x = unpad(3, &lengths, &padded)?;
    let weights = [1.0, 2.0, 1.0, 0.0, 1.0]; // the second step of the second sample has no target
    let train = |missing: f64| {
        let targets = [0.1, 0.2, 0.3, missing, 0.5];
        let data = Dataset::ragged(1, &lengths, &x, Target::Values(&targets))?.row_weights(&weights)?;
        let network = Sequential::<f64>::input(1).gru(6).linear(1).build()?;
        let settings = TrainConfig { epochs: 100, ..TrainConfig::default() };
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.02), settings)?;
        let epochs = trainer.fit(&data)?;
        assert!(epochs[99].loss < 0.1 * epochs[0].loss);
        Ok::<_, Error>((trainer.predict(&data)?, trainer.predict(&Dataset::sequences(1, 3, &x[2..], None)?)?))
    };
    let (all, alone) = train(0.0)?;
    assert_eq!(train(1e6)?.0, all);
    assert_eq!(all[2..], alone);
    Ok(())
}
