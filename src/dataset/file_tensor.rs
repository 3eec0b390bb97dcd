//! Tensors in files in the formats of numpy and safetensors, read in parts.

use crate::error::{DataRule, Error};
#[cfg(feature = "safetensors")]
use alloc::format;
use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::{fmt, marker::PhantomData};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::{Mutex, PoisonError},
};

/// The size in bytes of the largest single read from a data file.
const PIECE: usize = 1 << 16;

/// The largest accepted number of bytes of a file's header, the text before the values that states their type and
/// shape.
const MOST_HEADER: u64 = 100_000_000;

/// A number type that can be read from a data file: `f32`, `f64`, or `usize` for classes. The trait is sealed.
///
/// ```no_run
/// use chainrule::dataset::FileTensor;
/// let inputs = FileTensor::<f32>::npy("inputs.npy")?;
/// let classes = FileTensor::<usize>::npy("classes.npy")?;
/// # Ok::<(), chainrule::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a number of a data file",
    label = "not a number of a data file",
    note = "inputs and targets are read as `f32` or `f64`, classes as `usize`; this trait is sealed"
)]
pub trait FileNumber: number::Number {}

impl<V: number::Number> FileNumber for V {}

mod number {
    use core::fmt::Debug;

    /// How a data file encodes a number: (kind, size), with kind `f` (float), `i` (signed integer) or `u` (unsigned
    /// integer), and size the number of bytes, in little-endian order.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Encoding(pub u8, pub usize);

    pub trait Number: Copy + Debug + Send + Sync + 'static {
        /// The number types in a file that can be read as `Self`, as text for an error message.
        const EXPECTED: &'static str;
        const ZERO: Self;
        /// Whether numbers in this encoding can be read as `Self`.
        fn reads(encoding: Encoding) -> bool;
        /// Decodes the number in `bytes`, whose length is that of `encoding`. If `Self` cannot hold the number, the
        /// error is the number as an `f64`.
        fn decode(encoding: Encoding, bytes: &[u8]) -> Result<Self, f64>;
    }

    macro_rules! float {
        ($type:ty, $bytes:literal, $expected:literal) => {
            impl Number for $type {
                const EXPECTED: &'static str = $expected;
                const ZERO: Self = 0.0;
                fn reads(encoding: Encoding) -> bool {
                    encoding == Encoding(b'f', $bytes)
                }
                fn decode(_: Encoding, bytes: &[u8]) -> Result<Self, f64> {
                    bytes.try_into().map(<$type>::from_le_bytes).map_err(|_| f64::NAN)
                }
            }
        };
    }
    float!(f32, 4, "float32");
    float!(f64, 8, "float64");

    impl Number for usize {
        const EXPECTED: &'static str = "an integer";
        const ZERO: Self = 0;
        fn reads(Encoding(kind, bytes): Encoding) -> bool {
            matches!((kind, bytes), (b'i' | b'u', 1 | 2 | 4 | 8))
        }
        fn decode(Encoding(kind, _): Encoding, bytes: &[u8]) -> Result<Self, f64> {
            let bits = bytes.iter().rev().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
            let unused = 64 - 8 * bytes.len() as u32;
            let signed = (bits << unused) as i64 >> unused;
            match kind {
                b'i' => usize::try_from(signed).map_err(|_| signed as f64),
                _ => usize::try_from(bits).map_err(|_| bits as f64),
            }
        }
    }
}
use number::Encoding;

/// A tensor of numbers in a file, of which a reader reads parts. Its first axis is the samples: it holds all values
/// of a sample, then those of the next sample.
pub struct FileTensor<V> {
    /// The path of the file, and the name of the tensor if the file holds several.
    name: String,
    shape: Vec<usize>,
    /// The offset of the first value in the file, in bytes.
    start: u64,
    encoding: Encoding,
    reader: Mutex<Reader>,
    number: PhantomData<V>,
}

struct Reader {
    file: File,
    bytes: Vec<u8>,
}

