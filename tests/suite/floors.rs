//! The house has floors: no file imports from a floor above its own, and only the kernels are unsafe.

use crate::sources::sources;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The floors from the ground up, with their folders and files.
const FLOORS: [(&str, &[&str]); 6] = [
    (
        "ground",
        &[
            "arc",
            "batch_shape",
            "block",
            "clock",
            "compiled",
            "cpu",
            "error",
            "number",
            "random",
            "scalar",
            "size",
            "slices",
            "type_name",
        ],
    ),
    ("numerics", &["kernel", "linalg", "math"]),
    (
        "parts",
        &["activation", "cell", "mean_field", "monitor", "transform", "loss", "initializer", "dataset", "metrics"],
    ),
    ("layers", &["layer", "recurrent"]),
    ("training", &["network", "workspace", "distributed", "trainer", "checkpoint", "model"]),
    ("analysis", &["theory", "diagnosis", "testing", "guide"]),
];

/// Names that the crate's root re-exports, with the folder of each.
const ROOT: [(&str, &[&str]); 10] = [
    ("cpu", &["CpuLevel"]),
    ("error", &["DataRule", "Error", "LayerRule", "RankRule", "RegistryRule"]),
    ("scalar", &["Scalar", "to_f64"]),
    ("block", &["Block", "Blocks", "Gate", "Role"]),
    ("batch_shape", &["BatchShape"]),
    ("activation", &["Activation", "Bounds"]),
    ("layer", &["Layer", "Mode"]),
    ("monitor", &["GradientMonitor"]),
    ("network", &["Builder"]),
    ("diagnosis", &["assert_gradient_healthy"]),
];

/// The folder, or file of the root, in which the first part of a path within the crate lies.
fn folder(path: &[String]) -> Option<&str> {
    let first = path.first().map_or("", String::as_str);
    let folder = ROOT.iter().find(|(_, names)| names.contains(&first)).map_or(first, |(folder, _)| folder);
    FLOORS.iter().flat_map(|(_, folders)| *folders).find(|other| **other == folder).copied()
}

/// The number of the floor on which the first part of a path within the crate lies.
fn floor(path: &[String]) -> Option<usize> {
    let folder = folder(path)?;
    FLOORS.iter().position(|(_, folders)| folders.contains(&folder))
}

/// Every file with its place in the crate and its text without comments.
fn files() -> Vec<(Vec<String>, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let paths = sources(&root);
    assert!(paths.len() > 40, "found {} files only", paths.len());
    let read = |path: &PathBuf| {
        let parts = path.strip_prefix(&root).unwrap().with_extension("");
        let parts: Vec<String> = parts.iter().map(|part| part.to_str().unwrap().into()).collect();
        let text = fs::read_to_string(path).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
        (parts.into_iter().filter(|part| part != "mod").collect(), code)
    };
    paths.iter().map(read).collect()
}

/// The paths that begin with what `text` begins with: `a::{b, c::D}` is a::b and a::c::D. Returns what is left.
fn expand<'t>(text: &'t str, before: &[String], out: &mut Vec<Vec<String>>) -> &'t str {
    let mut text = text.trim_start();
    let mut path = before.to_vec();
    loop {
        if let Some(mut rest) = text.strip_prefix('{') {
            loop {
                rest = rest.trim_start().trim_start_matches(',').trim_start();
                if let Some(rest) = rest.strip_prefix('}') {
                    return rest;
                }
                let next = expand(rest, &path, out);
                assert!(next.len() < rest.len(), "cannot read {rest:.40}");
                rest = next;
            }
        }
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*')).unwrap_or(text.len());
        path.push(text[..end].into());
        text = &text[end..];
        match text.strip_prefix("::") {
            Some(rest) => text = rest,
            None => {
                out.push(path);
                let renamed = text.trim_start().strip_prefix("as ");
                return renamed.map_or(text, |rest| {
                    rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_' || c == ' ')
                });
            }
        }
    }
}

/// All paths into the crate that a file names, in imports and elsewhere.
fn named(place: &[String], code: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        expand(&code[at + "crate::".len()..], &[], &mut out);
    }
    // `super` in layer/linear.rs is layer; the tests within a file look at the file itself.
    for (at, _) in code.match_indices("use super::").filter(|&(at, _)| at == 0 || code[..at].ends_with('\n')) {
        expand(&code[at + "use super::".len()..], &place[..place.len() - 1], &mut out);
    }
    out
}

