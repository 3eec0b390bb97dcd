//! Gradient health as a unit test.

use super::{Diagnosis, Report, task::as_in_run};
use crate::{
    batch_shape::BatchShape,
    dataset::first_non_finite,
    error::{Error, require_multiple},
    layer::{Layer, initialize},
    monitor::Statistics,
    random::{Normals, generator},
    scalar::{Scalar, scalar, to_f64},
    theory::InputStatistics,
    workspace::Workspace,
};
use alloc::{borrow::Cow, vec, vec::Vec};

/// Returns the report on a network's initial weights and one batch: the prediction by theory, the measurements of one
/// pass with a random gradient at the output, bounds from the weights, and
/// [`interventions`](Diagnosis::interventions). `span` is the number of time steps that the task must remember;
/// `None` means the whole sequence. `seed` determines the initial weights and the random gradient.
///
/// # Shapes
/// x: \[rows, input\], sample after sample, as in a [`Dataset`](crate::dataset::Dataset).
///
/// # Errors
/// Those of [`initialize`], [`InputStatistics::of_samples`], [`Workspace::new`], [`Workspace::forward`] and
/// [`Diagnosis::parameters`]. [`Error::DataValue`], with sample, time step and column, for an input that is NaN or
/// infinite.
///
/// # Panics
/// As [`Workspace::forward`].
pub fn first_check<T: Scalar>(
    network: &(impl Layer<T> + ?Sized),
    x: &[T],
    shape: BatchShape<'_>,
    span: Option<usize>,
    seed: u64,
) -> Result<Report, Error> {
    check(network, &initialize(network, seed)?, x, shape, span, seed)
}

/// Returns the report on given parameters and one batch, as [`first_check`] does for initial weights. It suits a
/// network that was trained or loaded. Inputs of a [`Model`](crate::model::Model) with a scale must be scaled before.
///
/// # Shapes
/// x: \[rows, input\], sample after sample, as in a [`Dataset`](crate::dataset::Dataset).
///
/// # Errors
/// Those of [`first_check`]; [`Error::Length`] where `w` does not have the network's parameters.
///
/// # Panics
/// As [`Workspace::forward`].
pub fn check_parameters<T: Scalar>(
    network: &(impl Layer<T> + ?Sized),
    w: &[T],
    x: &[T],
    shape: BatchShape<'_>,
    span: Option<usize>,
) -> Result<Report, Error> {
    check(network, w, x, shape, span, 0)
}

/// Returns [`Error::DataValue`], with sample, time step and column, for the first value of `x` that is NaN or
/// infinite.
fn check_rows<T: Scalar>(width: usize, x: &[T], shape: BatchShape<'_>) -> Result<(), Error> {
    let Some(index) = first_non_finite(x) else { return Ok(()) };
    let (mut step, column) = (index / width.max(1), index % width.max(1));
    let mut sample = 0;
    while sample + 1 < shape.batch && step >= shape.length(sample) {
        step -= shape.length(sample);
        sample += 1;
    }
    let step = (shape.steps > 1).then_some(step);
    let found = to_f64(x[index]);
    Err(Error::DataValue { what: "an input", sample, step, column: Some(column), expected: "finite", found })
}

/// Returns the rows of `x`, which are in the order of a data set (sample after sample), in the order of a pass
/// (time-major), for rows of `width` values. If `x` does not have the number of rows of `shape`, it is returned
/// unchanged, and a later forward pass over it returns an error.
pub(super) fn time_major<'x, T: Scalar>(width: usize, x: &'x [T], shape: BatchShape<'_>) -> Cow<'x, [T]> {
    if x.is_empty() || shape.steps <= 1 || shape.rows().checked_mul(width) != Some(x.len()) {
        return Cow::Borrowed(x);
    }
    let mut rows = vec![T::zero(); x.len()];
    let mut rest = x.chunks(width.max(1));
    let starts = (0..shape.steps).scan(0, |next, step| {
        let start = *next;
        *next += shape.active(step);
        Some(start)
    });
    let starts: Vec<usize> = starts.collect();
    for sample in 0..shape.batch {
        for (start, row) in starts.iter().zip(rest.by_ref().take(shape.length(sample))) {
            rows[(start + sample) * width..][..width].copy_from_slice(row);
        }
    }
    Cow::Owned(rows)
}

