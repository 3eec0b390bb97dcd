//! The safetensors format: eight bytes of header length, a JSON header, and the values of all tensors.
//!
//! Metadata is written in the order of its keys, so equal checkpoints give equal bytes. Source:
//! <https://huggingface.co/docs/safetensors>.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, ops::Range};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

/// The key of the metadata in the header of a safetensors file. No tensor may have this name.
pub(crate) const METADATA: &str = "__metadata__";

/// The number of bytes at the start of a safetensors file that hold the length of the header.
const PREFIX: usize = 8;

/// The header of a safetensors file: its metadata, and an entry for each tensor.
pub(crate) struct Header {
    pub metadata: BTreeMap<String, String>,
    /// (name, entry) of each tensor, in the order of the values in the file.
    pub tensors: Vec<(String, Tensor)>,
}

/// The entry of a tensor in the header of a safetensors file: number format, shape, and position of the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tensor {
    pub dtype: String,
    pub shape: Vec<usize>,
    /// \[index of the first byte of the tensor's values, index after the last byte\], both counted from the end of
    /// the header.
    pub data_offsets: [usize; 2],
}

impl Tensor {
    /// Returns the range of bytes of the tensor's values, counted from the end of the header.
    pub fn bytes(&self) -> Range<usize> {
        self.data_offsets[0]..self.data_offsets[1]
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.tensors.len() + 1))?;
        map.serialize_entry(METADATA, &self.metadata)?;
        for (name, tensor) in &self.tensors {
            map.serialize_entry(name, tensor)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> de::Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut metadata, mut tensors) = (None, BTreeMap::new());
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == METADATA {
                        metadata.replace(map.next_value()?).is_some()
                    } else {
                        tensors.insert(name, map.next_value()?).is_some()
                    };
                    if twice {
                        return Err(de::Error::custom("a name stands twice in the header"));
                    }
                }
                let mut tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
                tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
                Ok(Header { metadata: metadata.unwrap_or_default(), tensors })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Returns the bytes of a safetensors file with this header, and with `values`, the bytes of all tensors in the order
/// of the header. If the header cannot be written as JSON, the error is the reason as text.
pub(crate) fn write(header: &Header, values: &[u8]) -> Result<Vec<u8>, String> {
    let mut json = serde_json::to_vec(header).map_err(|error| error.to_string())?;
    json.resize(json.len().next_multiple_of(PREFIX), b' ');
    let mut file = Vec::with_capacity(PREFIX + json.len() + values.len());
    file.extend((json.len() as u64).to_le_bytes());
    file.extend(json);
    file.extend(values);
    Ok(file)
}

/// Splits the bytes of a safetensors file into (header, bytes of all tensors). The error is the violated rule of the
/// format, as text.
///
/// No allocation exceeds the size of the file: lengths in the header are compared with the length of the file.
pub(crate) fn read(file: &[u8]) -> Result<(Header, &[u8]), String> {
    let (length, rest) = file.split_at_checked(PREFIX).ok_or("it has fewer than 8 bytes")?;
    let length = length.iter().rev().fold(0, |length: u64, &byte| length << 8 | u64::from(byte));
    let header = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let (json, values) =
        header.ok_or_else(|| format!("it is cut off, or no safetensors file: its header would have {length} bytes"))?;
    let header: Header =
        serde_json::from_slice(json).map_err(|error| format!("its header is not readable ({error})"))?;
    let mut end = 0;
    for (name, tensor) in &header.tensors {
        let [first, last] = tensor.data_offsets;
        if first != end || last < first {
            return Err(format!("tensor {name:?} does not begin where the one before it ends"));
        }
        end = last;
    }
    match end == values.len() {
        true => Ok((header, values)),
        false => Err(format!("its tensors have {end} bytes, but {} are there", values.len())),
    }
}

/// A checksum that detects every change of one byte, and all but 1 in 2⁶⁴ other changes.
///
/// For each byte the checksum is replaced by a bijective function of itself that depends on the byte. Source: Fowler,
/// Noll & Vo (FNV-1a, 64 bits).
pub(crate) struct Checksum(u64);

impl Checksum {
    pub fn new() -> Self {
        Checksum(0xCBF2_9CE4_8422_2325)
    }

    /// Extends the checksum by the number of bytes, as 8 bytes, and then by the bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    /// Returns the checksum of a file with this header and these tensor bytes, as 16 hexadecimal digits. It covers
    /// everything except the metadata entry with the key `own_entry`, which holds the checksum itself.
    pub fn of(header: &Header, values: &[u8], own_entry: &str) -> String {
        let mut sum = Self::new();
        for (key, value) in header.metadata.iter().filter(|(key, _)| *key != own_entry) {
            sum.add(key.as_bytes());
            sum.add(value.as_bytes());
        }
        for (name, tensor) in &header.tensors {
            sum.add(name.as_bytes());
            sum.add(format!("{} {:?} {:?}", tensor.dtype, tensor.shape, tensor.data_offsets).as_bytes());
        }
        sum.add(values);
        format!("{:016x}", sum.0)
    }
}
