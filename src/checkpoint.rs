//! Saving and loading a run, so that training resumed goes on bit for bit.
//!
//! The file is in the safetensors format, which other tools read: one tensor a parameter block under its
//! name, one for each further slice, and numbers as metadata.

use crate::{
    block::Blocks,
    error::Error,
    layer::Layer,
    loss::Loss,
    scalar::Scalar,
    trainer::{Progress, Trainer},
    transform::GradientTransform,
};
use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::sync::atomic::{AtomicU64, Ordering};
use safetensors::{Dtype, SafeTensors, View};
use std::{collections::HashMap, fs, io::Write, path::Path};

/// What a run is, apart from its network and its data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint<T> {
    /// All parameters.
    pub parameters: Vec<T>,
    /// Whatever else is made of scalars, by name: the optimiser's state, a carried state.
    pub slices: Vec<(&'static str, Vec<T>)>,
    /// Numbers that say where the run stands: updates made, epochs done, the seed. A float is stored by its bits.
    pub numbers: Vec<(&'static str, u64)>,
}

const VERSION: (&str, &str) = ("chainrule", "1");

/// A type whose values a checkpoint can hold: `f32` or `f64`, by their bits.
fn dtype<T: Scalar>() -> Result<Dtype, Error> {
    let id = core::any::TypeId::of::<T>();
    if id == core::any::TypeId::of::<f32>() {
        Ok(Dtype::F32)
    } else if id == core::any::TypeId::of::<f64>() {
        Ok(Dtype::F64)
    } else {
        Err(mismatch("the scalar type", "f32 or f64", core::any::type_name::<T>()))
    }
}

fn bytes<T: Scalar>(values: &[T]) -> Vec<u8> {
    let of = |value: &T| (castaway::cast!(*value, f32).ok(), castaway::cast!(*value, f64).ok());
    let mut bytes = Vec::with_capacity(size_of_val(values));
    for value in values {
        match of(value) {
            (Some(value), _) => bytes.extend(value.to_le_bytes()),
            (_, Some(value)) => bytes.extend(value.to_le_bytes()),
            _ => {}
        }
    }
    bytes
}

fn values<T: Scalar>(bytes: &[u8]) -> Vec<T> {
    let read = |bytes: &[u8]| {
        if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
            castaway::cast!(f32::from_le_bytes(bytes), T).ok()
        } else {
            castaway::cast!(f64::from_le_bytes(bytes.try_into().ok()?), T).ok()
        }
    };
    bytes.chunks(size_of::<T>()).filter_map(read).collect()
}

fn mismatch(block: &str, expected: impl ToString, found: impl ToString) -> Error {
    Error::Checkpoint { block: block.into(), expected: expected.to_string(), found: found.to_string() }
}

struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl<T: Scalar> Checkpoint<T> {
    /// Writes the checkpoint to a temporary file beside `path` and renames that: a crash leaves the old file whole.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Checkpoint`] for scalars other than `f32` and `f64`, or parameters that are not the
    /// blocks'.
    pub fn save(&self, blocks: &Blocks, path: impl AsRef<Path>) -> Result<(), Error> {
        let (path, dtype) = (path.as_ref(), dtype::<T>()?);
        if self.parameters.len() != blocks.parameters() {
            return Err(mismatch("parameters", blocks.parameters(), self.parameters.len()));
        }
        let tensor = |shape: Vec<usize>, values: &[T]| Tensor { dtype, shape, bytes: bytes(values) };
        let mut tensors: Vec<(String, Tensor)> = blocks
            .iter()
            .map(|block| (block.name.to_string(), tensor(block.shape.to_vec(), &self.parameters[block.range.clone()])))
            .collect();
        for (name, values) in &self.slices {
            tensors.push(((*name).into(), tensor(alloc::vec![values.len()], values)));
        }
        let mut metadata: HashMap<String, String> =
            self.numbers.iter().map(|(name, value)| ((*name).into(), value.to_string())).collect();
        metadata.insert(VERSION.0.into(), VERSION.1.into());
        let file = safetensors::serialize(tensors, Some(metadata)).map_err(|error| failed(path, error))?;
        write_whole(path, &file).map_err(|error| failed(path, error))
    }

    /// Reads a checkpoint of a network with these blocks; `slices` and `numbers` name what else it must hold.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read or is none of ours; [`Error::Checkpoint`], naming the block, where
    /// it does not fit.
    pub fn load(
        blocks: &Blocks,
        slices: &[&'static str],
        numbers: &[&'static str],
        path: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        let (path, dtype) = (path.as_ref(), dtype::<T>()?);
        let file = fs::read(path).map_err(|error| failed(path, error))?;
        let (_, header) = SafeTensors::read_metadata(&file).map_err(|error| failed(path, error))?;
        let tensors = SafeTensors::deserialize(&file).map_err(|error| failed(path, error))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        if metadata.get(VERSION.0).map(String::as_str) != Some(VERSION.1) {
            let found = metadata.get(VERSION.0).map_or("none", String::as_str);
            return Err(mismatch("format version", VERSION.1, found));
        }
        let read = |name: &str, shape: Option<&[usize]>| {
            let tensor = tensors.tensor(name).map_err(|_| mismatch(name, "a tensor", "none"))?;
            if tensor.dtype() != dtype {
                return Err(mismatch(name, format!("{dtype:?}"), format!("{:?}", tensor.dtype())));
            }
            if let Some(shape) = shape.filter(|&shape| shape != tensor.shape()) {
                return Err(mismatch(name, format!("shape {shape:?}"), format!("shape {:?}", tensor.shape())));
            }
            Ok(values::<T>(tensor.data()))
        };
        let mut parameters = Vec::with_capacity(blocks.parameters());
        for block in blocks {
            parameters.extend(read(&block.name, Some(&block.shape))?);
        }
        for name in tensors.names() {
            if !slices.contains(&name) && blocks.get(name).is_err() {
                return Err(mismatch(name, "no such block", "a tensor"));
            }
        }
        let number = |&name: &&'static str| {
            let text = metadata.get(name).ok_or_else(|| mismatch(name, "a number", "none"))?;
            Ok((name, text.parse().map_err(|_| mismatch(name, "a number", text))?))
        };
        Ok(Checkpoint {
            parameters,
            slices: slices.iter().map(|&name| Ok((name, read(name, None)?))).collect::<Result<_, Error>>()?,
            numbers: numbers.iter().map(number).collect::<Result<_, Error>>()?,
        })
    }

    /// A slice by name; empty where it is not there.
    pub fn slice(&self, name: &str) -> &[T] {
        self.slices.iter().find(|(other, _)| *other == name).map_or(&[], |(_, values)| values)
    }

    /// A number by name; 0 where it is not there.
    pub fn number(&self, name: &str) -> u64 {
        self.numbers.iter().find(|(other, _)| *other == name).map_or(0, |(_, value)| *value)
    }
}

fn failed(path: &Path, error: impl ToString) -> Error {
    Error::File { path: path.display().to_string(), reason: error.to_string() }
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // Two that save to one path at the same time write files of their own; the last to be renamed stays.
    static SAVES: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.{}.partial", std::process::id(), SAVES.fetch_add(1, Ordering::Relaxed)));
    let partial = path.with_file_name(name);
    let written = fs::File::create(&partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&partial, path));
    if renamed.is_err() {
        // What is left of a failed write is of no use; that it may not go either changes nothing.
        let _ = fs::remove_file(&partial);
    }
    renamed
}

