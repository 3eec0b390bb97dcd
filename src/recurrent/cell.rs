//! The contract of a recurrent cell: element-wise stages between matrix products with the recurrent weights.

use super::{kind::CellKind, layer::Recurrent};
use crate::{
    activation::{AnyActivation, Cloned},
    block::Gate,
    kernel::fused::{Fused, fused, fused_mut},
    layer::{Layer, hold},
    scalar::Scalar,
    type_name::{saved_name, without_argument},
};
use alloc::{boxed::Box, vec, vec::Vec};
use core::{
    fmt::{self, Debug},
    ops::Range,
};

/// The vector that a recurrent product multiplies by rows of the recurrent weights U.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The hidden state of the previous step.
    Hidden,
    /// The values that the stage before the product, an element-wise part of the step, wrote to
    /// [`CellForward::operand`], such as `r ⊙ h` of a GRU with the reset gate r.
    StageOutput,
}

/// One product with the recurrent weights U: `U_g · operand`, where U_g holds the rows of U of some gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The gates whose rows of the recurrent weights U form U_g, the matrix of the product.
    pub gates: Range<usize>,
    /// The index of the stage (element-wise part of a step) that reads the result. The product runs just before it.
    pub stage: usize,
    /// The vector that the product multiplies by U_g, the gates' rows of the recurrent weights.
    pub operand: Operand,
    /// Whether the result is stored in [`CellForward::u`], with a bias of its own, instead of added to
    /// [`CellForward::z`].
    pub keep_separate: bool,
}

/// The values of one sample at one stage, an element-wise part, of a forward step. Separate gates are those whose
/// product is [kept separate](Product::keep_separate), in `u`.
///
/// # Shapes
/// `z`: \[gates · hidden\]; `u`: \[separate gates · hidden\]; `h_prev`, `h`, `operand`: \[hidden\];
/// `cell_state_prev`, `cell_state`: \[[`cell_state`](CellSizes::cell_state) · hidden\].
#[non_exhaustive]
pub struct CellForward<'a, T> {
    /// In: pre-activations `W x + b` plus the products added to them, gate after gate. Out, for the gates this stage
    /// used: the values from which `backward` recovers the gates and their derivatives.
    pub z: &'a mut [T],
    /// Whether a backward pass can follow. If not, the content of `z` on return is arbitrary.
    pub saves: bool,
    /// A copy of the pre-activations for the monitor, laid out as `z`; empty if no monitor is active. A stage that
    /// itself adds to a pre-activation must write the sum here, too.
    pub monitored_z: &'a mut [T],
    /// Results, with their biases, of the products with [`keep_separate`](Product::keep_separate) for this sample, in
    /// the order of the products.
    pub u: &'a [T],
    /// Hidden state of the previous step.
    pub h_prev: &'a [T],
    /// Cell state of the previous step: the c of an LSTM.
    pub cell_state_prev: &'a [T],
    /// Out, from every stage except the last: the operand of the next stage's product. Empty at the last stage.
    pub operand: &'a mut [T],
    /// Out, from the last stage: the hidden state, which is the output of the step.
    pub h: &'a mut [T],
    /// Out, from the last stage: the cell state.
    pub cell_state: &'a mut [T],
}

impl<'a, T> CellForward<'a, T> {
    /// Panics unless each slice has the length that follows from `sizes`, the values per unit, and the number of units,
    /// the length of `h`. `cell` is the name of the cell in the message.
    #[inline(always)]
    pub(super) fn check(&self, cell: &'static str, sizes: UnitSizes) {
        let (n, operand, monitored) = (self.h.len(), self.operand.len(), self.monitored_z.len());
        let found = [self.z.len(), self.u.len(), self.h_prev.len(), self.cell_state_prev.len(), self.cell_state.len()];
        sizes.require(cell, n, found);
        require(
            cell,
            [
                ("operand", n, if sizes.operand { operand } else { n }),
                ("monitored_z", if monitored == 0 { 0 } else { sizes.gates * n }, monitored),
            ],
        );
    }

    #[inline(always)]
    pub(super) fn fused(self) -> CellForward<'a, Fused<T>> {
        CellForward {
            z: fused_mut(self.z),
            saves: self.saves,
            monitored_z: fused_mut(self.monitored_z),
            u: fused(self.u),
            h_prev: fused(self.h_prev),
            cell_state_prev: fused(self.cell_state_prev),
            operand: fused_mut(self.operand),
            h: fused_mut(self.h),
            cell_state: fused_mut(self.cell_state),
        }
    }
}

