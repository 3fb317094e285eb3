//! What the bootstrap says on stdout.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use pact_runtime::{Clock, Timestamp};

use super::BootstrapArgs;
use super::bus::SERVER_CONFIG;
use super::check::end_of_certificate;
use super::folder::{Fate, Folder};

/// A certificate that ends within this is named: two months are enough for a maintenance window.
const ENDING_SOON: Duration = Duration::from_secs(60 * 86_400);

/// What was made and kept, and what comes next.
#[derive(Debug)]
pub struct Summary {
    site: String,
    folder: PathBuf,
    bus_url: String,
    fates: BTreeMap<String, Fate>,
    ending: Vec<(String, Timestamp)>,
}

impl Summary {
    pub(super) fn new(folder: Folder, arguments: &BootstrapArgs, clock: &Clock) -> Self {
        let soon = clock.now().checked_add(ENDING_SOON);
        let ending = folder
            .fates()
            .keys()
            .filter(|name| name.ends_with(".crt"))
            .filter_map(|name| {
                let pem = std::fs::read_to_string(folder.path(name)).ok()?;
                Some((name.clone(), end_of_certificate(&pem)?))
            })
            .filter(|(_, end)| soon.is_none_or(|soon| *end < soon))
            .collect();
        let host = arguments.bus_hosts.first().map(super::arguments::Host::before_port);
        Self {
            site: arguments.site.to_string(),
            folder: folder.path(""),
            bus_url: format!("tls://{}:{}", host.unwrap_or_default(), arguments.bus_listen.port()),
            fates: folder.fates().clone(),
            ending,
        }
    }

    /// What became of a file, by its name within the folder.
    #[must_use]
    pub fn fate(&self, name: &str) -> Option<Fate> {
        self.fates.get(name).copied()
    }

    /// The files with this fate, in order.
    pub fn files(&self, fate: Fate) -> impl Iterator<Item = &str> {
        self.fates.iter().filter(move |(_, found)| **found == fate).map(|(name, _)| name.as_str())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        writeln!(f, "site {} in {folder}", self.site)?;
        for (fate, word) in [(Fate::Made, "made"), (Fate::Kept, "kept")] {
            let files: Vec<&str> = self.files(fate).collect();
            writeln!(f, "  {word} {} files", files.len())?;
            // After the first run the interesting part is what is new.
            for file in files.iter().filter(|_| fate == Fate::Made) {
                writeln!(f, "    {file}")?;
            }
        }
        for (name, end) in &self.ending {
            writeln!(f, "  {name} ends {end}: move it and its key away and run this again")?;
        }
        write!(
            f,
            "\nnext:\n\
             \x20 1. nats-server -c {folder}{SERVER_CONFIG}   (bus at {})\n\
             \x20 2. ca.crt goes to every node, service and admin: /etc/pact/ca.crt\n\
             \x20 3. to each service: its creds/, signing/ and tls/ files; to svc-enroll also root.key,\n\
             \x20    bus/pact.jwt, bus/pact-agents.nk and bus/operator-signing.nk\n\
             \x20 4. bus/operator.nk, bus/system.nk, bus/pact.nk and bus/pact-services.nk are needed by this command alone:\n\
             \x20    keep them offline, and bring them back for the next run",
            self.bus_url
        )
    }
}
