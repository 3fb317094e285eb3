//! Paths as bytes, in the order in which a walk meets them: a folder, what is in it, then its next sibling.
//!
//! Plain byte order is not that order (`a-b` sorts before `a/c`), so `/` counts as less than every other byte.

use std::cmp::Ordering;

/// An owned path; absolute, without `.`, `..`, repeated or trailing `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PathBytes(pub(super) Box<[u8]>);

impl Ord for PathBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for PathBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of a walk.
pub(super) fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    left.iter().map(rank).cmp(right.iter().map(rank))
}

/// Whether the path is the folder or anything in it, however deep.
pub(super) fn is_within(path: &[u8], folder: &[u8]) -> bool {
    folder == b"/" || path.strip_prefix(folder).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// The path of a name in a folder.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend_from_slice(folder);
    if folder != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The folder and the name; `None` for `/`.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = path.iter().rposition(|byte| *byte == b'/')?;
    let (folder, name) = path.split_at_checked(at)?;
    let name = name.get(1..).filter(|name| !name.is_empty())?;
    Some((if folder.is_empty() { b"/" } else { folder }, name))
}

/// The path as it is shown and logged.
pub(super) fn shown(path: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::OsStr::from_bytes(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_before_its_contents_and_those_before_its_siblings() {
        let walked: [&[u8]; 6] = [b"/", b"/a", b"/a/x", b"/a/x/y", b"/a-b", b"/ab"];
        let mut sorted = walked;
        sorted.sort_by(|left, right| compare(left, right));
        assert_eq!(sorted, walked);
    }

    #[test]
    fn paths_come_apart_and_together() {
        assert_eq!(split(b"/etc/motd"), Some((&b"/etc"[..], &b"motd"[..])));
        assert_eq!(split(b"/etc"), Some((&b"/"[..], &b"etc"[..])));
        assert_eq!(split(b"/"), None);
        assert_eq!(join(b"/", b"etc"), b"/etc");
        assert_eq!(join(b"/etc", b"motd"), b"/etc/motd");
        assert!(is_within(b"/etc", b"/etc") && is_within(b"/etc/x", b"/etc"));
        assert!(is_within(b"/x", b"/") && !is_within(b"/etcetera", b"/etc"));
    }
}
