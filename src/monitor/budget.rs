//! The gradient budget: by how many decades (powers of ten) each factor of the chain rule changes the gradient's
//! norm.

use super::{Event, Factor, GradientMonitor, Link, NormStats};
use crate::{block::Role, scalar::Scalar};
use alloc::{string::String, vec::Vec};

/// One link (a factor of the chain rule, such as a product with weights), with the norms of the gradient before and
/// after it in the backward pass.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LinkBudget {
    /// The name of the link (factor of the chain rule): the path of its layer, such as `3`, or this path and a part
    /// of the layer, such as `0.recurrent`.
    pub name: String,
    /// The factor of the chain rule that the link applies.
    pub factor: Factor,
    /// The time step, for a link between the time steps of a recurrent layer; `None` for a link from layer to layer.
    pub step: Option<usize>,
    /// Whether the link (factor of the chain rule) is on the main path from loss to input; false inside parallel
    /// branches, such as that of a residual.
    pub on_main_path: bool,
    /// The norm of the gradient with respect to the output of the link (factor of the chain rule), which enters it in
    /// the backward pass.
    pub norm_in: NormStats,
    /// The norm of the gradient with respect to the input of the link (factor of the chain rule), which leaves it in
    /// the backward pass.
    pub norm_out: NormStats,
}

impl LinkBudget {
    /// Returns `norm_out.norm / norm_in.norm`, the factor by which this link of the chain rule multiplies the norm of
    /// the gradient; NaN if both are zero.
    pub fn gain(&self) -> f64 {
        self.norm_out.norm / self.norm_in.norm
    }

    /// Returns log10 of the [gain](Self::gain): −∞ if the gradient becomes zero, ∞ if it was zero and no longer
    /// is, and 0 if both norms are zero.
    pub fn decades(&self) -> f64 {
        if self.norm_in.norm == 0.0 && self.norm_out.norm == 0.0 { 0.0 } else { libm::log10(self.gain()) }
    }
}

/// The norms of the parameters of a block (a named range of parameters, such as a weight matrix) and of their gradient.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BlockBudget {
    /// The name of the block: `0.weight`.
    pub name: String,
    /// The role of the block: weight, recurrent weight, bias or gain.
    pub role: Role,
    /// The norm of the block's parameters, and how many of them are zero or not finite.
    pub parameters: NormStats,
    /// The norm of the block's gradient before any clipping, and how many of its values are zero or not finite.
    pub gradient: NormStats,
}

/// The decades (log10) by which each kind of [`Factor`] of the chain rule changes the norm of the gradient along a
/// path. They sum to log10 of the norm at the end of the path (the input side) divided by the norm at its start (the
/// loss side).
///
/// If a gradient becomes zero and a later link makes it non-zero again (a branch scaled by 0 beside its skip), the
/// change is attributed to that later link. If it stays zero, the field of the factor that made it zero is −∞.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Shares {
    /// The decades (log10 of the change of the norm) by products with weights: Σ log10 ‖Wᵀd‖/‖d‖ over matrices W,
    /// d being the gradient before each.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub weights: f64,
    /// The decades (log10 of the change of the norm) by activations φ: Σ log10 ‖φ′ ⊙ g‖/‖g‖, g being the
    /// gradient before each.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub activation: f64,
    /// The decades by additions, where the gradients of two paths meet, such as those of a residual and its skip: Σ
    /// log10 of the norm after an addition over the norm before it.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub addition: f64,
    /// The decades (log10 of the change of the norm) by all other layers, such as normalization, and by layers that
    /// report no link to monitors.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub other: f64,
}

