//! The way to a file that nobody can bend: every folder on it is opened by name in the one before, and links are not
//! followed. Whatever others do to the tree meanwhile, what is done through a [`Place`] is done in that folder.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::order;
use crate::readers::others_pass;

/// How a folder on the way is opened: to go on from, not to read.
const ON_THE_WAY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A name in an open folder.
#[derive(Debug)]
pub(super) struct Place {
    /// Opened with `O_PATH`.
    pub(super) folder: OwnedFd,
    pub(super) name: CString,
    /// Every user of the node may enter every folder on the way.
    pub(super) is_open: bool,
}

/// Why there is no such place.
#[derive(Debug)]
pub(super) enum Unreached {
    /// The folder with this path is not there.
    Missing(Vec<u8>),
    /// This is a link, or no folder.
    NotFolder(Vec<u8>),
    /// The system says no.
    Failed(io::Error),
}

impl Place {
    /// Walks to the folder of the path. `/` itself is the name `.` in `/`.
    pub(super) fn find(path: &[u8]) -> Result<Self, Unreached> {
        let (folder, name) = order::split(path).unwrap_or((b"/", b"."));
        let name = CString::new(name)
            .map_err(|_| Unreached::Failed(io::Error::from(io::ErrorKind::InvalidFilename)))?;
        let (folder, is_open) = open_folder(folder)?;
        Ok(Self { folder, name, is_open })
    }

    /// What is there; `None`: nothing.
    pub(super) fn stat(&self) -> io::Result<Option<Stat>> {
        stat(&self.folder, &self.name)
    }
}

/// What a name in a folder is, links not followed; `None`: nothing.
pub(super) fn stat(
    folder: impl std::os::fd::AsFd,
    name: &std::ffi::CStr,
) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a folder to go on from, and whether every user may come here.
fn open_folder(path: &[u8]) -> Result<(OwnedFd, bool), Unreached> {
    let failed = |errno: Errno| Unreached::Failed(errno.into());
    let mut folder = rustix::fs::openat(CWD, c"/", ON_THE_WAY, Mode::empty()).map_err(failed)?;
    let mut is_open = others_pass(rustix::fs::fstat(&folder).map_err(failed)?.st_mode);
    let mut length = 0;
    for part in path.split(|byte| *byte == b'/') {
        length += part.len() + 1;
        if part.is_empty() {
            continue;
        }
        let here = || path.get(..length - 1).unwrap_or(path).to_vec();
        folder = match rustix::fs::openat(&folder, part, ON_THE_WAY, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOENT) => return Err(Unreached::Missing(here())),
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(Unreached::NotFolder(here())),
            Err(errno) => return Err(failed(errno)),
        };
        is_open &= others_pass(rustix::fs::fstat(&folder).map_err(failed)?.st_mode);
    }
    Ok((folder, is_open))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let top = tempfile::tempdir().unwrap();
        let path = |end: &str| top.path().join(end).as_os_str().as_bytes().to_vec();
        std::fs::create_dir_all(top.path().join("real/deep")).unwrap();
        symlink("real", top.path().join("link")).unwrap();
        std::fs::write(top.path().join("real/deep/file"), "x").unwrap();
        assert!(Place::find(&path("real/deep/file")).unwrap().stat().unwrap().is_some());
        assert!(Place::find(&path("real/deep/none")).unwrap().stat().unwrap().is_none());
        let bent = Place::find(&path("link/deep/file"));
        assert!(matches!(bent, Err(Unreached::NotFolder(at)) if at == path("link")));
        let missing = Place::find(&path("real/none/file"));
        assert!(matches!(missing, Err(Unreached::Missing(at)) if at == path("real/none")));
        assert!(Place::find(b"/").unwrap().stat().unwrap().is_some());
    }

    #[test]
    fn one_closed_folder_closes_the_way() {
        let top = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(top.path(), open).unwrap();
        let inner = top.path().join("a");
        std::fs::create_dir(&inner).unwrap();
        let file = inner.join("file");
        let is_open = || Place::find(file.as_os_str().as_bytes()).unwrap().is_open;
        assert!(is_open());
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(!is_open());
    }
}
