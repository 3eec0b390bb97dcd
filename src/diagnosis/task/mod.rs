//! Measurements of data and loss: the effect on the loss of the outputs' range, of constant outputs, of dropout masks
//! and of single samples, and whether the targets depend on the inputs.

mod bounds;
mod identical;
mod information;
mod learned;
mod outlier;

use super::{
    Diagnosis, Thresholds,
    columns::{Columns, Entering},
    difference,
    setup::loss_name,
};
use crate::{
    activation::Activation,
    block::Blocks,
    dataset::{Batch, Dataset, Standardize},
    error::Error,
    layer::{DropoutKey, Layer, LayerSpec, Mode, finite_or_initial, initialize_dyn},
    loss::{Loss, Reduction, Target},
    monitor::GradientMonitor,
    scalar::{Scalar, scalar, to_f64},
    workspace::{Workspace, check_width, per_step},
};
use alloc::{boxed::Box, string::String, vec, vec::Vec};

pub(super) use bounds::{LossBounds, STEPS, floor};
use identical::Identical;
pub(super) use outlier::{Outliers, Sizes, large_inputs};

/// The largest number of samples that are measured, evenly spaced over the data.
const SAMPLES: usize = 256;
/// The largest number of input values, and of eight times the output values, of samples whose targets are measured
/// without a pass. [`SAMPLES`] samples may exceed it.
const MOST: usize = 1 << 20;
/// The number of dropout masks over which the loss with masks, and the change of the outputs by masks, are averaged.
const MASKS: u64 = 4;

/// Measurements of data and loss with the current parameters.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// The name of the loss.
    pub name: String,
    /// The loss on up to 256 samples, evenly spaced over all data, with dropout disabled.
    pub loss: f64,
    /// The lowest loss of the outputs with their distances from the means of their columns multiplied by 1, 2, 4 and
    /// so on, up to 4096.
    pub rescaled: f64,
    /// The mean loss over dropout masks, recurrent dropout and zoneout included, and the fraction of the variance of
    /// the outputs that is due to the masks. `None` without dropout.
    pub masked: Option<[f64; 2]>,
    /// The lowest loss of constant outputs and that of any outputs, for the targets of as many samples as [`MOST`]
    /// allows. `None` for a loss that sums over rows: its value depends on the batch size, so it cannot be compared
    /// with the losses of a run.
    pub all: Option<LossBounds>,
    /// The lowest loss of constant outputs and that of any outputs, for the same samples as [`loss`](Self::loss).
    pub measured: LossBounds,
    /// The number of standard errors by which the loss is below that of outputs that are the same for every row.
    /// `None` if it is not known, and if a given parameter is not finite.
    pub errors_below: Option<f64>,
    /// The standard deviation of the outputs over rows, divided by their root mean square. `None` for classes, and
    /// for outputs that are all 0.
    pub spread: Option<f64>,
    /// Three numbers of the gradient ∂L/∂y, y being the outputs without dropout: its variance over rows and the square
    /// of its mean, both summed over columns, and the number of rows. If the loss is a mean over rows, the gradient of
    /// each row has the factor 1/rows.
    pub row_gradients: [f64; 3],
    /// Whether the gradient of the loss has the wrong sign: the loss rises along the negative gradient.
    pub is_reversed: bool,
    /// The lowest loss of any outputs within the range of the last layer; `None` if that range has no bound.
    pub least: Option<f64>,
    /// The p-value of the hypothesis that targets do not depend on inputs; `None` for targets with one row per time
    /// step, sequences of different lengths, or fewer than ten samples.
    pub independent: Option<f64>,
    /// Whether all samples have the same targets.
    pub same_targets: bool,
    /// The few samples, at most an eighth of all or one, whose inputs or targets are far larger than those of the
    /// others, as a whole or by single values. Their effect on the gradient is included. `None` if there are none.
    pub outliers: Option<Outliers>,
    /// The samples whose inputs are identical; `None` if there are none.
    pub identical: Option<Identical>,
    /// The root mean square distance from outputs to targets over the larger of 1 and the root mean square of the
    /// outputs: with the given targets, and with targets standardized by column. `None` for classes, and if the loss
    /// or a value does not permit it.
    pub targets: Option<[f64; 2]>,
    /// The standard deviation of the targets over rows, around the means of their columns; `None` for classes.
    pub target_spread: Option<f64>,
    /// Whether the targets are classes.
    pub has_classes: bool,
    /// Whether the targets are classes, or values of which none is below 0, as probabilities are.
    pub has_shares: bool,
    /// The sizes of the input columns, and their effects on the first pre-activations. `None` for inputs that are
    /// indices, and if the first layer with weights does not read the input columns.
    pub columns: Option<Columns>,
    /// Whether a given parameter is not finite, so that everything was measured with initial values.
    pub initial: bool,
    /// The number of forward and backward passes that the measurements took.
    pub passes: usize,
}

