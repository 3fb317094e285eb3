//! What each kind of key can and takes: data of the provider that answers for it. The engine asks this data, and knows no
//! kind by name. A kind of which no provider has abilities is not observed by this agent yet.

use pact_schemas::resource::{Kind, Value};

/// What one kind of key can and takes.
#[derive(Debug)]
pub(crate) struct Abilities {
    /// Of which kind.
    pub(crate) kind: Kind,
    /// When keys of this kind are made, among those of other kinds.
    pub(crate) stage: Stage,
    /// How soon a change is noticed.
    pub(crate) notice: Notice,
    /// The tree of the kernel that is written; `None`: none that a container could have read-only.
    pub(crate) tree: Option<&'static Tree>,
    /// Capabilities that an agent which acts cannot do without for this kind.
    pub(crate) needs: &'static [Need],
    /// Why a key can never be given this value on any node; `None`: it can, as far as the value tells.
    pub(crate) refusal: fn(&Value) -> Option<&'static str>,
}

/// When keys are made. What is removed goes before all that is made, in the opposite order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// First: programs that do the rest read some of them (`/etc/modprobe.d`).
    Files,
    /// Before the parameters that a module brings along.
    Modules,
    /// Last.
    Parameters,
}

/// How soon a change is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The kernel tells within a moment.
    AtOnce,
    /// At the next look: nobody knows when since the last one it happened.
    ByLooking,
}

/// A tree of the kernel. Where it is read-only, its keys are observed and never changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Where it is mounted.
    pub(crate) path: &'static str,
    /// What is in it, in the plural.
    pub(crate) holds: &'static str,
}

/// A capability (capabilities(7)) that an agent which acts cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// Its number.
    pub(crate) bit: u32,
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is for: a verb in the third person, and what follows.
    pub(crate) reason: &'static str,
    /// Only where commands have the capability of this number too.
    pub(crate) only_with: Option<u32>,
}

impl Need {
    /// One that is needed in any case.
    pub(crate) const fn new(bit: u32, name: &'static str, reason: &'static str) -> Self {
        Self { bit, name, reason, only_with: None }
    }
}

/// What this agent may change on this node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Powers {
    /// The node can be changed at all; else the agent only observes.
    pub(crate) can_act: bool,
    /// Trees that are read-only here, by their path.
    pub(crate) read_only: Vec<&'static str>,
}

impl Powers {
    /// Looks up what this process may do for these kinds. Says once what it may not.
    pub(crate) fn find(kinds: impl Iterator<Item = &'static Abilities>) -> Self {
        let can_act = nix::unistd::geteuid().is_root();
        if !can_act {
            tracing::warn!(
                "the agent runs without privileges: it observes, and changes nothing on this node"
            );
            return Self { can_act, read_only: Vec::new() };
        }
        let mut trees: Vec<&Tree> = kinds.filter_map(|kind| kind.tree).collect();
        trees.sort_by_key(|tree| tree.path);
        trees.dedup();
        trees.retain(|tree| is_read_only(tree));
        for tree in &trees {
            let Tree { path, holds } = tree;
            tracing::warn!("{path} is read-only: {holds} are observed, and never changed");
        }
        Self { can_act, read_only: trees.into_iter().map(|tree| tree.path).collect() }
    }

    /// Why nothing of this kind may be changed on this node.
    pub(crate) fn refusal(&self, of: &Abilities) -> Option<String> {
        let tree = of.tree.filter(|tree| self.read_only.contains(&tree.path))?;
        Some(format!("{} is read-only here", tree.path))
    }
}

fn is_read_only(tree: &Tree) -> bool {
    nix::sys::statvfs::statvfs(tree.path)
        .is_ok_and(|found| found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
}
