//! Parallel branches, concatenated or summed.

use super::{
    AddsByShard, Answers, Backward, BackwardState, Dims, Forward, ForwardState, Hints, Layer, LayerSpec, MemorySizes,
    Mode, Parameters, PassLengths, Recorded, Structure, check::check_output_shape,
};
use crate::{
    batch_shape::BatchShape,
    error::{Error, LayerRule, require},
    kernel::elementwise::update,
    linalg::Upper,
    monitor::Factor,
    scalar::Scalar,
    size::{saturating_product, saturating_sum},
    slices::{cut, cut_shared, hold},
};
use alloc::{boxed::Box, format, string::ToString, vec::Vec};

/// How [`Parallel`] combines the outputs of its branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Merge {
    /// `y = (f_1(x), …, f_n(x))`: for each row, the outputs of the branches f_i one after the other.
    Concatenate,
    /// `y = Σ_i f_i(x)`: the sum of the outputs of the branches f_i.
    Sum,
}

/// Layers that read the same input, their outputs concatenated or summed.
///
/// Backward: `dx = Σ_i f_i′ᵀ dy_i`, with dy_i the columns of branch i in dy, or dy itself for a sum. Branch i of a
/// parallel layer at path `2` has the path `2.i`. For a skip connection beside one branch, use
/// [`Residual`](super::Residual).
///
/// ```
/// use chainrule::layer::{Merge, Sequential};
/// let network = Sequential::<f32>::input(8)
///     .parallel(Merge::Concatenate, |all| all.branch(|b| b.linear(3).tanh()).branch(|b| b.linear(5)))
///     .build()?;
/// assert_eq!(network.width(), 3 + 5);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x: \[rows, input\]; y: \[rows, Σ outputs\], or \[rows, output\] for a sum; blocks and state: those of the branches,
/// in order.
pub struct Parallel<T> {
    branches: Vec<Branch<T>>,
    merge: Merge,
}

struct Branch<T> {
    layer: Box<dyn Layer<T>>,
    /// The results of the branch's descriptive methods, such as [`Layer::hints`], cached when the layer was made.
    kept: Answers,
    first_parameter: usize,
    first_block: usize,
    first_link: usize,
}

/// The name of the saved values, which the branches share, in the message of a panic.
const SAVED: &str = "`saved` of Parallel";
/// The name of the scratch, which the branches share, in the message of a panic.
const SCRATCH: &str = "`scratch` of Parallel";
/// The name of the state, which the branches share, in the message of a panic.
const STATE: &str = "the state of Parallel";

impl<T: Scalar> Parallel<T> {
    /// Creates a layer with the parallel `branches`, whose outputs are combined as `merge` states.
    ///
    /// # Errors
    /// [`Error::Empty`] without branches; [`Error::WidthMismatch`], with the branch, where the input width of a
    /// branch differs from that of the first, or for a sum its output width; [`Error::Parameter`] for a width of 0.
    /// [`Error::IncompatibleLayer`] where a branch outputs a number of time steps different from that of the first.
    /// [`Error::InvalidLayer`] where a branch breaks a rule, or is nested more than [`MAX_DEPTH`](super::MAX_DEPTH)
    /// deep.
    pub fn new(merge: Merge, branches: Vec<Box<dyn Layer<T>>>) -> Result<Self, Error> {
        let mut all = Parallel { branches: Vec::new(), merge };
        let (mut parameter, mut block, mut link) = (0usize, 0, OWN_LINKS);
        for (i, layer) in branches.into_iter().enumerate() {
            let checked = Answers::of(&*layer).and_then(|kept| Answers::above(kept.depth).map(|_| kept));
            let kept = checked.map_err(|rule| rule.at(&i.to_string()))?;
            let Dims { input, output, parameters } = kept.dims;
            require(input > 0 && output > 0, "the width of a branch", "at least 1", 0.0)?;
            if let Some(first) = all.branches.first() {
                let Dims { input: before, output: beside, .. } = first.kept.dims;
                if input != before {
                    let (layer, source) = (format!("branch {i}"), "branch 0 reads".into());
                    return Err(Error::WidthMismatch { layer, before: source, expected: input, found: before });
                }
                if merge == Merge::Sum && output != beside {
                    let (layer, source) = ("the sum of the branches".into(), format!("branch {i} outputs"));
                    return Err(Error::WidthMismatch { layer, before: source, expected: beside, found: output });
                }
                let probe = BatchShape::sequences(2, 3);
                let same = layer.output_shape(probe) == first.layer.output_shape(probe);
                if !same || kept.keeps_rows != first.kept.keeps_rows {
                    return Err(Error::IncompatibleLayer {
                        what: "a parallel layer",
                        needs: "branches that give the same rows",
                    });
                }
            }
            all.branches.push(Branch { layer, kept, first_parameter: parameter, first_block: block, first_link: link });
            parameter = parameter.saturating_add(parameters);
            (block, link) = (block + kept.blocks, link + kept.links);
        }
        if all.branches.is_empty() { Err(Error::Empty { what: "the branches of a parallel layer" }) } else { Ok(all) }
    }

