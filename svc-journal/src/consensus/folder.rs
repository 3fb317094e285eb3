//! Folders that go with their last user.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A folder that is removed with its last user once nobody needs it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    doomed: AtomicBool,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, doomed: AtomicBool::new(false) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder when the last handle goes.
    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire)
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            // What is left behind is removed at the next start.
            tracing::warn!(path = %self.path.display(), %error, "an old folder could not be removed");
        }
    }
}

/// A folder of files: the checkpoint that is sent, or the place where one arrives. Gone with its
/// last handle when another has taken its place.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFolder {
    files: PathBuf,
    folder: Arc<Folder>,
}

impl SnapshotFolder {
    /// Of the database whose files lie in `files`, within `folder` or the same.
    pub(crate) fn new(files: PathBuf, folder: PathBuf) -> Self {
        Self { files, folder: Arc::new(Folder::new(folder)) }
    }

    /// Where the database's files are.
    pub(crate) fn files(&self) -> &Path {
        &self.files
    }

    /// Removes it once its last handle goes.
    pub(crate) fn doom(&self) {
        self.folder.doom();
    }
}
