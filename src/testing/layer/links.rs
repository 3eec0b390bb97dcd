//! The law of links: a link is reported once in each pass, with the values of the pass, and a part reports the same
//! links inside another layer as by itself.

use super::{Asked, Given, Results, Suite, draw, run, unequal};
use crate::{
    batch_shape::BatchShape,
    kernel::reduce::norm,
    layer::{Layer, Structure, StructureKind},
    testing::{
        Law,
        law::{beyond, number},
    },
};
use alloc::{format, vec::Vec};

impl Suite<'_, '_> {
    /// Compares the links (factors of the chain rule) that each part reports to a monitor inside the layer with those
    /// that it reports by itself.
    #[inline]
    pub(super) fn links(&mut self) {
        self.links_of(self.layers.double, BatchShape::sequences(1, 2), "");
    }

    /// Returns the indices of the links (factors of the chain rule) that `layer` reports by itself in a pass of
    /// `shape`, counted from its first link, each with whether it is reported in the backward pass. `None` if the pass
    /// fails. Tests the parts of `layer`, whose path in the network is `path`, in the same way.
    #[inline]
    fn links_of(&mut self, layer: &dyn Layer<f64>, shape: BatchShape<'_>, path: &str) -> Option<Vec<(usize, bool)>> {
        let mut given = draw(layer, shape, self.seed, 7).ok()?;
        self.admit(&mut given.x);
        self.admit_parameters(&mut given.w);
        let results = run(layer, &given, &Asked { watched: true, ..Asked::new(shape) }).ok()?;
        let structure = layer.structure();
        let names = structure.link_names(path);
        if structure.kind() == StructureKind::Leaf && names.len() == 1 {
            self.leaf_reports(path, &given, &results);
        }
        self.chain_decades(path, &structure, &given, &results);
        self.own_reports(path, &structure, &given, &results);
        let reported = results.links;
        if let Some((link, _)) = reported.iter().find(|(link, _)| *link >= names.len()) {
            let expected = format!("one of its {} links", names.len());
            self.trial.breaks(Law::ReportsLinks, format!("{}`{path}`", self.label), expected, format!("{link}"), "");
        }
        let mut first = structure.own_links();
        let _ = structure.each(shape, |part, rows| {
            let path = structure.below(path, &part.name);
            let count = part.layer.structure().link_names("").len();
            let alone = self.links_of(part.layer, rows, &path).unwrap_or_default();
            let missing = alone.iter().find(|(link, backward)| !reported.contains(&(first + link, *backward)));
            if let Some(&(link, backward)) = missing {
                let way = if backward { "backward" } else { "forward" };
                let name = names.get(first + link).map_or("", |name| name);
                let place = format!("{}link `{name}` of part `{path}`, {way}", self.label);
                self.trial.breaks(Law::ReportsLinks, place, "an event, as from the part by itself", "none", "");
            }
            first += count;
            Ok::<(), ()>(())
        });
        Some(reported)
    }

    /// Tests the reports of the only link of a layer without parts, called `path`, to the bit: one forward, of input
    /// and output, and one backward, of their gradients.
    #[inline]
    fn leaf_reports(&mut self, path: &str, given: &Given<f64>, results: &Results<f64>) {
        for (backward, way, names, values) in [
            (false, "forward", ["x", "y"], [&given.x, &results.y]),
            (true, "backward", ["dy", "dx"], [&given.dy, &results.dx]),
        ] {
            let reports: Vec<_> = results.heard.iter().filter(|heard| heard.backward == backward).collect();
            let place = format!("{}the link of `{path}`, {way}", self.label);
            let &[report] = &reports[..] else {
                let (expected, found) = ("one report to a monitor", format!("{} reports", reports.len()));
                return self.trial.breaks(Law::ReportsLinks, place, expected, found, "");
            };
            for ((name, expected), found) in names.into_iter().zip(values).zip(&report.values) {
                if let Some(i) = unequal(expected, found) {
                    let place = format!("{place}: {name}[{i}] of the report");
                    let value = |values: &[f64]| values.get(i).map_or_else(|| "nothing".into(), |&x| number(x));
                    let (expected, found) = (format!("{}, as in the pass", value(expected)), value(found));
                    return self.trial.breaks(Law::ReportsLinks, place, expected, found, "");
                }
            }
        }
    }