impl Shares {
    /// Sums up `links`, the links (factors of the chain rule) of one path in the order of the backward pass. A change
    /// of the norm between two links, by a layer that reports no link, counts as [`other`](Self::other).
    pub fn of<'a>(links: impl IntoIterator<Item = &'a LinkBudget>) -> Self {
        let mut shares = Shares::default();
        // The last norm that was not zero, and the factor that made the gradient zero, if it is zero.
        let (mut last, mut lost) = (0.0, None);
        for link in links {
            let (before, after) = (link.norm_in.norm, link.norm_out.norm);
            if last == 0.0 {
                last = before;
            } else if before != last && before > 0.0 {
                // A layer that reports no link lies between the two.
                *shares.of_factor(Factor::Other) += libm::log10(before / last);
                last = before;
            }
            if last == 0.0 || after == 0.0 {
                lost = if last > 0.0 { lost.or(Some(link.factor)) } else { lost };
                last = if last == 0.0 { after } else { last };
                continue;
            }
            *shares.of_factor(link.factor) += libm::log10(after / last);
            (last, lost) = (after, None);
        }
        if let Some(factor) = lost {
            *shares.of_factor(factor) = f64::NEG_INFINITY;
        }
        shares
    }

    fn of_factor(&mut self, factor: Factor) -> &mut f64 {
        match factor {
            Factor::Weights => &mut self.weights,
            Factor::Activation => &mut self.activation,
            Factor::Addition => &mut self.addition,
            Factor::Other => &mut self.other,
        }
    }

    /// Returns the sum of the four fields: log10 of the gradient's norm at the end of the path (the input side)
    /// divided by the norm at its start (the loss side).
    pub fn total(&self) -> f64 {
        self.weights + self.activation + self.addition + self.other
    }
}

/// A monitor that records the norms of the gradient at each link (factor of the chain rule) of the last monitored
/// pass, from layer to layer and from time step to time step. Its `Display` is a table.
///
/// `log10 ‖g_0‖ = log10 ‖g_L‖ + Σ_l (A_l + V_l + J_l + O_l)`, with the decades A_l by activations at layer l, V_l
/// by weights, J_l by additions and O_l by other links. The budget begins at g_L, the gradient of the network's
/// output. It ends at g_0, the last gradient computed: with respect to the first pre-activation or, if requested, the
/// input. Once it has recorded the longest pass, it does not allocate.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}, monitor::GradientBudget};
/// use chainrule::{trainer::{FitOptions, TrainConfig, Trainer}, transform::Sgd};
/// let data = Dataset::rows(1, &[0.0, 0.5, 1.0], Target::Values(&[1.0, 0.0, 1.0]))?;
/// let network = Sequential::<f64>::input(1).linear(8).sigmoid().linear(1).build()?;
/// let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default())?;
/// let mut budget = GradientBudget::new();
/// trainer.fit_with(&data, FitOptions::new().monitor(&mut budget))?;
/// println!("{budget}"); // a line for each link of the last pass
/// assert!(budget.shares().activation < -0.6); // σ′ is at most ¼: 0.6 decades are lost at least
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct GradientBudget {
    depth: Rows,
    time: Rows,
    blocks: Vec<BlockBudget>,
    /// The total loss weight of the output rows of the last pass, divided by that of all rows of its update. `None`
    /// unless a trainer states it.
    of_update: Option<f64>,
}

/// The links (factors of the chain rule) of one pass, in the order in which they were reported. Their memory is
/// reused from pass to pass.
#[derive(Clone, Debug, Default)]
struct Rows {
    rows: Vec<LinkBudget>,
    used: usize,
    /// The length of the longest link name so far, in bytes. Every row has room for a name of this length.
    longest: usize,
}

impl Rows {
    fn record<T: Scalar>(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        let (norm_in, norm_out) = (NormStats::of(dy), NormStats::of(dx));
        if at.parts_before > 0
            && let Some(row) = self.rows[..self.used].iter_mut().rfind(|row| row.name == at.name && row.step == at.step)
        {
            (row.norm_in, row.norm_out) = (row.norm_in.and(norm_in), row.norm_out.and(norm_out));
            return;
        }
        if at.name.len() > self.longest {
            self.longest = at.name.len();
            self.rows.iter_mut().for_each(|row| row.name.reserve(at.name.len() - row.name.len()));
        }
        let mut name = match self.rows.get_mut(self.used) {
            Some(row) => core::mem::take(&mut row.name),
            None => String::with_capacity(self.longest),
        };
        if name != at.name {
            name.clear();
            name.push_str(at.name);
        }
        let row =
            LinkBudget { name, factor: at.factor, step: at.step, on_main_path: at.on_main_path, norm_in, norm_out };
        match self.rows.get_mut(self.used) {
            Some(old) => *old = row,
            None => self.rows.push(row),
        }
        self.used += 1;
    }

