//! Contents of files: showing, counting, searching, comparing.

use super::MAX_FILES;
use crate::grammar::{Command, Operands};
use crate::kinds::{COUNT, Kind, NUMBER, SECONDS, TEXT};

const HELP: [&str; 2] = ["--help", "--version"];
const WHEN: Kind = Kind::OneOf(&["always", "never", "auto"]);

pub(super) fn all() -> Vec<Command> {
    vec![cat(), head(), tail(), wc(), grep(), diff(), echo(), nothing()]
}

fn cat() -> Command {
    Command::new("cat")
        .flags(&HELP)
        .flags(&[
            "-A --show-all",
            "-b --number-nonblank",
            "-e",
            "-E --show-ends",
            "-n --number",
            "-s --squeeze-blank",
        ])
        .flags(&["-t", "-T --show-tabs", "-u", "-v --show-nonprinting"])
        .each(Kind::Readable, 0, MAX_FILES)
}

fn head() -> Command {
    Command::new("head")
        .flags(&HELP)
        .flags(&["-q --quiet --silent", "-v --verbose", "-z --zero-terminated"])
        .value("-n --lines", COUNT)
        .value("-c --bytes", COUNT)
        .bare_numbers()
        .each(Kind::Readable, 0, MAX_FILES)
}

fn tail() -> Command {
    Command::new("tail")
        .flags(&HELP)
        .flags(&["-F", "--retry", "-q --quiet --silent", "-v --verbose", "-z --zero-terminated"])
        .attached("--follow", Kind::OneOf(&["name", "descriptor"]))
        .flags(&["-f"])
        .value("-n --lines", COUNT)
        .value("-c --bytes", COUNT)
        .value("-s --sleep-interval", SECONDS)
        .value("--pid", NUMBER)
        .value("--max-unchanged-stats", NUMBER)
        .bare_numbers()
        .each(Kind::Readable, 0, MAX_FILES)
}

fn wc() -> Command {
    Command::new("wc")
        .flags(&HELP)
        .flags(&["-c --bytes", "-m --chars", "-l --lines", "-L --max-line-length", "-w --words"])
        .value("--total", Kind::OneOf(&["auto", "always", "only", "never"]))
        .refused("--files0-from", "reads the names of further files from a file")
        .each(Kind::Readable, 0, MAX_FILES)
}

fn grep() -> Command {
    let actions = Kind::OneOf(&["read", "skip"]);
    Command::new("grep")
        .flags(&["--help", "-V --version"])
        .flags(&[
            "-E --extended-regexp",
            "-F --fixed-strings",
            "-G --basic-regexp",
            "-P --perl-regexp",
        ])
        .flags(&[
            "-i --ignore-case",
            "--no-ignore-case",
            "-y",
            "-w --word-regexp",
            "-x --line-regexp",
            "-z --null-data",
        ])
        .flags(&[
            "-s --no-messages",
            "-v --invert-match",
            "-b --byte-offset",
            "-n --line-number",
            "--line-buffered",
        ])
        .flags(&[
            "-H --with-filename",
            "-h --no-filename",
            "-o --only-matching",
            "-q --quiet --silent",
            "-a --text",
        ])
        .flags(&[
            "-I",
            "-r --recursive",
            "-L --files-without-match",
            "-l --files-with-matches",
            "-c --count",
        ])
        .flags(&["-T --initial-tab", "-Z --null", "--no-group-separator", "-U --binary"])
        .value("-e --regexp", TEXT)
        .value("-f --file", Kind::Readable)
        .value("-m --max-count", NUMBER)
        .value("-A --after-context", NUMBER)
        .value("-B --before-context", NUMBER)
        .value("-C --context", NUMBER)
        .value("--label", TEXT)
        .value("--group-separator", TEXT)
        .value("--binary-files", Kind::OneOf(&["binary", "text", "without-match"]))
        .value("-d --directories", actions)
        .value("-D --devices", Kind::OneOf(&["skip"]))
        .value("--include", TEXT)
        .value("--exclude", TEXT)
        .value("--exclude-dir", TEXT)
        .value("--exclude-from", Kind::Readable)
        .attached("--color --colour", WHEN)
        .refused(
            "-R --dereference-recursive",
            "follows links out of the tree that was checked (use -r)",
        )
        .bare_numbers()
        .recursive(&["-r"])
        .operands(Operands::Lead {
            first: TEXT,
            unless: &["-e", "-f"],
            rest: Kind::Readable,
            max: MAX_FILES,
        })
}

fn diff() -> Command {
    Command::new("diff")
        .flags(&[
            "--help",
            "-v --version",
            "--normal",
            "-q --brief",
            "-s --report-identical-files",
            "-c",
            "-u",
            "-e --ed",
        ])
        .flags(&[
            "-n --rcs",
            "-y --side-by-side",
            "--left-column",
            "--suppress-common-lines",
            "-p --show-c-function",
        ])
        .flags(&[
            "-t --expand-tabs",
            "-T --initial-tab",
            "--suppress-blank-empty",
            "-N --new-file",
            "-i --ignore-case",
        ])
        .flags(&[
            "-E --ignore-tab-expansion",
            "-Z --ignore-trailing-space",
            "-b --ignore-space-change",
        ])
        .flags(&[
            "-w --ignore-all-space",
            "-B --ignore-blank-lines",
            "-a --text",
            "--strip-trailing-cr",
            "-d --minimal",
        ])
        .flags(&["--speed-large-files"])
        .attached("--context", NUMBER)
        .attached("--unified", NUMBER)
        .attached("--color", WHEN)
        .value("-C", NUMBER)
        .value("-U", NUMBER)
        .value("-W --width", NUMBER)
        .value("-F --show-function-line", TEXT)
        .value("-I --ignore-matching-lines", TEXT)
        .value("--label", TEXT)
        .value("--tabsize", NUMBER)
        .value("--horizon-lines", NUMBER)
        .refused("-l --paginate", "runs pr")
        .refused("-r --recursive", "chooses files inside directories")
        .refused("--from-file", "is not needed: name two files")
        .refused("--to-file", "is not needed: name two files")
        .refused("-X --exclude-from", "only serves directories")
        .refused("-S --starting-file", "only serves directories")
        .each(Kind::NotADirectory, 2, 2)
}

fn echo() -> Command {
    Command::new("echo").spelled(crate::grammar::Spelling::Literal).each(TEXT, 0, usize::MAX)
}

/// `true`, which ignores what it is given.
fn nothing() -> Command {
    Command::new("true").spelled(crate::grammar::Spelling::Literal).each(TEXT, 0, usize::MAX)
}
