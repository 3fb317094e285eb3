//! Keys that give root: whoever decides what they are decides what runs as root on a node.
//!
//! The one list of them. The journal asks it before anybody but a platform admin declares a value;
//! the command list asks it before anybody sets a kernel parameter. A vCluster's policy adds
//! patterns (`root_keys`), which are no part of this.
//!
//! Absences: nothing here looks at a node. Where pact's own files are configured to be elsewhere,
//! the node itself knows, and never writes them.

use super::dimension::Kind;
use super::key::ResourceKey;
use super::value::{FileKind, Value};

/// What a key gives, as the end of a sentence about it.
pub type Reason = &'static str;

const KERNEL_RUNS: Reason = "the kernel runs a program, or writes a file, that it names";

/// Parts of parameters' names, in any tree, that begin so.
const KERNEL_PROGRAMS: [&str; 8] = [
    "core_pattern",
    "core_pipe_limit",
    "modprobe",
    "hotplug",
    "poweroff_cmd",
    "usermodehelper",
    "binfmt_misc",
    "uevent_helper",
];
/// In the name of such a part, wherever it is: of lnet, sunrpc, Lustre and what comes after them.
const UPCALL: &str = "upcall";
/// Parameters of lnet that name a file which the kernel writes.
const LNET_FILES: [&str; 3] = ["debug_path", "daemon_file", "dump_kernel"];

/// Trees that root executes or obeys, by what they are. `*` is any text within a component. What is
/// in a tree gives root, and so do the folders on the way to it: whoever replaces or opens one of
/// these replaces what is in it.
const TREES: [(Reason, &[&str]); 9] = [
    ("it is pact's own", &["/etc/pact", "/var/lib/pact", "/run/pact", "/usr/lib/pact"]),
    (
        "root runs what is there",
        &[
            "/bin",
            "/sbin",
            "/lib*",
            "/usr/bin",
            "/usr/sbin",
            "/usr/lib*",
            "/usr/local/bin",
            "/usr/local/sbin",
            "/usr/local/lib*",
            "/etc/alternatives",
        ],
    ),
    (
        "every program that root runs obeys it",
        &[
            "/etc/ld.so.*",
            "/etc/environment*",
            "/etc/profile*",
            "/etc/bash*",
            "/etc/zsh*",
            "/etc/csh*",
            "/etc/fish",
            "/root/.*",
            "/root/bin",
        ],
    ),
    (
        "it says who may become root",
        &[
            "/etc/sudo*",
            "/etc/doas*",
            "/etc/pam.*",
            "/etc/security",
            "/etc/securetty",
            "/etc/login.defs",
            "/etc/nsswitch.conf",
            "/etc/polkit-1",
            "/run/polkit-1",
            "/usr/share/polkit-1",
            "/usr/local/share/polkit-1",
            "/etc/ssh",
            "/etc/krb5*",
            "/etc/sssd",
            "/etc/nslcd.conf",
        ],
    ),
    (
        "it is the user database",
        &["/etc/passwd*", "/etc/shadow*", "/etc/group*", "/etc/gshadow*", "/etc/sub?id*"],
    ),
    (
        "root runs what it names, by the clock",
        &[
            "/etc/cron*",
            "/etc/anacrontab",
            "/etc/at.*",
            "/var/spool/cron*",
            "/var/spool/at*",
            "/var/spool/anacron",
            "/etc/logrotate.*",
        ],
    ),
    (
        "systemd and its like obey it",
        &[
            "/etc/systemd",
            "/run/systemd",
            "/etc/xdg/systemd",
            "/etc/init*",
            "/etc/rc*",
            "/etc/default",
            "/etc/sysconfig",
            "/etc/tmpfiles.d",
            "/run/tmpfiles.d",
            "/etc/sysusers.d",
            "/run/sysusers.d",
            "/etc/dbus-1",
            "/usr/share/dbus-1",
            "/etc/xinetd.*",
            "/etc/inetd.conf",
            "/etc/fstab",
            "/etc/crypttab",
            "/etc/exports*",
            "/etc/auto.*",
            "/etc/autofs*",
        ],
    ),
    (
        "the kernel, or what serves it, obeys it",
        &[
            "/proc",
            "/sys",
            "/boot",
            "/etc/mod*",
            "/run/mod*",
            "/etc/depmod.d",
            "/etc/udev",
            "/run/udev",
            "/etc/sysctl.*",
            "/run/sysctl.d",
            "/etc/binfmt.d",
            "/run/binfmt.d",
            "/etc/request-key.*",
            "/etc/dracut.*",
            "/etc/initramfs-tools",
            "/etc/kernel",
            "/etc/grub*",
            "/etc/kdump*",
        ],
    ),
    (
        "services that run as root run what it names",
        &[
            "/etc/NetworkManager",
            "/etc/network",
            "/etc/networkd-dispatcher",
            "/etc/dhc*",
            "/etc/ppp",
            "/etc/audit",
            "/etc/rsyslog.*",
            "/etc/apt",
            "/etc/dnf",
            "/etc/yum*",
            "/etc/zypp",
            "/var/lib/dpkg",
            "/etc/kubernetes",
            "/etc/containerd",
            "/etc/docker",
            "/etc/cni",
            "/etc/apparmor*",
            "/etc/selinux",
        ],
    ),
];

