//! A model in one file, or in bytes.

use super::{
    Model,
    description::{DESCRIPTION, Description, describe},
};
#[cfg(feature = "std")]
use crate::checkpoint::{failed, file};
use crate::{
    block::Blocks,
    checkpoint::{
        CHECKSUM, FileKind, block_tensor, compare_networks, damaged,
        format::{self, Checksum, Header, Tensor},
        mismatch, read, refused, take_tensor,
    },
    dataset::Interface,
    error::Error,
    layer::Layer,
    network::Registry,
    scalar::{Scalar, scalar, to_f64},
    size::reserve,
};
use alloc::{boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};
#[cfg(feature = "std")]
use std::path::Path;

/// The name of the tensor with the buffers of the network, such as running statistics.
const BUFFERS: &str = "chainrule/buffers";

/// The number format of the values in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 64 bits.
    F64,
    /// 32 bits.
    F32,
    /// IEEE 754 binary16: 16 bits, a significand of 11 binary digits, values up to 65504.
    F16,
    /// bfloat16: 16 bits, a significand of 8 binary digits, about the range of `f32`.
    Bf16,
}

impl Precision {
    /// Returns the number format with the size and the precision of the scalar type `T`.
    ///
    /// # Errors
    /// [`Error::CheckpointValue`] for a scalar type of any other format.
    pub fn of<T: Scalar>() -> Result<Self, Error> {
        match (size_of::<T>(), to_f64(T::epsilon())) {
            (8, e) if e == f64::EPSILON => Ok(Precision::F64),
            (4, e) if e == f64::from(f32::EPSILON) => Ok(Precision::F32),
            (2, e) if e == Small::F16.epsilon() => Ok(Precision::F16),
            (2, e) if e == Small::BF16.epsilon() => Ok(Precision::Bf16),
            _ => Err(refused("the scalar type", "f64, f32, f16 or bf16", core::any::type_name::<T>())),
        }
    }

    /// Returns the name of the format in safetensors, and the size of a number in bytes.
    pub(super) const fn dtype(self) -> (&'static str, usize) {
        match self {
            Precision::F64 => ("F64", 8),
            Precision::F32 => ("F32", 4),
            Precision::F16 => ("F16", 2),
            Precision::Bf16 => ("BF16", 2),
        }
    }

    /// Returns the number format that safetensors calls `name`; `None` for a name of any other format.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::F64, Self::F32, Self::F16, Self::Bf16].into_iter().find(|precision| precision.dtype().0 == name)
    }

    /// Appends `x` to `bytes`, rounded to the nearest number of the format, little-endian. Returns `None` if a format
    /// narrower than `f64` cannot hold it: if it is NaN, infinite or rounded to ∞.
    pub(super) fn write(self, bytes: &mut Vec<u8>, x: f64) -> Option<()> {
        match self {
            Precision::F64 => bytes.extend(x.to_le_bytes()),
            Precision::F32 if (x as f32).is_finite() => bytes.extend((x as f32).to_le_bytes()),
            Precision::F32 => return None,
            Precision::F16 => bytes.extend(Small::F16.bits(x)?.to_le_bytes()),
            Precision::Bf16 => bytes.extend(Small::BF16.bits(x)?.to_le_bytes()),
        }
        Some(())
    }

    /// Decodes the number of this format in `bytes`, little-endian and of the length that [`dtype`](Self::dtype)
    /// states.
    pub(super) fn read(self, bytes: &[u8]) -> f64 {
        let word = bytes.iter().rev().fold(0, |word: u64, &byte| word << 8 | u64::from(byte));
        match self {
            Precision::F64 => f64::from_bits(word),
            Precision::F32 => f64::from(f32::from_bits(word as u32)),
            Precision::F16 => Small::F16.value(word as u16),
            Precision::Bf16 => Small::BF16.value(word as u16),
        }
    }
}

/// A binary format of 16 bits: sign, exponent and fraction.
#[derive(Clone, Copy)]
struct Small {
    /// The number of bits of the fraction.
    digits: i32,
    /// The exponent of the smallest normal number, `2^least`.
    least: i32,
}

impl Small {
    const F16: Small = Small { digits: 10, least: -14 };
    const BF16: Small = Small { digits: 7, least: -126 };

