//! Predictions: outputs of a network for a whole data set, in sample-major order.

use super::{StepWindows, Workspace};
use crate::{
    batch_shape::BatchShape,
    dataset::{Batch, Layout, Source},
    error::{DataRule, Error, LayerRule, require_length},
    layer::{LONG, Layer, Samples},
    scalar::Scalar,
    size::{filled, grow, product},
};
use alloc::vec::Vec;

/// The largest number of rows (time steps of all samples together) of one pass of a prediction. A pass has more if a
/// single sample does, or if the output of a sample depends on other samples of the batch.
const ROWS: usize = 1024;

/// Returns whether a network's output has a row for each time step of a sample (true), or one for the whole sample.
///
/// # Errors
/// [`LayerRule::OutputSteps`], naming the innermost layer at fault, if the output has another number of rows for any
/// of four tested shapes of 2 to 1000 time steps, one of them ragged. Data has no targets for such outputs. The depth
/// of the network must have been checked.
pub(crate) fn per_step<T: Scalar>(network: &(impl Layer<T> + ?Sized)) -> Result<bool, Error> {
    output_steps(network.as_layer(), "")
}

/// Returns the result of [`per_step`], whether the output has a row for each time step, for `layer` at `path` in the
/// network.
fn output_steps<T: Scalar>(layer: &dyn Layer<T>, path: &str) -> Result<bool, Error> {
    let shapes = [
        BatchShape::sequences(1, 2),
        BatchShape::sequences(2, 3),
        BatchShape::sequences(2, LONG),
        BatchShape::ragged(&[3, 1]),
    ];
    let per_step = layer.output_shape(shapes[0]).steps == 2;
    let fits = |before: BatchShape<'_>| {
        let after = layer.output_shape(before);
        if per_step { after == before } else { (after.batch, after.steps) == (before.batch, 1) }
    };
    let Some(&BatchShape { steps, .. }) = shapes.iter().find(|&&shape| !fits(shape)) else { return Ok(per_step) };
    let structure = layer.structure();
    structure.parts().try_for_each(|(name, part, _)| output_steps(part, &structure.below(path, name)).map(drop))?;
    Err(other_rows(layer, steps, path))
}

/// Returns [`LayerRule::OutputSteps`]: `layer`, at `path` in the network, outputs neither a row for each time step
/// nor one row per sample, for samples of `steps` time steps.
pub(super) fn other_rows<T: Scalar>(layer: &dyn Layer<T>, steps: usize, path: &str) -> Error {
    LayerRule::OutputSteps { kind: layer.spec().title(), steps }.at(path)
}

/// Returns [`DataRule::Width`] if the rows of `data` do not have `input` values, the input
/// width of a network.
pub(crate) fn check_width(input: usize, data: &Layout<'_>) -> Result<(), Error> {
    let found = data.width;
    if found == input { Ok(()) } else { Err(DataRule::Width { expected: input, found }.into()) }
}

/// Returns an error if the width of `data` is not that of the network's input, or if an input is not a valid index
/// for an embedding of the network.
pub(crate) fn check_inputs<T: Scalar, L: Layer<T> + ?Sized>(
    workspace: &Workspace<T, L>,
    data: &dyn Source<T>,
) -> Result<(), Error> {
    check_width(workspace.dims().input, &data.layout())?;
    let rules = workspace.rules();
    data.check_indices(rules.vocabulary(), &|inputs| rules.first_wrong(inputs))
}

/// Returns the outputs of the network with the parameters `w` for the samples of `data` in their order, each \[its
/// output steps, output width\]. Each sample starts from a state of zero. With `windows`, sequences longer than one
/// window run in windows of consecutive time steps, which takes less memory and gives the same bits.
pub(crate) fn predict<T: Scalar>(
    workspace: &mut Workspace<T, dyn Layer<T> + '_>,
    windows: &mut Option<StepWindows<T>>,
    w: &[T],
    data: &dyn Source<T>,
) -> Result<Vec<T>, Error> {
    let mut y = filled("the outputs", outputs(workspace, data)?, T::zero())?;
    predict_into(workspace, windows, w, data, &mut y)?;
    Ok(y)
}

/// Returns the total number of output values that the network has for all samples of `data`. A sample has an output
/// row for each of its time steps if the network outputs one row per time step, otherwise one row.
fn outputs<T: Scalar, L: Layer<T> + ?Sized>(workspace: &Workspace<T, L>, data: &dyn Source<T>) -> Result<usize, Error> {
    let Layout { rows, samples, .. } = data.layout();
    let rows = if workspace.per_step() { rows } else { samples };
    product("the outputs (rows × width)", &[rows, workspace.dims().output])
}

/// Writes the outputs of [`predict`], for the same arguments, to `y`, in passes of about [`ROWS`] rows. Returns an
/// error if the length of `y` is not that of the outputs.
pub(crate) fn predict_into<T: Scalar>(
    workspace: &mut Workspace<T, dyn Layer<T> + '_>,
    windows: &mut Option<StepWindows<T>>,
    w: &[T],
    data: &dyn Source<T>,
    y: &mut [T],
) -> Result<(), Error> {
    check_inputs(workspace, data)?;
    require_length("the buffer of the outputs", outputs(workspace, data)?, y.len())?;
    let (per_step, width, layout) = (workspace.per_step(), workspace.dims().output, data.layout());
    let mut at_once = (ROWS / layout.steps).clamp(1, layout.samples);
    // If the network couples the samples of a batch, as a batch norm in training does, the batch is never split.
    if at_once < layout.samples && workspace.network().samples() == Samples::Coupled {
        at_once = layout.samples;
    }
    let steps = windows.as_ref().map_or(layout.steps, |windows| windows.steps.min(layout.steps));
    workspace.reserve(at_once, steps, layout.most_rows(at_once))?;
    if let Some(inputs) = data.inputs_in_memory().filter(|_| at_once == 1 || layout.steps == 1) {
        // For one sample, or for samples of one time step, the sample-major and the time-major order are the same.
        let (mut x, mut y) = (inputs, y);
        let mut sample = 0;
        while sample < layout.samples {
            let samples = at_once.min(layout.samples - sample);
            let steps = layout.length_of(sample);
            let output_rows = if per_step { samples * steps } else { samples };
            let (own_x, rest_x) = x.split_at(samples * steps * layout.width);
            let (own_y, rest_y) = y.split_at_mut(output_rows * width);
            let shape = BatchShape::sequences(samples, steps);
            own_y.copy_from_slice(workspace.infer_from_zero(windows, w, Some(own_x), shape)?);
            (x, y) = (rest_x, rest_y);
            sample += samples;
        }
        return Ok(());
    }
    let (mut batch, mut samples) = (Batch::new(data, at_once), Vec::new());
    grow("the samples of a batch", &mut samples, at_once)?;
    for first in (0..layout.samples).step_by(at_once) {
        samples.clear();
        samples.extend(first..layout.samples.min(first + at_once));
        batch.gather_inputs(data, &samples)?;
        let outputs = workspace.infer_from_zero(windows, w, Some(batch.x()), batch.shape());
        let outputs = outputs.map_err(|error| batch.in_data(data, per_step, error))?;
        batch.write_output(per_step, width, outputs, y);
    }
    Ok(())
}
