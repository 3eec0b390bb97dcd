//! Windows of consecutive time steps of a batch, with the state carried from window to window.

use super::{Memory, Workspace, predict::other_rows};
use crate::{
    batch_shape::BatchShape,
    error::{DataRule, Error, LayerRule},
    layer::{Dims, Layer, StateLayout},
    scalar::Scalar,
    size::grow,
};
use alloc::vec::Vec;

/// The length of windows (consecutive time steps that run as one pass), and the layout of the state that is carried
/// between them.
#[derive(Debug)]
pub(crate) struct StepWindows<T> {
    /// The number of time steps of a window.
    pub(crate) steps: usize,
    /// The layout of the recurrent state that is carried between windows. It is not known for a custom layer with a
    /// state: then this is the error for samples of unequal length.
    layout: Result<StateLayout, Error>,
    /// The initial recurrent state of the first window; empty if it is zero.
    start: Vec<T>,
    /// Whether the workspace currently holds the state of a window instead of the initial state. It does between
    /// `begin_windows` and `end_windows`, and after a panic between the two.
    open: bool,
    /// The outputs of all windows of the last batch that was processed in windows.
    outputs: Vec<T>,
    /// A reused buffer for the numbers of time steps that the samples have in one window.
    lengths: Vec<usize>,
}

impl<T: Scalar> StepWindows<T> {
    /// Creates windows of `steps` time steps (consecutive steps that run as one pass) for passes through `network`.
    ///
    /// # Errors
    /// [`LayerRule::NotInWindows`], with the layer, if a layer reads later time steps or changes their number.
    pub(crate) fn new(network: &dyn Layer<T>, steps: usize) -> Result<Self, Error> {
        check(network, "")?;
        let layout = StateLayout::of(network);
        Ok(StepWindows { steps, layout, start: Vec::new(), open: false, outputs: Vec::new(), lengths: Vec::new() })
    }
}

/// Returns an error if `layer`, at `path` in the network, reads later time steps or does not output one row for each
/// time step, and so cannot run in windows. The error names the innermost such layer.
fn check<T: Scalar>(layer: &dyn Layer<T>, path: &str) -> Result<(), Error> {
    let shape = BatchShape::sequences(1, 2);
    let reason = match (layer.reads_later_steps(), layer.output_shape(shape) == shape) {
        (true, _) => "reads later steps",
        (false, false) => "gives one row for all steps",
        _ => return Ok(()),
    };
    let structure = layer.structure();
    structure.parts().try_for_each(|(name, part, _)| check(part, &structure.below(path, name)))?;
    let rule = LayerRule::NotInWindows { kind: layer.spec().title(), reason };
    Err(rule.at(path))
}

impl<T: Scalar, L: Layer<T> + ?Sized> Workspace<T, L> {
    /// Starts the windows of a batch: stores the current initial recurrent state as that of the first window;
    /// [`end_windows`](Self::end_windows) restores it. If earlier windows were not ended, for example after a panic,
    /// they are ended first. `is_ragged` states whether the samples of the batch may differ in length.
    ///
    /// # Errors
    /// [`LayerRule::StateLayout`] for a ragged pass through a custom layer with a state.
    pub(crate) fn begin_windows(&mut self, windows: &mut StepWindows<T>, is_ragged: bool) -> Result<(), Error> {
        self.close_windows(windows);
        if let (true, Err(error)) = (is_ragged, &windows.layout) {
            return Err(error.clone());
        }
        windows.start.clear();
        windows.start.extend_from_slice(self.state());
        windows.open = true;
        Ok(())
    }

    /// Sets the initial recurrent state of a window after the first one. It is set for the first `samples` samples of
    /// the batch, which are long enough to have time steps in this window. The state is the final state of the last
    /// pass if `carried`, otherwise the initial state of the first window. No gradient flows from window to window.
    pub(crate) fn next_window(&mut self, windows: &StepWindows<T>, samples: usize, carried: bool) {
        let (states, Memory { state, state_end, .. }) = (self.memory.last_values()[2], &mut self.memory);
        let from = if carried { &state_end[..states] } else { &windows.start[..] };
        state.clear();
        match &windows.layout {
            Ok(layout) => layout.gather(from, samples, state),
            Err(_) => state.extend_from_slice(from),
        }
        self.memory.starts_from_state = !from.is_empty();
    }