    /// Tests the reports of the first link of a layer with branches: one forward, of its input and output, and one
    /// backward, to the gradient of its input. Of a layer without parts, each link is reported backward.
    #[inline]
    fn own_reports(&mut self, path: &str, structure: &Structure<'_, f64>, given: &Given<f64>, results: &Results<f64>) {
        let names = structure.link_names(path);
        let of = |link: usize, backward: bool| {
            results.heard.iter().filter(move |heard| heard.link == link && heard.backward == backward)
        };
        let place = |link: usize, way: &str| format!("link `{}` of `{path}`, {way}", names[link]);
        let mut wrong = None;
        if structure.kind() == StructureKind::Branches && structure.own_links() > 0 {
            for (backward, way) in [(false, "forward"), (true, "backward")] {
                let reports: Vec<_> = of(0, backward).collect();
                let ends = |values: &[Vec<f64>; 2]| match backward {
                    false => unequal(&values[0], &given.x).or(unequal(&values[1], &results.y)).is_none(),
                    true => unequal(&values[1], &results.dx).is_none(),
                };
                if reports.len() != 1 || !ends(&reports[0].values) {
                    let expected = if backward { "one report that ends at dx" } else { "one report of x and y" };
                    let other = if reports.len() == 1 { "of other values" } else { "in all" };
                    wrong = wrong.or(Some((place(0, way), expected, format!("{} {other}", reports.len()))));
                }
            }
        }
        if structure.kind() == StructureKind::Leaf {
            let silent = (0..structure.own_links()).find(|&link| of(link, true).next().is_none());
            wrong = wrong.or(silent.map(|link| (place(link, "backward"), "a report to a monitor", "none".into())));
        }
        if let Some((place, expected, found)) = wrong {
            self.trial.breaks(Law::ReportsLinks, format!("{}{place}", self.label), expected, found, "");
        }
    }

    /// Tests that the decades of a chain of layers with one link each add up to those of the whole chain. No part is
    /// then run twice, left out, or given another gradient than the next part left.
    #[inline]
    fn chain_decades(
        &mut self,
        path: &str,
        structure: &Structure<'_, f64>,
        given: &Given<f64>,
        results: &Results<f64>,
    ) {
        const ROUNDING: f64 = 1e-9;
        let leaf = |layer: &dyn Layer<f64>| {
            let structure = layer.structure();
            structure.kind() == StructureKind::Leaf && structure.link_names("").len() == 1
        };
        let parts = structure.parts().count();
        let simple = structure.own_links() == 0 && structure.parts().all(|(_, layer, _)| leaf(layer));
        if structure.kind() != StructureKind::Chain || parts == 0 || !simple {
            return;
        }
        let decades = |from: &[f64], to: &[f64]| libm::log10(norm(to) / norm(from));
        let whole = decades(&given.dy, &results.dx);
        let backward = results.heard.iter().filter(|heard| heard.backward);
        let sum: f64 = backward.map(|heard| decades(&heard.values[0], &heard.values[1])).sum();
        // Links without a report break the law by themselves; a gradient of 0 has no decades.
        if results.heard.iter().filter(|heard| heard.backward).count() == parts
            && whole.is_finite()
            && sum.is_finite()
            && beyond((whole - sum).abs(), ROUNDING * (1.0 + whole.abs()))
        {
            let place = format!("{}the decades of the links of `{path}`, backward", self.label);
            let expected = format!("{} in all, as from output to input", number(whole));
            self.trial.breaks(Law::ReportsLinks, place, expected, number(sum), "");
        }
    }
}
