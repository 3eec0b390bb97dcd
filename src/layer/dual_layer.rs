//! A layer without a backward pass of its own: dual numbers compute it.

use super::{Backward, Dims, Forward, Hints, Layer};
use crate::{
    block::{Block, Role},
    error::Error,
    initializer::{Initializer, Shape, Uniform},
    loss::Sum,
    math::dual::Dual,
    monitor::Factor,
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{vec, vec::Vec};
use core::fmt::Debug;
use rand_core::Rng;

/// A map of one row, `y = f(x, w)`, written once for all scalars. [`DualLayer`] makes a [`Layer`] of it.
///
/// ```
/// use chainrule::{Scalar, layer::{Dims, DualLayer, RowMap, Sequential}};
/// /// `y = w x²`, one w for each value.
/// #[derive(Debug)]
/// struct Squares(usize);
/// impl RowMap for Squares {
///     fn dims(&self) -> Dims {
///         Dims::new(self.0, self.0, self.0)
///     }
///     fn row<T: Scalar>(&self, w: &[T], x: &[T], y: &mut [T]) {
///         (0..self.0).for_each(|i| y[i] = w[i] * x[i] * x[i]);
///     }
/// }
/// chainrule::layer_laws!(squares_keep_their_laws, DualLayer(Squares(3))); // a #[test], of the gradients too
/// let network = Sequential::<f32>::input(3).layer(DualLayer(Squares(3))).linear(1).build()?;
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Required
/// `dims` returns the widths and the number of parameters; `row` computes `y`, which is zero on entry.
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `blocks` | one block, `weight` | blocks shall have names, roles and shapes of their own |
/// | `initialize` | uniform in ±1/√inputs | the parameters begin elsewhere |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a map of a row",
    label = "not a map of a row",
    note = "it is a type with `RowMap::dims` and `RowMap::row`, which is generic over the number type: a closure cannot be",
    note = "a layer with a backward pass of its own, such as `Linear`, needs no `DualLayer`"
)]
pub trait RowMap: Debug + Send + Sync {
    /// Returns the input width and the output width, in values per row, and the number of parameters.
    fn dims(&self) -> Dims;

    /// Computes the output `y` of one row from its input `x` and the parameters `w`; `y` is zero on entry.
    ///
    /// # Shapes
    /// `w`: \[parameters\]; `x`: \[input\]; `y`: \[output\].
    fn row<T: Scalar>(&self, w: &[T], x: &[T], y: &mut [T]);

    /// Calls `visit` with each parameter block, in the order of `w`. By default there is one for all parameters.
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        let parameters = self.dims().parameters;
        if parameters > 0 {
            visit(Block::new("weight", 0, [parameters, 1], Role::Weight));
        }
    }

    /// Writes the initial values of the parameters to `w`, which is zero on entry. By default they are uniform between
    /// `−1/√inputs` and `1/√inputs`.
    ///
    /// # Errors
    /// The errors of [`Initializer::fill`].
    fn initialize(&self, w: &mut [f64], rng: &mut dyn Rng) -> Result<(), Error> {
        let bound = 1.0 / libm::sqrt(self.dims().input.max(1) as f64);
        match w.len() {
            0 => Ok(()),
            parameters => Uniform { low: -bound, high: bound }.fill(Shape::new(parameters, 1, Role::Weight), rng, w),
        }
    }
}

