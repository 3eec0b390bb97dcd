//! Towers: the branches of parallel layers, each a path of its own for the gradient.

use super::{Alteration, Budget, Verdict, bench::Bench, change::weight_layers, layer_of, search};
use crate::{
    diagnosis::{has_weights, is_inside, norm_after, splits},
    error::Error,
    layer::{LayerSpec, join},
    monitor::{Factor, LinkStatistics, Statistics},
};
use alloc::{format, string::String, vec::Vec};

/// One branch of a [`Parallel`](crate::layer::Parallel) layer.
#[derive(Clone, Debug)]
pub(in crate::diagnosis) struct Tower {
    /// The path of the branch.
    pub path: String,
    /// The paths of the layers that the gradient passes through between the end of the branch and its first layer with
    /// weights, in forward order; that layer is the first entry. Layers inside nested branches are left out. So is a
    /// norm right after the first weights, since it divides by their scale.
    layers: Vec<String>,
    /// The path of the last layer with weights in the branch, if it is `Linear` and as wide as the branch, and the
    /// network has no weights after the parallel layer; otherwise `None`.
    pub outputs: Option<String>,
}

impl Tower {
    /// Returns the links (factors of the chain rule), in the order of the forward pass, that belong to the branch.
    /// `of` gives the name and factor of a link. The product with the first weights is left out: the gradient of
    /// these weights does not need it.
    pub fn links<L>(&self, links: impl Iterator<Item = L>, of: impl Fn(&L) -> (String, Factor)) -> Vec<L> {
        let counts = |link: &L| {
            let (name, factor) = of(link);
            let place = self.layers.iter().position(|layer| layer == layer_of(&name));
            place.is_some_and(|place| place > 0 || factor != Factor::Weights)
        };
        links.filter(counts).collect()
    }

