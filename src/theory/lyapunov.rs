//! The Lyapunov spectrum: growth rates of small differences of a recurrent layer's state over many time steps.

use crate::{
    batch_shape::BatchShape,
    block::Role,
    error::{Error, require, require_length},
    initializer::{Initializer, Orthogonal, Shape},
    layer::{Backward, BackwardState, Context, Dims, Forward, ForwardState, Layer, Mode, TrainableMask, check_depth},
    random::generator,
    scalar::{Scalar, to_f64},
    size::{filled, product},
};
use alloc::vec::Vec;
use num_traits::Float;

/// Lyapunov exponents of a sequence of Jacobians J_t, by QR iteration: `J_t Q_{t−1} = Q_t R_t`, and `λ_i` is the
/// mean of `ln R_ii` over the time steps t.
///
/// A small difference of states, or a gradient, grows by the factor `e^(λ_1 t)` over t time steps in almost all
/// directions. The sum of the first k exponents is the growth rate of k-dimensional volumes. If all exponents are
/// below 0, gradients vanish over time. If λ_1 is above 0, gradients explode and the trajectory is chaotic.
///
/// Source: Benettin, Galgani, Giorgilli & Strelcyn 1980; for recurrent networks Engelken, Wolf & Abbott 2023.
///
/// ```
/// use chainrule::theory::LyapunovSpectrum;
/// let mut spectrum = LyapunovSpectrum::new(2, 2)?;
/// for _ in 0..2000 {
///     spectrum.push(&[0.5, 1.0, 0.0, 2.0])?; // eigenvalues 2 and 1/2
/// }
/// let exponents = spectrum.exponents();
/// assert!((exponents[0] - 2f64.ln()).abs() < 1e-3 && (exponents[1] + 2f64.ln()).abs() < 1e-3);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LyapunovSpectrum {
    size: usize,
    /// The columns of Q in the QR iteration: orthonormal directions, each contiguous.
    directions: Vec<f64>,
    /// A buffer for the products of a time step's Jacobian and the directions.
    images: Vec<f64>,
    /// For each exponent i, the sum of ln R_ii over the counted time steps, R the triangular factor of the QR
    /// iteration.
    sums: Vec<f64>,
    steps: usize,
}

/// The largest magnitude of a Jacobian whose products are computed without scaling; the smallest is its reciprocal. A
/// Jacobian outside this range is scaled by this number or its reciprocal, so that products neither overflow nor lose
/// digits.
const FAR: f64 = 1e150;

impl LyapunovSpectrum {
    /// Creates a spectrum of no time steps so far, for the first `count` exponents of a product of `size` × `size`
    /// matrices.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `size` is 0 or `count` is not from 1 to `size`. [`Error::TooLarge`] if memory cannot
    /// hold the matrices.
    pub fn new(size: usize, count: usize) -> Result<Self, Error> {
        require(size > 0, "Lyapunov spectrum: values of the state", "at least 1", size as f64)?;
        let valid = (1..=size).contains(&count);
        require(valid, "Lyapunov spectrum: exponents", "from 1 to the values of the state", count as f64)?;
        // Random directions: a unit vector can be an eigenvector, and then never turns towards the leading direction.
        let what = "Lyapunov spectrum: directions (exponents × values of the state)";
        product("Lyapunov spectrum: a Jacobian (values of the state, squared)", &[size, size])?;
        let mut directions = filled(what, product(what, &[count, size])?, 0.0)?;
        let (images, sums) = (filled(what, directions.len(), 0.0)?, filled(what, count, 0.0)?);
        Orthogonal::default().fill(Shape::new(count, size, Role::Recurrent), &mut generator(0), &mut directions)?;
        Ok(LyapunovSpectrum { size, images, directions, sums, steps: 0 })
    }

    /// Adds a time step t with the Jacobian `∂s_t/∂s_{t−1}` of the state s, row-major: entry (i, j) is
    /// `∂s_t[i]/∂s_{t−1}[j]`.
    ///
    /// # Errors
    /// [`Error::Length`] if the Jacobian is not `size × size`. [`Error::NonFinite`] if an entry is NaN or infinite. An
    /// error leaves the spectrum unchanged.
    pub fn push(&mut self, jacobian: &[f64]) -> Result<(), Error> {
        let n = self.size;
        require_length("the Jacobian of a step", n * n, jacobian.len())?;
        if let Some(index) = jacobian.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFinite { what: "the Jacobian of a step", index, found: jacobian[index] });
        }
        let largest = jacobian.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        // The sums of products with such entries overflow, or lose their digits.
        let unit = match largest {
            large if large > FAR => 1.0 / FAR,
            small if small < 1.0 / FAR => FAR,
            _ => 1.0,
        };
        self.directions.iter_mut().for_each(|value| *value *= unit);
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
                // The exponent is −∞ from now on. Another direction replaces the lost one, so that later exponents
                // are right.
                any_direction(done, direction);
            }
            *sum += libm::log(length) - libm::log(unit);
        }
        self.steps += 1;
        Ok(())
    }

    /// Ends the transient: the exponents average over later time steps only, but the orthonormal directions are kept.
    pub fn settle(&mut self) {
        self.sums.fill(0.0);
        self.steps = 0;
    }

    /// Returns the number of time steps over which the exponents are means: those since [`settle`](Self::settle).
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Returns the exponents `λ_i`, per time step, in decreasing order up to the error of a finite number of steps.
    ///
    /// An exponent is −∞ if a Jacobian mapped its direction to 0. All are 0 before the first step.
    pub fn exponents(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.steps.max(1) as f64).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

