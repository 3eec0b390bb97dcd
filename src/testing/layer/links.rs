//! The law of links, factors of the chain rule that layers report to monitors. A link is reported once in each pass,
//! with the values of the pass, and a layer reports the same links inside another layer as by itself.

use super::{Asked, Given, Results, Suite, adjoint::widened, draw, pass::Heard, run, unequal};
use crate::{
    batch_shape::BatchShape,
    kernel::reduce::norm,
    layer::{Layer, Mode, Structure, StructureKind},
    monitor::Factor,
    scalar::{Scalar, scalar, to_f64},
    testing::{
        Law,
        law::{beyond, number},
    },
};
use alloc::{format, string::String, vec::Vec};

/// The batch shapes of the passes whose reports are compared.
const SHAPES: [BatchShape<'static>; 3] = [
    BatchShape::sequences(1, 2),
    BatchShape { batch: 4, steps: 4, lengths: Some(&[4, 3, 3, 1]) },
    BatchShape::batch(17),
];

/// Returns the reports of a link (factor of the chain rule) in the forward or the backward pass, from `heard`, all
/// reports to a monitor. Of each, it returns the factor, and whether the link is on the main path. A report in
/// several calls counts once.
fn told(heard: &[Heard<f64>], link: usize, backward: bool) -> Vec<(Factor, bool)> {
    let of_link = heard.iter().filter(|heard| heard.link == link && heard.backward == backward && heard.last);
    of_link.map(|heard| (heard.factor, heard.on_main_path)).collect()
}

impl Suite<'_, '_> {
    /// Compares the links (factors of the chain rule) that each inner layer reports to a monitor inside the layer
    /// with those that it reports by itself.
    #[inline]
    pub(super) fn links(&mut self) {
        self.links_in(self.layers.double, "f64");
        self.links_in(self.layers.single, "f32");
    }

