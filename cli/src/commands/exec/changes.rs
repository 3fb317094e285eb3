//! Which commands change something: asked about before they run on many nodes.
//!
//! Only what is known to look counts as looking: a program that is not listed here, and a form of a listed one that is
//! not understood, count as changing. A list for asking, not for deciding: what may run is the node's business.

/// Programs of the built-in list (contracts §8) that only look, whatever their arguments are.
const ALWAYS_LOOK: &[&str] = &[
    "cat",
    "df",
    "diff",
    "echo",
    "free",
    "grep",
    "head",
    "htop",
    "id",
    "ls",
    "lsblk",
    "lscpu",
    "lsmod",
    "lspci",
    "md5sum",
    "ping",
    "ps",
    "sha256sum",
    "stat",
    "tail",
    "top",
    "traceroute",
    "true",
    "uname",
    "uptime",
    "wc",
];

/// Whether a program only looks with these arguments.
type Looks = fn(&[&str]) -> bool;

/// Programs of the built-in list that look in some forms, and how to tell.
const SOMETIMES_LOOK: &[(&str, Looks)] = &[
    ("date", date_looks),
    ("dmesg", |a| {
        !has_short(a, "CcDEn") && !has_long(a, &["--clear", "--read-clear", "--console"])
    }),
    ("ethtool", ethtool_looks),
    ("file", |a| !has_short(a, "C") && !has_long(a, &["--compile"])),
    ("hostname", |a| {
        a.iter().all(|a| a.starts_with('-'))
            && !has_short(a, "Fb")
            && !has_long(a, &["--file", "--boot"])
    }),
    ("ip", ip_looks),
    ("journalctl", |a| !has_long(a, JOURNALCTL_CHANGES)),
    ("mount", |a| matches!(a, [] | ["-l" | "-V" | "--version"] | ["-t", _] | ["-l", "-t", _])),
    ("nvidia-smi", nvidia_smi_looks),
    ("rocm-smi", |a| {
        a.iter().all(|a| a.starts_with("--show") || matches!(*a, "-a" | "--json" | "--csv"))
    }),
    ("ss", |a| !has_short(a, "K") && !has_long(a, &["--kill"])),
    ("sysctl", sysctl_looks),
    ("systemctl", systemctl_looks),
];

/// Where programs of the built-in list lie; one of the same name elsewhere is another program.
const FOLDERS: &[&str] = &["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"];

const JOURNALCTL_CHANGES: &[&str] = &[
    "--vacuum",
    "--rotate",
    "--flush",
    "--sync",
    "--relinquish",
    "--smart-relinquish",
    "--setup-keys",
    "--update-catalog",
];

