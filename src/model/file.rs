//! A model in one safetensors file, or in the bytes of one: saving and loading.

use super::{
    Model, Precision,
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
    error::{Error, Figure, require_length},
    layer::{Layer, buffer_places, check_depth},
    network::Registry,
    scalar::{Scalar, scalar, to_f64},
    size::{filled, reserve},
};
use alloc::{boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};
#[cfg(feature = "std")]
use std::path::Path;

/// The name of the tensor with the buffers of the network, such as running statistics.
const BUFFERS: &str = "chainrule/buffers";

impl<T: Scalar> Model<T> {
    /// Returns the bytes of the model as a safetensors file, in the number format of `T`: see
    /// [`to_bytes_as`](Self::to_bytes_as).
    ///
    /// ```
    /// use chainrule::{layer::Linear, model::Model};
    /// let model = Model::new(Linear::new(1, 1), vec![2.0_f32, 0.5])?;
    /// assert_eq!(Model::<f32>::from_bytes(&model.to_bytes()?)?.parameters(), [2.0, 0.5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`to_bytes_as`](Self::to_bytes_as) and [`Precision::of`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.to_bytes_as(Precision::of::<T>()?)
    }

    /// Returns the bytes of the model as a safetensors file. It has one tensor for each parameter block, and one for
    /// the buffers, such as running statistics, if the network has any. Their values are rounded to the nearest
    /// numbers of `precision`. Running statistics that are kept with more digits than `T` has are saved in the
    /// precision of `T`. The metadata holds the layer specification of the network, the input and output scales, the
    /// column and class names, and a checksum.
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
                written.ok_or_else(|| refused(&name, rule, format!("{} at place {i}", Figure(to_f64(x)))))?;
            }
            let tensor = Tensor { dtype: dtype.into(), shape, data_offsets: [first, bytes.len()] };
            tensors.push((name, tensor));
            Ok::<(), Error>(())
        };
        for block in &Blocks::collect(|visit| self.network.blocks(visit)) {
            let values = &self.parameters[block.range.clone()];
            tensor(block_tensor(&block.name).into(), block.shape.to_vec(), values)?;
        }
        let mut buffers = reserve("the buffers of a file", self.buffers.len())?;
        for place in buffer_places(self.network()) {
            buffers.extend_from_slice(self.buffers.get(place.stored()).unwrap_or_default());
        }
        if !buffers.is_empty() {
            tensor(BUFFERS.into(), Vec::from([buffers.len()]), &buffers)?;
        }
        tensors.sort_by(|a: &(String, Tensor), b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));
        let network = self.network.spec();
        // With `std` the serialization itself counts the levels of nested layers and returns an error.
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

    /// Reads a model from the bytes of [`to_bytes`](Self::to_bytes), for example from `include_bytes!`. Parameters in
    /// another number format than `T` are rounded to the nearest `T`.
    ///
    /// # Errors
    /// [`Error::CheckpointFormat`] for bytes that are truncated, damaged or in another format. [`Error::FileKind`],
    /// naming the call to use, for the checkpoint of a run and for a file of another program, such as PyTorch.
    /// [`Error::CheckpointVersion`] for another version of the file format. [`Error::CustomPart`], with the path of
    /// the part, for a network with a custom part; [`from_bytes_registered`](Self::from_bytes_registered) and
    /// [`from_bytes_with`](Self::from_bytes_with) read such files. [`Error::Checkpoint`], with the tensor's name, for
    /// a tensor that is missing, has another shape than its block, or belongs to no block; [`Error::CheckpointValue`]
    /// for a parameter or buffer that is not finite in `T`. The errors of
    /// [`LayerSpec::build`](crate::layer::LayerSpec::build) and [`Model::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (header, data) = read(bytes, FileKind::Model)?;
        let description = describe(&header)?;
        let network = description.network.build()?;
        assemble(network, description, &header, data)
    }

    /// Reads a model from `bytes`, as [`from_bytes`](Self::from_bytes) does. The network may have custom parts, which
    /// are built by `registry`.
    ///
    /// # Errors
    /// The errors of [`from_bytes`](Self::from_bytes) except [`Error::CustomPart`]; the errors of
    /// [`LayerSpec::build_with`](crate::layer::LayerSpec::build_with).
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
    /// The errors of [`from_bytes`](Self::from_bytes) except [`Error::CustomPart`]; [`Error::Checkpoint`], naming the
    /// layer, for the bytes of another network.
    pub fn from_bytes_with(network: impl Layer<T> + 'static, bytes: &[u8]) -> Result<Self, Error> {
        check_depth(&network)?;
        let (header, data) = read(bytes, FileKind::Model)?;
        let description = describe(&header)?;
        compare_networks(&network.spec(), &description.network)?;
        assemble(Box::new(network), description, &header, data)
    }

    /// Saves the model in a file, in the number format of `T`. If the process crashes, the path has either the
    /// complete old file or the complete new one.
    ///
    /// # Errors
    /// The errors of [`to_bytes`](Self::to_bytes); [`Error::File`] if the system cannot write the file.
    #[cfg(feature = "std")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.save_as(path, Precision::of::<T>()?)
    }

    /// Saves the model in a file, as [`save`](Self::save) does, with the numbers in the format `precision`.
    ///
    /// # Errors
    /// The errors of [`to_bytes_as`](Self::to_bytes_as); [`Error::File`] if the system cannot write the file.
    #[cfg(feature = "std")]
    pub fn save_as(&self, path: impl AsRef<Path>, precision: Precision) -> Result<(), Error> {
        let path = path.as_ref();
        file::replace(path, &self.to_bytes_as(precision)?).map_err(|error| failed(path, error))
    }

    /// Reads a model from a file written by [`save`](Self::save).
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read; the errors of [`from_bytes`](Self::from_bytes).
    #[cfg(feature = "std")]
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        read_file(path.as_ref(), |bytes| Self::from_bytes(bytes))
    }

    /// Reads a model from a file, as [`load`](Self::load) does, but uses the given `network`, which may have custom
    /// parts.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read; the errors of [`from_bytes_with`](Self::from_bytes_with).
    #[cfg(feature = "std")]
    pub fn load_with(network: impl Layer<T> + 'static, path: impl AsRef<Path>) -> Result<Self, Error> {
        read_file(path.as_ref(), |bytes| Self::from_bytes_with(network, bytes))
    }

    /// Reads a model from a file, as [`load`](Self::load) does. The network may have custom parts, which are built by
    /// `registry`.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read; the errors of
    /// [`from_bytes_registered`](Self::from_bytes_registered).
    #[cfg(feature = "std")]
    pub fn load_registered(path: impl AsRef<Path>, registry: &Registry<T>) -> Result<Self, Error> {
        read_file(path.as_ref(), |bytes| Self::from_bytes_registered(bytes, registry))
    }
}

