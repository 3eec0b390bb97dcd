//! Diagnosis of a network's gradients: each fault with its layer, the pass in which it was first seen, its size, its
//! factor of the chain rule, and fixes for it.

mod began;
mod cause;
mod columns;
mod curvature;
mod difference;
mod examine;
mod figures;
mod finding;
pub mod fix;
mod health;
mod html;
mod intervention;
mod place;
#[cfg(feature = "plot")]
mod plot;
mod report;
mod report_text;
mod rules;
mod setup;
mod task;
mod thresholds;
#[cfg(feature = "tracing")]
mod trace;
mod words;

pub use cause::Cause;
pub use examine::Diagnosis;
pub use finding::{Finding, Severity};
pub use fix::{
    AppliedTrial, Behind, Change, Fix, FixContext, FixedNetwork, FixedRun, Trial, TrialOutcome, TrialReport,
    suggest_fixes,
};
#[doc(hidden)]
pub use health::first_check_of_steps;
pub use health::{check_parameters, expect_healthy, first_check};
pub use intervention::{Alteration, Intervention};
pub use place::LayerRange;
pub use report::{Report, ReportRow, ReportState};
pub use thresholds::Thresholds;

use intervention::is_homogeneous;

use crate::{
    layer::LayerSpec,
    monitor::{Factor, Statistics},
};
use alloc::{string::String, vec::Vec};

/// Returns the path of the activation that computes the network's outputs, if there is one.
fn outputs(spec: &LayerSpec) -> Option<String> {
    let (path, last) = spec.last_layer();
    matches!(last, LayerSpec::ActivationLayer { .. }).then_some(path)
}

/// Whether a layer has weights: parameters that map its inputs to its outputs, other than the gains of a norm.
fn has_weights(part: &LayerSpec) -> bool {
    matches!(part, LayerSpec::Recurrent { .. } | LayerSpec::Custom { .. }) || part.has_initializers()
}

/// Whether the layer has parallel paths: branches, or a branch and a skip connection. A layer listed after the layers
/// of one path then need not read the output of that path alone.
fn splits(part: &LayerSpec) -> bool {
    use LayerSpec::{Bidirectional, Parallel, Residual};
    matches!(part, Residual { .. } | Parallel { .. } | Bidirectional { .. })
}

/// Whether the layer at the path `path` is inside the one at the path `of`.
fn is_inside(path: &str, of: &str) -> bool {
    of.is_empty() && !path.is_empty() || path.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'))
}

/// Returns the index in `parts` of the norm layer that follows the layer at the index `at`, with nothing between but
/// dropout and activations with φ(a z) = a φ(z) for a > 0. The layer at `at` must be
/// [`Linear`](crate::layer::Linear) or an embedding table. The norm divides by the size of the inputs and of these
/// weights, so neither size has an effect on the values after it. A change of the gradient's
/// norm by this layer is then no fault.
fn norm_after<P>(parts: &[(P, &LayerSpec)], at: usize) -> Option<usize> {
    use LayerSpec::{ActivationLayer, Checkpointed, Dropout, Embedding, Linear, PRelu, Sequential};
    let passes_on = |part: &LayerSpec| match part {
        ActivationLayer { activation, .. } => is_homogeneous(activation),
        part => matches!(part, Sequential { .. } | Checkpointed { .. } | Dropout(_) | PRelu(_)),
    };
    let next = (at + 1..parts.len()).find(|&next| !passes_on(parts[next].1))?;
    (matches!(parts[at].1, Linear(_) | Embedding(_)) && parts[next].1.is_norm()).then_some(next)
}

/// Returns the path of the norm that [follows](norm_after) the first layer with weights, in the same branch.
fn norm_of_first(spec: &LayerSpec) -> Option<String> {
    let parts = spec.parts();
    let first = parts.iter().position(|(_, part)| has_weights(part))?;
    let (path, norm) = (&parts[first].0, &parts[norm_after(&parts, first)?].0);
    // The branch of a layer inside `of` is the first component of its path below `of`.
    let branch = |path: &str, of: &str| path[of.len()..].trim_start_matches('.').split('.').next().map(String::from);
    let mut around = parts[..first].iter().filter(|(of, part)| splits(part) && is_inside(path, of));
    around.all(|(of, _)| is_inside(norm, of) && branch(norm, of) == branch(path, of)).then(|| norm.clone())
}

/// Returns the paths of the layers that do not count in the change of the gradient's norm from loss to first weights.
/// They are the activation of the outputs, since saturated outputs are no fault, and the norm that
/// [follows](norm_after) the first weights, since it only removes the scale of the inputs and of these weights.
fn left_out(spec: &LayerSpec) -> Vec<String> {
    outputs(spec).into_iter().chain(norm_of_first(spec)).collect()
}

/// Returns the path of the layer whose output shows the scale of the inputs to the layers after it. Let the first
/// layer with weights be a feedforward layer of this crate that multiplies its inputs, such as
/// [`Linear`](crate::layer::Linear). Then it is the norm that [follows](norm_after) this layer, or this layer itself
/// if no norm follows. Otherwise it is the last norm before the first layer with weights, or `None` without such a
/// norm: the output of a recurrent layer, for example, does not reveal the scale of its inputs.
fn first_sized(spec: &LayerSpec) -> Option<String> {
    let parts = spec.parts();
    let first = parts.iter().position(|(_, part)| has_weights(part))?;
    let layer = parts[first].1;
    if layer.has_initializers() && !layer.reads_indices() {
        return norm_of_first(spec).or_else(|| Some(parts[first].0.clone()));
    }
    parts[..first].iter().rfind(|(_, part)| part.is_norm()).map(|(path, _)| path.clone())
}

/// Returns the mean over passes, in `seen`, of the root mean square of the output of the layer that
/// [shows the scale](first_sized) of the inputs. `None` if there is no such layer, or it was not monitored.
fn first_output(spec: &LayerSpec, seen: &Statistics) -> Option<f64> {
    let layer = first_sized(spec)?;
    let first = |link: &&crate::monitor::LinkStatistics| link.factor() != Factor::Addition && link.name() == layer;
    seen.links().iter().find(first).map(|link| link.output().mean())
}
