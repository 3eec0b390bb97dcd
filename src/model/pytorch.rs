//! Import and export of parameters and buffers under the names, shapes and gate orders of a PyTorch state dict.

use super::{
    module_names::ModuleNames,
    state_dict::{StateDict, misfit},
};
use crate::{
    block::{Blocks, Role, nearest},
    checkpoint::refused,
    error::{Error, require_length},
    layer::{BufferPlace, Layer, LayerSpec, buffer_places, check_depth},
    recurrent::{CellKind, Gru},
    scalar::{Scalar, scalar, to_f64},
    size::filled,
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::ops::Range;

/// A PyTorch tensor, and the parameter block whose values it holds.
struct Entry {
    tensor: String,
    /// The name of the parameter block, such as `0.weight`.
    block: String,
    shape: Vec<usize>,
    kind: Kind,
}

/// How the values of a PyTorch tensor are converted to the values of a parameter block.
enum Kind {
    /// The tensor has the values of the block, in the same order.
    Whole,
    /// PyTorch's recurrent bias b_hh. It is added to b_ih, since the layers of this crate have one bias for each
    /// gate. The exception is the last third of a GRU's b_hh, the rows of the candidate, which are a separate block
    /// in this crate. `apart` is the range of that block among the parameters of the network; `None` for other cells.
    RecurrentBias { apart: Option<Range<usize>> },
}

/// Returns each PyTorch tensor that holds parameters of `network`, with the parameter block to which it corresponds,
/// in the order of `blocks`. `names` gives the PyTorch modules of the layers. Returns an error for a GRU whose reset
/// gate acts before the matrix product, since PyTorch has no such GRU.
fn entries(network: &LayerSpec, blocks: &Blocks, names: &ModuleNames) -> Result<Vec<Entry>, Error> {
    let parts = network.parts();
    let mut entries = Vec::new();
    for block in blocks {
        let (path, own) = block.name.rsplit_once('.').unwrap_or(("", &block.name));
        // The last of the parts at this path is the innermost: a `Reversed` layer has the same path as its inner
        // layer.
        let part = parts.iter().rev().find(|(at, _)| at == path).map(|(_, part)| *part);
        let is_vector = matches!(block.role, Role::Bias | Role::Gain) && block.shape[1] == 1;
        let shape = block.shape[..if is_vector { 1 } else { 2 }].to_vec();
        let mut push = |tensor, kind| {
            entries.push(Entry { tensor, block: block.name.to_string(), shape: shape.clone(), kind });
        };
        let Some(LayerSpec::Recurrent { cell, .. }) = part else {
            let (module, _) = names.of(path);
            // PyTorch names the gain of a norm and the slopes of a PReLU `weight`.
            let own = if matches!(own, "gain" | "slope") { "weight" } else { own };
            push(below(&module, own), Kind::Whole);
            continue;
        };
        if matches!(cell, CellKind::Gru(gru) if *gru != Gru::new()) {
            return Err(misfit(
                path,
                "a GRU whose reset gate acts after the product, as in PyTorch",
                "another variant",
            ));
        }
        // In PyTorch both directions of a bidirectional layer belong to one module.
        let (at, direction) = direction_of(&parts, path);
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

/// Returns the full name of a tensor that is named `own` in the PyTorch module `module`: the module's name, a dot and
/// `own`, or just `own` if `module` is empty.
fn below(module: &str, own: &str) -> String {
    if module.is_empty() { own.into() } else { format!("{module}.{own}") }
}

/// Returns the name of each PyTorch tensor that holds buffers of the network, with its range among all buffers.
/// `places` are the layers that have buffers. A batch norm has two tensors, running mean and running variance. In
/// 16-bit formats its buffers also hold the rounding errors of these statistics, which are not exported. Any other
/// layer has one tensor.
fn buffer_entries(places: &[BufferPlace], names: &ModuleNames) -> Vec<(String, Range<usize>)> {
    let mut entries = Vec::new();
    for place in places {
        let ((module, _), range) = (names.of(&place.path), place.stored());
        match place.columns {
            Some(columns) => {
                let middle = range.start + columns;
                entries.push((below(&module, "running_mean"), range.start..middle));
                entries.push((below(&module, "running_var"), middle..range.end));
            }
            None => entries.push((below(&module, "buffers"), range)),
        }
    }
    entries
}

/// Returns (path, suffix) of the PyTorch module of the recurrent layer at `path`. If the layer is the only recurrent
/// one in a direction of a bidirectional layer, path is that of the bidirectional layer. The suffix is then that of
/// PyTorch's tensor names for the direction: empty or `_reverse`. Otherwise the result is `path` and no suffix.
fn direction_of<'p>(parts: &[(String, &LayerSpec)], path: &'p str) -> (&'p str, &'static str) {
    let mut at = path;
    while !at.is_empty() {
        let (above, name) = at.rsplit_once('.').unwrap_or(("", at));
        let is_around =
            |(other, part): &(String, &LayerSpec)| other == above && matches!(part, LayerSpec::Bidirectional { .. });
        let suffix = match name {
            "forward" => Some(""),
            "backward" => Some("_reverse"),
            _ => None,
        };
        if let Some(suffix) = suffix.filter(|_| parts.iter().any(is_around)) {
            let is_inside =
                |other: &str| other.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            let recurrent =
                |(other, part): &&(String, &LayerSpec)| is_inside(other) && matches!(part, LayerSpec::Recurrent { .. });
            return if parts.iter().filter(recurrent).count() == 1 { (above, suffix) } else { (path, "") };
        }
        at = above;
    }
    (path, "")
}

/// The PyTorch tensors that correspond to the parameters and buffers of a network.
struct Tensors {
    blocks: Blocks,
    /// The tensors of parameters, in the order of `blocks`.
    entries: Vec<Entry>,
    /// The name of each tensor of buffers, and the range of its values among all buffer values.
    of_buffers: Vec<(String, Range<usize>)>,
}

/// Returns the tensors of `network`, after checking its depth, the numbers of its parameters and buffer values in
/// `lengths`, and the paths in `names`.
fn tensors_of<T: Scalar>(network: &dyn Layer<T>, lengths: [usize; 2], names: &ModuleNames) -> Result<Tensors, Error> {
    check_depth(&network)?;
    let (spec, blocks) = (network.spec(), Blocks::collect(|visit| network.blocks(visit)));
    let places = buffer_places(&network);
    require_length("the parameters", blocks.parameters(), lengths[0])?;
    require_length("the buffers", places.last().map_or(0, |place| place.range.end), lengths[1])?;
    names.check(&spec.parts(), &blocks, &places)?;
    let entries = entries(&spec, &blocks, names)?;
    Ok(Tensors { blocks, entries, of_buffers: buffer_entries(&places, names) })
}

/// Sets parameters and buffers of `network` to the tensors of `state`, each rounded to the nearest `T`.
///
/// Linear layers, embeddings, norms, PReLU, RNN, LSTM and GRU, stacked or bidirectional, have PyTorch's names, gate
/// orders and shapes. PyTorch has two biases for each gate, of which this crate keeps only the sum, except for the
/// candidate of a GRU, which has two. Any other parameter block is read from the tensor of its name. The buffers of a
/// batch norm are `running_mean` and `running_var`; its `num_batches_tracked` is ignored. Other buffers are read from
/// the tensor `buffers`. On an error `w` and `buffers` are unchanged.
///
/// ```
/// use chainrule::{layer::Sequential, model::{ModuleNames, StateDict, import_state_dict}};
/// let network = Sequential::<f64>::input(2).linear(1).build()?;
/// let mut state = StateDict::new(); // or `StateDict::load("model.safetensors")?`
/// state.insert("0.weight", &[1, 2], vec![1.0, -2.0])?;
/// state.insert("0.bias", &[1], vec![0.5])?;
/// let mut w = [0.0; 3];
/// import_state_dict(&network, &mut w, &mut [], &state, &ModuleNames::new())?;
/// assert_eq!(w, [1.0, -2.0, 0.5]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `w` does not have the length of the network's parameters, or `buffers` that of its
/// [buffers](crate::workspace::Workspace::buffers). [`Error::StateDict`] for a tensor that is missing or has another
/// shape, and for a tensor that no layer uses and `names` does not [skip](ModuleNames::skip). It is also returned for
/// a GRU whose reset gate acts before the matrix product, which PyTorch does not have, and if `names` has a path
/// without a layer. [`Error::CheckpointValue`] for a value that is not finite in `T`, and for a negative variance.
pub fn import_state_dict<T: Scalar>(
    network: &(impl Layer<T> + ?Sized),
    w: &mut [T],
    buffers: &mut [T],
    state: &StateDict,
    names: &ModuleNames,
) -> Result<(), Error> {
    let Tensors { blocks, entries, of_buffers } = tensors_of(&network, [w.len(), buffers.len()], names)?;
    let mut read = filled("the parameters", w.len(), 0.0)?;
    for entry in &entries {
        let tensor = tensor(state, &entry.tensor, &entry.shape)?;
        for (to, &value) in entry.places(&blocks)?.zip(tensor) {
            read[to] += value;
        }
    }
    let mut read_buffers = filled("the buffers", buffers.len(), 0.0)?;
    for (name, range) in &of_buffers {
        read_buffers[range.clone()].copy_from_slice(tensor(state, name, &[range.len()])?);
    }
    let mut taken: BTreeSet<&str> = entries.iter().map(|entry| &*entry.tensor).collect();
    taken.extend(of_buffers.iter().map(|(name, _)| &**name));
    let counts = |name: &str| {
        let module = name.strip_suffix("num_batches_tracked");
        module.is_some_and(|module| taken.contains(&*format!("{module}running_mean")))
    };
    if let Some(name) = state.names().find(|name| !taken.contains(name) && !counts(name) && !names.skips(name)) {
        return Err(misfit(name, "a tensor of the network, or one that ModuleNames::skip names", "neither"));
    }
    let rule = "finite in the number format of the network";
    for (i, value) in read.iter().enumerate() {
        if !scalar::<T>(*value).is_finite() {
            let block = blocks.at(i).map_or("", |block| &block.name);
            return Err(refused(block, rule, value));
        }
    }
    for (name, range) in &of_buffers {
        if let Some(value) = read_buffers[range.clone()].iter().find(|value| !scalar::<T>(**value).is_finite()) {
            return Err(refused(name, rule, value));
        }
        let is_variance = name.ends_with("running_var");
        if let Some(value) = read_buffers[range.clone()].iter().find(|value| is_variance && **value < 0.0) {
            return Err(refused(name, "a variance, not negative", value));
        }
    }
    w.iter_mut().zip(read).chain(buffers.iter_mut().zip(read_buffers)).for_each(|(to, value)| *to = scalar(value));
    Ok(())
}

/// Returns the values of the tensor `name`, or an error if `state` has no such tensor or its shape is not `shape`.
fn tensor<'s>(state: &'s StateDict, name: &str, shape: &[usize]) -> Result<&'s [f64], Error> {
    let tensor = state.get(name).ok_or_else(|| missing(name, shape, state))?;
    if tensor.shape != shape {
        let [expected, found] = [shape, &tensor.shape].map(|shape| format!("shape {shape:?}"));
        return Err(misfit(name, expected, found));
    }
    Ok(&tensor.values)
}

