//! The table of hostile calls (`tests/hostile`) names each public function that takes values of a caller.
//!
//! Both sides are read as text, so that the comparison needs no build of its own.

mod surface;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use surface::Point;
use tokens::{Tree, trees};

/// Public functions without an entry, each with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    ("CpuLevel::available", "takes no argument"),
    ("CpuLevel::current", "takes no argument"),
    ("network::Registry::new", "takes no argument"),
    ("dataset::Standardize: TryFrom", "from a private type, by which JSON is read"),
    ("initializer::ByGate: From", "from a private type, by which JSON is read"),
];

/// Names in the table that `surface` does not see: made by macros, or without arguments.
const BESIDES: &[&str] = &[
    "activation::ActivationKind: Activation",
    "activation::HardShrink: Activation",
    "activation::HardShrink::new",
    "activation::SoftShrink: Activation",
    "activation::SoftShrink::new",
    "recurrent::CellKind {}",
    "recurrent::CellKind: Deserialize",
    "layer::GroupNorm: Deserialize",
    "layer::GroupNorm: Layer",
    "layer::GroupNorm::epsilon",
    "layer::GroupNorm::new",
    "layer::Hints::accepts_short_dy",
    "layer::Hints::dx_zero_before_last_step",
    "layer::Hints::ignores_x",
    "layer::Hints::ignores_y",
    "layer::Hints::overwrites_dw",
    "layer::Hints::saved_per_row",
    "layer::Layer::hints",
    "layer::Layer::reads_later_steps",
    "layer::Layer::structure",
    "layer::LayerNorm: Deserialize",
    "layer::LayerNorm: Layer",
    "layer::LayerNorm::epsilon",
    "layer::LayerNorm::new",
    "layer::LayerSpec: Deserialize",
    "layer::LayerSpec::build",
    "layer::LayerSpec::build_with",
    "layer::LayerSpec {}",
    "layer::RmsNorm: Deserialize",
    "layer::RmsNorm: Layer",
    "layer::RmsNorm::epsilon",
    "layer::RmsNorm::new",
    "loss::BinaryCrossEntropy::reduction",
    "loss::CosineDistance::reduction",
    "loss::CrossEntropy::class_weights",
    "loss::CrossEntropy::ignore_class",
    "loss::CrossEntropy::reduction",
    "loss::Focal::reduction",
    "loss::GaussianNll::reduction",
    "loss::Hinge::reduction",
    "loss::Huber: Loss",
    "loss::Huber::new",
    "loss::Huber::reduction",
    "loss::KlDivergence::reduction",
    "loss::MeanAbsoluteError: Loss",
    "loss::MeanAbsoluteError::new",
    "loss::MeanAbsoluteError::reduction",
    "loss::MeanSquaredError: Loss",
    "loss::MeanSquaredError::new",
    "loss::MeanSquaredError::reduction",
    "loss::MultiMargin::class_weights",
    "loss::MultiMargin::reduction",
    "loss::NegativeLogLikelihood::class_weights",
    "loss::NegativeLogLikelihood::ignore_class",
    "loss::NegativeLogLikelihood::reduction",
    "loss::Pinball: Loss",
    "loss::Pinball::new",
    "loss::Pinball::reduction",
    "loss::PoissonNll::reduction",
    "loss::SmoothL1: Loss",
    "loss::SmoothL1::new",
    "loss::SmoothL1::reduction",
    "testing::strategies::OwnedTarget::target",
    "testing::strategies::losses",
    "testing::strategies::optimizers",
    "testing::strategies::transforms",
    "trainer::Trainer::averaged_parameters",
    "transform::Adam::betas",
    "transform::Adam::epsilon",
    "transform::Adamax: GradientTransform",
    "transform::Adamax::betas",
    "transform::Adamax::epsilon",
    "transform::NAdam::betas",
    "transform::NAdam::epsilon",
    "transform::RAdam: GradientTransform",
    "transform::RAdam::betas",
    "transform::RAdam::epsilon",
    "transform::ScheduleFreeAdamW::betas",
    "transform::ScheduleFreeAdamW::epsilon",
];

/// The names of an entry, and the fragments of the panics that it allows.
struct Entry {
    names: Vec<String>,
    laws: Vec<String>,
}

/// The text literals of a group.
fn literals(tree: &Tree) -> Vec<String> {
    let Tree::Group(_, inner) = tree else { return Vec::new() };
    inner.iter().filter_map(|tree| if let Tree::Text(text) = tree { Some(text.clone()) } else { None }).collect()
}

/// Adds the calls `entry(weight, &[names], &[laws], …)` among `trees`.
fn entries(trees: &[Tree], found: &mut Vec<Entry>) {
    for (i, tree) in trees.iter().enumerate() {
        let Tree::Group(_, inner) = tree else { continue };
        let called = i > 0 && trees[i - 1].is("entry") && matches!(tree, Tree::Group('(', _));
        let lists: Vec<&Tree> = inner.iter().filter(|tree| matches!(tree, Tree::Group('[', _))).take(2).collect();
        if let (true, [names, laws]) = (called, &lists[..]) {
            found.push(Entry { names: literals(names), laws: literals(laws) });
        } else {
            entries(inner, found);
        }
    }
}

#[test]
fn table_of_hostile_calls_names_each_public_function() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("tests/hostile/src/entries");
    // The package leaves the tool out.
    let Ok(files) = fs::read_dir(folder) else { return };
    let mut table = Vec::new();
    for path in files.map(|file| file.unwrap().path()) {
        entries(&trees(&fs::read_to_string(&path).unwrap()), &mut table);
    }
    let points = surface::points(&root.join("src"));
    assert!(points.len() > 400 && table.len() > 100, "{} functions, {} entries", points.len(), table.len());
    let public: BTreeMap<&str, &Point> = points.iter().map(|point| (point.name.as_str(), point)).collect();
    let named: BTreeSet<&str> = table.iter().flat_map(|entry| &entry.names).map(String::as_str).collect();
    let mut faults = Vec::new();
    let is_left_out = |name: &str| LEFT_OUT.iter().any(|(left, _)| *left == name);
    let missing = public.keys().filter(|name| !named.contains(**name) && !is_left_out(name));
    faults.extend(missing.map(|name| format!("{name} has no entry: {}", public[name].signature)));
    let stale = named.iter().filter(|name| !public.contains_key(**name) && !BESIDES.contains(name));
    faults.extend(stale.map(|name| format!("{name} is in the table, but not public")));
    let unused = LEFT_OUT.iter().filter(|(name, _)| !public.contains_key(name) || named.contains(name));
    faults.extend(unused.map(|(name, _)| format!("{name} is left out without need")));
    let unused = BESIDES.iter().filter(|name| public.contains_key(**name) || !named.contains(**name));
    faults.extend(unused.map(|name| format!("{name} needs no exception")));
    for entry in &table {
        let documented = entry.names.iter().any(|name| public.get(name.as_str()).is_some_and(|point| point.panics));
        if !entry.laws.is_empty() && !documented {
            faults.push(format!("{} allows panics that no `# Panics` states", entry.names[0]));
        }
    }
    let mut once = BTreeSet::new();
    let twice = table.iter().flat_map(|entry| &entry.names).filter(|name| !once.insert(*name));
    faults.extend(twice.map(|name| format!("{name} stands in two entries")));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
