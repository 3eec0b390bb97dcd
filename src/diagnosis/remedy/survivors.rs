//! Which parameters live on in a mended network.

use crate::{
    block::Blocks,
    error::{Error, require_length},
    layer::Node,
    scalar::Scalar,
};
use alloc::{format, string::String, vec::Vec};
use core::ops::Range;

/// A block that means the same in both networks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survivor {
    /// Its name in the mended network.
    pub name: String,
    /// Where it lay.
    pub before: Range<usize>,
    /// Where it lies.
    pub after: Range<usize>,
}

/// Every part without parts of its own, by its path.
fn leaves<'a>(node: &'a Node, path: &str, found: &mut Vec<(String, &'a Node)>) {
    let join = |part: &str| if path.is_empty() { String::from(part) } else { format!("{path}.{part}") };
    match node {
        Node::Sequential { layers, .. } => {
            layers.iter().enumerate().for_each(|(i, layer)| leaves(layer, &join(&format!("{i}")), found));
        }
        Node::Residual { branch, .. } => leaves(branch, &join("branch"), found),
        Node::Reversed(layer) => leaves(layer, path, found),
        Node::Bidirectional { forward, backward } => {
            leaves(forward, &join("forward"), found);
            leaves(backward, &join("backward"), found);
        }
        leaf => found.push((path.into(), leaf)),
    }
}

/// The blocks whose layer is the same in both descriptions, its initializers included, in order: the n-th kept layer of the one
/// is the n-th of the other.
///
/// # Errors
/// A description that cannot be built.
pub fn survivors(before: &Node, after: &Node) -> Result<Vec<Survivor>, Error> {
    let blocks = |node: &Node| -> Result<Blocks, Error> {
        let network = node.build::<f32>()?;
        Ok(Blocks::collect(|visit| network.blocks(visit)))
    };
    let (old_blocks, new_blocks) = (blocks(before)?, blocks(after)?);
    let (mut old, mut new) = (Vec::new(), Vec::new());
    leaves(before, "", &mut old);
    leaves(after, "", &mut new);
    let (mut found, mut next) = (Vec::new(), 0);
    for (path, leaf) in &old {
        let Some(skipped) = new[next..].iter().position(|(_, other)| other == leaf) else { continue };
        let (new_path, _) = &new[next + skipped];
        next += skipped + 1;
        for block in old_blocks.iter() {
            let Some(part) = block.name.strip_prefix(&**path).filter(|part| part.starts_with('.') || path.is_empty())
            else {
                continue;
            };
            if let Ok(other) = new_blocks.get(&format!("{new_path}{part}"))
                && other.shape == block.shape
            {
                let name = String::from(&*other.name);
                found.push(Survivor { name, before: block.range.clone(), after: other.range.clone() });
            }
        }
    }
    Ok(found)
}

/// Carries the parameters that live on from the old network to the mended one.
///
/// # Errors
/// Parameters too few for the survivors.
pub fn transplant<T: Scalar>(survivors: &[Survivor], before: &[T], after: &mut [T]) -> Result<(), Error> {
    for Survivor { before: from, after: to, .. } in survivors {
        require_length("parameters of the old network", from.end, before.len().min(from.end))?;
        require_length("parameters of the mended network", to.end, after.len().min(to.end))?;
        after[to.clone()].copy_from_slice(&before[from.clone()]);
    }
    Ok(())
}