/// A layer from a map of one row, without a backward pass of its own: dual numbers compute its gradients. For
/// prototypes.
///
/// Forward: `y = f(x, w)` for each row. Backward: `dx_i = Σ_k dy_k ∂y_k/∂x_i` and `dw_j += Σ dy_k ∂y_k/∂w_j`,
/// each by a pass of `f` on [dual numbers](crate::testing::Dual). The gradients are exact to rounding.
///
/// A backward pass costs `inputs + parameters` evaluations a row, each with about three times the operations of `row`,
/// and allocates; a backward pass written by hand costs about two evaluations. Rows whose `dy` is zero cost nothing.
/// So a `DualLayer` is for small layers, until a `backward` is written. Rows are independent of each other:
/// sequences of unequal length, masks and threads need nothing more. For a function of input and state, applied at
/// each time step, implement [`Cell`](crate::recurrent::Cell).
///
/// ```
/// use chainrule::{Scalar, layer::{Dims, DualLayer, RowMap, Sequential}};
/// /// `y_j = exp(−Σ_i (x_i − w_ji)²)`: 4 radial basis functions of 2 inputs.
/// #[derive(Debug)]
/// struct Radial;
/// impl RowMap for Radial {
///     fn dims(&self) -> Dims {
///         Dims::new(2, 4, 2 * 4)
///     }
///     fn row<T: Scalar>(&self, w: &[T], x: &[T], y: &mut [T]) {
///         for (y, w) in y.iter_mut().zip(w.chunks(2)) {
///             *y = (-x.iter().zip(w).fold(T::zero(), |sum, (&x, &w)| sum + (x - w) * (x - w))).exp();
///         }
///     }
/// }
/// chainrule::layer_laws!(radial_keeps_its_laws, DualLayer(Radial));
/// let network = Sequential::<f32>::input(2).layer(DualLayer(Radial)).linear(1).build()?;
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DualLayer<F>(pub F);

impl<T: Scalar, F: RowMap> Layer<T> for DualLayer<F> {
    fn dims(&self) -> Dims {
        self.0.dims()
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        self.0.blocks(visit);
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        let mut values = vec![0.0; w.len()];
        self.0.initialize(&mut values, rng)?;
        for (index, (w, value)) in w.iter_mut().zip(values).enumerate() {
            *w = scalar(value);
            if !w.is_finite() {
                return Err(Error::NonFinite { what: "initial values", index, found: to_f64(*w) });
            }
        }
        Ok(())
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_y().saved_per_row()
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        pass.check("DualLayer", self, w);
        let Dims { input, output, .. } = self.0.dims();
        pass.y.fill(T::zero());
        for (x, y) in pass.x.chunks(input.max(1)).zip(pass.y.chunks_mut(output.max(1))) {
            self.0.row(w, x, y);
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    fn backward(&self, w: &[T], mut pass: Backward<'_, T>) {
        pass.check("DualLayer", self, w);
        let Dims { input, output, .. } = self.0.dims();
        let mut trained = Vec::new();
        let mut number = 0;
        self.0.blocks(&mut |block| {
            trained.extend(Some(block.range).filter(|_| pass.trainable.block(number)));
            number += 1;
        });
        let constants = |values: &[T]| values.iter().map(|&value| Dual::constant(value)).collect::<Vec<_>>();
        let (mut w, mut y) = (constants(w), vec![Dual::constant(T::zero()); output]);
        let mut sums = vec![Sum::new(); w.len()];
        let rows = pass.x.chunks(input.max(1)).zip(pass.dy.chunks(output.max(1)));
        for (row, (x, dy)) in rows.enumerate() {
            let mut dx = pass.dx.as_deref_mut().map(|dx| &mut dx[row * input..][..input]);
            if dy.iter().all(|dy| dy.is_zero()) {
                dx.into_iter().for_each(|dx| dx.fill(T::zero()));
                continue;
            }
            let mut x = constants(x);
            // Returns Σ_k dy_k ∂y_k/∂p, where p is the one number whose tangent is 1.
            let mut along = |w: &[Dual<T>], x: &[Dual<T>]| {
                y.fill(Dual::constant(T::zero()));
                self.0.row(w, x, &mut y);
                let used = y.iter().zip(dy).filter(|(_, dy)| !dy.is_zero());
                used.fold(T::zero(), |sum, (y, &dy)| sum + dy * y.tangent)
            };
            for i in 0..dx.as_ref().map_or(0, |dx| dx.len()) {
                x[i].tangent = T::one();
                let slope = along(&w, &x);
                x[i].tangent = T::zero();
                dx.iter_mut().for_each(|dx| dx[i] = slope);
            }
            for j in trained.iter().cloned().flatten() {
                w[j].tangent = T::one();
                sums[j].add(along(&w, &x));
                w[j].tangent = T::zero();
            }
        }
        for j in trained.into_iter().flatten() {
            pass.dw[j] += sums[j].total();
        }
        if let Some(dx) = pass.dx {
            pass.ctx.report_backward(Factor::Other, pass.dy, dx);
        }
    }
}
