//! State dicts: named tensors, in safetensors files written by any program.

use super::Precision;
#[cfg(feature = "std")]
use crate::checkpoint::{failed, file};
use crate::{
    checkpoint::{
        damaged,
        format::{self, Header, METADATA},
        open, refused,
    },
    error::{Error, Figure, require_length},
    size::{reserve, saturating_product},
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
#[cfg(feature = "std")]
use std::path::Path;

/// A tensor of a state dict: its shape and its values, row-major.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Tensor {
    /// The length of each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// The values, row-major. Their number is the product of the lengths in `shape`.
    pub values: Vec<f64>,
}

/// Writes the shape, not the values: `Tensor[4, 3]`.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor{:?}", self.shape)
    }
}

/// Named tensors, like a PyTorch `state_dict()` or the content of a safetensors file.
///
/// ```
/// use chainrule::layer::{Layer, Sequential, initialize};
/// use chainrule::model::{ModuleNames, StateDict, export_state_dict, import_state_dict};
/// let network = Sequential::<f64>::input(3).linear(4).tanh().linear(2).build()?;
/// let names = ModuleNames::new().module("0", "encoder").module("2", "head");
/// let w = initialize(&network, 7)?;
/// let state = export_state_dict(&network, &w, &[], &names)?;
/// assert_eq!(state.get("encoder.weight").unwrap().shape, [4, 3]);
///
/// let mut again = vec![0.0; w.len()];
/// import_state_dict(&network, &mut again, &mut [], &state, &names)?;
/// assert_eq!(again, w);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// In Python, `safetensors.torch.load_file` reads files written by [`save`](Self::save), and
/// `safetensors.torch.save_file(model.state_dict(), "model.safetensors")` writes files for [`load`](Self::load).
#[derive(Clone, Default, PartialEq)]
pub struct StateDict {
    tensors: BTreeMap<String, Tensor>,
}

/// Writes names and shapes, not the values: `{"0.weight": [4, 3], "0.bias": [4]}`.
impl fmt::Debug for StateDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.tensors.iter().map(|(name, tensor)| (name, &tensor.shape))).finish()
    }
}

impl StateDict {
    /// Creates a state dict without tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor, or replaces the tensor of the same name.
    ///
    /// # Errors
    /// [`Error::Length`] unless the number of `values` is the product of the lengths in `shape`; [`Error::StateDict`]
    /// for the name `__metadata__`, which the format reserves.
    pub fn insert(&mut self, name: &str, shape: &[usize], values: Vec<f64>) -> Result<(), Error> {
        if name == METADATA {
            return Err(misfit(name, "a name of a tensor", "the name of the metadata"));
        }
        require_length("the values of a tensor", saturating_product(shape), values.len())?;
        self.tensors.insert(name.into(), Tensor { shape: shape.to_vec(), values });
        Ok(())
    }

    /// Returns the names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns the tensor of this name; `None` if there is none.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Reads a state dict from the bytes of a safetensors file, written by any program. Integers are converted to
    /// floats, and `BOOL` values to 0 and 1.
    ///
    /// # Errors
    /// [`Error::CheckpointFormat`] for bytes that are truncated or in another format; [`Error::FileKind`] for a zip
    /// archive, which `torch.save` writes. [`Error::StateDict`], naming the tensor, for a number format other than
    /// F64, F32, F16, BF16, BOOL and the integers, and for an integer of magnitude above 2⁵³, which `f64` may not
    /// hold exactly.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (header, data) = open(bytes)?;
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

    /// Returns the bytes of a safetensors file with all tensors, each value rounded to the nearest one in
    /// `precision`.
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
                written.ok_or_else(|| refused(name, rule, format!("{} at place {i}", Figure(x))))?;
            }
            let data_offsets = [first, bytes.len()];
            tensors.push((
                name.clone(),
                format::Tensor { dtype: dtype.into(), shape: tensor.shape.clone(), data_offsets },
            ));
        }
        // Readers of the format expect this entry in files for PyTorch.
        let metadata = BTreeMap::from([("format".into(), "pt".into())]);
        format::write(&Header { metadata, tensors }, &bytes).map_err(damaged)
    }

    /// Reads a state dict from a safetensors file.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read; the errors of [`from_bytes`](Self::from_bytes).
    #[cfg(feature = "std")]
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = file::read(path).map_err(|error| failed(path, error))?;
        Self::from_bytes(&bytes).map_err(|error| error.of_file(path))
    }

    /// Saves all tensors in a safetensors file, in the number format `precision`. If the process crashes, the path
    /// has either the complete old file or the complete new one.
    ///
    /// # Errors
    /// The errors of [`to_bytes`](Self::to_bytes); [`Error::File`] if the system cannot write the file.
    #[cfg(feature = "std")]
    pub fn save(&self, path: impl AsRef<Path>, precision: Precision) -> Result<(), Error> {
        let path = path.as_ref();
        file::replace(path, &self.to_bytes(precision)?).map_err(|error| failed(path, error))
    }
}

/// The number format of a tensor in a file: a float, or an integer of `size` bytes. `BOOL` counts as an integer.
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

    /// Decodes the number in `bytes`, little-endian; `None` for an integer of magnitude above 2⁵³, which `f64` may
    /// not hold exactly.
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

/// Returns [`Error::StateDict`] about the tensor named `tensor`: it states what was `expected` and what was `found`.
pub(super) fn misfit(tensor: &str, expected: impl ToString, found: impl ToString) -> Error {
    Error::StateDict { tensor: tensor.into(), expected: expected.to_string(), found: found.to_string() }
}
