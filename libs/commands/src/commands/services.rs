//! Units and their logs: `systemctl`, `journalctl`.

use crate::grammar::{Command, Operands, changes, none, reads};
use crate::kinds::{BOOT, JOURNAL_MATCH, Kind, LINES, NUMBER, TEXT, UNIT_PATTERN, WORD};

/// Units of one command line at most.
const MAX_UNITS: usize = 32;
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
const OUTPUT: Kind = Kind::OneOf(&[
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-delta",
    "short-unix",
    "verbose",
    "export",
    "json",
    "json-pretty",
    "json-sse",
    "json-seq",
    "cat",
    "with-unit",
]);

pub(super) fn all() -> Vec<Command> {
    vec![systemctl(), journalctl()]
}

fn systemctl() -> Command {
    const ELSEWHERE: &str = "works on another system or tree";
    Command::new("systemctl")
        .flags(&[
            "-a --all",
            "-l --full",
            "-q --quiet",
            "-r --recursive",
            "--reverse",
            "--with-dependencies",
            "--after",
            "--before",
        ])
        .flags(&[
            "--failed",
            "--show-types",
            "--value",
            "--plain",
            "--no-pager",
            "--no-legend",
            "--no-block",
            "--wait",
            "--now",
        ])
        .flags(&[
            "-T --show-transaction",
            "--no-ask-password",
            "--no-reload",
            "--runtime",
            "--system",
            "-h --help",
            "--version",
        ])
        .value("-t --type", WORD)
        .value("--state", WORD)
        .value("-p --property", WORD)
        .value("-P", WORD)
        .value("-n --lines", NUMBER)
        .value("-o --output", OUTPUT)
        .value("--timestamp", WORD)
        .value("-s --signal", WORD)
        .value("--kill-whom", Kind::OneOf(&["main", "control", "all"]))
        .refused("-H --host", ELSEWHERE)
        .refused("-M --machine", ELSEWHERE)
        .refused("--root", ELSEWHERE)
        .refused("--image", ELSEWHERE)
        .refused("--user", "works on a user's manager")
        .refused("--global", "works on all users' managers")
        .refused("-f --force", "replaces unit files, or powers off without asking")
        .operands(Operands::Verbs { verbs: verbs(), or_nothing: true })
}

fn verbs() -> Vec<crate::grammar::Verb> {
    let units = || Operands::Each { kind: CHANGEABLE_UNIT, min: 1, max: MAX_UNITS };
    vec![
        reads(&["status"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["show"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["is-active"], UNIT_PATTERN, 1, MAX_UNITS),
        reads(&["is-enabled"], UNIT_PATTERN, 1, MAX_UNITS),
        reads(&["is-failed"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["is-system-running", "get-default"], UNIT_PATTERN, 0, 0),
        reads(&["list-units"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["list-unit-files"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["list-timers"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["list-sockets"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["list-paths"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["list-automounts"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["list-jobs"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["list-dependencies"], UNIT_PATTERN, 0, MAX_UNITS),
        changes(&["start"], units()),
        changes(&["stop"], units()),
        changes(&["restart"], units()),
        changes(&["try-restart"], units()),
        changes(&["reload"], units()),
        changes(&["reload-or-restart"], units()),
        changes(&["try-reload-or-restart"], units()),
        changes(&["kill"], units()),
        changes(&["enable"], units()),
        changes(&["disable"], units()),
        changes(&["mask"], units()),
        changes(&["unmask"], units()),
        changes(
            &["reset-failed"],
            Operands::Each { kind: CHANGEABLE_UNIT, min: 0, max: MAX_UNITS },
        ),
        changes(&["daemon-reload"], none()),
    ]
}

/// One unit by its exact name: no pattern, no path, nothing that ends the node's work.
const CHANGEABLE_UNIT: Kind = Kind::Shape {
    says: "the exact name of a unit other than targets, slices and those that stop the node or open a console",
    fits: |text| {
        let plain = !text.is_empty()
            && text.len() <= 255
            && !text.starts_with(['-', '.'])
            && text.chars().all(|c| c.is_ascii_alphanumeric() || ":_.@-".contains(c));
        let whole = [".target", ".slice", ".scope"].iter().any(|suffix| text.ends_with(suffix));
        let ends = text.starts_with("systemd-") && ENDINGS.iter().any(|word| text.contains(word));
        plain && !whole && !ends && !OFF_LIMITS.iter().any(|unit| text.starts_with(unit))
    },
};

fn journalctl() -> Command {
    const DELETES: &str = "deletes logs";
    const ELSEWHERE: &str = "reads journals of another place";
    const WRITES: &str = "changes the journal's files";
    Command::new("journalctl")
        .flags(&[
            "-f --follow",
            "-r --reverse",
            "-a --all",
            "-e --pager-end",
            "-k --dmesg",
            "-m --merge",
            "-q --quiet",
            "-l --full",
        ])
        .flags(&[
            "-x --catalog",
            "-N --fields",
            "--utc",
            "--no-full",
            "--no-hostname",
            "--no-pager",
            "--no-tail",
            "--show-cursor",
        ])
        .flags(&["--list-boots", "--disk-usage", "--header", "--system", "-h --help", "--version"])
        .value("-u --unit", UNIT_PATTERN)
        .value("--user-unit", UNIT_PATTERN)
        .value("-t --identifier", NAME_WITH_BLANKS)
        .value("-T --exclude-identifier", NAME_WITH_BLANKS)
        .value("-p --priority", WORD)
        .value("--facility", WORD)
        .value("-g --grep", TEXT)
        .value("-S --since", TEXT)
        .value("-U --until", TEXT)
        .value("-c --cursor", TEXT)
        .value("--after-cursor", TEXT)
        .value("-F --field", WORD)
        .value("--output-fields", WORD)
        .value("-o --output", OUTPUT)
        .attached("--case-sensitive", Kind::OneOf(&["true", "false", "yes", "no", "1", "0"]))
        .perhaps("-n --lines", LINES)
        .perhaps("-b --boot", BOOT)
        .refused("--vacuum-size", DELETES)
        .refused("--vacuum-files", DELETES)
        .refused("--vacuum-time", DELETES)
        .refused("--rotate", WRITES)
        .refused("--flush", WRITES)
        .refused("--sync", WRITES)
        .refused("--relinquish-var", WRITES)
        .refused("--smart-relinquish-var", WRITES)
        .refused("--update-catalog", WRITES)
        .refused("--setup-keys", WRITES)
        .refused("--cursor-file", "writes a file")
        .refused("-D --directory", ELSEWHERE)
        .refused("-i --file", ELSEWHERE)
        .refused("-M --machine", ELSEWHERE)
        .refused("--root", ELSEWHERE)
        .refused("--image", ELSEWHERE)
        .each(JOURNAL_MATCH, 0, MAX_UNITS)
}

/// A syslog identifier, which is a program's own choice of words.
const NAME_WITH_BLANKS: Kind = TEXT;
