//! Checks of a layer's descriptive methods, when it becomes part of a network and when a workspace is made for it.

use super::{Dims, Hints, Layer, MAX_DEPTH, MemorySizes, Mode, Samples, StructureKind};
use crate::{
    batch_shape::BatchShape,
    block::{Blocks, unique},
    error::{Error, LayerRule},
    scalar::Scalar,
    size::MOST,
};
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};

/// The number of time steps of a long pass for which the output shape of each layer is checked, in addition to the
/// passes for which the network is built.
pub(crate) const LONG: usize = 1000;

/// The return values of a layer's descriptive methods, such as [`Layer::hints`], which a container caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) dims: Dims,
    /// The number of parameter blocks, including those of inner layers.
    pub(crate) blocks: usize,
    /// The number of links (factors of the chain rule), including those of inner layers.
    pub(crate) links: usize,
    /// The number of levels of nested layers: 1 for a layer without parts.
    pub(crate) depth: usize,
    pub(crate) hints: Hints,
    pub(crate) samples: Samples,
    /// Whether the output at a time step may depend on the input at later time steps.
    pub(crate) reads_later_steps: bool,
    /// Whether the output shape equals the input shape for each shape tried: from one row to 1000 time steps, one of
    /// them with samples of unequal length.
    pub(crate) keeps_rows: bool,
    /// The number of values that a training pass over one row saves. If [`by_row`](Self::by_row) is set, it is the
    /// number for each row of every training pass.
    pub(crate) saved: usize,
    /// Whether the layer saves a fixed number of values per row, the same in each mode that saves, and has no state.
    pub(crate) by_row: bool,
    /// Whether the layer can be part of a span: consecutive layers through which each thread takes some of the samples.
    pub(crate) plain: bool,
}

/// Refuses a network with more than [`MAX_DEPTH`] levels of layers that no container of this crate has checked. It
/// descends no deeper, and calls only `structure`: other methods of a custom layer may recurse through all levels.
///
/// # Errors
/// [`Error::InvalidLayer`] with [`LayerRule::TooDeep`].
pub(crate) fn check_depth<T: Scalar>(network: &dyn Layer<T>) -> Result<(), Error> {
    fn fits<T: Scalar>(layer: &dyn Layer<T>, levels: usize) -> bool {
        levels > 0 && layer.structure().unchecked().all(|(_, part)| fits(part, levels - 1))
    }
    match fits(network, MAX_DEPTH) {
        true => Ok(()),
        false => Err(LayerRule::TooDeep { limit: MAX_DEPTH }.at("")),
    }
}

/// Checks the depth of `network` as [`check_depth`] does, but panics instead of returning an error.
///
/// # Panics
/// With the rule, for a network with more than [`MAX_DEPTH`] levels.
pub(crate) fn assert_depth<T: Scalar>(network: &dyn Layer<T>) {
    check_depth(network).unwrap_or_else(|error| panic!("{error}"));
}

/// A check, when a workspace is made, of the descriptive methods of the layer at `path` and all layers inside it, for
/// passes of up to `shape`.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) shape: BatchShape<'a>,
    pub(crate) path: &'a str,
}

impl Answers {
    /// Returns the results of the descriptive methods of `layer`, or the first rule that they break. A container of
    /// this crate returns the results that it checked when it was made.
    pub(crate) fn of<T: Scalar>(layer: &dyn Layer<T>) -> Result<Self, LayerRule> {
        Self::within(layer, MAX_DEPTH)
    }

    /// Returns the results of the descriptive methods of `layer`, as [`of`](Self::of) does. A layer with more than
    /// `levels` levels of nested layers is refused, before the recursion can overflow the stack.
    fn within<T: Scalar>(layer: &dyn Layer<T>, levels: usize) -> Result<Self, LayerRule> {
        let levels = levels.checked_sub(1).ok_or(LayerRule::TooDeep { limit: MAX_DEPTH })?;
        let structure = layer.structure();
        let answers = |part| Self::within(part, levels);
        structure.answers_of(&mut structure.parts().map(|(_, part, _)| answers(part)), || {
            Self::ask(layer, BatchShape::sequences(2, 3))
        })
    }

    /// Returns results with the given `dims`, and neutral values for all other descriptive methods, which are not
    /// called. It is for a layer that every network refuses: a width is 0, or a size is more than memory can hold.
    fn without_sizes(dims: Dims) -> Self {
        Answers {
            dims,
            blocks: 0,
            links: 0,
            depth: 1,
            hints: Hints::NONE,
            samples: Samples::Independent,
            reads_later_steps: false,
            keeps_rows: true,
            saved: 0,
            by_row: false,
            plain: false,
        }
    }

