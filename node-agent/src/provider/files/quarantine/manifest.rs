//! What the quarantine knows of a file: for who wants it back, and for who finishes what a crash interrupted.

use std::os::fd::AsFd as _;

use pact_runtime::Timestamp;
use pact_schemas::resource::{FileKind, ResourceKey, escape, unescape};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::super::look::{Seen, content_digest};
use super::super::made;
use super::super::place::Place;
use super::super::record::{Record, kind_of_stat};
use crate::durable::hex;

/// The present format. 1 had `<number>.data`, and times of the wall clock.
pub(super) const FORMAT: u32 = 2;

/// What a file was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) key: String,
    /// `regular`, `symlink` or `special`.
    pub(super) kind: String,
    /// Octal.
    pub(super) mode: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size_bytes: u64,
    pub(super) modified_unix_ns: i64,
    /// Plane time; none: it was not known yet.
    #[serde(default)]
    pub(super) removed_unix_ns: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link_target: Option<String>,
    /// Of the contents, in hex: the name of the file that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    /// Where it is while it is being taken, escaped as keys are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) aside: Option<String>,
    /// What takes its place, and has the name `aside` before that; none: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) successor: Option<Successor>,
}

/// What takes a file's place: enough to tell it from the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::provider::files) enum Successor {
    /// A file with contents of this digest, in hex.
    File(String),
    /// A link to this target, escaped.
    Link(String),
    /// An empty folder.
    Folder,
}

impl Successor {
    /// That of what is made.
    pub(in crate::provider::files) fn of(record: &Record, sha256: &[u8; 32]) -> Self {
        match record.kind {
            FileKind::Symlink => Self::Link(escape(&record.link)),
            FileKind::Directory => Self::Folder,
            FileKind::Regular | FileKind::Special => Self::File(hex(sha256)),
        }
    }

    /// Whether the name in the folder of the place is it.
    pub(in crate::provider::files) fn is_at(
        &self,
        place: &Place,
        name: &std::ffi::CStr,
    ) -> std::io::Result<bool> {
        let Some(stat) = super::super::place::stat(&place.folder, name)? else { return Ok(false) };
        match (self, kind_of_stat(&stat)) {
            (Self::Folder, FileKind::Directory) => Ok(true),
            (Self::Link(target), FileKind::Symlink) => {
                let found = rustix::fs::readlinkat(place.folder.as_fd(), name, Vec::new())?;
                Ok(escape(found.as_bytes()) == *target)
            }
            (Self::File(sha256), FileKind::Regular) => {
                let file = made::open(place, name, rustix::fs::OFlags::RDONLY)?;
                Ok(hex(&content_digest(&file.into(), None)?) == *sha256)
            }
            _ => Ok(false),
        }
    }
}

/// What makes two removals the same: of what was removed last, one is enough.
pub(super) type Essence = [u8; 32];

impl Manifest {
    /// That of what was looked at.
    pub(super) fn of(key: &ResourceKey, seen: &Seen, removed: Option<Timestamp>) -> Self {
        let (record, found) = (&seen.record, &seen.found);
        let is_regular = record.kind == FileKind::Regular;
        Self {
            format: FORMAT,
            key: key.to_string(),
            kind: kind_text(record.kind).to_owned(),
            mode: format!("{:04o}", record.mode),
            uid: record.uid,
            gid: record.gid,
            size_bytes: if is_regular { found.size } else { 0 },
            modified_unix_ns: found.modified_ns,
            removed_unix_ns: removed.map(|time| time.unix_nanos()),
            link_target: (record.kind == FileKind::Symlink).then(|| escape(&record.link)),
            sha256: is_regular.then(|| hex(&seen.sha256)),
            aside: None,
            successor: None,
        }
    }

    pub(super) fn is_regular(&self) -> bool {
        self.kind == kind_text(FileKind::Regular)
    }

    /// Name of the file with the contents; none: there are none.
    pub(super) fn data(&self, number: u64) -> Option<String> {
        let name = || self.sha256.clone().unwrap_or_else(|| number.to_string());
        self.is_regular().then(|| format!("{}.data", name()))
    }

    /// When it was removed; none: not known, or by a clock that says nothing.
    pub(super) fn removed(&self) -> Option<Timestamp> {
        let told = self.removed_unix_ns.filter(|_| self.format == FORMAT);
        told.map(Timestamp::from_unix_nanos)
    }

    pub(super) fn aside(&self) -> Option<Vec<u8>> {
        unescape(self.aside.as_deref()?)
    }

    pub(super) fn essence(&self) -> Essence {
        let parts = [
            &self.key,
            &self.kind,
            &self.mode,
            &format!("{}:{}", self.uid, self.gid),
            self.sha256.as_deref().unwrap_or_default(),
            self.link_target.as_deref().unwrap_or_default(),
        ];
        // None of them holds a line end.
        let mut essence = [0; 32];
        essence.copy_from_slice(digest(&SHA256, parts.join("\n").as_bytes()).as_ref());
        essence
    }
}

const fn kind_text(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "regular",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Special => "special",
    }
}
