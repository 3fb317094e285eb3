//! Which processes use a file: have it open, mapped, as program, or as working or root directory.

use std::fs::Metadata;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use pact_runtime::Clock;
use rustix::fs::Stat;

use crate::provider::{Hold, Holder};

/// Longer than any node takes with a few thousand processes; a check of a rollback has 10 s for all its keys.
const MAX_SEARCH: Duration = Duration::from_secs(3);
/// More are not of interest: one is enough to wait.
const MAX_HOLDERS: usize = 256;
/// Of a process' map: the largest have some ten thousand lines.
const MAX_MAPS_BYTES: u64 = 16 * 1024 * 1024;

/// What is looked for.
struct Target<'a> {
    device: u64,
    inode: u64,
    /// Layered file systems show another device in a map.
    path: &'a [u8],
}

/// Finds the processes but for this one. Too many processes to look at in time is an error: nobody must take "not
/// found" for "not there".
pub(super) fn find(
    proc: &Path,
    path: &[u8],
    stat: &Stat,
    clock: &Clock,
) -> io::Result<Vec<Holder>> {
    let target = Target { device: stat.st_dev, inode: stat.st_ino, path };
    let started = clock.monotonic();
    let mut holders = Vec::new();
    for entry in std::fs::read_dir(proc)? {
        let entry = entry?;
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(pid) = pid.filter(|pid| *pid != std::process::id()) else { continue };
        // A process that ends meanwhile holds nothing.
        if let Some(how) = target.hold_of(&entry.path()) {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            holders.push(Holder { pid, name: name.trim_end().to_owned(), how });
        }
        if holders.len() >= MAX_HOLDERS {
            break;
        }
        if clock.monotonic().saturating_sub(started) > MAX_SEARCH {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
    }
    Ok(holders)
}

impl Target<'_> {
    fn is(&self, found: &io::Result<Metadata>) -> bool {
        found.as_ref().is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode)
    }

    /// How the process of this folder uses the file; the strongest way where there are several.
    fn hold_of(&self, process: &Path) -> Option<Hold> {
        for (name, how) in
            [("exe", Hold::Program), ("cwd", Hold::WorkingDirectory), ("root", Hold::Root)]
        {
            if self.is(&std::fs::metadata(process.join(name))) {
                return Some(how);
            }
        }
        let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten();
        for descriptor in descriptors.flatten() {
            if self.is(&std::fs::metadata(descriptor.path())) {
                return Some(Hold::Open);
            }
        }
        self.is_mapped(&process.join("maps")).then_some(Hold::Mapped)
    }

    fn is_mapped(&self, maps: &Path) -> bool {
        let Ok(file) = std::fs::File::open(maps) else { return false };
        let mut lines = BufReader::new(file.take(MAX_MAPS_BYTES));
        let mut line = Vec::new();
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return false,
                Ok(_) if self.is_on_line(&line) => return true,
                Ok(_) => {}
            }
        }
    }

    /// `start-end perms offset major:minor inode path`.
    fn is_on_line(&self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let (Some(device), Some(inode)) = (fields.nth(3), fields.next()) else { return false };
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u64>().ok();
        if number(inode) != Some(self.inode) {
            return false;
        }
        let at = line.iter().position(|byte| *byte == b'/');
        let path = at.and_then(|at| line.get(at..)).unwrap_or_default();
        device_of(device) == Some(self.device) || path == self.path
    }
}

fn device_of(field: &[u8]) -> Option<u64> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    let hex = |text| u32::from_str_radix(text, 16).ok();
    Some(rustix::fs::makedev(hex(major)?, hex(minor)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::provider::files::place::Place;

    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ended = self.0.kill();
            let _reaped = self.0.wait();
        }
    }

    fn held(path: &Path) -> Vec<(u32, String, Hold)> {
        let path = path.as_os_str().as_bytes();
        let stat = Place::find(path).unwrap().stat().unwrap().unwrap();
        let found = find(Path::new("/proc"), path, &stat, &Clock::system()).unwrap();
        found.into_iter().map(|holder| (holder.pid, holder.name, holder.how)).collect()
    }

    fn wait_for(path: &Path, expected: &(u32, String, Hold)) {
        let deadline = std::time::Duration::from_secs(20);
        let clock = Clock::system();
        let started = clock.monotonic();
        while !held(path).contains(expected) {
            assert!(clock.monotonic() - started < deadline, "{expected:?} not in {:?}", held(path));
            std::thread::yield_now();
        }
    }

    #[test]
    fn open_files_programs_and_working_directories_have_their_holders() {
        let top = tempfile::tempdir().unwrap();
        let (file, folder) = (top.path().join("file"), top.path().join("folder"));
        std::fs::write(&file, "x").unwrap();
        std::fs::create_dir(&folder).unwrap();
        let program = top.path().join("sleeper");
        std::fs::copy("/bin/sleep", &program).unwrap();
        assert_eq!(held(&file), []);
        let mine = std::fs::File::open(&file).unwrap();
        assert_eq!(held(&file), [], "the agent itself is no holder");
        let child = Command::new(&program)
            .arg("60")
            .current_dir(&folder)
            .stdin(Stdio::from(mine.try_clone().unwrap()))
            .spawn()
            .unwrap();
        let pid = child.id();
        let child = Ended(child);
        let holder = |how| (pid, "sleeper".to_owned(), how);
        wait_for(&program, &holder(Hold::Program));
        wait_for(&file, &holder(Hold::Open));
        wait_for(&folder, &holder(Hold::WorkingDirectory));
        drop(child);
        assert_eq!(held(&file), []);
    }

    #[test]
    fn a_mapped_file_is_found_by_inode_and_device_or_path() {
        let device = rustix::fs::makedev(0x103, 2);
        let target = Target { device, inode: 77, path: b"/usr/lib/a b.so" };
        let line = |device: &str, inode: &str, path: &str| {
            format!("7f00-7f01 r-xp 00000000 {device} {inode}      {path}\n").into_bytes()
        };
        assert!(target.is_on_line(&line("103:02", "77", "/other")));
        assert!(target.is_on_line(&line("00:2a", "77", "/usr/lib/a b.so")));
        assert!(!target.is_on_line(&line("103:02", "78", "/usr/lib/a b.so")));
        assert!(!target.is_on_line(&line("00:2a", "77", "/other")));
        assert!(!target.is_on_line(b"7f00-7f01 rw-p 0 00:00 0\n"));
    }
}
