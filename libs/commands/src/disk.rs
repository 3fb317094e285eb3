//! What the list has to know about the node's disk.

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A block or character device.
    Device,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// Nothing yet: the command will say so itself.
    Missing,
}

/// What one look finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No link.
    Kind(FileKind),
    /// A link and its text, where it has one that can be read.
    Link(Option<String>),
    /// The file system does not say.
    Unknown,
}

/// What an unprivileged user of the node would have to be let do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To go through a directory to what is in it.
    Pass,
    /// To read contents, or the names in a directory.
    Read,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without the directory.
    pub name: String,
    /// It is itself a directory, and no link to one.
    pub is_directory: bool,
}

/// Looks at the node's disk and judges nothing. Paths are absolute, as a command on the node would
/// write them.
pub trait Disk {
    /// What lies there. A link at the end is told, not followed.
    fn at(&self, path: &str) -> Found;
    /// The same, with a link at the end followed to what it leads to.
    fn behind(&self, path: &str) -> Found;
    /// Whether an unprivileged user of the node is let do this with what lies there. The way to it
    /// is not asked about, and a link at the end is not followed.
    fn lets(&self, path: &str, access: Access) -> bool;
    /// At most `limit` entries of a directory; `None` when any of these cannot be told.
    fn entries(&self, directory: &str, limit: usize) -> Option<Vec<Entry>>;
    /// The kernel's table of mounts, as `/proc/mounts` has it.
    fn mounts(&self) -> Option<String>;
    /// Whether a regular executable file that not everybody may write lies there or behind the
    /// links there.
    fn is_program(&self, path: &str) -> bool;
}
