//! Resource keys: `kind/name`, in one spelling only.
//!
//! Names are UTF-8 without control characters. Bytes of a path that are not UTF-8,
//! control characters and `%` are written `%XX` (upper-case hex). A key can
//! therefore stand in a database row, a line of output and a specification as it is.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::dimension::{Dimension, Kind};

/// Longest key in bytes, kind included: no path that Linux takes is longer, escapes aside.
pub const MAX_KEY_BYTES: usize = 4096;

/// Longest name of a service, package or GPU, in bytes: a file name's.
const MAX_NAME_BYTES: usize = 255;

/// Longest name of a module: `MODULE_NAME_LEN` of Linux is 56.
const MAX_MODULE_BYTES: usize = 64;

/// Longest name of an interface: `IFNAMSIZ` of Linux less the final zero.
const MAX_INTERFACE_BYTES: usize = 15;

/// Why a text or a path is no resource key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Does not begin with a kind and a `/`.
    #[error(
        "{text:?} is no resource key: it begins with one of sysctl/, module/, mount/, file/, net/, service/, package/, gpu/"
    )]
    Kind {
        /// As given, cut.
        text: String,
    },
    /// The name breaks the rule of its kind.
    #[error("{text:?} is no name of a {kind} resource: {rule}")]
    Name {
        /// The kind.
        kind: Kind,
        /// The name as given, escaped and cut.
        text: String,
        /// What is accepted.
        rule: &'static str,
    },
    /// Longer than [`MAX_KEY_BYTES`].
    #[error("a resource key has at most {MAX_KEY_BYTES} bytes, this one has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Another spelling of a key.
    #[error("{text:?} is another spelling of the resource key {canonical:?}")]
    Spelling {
        /// As given, cut.
        text: String,
        /// As it has to be written, cut.
        canonical: String,
    },
}

/// The key of a resource, e.g. `sysctl/vm.swappiness` or `file//etc/motd`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct ResourceKey(Box<str>);

impl ResourceKey {
    /// The key of a resource with this plain name: not escaped yet, an absolute path
    /// for files and mounts. `-` in a module's name becomes `_`, as the kernel has it.
    ///
    /// # Errors
    /// [`KeyError`] naming the rule that the name breaks.
    pub fn new(kind: Kind, name: &str) -> Result<Self, KeyError> {
        if kind == Kind::Module {
            return Self::from_bytes(kind, name.replace('-', "_").as_bytes());
        }
        Self::from_bytes(kind, name.as_bytes())
    }

    /// The key of the file at an absolute path.
    ///
    /// # Errors
    /// [`KeyError`] for relative paths, empty, `.` and `..` components, and paths that are too long.
    pub fn file(path: &Path) -> Result<Self, KeyError> {
        Self::from_bytes(Kind::File, path.as_os_str().as_bytes())
    }

    /// The key of the mount at an absolute path.
    ///
    /// # Errors
    /// As [`ResourceKey::file`].
    pub fn mount(point: &Path) -> Result<Self, KeyError> {
        Self::from_bytes(Kind::Mount, point.as_os_str().as_bytes())
    }

    fn from_bytes(kind: Kind, name: &[u8]) -> Result<Self, KeyError> {
        if let Err(rule) = check_name(kind, name) {
            return Err(KeyError::Name { kind, text: cut(&escape(name)), rule });
        }
        let text = format!("{}/{}", kind.prefix(), escape(name));
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { bytes: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first part.
    #[must_use]
    pub fn kind(&self) -> Kind {
        // Every constructor has put a known prefix there.
        self.0.split_once('/').and_then(|(kind, _)| Kind::of_prefix(kind)).unwrap_or(Kind::File)
    }

    /// What a change of it counts as.
    #[must_use]
    pub fn dimension(&self) -> Dimension {
        self.kind().dimension()
    }

    /// The part after the kind, as written: still escaped. `/etc/motd` of `file//etc/motd`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// The part after the kind, without escapes.
    #[must_use]
    pub fn plain_name(&self) -> Vec<u8> {
        unescape(self.name()).unwrap_or_default()
    }

    /// The path of a file; `None` for other kinds.
    #[must_use]
    pub fn file_path(&self) -> Option<PathBuf> {
        self.path_of(Kind::File)
    }

    /// The mount point of a mount; `None` for other kinds.
    #[must_use]
    pub fn mount_point(&self) -> Option<PathBuf> {
        self.path_of(Kind::Mount)
    }

    fn path_of(&self, kind: Kind) -> Option<PathBuf> {
        (self.kind() == kind).then(|| PathBuf::from(OsString::from_vec(self.plain_name())))
    }
}

impl FromStr for ResourceKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { bytes: text.len() });
        }
        let found = text.split_once('/').and_then(|(k, name)| Some((Kind::of_prefix(k)?, name)));
        let Some((kind, name)) = found else {
            return Err(KeyError::Kind { text: cut(text) });
        };
        let Some(plain) = unescape(name) else {
            let rule = "a % is written %25, and a byte %XX with two upper-case hex digits";
            return Err(KeyError::Name { kind, text: cut(name), rule });
        };
        let key = Self::from_bytes(kind, &plain)?;
        if key.as_str() != text {
            return Err(KeyError::Spelling { text: cut(text), canonical: cut(key.as_str()) });
        }
        Ok(key)
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl AsRef<str> for ResourceKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for ResourceKey {
    fn deserialize<D: serde::Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(de)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Bytes as text without control characters: what is not UTF-8, control characters and `%` become `%XX`.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_control() {
                let mut buffer = [0; 4];
                c.encode_utf8(&mut buffer).bytes().for_each(|b| push_escaped(&mut out, b));
            } else {
                out.push(c);
            }
        }
        chunk.invalid().iter().for_each(|b| push_escaped(&mut out, *b));
    }
    out
}

