//! An activation of your own with the bounds of its derivative, a line that tests its laws, a property of your own, and
//! measured bounds that are the declared ones.
//!
//! `cargo run --example custom_activation` trains with it, `cargo test --example custom_activation` tests it; with
//! `--features proptest,approx` the property and the measured bounds, too.

use chainrule::{
    Activation, Bounds, Scalar, activation_laws,
    dataset::Dataset,
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    testing::measure_derivative,
    trainer::{TrainConfig, Trainer},
    transform::Adam,
};

#[derive(Clone, Debug)]
struct Sine;
#[rustfmt::skip]
impl Activation for Sine {
    fn value<T: Scalar>(&self, z: T) -> T { z.sin() }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T { z.cos() }
    fn derivative_bounds(&self) -> Option<Bounds> { Some(Bounds::new(-1.0, 1.0)) }
}
activation_laws!(sine_keeps_its_laws, Sine);
#[cfg(all(test, feature = "proptest", feature = "approx"))]
#[rustfmt::skip]
mod properties {
    use super::*;
    use chainrule::{approx::assert_abs_diff_eq, proptest::prelude::*, testing::strategies::arguments_of};
    proptest! { #[test] fn slope_is_within_its_bounds(z in arguments_of::<f32>(&Sine)) {
        prop_assert!(Bounds::new(-1.0, 1.0).contains(Sine.derivative(z, Sine.value(z))));
    } }
    #[test] fn measured_bounds_are_the_declared_ones() {
        assert_abs_diff_eq!(measure_derivative(&Sine, 0).bounds, Bounds::new(-1.0, 1.0), epsilon = 1e-8);
    }
}

fn main() -> Result<(), chainrule::Error> {
    println!("{}\n", measure_derivative(&Sine, 0));

    let x: Vec<f64> = (0..200).map(|i| f64::from(i) / 100.0 - 1.0).collect();
    let y: Vec<f64> = x.iter().map(|x| (5.0 * x).sin() * x).collect();
    let data = Dataset::rows(1, &x, Target::Values(&y))?;
    let network = Sequential::<f64>::input(1).linear(16).activation(Sine).linear(1).build()?;
    let settings = TrainConfig { epochs: 100, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.01), settings)?;
    let epochs = trainer.fit(&data)?;
    let (first, last) = (epochs[0].loss, epochs[epochs.len() - 1].loss);
    println!("loss {first:.4} after one epoch, {last:.4} after {}", epochs.len());
    Ok(())
}
