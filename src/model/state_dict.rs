//! Parameters under the names, shapes and gate orders of a PyTorch state dict.

use super::file::Precision;
use crate::{
    block::{Blocks, Role, nearest},
    checkpoint::{
        damaged, failed, file,
        format::{self, Header, METADATA},
        refused,
    },
    error::{Error, require_length},
    layer::{Layer, LayerSpec},
    recurrent::{CellKind, Gru},
    scalar::{Scalar, scalar, to_f64},
    size::{filled, reserve, saturating_product},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::ops::Range;
use std::path::Path;

/// A tensor of a state dict: its shape and its values, row-major.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tensor {
    /// The length of each axis. Empty for a single number.
    pub shape: Vec<usize>,
    /// As many values as the product of the lengths.
    pub values: Vec<f64>,
}

/// Named tensors: what `state_dict()` gives in PyTorch, and what any safetensors file holds.
///
/// ```
/// use chainrule::layer::{Layer, Sequential, initialize};
/// use chainrule::model::{ModuleNames, StateDict, export_state_dict, import_state_dict};
/// let network = Sequential::<f64>::input(3).linear(4).tanh().linear(2).build()?;
/// let names = ModuleNames::new().module("0", "encoder").module("2", "head");
/// let w = initialize(&network, 7)?;
/// let state = export_state_dict(&network, &w, &names)?;
/// assert_eq!(state.get("encoder.weight").unwrap().shape, [4, 3]);
///
/// let mut again = vec![0.0; w.len()];
/// import_state_dict(&network, &mut again, &state, &names)?;
/// assert_eq!(again, w);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// In Python, `safetensors.torch.load_file` reads what [`save`](Self::save) writes, and
/// `safetensors.torch.save_file(model.state_dict(), "model.safetensors")` writes what [`load`](Self::load) reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict {
    tensors: BTreeMap<String, Tensor>,
}

impl StateDict {
    /// A state dict without tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor, in place of one of the same name.
    ///
    /// # Errors
    /// [`Error::Length`] where `values` does not have the length of `shape`; [`Error::StateDict`] for the name
    /// `__metadata__`, which the format reserves.
    pub fn insert(&mut self, name: &str, shape: &[usize], values: Vec<f64>) -> Result<(), Error> {
        if name == METADATA {
            return Err(misfit(name, "a name of a tensor", "the name of the metadata"));
        }
        require_length("the values of a tensor", saturating_product(shape), values.len())?;
        self.tensors.insert(name.into(), Tensor { shape: shape.to_vec(), values });
        Ok(())
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The tensors in the bytes of a safetensors file, written by any program. Integers become floats.
    ///
    /// # Errors
    /// [`Error::CheckpointFormat`] for bytes that are truncated or in another format. [`Error::StateDict`], naming the
    /// tensor, for a number format other than F64, F32, F16, BF16, BOOL and the integers, and for an integer beyond
    /// 2⁵³, which no `f64` holds exactly.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (header, data) = format::read(bytes).map_err(damaged)?;
        let mut tensors = BTreeMap::new();
        for (name, tensor) in &header.tensors {
            let number = Number::named(&tensor.dtype)
                .ok_or_else(|| misfit(name, "F64, F32, F16, BF16, BOOL or an integer format", &tensor.dtype))?;
            let (bytes, size) = (&data[tensor.bytes()], number.size());
            if bytes.len() != saturating_product(&tensor.shape).saturating_mul(size) {
                return Err(damaged(format!("tensor {name:?} does not have the bytes of its shape")));
            }
            let mut values = reserve("the values of a tensor", bytes.len() / size)?;
            for bytes in bytes.chunks_exact(size) {
                let value = number.read(bytes);
                values.push(value.ok_or_else(|| misfit(name, "integers up to 2⁵³", "a larger one"))?);
            }
            tensors.insert(name.clone(), Tensor { shape: tensor.shape.clone(), values });
        }
        Ok(StateDict { tensors })
    }

