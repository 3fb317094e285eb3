//! The provider as it is used: real folders, real notifications.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use std::time::Duration;

use pact_schemas::resource::FileKind;
use tempfile::TempDir;

use super::*;
use crate::provider::{Contents, NoContents, Poll, Provider as _, Wish};

mod figures;
mod keeping;
mod large;
mod mounting;
mod nasty;
mod observing;
mod replacing;
mod restoring;
mod together;

/// A file system of its own, gone when dropped.
pub(in crate::provider::files) struct Tmpfs(TempDir);

impl Tmpfs {
    pub(in crate::provider::files) fn mount(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mount = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        let status = std::process::Command::new("mount").args(mount).arg(folder.path()).status();
        assert!(status.unwrap().success(), "these tests mount: run them as root");
        Self(folder)
    }

    pub(in crate::provider::files) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmount = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmount.unwrap().success());
    }
}

/// A provider with its folder and one root, all open to every user.
struct Bench {
    top: TempDir,
    files: Files,
}

impl Bench {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(ignored: &[&str]) -> Self {
        let top = tempfile::Builder::new().prefix("pact-files-").tempdir_in("/tmp").unwrap();
        set_mode(top.path(), 0o755);
        std::fs::create_dir(top.path().join("root")).unwrap();
        set_mode(&top.path().join("root"), 0o755);
        let files = open(top.path(), ignored, &[]);
        Self { top, files }
    }

    fn path(&self, end: &str) -> PathBuf {
        if end.is_empty() {
            self.top.path().join("root")
        } else {
            self.top.path().join("root").join(end)
        }
    }

    fn key(&self, end: &str) -> ResourceKey {
        key(&self.path(end))
    }

    fn write(&self, end: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(end);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        set_mode(&path, 0o644);
    }

    /// The agent starts again.
    fn restart(&mut self, ignored: &[&str]) {
        self.files = open(self.top.path(), ignored, &[]);
    }

    /// What a scan finds, by the end of the path.
    fn scan(&mut self) -> BTreeMap<String, (Value, Value)> {
        let mut found = BTreeMap::new();
        let cut = format!("file/{}", self.path("").display());
        self.files
            .scan(&mut |Found { key, old, new }| {
                let end = key.as_str().strip_prefix(&cut).unwrap().trim_start_matches('/');
                assert!(found.insert(end.to_owned(), (old, new)).is_none(), "found twice");
            })
            .unwrap();
        found
    }

    fn found(&mut self) -> Vec<String> {
        self.scan().into_keys().collect()
    }

    /// Polls until the change of every one of these keys was told, or a scan was asked for.
    fn told(&mut self, ends: &[&str]) -> BTreeSet<ResourceKey> {
        let clock = Clock::system();
        let deadline = clock.monotonic() + Duration::from_secs(20);
        let mut told = BTreeSet::new();
        loop {
            match self.files.poll().unwrap() {
                Poll::Changed(keys) => told.extend(keys),
                Poll::Rescan => panic!("a scan instead of {ends:?}"),
            }
            if ends.iter().all(|end| told.contains(&self.key(end))) {
                return told;
            }
            assert!(clock.monotonic() < deadline, "{ends:?} not in {told:?}");
            std::thread::yield_now();
        }
    }

    /// What the quarantine has of files that were text, sorted.
    fn quarantined(&self) -> Vec<String> {
        self.in_quarantine("data")
    }

    fn manifests(&self) -> Vec<String> {
        self.in_quarantine("json")
    }

    fn in_quarantine(&self, extension: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.top.path().join("state/quarantine")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let of_kind = paths.filter(|path| path.extension().is_some_and(|end| end == extension));
        let mut all: Vec<_> = of_kind.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        all.sort();
        all
    }

    fn read(&mut self, end: &str) -> Value {
        let key = self.key(end);
        self.files.read(&key).unwrap()
    }

    fn apply(&mut self, end: &str, want: &Value) -> Result<(), ProviderError> {
        let key = self.key(end);
        apply(&mut self.files, &key, want, &NoContents)
    }
}

/// What the engine does: reads, then applies.
fn apply(
    files: &mut Files,
    key: &ResourceKey,
    want: &Value,
    contents: &dyn Contents,
) -> Result<(), ProviderError> {
    // A key that cannot be read is not applied; here, so that the refusal of `apply` shows.
    let observed = files.read(key).unwrap_or(Value::Absent);
    files.apply(key, &observed, want, contents)
}

/// Undoes all of this as the engine does, as much at once as goes; how many went at once.
fn apply_all(
    files: &mut Files,
    found: &[Found],
    contents: &dyn Contents,
) -> (Vec<Result<(), ProviderError>>, Vec<usize>) {
    // What goes before what comes, and what is in a folder before the folder.
    fn wish(one: &Found) -> Wish<'_> {
        Wish { key: &one.key, observed: &one.new, want: &one.old }
    }
    let (goes, comes): (Vec<_>, Vec<_>) = found.iter().partition(|one| one.old == Value::Absent);
    let wishes: Vec<_> = goes.into_iter().rev().chain(comes).map(wish).collect();
    let (mut done, mut at_once) = (Vec::new(), Vec::new());
    while done.len() < wishes.len() {
        let answers = files.apply_first(&wishes[done.len()..], contents);
        assert!(!answers.is_empty());
        at_once.push(answers.len());
        done.extend(answers);
    }
    (done, at_once)
}

fn open(top: &Path, ignored: &[&str], secret: &[&str]) -> Files {
    open_roots(top, vec![top.join("root")], ignored, secret)
}

fn open_roots(top: &Path, roots: Vec<PathBuf>, ignored: &[&str], secret: &[&str]) -> Files {
    let clock = Clock::system();
    Files::open(Options {
        roots,
        secret: KeyPatterns::parse(secret).unwrap(),
        ignored: KeyPatterns::parse(ignored).unwrap(),
        folder: top.join("state"),
        own: Vec::new(),
        clock: clock.clone(),
        plane_now: Arc::new(move || Some(clock.now())),
    })
    .unwrap()
}

fn key(path: &Path) -> ResourceKey {
    ResourceKey::file(path).unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}
