//! Targets brought to mean 0 and variance 1.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::{
    diagnosis::has_weights,
    error::Error,
    layer::{LayerSpec, join},
};
use alloc::{format, string::String, vec::Vec};

/// Standardizes the targets of a regression to mean 0 and variance 1 in every column. The caller must convert
/// predictions back, by [`Standardize::invert`](crate::dataset::Standardize::invert). The parameters of the last
/// layers with weights, one in each of parallel branches, are drawn again.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandardizeTargets;

/// Returns the paths, below `node`, of the last layers with weights: one in each of parallel branches.
fn last_weights(node: &LayerSpec) -> Vec<String> {
    let of = |name: &str, part: &LayerSpec| -> Vec<String> {
        last_weights(part).iter().map(|path| if path.is_empty() { name.into() } else { join(name, path) }).collect()
    };
    match node {
        LayerSpec::Sequential { layers, .. } | LayerSpec::Checkpointed { layers, .. } => {
            let found = layers.iter().enumerate().rev().map(|(i, part)| of(&format!("{i}"), part));
            found.into_iter().find(|paths| !paths.is_empty()).unwrap_or_default()
        }
        LayerSpec::Parallel { branches, .. } => {
            branches.iter().enumerate().flat_map(|(i, part)| of(&format!("{i}"), part)).collect()
        }
        LayerSpec::Bidirectional { forward, backward } => {
            let directions = [("forward", forward), ("backward", backward)];
            directions.into_iter().flat_map(|(name, part)| of(name, part)).collect()
        }
        LayerSpec::Residual { branch, .. } => of("branch", branch),
        LayerSpec::Reversed(part) => last_weights(part),
        leaf if has_weights(leaf) => Vec::from([String::new()]),
        _ => Vec::new(),
    }
}

impl FixStrategy for StandardizeTargets {
    fn name(&self) -> &'static str {
        "standardized targets"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::UnscaledTarget
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let mut why = String::from("targets of mean 0 and variance 1, which updates of the usual size reach");
        let change = context.targets.clone().map_or(Change::FitTargets, Change::StandardizeTargets);
        if change == Change::FitTargets {
            why.push_str(", by `Standardize::fit_targets` on the training data");
        }
        let fix = context.fix(self.name(), Effort::Training, change, why);
        // The last weights fit targets of the old scale.
        let accused = last_weights(context.network).into_iter().chain(fix.accused.clone()).collect();
        Ok(Some(Fix { accused, ..fix }.preferred()))
    }
}
