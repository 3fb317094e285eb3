//! Which commands change something: asked about before they run on many nodes.
//!
//! A list for asking, not for deciding: what may run is the node's business.

/// Programs of the built-in list that always change state.
const PROGRAMS: &[&str] =
    &["systemctl", "modprobe", "umount", "reboot", "shutdown", "poweroff", "kill"];

/// Verbs of `ip` that change something.
const IP_VERBS: &[&str] =
    &["add", "append", "change", "del", "delete", "flush", "prepend", "replace", "set"];

/// Verbs of `systemctl` that only look.
const SYSTEMCTL_READS: &[&str] = &[
    "cat",
    "get-default",
    "is-active",
    "is-enabled",
    "is-failed",
    "is-system-running",
    "list-dependencies",
    "list-jobs",
    "list-sockets",
    "list-timers",
    "list-unit-files",
    "list-units",
    "show",
    "status",
];

/// Whether running this on many nodes is worth a question.
pub(super) fn changes_state(argv: &[String]) -> bool {
    let Some((program, arguments)) = argv.split_first() else { return false };
    let name = program.rsplit('/').next().unwrap_or(program);
    let any = |accept: &dyn Fn(&str) -> bool| arguments.iter().any(|a| accept(a));
    match name {
        "systemctl" => !any(&|a| SYSTEMCTL_READS.contains(&a)),
        "sysctl" => {
            any(&|a| a == "-w" || a == "--write" || (!a.starts_with('-') && a.contains('=')))
        }
        "ip" => any(&|a| IP_VERBS.contains(&a)),
        name => PROGRAMS.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changing_commands_are_told_from_looking_ones() {
        let argv = |line: &str| line.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        for line in [
            "systemctl restart chronyd",
            "/usr/bin/systemctl stop x",
            "modprobe nfs",
            "umount /scratch",
            "sysctl -w vm.swappiness=1",
            "sysctl vm.swappiness=1",
            "ip link set eth1 up",
            "ip -4 addr add 10.0.0.1/8 dev eth0",
        ] {
            assert!(changes_state(&argv(line)), "{line}");
        }
        for line in [
            "uname -a",
            "systemctl status chronyd",
            "sysctl vm.swappiness",
            "ip addr show",
            "ip link",
            "nvidia-smi",
            "grep umount /etc/fstab",
        ] {
            assert!(!changes_state(&argv(line)), "{line}");
        }
    }
}