/// Removes from `v` its components along the orthonormal directions `done` and normalizes it, by two rounds of
/// Gram–Schmidt. Returns the norm after removal and before normalization: the diagonal entry R_ii of the QR
/// iteration. If this norm may be a rounding error, the result is 0 and the direction of `v` is arbitrary.
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
    // A smaller remainder may be a rounding error.
    if length > 4.0 * n as f64 * f64::EPSILON { whole * length } else { 0.0 }
}

/// Divides `v` by its 2-norm and returns the norm. A zero vector is not changed.
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

/// Sets `v` to a unit vector orthogonal to the orthonormal directions `done`: the component of a coordinate axis that
/// is orthogonal to them, for an axis that is far enough from their linear span.
fn any_direction(done: &[f64], v: &mut [f64]) {
    for axis in 0..v.len() {
        v.fill(0.0);
        v[axis] = 1.0;
        // The root mean square distance of the axes from a span of k < n directions is √(1 − k/n) ≥ 1/√n.
        if orthogonalize(done, v) > 0.5 / Float::sqrt(v.len() as f64) {
            return;
        }
    }
}

/// Computes the first `count` Lyapunov exponents of a layer with state, along its trajectory on the inputs `x` from a
/// zero state.
///
/// The exponents are means over the time steps after the first `transient` ones. The state of an LSTM is (h, c). Row
/// i of a Jacobian is the layer's backward pass of the unit vector i of the state. Dropout is off.
///
/// # Shapes
/// w: the layer's parameters; x: \[steps, input\].
///
/// ```
/// use chainrule::{activation::Tanh, layer::initialize, recurrent::{Elman, Recurrent}, theory::lyapunov_spectrum};
/// let cell = Recurrent::new(1, 8, Elman::new(Tanh)); // U is orthogonal
/// let w = initialize::<f64>(&cell, 1)?;
/// let spectrum = lyapunov_spectrum(&cell, &w, &[0.5; 200], 100, 3)?;
/// assert!(spectrum.exponents()[0] < 0.0); // tanh′ < 1: gradients vanish
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] if the layer has no state, or there is no time step after the transient. [`Error::Parameter`]
/// also if `count` is not from 1 to the number of values of the state. [`Error::Length`] if `w` does not have the
/// layer's number of parameters, or `x` is not a whole number of rows. [`Error::NonFinite`] if the trajectory does
/// not stay finite. [`Error::TooLarge`] if memory cannot hold the Jacobian. [`Error::InvalidLayer`] for layers nested
/// more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep.
///
/// # Panics
/// If a pass of the layer breaks a rule of [`Layer`].
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

/// Computes the Jacobian `∂s′/∂s` of one time step of a layer with state, on the input row `x`. s is the state
/// `state` before the time step, s′ the state after it. The Jacobian is row-major: entry (i, j) is
/// `∂s′[i]/∂s[j]`.
///
/// # Errors
/// [`Error::Parameter`] if the layer has no state. [`Error::Length`] if `w` is not the layer's parameters, `x` not one
/// row of its input, or `state` not the state of one sample. [`Error::TooLarge`] if memory cannot hold the Jacobian.
/// [`Error::InvalidLayer`] for layers nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep.
///
/// # Panics
/// If a pass of the layer breaks a rule of [`Layer`].
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

/// A layer with the state and the buffers of one sample, advanced one time step at a time.
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

/// The batch shape of one time step of one sample.
const STEP: BatchShape<'static> = BatchShape::batch(1);

impl<'a, T: Scalar, L: Layer<T> + ?Sized> Trajectory<'a, T, L> {
    fn new(layer: &'a L, w: &[T]) -> Result<Self, Error> {
        check_depth(&layer)?;
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

    /// Advances the state by one time step on the input row `x`, with the parameters `w`. Returns the Jacobian of the
    /// new state with respect to the old one, row-major.
    fn step(&mut self, w: &[T], x: &[T]) -> &[f64] {
        let mut no_monitor = ();
        let ctx = Context::new(STEP, Mode::Evaluate, &mut no_monitor);
        let state = ForwardState { initial_state: Some(&self.state), final_state: &mut self.next };
        let pass = Forward::new(x, &mut self.y, &mut self.saved, &mut self.scratch, ctx);
        self.layer.forward(w, Forward { state, ..pass });
        let size = self.state.len();
        for (i, jacobian) in self.jacobian.chunks_mut(size).enumerate() {
            self.unit.fill(T::zero());
            self.unit[i] = T::one();
            self.spare.copy_from_slice(&self.saved);
            let (dw, saved, scratch) = (&mut self.gradient, &mut self.spare, &mut self.scratch);
            let ctx = Context::new(STEP, Mode::Evaluate, &mut no_monitor);
            let pass = Backward::new(x, &self.y, &self.dy, None, dw, saved, scratch, ctx);
            // (∂next/∂state)ᵀ e_i is row i of the Jacobian.
            let state = BackwardState {
                initial_state: Some(&self.state),
                d_final_state: Some(&self.unit),
                d_initial_state: Some(&mut self.row),
            };
            self.layer.backward(w, Backward { state, trainable: TrainableMask::new(&self.frozen), ..pass });
            jacobian.iter_mut().zip(&self.row).for_each(|(to, &from)| *to = to_f64(from));
        }
        core::mem::swap(&mut self.state, &mut self.next);
        &self.jacobian
    }
}
