//! The command list: which command lines a node runs for somebody who is not in an emergency, and
//! which change it.
//!
//! A name says little about what a command does (`ip netns exec X sh`, `sysctl -w
//! kernel.core_pattern=|…`, `date -f /etc/shadow`), and lists of forbidden arguments miss spellings
//! (`cat etc/shadow`, `--fil=/etc/shadow`). So each command of the list has a grammar that covers
//! its whole argument list; what it does not cover is off the list.
//!
//! Parts: `grammar` the vocabulary of descriptions, `kinds` the shapes of single arguments,
//! `commands/` the descriptions, `parse` the matcher, `files`, `walk` and `deny` the resolution of
//! files against the readable tree, `disk` the looks that this takes, `list` and `mode` the
//! judgement, `changes` the question that can be asked without a node, `refusal` the answers.
//!
//! Invariants, as absences: nothing here runs anything, reads a clock, looks at the network or
//! keeps state, and nothing here opens or looks at a file: the agent's [`Disk`] does. There is no
//! second table of what changes a node. No command of the list can be given another program, a
//! script, a pager or a file to write. No argument that is opened as a file escapes resolution, and
//! none is read that an unprivileged user of the node could not read.
//! Abbreviated long options, though programs accept them, do not exist here.
//!
//! What the agent owes: run exactly the judged argv with `program`, with `environment` as the
//! *whole* environment, in [`WORKING_DIRECTORY`], without a terminal on standard output; and judge
//! in a blocking task, because looking at files of a dead network mount can hang.
//!
//! What is weaker than it looks: a file is resolved here and opened later, so whoever can exchange
//! a directory entry on the way can win a race (see `files`); `tail -F` opens names again on
//! purpose, whatever they are by then; access lists are not looked at, only modes; `systemctl show`
//! prints what units carry, environments included, as systemd shows them to every local user;
//! `sysctl -a` shows the few settings that only root reads. Programs that a site adds are taken with
//! any arguments: that is what adding them means.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod changes;
mod commands;
mod deny;
mod disk;
mod files;
mod grammar;
mod kinds;
mod list;
mod mode;
mod parse;
mod refusal;
#[cfg(test)]
mod tests;
mod units;
mod walk;

pub use changes::changes_state;
pub use deny::PatternError;
pub use disk::{Access, Disk, Entry, FileKind, Found};
pub use files::{FileResolver, Files, Reads, WORKING_DIRECTORY};
pub use list::{AdditionError, Admitted, Verdict, Whitelist};
pub use mode::{Mode, UnknownMode};
pub use refusal::{Fault, FileRefusal, Refusal};
pub use walk::ResolvedFile;
