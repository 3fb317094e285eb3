//! Files that must be whole after a crash: written aside, synced, renamed, and the folder synced.
//!
//! Also the checksum that every record of the agent's append-only files carries, and hex for file names. Nothing here knows what the bytes mean.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Mode of what only the agent may read: keys, credentials, recordings.
pub(crate) const PRIVATE: u32 = 0o600;
/// Mode of what every user of the node may read: node.json, capability.json, certificates.
pub(crate) const PUBLIC: u32 = 0o644;

/// Suffix of the file that is written aside; left behind only by a crash, overwritten by the next write.
const ASIDE: &str = ".new";

/// Replaces the contents of `path`: afterwards, also after a power loss, it holds the old bytes or the new ones.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(ASIDE);
    let aside = Path::new(&aside);
    write_new(aside, bytes, mode)?.sync_all()?;
    std::fs::rename(aside, path)?;
    match path.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// Writes a file aside, in the place of a leftover, to be synced and renamed by the caller.
pub(crate) fn write_new(aside: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    // A leftover may have another mode; it must not lend it to a secret.
    match std::fs::remove_file(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(aside)?;
    file.write_all(bytes)?;
    // The process's umask may have narrowed it.
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// Reads a file of at most `limit` bytes; `None` when there is none.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than it can be"));
    }
    Ok(Some(bytes))
}

/// Makes created, renamed and removed names in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder that only the agent may enter, with its parents; an existing one is left as it is.
pub(crate) fn private_folder(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Puts the folder `new` in the place of another in one step, and removes the other.
pub(crate) fn exchange_folders(new: &Path, place: &Path) -> io::Result<()> {
    sync_folder(new)?;
    if place.exists() {
        renameat2(AT_FDCWD, new, AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE)?;
        std::fs::remove_dir_all(new)?;
    } else {
        std::fs::rename(new, place)?;
    }
    match place.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// CRC-32 (IEEE, reflected) over the concatenation of `parts`.
pub(crate) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().flat_map(|part| part.iter()) {
        let [low, ..] = crc.to_le_bytes();
        let entry = CRC_TABLE.get(usize::from(low ^ byte)).copied().unwrap_or(0);
        crc = entry ^ (crc >> 8);
    }
    !crc
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

static CRC_TABLE: [u32; 256] = crc_table();

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn crc_table() -> [u32; 256] {
    let mut table = [0u32; 256];
    let mut index = 0u32;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(crc32(&[b"123456789"]), 0xCBF4_3926);
        assert_eq!(crc32(&[b"1234", b"56789"]), 0xCBF4_3926);
    }

    #[test]
    fn a_replaced_file_has_its_mode_and_nothing_stays_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(folder.path().join("secret.new"), "left behind by a crash").unwrap();
        for contents in [&b"one"[..], b"two"] {
            replace(&path, contents, PRIVATE).unwrap();
            assert_eq!(read_bounded(&path, 3).unwrap().unwrap(), contents);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(read_bounded(&path, 2).is_err());
        assert!(read_bounded(&folder.path().join("none"), 2).unwrap().is_none());
    }
}
