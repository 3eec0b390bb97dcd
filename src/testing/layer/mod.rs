//! The laws of layers, and of whole networks.

mod accuse;
mod adjoint;
mod dropout;
mod facts;
mod gain;
mod initialize;
mod links;
mod pass;
mod passes;
mod repeat;
mod rows;
mod stepped;

use pass::{Asked, Given, Results, run};

use super::{
    Dual, Evidence, Law, Violations, caught,
    law::{Trial, summary},
};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Blocks},
    kernel::reduce::norm,
    layer::{Layer, Mode},
    random::{Normals, generator},
    scalar::{Scalar, scalar},
};
use alloc::{format, string::String, vec, vec::Vec};
use core::fmt::Debug;
use num_traits::Float;

/// One layer in the three scalars its laws need. In `f32` and `f64` it runs as in training. On dual numbers it gives
/// the derivative J v in a direction v.
///
/// [`layer_laws!`](crate::layer_laws) makes it of one expression. A layer that is generic over the scalar goes in by
/// [`Layers::of`].
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// The layer in `f32`.
    pub single: &'a dyn Layer<f32>,
    /// The layer in `f64`.
    pub double: &'a dyn Layer<f64>,
    /// The layer on dual numbers.
    pub dual: &'a dyn Layer<Dual<f64>>,
}

impl<'a> Layers<'a> {
    /// A layer that implements [`Layer`] for all three scalars.
    pub fn of<L: Layer<f32> + Layer<f64> + Layer<Dual<f64>>>(layer: &'a L) -> Self {
        Layers { single: layer, double: layer, dual: layer }
    }
}

/// A `#[test]` that a layer, or a whole network, keeps its laws: [`layer_laws`](crate::testing::layer_laws).
///
/// The expression is evaluated once for each scalar. `shapes:` adds batch shapes, as
/// [`layer_laws_at`](crate::testing::layer_laws_at) does.
///
/// ```
/// use chainrule::{activation::Tanh, layer::Sequential, recurrent::Lstm};
/// chainrule::layer_laws!(network, Sequential::input(3).recurrent(4, Lstm::new()).activation(Tanh).build().unwrap());
/// ```
#[macro_export]
macro_rules! layer_laws {
    ($(#[$attribute:meta])* $name:ident, $layer:expr $(, shapes: [$($shape:expr),* $(,)?])? $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            let layers = $crate::testing::Layers { single: &$layer, double: &$layer, dual: &$layer };
            let shapes: &[$crate::BatchShape<'_>] = &[$($($shape),*)?];
            $crate::testing::expect_lawful($crate::testing::layer_laws_at(layers, shapes, $crate::testing::seed()));
        }
    };
}

/// Batch shapes from the smallest on: the first that fails is the smallest example.
const EXTENTS: [BatchShape<'static>; 5] = [
    BatchShape::batch(1),
    BatchShape::batch(2),
    BatchShape::sequences(1, 2),
    BatchShape::sequences(2, 3),
    BatchShape { batch: 4, steps: 4, lengths: Some(&[4, 3, 3, 1]) },
];

/// The magnitudes of the inputs and states of random passes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Inputs {
    /// The factor on normal numbers.
    size: f64,
    /// Whether the values of a row are equal.
    alike: bool,
    /// The factor on the state; `None` for a pass without it.
    state: Option<f64>,
    /// The factor on the gradients of output and final state.
    gradient: f64,
}

const USUAL: Inputs = Inputs { size: 1.0, alike: false, state: Some(1.0), gradient: 1.0 };

