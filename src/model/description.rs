//! The description of a model as JSON in the header of its file: layers, scales and names.

use crate::{
    checkpoint::{damaged, format::Header},
    dataset::Standardize,
    error::{Error, LayerRule},
    layer::{LayerSpec, MAX_DEPTH},
};
use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// A model without its parameters, as it is saved as JSON in the metadata of a file: layer specification, input and
/// output scales, column and class names.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    pub network: LayerSpec,
    pub inputs: Option<Standardize>,
    pub outputs: Option<Standardize>,
    pub columns: Vec<String>,
    pub classes: Vec<String>,
}

/// The metadata key under which a file holds the [`Description`], as JSON.
pub(super) const DESCRIPTION: &str = "model";

/// The largest number of JSON brackets and braces that may be open at once in the description of a model.
/// [`MAX_DEPTH`] levels of nested layers open at most four each, more than the limit of 128 in `serde_json`. Without
/// `std`, levels are not counted while a description is read, and stacks are small, so the limit remains 128.
const MOST_BRACKETS: usize = if cfg!(feature = "std") { 4 * MAX_DEPTH + 16 } else { 128 };

/// Reads the description of a model from the header of its file. The nesting of its JSON is checked first, so that
/// deep nesting cannot overflow the stack.
pub(super) fn describe(header: &Header) -> Result<Description, Error> {
    let text = header.metadata.get(DESCRIPTION).map_or("", String::as_str);
    if brackets(text) > MOST_BRACKETS {
        return Err(damaged(LayerRule::TooDeep { limit: MAX_DEPTH }));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    Description::deserialize(&mut reader).and_then(|read| reader.end().map(|()| read)).map_err(damaged)
}

/// Returns the largest number of brackets and braces that are open at once in the JSON `text`, outside its strings.
fn brackets(text: &str) -> usize {
    let (mut open, mut most, mut inside, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = inside,
            b'"' => inside = !inside,
            b'[' | b'{' if !inside => open += 1,
            b']' | b'}' if !inside => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}
