//! The structure of a layer: its own links (factors of the chain rule), and the layers inside it.

use super::{
    Answers, Layer, LayerSpec, Mode, Samples,
    check::{assert_depth, join},
};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Blocks},
    error::{Error, LayerRule},
    linalg::Upper,
    scalar::Scalar,
};
use alloc::{borrow::Cow, string::String, vec::Vec};
use core::ops::Range;
use rand_core::Rng;

/// How the parts of a layer are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StructureKind {
    /// The layer has no parts.
    Leaf,
    /// The output of each part is the input of the next: `y = f_L(… f_1(x))`.
    Chain,
    /// Every part reads the input of the layer, and the layer combines the outputs of the parts.
    Branches,
}

/// The links of a layer (the factors of the chain rule that it reports to a monitor) and its parts, the layers inside
/// it. From this structure follow the blocks, initial values, names of links and bounds of a layer made of other
/// layers, and whether it couples samples or reads later time steps. Such a layer only states its structure.
///
/// Parameters and links of the layer itself come first, then those of each part, in order. A block of a part named `p`
/// is `p.weight`, a link below the path `2` is `2.p`.
///
/// ```
/// use chainrule::layer::{Layer, Linear, Structure};
/// let (f, g) = (Linear::new(3, 2), Linear::new(3, 2));
/// let structure = Structure::<f64>::branches().part("first", &f).part("second", &g);
/// assert_eq!(structure.link_names("4"), ["4", "4.first", "4.second"]);
/// ```
#[derive(Debug)]
pub struct Structure<'a, T: Scalar> {
    kind: StructureKind,
    /// The names, below the layer's path, of its own links (factors of the chain rule); the empty name stands for the
    /// path itself.
    links: &'a [&'a str],
    parts: Vec<Part<'a, T>>,
    /// The index, within the layer's parameters, of the first parameter of the part that is added next.
    end: usize,
    answers: Recorded,
}

/// A layer inside another layer.
#[derive(Debug)]
pub(crate) struct Part<'a, T: Scalar> {
    /// The name of the part below the layer's path; empty for a part with the same path.
    pub(crate) name: Cow<'a, str>,
    pub(crate) layer: &'a dyn Layer<T>,
    /// The range of the part's parameters within those of the layer.
    pub(crate) range: Range<usize>,
    /// The results of the part's descriptive methods, such as [`Layer::hints`], cached when its container was made;
    /// `None` if they were not cached.
    pub(crate) kept: Option<Answers>,
}

/// The source of the results of a layer's descriptive methods, such as [`Layer::hints`]: calls of the methods, or a
/// cache.
#[derive(Clone, Debug)]
pub(crate) enum Recorded {
    /// The results are not cached: the methods of the layer are called.
    No,
    /// The results are those cached when the layer was made, or the rule that they broke.
    Checked(Result<Answers, LayerRule>),
}

/// The numbers of parameters, blocks and links (factors of the chain rule) of a layer. A container adds them to the
/// offsets of a layer inside it to get the offsets of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartSizes {
    /// The number of parameters, including those of inner layers.
    pub parameters: usize,
    /// The number of parameter blocks, including those of inner layers.
    pub blocks: usize,
    /// The number of links (factors of the chain rule that a monitor receives), including those of inner layers.
    pub links: usize,
}

impl PartSizes {
    /// Counts the parameters, blocks and links (factors of the chain rule) of `layer`.
    ///
    /// # Panics
    /// If layers are nested more than [`MAX_DEPTH`](super::MAX_DEPTH) deep.
    pub fn of<T: Scalar>(layer: &dyn Layer<T>) -> Self {
        assert_depth(layer);
        let blocks = Blocks::collect(|visit| layer.blocks(visit)).len();
        let mut links = 0;
        layer.structure().visit_links("", &mut |_| links += 1);
        PartSizes { parameters: layer.dims().parameters, blocks, links }
    }
}