/// A batch of samples from all of the data, with the network, parameters and loss that are evaluated on it.
struct Rows<'a, T: Scalar> {
    workspace: Workspace<T, Box<dyn Layer<T>>>,
    w: &'a [T],
    loss: &'a dyn Loss<T>,
    batch: Batch<T>,
    width: usize,
    /// The number of rows of the output: samples, or time steps of all samples.
    count: usize,
    /// The mode of passes without dropout masks. It is that of training if the outputs of one sample depend on
    /// others, so that batch norms take their statistics from the batch, as in the run.
    mode: Mode,
    passes: usize,
}

impl<T: Scalar> Rows<'_, T> {
    /// Computes the loss of the outputs `y`, and overwrites `dy` with its gradient.
    fn loss_of(&self, y: &[T], dy: &mut [T]) -> Result<f64, Error> {
        let (target, weights) = (self.batch.target(), self.batch.row_weights());
        self.loss.evaluate_wide(self.width, y, target, weights, dy)
    }

    /// Calls `measure` with the targets of all samples, or of as many, evenly spaced, as [`MOST`] values permit: a few
    /// samples can miss a rare class. No pass is made.
    fn with_targets_of<R>(
        &mut self,
        data: &Dataset<'_, T>,
        per_step: bool,
        measure: impl FnOnce(&Self) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let each = data.width().max(self.width.saturating_mul(8)).saturating_mul(data.steps()).max(1);
        let count = data.samples().min((MOST / each).max(SAMPLES));
        let samples: Vec<usize> = (0..count).map(|i| i * data.samples() / count).collect();
        let mut batch = Batch::new(data, count);
        batch.gather(data, &samples, per_step)?;
        let rows = self.workspace.network().output_shape(batch.shape()).rows();
        let kept = (core::mem::replace(&mut self.batch, batch), core::mem::replace(&mut self.count, rows));
        let measured = measure(self);
        (self.batch, self.count) = kept;
        measured
    }

    fn outputs(&mut self, mode: Mode) -> Result<Vec<T>, Error> {
        self.outputs_with(mode, &mut ())
    }

    fn outputs_with(&mut self, mode: Mode, monitor: &mut dyn GradientMonitor<T>) -> Result<Vec<T>, Error> {
        self.passes += 1;
        let (x, shape) = (self.batch.x(), self.batch.shape());
        Ok(self.workspace.forward_with(self.w, x, shape, mode, monitor)?.y.to_vec())
    }

    /// Returns the distance from `y` to the targets over the larger of 1 and the root mean square of y. The distance
    /// is `2 L / (‖∂L/∂y‖ √n)` for a loss L and n values. The first value is for the given targets, the second
    /// for targets standardized by column. `None` for classes, if a value is not finite, or if the loss does not take
    /// standardized targets: the targets of `ValueWeights` include weights, and those of some losses have a range.
    fn target_scale(&self, y: &[T]) -> Result<Option<[f64; 2]>, Error> {
        let (target, weights) = (self.batch.target(), self.batch.row_weights());
        let Target::Values(values) = target else { return Ok(None) };
        let (width, mut scaled) = (self.loss.target_width(self.width), values.to_vec());
        if width > self.width {
            return Ok(None);
        }
        let Ok(columns) = Standardize::of(width, values) else { return Ok(None) };
        columns.apply(&mut scaled)?;
        let norm = |values: &[T]| libm::sqrt(values.iter().map(|&value| to_f64(value) * to_f64(value)).sum::<f64>());
        let (count, mut dy) = (libm::sqrt(y.len() as f64), vec![T::zero(); y.len()]);
        let size = f64::max(norm(y) / count, 1.0);
        let mut distance = |target: Target<'_, T>| -> Result<f64, Error> {
            let loss = self.loss.evaluate_wide(self.width, y, target, weights, &mut dy)?;
            Ok(2.0 * loss / (norm(&dy) * count) / size)
        };
        let (given, Ok(standardized)) = (distance(target)?, distance(Target::Values(&scaled))) else { return Ok(None) };
        let both = [given, standardized];
        Ok(Some(both).filter(|both| both.iter().all(|distance| distance.is_finite())))
    }

    /// Returns the mean loss over dropout masks, and the fraction m/(m + r) of the outputs' variance that is due to
    /// the masks. m is the mean square of the change of an output by a mask; r is the variance over rows of
    /// `undisturbed`, the outputs without dropout.
    fn masked(&mut self, undisturbed: &[T]) -> Result<[f64; 2], Error> {
        let (mut loss, mut noise, mut dy) = (0.0, 0.0, vec![T::zero(); undisturbed.len()]);
        for mask in 0..MASKS {
            self.workspace.set_dropout_key(DropoutKey::new(mask, 0));
            let y = self.outputs(Mode::Train)?;
            loss += self.loss_of(&y, &mut dy)? / MASKS as f64;
            let apart = |(&y, &mean): (&T, &T)| (to_f64(y) - to_f64(mean)) * (to_f64(y) - to_f64(mean));
            noise += y.iter().zip(undisturbed).map(apart).sum::<f64>() / MASKS as f64;
        }
        let [signal, _] = squares(self.width, undisturbed);
        self.workspace.set_dropout_key(DropoutKey::off());
        Ok([loss, if noise > 0.0 { noise / (noise + signal) } else { 0.0 }])
    }
}

