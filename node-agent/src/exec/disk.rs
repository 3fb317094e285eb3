//! The command list's looks at this node's disk. What is allowed is decided in `pact_commands`, not
//! here.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt as _, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use pact_commands::{Access, Disk, Entry, FileKind, Found};
use pact_schemas::resource::ResourceKey;

use crate::readers::{Readers, others_pass};

/// The disk of this node.
#[derive(Debug, Clone)]
pub(super) struct NodeDisk {
    readers: Arc<Readers>,
}

impl NodeDisk {
    /// The disk as these may see it.
    pub(super) const fn new(readers: Arc<Readers>) -> Self {
        Self { readers }
    }

    fn lets_read(&self, path: &str, found: &fs::Metadata) -> bool {
        // What has no key cannot be told from a secret.
        let key = || ResourceKey::file(Path::new(path));
        self.readers.may_read(found.mode(), found.gid())
            && (found.is_dir() || key().is_ok_and(|key| !self.readers.is_secret(&key)))
    }
}

impl Disk for NodeDisk {
    fn at(&self, path: &str) -> Found {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(path).ok();
                Found::Link(target.and_then(|target| target.to_str().map(str::to_owned)))
            }
            found => told(found),
        }
    }

    fn behind(&self, path: &str) -> Found {
        told(fs::metadata(path))
    }

    fn lets(&self, path: &str, access: Access) -> bool {
        match (fs::symlink_metadata(path), access) {
            (Ok(found), Access::Pass) => others_pass(found.mode()),
            (Ok(found), Access::Read) => self.lets_read(path, &found),
            // What has gone, or has a name that is no text, is not known to be open.
            (Err(_), _) => false,
        }
    }

    fn entries(&self, directory: &str, limit: usize) -> Option<Vec<Entry>> {
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Some(Entry { name, is_directory: entry.file_type().ok()?.is_dir() })
        };
        fs::read_dir(directory).ok()?.take(limit).map(entry).collect()
    }

    fn mounts(&self) -> Option<String> {
        fs::read_to_string("/proc/mounts").ok()
    }

    fn is_program(&self, path: &str) -> bool {
        fs::metadata(path).is_ok_and(|found| {
            let mode = found.permissions().mode();
            found.is_file() && mode & 0o111 != 0 && mode & 0o002 == 0
        })
    }
}

fn told(found: io::Result<fs::Metadata>) -> Found {
    match found {
        Ok(found) => Found::Kind(kind_of(found.file_type())),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Found::Kind(FileKind::Missing)
        }
        Err(_) => Found::Unknown,
    }
}

