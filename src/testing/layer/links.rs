//! The law of links: a part reports the same links inside another layer as by itself.

use super::{Asked, Suite, draw, run};
use crate::{batch_shape::BatchShape, layer::Layer, testing::Law};
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
        let reported = run(layer, &given, &Asked { watched: true, ..Asked::new(shape) }).ok()?.links;
        let structure = layer.structure();
        let names = structure.link_names(path);
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
}
