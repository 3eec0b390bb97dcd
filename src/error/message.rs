//! Parts of the messages of errors.

use alloc::{format, string::String};
use core::fmt::{self, Display, Formatter};

/// Returns the end of a message about a checkpoint that does not fit the run: what to do. `block` is the name of the
/// block, layer, transform or number that differs.
pub(super) fn checkpoint_remedy(block: &str) -> &'static str {
    if block.starts_with("transform ") {
        "make the trainer with the transforms of the saved run, or take its parameters alone with `load_parameters`"
    } else {
        "use the network, scalar type and transforms of the saved run"
    }
}

/// Returns the end of a message about an unknown name: the known `names` that are most like it. It is empty without
/// `names`.
pub(super) fn nearest_names(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; the nearest names are {}", names.join(", ")) }
}

/// Displays factors as a product.
pub(super) struct Product<'a>(pub &'a [usize]);

impl Display for Product<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, factor) in self.0.iter().enumerate() {
            write!(f, "{}{factor}", if i > 0 { " × " } else { "" })?;
        }
        Ok(())
    }
}
