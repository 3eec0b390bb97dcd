//! The table of a [`GradientBudget`]: the change of the gradient's norm by each factor of the chain rule.

use super::{
    Factor, GradientBudget, LinkBudget, Shares,
    budget::{BlockBudget, layer_of},
};
use crate::block::Role;
use alloc::{string::String, vec::Vec};
use core::fmt;
use num_traits::Float;

/// A number of decades (powers of ten) in a table, with two decimals; `·` for 0.
struct Decades(f64);

impl fmt::Display for Decades {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0.0 => f.pad("·"),
            d if d.is_infinite() => f.pad(if d > 0.0 { "+∞" } else { "−∞" }),
            d => {
                let text = alloc::format!("{d:+.2}").replace('-', "−");
                f.pad(&text)
            }
        }
    }
}

/// Writes a row of the table without a line end. It has a name, the norm of the gradient after the row's factors of
/// the chain rule, their `shares` in decades, and a bar that shows the sum. The bar has one character for each half
/// decade (a factor √10), at most 24.
fn write_row(f: &mut fmt::Formatter<'_>, name: &str, norm: f64, shares: &Shares) -> fmt::Result {
    let total = shares.total();
    let marks = (Float::abs(total) * 2.0).min(24.0) as usize;
    let bar: String = core::iter::repeat_n(if total < 0.0 { '◂' } else { '▸' }, marks).collect();
    write!(
        f,
        "{name:<18} {norm:>9.2e} {:>8} {:>8} {:>8} {:>8}  {bar:<12}",
        Decades(shares.weights),
        Decades(shares.activation),
        Decades(shares.addition),
        Decades(shares.other),
    )
}

/// Writes a table from loss to input. Each row sums up one product with weights and the factors of the chain rule
/// between it and the previous product. For each recurrent layer a table over its time steps follows, in at most
/// twelve groups.
impl fmt::Display for GradientBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: Vec<&LinkBudget> = self.links().iter().filter(|link| link.on_main_path).collect();
        let Some(first) = path.first() else { return write!(f, "no backward pass was watched") };
        writeln!(f, "gradient budget, from loss to input; shares in decades (log10 of each factor)")?;
        writeln!(
            f,
            "{:<18} {:>9} {:>8} {:>8} {:>8} {:>8}  {:<12} {:>9} {:>9}",
            "layer", "‖gradient‖", "weights", "φ′", "added", "other", "total", "‖dW‖", "‖db‖"
        )?;
        writeln!(f, "{:<18} {:>9.2e}", "output", first.norm_in.norm)?;
        let mut unseen: Vec<&BlockBudget> = self.blocks().iter().collect();
        for links in path.split_inclusive(|link| link.factor == Factor::Weights) {
            let Some(last) = links.last() else { continue };
            let ends = last.factor != Factor::Weights;
            let layer = match unseen.first() {
                // The path ends before the product with the first weights. The remaining blocks belong to it.
                Some(first) if ends => layer_of(&first.name),
                _ => last.name.strip_suffix(".input").unwrap_or(&last.name),
            };
            let own = |block: &&BlockBudget| layer_of(&block.name) == layer;
            write_row(
                f,
                if ends { layer } else { &last.name },
                last.norm_out.norm,
                &Shares::of(links.iter().copied()),
            )?;
            write_blocks(f, unseen.iter().copied().filter(own))?;
            unseen.retain(|block| !own(block));
        }
        let shares = self.shares();
        if let Some(last) = path.last() {
            write_row(f, "sum", last.norm_out.norm, &shares)?;
        }
        writeln!(f)?;
        if path.last().is_some_and(|last| last.factor != Factor::Weights) {
            writeln!(f, "(ends at the first pre-activation: the input's gradient was not asked for)")?;
        }
        if let Some(part) = self.of_update().filter(|&part| part < 1.0) {
            writeln!(f, "(‖gradient‖ and shares of {:.0} % of the update; ‖dW‖ and ‖db‖ of all of it)", 100.0 * part)?;
        }
        for block in unseen {
            writeln!(f, "{:<18} ‖gradient‖ {:.2e}", block.name, block.gradient.norm)?;
        }
        for layer in self.recurrent_layers() {
            self.write_time(f, layer)?;
        }
        Ok(())
    }
}

fn write_blocks<'a>(f: &mut fmt::Formatter<'_>, blocks: impl Iterator<Item = &'a BlockBudget>) -> fmt::Result {
    let (mut weights, mut biases) = (None::<f64>, None::<f64>);
    for block in blocks {
        let norm = match block.role {
            Role::Bias => &mut biases,
            _ => &mut weights,
        };
        *norm = Some(libm::hypot(norm.unwrap_or(0.0), block.gradient.norm));
    }
    for norm in [weights, biases] {
        match norm {
            Some(norm) => write!(f, " {norm:>9.2e}")?,
            None => write!(f, " {:>9}", "")?,
        }
    }
    writeln!(f)
}

/// The largest number of rows of a table over time. In a longer sequence each row sums up several time steps.
const STRETCHES: usize = 12;

impl GradientBudget {
    fn write_time(&self, f: &mut fmt::Formatter<'_>, layer: &str) -> fmt::Result {
        let links: Vec<&LinkBudget> = self.steps_of(layer).collect();
        let (Some(newest), Some(oldest)) = (links.first(), links.last()) else { return Ok(()) };
        let (Some(end), Some(start)) = (newest.step, oldest.step) else { return Ok(()) };
        let stretch = end.abs_diff(start).saturating_add(1).div_ceil(STRETCHES).max(1);
        writeln!(f, "\n{layer} over time, from the last step to the first; the gradient is that of the whole state")?;
        for links in links
            .chunk_by(|a, b| a.step.map(|s| end.abs_diff(s) / stretch) == b.step.map(|s| end.abs_diff(s) / stretch))
        {
            let (Some(first), Some(last)) = (links.first(), links.last()) else { continue };
            let name = alloc::format!("{}…{}", first.step.unwrap_or(0), last.step.unwrap_or(0));
            write_row(f, &name, last.norm_out.norm, &Shares::of(links.iter().copied()))?;
            writeln!(f)?;
        }
        write_row(f, "sum", oldest.norm_out.norm, &Shares::of(links.iter().copied()))?;
        writeln!(f)
    }
}