impl<'a, T: Scalar> Structure<'a, T> {
    /// The structure of a layer without parts, with one link (factor of the chain rule), which has the name of the
    /// layer's path.
    pub const LEAF: Self = Self::new(StructureKind::Leaf, &[""]);

    const fn new(kind: StructureKind, links: &'a [&'a str]) -> Self {
        Structure { kind, links, parts: Vec::new(), end: 0, answers: Recorded::No }
    }

    /// Creates the structure of parts in sequence. The layer has no link (factor of the chain rule) of its own.
    pub const fn chain() -> Self {
        Self::new(StructureKind::Chain, &[])
    }

    /// Creates the structure of parallel parts. The layer has one link (factor of the chain rule) of its own, which
    /// combines their outputs.
    pub const fn branches() -> Self {
        Self::new(StructureKind::Branches, &[""])
    }

    /// Sets the names, below the layer's path, of its own links (factors of the chain rule); the empty name stands for
    /// the path itself.
    ///
    /// The links of a layer without parts need not be all of it: those of a gate are one term. Two links whose
    /// gradients lead from `dy` to `dx` report values that lead from `x` to `y`.
    #[must_use]
    pub fn links(self, links: &'a [&'a str]) -> Self {
        Structure { links, ..self }
    }

    /// Sets the number `end` of the layer's own parameters, which come before those of its parts. The default is 0.
    #[must_use]
    pub fn own_parameters(self, end: usize) -> Self {
        Structure { end, ..self }
    }

    /// Adds `layer` as the next part, with `name` as the name of the part.
    #[must_use]
    pub fn part(self, name: impl Into<Cow<'a, str>>, layer: &'a dyn Layer<T>) -> Self {
        let parameters = layer.dims().parameters;
        self.add(name.into(), layer, parameters, None)
    }

    /// Adds `layer` as the next part, with `name` as the name of the part. `kept` holds the cached results of its
    /// descriptive methods, such as [`Layer::hints`].
    #[must_use]
    pub(crate) fn kept_part(self, name: impl Into<Cow<'a, str>>, layer: &'a dyn Layer<T>, kept: Answers) -> Self {
        self.add(name.into(), layer, kept.dims.parameters, Some(kept))
    }

    fn add(mut self, name: Cow<'a, str>, layer: &'a dyn Layer<T>, parameters: usize, kept: Option<Answers>) -> Self {
        let range = self.end..self.end.saturating_add(parameters);
        self.end = range.end;
        self.parts.push(Part { name, layer, range, kept });
        self
    }

    /// Sets the source of the results of the layer's descriptive methods, such as [`Layer::hints`]: a cache, or calls
    /// of the methods, which is the default.
    #[must_use]
    pub(crate) fn recorded(self, answers: Recorded) -> Self {
        Structure { answers, ..self }
    }

    /// Returns the results of the layer's descriptive methods, such as [`Layer::hints`]: the cached ones, or those of
    /// `ask`, which calls the methods. If `ask` is called, the depth of nesting is computed from `parts`, the results
    /// of the parts. An error among `parts` is returned.
    pub(super) fn answers_of(
        &self,
        parts: &mut dyn Iterator<Item = Result<Answers, LayerRule>>,
        ask: impl FnOnce() -> Result<Answers, LayerRule>,
    ) -> Result<Answers, LayerRule> {
        match &self.answers {
            Recorded::Checked(answers) => answers.clone(),
            Recorded::No => {
                let mut deepest = 0;
                for part in parts {
                    deepest = part?.depth.max(deepest);
                }
                Ok(Answers { depth: Answers::above(deepest)?, ..ask()? })
            }
        }
    }

    /// Whether the layer is a chain and `part` may change the batch shape for the parts after it. In a chain it is
    /// true for each `part` whose results are not cached.
    pub(super) fn changes_rows(&self, part: &Part<'_, T>) -> bool {
        self.kind == StructureKind::Chain && !part.kept.is_some_and(|kept| kept.keeps_rows)
    }

    /// Returns the number of the layer's own links (factors of the chain rule), without those of its parts.
    pub(crate) fn own_links(&self) -> usize {
        self.links.len()
    }

    /// Returns how the parts of the layer are connected: no parts, a chain, or parallel branches.
    pub fn kind(&self) -> StructureKind {
        self.kind
    }

    /// Returns the parts in order: for each its name, the layer, and the range of its parameters among those of the
    /// whole layer.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &'a dyn Layer<T>, Range<usize>)> {
        self.parts.iter().map(|part| (&*part.name, part.layer, part.range.clone()))
    }

    /// Returns the name and the layer of each part whose descriptive methods, such as [`Layer::hints`], were not
    /// checked when the container was made.
    pub(super) fn unchecked(&self) -> impl Iterator<Item = (&str, &'a dyn Layer<T>)> {
        self.parts.iter().filter(|part| part.kept.is_none()).map(|part| (&*part.name, part.layer))
    }

    /// Returns the names of all links (factors of the chain rule) of the layer, for a layer at `path` in the network:
    /// its own, then those of its parts in order.
    pub fn link_names(&self, path: &str) -> Vec<String> {
        let mut names = Vec::new();
        self.visit_links(path, &mut |name| names.push(name));
        names
    }

    fn visit_links(&self, path: &str, visit: &mut dyn FnMut(String)) {
        self.links.iter().for_each(|link| visit(self.below(path, link)));
        for part in &self.parts {
            part.layer.structure().visit_links(&self.below(path, &part.name), visit);
        }
    }

    /// Returns `path.name`, the path of the part or of the own link (factor of the chain rule) called `name` of a
    /// layer at `path`. It is `path` itself for an empty name, and in a chain `name` alone for an empty path.
    pub(crate) fn below(&self, path: &str, name: &str) -> String {
        match (self.kind, name) {
            (_, "") => path.into(),
            (StructureKind::Chain, _) => join(path, name),
            _ => alloc::format!("{path}.{name}"),
        }
    }

    /// Calls `visit` with each part and the batch shape of its input, for an input of `shape` to the layer. Stops at
    /// the first error.
    pub(crate) fn each<'s, E>(
        &self,
        shape: BatchShape<'s>,
        mut visit: impl FnMut(&Part<'a, T>, BatchShape<'s>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rows = shape;
        for (i, part) in self.parts.iter().enumerate() {
            visit(part, rows)?;
            if i + 1 < self.parts.len() && self.changes_rows(part) {
                rows = part.layer.output_shape(rows);
            }
        }
        Ok(())
    }

    /// Calls `visit` with each parameter block of the parts. The name of the part is put before that of the
    /// block, and ranges begin at the first parameter of the whole layer.
    pub(super) fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        for Part { name, layer, range, .. } in &self.parts {
            match &**name {
                "" => layer.blocks(visit),
                name => layer.blocks(&mut |block| visit(block.within(name, range.start))),
            }
        }
    }

    /// Writes the initial values of the parts' parameters to `w`, the parameters of the whole layer. Refuses parts with
    /// more parameters than `w`.
    pub(super) fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        let expected = w.len();
        self.parts.iter().try_for_each(|part| match w.get_mut(part.range.clone()) {
            Some(w) => part.layer.initialize(w, rng),
            None => Err(LayerRule::BlockTotal { expected, found: self.end }.at(&part.name)),
        })
    }

    /// Returns whether, and in which modes, the output of a sample depends on other samples of the batch in any part.
    pub(super) fn samples(&self) -> Samples {
        let samples = |part: &Part<'_, T>| part.kept.map_or_else(|| part.layer.samples(), |kept| kept.samples);
        self.parts.iter().fold(Samples::Independent, |all, part| all.and(samples(part)))
    }

    /// Whether the output of any part at a time step depends on its input at later time steps.
    pub(super) fn reads_later_steps(&self) -> bool {
        let reads = |part: &Part<'_, T>| {
            part.kept.map_or_else(|| part.layer.reads_later_steps(), |kept| kept.reads_later_steps)
        };
        self.parts.iter().any(reads)
    }

    /// Returns the product of the [gain bounds](Layer::gain_bound) of a chain's parts, for the parameters `w` and an
    /// input of `shape`: `‖AB‖₂ ≤ ‖A‖₂‖B‖₂`. `None` if a part has no bound or `w` is too short, and
    /// for other kinds of structure.
    pub(super) fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        if self.kind != StructureKind::Chain {
            return None;
        }
        self.times(Upper::ONE, w, shape).map(Upper::get)
    }

    /// Returns `product` times the [gain bounds](Layer::gain_bound) of all parts, for the parameters `w` and an input
    /// of `shape`. `None` if a part has no bound or `w` is too short. The bounds of a part that is itself a chain are
    /// multiplied part by part.
    fn times(&self, product: Upper, w: &[T], shape: BatchShape<'_>) -> Option<Upper> {
        let mut product = product;
        let bounded = self.each(shape, |part, rows| {
            let (w, inner) = (w.get(part.range.clone()).ok_or(())?, part.layer.structure());
            product = match inner.kind {
                StructureKind::Chain => inner.times(product, w, rows),
                _ => part.layer.gain_bound(w, rows).map(|bound| product * Upper::of(bound)),
            }
            .ok_or(())?;
            Ok::<(), ()>(())
        });
        bounded.ok().map(|()| product)
    }
}

