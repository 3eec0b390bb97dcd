//! The parameters that a fixed network takes over from the old network.

use crate::{
    block::{Blocks, Role},
    diagnosis::{Cause, Finding, LayerRange, Thresholds, has_weights, intervention::learned_scales},
    error::{Error, require_length},
    layer::{LayerSpec, Linear},
    scalar::Scalar,
};
use alloc::{format, string::String, vec::Vec};
use core::ops::Range;

/// A block of parameters with the same meaning in the old network and in the fixed one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survivor {
    /// The name of the block in the fixed network.
    pub name: String,
    /// The range of the block in the parameters of the old network.
    pub before: Range<usize>,
    /// The range of the block in the parameters of the fixed network.
    pub after: Range<usize>,
}

/// Returns the blocks of the layers that are equal in both layer specifications, `before` and `after` a fix, including
/// their initializers. Each layer of `before`, in order, corresponds to the next equal layer of `after`. If layers
/// differ only in the initializer of their biases, all blocks except the biases survive.
///
/// # Errors
/// Those of [`LayerSpec::build`] for either specification. A custom activation is no error.
pub fn survivors(before: &LayerSpec, after: &LayerSpec) -> Result<Vec<Survivor>, Error> {
    let blocks = |spec: &LayerSpec| -> Result<Blocks, Error> {
        let network = spec.build_to_look_at()?;
        Ok(Blocks::collect(|visit| network.blocks(visit)))
    };
    let (old_blocks, new_blocks) = (blocks(before)?, blocks(after)?);
    // The blocks of a `Reversed` belong to its inner layer, which is the next part at the same path.
    let of = |spec| LayerSpec::parts(spec).into_iter().filter(|(_, part)| !matches!(part, LayerSpec::Reversed(_)));
    let new: Vec<_> = of(after).collect();
    let (mut found, mut next) = (Vec::new(), 0);
    for (path, part) in of(before) {
        let likeness = |other| if other == part { Some(true) } else { differ_in_biases(part, other).then_some(false) };
        let kept = new[next..].iter().enumerate().find_map(|(i, (_, other))| Some((i, likeness(*other)?)));
        let Some((skipped, biases)) = kept else { continue };
        let join = |path: &str| if path.is_empty() { String::new() } else { format!("{path}.") };
        let (old_path, new_path) = (join(&path), join(&new[next + skipped].0));
        next += skipped + 1;
        for block in old_blocks.iter() {
            // A block belongs to the part whose path is its name without the last component.
            let own = block.name.strip_prefix(&*old_path).filter(|own| !own.contains('.'));
            let other = own.and_then(|own| new_blocks.get(&format!("{new_path}{own}")).ok());
            let keeps = biases || block.role != Role::Bias;
            if let Some(other) = other.filter(|other| keeps && other.shape == block.shape) {
                let name = String::from(&*other.name);
                found.push(Survivor { name, before: block.range.clone(), after: other.range.clone() });
            }
        }
    }
    Ok(found)
}

/// Whether two layers have biases of different initializers, and are otherwise equal.
fn differ_in_biases(a: &LayerSpec, b: &LayerSpec) -> bool {
    let mut same = a.clone();
    match (&mut same, b) {
        (LayerSpec::Linear(Linear { bias: Some(own), .. }), LayerSpec::Linear(Linear { bias: Some(other), .. }))
        | (LayerSpec::Recurrent { bias: Some(own), .. }, LayerSpec::Recurrent { bias: Some(other), .. }) => {
            *own = other.clone();
        }
        _ => return false,
    }
    same == *b
}

