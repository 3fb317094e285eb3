//! What on the node is the agent's own: its configuration, anchors, certificate, unit and state, where
//! they are configured to be. Its enrolment and renewal write them; nothing that is declared, rolled
//! back or undone does.

use std::path::{Path, PathBuf};

use pact_schemas::resource::ResourceKey;

/// Folders of systemd in which a unit of that name is the agent's.
const UNIT_FOLDERS: [&str; 5] =
    ["/etc/systemd", "/run/systemd", "/usr/lib/systemd", "/lib/systemd", "/usr/local/lib/systemd"];
const UNIT: &str = "pact-agent";

/// Files and folders of the agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OwnFiles {
    paths: Vec<PathBuf>,
}

impl OwnFiles {
    /// These paths, each as it is written and as what it leads to.
    pub(crate) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut all: Vec<PathBuf> =
            paths.into_iter().flat_map(|path| [resolved(&path), path]).collect();
        all.sort();
        all.dedup();
        Self { paths: all }
    }

    /// Whether a key is about one of them, about something in them, or about a mount over them.
    pub(crate) fn holds(&self, key: &ResourceKey) -> bool {
        if let Some(path) = key.file_path() {
            return is_unit(&path) || self.paths.iter().any(|own| path.starts_with(own));
        }
        if let Some(point) = key.mount_point() {
            let meets = |own: &PathBuf| own.starts_with(&point) || point.starts_with(own);
            return self.paths.iter().any(meets);
        }
        key.as_str().strip_prefix("service/").is_some_and(is_unit_name)
    }
}

/// A file that is not there yet lies where its folder is.
fn resolved(path: &Path) -> PathBuf {
    let of_folder = || {
        let folder = std::fs::canonicalize(path.parent()?).ok()?;
        Some(folder.join(path.file_name()?))
    };
    std::fs::canonicalize(path).ok().or_else(of_folder).unwrap_or_else(|| path.to_owned())
}

fn is_unit_name(name: &str) -> bool {
    name.strip_prefix(UNIT).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_unit(path: &Path) -> bool {
    UNIT_FOLDERS.iter().any(|folder| path.starts_with(folder))
        && path.iter().any(|part| part.to_str().is_some_and(is_unit_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_files_are_known_by_every_way_to_them_and_their_neighbours_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        std::fs::write(at("real/agent.toml"), "").unwrap();
        std::os::unix::fs::symlink(at("real"), at("etc")).unwrap();
        let own = OwnFiles::new([at("etc/agent.toml"), at("etc/agent.crt"), at("state")]);
        let holds = |kind: &str, path: &Path| {
            own.holds(&format!("{kind}/{}", path.display()).parse().unwrap())
        };
        for mine in
            ["etc/agent.toml", "real/agent.toml", "real/agent.crt", "state", "state/drift/bases"]
        {
            assert!(holds("file", &at(mine)), "{mine}");
        }
        for other in ["etc/agent.tom", "real/cli.toml", "state2", "real"] {
            assert!(!holds("file", &at(other)), "{other}");
        }
        // A mount over a folder hides what is in it.
        assert!(holds("mount", &at("real")) && holds("mount", &at("state/x")));
        assert!(!holds("mount", &at("data")));
        for (key, mine) in [
            ("file//etc/systemd/system/pact-agent.service", true),
            ("file//usr/lib/systemd/system/pact-agent.service.d/x.conf", true),
            ("file//etc/systemd/system/pact-agentx.service", false),
            ("file//srv/pact-agent.service", false),
            ("service/pact-agent", true),
            ("service/pact-agent.service", true),
            ("service/pact-gateway", false),
            ("sysctl/vm.swappiness", false),
        ] {
            assert_eq!(own.holds(&key.parse().unwrap()), mine, "{key}");
        }
    }
}
