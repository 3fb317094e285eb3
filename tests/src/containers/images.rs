//! The images that the containers are made of: those of this build, or none.

use std::path::Path;
use std::process::Command;

use crate::process::bin_dir;
use crate::site::describe;

use super::docker::Docker;
use super::part::Part;

/// One image.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// `name:tag`
    pub(super) reference: String,
    /// Who its process is: `uid:gid`.
    pub(super) owner: String,
}

/// The images of a cluster.
#[derive(Debug)]
pub(super) struct Images {
    services: Image,
    agent: Image,
    bus: Image,
}

impl Images {
    /// The images that `./dev images` makes, or those that the environment names (`PACT_SERVICES_IMAGE`, `PACT_AGENT_IMAGE`,
    /// `PACT_NATS_IMAGE`).
    ///
    /// # Panics
    /// When one is missing or holds other binaries than this build.
    pub(super) fn find(docker: &Docker) -> Self {
        check();
        let image = |variable: &str, default: &str| {
            let reference = std::env::var(variable).ok().filter(|value| !value.is_empty());
            let reference = reference.unwrap_or_else(|| default.to_owned());
            let owner = docker.image_owner(&reference);
            Image { reference, owner }
        };
        Self {
            services: image("PACT_SERVICES_IMAGE", "pact/services:dev"),
            agent: image("PACT_AGENT_IMAGE", "pact/agent:dev"),
            bus: image("PACT_NATS_IMAGE", "pact/nats:dev"),
        }
    }

    /// What a part runs.
    pub(super) fn of(&self, part: Part) -> &Image {
        match part {
            Part::Bus => &self.bus,
            Part::Agent(_) => &self.agent,
            _ => &self.services,
        }
    }
}

impl Image {
    /// Name and tag; without a tag it is `latest`.
    pub(super) fn name_and_tag(&self) -> (&str, &str) {
        match self.reference.rsplit_once(':') {
            // A colon before the last slash is that of a registry's port.
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (&self.reference, "latest"),
        }
    }
}

/// `./dev images --check` knows which binaries an image was made of.
fn check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = bin_dir().parent().expect("a profile's folder is in the target folder").to_owned();
    let mut check = Command::new(root.join("dev"));
    check.args(["images", "--check", "services", "agent"]).env("CARGO_TARGET_DIR", target);
    let output = check.output().unwrap_or_else(|e| panic!("{check:?}: {e}"));
    assert!(
        output.status.success(),
        "the container images are not those of this build: run ./dev images\n{}",
        describe(&output)
    );
}