    /// Returns the distance from 1 to the next number of the format.
    fn epsilon(self) -> f64 {
        power(-self.digits)
    }

    /// Returns the bits of infinity: all exponent bits set.
    fn infinity(self) -> u16 {
        0x7FFF >> self.digits << self.digits
    }

    /// Returns the bits of the number of the format nearest to `x`, ties to even; `None` if that number is infinite or
    /// NaN.
    fn bits(self, x: f64) -> Option<u16> {
        let exponent = ((x.abs().to_bits() >> 52) as i32 - 1023).max(self.least);
        // The magnitude in multiples of the spacing of adjacent numbers. A carry out of the fraction increments the
        // exponent, as it should.
        let whole = libm::rint(x.abs() / power(exponent.min(1023) - self.digits));
        let bits = whole + f64::from(exponent - self.least) * power(self.digits);
        let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
        (bits < f64::from(self.infinity())).then_some(bits as u16 | sign)
    }

    /// Returns the number of the format with these bits.
    fn value(self, bits: u16) -> f64 {
        let (field, fraction) = (i32::from((bits & 0x7FFF) >> self.digits), f64::from(bits & ((1 << self.digits) - 1)));
        let magnitude = if bits & 0x7FFF >= self.infinity() {
            if fraction > 0.0 { f64::NAN } else { f64::INFINITY }
        } else if field == 0 {
            fraction * power(self.least - self.digits)
        } else {
            (fraction + power(self.digits)) * power(self.least + field - 1 - self.digits)
        };
        if bits & 0x8000 != 0 { -magnitude } else { magnitude }
    }
}

/// Returns `2^exponent`, for an exponent from −1022 to 1023.
fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