/// What of a service decides what is run, beside the checks of its health.
const SERVICE_DEFINITION: [&str; 4] = ["binary", "args", "environment", "user"];

/// Why a change of this key gives root; `None`: it does not. `old` and `new` are the values before
/// and after, `None` where none is declared.
#[must_use]
pub fn gives_root(key: &ResourceKey, old: Option<&Value>, new: Option<&Value>) -> Option<Reason> {
    match key.kind() {
        Kind::Sysctl => parameter_gives_root(key.name()),
        Kind::Module => Some("a module is a part of the kernel"),
        Kind::File => path_gives_root(&text_of(key)).or_else(|| new.and_then(of_file)),
        Kind::Mount => path_gives_root(&text_of(key)).or_else(|| new.and_then(of_mount)),
        Kind::Service => of_service(old, new?),
        Kind::Net | Kind::Package | Kind::Gpu => None,
    }
}

/// The same of a kernel parameter, by its name in any spelling: `kernel.modprobe`,
/// `kernel/modprobe`.
#[must_use]
pub fn parameter_gives_root(name: &str) -> Option<Reason> {
    let is_program = |part: &str| {
        KERNEL_PROGRAMS.iter().any(|program| part.starts_with(program)) || part.contains(UPCALL)
    };
    let mut parts = name.split(['.', '/']);
    let is_lnet = name.starts_with("lnet");
    let gives = parts.any(|part| is_program(part) || (is_lnet && LNET_FILES.contains(&part)));
    gives.then_some(KERNEL_RUNS)
}

fn text_of(key: &ResourceKey) -> String {
    String::from_utf8_lossy(&key.plain_name()).into_owned()
}

/// A path that lies in a tree, or on the way to one.
fn path_gives_root(path: &str) -> Option<Reason> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let meets = |tree: &&str| {
        let mut pairs = tree.split('/').skip(1).zip(&parts);
        pairs.all(|(like, part)| is_like(like, part))
    };
    let found = TREES.iter().find(|(_, trees)| trees.iter().any(&meets));
    found.map(|(reason, _)| *reason).or_else(|| of_keys(&parts))
}

/// Keys of ssh, but those of people, who are not root by them.
fn of_keys(parts: &[&str]) -> Option<Reason> {
    let at = parts.iter().position(|part| *part == ".ssh")?;
    let is_a_persons = at == 2 && parts.first() == Some(&"home");
    (!is_a_persons).then_some("it says who may be a service's user")
}

/// `*` stands for any text, `?` for a character.
fn is_like(like: &str, part: &str) -> bool {
    let same = |like: &str, text: &str| {
        like.len() == text.len() && like.bytes().zip(text.bytes()).all(|(l, t)| l == b'?' || l == t)
    };
    match like.strip_suffix('*') {
        Some(start) => part.get(..start.len()).is_some_and(|text| same(start, text)),
        None => same(like, part),
    }
}

fn of_file(new: &Value) -> Option<Reason> {
    let file = new.as_file()?;
    let runs_as_another = file.kind == FileKind::Regular && file.mode & 0o6000 != 0;
    runs_as_another.then_some("it runs with the rights of its owner, whoever starts it")
}

fn of_mount(new: &Value) -> Option<Reason> {
    if new.is_absent() {
        return None;
    }
    let options = new.as_attributes().and_then(|mount| mount.get("options")?.as_text());
    let (mut nosuid, mut nodev) = (false, false);
    for option in options.unwrap_or("").split(',') {
        match option {
            "nosuid" => nosuid = true,
            "nodev" => nodev = true,
            "suid" => nosuid = false,
            "dev" => nodev = false,
            "defaults" => (nosuid, nodev) = (false, false),
            _ => {}
        }
    }
    (!nosuid || !nodev).then_some("it is mounted without nosuid and nodev")
}

fn of_service(old: Option<&Value>, new: &Value) -> Option<Reason> {
    const AS_ANOTHER: Reason = "it runs as another than the unprivileged service user";
    if new.is_absent() {
        return None;
    }
    let Some(service) = new.as_attributes() else { return Some(AS_ANOTHER) };
    // Without one, it is the unprivileged service user.
    service.get("user")?;
    let before = old.and_then(Value::as_attributes);
    let is_definition =
        |name: &str| SERVICE_DEFINITION.contains(&name) || name.starts_with("health_check_");
    let definition = |of: &std::collections::BTreeMap<String, Value>| -> Vec<(String, Value)> {
        let named = of.iter().filter(|(name, _)| is_definition(name));
        named.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let is_same = before.is_some_and(|before| definition(before) == definition(service));
    (!is_same).then_some(AS_ANOTHER)
}

#[cfg(test)]
mod tests;
