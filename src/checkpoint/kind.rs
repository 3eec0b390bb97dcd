//! The kinds of safetensors files: a model, the checkpoint of a training run, a file of another program.

use super::{
    BYTES, CHECKSUM, damaged,
    format::{self, Checksum, Header},
};
use crate::error::Error;
use alloc::string::{String, ToString};

/// A kind of safetensors file that this crate writes: a model or a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Model,
    Run,
}

impl FileKind {
    /// Returns the metadata key under which a file of this kind states the version of its format.
    const fn key(self) -> &'static str {
        match self {
            FileKind::Model => "chainrule model",
            FileKind::Run => "chainrule",
        }
    }

    /// Returns the version of the format of this kind of file. The crate writes and reads only this version.
    const fn current(self) -> u32 {
        match self {
            FileKind::Model => 1,
            FileKind::Run => 2,
        }
    }

    /// Returns the metadata entry (key, value) that states the kind of the file and the version of its format.
    pub(crate) fn entry(self) -> (String, String) {
        (self.key().into(), self.current().to_string())
    }

    const fn title(self) -> &'static str {
        match self {
            FileKind::Model => "a model",
            FileKind::Run => "the checkpoint of a run",
        }
    }

    /// Returns the remedy in an error message about a file of this kind: the call that reads such files.
    const fn remedy(self) -> &'static str {
        match self {
            FileKind::Model => "read it with `Model::load` or `Model::from_bytes`",
            FileKind::Run => "read it with `Trainer::load` or `Checkpoint::load`, and save a model by `Model::save`",
        }
    }
}

/// Splits a safetensors file of any program into (header, bytes of the values). Returns [`Error::FileKind`] for a zip
/// archive, which `torch.save` writes, and [`Error::CheckpointFormat`] for other bytes that are not a safetensors
/// file.
pub(crate) fn open(bytes: &[u8]) -> Result<(Header, &[u8]), Error> {
    // A file of `torch.save` is a zip archive.
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(Error::FileKind {
            origin: BYTES.into(),
            found: "a zip archive, as `torch.save` writes",
            expected: "a safetensors file",
            remedy: "write the state dict by `safetensors.torch.save_file`, and read that file by `StateDict::load`",
        });
    }
    format::read(bytes).map_err(damaged)
}

/// Splits a file of kind `kind` into (header, bytes of the values). Returns an error for damaged bytes, a file of
/// another kind, a wrong checksum, and a version of the format that is not the current one.
pub(crate) fn read(bytes: &[u8], kind: FileKind) -> Result<(Header, &[u8]), Error> {
    let (header, data) = open(bytes)?;
    let Some(version) = header.metadata.get(kind.key()) else {
        let other = [FileKind::Model, FileKind::Run].into_iter().find(|kind| header.metadata.contains_key(kind.key()));
        return Err(Error::FileKind {
            origin: BYTES.into(),
            found: other.map_or("a safetensors file of another program", FileKind::title),
            expected: kind.title(),
            remedy: other.map_or(
                "read its tensors by `StateDict::load`, and put them into a network by `import_state_dict`",
                FileKind::remedy,
            ),
        });
    };
    if *version != kind.current().to_string() {
        let origin = BYTES.into();
        return Err(Error::CheckpointVersion { origin, found: version.clone(), expected: kind.current() });
    }
    let checksum = header.metadata.get(CHECKSUM).map_or("none", String::as_str);
    // The checksum is not compared in fuzzing, because a fuzzer cannot produce a valid one.
    if cfg!(not(fuzzing)) && checksum != Checksum::of(&header, data, CHECKSUM) {
        return Err(damaged("its checksum is that of other data"));
    }
    Ok((header, data))
}