/// Reads the file at `path` and returns the result of `parse` on its bytes. An error of `parse` gets the path of the
/// file as its origin.
#[cfg(feature = "std")]
fn read_file<M>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<M, Error>) -> Result<M, Error> {
    let bytes = file::read(path).map_err(|error| failed(path, error))?;
    parse(&bytes).map_err(|error| error.of_file(path))
}

/// Creates the model of `network` with the parameters and buffers of a file, and the scales and names of
/// `description`. `header` lists the tensors of the file, and `data` holds their bytes. Returns an error for a tensor
/// that is missing, has another shape than its block, or belongs to no block.
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
    let fits = with_stored_buffers(Model::of_boxed(network, parameters)?, &buffers);
    let mut model = fits.map_err(|error| mismatch(BUFFERS, "the buffers of the network", error))?;
    let Description { inputs, outputs, columns, classes, .. } = description;
    // The scales and names of a file are checked like the arguments of a caller.
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

/// Returns `model` with the buffers (running statistics, for example) that a file holds in `stored`. It holds all
/// buffers except the rounding errors of running statistics, which are set to 0.
fn with_stored_buffers<T: Scalar>(model: Model<T>, stored: &[T]) -> Result<Model<T>, Error> {
    let places = buffer_places(model.network());
    require_length("buffers", places.iter().map(|place| place.stored().len()).sum(), stored.len())?;
    let end = places.last().map_or(0, |place| place.range.end);
    let (mut buffers, mut rest) = (filled("the buffers of the network", end, T::zero())?, stored);
    for place in places {
        let (own, after) = rest.split_at(place.stored().len());
        buffers[place.stored()].copy_from_slice(own);
        rest = after;
    }
    model.with_buffers(&buffers)
}

/// Appends the `count` values of the tensor `name`, rounded to `T`, to `values`. `data` holds the bytes of all
/// tensors. Returns an error if the tensor has another number of values, or a value that is not finite in `T`.
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
            return Err(refused(
                name,
                "finite in the number format of the model",
                format!("{} at place {i}", Figure(x)),
            ));
        }
        values.push(value);
    }
    Ok(())
}