    /// Returns the results of a layer with the given `dims` and `hints` that has `blocks` and `links` of its own, and
    /// contains layers with the results `parts`. Blocks and links are summed. Samples are coupled if a part couples
    /// them, and later time steps are read if a part reads them. The rows are kept if all parts keep them. No values
    /// count as saved per row. Refuses more than [`MAX_DEPTH`] levels.
    pub(crate) fn of_parts(
        dims: Dims,
        hints: Hints,
        [blocks, links]: [usize; 2],
        parts: impl Iterator<Item = Self>,
    ) -> Result<Self, LayerRule> {
        let own = Answers { blocks, links, depth: 0, hints, ..Self::without_sizes(dims) };
        let all = parts.fold(own, |all, part| Answers {
            blocks: all.blocks + part.blocks,
            links: all.links + part.links,
            depth: all.depth.max(part.depth),
            samples: all.samples.and(part.samples),
            reads_later_steps: all.reads_later_steps | part.reads_later_steps,
            keeps_rows: all.keeps_rows & part.keeps_rows,
            ..all
        });
        Ok(Answers { depth: Self::above(all.depth)?, ..all })
    }

    /// Returns `depth + 1`, the number of levels of a layer whose parts have up to `depth` levels. Refuses more than
    /// [`MAX_DEPTH`].
    pub(crate) fn above(depth: usize) -> Result<usize, LayerRule> {
        if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(LayerRule::TooDeep { limit: MAX_DEPTH }) }
    }

    /// Calls the descriptive methods of a layer whose results are not cached, most of them twice, for passes of up to
    /// `largest`, and returns the results. Refuses results that differ or break a rule.
    pub(crate) fn ask<T: Scalar>(layer: &dyn Layer<T>, largest: BatchShape<'_>) -> Result<Self, LayerRule> {
        check_own_settings(layer)?;
        let dims = twice("dims", || layer.dims())?;
        let Dims { input, output, parameters } = dims;
        if input == 0 || output == 0 || [input, output, parameters].iter().any(|&size| size > MOST) {
            // The caller refuses such sizes; other methods may have no answer for them.
            return Ok(Answers::without_sizes(dims));
        }
        let blocks = twice("blocks", || Blocks::collect(|visit| layer.blocks(visit)))?;
        blocks.check(dims.parameters)?;
        let links = twice("structure", || layer.structure().link_names(""))?;
        if links.is_empty() {
            return Err(LayerRule::NoLink);
        }
        unique("link", links.iter().map(String::as_str))?;
        let MemorySizes { state, buffers, .. } = layer.memory(BatchShape::batch(1), Mode::Train);
        let BatchShape { batch, steps, .. } = largest;
        let (one, ragged) = (BatchShape::batch(1), [2, 1]);
        let few = [one, BatchShape::sequences(1, steps.min(2)), BatchShape::sequences(1, steps)];
        let many =
            [BatchShape::batch(batch), BatchShape::sequences(batch, steps.min(2)), BatchShape::sequences(batch, steps)];
        let ragged = BatchShape::ragged(&ragged);
        let mut keeps_rows = true;
        for rows in few.into_iter().chain(many).chain([ragged, BatchShape::sequences(2, LONG)]) {
            let after = twice("output_shape", || layer.output_shape(rows))?;
            check_output_shape(rows, after)?;
            keeps_rows &= after == rows;
        }
        for mode in [Mode::Train, Mode::Evaluate, Mode::Infer] {
            let memory = |rows| {
                let memory = twice("memory", || layer.memory(rows, mode))?;
                match memory {
                    _ if memory.state != state => Err(LayerRule::StateVaries { expected: state, found: memory.state }),
                    _ if memory.buffers != buffers => Err(LayerRule::Changed { method: "memory" }),
                    _ if !mode.saves() && memory.saved > 0 => Err(LayerRule::InferenceSaves { saved: memory.saved }),
                    _ => Ok(memory),
                }
            };
            memory(ragged)?;
            // Memory must not shrink: each size is compared with that for fewer time steps and that for fewer
            // samples.
            let mut smaller = [MemorySizes::default(); 3];
            for samples in [few, many] {
                let mut shorter = MemorySizes::default();
                for (rows, fewer) in samples.into_iter().zip(&mut smaller) {
                    let now = memory(rows)?;
                    check_growth(*fewer, now)?;
                    check_growth(shorter, now)?;
                    (*fewer, shorter) = (now, now);
                }
            }
        }
        let [train, evaluate] = [Mode::Train, Mode::Evaluate].map(|mode| layer.memory(one, mode));
        let three = [ragged, BatchShape::batch(3)].map(|rows| layer.memory(rows, Mode::Train));
        let (hints, coupling) = (twice("hints", || layer.hints())?, layer.samples());
        let plain = keeps_rows
            && coupling == Samples::Independent
            && state == 0
            && buffers == 0
            && (three[1].saved == 0 || hints.saved_per_row && parameters == 0)
            && !hints.accepts_short_dy;
        let by_row = hints.saved_per_row
            && Some(three[0].saved) == train.saved.checked_mul(3)
            && evaluate.saved == train.saved
            && state == 0;
        Ok(Answers {
            blocks: blocks.len(),
            links: links.len(),
            hints,
            samples: coupling,
            reads_later_steps: layer.reads_later_steps(),
            keeps_rows,
            saved: train.saved,
            by_row,
            plain,
            ..Answers::without_sizes(dims)
        })
    }
}