/// Writes the name (path of the file and name of the tensor) and the shape of the tensor.
impl<V> fmt::Debug for FileTensor<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileTensor").field("name", &self.name).field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl<V: FileNumber> FileTensor<V> {
    /// Opens the array in a file written by `numpy.save`. The values are not read yet.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read, or is not a regular file. [`DataRule::FileFormat`] for a file
    /// that is not in numpy's format, or whose array is in Fortran order; [`DataRule::FileType`] if the numbers are
    /// not of type `V`. [`DataRule::FileEnds`], with the first missing sample, for a truncated file.
    /// [`Error::EmptyBatch`] for an array without samples, [`Error::Empty`] for samples without values.
    pub fn npy(path: impl AsRef<Path>) -> Result<Self, Error> {
        let (name, mut file) = open(path.as_ref())?;
        let ([descr, shape], start) = npy_header(&mut file).map_err(|fault| fault.of(&name))?;
        let shape = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape: Option<Vec<usize>> = shape.map(|size| size.parse().ok()).collect();
        let shape = shape.ok_or_else(|| format_error(&name, "its shape is not readable"))?;
        let encoding = match descr.as_bytes() {
            [b'<' | b'|', kind, bytes @ ..] => encoding(*kind, bytes, 1),
            _ => None,
        };
        Self::new(name, file, start, shape, &descr, encoding)
    }

    /// Opens the tensor `tensor` in a safetensors file. The values are not read yet.
    ///
    /// # Errors
    /// The errors of [`npy`](Self::npy), with the rules of the safetensors format instead of numpy's;
    /// [`DataRule::FileFormat`] if there is no tensor of this name.
    #[cfg(feature = "safetensors")]
    pub fn safetensors(path: impl AsRef<Path>, tensor: &str) -> Result<Self, Error> {
        #[derive(serde::Deserialize)]
        struct Tensor {
            dtype: String,
            shape: Vec<usize>,
            data_offsets: [u64; 2],
        }
        let (name, mut file) = open(path.as_ref())?;
        let mut length = [0; 8];
        let header = file.read_exact(&mut length).map_err(Fault::from).and_then(|()| {
            let length = u64::from_le_bytes(length);
            read_header(&mut file, length).map(|header| (header, 8 + length))
        });
        let (header, start) = header.map_err(|fault| fault.of(&name))?;
        let tensors: alloc::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&header).map_err(|error| format_error(&name, error))?;
        let found = tensors.get(tensor).ok_or_else(|| format_error(&name, format!("it has no tensor {tensor:?}")))?;
        let found: Tensor = serde::Deserialize::deserialize(found).map_err(|error| format_error(&name, error))?;
        let [first, end] = found.data_offsets;
        let encoding = match found.dtype.as_bytes() {
            [kind @ (b'F' | b'I' | b'U'), bits @ ..] => encoding(kind.to_ascii_lowercase(), bits, 8),
            _ => None,
        };
        let bytes = encoding.and_then(|Encoding(_, bytes)| values(&found.shape, bytes));
        if encoding.is_some() && bytes != end.checked_sub(first) {
            return Err(format_error(&name, format!("tensor {tensor:?} has not the bytes of its shape")));
        }
        let start = start.checked_add(first).ok_or_else(|| format_error(&name, "its offsets overflow"))?;
        Self::new(format!("{name}, tensor {tensor:?}"), file, start, found.shape, &found.dtype, encoding)
    }

    fn new(
        name: String,
        file: File,
        start: u64,
        shape: Vec<usize>,
        found: &str,
        encoding: Option<Encoding>,
    ) -> Result<Self, Error> {
        let Some(encoding) = encoding.filter(|&encoding| V::reads(encoding)) else {
            return Err(DataRule::FileType { file: name, expected: V::EXPECTED, found: found.into() }.into());
        };
        let Some((&samples, each)) = shape.split_first() else {
            return Err(format_error(&name, "its array has no dimension"));
        };
        if samples == 0 {
            return Err(Error::EmptyBatch);
        }
        if each.contains(&0) {
            return Err(Error::Empty { what: "a sample" });
        }
        let all = values(&shape, encoding.1).filter(|&bytes| bytes <= i64::MAX as u64 - start.min(i64::MAX as u64));
        let Some(all) = all.filter(|&all| usize::try_from(all).is_ok()) else {
            return Err(Error::TooLarge { what: name, factors: shape, limit: usize::MAX });
        };
        let there = file.metadata().map_err(|error| file_error(&name, &error))?.len().saturating_sub(start);
        if there < all {
            let sample = (there / (all / samples as u64)) as usize;
            return Err(DataRule::FileEnds { file: name, sample, samples }.into());
        }
        let reader = Mutex::new(Reader { file, bytes: vec![0; PIECE] });
        Ok(FileTensor { name, shape, start, encoding, reader, number: PhantomData })
    }

    /// Returns the shape of the tensor: the number of samples, followed by the shape of each sample.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the path of the file, and the name of the tensor if the file holds several.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of values of a sample of the tensor: the product of all axes but the first.
    pub(super) fn each(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Reads `to.len()` consecutive values of sample number `sample`, from index `first` within the sample on, into
    /// `to`. Returns an error if the file ends too early, or for a number that `V` cannot hold. The error names the
    /// sample; `what` is the name of the number in it.
    pub(super) fn read(&self, what: &'static str, sample: usize, first: usize, to: &mut [V]) -> Result<(), Error> {
        let Encoding(_, size) = self.encoding;
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let Reader { file, bytes } = &mut *reader;
        let first_value = sample as u64 * self.each() as u64 + first as u64;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                DataRule::FileEnds { file: self.name.clone(), sample, samples: self.shape[0] }.into()
            }
            _ => file_error(&self.name, &error),
        };
        file.seek(SeekFrom::Start(self.start + first_value * size as u64)).map_err(failed)?;
        let mut done = first;
        for to in to.chunks_mut(PIECE / size) {
            let bytes = &mut bytes[..to.len() * size];
            file.read_exact(bytes).map_err(failed)?;
            for (i, (to, bytes)) in to.iter_mut().zip(bytes.chunks_exact(size)).enumerate() {
                *to = V::decode(self.encoding, bytes).map_err(|found| {
                    let (step, expected) = ((self.each() > 1).then_some(done + i), "a whole number of at least 0");
                    Error::DataValue { what, sample, step, column: None, expected, found }
                })?;
            }
            done += to.len();
        }
        Ok(())
    }
}

