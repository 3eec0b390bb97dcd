//! Atomic replacement of a file: after a crash at any time, the path has either the complete old or the complete new
//! file.

use alloc::format;
use std::{
    collections::hash_map::RandomState,
    fs::{self, File, TryLockError},
    hash::BuildHasher,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The start of the name of a partial file: the new content of a file, before it is renamed to its final name. 16
/// random hexadecimal digits follow.
const BEFORE: &str = ".chainrule-";
/// The end of the name of a partial file, after the random digits: see [`BEFORE`].
const AFTER: &str = ".partial";

/// Returns all bytes of the file at `path`. Returns an error for anything but a regular file, such as a folder or a
/// pipe.
pub(crate) fn read(path: &Path) -> io::Result<alloc::vec::Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(not_regular());
    }
    fs::read(path)
}

/// Replaces the content of the file at `path` with `bytes`: writes a partial file in the same folder, flushes it to
/// the disk, and renames it to `path`.
///
/// If `path` is a symbolic link, its target is replaced. If it exists and is not a regular file, an error is
/// returned. Permissions of an existing file are kept. Partial files of dead processes are removed first.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = behind_links(path)?;
    let old = match fs::metadata(&path) {
        Ok(old) if old.is_file() => Some(old),
        Ok(_) => return Err(not_regular()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    remove_abandoned(folder);
    let (partial, mut file) = create_partial(folder)?;
    let done = (|| {
        // The permissions are set before the first byte is written, so that no other user can read protected content.
        #[cfg(unix)]
        if let Some(old) = &old {
            file.set_permissions(old.permissions())?;
        }
        #[cfg(not(unix))]
        let _ = old;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, &path)
    })();
    if done.is_err() {
        // The error of the write is returned, not that of this removal; if it fails, the next save removes the file.
        let _ = fs::remove_file(&partial);
        return done;
    }
    sync_folder(folder)
}

/// Flushes the entries of a folder to the disk, so that a rename in it survives a crash. On a system that cannot
/// flush folders it does nothing and returns no error.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let Ok(folder) = File::open(folder) else { return Ok(()) };
    match folder.sync_all() {
        Err(error)
            if cfg!(unix) && !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

/// Returns the path of the file to which the symbolic link at `path` points, with all further links followed, or
/// `path` itself if it is not a link. That file need not exist.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..40 {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            _ => return Ok(path),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "too many symbolic links"))
}

/// Creates a partial file (the new content of a file before it is renamed) in `folder`, and locks it until it is
/// closed. Returns (its path, the file).
///
/// If another process locks or removes the file before this one has locked it, a new file is created. On a system
/// without file locks, the partial files of dead processes are never removed.
fn create_partial(folder: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let number = RandomState::new().hash_one(folder);
        let partial = folder.join(format!("{BEFORE}{number:016x}{AFTER}"));
        let file = match File::create_new(&partial) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        let removed = match file.try_lock() {
            Ok(()) => fs::symlink_metadata(&partial).is_err(),
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(_)) => false,
        };
        if !removed {
            return Ok((partial, file));
        }
    }
}

/// Removes the partial files (new contents of files before they are renamed) in `folder` that no process has locked:
/// the processes that wrote them are dead.
///
/// Errors are ignored: a partial file may belong to another user, and saving can still succeed.
fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(BEFORE)?.strip_suffix(AFTER));
        let is_ours = digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}
