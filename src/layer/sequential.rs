//! Layers one after the other, run without recursion.

use super::{Backward, Dims, Forward, Layer, Mode, Needs, Node, Rows};
use crate::{
    block::Block,
    error::{Error, require},
    extent::Extent,
    scalar::Scalar,
    theory::Upper,
};
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
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
    input: usize,
    links: Vec<Entry<T>>,
    /// The links that change the rows, which are few.
    changing: Vec<usize>,
}

#[derive(Debug)]
struct Entry<T> {
    layer: Box<dyn Layer<T>>,
    dims: Dims,
    parameters: Range<usize>,
    first_block: usize,
    blocks: usize,
    first_place: usize,
    places: usize,
}

impl<T: Scalar> Sequential<T> {
    /// An empty network for rows of `input` values.
    pub fn new(input: usize) -> Self {
        Sequential { input, links: Vec::new(), changing: Vec::new() }
    }

    /// Adds a layer at the end.
    ///
    /// # Errors
    /// [`Error::WidthMismatch`] where it does not take what comes; [`Error::Parameter`] for a width of 0.
    pub fn push(&mut self, layer: impl Layer<T> + 'static) -> Result<(), Error> {
        self.push_boxed(Box::new(layer))
    }

    /// Adds a layer behind a pointer at the end.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub fn push_boxed(&mut self, layer: Box<dyn Layer<T>>) -> Result<(), Error> {
        let (dims, width) = (layer.dims(), self.width());
        if dims.input != width {
            let layer = self.links.len().to_string();
            return Err(Error::WidthMismatch { layer, expected: dims.input, found: width });
        }
        require(dims.input > 0 && dims.output > 0, "the width of a layer", "at least 1", 0.0)?;
        let (mut blocks, mut places) = (0, 0);
        layer.blocks(&mut |_| blocks += 1);
        layer.places("", &mut |_| places += 1);
        let last = self.links.last();
        let start = last.map_or(0, |last| last.parameters.end);
        let entry = Entry {
            dims,
            parameters: start..start + dims.parameters,
            first_block: last.map_or(0, |last| last.first_block + last.blocks),
            blocks,
            first_place: last.map_or(0, |last| last.first_place + last.places),
            places,
            layer,
        };
        let probe = Extent::sequences(2, 3);
        if entry.layer.extent(probe) != probe {
            self.changing.push(self.links.len());
        }
        self.links.push(entry);
        Ok(())
    }

    /// Adds all layers of `other` at the end.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub fn append(&mut self, other: Self) -> Result<(), Error> {
        other.links.into_iter().try_for_each(|link| self.push_boxed(link.layer))
    }

    /// The width of the rows that come out so far.
    pub fn width(&self) -> usize {
        self.links.last().map_or(self.input, |last| last.dims.output)
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
    fn extent_before<'a>(&self, i: usize, extent: Extent<'a>) -> Extent<'a> {
        let before = self.changing.iter().take_while(|&&changing| changing < i);
        before.fold(extent, |extent, &changing| self.links[changing].layer.extent(extent))
    }

    /// Visits the links in order, each with the rows that come to it and its name.
    fn each<'a>(&self, extent: Extent<'a>, path: &str, mut visit: impl FnMut(&Entry<T>, Extent<'a>, &str)) {
        let mut rows = extent;
        for (i, link) in self.links.iter().enumerate() {
            visit(link, rows, &name(path, i));
            rows = link.layer.extent(rows);
        }
    }

    /// Values between link `i` and the next.
    fn between(&self, i: usize, extent: Extent<'_>) -> usize {
        self.extent_before(i + 1, extent).rows() * self.links[i].dims.output
    }

    /// The largest number of values between two links.
    fn widest(&self, extent: Extent<'_>) -> usize {
        (0..self.links.len().saturating_sub(1)).map(|i| self.between(i, extent)).max().unwrap_or(0)
    }
}

/// The name of part `i`.
fn name(path: &str, i: usize) -> String {
    if path.is_empty() { i.to_string() } else { format!("{path}.{i}") }
}

impl<T: Scalar> Layer<T> for Sequential<T> {
    fn dims(&self) -> Dims {
        Dims::new(self.input, self.width(), self.links.last().map_or(0, |last| last.parameters.end))
    }

