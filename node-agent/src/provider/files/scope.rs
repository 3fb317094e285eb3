//! What is under watch: the roots, less what is ignored.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use pact_schemas::resource::{KeyPattern, KeyPatterns, ResourceKey};

use super::order::{is_within, shown};

/// A pattern with this end matches everything below what it matches.
const EVERYTHING_BELOW: &str = "**";

/// Roots and what is ignored in them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scope {
    /// Sorted; absolute, without links.
    roots: Vec<Box<[u8]>>,
    ignored: KeyPatterns,
    /// The agent's own files: looking at them would change them, and nothing that is declared may.
    own: Vec<Box<[u8]>>,
}

impl Scope {
    /// Roots as configured. One that is reached through a link is taken as what it resolves to; one that is not there
    /// stays as it is.
    pub(super) fn new(roots: &[PathBuf], ignored: KeyPatterns) -> Self {
        let resolved =
            |root: &PathBuf| std::fs::canonicalize(root).unwrap_or_else(|_| root.clone());
        let bytes = |root: PathBuf| Box::from(root.as_os_str().as_bytes());
        Self::of_bytes(roots.iter().map(resolved).map(bytes).collect(), ignored)
    }

    /// Roots as they were written down.
    pub(super) fn of_bytes(mut roots: Vec<Box<[u8]>>, ignored: KeyPatterns) -> Self {
        roots.sort_by(|left, right| super::order::compare(left, right));
        roots.dedup();
        Self { roots, ignored, own: Vec::new() }
    }

    /// Leaves out a folder or file, whatever the roots are.
    pub(super) fn without(mut self, own: &Path) -> Self {
        let own = std::fs::canonicalize(own).unwrap_or_else(|_| own.to_owned());
        self.own.push(bytes_of(&own).into());
        self
    }

    fn is_own(&self, path: &[u8]) -> bool {
        self.own.iter().any(|own| is_within(path, own))
    }

    /// Whether this path may be written: in a root, and none of the agent's own.
    pub(super) fn may_write(&self, path: &[u8]) -> bool {
        self.covers(path) && !self.is_own(path)
    }

    /// Whether both watch the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.roots == other.roots && self.ignored == other.ignored
    }

    pub(super) fn roots(&self) -> &[Box<[u8]>] {
        &self.roots
    }

    pub(super) const fn ignored(&self) -> &KeyPatterns {
        &self.ignored
    }

    pub(super) fn ignore(&mut self, patterns: KeyPatterns) {
        self.ignored = patterns;
    }

    /// What a baseline that was taken under another scope is of from now on: its records of what is ignored later stay, so
    /// only what was ignored all along comes under watch as it is.
    pub(super) fn after(&self, taken: Option<&Self>) -> Self {
        let Some(taken) = taken else { return self.clone() };
        let all_along = |pattern: &&KeyPattern| taken.ignored.as_slice().contains(pattern);
        let ignored: Vec<_> = self.ignored.as_slice().iter().filter(all_along).cloned().collect();
        Self { ignored: ignored.into(), ..self.clone() }
    }

    /// Roots that lie in no other: a walk of these meets the others.
    pub(super) fn outermost(&self) -> impl Iterator<Item = &[u8]> {
        let within_another =
            |root: &[u8]| self.roots.iter().any(|other| **other != *root && is_within(root, other));
        self.roots.iter().map(|root| &**root).filter(move |root| !within_another(root))
    }

    /// Whether the path is a root itself: a walk enters it whatever it is mounted on.
    pub(super) fn is_root(&self, path: &[u8]) -> bool {
        self.roots.iter().any(|root| **root == *path)
    }

    /// Whether the path lies in a root, ignored or not.
    pub(super) fn covers(&self, path: &[u8]) -> bool {
        self.roots.iter().any(|root| is_within(path, root))
    }

    /// The root of this path that is not there when `gone`, a folder on the way, is not.
    pub(super) fn root_below(&self, path: &[u8], gone: &[u8]) -> Option<&[u8]> {
        let is_it = |root: &&[u8]| is_within(path, root) && is_within(root, gone);
        self.roots.iter().map(|root| &**root).find(is_it)
    }

    /// Whether changes of this path count.
    pub(super) fn watches(&self, path: &[u8], key: &ResourceKey) -> bool {
        self.covers(path) && !self.is_own(path) && !self.ignored.matches(key)
    }

    /// Whether a walk enters this folder: not where everything below is ignored.
    pub(super) fn enters(&self, path: &[u8], key: &ResourceKey) -> bool {
        let is_shut = self.ignored.as_slice().iter().any(|pattern| {
            let Some(before) = pattern.as_str().strip_suffix(EVERYTHING_BELOW) else {
                return false;
            };
            let named = before.strip_prefix("file/").unwrap_or(before).strip_suffix('/');
            pattern.matches(key) || named.is_some_and(|folder| folder.as_bytes() == path)
        });
        !is_shut && !self.is_own(path)
    }
}

