//! What a test has made in the daemon, and what is left of tests that were killed.
//!
//! Everything that is made has two labels: which cluster it belongs to, and which process owns it. A cluster removes its
//! own when it is dropped, after a panic too. A process that was killed drops nothing: the next cluster removes what belongs
//! to owners that live no more. Nothing without these labels is ever touched.

use std::collections::HashMap;

use nix::unistd::gethostname;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use tokio::task::JoinSet;

use super::docker::{Docker, Labels};

/// Which cluster it belongs to.
pub const RUN_LABEL: &str = "io.pact.test.run";

/// Which process owns it: `<host>/<boot>/<pid>/<start in ticks>`.
pub const OWNER_LABEL: &str = "io.pact.test.owner";

/// The labels of everything that the cluster `run` of this process makes.
pub(super) fn labels(run: &str) -> Labels {
    labels_of(run, std::process::id())
}

/// The labels of what the process `pid` makes.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn labels_of(run: &str, pid: u32) -> Labels {
    let start = started(pid).expect("the process is there");
    let owner = format!("{}/{}/{pid}/{start}", host(), boot());
    [(RUN_LABEL, run.to_owned()), (OWNER_LABEL, owner)]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
}

fn host() -> String {
    gethostname().expect("this machine has a name").to_string_lossy().into_owned()
}

fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot id");
    id.trim().to_owned()
}

/// When a process was started, in ticks since the boot; `None` when there is none. A number alone may be another's by now.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19)?.parse().ok()
}

/// Whether an owner is known to live no more. One on another machine is not known.
fn is_gone(owner: &str) -> bool {
    let [on_host, of_boot, pid, start] = owner.split('/').collect::<Vec<_>>()[..] else {
        return false;
    };
    let (Ok(pid), Ok(start)) = (pid.parse(), start.parse::<u64>()) else { return false };
    on_host == host() && (of_boot != boot() || started(pid) != Some(start))
}

/// Removes what the owners that live no more have left.
pub fn sweep(docker: &Docker) {
    remove(docker, |labels| labels.get(OWNER_LABEL).is_some_and(|owner| is_gone(owner)));
}

/// Removes everything of the cluster `run`.
pub(super) fn remove_run(docker: &Docker, run: &str) {
    remove(docker, |labels| labels.get(RUN_LABEL).is_some_and(|of| of == run));
}

/// Names of what is there of the cluster `run`: containers, networks and volumes.
///
/// # Panics
/// When the daemon does not answer.
#[must_use]
pub fn of_run(docker: &Docker, run: &str) -> Vec<String> {
    let found = docker.ask("list what is there", find(docker));
    let meant = found.into_iter().filter(|one| one.labels.get(RUN_LABEL).is_some_and(|r| r == run));
    meant.map(|one| one.name).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Container,
    Network,
    Volume,
}

struct Found {
    kind: Kind,
    name: String,
    labels: Labels,
}

/// Everything that has an owner's label.
async fn find(docker: &Docker) -> Result<Vec<Found>, testcontainers::bollard::errors::Error> {
    let filters = HashMap::from([("label", vec![OWNER_LABEL])]);
    let containers = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let volumes = ListVolumesOptionsBuilder::new().filters(&filters).build();
    let mut found = Vec::new();
    let mut add = |kind, name: Option<String>, labels: Option<Labels>| {
        if let Some(name) = name {
            found.push(Found { kind, name, labels: labels.unwrap_or_default() });
        }
    };
    for one in docker.client.list_containers(Some(containers)).await? {
        add(Kind::Container, one.id, one.labels);
    }
    for one in docker.client.list_networks(Some(networks)).await? {
        add(Kind::Network, one.name, one.labels);
    }
    for one in docker.client.list_volumes(Some(volumes)).await?.volumes.unwrap_or_default() {
        add(Kind::Volume, Some(one.name), Some(one.labels));
    }
    Ok(found)
}

/// Containers first: networks and volumes that are in use cannot be removed. This runs while a test panics, so it does not.
fn remove(docker: &Docker, is_meant: impl Fn(&Labels) -> bool) {
    let found = match docker.attempt(find(docker)) {
        Ok(found) => found,
        Err(error) => return eprintln!("what is left in Docker cannot be listed: {error}"),
    };
    for kind in [Kind::Container, Kind::Network, Kind::Volume] {
        let mut all = JoinSet::new();
        let _inside = docker.enter();
        for one in found.iter().filter(|one| one.kind == kind && is_meant(&one.labels)) {
            all.spawn(remove_one(docker.client.clone(), kind, one.name.clone()));
        }
        let done = async {
            while all.join_next().await.is_some() {}
            Ok::<(), String>(())
        };
        if let Err(error) = docker.attempt(done) {
            eprintln!("what is left in Docker is not removed: {error}");
        }
    }
}

async fn remove_one(client: testcontainers::bollard::Docker, kind: Kind, name: String) {
    let removed = match kind {
        Kind::Container => {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            client.remove_container(&name, Some(options)).await
        }
        Kind::Network => client.remove_network(&name).await,
        Kind::Volume => {
            let options = RemoveVolumeOptionsBuilder::new().build();
            client.remove_volume(&name, Some(options)).await
        }
    };
    // Two tests that begin at once sweep the same.
    if let Err(error) = removed
        && !error.to_string().to_lowercase().contains("no such")
    {
        eprintln!("{name} is left in Docker: {error}");
    }
}
