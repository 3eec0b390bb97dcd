//! An import never points up: each file stands on a floor, and uses only what is on its own or below.

use std::{collections::BTreeMap, fs, path::Path};

/// The floor of a file, by its path below `src`, or of a module, by its name.
fn floor(path: &str) -> usize {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "scalar" | "error" | "extent" | "block" => 0,
        p if p.starts_with("math") || p.starts_with("kernel") => 0,
        p if p.starts_with("activation") || p.starts_with("initializer") => 1,
        p if p.starts_with("loss") || p.starts_with("transform") || p.starts_with("monitor") => 2,
        "layer" | "layer/node" => 2,
        "layer/sequential" | "layer/residual" | "layer/summary" => 4,
        p if p.starts_with("layer/") => 3,
        p if p.starts_with("recurrent") => 4,
        "tape" | "network" | "node" => 5,
        "data" | "trainer" | "checkpoint" => 6,
        "lib" => 7,
        other => panic!("{other} has no floor yet: put it on one in this test"),
    }
}

/// Every `.rs` file below `src`, with its text.
fn files(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// The modules that a text imports from the crate: the first name behind each `crate::`, and those of a
/// braced list.
fn imports(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect();
    let code = code.split("#[cfg(test)]").next().unwrap();
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut name) = (0, String::new());
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut name)),
                    _ if depth == 0 => name.push(c),
                    _ => {}
                }
            }
            found.push(name);
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    let module = |name: String| name.trim().split("::").next().unwrap().trim().to_string();
    found.into_iter().map(module).filter(|name| name.chars().next().is_some_and(char::is_lowercase)).collect()
}

#[test]
fn no_import_points_up() {
    assert_eq!(imports("use crate::{\n    a::{B, c::D},\n    e::F,\n};\nlet x = crate::g::h();"), ["a", "e", "g"]);
    let mut seen = 0;
    for (file, text) in sources() {
        for module in imports(&text) {
            if module == "layer" && floor(&file) >= floor("layer") {
                continue; // The contract and the layers have one name; the layers' own files are checked below.
            }
            assert!(floor(&module) <= floor(&file), "{file}, floor {}, imports {module} above it", floor(&file));
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} imports were found");
}

#[test]
fn the_contract_of_a_layer_knows_no_layer() {
    for (file, text) in sources() {
        if ["layer/mod.rs", "layer/node.rs"].contains(&file.as_str()) {
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                assert!(!line.contains("crate::recurrent") && !line.contains("use super::{Linear"), "{file}: {line}");
            }
        }
    }
}

#[test]
fn unsafe_code_is_in_kernel_alone() {
    for (file, text) in sources() {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found = code.filter(|line| line.contains("unsafe ") && !line.contains("unsafe_code")).count();
        assert!(found == 0 || file.starts_with("kernel/"), "{file} has unsafe code");
    }
}
