//! Training a patient, watched.

use crate::cases::Case;
use chainrule::{
    Error, GradientMonitor,
    data::{Batch, Data},
    loss::{CrossEntropy, Loss, Reduction, Target},
    trainer::{Settings, Trainer, shuffle},
    transform::{Adam, BlockRates, ClipNorm, GradientTransform, Guard, Outcome, Sgd},
};

const BATCH: usize = 32;

/// The mean cross-entropy times a factor.
#[derive(Debug)]
struct Scaled(CrossEntropy, f32);

impl Loss<f32> for Scaled {
    fn evaluate(
        &self,
        width: usize,
        y: &[f32],
        target: Target<'_, f32>,
        row_weights: Option<&[f32]>,
        dy: &mut [f32],
    ) -> Result<f32, Error> {
        let loss = self.0.evaluate(width, y, target, row_weights, dy)?;
        dy.iter_mut().for_each(|dy| *dy *= self.1);
        Ok(loss * self.1)
    }
    fn counted(&self, width: usize, target: Target<'_, f32>, row_weights: Option<&[f32]>) -> f32 {
        self.0.counted(width, target, row_weights)
    }
    fn reduction(&self) -> Reduction {
        Loss::<f32>::reduction(&self.0)
    }
}

fn transform(case: &Case) -> Box<dyn GradientTransform<f32>> {
    let recipe = &case.recipe;
    let chain: Box<dyn GradientTransform<f32>> = match (recipe.adam, recipe.clip) {
        (true, Some(clip)) => Box::new((ClipNorm::new(clip), Adam::new(recipe.rate))),
        (true, None) => Box::new(Adam::new(recipe.rate)),
        (false, Some(clip)) => Box::new((ClipNorm::new(clip), Sgd::new(recipe.rate))),
        (false, None) => Box::new(Sgd::new(recipe.rate)),
    };
    match recipe.still {
        Some(block) => Box::new((Guard::new().limit(1_000_000), chain, BlockRates::new().rate(block, 0.0))),
        None => Box::new((Guard::new().limit(1_000_000), chain)),
    }
}

/// What training came to.
#[derive(Clone, Copy, Debug)]
pub struct Outcomes {
    pub loss: f64,
    pub accuracy: f64,
}

/// Trains a case; `look` is called after each watched step and stops it by `true`.
pub fn train<M: GradientMonitor<f32>>(
    case: &Case,
    monitor: &mut M,
    mut look: impl FnMut(&mut M, usize) -> bool,
) -> Result<Outcomes, Error> {
    let targets = Target::Classes(&case.y);
    let data = match case.sequence {
        1 => Data::rows(case.width, &case.x, targets)?,
        steps => Data::sequences(case.width, steps, &case.x, targets)?,
    };
    let settings = Settings { batch: BATCH, ..Settings::default() };
    let loss = Scaled(CrossEntropy::new(), case.recipe.scale);
    let mut trainer = Trainer::for_steps(&case.network, loss, transform(case), settings, case.sequence)?;
    trainer.parameters_mut().copy_from_slice(&case.w);
    if let Some(layer) = case.recipe.frozen {
        trainer.tape_mut().freeze(layer)?;
    }
    let mut batch = Batch::new(&data, BATCH);
    let mut order: Vec<usize> = (0..data.samples()).collect();
    let (mut last, mut at, mut epoch) = (f64::NAN, 0, 0);
    for step in 0..case.recipe.before + case.recipe.steps {
        if at == 0 {
            shuffle(&mut order, 1, epoch);
            epoch += 1;
        }
        let samples = &order[at..at + BATCH];
        at = if at + 2 * BATCH > order.len() { 0 } else { at + BATCH };
        if step < case.recipe.before {
            trainer.step(&data, &mut batch, samples, &mut ())?;
            continue;
        }
        let (loss, outcome) = trainer.step(&data, &mut batch, samples, &mut *monitor)?;
        last = if outcome == Outcome::Skip { f64::NAN } else { loss };
        if look(monitor, step - case.recipe.before + 1) {
            break;
        }
    }
    let accuracy = match last.is_finite() {
        true => trainer.evaluate(&data)?.accuracy.unwrap_or(0.0),
        false => 0.0,
    };
    Ok(Outcomes { loss: last / f64::from(case.recipe.scale), accuracy })
}