fn kind_of(file_type: fs::FileType) -> FileKind {
    if file_type.is_dir() {
        FileKind::Directory
    } else if file_type.is_file() {
        FileKind::Regular
    } else if file_type.is_fifo() {
        FileKind::Pipe
    } else if file_type.is_socket() {
        FileKind::Socket
    } else {
        FileKind::Device
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use pact_commands::{FileRefusal, FileResolver as _, Files, Reads, Verdict, Whitelist};
    use pact_schemas::Argv;
    use pact_schemas::resource::KeyPatterns;

    use super::*;

    fn disk() -> NodeDisk {
        NodeDisk::new(Arc::default())
    }

    fn allowed(line: &[&str]) -> bool {
        let argv = Argv::new(line.iter().map(|word| (*word).to_owned()).collect()).unwrap();
        let files = Files::new(disk());
        matches!(Whitelist::builtin().judge(&argv, &files), Verdict::Allowed { .. })
    }

    fn chmod(path: &str, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// An empty folder that every user may enter, and its path without links.
    fn folder() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = fs::canonicalize(folder.path()).unwrap().to_str().unwrap().to_owned();
        (folder, path)
    }

    #[test]
    fn links_are_told_and_followed_to_what_they_name() {
        let (_folder, root) = folder();
        let at = |name: &str| format!("{root}/{name}");
        fs::write(at("hosts"), "").unwrap();
        for (link, target) in [
            ("good", at("hosts")),
            ("chain", "good".to_owned()),
            ("loop", "loop".to_owned()),
            ("secret", "/etc/shadow".to_owned()),
        ] {
            symlink(target, at(link)).unwrap();
        }
        assert_eq!(disk().at(&at("chain")), Found::Link(Some("good".to_owned())));
        assert_eq!(disk().behind(&at("chain")), Found::Kind(FileKind::Regular));
        let files = Files::new(disk());
        for (given, path) in
            [("hosts", at("hosts")), ("./chain", at("hosts")), ("none/deeper", at("none/deeper"))]
        {
            assert_eq!(
                files.resolve_file(&at(given), Reads::Contents).unwrap().path,
                path,
                "{given}"
            );
        }
        assert_eq!(disk().at(&at("hosts/x")), Found::Kind(FileKind::Missing));
        let below_a_file = files.resolve_file(&at("hosts/x"), Reads::Contents).unwrap();
        assert_eq!(below_a_file.kind, FileKind::Missing);
        assert_eq!(files.resolve_file(&at("loop"), Reads::Contents), Err(FileRefusal::Links));
        let secret = files.resolve_file(&at("secret"), Reads::Contents);
        assert!(matches!(secret, Err(FileRefusal::Denied { .. })), "{secret:?}");
    }

    #[test]
    fn special_files_are_told() {
        let (_folder, root) = folder();
        let socket = format!("{root}/socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(disk().at(&socket), Found::Kind(FileKind::Socket));
        assert_eq!(disk().at("/dev/null"), Found::Kind(FileKind::Device));
        assert!(!allowed(&["cat", &socket]) && allowed(&["ls", "-l", &socket]));
    }

    #[test]
    fn a_command_reads_what_an_unprivileged_user_could() {
        let (_folder, root) = folder();
        let at = |name: &str| format!("{root}/{name}");
        for folder in ["open", "open/shut"] {
            fs::create_dir(at(folder)).unwrap();
            chmod(&at(folder), 0o755);
        }
        for (name, mode) in [("ticket", 0o600), ("open/notes", 0o644), ("open/shut/notes", 0o644)] {
            fs::write(at(name), "").unwrap();
            chmod(&at(name), mode);
        }
        symlink("ticket", at("link")).unwrap();
        let (open, shut) = (at("open"), at("open/shut"));
        assert!(allowed(&["grep", "-r", "x", &open]), "all of it is open");
        chmod(&shut, 0o750);
        assert!(allowed(&["cat", &at("open/notes")]));
        for file in ["ticket", "link", "open/../ticket", "open/shut/notes"] {
            assert!(!allowed(&["cat", &at(file)]), "{file}");
        }
        assert!(allowed(&["ls", "-l", &at("ticket")]) && allowed(&["ls", "-ld", &shut]));
        assert!(!allowed(&["ls", &shut]) && !allowed(&["ls", "-R", &open]));
        assert!(!allowed(&["grep", "-r", "x", &open]));
        chmod(&shut, 0o751);
        assert!(allowed(&["cat", &at("open/shut/notes")]), "who may pass may read");
        assert!(!allowed(&["ls", &shut]));
        chmod(&shut, 0o755);
        let nameless = Path::new(&open).join(std::ffi::OsStr::from_bytes(b"\xff"));
        fs::write(&nameless, "").unwrap();
        assert!(!allowed(&["grep", "-r", "x", &open]), "what cannot be named cannot be judged");
    }

    #[test]
    fn a_secret_of_the_node_is_read_by_nobody() {
        let (_folder, root) = folder();
        let at = |name: &str| format!("{root}/{name}");
        for name in ["secret", "other"] {
            fs::write(at(name), "").unwrap();
            chmod(&at(name), 0o644);
        }
        let secret = KeyPatterns::parse(&[at("secret")]).unwrap();
        let disk = NodeDisk::new(Arc::new(Readers::new(secret)));
        let read = |name: &str| Files::new(disk.clone()).resolve_file(&at(name), Reads::Contents);
        assert!(matches!(read("secret"), Err(FileRefusal::Withheld { .. })));
        assert!(read("other").is_ok());
    }

    #[test]
    fn a_directory_is_told_up_to_the_limit() {
        let (_folder, root) = folder();
        fs::write(format!("{root}/file"), "").unwrap();
        fs::create_dir(format!("{root}/directory")).unwrap();
        symlink("directory", format!("{root}/link")).unwrap();
        let mut entries = disk().entries(&root, 4).unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let told: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.is_directory)).collect();
        assert_eq!(told, [("directory", true), ("file", false), ("link", false)]);
        assert_eq!(disk().entries(&root, 2).unwrap().len(), 2);
        assert_eq!(disk().entries(&format!("{root}/none"), 2), None);
    }

    #[test]
    fn a_program_is_executable_and_not_writable_for_everybody() {
        let (_folder, root) = folder();
        let program = format!("{root}/program");
        fs::write(&program, "").unwrap();
        for (mode, is_program) in [(0o755, true), (0o644, false), (0o757, false), (0o500, true)] {
            fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(disk().is_program(&program), is_program, "{mode:o}");
        }
        assert!(!disk().is_program(&root));
    }

    #[test]
    fn this_machine_is_read_as_a_node_is() {
        assert!(allowed(&["uname", "-a"]));
        assert!(allowed(&[
            "cat",
            "/etc/passwd",
            "/proc/mounts",
            "/proc/net/dev",
            "/proc/meminfo",
            "/sys/class/net/lo/mtu",
            "/dev/null"
        ]));
        for path in [
            "/etc/shadow",
            "/proc/self/environ",
            "/proc/self/root/etc/shadow",
            "/proc/1/environ",
            "/proc/1/root/etc/passwd",
            "/dev/stdin",
            "/dev/fd/0",
            "/proc/1/fd/0",
            "/dev/mem",
            "/dev/tty",
            "/dev/urandom",
            "/proc/net/../environ",
            "/proc/mounts/../self/environ",
        ] {
            assert!(!allowed(&["cat", path]), "{path}");
        }
        for block in fs::read_dir("/sys/block").unwrap() {
            let device = format!("/dev/{}", block.unwrap().file_name().to_string_lossy());
            if Path::new(&device).exists() {
                assert!(!allowed(&["cat", &device]), "{device}");
            }
        }
        assert!(
            !allowed(&["grep", "-r", "x", "/"])
                && !allowed(&["grep", "-r", "x", "/etc"])
                && !allowed(&["grep", "-r", "x", "/proc/1"])
        );
        assert!(!allowed(&["grep", "-r", "x", "/proc/sys/vm"]), "some of it only root may read");
    }
}