/// Imports through `compiled` that point up: the folder or file, and the imported name with its folder.
///
/// `compiled` lists the functions of all floors that this crate compiles for `f32` and `f64`, as hidden methods of
/// `Scalar`. A method has a signature, so the traits whose hidden methods call those of `Scalar` name the types of the
/// layers.
const UPWARD: [(&str, &str); 7] = [
    // The hidden methods themselves.
    ("scalar", "all floors"),
    // `Activation::boxed_layer` and `boxed_elman` return the layer of an activation as a trait object.
    ("activation", "layer::ActivationLayer"),
    ("activation", "layer::Layer"),
    ("activation", "recurrent::ElmanLayer"),
    // So does `Cell::boxed_layer` for the layer of a cell.
    ("cell", "layer::Layer"),
    ("cell", "recurrent::RecurrentLayer"),
    // `Layer::unsize` makes the workspace of a network that of a trait object.
    ("layer", "workspace::Workspace"),
];

/// The folders of the names that `compiled` exports: those that it imports, and the types that it defines.
fn compiled_names(code: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for path in named(&["compiled".into()], code) {
        if let Some(folder) = folder(&path) {
            names.insert(path.last().unwrap().clone(), folder.to_owned());
        }
    }
    for (at, _) in code.match_indices(" type ") {
        let name: String = code[at + " type ".len()..].chars().take_while(|c| c.is_alphanumeric()).collect();
        let mut meaning = Vec::new();
        expand(code[at..].split_once("crate::").unwrap().1, &[], &mut meaning);
        names.insert(name, folder(&meaning[0]).unwrap().to_owned());
    }
    names
}

