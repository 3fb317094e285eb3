//! What other crates rely on, at the public interface of `pact-identity`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod bus_server;
mod t01_certificates;
mod t02_grants;
mod t03_attestations;
mod t04_plane_time;
mod t05_tokens;
mod t06_bus_rights;
mod t07_bus_revocation;
mod t08_config_heads;

use std::time::Duration;

use pact_identity::x509::SiteRoot;
use pact_identity::{Principal, Signer, SigningRole, Verifier};
use pact_runtime::{Clock, ManualClock, Timestamp};

const NOW: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// A site whose clock stands at [`NOW`] until the hand moves it.
struct Site {
    root: SiteRoot,
    verifier: Verifier,
    hand: ManualClock,
}

impl Site {
    fn new(name: &str) -> Self {
        let (clock, hand) = Clock::manual(NOW);
        let root = SiteRoot::generate(&name.parse().unwrap(), &clock).unwrap();
        let verifier = Verifier::from_pem(root.certificate_pem()).unwrap();
        Self { root, verifier, hand }
    }

    fn signer(&self, role: SigningRole) -> Signer {
        Signer::from_issued(&self.root.issue_signing(&role).unwrap()).unwrap()
    }

    fn member(&self) -> Signer {
        self.signer(SigningRole::Grant("1".parse().unwrap()))
    }

    fn gateway(&self) -> Signer {
        self.signer(SigningRole::Gateway("mgmt-1".parse().unwrap()))
    }
}

fn seconds(count: i64) -> Timestamp {
    Timestamp::from_unix_nanos(NOW.unix_nanos() + count * 1_000_000_000)
}

/// A principal as only a verified token makes one.
fn person(roles: &[&str]) -> Principal {
    t05_tokens::Issuer::new().principal("alice", roles)
}
