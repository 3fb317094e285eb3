//! Files, folders and links as they are made: aside, under a name of the agent's own, with owner and mode, synced.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use pact_schemas::resource::FileKind;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::place::Place;
use super::record::{PERMISSIONS, Print, Record, kind_of_stat};

/// Mode of a file while it is written.
const UNFINISHED: Mode = Mode::RUSR.union(Mode::WUSR);
/// Extended attributes of one file that are carried over, names and each value: the kernel's own bound.
const MAX_XATTR_BYTES: usize = 64 * 1024;

/// Writes a file under this name, which nothing has, with owner and mode; it is not synced. What fails leaves nothing
/// behind.
pub(super) fn file(
    place: &Place,
    name: &CStr,
    bytes: &[u8],
    record: &Record,
    old: Option<&OwnedFd>,
) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(&place.folder, name, flags, UNFINISHED)?;
    let written = || {
        let mut file = File::from(made);
        file.write_all(bytes)?;
        if let Some(old) = old {
            carry_attributes(old, &file)?;
        }
        own(file.as_fd(), record)?;
        Ok(file)
    };
    written().inspect_err(|_| forget(place, name, FileKind::Regular))
}

/// Makes a link under this name.
pub(super) fn link(place: &Place, name: &CStr, record: &Record) -> io::Result<()> {
    let target = CString::new(record.link.clone()).map_err(io::Error::other)?;
    rustix::fs::symlinkat(&*target, &place.folder, name)?;
    own_link(place, name, record).inspect_err(|_| forget(place, name, FileKind::Symlink))
}

/// Makes an empty folder under this name.
pub(super) fn folder(place: &Place, name: &CStr, record: &Record) -> io::Result<()> {
    rustix::fs::mkdirat(&place.folder, name, Mode::RWXU)?;
    let owned = open(place, name, OFlags::RDONLY | OFlags::DIRECTORY)
        .and_then(|made| own(made.as_fd(), record));
    owned.inspect_err(|_| forget(place, name, FileKind::Directory))
}

/// Removes what was made aside and is not wanted any more. What cannot be removed is, with the next scan.
pub(super) fn forget(place: &Place, name: &CStr, kind: FileKind) {
    let flags = if kind == FileKind::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    if let Err(error) = rustix::fs::unlinkat(&place.folder, name, flags)
        && error != Errno::NOENT
    {
        tracing::warn!(?name, %error, "a file that was being made stays until the next scan");
    }
}

/// Opens a name in the folder of a place.
pub(super) fn open(place: &Place, name: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&place.folder, name, flags, Mode::empty())?)
}

/// Changes owner and mode of a file or folder that is otherwise right, if it still is the one that was looked at; it is
/// not synced.
pub(super) fn adjust(place: &Place, seen: &Print, record: &Record) -> io::Result<File> {
    let fd = open(place, &place.name, OFlags::RDONLY)?;
    let stat = rustix::fs::fstat(&fd)?;
    if kind_of_stat(&stat) != record.kind || Print::of(&stat).inode != seen.inode {
        // It became something else since it was looked at.
        return Err(io::Error::from(io::ErrorKind::ResourceBusy));
    }
    if let Err(error) = own(fd.as_fd(), record) {
        let was = Record {
            mode: stat.st_mode & PERMISSIONS,
            uid: stat.st_uid,
            gid: stat.st_gid,
            ..record.clone()
        };
        let _best = own(fd.as_fd(), &was);
        return Err(error);
    }
    Ok(File::from(fd))
}

/// Changes the owner of a link.
pub(super) fn own_link(place: &Place, name: &CStr, record: &Record) -> io::Result<()> {
    let (uid, gid) = owner(record);
    Ok(rustix::fs::chownat(&place.folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Owner first: changing it takes away set-user-id. What the file system makes of it is read back.
fn own(fd: BorrowedFd<'_>, record: &Record) -> io::Result<()> {
    let (uid, gid) = owner(record);
    rustix::fs::fchown(fd, uid, gid)?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(record.mode))?;
    let stat = rustix::fs::fstat(fd)?;
    let is_owned = uid.is_none_or(|uid| uid.as_raw() == stat.st_uid)
        && gid.is_none_or(|gid| gid.as_raw() == stat.st_gid);
    if is_owned && stat.st_mode & PERMISSIONS == record.mode {
        return Ok(());
    }
    Err(io::Error::other("its file system does not keep this owner and mode"))
}

/// The largest number means "unchanged" to the kernel and is nobody's.
fn owner(record: &Record) -> (Option<Uid>, Option<Gid>) {
    let known = |number: u32| (number != u32::MAX).then_some(number);
    (known(record.uid).map(Uid::from_raw), known(record.gid).map(Gid::from_raw))
}

/// Security label, access list and users' attributes stay. Capabilities do not: they were given to other contents.
fn carry_attributes(old: &OwnedFd, new: &File) -> io::Result<()> {
    let mut names = vec![0; MAX_XATTR_BYTES];
    let Ok(length) = rustix::fs::flistxattr(old, &mut names) else {
        // The file system has none.
        return Ok(());
    };
    let mut value = vec![0; MAX_XATTR_BYTES];
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0) {
        let stays = name == b"security.selinux"
            || name == b"system.posix_acl_access"
            || name.starts_with(b"user.");
        if !stays {
            continue;
        }
        let Ok(length) = rustix::fs::fgetxattr(old, name, &mut value) else { continue };
        let value = value.get(..length).unwrap_or_default();
        match rustix::fs::fsetxattr(new, name, value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Whether it is a folder.
pub(super) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Makes changed names in a folder last.
pub(super) fn sync(folder: BorrowedFd<'_>) -> io::Result<()> {
    reopened(folder)?.sync_all()
}

/// A folder that was opened to go on from, opened to read: syncing wants that.
pub(super) fn reopened(folder: BorrowedFd<'_>) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(folder, c".", flags, Mode::empty())?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    use super::super::wanted::blank;
    use super::*;

    #[test]
    fn a_mode_that_is_not_taken_as_it_is_is_refused_and_what_was_is_put_back() {
        let top = tempfile::tempdir().unwrap();
        std::fs::set_permissions(top.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let path = top.path().join("file");
        std::fs::write(&path, "x").unwrap();
        chown(&path, Some(65_534), Some(12_345)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let place = Place::find(path.as_os_str().as_bytes()).unwrap();
        let print = Print::of(&place.stat().unwrap().unwrap());
        // Set-group-id for a group that one is no member of: the kernel leaves it out without a word.
        let record = Record { mode: 0o2755, uid: 65_534, gid: 12_345, ..blank(FileKind::Regular) };
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
        let adjusted = adjust(&place, &print, &record);
        let made = file(&place, c"made", b"x", &Record { gid: 65_534, ..record.clone() }, None);
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(0));
        assert!(adjusted.is_err() && made.is_err());
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 1);
    }
}