fn push_escaped(out: &mut String, byte: u8) {
    out.push('%');
    for digit in [byte >> 4, byte & 0xf] {
        out.extend(char::from_digit(u32::from(digit), 16).map(|c| c.to_ascii_uppercase()));
    }
}

/// The bytes of an escaped text; `None` where a `%` is not followed by two upper-case hex digits.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    fn digit(byte: u8) -> Option<u8> {
        match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'A'..=b'F' => Some(byte - b'A' + 10),
            _ => None,
        }
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = digit(bytes.next()?)?;
            out.push((high << 4) | digit(bytes.next()?)?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// At most 120 characters of a text, for errors.
fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}

/// Whether a plain name is one of this kind; the error is the rule.
fn check_name(kind: Kind, name: &[u8]) -> Result<(), &'static str> {
    match kind {
        Kind::File | Kind::Mount => check_path(name),
        Kind::Sysctl => check_sysctl(name),
        Kind::Module => {
            let good = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
            rule(
                (1..=MAX_MODULE_BYTES).contains(&name.len()) && name.iter().all(good),
                "1 to 64 letters, digits and '_'",
            )
        }
        Kind::Net => {
            let good = |c: char| !c.is_whitespace() && !c.is_control() && !"/:".contains(c);
            rule(
                (1..=MAX_INTERFACE_BYTES).contains(&name.len())
                    && name != b"."
                    && name != b".."
                    && all_chars(name, good),
                "1 to 15 bytes without blanks, '/' and ':'",
            )
        }
        Kind::Service => {
            let good = |b: &u8| b.is_ascii_alphanumeric() || b"@._:\\-".contains(b);
            rule(
                (1..=MAX_NAME_BYTES).contains(&name.len())
                    && !name.starts_with(b".")
                    && !name.starts_with(b"-")
                    && name.iter().all(good),
                "1 to 255 letters, digits and @._:\\-, not beginning with '.' or '-'",
            )
        }
        Kind::Package | Kind::Gpu => {
            let good = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
            rule(
                (1..=MAX_NAME_BYTES).contains(&name.len()) && all_chars(name, good),
                "1 to 255 bytes without blanks and '/'",
            )
        }
    }
}

fn rule(holds: bool, rule: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(rule) }
}

fn all_chars(name: &[u8], good: impl Fn(char) -> bool) -> bool {
    std::str::from_utf8(name).is_ok_and(|text| text.chars().all(good))
}

/// Absolute, and the only spelling of the path as far as text can say.
fn check_path(path: &[u8]) -> Result<(), &'static str> {
    let Some(rest) = path.strip_prefix(b"/") else {
        return Err("an absolute path");
    };
    if path.contains(&0) {
        return Err("a path without zero bytes");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let odd = |part: &[u8]| part.is_empty() || part == b"." || part == b"..";
    rule(
        !rest.split(|b| *b == b'/').any(odd),
        "an absolute path without empty, '.' and '..' components",
    )
}

