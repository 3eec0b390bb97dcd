//! Training of a case with a monitor.

use crate::cases::{Case, Targets};
use chainrule::{
    Error, GradientMonitor,
    dataset::{Batch, Dataset},
    loss::{CrossEntropy, Loss, MeanSquaredError, Reduction, Target},
    random::shuffle,
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ClipNorm, GradientTransform, Outcome, ParameterGroups, Sgd, SkipNonFinite},
};

const BATCH: usize = 32;

/// A loss times a factor.
#[derive(Debug)]
struct Scaled<L>(L, f32);

impl<L: Loss<f32>> Loss<f32> for Scaled<L> {
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
    fn total_weight(&self, width: usize, target: Target<'_, f32>, row_weights: Option<&[f32]>) -> f64 {
        self.0.total_weight(width, target, row_weights)
    }
    fn reduction(&self) -> Reduction {
        self.0.reduction()
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
        Some(block) => {
            Box::new((SkipNonFinite::new().limit(1_000_000), chain, ParameterGroups::new().rate(block, 0.0)))
        }
        None => Box::new((SkipNonFinite::new().limit(1_000_000), chain)),
    }
}

/// The results of a training.
#[derive(Clone, Copy, Debug)]
pub struct Outcomes {
    pub loss: f64,
    /// The fraction of samples classified correctly, or of variance explained; 0 if training broke.
    pub level: f64,
}

/// Trains a case; `look` is called after each monitored step, and stops the training if it returns `true`.
pub fn train<M: GradientMonitor<f32>>(
    case: &Case,
    monitor: &mut M,
    look: impl FnMut(&mut M, usize) -> bool,
) -> Result<Outcomes, Error> {
    match case.y {
        Targets::Classes(_) => train_for(case, CrossEntropy::new(), monitor, look),
        Targets::Values(..) => train_for(case, MeanSquaredError::new(), monitor, look),
    }
}

fn train_for<M: GradientMonitor<f32>>(
    case: &Case,
    loss: impl Loss<f32>,
    monitor: &mut M,
    mut look: impl FnMut(&mut M, usize) -> bool,
) -> Result<Outcomes, Error> {
    let targets = case.y.all();
    let data = match case.sequence {
        1 => Dataset::rows(case.width, &case.x, targets)?,
        steps => Dataset::sequences(case.width, steps, &case.x, targets)?,
    };
    let settings = TrainConfig { batch_size: BATCH, ..TrainConfig::default() };
    let loss = Scaled(loss, case.recipe.scale);
    let mut trainer = Trainer::new(&case.network, loss, transform(case), settings)?;
    trainer.parameters_mut().copy_from_slice(&case.w);
    if let Some(layer) = case.recipe.frozen {
        trainer.workspace_mut().freeze(layer)?;
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
    if !last.is_finite() {
        return Ok(Outcomes { loss: last, level: 0.0 });
    }
    let reached = trainer.evaluate(&data)?;
    let loss = reached.loss / f64::from(case.recipe.scale);
    Ok(Outcomes { loss, level: reached.accuracy.unwrap_or((1.0 - loss).max(0.0)) })
}
