//! Saving and loading of a training run: resumed training gives the same bits as training without a break.
//!
//! A checkpoint is a file, or bytes, in the safetensors format, which other tools read. Each parameter block is a
//! tensor under its name. The metadata holds a description of the network, of the chain of transforms and of the
//! settings, and a checksum. Loading compares the description with the current run:
//!
//! | differs | result |
//! | --- | --- |
//! | kinds, order and sizes of layers, activations and their parameters | [`Error::Checkpoint`] |
//! | settings of a custom layer, cell or activation: by default its `Debug` text | [`Error::Checkpoint`] |
//! | kinds and order of transforms, layout of their state | [`Error::Checkpoint`] |
//! | a rate, a β, a decay, a dropout rate, a setting, the loss | a [`Difference`]; the present value holds |
//! | a rate set by [`Trainer::set_learning_rate`](crate::trainer::Trainer::set_learning_rate) | the saved rate holds |
//! | a `WeightAverage` that is or is not the result, once patience has kept the best weights | [`Error::Checkpoint`] |
//! | the seed | a [`Difference`]; the saved seed holds, since order and masks are drawn from it |
//!
//! ```
//! use chainrule::{checkpoint::{Checkpoint, Values}, layer::{Sequential, initialize}};
//! let network = Sequential::<f32>::input(2).linear(3).build()?;
//! let parameters = initialize(&network, 1)?;
//! let bytes = Checkpoint::new(parameters.clone()).to_bytes(&network)?;
//! let loaded = Checkpoint::<f32>::from_bytes(&network, &bytes, Values::Finite)?;
//! assert_eq!(loaded.parameters, parameters);
//! # Ok::<(), chainrule::Error>(())
//! ```

#[cfg(feature = "std")]
pub(crate) mod file;
pub(crate) mod format;
mod kind;
mod part;
mod precision;
mod run;

pub(crate) use kind::{FileKind, open, read};
pub use part::{Difference, Differences};
pub use precision::Precision;

use crate::{
    block::{Block, Blocks},
    error::{Error, Figure},
    layer::{Layer, LayerSpec, check_depth},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use format::{Checksum, Header, METADATA, Tensor};
use part::Part;
use serde::{Deserialize, Serialize};
#[cfg(feature = "std")]
use std::path::Path;

/// Whether a checkpoint that is written or read may hold NaN and ±∞.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Values {
    /// No NaN is allowed, and no ±∞ except in the state of an optimizer, for transforms that [allow
    /// ±∞](crate::transform::TransformSpec::infinite_state()).
    #[default]
    Finite,
    /// All values are allowed, including NaN and ±∞, for a run that has diverged.
    Any,
}

/// A checkpoint: the parameters of a network and the state of its training run.
///
/// ```
/// use chainrule::{checkpoint::{Checkpoint, Values}, layer::Linear};
/// let network = Linear::new(1, 1);
/// let mut checkpoint = Checkpoint::new(vec![2.0_f64, 0.5]);
/// checkpoint.numbers.insert("epoch".into(), 3);
/// let read = Checkpoint::from_bytes(&network, &checkpoint.to_bytes(&network)?, Values::Finite)?;
/// assert_eq!((&read.parameters[..], read.numbers["epoch"]), (&[2.0, 0.5][..], 3));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Checkpoint<T> {
    /// All parameters, in the order of the network's blocks.
    pub parameters: Vec<T>,
    /// Named vectors, such as the optimizer's state, or the recurrent state from which the next pass starts.
    pub slices: BTreeMap<String, Vec<T>>,
    /// Named whole numbers, such as the number of updates, the number of finished epochs, and the seed. A float is
    /// stored as the bits of an `f64`.
    pub numbers: BTreeMap<String, u64>,
    /// Whether the checkpoint may hold NaN and ±∞.
    pub values: Values,
    about: About,
}

/// Writes the lengths of `parameters` and of each slice, and the numbers by name; the values are left out.
impl<T> fmt::Debug for Checkpoint<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slices: BTreeMap<&String, usize> = self.slices.iter().map(|(name, values)| (name, values.len())).collect();
        let mut checkpoint = f.debug_struct("Checkpoint");
        checkpoint.field("parameters", &self.parameters.len()).field("slices", &slices);
        checkpoint.field("numbers", &self.numbers).field("values", &self.values).finish_non_exhaustive()
    }
}

