//! The kernel: its log, its settings, its modules.

use pact_schemas::resource::parameter_gives_root;

use crate::grammar::{Command, Effect, Rule};
use crate::kinds::{Kind, MODULE, NUMBER, TEXT};
use crate::parse::Parsed;

/// Arguments of one command line at most.
const MAX_NAMES: usize = 32;

/// Settings that may be written. A rule that ends in a dot covers everything below. What is not
/// here is refused: many settings take protections away for good. Those that give root are no
/// matter of this list: `parameter_gives_root` refuses them below any of these.
const WRITABLE: [&str; 41] = [
    "vm.",
    "net.",
    "sunrpc.",
    "lnet.",
    "dev.raid.",
    "fs.aio-max-nr",
    "fs.file-max",
    "fs.nr_open",
    "fs.pipe-max-size",
    "fs.pipe-user-pages-hard",
    "fs.pipe-user-pages-soft",
    "fs.inotify.",
    "fs.epoll.",
    "fs.fanotify.",
    "fs.mqueue.",
    "fs.nfs.",
    "fs.lease-break-time",
    "fs.leases-enable",
    "kernel.core_uses_pid",
    "kernel.hung_task_timeout_secs",
    "kernel.hung_task_warnings",
    "kernel.keys.",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.nmi_watchdog",
    "kernel.numa_balancing",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.pid_max",
    "kernel.printk",
    "kernel.printk_ratelimit",
    "kernel.sched_autogroup_enabled",
    "kernel.sched_rt_runtime_us",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.soft_watchdog",
    "kernel.threads-max",
    "kernel.timer_migration",
];
/// Exceptions to the subtrees above.
const PROTECTED: [&str; 5] = [
    "vm.mmap_min_addr",
    "vm.unprivileged_userfaultfd",
    "vm.legacy_va_layout",
    "net.core.bpf_",
    "net.core.warnings",
];

pub(super) fn all() -> Vec<Command> {
    vec![dmesg(), sysctl(), modprobe(), lsmod()]
}

fn dmesg() -> Command {
    const CONSOLE: &str = "changes what the kernel prints on the console";
    const CLEARS: &str = "clears the kernel log";
    Command::new("dmesg")
        .flags(&[
            "-T --ctime",
            "-H --human",
            "-k --kernel",
            "-u --userspace",
            "-d --show-delta",
            "-e --reltime",
            "-r --raw",
        ])
        .flags(&[
            "-t --notime",
            "-x --decode",
            "-w --follow",
            "-W --follow-new",
            "-P --nopager",
            "-p --force-prefix",
        ])
        .flags(&["-J --json", "-S --syslog", "--noescape", "-h --help", "-V --version"])
        .value("-l --level", LEVELS)
        .value("-f --facility", FACILITIES)
        .value("-s --buffer-size", NUMBER)
        .value("--time-format", Kind::OneOf(&["delta", "reltime", "ctime", "notime", "iso", "raw"]))
        .value("--since", TEXT)
        .value("--until", TEXT)
        .attached("-L --color", Kind::OneOf(&["auto", "always", "never"]))
        .refused("-C --clear", CLEARS)
        .refused("-c --read-clear", CLEARS)
        .refused("-D --console-off", CONSOLE)
        .refused("-E --console-on", CONSOLE)
        .refused("-n --console-level", CONSOLE)
        .refused("-F --file", "reads another file")
        .refused("-K --kmsg-file", "reads another file")
}

const LEVELS: Kind = Kind::ListOf(&[
    "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "warn+", "err+", "crit+",
]);
const FACILITIES: Kind =
    Kind::ListOf(&["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news"]);

fn sysctl() -> Command {
    const LOADS: &str = "sets values from files";
    Command::new("sysctl")
        .flags(&[
            "-a --all",
            "-A",
            "-X",
            "--deprecated",
            "--dry-run",
            "-b --binary",
            "-e --ignore",
            "-N --names",
            "-n --values",
        ])
        .flags(&["-q --quiet", "-w --write", "-h --help", "-V --version"])
        .value("-r --pattern", TEXT)
        .refused("-p --load", LOADS)
        .refused("-f", LOADS)
        .refused("--system", LOADS)
        .each(SETTING, 0, MAX_NAMES)
        .rule(Rule::Check(only_writable))
        .effect(Effect::When(|parsed| parsed.operands.iter().any(|operand| operand.contains('='))))
}

/// `vm.swappiness`, `net/ipv4/conf/eth0.100/mtu`, `key=value`. Dots and slashes stand for each
/// other depending on which comes first, so `..` can be spelled in many ways; two separators in a
/// row are none of the honest ones.
const SETTING: Kind = Kind::Shape {
    says: "a kernel setting such as vm.swappiness, or setting=value",
    fits: |text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let parts: Vec<&str> = name.split(['.', '/']).collect();
        let plain = |part: &&str| {
            !part.is_empty()
                && !part.starts_with('-')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-*@:".contains(c))
        };
        name.len() <= 256
            && parts.iter().all(plain)
            && value.chars().all(|c| c == ' ' || c == '\t' || c.is_ascii_graphic())
    },
};

/// The refusal for the first assignment that is not in the table, if any.
fn only_writable(parsed: &Parsed) -> Option<String> {
    let names = parsed.operands.iter().filter_map(|operand| operand.split_once('='));
    names.map(|(name, _)| name.replace('/', ".")).find_map(|name| {
        let covers = |rule: &&str| {
            if rule.ends_with('.') { name.starts_with(*rule) } else { name == **rule }
        };
        if let Some(reason) = parameter_gives_root(&name) {
            return Some(format!("setting {name} gives root: {reason}"));
        }
        let writable =
            WRITABLE.iter().any(covers) && !PROTECTED.iter().any(|rule| name.starts_with(rule));
        let refusal = || {
            format!("setting {name} is not among those that may be written: {}", WRITABLE.join(" "))
        };
        (!writable || name.contains('*')).then(refusal)
    })
}

fn modprobe() -> Command {
    const ELSEWHERE: &str = "takes modules or their configuration from elsewhere";
    Command::new("modprobe")
        .flags(&[
            "-a --all",
            "-r --remove",
            "-n --dry-run --show",
            "-v --verbose",
            "-q --quiet",
            "-D --show-depends",
        ])
        .flags(&["--first-time", "-b --use-blacklist", "-s --syslog", "-h --help", "-V --version"])
        .refused("-C --config", ELSEWHERE)
        .refused("-d --dirname", ELSEWHERE)
        .refused("-S --set-version", ELSEWHERE)
        .refused("-f --force", "loads modules built for another kernel")
        .refused("--force-vermagic", "loads modules built for another kernel")
        .refused("--force-modversion", "loads modules built for another kernel")
        .refused("-i --ignore-install", "passes over the node's own rules")
        .each(MODULE, 1, MAX_NAMES)
        .effect(Effect::Changes)
}

fn lsmod() -> Command {
    Command::new("lsmod")
}
