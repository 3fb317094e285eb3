//! What an unprivileged user of the node could read: the one rule for what is shown of it, by `diff`
//! as by commands.
//!
//! Modes decide, as the kernel would read them for a user who owns nothing and is in [`GROUPS`];
//! access lists are not looked at. Folders on the way are asked for separately.

use nix::unistd::Group;
use pact_schemas::resource::{KeyPatterns, ResourceKey};

/// Groups whose members read logs and devices without being root.
const GROUPS: [&str; 4] = ["adm", "systemd-journal", "video", "render"];
/// The group may read.
const GROUP_READS: u32 = 0o040;
/// Others may read.
const OTHERS_READ: u32 = 0o004;
/// Others may enter a folder.
const OTHERS_PASS: u32 = 0o001;

/// Who may read, and what nobody is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readers {
    /// `[agent.observer] secret`
    secret: KeyPatterns,
    groups: Vec<u32>,
}

impl Readers {
    /// With the groups as the node's database has them now.
    pub(crate) fn new(secret: KeyPatterns) -> Self {
        let found = |name: &&str| Group::from_name(name).ok().flatten();
        let groups = GROUPS.iter().filter_map(found).map(|group| group.gid.as_raw());
        // A database that calls root's group by one of these names opens nothing.
        Self { secret, groups: groups.filter(|gid| *gid != 0).collect() }
    }

    /// Whether such a user may read what has this mode and group.
    pub(crate) fn may_read(&self, mode: u32, gid: u32) -> bool {
        if self.groups.contains(&gid) { mode & GROUP_READS != 0 } else { others_read(mode) }
    }

    /// Whether nobody is shown the contents, whoever may read them.
    pub(crate) fn is_secret(&self, key: &ResourceKey) -> bool {
        self.secret.matches(key)
    }
}

/// Whether every user may read what has this mode.
pub(crate) const fn others_read(mode: u32) -> bool {
    mode & OTHERS_READ != 0
}

/// Whether every user may enter a folder of this mode.
pub(crate) const fn others_pass(mode: u32) -> bool {
    mode & OTHERS_PASS != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_decides_for_its_members_and_others_for_all_else() {
        let readers = Readers { groups: vec![4], ..Readers::default() };
        for (mode, gid, may) in [
            (0o644, 0, true),
            (0o640, 0, false),
            (0o640, 4, true),
            (0o600, 4, false),
            (0o604, 4, false),
            (0o604, 0, true),
            (0o400, 0, false),
        ] {
            assert_eq!(readers.may_read(mode, gid), may, "{mode:o} of {gid}");
        }
    }
}