/// Returns the report of [`first_check`] for the given parameters `w`. `seed` determines the random gradient.
pub(super) fn check<T: Scalar>(
    network: &(impl Layer<T> + ?Sized),
    w: &[T],
    x: &[T],
    shape: BatchShape<'_>,
    span: Option<usize>,
    seed: u64,
) -> Result<Report, Error> {
    shape.check()?;
    check_rows(network.dims().input, x, shape)?;
    let inputs = InputStatistics::of_samples(network.dims().input.max(1), x)?.steps(shape.steps)?;
    let x = &*time_major(network.dims().input, x, shape);
    let (mut workspace, mut seen) = (Workspace::new(network, shape)?, Statistics::new());
    let (mut rng, mut normals) = (generator(!seed), Normals::new());
    let (key, mode) = as_in_run(network);
    workspace.set_dropout_key(key);
    let output = workspace.forward_with(w, x, shape, mode, &mut seen)?;
    output.dy.iter_mut().for_each(|dy| *dy = scalar(normals.next(&mut rng)));
    workspace.backward_with(w, &mut seen)?;
    let diagnosis =
        Diagnosis::new(network, inputs)?.parameters(network, w, shape)?.interventions_of_pass(w, x, shape)?;
    let diagnosis = diagnosis.statistics(&seen);
    let diagnosis = Diagnosis { span, ..diagnosis };
    Ok(diagnosis.report())
}

/// Returns the report of [`first_check`] on sequences of `steps` time steps, as many as `x` holds. Incomplete rows,
/// and a number of rows that is not a multiple of `steps`, are errors.
#[doc(hidden)]
pub fn first_check_of_steps<T: Scalar>(
    network: &(impl Layer<T> + ?Sized),
    x: &[T],
    steps: usize,
    span: Option<usize>,
) -> Result<Report, Error> {
    let width = network.dims().input.max(1);
    require_multiple("the values of the batch", x.len(), "width", width)?;
    require_multiple("the rows of the batch", x.len() / width, "steps", steps.max(1))?;
    first_check(network, x, BatchShape::sequences(x.len() / width / steps.max(1), steps), span, 0)
}

/// Panics with the text of the report if it is not healthy.
/// [`assert_gradient_healthy!`](crate::assert_gradient_healthy) ends with this call.
///
/// # Panics
/// If the report has a finding more severe than a note, or is an error.
pub fn expect_healthy(report: Result<Report, Error>) {
    match report {
        Ok(report) if report.is_healthy() => {}
        Ok(report) => panic!("{report}"),
        Err(error) => panic!("the gradient could not be examined: {error}"),
    }
}

/// Fails a test if the gradient of a network with its initial weights is not healthy on a batch. It fails if the
/// gradient vanishes or explodes over depth or time, if units are saturated, dead or copies of each other, or if the
/// inputs are not scaled.
///
/// The recurrent form takes the number of time steps of a sequence, and optionally `span`, the smaller number of time
/// steps that the task must remember. The batch has the layout of a [`Dataset`](crate::dataset::Dataset): sample
/// after sample.
///
/// ```
/// use chainrule::{activation::Relu, assert_gradient_healthy, layer::Sequential, recurrent::Lstm};
/// let network = Sequential::<f32>::input(4).linear(32).activation(Relu).linear(3).build()?;
/// let batch: Vec<f32> = (0..32 * 4).map(|i| (i as f32).sin()).collect();
/// assert_gradient_healthy!(network, batch);
///
/// let network = Sequential::<f32>::input(4).recurrent(16, Lstm::new()).last_step().linear(3).build()?;
/// assert_gradient_healthy!(network, batch, steps = 8, span = 4);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[macro_export]
macro_rules! assert_gradient_healthy {
    ($network:expr, $batch:expr $(,)?) => {
        $crate::assert_gradient_healthy!($network, $batch, steps = 1)
    };
    ($network:expr, $batch:expr, steps = $steps:expr $(, span = $span:expr)? $(,)?) => {{
        let (network, batch) = (&$network, &$batch[..]);
        let steps: usize = $steps;
        #[allow(unused_mut, unused_assignments)]
        let mut span = ::core::option::Option::None;
        $(span = ::core::option::Option::Some($span);)?
        $crate::diagnosis::expect_healthy($crate::diagnosis::first_check_of_steps(network, batch, steps, span));
    }};
}
