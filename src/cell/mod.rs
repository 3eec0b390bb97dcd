//! Cells of recurrent layers: element-wise stages between matrix products with the recurrent weights.

use crate::{
    activation::{AnyActivation, Cloned},
    block::Gate,
    compiled::{Layer, RecurrentLayer},
    scalar::Scalar,
    type_name::{saved_name, without_argument},
};
use alloc::{boxed::Box, vec, vec::Vec};
use core::{fmt::Debug, ops::Range};

mod kind;
mod list;
mod saved_gate;
mod state_noise;
mod values;

pub use gru::GruVariant;
pub use kind::CellKind;
pub(crate) use kind::{ActivationDispatch, CellVisitor};
pub(crate) use list::cells;
pub use state_noise::StateNoise;
use values::UnitSizes;
pub use values::{CellBackward, CellForward};

macro_rules! files {
    (
        with_activation { $($generic_file:ident: $generic:ident;)* }
        plain { $($file:ident: $name:ident [$($example:expr),+];)* }
    ) => {
        $(
            mod $generic_file;
            pub use $generic_file::$generic;
        )*
        $(
            mod $file;
            pub use $file::$name;
        )*
    };
}
cells!(files);

/// The vector that a product with the recurrent weights U multiplies by rows of U.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The hidden state of the previous time step.
    Hidden,
    /// The values that the stage (element-wise part of a time step) before the product wrote to
    /// [`CellForward::operand`], such as `r ⊙ h` of a GRU with the reset gate r.
    StageOutput,
}

/// One product with the recurrent weights U: `U_g · operand`, where U_g holds the rows of U of some gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The gates whose rows of the recurrent weights U form U_g, the matrix of the product.
    pub gates: Range<usize>,
    /// The index of the stage (element-wise part of a time step) that reads the result. The product runs just before
    /// it.
    pub stage: usize,
    /// The vector that the product multiplies by U_g, the gates' rows of the recurrent weights.
    pub operand: Operand,
    /// Whether the result is stored in [`CellForward::u`], with a bias of its own, instead of added to
    /// [`CellForward::z`].
    pub keep_separate: bool,
}

/// The numbers of values per unit that a cell needs in addition to its hidden state h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellSizes {
    /// Values of cell state per unit, carried from time step to time step: 1 for the c of an LSTM.
    pub cell_state: usize,
    /// The number of gradients per unit that the backward pass of a stage (element-wise part of a time step) keeps
    /// for the backward pass of an earlier stage.
    pub between_stages: usize,
}

/// Upper bounds on the weights of one gate.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GateBounds {
    /// Upper bound on `‖W_g‖₂`, where W_g holds the rows of the input weights W that belong to the gate.
    pub weight: f64,
    /// Upper bound on `‖U_g‖₂`, where U_g holds the rows of the recurrent weights U that belong to the gate.
    /// With recurrent dropout of a rate p, `U_g/(1 − p)` takes the place of U_g.
    pub recurrent: f64,
    /// Upper bound on the entries of `U_g h + b_u` for entries of h in [−1, 1]: `max_j (Σ_k |U_g,jk| + |b_u,j|)`.
    /// U_g are the gate's recurrent weights, and b_u is the bias of its separate product, 0 if it has none. With
    /// recurrent dropout of a rate p, `U_g/(1 − p)` takes the place of U_g.
    pub product: f64,
}

/// Upper bounds on the Jacobian of one time step, by blocks of the state s = (h, c), where c is the cell state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepBounds {
    /// Bounds on the 2-norms of the blocks of `∂s_t/∂s_{t−1}` for the state s = (h, c): \[\[∂h/∂h,
    /// ∂h/∂c\], \[∂c/∂h, ∂c/∂c\]\]. The blocks with c are 0 if the cell has no cell state c.
    pub state: [[f64; 2]; 2],
    /// Bounds on the 2-norms of the blocks of `∂s_t/∂x_t` for the state s = (h, c) and the input x: \[∂h/∂x,
    /// ∂c/∂x\].
    pub input: [f64; 2],
}

