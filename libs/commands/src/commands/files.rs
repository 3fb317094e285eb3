//! Names, sizes, sums and kinds of files; mounts.

use super::MAX_FILES;
use crate::grammar::{Command, Effect, Rule};
use crate::kinds::{Kind, NUMBER, SIZE, TEXT, WORD};

const HELP: [&str; 2] = ["--help", "--version"];
const WHEN: Kind = Kind::OneOf(&["always", "never", "auto"]);

pub(super) fn all() -> Vec<Command> {
    vec![ls(), stat(), file(), sum("md5sum"), sum("sha256sum"), df(), mount(), umount()]
}

fn ls() -> Command {
    Command::new("ls")
        .flags(&HELP)
        .flags(&[
            "-a --all",
            "-A --almost-all",
            "--author",
            "-b --escape",
            "-B --ignore-backups",
            "-c",
            "-C",
        ])
        .flags(&[
            "-d --directory",
            "-f",
            "--file-type",
            "--full-time",
            "-g",
            "--group-directories-first",
        ])
        .flags(&[
            "-G --no-group",
            "-h --human-readable",
            "--si",
            "-H --dereference-command-line",
            "-i --inode",
        ])
        .flags(&[
            "-k --kibibytes",
            "-l",
            "-L --dereference",
            "-m",
            "-n --numeric-uid-gid",
            "-N --literal",
            "-o",
            "-p",
        ])
        .flags(&[
            "-q --hide-control-chars",
            "--show-control-chars",
            "-Q --quote-name",
            "-r --reverse",
            "-R --recursive",
        ])
        .flags(&[
            "-s --size",
            "-S",
            "-t",
            "-u",
            "-U",
            "-v",
            "-x",
            "-X",
            "-Z --context",
            "--zero",
            "-1",
        ])
        .flags(&["-F"])
        .attached("--classify", WHEN)
        .attached("--color", WHEN)
        .value("--block-size", SIZE)
        .value("--hide", TEXT)
        .value("-I --ignore", TEXT)
        .value("--indicator-style", WORD)
        .value("--sort", WORD)
        .value("--time", WORD)
        .value("--time-style", TEXT)
        .value("-T --tabsize", NUMBER)
        .value("-w --width", NUMBER)
        .recursive(&["-R"])
        .shallow(&["-d"])
        .rule(Rule::Excludes(
            &["-R"],
            &["-L", "-H"],
            "links would lead out of the tree that was checked",
        ))
        .each(Kind::Listed, 0, MAX_FILES)
}

fn stat() -> Command {
    Command::new("stat")
        .flags(&HELP)
        .flags(&["-L --dereference", "-f --file-system", "-t --terse"])
        .value("--cached", Kind::OneOf(&["always", "never", "default"]))
        .value("-c --format", TEXT)
        .value("--printf", TEXT)
        .each(Kind::Metadata, 1, MAX_FILES)
}

fn file() -> Command {
    Command::new("file")
        .flags(&[
            "--help",
            "-v --version",
            "-b --brief",
            "-i --mime",
            "--mime-type",
            "--mime-encoding",
            "--extension",
        ])
        .flags(&[
            "--apple",
            "-k --keep-going",
            "-L --dereference",
            "-h --no-dereference",
            "-n --no-buffer",
            "-N --no-pad",
        ])
        .flags(&["-0 --print0", "-r --raw"])
        .value("-e --exclude", WORD)
        .value("-F --separator", TEXT)
        .refused("-f --files-from", "reads the names of further files from a file")
        .refused("-m --magic-file", "reads another magic file")
        .refused("-C --compile", "writes a compiled magic file")
        .refused("-z --uncompress", "runs decompressors")
        .refused("-Z --uncompress-noreport", "runs decompressors")
        .refused("-s --special-files", "reads devices")
        .refused("-S --no-sandbox", "takes the program's own confinement away")
        .refused("-p --preserve-date", "writes access times")
        .each(Kind::Inspected, 0, MAX_FILES)
}

fn sum(name: &'static str) -> Command {
    Command::new(name)
        .flags(&HELP)
        .flags(&["-b --binary", "-t --text", "--tag", "-z --zero"])
        .refused("-c --check", "reads the names of further files from a file")
        .each(Kind::Readable, 0, MAX_FILES)
}

fn df() -> Command {
    Command::new("df")
        .flags(&HELP)
        .flags(&[
            "-a --all",
            "-h --human-readable",
            "-H --si",
            "-i --inodes",
            "-k",
            "-l --local",
            "--no-sync",
        ])
        .flags(&["-P --portability", "--total", "-T --print-type", "-v"])
        .value("-B --block-size", SIZE)
        .value("-t --type", WORD)
        .value("-x --exclude-type", WORD)
        .attached("--output", WORD)
        .refused("--sync", "writes all buffers of the node to its disks")
        .each(Kind::Metadata, 0, MAX_FILES)
}

fn mount() -> Command {
    Command::new("mount")
        .flags(&["-h --help", "-V --version", "-l --show-labels", "-v --verbose"])
        .value("-t --types", WORD)
        .refused("-a --all", "mounts; only the listing is on the list")
        .refused("-o --options", "mounts; only the listing is on the list")
        .refused("-B --bind", "mounts; only the listing is on the list")
}

fn umount() -> Command {
    Command::new("umount")
        .flags(&[
            "-h --help",
            "-V --version",
            "-f --force",
            "-l --lazy",
            "-r --read-only",
            "-v --verbose",
            "-q --quiet",
        ])
        .flags(&["-n --no-mtab", "--fake"])
        .refused("-a --all", "unmounts everything")
        .refused("-A --all-targets", "unmounts places that are not named")
        .refused("-R --recursive", "unmounts places that are not named")
        .refused("-N --namespace", "works in another mount namespace")
        .refused("-c --no-canonicalize", "takes the path unchecked")
        .each(Kind::MountPoint, 1, MAX_FILES)
        .effect(Effect::Changes)
}
