//! Functions and types that write parts of error messages.

use alloc::{borrow::Cow, format, string::String};
use core::fmt::{self, Display, Formatter};

/// Returns the remedy for a checkpoint that does not fit the run, the last part of the error message. `block` is the
/// name of the block, layer, transform or number that differs.
pub(super) fn checkpoint_remedy(block: &str) -> &'static str {
    if block.starts_with("transform ") {
        "make the trainer with the transforms of the saved run, or take its parameters alone with `load_parameters`"
    } else {
        "use the network, scalar type and transforms with which the file was saved"
    }
}

/// Returns the remedy for a value in a file that is not allowed there, the last part of the error message. `name` is
/// the name of the value.
pub(super) fn value_remedy(name: &str) -> &'static str {
    if name == "the scalar type" {
        "build the network for one of them"
    } else {
        "correct the value, or use another copy of the file"
    }
}

/// Returns the name of a layer for an error message: `layer 2.branch` for the path `2.branch`. A text that contains a
/// space, such as `the skip of a residual`, is returned unchanged.
pub(super) fn layer_name(layer: &str) -> Cow<'_, str> {
    match layer.contains(' ') {
        false => Cow::Owned(format!("layer {layer}")),
        true => Cow::Borrowed(layer),
    }
}

/// Returns the remedy for a slice of the wrong length, the last part of the error message. `what` is the name of the
/// slice.
pub(super) fn length_remedy(what: &str) -> &'static str {
    let has = |word: &str| what.contains(word);
    if has("one a row") {
        "give one for each row"
    } else if has("all samples") {
        "give `width` values for each step of each sample"
    } else if has("optimi") || has("block") || has("network") {
        "take it from the same network and chain of transforms"
    } else if has("gradient of the parameters") {
        "give one value for each parameter"
    } else if has("parameters") {
        "give all parameters of this network, as many as `layer::initialize` returns"
    } else if has("targets of a metric") {
        "give one target for each output"
    } else if has("columns of the targets") {
        "give the scale as many columns as a row of targets has values"
    } else if has("names of classes") {
        "give one for each class"
    } else if has("targets") {
        "give one class for each row of the output, or as many values for it as `Loss::target_width` says"
    } else if has("row weights") {
        "give one weight for each row of the output"
    } else if has("state") || has("buffer") {
        "give as many as the workspace has for this network and batch"
    } else if has("steps") || has("lengths") {
        "make the shape by `BatchShape::ragged`"
    } else if has("of the data for this scale") {
        "fit the scale on data with these columns"
    } else if has("columns") || has("classes") || has("class weights") || has("positive weights") {
        "give one for each column"
    } else if has("input") {
        "give each row of the pass one value for each input of the network"
    } else if has("gradient") || has("output") {
        "give one value for each output of each row"
    } else {
        "give as many as expected"
    }
}

/// Returns the position of a value within its sample, as a part of an error message: `, step 2, column 0`. A
/// coordinate that is `None` is left out.
pub(super) fn step_and_column(step: Option<usize>, column: Option<usize>) -> String {
    let of = |name: &str, place: Option<usize>| place.map_or_else(String::new, |place| format!(", {name} {place}"));
    of("step", step) + &of("column", column)
}

/// Returns the last part of the error message for parameters that are not finite after `step` updates, but were
/// finite after the first `since` updates. It states in which update they became non-finite, and the remedy.
pub(super) fn non_finite_remedy(since: u64, step: u64) -> String {
    if step == 0 {
        return "before the first update; initialize the parameters, or load a file of finite ones".into();
    }
    let first = since.saturating_add(1);
    let updates =
        if first >= step { format!("update {step}") } else { format!("one of the updates {first} to {step}") };
    format!("after {updates}; lower the learning rate, clip the gradient or begin the chain with SkipNonFinite")
}

/// Returns the remedy for targets of a kind (classes or values) that the loss or operation named `loss` does not
/// take, the last part of the error message. `expected` names the kind that it takes.
pub(super) fn target_remedy(loss: &str, expected: &str) -> &'static str {
    if loss.starts_with("a scale") {
        "make the data with `Target::Values`; classes need no scale"
    } else if loss.starts_with("a split") {
        "make the data with `Target::Classes`, one class a sample, or divide it by `Dataset::split`"
    } else if expected.contains("class") {
        "make the data with `Target::Classes`, one class for each output row, or use a loss of values"
    } else {
        "make the data with `Target::Values`, or use a loss of classes such as CrossEntropy"
    }
}

/// Returns the last part of the error message for an unknown name. It lists `names`, the known names most similar to
/// it, and is empty without such names.
pub(super) fn nearest_names(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; the nearest names are {}", names.join(", ")) }
}

/// Displays a number with the shortest decimal digits that identify it. From 10⁹ on, and below 10⁻⁹, it is in
/// scientific notation.
pub(crate) struct Figure(pub f64);

impl Display for Figure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        let is_plain = size == 0.0 || !size.is_finite() || (1e-9..1e9).contains(&size);
        if is_plain { write!(f, "{}", self.0) } else { write!(f, "{:e}", self.0) }
    }
}

/// Displays numbers as a product: `3 × 4` for 3 and 4.
pub(super) struct Product<'a>(pub &'a [usize]);

impl Display for Product<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, factor) in self.0.iter().enumerate() {
            write!(f, "{}{factor}", if i > 0 { " × " } else { "" })?;
        }
        Ok(())
    }
}