#[test]
fn imports_do_not_point_up() {
    let (mut seen, mut wrong, mut upward) = (0, Vec::new(), BTreeSet::new());
    let files = files();
    let compiled = compiled_names(&files.iter().find(|(place, _)| place == &["compiled"]).unwrap().1);
    for (place, code) in files {
        if place == ["lib"] || place == ["compiled"] {
            continue;
        }
        let own = floor(&place).unwrap_or_else(|| panic!("src/{} stands on no floor: add it", place.join("/")));
        for mut path in named(&place, &code) {
            if path[0] == "compiled" && path.len() > 1 {
                if path[1] == "*" {
                    upward.insert((place[0].clone(), "all floors".to_owned()));
                    continue;
                }
                path[0] = compiled.get(&path[1]).unwrap_or_else(|| panic!("compiled has no {}", path[1])).clone();
                if floor(&path) > Some(own) {
                    upward.insert((place[0].clone(), path.join("::")));
                    continue;
                }
            }
            let Some(other) = floor(&path) else {
                // Functions and macros at the root, and a local `$crate`.
                assert!(
                    ["scalar", "transform_laws", ""].contains(&path[0].as_str()),
                    "crate::{} stands on no floor",
                    path.join("::")
                );
                continue;
            };
            seen += 1;
            if other > own {
                wrong.push(format!("src/{} (floor {own}) names {} (floor {other})", place.join("/"), path.join("::")));
            }
        }
    }
    assert!(seen > 150, "only {seen} imports read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let allowed = UPWARD.map(|(place, path)| (place.to_owned(), path.to_owned()));
    assert_eq!(upward, BTreeSet::from(allowed), "upward imports through `compiled`");
}

#[test]
fn folders_do_not_import_in_circles() {
    let mut reached: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (place, code) in files().iter().filter(|(place, _)| place[0] != "lib" && place[0] != "compiled") {
        // Imports of tests, and those for links of the documents alone, do not count.
        let code = code.split("#[cfg(test)]\nmod ").next().unwrap().replace("#[cfg(doc)]\nuse crate::", "");
        let others = named(place, &code).into_iter().filter_map(|path| folder(&path).map(str::to_owned));
        reached.entry(place[0].clone()).or_default().extend(others.filter(|other| *other != place[0]));
    }
    // Folders that are reached by more and more imports.
    for _ in 0..reached.len() {
        let before = reached.clone();
        for others in reached.values_mut() {
            let further: Vec<_> = others.iter().filter_map(|other| before.get(other)).flatten().cloned().collect();
            others.extend(further);
        }
    }
    let in_circle = reached.iter().filter(|(folder, others)| others.contains(*folder));
    let in_circle: Vec<&str> = in_circle.map(|(folder, _)| folder.as_str()).collect();
    assert!(in_circle.is_empty(), "{in_circle:?} import each other");
}

#[test]
fn files_beside_each_other_do_not_name_each_other() {
    let files: Vec<_> = files().into_iter().filter(|(place, _)| place.len() > 1).collect();
    let code = |code: &str| code.split("#[cfg(test)]\nmod ").next().unwrap().replace("#[cfg(doc)]\nuse crate::", "");
    let paths: Vec<_> = files.iter().map(|(place, text)| named(place, &code(text))).collect();
    let names =
        |a: usize, b: usize| paths[a].iter().any(|path| path.starts_with(&files[b].0) && path.len() > files[b].0.len());
    let mut mutual = BTreeSet::new();
    for (a, b) in (0..files.len()).flat_map(|a| (a + 1..files.len()).map(move |b| (a, b))) {
        let is_below = files[a].0.starts_with(&files[b].0) || files[b].0.starts_with(&files[a].0);
        if !is_below && names(a, b) && names(b, a) {
            mutual.insert((files[a].0.join("/"), files[b].0.join("/")));
        }
    }
    assert!(mutual.is_empty(), "files that name each other: {mutual:?}");
}

#[test]
fn nested_imports_are_expanded_to_paths() {
    let code = "use crate::{\n    workspace::Workspace as T,\n    layer::{Linear, node::{A, B}},\n\
                error::Error,\n};\nuse super::C;\n";
    let paths: Vec<String> = named(&["layer".into(), "x".into()], code).iter().map(|path| path.join("::")).collect();
    assert_eq!(
        paths,
        ["workspace::Workspace", "layer::Linear", "layer::node::A", "layer::node::B", "error::Error", "layer::C"]
    );
}

#[test]
fn only_kernels_are_unsafe() {
    for (place, code) in files().iter().filter(|(place, _)| place[0] != "kernel") {
        let word = |at: usize| {
            let part = |c: char| c.is_alphanumeric() || c == '_';
            !code[..at].ends_with(part) && !code[at + "unsafe".len()..].starts_with(part)
        };
        assert!(!code.match_indices("unsafe").any(|(at, _)| word(at)), "unsafe in src/{}", place.join("/"));
    }
}

/// Functions of `Float` that the platform computes, each with bits of its own.
const OF_PLATFORM: [&str; 22] = [
    "exp", "exp_m1", "exp2", "ln", "ln_1p", "log2", "log10", "powf", "sin", "cos", "tan", "sin_cos", "asin", "acos",
    "atan", "atan2", "tanh", "sinh", "cosh", "asinh", "acosh", "atanh",
];

/// The lines of the source `text` that call a function of [`OF_PLATFORM`], up to its tests.
fn calls_of_platform(text: &str) -> Vec<&str> {
    let text = text.split("#[cfg(test)]").next().unwrap_or(text);
    let code = text.lines().map(|line| line.split("//").next().unwrap_or(line));
    let calls = |line: &&str| {
        OF_PLATFORM.iter().chain(&["cbrt", "hypot"]).any(|name| {
            let paths = ["Float", "f64", "f32"].map(|owner| format!("{owner}::{name}"));
            let ends = |path: &String| {
                line.match_indices(&**path)
                    .any(|(at, _)| !line[at + path.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
            };
            line.contains(&format!(".{name}(")) || paths.iter().any(ends)
        })
    };
    code.filter(calls).collect()
}

/// Results that enter numbers, and decisions about them, are the same bits on every platform: `math` and `libm`
/// compute elementary functions, `Float` of the standard library only for other scalars and in the laws.
#[test]
fn elementary_functions_are_not_those_of_the_platform() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for path in sources(&root) {
        let place = path.strip_prefix(&root).unwrap();
        if ["math", "testing", "kernel/fused.rs"].iter().any(|allowed| place.starts_with(allowed)) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        found.extend(calls_of_platform(&text).into_iter().map(|line| format!("{}: {line}", place.display())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let lines = [
        "let a = x.exp();",
        "map(f64::ln)",
        "Float::powf(a, b)",
        "libm::exp(x)",
        "math::exp(x) // x.exp()",
        "f64::ln_x",
    ];
    assert_eq!(lines.iter().flat_map(|line| calls_of_platform(line)).count(), 3);
}

/// A file holds one noun. The micro-kernels are one, and long.
#[test]
fn files_have_at_most_400_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
    let long = sources(&root).into_iter().filter(|path| !path.ends_with("kernel/gemm/micro_kernel.rs"));
    let long: Vec<_> = long.map(|path| (lines(&path), path)).filter(|(lines, _)| *lines > 400).collect();
    assert!(long.is_empty(), "{long:?}");
}

/// A clock and a process number panic on some platforms. Only `clock` asks for a time, and it knows which have one.
#[test]
fn only_the_clock_asks_the_system_for_time_and_process() {
    for (path, code) in files() {
        for name in ["Instant", "SystemTime", "process::id"] {
            assert!(path == ["clock"] || !code.contains(name), "{}: {name}", path.join("/"));
        }
    }
}
