//! Truncated backpropagation through time: one update for each window of consecutive time steps.

use super::{
    Run,
    parts::Reader,
    updated::{EachUpdate, Updated},
};
use crate::{
    error::Error, layer::Mode, monitor::GradientMonitor, scalar::Scalar, transform::Outcome, workspace::StepWindows,
};

impl<T: Scalar> Run<'_, T> {
    /// Makes an update for each window of time steps of `samples`, batch by batch, and calls `each` with its result.
    /// `windows` keeps a copy of the initial state, which is restored at the end.
    pub(super) fn each_window(
        &mut self,
        windows: &mut StepWindows<T>,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
        each: &mut EachUpdate<'_>,
    ) -> Result<(), Error> {
        for samples in samples.chunks(self.settings.batch_size) {
            reader.batch.choose(reader.data, samples, true)?;
            self.watch.samples = samples.len();
            self.workspace.begin_windows(windows, reader.batch.shape().lengths.is_some())?;
            let done = self.windows_of_chosen(windows, reader, monitor, each);
            self.workspace.end_windows(windows);
            done?;
        }
        Ok(())
    }

    /// Updates `w ← w + u(g)` for each window of time steps of the samples in the batch of `reader`, and calls `each`
    /// with the result. Here u is the chain of gradient transforms, and g the gradient of the window's loss, with the
    /// initial state of the window as a constant. A window in which all rows have weight 0 makes no update.
    fn windows_of_chosen(
        &mut self,
        windows: &StepWindows<T>,
        reader: &mut Reader<'_, T>,
        monitor: &mut dyn GradientMonitor<T>,
        each: &mut EachUpdate<'_>,
    ) -> Result<(), Error> {
        let carry = self.settings.truncation.is_some_and(|truncation| truncation.carry);
        for first in (0..reader.batch.shape().steps).step_by(windows.steps) {
            reader.batch.select_steps(first, windows.steps)?;
            if first > 0 {
                self.workspace.next_window(windows, reader.batch.shape().batch, carry);
            }
            let weight = self.add_weight(0.0, reader.batch)?;
            let done = if weight > 0.0 {
                self.update_chosen(reader, weight, monitor)?
            } else {
                if carry {
                    self.fill(reader, 0)?;
                    let output =
                        self.workspace.forward_filled(self.parameters, reader.batch.shape(), Mode::Train, &mut ());
                    output.map_err(|error| reader.batch.in_data(reader.data, true, error))?;
                }
                Updated { loss: f64::NAN, weight, outcome: Outcome::Skip }
            };
            self.note(done, each)?;
        }
        Ok(())
    }
}
