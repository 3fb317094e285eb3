//! What a single argument may look like.
//!
//! Only `Readable` to `UnitFiles` name something in the file tree and are resolved. No other kind is ever opened by the program it is given to: `TEXT` is used for
//! patterns, formats and echoed words only.

use crate::units;

/// Most bytes of a shaped word; the longest honest ones are lists of column names.
const MAX_WORD_BYTES: usize = 512;

/// The kind of one value or operand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A decimal number within bounds.
    Number { min: u64, max: u64 },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A comma list of these words.
    ListOf(&'static [&'static str]),
    /// Text of a certain shape.
    Shape { says: &'static str, fits: fn(&str) -> bool },
    /// A file whose content the program reads; `-` is standard input.
    Readable,
    /// The same, and not a directory, because the program would choose files inside it.
    NotADirectory,
    /// The same for a program that tells what a file is and does not read devices (`file`).
    Inspected,
    /// A file of which the program shows name, owner, size and the like, and of a directory what is
    /// in it (`ls`).
    Listed,
    /// A file of which the program shows only name, owner, size and the like; devices too.
    Metadata,
    /// A mount point as the kernel lists it, and not one that the system stands on.
    MountPoint,
    /// A unit whose files the program prints (`systemctl cat`).
    UnitFiles,
}

impl Kind {
    /// Whether the text has this kind's form; kinds that are resolved in the file tree accept any
    /// form.
    pub(crate) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Number { min, max } => {
                text.bytes().all(|byte| byte.is_ascii_digit())
                    && text.parse::<u64>().is_ok_and(|number| (*min..=*max).contains(&number))
            }
            Self::OneOf(words) => words.contains(&text),
            Self::ListOf(words) => {
                text.len() <= MAX_WORD_BYTES && text.split(',').all(|word| words.contains(&word))
            }
            Self::Shape { fits, .. } => fits(text),
            Self::Readable
            | Self::NotADirectory
            | Self::Inspected
            | Self::Listed
            | Self::Metadata
            | Self::MountPoint => true,
            Self::UnitFiles => units::is_plain(text),
        }
    }

    /// What is expected, for a refusal's text.
    pub(crate) fn says(&self) -> String {
        match self {
            Self::Number { min, max } if *max == u64::MAX => format!("a number of at least {min}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::OneOf(words) => format!("one of {}", words.join(" ")),
            Self::ListOf(words) => format!("a comma list of {}", words.join(" ")),
            Self::Shape { says, .. } => (*says).to_owned(),
            Self::Readable
            | Self::NotADirectory
            | Self::Inspected
            | Self::Listed
            | Self::Metadata => "a file".to_owned(),
            Self::MountPoint => "a mount point".to_owned(),
            Self::UnitFiles => "the exact name of a unit".to_owned(),
        }
    }
}

const fn shape(says: &'static str, fits: fn(&str) -> bool) -> Kind {
    Kind::Shape { says, fits }
}

/// Non-empty, no leading dash, and only letters, digits and the extra characters.
fn made_of(text: &str, extra: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_WORD_BYTES
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

/// Any number.
pub(crate) const NUMBER: Kind = Kind::Number { min: 0, max: u64::MAX };
/// A network or device interface, a user, a process name.
pub(crate) const NAME: Kind = shape("a name", |text| made_of(text, "._:@%+-"));
/// A word or comma list without a slash.
pub(crate) const WORD: Kind =
    shape("a word or comma list without slashes", |text| made_of(text, "._:@%+,=*?^~-"));
/// Patterns, formats, dates, echoed words: never opened as a file.
pub(crate) const TEXT: Kind = shape("any text", |_| true);
/// A host name or address.
pub(crate) const HOST: Kind = shape("a host name or address", |text| made_of(text, "._:%-"));
/// An address with or without prefix length.
pub(crate) const PREFIX: Kind = shape("an address or prefix", |text| {
    let (address, length) = text.split_once('/').unwrap_or((text, "0"));
    made_of(address, ".:%")
        && address.contains(['.', ':'])
        && address.chars().all(|c| c.is_ascii_hexdigit() || ".:%".contains(c))
        && !length.is_empty()
        && length.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
});
/// A destination of a route.
pub(crate) const DESTINATION: Kind = shape("a prefix or default", |text| {
    let Kind::Shape { fits, .. } = PREFIX else { return false };
    text == "default" || fits(text)
});
/// An interface name with a digit in it (or `lo`), which no keyword of `ip` has.
pub(crate) const NUMBERED_INTERFACE: Kind =
    shape("an interface name with a digit in it, or dev NAME", |text| {
        text == "lo" || (made_of(text, "._@-") && text.chars().any(|c| c.is_ascii_digit()))
    });
/// A word of `ip`'s reading verbs: also prefixes.
pub(crate) const IP_WORD: Kind = shape("a word or address", |text| made_of(text, "._:@%+/-"));
/// Head and tail counts: `5`, `+5`, `-5`, `10K`.
pub(crate) const COUNT: Kind = shape("a count such as 5, +5, -5, 10K", |text| {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    (1..=18).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && text.len().saturating_sub(digits.len()) <= 3
});
/// A size such as `1M` or `1024`, as `--block-size` takes it.
pub(crate) const SIZE: Kind =
    shape("a size such as 1M", |text| made_of(text, "'") && text.len() <= 16);
/// A number of seconds with at most three decimals.
pub(crate) const SECONDS: Kind = shape("seconds, at least 0.2", |text| {
    text.len() <= 12
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text.parse::<f64>().is_ok_and(|seconds| (0.2..=86_400.0).contains(&seconds))
});
/// A device node; its content is never read by the programs that take this kind.
pub(crate) const DEVICE_NODE: Kind = shape("a device such as /dev/sda", |text| {
    text.starts_with("/dev/")
        && made_of(text, "/._:+-")
        && !text.split('/').any(|part| part == "..")
});
/// A filter of `ss`.
pub(crate) const SOCKET_FILTER: Kind = shape("a socket filter", |text| {
    made_of(text, " .:/*[]()=<>!&|,_%@-") && !text.starts_with('/')
});
/// A boot of `journalctl`: an offset or an id.
pub(crate) const BOOT: Kind = shape("a boot offset or id", |text| {
    let offset = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number =
        (1..=4).contains(&offset.len()) && offset.bytes().all(|byte| byte.is_ascii_digit());
    number
        || text == "all"
        || (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
});
/// A number of lines of `journalctl`.
pub(crate) const LINES: Kind = shape("a number of lines", |text| {
    let number = text.strip_prefix('+').unwrap_or(text);
    text == "all"
        || ((1..=9).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit()))
});
/// A slot of `lspci -s`, a vendor and device of `lspci -d`.
pub(crate) const PCI: Kind =
    shape("a PCI slot or vendor:device", |text| made_of(text, ":.*") && text.contains([':', '.']));
/// A unit or pattern of units.
pub(crate) const UNIT_PATTERN: Kind =
    shape("a unit name or pattern without slashes", |text| made_of(text, ":_.@\\*?[]!-"));
/// A kernel module by name, or `parameter=value`.
pub(crate) const MODULE: Kind =
    shape("a module name or parameter=value, without slashes", |text| {
        let (name, value) = text.split_once('=').unwrap_or((text, "0"));
        made_of(name, "_-") && (value.is_empty() || made_of(value, "_.,:+-"))
    });