/// The dotted name of sysctl(8): `.` between the parts, and `/` where a part itself has a dot
/// (`net.ipv4.conf.eth0/100.forwarding`). No part may lead out of `/proc/sys`.
fn check_sysctl(name: &[u8]) -> Result<(), &'static str> {
    const RULE: &str = "a dotted name such as vm.swappiness, without blanks or empty parts";
    let first_separator = name.iter().find(|b| matches!(**b, b'.' | b'/'));
    let good = |c: char| !c.is_whitespace() && !c.is_control();
    let odd = |part: &[u8]| part.is_empty() || part == b"/" || part == b"//";
    rule(
        first_separator != Some(&b'/')
            && all_chars(name, good)
            && !name.split(|b| *b == b'.').any(odd),
        RULE,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_have_a_kind_a_dimension_and_a_name() {
        let key: ResourceKey = "file//etc/motd".parse().unwrap();
        assert_eq!((key.kind(), key.dimension()), (Kind::File, Dimension::Files));
        assert_eq!(key.name(), "/etc/motd");
        assert_eq!(key.file_path().unwrap(), Path::new("/etc/motd"));
        assert_eq!(key, ResourceKey::file(Path::new("/etc/motd")).unwrap());
        assert_eq!(key, ResourceKey::new(Kind::File, "/etc/motd").unwrap());
        assert_eq!(key.mount_point(), None);
        let mount = ResourceKey::mount(Path::new("/datasets")).unwrap();
        assert_eq!(mount.as_str(), "mount//datasets");
        assert_eq!(mount.mount_point().unwrap(), Path::new("/datasets"));
        assert_eq!(ResourceKey::new(Kind::Module, "snd-hda").unwrap().as_str(), "module/snd_hda");
        for text in [
            "sysctl/vm.swappiness",
            "sysctl/net.ipv4.conf.eth0/100.forwarding",
            "net/eth1",
            "service/user@1000.service",
            "package/libstdc++6:amd64",
            "gpu/0",
            "mount//",
        ] {
            assert_eq!(text.parse::<ResourceKey>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_spellings_and_paths_that_lead_elsewhere_are_refused() {
        for bad in [
            "",
            "file",
            "sysctls/vm.x",
            "/etc/motd",
            "file/etc/motd",
            "file//etc//motd",
            "file//etc/../motd",
            "file//etc/./motd",
            "file//etc/",
            "file//a%00b",
            "file//a%2",
            "file//a%2f",
            "file//a%zz",
            "file//a\nb",
            "file//%41",
            "file//%C3%A9",
            "mount/datasets",
            "sysctl/",
            "sysctl/vm..x",
            "sysctl/.x",
            "sysctl/x.",
            "sysctl/vm/swappiness",
            "sysctl/a.//.b",
            "sysctl/a./.b",
            "sysctl/a b",
            "module/a-b",
            "module/",
            "net/..",
            "net/abcdefghijklmnop",
            "service/../x",
            "service/-x",
            "package/a b",
            "gpu/",
        ] {
            assert!(bad.parse::<ResourceKey>().is_err(), "{bad:?}");
        }
        let error = "module/a-b".parse::<ResourceKey>().unwrap_err();
        assert!(error.to_string().contains("letters, digits and '_'"), "{error}");
        let error = "file//%41".parse::<ResourceKey>().unwrap_err();
        assert!(error.to_string().contains("\"file//A\""), "{error}");
        assert!(ResourceKey::file(Path::new(&format!("/{}", "a".repeat(4090)))).is_ok());
        assert!(ResourceKey::file(Path::new(&format!("/{}", "a".repeat(4091)))).is_err());
    }

    #[test]
    fn odd_bytes_are_escaped_and_come_back() {
        let path = PathBuf::from(OsString::from_vec(b"/a\nb/100%/\xff\xc3\xa9\x7f\xc2\x85".into()));
        let key = ResourceKey::file(&path).unwrap();
        assert_eq!(key.as_str(), "file//a%0Ab/100%25/%FF\u{e9}%7F%C2%85");
        assert_eq!(key.file_path().unwrap(), path);
    }

    fn path() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            3 => any::<u8>(),
            1 => Just(b'%'),
            1 => Just(b'\n'),
            1 => Just(0xc3),
            3 => proptest::sample::select(b"aA19.".to_vec()),
        ];
        let part = proptest::collection::vec(byte, 1..12);
        proptest::collection::vec(part, 0..6).prop_map(|parts| {
            let mut path = Vec::new();
            for part in parts {
                path.push(b'/');
                path.extend(part.into_iter().map(|b| if b == b'/' || b == 0 { b'_' } else { b }));
            }
            if path.is_empty() { b"/".to_vec() } else { path }
        })
    }

    proptest! {
        #[test]
        fn every_path_round_trips_through_text(bytes in path()) {
            let path = PathBuf::from(OsString::from_vec(bytes));
            if let Ok(key) = ResourceKey::file(&path) {
                prop_assert_eq!(key.file_path().unwrap(), path);
                prop_assert!(!key.as_str().chars().any(char::is_control));
                prop_assert_eq!(key.as_str().parse::<ResourceKey>().unwrap(), key);
            } else {
                let text = path.as_os_str().as_bytes();
                prop_assert!(text.split(|b| *b == b'/').any(|p| p == b"." || p == b".."));
            }
        }

        #[test]
        fn no_text_is_read_as_another_key(text in "(file|sysctl|net|mount)/[/a%0-9A-F.é\n]{0,12}") {
            if let Ok(key) = text.parse::<ResourceKey>() {
                prop_assert_eq!(key.as_str(), text);
            }
        }
    }
}
