//! Layers one after the other, run without recursion.

use super::{
    Answers, Backward, Dims, Forward, Layer, LayerSpec, MemorySizes, Mode, Parameters, Question, Reads, Samples,
    check::{check_output_shape, cut, cut_end, cut_end_shared, cut_shared, hold},
    stretch::SMALL,
};
use crate::{
    batch_shape::BatchShape,
    block::Block,
    error::{Error, LayerRule, require},
    kernel::prefetch::request,
    linalg::Upper,
    scalar::Scalar,
    size::{room, saturating_product, saturating_sum},
};
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::ops::Range;
use rand_core::Rng;

/// Layers one after the other: `y = f_L(… f_2(f_1(x)))`.
///
/// Both passes are loops over a table made once, with two gradient buffers in turn: depth costs no
/// stack, and memory only for what must be saved.
#[derive(Debug)]
pub struct Sequential<T> {
    pub(super) links: Vec<Entry<T>>,
    /// The widths of the rows before and after each link, added up: those before link i, `columns[i]..columns[i + 1]`.
    pub(super) columns: Vec<usize>,
    /// The same, where rows that nobody reads on the way back have no width. Those before link 0 and after the last are
    /// somebody else's.
    pub(super) kept: Vec<usize>,
    /// What each link saves of a row, added up, where it does so row by row.
    pub(super) saved: Vec<usize>,
    /// The parameters of link i: `starts[i]..starts[i + 1]`.
    pub(super) starts: Vec<usize>,
    /// The links that change the rows, which are few.
    changing: Vec<usize>,
    /// The widest rows between two links.
    widest: usize,
    /// Links in a row that can be in a stretch.
    pub(super) runs: Vec<Range<usize>>,
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) layer: Box<dyn Layer<T>>,
    pub(super) first_block: usize,
    pub(super) first_place: usize,
    /// Its answers when it was added.
    kept: Answers,
}

impl<T: Scalar> Sequential<T> {
    /// An empty network for rows of `input` values.
    pub fn new(input: usize) -> Self {
        Sequential {
            links: Vec::new(),
            columns: vec![0, input],
            kept: vec![0],
            saved: vec![0],
            starts: vec![0],
            changing: Vec::new(),
            widest: 0,
            runs: Vec::new(),
        }
    }

    /// Adds a layer at the end.
    ///
    /// # Errors
    /// [`Error::WidthMismatch`] where the layer's input width is not [`width`](Self::width); [`Error::Parameter`] for a
    /// width of 0. [`Error::TooLarge`] where the network's widths or parameters are more than memory can hold.
    /// [`Error::InvalidLayer`] where the layer breaks a rule, or is nested more than [`MAX_DEPTH`](super::MAX_DEPTH)
    /// deep. The network stays as it was.
    pub fn push(&mut self, layer: impl Layer<T> + 'static) -> Result<(), Error> {
        self.push_boxed(Box::new(layer))
    }

