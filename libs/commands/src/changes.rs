//! Whether a command line changes the node that runs it, for whoever asks before a node is asked.

use std::path::PathBuf;

use pact_schemas::Argv;

use crate::commands::builtin;
use crate::disk::FileKind;
use crate::files::{FileResolver, Reads, TRUSTED_PATH};
use crate::parse::parse;
use crate::refusal::FileRefusal;
use crate::walk::ResolvedFile;

/// Whether running this command line changes the node, as its grammar in the built-in list says.
///
/// What is not on the list counts as changing: a program without a grammar, arguments that the
/// grammar does not cover, a program in a folder where the node does not look for it, and what a
/// site adds to the list. So a command line counts as reading only where the node's own list would
/// say so.
///
/// No file is looked at. Whether the node may read the files that a command names is the node's
/// business: a command that only reads changes nothing when they are refused.
#[must_use]
pub fn changes_state(argv: &Argv) -> bool {
    let given = argv.program();
    let name = match given.rsplit_once('/') {
        Some((folder, name)) if TRUSTED_PATH.contains(&folder) => name,
        Some(_) => return true,
        None => given,
    };
    let command = builtin().into_iter().find(|command| command.name == name);
    let read = command.and_then(|command| parse(&command, argv.arguments(), &AnyFile).ok());
    read.is_none_or(|read| read.changes_state)
}

/// Takes every path for a file that may be read: no command changes more or less for the files that
/// it names.
struct AnyFile;

impl FileResolver for AnyFile {
    fn resolve_program(&self, name: &str) -> Option<PathBuf> {
        Some(name.into())
    }

    fn locate_program(&self, given: &str) -> Option<PathBuf> {
        Some(given.into())
    }

    fn resolve_file(&self, path: &str, _: Reads) -> Result<ResolvedFile, FileRefusal> {
        Ok(ResolvedFile { path: path.to_owned(), kind: FileKind::Regular })
    }

    fn resolve_tree(&self, path: &str, reads: Reads) -> Result<ResolvedFile, FileRefusal> {
        self.resolve_file(path, reads)
    }

    fn check_mount_point(&self, _path: &str) -> Result<(), FileRefusal> {
        Ok(())
    }
}
