//! The layers inside a custom layer, and the memory of their passes.

use super::{
    Answers, Backward, BackwardPart, BackwardParts, BackwardState, Dims, Forward, ForwardPart, ForwardParts,
    ForwardState, Layer, MemorySizes, Mode, PartSizes, Structure, StructureKind,
};
use crate::{
    batch_shape::BatchShape,
    error::{Error, require},
    scalar::Scalar,
    size::{saturating_product, saturating_sum},
    slices::{cut, cut_shared},
};
use alloc::{boxed::Box, format};
use core::fmt;

/// The parts of a custom layer: N layers that it runs in its passes. `Parts` divides the slices of a pass among the
/// parts: parameters, saved values, scratch and state, and the indices of blocks and of links (factors of the chain
/// rule).
///
/// A layer made of parts forwards `dims`, `output_shape`, `memory` and `structure` to `Parts`; its own passes
/// contain only the formulas that combine the parts. The layer of this example is a product, `y = f(x) ⊙ g(x)`:
///
/// ```
/// use chainrule::layer::{Backward, Dims, Forward, Layer, Linear, MemorySizes, Mode, Parts, Structure};
/// use chainrule::{BatchShape, Scalar, monitor::Factor};
///
/// #[derive(Debug)]
/// struct Product<T: Scalar>(Parts<T, 2>);
///
/// impl<T: Scalar> Layer<T> for Product<T> {
///     fn dims(&self) -> Dims {
///         self.0.dims()
///     }
///     fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
///         self.0.output_shape(shape)
///     }
///     fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
///         self.0.memory(shape, mode)
///     }
///     fn structure(&self) -> Structure<'_, T> {
///         self.0.structure()
///     }
///     fn forward(&self, w: &[T], pass: Forward<'_, T>) {
///         let (mut pass, [f, g]) = self.0.forward(w, pass);
///         let (f, g) = (f.run(pass.x, &mut pass), g.run(pass.x, &mut pass));
///         pass.y.iter_mut().zip(f.iter().zip(g)).for_each(|(y, (&f, &g))| *y = f * g);
///         pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
///     }
///     fn backward(&self, w: &[T], pass: Backward<'_, T>) {
///         let (mut pass, [f, g]) = self.0.backward(w, pass);
///         let [f_dy, g_dy] = [pass.buffer(f.y.len()), pass.buffer(g.y.len())]; // f_dy = g ⊙ dy, g_dy = f ⊙ dy
///         f_dy.iter_mut().zip(g.y.iter().zip(pass.dy)).for_each(|(f_dy, (&g, &dy))| *f_dy = g * dy);
///         g_dy.iter_mut().zip(f.y.iter().zip(pass.dy)).for_each(|(g_dy, (&f, &dy))| *g_dy = f * dy);
///         let (f_dx, g_dx) = (f.run(pass.x, f_dy, &mut pass), g.run(pass.x, g_dy, &mut pass));
///         let Some(dx) = &mut pass.dx else { return };
///         dx.iter_mut().zip(f_dx.iter().zip(g_dx)).for_each(|(dx, (&f, &g))| *dx = f + g);
///         pass.ctx.report_backward(Factor::Other, pass.dy, dx);
///     }
/// }
///
/// let product = || -> Result<_, chainrule::Error> {
///     let (f, g) = (Linear::new(3, 2), Linear::new(3, 2));
///     Ok(Product(Parts::branches([("f", Box::new(f)), ("g", Box::new(g))])?.equal_widths()?))
/// };
/// let layer: Product<f64> = product()?;
/// assert_eq!(layer.structure().link_names("2"), ["2", "2.f", "2.g"]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// Nothing is allocated in a pass. `chainrule::layer_laws!` tests the formulas.
pub struct Parts<T: Scalar, const N: usize> {
    kind: StructureKind,
    parts: [Part<T>; N],
}

struct Part<T: Scalar> {
    name: &'static str,
    layer: Box<dyn Layer<T>>,
    dims: Dims,
    sizes: PartSizes,
}