    /// Adds a layer behind a pointer at the end.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub fn push_boxed(&mut self, layer: Box<dyn Layer<T>>) -> Result<(), Error> {
        let i = self.links.len();
        let checked = Answers::of(&*layer).and_then(|kept| Answers::above(kept.depth).map(|_| kept));
        let kept = checked.map_err(|rule| rule.at(&i.to_string()))?;
        let (dims, width) = (kept.dims, self.width());
        if dims.input != width {
            return Err(Error::WidthMismatch { layer: i.to_string(), expected: dims.input, found: width });
        }
        require(dims.input > 0 && dims.output > 0, "the width of a layer", "at least 1", 0.0)?;
        let sum_of = |what: &str, before: usize, own: usize| {
            room::<T>(format_args!("{what} of layers 0 to {i}"), &[before.saturating_add(own)])
        };
        let columns = sum_of("the widths", self.columns[i + 1], dims.output)?;
        let parameters = sum_of("the parameters", self.starts[i], dims.parameters)?;
        let saved = if kept.saves_by_row { kept.saved } else { 0 };
        let saved = sum_of("the values kept of a row", self.saved[i], saved)?;
        let last = self.links.last();
        let entry = Entry {
            first_block: last.map_or(0, |last| last.first_block + last.kept.blocks),
            first_place: last.map_or(0, |last| last.first_place + last.kept.places),
            kept,
            layer,
        };
        let reads = last.is_some_and(|last| last.kept.reads.output) || kept.reads.input;
        self.kept.push(self.kept[i] + if reads { width } else { 0 });
        self.saved.push(saved);
        if !kept.keeps_rows {
            self.changing.push(i);
        } else if kept.plain && dims.parameters <= SMALL {
            match self.runs.last_mut().filter(|run| run.end == i) {
                Some(run) => run.end = i + 1,
                None => self.runs.push(i..i + 1),
            }
        }
        if !self.links.is_empty() {
            self.widest = self.widest.max(width);
        }
        self.columns.push(columns);
        self.starts.push(parameters);
        self.links.push(entry);
        Ok(())
    }

    /// Adds all layers of `other` at the end.
    ///
    /// # Errors
    /// Those of [`push`](Self::push), for the first layer of `other` that is refused; those before it stay added.
    pub fn append(&mut self, other: Self) -> Result<(), Error> {
        other.links.into_iter().try_for_each(|link| self.push_boxed(link.layer))
    }

    /// The width of the rows that come out so far.
    pub fn width(&self) -> usize {
        self.width_before(self.links.len())
    }

    /// The width of the rows that come to link `i`.
    pub(super) fn width_before(&self, i: usize) -> usize {
        self.columns[i + 1] - self.columns[i]
    }

    /// The parameters of link `i`.
    pub(super) fn parameters(&self, i: usize) -> Range<usize> {
        self.starts[i]..self.starts[i + 1]
    }

    /// How many layers there are.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The rows that come to link `i`.
    fn shape_before<'a>(&self, i: usize, shape: BatchShape<'a>) -> BatchShape<'a> {
        let before = self.changing.iter().take_while(|&&changing| changing < i);
        before.fold(shape, |shape, &changing| self.links[changing].layer.output_shape(shape))
    }

    /// Visits the links in order, each with the rows that come to it and its name.
    fn each<'a>(&self, shape: BatchShape<'a>, path: &str, mut visit: impl FnMut(usize, BatchShape<'a>, &str)) {
        let mut rows = shape;
        for i in 0..self.links.len() {
            visit(i, rows, &name(path, i));
            rows = self.shape_after(i, rows);
        }
    }

    /// Values of the rows that come to those links, where none of them changes the rows.
    pub(super) fn values(&self, links: Range<usize>, rows: BatchShape<'_>) -> usize {
        rows.rows().saturating_mul(self.columns[links.end] - self.columns[links.start])
    }

    /// How many of them are kept for the way back.
    pub(super) fn kept(&self, links: Range<usize>, rows: BatchShape<'_>) -> usize {
        rows.rows().saturating_mul(self.kept[links.end] - self.kept[links.start])
    }

    /// What those links save, where all do so row by row.
    pub(super) fn saved(&self, links: Range<usize>, rows: BatchShape<'_>) -> usize {
        rows.rows().saturating_mul(self.saved[links.end] - self.saved[links.start])
    }

    /// How many values link `i` saves, and how many of state it carries.
    fn own(&self, i: usize, rows: BatchShape<'_>, mode: Mode) -> [usize; 2] {
        let link = &self.links[i];
        if link.kept.by_row {
            return [if mode.saves() { self.saved(i..i + 1, rows) } else { 0 }, 0];
        }
        let memory = link.layer.memory(rows, mode);
        [memory.saved, saturating_product(&[memory.state, rows.batch])]
    }

    /// What is kept of the rows between links.
    fn kept_in_all(&self, shape: BatchShape<'_>) -> usize {
        let links = self.links.len();
        match self.changing.is_empty() {
            true => self.kept(links.min(1)..links, shape),
            false => saturating_sum((1..links).map(|i| self.kept(i..i + 1, self.shape_before(i, shape)))),
        }
    }

    /// The rows that link `i` makes of those that come to it.
    fn shape_after<'a>(&self, i: usize, rows: BatchShape<'a>) -> BatchShape<'a> {
        if self.changing.contains(&i) { self.links[i].layer.output_shape(rows) } else { rows }
    }

    /// Whether a pass finds most of its memory far away, and a link whose product takes its time asks for what the next ones need.
    pub(super) fn is_far(&self) -> bool {
        self.starts[self.links.len()].saturating_mul(size_of::<T>()) > FAR
    }

    /// Whether link `i` has a matrix of parameters: a norm has two values a column.
    pub(super) fn multiplies(&self, i: usize) -> bool {
        self.parameters(i).len() > self.width_before(i).saturating_mul(2)
    }

    /// The links after link `i` as far as the next that multiplies, but not far.
    pub(super) fn above(&self, i: usize) -> Range<usize> {
        let all = i + 1..self.links.len().min(i + 1 + REACH);
        all.start..all.clone().find(|&i| self.multiplies(i)).map_or(all.end, |i| i + 1)
    }

    /// The links before link `i` as far as the next that multiplies, but not far.
    pub(super) fn below(&self, i: usize) -> Range<usize> {
        let all = i.saturating_sub(REACH)..i;
        all.clone().rfind(|&i| self.multiplies(i)).unwrap_or(all.start)..i
    }

    /// The largest number of values between two links.
    fn widest(&self, shape: BatchShape<'_>) -> usize {
        if self.changing.is_empty() {
            return shape.rows().saturating_mul(self.widest);
        }
        let between = |i| self.shape_before(i, shape).rows().saturating_mul(self.width_before(i));
        (1..self.links.len()).map(between).max().unwrap_or(0)
    }
}

