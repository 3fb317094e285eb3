use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command, Stdio};

use pact_runtime::Clock;

use super::*;
use crate::provider::files::place::Place;

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn table() -> Arc<Table> {
    Arc::new(Table::read(b"boot").unwrap())
}

fn target(path: &Path) -> Target {
    let path = path.as_os_str().as_bytes();
    Target::new(path.to_vec(), &Place::find(path).unwrap().stat().unwrap().unwrap())
}

fn held(paths: &[&Path]) -> Vec<Vec<(u32, String, Hold)>> {
    let targets = paths.iter().map(|path| target(path)).collect();
    let found = Search::new(Path::new("/proc"), Duration::from_secs(20)).find(targets, table());
    let short = |holder: Holder| (holder.pid, holder.name, holder.how);
    found.unwrap().into_iter().map(|all| all.into_iter().map(short).collect()).collect()
}

fn wait_for(path: &Path, expected: &(u32, String, Hold)) {
    let deadline = Duration::from_secs(20);
    let clock = Clock::system();
    let started = clock.monotonic();
    while !held(&[path])[0].contains(expected) {
        assert!(clock.monotonic() - started < deadline, "{expected:?} not in {:?}", held(&[path]));
        std::thread::yield_now();
    }
}

#[test]
fn one_search_finds_open_files_programs_and_working_directories() {
    let top = tempfile::tempdir().unwrap();
    let (file, folder) = (top.path().join("file"), top.path().join("folder"));
    std::fs::write(&file, "x").unwrap();
    std::fs::create_dir(&folder).unwrap();
    let program = top.path().join("sleeper");
    std::fs::copy("/bin/sleep", &program).unwrap();
    assert_eq!(held(&[&file]), [[]]);
    let mine = std::fs::File::open(&file).unwrap();
    assert_eq!(held(&[&file]), [[]], "the agent itself is no holder");
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
    let other = top.path().join("other");
    std::fs::write(&other, "x").unwrap();
    let found = held(&[&file, &other, &program, &folder]);
    let expected = [
        vec![holder(Hold::Open)],
        vec![],
        vec![holder(Hold::Program)],
        vec![holder(Hold::WorkingDirectory)],
    ];
    assert_eq!(found, expected);
    drop(child);
    assert_eq!(held(&[&file]), [[]]);
}

#[test]
fn a_mapped_file_is_found_by_inode_and_device_or_path() {
    let device = rustix::fs::makedev(0x103, 2);
    let path = b"/usr/lib/a b.so".to_vec();
    let mapped = Target { device, inode: 77, is_mappable: true, path };
    let folder = Target { is_mappable: false, path: b"/x".to_vec(), ..mapped };
    let targets =
        Targets::new(vec![Target { path: b"/usr/lib/a b.so".to_vec(), ..mapped }, folder], table());
    let on_line = |device: &str, inode: &str, path: &str| {
        let line = format!("7f00-7f01 r-xp 00000000 {device} {inode}      {path}\n");
        targets.on_line(line.as_bytes())
    };
    assert_eq!(on_line("103:02", "77", "/other"), [0]);
    assert_eq!(on_line("00:2a", "77", "/usr/lib/a b.so"), [0]);
    assert!(on_line("103:02", "78", "/usr/lib/a b.so").is_empty());
    assert!(on_line("00:2a", "77", "/other").is_empty());
    assert!(targets.on_line(b"7f00-7f01 rw-p 0 00:00 0\n").is_empty());
}

/// A made-up `/proc` in which one process cannot be looked at: reading its map waits for a writer that never comes.
fn hanging_proc() -> tempfile::TempDir {
    let proc = tempfile::tempdir().unwrap();
    let process = proc.path().join("4194304");
    std::fs::create_dir_all(process.join("fd")).unwrap();
    nix::unistd::mkfifo(&process.join("maps"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    proc
}

#[test]
fn a_search_that_hangs_is_left_alone_and_none_begins_beside_it() {
    let top = tempfile::tempdir().unwrap();
    let file = top.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let proc = hanging_proc();
    let mut search = Search::new(proc.path(), Duration::from_millis(50));
    let late = |search: &mut Search| {
        let found = search.find(vec![target(&file)], table());
        assert_eq!(found.unwrap_err().kind(), io::ErrorKind::TimedOut);
        search.hanging.as_ref().unwrap().thread().id()
    };
    let first = late(&mut search);
    for _ in 0..5 {
        assert_eq!(late(&mut search), first, "a second thread");
    }
    // It gets its answer at last: the next search is one again.
    drop(std::fs::OpenOptions::new().write(true).open(proc.path().join("4194304/maps")).unwrap());
    let clock = Clock::system();
    let started = clock.monotonic();
    while !search.hanging.as_ref().unwrap().is_finished() {
        assert!(clock.monotonic() - started < Duration::from_secs(20));
        std::thread::yield_now();
    }
    search.limit = Duration::from_secs(20);
    std::fs::remove_file(proc.path().join("4194304/maps")).unwrap();
    assert_eq!(search.find(vec![target(&file)], table()).unwrap(), [[]]);
}
