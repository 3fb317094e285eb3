//! Giving files other names without ever replacing one unseen.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::made::is_folder;
use super::place::Place;

/// What may be asked of a file system: everything, but in tests of what there is when it cannot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renames {
    pub(super) exchange: bool,
    pub(super) no_replace: bool,
    pub(super) link: bool,
}

impl Renames {
    /// Everything is asked.
    pub(super) const ALL: Self = Self { exchange: true, no_replace: true, link: true };

    /// Exchanges two names of a folder in one step; `false`: the file system cannot, and nothing was done.
    pub(super) fn exchange(self, place: &Place, one: &CStr, other: &CStr) -> Result<bool, Errno> {
        let folder = place.folder.as_fd();
        let done = if self.exchange {
            rustix::fs::renameat_with(folder, one, folder, other, RenameFlags::EXCHANGE)
        } else {
            Err(Errno::INVAL)
        };
        match done {
            Ok(()) => Ok(true),
            Err(errno) if cannot(errno) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Gives a file another name, which nothing has. `AlreadyExists`: something has it. `Unsupported`: the file system
    /// can do that to no file of this kind. Nothing was done in both cases.
    pub(super) fn put_where_nothing_is(
        self,
        place: &Place,
        from: &CStr,
        to: &CStr,
    ) -> io::Result<()> {
        let folder = place.folder.as_fd();
        let renamed = if self.no_replace {
            rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE)
        } else {
            Err(Errno::INVAL)
        };
        match renamed {
            Err(errno) if cannot(errno) => {}
            other => return Ok(other?),
        }
        // A second name is made where nothing is, too, and the first one goes.
        let linked = if self.link {
            rustix::fs::linkat(folder, from, folder, to, AtFlags::empty())
        } else {
            Err(Errno::PERM)
        };
        match linked {
            Ok(()) => Ok(rustix::fs::unlinkat(folder, from, AtFlags::empty())?),
            // Folders have no second names; but all that one can replace is an empty folder.
            Err(_) if super::place::stat(folder, from)?.is_some_and(|stat| is_folder(&stat)) => {
                match rustix::fs::renameat(folder, from, folder, to) {
                    Err(Errno::NOTDIR | Errno::NOTEMPTY) => {
                        Err(io::ErrorKind::AlreadyExists.into())
                    }
                    other => Ok(other?),
                }
            }
            Err(errno) if cannot(errno) || matches!(errno, Errno::PERM | Errno::MLINK) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

fn cannot(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}