impl Question<'_> {
    /// Checks the parts of `layer` again, then returns the results of its own descriptive methods. Refuses results that
    /// break a rule, and results of a part that differ from the cached ones.
    pub(crate) fn answers<T: Scalar>(self, layer: &dyn Layer<T>) -> Result<Answers, Error> {
        let (structure, mut parts) = (layer.structure(), Vec::new());
        structure.each(self.shape, |part, rows| {
            let path = if part.name.is_empty() { self.path.into() } else { join(self.path, &part.name) };
            let question = Question { shape: rows, path: &path };
            parts.push(Ok(match &part.kept {
                Some(before) => question.again(part.layer, before)?,
                None => question.answers(part.layer)?,
            }));
            if structure.changes_rows(part) {
                check_output_shape(rows, part.layer.output_shape(rows)).map_err(|rule| rule.at(&path))?;
            }
            Ok::<(), Error>(())
        })?;
        let answers = structure.answers_of(&mut parts.into_iter(), || Answers::ask(layer, self.shape));
        answers.map_err(|rule| rule.at(self.path))
    }

    /// Checks `layer`, a part of a container, again, and returns the results of its descriptive methods. Refuses
    /// results that differ from the cached ones, `before`.
    pub(crate) fn again<T: Scalar>(self, layer: &dyn Layer<T>, before: &Answers) -> Result<Answers, Error> {
        let now = self.answers(layer)?;
        let same = [
            ("dims", now.dims == before.dims),
            ("blocks", now.blocks == before.blocks),
            ("structure", now.links == before.links),
            ("samples", now.samples == before.samples),
            ("reads_later_steps", now.reads_later_steps == before.reads_later_steps),
            ("hints", now.hints == before.hints),
            ("memory", now.saved == before.saved),
        ];
        match same.into_iter().find(|(_, same)| !same) {
            Some((method, _)) => Err(LayerRule::Changed { method }.at(self.path)),
            None if before.keeps_rows && !now.keeps_rows => {
                Err(LayerRule::Changed { method: "output_shape" }.at(self.path))
            }
            None => Ok(now),
        }
    }
}

/// Refuses a layer of this crate without parts that has a setting outside its range, which a layer read from a file
/// may have.
fn check_own_settings<T: Scalar>(layer: &dyn Layer<T>) -> Result<(), LayerRule> {
    // The specification of a layer with parts copies those of all layers inside, so each level would copy all below.
    if layer.structure().kind() != StructureKind::Leaf {
        return Ok(());
    }
    let spec = layer.spec();
    let checked = spec.listed().map_or(Ok(()), |(_, listed)| listed.check());
    checked.map_err(|reason| LayerRule::InvalidSetting { reason: Box::new(reason) })
}

/// Refuses settings outside their range of `layer`, at `path`, and of those layers inside it that were not checked when
/// their container was made.
pub(crate) fn check_settings<T: Scalar>(layer: &dyn Layer<T>, path: &str) -> Result<(), Error> {
    let structure = layer.structure();
    for (name, part) in structure.unchecked() {
        check_settings(part, &structure.below(path, name))?;
    }
    check_own_settings(layer).map_err(|rule| rule.at(path))
}

/// Calls `ask` twice and returns its result. Refuses two different results; `method` is the name of the method that
/// `ask` calls, for the error.
pub(crate) fn twice<A: PartialEq>(method: &'static str, ask: impl Fn() -> A) -> Result<A, LayerRule> {
    let (first, second) = (ask(), ask());
    if first == second { Ok(second) } else { Err(LayerRule::Changed { method }) }
}

fn check_growth(smaller: MemorySizes, larger: MemorySizes) -> Result<(), LayerRule> {
    let sizes = [("saved values", smaller.saved, larger.saved), ("scratch", smaller.scratch, larger.scratch)];
    match sizes.into_iter().find(|(_, smaller, larger)| smaller > larger) {
        Some((what, smaller, larger)) => Err(LayerRule::MemoryShrinks { what, smaller, larger }),
        None => Ok(()),
    }
}

/// Refuses an invalid output shape `after`, or one whose number of samples differs from that of the input shape,
/// `before`.
pub(crate) fn check_output_shape(before: BatchShape<'_>, after: BatchShape<'_>) -> Result<(), LayerRule> {
    after.check().map_err(|reason| LayerRule::InvalidOutputShape { reason: Box::new(reason) })?;
    if after.batch != before.batch {
        return Err(LayerRule::BatchChanged { expected: before.batch, found: after.batch });
    }
    Ok(())
}

/// Returns `path.part`, the path of the part named `part` in a layer at `path`; `part` alone if `path` is empty.
pub(crate) fn join(path: &str, part: &str) -> String {
    if path.is_empty() { part.to_string() } else { format!("{path}.{part}") }
}
