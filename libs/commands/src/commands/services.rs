//! Units and their logs: `systemctl`, `journalctl`.

use crate::grammar::{Command, Operands, Rule, changes, none, reads};
use crate::kinds::{BOOT, Kind, LINES, NUMBER, TEXT, UNIT_PATTERN, WORD};
use crate::parse::Parsed;
use crate::units;

/// Units of one command line at most.
const MAX_UNITS: usize = 32;
/// Formats of one line for each record.
const SHORT: [&str; 10] = [
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-delta",
    "short-unix",
    "cat",
    "with-unit",
];
/// Formats that show every field of a record, unless they are told which.
const WHOLE: [&str; 6] = ["verbose", "export", "json", "json-pretty", "json-sse", "json-seq"];
/// Fields of the records of core dumps that hold nothing of the process itself.
const DUMP_FIELDS: [&str; 9] = [
    "COREDUMP_COMM",
    "COREDUMP_EXE",
    "COREDUMP_PID",
    "COREDUMP_SIGNAL",
    "COREDUMP_SIGNAL_NAME",
    "COREDUMP_TIMESTAMP",
    "COREDUMP_UID",
    "COREDUMP_GID",
    "COREDUMP_UNIT",
];
/// Fields that are shown by name: what journald, syslog, the kernel and systemd say of a record. What
/// programs add of their own is theirs, and core dumps carry the environment of a process.
const FIELDS: [&str; 38] = [
    "MESSAGE",
    "MESSAGE_ID",
    "PRIORITY",
    "CODE_FILE",
    "CODE_FUNC",
    "CODE_LINE",
    "ERRNO",
    "EXIT_CODE",
    "EXIT_STATUS",
    "INVOCATION_ID",
    "JOB_ID",
    "JOB_RESULT",
    "JOB_TYPE",
    "SYSLOG_FACILITY",
    "SYSLOG_IDENTIFIER",
    "SYSLOG_PID",
    "SYSLOG_TIMESTAMP",
    "UNIT",
    "UNIT_RESULT",
    "_BOOT_ID",
    "_CMDLINE",
    "_COMM",
    "_EXE",
    "_GID",
    "_HOSTNAME",
    "_KERNEL_DEVICE",
    "_KERNEL_SUBSYSTEM",
    "_MACHINE_ID",
    "_PID",
    "_SOURCE_REALTIME_TIMESTAMP",
    "_SYSTEMD_CGROUP",
    "_SYSTEMD_INVOCATION_ID",
    "_SYSTEMD_SLICE",
    "_SYSTEMD_UNIT",
    "_TRANSPORT",
    "_UDEV_DEVNODE",
    "_UDEV_SYSNAME",
    "_UID",
];
const OUTPUT: Kind = Kind::Shape {
    says: "one of short… cat with-unit verbose export json…",
    fits: |text| SHORT.contains(&text) || WHOLE.contains(&text),
};
const SHORT_OUTPUT: Kind = Kind::OneOf(&SHORT);
const FIELD: Kind = Kind::Shape { says: SHOWN, fits: is_shown };
const FIELD_LIST: Kind = Kind::Shape { says: SHOWN, fits: |text| text.split(',').all(is_shown) };
const SHOWN: &str = "a field of records such as MESSAGE, _PID, _SYSTEMD_UNIT (COREDUMP_ENVIRON and the like are closed)";

fn is_shown(field: &str) -> bool {
    FIELDS.contains(&field) || DUMP_FIELDS.contains(&field)
}

/// A match of `journalctl`. What cannot be shown cannot be guessed by matching either.
const JOURNAL_MATCH: Kind = Kind::Shape {
    says: "a match FIELD=value of a field that may be shown or is a program's own",
    fits: |text| {
        let field = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
                && (!name.starts_with("COREDUMP") || is_shown(name))
        };
        text == "+" || text.split_once('=').is_some_and(|(name, _)| field(name))
    },
};

/// Why a format that shows whole records is refused, if it is.
fn whole_records(parsed: &Parsed) -> Option<String> {
    let is_whole = |(key, value): &(&str, Option<String>)| {
        *key == "-o" && value.as_deref().is_some_and(|value| WHOLE.contains(&value))
    };
    let shows_all = parsed.options.iter().any(is_whole) && !parsed.has(&["--output-fields"]);
    shows_all.then(|| {
        "this format shows everything that users' programs and core dumps put into their records; say \
         which fields with --output-fields=MESSAGE,_PID,…"
            .to_owned()
    })
}

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
        .value("-o --output", SHORT_OUTPUT)
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
    let units = |kind| Operands::Each { kind, min: 1, max: MAX_UNITS };
    vec![
        reads(&["status"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["show"], UNIT_PATTERN, 0, MAX_UNITS),
        reads(&["cat"], Kind::UnitFiles, 1, MAX_UNITS),
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
        changes(&["start"], units(STARTED)),
        changes(&["stop"], units(STOPPED)),
        changes(&["restart"], units(RESTARTED)),
        changes(&["try-restart"], units(RESTARTED)),
        changes(&["reload"], units(CHANGED)),
        changes(&["reload-or-restart"], units(RESTARTED)),
        changes(&["try-reload-or-restart"], units(RESTARTED)),
        changes(&["kill"], units(STOPPED)),
        changes(&["enable"], units(STARTED)),
        changes(&["disable"], units(STOPPED)),
        changes(&["mask"], units(STOPPED)),
        changes(&["unmask"], units(STARTED)),
        changes(&["reset-failed"], Operands::Each { kind: CHANGED, min: 0, max: MAX_UNITS }),
        changes(&["daemon-reload"], none()),
    ]
}

const CHANGED: Kind = Kind::Shape {
    says: "the exact name of a unit other than targets, slices and those that stop the node or open a console",
    fits: units::is_changeable,
};
const STARTED: Kind = Kind::Shape {
    says: "the exact name of a unit that may be started: no target or slice, none that stops the node or opens a console, no \
           socket that may open a port",
    fits: units::is_startable,
};
const RESTARTED: Kind = Kind::Shape {
    says: "the exact name of a unit that may be restarted: no target or slice, none that stops the node or opens a console, no \
           socket that may open a port, no mount point that the system stands on",
    fits: units::is_restartable,
};
const STOPPED: Kind = Kind::Shape {
    says: "the exact name of a unit that may be stopped: no target or slice, none that stops the node, and none of those \
           that control it, record what is done on it or keep its time (pact, the bus, audit, journald, chrony; restart and \
           reload work), no mount point that the system stands on",
    fits: units::is_stoppable,
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
        .value("-t --identifier", NAME_WITH_BLANKS)
        .value("-T --exclude-identifier", NAME_WITH_BLANKS)
        .value("-p --priority", WORD)
        .value("--facility", WORD)
        .value("-g --grep", TEXT)
        .value("-S --since", TEXT)
        .value("-U --until", TEXT)
        .value("-c --cursor", TEXT)
        .value("--after-cursor", TEXT)
        .value("-F --field", FIELD)
        .value("--output-fields", FIELD_LIST)
        .value("-o --output", OUTPUT)
        .attached("--case-sensitive", Kind::OneOf(&["true", "false", "yes", "no", "1", "0"]))
        .perhaps("-n --lines", LINES)
        .perhaps("-b --boot", BOOT)
        .rule(Rule::Check(whole_records))
        .refused("--user --user-unit", "reads users' own journals")
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
