//! The walk from `/` to what a path really names, link by link.
//!
//! Leaving it to the kernel (`realpath`) would not do: `/proc/PID/root` and its kin are links whose
//! text is a path of another mount namespace, so they are refused at the step where they appear.

use std::path::Path;

use crate::deny::DenyRules;
use crate::disk::{Access, Disk, FileKind, Found};
use crate::refusal::FileRefusal;

/// As the kernel's own PATH_MAX.
const MAX_PATH_BYTES: usize = 4096;
/// As the kernel's own limit on links in one walk.
const MAX_LINKS: usize = 40;
/// Links into `/proc/self` whose content is the same for every process of a namespace.
const SHARED_PROC_LINKS: [&str; 2] = ["/proc/net", "/proc/mounts"];

/// A file argument after resolving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedFile {
    /// The absolute path without links, `.` and `..`.
    pub path: String,
    /// What is there.
    pub kind: FileKind,
}

/// One walk from `/` to what a path names.
pub(crate) struct Walk<'a> {
    disk: &'a dyn Disk,
    deny: Option<&'a DenyRules>,
    at: Vec<String>,
    kind: FileKind,
    links: usize,
}

impl<'a> Walk<'a> {
    /// A walk on a disk where every step is held against these rules, or against none.
    pub(crate) fn new(disk: &'a dyn Disk, deny: Option<&'a DenyRules>) -> Self {
        Self { disk, deny, at: Vec::new(), kind: FileKind::Directory, links: 0 }
    }

    /// Where it ends.
    pub(crate) fn run(mut self, given: &str) -> Result<ResolvedFile, FileRefusal> {
        if given.is_empty() || given.len() > MAX_PATH_BYTES || given.contains('\0') {
            return Err(FileRefusal::NotAPath);
        }
        let mut pending: Vec<String> = given.rsplit('/').map(str::to_owned).collect();
        while let Some(component) = pending.pop() {
            match component.as_str() {
                "" | "." => {}
                ".." => self.up()?,
                _ => {
                    self.at.push(component);
                    self.step(&mut pending)?;
                }
            }
        }
        Ok(ResolvedFile { path: self.path(), kind: self.kind })
    }

    fn path(&self) -> String {
        format!("/{}", self.at.join("/"))
    }

    fn up(&mut self) -> Result<(), FileRefusal> {
        let path = self.path();
        // A step up from a shared link would end in /proc/PID, not where the text says; above
        // nothing there is nothing.
        let from_shared = SHARED_PROC_LINKS.iter().any(|link| Path::new(&path).starts_with(link));
        if from_shared || self.kind == FileKind::Missing {
            return Err(FileRefusal::Links);
        }
        self.pass(path)?;
        self.at.pop();
        self.kind = FileKind::Directory;
        Ok(())
    }

    fn step(&mut self, pending: &mut Vec<String>) -> Result<(), FileRefusal> {
        let path = self.path();
        if path.len() > MAX_PATH_BYTES {
            return Err(FileRefusal::NotAPath);
        }
        self.allowed(&path)?;
        if self.kind == FileKind::Missing {
            return Ok(());
        }
        if self.kind == FileKind::Directory {
            let above = self.at.split_last().map(|(_, above)| above).unwrap_or_default();
            self.pass(format!("/{}", above.join("/")))?;
        }
        let is_shared = SHARED_PROC_LINKS.contains(&path.as_str());
        let found = if is_shared { self.disk.behind(&path) } else { self.disk.at(&path) };
        let target = match found {
            Found::Kind(kind) => {
                self.kind = kind;
                return Ok(());
            }
            Found::Link(target) => target,
            Found::Unknown => return Err(FileRefusal::Unexamined { path: path.into() }),
        };
        self.links += 1;
        let leads_on = |target: &String| !target.is_empty() && self.links <= MAX_LINKS;
        let target = target.filter(leads_on).ok_or(FileRefusal::Links)?;
        if target.starts_with('/') {
            self.at.clear();
        } else {
            self.at.pop();
        }
        self.kind = FileKind::Directory;
        pending.extend(target.rsplit('/').map(str::to_owned));
        Ok(())
    }

    /// Refuses a step from a directory that not every user of the node may take.
    fn pass(&self, directory: String) -> Result<(), FileRefusal> {
        if self.deny.is_none() || self.disk.lets(&directory, Access::Pass) {
            return Ok(());
        }
        Err(FileRefusal::Withheld { path: directory.into() })
    }

    fn allowed(&self, path: &str) -> Result<(), FileRefusal> {
        let Some(deny) = self.deny else { return Ok(()) };
        if path == "/proc/self" || path == "/proc/thread-self" {
            return Err(FileRefusal::OwnProcess);
        }
        match deny.denies(path) {
            Some(rule) => Err(FileRefusal::Denied { path: path.into(), rule: rule.to_owned() }),
            None => Ok(()),
        }
    }
}