/// The values of one sample at one stage, an element-wise part, of a backward step.
///
/// # Shapes
/// As [`CellForward`]; `between_stages`: \[[`between_stages`](CellSizes::between_stages) · hidden\].
#[non_exhaustive]
pub struct CellBackward<'a, T> {
    /// In: the values that the forward stages saved. Out, for the gates this stage used: the gradient with respect to
    /// the pre-activations.
    pub z: &'a mut [T],
    /// In: results of the products that are [kept separate](Product::keep_separate). Out: the gradient with respect to
    /// these results.
    pub u: &'a mut [T],
    /// Hidden state of the previous step.
    pub h_prev: &'a [T],
    /// Cell state of the previous step.
    pub cell_state_prev: &'a [T],
    /// Hidden state of this step as the cell computed it, before any zoneout.
    pub h: &'a [T],
    /// Cell state of this step as the cell computed it, before any zoneout.
    pub cell_state: &'a [T],
    /// Gradient with respect to `h`.
    pub d_h: &'a [T],
    /// In: gradient with respect to `cell_state`. Out, from the last stage, the first to run backward: with respect to
    /// `cell_state_prev`.
    pub d_cell_state: &'a mut [T],
    /// Gradient with respect to the operand that this stage wrote; empty at the last stage.
    pub d_operand: &'a [T],
    /// Gradient with respect to `h_prev`. A stage adds its element-wise part, such as `z ⊙ d_h` of a GRU with the
    /// update gate z; the layer adds the part that passes through the products.
    pub d_h_prev: &'a mut [T],
    /// Gradients that the backward pass of a later stage writes for that of an earlier stage, which runs after it.
    pub between_stages: &'a mut [T],
}

macro_rules! debug_lengths {
    ($name:ident: $($slice:ident)+) => {
        /// Writes the lengths of the slices.
        impl<T> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($slice), &self.$slice.len()))+.finish()
            }
        }
    };
}
debug_lengths!(CellForward: z monitored_z u h_prev cell_state_prev operand h cell_state);
debug_lengths!(CellBackward: z u h_prev cell_state_prev h cell_state d_h d_cell_state d_operand d_h_prev between_stages);

/// Values per unit in the slices of [`CellForward`] and [`CellBackward`], at one stage (element-wise part of a step) of
/// a cell of this crate.
#[derive(Clone, Copy)]
pub(super) struct UnitSizes {
    /// The number of gates.
    pub(super) gates: usize,
    /// The number of gates whose recurrent product `U h` is kept apart from `W x`, in `u`: the candidate of a GRU
    /// scales it first.
    pub(super) separate: usize,
    /// The number of values of the cell state, such as c of an LSTM, per unit.
    pub(super) cell_state: usize,
    /// The number of gradients per unit that the backward pass of a stage leaves for that of an earlier stage.
    pub(super) between_stages: usize,
    /// Whether the stage writes an operand, the vector that the products of the next stage multiply by U.
    pub(super) operand: bool,
}

impl UnitSizes {
    /// Panics unless the slices that both passes read have their lengths for `n` units: `found` are those of z, u,
    /// h_prev, cell_state_prev and cell_state. `cell` is the name of the cell in the message.
    #[inline(always)]
    fn require(&self, cell: &str, n: usize, found: [usize; 5]) {
        let [z, u, h_prev, cell_state_prev, cell_state] = found;
        require(
            cell,
            [
                ("z", self.gates * n, z),
                ("u", self.separate * n, u),
                ("h_prev", n, h_prev),
                ("cell_state_prev", self.cell_state * n, cell_state_prev),
                ("cell_state", self.cell_state * n, cell_state),
            ],
        );
    }
}

/// Panics unless each slice has its length. `slices` holds names, expected lengths and found lengths; `cell` is the
/// name of the cell in the message.
#[inline(always)]
fn require<const N: usize>(cell: &str, slices: [(&str, usize, usize); N]) {
    if slices.iter().any(|&(_, expected, found)| expected != found) {
        refuse(cell, &slices);
    }
}

#[cold]
#[inline(never)]
fn refuse(cell: &str, slices: &[(&str, usize, usize)]) -> ! {
    for (slice, expected, found) in slices {
        hold(&alloc::format!("`{slice}` of {cell}"), *expected, *found);
    }
    unreachable!("a slice has another length");
}

