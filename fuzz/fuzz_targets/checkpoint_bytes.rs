//! Bytes as a checkpoint or a model: an error, or values that were saved; never a panic.
//!
//! The checksum would stop nearly all mutations: with `cfg(fuzzing)`, which cargo-fuzz sets, it is not compared.
#![no_main]

use chainrule::{
    checkpoint::{Checkpoint, Values},
    layer::Sequential,
    loss::MeanSquaredError,
    model::Model,
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ReduceOnPlateau, SkipNonFinite},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let network = Sequential::<f32>::input(1).linear(2).linear(1).build().unwrap();
    let chain = (SkipNonFinite::new(), Adam::new(0.1), ReduceOnPlateau::new(0.5, 1));
    let mut run = Trainer::new(network, MeanSquaredError::new(), chain, TrainConfig::default()).unwrap();
    if run.load_bytes(bytes).is_ok() {
        // A run that was accepted can be saved, and is then the same.
        let before = run.checkpoint();
        let saved = run.to_bytes().unwrap();
        let _ = run.load_bytes(&saved).unwrap();
        assert_eq!(run.checkpoint(), before);
    }
    // A model that was accepted describes itself in bytes that are accepted.
    if let Ok(model) = Model::<f32>::from_bytes(bytes) {
        let saved = model.to_bytes().unwrap();
        assert_eq!(Model::<f32>::from_bytes(&saved).unwrap().to_bytes().unwrap(), saved);
    }
    if let Ok(any) = Checkpoint::<f32>::from_bytes(run.network(), bytes, Values::Any) {
        any.to_bytes(run.network()).unwrap();
    }
});