/// The description of a run (network, transforms, settings, numbers), saved as JSON in the metadata of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    network: Vec<Part>,
    transforms: Vec<Part>,
    settings: BTreeMap<String, String>,
    numbers: BTreeMap<String, u64>,
}

/// The metadata key under which a checkpoint holds the description of its run, as JSON.
const ABOUT: &str = "about";
/// The metadata key under which a file holds its checksum.
pub(crate) const CHECKSUM: &str = "checksum";

/// The prefix of the names of the tensors in a file that are not parameter blocks, for example that of the
/// optimizer's state.
const RESERVED: &str = "chainrule/";

/// Returns the name under which a file holds the parameter block `name`: the name itself, or `chainrule/block/`
/// followed by it if it begins with `chainrule/` or is `__metadata__`.
pub(crate) fn block_tensor(name: &str) -> Cow<'_, str> {
    let reserved = name.starts_with(RESERVED) || name == METADATA;
    if reserved { Cow::Owned(format!("{RESERVED}block/{name}")) } else { Cow::Borrowed(name) }
}

/// The prefix of the names of the tensors that hold [`Checkpoint::slices`].
const SLICE: &str = "chainrule/slice/";

pub(crate) fn mismatch(block: &str, expected: impl ToString, found: impl ToString) -> Error {
    Error::Checkpoint { block: block.into(), expected: expected.to_string(), found: found.to_string() }
}

pub(crate) fn refused(name: &str, rule: &'static str, found: impl ToString) -> Error {
    Error::CheckpointValue { name: name.into(), rule, found: found.to_string() }
}

/// The origin that error messages state for bytes that were not read from a file.
const BYTES: &str = "the data";

pub(crate) fn damaged(reason: impl ToString) -> Error {
    Error::CheckpointFormat { origin: BYTES.into(), reason: reason.to_string() }
}

/// Removes the tensor of the parameter block `block` from `tensors`, which are keyed by name, and returns it. Returns
/// an error if it is missing or its shape is not that of the block.
pub(crate) fn take_tensor<'a>(
    tensors: &mut BTreeMap<&str, &'a Tensor>,
    block: &Block<'_>,
) -> Result<&'a Tensor, Error> {
    let tensor = tensors.remove(&*block_tensor(&block.name));
    let tensor = tensor.ok_or_else(|| mismatch(&block.name, "a tensor", "none"))?;
    if tensor.shape != block.shape {
        let [expected, found] = [&block.shape[..], &tensor.shape].map(|shape| format!("shape {shape:?}"));
        return Err(mismatch(&block.name, expected, found));
    }
    Ok(tensor)
}

/// Returns [`Error::CheckpointValue`] if `values` has a NaN, or ±∞ while `infinite` is false. `name` is the name of
/// the values in the error.
fn require_sound<T: Scalar>(name: &str, values: &[T], infinite: bool) -> Result<(), Error> {
    let rule = if infinite {
        "not NaN, unless `Values::Any` is asked for"
    } else {
        "finite, unless `Values::Any` is asked for"
    };
    match values.iter().position(|value| value.is_nan() || !(infinite || value.is_finite())) {
        Some(i) => Err(refused(name, rule, format!("{} at place {i}", Figure(to_f64(values[i]))))),
        None => Ok(()),
    }
}

/// Returns an error if two parameter blocks have the same name, or if the blocks do not cover `parameters` values in
/// order, without gap or overlap.
fn require_blocks(blocks: &Blocks, parameters: usize) -> Result<(), Error> {
    let (mut names, mut end) = (BTreeSet::new(), 0);
    for block in blocks {
        let values =
            block.shape[0].checked_mul(block.shape[1]).and_then(|values| block.range.start.checked_add(values));
        if block.range.start != end || values != Some(block.range.end) {
            return Err(refused(
                &block.name,
                "a block that begins where the one before it ends",
                format!("{:?}", block.range),
            ));
        }
        if !names.insert(&*block.name) {
            return Err(refused(&block.name, "the name of one block", "two"));
        }
        end = block.range.end;
    }
    if end == parameters { Ok(()) } else { Err(mismatch("parameters", end, parameters)) }
}