    /// Ends the windows of a batch: restores the initial recurrent state of the first window, which
    /// [`begin_windows`](Self::begin_windows) stored.
    pub(crate) fn end_windows(&mut self, windows: &mut StepWindows<T>) {
        windows.open = false;
        self.memory.state.clear();
        self.memory.state.extend_from_slice(&windows.start);
        self.memory.starts_from_state = !windows.start.is_empty();
    }

    /// Calls [`end_windows`](Self::end_windows) if the windows of a batch were started but not ended, for example
    /// after a panic.
    pub(crate) fn close_windows(&mut self, windows: &mut StepWindows<T>) {
        if windows.open {
            self.end_windows(windows);
        }
    }

    /// Runs [`infer`](Self::infer) on `x` from a state of zero. It runs window by window (ranges of consecutive time
    /// steps) if `windows` is given and `shape` has more time steps than one window. The outputs have the same bits
    /// as those of one pass. If `x` is `None`, it runs on the content of the input buffer, which is possible only if
    /// no windows are needed. The initial state that was set for other passes is kept, even after a panic.
    pub(crate) fn infer_from_zero<'a>(
        &'a mut self,
        windows: &'a mut Option<StepWindows<T>>,
        w: &[T],
        x: Option<&[T]>,
        shape: BatchShape<'_>,
    ) -> Result<&'a [T], Error> {
        match windows {
            Some(windows) if shape.steps > windows.steps => {
                self.begin_windows(windows, shape.lengths.is_some())?;
                self.memory.starts_from_state = false;
                let done = self.infer_windows(windows, w, x.unwrap_or_default(), shape);
                self.end_windows(windows);
                done.map(|()| &windows.outputs[..])
            }
            _ => {
                let pass = FromZero::new(&mut self.memory);
                T::workspace_infer(&mut *pass.memory, self.network.as_layer(), w, x, shape).map(drop)?;
                drop(pass);
                let (y, rows) = (self.output(), if self.per_step() { shape.rows() } else { shape.batch });
                match y.len() == rows.saturating_mul(self.dims().output) {
                    true => Ok(y),
                    // The rows were checked for other numbers of steps.
                    false => Err(other_rows(self.network.as_layer(), shape.steps, "")),
                }
            }
        }
    }

    fn infer_windows(
        &mut self,
        windows: &mut StepWindows<T>,
        w: &[T],
        x: &[T],
        shape: BatchShape<'_>,
    ) -> Result<(), Error> {
        let Dims { input, output, .. } = self.memory.dims;
        windows.outputs.clear();
        grow("the outputs of all windows", &mut windows.outputs, shape.rows().saturating_mul(output))?;
        let mut lengths = core::mem::take(&mut windows.lengths);
        for first in (0..shape.steps).step_by(windows.steps) {
            let rows = shape.window(first, windows.steps, &mut lengths);
            if first > 0 {
                self.next_window(windows, rows.batch, true);
            }
            let x = &x[shape.step(first).start * input..][..rows.rows() * input];
            let y = T::workspace_infer(&mut self.memory, self.network.as_layer(), w, Some(x), rows)
                .map_err(|error| after(first, error))?;
            // The rows were checked for other numbers of steps.
            if y.len() != rows.rows().saturating_mul(output) {
                return Err(other_rows(self.network.as_layer(), rows.steps, ""));
            }
            windows.outputs.extend_from_slice(y);
        }
        windows.lengths = lengths;
        Ok(())
    }
}

/// A guard that borrows the memory of a workspace for a pass from a recurrent state of zero. On drop, passes start
/// again from the state that was set before.
struct FromZero<'m, T: Scalar> {
    memory: &'m mut Memory<T>,
    before: bool,
}

impl<'m, T: Scalar> FromZero<'m, T> {
    fn new(memory: &'m mut Memory<T>) -> Self {
        let before = core::mem::take(&mut memory.starts_from_state);
        FromZero { memory, before }
    }
}

impl<T: Scalar> Drop for FromZero<'_, T> {
    fn drop(&mut self) {
        self.memory.starts_from_state = self.before;
    }
}

/// Returns `error`, from a pass over one window of a sequence, with its time step counted from the start of the
/// sequence. `first` is the first time step of the window.
fn after(first: usize, mut error: Error) -> Error {
    if let Error::InvalidData(DataRule::Index { step, .. }) = &mut error {
        *step = Some(step.unwrap_or(0) + first);
    }
    error
}