impl<'a, T> CellBackward<'a, T> {
    /// Panics unless each slice has the length that follows from `sizes`, the values per unit, and the number of units,
    /// the length of `h`. `cell` is the name of the cell in the message.
    #[inline(always)]
    pub(super) fn check(&self, cell: &'static str, sizes: UnitSizes) {
        let n = self.h.len();
        let found = [self.z.len(), self.u.len(), self.h_prev.len(), self.cell_state_prev.len(), self.cell_state.len()];
        sizes.require(cell, n, found);
        require(
            cell,
            [
                ("d_h", n, self.d_h.len()),
                ("d_cell_state", sizes.cell_state * n, self.d_cell_state.len()),
                ("d_operand", n, if sizes.operand { self.d_operand.len() } else { n }),
                ("d_h_prev", n, self.d_h_prev.len()),
                ("between_stages", sizes.between_stages * n, self.between_stages.len()),
            ],
        );
    }

    #[inline(always)]
    pub(super) fn fused(self) -> CellBackward<'a, Fused<T>> {
        CellBackward {
            z: fused_mut(self.z),
            u: fused_mut(self.u),
            h_prev: fused(self.h_prev),
            cell_state_prev: fused(self.cell_state_prev),
            h: fused(self.h),
            cell_state: fused(self.cell_state),
            d_h: fused(self.d_h),
            d_cell_state: fused_mut(self.d_cell_state),
            d_operand: fused(self.d_operand),
            d_h_prev: fused_mut(self.d_h_prev),
            between_stages: fused_mut(self.between_stages),
        }
    }
}

/// Values per unit that a cell needs in addition to h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellSizes {
    /// Values of cell state per unit, carried from step to step: 1 for the c of an LSTM.
    pub cell_state: usize,
    /// The number of gradients per unit that the backward pass of a stage (element-wise part of a step) keeps for that
    /// of an earlier stage.
    pub between_stages: usize,
}

/// Upper bounds on the weights of one gate.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GateBounds {
    /// Upper bound on `‖W_g‖₂`, where W_g holds the rows of the input weights W that belong to the gate.
    pub weight: f64,
    /// Upper bound on `‖U_g‖₂`, where U_g holds the rows of the recurrent weights U that belong to the gate.
    /// Recurrent dropout of a rate p counts U `1/(1 − p)` times.
    pub recurrent: f64,
    /// Upper bound on the entries of `U_g h + b_u` for entries of h in [−1, 1]: `max_j (Σ_k |U_g,jk| + |b_u,j|)`.
    /// U_g are the gate's recurrent weights, and b_u is the bias of its separate product, 0 if it has none. Recurrent
    /// dropout of a rate p counts U `1/(1 − p)` times.
    pub product: f64,
}

/// Upper bounds on the Jacobian of one step, by blocks of the state s = (h, c), where c is the cell state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepBounds {
    /// Bounds on the 2-norms of the blocks of `∂s_t/∂s_{t−1}` for the state s = (h, c): \[\[∂h/∂h,
    /// ∂h/∂c\], \[∂c/∂h, ∂c/∂c\]\]. Those with c are 0 if the cell has no cell state c.
    pub state: [[f64; 2]; 2],
    /// Bounds on the 2-norms of the blocks of `∂s_t/∂x_t` for the state s = (h, c) and the input x: \[∂h/∂x,
    /// ∂c/∂x\].
    pub input: [f64; 2],
}

