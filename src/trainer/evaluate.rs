//! Loss, accuracy, metrics and predictions on data.

use super::{Evaluation, Run, Trainer};
#[cfg(doc)]
use crate::error::DataRule;
#[cfg(doc)]
use crate::workspace::Workspace;
use crate::{
    dataset::{Batch, Layout, Source},
    error::{Error, require},
    layer::Layer,
    loss::{Loss, Reduction, Target},
    metrics::accuracy,
    scalar::Scalar,
    size::{filled, grow, saturating_sum},
    transform::GradientTransform,
    workspace::{check_inputs, check_width},
};
use alloc::vec::Vec;

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// Computes loss and accuracy on `data` of the weights that are the [result of training](Self::result), without
    /// dropout.
    ///
    /// # Errors
    /// [`DataRule::Width`] if the width of the data is not that of the network's input; [`Error::InvalidState`] for
    /// data without targets; [`DataRule::LabelOutOfRange`], with the sample, for a class for which the network has no
    /// output. [`Error::NothingCounts`] if all rows of `data` are masked or of an ignored class. The errors of
    /// [`Batch::gather`], [`Workspace::infer`] and [`Loss::evaluate`] on `data`.
    ///
    /// # Panics
    /// As [`Workspace::infer`].
    pub fn evaluate(&mut self, data: &dyn Source<T>) -> Result<Evaluation, Error> {
        T::trainer_evaluate(&mut self.settled()?, "evaluation", data)
    }

    /// Computes the mean of a custom metric over the samples of `data`, with dropout disabled.
    ///
    /// `metric` receives the output width, the output and the targets of one batch at a time. All rows of one sample,
    /// in the order of its time steps, precede those of the next sample. Rows of weight 0 are left out, and so is a
    /// batch with only such rows. The mean weights each batch by its number of samples.
    ///
    /// # Errors
    /// [`Error::NothingCounts`] if all rows of `data` have the weight 0. The errors of [`Batch::gather`] and
    /// [`Workspace::infer`] on `data`.
    ///
    /// # Panics
    /// As [`Workspace::infer`].
    pub fn metric(
        &mut self,
        data: &dyn Source<T>,
        mut metric: impl FnMut(usize, &[T], Target<'_, T>) -> f64,
    ) -> Result<f64, Error> {
        let (width, per_step) = (self.workspace.dims().output, self.workspace.per_step());
        let (mut sum, mut samples) = (0.0, 0);
        let (mut order, mut outputs, mut classes, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        T::trainer_each_batch(&mut self.settled()?, data, &mut |_, batch, y| {
            batch.counted_rows(per_step, &mut order);
            if order.is_empty() {
                return Ok(());
            }
            sorted(&order, y, width, &mut outputs);
            let target = match batch.target() {
                Target::Classes(all) => {
                    sorted(&order, all, 1, &mut classes);
                    Target::Classes(&classes)
                }
                Target::Values(all) => {
                    sorted(&order, all, all.len() / (y.len() / width), &mut values);
                    Target::Values(&values)
                }
            };
            sum += metric(width, &outputs, target) * batch.samples().len() as f64;
            samples += batch.samples().len();
            Ok(())
        })?;
        if samples == 0 { Err(Error::NothingCounts { data: "evaluation" }) } else { Ok(sum / samples as f64) }
    }

    /// Returns the network's outputs for the samples of `data`, in their order, with dropout disabled.
    ///
    /// Data may have any number of samples, with or without targets, of any lengths in any order. The output of each
    /// sample has the same bits as if the network ran on this sample alone from a state of zero.
    ///
    /// # Shapes
    /// Sample after sample, each \[its output steps, output width\]. If the network outputs one row for a whole
    /// sequence, for example through [`LastStep`](crate::layer::LastStep), each sample has one output row.
    ///
    /// ```
    /// use chainrule::{dataset::Dataset, layer::Sequential, loss::MeanSquaredError};
    /// use chainrule::{trainer::{TrainConfig, Trainer}, transform::Sgd};
    /// let network = Sequential::<f64>::input(1).linear(2).build()?;
    /// let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default())?;
    /// let y = trainer.predict(&Dataset::rows(1, &[0.0, 1.0, 2.0], None)?)?;
    /// assert_eq!(y.len(), 3 * 2);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`DataRule::Width`] if the width of the data is not that of the network's input; [`Error::TooLarge`] if memory
    /// cannot hold the outputs. The errors of [`Workspace::infer`]; for data in files also the errors of
    /// [`Batch::gather`].
    ///
    /// # Panics
    /// As [`Workspace::infer`].
    pub fn predict(&mut self, data: &dyn Source<T>) -> Result<Vec<T>, Error> {
        self.settle()?;
        let w = self.optimizer.result(self.workspace.blocks()).unwrap_or(&self.parameters);
        T::workspace_predict(&mut self.workspace, &mut self.windows, w, data)
    }

    /// Writes the outputs of [`predict`](Self::predict) to a buffer.
    ///
    /// # Errors
    /// The errors of [`predict`](Self::predict); [`Error::Length`] if the length of the buffer is not that of the
    /// outputs.
    ///
    /// # Panics
    /// As [`Workspace::infer`].
    pub fn predict_into(&mut self, data: &dyn Source<T>, y: &mut [T]) -> Result<(), Error> {
        self.settle()?;
        let w = self.optimizer.result(self.workspace.blocks()).unwrap_or(&self.parameters);
        T::workspace_predict_into(&mut self.workspace, &mut self.windows, w, data, y)
    }
}

/// Overwrites `to` with the rows of `all`, each of `width` values, in the order of `order`. The second number of each
/// pair of `order` is the index of a row of `all`; the first number is not read.
fn sorted<X: Copy>(order: &[(usize, usize)], all: &[X], width: usize, to: &mut Vec<X>) {
    to.clear();
    order.iter().for_each(|&(_, row)| to.extend_from_slice(&all[row * width..][..width]));
}

/// A callback for each batch of an evaluation. It receives the loss function, the batch with its targets, and the
/// outputs of the network, row after row.
pub(crate) type EachBatch<'a, T> = dyn FnMut(&dyn Loss<T>, &Batch<T>, &[T]) -> Result<(), Error> + 'a;

impl<T: Scalar> Run<'_, T> {
    pub(crate) fn evaluate(&mut self, name: &'static str, data: &dyn Source<T>) -> Result<Evaluation, Error> {
        self.check_data(&data.layout())?;
        let width = self.workspace.dims().output;
        let (mut loss, mut right, mut rows, mut total_weight) = (0.0, 0.0, 0, 0.0);
        let (layout, size) = (data.layout(), self.settings.batch_size);
        let most = if self.workspace.per_step() { layout.most_rows(size) } else { layout.samples.min(size) };
        let mut dy = filled("the gradient of a loss", most.saturating_mul(width), T::zero())?;
        let mean = self.loss.reduction() == Reduction::Mean;
        self.each_batch(data, &mut |function, batch, y| {
            let (target, weights) = (batch.target(), batch.row_weights());
            let weight = function.total_weight(width, target, weights);
            let valid = weight >= 0.0 && weight.is_finite();
            require(valid, "the total weight of the rows in a loss", "finite and not negative", weight)?;
            // A batch whose rows all have the weight 0 has no mean loss.
            if weight == 0.0 {
                return Ok(());
            }
            let part = function.evaluate_wide(width, y, target, weights, &mut dy[..y.len()])?;
            loss += if mean { part * weight } else { part };
            total_weight += weight;
            if let Target::Classes(classes) = target {
                for (row, y) in y.chunks(width).enumerate() {
                    // Rows that do not count in the loss (masked, or of an ignored class) do not count in the
                    // accuracy.
                    let class = &classes[row..=row];
                    let weight = weights.map(|weights| &weights[row..=row]);
                    if function.total_weight(width, Target::Classes(class), weight) != 0.0 {
                        right += accuracy(width, y, class)?;
                        rows += 1;
                    }
                }
            }
            Ok(())
        })?;
        if total_weight == 0.0 {
            return Err(Error::NothingCounts { data: name });
        }
        if mean {
            loss /= total_weight;
        }
        Ok(Evaluation { loss, accuracy: (rows > 0).then(|| right / rows as f64) })
    }

    /// Runs the network on `data` in inference mode from a state of zero, batch by batch in order. Calls `visit` with
    /// the outputs of each batch.
    pub(crate) fn each_batch(&mut self, data: &dyn Source<T>, visit: &mut EachBatch<'_, T>) -> Result<(), Error> {
        check_inputs(self.workspace, data)?;
        let per_step = self.workspace.per_step();
        let mut batch = Batch::new(data, self.settings.batch_size);
        let (samples, size) = (data.layout().samples, self.settings.batch_size);
        self.reserve_pass(&data.layout(), samples.min(size), &[])?;
        let mut part = Vec::new();
        grow("the samples of a batch", &mut part, samples.min(size))?;
        let w = self.optimizer.result(self.workspace.blocks()).unwrap_or(self.parameters);
        for first in (0..samples).step_by(size) {
            part.clear();
            part.extend(first..samples.min(first.saturating_add(size)));
            // The input of a single pass is written to the workspace. It is written to the batch if it is processed
            // in several windows of time steps, or if the workspace, made for inference, has no memory for inputs.
            let in_windows = self.windows.as_ref().is_some_and(|windows| data.layout().steps > windows.steps);
            let in_batch = in_windows || !self.workspace.can_train();
            if in_batch {
                batch.gather(data, &part, per_step)?;
            } else {
                batch.choose(data, &part, per_step)?;
                batch.write_input(data, self.workspace.input_mut(batch.shape())?)?;
            }
            let x = in_batch.then_some(batch.x());
            let y = self.workspace.infer_from_zero(self.windows, w, x, batch.shape());
            let y = y.map_err(|error| batch.in_data(data, per_step, error))?;
            visit(self.loss, &batch, y).map_err(|error| batch.in_data(data, per_step, error))?;
        }
        Ok(())
    }

    /// Checks and prepares an update. Returns an error if `samples` is empty, if `data` has no targets, or if its
    /// width is not that of the network's input. Reserves the memory of the update's passes, except in data-parallel
    /// training, which reserves it after it has divided the samples among ranks.
    #[inline]
    pub(super) fn prepare(&mut self, data: &dyn Source<T>, samples: &[usize]) -> Result<(), Error> {
        if samples.is_empty() {
            return Err(Error::EmptyBatch);
        }
        let layout = data.layout();
        self.check_data(&layout)?;
        // On several ranks a pass processes some of the samples; which ones is not known yet.
        if self.parallel.is_some() {
            return Ok(());
        }
        let size = self.settings.batch_size;
        // The size of the largest batch of the data, so that later updates allocate nothing.
        self.reserve_pass(&layout, samples.len().max(layout.samples).min(size), &[])?;
        match layout.lengths {
            Some(_) => samples.chunks(size).try_for_each(|part| self.reserve_pass(&layout, part.len(), part)),
            None => Ok(()),
        }
    }

    /// Reserves memory for a pass over any `samples` distinct samples of `data`, and for a pass over the samples with
    /// the indices `chosen`, at most `samples` of them, possibly with repetitions.
    #[inline]
    pub(super) fn reserve_pass(&mut self, data: &Layout<'_>, samples: usize, chosen: &[usize]) -> Result<(), Error> {
        let rows = match data.lengths {
            None => usize::MAX,
            Some(lengths) => {
                let chosen = chosen.iter().filter_map(|&sample| lengths.get(sample)).copied();
                saturating_sum(chosen).max(data.most_rows(samples))
            }
        };
        self.workspace.reserve(samples, self.pass_steps(data.steps), rows)
    }

    /// Returns an error for data without targets, or with a width that is not that of the network's input.
    #[inline]
    pub(super) fn check_data(&self, data: &Layout<'_>) -> Result<(), Error> {
        check_width(self.workspace.dims().input, data)?;
        match data.has_targets() {
            true => Ok(()),
            false => Err(Error::InvalidState {
                what: "a loss",
                needs: "targets: a `Dataset` with `Target::Classes` or `Target::Values`",
            }),
        }
    }
}