/// Returns the highest rate of a layer's dropout, recurrent dropout and zoneout, with its name. `None` if none of the
/// rates is above 0.
pub(super) fn heaviest_masks(leaf: &LayerSpec) -> Option<(&'static str, f64)> {
    match leaf {
        LayerSpec::Dropout(dropout) => Some(("dropout", dropout.rate)).filter(|(_, rate)| *rate > 0.0),
        LayerSpec::Recurrent { noise, .. } => noise.facts().max_by(|a, b| a.1.total_cmp(&b.1)),
        _ => None,
    }
}

/// Returns the dropout key and the mode of a pass with masks as in a run. The masks are the same in each pass, so that
/// two passes differ only by the change under test. Without masks the mode is that of an [analysis](Mode::to_examine).
pub(super) fn as_in_run<T: Scalar>(network: &(impl Layer<T> + ?Sized)) -> (DropoutKey, Mode) {
    match network.spec().parts().iter().any(|(_, part)| heaviest_masks(part).is_some()) {
        true => (DropoutKey::new(0, 0), Mode::Train),
        false => (DropoutKey::off(), Mode::to_examine(network)),
    }
}

/// Returns the lowest and the highest possible output of the last layer, if it is a softmax or an activation that has
/// a bound on one side at least; otherwise `None`. An end without a bound is ± `most`.
fn range(spec: &LayerSpec, most: f64) -> Option<[f64; 2]> {
    match spec.last_layer().1 {
        LayerSpec::Softmax(_) => Some([0.0, 1.0]),
        LayerSpec::ActivationLayer { activation, .. } => {
            let grid = (-200..=200).map(|i| 0.25 * f64::from(i)).chain([-1e3, 1e3]);
            let values: Vec<f64> = grid.map(|z| activation.value(z)).collect();
            let [low, high] = [f64::min, f64::max].map(|of| values.iter().copied().fold(values[0], of));
            let far = [-1e6, 1e6].map(|z| activation.value(z));
            let near = |value: f64| 1e-3 * (1.0 + value.abs());
            let ends = [
                if far.iter().all(|&far| far >= low - near(low)) { low } else { -most },
                if far.iter().all(|&far| far <= high + near(high)) { high } else { most },
            ];
            (low < high && ends.iter().any(|end| end.abs() < most)).then_some(ends)
        }
        _ => None,
    }
}

