//! The laws of layers, and of whole networks.

use super::{
    Dual, Evidence, Law, Violations,
    law::{Trial, listed, number},
    pass::{Asked, Given, Results, run},
};
use crate::{
    block::{Block, Blocks, Role},
    extent::Extent,
    initializer::{generator, sample::Normals},
    kernel::reduce::norm,
    layer::{Layer, Mode, Rows},
    scalar::{Scalar, scalar, to_f64},
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
/// chainrule::layer_laws!(network, Sequential::input(3).recurrent(4, Lstm).linear(2).activation(Tanh).build().unwrap());
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

/// The error of an adjoint that is allowed, as a share of max(‖c‖‖J v‖, ‖Jᵀc‖‖v‖).
///
/// Both products bound ⟨c, J v⟩ (Cauchy & Schwarz), and rounding is a small multiple of ε of the larger. The rest is
/// room for depth and cancellation; an implementation that is wrong is off by far more in `f64`. In `f32` only
/// mistakes of the fast paths remain to be found, and they are gross.
const ADJOINT: [(&str, f64); 2] = [("f64", 1e-11), ("f32", 1e-3)];
/// The relative error of the output that is allowed against the generic body.
const GENERIC: [(&str, f64); 2] = [("f64", 1e-11), ("f32", 1e-3)];
/// Draws that must all fail before an adjoint counts as wrong. A pre-activation at a kink can fail one draw of a
/// right layer in `f32`, not three.
const DRAWS: u64 = 3;
/// Numbers of samples around the widths of registers and tiles, for kernels that treat remainders apart.
const REMAINDERS: [usize; 12] = [3, 4, 6, 7, 8, 9, 11, 15, 16, 17, 31, 33];
/// Parameters times rows beyond which remainders are left out: the kernels do not change with size.
const LARGE: usize = 200_000;

/// Extents from the smallest on: the first that fails is the smallest example.
const EXTENTS: [Extent<'static>; 5] = [
    Extent::batch(1),
    Extent::batch(2),
    Extent::sequences(1, 2),
    Extent::sequences(2, 3),
    Extent { batch: 4, steps: 4, lengths: Some(&[4, 3, 3, 1]) },
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
/// * **Passes** repeated, watched, without noise, without optional gradients or with frozen blocks agree.
/// * **Kernels** compute what the generic body does at every remainder of their tiles; a stated `gain_bound` holds.
///
/// # Errors
/// The laws that are broken, each with its smallest example. Of a wrong gradient it says which block, gate and element
/// it is; here `dx = dy` was written in the backward pass of `y = s ⊙ x`:
///
/// ```text
/// Scale(3) (CHAINRULE_SEED=0)
/// law broken: backward is the transpose of the derivative of forward: ⟨c, J v⟩ = ⟨Jᵀ c, v⟩
///   where     f64, 1 sample: the gradient of the input, element [0, 1] of [1, 3]
///   expected  -0.35273406688197184, by dual numbers through forward
///   found     -0.4315769076347351, by backward
///   input     x = [0.0, 0.0, 0.0]; parameters of seed 0
/// ```
///
/// The blocks are right, or they would stand there; so it is the line that writes `dx`.
pub fn layer_laws(layers: Layers<'_>, seed: u64) -> Result<Evidence, Violations> {
    let mut trial = Trial::new(subject(layers.double), seed);
    try_layer(layers, seed, "", &mut trial);
    trial.verdict()
}

/// What a layer calls itself, not at length.
pub(super) fn subject(layer: &(impl Debug + ?Sized)) -> String {
    const LONGEST: usize = 160;
    let mut text = format!("{layer:?}");
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// Tries all laws of a layer that `label` tells apart from others of the same trial.
pub(super) fn try_layer(layers: Layers<'_>, seed: u64, label: &str, trial: &mut Trial) {
    let blocks = Blocks::collect(|visit| layers.double.blocks(visit));
    let mut suite = Suite { layers, seed, label, blocks, matters: Vec::new(), trial };
    suite.matters = suite.blocks.iter().map(|block| vec![false; block.gates.len().max(1)]).collect();
    suite.blocks_tile();
    suite.needs_grow();
    if suite.trial.broken(Law::BlocksTile) || suite.draw(EXTENTS[0], 0).is_none() {
        return;
    }
    for extent in EXTENTS {
        suite.adjoint(extent);
        suite.one_scalar(layers.single, "f32", extent);
        suite.one_scalar(layers.double, "f64", extent);
        if suite.trial.broken(Law::StaysInside) {
            return;
        }
    }
    suite.remainders();
    suite.rows(layers.single, "f32");
    suite.rows(layers.double, "f64");
    suite.gain_bound();
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

/// What a direction moves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Everything,
    Input,
    State,
    Block(usize),
}

/// ⟨c, J v⟩, from dual numbers, beside ⟨Jᵀc, v⟩, and what their difference is measured by.
struct Comparison {
    expected: f64,
    found: f64,
    scale: f64,
}

impl Comparison {
    fn error(&self) -> f64 {
        let difference = (self.expected - self.found).abs();
        if difference == 0.0 { 0.0 } else { difference / self.scale }
    }
}

impl Suite<'_, '_> {
    /// A place for a message.
    fn at(&self, scalar: &str, extent: Extent<'_>) -> String {
        format!("{}{scalar}, {}", self.label, described(extent))
    }

    fn block(&self, i: usize) -> &Block<'static> {
        self.blocks.iter().nth(i).expect("one of the blocks")
    }

    /// What a pass is given.
    fn draw(&mut self, extent: Extent<'_>, stream: u64) -> Option<Given<f64>> {
        match draw(self.layers.double, extent, self.seed, stream) {
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
                let place = format!("{} ({:?})", self.at(name, asked.extent), asked.mode);
                self.trial.breaks(Law::StaysInside, place, "writes to the given slices alone", found, "");
                None
            }
        }
    }

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

    fn needs_grow(&mut self) {
        let layer = self.layers.double;
        for mode in [Mode::Train, Mode::Evaluate, Mode::Infer] {
            for (batch, steps) in [(1, 1), (1, 3), (2, 1), (3, 4), (8, 5)] {
                let extent = Extent::sequences(batch, steps);
                let needs = layer.needs(extent, mode);
                for larger in [Extent::sequences(batch + 1, steps), Extent::sequences(batch, steps + 1)] {
                    let more = layer.needs(larger, mode);
                    let holds =
                        more.saved >= needs.saved && more.scratch >= needs.scratch && more.carried == needs.carried;
                    if !holds {
                        let place =
                            format!("{}{mode:?}, {} after {}", self.label, described(larger), described(extent));
                        let expected = format!("at least {needs:?}, and the same carried");
                        self.trial.breaks(Law::NeedsGrow, place, expected, format!("{more:?}"), "");
                    }
                }
            }
        }
    }

    /// The gradients of everything, and of each part by itself.
    fn adjoint(&mut self, extent: Extent<'_>) {
        let Some(given) = self.draw(extent, 1) else { return };
        // Biases first: their gradient is that of the pre-activations, by gate, and tells the most.
        let mut parts: Vec<Part> = (0..self.blocks.len()).map(Part::Block).collect();
        parts.sort_by_key(|part| matches!(part, Part::Block(i) if self.block(*i).role != Role::Bias));
        parts.extend(given.state.is_some().then_some(Part::State));
        parts.push(Part::Input);
        let asked = Asked::new(extent);
        let Some(double) = self.pass(self.layers.double, "f64", &given, &asked) else { return };
        let Some(single) = self.pass(self.layers.single, "f32", &given, &asked) else { return };
        for (block, matters) in self.blocks.iter().zip(&mut self.matters) {
            let dw = &double.dw[block.range.clone()];
            let each = (dw.len() / matters.len()).max(1);
            for (matters, dw) in matters.iter_mut().zip(dw.chunks(each)) {
                *matters |= dw.iter().any(|&dw| dw != 0.0);
            }
        }
        let results = [double, widened(&single)];
        for part in parts {
            self.adjoint_of(part, &given, &asked, &results);
        }
    }

    fn adjoint_of(&mut self, part: Part, given: &Given<f64>, asked: &Asked<'_>, results: &[Results<f64>; 2]) {
        if self.trial.broken(Law::Adjoint) {
            return;
        }
        let Some(comparisons) = self.comparisons(part, given, asked, results, 0) else { return };
        for (i, &(name, allowed)) in ADJOINT.iter().enumerate() {
            let error = comparisons[i].error();
            if error <= allowed {
                self.trial.measures(Law::Adjoint, name, error, allowed);
                continue;
            }
            let wrong = (1..DRAWS).all(|draw| {
                let given = self.draw(asked.extent, 100 + draw);
                given.is_some_and(|given| self.fails(part, &given, asked, i, draw))
            });
            if wrong {
                self.accuse(part, given, asked, i, &comparisons[i]);
                return;
            }
        }
    }

    /// Whether an adjoint is wrong, or cannot be had.
    fn fails(&mut self, part: Part, given: &Given<f64>, asked: &Asked<'_>, scalar: usize, draw: u64) -> bool {
        let Ok(double) = run(self.layers.double, given, asked) else { return true };
        let Ok(single) = run(self.layers.single, &given.map(|value| value as f32), asked) else { return true };
        let comparisons = self.comparisons(part, given, asked, &[double, widened(&single)], draw);
        comparisons.is_none_or(|comparisons| !(comparisons[scalar].error() <= ADJOINT[scalar].1))
    }

    /// The name, shape and gradient of a part.
    fn part<'r>(&self, part: Part, results: &'r Results<f64>) -> (String, [usize; 2], &'r [f64]) {
        let dims = self.layers.double.dims();
        match part {
            Part::Everything => ("all gradients".into(), [0, 0], &[]),
            Part::Input => {
                let dx = &results.dx;
                ("the gradient of the input".into(), [dx.len() / dims.input.max(1), dims.input], dx)
            }
            Part::State => ("the gradient of the state".into(), [results.d_state.len(), 1], &results.d_state),
            Part::Block(i) => {
                let block = self.block(i);
                let dw = &results.dw[block.range.clone()];
                (format!("the gradient of block `{}`", block.name), block.shape, dw)
            }
        }
    }

    /// ⟨c, J v⟩ beside ⟨Jᵀc, v⟩ in both scalars, for a random direction of a part.
    fn comparisons(
        &mut self,
        part: Part,
        given: &Given<f64>,
        asked: &Asked<'_>,
        results: &[Results<f64>; 2],
        draw: u64,
    ) -> Option<[Comparison; 2]> {
        let mut rng = generator(self.seed.wrapping_mul(7_919).wrapping_add(draw));
        let mut normals = Normals::new();
        let mut direction = at_rest(given);
        let mut fill = |values: &mut [f64]| values.iter_mut().for_each(|value| *value = normals.next(&mut rng));
        match part {
            Part::Everything => {
                fill(&mut direction.w);
                fill(&mut direction.x);
                direction.state.iter_mut().for_each(|state| fill(state));
            }
            Part::Input => fill(&mut direction.x),
            Part::State => direction.state.iter_mut().for_each(|state| fill(state)),
            Part::Block(i) => fill(&mut direction.w[self.block(i).range.clone()]),
        }
        let (expected, image) = self.along(given, &direction, asked)?;
        let compare = |results: &Results<f64>, smallest: f64| {
            let pairs = [
                (&results.dw, &direction.w),
                (&results.dx, &direction.x),
                (&results.d_state, direction.state.as_ref().unwrap_or(&direction.dy)),
            ];
            let moved = |values: &[f64]| values.iter().any(|&value| value != 0.0);
            let found = pairs.iter().map(|(gradient, direction)| dot(gradient, direction)).sum();
            let lengths = pairs.iter().filter(|(_, direction)| moved(direction));
            let (gradient, moved) = lengths.fold((0.0, 0.0), |(gradient, length): (f64, f64), pair| {
                let part = match part {
                    Part::Block(_) => self.part(part, results).2,
                    _ => pair.0,
                };
                (Float::hypot(gradient, norm(part)), Float::hypot(length, norm(pair.1)))
            });
            // What the format cannot hold is no mistake.
            Comparison { expected, found, scale: image.max(gradient * moved) + smallest * moved }
        };
        Some([compare(&results[0], 1e-290), compare(&results[1], 1e-35)])
    }

    /// J v, of the output and of the state at the end, by a forward pass on dual numbers.
    fn image(&mut self, given: &Given<f64>, direction: &Given<f64>, asked: &Asked<'_>) -> Option<[Vec<f64>; 2]> {
        let zip = |values: &[f64], tangents: &[f64]| {
            values.iter().zip(tangents).map(|(&value, &tangent)| Dual::new(value, tangent)).collect::<Vec<_>>()
        };
        let state = given.state.as_ref().zip(direction.state.as_ref()).map(|(state, tangent)| zip(state, tangent));
        let (w, x) = (zip(&given.w, &direction.w), zip(&given.x, &direction.x));
        let lifted = Given { w, x, state, dy: Vec::new(), d_state: None };
        match run(self.layers.dual, &lifted, &Asked { backward: false, ..*asked }) {
            Ok(results) => Some([results.y, results.state].map(|dual| dual.iter().map(|dual| dual.tangent).collect())),
            Err(found) => {
                let place = self.at("dual numbers", asked.extent);
                self.trial.breaks(Law::StaysInside, place, "writes to the given slices alone", found, "");
                None
            }
        }
    }

    /// ⟨c, J v⟩ and ‖c‖‖J v‖.
    fn along(&mut self, given: &Given<f64>, direction: &Given<f64>, asked: &Asked<'_>) -> Option<(f64, f64)> {
        let [y, end] = self.image(given, direction, asked)?;
        let d_state = given.d_state.as_deref().unwrap_or(&[]);
        let lengths = Float::hypot(norm(&given.dy), norm(d_state)) * Float::hypot(norm(&y), norm(&end));
        Some((dot(&given.dy, &y) + dot(d_state, &end), lengths))
    }

    /// Makes the example small, finds the element that is wrong, and notes it.
    fn accuse(&mut self, part: Part, given: &Given<f64>, asked: &Asked<'_>, scalar: usize, all: &Comparison) {
        const LOOKED_AT: usize = 512;
        let mut given = given.clone();
        if given.x.len() <= 64 {
            for i in 0..given.x.len() {
                for simple in [0.0, 1.0, given.x[i].round(), (given.x[i] * 8.0).round() / 8.0] {
                    let before = core::mem::replace(&mut given.x[i], simple);
                    if self.fails(part, &given, asked, scalar, 0) {
                        break;
                    }
                    given.x[i] = before;
                }
            }
        }
        let results = [
            run(self.layers.double, &given, asked).ok(),
            run(self.layers.single, &given.map(|value| value as f32), asked).ok().as_ref().map(widened),
        ];
        let (name, seed) = (ADJOINT[scalar].0, self.seed);
        let mut place = self.at(name, asked.extent);
        let (mut expected, mut found) = (all.expected, all.found);
        if let Some(results) = &results[scalar] {
            let (text, shape, gradient) = self.part(part, results);
            let gradient = gradient.to_vec();
            place = format!("{place}: {text}");
            let truth: Vec<f64> = (0..gradient.len().min(LOOKED_AT))
                .filter_map(|i| {
                    let direction = self.unit(part, i, &given);
                    self.along(&given, &direction, asked).map(|(expected, _)| expected)
                })
                .collect();
            let worst = (0..truth.len()).max_by(|&a, &b| {
                let off = |i: usize| (gradient[i] - truth[i]).abs();
                off(a).total_cmp(&off(b))
            });
            if let Some(worst) = worst {
                let (row, column) = (worst / shape[1].max(1), worst % shape[1].max(1));
                if let Part::Block(i) = part {
                    let block = self.block(i);
                    let rows = (shape[0] / block.gates.len().max(1)).max(1);
                    place.extend(block.gates.get(row / rows).map(|gate| format!(", gate `{gate}`")));
                }
                place = format!("{place}, element [{row}, {column}] of {shape:?}");
                (expected, found) = (truth[worst], gradient[worst]);
            }
        }
        let expected = format!("{}, by dual numbers through forward", number(expected));
        let found = format!("{}, by backward{}", number(found), hint(all));
        let input = format!("x = {}; parameters of seed {seed}", listed(&given.x));
        self.trial.breaks(Law::Adjoint, place, expected, found, input);
    }

    /// The direction of one element of a part.
    fn unit(&self, part: Part, i: usize, given: &Given<f64>) -> Given<f64> {
        let mut direction = at_rest(given);
        match part {
            Part::Everything => {}
            Part::Input => direction.x[i] = 1.0,
            Part::State => direction.state.iter_mut().for_each(|state| state[i] = 1.0),
            Part::Block(block) => {
                direction.w[self.block(block).range.start + i] = 1.0;
            }
        }
        direction
    }

    /// Laws that compare passes in one scalar with each other.
    fn one_scalar<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str, extent: Extent<'_>) {
        let Some(given) = self.draw(extent, 2) else { return };
        let usual = Asked::new(extent);
        let Some(plain) = self.pass(layer, name, &given, &usual) else { return };

        self.memory(layer, name, &given, &usual);
        if given.state.is_some() {
            self.memory(layer, name, &Given { state: None, d_state: None, ..given.clone() }, &usual);
        }
        for watched in [false, true] {
            let Some(other) = self.pass(layer, name, &given, &Asked { watched, ..usual }) else { return };
            if let Some((what, i)) = differing(&plain, &other) {
                let how = if watched { "watched" } else { "repeated" };
                let place = format!("{}, {how}: {what}[{i}]", self.at(name, extent));
                self.trial.breaks(Law::Repeatable, place, value_of(&plain, what, i), value_of(&other, what, i), "");
            }
        }

        self.accumulates(layer, name, &given, &usual, &plain);
        self.modes_agree(layer, name, &given, &usual);
        self.optional_gradients(layer, name, &given, &usual, &plain);
        self.frozen_blocks(layer, name, &given, &usual, &plain);
    }

    /// What lies in memory before has no influence.
    fn memory<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str, given: &Given<f64>, usual: &Asked<'_>) {
        let Some(plain) = self.pass(layer, name, given, usual) else { return };
        // Not a number shows where it is multiplied, a number where it is compared.
        for garbage in [f64::NAN, 7.25] {
            for (law, asked) in [
                (Law::ReadsOnlyWritten, Asked { garbage, ..*usual }),
                (Law::Overwrites, Asked { leftover: garbage, ..*usual }),
            ] {
                let Some(other) = self.pass(layer, name, given, &asked) else { return };
                if let Some((what, i)) = differing(&plain, &other) {
                    let place = format!("{}: {what}[{i}]", self.at(name, usual.extent));
                    let found = format!("{}, where memory held {garbage}", value_of(&other, what, i));
                    self.trial.breaks(law, place, value_of(&plain, what, i), found, "");
                }
            }
        }
    }

    fn accumulates<T: Scalar>(
        &mut self,
        layer: &dyn Layer<T>,
        name: &str,
        given: &Given<f64>,
        usual: &Asked<'_>,
        plain: &Results<T>,
    ) {
        const BEFORE: f64 = 3.0;
        let Some(added) = self.pass(layer, name, given, &Asked { gradient: BEFORE, ..*usual }) else { return };
        let tolerance = 64.0 * to_f64(T::epsilon()) * (1.0 + usual.extent.rows() as f64);
        for (i, (&alone, &added)) in plain.dw.iter().zip(&added.dw).enumerate() {
            let (alone, added) = (to_f64(alone), to_f64(added));
            let off = (added - (alone + BEFORE)).abs();
            if !(off <= tolerance * (alone.abs() + BEFORE) * 4.0) {
                let block = self.blocks.at(i).map_or_else(String::new, |block| format!("block `{}`, ", block.name));
                let place = format!("{}: {block}dw[{i}], which held {BEFORE}", self.at(name, usual.extent));
                let expected = format!("{BEFORE} + {alone:e}");
                self.trial.breaks(Law::Accumulates, place, expected, format!("{added:e}"), "");
                return;
            }
        }
    }

    fn modes_agree<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str, given: &Given<f64>, usual: &Asked<'_>) {
        let [evaluated, inferred] = [Mode::Evaluate, Mode::Infer].map(|mode| Asked { mode, backward: false, ..*usual });
        let Some(evaluated) = self.pass(layer, name, given, &evaluated) else { return };
        let Some(inferred) = self.pass(layer, name, given, &inferred) else { return };
        for ((what, a), (_, b)) in evaluated.named().into_iter().zip(inferred.named()).take(2) {
            let size = a.iter().fold(0.0, |most: f64, &a| most.max(to_f64(a).abs()));
            let allowed = 1e3 * to_f64(T::epsilon()) * size;
            if let Some(i) = (0..a.len()).find(|&i| !((to_f64(a[i]) - to_f64(b[i])).abs() <= allowed)) {
                let place = format!("{}: {what}[{i}]", self.at(name, usual.extent));
                self.trial.breaks(Law::ModesAgree, place, format!("{:?}", a[i]), format!("{:?}", b[i]), "");
            }
        }
    }

    fn optional_gradients<T: Scalar>(
        &mut self,
        layer: &dyn Layer<T>,
        name: &str,
        given: &Given<f64>,
        usual: &Asked<'_>,
        plain: &Results<T>,
    ) {
        let Some(without) = self.pass(layer, name, given, &Asked { optional: false, ..*usual }) else { return };
        if let Some(i) = unequal(&plain.dw, &without.dw) {
            let place = format!("{}, dx not wanted: dw[{i}]", self.at(name, usual.extent));
            let (expected, found) = (format!("{:?}", plain.dw[i]), format!("{:?}", without.dw[i]));
            self.trial.breaks(Law::OptionalGradients, place, expected, found, "");
        }
        // No state is a state of zero, and no gradient of it is a gradient of zero.
        if let (Some(state), Some(d_state)) = (&given.state, &given.d_state) {
            let zeros = |values: &Vec<f64>| Some(vec![0.0; values.len()]);
            let zero = Given { state: zeros(state), d_state: zeros(d_state), ..given.clone() };
            let none = Given { state: None, d_state: None, ..given.clone() };
            let Some(zero) = self.pass(layer, name, &zero, usual) else { return };
            let Some(none) = self.pass(layer, name, &none, usual) else { return };
            if let Some((what, i)) = differing(&zero, &none) {
                let place =
                    format!("{}, no state instead of a state of zero: {what}[{i}]", self.at(name, usual.extent));
                let (expected, found) = (value_of(&zero, what, i), value_of(&none, what, i));
                self.trial.breaks(Law::OptionalGradients, place, expected, found, "");
            }
        }
    }

    fn frozen_blocks<T: Scalar>(
        &mut self,
        layer: &dyn Layer<T>,
        name: &str,
        given: &Given<f64>,
        usual: &Asked<'_>,
        plain: &Results<T>,
    ) {
        const ALONE: usize = 8;
        let count = self.blocks.len();
        for frozen in 0..count.min(ALONE) {
            // Beyond a few blocks, several at once: each is frozen in one of the passes.
            let flags: Vec<bool> = (0..count).map(|i| i % ALONE != frozen).collect();
            let Some(other) = self.pass(layer, name, given, &Asked { trained: &flags, ..*usual }) else { return };
            // The frozen gradients themselves may be left out or not.
            let mut expected = plain.clone();
            for (block, _) in self.blocks.iter().zip(&flags).filter(|(_, trained)| !**trained) {
                expected.dw[block.range.clone()].copy_from_slice(&other.dw[block.range.clone()]);
            }
            if let Some((what, i)) = differing(&expected, &other) {
                let frozen: Vec<&str> = self
                    .blocks
                    .iter()
                    .zip(&flags)
                    .filter(|(_, trained)| !**trained)
                    .map(|(block, _)| &*block.name)
                    .collect();
                let place = format!("{}, {frozen:?} frozen: {what}[{i}]", self.at(name, usual.extent));
                let (expected, found) = (value_of(&expected, what, i), value_of(&other, what, i));
                self.trial.breaks(Law::FrozenBlocks, place, expected, found, "");
            }
        }
    }

    /// The generic body and the adjoint at numbers of rows that leave every remainder.
    fn remainders(&mut self) {
        let parameters = self.layers.double.dims().parameters;
        for batch in REMAINDERS {
            let extent = Extent::batch(batch);
            if parameters * batch > LARGE || self.trial.broken(Law::GenericBody) {
                continue;
            }
            let Some(given) = self.draw(extent, 3) else { return };
            let asked = Asked::new(extent);
            let Some(double) = self.pass(self.layers.double, "f64", &given, &asked) else { return };
            let Some(single) = self.pass(self.layers.single, "f32", &given, &asked) else { return };
            let lifted = given.map(Dual::constant);
            let Ok(generic) = run(self.layers.dual, &lifted, &Asked { backward: false, ..asked }) else { return };
            let generic: Vec<f64> = generic.y.iter().map(|y| y.value).collect();
            let results = [double, widened(&single)];
            for (&(name, allowed), results) in GENERIC.iter().zip(&results) {
                let difference: Vec<f64> = results.y.iter().zip(&generic).map(|(y, generic)| y - generic).collect();
                let error = norm(&difference) / (norm(&generic) + f64::MIN_POSITIVE);
                if !self.trial.measures(Law::GenericBody, name, error, allowed) {
                    let worst =
                        (0..difference.len()).max_by(|&a, &b| difference[a].abs().total_cmp(&difference[b].abs()));
                    let i = worst.unwrap_or(0);
                    let place = format!("{}: y[{i}]", self.at(name, extent));
                    let (expected, found) = (format!("{:e}", generic[i]), format!("{:e}", results.y[i]));
                    self.trial.breaks(Law::GenericBody, place, expected, found, "");
                }
            }
            self.adjoint_of(Part::Everything, &given, &asked, &results);
        }
    }

    /// Laws of layers whose rows know nothing of each other.
    fn rows<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str) {
        if layer.rows() != Rows::Independent {
            return;
        }
        let ragged = Extent { batch: 4, steps: 4, lengths: Some(&[4, 3, 3, 1]) };
        let [four, two, one] = [vec![3, 1, 0, 2], vec![1, 0], vec![0]];
        let alone: Vec<Vec<usize>> = (0..4).map(|sample| vec![sample]).collect();
        let parts = vec![vec![0, 1, 2], vec![3, 4, 5, 6]];
        for (law, extent, groups) in [
            (Law::Permutation, Extent::batch(2), vec![two.clone()]),
            (Law::Permutation, Extent::batch(4), vec![four]),
            (Law::Permutation, Extent::sequences(2, 3), vec![two]),
            (Law::Split, Extent::batch(2), vec![one.clone(), vec![1]]),
            (Law::Split, Extent::batch(7), parts.clone()),
            (Law::Split, Extent::sequences(7, 3), parts),
            (Law::Ragged, Extent { batch: 2, steps: 2, lengths: Some(&[2, 1]) }, vec![one, vec![1]]),
            (Law::Ragged, ragged, alone),
        ] {
            self.rows_of(law, layer, name, extent, &groups);
        }
    }

    /// Samples by themselves, in groups, against the whole.
    fn rows_of<T: Scalar>(
        &mut self,
        law: Law,
        layer: &dyn Layer<T>,
        name: &str,
        extent: Extent<'_>,
        groups: &[Vec<usize>],
    ) {
        let Some(given) = self.draw(extent, 4) else { return };
        let given = Given { state: None, d_state: None, ..given };
        // Masks belong to samples in their place: in another order there is no noise.
        let mode = if law == Law::Permutation { Mode::Evaluate } else { Mode::Train };
        let asked = Asked { mode, ..Asked::new(extent) };
        let Some(whole) = self.pass(layer, name, &given, &asked) else { return };
        let (dims, after) = (layer.dims(), layer.extent(extent));
        let mut ends = Vec::new();
        for samples in groups {
            let lengths: Vec<usize> = samples.iter().map(|&sample| extent.length(sample)).collect();
            let part = Extent::sequences(samples.len(), lengths[0]);
            let given = Given {
                x: select(extent, samples, dims.input, &given.x),
                dy: select(after, samples, dims.output, &given.dy),
                ..given.clone()
            };
            let noise = if law == Law::Permutation { asked.noise } else { asked.noise.from_sample(samples[0]) };
            let Some(found) = self.pass(layer, name, &given, &Asked { extent: part, noise, ..asked }) else { return };
            for (what, expected, found) in [
                ("y", select(after, samples, dims.output, &whole.y), &found.y),
                ("dx", select(extent, samples, dims.input, &whole.dx), &found.dx),
            ] {
                if let Some(i) = unequal(&expected, found) {
                    let place = format!("{}, samples {samples:?}: {what}[{i}]", self.at(name, extent));
                    self.trial.breaks(law, place, format!("{:?}", expected[i]), format!("{:?}", found[i]), "");
                }
            }
            ends.extend_from_slice(&found.state);
        }
        // How states lie in memory is the layer's own business: in order of size they can be compared.
        let (whole, ends) = (sorted(whole.state), sorted(ends));
        if let Some(i) = unequal(&whole, &ends) {
            let place = format!("{}: carried_out, value {i} by size", self.at(name, extent));
            let found = ends.get(i).map_or_else(|| "nothing".into(), |end| format!("{end:?}"));
            self.trial.breaks(law, place, format!("{:?}", whole.get(i)), found, "");
        }
    }

    /// ‖J v‖ ≤ bound · ‖v‖, for directions that power iteration makes ever worse.
    fn gain_bound(&mut self) {
        const ITERATIONS: usize = 12;
        const ROUNDING: f64 = 1e-9;
        let layer = self.layers.double;
        for extent in [Extent::batch(1), Extent::sequences(1, 5)] {
            let Some(given) = self.draw(extent, 5) else { return };
            let mut given = Given { state: None, d_state: None, ..given };
            let Some(bound) = layer.gain_bound(&given.w, extent) else { continue };
            for _ in 0..ITERATIONS {
                // Jᵀ lengthens as J does, and backward is known to be Jᵀ.
                let Some(results) = self.pass(layer, "f64", &given, &Asked::new(extent)) else { return };
                let gain = norm(&results.dx) / norm(&given.dy).max(f64::MIN_POSITIVE);
                if !(gain <= bound * (1.0 + ROUNDING)) {
                    let place = self.at("f64", extent);
                    let input = format!("x = {}; parameters of seed {}", listed(&given.x), self.seed);
                    let expected = format!("at most {bound:e}, the stated bound");
                    self.trial.breaks(Law::GainBound, place, expected, format!("{gain:e}"), input);
                    return;
                }
                let direction =
                    Given { w: vec![0.0; given.w.len()], x: results.dx, state: None, dy: Vec::new(), d_state: None };
                let Some(image) = self.image(&given, &direction, extent) else { return };
                let length = norm(&image);
                if length == 0.0 {
                    break;
                }
                given.dy = image.iter().map(|value| value / length).collect();
            }
        }
    }

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
pub(super) fn draw(layer: &dyn Layer<f64>, extent: Extent<'_>, seed: u64, stream: u64) -> Result<Given<f64>, String> {
    let dims = layer.dims();
    let mut rng = generator(seed.wrapping_mul(1_000_003).wrapping_add(stream));
    let mut w = vec![0.0; dims.parameters];
    let initialized = super::caught(|| layer.initialize(&mut w, &mut rng));
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
    let states = layer.needs(extent, Mode::Train).carried * extent.batch;
    Ok(Given {
        w,
        x: some(extent.rows() * dims.input),
        state: (states > 0).then(|| some(states)),
        dy: some(layer.extent(extent).rows() * dims.output),
        d_state: (states > 0).then(|| some(states)),
    })
}