impl<T: Scalar> Model<T> {
    /// Returns the bytes of the model in the number format of `T`: see [`to_bytes_as`](Self::to_bytes_as).
    ///
    /// ```
    /// use chainrule::{layer::Linear, model::Model};
    /// let model = Model::new(Linear::new(1, 1), vec![2.0_f32, 0.5])?;
    /// assert_eq!(Model::<f32>::from_bytes(&model.to_bytes()?)?.parameters(), [2.0, 0.5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`to_bytes_as`](Self::to_bytes_as) and [`Precision::of`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.to_bytes_as(Precision::of::<T>()?)
    }

    /// Returns the bytes of the model as a safetensors file. It has a tensor for each parameter block, and one for
    /// buffers if there are any, rounded to the nearest numbers of `precision`. The metadata holds the layer
    /// specification of the network, the scales, the names and a checksum.
    ///
    /// # Errors
    /// [`Error::CheckpointValue`] for a parameter or buffer that `precision` cannot hold; [`Error::CheckpointFormat`]
    /// for a network whose layer specification cannot be written.
    pub fn to_bytes_as(&self, precision: Precision) -> Result<Vec<u8>, Error> {
        let (dtype, size) = precision.dtype();
        let mut bytes = reserve("the parameters of a file", self.parameters.len().saturating_mul(size))?;
        let mut tensors = Vec::new();
        let mut tensor = |name: String, shape: Vec<usize>, values: &[T]| {
            let first = bytes.len();
            for (i, &x) in values.iter().enumerate() {
                let rule = "within the range of the number format of the file";
                let written = precision.write(&mut bytes, to_f64(x));
                written.ok_or_else(|| refused(&name, rule, format!("{} at place {i}", to_f64(x))))?;
            }
            let tensor = Tensor { dtype: dtype.into(), shape, data_offsets: [first, bytes.len()] };
            tensors.push((name, tensor));
            Ok::<(), Error>(())
        };
        for block in &Blocks::collect(|visit| self.network.blocks(visit)) {
            let values = &self.parameters[block.range.clone()];
            tensor(block_tensor(&block.name).into(), block.shape.to_vec(), values)?;
        }
        if !self.buffers.is_empty() {
            tensor(BUFFERS.into(), Vec::from([self.buffers.len()]), &self.buffers)?;
        }
        tensors.sort_by(|a: &(String, Tensor), b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));
        let network = self.network.spec();
        // With `std` the serialization counts the levels itself.
        #[cfg(not(feature = "std"))]
        network.check_depth().map_err(|rule| rule.at(""))?;
        let Interface { inputs, outputs, columns, classes } = self.interface.clone();
        let description = serde_json::to_string(&Description { network, inputs, outputs, columns, classes });
        let description = description.map_err(damaged)?;
        let metadata = BTreeMap::from([FileKind::Model.entry(), (DESCRIPTION.into(), description)]);
        let mut header = Header { metadata, tensors };
        let checksum = Checksum::of(&header, &bytes, CHECKSUM);
        header.metadata.insert(CHECKSUM.into(), checksum);
        format::write(&header, &bytes).map_err(damaged)
    }

    /// Reads a model from the bytes of [`to_bytes`](Self::to_bytes), for example from `include_bytes!`. Parameters of
    /// another number format are rounded to the nearest `T`.
    ///
    /// # Errors
    /// [`Error::CheckpointFormat`] for bytes that are truncated, damaged or in another format. [`Error::FileKind`],
    /// with the call to use, for the checkpoint of a run and for a file of another program, such as PyTorch.
    /// [`Error::CheckpointVersion`] for another version of the file format. [`Error::CustomPart`], with its path, for a
    /// network with a custom part, which [`from_bytes_registered`](Self::from_bytes_registered) and
    /// [`from_bytes_with`](Self::from_bytes_with) take. [`Error::Checkpoint`], with its name, for a tensor that is
    /// missing, has another shape than its block, or belongs to no block; [`Error::CheckpointValue`] for a parameter or
    /// buffer that is not finite in `T`. The errors of [`LayerSpec::build`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (header, data) = read(bytes, FileKind::Model)?;
        let description = describe(&header)?;
        let network = description.network.build()?;
        assemble(network, description, &header, data)
    }

    /// Reads a model from `bytes`, as [`from_bytes`](Self::from_bytes) does, for a network with custom parts, which
    /// `registry` builds.
    ///
    /// # Errors
    /// Those of [`from_bytes`](Self::from_bytes) except [`Error::CustomPart`]; those of [`LayerSpec::build_with`].
    pub fn from_bytes_registered(bytes: &[u8], registry: &Registry<T>) -> Result<Self, Error> {
        let (header, data) = read(bytes, FileKind::Model)?;
        let description = describe(&header)?;
        let network = description.network.build_with(registry)?;
        assemble(network, description, &header, data)
    }

    /// Reads a model from `bytes`, as [`from_bytes`](Self::from_bytes) does, but uses the given `network`, which may
    /// have custom parts.
    ///
    /// # Errors
    /// Those of [`from_bytes`](Self::from_bytes) except [`Error::CustomPart`]; [`Error::Checkpoint`], naming the layer,
    /// for the bytes of another network.
    pub fn from_bytes_with(network: impl Layer<T> + 'static, bytes: &[u8]) -> Result<Self, Error> {
        let (header, data) = read(bytes, FileKind::Model)?;
        let description = describe(&header)?;
        compare_networks(&network.spec(), &description.network)?;
        assemble(Box::new(network), description, &header, data)
    }

    /// Saves the model in a file, in the number format of `T`. If the process crashes, either the old or the new file
    /// is there, complete.
    ///
    /// # Errors
    /// Those of [`to_bytes`](Self::to_bytes); [`Error::File`] where the system cannot write the file.
    #[cfg(feature = "std")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.save_as(path, Precision::of::<T>()?)
    }

    /// Saves the model in a file, as [`save`](Self::save) does, with the numbers in the format `precision`.
    ///
    /// # Errors
    /// Those of [`to_bytes_as`](Self::to_bytes_as); [`Error::File`] where the system cannot write the file.
    #[cfg(feature = "std")]
    pub fn save_as(&self, path: impl AsRef<Path>, precision: Precision) -> Result<(), Error> {
        let path = path.as_ref();
        file::replace(path, &self.to_bytes_as(precision)?).map_err(|error| failed(path, error))
    }

    /// Reads a model from a file written by [`save`](Self::save).
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read; those of [`from_bytes`](Self::from_bytes).
    #[cfg(feature = "std")]
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        read_file(path.as_ref(), |bytes| Self::from_bytes(bytes))
    }

    /// Reads a model from a file, as [`load`](Self::load) does, but uses the given `network`, which may have custom
    /// parts.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read; those of [`from_bytes_with`](Self::from_bytes_with).
    #[cfg(feature = "std")]
    pub fn load_with(network: impl Layer<T> + 'static, path: impl AsRef<Path>) -> Result<Self, Error> {
        read_file(path.as_ref(), |bytes| Self::from_bytes_with(network, bytes))
    }

    /// Reads a model from a file, as [`load`](Self::load) does, for a network with custom parts, which `registry`
    /// builds.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read; those of
    /// [`from_bytes_registered`](Self::from_bytes_registered).
    #[cfg(feature = "std")]
    pub fn load_registered(path: impl AsRef<Path>, registry: &Registry<T>) -> Result<Self, Error> {
        read_file(path.as_ref(), |bytes| Self::from_bytes_registered(bytes, registry))
    }
}

