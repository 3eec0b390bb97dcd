//! A branch beside a skip connection. The backward pass adds the gradients of the two paths.

use super::{
    AddsByShard, Answers, Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode, Parameters, PassLengths,
    Recorded, Structure,
};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Role},
    error::{Error, LayerRule, require},
    kernel::{
        elementwise::{map, map2, update},
        sums::sum_of,
    },
    linalg::Upper,
    monitor::Factor,
    scalar::{Scalar, scalar, to_f64},
    slices::{cut, cut_end},
};
use alloc::boxed::Box;
use rand_core::Rng;

/// The factor s on the branch f of a residual layer `y = x + s · f(x)`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BranchScale {
    /// A constant. `1/√L` bounds the growth of the signal over L residual ReLU layers (Hayou et al. 2021).
    Fixed(#[cfg_attr(feature = "serde", serde(with = "crate::number"))] f64),
    /// A parameter with this initial value. 0 is ReZero (Bachlechner et al. 2021).
    Learned(#[cfg_attr(feature = "serde", serde(with = "crate::number"))] f64),
}

/// A branch beside a skip connection: `y = x + s · f(x)`.
///
/// Backward: `dx = dy + f′ᵀ(s · dy)`, `ds = ⟨dy, f(x)⟩`.
///
/// ```
/// use chainrule::layer::{BranchScale, Linear, Residual, Sequential};
/// let network = Sequential::<f32>::input(8).residual(|branch| branch.linear(8).relu().linear(8)).build()?;
/// let rezero = Residual::<f32>::new(Linear::new(8, 8))?.scale(BranchScale::Learned(0.0))?;
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x, y: \[rows, width\]; block `scale` \[1, 1\] if the scale is learned, then the blocks of the branch.
pub struct Residual<T> {
    branch: Box<dyn Layer<T>>,
    /// The results of the branch's descriptive methods, such as [`Layer::hints`], cached when the layer was made.
    kept: Answers,
    scale: BranchScale,
}

/// The name of the saved values, which branch and residual share, in the message of a panic.
const SAVED: &str = "`saved` of Residual";
/// The name of the scratch, which branch and residual share, in the message of a panic.
const SCRATCH: &str = "`scratch` of Residual";

/// The index, within the layer, of the link (factor of the chain rule) of the branch scale. Link 0 is the addition.
const SCALE_LINK: usize = 1;
/// The index, within the layer, of the first link (factor of the chain rule) of the branch.
const BRANCH_LINK: usize = 2;

impl<T: Scalar> Residual<T> {
    /// Creates the layer `y = x + f(x)` with `branch` as f.
    ///
    /// # Errors
    /// [`Error::WidthMismatch`] where the input and output widths of the branch differ; [`Error::IncompatibleLayer`]
    /// where the branch changes the number of time steps. [`Error::InvalidLayer`] where the branch breaks a rule, or
    /// is nested more than [`MAX_DEPTH`](super::MAX_DEPTH) deep.
    pub fn new(branch: impl Layer<T> + 'static) -> Result<Self, Error> {
        Self::around(branch.boxed())
    }

    pub(crate) fn around(branch: Box<dyn Layer<T>>) -> Result<Self, Error> {
        let checked = Answers::of(&*branch).and_then(|kept| Answers::above(kept.depth).map(|_| kept));
        let kept = checked.map_err(|rule| rule.at("branch"))?;
        let Dims { input, output, .. } = kept.dims;
        if input != output {
            return Err(Error::WidthMismatch {
                layer: "the skip of a residual".into(),
                before: "the branch of a residual outputs".into(),
                expected: input,
                found: output,
            });
        }
        if !kept.keeps_rows {
            return Err(Error::IncompatibleLayer { what: "a residual", needs: "a branch that keeps the steps" });
        }
        Ok(Residual { branch, kept, scale: BranchScale::Fixed(1.0) })
    }

    /// Sets the factor s on the branch in `y = x + s · f(x)`. The default is a constant 1.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the factor is not finite in the number format.
    pub fn scale(self, scale: BranchScale) -> Result<Self, Error> {
        let (BranchScale::Fixed(value) | BranchScale::Learned(value)) = scale;
        let finite = scalar::<T>(value).is_finite();
        require(finite, "the scale of a residual branch", "finite in the number format", value)?;
        Ok(Residual { scale, ..self })
    }

    /// Returns the number of parameters, and of blocks, of the scale: 1 if it is learned, otherwise 0.
    fn own(&self) -> usize {
        matches!(self.scale, BranchScale::Learned(_)) as usize
    }

    fn factor(&self, w: &[T]) -> T {
        match self.scale {
            BranchScale::Fixed(value) => scalar(value),
            BranchScale::Learned(_) => w[0],
        }
    }

    /// Returns `1 + |s| b`, an upper bound on the 2-norm of the Jacobian of the residual, given the bound `branch` = b
    /// of its branch. The scale s is fixed, or the first of the parameters `w`.
    fn bound(&self, w: &[T], branch: f64) -> f64 {
        (Upper::ONE + Upper::of(to_f64(self.factor(w))) * Upper::of(branch)).get()
    }

    fn values(&self, shape: BatchShape<'_>) -> usize {
        shape.rows().saturating_mul(self.kept.dims.input)
    }

    /// The lengths that the slices of a pass through the residual must have, for a batch of `shape`.
    fn lengths(&self, shape: &BatchShape<'_>) -> PassLengths {
        PassLengths::new("Residual", self.dims(), shape, shape)
    }
}

impl<T: Scalar> Residual<T> {
    /// Returns the results of the residual's descriptive methods, such as [`Layer::hints`], from those of its branch.
    /// Refuses a residual that is nested too deep.
    fn answers(&self) -> Result<Answers, LayerRule> {
        let own = [self.own(), BRANCH_LINK];
        Answers::of_parts(self.dims(), self.hints(), own, core::iter::once(self.kept))
    }
}

impl<T: Scalar> Layer<T> for Residual<T> {
    crate::layer::own_box!(Residual);

    fn dims(&self) -> Dims {
        let Dims { input, output, parameters } = self.kept.dims;
        Dims::new(input, output, parameters.saturating_add(self.own()))
    }

    /// Saved: the saved values and the output of the branch. Scratch: the scratch of the branch, and two buffers of the
    /// size of its output. One holds the gradient times the scale; the other, for a monitor, holds the branch's
    /// gradient of the input, before the gradient of the skip connection is added.
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let (branch, values) = (self.branch.memory(shape, mode), self.values(shape));
        let saved = if mode.saves() { branch.saved.saturating_add(values) } else { 0 };
        MemorySizes::new(saved, branch.scratch.saturating_add(values.saturating_mul(2)), branch.state)
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        let (scale, branch) = w.split_at_mut(self.own());
        if let BranchScale::Learned(value) = self.scale {
            scale.fill(scalar(value));
        }
        self.branch.initialize(branch, rng)
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        if self.own() > 0 {
            visit(Block::new("scale", 0, [1, 1], Role::Gain));
        }
        self.structure().blocks(visit);
    }

    fn hints(&self) -> Hints {
        Hints { ignores_x: self.kept.hints.ignores_x, ignores_y: true, overwrites_dw: true, ..Hints::NONE }
    }

    fn structure(&self) -> Structure<'_, T> {
        let whole = Structure::branches().links(&["", "scale"]).own_parameters(self.own());
        whole.recorded(Recorded::Checked(self.answers())).kept_part("branch", &*self.branch, self.kept)
    }

    /// Returns `1 + |s| b`, with s the scale and b the bound on `‖∂f/∂x‖₂` of the branch: the Jacobian is
    /// `I + s ∂f/∂x`. `None` if the branch has no bound, or `w` is too short.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        Some(self.bound(w, self.branch.gain_bound(w.get(self.own()..)?, shape)?))
    }

    fn adds_by_shard(&self, shape: BatchShape<'_>) -> AddsByShard {
        AddsByShard((self.own() == 0 || shape.steps == 1) && self.branch.adds_by_shard(shape).0)
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::Residual { branch: Box::new(self.branch.spec()), scale: self.scale }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        self.lengths(&pass.ctx.shape).forward(w, &pass);
        let Forward { x, y, saved, mut scratch, state, mut ctx } = pass;
        let (values, saves) = (y.len(), ctx.mode.saves());
        let spare = cut(SCRATCH, &mut scratch, 2 * values);
        let mut own = saved;
        let kept = cut_end(SAVED, &mut own, if saves { values } else { 0 });
        let f = if saves { kept } else { &mut spare[..values] };
        let branch = Forward { x, y: f, saved: own, scratch, state, ctx: ctx.part(BRANCH_LINK) };
        self.branch.forward(&w[self.own()..], branch);
        let scale = self.factor(w);
        map2(x, f, y, |x, f| x + scale * f);
        ctx.report_forward(Factor::Addition, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        self.lengths(&pass.ctx.shape).backward(|| self.hints(), w, &pass);
        let Backward { x, dy, mut dx, dw, saved, mut scratch, state, overwrite_dw, trainable, mut ctx, .. } = pass;
        let values = dy.len();
        let before = cut(SCRATCH, &mut scratch, values);
        let scaled = cut(SCRATCH, &mut scratch, values);
        let mut own = saved;
        let f = cut_end(SAVED, &mut own, values);
        let (d_scale, d_branch) = dw.split_at_mut(self.own());
        if !d_scale.is_empty() && trainable.block(0) {
            if overwrite_dw {
                d_scale.fill(T::zero());
            }
            let width = self.kept.dims.input;
            ctx.add_by_shard(d_scale, |rows, d_scale| {
                let values = rows.start * width..rows.end * width;
                d_scale[0] += sum_of(&dy[values.clone()], &f[values], |dy, f| dy * f);
            });
        }
        let scale = self.factor(w);
        map(dy, scaled, |dy| scale * dy);
        ctx.part(SCALE_LINK).report_backward(Factor::Weights, dy, scaled);
        Parameters::Stay(&w[self.own()..]).backward(
            &*self.branch,
            Backward {
                x,
                y: f,
                dy: scaled,
                dx: dx.as_deref_mut(),
                dw: d_branch,
                saved: own,
                scratch,
                state,
                overwrite_dw,
                trainable: trainable.part(self.own()),
                ctx: ctx.part(BRANCH_LINK),
            },
        );
        if let Some(dx) = dx {
            if ctx.monitor.is_active() {
                before.copy_from_slice(dx);
            }
            update(dx, dy, |dx, dy| dx + dy);
            ctx.report_backward(Factor::Addition, before, dx);
        }
    }
}
