//! Runs in 16 bits, saved and resumed.

use crate::numbers::seeded_numbers;
use chainrule::{
    Error, Scalar,
    checkpoint::{Checkpoint, Values},
    dataset::Dataset,
    layer::{Linear, Sequential},
    loss::{MeanSquaredError, Target},
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, ClipNorm, WeightAverage},
};
use half::{bf16, f16};

/// Everything that a run keeps: three numbers for each value of an optimizer's state and of running statistics, the
/// best values and an average. A run in two parts equals one without a break.
fn resumes<T: Scalar>() {
    let (x, y) = (seeded_numbers::<T>(1, 22 * 3), seeded_numbers::<T>(2, 22));
    let data = Dataset::sequences(1, 3, &x, Target::Values(&y)).unwrap();
    let trainer = |epochs, seed| {
        let network =
            Sequential::<T>::input(1).lstm(3).batch_norm().dropout(0.2).last_step().linear(1).build().unwrap();
        let transform = (ClipNorm::new(1.0), Adam::new(0.01), WeightAverage::new(0.9));
        let settings = TrainConfig { epochs, seed, batch_size: 4, patience: Some(9), ..TrainConfig::default() };
        Trainer::new(network, MeanSquaredError::new(), transform, settings).unwrap()
    };
    let options = || FitOptions::new().validation(&data);
    let mut whole = trainer(6, 1);
    whole.fit_with(&data, options()).unwrap();
    for epochs in [0, 2, 5] {
        let mut first = trainer(epochs, 1);
        if epochs > 0 {
            first.fit_with(&data, options()).unwrap();
        }
        let mut second = trainer(6, 7);
        let _ = second.load_bytes(&first.to_bytes().unwrap()).unwrap();
        second.fit_with(&data, options()).unwrap();
        assert!(second.to_bytes().unwrap() == whole.to_bytes().unwrap(), "{epochs} epochs before the break");
    }
}

#[test]
fn run_in_16_bits_resumes_to_the_bit() {
    resumes::<f16>();
    resumes::<bf16>();
}

/// Every pattern of 16 bits that is a number or ±∞ survives, and NaN is NaN.
fn keeps_all<T: Scalar>(from_bits: fn(u16) -> T, to_bits: fn(T) -> u16) {
    let all: Vec<T> = (0..=u16::MAX).map(from_bits).collect();
    let network = Linear::new(all.len(), 1).without_bias();
    let mut checkpoint = Checkpoint::new(all.clone());
    assert!(matches!(checkpoint.to_bytes(&network), Err(Error::CheckpointValue { .. })));
    checkpoint.values = Values::Any;
    let bytes = checkpoint.to_bytes(&network).unwrap();
    let read = Checkpoint::<T>::from_bytes(&network, &bytes, Values::Any).unwrap();
    for (&read, x) in read.parameters.iter().zip(all) {
        assert!(read.is_nan() && x.is_nan() || to_bits(read) == to_bits(x), "{x:?} {read:?}");
    }
    // A run of another number format is refused.
    assert!(matches!(Checkpoint::<f32>::from_bytes(&network, &bytes, Values::Any), Err(Error::Checkpoint { .. })));
}

#[test]
fn checkpoint_in_16_bits_keeps_every_number() {
    keeps_all::<f16>(f16::from_bits, f16::to_bits);
    keeps_all::<bf16>(bf16::from_bits, bf16::to_bits);
}
