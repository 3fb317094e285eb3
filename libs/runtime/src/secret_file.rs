//! Reading keys and credentials: only from files that nobody but their owner can read.
//!
//! A key that others can read is no longer one, so a service refuses to start with it instead of warning. The text is
//! returned as it is; wrap it at once in a type whose `Debug` shows nothing.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// Largest secret: keys, chains and credentials have a few kilobytes.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Rights of the group and of others; a secret has none of them.
const GROUP_AND_OTHERS: u32 = 0o077;

/// Why a secret is not used. Never shows what is in the file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It is not there, or may not be read.
    #[error("cannot read the secret {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A folder, a pipe or a device.
    #[error("{} is no plain file; a secret is read from nothing else", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner have rights to it.
    #[error(
        "the secret {path} has mode {mode:04o}, so others than its owner have rights to it; \
         replace it if somebody may have read it, then `chmod 0600 {path}`",
        path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Over [`MAX_SECRET_BYTES`].
    #[error("{} has over {MAX_SECRET_BYTES} bytes; no key or credentials file has", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// The text of a key or credentials file that its owner alone can read.
///
/// # Errors
/// [`SecretFileError`]: each names the file, none shows its contents.
pub fn read_secret_file(path: &Path) -> Result<String, SecretFileError> {
    let failed = |source| SecretFileError::Read { path: path.to_owned(), source };
    // Non-blocking: a pipe in the file's place must not stop the service.
    let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path).map_err(failed)?;
    // Of the open file, not of the path: nobody can exchange it between check and read.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & GROUP_AND_OTHERS != 0 {
        return Err(SecretFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    let read = file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(read).is_ok_and(|bytes| bytes > MAX_SECRET_BYTES) {
        return Err(SecretFileError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join(format!("{mode:o}-{}", text.len()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_secret_is_read_from_a_file_of_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o400] {
            assert_eq!(read_secret_file(&file(folder.path(), "s3", mode)).unwrap(), "s3");
        }
        for mode in [0o640, 0o604, 0o644, 0o620, 0o660, 0o601] {
            let path = file(folder.path(), "hunter2", mode);
            let error = read_secret_file(&path).unwrap_err();
            assert!(matches!(error, SecretFileError::Exposed { mode: m, .. } if m == mode));
            let (text, path) = (error.to_string(), path.display().to_string());
            assert!(text.contains(&format!("mode {mode:04o}")), "{text}");
            assert!(text.contains(&format!("chmod 0600 {path}")), "{text}");
            assert!(!format!("{error:?} {text}").contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_bounded_plain_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let missing = read_secret_file(&folder.path().join("none")).unwrap_err();
        assert!(matches!(missing, SecretFileError::Read { .. }));
        let not_a_file = read_secret_file(folder.path()).unwrap_err();
        assert!(matches!(not_a_file, SecretFileError::NotAFile { .. }));
        let most = usize::try_from(MAX_SECRET_BYTES).unwrap();
        let fits = file(folder.path(), &"x".repeat(most), 0o600);
        assert_eq!(read_secret_file(&fits).unwrap().len(), most);
        let large = file(folder.path(), &"x".repeat(most + 1), 0o600);
        assert!(matches!(read_secret_file(&large), Err(SecretFileError::TooLarge { .. })));
    }

    #[test]
    fn a_link_to_a_private_file_is_followed() {
        // Mounted secrets are links into a versioned folder.
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(file(folder.path(), "s3", 0o600), &link).unwrap();
        assert_eq!(read_secret_file(&link).unwrap(), "s3");
    }
}