    fn extent<'a>(&self, extent: Extent<'a>) -> Extent<'a> {
        self.extent_before(self.links.len(), extent)
    }

    /// Saved: what each link saves and the rows between links. Scratch: two buffers for those rows, and
    /// what the neediest link needs.
    fn needs(&self, extent: Extent<'_>, mode: Mode) -> Needs {
        let (mut all, mut scratch, mut rows) = (Needs::default(), 0, extent);
        for (i, link) in self.links.iter().enumerate() {
            let needs = link.layer.needs(rows, mode);
            rows = link.layer.extent(rows);
            scratch = scratch.max(needs.scratch);
            all.saved += needs.saved;
            all.carried += needs.carried;
            if mode.saves() && i + 1 < self.links.len() {
                all.saved += rows.rows() * link.dims.output;
            }
        }
        all.scratch = 2 * self.widest(extent) + scratch;
        all
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        self.links.iter().try_for_each(|link| link.layer.initialize(&mut w[link.parameters.clone()], rng))
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        for (i, link) in self.links.iter().enumerate() {
            let name = i.to_string();
            link.layer.blocks(&mut |block| visit(block.within(&name, link.parameters.start)));
        }
    }

    fn places(&self, path: &str, visit: &mut dyn FnMut(String)) {
        for (i, link) in self.links.iter().enumerate() {
            link.layer.places(&name(path, i), visit);
        }
    }

    fn rows(&self) -> Rows {
        self.links.iter().fold(Rows::Independent, |rows, link| rows.and(link.layer.rows()))
    }

    fn overwrites(&self) -> bool {
        true
    }

    /// The product of the links' bounds: `‖AB‖₂ ≤ ‖A‖₂‖B‖₂`.
    fn gain_bound(&self, w: &[T], extent: Extent<'_>) -> Option<f64> {
        let mut product = Some(Upper::ONE);
        self.gain_bounds(w, extent, "", &mut |_, bound| {
            product = product.zip(bound).map(|(product, bound)| product * Upper::of(bound));
        });
        product.map(Upper::get)
    }

    fn gain_bounds(&self, w: &[T], extent: Extent<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<f64>)) {
        self.each(extent, path, |link, rows, name| {
            link.layer.gain_bounds(&w[link.parameters.clone()], rows, name, visit);
        });
    }

    fn state_bounds(&self, w: &[T], extent: Extent<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<&[f64]>)) {
        self.each(extent, path, |link, rows, name| {
            link.layer.state_bounds(&w[link.parameters.clone()], rows, name, visit);
        });
    }

    fn describe(&self) -> Node {
        Node::Sequential { input: self.input, layers: self.links.iter().map(|link| link.layer.describe()).collect() }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Forward { extent, mode, noise, x, y, saved, carried_in, carried_out, scratch, monitor, at, .. } = pass;
        let (mut saved, mut carried_in, mut carried_out, mut y) = (saved, carried_in, carried_out, Some(y));
        if self.links.is_empty() {
            y.unwrap_or_default().copy_from_slice(x);
            return;
        }
        // Without saving, the rows between links go through two buffers in turn.
        let widest = if mode.saves() { 0 } else { self.widest(extent) };
        let (mut input, rest) = scratch.split_at_mut(widest);
        let (mut output, scratch) = rest.split_at_mut(widest);
        let (mut x, mut rows) = (Some(x), extent);
        for (i, link) in self.links.iter().enumerate() {
            let needs = link.layer.needs(rows, mode);
            let (states, values) = (needs.carried * rows.batch, self.between(i, extent));
            let own = saved.split_off_mut(..needs.saved).unwrap_or_default();
            let last = y.take_if(|_| i + 1 == self.links.len());
            let kept = if last.is_none() && mode.saves() { saved.split_off_mut(..values) } else { last };
            let came = rows.rows() * link.dims.input;
            let pass = Forward {
                extent: rows,
                mode,
                noise,
                x: x.unwrap_or(&input[..came.min(input.len())]),
                y: &mut [],
                saved: own,
                carried_in: carried_in.as_mut().and_then(|state| state.split_off(..states)),
                carried_out: carried_out.split_off_mut(..states).unwrap_or_default(),
                scratch,
                monitor,
                at: at.part(link.first_place),
            };
            let parameters = &w[link.parameters.clone()];
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
            rows = link.layer.extent(rows);
        }
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { extent, mode, noise, x, y, mut saved, mut carried_in, dy, mut d_carried_out, .. } = pass;
        let Backward { dx: mut d_input, mut d_carried_in, dw, fresh, trained, scratch, monitor, at, .. } = pass;
        if self.links.is_empty() {
            if let Some(dx) = d_input {
                dx.copy_from_slice(dy);
            }
            return;
        }
        // Below the first link with something to train, nobody asks for a gradient.
        let everything = d_input.is_some() || d_carried_in.is_some();
        let wanted = |link: &Entry<T>| everything || trained.part(link.first_block).any(link.blocks);
        let Some(first) = self.links.iter().position(wanted) else { return };
        let widest = self.widest(extent);
        let (mut came, rest) = scratch.split_at_mut(widest);
        let (mut goes, scratch) = rest.split_at_mut(widest);
        let mut y = y;
        for (i, link) in self.links.iter().enumerate().skip(first).rev() {
            let rows = self.extent_before(i, extent);
            let needs = link.layer.needs(rows, mode);
            let states = needs.carried * rows.batch;
            let own = saved.split_off_mut(saved.len() - needs.saved..).unwrap_or_default();
            let values = rows.rows() * link.dims.input;
            let input = if i == 0 { x } else { saved.split_off_mut(saved.len() - values..).unwrap_or_default() };
            let dx = match i {
                0 => d_input.take(),
                _ if i == first => None,
                _ => Some(&mut goes[..values]),
            };
            let dw = &mut dw[link.parameters.clone()];
            let overwrites = link.layer.overwrites();
            if fresh && !overwrites {
                dw.fill(T::zero());
            }
            link.layer.backward(
                &w[link.parameters.clone()],
                Backward {
                    extent: rows,
                    mode,
                    noise,
                    x: input,
                    y,
                    saved: own,
                    carried_in: carried_in.as_mut().and_then(|state| state.split_off(state.len() - states..)),
                    dy: if i + 1 == self.links.len() { dy } else { &came[..y.len()] },
                    d_carried_out: d_carried_out.as_mut().and_then(|state| state.split_off(state.len() - states..)),
                    dx,
                    d_carried_in: d_carried_in.as_mut().and_then(|state| state.split_off_mut(state.len() - states..)),
                    dw,
                    fresh: fresh && overwrites,
                    trained: trained.part(link.first_block),
                    scratch,
                    monitor,
                    at: at.part(link.first_place),
                },
            );
            y = input;
            core::mem::swap(&mut came, &mut goes);
        }
    }
}