    /// Returns the path of the parallel layer to which the branch belongs.
    fn parent(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    /// Whether the layer at the path `layer` is in the branch, nested branches included.
    pub fn has(&self, layer: &str) -> bool {
        layer.strip_prefix(&*self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Returns the branches with weights of the parallel layers of a network.
pub(in crate::diagnosis) fn towers(network: &LayerSpec) -> Vec<Tower> {
    let parts = network.parts();
    let outputs = network.last_layer().0;
    let mut found = Vec::new();
    for (at, (path, part)) in parts.iter().enumerate() {
        let LayerSpec::Parallel { branches, .. } = part else { continue };
        let mut after = parts[at + 1..].iter().filter(|(at, _)| !is_inside(at, path));
        let is_last = !after.any(|(_, part)| has_weights(part));
        for (place, branch) in branches.iter().enumerate() {
            let tower = join(path, &format!("{place}"));
            let own: Vec<_> = parts.iter().filter(|(at, _)| *at == tower || is_inside(at, &tower)).collect();
            let is_beside = |at: &String| own.iter().any(|(of, part)| splits(part) && is_inside(at, of));
            let on_way = own.iter().filter(|(at, _)| !is_beside(at));
            let has_parts = |part: &LayerSpec| {
                matches!(part, LayerSpec::Sequential { .. } | LayerSpec::Checkpointed { .. } | LayerSpec::Reversed(_))
            };
            let mut layers: Vec<(&String, &LayerSpec)> =
                on_way.filter(|(_, part)| !has_parts(part)).map(|(at, part)| (at, *part)).collect();
            // Saturated outputs of the network are no fault.
            if *path == outputs && matches!(layers.last(), Some((_, LayerSpec::ActivationLayer { .. }))) {
                layers.pop();
            }
            let first = layers.iter().position(|(_, part)| has_weights(part));
            if let Some(norm) = first.and_then(|first| norm_after(&layers, first)) {
                layers.remove(norm);
            }
            let from = first.unwrap_or(layers.len());
            let last = layers.iter().rfind(|(_, part)| has_weights(part)).filter(|_| is_last);
            let is_output =
                |part: &LayerSpec| matches!(part, LayerSpec::Linear(_)) && part.widths().1 == branch.widths().1;
            let outputs = last.filter(|(_, part)| is_output(part)).map(|(at, _)| (*at).clone());
            let layers: Vec<String> = layers[from..].iter().map(|(at, _)| (*at).clone()).collect();
            found.extend((layers.len() > 1).then_some(Tower { path: tower, layers, outputs }));
        }
    }
    found
}

/// The interventions on the change of the gradient's norm in one branch, from the output of the parallel layer to the
/// first weights of the branch.
#[derive(Clone, Debug)]
pub(in crate::diagnosis) struct OfTower {
    pub path: String,
    pub verdict: Verdict,
}

impl Budget {
    /// Returns the budget of a branch of a parallel layer: the decades (log10) by which the gradient's norm changes,
    /// in the last pass of `seen`, from the end of the branch to its first weights.
    fn of_tower(tower: &Tower, seen: &Statistics) -> Self {
        let ends = |link: &&LinkStatistics| link.norm_in() > 0.0 && link.norm_out() == 0.0;
        let of = |link: &&LinkStatistics| (String::from(link.name()), link.factor());
        let own = tower.links(seen.links().iter(), of).into_iter();
        let decades = |link: &LinkStatistics| if ends(&link) { f64::NEG_INFINITY } else { link.decades().last() };
        let known = own.filter(|link| ends(link) || link.decades().count() > 0);
        let links: Vec<_> = known.map(|link| (link.name().into(), link.factor(), decades(link))).collect();
        Budget { total: links.iter().map(|(.., decades)| decades).sum(), links }
    }
}

/// After this number of passes, single alterations that need another pass are no longer tried on branches; pairs of
/// alterations still are.
const SINGLES: usize = 30;

/// A change that was tried: the path of a parallel layer, the alterations, the paths (within each branch) of the
/// changed layers, and the budgets of all examined branches after it. The budgets are `None` if the change does not
/// apply.
type Changed = (String, Vec<Alteration>, Vec<String>, Option<Vec<Budget>>);

impl Bench<'_> {
    /// Tries interventions on each branch of a parallel layer in which the gradient's norm changes, in the pass
    /// `sound`, by decades (log10) outside of `lines`, the worst branch first. A pass changes the layers at the same
    /// place in all such branches of one parallel layer. Branches do not depend on each other, so those with the same
    /// fault share their passes.
    pub(super) fn towers(&self, sound: &Statistics, lines: [f64; 2]) -> Result<Vec<OfTower>, Error> {
        let off = |(_, budget): &(Tower, Budget)| (budget.total - 0.5 * (lines[0] + lines[1])).abs();
        let all = towers(self.spec).into_iter().map(|tower| {
            let before = Budget::of_tower(&tower, sound);
            (tower, before)
        });
        let is_bad =
            |(_, before): &(Tower, Budget)| before.total.is_finite() && !(lines[0]..lines[1]).contains(&before.total);
        let mut bad: Vec<(Tower, Budget)> = all.filter(is_bad).collect();
        bad.sort_by(|a, b| off(b).total_cmp(&off(a)));
        let (redrawn, mut tried, mut found) = (weight_layers(self.spec), Vec::<Changed>::new(), Vec::new());
        for (at, (tower, before)) in bad.iter().enumerate() {
            let layers: Vec<String> = redrawn.iter().filter(|layer| tower.has(layer)).cloned().collect();
            let verdict = search(self.spec, &layers, &[], before, true, lines, &mut |alterations, layers| {
                let within: Vec<String> = layers.iter().map(|layer| layer[tower.path.len()..].into()).collect();
                let is_known = |(of, change, places, _): &&Changed| {
                    of == tower.parent() && change == alterations && *places == within
                };
                let known = tried.iter().find(is_known);
                if let Some((.., after)) = known {
                    return Ok(after.as_ref().map(|after| after[at].clone()));
                }
                if alterations.len() == 1 && self.passes() >= SINGLES {
                    return Ok(None);
                }
                let is_same = |layer: &&String| {
                    bad.iter().filter(|(other, _)| other.parent() == tower.parent()).any(|(tower, _)| {
                        layer.strip_prefix(&*tower.path).is_some_and(|rest| within.iter().any(|place| place == rest))
                    })
                };
                let chosen: Vec<String> = redrawn.iter().filter(is_same).cloned().collect();
                let after = self.after(alterations, &chosen)?;
                let of_all = |(_, seen): (LayerSpec, Statistics)| {
                    bad.iter().map(|(tower, _)| Budget::of_tower(tower, &seen)).collect::<Vec<_>>()
                };
                let after = after.map(of_all);
                let own = after.as_ref().map(|after| after[at].clone());
                tried.push((tower.parent().into(), alterations.into(), within, after));
                Ok::<_, Error>(own)
            })?;
            found.push(OfTower { path: tower.path.clone(), verdict });
        }
        Ok(found)
    }
}
