//! Predictions with a model in memory that is reused from call to call.

use super::Model;
use crate::{
    batch_shape::BatchShape, dataset::Dataset, error::Error, layer::Layer, scalar::Scalar, workspace::Workspace,
};
use alloc::{borrow::Cow, vec::Vec};

/// A model with memory for predictions, which is reused from call to call. Create one for each thread.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::{Sequential, initialize}, model::Model};
/// let network = Sequential::<f32>::input(2).linear(1).build()?;
/// let parameters = initialize(&network, 1)?;
/// let model = Model::new(network, parameters)?;
/// let mut predictor = model.predictor()?;
/// let mut y = [0.0];
/// for x in [[0.5, 1.0], [0.25, 2.0]] {
///     predictor.predict_into(&Dataset::rows(2, &x, None)?, &mut y)?;
/// }
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Debug)]
pub struct Predictor<'m, T: Scalar> {
    model: &'m Model<T>,
    workspace: Workspace<T, &'m dyn Layer<T>>,
}

impl<'m, T: Scalar> Predictor<'m, T> {
    pub(super) fn new(model: &'m Model<T>) -> Result<Self, Error> {
        Ok(Predictor { model, workspace: model.workspace(BatchShape::batch(1))? })
    }

    /// Returns the outputs for the samples of `data`, in their order, as [`Model::predict`] does.
    ///
    /// # Errors
    /// The errors of [`Model::predict`].
    ///
    /// # Panics
    /// As [`Model::predict`].
    pub fn predict(&mut self, data: &Dataset<'_, T>) -> Result<Vec<T>, Error> {
        let scaled = self.scaled(data)?;
        let mut y = T::workspace_predict(&mut self.workspace, &mut None, &self.model.parameters, &*scaled)?;
        self.unscale(&mut y)?;
        Ok(y)
    }

    /// Overwrites `y` with the outputs that [`predict`](Self::predict) returns. A call for a single sample, or for
    /// samples of one time step, allocates nothing if an earlier call had data of this size and the model has no
    /// input scale.
    ///
    /// # Errors
    /// The errors of [`Model::predict`]; [`Error::Length`] if the length of the buffer is not that of the outputs.
    ///
    /// # Panics
    /// As [`Model::predict`].
    pub fn predict_into(&mut self, data: &Dataset<'_, T>, y: &mut [T]) -> Result<(), Error> {
        let scaled = self.scaled(data)?;
        T::workspace_predict_into(&mut self.workspace, &mut None, &self.model.parameters, &*scaled, y)?;
        self.unscale(y)
    }

    fn scaled<'d>(&self, data: &'d Dataset<'d, T>) -> Result<Cow<'d, Dataset<'d, T>>, Error> {
        match &self.model.interface.inputs {
            // If the widths differ, a check after this one returns an error that states the network's input width.
            Some(scale) if scale.width() == data.width() => Ok(Cow::Owned(scale.inputs(data)?)),
            _ => Ok(Cow::Borrowed(data)),
        }
    }

    fn unscale(&self, y: &mut [T]) -> Result<(), Error> {
        self.model.interface.outputs.as_ref().map_or(Ok(()), |scale| scale.invert(y))
    }
}
