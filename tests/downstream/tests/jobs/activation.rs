//! An activation with its laws, trained, saved and loaded.

use chainrule::dataset::Dataset;
use chainrule::loss::{MeanSquaredError, Target};
use chainrule::trainer::{TrainConfig, Trainer};
use chainrule::{
    Activation, Bounds, Error, Scalar, layer::Sequential, model::Model, network::Registry, transform::Adam,
};

/// `y = sin z`.
#[derive(Clone, Debug)]
struct Sine;

impl Activation for Sine {
    fn value<T: Scalar>(&self, z: T) -> T {
        z.sin()
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        z.cos()
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(-1.0, 1.0))
    }
}

chainrule::activation_laws!(sine_keeps_its_laws, Sine);

#[test]
fn network_with_an_own_activation_is_saved_and_loaded() -> Result<(), Error> {
    let x: Vec<f32> = (0..64).map(|i| i as f32 / 16.0 - 2.0).collect();
    let y: Vec<f32> = x.iter().map(|x| (3.0 * x).sin()).collect();
    let data = Dataset::rows(1, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(1).linear(16).activation(Sine).linear(1).build()?;
    let settings = TrainConfig { epochs: 200, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.02), settings)?;
    let epochs = trainer.fit(&data)?;
    assert!(epochs[199].loss < 0.1 * epochs[0].loss);

    let model = trainer.into_model()?;
    let bytes = model.to_bytes()?;
    assert!(matches!(Model::<f32>::from_bytes(&bytes), Err(Error::CustomPart { .. })));
    let parts = Registry::<f32>::new().activation("Sine", |_| Ok(Sine));
    let loaded = Model::from_bytes_registered(&bytes, &parts)?;
    assert_eq!(loaded.predict(&data)?, model.predict(&data)?);
    Ok(())
}
