//! Processes: `ps`, `top`, `htop`.
//!
//! `ps` reads its arguments in two dialects and, when the first fails, starts over in the other, in
//! which `-e` means "show environments". The description therefore lets `-e` go only with options
//! that cannot fail, and the BSD letters stand alone and have no `e`; an `o` comes last among them and
//! takes the next argument for columns. The tests run the installed
//! `ps` on generated command lines to see that none shows a process's environment.

use crate::grammar::{Command, Rule};
use crate::kinds::{Kind, NAME, NUMBER, SECONDS, WORD};
use crate::parse::Parsed;

/// Letters of the BSD dialect that take no value and show no environment.
const BSD_LETTERS: &str = "acfhHjlmnrsSTuvwx";
/// Columns of `-o`; `environ` is not among them.
const COLUMNS: [&str; 73] = [
    "%cpu",
    "%mem",
    "args",
    "blocked",
    "bsdstart",
    "bsdtime",
    "c",
    "caught",
    "cgroup",
    "cgroupns",
    "class",
    "cls",
    "cmd",
    "comm",
    "command",
    "cp",
    "cputime",
    "cputimes",
    "drs",
    "egid",
    "egroup",
    "eip",
    "esp",
    "etime",
    "etimes",
    "euid",
    "euser",
    "exe",
    "f",
    "fgid",
    "flag",
    "fname",
    "fuid",
    "gid",
    "group",
    "ignored",
    "lsm",
    "lstart",
    "lwp",
    "maj_flt",
    "min_flt",
    "ni",
    "nice",
    "nlwp",
    "numa",
    "nwchan",
    "pcpu",
    "pending",
    "pgid",
    "pgrp",
    "pid",
    "pmem",
    "ppid",
    "pri",
    "psr",
    "rgid",
    "rgroup",
    "rss",
    "rtprio",
    "ruid",
    "ruser",
    "s",
    "sched",
    "sess",
    "sid",
    "size",
    "start",
    "start_time",
    "stat",
    "state",
    "time",
    "tid",
    "vsz",
];
const MORE_COLUMNS: [&str; 12] = [
    "stime", "sz", "thcount", "tname", "tty", "tt", "uid", "user", "uname", "vsize", "wchan",
    "unit",
];

const FORMAT: Kind = Kind::Shape {
    says: "a comma list of columns such as pid,user,etime,cmd:40 (not environ)",
    fits: is_format,
};
const SORT: Kind = Kind::Shape {
    says: "a comma list of columns with + or -",
    fits: |text| {
        text.len() <= 256
            && text.split(',').all(|key| is_column(key.strip_prefix(['+', '-']).unwrap_or(key)))
    },
};
const BSD_OPERAND: Kind = Kind::Shape {
    says: "letters such as aux (without e and those that take a value, but for a last o with \
           columns after it), or process ids",
    fits: |text| is_pid(text) || is_bsd(text) || is_format(text),
};
const PIDS: Kind = Kind::Shape {
    says: "process ids",
    fits: |text| text.len() <= 256 && text.split(',').all(is_pid),
};

pub(super) fn all() -> Vec<Command> {
    vec![ps(), top(), htop()]
}

fn ps() -> Command {
    Command::new("ps")
        .flags(&[
            "-A", "-e", "-a", "-d", "-f", "-F", "-l", "-j", "-L", "-T", "-H", "-M", "-w", "-y",
            "-c", "-P",
        ])
        .flags(&["--forest", "--headers", "--no-headers --no-heading --noheaders", "--version -V"])
        .separate("-o --format", FORMAT)
        .separate("--sort", SORT)
        .separate("-p --pid", PIDS)
        .separate("--ppid", PIDS)
        .separate("-C", WORD)
        .separate("-u --user", WORD)
        .separate("-U --User", WORD)
        .separate("--cols --columns --width", Kind::Number { min: 20, max: 10_000 })
        .each(BSD_OPERAND, 0, 16)
        .rule(Rule::Check(no_clash))
        .rule(Rule::Check(one_dialect))
}

fn is_format(text: &str) -> bool {
    let column = |item: &str| {
        let item = item.strip_suffix('=').unwrap_or(item);
        let (name, width) = item.split_once(':').unwrap_or((item, "1"));
        is_column(name)
            && (1..=4).contains(&width.len())
            && width.bytes().all(|byte| byte.is_ascii_digit())
    };
    text.len() <= 512 && text.split(',').all(column)
}