/// One step of a recurrent layer: element-wise stages between matrix products with U.
///
/// ```
/// use chainrule::{Gate, Scalar, activation::{Activation, Tanh}, recurrent::{Cell, CellBackward, CellForward}};
/// /// h = tanh(z), z = W x + U h_prev + b: one gate, one product, one stage.
/// #[derive(Clone, Debug)]
/// struct Plain;
/// impl Cell for Plain {
///     fn gates(&self) -> &'static [Gate] {
///         const { &[Gate::new("hidden")] }
///     }
///     fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
///         unit.h.iter_mut().zip(&*unit.z).for_each(|(h, &z)| *h = Tanh.value(z));
///     }
///     fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
///         unit.z.iter_mut().zip(unit.h).zip(unit.d_h).for_each(|((z, &h), &dh)| *z = dh * Tanh.derivative(*z, h));
///     }
/// }
/// chainrule::testing::cell_laws(&Plain, 0).unwrap();
/// ```
///
/// # Required
/// `gates` names the parts of `z = W x + U h_prev + b`. `forward` computes `h` from `z`. `backward` replaces `z` by its
/// gradient. The layer owns `W` \[gates · hidden, inputs\], `U` \[gates · hidden, hidden\] and the biases.
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `products` | one product of all gates with h | a stage lies between two products, or a product is kept apart |
/// | `sizes` | none | there is a cell state, or a backward stage keeps a gradient for an earlier one |
/// | `activation` | `None` | monitors and the diagnosis shall see the gates |
/// | `step_bounds` | `None` | the network shall have a certificate over time |
/// | `kind` | the name of the type | never, outside this crate |
///
/// # Rules
/// A cell with S + 1 stages runs the products of stage 0, stage 0, the products of stage 1, … stage S. The backward
/// pass runs them in reverse order. A stage receives one sample at a time. A network with a cell that breaks a rule is
/// refused with [`Error::InvalidLayer`](crate::Error::InvalidLayer):
/// * There is at least one gate. Names of gates differ. Every method returns the same value each time.
/// * The gates of a product exist. Those of the products with [`keep_separate`](Product::keep_separate) follow each
///   other, product after product, without gaps.
/// * Each stage after the first has a product. No product of stage 0 has the operand [`Operand::StageOutput`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cell of a recurrent layer",
    label = "not a cell of a recurrent layer",
    note = "`Elman` takes its activation: `Elman::new(Tanh)`",
    note = "a cell chosen at run time is a `Recurrent` layer of it, as a `Box<dyn Layer<T>>`, not a `Box<dyn Cell>`",
    note = "a `Result` gives its value by `?`"
)]
pub trait Cell: Cloned + Debug + Send + Sync + 'static {
    /// The gates, in the order of the rows of W and U.
    fn gates(&self) -> &'static [Gate];

    /// Runs one stage, an element-wise part, of a forward step for one sample, whose values are in `unit`. Stages are
    /// counted from 0 and run in order.
    ///
    /// # Panics
    /// A cell may panic for a `stage` that it does not have, and for slices that are not as long as its methods say; a
    /// cell of this crate names the slice. A [`Recurrent`](super::Recurrent) layer passes neither.
    fn forward<T: Scalar>(&self, stage: usize, unit: CellForward<'_, T>)
    where
        Self: Sized;

    /// Runs the backward pass of one stage, an element-wise part, of a step for one sample, whose values are in `unit`.
    /// Stages run from the last to stage 0.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    fn backward<T: Scalar>(&self, stage: usize, unit: CellBackward<'_, T>)
    where
        Self: Sized;

    /// Products with the recurrent weights. The default is one, of all gates with the hidden state, before stage 0.
    fn products(&self) -> Vec<Product> {
        vec![Product { gates: 0..self.gates().len(), stage: 0, operand: Operand::Hidden, keep_separate: false }]
    }

    /// The numbers of values per unit that the cell needs beside h. The default is none.
    fn sizes(&self) -> CellSizes {
        CellSizes::default()
    }

    /// The activation of gate number `_gate`, in the order of [`gates`](Self::gates), for monitors. `None`, the
    /// default, if no single function gives the gate's values: monitors then receive neither its pre-activations nor
    /// its values.
    fn activation(&self, _gate: usize) -> Option<&dyn AnyActivation> {
        None
    }

    /// Upper bounds on the Jacobian of the state after step number `_step`, counted from 0, with respect to the
    /// previous state and the input, in a sequence that starts from a zero state, for any input. `_gates` has bounds on
    /// the weights of each gate, in the order of [`gates`](Self::gates). `None` if none are known, which is the
    /// default.
    fn step_bounds(&self, _gates: &[GateBounds], _step: usize) -> Option<StepBounds> {
        None
    }

    /// Returns the kind and the settings of the cell as data. The default is [`CellKind::Custom`] with the name of the
    /// type, without `f32` and `f64` among its arguments, and the `Debug` text as settings.
    fn kind(&self) -> CellKind
    where
        Self: Sized,
    {
        let name = without_argument(&saved_name::<Self, f32>(), core::any::type_name::<f64>());
        CellKind::Custom { name, settings: alloc::format!("{self:?}") }
    }

    /// Returns the layer of this cell as a trait object. Sealed: for a cell of this crate, this crate compiles the
    /// layer for `f32` and `f64`.
    #[doc(hidden)]
    fn boxed_layer<T: Scalar>(layer: Recurrent<Self>) -> Box<dyn Layer<T>>
    where
        Self: Sized,
    {
        Box::new(layer)
    }
}
