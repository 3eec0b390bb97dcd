//! The curvature of a loss: products with its Hessian, and the largest eigenvalue.

use crate::{
    batch_shape::BatchShape,
    error::{Error, require, require_length},
    layer::{DropoutKey, Layer, Mode, check_depth},
    loss::{Loss, Target},
    random::{Normals, generator},
    scalar::{Scalar, scalar, to_f64},
    testing::Dual,
    workspace::Workspace,
};
use alloc::{boxed::Box, vec, vec::Vec};
use num_traits::Float;

/// The Hessian `H = ∂²L/∂w²` of a loss L at the parameters w, on one batch: products `H v` and the largest
/// eigenvalue.
///
/// `H v` is the derivative of the gradient along v. It is exact to rounding: a forward and a backward pass on [`Dual`]
/// numbers `w + v ε`, whose gradient is `∇L + H v ε` (Pearlmutter 1994). Gradient descent on a loss of largest
/// eigenvalue λ is stable at rates below 2/λ; full-batch training drives λ up to that edge (Cohen et al. 2021).
///
/// A network with a custom part has no exact passes on dual numbers. Then products are central differences of
/// gradients, accurate to about two thirds of the digits: see [`is_exact`](Self::is_exact). Dropout has the same masks
/// in every product. A product takes the time of about three passes, so about 64 rows are enough.
///
/// ```
/// use chainrule::{BatchShape, layer::Linear, loss::{MeanSquaredError, Target}, theory::Hessian};
/// // L = ½ ((3 w₁)² + w₂²): H = diag(9, 1).
/// let network = Linear::new(2, 1).without_bias();
/// let (x, shape) = ([3.0, 0.0, 0.0, 1.0], BatchShape::batch(2));
/// let loss = MeanSquaredError::new();
/// let mut hessian = Hessian::new(&network, &[0.5, 0.5], &x, shape, &loss, Target::Values(&[0.0, 0.0]))?;
/// assert_eq!(hessian.times(&[1.0, 1.0])?, [9.0, 1.0]);
/// assert!((hessian.largest_eigenvalue(10)? - 9.0).abs() < 1e-12);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Hessian<'a, T: Scalar> {
    passes: Passes<'a, T>,
    shape: BatchShape<'a>,
    parameters: usize,
}

/// How products `H v` are computed: on dual numbers, or as differences of gradients.
enum Passes<'a, T: Scalar> {
    Dual(Bench<'a, Dual<f64>, Box<dyn Layer<Dual<f64>>>>),
    Differences(Bench<'a, T, &'a dyn Layer<T>>),
}

/// A network with the data, loss and parameters on which its gradient depends.
struct Bench<'a, S: Scalar, L: Layer<S>> {
    workspace: Workspace<S, L>,
    w: Vec<S>,
    x: Vec<S>,
    loss: &'a dyn Loss<S>,
    classes: Vec<usize>,
    values: Option<Vec<S>>,
}

impl<T: Scalar> core::fmt::Debug for Hessian<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (exact, parameters) = (self.is_exact(), self.parameters);
        f.debug_struct("Hessian").field("is_exact", &exact).field("parameters", &parameters).finish_non_exhaustive()
    }
}

impl<'a, S: Scalar, L: Layer<S>> Bench<'a, S, L> {
    fn new<T: Scalar>(
        network: L,
        w: &[T],
        x: &[T],
        shape: BatchShape<'_>,
        loss: &'a dyn Loss<S>,
        target: Target<'_, T>,
    ) -> Result<Self, Error> {
        let convert = |values: &[T]| values.iter().map(|&value| scalar::<S>(to_f64(value))).collect::<Vec<S>>();
        let (classes, values) = match target {
            Target::Classes(classes) => (classes.to_vec(), None),
            Target::Values(values) => (Vec::new(), Some(convert(values))),
        };
        let workspace = Workspace::new(network, shape)?;
        Ok(Bench { workspace, w: convert(w), x: convert(x), loss, classes, values })
    }

