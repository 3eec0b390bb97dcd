//! The laws of layers, and of whole networks.

mod accuse;
mod adjoint;
mod cases;
mod draw;
mod dropout;
mod extremes;
mod facts;
mod gain;
mod generic;
mod initialize;
mod inputs;
mod links;
mod modes;
mod pass;
mod passes;
mod repeat;
mod rows;
mod stepped;

pub use cases::{LayerCases, Layers};
use draw::described;
pub(super) use draw::{draw, unequal};
use inputs::{EXTENTS, Inputs, UNUSUAL, USUAL};
use pass::{Asked, Given, Results, run};

use super::{
    Evidence, Law, Violations, caught, judged,
    law::{Trial, summary},
    steady,
};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Blocks},
    layer::{Layer, Mode},
    random::{generator, uniform},
    scalar::{Scalar, scalar},
};
use alloc::{format, string::String, vec, vec::Vec};
use core::convert::identity;

/// A `#[test]` that a layer, or a whole network, keeps its laws: [`layer_laws`](crate::testing::layer_laws).
///
/// The expression is evaluated once for each scalar. `shapes:`, `inputs:`, `parameters:` and `except:`, in this
/// order, are the fields of [`LayerCases`](crate::testing::LayerCases). `except:` is for gradients that are
/// deliberately not those of the output, such as straight-through estimators. The printed report names the laws that
/// it leaves out.
///
/// ```
/// use chainrule::{activation::Tanh, layer::{Embedding, Sequential}, recurrent::Lstm};
/// chainrule::layer_laws!(network, Sequential::input(3).recurrent(4, Lstm::new()).activation(Tanh).build().unwrap());
/// chainrule::layer_laws!(indices, Embedding::new(5, 2), inputs: |z: f64| z.abs().floor().min(4.0));
/// chainrule::layer_laws!(positive, Sequential::input(2).linear(2).build().unwrap(), parameters: |w: f64| w.abs());
/// chainrule::layer_laws!(unbounded, Sequential::input(2).linear(2).build().unwrap(), except: [GainBound]);
/// ```
#[macro_export]
macro_rules! layer_laws {
    ($(#[$attribute:meta])* $name:ident, $layer:expr $(, shapes: [$($shape:expr),* $(,)?])?
        $(, inputs: $inputs:expr)? $(, parameters: $parameters:expr)? $(, except: [$($law:ident),* $(,)?])? $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            let layers = $crate::testing::Layers { single: &$layer, double: &$layer, dual: &$layer };
            let shapes: &[$crate::BatchShape<'_>] = &[$($($shape),*)?];
            let inputs: &dyn Fn(f64) -> f64 = &::core::convert::identity;
            let parameters: &dyn Fn(f64) -> f64 = &::core::convert::identity;
            $(let inputs: &dyn Fn(f64) -> f64 = &$inputs;)?
            $(let parameters: &dyn Fn(f64) -> f64 = &$parameters;)?
            let except = &[$($($crate::testing::Law::$law),*)?];
            let cases = $crate::testing::LayerCases { shapes, inputs, parameters, except };
            let seed = $crate::testing::seed();
            $crate::testing::expect_lawful($crate::testing::layer_laws_with(layers, cases, seed));
        }
    };
}

/// Tests the laws of a layer, or of a whole network.
///
/// * **Adjoint.** ⟨c, J v⟩ = ⟨Jᵀc, v⟩ for the Jacobian J of a pass and random c and v. Jᵀc comes from the usual
///   passes in `f32` and `f64`, and J v from dual numbers. The gradients of input, state and each block of parameters
///   are tested separately, to rounding, even if they are small. Passes start from a given state, from zero and
///   without a state, in training and evaluation. They have up to 12 time steps and 1,025 rows. Inputs are also
///   scaled by 0, 30 and 10⁴, states by 30, gradients by 10⁻⁴ and 10⁴, parameters by −1, 1/100 and 10. Rows of
///   equal values must not give NaN. Passes run with initial buffers, and with buffers that earlier passes in
///   training have changed.
/// * **Purity.** A pass gives the same bits if it is repeated after others, and with another forward pass before its
///   backward pass. An evaluation or inference gives the same bits before and after the first pass in training. If any
///   of these differ, no further law is tested. Updated buffers are finite, and those of a repeated pass have the same
///   bits.
/// * **Memory.** `dx` is overwritten, `dw` added to; nothing is read that was not written, and nothing is written
///   outside the slices, with up to 1,025 rows. If one of these is broken, no further law is tested.
/// * **Blocks** tile the parameters, and each has a gradient. Their initial values are finite, a function of the seed
///   to the bit, and to rounding the same in `f32`. Random weights are others for another seed, and in no two rows
///   equal.
/// * **Rows.** These hold unless the layer couples samples. Another order of the samples, a batch in parts, and each
///   sequence of a ragged batch alone give the same bits. The gradients of the parts add up to that of the batch.
/// * **Dropout.** Masks differ by seed, step, sample and path of the layer, and are off in evaluation. A key switches
///   them off in both passes.
/// * **Passes** of up to 35 rows agree with a monitor, with gradient descent in the pass, without dropout, without
///   optional gradients, with frozen blocks, and without the rows that the layer's [`Hints`](crate::layer::Hints)
///   make optional.
/// * **Time.** Unless the layer states that it reads later steps, the first steps alone give the outputs of the whole
///   sequence to the bit. So do windows with the state carried from one to the next. If the gradient of the state is
///   carried back, the gradients of the windows make up that of the whole.
/// * **Links.** A link is reported once in each pass, in each format and mode, with the values of the pass; so is the
///   first link of branches. A part reports the same links inside the layer as by itself. The decades of a chain are
///   those of its links.
/// * **Kernels** of `f32` and `f64` compute what the generic loops do, at every remainder of their tiles, over steps
///   and in each mode. In `f32` each row of the gradient of the input is that of `f64`, and so are updated buffers.
///   On dual numbers the backward pass gives the gradients of `f64` and, without custom parts, their derivatives.
/// * **Gain.** A stated `gain_bound` holds, and so do stated `state_gain_bounds` over 12 steps, at inputs and
///   parameters of several magnitudes.
///
/// # Errors
/// [`Violations`] with the laws that are broken, each with its smallest example. A wrong gradient is reported with its
/// block, gate and element. Here the backward pass of `y = s ⊙ x` computes `dx = dy`:
///
/// ```text
/// Scale, 3 → 3, 3 parameters (CHAINRULE_SEED=0)
/// law broken: backward is the transpose of the derivative of forward: ⟨c, J v⟩ = ⟨Jᵀ c, v⟩
///   where     f64, 1 sample: the gradient of the input, element [0, 1] of [1, 3]
///   expected  -0.35273406688197184, by dual numbers through forward
///   found     -0.4315769076347351, by backward
///   input     x = [0.0, 0.0, 0.0]; parameters of seed 0
/// ```
///
/// The report names no block, so the gradients of the blocks are right. The mistake is in the line that writes `dx`.
#[inline]
pub fn layer_laws(layers: Layers<'_>, seed: u64) -> Result<Evidence, Violations> {
    layer_laws_at(layers, &[], seed)
}

/// Tests the laws of [`layer_laws`], also at the batch shapes `shapes`.
///
/// # Errors
/// As [`layer_laws`].
#[inline]
pub fn layer_laws_at(layers: Layers<'_>, shapes: &[BatchShape<'_>], seed: u64) -> Result<Evidence, Violations> {
    layer_laws_with(layers, LayerCases { shapes, ..LayerCases::default() }, seed)
}

