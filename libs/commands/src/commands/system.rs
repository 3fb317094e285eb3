//! The node itself: names, time, memory, identity.

use crate::grammar::Command;
use crate::kinds::{Kind, NAME, NUMBER, SECONDS};

const HELP: [&str; 2] = ["--help", "--version"];

pub(super) fn all() -> Vec<Command> {
    vec![uname(), hostname(), uptime(), free(), id(), date()]
}

fn uname() -> Command {
    Command::new("uname")
        .flags(&HELP)
        .flags(&[
            "-a --all",
            "-s --kernel-name",
            "-n --nodename",
            "-r --kernel-release",
            "-v --kernel-version",
            "-m --machine",
        ])
        .flags(&["-p --processor", "-i --hardware-platform", "-o --operating-system"])
}

fn hostname() -> Command {
    const SETS: &str = "sets the host name";
    Command::new("hostname")
        .flags(&[
            "-a --alias",
            "-A --all-fqdns",
            "-d --domain",
            "-f --fqdn --long",
            "-i --ip-address",
            "-I --all-ip-addresses",
        ])
        .flags(&["-s --short", "-h --help", "-V --version"])
        .refused("-b --boot", SETS)
        .refused("-F --file", SETS)
}

fn uptime() -> Command {
    Command::new("uptime").flags(&["-p --pretty", "-s --since", "-h --help", "-V --version"])
}

fn free() -> Command {
    Command::new("free")
        .flags(&[
            "-b --bytes",
            "--kilo",
            "--mega",
            "--giga",
            "--tera",
            "--peta",
            "-k --kibi",
            "-m --mebi",
            "-g --gibi",
            "--tebi",
        ])
        .flags(&[
            "--pebi",
            "-h --human",
            "--si",
            "-l --lohi",
            "-t --total",
            "-v --committed",
            "-w --wide",
            "--help",
            "-V --version",
        ])
        .value("-s --seconds", SECONDS)
        .value("-c --count", NUMBER)
}

fn id() -> Command {
    Command::new("id")
        .flags(&HELP)
        .flags(&[
            "-a",
            "-g --group",
            "-G --groups",
            "-n --name",
            "-r --real",
            "-u --user",
            "-z --zero",
        ])
        .each(NAME, 0, 16)
}

fn date() -> Command {
    Command::new("date")
        .flags(&HELP)
        .flags(&["-u --utc --universal", "-R --rfc-email", "--resolution"])
        .attached("-I --iso-8601", PRECISION)
        .value("--rfc-3339", PRECISION)
        .value("-d --date", MOMENT)
        .value("-r --reference", Kind::Metadata)
        .refused("-s --set", "sets the clock")
        .refused("-f --file", "prints lines of a file")
        .each(FORMAT, 0, 1)
}

/// How exact a time is shown, with the abbreviations that people write (`-Is`); which of them go
/// with which option, `date` says itself.
const PRECISION: Kind = Kind::OneOf(&[
    "date", "hours", "minutes", "seconds", "ns", "d", "h", "m", "min", "s", "sec", "n",
]);

/// Anything but a time zone of its own, which would be read from a file of that name.
const MOMENT: Kind = Kind::Shape { says: "a date without TZ=", fits: |text| !text.contains("TZ=") };

/// A format; a bare operand would set the clock.
const FORMAT: Kind = Kind::Shape {
    says: "a format that starts with + (anything else would set the clock)",
    fits: |text| text.starts_with('+'),
};