    /// Returns the columns of y that each branch writes, in the order of the branches.
    fn columns(&self) -> impl Iterator<Item = core::ops::Range<usize>> + '_ {
        let mut end = 0usize;
        self.branches.iter().map(move |branch| match self.merge {
            Merge::Concatenate => {
                let start = end;
                end = end.saturating_add(branch.kept.dims.output);
                start..end
            }
            Merge::Sum => 0..branch.kept.dims.output,
        })
    }

    /// Returns the number of values of the largest output of a branch for `rows` rows.
    fn widest(&self, rows: usize) -> usize {
        rows.saturating_mul(self.branches.iter().map(|branch| branch.kept.dims.output).max().unwrap_or(0))
    }

    /// Returns the results of the layer's descriptive methods, such as [`Layer::hints`], from those of its branches.
    /// Refuses a layer that is nested too deep.
    fn answers(&self) -> Result<Answers, LayerRule> {
        Answers::of_parts(self.dims(), self.hints(), [0, OWN_LINKS], self.branches.iter().map(|branch| branch.kept))
    }

    /// Returns the lengths that the slices of a pass through the layer must have, for an input of `shape` and an output
    /// of the shape `after`.
    fn lengths(&self, shape: &BatchShape<'_>, after: &BatchShape<'_>) -> PassLengths {
        PassLengths::new("Parallel", self.dims(), shape, after)
    }

    /// Panics unless `after` is a valid output shape of a pass over `shape`, and the output shape of every branch.
    fn check_rows(&self, shape: BatchShape<'_>, after: BatchShape<'_>) {
        check_output_shape(shape, after).unwrap_or_else(|rule| panic!("a branch of Parallel: {rule}"));
        let mut changing = self.branches.iter().filter(|branch| !branch.kept.keeps_rows);
        let same = changing.all(|branch| branch.layer.output_shape(shape) == after);
        assert!(same, "the branches of Parallel must give the same rows in every pass");
    }
}

/// The number of links (factors of the chain rule) of the layer itself, which come before those of the branches.
const OWN_LINKS: usize = 1;

impl<T: Scalar> Branch<T> {
    /// Returns the number of values of the branch's output for `rows` rows, or 0 if the backward pass does not read the
    /// output.
    fn kept_output(&self, rows: usize) -> usize {
        if self.kept.hints.ignores_y { 0 } else { rows.saturating_mul(self.kept.dims.output) }
    }

    fn parameters(&self) -> core::ops::Range<usize> {
        self.first_parameter..self.first_parameter.saturating_add(self.kept.dims.parameters)
    }
}

impl<T: Scalar> Layer<T> for Parallel<T> {
    crate::layer::own_box!(Parallel);

    fn dims(&self) -> Dims {
        let input = self.branches.first().map_or(0, |branch| branch.kept.dims.input);
        let output = self.columns().map(|columns| columns.end).max().unwrap_or(0);
        Dims::new(input, output, saturating_sum(self.branches.iter().map(|branch| branch.kept.dims.parameters)))
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        match self.branches.first() {
            Some(first) if !first.kept.keeps_rows => first.layer.output_shape(shape),
            _ => shape,
        }
    }