/// Returns two sums of squares over the outputs `y`: of their distances from the means of their columns, and of `y`
/// itself.
fn squares<T: Scalar>(width: usize, y: &[T]) -> [f64; 2] {
    let rows = (y.len() / width.max(1)).max(1) as f64;
    let (mut apart, mut square) = (0.0, 0.0);
    for column in 0..width {
        let values = || y.iter().skip(column).step_by(width).map(|&y| to_f64(y));
        let mean = values().sum::<f64>() / rows;
        apart += values().map(|y| (y - mean) * (y - mean)).sum::<f64>();
        square += values().map(|y| y * y).sum::<f64>();
    }
    [apart, square]
}

impl Task {
    fn new<T: Scalar>(
        spec: &LayerSpec,
        w: &[T],
        data: &Dataset<'_, T>,
        loss: &dyn Loss<T>,
        thresholds: &Thresholds,
    ) -> Result<Option<Self>, Error> {
        if data.targets().is_none() {
            return Ok(None);
        }
        let network = spec.build::<T>()?;
        check_width(network.dims().input, &data.layout())?;
        let (width, steps) = (network.dims().output, per_step(&*network)?);
        let count = data.samples().min(SAMPLES);
        let samples: Vec<usize> = (0..count).map(|i| i * data.samples() / count).collect();
        let mut batch = Batch::new(data, count);
        batch.gather(data, &samples, steps)?;
        let (mode, shape) = (Mode::to_examine(&*network), batch.shape());
        let masks = spec.parts().iter().any(|(_, part)| heaviest_masks(part).is_some());
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        let (given, w) = (w, &*finite_or_initial(&*network, w)?);
        let initial = !core::ptr::eq(given, w);
        let mut workspace = Workspace::new(network, shape)?;
        workspace.set_dropout_key(DropoutKey::off());
        let mut rows = Rows { workspace, w, loss, batch, width, count: 0, mode, passes: 0 };
        let mut entering = Entering::new(spec);
        let y = rows.outputs_with(mode, &mut entering)?;
        let columns = Columns::of(&blocks, w, data.width(), rows.batch.x(), &entering);
        rows.count = y.len() / width.max(1);
        let mut dy = vec![scalar(0.0); y.len()];
        let now = rows.loss_of(&y, &mut dy)?;
        let row_gradients = bounds::row_gradients(width, &dy);
        let rescaled = f64::min(bounds::rescaled(&rows, &y)?, now);
        let is_reversed = bounds::is_reversed(&rows, &y, &dy, now)?;
        // With a gradient of the wrong sign, gradient descent finds no lowest loss.
        let known = |it: LossBounds| LossBounds { floor: it.floor.filter(|_| !is_reversed), ..it };
        let all = match rows.loss.reduction() {
            Reduction::Sum => None,
            Reduction::Mean => {
                let own = rows.count;
                Some(
                    rows.with_targets_of(data, steps, |rows| Ok((LossBounds::with_outputs(rows)?, rows.count != own)))?,
                )
            }
        };
        let has_classes = matches!(data.targets(), Some(Target::Classes(_)));
        let is_share = |&value: &T| value >= T::zero();
        let has_shares = matches!(data.targets(), Some(Target::Values(all)) if all.iter().all(is_share)) || has_classes;
        let [apart, square] = squares(width, &y);
        let spread = Some(libm::sqrt(apart / square)).filter(|spread| !has_classes && spread.is_finite());
        let most = f64::min(1e6, 0.25 * to_f64(T::max_value()));
        let least = range(spec, most).map(|range| bounds::least(&rows, range)).transpose()?;
        let each_step = steps && data.steps() > 1;
        let independent = if each_step { None } else { information::p_value(data, &samples) };
        let masked = if masks { Some(rows.masked(&y)?) } else { None };
        let targets = rows.target_scale(&y)?;
        let target_spread = match rows.batch.target() {
            Target::Values(values) => {
                Some(libm::sqrt(squares(loss.target_width(width), values)[0] / values.len().max(1) as f64))
            }
            Target::Classes(_) => None,
        };
        let identical = identical::find(data, &samples, &rows)?;
        let (measured, best) = match &all {
            Some((all, false)) => all.clone(),
            _ => LossBounds::with_outputs(&rows)?,
        };
        let best = all.as_ref().map_or(&best, |((_, best), _)| best);
        let errors_below = if initial { None } else { learned::errors_below_constant(data, steps, best, &mut rows)? };
        let (mut outliers, mut passes) = (outlier::find(data, &samples, steps, &mut rows, thresholds)?, rows.passes);
        // Training on these samples may have led to parameters that have no gradient.
        if let Some(found) = outliers.as_mut().filter(|found| !found.harms(thresholds)) {
            let w = initialize_dyn(&*spec.build::<T>()?, 0)?;
            let mut rows = Rows { w: &w, ..rows };
            found.at_first = outlier::gradients(data, &samples, steps, &mut rows, found)?;
            passes = rows.passes;
        }
        let (name, loss) = (loss_name(loss), now);
        Ok(Some(Task {
            name,
            loss,
            rescaled,
            masked,
            all: all.map(|((all, _), _)| known(all)),
            measured: known(measured),
            errors_below,
            spread,
            row_gradients,
            is_reversed,
            least,
            independent,
            same_targets: information::is_constant(data),
            outliers,
            identical,
            has_classes,
            has_shares,
            targets,
            target_spread,
            columns,
            initial,
            passes,
        }))
    }
}