fn is_column(name: &str) -> bool {
    COLUMNS.contains(&name) || MORE_COLUMNS.contains(&name)
}

fn is_pid(text: &str) -> bool {
    (1..=9).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0')
}

/// Letters of the BSD dialect; the last may be the `o` that takes the next argument for columns.
fn is_bsd(text: &str) -> bool {
    let flags = text.strip_suffix('o').unwrap_or(text);
    (1..=16).contains(&text.len()) && flags.chars().all(|letter| BSD_LETTERS.contains(letter))
}

/// Whatever clashes with another option is an error of the first dialect and, with `-e`, an
/// environment in the second.
fn no_clash(parsed: &Parsed) -> Option<String> {
    let count = |keys: &[&str]| keys.iter().filter(|key| parsed.has(&[**key])).count();
    let known = [
        "-A",
        "-a",
        "-d",
        "-e",
        "-o",
        "-f",
        "-F",
        "-l",
        "-j",
        "-L",
        "-T",
        "-H",
        "-w",
        "--headers",
        "--no-headers",
        "--forest",
        "--sort",
        "--cols",
    ];
    let clash = parsed.options.iter().any(|(key, _)| !known.contains(key))
        || count(&["-o", "-f", "-F", "-l", "-j"]) > 1
        || count(&["-L", "-T", "-H", "--forest"]) > 1
        || count(&["-o", "-L", "-T", "-H"]) > 1
        || count(&["--headers", "--no-headers"]) > 1;
    (parsed.has(&["-e"]) && clash)
        .then(|| "-e does not go with these options; use -A instead".to_owned())
}

fn one_dialect(parsed: &Parsed) -> Option<String> {
    let (mut bsd, mut pids) = (false, false);
    let mut operands = parsed.operands.iter();
    while let Some(operand) = operands.next() {
        let takes_columns = is_bsd(operand) && operand.ends_with('o');
        if takes_columns && !operands.next().is_some_and(|next| is_format(next)) {
            return Some(format!("the letters {operand} need a comma list of columns after them"));
        }
        if !is_bsd(operand) && !is_pid(operand) {
            return Some(format!("columns ({operand}) stand after o or -o only"));
        }
        bsd |= is_bsd(operand);
        pids |= is_pid(operand);
    }
    let short = parsed.options.iter().any(|(key, _)| !key.starts_with("--"));
    if bsd && short {
        return Some("letters such as aux and options such as -f cannot be mixed".to_owned());
    }
    (pids && parsed.has(&["-e"]))
        .then(|| "-e selects every process; leave it out to name some".to_owned())
}

fn top() -> Command {
    Command::new("top")
        .flags(&[
            "-b --batch-mode",
            "-c --cmdline-toggle",
            "-H --threads-show",
            "-i --idle-toggle",
            "-S --accum-time-toggle",
        ])
        .flags(&[
            "-1 --single-cpu-toggle",
            "-s --secure-mode",
            "-O --list-fields",
            "-h --help",
            "-V --version",
        ])
        .value("-n --iterations", Kind::Number { min: 1, max: 86_400 })
        .value("-d --delay", SECONDS)
        .value("-p --pid", PIDS)
        .value("-u --filter-only-euser", NAME)
        .value("-U --filter-any-user", NAME)
        .perhaps("-w --width", NUMBER)
        .value("-o --sort-override", SORT_FIELD)
        .value("-E --scale-summary-mem", Kind::OneOf(&["k", "m", "g", "t", "p", "e"]))
        .value("-e --scale-task-mem", Kind::OneOf(&["k", "m", "g", "t", "p"]))
        .rule(Rule::Needs(&["-b", "-O"], "there is no terminal"))
        .rule(Rule::Needs(&["-n", "-O"], "it would not end"))
}

const SORT_FIELD: Kind = Kind::OneOf(&[
    "PID", "PPID", "UID", "USER", "TTY", "PR", "NI", "nTH", "P", "%CPU", "TIME", "TIME+", "%MEM",
    "VIRT", "SWAP", "RES", "CODE", "DATA", "SHR", "nMaj", "nMin", "S", "COMMAND", "+%CPU", "+%MEM",
    "-%CPU", "-%MEM", "+RES", "-RES",
]);

fn htop() -> Command {
    Command::new("htop")
        .flags(&["-h --help", "-V --version"])
        .rule(Rule::Needs(&["-h", "-V"], "htop works on a terminal only; use top -b -n 1"))
}
