//! The names of PyTorch modules for the layers of a network.

use super::state_dict::misfit;
use crate::{
    block::{Blocks, nearest},
    error::Error,
    layer::{BufferPlace, LayerSpec},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

/// The names of the PyTorch modules that correspond to the layers of a network.
///
/// By default a layer corresponds to the PyTorch module with the layer's own path as its name, such as `0` or
/// `2.branch.1`. So the layers of a plain chain have the names of an `nn.Sequential` in which each activation is a
/// module.
///
/// ```
/// use chainrule::{layer::Sequential, model::{ModuleNames, export_state_dict}};
/// let network = Sequential::<f64>::input(1).linear(1).build()?;
/// let names = ModuleNames::new().module("0", "encoder.first");
/// let state = export_state_dict(&network, &[2.0, 0.5], &[], &names)?;
/// assert_eq!(state.names().collect::<Vec<_>>(), ["encoder.first.bias", "encoder.first.weight"]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleNames {
    /// For the path of each renamed layer, the name of its PyTorch module, and its index among the stacked layers of
    /// that module (`num_layers`).
    modules: BTreeMap<String, (String, usize)>,
    skipped: BTreeSet<String>,
}

impl ModuleNames {
    /// Creates names by which each layer corresponds to the PyTorch module named like the layer's own path.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps the layer at `path` to the PyTorch module `module`, and each layer inside it to the module at the same
    /// path inside `module`. Import and export return an error if the network has no layer at `path`.
    #[must_use]
    pub fn module(self, path: &str, module: &str) -> Self {
        self.stacked(path, module, 0)
    }

    /// Maps the recurrent layer at `path` to layer `layer`, counted from 0, of `module`, such as an `nn.LSTM` with
    /// several layers. The names of its tensors end in `_l1` for layer 1.
    #[must_use]
    pub fn stacked(mut self, path: &str, module: &str, layer: usize) -> Self {
        self.modules.insert(path.into(), (module.into(), layer));
        self
    }

    /// Makes an import ignore tensors that belong to no layer of the network: the tensor named `module`, and those
    /// whose names begin with `module.`.
    #[must_use]
    pub fn skip(mut self, module: &str) -> Self {
        self.skipped.insert(module.into());
        self
    }

    /// Returns (module, index) of the layer at `path`: the name of its PyTorch module, and its index among the
    /// stacked layers of the module. They follow from the entry of this layer, or else of the innermost layer around
    /// it. Without such an entry they are `path` and 0.
    pub(super) fn of(&self, path: &str) -> (String, usize) {
        let mut above = path;
        loop {
            if let Some((module, layer)) = self.modules.get(above) {
                let rest = path[above.len()..].trim_start_matches('.');
                let between = if module.is_empty() || rest.is_empty() { "" } else { "." };
                return (format!("{module}{between}{rest}"), *layer);
            }
            match above.rsplit_once('.') {
                Some((parent, _)) => above = parent,
                None if above.is_empty() => return (path.into(), 0),
                None => above = "",
            }
        }
    }

    /// Returns an error if an entry of these names has a path at which the network has no layer. `parts` are the
    /// layers of the network with their paths. The layers inside a custom layer are found by the names of its
    /// parameters in `blocks` and of its buffers in `places`.
    pub(super) fn check(
        &self,
        parts: &[(String, &LayerSpec)],
        blocks: &Blocks,
        places: &[BufferPlace],
    ) -> Result<(), Error> {
        let owners = blocks.iter().map(|block| block.name.rsplit_once('.').map_or("", |(path, _)| path));
        let paths = parts.iter().map(|(path, _)| &**path).chain(owners).chain(places.iter().map(|place| &*place.path));
        let mut paths: Vec<&str> = paths.collect();
        paths.sort_unstable();
        paths.dedup();
        let is_known = |at: &str| {
            at.is_empty()
                || paths
                    .iter()
                    .any(|path| path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        };
        match self.modules.iter().find(|(path, _)| !is_known(path)) {
            None => Ok(()),
            Some((path, (module, _))) => {
                let near = nearest(path, paths.into_iter().filter(|path| !path.is_empty())).join(", ");
                let found = format!("ModuleNames for {path:?}, where the network has none; the nearest are {near}");
                Err(misfit(module, "the path of a layer", found))
            }
        }
    }

    /// Whether an import ignores the tensor of this name.
    pub(super) fn skips(&self, tensor: &str) -> bool {
        let below = |module: &String| {
            tensor.strip_prefix(&**module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.skipped.iter().any(below)
    }
}