/// The name of the parameters `w`, which the layer divides among its parts, in the message of a panic.
const PARAMETERS: &str = "`w` of a layer with parts";
const GRADIENT: &str = "`dw` of a layer with parts";
const SAVED: &str = "`saved` of a layer with parts";
pub(super) const SCRATCH: &str = "`scratch` of a layer with parts";
const STATE: &str = "the state of a layer with parts";

impl<T: Scalar, const N: usize> Parts<T, N> {
    /// Creates the parts of a chain, `y = f_n(… f_1(x))`, each with its name. The first reads the input of the layer,
    /// and the last writes its output; the layer has no link (factor of the chain rule) of its own.
    ///
    /// # Errors
    /// [`Error::Empty`] without parts; [`Error::Parameter`] for a width of 0; [`Error::WidthMismatch`] where the
    /// input width of a part is not the output width of the part before it; [`Error::InvalidLayer`] where a part
    /// breaks a rule.
    pub fn chain(parts: [(&'static str, Box<dyn Layer<T>>); N]) -> Result<Self, Error> {
        Self::new(StructureKind::Chain, parts)
    }

    /// Creates the parts of a layer that combines their outputs, each with its name. The layer reports one link
    /// (factor of the chain rule) of its own. Parts may read the input of the layer, or the outputs of earlier
    /// parts.
    ///
    /// # Errors
    /// [`Error::Empty`] without parts; [`Error::Parameter`] for a width of 0; [`Error::InvalidLayer`] where a part
    /// breaks a rule; [`Error::IncompatibleLayer`] where the number of output time steps of a part differs from that
    /// of the first part.
    pub fn branches(parts: [(&'static str, Box<dyn Layer<T>>); N]) -> Result<Self, Error> {
        Self::new(StructureKind::Branches, parts)
    }

    fn new(kind: StructureKind, parts: [(&'static str, Box<dyn Layer<T>>); N]) -> Result<Self, Error> {
        for (name, layer) in &parts {
            let checked = Answers::of(&**layer).and_then(|kept| Answers::above(kept.depth).map(|_| kept.dims));
            let Dims { input, output, .. } = checked.map_err(|rule| rule.at(name))?;
            require(input > 0 && output > 0, "the width of a part", "at least 1", 0.0)?;
        }
        let parts = parts.map(|(name, layer)| {
            let (dims, sizes) = (layer.dims(), PartSizes::of(&*layer));
            Part { name, layer, dims, sizes }
        });
        let Some(first) = parts.first() else { return Err(Error::Empty { what: "the parts of a layer" }) };
        let probe = BatchShape::sequences(2, 3);
        let rows = first.layer.output_shape(probe);
        if kind == StructureKind::Branches && parts.iter().any(|part| part.layer.output_shape(probe) != rows) {
            return Err(Error::IncompatibleLayer { what: "a layer made of parts", needs: "parts with the same rows" });
        }
        for pair in parts.windows(2).filter(|_| kind == StructureKind::Chain) {
            let (expected, found) = (pair[1].dims.input, pair[0].dims.output);
            if expected != found {
                let (layer, before) = (format!("part {}", pair[1].name), format!("part {} outputs", pair[0].name));
                return Err(Error::WidthMismatch { layer, before, expected, found });
            }
        }
        Ok(Parts { kind, parts })
    }

    /// Refuses parts of different widths: all must read rows of one width, and output rows of one width. A layer that
    /// adds or multiplies outputs needs this.
    ///
    /// # Errors
    /// [`Error::WidthMismatch`], with the part that differs from the first.
    pub fn equal_widths(self) -> Result<Self, Error> {
        let Dims { input, output, .. } = self.parts.first().map_or_else(|| self.dims(), |first| first.dims);
        for part in &self.parts {
            for (word, expected, found) in [("reads", input, part.dims.input), ("outputs", output, part.dims.output)] {
                if expected != found {
                    let (layer, before) = ("the layer of the parts".into(), format!("part {} {word}", part.name));
                    return Err(Error::WidthMismatch { layer, before, expected, found });
                }
            }
        }
        Ok(self)
    }

    /// Returns the input width of the first part, the output width of the last, and the number of all parameters. A
    /// layer with a different output width, such as one that concatenates outputs, must state its own.
    pub fn dims(&self) -> Dims {
        let [input, output] = [self.parts.first(), self.parts.last()].map(|part| part.map(|part| part.dims));
        let parameters = saturating_sum(self.parts.iter().map(|part| part.dims.parameters));
        Dims::new(input.map_or(0, |dims| dims.input), output.map_or(0, |dims| dims.output), parameters)
    }

    /// Returns the structure of the layer: its parts, and its own links (factors of the chain rule). The names of
    /// links, the parameter blocks and the initial values follow from it.
    pub fn structure(&self) -> Structure<'_, T> {
        let whole = if self.kind == StructureKind::Chain { Structure::chain() } else { Structure::branches() };
        self.parts.iter().fold(whole, |whole, part| whole.part(part.name, &*part.layer))
    }

    /// Returns the batch shape of the output of the last part, for an input of `shape` to the layer.
    pub fn output_shape<'s>(&self, shape: BatchShape<'s>) -> BatchShape<'s> {
        self.rows(shape).map(|[_, after]| after).last().unwrap_or(shape)
    }

    /// Returns, for each part in order, the batch shapes of its input and of its output, for an input of `shape` to
    /// the layer.
    fn rows<'s>(&self, shape: BatchShape<'s>) -> impl Iterator<Item = [BatchShape<'s>; 2]> {
        let mut next = shape;
        self.parts.iter().map(move |part| {
            let before = if self.kind == StructureKind::Chain { next } else { shape };
            next = part.layer.output_shape(before);
            [before, next]
        })
    }

    /// Returns the memory of the parts. Saved: the values that they save, and their outputs. Scratch: the largest
    /// scratch of a part and, for each part, the gradients of its input and of its output. [`BackwardParts::buffer`]
    /// gives the memory for the gradients of the outputs.
    pub fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let (mut all, mut scratch) = (MemorySizes::default(), 0);
        for (part, [before, after]) in self.parts.iter().zip(self.rows(shape)) {
            let memory = part.layer.memory(before, mode);
            let [x, y] = part.values(before, after);
            all.saved = saturating_sum([all.saved, memory.saved, if mode.saves() { y } else { 0 }]);
            all.scratch = saturating_sum([all.scratch, x, y]);
            all.state = all.state.saturating_add(memory.state);
            scratch = scratch.max(memory.scratch);
        }
        MemorySizes { scratch: all.scratch.saturating_add(scratch), ..all }
    }

    /// Returns the [gain bounds](Layer::gain_bound) of the parts for the parameters `w` of the layer and an input of
    /// `shape`. `None` if a part has no bound.
    pub fn gain_bounds(&self, w: &[T], shape: BatchShape<'_>) -> Option<[f64; N]> {
        let (mut w, mut bounds) = (w, [0.0; N]);
        for ((bound, part), [before, _]) in bounds.iter_mut().zip(&self.parts).zip(self.rows(shape)) {
            *bound = part.layer.gain_bound(w.split_off(..part.dims.parameters)?, before)?;
        }
        Some(bounds)
    }

    /// Divides a forward pass of the layer, with the parameters `w`, among the parts: returns the arguments that the
    /// layer reads itself or its parts share, and the pass of each part.
    ///
    /// # Panics
    /// If the slices are shorter than [`dims`](Self::dims) and [`memory`](Self::memory) state.
    pub fn forward<'w, 'a>(
        &'w self,
        w: &'w [T],
        pass: Forward<'a, T>,
    ) -> (ForwardParts<'a, T>, [ForwardPart<'w, 'a, T>; N]) {
        let Forward { x, mut y, mut saved, mut scratch, state, ctx } = pass;
        let ForwardState { mut initial_state, mut final_state } = state;
        let (mut w, mut link, mut rows) = (w, self.own_links(), self.rows(ctx.shape));
        let parts = core::array::from_fn(|i| {
            let part = &self.parts[i];
            let [shape, after] = rows.next().unwrap_or([ctx.shape; 2]);
            let memory = part.layer.memory(shape, ctx.mode);
            let states = memory.state.saturating_mul(ctx.shape.batch);
            let own = cut(SAVED, &mut saved, memory.saved);
            let values = part.values(shape, after)[1];
            let kept = match ctx.mode.saves() {
                true => cut(SAVED, &mut saved, values),
                false => cut(SCRATCH, &mut scratch, values),
            };
            let is_output = self.kind == StructureKind::Chain && i + 1 == N;
            let first_link = link;
            link += part.sizes.links;
            ForwardPart {
                layer: &*part.layer,
                w: cut_shared(PARAMETERS, &mut w, part.dims.parameters),
                y: if is_output { core::mem::take(&mut y) } else { kept },
                saved: own,
                state: ForwardState {
                    initial_state: initial_state.as_mut().map(|state| cut_shared(STATE, state, states)),
                    final_state: cut(STATE, &mut final_state, states),
                },
                shape,
                link: first_link,
                is_branch: self.kind != StructureKind::Chain,
            }
        });
        (ForwardParts { x, y, saved, scratch, ctx }, parts)
    }

    /// Divides a backward pass of the layer, with the parameters `w`, among the parts: returns the arguments that the
    /// layer reads itself or its parts share, and the pass of each part.
    ///
    /// # Panics
    /// Under the same conditions as [`forward`](Self::forward).
    pub fn backward<'w, 'a>(
        &'w self,
        w: &'w [T],
        pass: Backward<'a, T>,
    ) -> (BackwardParts<'a, T>, [BackwardPart<'w, 'a, T>; N]) {
        let Backward { x, y, dy, mut dx, mut dw, mut saved, mut scratch, state, overwrite_dw, trainable, ctx } = pass;
        let needs_dx = dx.is_some();
        // Each part adds to its gradient.
        if overwrite_dw {
            dw.fill(T::zero());
        }
        let BackwardState { mut initial_state, mut d_final_state, mut d_initial_state } = state;
        let (mut w, mut link, mut block, mut rows) = (w, self.own_links(), 0, self.rows(ctx.shape));
        let parts = core::array::from_fn(|i| {
            let part = &self.parts[i];
            let [shape, after] = rows.next().unwrap_or([ctx.shape; 2]);
            let memory = part.layer.memory(shape, ctx.mode.saving());
            let states = memory.state.saturating_mul(ctx.shape.batch);
            let [x, values] = part.values(shape, after);
            let own = cut(SAVED, &mut saved, memory.saved);
            let kept = cut(SAVED, &mut saved, values);
            let is_chain = self.kind == StructureKind::Chain;
            let (first_link, first_block) = (link, block);
            (link, block) = (link + part.sizes.links, block + part.sizes.blocks);
            BackwardPart {
                layer: &*part.layer,
                w: cut_shared(PARAMETERS, &mut w, part.dims.parameters),
                y: if is_chain && i + 1 == N { y } else { kept },
                dx: if is_chain && i == 0 { dx.take() } else { Some(cut(SCRATCH, &mut scratch, x)) },
                dw: cut(GRADIENT, &mut dw, part.dims.parameters),
                saved: own,
                state: BackwardState {
                    initial_state: initial_state.as_mut().map(|state| cut_shared(STATE, state, states)),
                    d_final_state: d_final_state.as_mut().map(|state| cut_shared(STATE, state, states)),
                    d_initial_state: d_initial_state.as_mut().map(|state| cut(STATE, state, states)),
                },
                trainable: trainable.part(first_block),
                shape,
                link: first_link,
                is_branch: !is_chain,
            }
        });
        (BackwardParts { x, y, dy, dx, saved, scratch, needs_dx, ctx }, parts)
    }

    /// Returns the number of the layer's own links (factors of the chain rule), which come before those of the parts.
    fn own_links(&self) -> usize {
        usize::from(self.kind != StructureKind::Chain)
    }
}

impl<T: Scalar> Part<T> {
    /// Returns the number of values of the part's input, whose batch shape is `before`, and the number of values of
    /// its output, whose batch shape is `after`.
    fn values(&self, before: BatchShape<'_>, after: BatchShape<'_>) -> [usize; 2] {
        [[before.rows(), self.dims.input], [after.rows(), self.dims.output]].map(|size| saturating_product(&size))
    }
}

/// Formats the parts as a map from the name of each part to its layer.
impl<T: Scalar, const N: usize> fmt::Debug for Parts<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.parts.iter().map(|part| (part.name, &part.layer))).finish()
    }
}