    /// The bytes of a safetensors file with all tensors, rounded to the nearest number of `precision`.
    ///
    /// # Errors
    /// [`Error::CheckpointValue`] for a value that `precision` cannot hold.
    pub fn to_bytes(&self, precision: Precision) -> Result<Vec<u8>, Error> {
        let (dtype, size) = precision.dtype();
        let count = self.tensors.values().map(|tensor| tensor.values.len()).fold(0, usize::saturating_add);
        let mut bytes = reserve("the values of a file", count.saturating_mul(size))?;
        let mut tensors = Vec::new();
        for (name, tensor) in &self.tensors {
            let first = bytes.len();
            for (i, &x) in tensor.values.iter().enumerate() {
                let rule = "within the range of the number format of the file";
                let written = precision.write(&mut bytes, x);
                written.ok_or_else(|| refused(name, rule, format!("{x} at place {i}")))?;
            }
            let data_offsets = [first, bytes.len()];
            tensors.push((
                name.clone(),
                format::Tensor { dtype: dtype.into(), shape: tensor.shape.clone(), data_offsets },
            ));
        }
        // Readers of the format expect this entry of files for PyTorch.
        let metadata = BTreeMap::from([("format".into(), "pt".into())]);
        format::write(&Header { metadata, tensors }, &bytes).map_err(damaged)
    }

    /// The tensors of a safetensors file.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read; those of [`from_bytes`](Self::from_bytes).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_bytes(&file::read(path).map_err(|error| failed(path, error))?)
    }

    /// Saves all tensors in a safetensors file. After a crash at any time the old file is there, or the new one.
    ///
    /// # Errors
    /// Those of [`to_bytes`](Self::to_bytes); [`Error::File`] where the system cannot write the file.
    pub fn save(&self, path: impl AsRef<Path>, precision: Precision) -> Result<(), Error> {
        let path = path.as_ref();
        file::replace(path, &self.to_bytes(precision)?).map_err(|error| failed(path, error))
    }
}

/// A number format that can be read.
enum Number {
    Float(Precision),
    Integer { size: usize, signed: bool },
}

impl Number {
    fn named(dtype: &str) -> Option<Self> {
        let integer = |size, signed| Some(Number::Integer { size, signed });
        match dtype {
            "I64" => integer(8, true),
            "I32" => integer(4, true),
            "I16" => integer(2, true),
            "I8" => integer(1, true),
            "U64" => integer(8, false),
            "U32" => integer(4, false),
            "U16" => integer(2, false),
            "U8" | "BOOL" => integer(1, false),
            float => Precision::named(float).map(Number::Float),
        }
    }

    fn size(&self) -> usize {
        match self {
            Number::Float(precision) => precision.dtype().1,
            Number::Integer { size, .. } => *size,
        }
    }

    /// The number that the bytes hold; `None` for an integer beyond 2⁵³.
    fn read(&self, bytes: &[u8]) -> Option<f64> {
        match self {
            Number::Float(precision) => Some(precision.read(bytes)),
            Number::Integer { size, signed } => {
                let word = bytes.iter().rev().fold(0, |word: u64, &byte| word << 8 | u64::from(byte));
                let unused = 64 - 8 * *size as u32;
                let value = if *signed { i128::from((word << unused) as i64 >> unused) } else { i128::from(word) };
                (value.unsigned_abs() <= 1 << 53).then_some(value as f64)
            }
        }
    }
}

/// The PyTorch module that each layer of a network is.
///
/// Without an entry a layer is the module of its own path: `0`, `2.branch.1`. That is the name in a `nn.Sequential` of
/// the same layers, activations among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleNames {
    /// Module and number of the stacked layer, by path.
    modules: BTreeMap<String, (String, usize)>,
    skipped: BTreeSet<String>,
}

impl ModuleNames {
    /// Each layer under its own path.
    pub fn new() -> Self {
        Self::default()
    }

    /// The layer at `path`, and the layers inside it, belong to `module`.
    #[must_use]
    pub fn module(self, path: &str, module: &str) -> Self {
        self.stacked(path, module, 0)
    }

    /// The recurrent layer at `path` is number `layer` of `module`, a `nn.LSTM` or the like of several layers: its
    /// tensors end in `_l1` for number 1.
    #[must_use]
    pub fn stacked(mut self, path: &str, module: &str, layer: usize) -> Self {
        self.modules.insert(path.into(), (module.into(), layer));
        self
    }