/// Unusual inputs, states and modes for the adjoint.
const UNUSUAL: [(Inputs, BatchShape<'static>, Mode); 10] = [
    (Inputs { gradient: 1e-4, ..USUAL }, BatchShape::batch(2), Mode::Train),
    (Inputs { gradient: 1e4, ..USUAL }, BatchShape::batch(2), Mode::Train),
    (USUAL, BatchShape::sequences(2, 3), Mode::Evaluate),
    (USUAL, BatchShape::sequences(2, 12), Mode::Train),
    (Inputs { state: None, ..USUAL }, BatchShape::sequences(2, 3), Mode::Train),
    (Inputs { state: Some(0.0), ..USUAL }, BatchShape::sequences(2, 3), Mode::Train),
    (Inputs { size: 0.0, ..USUAL }, BatchShape::batch(2), Mode::Train),
    (Inputs { size: 30.0, ..USUAL }, BatchShape::sequences(2, 3), Mode::Train),
    (Inputs { size: 1e4, ..USUAL }, BatchShape::batch(3), Mode::Train),
    (Inputs { alike: true, ..USUAL }, BatchShape::batch(3), Mode::Train),
];

/// Tests the laws of a layer, or of a whole network.
///
/// * **Adjoint.** ⟨c, J v⟩ = ⟨Jᵀc, v⟩ for random c and v, with Jᵀc from the `f32` and `f64` passes that users run and
///   J v from dual numbers: the gradients of input, state and each block of parameters, each by itself, to rounding,
///   however small they are. From a given state, from zero and from none; in training and evaluation; of up to
///   12 steps and 1,025 rows; of inputs × 0, 30 and 10⁴, gradients × 10⁻⁴ and 10⁴, and of rows of equal values, which
///   must also give numbers.
/// * **Purity.** A pass repeated after others, and with another forward pass before its backward pass, gives the same
///   bits. Where it does not, nothing else is judged.
/// * **Memory.** `dx` is overwritten, `dw` added to; nothing is read that was not written, nothing written beside
///   the slices.
/// * **Blocks** tile the parameters, and each has a gradient. A seed decides every bit of their first values, which are
///   numbers and, to rounding, the same in `f32`.
/// * **Rows.** Unless the layer mixes samples: another order of the samples, a batch in parts, and each sequence of a
///   ragged batch alone give the same bits. Parts have gradients that add up.
/// * **Dropout.** Masks differ by seed, step, sample and place of the layer, and are off in evaluation.
/// * **Passes** agree with a monitor, with gradient descent in the pass, without dropout, without optional gradients,
///   with frozen blocks, and without the rows that the layer's [`Hints`](crate::layer::Hints) make optional.
/// * **Time.** Unless the layer says that it reads later steps, the first steps alone give the same bits. Windows with
///   the state carried over by hand do, too, and the gradients carried back give that of the whole.
/// * **Links.** A part reports the same links inside the layer as by itself.
/// * **Kernels** of `f32` and `f64` compute what the generic loops do, at every remainder of their tiles.
/// * **Gain.** A stated `gain_bound` holds.
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
/// No block is named, so their gradients are right: the mistake is in the line that writes `dx`.
#[inline]
pub fn layer_laws(layers: Layers<'_>, seed: u64) -> Result<Evidence, Violations> {
    layer_laws_at(layers, &[], seed)
}

/// [`layer_laws`], also at batch shapes of your own.
///
/// # Errors
/// As [`layer_laws`].
#[inline]
pub fn layer_laws_at(layers: Layers<'_>, shapes: &[BatchShape<'_>], seed: u64) -> Result<Evidence, Violations> {
    let mut trial = Trial::new(summary(layers.double), seed);
    try_layer(layers, shapes, Rows::Many, seed, "", &mut trial);
    trial.verdict()
}

/// How many rows a layer is tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Few,
    /// Every remainder of the kernels' tiles.
    Many,
}

/// Tries all laws of a layer that `label` tells apart from others of the same trial.
#[inline]
pub(super) fn try_layer(
    layers: Layers<'_>,
    shapes: &[BatchShape<'_>],
    rows: Rows,
    seed: u64,
    label: &str,
    trial: &mut Trial,
) {
    let mut suite = Suite::new(layers, seed, label, trial);
    suite.blocks_tile();
    suite.needs_grow();
    if suite.trial.broken(Law::BlocksTile)
        || suite.trial.broken(Law::MemoryGrows)
        || suite.draw(EXTENTS[0], 0).is_none()
    {
        return;
    }
    suite.initializes();
    suite.repeatable(layers.single, "f32");
    suite.repeatable(layers.double, "f64");
    if suite.stopped() {
        return;
    }
    for &shape in EXTENTS.iter().chain(shapes) {
        suite.adjoint(shape, Mode::Train);
        suite.one_scalar(layers.single, "f32", shape);
        suite.one_scalar(layers.double, "f64", shape);
        if suite.stopped() {
            return;
        }
    }
    for (inputs, shape, mode) in UNUSUAL {
        suite.inputs = inputs;
        suite.adjoint(shape, mode);
    }
    suite.inputs = USUAL;
    if rows == Rows::Many {
        suite.remainders();
    }
    suite.rows(layers.single, "f32");
    suite.rows(layers.double, "f64");
    suite.causal(layers.single, "f32");
    suite.causal(layers.double, "f64");
    suite.stepped(layers.single, "f32");
    suite.stepped(layers.double, "f64");
    suite.dropout_key();
    suite.gain_bound();
    suite.links();
    suite.blocks_matter();
}

/// The adjoint alone, of two sequences.
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
    /// The largest gain ‖J v‖/‖v‖ at usual inputs: the unit of rounding errors at unusual ones.
    gain: f64,
    trial: &'t mut Trial,
}

impl<'a, 't> Suite<'a, 't> {
    #[inline]
    fn new(layers: Layers<'a>, seed: u64, label: &'a str, trial: &'t mut Trial) -> Self {
        let blocks = Blocks::collect(|visit| layers.double.blocks(visit));
        let matters = blocks.iter().map(|block| vec![false; block.gates.len().max(1)]).collect();
        Suite { layers, seed, label, blocks, matters, inputs: USUAL, gain: 0.0, trial }
    }
}