/// The key of a path; `None` for one that no key can name (longer than a key, its escapes counted).
pub(super) fn key_of(path: &[u8]) -> Option<ResourceKey> {
    ResourceKey::file(&shown(path)).ok()
}

/// The path of a key of a file.
pub(super) fn path_of(key: &ResourceKey) -> Option<Vec<u8>> {
    key.file_path().map(|path: PathBuf| bytes_of(&path).to_vec())
}

fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(roots: &[&str], ignored: &[&str]) -> Scope {
        let roots = roots.iter().map(|root| Box::from(root.as_bytes())).collect();
        Scope::of_bytes(roots, KeyPatterns::parse(ignored).unwrap())
    }

    fn asked(scope: &Scope, path: &str) -> (bool, bool) {
        let key = key_of(path.as_bytes()).unwrap();
        (scope.watches(path.as_bytes(), &key), scope.enters(path.as_bytes(), &key))
    }

    #[test]
    fn a_folder_is_not_entered_where_everything_below_is_ignored() {
        let scope = scope(&["/"], &["/tmp/**", "/srv/*", "file//opt/**"]);
        assert_eq!(asked(&scope, "/tmp"), (true, false));
        assert_eq!(asked(&scope, "/tmp/a"), (false, false));
        assert_eq!(asked(&scope, "/opt"), (true, false));
        assert_eq!(asked(&scope, "/srv/a"), (false, true), "what is in it counts");
        assert_eq!(asked(&scope, "/srv/a/b"), (true, true));
        assert_eq!(asked(&scope, "/etc"), (true, true));
    }

    #[test]
    fn the_providers_own_folder_is_never_watched() {
        let scope = scope(&["/"], &[]).without(Path::new("/no/such/folder"));
        assert_eq!(asked(&scope, "/no/such/folder"), (false, false));
        assert_eq!(asked(&scope, "/no/such/folder/kept"), (false, false));
        assert_eq!(asked(&scope, "/no/such"), (true, true));
        let scope = scope.without(Path::new("/no/such/certificate"));
        assert_eq!(asked(&scope, "/no/such/folder/kept"), (false, false));
        assert!(scope.covers(b"/no/such/certificate") && !scope.may_write(b"/no/such/certificate"));
        assert!(scope.may_write(b"/no/such/other"));
        assert!(scope.is_same(&self::scope(&["/"], &[])));
    }

    #[test]
    fn a_root_within_another_is_not_walked_twice() {
        let scope = scope(&["/etc", "/usr/share", "/usr", "/etcetera"], &[]);
        let outermost: Vec<&[u8]> = scope.outermost().collect();
        assert_eq!(outermost, [&b"/etc"[..], b"/etcetera", b"/usr"]);
        assert!(scope.is_root(b"/usr/share") && !scope.is_root(b"/usr/lib"));
        assert!(scope.covers(b"/usr/lib") && !scope.covers(b"/var"));
    }
}