/// Returns the encoding of numbers of the kind `kind` (`f`, `i` or `u`). `digits` is their size as decimal text, in
/// bytes if `unit` is 1 and in bits if it is 8. `None` if the text is not a number, or the size is 0 or not a whole
/// number of bytes.
fn encoding(kind: u8, digits: &[u8], unit: usize) -> Option<Encoding> {
    let size: usize = core::str::from_utf8(digits).ok()?.parse().ok()?;
    (size > 0 && size.is_multiple_of(unit)).then_some(Encoding(kind, size / unit))
}

/// Returns the size in bytes of the values of a tensor of shape `shape`, each of `bytes` bytes; `None` if the size
/// overflows.
fn values(shape: &[usize], bytes: usize) -> Option<u64> {
    shape.iter().try_fold(bytes as u64, |product, &size| product.checked_mul(size as u64))
}

/// Opens the file at `path` for reading. Returns (the path as text, the file). Returns an error if it is not a
/// regular file, for example a pipe.
fn open(path: &Path) -> Result<(String, File), Error> {
    let name = path.display().to_string();
    // The type is checked before opening: opening a pipe would wait for its writer.
    let file = fs::metadata(path).and_then(|about| match about.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is no regular file")),
    });
    file.map_err(|error| file_error(&name, &error)).map(|file| (name, file))
}

/// The reason why a file's header cannot be read: an error of the operating system, or a violated rule of the format.
enum Fault {
    System(io::Error),
    Format(&'static str),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Format("it ends within its header"),
            _ => Fault::System(error),
        }
    }
}

impl Fault {
    fn of(self, name: &str) -> Error {
        match self {
            Fault::System(error) => file_error(name, &error),
            Fault::Format(reason) => format_error(name, reason),
        }
    }
}

fn file_error(name: &str, error: &io::Error) -> Error {
    Error::File { path: name.into(), reason: error.to_string() }
}

fn format_error(name: &str, reason: impl ToString) -> Error {
    DataRule::FileFormat { file: name.into(), reason: reason.to_string() }.into()
}

/// Reads the header of a data file: `length` bytes from the current position of `file`. Returns an error for a
/// `length` above 100 MB or above the length of the file, so that no larger buffer is allocated.
fn read_header(file: &mut File, length: u64) -> Result<Vec<u8>, Fault> {
    if length > MOST_HEADER || length > file.metadata()?.len() {
        return Err(Fault::Format("its header is longer than the file, or than 100 MB"));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header)?;
    Ok(header)
}

/// Reads the header of a `.npy` file from its start. Returns two texts, the number type (`descr`) and the shape, and
/// the offset in bytes of the first value. Source: NEP 1, numpy.lib.format.
fn npy_header(file: &mut File) -> Result<([String; 2], u64), Fault> {
    let mut start = [0; 8];
    file.read_exact(&mut start)?;
    let [magic @ .., version, _] = start;
    if &magic != b"\x93NUMPY" {
        return Err(Fault::Format("it does not begin as a file of numpy"));
    }
    let mut length = [0; 4];
    let count = if version == 1 { 2 } else { 4 };
    file.read_exact(&mut length[..count])?;
    let length = u64::from(u32::from_le_bytes(length));
    let header = read_header(file, length)?;
    let text = core::str::from_utf8(&header).map_err(|_| Fault::Format("its header is no text"))?;
    let value = |key: &str| {
        let (_, rest) = text.split_once(key)?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    };
    let order = value("'fortran_order'").ok_or(Fault::Format("its header has no `fortran_order`"))?;
    if !order.starts_with("False") {
        return Err(Fault::Format("its array is in Fortran order; save `numpy.ascontiguousarray(array)`"));
    }
    let descr = value("'descr'").and_then(|rest| Some(rest.strip_prefix('\'')?.split_once('\'')?.0));
    let shape = value("'shape'").and_then(|rest| Some(rest.strip_prefix('(')?.split_once(')')?.0));
    match descr.zip(shape) {
        Some((descr, shape)) => Ok(([descr.into(), shape.into()], (8 + count) as u64 + length)),
        None => Err(Fault::Format("its header has no `descr` of one number, or no `shape`")),
    }
}