/// Returns the layers or blocks whose parameters a finding names as the cause. For a closed gate this is the block of
/// all biases of its layer, and for loud branches the learned scales. After overly large updates that left nothing
/// learned, these are all layers; otherwise the layers that the finding names. For an activation the layers before it
/// are included, back to the nearest layer with weights. Empty for causes that are not in parameters. Empty also for
/// weights too small or too large, unless the measured decades are more than one away from the prediction, or an
/// intervention over time removes the fault.
pub(super) fn accused(network: &LayerSpec, finding: &Finding) -> Vec<String> {
    use Cause::*;
    if matches!(finding.cause, ClosedForgetGate | ClosedInputGate | ClosedOutputGate) {
        let dot = if finding.layer.is_empty() { "" } else { "." };
        return Vec::from([format!("{}{dot}bias", finding.layer)]);
    }
    if finding.cause == LoudBranches {
        return learned_scales(network);
    }
    let by_parameters = matches!(
        finding.cause,
        SmallWeights
            | LargeWeights
            | ConstantWeights
            | DuplicatedUnits
            | DeadUnits
            | Bottleneck
            | VanishingRecurrence
            | ExplodingRecurrence
            | Overflow
            | NotANumber
    ) || finding.needs_restart;
    // If the measured budget is the one predicted for the description, the cause is the description, and the fix
    // changes it.
    let as_described = match (finding.decades, finding.predicted) {
        // Decades beside a prediction of 0 are those of a size over the drawn one.
        (Some(found), Some(0.0)) => found.abs() <= libm::log10(Thresholds::default().changed),
        (Some(found), Some(predicted)) => (found - predicted).abs() <= 1.0,
        // A measurement over time that other input weights repair.
        _ => !finding.intervention.as_ref().is_some_and(|tried| tried.measured && tried.each_step),
    };
    let accuses = by_parameters && !(as_described && matches!(finding.cause, SmallWeights | LargeWeights));
    let parts = network.parts();
    let place = |path: &str| parts.iter().position(|(at, _)| at == path);
    let is_own = |part: &LayerSpec| has_weights(part) || part.is_norm() || matches!(part, LayerSpec::PRelu(_));
    let (mut found, whole) = (Vec::new(), LayerRange { first: String::new(), last: String::new() });
    let ranges = if finding.layers.is_empty() || finding.needs_restart {
        core::slice::from_ref(&whole)
    } else {
        &finding.layers[..]
    };
    for range in ranges.iter().filter(|_| accuses) {
        let (Some(first), Some(last)) = (place(&range.first), place(&range.last)) else { continue };
        // The parts of a block are after it; those of the whole network are all.
        let below = if range.last.is_empty() { String::new() } else { format!("{}.", range.last) };
        let last = last + parts[last..].iter().skip(1).take_while(|(path, _)| path.starts_with(&below)).count();
        if matches!(parts[first].1, LayerSpec::ActivationLayer { .. }) {
            let before = parts[..first].iter().rev();
            let until = before.clone().position(|(_, part)| has_weights(part)).map_or(first, |weights| weights + 1);
            found.extend(before.take(until).filter(|(_, part)| is_own(part)).map(|(path, _)| path.clone()));
        }
        let inside = parts[first..=last.max(first)].iter().filter(|(_, part)| is_own(part));
        found.extend(inside.map(|(path, _)| path.clone()));
    }
    found
}

/// Returns `found` without the survivors whose block, or whose layer, is one of `layers`, names of blocks or paths of
/// layers in the old network `before`.
///
/// # Errors
/// Those of [`LayerSpec::build`]. A custom activation is no error.
pub(super) fn without(found: Vec<Survivor>, before: &LayerSpec, layers: &[String]) -> Result<Vec<Survivor>, Error> {
    if layers.is_empty() {
        return Ok(found);
    }
    let network = before.build_to_look_at()?;
    let mut redrawn = Vec::new();
    network.blocks(&mut |block| {
        let layer = block.name.rsplit_once('.').map_or("", |(layer, _)| layer);
        if layers.iter().any(|path| path == layer || *path == block.name) {
            redrawn.push(block.range.clone());
        }
    });
    let keeps = |survivor: &Survivor| !redrawn.contains(&survivor.before);
    Ok(found.into_iter().filter(keeps).collect())
}

/// Copies the parameters of the survivors from `before`, those of the old network, to `after`, those of the fixed one.
/// The other values of `after` stay.
///
/// # Errors
/// [`Error::Length`] if `before` or `after` is too short for a survivor, or the two ranges of a survivor have different
/// lengths.
pub fn transplant<T: Scalar>(survivors: &[Survivor], before: &[T], after: &mut [T]) -> Result<(), Error> {
    for Survivor { before: from, after: to, .. } in survivors {
        require_length("parameters of the old network", from.end, before.len().min(from.end))?;
        require_length("parameters of the fixed network", to.end, after.len().min(to.end))?;
        require_length("a surviving block", to.len(), from.len())?;
        // A range with start > end has no values to copy.
        if let (Some(from), Some(to)) = (before.get(from.clone()), after.get_mut(to.clone())) {
            to.copy_from_slice(from);
        }
    }
    Ok(())
}