const STATE: &str = "optimizer.state";
const CARRIED: &str = "carried";
const BEST: &str = "best";
const NUMBERS: [&str; 8] =
    ["steps", "epochs", "seed", "waited", "best loss", "epochs before the run", "stopped early", "best restored"];

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// Saves parameters, optimiser state, carried state and the place in the run. The order of samples and the masks
    /// are functions of seed, epoch and step, so these are all the random state there is.
    ///
    /// # Errors
    /// Those of [`Checkpoint::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let Progress { epochs, began, waited, best, stopped, restored } = self.progress;
        let numbers = [
            self.optimizer().steps(),
            epochs as u64,
            self.settings().seed,
            waited as u64,
            best.to_bits(),
            began as u64,
            u64::from(stopped),
            u64::from(restored),
        ];
        let checkpoint = Checkpoint {
            parameters: self.parameters().to_vec(),
            slices: alloc::vec![
                (STATE, self.optimizer().state().to_vec()),
                (CARRIED, self.tape().state().to_vec()),
                (BEST, self.best.clone()),
            ],
            numbers: NUMBERS.into_iter().zip(numbers).collect(),
        };
        checkpoint.save(self.tape().blocks(), path)
    }

    /// Goes on from what [`save`](Self::save) wrote, for the same network and transform. On an error nothing has changed.
    ///
    /// # Errors
    /// Those of [`Checkpoint::load`].
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let checkpoint = Checkpoint::load(self.tape().blocks(), &[STATE, CARRIED, BEST], &NUMBERS, path)?;
        let (state, carried, best) = (checkpoint.slice(STATE), checkpoint.slice(CARRIED), checkpoint.slice(BEST));
        if state.len() != self.optimizer().state().len() {
            return Err(mismatch(STATE, self.optimizer().state().len(), state.len()));
        }
        if !best.is_empty() && best.len() != self.parameters().len() {
            return Err(mismatch(BEST, self.parameters().len(), best.len()));
        }
        if carried.is_empty() {
            self.tape_mut().clear_state();
        } else {
            let fits = self.tape_mut().set_state(carried);
            fits.map_err(|error| mismatch(CARRIED, "a state of this network", error))?;
        }
        self.parameters_mut().copy_from_slice(&checkpoint.parameters);
        self.optimizer_mut().restore(state, checkpoint.number("steps"))?;
        self.best = best.to_vec();
        self.settings.seed = checkpoint.number("seed");
        self.progress = Progress {
            epochs: checkpoint.number("epochs") as usize,
            began: checkpoint.number("epochs before the run").min(checkpoint.number("epochs")) as usize,
            waited: checkpoint.number("waited") as usize,
            best: f64::from_bits(checkpoint.number("best loss")),
            stopped: checkpoint.number("stopped early") != 0,
            restored: checkpoint.number("best restored") != 0 && !best.is_empty(),
        };
        Ok(())
    }
}