    /// Computes the gradient of the loss at the current parameters, in a training pass over a batch of `shape`.
    fn gradient(&mut self, shape: BatchShape<'_>) -> Result<&[S], Error> {
        let width = self.workspace.dims().output;
        let target = self.values.as_deref().map_or(Target::Classes(&self.classes), Target::Values);
        let output = self.workspace.forward_with(&self.w, &self.x, shape, Mode::Train, &mut ())?;
        self.loss.evaluate(width, output.y, target, None, output.dy)?;
        self.workspace.backward(&self.w).map(|gradient| &*gradient)
    }
}

impl<'a, T: Scalar> Hessian<'a, T> {
    /// Creates the Hessian of `loss` at the parameters `w`, for the rows `x` of a batch of `shape` and their `target`.
    ///
    /// # Shapes
    /// x: \[rows, input\], time-major; there is one target for each row of the output.
    ///
    /// # Errors
    /// [`Error::Length`] where `w` or `x` does not have the number of values that the network or `shape` requires.
    /// The errors of [`Workspace::new`] and [`LayerSpec::build`](crate::layer::LayerSpec::build), except
    /// [`Error::CustomPart`].
    pub fn new(
        network: &'a (impl Layer<T> + 'a),
        w: &[T],
        x: &[T],
        shape: BatchShape<'a>,
        loss: &'a (impl Loss<T> + Loss<Dual<f64>>),
        target: Target<'_, T>,
    ) -> Result<Self, Error> {
        check_depth(&network)?;
        let dims = network.dims();
        require_length("parameters", dims.parameters, w.len())?;
        shape.check()?;
        require_length("input", shape.rows().saturating_mul(dims.input), x.len())?;
        let spec = network.spec();
        let passes = if spec.has_custom_part() {
            Passes::Differences(Bench::new(network as &dyn Layer<T>, w, x, shape, loss, target)?)
        } else {
            Passes::Dual(Bench::new(spec.build::<Dual<f64>>()?, w, x, shape, loss, target)?)
        };
        Ok(Hessian { passes, shape, parameters: dims.parameters })
    }

    /// Sets the key of the dropout masks, which are the same in every product. The default has seed 0 and training
    /// step 0.
    #[must_use]
    pub fn dropout_key(mut self, key: DropoutKey) -> Self {
        match &mut self.passes {
            Passes::Dual(bench) => bench.workspace.set_dropout_key(key),
            Passes::Differences(bench) => bench.workspace.set_dropout_key(key),
        }
        self
    }

    /// Whether products are exact to rounding; otherwise they are central differences of gradients.
    pub fn is_exact(&self) -> bool {
        matches!(self.passes, Passes::Dual(_))
    }

    /// The number of samples of the batch.
    pub(crate) fn samples(&self) -> usize {
        self.shape.batch
    }

    /// Returns the product `H v` of the Hessian and the direction `v`.
    ///
    /// # Errors
    /// [`Error::Length`] where `v` does not have one value for each parameter of the network. The errors of
    /// [`Loss::evaluate`].
    ///
    /// # Panics
    /// Where [`Workspace::forward`] panics.
    pub fn times(&mut self, v: &[f64]) -> Result<Vec<f64>, Error> {
        require_length("a direction", self.parameters, v.len())?;
        match &mut self.passes {
            Passes::Dual(bench) => {
                bench.w.iter_mut().zip(v).for_each(|(w, &v)| w.tangent = v);
                Ok(bench.gradient(self.shape)?.iter().map(|gradient| gradient.tangent).collect())
            }
            Passes::Differences(bench) => {
                // The displacement h v has the norm ε^(1/3) · max(‖w‖, 1).
                let norm = |values: &mut dyn Iterator<Item = f64>| Float::sqrt(values.map(|x| x * x).sum::<f64>());
                let size = norm(&mut bench.w.iter().map(|&w| to_f64(w))).max(1.0);
                let length = norm(&mut v.iter().copied());
                if length == 0.0 {
                    return Ok(vec![0.0; v.len()]);
                }
                let h = libm::cbrt(to_f64(T::epsilon())) * size / length;
                let (before, mut product) = (bench.w.clone(), vec![0.0; v.len()]);
                for sign in [1.0, -1.0] {
                    let moved = before.iter().zip(v).map(|(&w, &v)| w + scalar::<T>(sign * h * v));
                    bench.w.iter_mut().zip(moved).for_each(|(w, moved)| *w = moved);
                    let gradient = bench.gradient(self.shape).map(<[T]>::to_vec);
                    bench.w.copy_from_slice(&before);
                    let share = sign / (2.0 * h);
                    product.iter_mut().zip(gradient?).for_each(|(p, gradient)| *p += share * to_f64(gradient));
                }
                Ok(product)
            }
        }
    }

    /// Returns the largest eigenvalue of H (not the one of largest magnitude), from at most `products` products `H
    /// v`, by Lanczos iteration from a fixed random vector with full orthogonalization.
    ///
    /// The iteration ends earlier if the estimate changes by a relative 10⁻¹⁰ or less, or if the Krylov space is
    /// exhausted. The estimate is a lower bound; about 30 products give three digits. NaN if a product is not finite.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0 `products`, or a network without parameters. The errors of [`times`](Self::times).
    ///
    /// # Panics
    /// Where [`Workspace::forward`] panics.
    pub fn largest_eigenvalue(&mut self, products: usize) -> Result<f64, Error> {
        require(products > 0, "Hessian: products", "at least 1", 0.0)?;
        require(self.parameters > 0, "Hessian: parameters of the network", "at least 1", 0.0)?;
        let (mut rng, mut normals) = (generator(0), Normals::new());
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut next: Vec<f64> = (0..self.parameters).map(|_| normals.next(&mut rng)).collect();
        let (mut directions, mut diagonal, mut beside) = (Vec::<Vec<f64>>::new(), Vec::new(), Vec::new());
        let mut found = f64::NAN;
        for _ in 0..products.min(self.parameters) {
            let length = Float::sqrt(dot(&next, &next));
            let scale = diagonal.iter().copied().fold(0.0, |most: f64, a: f64| most.max(Float::abs(a)));
            if length <= 1e-14 * scale || length.is_nan() {
                break;
            }
            if !directions.is_empty() {
                beside.push(length);
            }
            let direction: Vec<f64> = next.iter().map(|x| x / length).collect();
            next = self.times(&direction)?;
            diagonal.push(dot(&next, &direction));
            directions.push(direction);
            // Two rounds of Gram–Schmidt are enough.
            for _ in 0..2 {
                for direction in &directions {
                    let along = dot(&next, direction);
                    next.iter_mut().zip(direction).for_each(|(x, d)| *x -= along * d);
                }
            }
            let estimate = largest_of_tridiagonal(&diagonal, &beside);
            if estimate.is_nan() || Float::abs(estimate - found) <= 1e-10 * Float::abs(estimate) {
                return Ok(estimate);
            }
            found = estimate;
        }
        Ok(found)
    }
}

