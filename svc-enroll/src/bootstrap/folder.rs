//! The site's folder: one writer, files that appear whole, nothing overwritten.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use pact_identity::x509::SecretPem;

use super::BootstrapError;

/// Nothing here is larger; a device or a pasted log is not read to its end.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

const FOLDER_MODE: u32 = 0o700;
const PRIVATE_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

/// Holds the lock; never removed, or two processes could hold different files of one name.
const LOCK: &str = ".lock";

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was there.
    Kept,
    /// It was not.
    Made,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// The owner alone.
    Owner,
    /// Everybody who can enter the folder.
    All,
}

/// The folder, locked for as long as this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    fates: BTreeMap<String, Fate>,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, BootstrapError> {
        make_folder(path)?;
        let failed = |source| failure("find", path, source);
        let root = path.canonicalize().map_err(failed)?;
        let is_claimed = root.join("SITE").exists();
        let strangers = fs::read_dir(&root).map_err(failed)?.filter_map(Result::ok).any(|entry| {
            let name = entry.file_name();
            name != LOCK && name != pending_name("SITE").as_str()
        });
        if strangers && !is_claimed {
            return Err(BootstrapError::NotASite { folder: root });
        }
        if !is_claimed {
            fs::set_permissions(&root, Permissions::from_mode(FOLDER_MODE)).map_err(failed)?;
        }
        let lock_path = root.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE_MODE)
            .open(&lock_path)
            .map_err(|source| failure("open", &lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root, fates: BTreeMap::new(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(BootstrapError::Busy { folder: root }),
            Err(fs::TryLockError::Error(source)) => Err(failure("lock", &lock_path, source)),
        }
    }

    /// The absolute path of a file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes a folder within.
    pub(super) fn make_folder(&self, name: &str) -> Result<(), BootstrapError> {
        make_folder(&self.path(name))
    }

    /// What became of each file, in the order of names.
    pub(super) fn fates(&self) -> &BTreeMap<String, Fate> {
        &self.fates
    }

    /// Whether the folder of this name holds any file.
    pub(super) fn has_files_in(&self, name: &str) -> bool {
        fs::read_dir(self.path(name)).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// A file that is to be kept; `None` when it is not there.
    pub(super) fn read(&mut self, name: &str) -> Result<Option<String>, BootstrapError> {
        let found = self.peek(name)?;
        if found.is_some() {
            self.fates.insert(name.to_owned(), Fate::Kept);
        }
        Ok(found)
    }

    /// A secret that is to be kept; refused when others can read it.
    pub(super) fn read_secret(&mut self, name: &str) -> Result<Option<SecretPem>, BootstrapError> {
        let found = self.read(name)?;
        if found.is_some() {
            let file = self.path(name);
            let metadata = fs::metadata(&file).map_err(|source| failure("read", &file, source))?;
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(BootstrapError::Exposed { file, mode });
            }
        }
        Ok(found.map(SecretPem::new))
    }

    fn peek(&self, name: &str) -> Result<Option<String>, BootstrapError> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failure("read", &path, source)),
        };
        let mut text = String::new();
        let read = file.take(MAX_FILE_BYTES).read_to_string(&mut text);
        read.map_err(|source| failure("read", &path, source))?;
        Ok(Some(text))
    }

    /// Writes a file that is not there: beside its place, synced, then moved. The lock keeps others from making it meanwhile.
    pub(super) fn write(
        &mut self,
        name: &str,
        content: &str,
        readers: Readers,
    ) -> Result<(), BootstrapError> {
        let path = self.path(name);
        let failed = |source| failure("write", &path, source);
        if path.try_exists().map_err(failed)? {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        self.put(name, content, readers)
    }

    /// Writes a certificate over one whose key is gone, or SITE with a member more. Keys never come here.
    pub(super) fn replace_public(
        &mut self,
        name: &str,
        content: &str,
    ) -> Result<(), BootstrapError> {
        self.put(name, content, Readers::All)
    }

    fn put(&mut self, name: &str, content: &str, readers: Readers) -> Result<(), BootstrapError> {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(&self.root);
        make_folder(folder)?;
        let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or(name);
        let pending = folder.join(pending_name(file_name));
        let mode = match readers {
            Readers::Owner => PRIVATE_MODE,
            Readers::All => PUBLIC_MODE,
        };
        write_synced(&pending, content, mode)
            .and_then(|()| fs::rename(&pending, &path))
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|source| failure("write", &path, source))?;
        self.fates.insert(name.to_owned(), Fate::Made);
        Ok(())
    }

    /// Removes a file that was only needed on the way.
    pub(super) fn remove(&mut self, name: &str) -> Result<(), BootstrapError> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|source| failure("remove", &path, source))?;
        self.fates.remove(name);
        Ok(())
    }
}

/// The name under which a file is written before it has its own.
fn pending_name(file_name: &str) -> String {
    format!(".{file_name}.new")
}

/// A leftover of a run that was cut off is replaced: nothing has read it.
fn write_synced(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?; // whatever the umask is
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn make_folder(path: &Path) -> Result<(), BootstrapError> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
    made.map_err(|source| failure("make the folder", path, source))
}

fn failure(action: &'static str, path: &Path, source: io::Error) -> BootstrapError {
    BootstrapError::File { action, path: path.to_owned(), source }
}