    /// Tests the reports of the layer to monitors in training and evaluation, in the scalar type called `name`.
    fn links_in<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str) {
        for shape in SHAPES {
            for mode in [Mode::Train, Mode::Evaluate] {
                if self.trial.broken(Law::ReportsLinks) {
                    return;
                }
                let at = format!("{} ({mode:?}): ", self.at(name, shape));
                self.links_of(layer, &Asked { watched: true, mode, ..Asked::new(shape) }, "", &at);
            }
        }
    }

    /// Returns the reports of the links (factors of the chain rule) of `layer` by itself in a pass with the settings
    /// `asked`, counted from its first link. `None` if the pass fails. Tests the inner layers of `layer`, whose path
    /// in the network is `path`, in the same way. `at` is a prefix of the places that violations report.
    fn links_of<T: Scalar>(
        &mut self,
        layer: &dyn Layer<T>,
        asked: &Asked<'_>,
        path: &str,
        at: &str,
    ) -> Option<Vec<Heard<f64>>> {
        let shape = asked.shape;
        let mut given = draw(layer, shape, self.seed, 7).ok()?;
        self.admit(&mut given.x);
        self.admit_parameters(&mut given.w);
        let given = given.map(scalar::<T>);
        let results = widened(&run(layer, &given, asked).ok()?);
        let given = given.map(to_f64);
        let structure = layer.structure();
        let names = structure.link_names(path);
        if structure.kind() == StructureKind::Leaf && names.len() == 1 {
            self.leaf_reports(&format!("{at}the link of `{path}`"), &given, &results);
        }
        self.activations(at, &names, &results.heard);
        if structure.kind() == StructureKind::Leaf && names.len() == 2 {
            self.ends_of_two(&format!("{at}the links of `{path}`"), &given, &results);
        }
        self.chain_decades(&format!("{at}the decades of the links of `{path}`"), &structure, &given, &results);
        self.own_reports([path, at], &structure, &given, &results);
        let heard = results.heard;
        if let Some(Heard { link, .. }) = heard.iter().find(|heard| heard.link >= names.len()) {
            let expected = format!("reports of its {} links, by their index from 0", names.len());
            let found = format!("a report of link {link}");
            self.trial.breaks(Law::ReportsLinks, format!("{at}`{path}`"), expected, found, "");
        }
        // Of several parallel branches none is on the main path. A single branch may be on it.
        let parts = if structure.kind() == StructureKind::Branches { structure.parts().count() } else { 0 };
        let mut first = structure.own_links();
        let _ = structure.each(shape, |part, rows| {
            let path = structure.below(path, &part.name);
            let count = part.layer.structure().link_names("").len();
            let alone = self.links_of(part.layer, &Asked { shape: rows, ..*asked }, &path, at);
            let alone_told = |link, backward| told(alone.as_deref().unwrap_or_default(), link, backward);
            let ways = (0..count).flat_map(|link| [(link, false), (link, true)]);
            // An inner layer may be left out of evaluation, or run several times in a pass: as often forward as
            // backward.
            let is_silent = ways.clone().all(|(link, backward)| told(&heard, first + link, backward).is_empty());
            let is_left_out = asked.mode == Mode::Evaluate && is_silent;
            let times = |backward| told(&heard, first, backward).len().checked_div(alone_told(0, backward).len());
            let runs = times(false).filter(|&runs| runs > 0 && times(true) == Some(runs)).unwrap_or(1);
            for (link, backward) in ways.filter(|_| alone.is_some() && !is_left_out) {
                let mut expected = alone_told(link, backward).repeat(runs);
                let found = told(&heard, first + link, backward);
                let beside = parts > 1 || parts == 1 && found.iter().all(|(_, main)| !main);
                expected.iter_mut().for_each(|(_, main)| *main &= !beside);
                if expected != found {
                    let way = if backward { "backward" } else { "forward" };
                    let name = names.get(first + link).map_or("", |name| name);
                    let place = format!("{at}link `{name}` of part `{path}`, {way}");
                    let expected = format!("{}, as from the part by itself", in_words(&expected));
                    self.trial.breaks(Law::ReportsLinks, place, expected, in_words(&found), "");
                }
            }
            first += count;
            Ok::<(), ()>(())
        });
        Some(heard)
    }

    /// Tests, to the bit, what a layer without inner layers and with one link (factor of the chain rule) reports to a
    /// monitor. In the forward pass it reports its input and output once, and in the backward pass their gradients,
    /// with the same kind of factor. `at` is a prefix of the places that violations report.
    #[inline]
    fn leaf_reports(&mut self, at: &str, given: &Given<f64>, results: &Results<f64>) {
        for (backward, way, names, values) in [
            (false, "forward", ["x", "y"], [&given.x, &results.y]),
            (true, "backward", ["dy", "dx"], [&given.dy, &results.dx]),
        ] {
            let reports: Vec<_> = results.heard.iter().filter(|heard| heard.backward == backward).collect();
            let place = format!("{at}, {way}");
            let &[report] = &reports[..] else {
                let (expected, found) = ("one report to a monitor", format!("{} reports", reports.len()));
                return self.trial.breaks(Law::ReportsLinks, place, expected, found, "");
            };
            for ((name, expected), found) in names.into_iter().zip(values).zip(&report.values) {
                if expected.len() != found.len() {
                    let place = format!("{place}: {name} of the report");
                    let (expected, found) = (format!("{} values", expected.len()), format!("{}", found.len()));
                    return self.trial.breaks(Law::ReportsLinks, place, expected, found, "");
                }
                if let Some(i) = unequal(expected, found) {
                    let place = format!("{place}: {name}[{i}] of the report");
                    let value = |values: &[f64]| values.get(i).map_or_else(|| "nothing".into(), |&x| number(x));
                    let (expected, found) = (format!("{}, as in the pass", value(expected)), value(found));
                    return self.trial.breaks(Law::ReportsLinks, place, expected, found, "");
                }
            }
        }
        let [forward, backward] = [false, true].map(|backward| told(&results.heard, 0, backward));
        if forward != backward {
            let (place, expected) = (format!("{at}, backward"), format!("{}, as forward", in_words(&forward)));
            self.trial.breaks(Law::ReportsLinks, place, expected, in_words(&backward), "");
        }
    }

    /// Tests that the reports of activations φ among `heard` have the output φ(z) for their input z. Places of
    /// violations begin with `at`.
    #[inline]
    fn activations(&mut self, at: &str, names: &[String], heard: &[Heard<f64>]) {
        const ALLOWED: f64 = 1e-3;
        let off = heard.iter().find_map(|heard| Some((heard.link, heard.apart.filter(|[_, off]| *off > ALLOWED)?)));
        if let Some((link, [z, off])) = off {
            let name = names.get(link).map_or("", |name| name);
            let place = format!("{at}link `{name}`, forward: the activation of the report");
            let found = format!("one that is {off:e} of 1 + |y| away");
            self.trial.breaks(Law::ReportsLinks, place, "φ with y = φ(z)", found, format!("z = {}", number(z)));
        }
    }

    /// Tests the reports of a layer without parts whose two links are the whole layer: both on the main path, over
    /// depth, with one report in each pass. If their gradients begin at `dy` and end at `dx`, their values begin at
    /// `x` and end at `y`. Two links may also be factors of one term, as those of a gate are. Places of violations
    /// begin with `at`.
    #[inline]
    fn ends_of_two(&mut self, at: &str, given: &Given<f64>, results: &Results<f64>) {
        let ends = |backward: bool| {
            let reports: Vec<_> = results.heard.iter().filter(|heard| heard.backward == backward).collect();
            let [first, second] = reports[..] else { return None };
            let is_chain =
                first.link != second.link && [first, second].iter().all(|heard| heard.on_main_path && !heard.over_time);
            is_chain.then_some([&first.values[0], &second.values[1]])
        };
        let (Some(values), Some(gradients)) = (ends(false), ends(true)) else { return };
        let is_whole =
            [&given.dy, &results.dx].into_iter().zip(gradients).all(|(end, heard)| unequal(end, heard).is_none());
        for ((name, end), heard) in ["x", "y"].into_iter().zip([&given.x, &results.y]).zip(values) {
            if is_whole && unequal(end, heard).is_some() {
                let expected = format!("{name}, as in the pass, at their end: their gradients lead from dy to dx");
                return self.trial.breaks(Law::ReportsLinks, format!("{at}, forward"), expected, "other values", "");
            }
        }
    }

    /// Tests the reports of a layer's own links (factors of the chain rule) to a monitor. The first link of a layer
    /// with branches must be reported once in the forward pass, with the input and output of the layer. It must also
    /// be reported once in the backward pass, ending with the gradient of the input. For a layer without inner
    /// layers, each link must be reported in the backward pass. Places of violations begin with `at`.
    fn own_reports<T: Scalar>(
        &mut self,
        [path, at]: [&str; 2],
        structure: &Structure<'_, T>,
        given: &Given<f64>,
        results: &Results<f64>,
    ) {
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
            self.trial.breaks(Law::ReportsLinks, format!("{at}{place}"), expected, found, "");
        }
    }

    /// Tests, for a chain of layers with one link each, that log10 of the change of the gradient's norm in all links
    /// adds up to that of the whole chain. If so, no layer runs twice, is left out, or receives a gradient that the
    /// next layer did not compute. `at` is a prefix of the places that violations report.
    fn chain_decades<T: Scalar>(
        &mut self,
        at: &str,
        structure: &Structure<'_, T>,
        given: &Given<f64>,
        results: &Results<f64>,
    ) {
        const ROUNDING: f64 = 1e-9;
        let leaf = |layer: &dyn Layer<T>| {
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
        // A layer without a report breaks the law by itself. The logarithm of a gradient of 0 is not compared.
        if results.heard.iter().filter(|heard| heard.backward).count() == parts
            && whole.is_finite()
            && sum.is_finite()
            && beyond((whole - sum).abs(), ROUNDING * (1.0 + whole.abs()))
        {
            let place = format!("{at}, backward");
            let expected = format!("{} in all, as from output to input", number(whole));
            self.trial.breaks(Law::ReportsLinks, place, expected, number(sum), "");
        }
    }
}

/// Describes reports to a monitor in one pass: `1 report of Weights on the main path`.
fn in_words(told: &[(Factor, bool)]) -> String {
    let Some((factor, main)) = told.first() else { return "no report".into() };
    let (many, beside) = (if told.len() == 1 { "" } else { "s" }, if *main { "on" } else { "beside" });
    format!("{} report{many} of {factor:?} {beside} the main path", told.len())
}