/// Returns the largest eigenvalue of a symmetric tridiagonal matrix, by bisection. `diagonal` is its main diagonal,
/// and `beside` the diagonal next to it, which has one entry fewer. NaN if an entry is not finite.
fn largest_of_tridiagonal(diagonal: &[f64], beside: &[f64]) -> f64 {
    let at = |i: usize| if i < beside.len() { Float::abs(beside[i]) } else { 0.0 };
    let radius = |i: usize| at(i) + if i > 0 { at(i - 1) } else { 0.0 };
    // Bounds by Gershgorin's discs.
    let ends = |sign: f64| diagonal.iter().enumerate().map(move |(i, a)| a + sign * radius(i));
    let (mut low, mut high) = (ends(-1.0).fold(f64::INFINITY, f64::min), ends(1.0).fold(f64::NEG_INFINITY, f64::max));
    if !low.is_finite() || !high.is_finite() {
        return f64::NAN;
    }
    // x is above all eigenvalues if every pivot of T − x is negative.
    let is_above = |x: f64| {
        let mut pivot = f64::NEG_INFINITY;
        diagonal.iter().enumerate().all(|(i, a)| {
            let square = if i > 0 { at(i - 1) * at(i - 1) } else { 0.0 };
            pivot = a - x - square / pivot;
            pivot < 0.0
        })
    };
    for _ in 0..200 {
        let middle = low + 0.5 * (high - low);
        if middle <= low || middle >= high {
            break;
        }
        if is_above(middle) { high = middle } else { low = middle }
    }
    high
}
