//! Whether anybody has a file open, asked of the kernel for the moment at which it is answered.
//!
//! A search of `/proc` takes time, and a file may be opened after it. The kernel grants a write lease on a file only
//! while no other descriptor or mapping of it exists, whoever has it. The lease is given back at once; nothing is done
//! under it. It is asked for on file systems whose answer means that: elsewhere it depends on other things (NFS:
//! delegations), and the search alone has to do.

use std::os::fd::{AsFd, AsRawFd as _};

/// ext, XFS, btrfs, tmpfs.
const HONEST: [i64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];

/// Which signal tells of a lease that somebody wants broken; not in `libc` for every processor.
const F_SETSIG: libc::c_int = 10;

/// Whether the kernel says of files here who has them open.
pub(super) fn is_told(here: impl AsFd) -> bool {
    #[allow(clippy::useless_conversion, reason = "narrower on other processors")]
    rustix::fs::fstatfs(here).is_ok_and(|found| HONEST.contains(&i64::from(found.f_type)))
}

/// Whether somebody else has this open file open or mapped; `None`: the kernel does not say.
#[allow(unsafe_code, reason = "leases have no safe wrapper")]
pub(super) fn is_open_elsewhere(file: impl AsFd) -> Option<bool> {
    if !is_told(&file) {
        return None;
    }
    let fd = file.as_fd().as_raw_fd();
    // Who opens the file meanwhile has the kernel send a signal: one that is ignored, not the one that ends a process.
    // SAFETY: plain numbers on a descriptor that is open for the whole call.
    if unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) } != 0 {
        return None;
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK) } == 0 {
        // SAFETY: as above.
        let _given_back = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
        return Some(false);
    }
    let is_refused = std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
    is_refused.then_some(true)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_second_descriptor_is_noticed_and_a_sole_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let mine = File::open(&path).unwrap();
        let told = is_open_elsewhere(&mine);
        assert!(told != Some(true));
        if told.is_none() {
            println!("NOT CHECKED: the file system of {} knows no leases", path.display());
            return;
        }
        let other = File::open(&path).unwrap();
        assert_eq!(is_open_elsewhere(&mine), Some(true));
        drop(other);
        assert_eq!(is_open_elsewhere(&mine), Some(false));
        // The lease was given back: nobody waits for it.
        drop(std::fs::OpenOptions::new().write(true).open(&path).unwrap());
    }
}