/// Returns an error if the saved network differs from the current one in a property that must agree: kinds, order and
/// sizes of layers, and settings such as an activation.
pub(crate) fn compare_networks(current: &LayerSpec, saved: &LayerSpec) -> Result<(), Error> {
    part::compare(&part::layers(current), &part::layers(saved)).map(drop)
}

fn blocks_of<T: Scalar>(network: &(impl Layer<T> + ?Sized)) -> Blocks {
    Blocks::collect(|visit| network.blocks(visit))
}

impl<T: Scalar> Checkpoint<T> {
    /// Creates a checkpoint of `parameters`, without optimizer state, buffers, counters or a description of the
    /// network, and with [`Values::Finite`].
    pub fn new(parameters: Vec<T>) -> Self {
        let (slices, numbers) = (BTreeMap::new(), BTreeMap::new());
        Checkpoint { parameters, slices, numbers, values: Values::Finite, about: About::default() }
    }

    /// Returns the checkpoint as the bytes of a safetensors file. Its parameters must be those of `network`. Equal
    /// checkpoints have equal bytes.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] for the checkpoint of another network, and if the number of parameters is not that of
    /// `network`. [`Error::CheckpointValue`] for a scalar type without a [`Precision`], for two blocks of the same
    /// name, and with [`Values::Finite`] for a value that is not finite. [`Error::CheckpointFormat`] for a header
    /// that cannot be written. [`Error::InvalidLayer`] for layers nested more than
    /// [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep.
    pub fn to_bytes(&self, network: &(impl Layer<T> + ?Sized)) -> Result<Vec<u8>, Error> {
        check_depth(&network)?;
        let (blocks, precision) = (blocks_of(network), Precision::of::<T>()?);
        self.compare_network(network)?;
        require_blocks(&blocks, self.parameters.len())?;
        self.check_values(&blocks)?;
        let mut bytes = Vec::new();
        let mut tensors = Vec::new();
        let mut add = |name: String, shape: Vec<usize>, values: &[T]| {
            let first = bytes.len();
            for &value in values {
                // The format is that of `T`, so nothing is rounded. `check_values` has already checked NaN and ±∞.
                let _ = precision.write(&mut bytes, to_f64(value));
            }
            let dtype = precision.dtype().0.into();
            tensors.push((name, Tensor { dtype, shape, data_offsets: [first, bytes.len()] }));
        };
        for block in &blocks {
            add(block_tensor(&block.name).into(), block.shape.to_vec(), &self.parameters[block.range.clone()]);
        }
        for (name, values) in &self.slices {
            add(format!("{SLICE}{name}"), alloc::vec![values.len()], values);
        }
        let about =
            About { network: part::layers(&network.spec()), numbers: self.numbers.clone(), ..self.about.clone() };
        let about = serde_json::to_string(&about).map_err(damaged)?;
        let metadata = BTreeMap::from([FileKind::Run.entry(), (ABOUT.into(), about)]);
        // The order in which files are read: by offset, and by name among empty tensors at the same offset.
        tensors.sort_by(|a, b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));
        let mut header = Header { metadata, tensors };
        let checksum = Checksum::of(&header, &bytes, CHECKSUM);
        header.metadata.insert(CHECKSUM.into(), checksum);
        format::write(&header, &bytes).map_err(damaged)
    }

    /// Reads a checkpoint of `network` from the bytes of its file. `values` states whether NaN and ±∞ are accepted.
    ///
    /// # Errors
    /// [`Error::CheckpointFormat`] for bytes that are truncated, damaged or in another format. [`Error::FileKind`],
    /// naming the call to use, for a model or a file of another program. [`Error::CheckpointVersion`] for another
    /// version of the format. [`Error::Checkpoint`], naming the layer or block, for another network or scalar type.
    /// With [`Values::Finite`], [`Error::CheckpointValue`] for a value that is not finite. [`Error::InvalidLayer`]
    /// for layers nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep.
    pub fn from_bytes(network: &(impl Layer<T> + ?Sized), bytes: &[u8], values: Values) -> Result<Self, Error> {
        check_depth(&network)?;
        let (blocks, precision) = (blocks_of(network), Precision::of::<T>()?);
        let (dtype, size) = precision.dtype();
        require_blocks(&blocks, network.dims().parameters)?;
        let (header, data) = read(bytes, FileKind::Run)?;
        let mut about: About =
            serde_json::from_str(header.metadata.get(ABOUT).map_or("", String::as_str)).map_err(damaged)?;
        part::compare(&part::layers(&network.spec()), &about.network)?;
        let mut tensors: BTreeMap<&str, &Tensor> =
            header.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let read = |name: &str, tensor: &Tensor| {
            if tensor.dtype != dtype {
                return Err(mismatch(name, dtype, &tensor.dtype));
            }
            let expected = tensor.shape.iter().try_fold(size, |product, &size| product.checked_mul(size));
            if expected != Some(tensor.bytes().len()) {
                return Err(damaged(format!("tensor {name:?} has not the bytes of its shape {:?}", tensor.shape)));
            }
            Ok(data[tensor.bytes()].chunks(size).map(|bytes| scalar(precision.read(bytes))).collect::<Vec<T>>())
        };
        let mut parameters = Vec::with_capacity(network.dims().parameters.min(bytes.len()));
        for block in &blocks {
            let tensor = take_tensor(&mut tensors, block)?;
            parameters.extend(read(&block.name, tensor)?);
        }
        let mut slices = BTreeMap::new();
        for (name, tensor) in tensors {
            let slice = name.strip_prefix(SLICE).ok_or_else(|| mismatch(name, "no such block", "a tensor"))?;
            slices.insert(slice.into(), read(slice, tensor)?);
        }
        let numbers = core::mem::take(&mut about.numbers);
        let found = Checkpoint { parameters, slices, numbers, values, about };
        found.check_values(&blocks)?;
        Ok(found)
    }

    /// Saves the checkpoint in the file at `path`, which is replaced or created. After a crash at any time, the path
    /// has either the complete old file or the complete new one.
    ///
    /// If `path` is a symbolic link, its target is replaced. Permissions are kept. Partial files that processes left
    /// in the folder when they died are removed.
    ///
    /// # Errors
    /// [`Error::File`] if the system cannot write the file, or `path` is not a regular file; the errors of
    /// [`to_bytes`](Self::to_bytes). On an error an existing file is unchanged, unless the new file had already
    /// replaced it and only its folder could not be flushed.
    #[cfg(feature = "std")]
    pub fn save(&self, network: &(impl Layer<T> + ?Sized), path: impl AsRef<Path>) -> Result<(), Error> {
        file::replace(path.as_ref(), &self.to_bytes(network)?).map_err(|error| failed(path.as_ref(), error))
    }

    /// Reads a checkpoint of `network` from a file. `values` states whether NaN and ±∞ are accepted.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read, or is not a regular file; the errors of
    /// [`from_bytes`](Self::from_bytes).
    #[cfg(feature = "std")]
    pub fn load(network: &(impl Layer<T> + ?Sized), path: impl AsRef<Path>, values: Values) -> Result<Self, Error> {
        let bytes = file::read(path.as_ref()).map_err(|error| failed(path.as_ref(), error))?;
        Self::from_bytes(network, &bytes, values).map_err(|error| error.of_file(path.as_ref()))
    }

    /// Returns the differences between `network` and the network of the checkpoint that do not prevent loading, such
    /// as another dropout rate, and an error for any other difference. A checkpoint that [`new`](Self::new) made of
    /// parameters alone does not describe its network, and has no differences.
    fn compare_network(&self, network: &(impl Layer<T> + ?Sized)) -> Result<Vec<Difference>, Error> {
        match &self.about.network[..] {
            [] => Ok(Vec::new()),
            saved => part::compare(&part::layers(&network.spec()), saved),
        }
    }

    /// Returns an error for parameters that are not finite and for slices that have a NaN, unless the checkpoint
    /// allows them ([`Values::Any`]).
    fn check_values(&self, blocks: &Blocks) -> Result<(), Error> {
        if self.values == Values::Any {
            return Ok(());
        }
        for block in blocks {
            require_sound(&block.name, &self.parameters[block.range.clone()], false)?;
        }
        self.slices.iter().try_for_each(|(name, values)| require_sound(name, values, true))
    }
}

#[cfg(feature = "std")]
pub(crate) fn failed(path: &Path, error: impl ToString) -> Error {
    Error::File { path: path.display().to_string(), reason: error.to_string() }
}