    /// Tensors of this name or below it are left unread: they belong to no layer of the network.
    #[must_use]
    pub fn skip(mut self, module: &str) -> Self {
        self.skipped.insert(module.into());
        self
    }

    /// Module and number of the layer at `path`: by the nearest entry above it.
    fn of(&self, path: &str) -> (String, usize) {
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

    fn skips(&self, tensor: &str) -> bool {
        let below = |module: &String| {
            tensor.strip_prefix(&**module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.skipped.iter().any(below)
    }
}

/// A tensor and what it holds of a block.
struct Entry {
    tensor: String,
    /// The name of the block.
    block: String,
    shape: Vec<usize>,
    kind: Kind,
}

/// How the values of a tensor become those of a block.
enum Kind {
    /// One to one.
    Whole,
    /// b_hh, which adds to b_ih: one bias is enough. Its last rows can be a block of their own, at `apart`.
    RecurrentBias { apart: Option<Range<usize>> },
}

/// The tensors of all layers, in the order of their blocks.
fn entries(network: &LayerSpec, blocks: &Blocks, names: &ModuleNames) -> Result<Vec<Entry>, Error> {
    let parts = network.parts();
    let mut entries = Vec::new();
    for block in blocks {
        let (path, own) = block.name.rsplit_once('.').unwrap_or(("", &block.name));
        // The last of this path is the innermost: a reversed layer lies at the path of what it reverses.
        let part = parts.iter().rev().find(|(at, _)| at == path).map(|(_, part)| *part);
        let is_vector = matches!(block.role, Role::Bias | Role::Gain) && block.shape[1] == 1;
        let shape = block.shape[..if is_vector { 1 } else { 2 }].to_vec();
        let mut push = |tensor, kind| {
            entries.push(Entry { tensor, block: block.name.to_string(), shape: shape.clone(), kind });
        };
        let Some(LayerSpec::Recurrent { cell, .. }) = part else {
            let (module, _) = names.of(path);
            // PyTorch names the gain of a norm and the slopes of a PReLU so.
            let own = if matches!(own, "gain" | "slope") { "weight" } else { own };
            push(if module.is_empty() { own.into() } else { format!("{module}.{own}") }, Kind::Whole);
            continue;
        };
        if matches!(cell, CellKind::Gru(gru) if *gru != Gru::new()) {
            return Err(misfit(
                path,
                "a GRU whose reset gate acts after the product, as in PyTorch",
                "another variant",
            ));
        }
        // The directions of a bidirectional layer are one module.
        let (at, direction) = match path.rsplit_once('.').unwrap_or(("", path)) {
            (above, "forward") if is_bidirectional(&parts, above) => (above, ""),
            (above, "backward") if is_bidirectional(&parts, above) => (above, "_reverse"),
            _ => (path, ""),
        };
        let (module, layer) = names.of(at);
        let dot = if module.is_empty() { "" } else { "." };
        let tensor = |what: &str| format!("{module}{dot}{what}_l{layer}{direction}");
        match own {
            "weight" => push(tensor("weight_ih"), Kind::Whole),
            "recurrent" => push(tensor("weight_hh"), Kind::Whole),
            "bias" => {
                push(tensor("bias_ih"), Kind::Whole);
                let beside = format!("{}recurrent_bias", &block.name[..block.name.len() - own.len()]);
                let apart = blocks.iter().find(|block| block.name == beside).map(|block| block.range.clone());
                push(tensor("bias_hh"), Kind::RecurrentBias { apart });
            }
            _ => {}
        }
    }
    Ok(entries)
}

fn is_bidirectional(parts: &[(String, &LayerSpec)], path: &str) -> bool {
    parts.iter().any(|(at, part)| at == path && matches!(part, LayerSpec::Bidirectional { .. }))
}

/// Sets the parameters of `network` to the tensors of `state`, each rounded to the nearest `T`.
///
/// Linear layers, norms, PReLU, RNN, LSTM and GRU have PyTorch's names, gate orders and shapes, stacked or
/// bidirectional. Its two biases of a gate become one, their sum, but for the candidate of a GRU, which has two here
/// as well. Any other block is the tensor of its own name. Where an error is returned `w` is as before.
///
/// # Errors
/// [`Error::Length`] where `w` does not have the network's parameters. [`Error::StateDict`] for a tensor that is
/// missing or has another shape, and for one that no layer takes and `names` does not [skip](ModuleNames::skip). The
/// same for a GRU whose reset gate acts before the product, which PyTorch does not have. [`Error::CheckpointValue`]
/// for a value that is not finite in `T`.
pub fn import_state_dict<T: Scalar>(
    network: &(impl Layer<T> + ?Sized),
    w: &mut [T],
    state: &StateDict,
    names: &ModuleNames,
) -> Result<(), Error> {
    let (spec, blocks) = (network.spec(), Blocks::collect(|visit| network.blocks(visit)));
    require_length("the parameters", blocks.parameters(), w.len())?;
    let entries = entries(&spec, &blocks, names)?;
    let mut read = filled("the parameters", w.len(), 0.0)?;
    for entry in &entries {
        let tensor = state.get(&entry.tensor).ok_or_else(|| missing(entry, state))?;
        if tensor.shape != entry.shape {
            let [expected, found] = [&entry.shape, &tensor.shape].map(|shape| format!("shape {shape:?}"));
            return Err(misfit(&entry.tensor, expected, found));
        }
        for (to, &value) in entry.places(&blocks)?.zip(&tensor.values) {
            read[to] += value;
        }
    }
    let taken: BTreeSet<&str> = entries.iter().map(|entry| &*entry.tensor).collect();
    if let Some(name) = state.names().find(|name| !taken.contains(name) && !names.skips(name)) {
        return Err(misfit(name, "a tensor of the network, or one that ModuleNames::skip names", "neither"));
    }
    for (i, value) in read.iter().enumerate() {
        if !scalar::<T>(*value).is_finite() {
            let block = blocks.at(i).map_or("", |block| &block.name);
            return Err(refused(block, "finite in the number format of the network", value));
        }
    }
    for (to, value) in w.iter_mut().zip(read) {
        *to = scalar(value);
    }
    Ok(())
}

/// The parameters of `network` as PyTorch names them: the reverse of [`import_state_dict`]. A gate's one bias becomes
/// `bias_ih`, and `bias_hh` is 0.
///
/// # Errors
/// [`Error::Length`] where `w` does not have the network's parameters; [`Error::StateDict`] where two blocks would
/// have one name, or for a GRU whose reset gate acts before the product.
pub fn export_state_dict<T: Scalar>(
    network: &(impl Layer<T> + ?Sized),
    w: &[T],
    names: &ModuleNames,
) -> Result<StateDict, Error> {
    let (spec, blocks) = (network.spec(), Blocks::collect(|visit| network.blocks(visit)));
    require_length("the parameters", blocks.parameters(), w.len())?;
    let mut state = StateDict::new();
    for entry in entries(&spec, &blocks, names)? {
        if state.get(&entry.tensor).is_some() {
            return Err(misfit(&entry.tensor, "one block of this name: `ModuleNames` tells them apart", "two"));
        }
        let values = entry.places(&blocks)?.map(|at| match entry.kind {
            // The one bias went into the other tensor.
            Kind::RecurrentBias { .. } if blocks.at(at).is_some_and(|block| block.name == entry.block) => 0.0,
            _ => to_f64(w[at]),
        });
        state.insert(&entry.tensor, &entry.shape, values.collect())?;
    }
    Ok(state)
}

impl Entry {
    /// The places of its values among the parameters, in order.
    fn places(&self, blocks: &Blocks) -> Result<impl Iterator<Item = usize> + use<>, Error> {
        let block = blocks.get(&self.block)?;
        let apart = match &self.kind {
            Kind::RecurrentBias { apart: Some(apart) } => apart.clone(),
            _ => 0..0,
        };
        Ok((block.range.start..block.range.end - apart.len()).chain(apart))
    }
}

fn misfit(tensor: &str, expected: impl ToString, found: impl ToString) -> Error {
    Error::StateDict { tensor: tensor.into(), expected: expected.to_string(), found: found.to_string() }
}

fn missing(entry: &Entry, state: &StateDict) -> Error {
    let near = nearest(&entry.tensor, state.names());
    let found = if near.is_empty() { "no tensor".into() } else { format!("none; the nearest are {}", near.join(", ")) };
    misfit(&entry.tensor, format!("a tensor of shape {:?}", entry.shape), found)
}