/// One time step of a recurrent layer: element-wise stages between matrix products with the recurrent weights U.
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
/// `gates` names the parts of `z = W x + U h_prev + b`. `forward` computes `h` from `z`. `backward` replaces `z` by
/// its gradient. The layer owns `W` \[gates · hidden, inputs\], `U` \[gates · hidden, hidden\] and the biases.
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
/// pass runs them in reverse order. Each call of a stage receives one sample. A network with a cell that breaks a
/// rule is refused with [`Error::InvalidLayer`](crate::Error::InvalidLayer):
/// * There is at least one gate. Names of gates differ. Every method returns the same value each time.
/// * The gates of a product exist. The gates of the products with [`keep_separate`](Product::keep_separate) follow
///   each other, product after product, without gaps.
/// * Each stage after the first has a product. No product of stage 0 has the operand [`Operand::StageOutput`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cell of a recurrent layer",
    label = "not a cell of a recurrent layer",
    note = "`Elman` takes its activation: `Elman::new(Tanh)`",
    note = "a cell chosen at run time is a `Recurrent` layer of it, as a `Box<dyn Layer<T>>`, not a `Box<dyn Cell>`",
    note = "a `Result` gives its value by `?`"
)]
pub trait Cell: Cloned + Debug + Send + Sync + 'static {
    /// The gates of the cell, in the order of their rows in the input weights W and the recurrent weights U.
    fn gates(&self) -> &'static [Gate];

    /// Runs one stage, an element-wise part, of a forward time step for one sample, whose values are in `unit`.
    /// Stages are counted from 0 and run in order.
    ///
    /// # Panics
    /// A cell may panic for a `stage` that it does not have, and for slices that are not as long as its methods say; a
    /// cell of this crate names the slice. A [`Recurrent`](crate::recurrent::Recurrent) layer passes neither.
    fn forward<T: Scalar>(&self, stage: usize, unit: CellForward<'_, T>)
    where
        Self: Sized;

    /// Runs the backward pass of one stage, an element-wise part, of a time step for one sample, whose values are in
    /// `unit`. Stages run from the last to stage 0.
    ///
    /// # Panics
    /// Under the same conditions as [`forward`](Self::forward).
    fn backward<T: Scalar>(&self, stage: usize, unit: CellBackward<'_, T>)
    where
        Self: Sized;

    /// Returns the products with the recurrent weights U. The default is one product of all gates with the hidden
    /// state, before stage 0.
    fn products(&self) -> Vec<Product> {
        vec![Product { gates: 0..self.gates().len(), stage: 0, operand: Operand::Hidden, keep_separate: false }]
    }

    /// Returns the numbers of values per unit that the cell needs in addition to its hidden state h. The default is
    /// none.
    fn sizes(&self) -> CellSizes {
        CellSizes::default()
    }

    /// The activation of gate number `_gate`, in the order of [`gates`](Self::gates), for monitors. `None`, the
    /// default, if no single function gives the gate's values: monitors then receive neither its pre-activations nor
    /// its values.
    fn activation(&self, _gate: usize) -> Option<&dyn AnyActivation> {
        None
    }

    /// Upper bounds on the Jacobian of the state after time step number `_step`, counted from 0, with respect to the
    /// previous state and the input. They hold for any input, if the sequence starts from a zero state. `_gates` has
    /// bounds on the weights of each gate, in the order of [`gates`](Self::gates). `None`, the default, if no bounds
    /// are known.
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
    fn boxed_layer<T: Scalar>(layer: RecurrentLayer<Self>) -> Box<dyn Layer<T>>
    where
        Self: Sized,
    {
        Box::new(layer)
    }
}

/// Defines the method [`Cell::boxed_layer`] for a cell whose layer this crate compiles for `f32` and `f64`: it calls
/// the hidden method of [`Scalar`] that has the cell's name.
macro_rules! own_box {
    ($name:ident) => {
        fn boxed_layer<T: $crate::scalar::Scalar>(
            layer: $crate::cell::RecurrentLayer<Self>,
        ) -> alloc::boxed::Box<dyn $crate::cell::Layer<T>> {
            T::$name(layer)
        }
    };
}
use own_box;