/// The law that an error of a pass breaks.
fn law_of(found: &str) -> Law {
    if found.starts_with("a panic") { Law::NoPanic } else { Law::StaysInside }
}

impl Suite<'_, '_> {
    /// Whether a law is broken that makes the results of further laws meaningless.
    #[inline]
    fn stopped(&self) -> bool {
        [Law::NoPanic, Law::StaysInside, Law::Repeatable].into_iter().any(|law| self.trial.broken(law))
    }

    /// The place of a violation, for a message: scalar and batch shape.
    #[inline]
    fn at(&self, scalar: &str, shape: BatchShape<'_>) -> String {
        format!("{}{scalar}, {}", self.label, described(shape))
    }

    #[inline]
    fn block(&self, i: usize) -> &Block<'static> {
        self.blocks.iter().nth(i).expect("one of the blocks")
    }

    /// Random values for a pass of this shape.
    #[inline]
    fn draw(&mut self, shape: BatchShape<'_>, stream: u64) -> Option<Given<f64>> {
        match draw(self.layers.double, shape, self.seed, stream) {
            Ok(mut given) => {
                let Inputs { size, alike, state, gradient } = self.inputs;
                for row in given.x.chunks_mut(self.layers.double.dims().input.max(1)) {
                    let first = row.first().copied().unwrap_or(0.0);
                    row.iter_mut().for_each(|x| *x = size * if alike { first } else { *x });
                }
                let of = |values: Vec<f64>| state.map(|factor| values.iter().map(|value| factor * value).collect());
                given.state = given.state.and_then(of);
                given.dy.iter_mut().chain(given.d_state.iter_mut().flatten()).for_each(|dy| *dy *= gradient);
                Some(given)
            }
            Err(error) => {
                let place = format!("{}f64, initialize", self.label);
                self.trial.breaks(law_of(&error), place, "first values of the parameters", error, "");
                None
            }
        }
    }

    /// Runs a pass. A panic or a write out of bounds is noted as a violation, and gives `None`.
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

/// Parameters, input, state and gradients of the output for a pass, all representable in `f32`.
///
/// # Errors
/// The error or panic of `initialize`.
#[inline]
pub(super) fn draw(
    layer: &dyn Layer<f64>,
    shape: BatchShape<'_>,
    seed: u64,
    stream: u64,
) -> Result<Given<f64>, String> {
    let dims = layer.dims();
    let mut rng = generator(seed.wrapping_mul(1_000_003).wrapping_add(stream));
    let mut w = vec![0.0; dims.parameters];
    let initialized = caught(|| layer.initialize(&mut w, &mut rng));
    initialized.and_then(|result| result.map_err(|error| format!("{error}")))?;
    let mut normals = Normals::new();
    let mut normal = |scale: f64| f64::from((normals.next(&mut rng) * scale) as f32);
    for block in &Blocks::collect(|visit| layer.blocks(visit)) {
        // Parameters of 0 or 1 hide mistakes, so all are perturbed.
        let w = &mut w[block.range.clone()];
        let size = norm(w) / Float::sqrt(w.len().max(1) as f64);
        let shift = if size == 0.0 { 0.3 } else { 0.1 * size };
        w.iter_mut().for_each(|w| *w = f64::from((*w + normal(shift)) as f32));
    }
    let mut some = |count: usize| (0..count).map(|_| normal(1.0)).collect::<Vec<f64>>();
    let states = layer.memory(shape, Mode::Train).state * shape.batch;
    Ok(Given {
        w,
        x: some(shape.rows() * dims.input),
        state: (states > 0).then(|| some(states)),
        dy: some(layer.output_shape(shape).rows() * dims.output),
        d_state: (states > 0).then(|| some(states)),
    })
}

/// A batch shape in words, for a message.
#[inline]
fn described(shape: BatchShape<'_>) -> String {
    let BatchShape { batch, steps, lengths, .. } = shape;
    let samples = if batch == 1 { "1 sample".into() } else { format!("{batch} samples") };
    match lengths {
        Some(lengths) => format!("samples of {lengths:?} steps"),
        None if steps == 1 => samples,
        None => format!("{samples} of {steps} steps"),
    }
}

/// The first index at which two slices differ in a bit. All NaN count as equal.
pub(super) fn unequal<T: Scalar>(a: &[T], b: &[T]) -> Option<usize> {
    let same =
        |(&a, &b): (&T, &T)| (a == b && a.is_sign_negative() == b.is_sign_negative()) || (a.is_nan() && b.is_nan());
    a.iter().zip(b).position(|pair| !same(pair)).or((a.len() != b.len()).then_some(0))
}