impl Diagnosis<'_> {
    /// Adds measurements of the data and the loss with the parameters `w`, on up to 256 samples spread over all data.
    ///
    /// They are the loss with and without dropout (recurrent dropout and zoneout included), and the lowest loss of
    /// outputs in the range of the last layer. The loss of the best constant outputs and the lowest loss of any
    /// outputs are for the targets of all samples, up to a million values: a rare class is in few of 256 samples. The
    /// gradient is measured with and without the few samples that are far larger than the others. It is the gradient
    /// of the loss if the targets of these samples are large, otherwise that for errors of norm 1 in each row of the
    /// outputs. The lowest loss for inputs of which some are identical is measured, too. A permutation test of the
    /// distance covariance of inputs and targets (Székely & Rizzo 2007) shows whether the targets depend on the
    /// inputs. All this takes about ten passes and 600 evaluations of the loss. Nothing is measured for a network
    /// with a custom layer or cell, or for data without targets. Batch norms take their statistics from these
    /// samples. If a parameter is NaN or infinite, all is measured with initial values.
    ///
    /// # Errors
    /// [`DataRule::Width`](crate::DataRule::Width) for data of another width than the network's input. The errors of
    /// [`Batch::gather`], of [`LayerSpec::build`] except [`Error::CustomPart`], and of [`Workspace::new`],
    /// [`Workspace::forward`] and [`Loss::evaluate`].
    ///
    /// # Panics
    /// As [`Workspace::forward`].
    pub fn task<T: Scalar>(self, w: &[T], data: &Dataset<'_, T>, loss: &dyn Loss<T>) -> Result<Self, Error> {
        match Task::new(&self.spec, w, data, loss, &self.thresholds) {
            Ok(task) => {
                let network = self.spec.build::<T>();
                let sizes = network.map_or(self.sizes, |network| difference::sizes(&*network, w));
                Ok(Diagnosis { task, sizes, ..self })
            }
            Err(Error::CustomPart { .. }) => Ok(self),
            Err(error) => Err(error),
        }
    }
}