/// Calls `visit` with paths and [gain bounds](Layer::gain_bound) whose product is a gain bound of `layer`, at `path`,
/// for the parameters `w` and an input of `shape`. A chain is visited part by part; any other layer is visited once,
/// with its own bound.
///
/// If a layer has no bound, `visit` receives `None` with the paths of the layers inside it that lack a bound, or with
/// its own path if there are none. An embedding, the first layer of its network or branch, is not visited: indices
/// have no gradient, so the product ends at its output.
pub(crate) fn gain_bounds<T: Scalar>(
    layer: &dyn Layer<T>,
    w: &[T],
    shape: BatchShape<'_>,
    path: &str,
    visit: &mut dyn FnMut(&str, Option<f64>),
) {
    let structure = layer.structure();
    if structure.kind() == StructureKind::Leaf && matches!(layer.spec(), LayerSpec::Embedding(_)) {
        return;
    }
    let within = |visit: &mut dyn FnMut(&str, Option<f64>)| {
        let _ = structure.each(shape, |part, rows| {
            let path = structure.below(path, &part.name);
            gain_bounds(part.layer, w.get(part.range.clone()).unwrap_or_default(), rows, &path, visit);
            Ok::<(), ()>(())
        });
    };
    if structure.kind == StructureKind::Chain {
        return within(visit);
    }
    let bound = layer.gain_bound(w, shape);
    let mut missing = false;
    if bound.is_none() {
        within(&mut |name, bound| {
            if bound.is_none() {
                missing = true;
                visit(name, None);
            }
        });
    }
    if !missing {
        visit(path, bound);
    }
}

/// Visits each layer that has a state and no parts: `layer`, at `path`, or a layer inside it. `visit` receives the
/// path of that layer and its [`state_gain_bounds`](Layer::state_gain_bounds). `w` has the parameters of `layer`, and
/// `shape` is the batch shape of its input.
pub(crate) fn state_bounds<T: Scalar>(
    layer: &dyn Layer<T>,
    w: &[T],
    shape: BatchShape<'_>,
    path: &str,
    visit: &mut dyn FnMut(&str, Option<&[f64]>),
) {
    let structure = layer.structure();
    if structure.kind == StructureKind::Leaf && layer.memory(shape, Mode::Infer).state > 0 {
        visit(path, layer.state_gain_bounds(w, shape).as_deref());
    }
    let _ = structure.each(shape, |part, rows| {
        let path = structure.below(path, &part.name);
        state_bounds(part.layer, w.get(part.range.clone()).unwrap_or_default(), rows, &path, visit);
        Ok::<(), ()>(())
    });
}
