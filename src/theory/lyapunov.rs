//! The Lyapunov spectrum: what many steps of a recurrent layer do to small differences of its state.

use crate::{
    batch_shape::BatchShape,
    block::Role,
    error::{Error, require, require_length},
    initializer::{Initializer, Orthogonal, Shape},
    layer::{Backward, Dims, Forward, Layer, Mode, TrainableMask},
    random::generator,
    scalar::{Scalar, to_f64},
    size::{filled, product},
};
use alloc::vec::Vec;
use num_traits::Float;

/// Lyapunov exponents, by QR: `Q ← J_t Q = QR`, and `λ_i` is the mean of `ln R_ii` over the steps.
///
/// A difference of states, or a gradient, changes by `e^(λ_1 t)` over t steps in all directions but special ones; the
/// sum of the first k exponents belongs to volumes of k dimensions. All below 0: gradients vanish over time; λ_1 above
/// 0: they explode, and the trajectory is chaotic.
///
/// Source: Benettin, Galgani, Giorgilli & Strelcyn 1980; for recurrent networks Engelken, Wolf & Abbott 2023.
///
/// ```
/// use chainrule::theory::LyapunovSpectrum;
/// let mut spectrum = LyapunovSpectrum::new(2, 2)?;
/// for _ in 0..2000 {
///     spectrum.push(&[0.5, 1.0, 0.0, 2.0])?; // of eigenvalues 2 and 1/2
/// }
/// let exponents = spectrum.exponents();
/// assert!((exponents[0] - 2f64.ln()).abs() < 1e-3 && (exponents[1] + 2f64.ln()).abs() < 1e-3);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LyapunovSpectrum {
    size: usize,
    /// Q: orthonormal directions, one after the other.
    directions: Vec<f64>,
    images: Vec<f64>,
    sums: Vec<f64>,
    steps: usize,
}

impl LyapunovSpectrum {
    /// The first `count` exponents of products of `size` × `size` matrices, before any.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a `size` of 0, or a `count` that is not from 1 to `size`; [`Error::TooLarge`] for sizes
    /// that memory cannot hold.
    pub fn new(size: usize, count: usize) -> Result<Self, Error> {
        require(size > 0, "Lyapunov spectrum: values of the state", "at least 1", size as f64)?;
        let valid = (1..=size).contains(&count);
        require(valid, "Lyapunov spectrum: exponents", "from 1 to the values of the state", count as f64)?;
        // In general position: unit vectors can be eigenvectors, which never turn to the largest.
        let what = "Lyapunov spectrum: directions (exponents × values of the state)";
        product("Lyapunov spectrum: a Jacobian (values of the state, squared)", &[size, size])?;
        let mut directions = filled(what, product(what, &[count, size])?, 0.0)?;
        let (images, sums) = (filled(what, directions.len(), 0.0)?, filled(what, count, 0.0)?);
        Orthogonal::default().fill(Shape::new(count, size, Role::Recurrent), &mut generator(0), &mut directions)?;
        Ok(LyapunovSpectrum { size, images, directions, sums, steps: 0 })
    }

    /// One more step, of Jacobian `∂s_t/∂s_{t−1}`: row i has the derivatives of value i.
    ///
    /// # Errors
    /// [`Error::Length`] where the Jacobian is not `size × size`; [`Error::NonFinite`] for an entry that is NaN or
    /// infinite. The spectrum stays as it was.
    pub fn push(&mut self, jacobian: &[f64]) -> Result<(), Error> {
        let n = self.size;
        require_length("the Jacobian of a step", n * n, jacobian.len())?;
        if let Some(index) = jacobian.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFinite { what: "the Jacobian of a step", index, found: jacobian[index] });
        }
        for (image, direction) in self.images.chunks_mut(n).zip(self.directions.chunks(n)) {
            for (image, row) in image.iter_mut().zip(jacobian.chunks(n)) {
                *image = dot(row, direction);
            }
        }
        core::mem::swap(&mut self.images, &mut self.directions);
        for (i, sum) in self.sums.iter_mut().enumerate() {
            let (done, rest) = self.directions.split_at_mut(i * n);
            let direction = &mut rest[..n];
            let length = orthogonalize(done, direction);
            if length == 0.0 {
                // What is lost stays lost; another direction takes its place, so that the rest can go on.
                any_direction(done, direction);
            }
            *sum += libm::log(length);
        }
        self.steps += 1;
        Ok(())
    }

    /// Ends the transient: what was pushed so far turned the directions, and counts no more.
    pub fn settle(&mut self) {
        self.sums.fill(0.0);
        self.steps = 0;
    }

    /// Steps that count.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// `λ_i` in 1/step, the largest first but for what few steps leave uncertain; −∞ where a direction is lost, 0
    /// before any step.
    pub fn exponents(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.steps.max(1) as f64).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