/// Slices that the links share out among each other.
const SAVED: &str = "`saved` of the layers of a Sequential";
const STATE: &str = "the state of the layers of a Sequential";

/// Links that one link asks for: a norm, an activation, dropout and the next product.
const REACH: usize = 4;

/// Bytes of parameters that no level-2 cache holds beside what comes between them.
const FAR: usize = 4 << 20;

/// The name of part `i`.
fn name(path: &str, i: usize) -> String {
    if path.is_empty() { i.to_string() } else { format!("{path}.{i}") }
}

impl<T: Scalar> Layer<T> for Sequential<T> {
    fn dims(&self) -> Dims {
        Dims::new(self.width_before(0), self.width(), self.starts[self.links.len()])
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        self.shape_before(self.links.len(), shape)
    }

    /// Saved: the rows between links that are read on the way back, and what each link saves. Scratch: two buffers for the
    /// others, what the neediest link needs, and with threads what stretches of links need.
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let (mut all, mut scratch, mut rows) = (MemorySizes::default(), 0, shape);
        for (i, link) in self.links.iter().enumerate() {
            let memory = link.layer.memory(rows, mode);
            rows = self.shape_after(i, rows);
            scratch = scratch.max(memory.scratch);
            all.saved = all.saved.saturating_add(memory.saved);
            all.state = all.state.saturating_add(memory.state);
        }
        if mode.saves() {
            all.saved = all.saved.saturating_add(self.kept_in_all(shape));
        }
        let widest = self.widest(shape);
        all.scratch = saturating_sum([widest, widest, scratch, self.stretch_scratch(shape, mode)]);
        all
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        let mut links = self.links.iter().enumerate();
        links.try_for_each(|(i, link)| link.layer.initialize(&mut w[self.parameters(i)], rng))
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        for (i, link) in self.links.iter().enumerate() {
            let name = i.to_string();
            link.layer.blocks(&mut |block| visit(block.within(&name, self.starts[i])));
        }
    }

    fn places(&self, path: &str, visit: &mut dyn FnMut(String)) {
        for (i, link) in self.links.iter().enumerate() {
            link.layer.places(&name(path, i), visit);
        }
    }

    fn reads(&self) -> Reads {
        // Without links nothing is read.
        let [first, last] = [self.links.first(), self.links.last()].map(|link| link.map(|link| link.kept.reads));
        Reads { input: first.is_some_and(|first| first.input), output: last.is_some_and(|last| last.output) }
    }

    fn saves_by_row(&self) -> bool {
        matches!(&self.links[..], [one] if one.kept.saves_by_row)
    }

    fn samples(&self) -> Samples {
        self.links.iter().fold(Samples::Independent, |samples, link| samples.and(link.kept.samples))
    }

    fn kept(&self) -> Option<Result<Answers, LayerRule>> {
        let (last, one) = (self.links.last(), if let [one] = &self.links[..] { Some(one.kept) } else { None });
        let depth = Answers::above(self.links.iter().map(|link| link.kept.depth).max().unwrap_or(0));
        Some(depth.map(|depth| Answers {
            dims: self.dims(),
            blocks: last.map_or(0, |last| last.first_block + last.kept.blocks),
            places: last.map_or(0, |last| last.first_place + last.kept.places),
            depth,
            reads: self.reads(),
            samples: self.samples(),
            keeps_rows: self.changing.is_empty(),
            skips_zero_rows: false,
            saves_by_row: self.saves_by_row(),
            saved: one.map_or(0, |one| one.saved),
            by_row: one.is_some_and(|one| one.by_row),
            plain: false,
        }))
    }

    fn ask_parts(&self, question: Question<'_>) -> Result<(), Error> {
        let mut rows = question.shape;
        for (i, link) in self.links.iter().enumerate() {
            let path = name(question.path, i);
            question.part(rows, &path).again(&*link.layer, &link.kept)?;
            let after = self.shape_after(i, rows);
            check_output_shape(rows, after).map_err(|rule| rule.at(&path))?;
            rows = after;
        }
        Ok(())
    }

    fn overwrites(&self) -> bool {
        true
    }

    /// The product of the links' bounds: `‖AB‖₂ ≤ ‖A‖₂‖B‖₂`.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        let mut product = Some(Upper::ONE);
        self.gain_bounds(w, shape, "", &mut |_, bound| {
            product = product.zip(bound).map(|(product, bound)| product * Upper::of(bound));
        });
        product.map(Upper::get)
    }

    fn gain_bounds(&self, w: &[T], shape: BatchShape<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<f64>)) {
        self.each(shape, path, |i, rows, name| {
            self.links[i].layer.gain_bounds(&w[self.parameters(i)], rows, name, visit);
        });
    }

    fn state_bounds(&self, w: &[T], shape: BatchShape<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<&[f64]>)) {
        self.each(shape, path, |i, rows, name| {
            self.links[i].layer.state_bounds(&w[self.parameters(i)], rows, name, visit);
        });
    }

    fn spec(&self) -> LayerSpec {
        let layers = self.links.iter().map(|link| link.layer.spec()).collect();
        LayerSpec::Sequential { input: self.width_before(0), layers }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Forward { shape, mode, dropout, x, y, saved, initial_state, final_state, scratch, monitor, at, .. } = pass;
        let (mut initial_state, mut final_state, mut y) = (initial_state, final_state, Some(y));
        if self.links.is_empty() {
            y.unwrap_or_default().copy_from_slice(x);
            return;
        }
        // Rows that are not kept go through two buffers in turn.
        let mut saved = saved;
        let mut between = cut(SAVED, &mut saved, if mode.saves() { self.kept_in_all(shape) } else { 0 });
        let widest = self.widest(shape);
        let (mut input, rest) = scratch.split_at_mut(widest);
        let (mut output, scratch) = rest.split_at_mut(widest);
        let together = mode.saves() && self.has_stretches(shape, mode, scratch.len()) && !monitor.is_active();
        let far = self.is_far();
        let (mut x, mut rows, mut next) = (Some(x), shape, 0);
        while let Some(link) = self.links.get(next) {
            let i = next;
            if together
                && let Some(rows_now) = x
                && let Some(stretch) = self.stretch_up(i, rows)
            {
                next = stretch.links.end;
                let kept = cut(SAVED, &mut between, self.kept(i + 1..next + 1, rows));
                let own = cut(SAVED, &mut saved, self.saved(i..next, rows));
                let pass = Forward { dropout, at, ..Forward::new(rows, mode, rows_now, kept, own, scratch, monitor) };
                self.forward_together(w, &stretch, [&mut *input, &mut *output], pass);
                x = Some(&kept[self.kept(i + 1..next, rows)..]);
                continue;
            }
            next += 1;
            let [saves, states] = self.own(i, rows, mode);
            // Most links leave the rows as they are, and nothing of the shape is to be copied.
            let after = self.changing.contains(&i).then(|| self.change(i, rows));
            let count = after.as_ref().map_or_else(|| rows.rows(), BatchShape::rows);
            let values = count.saturating_mul(self.width_before(next));
            let own = cut(SAVED, &mut saved, saves);
            let last = y.take_if(|_| next == self.links.len());
            let keeps = last.is_none() && mode.saves() && self.kept[next + 1] > self.kept[next];
            let kept = if keeps { Some(cut(SAVED, &mut between, values)) } else { last };
            let came = self.values(i..i + 1, rows);
            let pass = Forward {
                shape: rows,
                mode,
                dropout,
                x: x.unwrap_or(&input[..came.min(input.len())]),
                y: &mut [],
                saved: own,
                initial_state: initial_state.as_mut().map(|state| cut_shared(STATE, state, states)),
                final_state: cut(STATE, &mut final_state, states),
                scratch,
                monitor,
                at: at.part(link.first_place),
            };
            let parameters = &w[self.parameters(i)];
            if far && self.multiplies(i) {
                let above = self.above(i);
                // The rows before each of them but the first, which are where this one writes; the last ones are not between.
                let last = (above.end + 1).min(self.links.len());
                let kept = self.kept((next + 1).min(last)..last, rows);
                let saves = self.saved(above.clone(), rows);
                request([
                    &w[self.starts[above.start]..self.starts[above.end]],
                    &between[..kept.min(between.len())],
                    &saved[..saves.min(saved.len())],
                ]);
            }
            x = match kept {
                Some(kept) => {
                    link.layer.forward(parameters, Forward { y: kept, ..pass });
                    Some(kept)
                }
                None => {
                    link.layer.forward(parameters, Forward { y: &mut output[..values], ..pass });
                    core::mem::swap(&mut input, &mut output);
                    None
                }
            };
            if let Some(after) = after {
                rows = after;
            }
        }
        hold(SAVED, 0, between.len() + saved.len());
        hold(STATE, 0, final_state.len() + initial_state.map_or(0, <[T]>::len));
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        self.down(Parameters::Stay(w), pass);
    }

    fn descend(&self, w: &mut [T], rate: T, pass: Backward<'_, T>) {
        self.down(Parameters::Descend(w, rate), pass);
    }
}

