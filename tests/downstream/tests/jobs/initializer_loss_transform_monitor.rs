//! An initializer, a loss, an optimizer and a monitor, in one training.

use chainrule::initializer::{Initializer, Shape};
use chainrule::loss::{Loss, Reduction, Rows, Target};
use chainrule::transform::{GradientTransform, Outcome, Stage, Update};
use chainrule::{Error, GradientMonitor, Scalar, dataset::Dataset, monitor::Link, rand_core::Rng};
use chainrule::{
    layer::{Linear, Sequential},
    random::uniform,
    trainer::{FitOptions, TrainConfig, Trainer},
};

/// Plus or minus `1/√fan_in`, each with probability ½.
#[derive(Clone, Debug)]
struct Signs;

impl Initializer for Signs {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        let (expected, found) = (shape.rows * shape.columns, values.len());
        if expected != found {
            return Err(Error::Length { what: "values of Signs", expected, found });
        }
        let size = (shape.fan_in() as f64).sqrt().recip();
        values.iter_mut().for_each(|value| *value = if uniform(rng) < 0.5 { size } else { -size });
        Ok(())
    }
}
chainrule::initializer_laws!(signs_keep_their_laws, Signs);

/// `√(1 + (y − t)²) − 1`.
#[derive(Debug)]
struct PseudoHuber;

impl<T: Scalar> Loss<T> for PseudoHuber {
    fn evaluate(&self, n: usize, y: &[T], t: Target<T>, rows: Option<&[T]>, dy: &mut [T]) -> Result<T, Error> {
        Rows::new(n, y, t, rows, dy)?.reduce_values("PseudoHuber", n, Reduction::Mean, |y, t, dy| {
            let mut sum = T::zero();
            for ((&y, &t), dy) in y.iter().zip(t).zip(dy) {
                let (d, root) = (y - t, (y - t).hypot(T::one()));
                sum += d * (d / (root + T::one()));
                *dy = d / root;
            }
            Ok(sum)
        })
    }
    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }
}
chainrule::loss_laws!(pseudo_huber_keeps_its_laws, PseudoHuber);

/// `w ← w − rate · sign(g)`.
#[derive(Clone, Debug)]
struct SignDescent(f64);

impl<T: Scalar> GradientTransform<T> for SignDescent {
    fn stage(&self) -> Stage {
        Stage::Optimizer
    }
    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        for block in update.blocks.iter().filter(|block| !block.frozen) {
            for g in update.gradient[block.range.clone()].iter_mut().filter(|g| !g.is_zero()) {
                *g = -g.signum() * chainrule::scalar(self.0);
            }
        }
        Ok(Outcome::Apply)
    }
}

/// The largest gradient that passed any link.
#[derive(Clone, Debug, Default)]
struct Largest(f64);

impl<T: Scalar> GradientMonitor<T> for Largest {
    fn backward(&mut self, _at: &Link<'_>, _dy: &[T], dx: &[T]) {
        self.0 = dx.iter().fold(self.0, |largest, &dx| largest.max(chainrule::to_f64(dx).abs()));
    }
}
chainrule::monitor_laws!(largest_keeps_its_laws, Largest::default());

#[test]
fn training_with_own_parts_lowers_the_loss() -> Result<(), Error> {
    let x: Vec<f32> = (0..128).map(|i| (i as f32 * 2.4).sin()).collect();
    let y: Vec<f32> = x.chunks(2).map(|x| x[0] * x[1]).collect();
    let data = Dataset::rows(2, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(2).layer(Linear::new(2, 16).weights(Signs)).tanh().linear(1).build()?;
    let settings = TrainConfig { epochs: 100, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, PseudoHuber, SignDescent(0.003), settings)?;
    let mut largest = Largest::default();
    let epochs = trainer.fit_with(&data, FitOptions::new().monitor(&mut largest))?;
    assert!(epochs[99].loss < 0.5 * epochs[0].loss && largest.0 > 0.0);
    Ok(())
}