/// Tests the laws of [`layer_laws`] with the options `cases`: for a layer that does not accept all numbers as inputs
/// or parameters, or that deliberately breaks a law.
///
/// # Errors
/// As [`layer_laws`].
#[inline]
pub fn layer_laws_with(layers: Layers<'_>, cases: LayerCases<'_>, seed: u64) -> Result<Evidence, Violations> {
    let subject = caught(|| summary(layers.double)).unwrap_or_else(|_| "a layer".into());
    judged(Trial::new(subject, seed).except(cases.except), |trial| {
        if facts::describes(layers.double, trial) {
            steady(trial, &|| facts::told(layers.double), |trial| {
                let suite = Suite::new(layers, seed, "", trial);
                Suite { admit: cases.inputs, admit_w: cases.parameters, ..suite }.run(cases.shapes, Rows::Many);
            });
        }
    })
}

/// The batch sizes with which a layer is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Few,
    /// The batch shapes of `EXTENTS` (as for `Few`), and sizes that leave every remainder of the kernels' tiles.
    Many,
}

/// Tests all laws of a layer, also at the batch shapes `shapes` and the batch sizes `rows`. `label` is a prefix in
/// messages, which distinguishes the layer from other layers of the same test.
#[inline]
pub(super) fn try_layer(
    layers: Layers<'_>,
    shapes: &[BatchShape<'_>],
    rows: Rows,
    seed: u64,
    label: &str,
    trial: &mut Trial,
) {
    Suite::new(layers, seed, label, trial).run(shapes, rows);
}

/// Tests only the adjoint law, with two sequences of three time steps. `label` is a prefix in messages.
pub(super) fn try_adjoint(layers: Layers<'_>, seed: u64, label: &str, trial: &mut Trial) {
    Suite::new(layers, seed, label, trial).adjoint(BatchShape::sequences(2, 3), Mode::Train);
}

struct Suite<'a, 't> {
    layers: Layers<'a>,
    seed: u64,
    label: &'a str,
    blocks: Blocks,
    /// For each block, whether each gate had a gradient that is not zero; one entry for a block without gates.
    matters: Vec<Vec<bool>>,
    inputs: Inputs,
    /// Converts a number to a valid input of the layer.
    admit: &'a dyn Fn(f64) -> f64,
    /// Converts a number to a valid parameter of the layer.
    admit_w: &'a dyn Fn(f64) -> f64,
    /// The largest gain ‖J v‖/‖v‖ of a direction v at usual inputs, J being the Jacobian of the pass: the unit
    /// of rounding errors at unusual ones.
    gain: f64,
    /// The gain ‖J v‖/‖v‖ of a random direction v in the pass that is tested.
    gain_here: f64,
    /// The largest magnitude of an input or a state at usual inputs.
    size: f64,
    trial: &'t mut Trial,
}

impl<'a, 't> Suite<'a, 't> {
    #[inline]
    fn new(layers: Layers<'a>, seed: u64, label: &'a str, trial: &'t mut Trial) -> Self {
        let blocks = Blocks::collect(|visit| layers.double.blocks(visit));
        let matters = blocks.iter().map(|block| vec![false; block.gates.len().max(1)]).collect();
        Suite {
            layers,
            seed,
            label,
            blocks,
            matters,
            inputs: USUAL,
            admit: &identity,
            admit_w: &identity,
            gain: 0.0,
            gain_here: 0.0,
            size: 0.0,
            trial,
        }
    }
}

impl Suite<'_, '_> {
    /// Tests all laws, also at the batch shapes `shapes` and the batch sizes `rows`.
    #[inline]
    fn run(mut self, shapes: &[BatchShape<'_>], rows: Rows) {
        self.blocks_tile();
        self.needs_grow();
        if self.trial.broken(Law::BlocksTile)
            || self.trial.broken(Law::MemoryGrows)
            || self.draw(EXTENTS[0], 0).is_none()
        {
            return;
        }
        self.initializes();
        if self.trial.broken(Law::Extremes) {
            return;
        }
        self.repeatable(self.layers.single, "f32");
        self.repeatable(self.layers.double, "f64");
        if self.stopped() {
            return;
        }
        for &shape in EXTENTS.iter().chain(shapes) {
            // Results that depend on the former content of memory would break most other laws, too.
            self.own_memory(self.layers.single, "f32", shape);
            self.own_memory(self.layers.double, "f64", shape);
            if self.stopped() {
                return;
            }
            self.adjoint(shape, Mode::Train);
            self.adjoint(shape, Mode::Evaluate);
            self.one_scalar(self.layers.single, "f32", shape);
            self.one_scalar(self.layers.double, "f64", shape);
            if self.stopped() {
                return;
            }
        }
        for (inputs, shape, mode) in UNUSUAL {
            // A layer that treats an absent state as nonzero also has a wrong gradient without a state, which is not
            // reported again.
            if inputs.state.is_some() || !self.trial.broken(Law::AbsentState) {
                self.inputs = inputs;
                self.adjoint(shape, mode);
            }
            self.modes_agree_at(shape);
        }
        self.inputs = Inputs { later: true, ..USUAL };
        self.modes_agree_later(self.layers.single, "f32");
        self.modes_agree_later(self.layers.double, "f64");
        self.inputs = USUAL;
        self.generic_bodies();
        self.buffers_agree();
        self.dual_backward();
        if rows == Rows::Many {
            self.remainders();
        }
        if self.stopped() {
            return;
        }
        self.rows_and_steps(shapes);
        // A wrong gradient is no measure of a gain, nor of the part of a block.
        if !self.trial.broken(Law::Adjoint) {
            self.gain_bound();
            self.state_gain_bounds();
            self.blocks_matter();
        }
        self.links();
    }
}

/// The laws without which the results of further laws have no meaning: a layer that breaks one is tried no further.
pub(super) const BASIC: [Law; 6] =
    [Law::NoPanic, Law::StaysInside, Law::Repeatable, Law::ReadsOnlyWritten, Law::Overwrites, Law::Accumulates];

/// Returns the law that a failed pass breaks, given the text of its failure.
fn law_of(found: &str) -> Law {
    if found.starts_with("a panic") { Law::NoPanic } else { Law::StaysInside }
}

impl Suite<'_, '_> {
    /// Whether one of the [`BASIC`] laws is broken.
    #[inline]
    fn stopped(&self) -> bool {
        BASIC.into_iter().any(|law| self.trial.broken(law))
    }

    /// Returns the place of a violation, for a message: the label, the scalar and the batch shape.
    #[inline]
    fn at(&self, scalar: &str, shape: BatchShape<'_>) -> String {
        let off = if self.inputs.off { ", with `DropoutKey::off`" } else { "" };
        format!("{}{scalar}, {}{off}", self.label, described(shape))
    }

    #[inline]
    fn block(&self, i: usize) -> &Block<'static> {
        self.blocks.iter().nth(i).expect("one of the blocks")
    }

    /// Replaces the numbers in `x` by valid inputs of the layer, by the function `inputs` of [`LayerCases`].
    #[inline]
    fn admit(&self, x: &mut [f64]) {
        x.iter_mut().for_each(|x| *x = (self.admit)(*x));
    }

    /// Replaces the numbers in `w` by valid parameters of the layer, by the function `parameters` of [`LayerCases`].
    #[inline]
    fn admit_parameters(&self, w: &mut [f64]) {
        w.iter_mut().for_each(|w| *w = (self.admit_w)(*w));
    }

    /// Draws random values for a pass of this shape, with the magnitudes `self.inputs`. `stream` distinguishes the
    /// draws of one seed. `None` if `initialize` fails, which is noted as a violation.
    #[inline]
    fn draw(&mut self, shape: BatchShape<'_>, stream: u64) -> Option<Given<f64>> {
        match draw(self.layers.double, shape, self.seed, stream) {
            Ok(mut given) => {
                let Inputs { size, alike, mixed, state, parameters, later, gradient, .. } = self.inputs;
                let mut rng = generator(self.seed.wrapping_add(stream));
                let mut factor = || if mixed { libm::pow(10.0, 6.0 * uniform(&mut rng) - 2.0) } else { size };
                for row in given.x.chunks_mut(self.layers.double.dims().input.max(1)) {
                    let first = row.first().copied().unwrap_or(0.0);
                    row.iter_mut().for_each(|x| *x = factor() * if alike { first } else { *x });
                }
                if mixed {
                    given.x.iter_mut().for_each(|x| *x = f64::from(*x as f32));
                }
                self.admit(&mut given.x);
                given.w.iter_mut().for_each(|w| *w *= parameters);
                self.admit_parameters(&mut given.w);
                if later {
                    // Other inputs, of another mean.
                    given.earlier = given.x.iter().rev().map(|x| x + 2.0).collect();
                    self.admit(&mut given.earlier);
                }
                let of = |values: Vec<f64>| state.map(|factor| values.iter().map(|value| factor * value).collect());
                given.state = given.state.and_then(of);
                given.dy.iter_mut().chain(given.d_state.iter_mut().flatten()).for_each(|dy| *dy *= gradient);
                Some(given)
            }
            Err(error) => {
                let place = format!("{}f64, initialize", self.label);
                let law = if error.starts_with("a panic") { Law::NoPanic } else { Law::Refuses };
                self.trial.breaks(law, place, "first values of the parameters", error, "");
                None
            }
        }
    }

    /// Runs a forward and a backward pass of `layer` on `given` in the scalar type `T`, called `name`, and returns
    /// their results. A panic or a write out of bounds is noted as a violation, and gives `None`.
    fn pass<T: Scalar>(
        &mut self,
        layer: &dyn Layer<T>,
        name: &str,
        given: &Given<f64>,
        asked: &Asked<'_>,
    ) -> Option<Results<T>> {
        match run(layer, &given.map(scalar), asked) {
            Ok(results) => Some(results),
            Err(found) => {
                let place = format!("{} ({:?})", self.at(name, asked.shape), asked.mode);
                let law = law_of(&found);
                let expected =
                    if law == Law::NoPanic { "a pass" } else { "a pass that writes to the given slices alone" };
                self.trial.breaks(law, place, expected, found, "");
                None
            }
        }
    }
}