/// An extent in words.
fn described(extent: Extent<'_>) -> String {
    let Extent { batch, steps, lengths, .. } = extent;
    let samples = if batch == 1 { "1 sample".into() } else { format!("{batch} samples") };
    match lengths {
        Some(lengths) => format!("samples of {lengths:?} steps"),
        None if steps == 1 => samples,
        None => format!("{samples} of {steps} steps"),
    }
}

/// What the two products have to do with each other, where it is simple.
fn hint(comparison: &Comparison) -> &'static str {
    let ratio = comparison.found / comparison.expected;
    let near = |value: f64| (ratio - value).abs() < 1e-6;
    match () {
        () if near(-1.0) => ": the sign",
        () if near(0.0) => ": it is missing",
        () if near(2.0) => ": counted twice",
        () if near(0.5) => ": half of it",
        () => "",
    }
}

/// The direction that moves nothing.
fn at_rest(given: &Given<f64>) -> Given<f64> {
    Given { dy: Vec::new(), d_state: None, ..given.map(|_| 0.0) }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn widened(results: &Results<f32>) -> Results<f64> {
    let all = |values: &Vec<f32>| values.iter().map(|&value| value.into()).collect();
    let Results { y, state, dx, d_state, dw } = results;
    Results { y: all(y), state: all(state), dx: all(dx), d_state: all(d_state), dw: all(dw) }
}

/// Where two slices first differ in a bit; all NaN are alike.
pub(super) fn unequal<T: Scalar>(a: &[T], b: &[T]) -> Option<usize> {
    let same =
        |(&a, &b): (&T, &T)| (a == b && a.is_sign_negative() == b.is_sign_negative()) || (a.is_nan() && b.is_nan());
    a.iter().zip(b).position(|pair| !same(pair)).or((a.len() != b.len()).then_some(0))
}

/// The first result in which two passes differ.
fn differing<T: Scalar>(a: &Results<T>, b: &Results<T>) -> Option<(&'static str, usize)> {
    a.named().into_iter().zip(b.named()).find_map(|((what, a), (_, b))| unequal(a, b).map(|i| (what, i)))
}

/// A result by its name.
fn value_of<T: Scalar>(results: &Results<T>, what: &str, i: usize) -> String {
    let named = results.named();
    let value = named.iter().find(|(name, _)| *name == what).and_then(|(_, values)| values.get(i));
    value.map_or_else(|| "nothing".into(), |value| format!("{value:?}"))
}

fn sorted<T: Scalar>(mut values: Vec<T>) -> Vec<T> {
    values.sort_by(|a, b| to_f64(*a).total_cmp(&to_f64(*b)));
    values
}

/// The rows of some samples, time-major.
fn select<T: Copy>(extent: Extent<'_>, samples: &[usize], width: usize, values: &[T]) -> Vec<T> {
    let mut selected = Vec::new();
    for step in 0..extent.steps {
        for &sample in samples.iter().filter(|&&sample| step < extent.length(sample)) {
            selected.extend_from_slice(&values[extent.row(step, sample) * width..][..width]);
        }
    }
    selected
}