impl<T: Scalar> Sequential<T> {
    fn down(&self, mut w: Parameters<'_, T>, pass: Backward<'_, T>) {
        let Backward { shape, mode, dropout, x, y, saved, mut initial_state, dy, mut d_final_state, .. } = pass;
        let Backward {
            dx: mut d_input, mut d_initial_state, dw, overwrite_dw, trainable, scratch, monitor, at, ..
        } = pass;
        if self.links.is_empty() {
            if let Some(dx) = d_input {
                dx.copy_from_slice(dy);
            }
            return;
        }
        // Below the first link with something to train, nobody asks for a gradient.
        let everything = d_input.is_some() || d_initial_state.is_some();
        let wanted = |link: &Entry<T>| everything || trainable.part(link.first_block).any(link.kept.blocks);
        let Some(first) = self.links.iter().position(wanted) else { return };
        let mut saved = saved;
        let mut between = cut(SAVED, &mut saved, self.kept_in_all(shape));
        let widest = self.widest(shape);
        let (mut came, rest) = scratch.split_at_mut(widest);
        let (mut goes, scratch) = rest.split_at_mut(widest);
        let together = self.has_stretches(shape, mode, scratch.len()) && !monitor.is_active();
        let far = self.is_far();
        let (mut y, mut gone, mut end) = (y, dy.len(), self.links.len());
        while end > first {
            let i = end - 1;
            // Where no link changes the rows, nothing of the shape is to be written and read again.
            let rows = if self.changing.is_empty() { shape } else { self.shape_before(i, shape) };
            if !self.changing.is_empty() {
                check_output_shape(shape, rows)
                    .unwrap_or_else(|rule| panic!("a layer before layer {i} of a Sequential: {rule}"));
            }
            if together && let Some(stretch) = self.stretch_down(first..end, rows) {
                end = stretch.links.start;
                let inner = self.kept(end.max(1)..i + 1, rows);
                let inner = &*cut_end(SAVED, &mut between, inner);
                let own = cut_end(SAVED, &mut saved, self.saved(end..i + 1, rows));
                let (input, inner) = if end == 0 { (x, inner) } else { inner.split_at(self.kept(end..end + 1, rows)) };
                let values = self.values(end..end + 1, rows);
                let dx = match end {
                    0 => d_input.take(),
                    _ if end == first => None,
                    _ => Some(&mut goes[..values]),
                };
                let dw = &mut dw[self.starts[end]..self.starts[i + 1]];
                let pass = Backward::new(rows, mode, input, y, own, &came[..gone], dx, dw, scratch, monitor);
                let pass = Backward { dropout, overwrite_dw, trainable, at, ..pass };
                self.backward_together(&mut w, &stretch, inner, pass);
                (y, gone) = (input, values);
                core::mem::swap(&mut came, &mut goes);
                continue;
            }
            end = i;
            let link = &self.links[i];
            let [saves, states] = self.own(i, rows, mode);
            let kept = cut_end(SAVED, &mut saved, saves);
            // Nobody is told of zeros that the link before would skip; a monitor is.
            let skips = i > first && self.links[i - 1].kept.skips_zero_rows && !monitor.is_active();
            let skipped = if skips { self.zero_rows_of(i, rows) * self.width_before(i) } else { 0 };
            let values = self.values(i..i + 1, rows) - skipped;
            let input = match i {
                0 => x,
                _ => cut_end(SAVED, &mut between, self.kept(i..i + 1, rows)),
            };
            let dx = match i {
                0 => d_input.take(),
                _ if i == first => None,
                _ => Some(&mut goes[..values]),
            };
            let own = self.parameters(i);
            if far && self.multiplies(i) {
                let below = self.below(i);
                let (kept, saves) = (self.kept(below.start.max(1).min(i)..i, rows), self.saved(below.clone(), rows));
                request([
                    &w.read()[self.starts[below.start]..self.starts[i]],
                    &between[between.len() - kept.min(between.len())..],
                    &saved[saved.len() - saves.min(saved.len())..],
                ]);
            }
            let own_dw = match w {
                Parameters::Stay(_) => &mut dw[own.clone()],
                Parameters::Descend(..) => &mut dw[..own.len()],
            };
            w.part(own).down(
                &link.layer,
                Backward {
                    shape: rows,
                    mode,
                    dropout,
                    x: input,
                    y,
                    saved: kept,
                    initial_state: initial_state.as_mut().map(|state| cut_end_shared(STATE, state, states)),
                    dy: if i + 1 == self.links.len() { dy } else { &came[..gone] },
                    d_final_state: d_final_state.as_mut().map(|state| cut_end_shared(STATE, state, states)),
                    dx,
                    d_initial_state: d_initial_state.as_mut().map(|state| cut_end(STATE, state, states)),
                    dw: own_dw,
                    overwrite_dw,
                    trainable: trainable.part(link.first_block),
                    scratch,
                    monitor,
                    at: at.part(link.first_place),
                },
            );
            (y, gone) = (input, values);
            core::mem::swap(&mut came, &mut goes);
        }
        if first == 0 {
            hold(SAVED, 0, between.len() + saved.len());
            hold(STATE, 0, initial_state.map_or(0, <[T]>::len) + d_final_state.map_or(0, <[T]>::len));
        }
    }

    /// The rows that link `i` makes of those that come to it in a pass.
    fn change<'a>(&self, i: usize, rows: BatchShape<'a>) -> BatchShape<'a> {
        let after = self.links[i].layer.output_shape(rows);
        check_output_shape(rows, after).unwrap_or_else(|rule| panic!("layer {i} of a Sequential: {rule}"));
        after
    }

    /// The rows of the gradient that link `i` leaves zero.
    fn zero_rows_of(&self, i: usize, rows: BatchShape<'_>) -> usize {
        let (found, rows) = (self.links[i].layer.zero_rows(rows), rows.rows());
        assert!(found <= rows, "layer {i} of a Sequential: {}", LayerRule::ZeroRows { rows, found });
        found
    }
}