/// Returns the parameters and buffers of `network` under PyTorch's names: the inverse of [`import_state_dict`]. The
/// bias of a gate is exported as `bias_ih`, with a `bias_hh` of 0; the candidate of a GRU has two biases.
///
/// ```
/// use chainrule::{layer::Linear, model::{ModuleNames, export_state_dict}};
/// let names = ModuleNames::new().module("", "head");
/// let state = export_state_dict(&Linear::new(1, 1), &[2.0_f64, 0.5], &[], &names)?;
/// assert_eq!(state.get("head.weight").map(|tensor| &tensor.values[..]), Some(&[2.0][..]));
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `w` does not have the length of the network's parameters, or `buffers` that of its
/// [buffers](crate::workspace::Workspace::buffers). [`Error::StateDict`] if two tensors would have the same name, if
/// `names` has a path without a layer, or for a GRU whose reset gate acts before the matrix product.
pub fn export_state_dict<T: Scalar>(
    network: &(impl Layer<T> + ?Sized),
    w: &[T],
    buffers: &[T],
    names: &ModuleNames,
) -> Result<StateDict, Error> {
    let Tensors { blocks, entries, of_buffers } = tensors_of(&network, [w.len(), buffers.len()], names)?;
    let mut state = StateDict::new();
    let mut insert = |tensor: &str, shape: &[usize], values| match state.get(tensor) {
        Some(_) => Err(misfit(tensor, "one block of this name: `ModuleNames` tells them apart", "two")),
        None => state.insert(tensor, shape, values),
    };
    for entry in entries {
        let values = entry.places(&blocks)?.map(|at| match entry.kind {
            // The layer's one bias is exported as `bias_ih`, so `bias_hh` is 0.
            Kind::RecurrentBias { .. } if blocks.at(at).is_some_and(|block| block.name == entry.block) => 0.0,
            _ => to_f64(w[at]),
        });
        insert(&entry.tensor, &entry.shape, values.collect())?;
    }
    for (tensor, range) in of_buffers {
        insert(&tensor, &[range.len()], buffers[range].iter().map(|&value| to_f64(value)).collect())?;
    }
    Ok(state)
}

impl Entry {
    /// Returns, for each value of the tensor in order, its index among the parameters of the network. The tensor's
    /// parameter block must be one of `blocks`.
    fn places(&self, blocks: &Blocks) -> Result<impl Iterator<Item = usize> + use<>, Error> {
        let block = blocks.get(&self.block)?;
        let apart = match &self.kind {
            Kind::RecurrentBias { apart: Some(apart) } => apart.clone(),
            _ => 0..0,
        };
        Ok((block.range.start..block.range.end - apart.len()).chain(apart))
    }
}

fn missing(name: &str, shape: &[usize], state: &StateDict) -> Error {
    let near = nearest(name, state.names());
    let found = if near.is_empty() { "no tensor".into() } else { format!("none; the nearest are {}", near.join(", ")) };
    misfit(name, format!("a tensor of shape {shape:?}"), found)
}
