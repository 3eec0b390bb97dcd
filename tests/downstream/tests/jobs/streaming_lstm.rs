//! An LSTM that forecasts a series, one step at a time.

use chainrule::dataset::{Dataset, Windows};
use chainrule::{Error, layer::Sequential, loss::MeanSquaredError, model::Model};
use chainrule::{
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ClipNorm},
};

#[test]
fn streamed_forecast_is_that_of_the_whole_sequence() -> Result<(), Error> {
    let wave: Vec<f32> = (0..330).map(|t| (t as f32 * 0.2).sin()).collect();
    let data = Windows::new(20).stride(3).every_step().of(1, &wave[..320])?;
    let network = Sequential::<f32>::input(1).lstm(16).linear(1).build()?;
    let settings = TrainConfig { epochs: 30, ..TrainConfig::default() };
    let chain = (ClipNorm::new(1.0), Adam::new(0.01));
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, settings)?;
    let epochs = trainer.fit(&data)?;
    assert!(epochs[29].loss < 0.05 * epochs[0].loss);

    let bytes = trainer.into_model()?.to_bytes()?; // include_bytes! in another program
    let model = Model::<f32>::from_bytes(&bytes)?;
    let whole = model.predict(&Dataset::sequences(1, 20, &wave[300..320], None)?)?;
    let mut stream = model.stream()?;
    for (x, y) in wave[300..320].iter().zip(&whole) {
        assert_eq!(stream.step(&[*x])?, [*y]);
    }
    assert!((whole[19] - wave[320]).abs() < 0.2);
    Ok(())
}
