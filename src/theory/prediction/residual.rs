//! The predicted change of a gradient's norm by a residual block.

use super::{
    PredictionSource,
    reader::Reader,
    signal::{Effect, Signal, not_normal},
};
use crate::{
    error::Error,
    layer::{BranchScale, LayerSpec, join},
    monitor::{Factor, Shares},
    theory::sample::Spread,
};

const LOG10_E: f64 = core::f64::consts::LOG10_E;

impl Reader<'_> {
    /// Predicts a residual block x + s f(x): `‖dy + s fᵀdy‖² = (1 + s²χ_f)‖dy‖²`, since the two terms are
    /// orthogonal on average if the branch f has random weights. χ_f is the factor by which f multiplies the squared
    /// norm of a gradient.
    pub(super) fn residual(
        &mut self,
        node: &LayerSpec,
        path: &str,
        signal: Option<Signal>,
        branch: &LayerSpec,
        scale: BranchScale,
    ) -> Result<Effect, Error> {
        self.scales.lose();
        let (BranchScale::Fixed(s) | BranchScale::Learned(s)) = scale;
        let addition = self.links.len();
        self.formula(node, path, Factor::Addition, [signal, None], None, 0.0);
        let inner = self.read(branch, &join(path, "branch"), signal)?;
        let scale = libm::log10(s.abs());
        self.formula(node, &join(path, "scale"), Factor::Weights, [inner.signal, None], Some(scale), 0.0);

        let own = self.own_of_residual(path, signal, &inner, s)?;
        let branch_decades = inner.shares.map(|shares| scale + shares.total());
        let link = &mut self.links[addition];
        let Some((whole, after, source)) = own else {
            return Ok(Effect { signal: None, shares: None, beta: 0.0, mixes: inner.mixes });
        };
        (link.source, link.decades) = (source, branch_decades.map(|branch| whole - branch));
        let shares = inner.shares.map(|shares| match scale + shares.total() {
            f64::NEG_INFINITY => Shares { addition: whole, ..Shares::default() },
            branch => {
                let weights = shares.weights + scale;
                Shares { weights, addition: shares.addition + (whole - branch), ..shares }
            }
        });
        // d ln(1 + r) = r/(1 + r) d ln r; and 2⟨dy, s fᵀdy⟩ has the variance 4 s²χ_f ‖dy‖⁴/n.
        let ratio = branch_decades.map_or(0.0, |branch| libm::exp10(2.0 * branch));
        let share = if ratio.is_finite() { ratio / (1.0 + ratio) } else { 1.0 };
        let width = node.widths().0.max(1) as f64;
        let angle = 4.0 * share * (1.0 - share) / width;
        self.links[addition].spread = angle;
        for link in &mut self.links[addition + 1..] {
            link.spread *= share * share;
        }
        Ok(Effect { signal: after, shares, beta: share * share * inner.beta + angle, mixes: inner.mixes })
    }

    /// Returns log10 of the change of the gradient's norm by the whole residual block at `path`, the statistics of
    /// its output, and the source of both. `signal` holds the statistics of its input, `inner` is the effect of the
    /// branch, and `s` the scale of the branch. `None` if the decades are unknown.
    pub(super) fn own_of_residual(
        &mut self,
        path: &str,
        signal: Option<Signal>,
        inner: &Effect,
        s: f64,
    ) -> Result<Option<(f64, Option<Signal>, PredictionSource)>, Error> {
        let Some(branch) = inner.shares.map(|shares| shares.total() + libm::log10(s.abs())) else { return Ok(None) };
        if inner.mixes || branch == f64::NEG_INFINITY {
            let sum = |(x, f): (Signal, Signal)| {
                let mean = x.spread.mean + s * f.spread.mean;
                let cross = 2.0 * s * x.spread.mean * f.spread.mean;
                let square = x.spread.square + s * s * f.spread.square + cross;
                let common = x.common.zip(f.common).map(|(x, f)| x + s * s * f + cross);
                Signal { spread: Spread { mean, square }, normal: x.normal && (f.normal || s == 0.0), common }
            };
            let after = signal.zip(inner.signal).map(sum);
            let whole = if branch > 150.0 { branch } else { 0.5 * libm::log1p(libm::exp10(2.0 * branch)) * LOG10_E };
            return Ok(Some((whole, after, PredictionSource::Theory)));
        }
        // Without random weights, the gradients of branch and skip are correlated.
        let Some(sample) = self.sample()? else { return Ok(None) };
        let (addition, after) = (sample.link(path), sample.output(path).map(not_normal));
        Ok(addition.map(|addition| (branch + addition, after, PredictionSource::Sampled)))
    }
}