    fn rows(&self) -> &[LinkBudget] {
        &self.rows[..self.used]
    }
}

impl GradientBudget {
    /// Creates a monitor that has not recorded a pass.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the links (factors of the chain rule) from layer to layer of the last monitored pass, from loss to
    /// input, including those inside parallel branches.
    pub fn links(&self) -> &[LinkBudget] {
        self.depth.rows()
    }

    /// Returns the links (factors of the chain rule) from time step to time step of the last monitored pass. They are
    /// in the order of the backward pass: layer by layer, and in each layer from the last time step to the first.
    pub fn steps(&self) -> &[LinkBudget] {
        self.time.rows()
    }

    /// Returns the norms of each parameter block and of its gradient, in the last monitored update or, without a
    /// trainer, in the last monitored backward pass. Empty before the first.
    pub fn blocks(&self) -> &[BlockBudget] {
        &self.blocks
    }

    /// Returns the total loss weight of the output rows of the last monitored pass, divided by that of all rows of
    /// its update; `None` without a trainer. It is below 1 if other ranks process a part of the batch, or if an
    /// update has several passes. [`links`](Self::links) then describe this pass, and [`blocks`](Self::blocks) the
    /// whole update.
    pub fn of_update(&self) -> Option<f64> {
        self.of_update
    }

    /// Returns the decades (powers of ten) by which each kind of factor of the chain rule changes the norm of the
    /// gradient, on the main path from loss to input, in the last monitored pass.
    pub fn shares(&self) -> Shares {
        Shares::of(self.links().iter().filter(|link| link.on_main_path))
    }

    /// Returns the paths of the recurrent layers of the last monitored pass, in the order of the backward pass.
    pub fn recurrent_layers(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for link in self.steps() {
            let layer = layer_of(&link.name);
            if !names.contains(&layer) {
                names.push(layer);
            }
        }
        names
    }

    /// Returns the factors of the chain rule between the time steps of the recurrent layer at the path `layer`, from
    /// the last time step to the first; none for an unknown layer.
    pub fn steps_of<'a>(&'a self, layer: &'a str) -> impl Iterator<Item = &'a LinkBudget> {
        self.steps().iter().filter(move |link| layer_of(&link.name) == layer)
    }

    /// Returns the norm of the gradient with respect to the state after each time step, `‖∂L/∂(h, c)‖`, of the
    /// recurrent layer at the path `layer`, from the first time step to the last. Empty for an unknown layer.
    pub fn state_gradients(&self, layer: &str) -> Vec<f64> {
        let mut norms: Vec<f64> = self
            .steps_of(layer)
            .filter(|link| link.factor == Factor::Addition)
            .map(|link| link.norm_out.norm)
            .collect();
        norms.reverse();
        norms
    }
}

/// Returns the path of the layer to which the link `name` belongs: the part before the last dot, such as `0` for
/// `0.recurrent`, or the whole `name` if it has no dot.
pub(super) fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer)
}

impl<T: Scalar> GradientMonitor<T> for GradientBudget {
    fn begin_pass(&mut self) {
        (self.depth.used, self.time.used, self.of_update) = (0, 0, None);
    }

    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        if at.step.is_some() { self.time.record(at, dy, dx) } else { self.depth.record(at, dy, dx) }
    }

    fn event(&mut self, event: &Event<'_, T>) {
        if let Event::Rows { of_update, .. } = *event {
            self.of_update = Some(of_update);
        }
        let &Event::Gradient { blocks, w, dw } = event else { return };
        for (i, block) in blocks.iter().enumerate() {
            let (parameters, gradient) =
                (NormStats::of(&w[block.range.clone()]), NormStats::of(&dw[block.range.clone()]));
            match self.blocks.get_mut(i) {
                Some(row) if row.name == block.name => (row.parameters, row.gradient) = (parameters, gradient),
                _ => {
                    self.blocks.truncate(i);
                    let name = String::from(&*block.name);
                    self.blocks.push(BlockBudget { name, role: block.role, parameters, gradient });
                }
            }
        }
        self.blocks.truncate(blocks.len());
    }
}
