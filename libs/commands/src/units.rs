//! Which units may be switched, which way, and which files they are made of.
//!
//! Names are judged as they are written, with or without suffix; patterns and paths are no names.
//! Units that stand for many (targets, slices) or end the node's work are never switched.

use crate::files::{FileResolver, Reads, is_essential_mount};
use crate::refusal::FileRefusal;

/// Longest name of a unit, as systemd has it.
const MAX_NAME_BYTES: usize = 255;
/// Units that end the node's work or open a console without login; targets and slices are left out
/// as a whole.
const OFF_LIMITS: [&str; 10] = [
    "debug-shell",
    "console-shell",
    "container-shell",
    "emergency",
    "rescue",
    "init.scope",
    "initrd-",
    "systemd-exit",
    "systemd-sulogin",
    "quotaon-root",
];
/// What a unit of systemd itself does when its name holds one of these.
const ENDINGS: [&str; 8] =
    ["poweroff", "reboot", "halt", "kexec", "suspend", "hibernate", "hybrid-sleep", "switch-root"];
/// How the names begin of what controls the node, records what is done on it, and keeps its time,
/// under all names that distributions give it. Sockets, timers and instances of these count.
const CONTROLS: [&str; 15] = [
    "pact-",
    "pact.",
    "pact@",
    "nats",
    "audit",
    "systemd-journal",
    "chrony",
    "ntp",
    "openntp",
    "systemd-timesync",
    "systemd-time-wait",
    "dbus-org.freedesktop.timesync",
    "ptp4l",
    "phc2sys",
    "timemaster",
];
/// How the names begin of sockets that listen on this node alone.
const LOCAL_SOCKETS: [&str; 8] =
    ["dbus", "dm-event", "iscsid", "lvm2-", "multipathd", "syslog", "systemd-", "uuidd"];
/// How the names begin of units that open a port all the same; a service of these takes its socket
/// along.
const OPEN_SOCKETS: [&str; 4] =
    ["cockpit", "systemd-journal-gatewayd", "systemd-journal-remote", "systemd-ssh"];
/// Where systemd finds units and what is added to them.
const FOLDERS: [&str; 12] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/generator.late",
];
/// The kinds of units; what has none of these at its end is a service.
const SUFFIXES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];
/// Names at most by which systemd looks for the files of one unit.
const MAX_NAMES: usize = 64;

/// The exact name of a unit: no pattern, no path.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.starts_with(['-', '.'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || ":_.@-".contains(c))
}

/// The exact name of a unit that is a matter of its own and does not end the node's work.
pub(crate) fn is_changeable(name: &str) -> bool {
    let whole = [".target", ".slice", ".scope"].iter().any(|suffix| name.ends_with(suffix));
    let ends = name.starts_with("systemd-") && ENDINGS.iter().any(|word| name.contains(word));
    is_plain(name) && !whole && !ends && !begins(name, &OFF_LIMITS)
}

/// The same, and it is no socket that others can reach the node by.
pub(crate) fn is_startable(name: &str) -> bool {
    let opens =
        begins(name, &OPEN_SOCKETS) || (name.ends_with(".socket") && !begins(name, &LOCAL_SOCKETS));
    is_changeable(name) && !opens
}

/// The same, and it is no mount point that the system stands on.
pub(crate) fn is_restartable(name: &str) -> bool {
    is_startable(name) && !is_essential(name)
}

/// The exact name of a unit that neither controls the node nor carries it.
pub(crate) fn is_stoppable(name: &str) -> bool {
    is_changeable(name) && !is_essential(name) && name != "pact" && !begins(name, &CONTROLS)
}

/// Whether a unit stands for a mount point of the system, whose name has dashes for slashes.
fn is_essential(name: &str) -> bool {
    let mount = name.strip_suffix(".mount").or_else(|| name.strip_suffix(".automount"));
    mount.is_some_and(|path| is_essential_mount(&format!("/{}", path.replace('-', "/"))))
}

fn begins(name: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| name.starts_with(start))
}

/// Whether all that `systemctl cat` prints of a unit may be read: its file by this name and the one
/// that it is a link to, and what is added to each, to its template and to all units named alike.
/// What is added under yet another name of the same unit is not found this way.
///
/// # Errors
/// The first file that may not be read, and why.
pub(crate) fn check_files(name: &str, files: &dyn FileResolver) -> Result<(), FileRefusal> {
    let has_suffix = name.rsplit_once('.').is_some_and(|(_, suffix)| SUFFIXES.contains(&suffix));
    let mut names = vec![if has_suffix { name.to_owned() } else { format!("{name}.service") }];
    let mut at = 0;
    while let Some(name) = names.get(at).cloned() {
        at += 1;
        let mut more = broader(&name);
        for folder in FOLDERS {
            let file = files.resolve_file(&format!("{folder}/{name}"), Reads::Contents)?;
            files.resolve_tree(&format!("{folder}/{name}.d"), Reads::Contents)?;
            more.extend(file.path.rsplit('/').next().map(str::to_owned));
        }
        for name in more {
            if names.len() < MAX_NAMES && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(())
}

/// The names whose files add to those of this one: `a@.service`, `a-.service` and `service` to
/// those of `a-b@c.service`.
fn broader(name: &str) -> Vec<String> {
    let Some((base, suffix)) = name.rsplit_once('.') else { return Vec::new() };
    let template = base.split_once('@').map(|(template, _)| format!("{template}@.{suffix}"));
    let prefixes = base.match_indices('-').filter_map(|(at, _)| base.get(..=at));
    let prefixes = prefixes.map(|prefix| format!("{prefix}.{suffix}"));
    prefixes.chain(template).chain([suffix.to_owned()]).collect()
}