/// Reads the file at `path` and parses its bytes by `parse`. An error of `parse` is extended by the name of the file.
#[cfg(feature = "std")]
fn read_file<M>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<M, Error>) -> Result<M, Error> {
    let bytes = file::read(path).map_err(|error| failed(path, error))?;
    parse(&bytes).map_err(|error| error.of_file(path))
}

/// Creates the model of `network` with the parameters and buffers of a file, and the scales and names of `description`.
/// `header` lists the tensors of the file, and `data` holds their bytes. Refuses a tensor that is missing, has another
/// shape than its block, or belongs to no block.
fn assemble<T: Scalar>(
    network: Box<dyn Layer<T>>,
    description: Description,
    header: &Header,
    data: &[u8],
) -> Result<Model<T>, Error> {
    let mut tensors: BTreeMap<&str, &Tensor> =
        header.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut parameters = reserve("the parameters", network.dims().parameters.min(data.len()))?;
    for block in &Blocks::collect(|visit| network.blocks(visit)) {
        let tensor = take_tensor(&mut tensors, block)?;
        read_tensor(&block.name, tensor, block.range.len(), data, &mut parameters)?;
    }
    let mut buffers = Vec::new();
    if let Some(tensor) = tensors.remove(BUFFERS) {
        let count = tensor.shape.iter().fold(1, |product: usize, &size| product.saturating_mul(size));
        read_tensor(BUFFERS, tensor, count, data, &mut buffers)?;
    }
    if let Some(name) = tensors.keys().next() {
        return Err(mismatch(name, "no such block", "a tensor"));
    }
    let model = Model::of_boxed(network, parameters)?;
    let fits = model.with_buffers(&buffers);
    let mut model = fits.map_err(|error| mismatch(BUFFERS, "the buffers of the network", error))?;
    let Description { inputs, outputs, columns, classes, .. } = description;
    // The values of a description are checked like the arguments of a caller.
    if let Some(scale) = inputs {
        model = model.scale_inputs(scale)?;
    }
    if let Some(scale) = outputs {
        model = model.scale_outputs(scale)?;
    }
    if !columns.is_empty() {
        model = model.name_columns(columns)?;
    }
    if !classes.is_empty() {
        model = model.name_classes(classes)?;
    }
    Ok(model)
}

/// Appends the `count` values of the tensor `name`, rounded to `T`, to `values`. `data` holds the bytes of all tensors.
/// Refuses another number of values, and a value that is not finite in `T`.
fn read_tensor<T: Scalar>(
    name: &str,
    tensor: &Tensor,
    count: usize,
    data: &[u8],
    values: &mut Vec<T>,
) -> Result<(), Error> {
    let precision = Precision::named(&tensor.dtype);
    let precision = precision.ok_or_else(|| mismatch(name, "F64, F32, F16 or BF16", &tensor.dtype))?;
    let (bytes, size) = (&data[tensor.bytes()], precision.dtype().1);
    if bytes.len() != count.saturating_mul(size) {
        return Err(damaged(format!("tensor {name:?} has not the bytes of its shape")));
    }
    for (i, bytes) in bytes.chunks(size).enumerate() {
        let x = precision.read(bytes);
        let value = scalar::<T>(x);
        if !value.is_finite() {
            return Err(refused(name, "finite in the number format of the model", format!("{x} at place {i}")));
        }
        values.push(value);
    }
    Ok(())
}
