//! Folders and files that are the journal's alone: commands, their output and who asked for them are nobody else's to read.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Mode of folders.
const FOLDER: u32 = 0o700;
/// Mode of files.
const FILE: u32 = 0o600;
/// Who else may write.
pub(super) const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Makes a folder, and those above it that are missing.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(FOLDER).create(path)
}

/// Takes the rights of others away from a folder that exists.
pub(super) fn close_folder(path: &Path) -> io::Result<()> {
    if mode(path)? & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(FOLDER))
}

/// The permission bits.
pub(super) fn mode(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

/// Options for a file that the journal makes itself.
pub(super) fn file() -> OpenOptions {
    let mut options = File::options();
    options.mode(FILE);
    options
}

/// Whatever this process makes from now on, RocksDB's files too, is its user's alone.
pub(crate) fn close_umask() {
    let others = nix::sys::stat::Mode::from_bits_truncate(0o077);
    let _before = nix::sys::stat::umask(others);
}
