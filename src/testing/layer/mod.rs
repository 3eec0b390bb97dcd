//! The laws of layers, and of whole networks.

mod adjoint;
mod gain;
mod links;
mod pass;
mod passes;
mod rows;

pub(super) use pass::{Asked, Given, Results, run};

use super::{
    Dual, Evidence, Law, Violations, caught,
    law::{Trial, summary},
};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Blocks, Role},
    kernel::reduce::norm,
    layer::{Layer, Mode},
    random::{Normals, generator},
    scalar::{Scalar, scalar},
};
use alloc::{format, string::String, vec, vec::Vec};
use core::fmt::Debug;
use num_traits::Float;

/// One layer in the three scalars its laws need: in `f32` and `f64` it runs as in training, on dual numbers it gives
/// J v.
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
    /// A layer that is one for every scalar.
    pub fn of<L: Layer<f32> + Layer<f64> + Layer<Dual<f64>>>(layer: &'a L) -> Self {
        Layers { single: layer, double: layer, dual: layer }
    }
}

/// A `#[test]` that a layer, or a whole network, keeps its laws: [`layer_laws`](crate::testing::layer_laws).
///
/// The expression is evaluated once for each scalar.
///
/// ```
/// use chainrule::{activation::Tanh, layer::Sequential, recurrent::Lstm};
/// chainrule::layer_laws!(network, Sequential::input(3).recurrent(4, Lstm::new()).activation(Tanh).build().unwrap());
/// ```
#[macro_export]
macro_rules! layer_laws {
    ($(#[$attribute:meta])* $name:ident, $layer:expr $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            let layers = $crate::testing::Layers { single: &$layer, double: &$layer, dual: &$layer };
            $crate::testing::expect_lawful($crate::testing::layer_laws(layers, $crate::testing::seed()));
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

/// Tries the laws of a layer, or of a whole network.
///
/// * **Adjoint.** ⟨c, J v⟩ = ⟨Jᵀc, v⟩ for random c and v, with Jᵀc from the `f32` and `f64` passes that users run and
///   J v from dual numbers: the gradients of input, state and each block of parameters, each by itself, to rounding,
///   however small they are.
/// * **Memory.** `dx` is overwritten, `dw` added to; nothing is read that was not written, nothing written beside
///   the slices.
/// * **Blocks** tile the parameters, and each has a gradient.
/// * **Rows.** Unless the layer mixes samples: another order of the samples, a batch in parts, and each sequence of a
///   ragged batch alone give the same bits.
/// * **Passes** repeated, watched, with a step of descent, without noise, without optional gradients, with
///   frozen blocks, without rows that the layer's [`Hints`](crate::layer::Hints) make optional, agree.
/// * **Time.** Unless the layer says that it reads later steps, the first steps alone give the same bits.
/// * **Links.** A part reports the same links inside the layer as by itself.
/// * **Kernels** compute what the generic body does at every remainder of their tiles; a stated `gain_bound` holds.
///
/// # Errors
/// [`Violations`] with the laws that are broken, each with its smallest example. Of a wrong gradient it says which
/// block, gate and element it is; here `dx = dy` was written in the backward pass of `y = s ⊙ x`:
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
/// The blocks are right, or they would stand there; so it is the line that writes `dx`.
#[inline]
pub fn layer_laws(layers: Layers<'_>, seed: u64) -> Result<Evidence, Violations> {
    let mut trial = Trial::new(summary(layers.double), seed);
    try_layer(layers, seed, "", &mut trial);
    trial.verdict()
}

/// Tries all laws of a layer that `label` tells apart from others of the same trial.
#[inline]
pub(super) fn try_layer(layers: Layers<'_>, seed: u64, label: &str, trial: &mut Trial) {
    let blocks = Blocks::collect(|visit| layers.double.blocks(visit));
    let mut suite = Suite { layers, seed, label, blocks, matters: Vec::new(), trial };
    suite.matters = suite.blocks.iter().map(|block| vec![false; block.gates.len().max(1)]).collect();
    suite.blocks_tile();
    suite.needs_grow();
    if suite.trial.broken(Law::BlocksTile) || suite.draw(EXTENTS[0], 0).is_none() {
        return;
    }
    for shape in EXTENTS {
        suite.adjoint(shape);
        suite.one_scalar(layers.single, "f32", shape);
        suite.one_scalar(layers.double, "f64", shape);
        if suite.trial.broken(Law::StaysInside) {
            return;
        }
    }
    suite.remainders();
    suite.rows(layers.single, "f32");
    suite.rows(layers.double, "f64");
    suite.causal(layers.single, "f32");
    suite.causal(layers.double, "f64");
    suite.gain_bound();
    suite.links();
    suite.blocks_matter();
}

struct Suite<'a, 't> {
    layers: Layers<'a>,
    seed: u64,
    label: &'a str,
    blocks: Blocks,
    /// Of each block, the gates that were seen to have a gradient; one entry where there are none.
    matters: Vec<Vec<bool>>,
    trial: &'t mut Trial,
}

impl Suite<'_, '_> {
    /// A place for a message.
    #[inline]
    fn at(&self, scalar: &str, shape: BatchShape<'_>) -> String {
        format!("{}{scalar}, {}", self.label, described(shape))
    }

    #[inline]
    fn block(&self, i: usize) -> &Block<'static> {
        self.blocks.iter().nth(i).expect("one of the blocks")
    }

    /// What a pass is given.
    #[inline]
    fn draw(&mut self, shape: BatchShape<'_>, stream: u64) -> Option<Given<f64>> {
        match draw(self.layers.double, shape, self.seed, stream) {
            Ok(given) => Some(given),
            Err(error) => {
                let place = format!("{}f64, initialize", self.label);
                self.trial.breaks(Law::StaysInside, place, "first values of the parameters", error, "");
                None
            }
        }
    }

    /// A pass; what it should not have done is noted.
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
                self.trial.breaks(Law::StaysInside, place, "writes to the given slices alone", found, "");
                None
            }
        }
    }

    #[inline]
    fn blocks_tile(&mut self) {
        let mut next = 0;
        let mut names: Vec<&str> = Vec::new();
        let mut wrong = None;
        for block in &self.blocks {
            let Block { name, range, shape, gates, .. } = block;
            let holds = [
                (range.start == next, format!("a start at {next}"), format!("{range:?}")),
                (range.len() == shape[0] * shape[1], format!("{shape:?} values"), format!("{range:?}")),
                (!names.contains(&&**name), "a name of its own".into(), format!("{name:?} again")),
                (
                    gates.is_empty() || shape[0] % gates.len() == 0,
                    "as many rows for each gate".into(),
                    format!("{shape:?}"),
                ),
            ];
            if let Some((_, expected, found)) = holds.into_iter().find(|(holds, ..)| !holds) {
                wrong = wrong.or(Some((format!("{}block `{name}`", self.label), expected, found)));
            }
            names.push(name);
            next = range.end;
        }
        for parameters in [
            self.layers.double.dims().parameters,
            self.layers.single.dims().parameters,
            self.layers.dual.dims().parameters,
        ] {
            if parameters != next {
                let place = format!("{}the end of the last block", self.label);
                wrong = wrong.or(Some((place, format!("{parameters} parameters, as in dims()"), format!("{next}"))));
            }
        }
        if let Some((place, expected, found)) = wrong {
            self.trial.breaks(Law::BlocksTile, place, expected, found, "");
        }
    }

    #[inline]
    fn needs_grow(&mut self) {
        let layer = self.layers.double;
        for mode in [Mode::Train, Mode::Evaluate, Mode::Infer] {
            for (batch, steps) in [(1, 1), (1, 3), (2, 1), (3, 4), (8, 5)] {
                let shape = BatchShape::sequences(batch, steps);
                let memory = layer.memory(shape, mode);
                for larger in [BatchShape::sequences(batch + 1, steps), BatchShape::sequences(batch, steps + 1)] {
                    let more = layer.memory(larger, mode);
                    let holds =
                        more.saved >= memory.saved && more.scratch >= memory.scratch && more.state == memory.state;
                    if !holds {
                        let place = format!("{}{mode:?}, {} after {}", self.label, described(larger), described(shape));
                        let expected = format!("at least {memory:?}, and the same state");
                        self.trial.breaks(Law::MemoryGrows, place, expected, format!("{more:?}"), "");
                    }
                }
            }
        }
    }

    #[inline]
    fn blocks_matter(&mut self) {
        for (block, matters) in self.blocks.iter().zip(&self.matters) {
            // A cell may leave a gate without recurrent weights.
            let silent = match block.role {
                Role::Recurrent => matters.iter().all(|matters| !matters).then_some(0),
                _ => matters.iter().position(|matters| !matters),
            };
            if let Some(gate) = silent {
                let gate = block.gates.get(gate).map_or_else(String::new, |gate| format!(", gate `{gate}`"));
                let place = format!("{}block `{}`{gate}", self.label, block.name);
                let expected = "a gradient for some input";
                self.trial.breaks(Law::BlocksMatter, place, expected, "0 for all that were tried", "");
            }
        }
    }
}

/// Parameters, input, state and gradients of the output for a pass, all representable in `f32`.
///
/// # Errors
/// What `initialize` said.
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
        // First values hide mistakes where they are 0 or 1: all are moved a little.
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

/// A shape in words.
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

/// Where two slices first differ in a bit; all NaN are alike.
pub(super) fn unequal<T: Scalar>(a: &[T], b: &[T]) -> Option<usize> {
    let same =
        |(&a, &b): (&T, &T)| (a == b && a.is_sign_negative() == b.is_sign_negative()) || (a.is_nan() && b.is_nan());
    a.iter().zip(b).position(|pair| !same(pair)).or((a.len() != b.len()).then_some(0))
}
