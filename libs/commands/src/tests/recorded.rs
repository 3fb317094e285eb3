//! A small node in memory: all programs of the list, some files to read, and the ways round.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Access, Disk, Entry, FileKind, Files, Found, Whitelist};

/// A recorded disk: absolute paths without links, and what lies there.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    found: BTreeMap<String, Found>,
    programs: Vec<String>,
    /// What users of the node cannot read, and pass if it is a directory.
    shut: BTreeSet<String>,
}

impl Recorded {
    /// Records something and the directories above it.
    pub(super) fn put(&mut self, path: &str, found: Found) {
        for (at, _) in path.match_indices('/').skip(1) {
            let directory = Found::Kind(FileKind::Directory);
            self.found.entry(path[..at].to_owned()).or_insert(directory);
        }
        self.found.insert(path.to_owned(), found);
    }

    /// Shuts something that was recorded.
    pub(super) fn shut(&mut self, path: &str) {
        assert!(self.found.contains_key(path), "{path}");
        self.shut.insert(path.to_owned());
    }
}

impl Disk for Recorded {
    fn at(&self, path: &str) -> Found {
        self.found.get(path).cloned().unwrap_or(Found::Kind(FileKind::Missing))
    }

    fn behind(&self, path: &str) -> Found {
        self.at(path)
    }

    fn lets(&self, path: &str, _: Access) -> bool {
        !self.shut.contains(path)
    }

    fn entries(&self, directory: &str, limit: usize) -> Option<Vec<Entry>> {
        let start = format!("{directory}/");
        let below = self
            .found
            .range(start.clone()..)
            .map_while(|(path, found)| path.strip_prefix(&start).map(|name| (name, found)));
        let entry = |(name, found): (&str, &Found)| Entry {
            name: name.to_owned(),
            is_directory: *found == Found::Kind(FileKind::Directory),
        };
        Some(below.filter(|(name, _)| !name.contains('/')).map(entry).take(limit).collect())
    }

    fn mounts(&self) -> Option<String> {
        Some(
            "/dev/sda1 / ext4 rw 0 0\nstorage:/d /datasets nfs rw 0 0\nproc /proc proc rw 0 0\n"
                .to_owned(),
        )
    }

    fn is_program(&self, path: &str) -> bool {
        self.programs.iter().any(|program| program == path)
    }
}

/// The files of the recorded node.
pub(super) fn node() -> Files<Recorded> {
    Files::new(disk())
}

pub(super) fn disk() -> Recorded {
    let mut disk = Recorded::default();
    for path in ["/usr/sbin", "/var/lib/pact/spool", "/proc/net", "/proc/sys", "/dev"] {
        disk.put(path, Found::Kind(FileKind::Directory));
    }
    let listed = Whitelist::builtin();
    let names = listed.names().into_iter().chain(["bash", "sitetool"]);
    let programs = names.map(|name| format!("/usr/bin/{name}"));
    for path in programs.chain(["/usr/local/bin/cat".to_owned()]) {
        disk.put(&path, Found::Kind(FileKind::Regular));
        disk.programs.push(path);
    }
    for path in FILES {
        disk.put(path, Found::Kind(FileKind::Regular));
    }
    for (link, target) in LINKS {
        disk.put(link, Found::Link(Some((*target).to_owned())));
    }
    disk.programs.push("/usr/bin/alias".to_owned());
    for path in SHUT {
        disk.shut(path);
    }
    disk
}

const FILES: &[&str] = &[
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/passwd",
    "/etc/hosts",
    "/etc/fstab",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_rsa_key.pub",
    "/etc/pact/ca.crt",
    "/etc/pact/agent.key",
    "/etc/pact/agent.creds",
    "/etc/sudoers",
    "/etc/app/app.conf",
    "/root/.ssh/id_rsa",
    "/home/alice/.ssh/config",
    "/home/alice/notes",
    "/var/log/syslog",
    "/var/log/app/today",
    "/srv/clean/deep/a",
    "/srv/clean/b",
    "/srv/data/app/.ssh/key",
    "/proc/42/environ",
    "/proc/42/mem",
    "/proc/42/status",
    "/proc/42/task/42/environ",
    "/proc/42/fd-none",
    "/proc/mounts",
    "/proc/net/dev",
    "/proc/kcore",
    "/var/lib/pact/spool/1",
    "/mnt/image/etc/shadow",
    "/sys-marker",
    "/tmp/pattern",
    "/tmp/krb5cc_1000",
    "/srv/closed/notes",
    "/srv/closed/deep/notes",
    "/srv/half/closed/notes",
    "/srv/shut/deep/secret",
];

const SHUT: &[&str] =
    &["/tmp/krb5cc_1000", "/srv/closed", "/srv/half/closed", "/srv/shut/deep/secret"];

const LINKS: &[(&str, &str)] = &[
    ("/bin", "usr/bin"),
    ("/sbin", "usr/sbin"),
    ("/proc/self", "42"),
    ("/proc/42/root", "/"),
    ("/proc/42/cwd", "/etc"),
    ("/proc/42/exe", "/usr/bin/cat"),
    ("/tmp/innocent", "/etc/shadow"),
    ("/tmp/relative", "../etc/shadow"),
    ("/tmp/loop", "loop"),
    ("/tmp/etc", "/etc"),
    ("/tmp/good", "/etc/hosts"),
    ("/tmp/chain", "good"),
    ("/tmp/ticket", "krb5cc_1000"),
    ("/tmp/inside", "/srv/closed/notes"),
    ("/dev/fd", "/proc/self/fd"),
    ("/usr/bin/alias", "cat"),
];