/// Takes from `v` what lies along orthonormal directions and makes it a unit vector: Gram and Schmidt, twice, which is
/// enough. Returns its length before, R_ii.
fn orthogonalize(done: &[f64], v: &mut [f64]) -> f64 {
    let n = v.len();
    let whole = normalize(v);
    if whole == 0.0 {
        return 0.0;
    }
    let mut length = 1.0;
    for _ in 0..2 {
        for direction in done.chunks(n) {
            let along = dot(direction, v);
            v.iter_mut().zip(direction).for_each(|(v, direction)| *v -= along * direction);
        }
        length *= normalize(v);
    }
    // Less than what rounding leaves is nothing.
    if length > 4.0 * n as f64 * f64::EPSILON { whole * length } else { 0.0 }
}

/// Divides by the length, and returns it.
fn normalize(v: &mut [f64]) -> f64 {
    let largest = v.iter().fold(0.0f64, |largest, v| largest.max(v.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    v.iter_mut().for_each(|v| *v /= largest);
    let length = Float::sqrt(dot(v, v));
    v.iter_mut().for_each(|v| *v /= length);
    largest * length
}

/// Some unit vector at right angles to `done`: of the axes one is far enough from their span.
fn any_direction(done: &[f64], v: &mut [f64]) {
    for axis in 0..v.len() {
        v.fill(0.0);
        v[axis] = 1.0;
        // Those not in the span of k directions have at least √(1 − k/n) of their length left, on average.
        if orthogonalize(done, v) > 0.5 / Float::sqrt(v.len() as f64) {
            return;
        }
    }
}

/// The first `count` Lyapunov exponents of a layer with a state, along its trajectory on the inputs `x`, from a state
/// of zero; the first `transient` steps turn the directions and do not count.
///
/// The state of an LSTM is (h, c). The Jacobians are the layer's own: its backward pass from each unit vector of the
/// state, noise off.
///
/// # Shapes
/// w: the layer's parameters; x: \[steps, input\].
///
/// ```
/// use chainrule::{activation::Tanh, layer::initialize, recurrent::{Elman, Recurrent}, theory::lyapunov_spectrum};
/// let cell = Recurrent::new(1, 8, Elman::new(Tanh)); // U is orthogonal
/// let w = initialize::<f64>(&cell, 1)?;
/// let spectrum = lyapunov_spectrum(&cell, &w, &[0.5; 200], 100, 3)?;
/// assert!(spectrum.exponents()[0] < 0.0); // tanh′ < 1: vanishes
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for a layer without state, for no step after the transient, and for a `count` that is not from
/// 1 to the values of the state. [`Error::Length`] where `w` does not have the layer's parameters, or `x` is no whole
/// number of rows. [`Error::NonFinite`] once the trajectory does not stay finite; [`Error::TooLarge`] for a state whose
/// Jacobian memory cannot hold.
///
/// # Panics
/// Where the layer breaks a law of [`Layer`] in a pass.
pub fn lyapunov_spectrum<T: Scalar>(
    layer: &(impl Layer<T> + ?Sized),
    w: &[T],
    x: &[T],
    transient: usize,
    count: usize,
) -> Result<LyapunovSpectrum, Error> {
    let mut trajectory = Trajectory::new(layer, w)?;
    let width = trajectory.dims.input.max(1);
    let steps = x.len() / width;
    require_length("the inputs of a trajectory", steps * width, x.len())?;
    require(steps > transient, "Lyapunov spectrum: steps", "more than the transient", steps as f64)?;
    let mut spectrum = LyapunovSpectrum::new(trajectory.state.len(), count)?;
    for (step, x) in x.chunks(width).enumerate() {
        if step == transient {
            spectrum.settle();
        }
        spectrum.push(trajectory.step(w, x))?;
    }
    Ok(spectrum)
}

/// `∂s′/∂s` of one step of a layer with a state, from the state `s` on the input row `x`: row i has the derivatives of
/// value i of s′.
///
/// # Errors
/// [`Error::Parameter`] for a layer without state. [`Error::Length`] where `w`, `x` or `state` is not the layer's
/// parameters, one row of its input or one sample's state. [`Error::TooLarge`] for a state whose Jacobian memory cannot
/// hold.
///
/// # Panics
/// Where the layer breaks a law of [`Layer`] in a pass.
pub fn state_jacobian<T: Scalar>(
    layer: &(impl Layer<T> + ?Sized),
    w: &[T],
    x: &[T],
    state: &[T],
) -> Result<Vec<f64>, Error> {
    let mut trajectory = Trajectory::new(layer, w)?;
    require_length("an input row", trajectory.dims.input, x.len())?;
    require_length("a state", trajectory.state.len(), state.len())?;
    trajectory.state.copy_from_slice(state);
    trajectory.step(w, x);
    Ok(trajectory.jacobian)
}

/// One sample on its way, step by step.
struct Trajectory<'a, T, L: ?Sized> {
    layer: &'a L,
    dims: Dims,
    state: Vec<T>,
    next: Vec<T>,
    y: Vec<T>,
    dy: Vec<T>,
    saved: Vec<T>,
    spare: Vec<T>,
    scratch: Vec<T>,
    gradient: Vec<T>,
    frozen: Vec<bool>,
    unit: Vec<T>,
    row: Vec<T>,
    jacobian: Vec<f64>,
}

/// One step of one sample.
const STEP: BatchShape<'static> = BatchShape::batch(1);

impl<'a, T: Scalar, L: Layer<T> + ?Sized> Trajectory<'a, T, L> {
    fn new(layer: &'a L, w: &[T]) -> Result<Self, Error> {
        let (dims, memory) = (layer.dims(), layer.memory(STEP, Mode::Evaluate));
        require_length("parameters", dims.parameters, w.len())?;
        let size = memory.state;
        require(size > 0, "the state of a layer: values", "at least 1", size as f64)?;
        let zeros = |values: usize| filled("the memory of a trajectory", values, T::zero());
        let outputs = product("the output of a step", &[layer.output_shape(STEP).rows(), dims.output])?;
        let entries = product("the Jacobian of a step (values of the state, squared)", &[size, size])?;
        let mut blocks = 0;
        layer.blocks(&mut |_| blocks += 1);
        Ok(Trajectory {
            layer,
            dims,
            state: zeros(size)?,
            next: zeros(size)?,
            y: zeros(outputs)?,
            dy: zeros(outputs)?,
            saved: zeros(memory.saved)?,
            spare: zeros(memory.saved)?,
            scratch: zeros(memory.scratch)?,
            gradient: zeros(dims.parameters)?,
            frozen: filled("the blocks", blocks, false)?,
            unit: zeros(size)?,
            row: zeros(size)?,
            jacobian: filled("the Jacobian of a step", entries, 0.0)?,
        })
    }

    /// Goes on to the next state, and returns `∂next/∂state`.
    fn step(&mut self, w: &[T], x: &[T]) -> &[f64] {
        let mut no_monitor = ();
        let pass =
            Forward::new(STEP, Mode::Evaluate, x, &mut self.y, &mut self.saved, &mut self.scratch, &mut no_monitor);
        self.layer.forward(w, Forward { initial_state: Some(&self.state), final_state: &mut self.next, ..pass });
        let size = self.state.len();
        for (i, jacobian) in self.jacobian.chunks_mut(size).enumerate() {
            self.unit.fill(T::zero());
            self.unit[i] = T::one();
            self.spare.copy_from_slice(&self.saved);
            let (dy, saved) = (&self.dy, &mut self.spare);
            let pass = Backward::new(
                STEP,
                Mode::Evaluate,
                x,
                &self.y,
                saved,
                dy,
                None,
                &mut self.gradient,
                &mut self.scratch,
                &mut no_monitor,
            );
            // (∂next/∂state)ᵀ e_i is row i of it.
            self.layer.backward(
                w,
                Backward {
                    initial_state: Some(&self.state),
                    d_final_state: Some(&self.unit),
                    d_initial_state: Some(&mut self.row),
                    trainable: TrainableMask::new(&self.frozen),
                    ..pass
                },
            );
            jacobian.iter_mut().zip(&self.row).for_each(|(to, &from)| *to = to_f64(from));
        }
        core::mem::swap(&mut self.state, &mut self.next);
        &self.jacobian
    }
}
