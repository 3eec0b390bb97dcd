//! The seeds of the fuzz targets: a seed in an old format reaches only the first error of its target.

use chainrule::{
    checkpoint::{Checkpoint, Values},
    layer::{LayerSpec, Sequential},
    model::Model,
};
use std::{fs, path::Path};

/// Name and content of each seed of `target`. A published crate has no folder `fuzz`, so no seeds.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        return Vec::new();
    }
    let paths = fs::read_dir(fuzz.join("corpus").join(target)).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: &Path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap());
    let found: Vec<_> = paths.map(|path| read(&path)).collect();
    assert!(!found.is_empty(), "{target} has no seeds");
    found
}

#[test]
fn network_seeds_build_and_have_the_text_of_the_serializer() {
    for (name, text) in seeds("network_json") {
        let text = String::from_utf8(text).unwrap();
        let spec: LayerSpec = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(serde_json::to_string(&spec).unwrap(), text, "{name}");
        spec.build::<f32>().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// The other seeds are damaged on purpose: no text, and lengths that point outside the file.
#[test]
fn checkpoint_seeds_load_unless_they_are_damaged() {
    let network = Sequential::<f32>::input(1).linear(2).linear(1).build().unwrap();
    for (name, bytes) in seeds("checkpoint_bytes") {
        let loaded = match name.as_str() {
            "model" => Model::<f32>::from_bytes(&bytes).map(|_| ()),
            _ => Checkpoint::<f32>::from_bytes(&network, &bytes, Values::Any).map(|_| ()),
        };
        let damaged = ["empty", "length", "offsets", "truncated"].contains(&name.as_str());
        assert_eq!(loaded.is_err(), damaged, "{name}: {loaded:?}");
    }
}