/// Verbs of `systemctl` that only look.
const SYSTEMCTL_LOOKS: &[&str] = &[
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

/// Options of `ip` that take no value and change nothing.
const IP_OPTIONS: &[&str] = &[
    "-0",
    "-4",
    "-6",
    "-br",
    "-brief",
    "-c",
    "-color",
    "-d",
    "-details",
    "-h",
    "-human",
    "-j",
    "-json",
    "-o",
    "-oneline",
    "-p",
    "-pretty",
    "-r",
    "-resolve",
    "-s",
    "-stats",
    "-statistics",
];

/// Verbs of `ip` that only look. Abbreviations are not among them: `ip link s` is `set`.
const IP_LOOKS: &[&str] = &["show", "list", "ls", "lst", "get"];

/// First options of `ethtool` that only look.
const ETHTOOL_LOOKS: &[&str] = &[
    "-a",
    "-c",
    "-d",
    "-e",
    "-g",
    "-i",
    "-k",
    "-l",
    "-m",
    "-n",
    "-u",
    "-x",
    "-P",
    "-S",
    "-T",
    "--driver",
    "--statistics",
    "--phy-statistics",
    "--version",
];

/// Options of `nvidia-smi` that only look.
const NVIDIA_SMI_LOOKS: &[&str] = &[
    "-L",
    "-q",
    "-x",
    "-d",
    "-i",
    "-l",
    "-lms",
    "-h",
    "--list-gpus",
    "--query",
    "--format",
    "--id",
    "--display",
    "--loop",
    "--xml-format",
    "--help",
    "--version",
];

/// Whether running this on many nodes is worth a question.
pub(super) fn changes_state(argv: &[String]) -> bool {
    let Some((program, arguments)) = argv.split_first() else { return false };
    let in_folder = FOLDERS.iter().find_map(|folder| program.strip_prefix(folder));
    let name = in_folder.unwrap_or(program);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let form = SOMETIMES_LOOK.iter().find(|(listed, _)| *listed == name);
    let looks = match form {
        Some((_, looks)) => looks(&arguments),
        None => ALWAYS_LOOK.contains(&name),
    };
    !looks
}

/// Whether one of these letters is among the short options: alone, or run together.
fn has_short(arguments: &[&str], letters: &str) -> bool {
    let short = |a: &&&str| a.starts_with('-') && !a.starts_with("--");
    arguments.iter().filter(short).any(|a| a.contains(|c| letters.contains(c)))
}

/// Whether an option begins so; programs accept the beginning of an option too, hence both ways.
fn has_long(arguments: &[&str], options: &[&str]) -> bool {
    let name = |a: &&&str| a.len() > 2 && a.starts_with("--");
    arguments.iter().filter(name).any(|a| {
        let given = a.split('=').next().unwrap_or(a);
        options.iter().any(|option| given.starts_with(option) || option.starts_with(given))
    })
}

fn date_looks(arguments: &[&str]) -> bool {
    let operand = |a: &&str| !a.starts_with('-') && !a.starts_with('+');
    !has_short(arguments, "s") && !has_long(arguments, &["--set"]) && !arguments.iter().any(operand)
}

fn ethtool_looks(arguments: &[&str]) -> bool {
    match arguments.first() {
        Some(first) if first.starts_with('-') => {
            ETHTOOL_LOOKS.contains(first) || first.starts_with("--show-")
        }
        _ => true,
    }
}

fn ip_looks(arguments: &[&str]) -> bool {
    let options = arguments.iter().take_while(|a| a.starts_with('-')).count();
    let (options, rest) = arguments.split_at(options);
    let is_known = options.iter().all(|option| IP_OPTIONS.contains(option));
    is_known && rest.get(1).is_none_or(|verb| IP_LOOKS.contains(verb))
}

fn nvidia_smi_looks(arguments: &[&str]) -> bool {
    if let ["topo" | "dmon" | "pmon", ..] = arguments {
        return true;
    }
    let looks = |a: &&str| {
        let name = a.split('=').next().unwrap_or(a);
        NVIDIA_SMI_LOOKS.contains(&name) || name.starts_with("--query-")
    };
    let is_first_an_option = arguments.first().is_none_or(|a| a.starts_with('-'));
    is_first_an_option && arguments.iter().filter(|a| a.starts_with('-')).all(looks)
}

fn sysctl_looks(arguments: &[&str]) -> bool {
    let sets = |a: &&str| !a.starts_with('-') && a.contains('=');
    !has_short(arguments, "wpf")
        && !has_long(arguments, &["--write", "--load", "--system"])
        && !arguments.iter().any(sets)
}

/// By its verb: the name of a unit may be the name of a verb.
fn systemctl_looks(arguments: &[&str]) -> bool {
    let verb = arguments.iter().find(|a| !a.starts_with('-'));
    verb.is_none_or(|verb| SYSTEMCTL_LOOKS.contains(verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(line: &str) -> bool {
        let argv: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        changes_state(&argv)
    }

    #[test]
    fn what_is_not_known_to_look_counts_as_changing() {
        for line in [
            "rm -rf /scratch",
            "wipe-disks",
            "bash -c true",
            "sudo uname",
            "/tmp/cat /etc/motd",
            "./ls",
            "reboot",
            "modprobe nfs",
            "umount /scratch",
            "kill 1",
        ] {
            assert!(changes(line), "{line}");
        }
    }

    #[test]
    fn changing_forms_are_told_from_looking_ones() {
        for line in [
            "systemctl restart chronyd",
            "/usr/bin/systemctl stop x",
            "systemctl stop status",
            "sysctl -w vm.swappiness=1",
            "sysctl vm.swappiness=1",
            "sysctl --system",
            "ip link set eth1 up",
            "ip -4 addr add 10.0.0.1/8 dev eth0",
            "ip l s eth1 down",
            "ip netns exec x reboot",
            "ip -b file",
            "ip -n x link",
            "date -s tomorrow",
            "date 01010000",
            "dmesg -C",
            "dmesg -Tc",
            "dmesg --clea",
            "hostname x",
            "mount /dev/sda1 /mnt",
            "mount -a",
            "ss -tK",
            "ethtool -E eth0",
            "ethtool -s eth0 speed 10",
            "nvidia-smi -r",
            "nvidia-smi -i 0 -pm 1",
            "nvidia-smi drain -p 0",
            "rocm-smi --setfan 1",
            "journalctl --vacuum-size=1M",
            "journalctl --rot",
            "file -C -m x",
        ] {
            assert!(changes(line), "{line}");
        }
        for line in [
            "uname -a",
            "/usr/bin/cat /etc/motd",
            "systemctl status chronyd",
            "systemctl",
            "sysctl vm.swappiness",
            "sysctl -a",
            "ip addr show",
            "ip link",
            "ip -br -4 addr",
            "ip route get 10.0.0.1",
            "nvidia-smi",
            "nvidia-smi -q -d MEMORY",
            "nvidia-smi --query-gpu=name --format=csv",
            "nvidia-smi topo -m",
            "rocm-smi --showtemp --json",
            "grep umount /etc/fstab",
            "date +%s",
            "date -u",
            "dmesg -T --level=err",
            "hostname -f",
            "mount",
            "mount -t nfs",
            "ss -tlnp",
            "ethtool eth0",
            "ethtool -i eth0",
            "journalctl -u chronyd --since today",
        ] {
            assert!(!changes(line), "{line}");
        }
    }
}