    /// Saved: the saved values of all branches, and the outputs that they read in the backward pass. Scratch: the
    /// largest scratch of a branch, one output or its gradient, and one gradient of the input.
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let rows = self.output_shape(shape).rows();
        let (mut all, mut scratch) = (MemorySizes::default(), 0);
        for branch in &self.branches {
            let memory = branch.layer.memory(shape, mode);
            let kept = if mode.saves() { branch.kept_output(rows) } else { 0 };
            all.saved = saturating_sum([all.saved, memory.saved, kept]);
            all.state = all.state.saturating_add(memory.state);
            scratch = scratch.max(memory.scratch);
        }
        let input = saturating_product(&[shape.rows(), self.dims().input]);
        all.scratch = saturating_sum([scratch, self.widest(rows), input]);
        all
    }

    fn hints(&self) -> Hints {
        let ignores_x = self.branches.iter().all(|branch| branch.kept.hints.ignores_x);
        Hints { ignores_x, ..Hints::NONE.ignores_y().overwrites_dw() }
    }

    fn structure(&self) -> Structure<'_, T> {
        let whole = Structure::branches().recorded(Recorded::Checked(self.answers()));
        let branches = self.branches.iter().enumerate();
        branches.fold(whole, |whole, (i, branch)| whole.kept_part(i.to_string(), &*branch.layer, branch.kept))
    }

    /// Returns, for bounds b_i on the 2-norms of the Jacobians of the branches, `√Σ b_i²` if their outputs are
    /// concatenated, or `Σ b_i` for a sum. `None` if a branch has no bound, or `w` is too short.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        let mut total = Upper::ZERO;
        for branch in &self.branches {
            let bound = Upper::of(branch.layer.gain_bound(w.get(branch.parameters())?, shape)?);
            total = total + if self.merge == Merge::Sum { bound } else { bound * bound };
        }
        Some(if self.merge == Merge::Sum { total } else { total.sqrt() }.get())
    }

    fn adds_by_shard(&self, shape: BatchShape<'_>) -> AddsByShard {
        AddsByShard(self.branches.iter().all(|branch| branch.layer.adds_by_shard(shape).0))
    }

    fn spec(&self) -> LayerSpec {
        let branches = self.branches.iter().map(|branch| branch.layer.spec()).collect();
        LayerSpec::Parallel { branches, merge: self.merge }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let (shape, mode) = (pass.ctx.shape, pass.ctx.mode);
        let after = self.output_shape(shape);
        self.lengths(&shape, &after).forward(w, &pass);
        self.check_rows(shape, after);
        let Forward { x, y, mut saved, mut scratch, state, mut ctx } = pass;
        let ForwardState { mut initial_state, mut final_state } = state;
        let (rows, width) = (after.rows(), self.dims().output);
        let output = cut(SCRATCH, &mut scratch, self.widest(rows));
        for (i, (branch, columns)) in self.branches.iter().zip(self.columns()).enumerate() {
            let memory = branch.layer.memory(shape, mode);
            let states = memory.state.saturating_mul(shape.batch);
            let own = cut(SAVED, &mut saved, memory.saved);
            let kept = cut(SAVED, &mut saved, if mode.saves() { branch.kept_output(rows) } else { 0 });
            let f = if kept.is_empty() { &mut output[..rows * branch.kept.dims.output] } else { kept };
            branch.layer.forward(
                &w[branch.parameters()],
                Forward {
                    x,
                    y: f,
                    saved: own,
                    scratch,
                    state: ForwardState {
                        initial_state: initial_state.as_mut().map(|state| cut_shared(STATE, state, states)),
                        final_state: cut(STATE, &mut final_state, states),
                    },
                    ctx: ctx.branch(branch.first_link),
                },
            );
            match self.merge {
                Merge::Sum if i > 0 => update(y, f, |y, f| y + f),
                _ => {
                    for (y, f) in y.chunks_mut(width).zip(f.chunks(columns.len())) {
                        y[columns.clone()].copy_from_slice(f);
                    }
                }
            }
        }
        hold(SAVED, 0, saved.len());
        hold(STATE, 0, final_state.len() + initial_state.map_or(0, <[T]>::len));
        ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let (shape, mode) = (pass.ctx.shape, pass.ctx.mode.saving());
        let after = self.output_shape(shape);
        self.lengths(&shape, &after).backward(|| self.hints(), w, &pass);
        self.check_rows(shape, after);
        let Backward { x, dy, mut dx, dw, mut saved, mut scratch, state, overwrite_dw, trainable, mut ctx, .. } = pass;
        let BackwardState { mut initial_state, mut d_final_state, mut d_initial_state } = state;
        let (rows, Dims { input, output: width, .. }) = (after.rows(), self.dims());
        let own_dy = cut(SCRATCH, &mut scratch, self.widest(rows));
        let own_dx = cut(SCRATCH, &mut scratch, shape.rows().saturating_mul(input));
        for (i, (branch, columns)) in self.branches.iter().zip(self.columns()).enumerate() {
            let memory = branch.layer.memory(shape, mode);
            let states = memory.state.saturating_mul(shape.batch);
            let own = cut(SAVED, &mut saved, memory.saved);
            let f = &*cut(SAVED, &mut saved, branch.kept_output(rows));
            let dy = match self.merge {
                Merge::Sum => dy,
                Merge::Concatenate => {
                    let own_dy = &mut own_dy[..rows * columns.len()];
                    for (own, dy) in own_dy.chunks_mut(columns.len()).zip(dy.chunks(width)) {
                        own.copy_from_slice(&dy[columns.clone()]);
                    }
                    own_dy
                }
            };
            Parameters::Stay(&w[branch.parameters()]).backward(
                &*branch.layer,
                Backward {
                    x,
                    y: f,
                    dy,
                    dx: dx.is_some().then_some(&mut *own_dx),
                    dw: &mut dw[branch.parameters()],
                    saved: own,
                    scratch,
                    state: BackwardState {
                        initial_state: initial_state.as_mut().map(|state| cut_shared(STATE, state, states)),
                        d_final_state: d_final_state.as_mut().map(|state| cut_shared(STATE, state, states)),
                        d_initial_state: d_initial_state.as_mut().map(|state| cut(STATE, state, states)),
                    },
                    overwrite_dw,
                    trainable: trainable.part(branch.first_block),
                    ctx: ctx.branch(branch.first_link),
                },
            );
            match dx.as_deref_mut() {
                Some(dx) if i == 0 => dx.copy_from_slice(own_dx),
                Some(dx) => update(dx, own_dx, |dx, own| dx + own),
                None => {}
            }
        }
        hold(SAVED, 0, saved.len());
        hold(STATE, 0, initial_state.map_or(0, <[T]>::len) + d_final_state.map_or(0, <[T]>::len));
        hold(STATE, 0, d_initial_state.map_or(0, |state| state.len()));
        if let Some(dx) = dx {
            ctx.report_backward(Factor::Other, dy, dx);
        }
    }
}
