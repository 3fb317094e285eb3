//! What a site is made of, on this machine: keys, certificates, configuration; and which part gets what.
//!
//! A part gets its own keys and nobody else's, with the owner that its process is and the modes that bootstrap gave.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::docker::FILLING;
use super::part::{AGENT, BUS, BUS_PORT, ETC, GATEWAY_PORT, Keep, PEER_PORT, Part, ROOT};
use crate::process::binary;
use crate::site::{Role, describe, mint_tokens, run_ok};
use crate::template::render;

/// Name of the site.
const SITE_NAME: &str = "test";

/// A bootstrapped site whose parts will be containers.
#[derive(Debug)]
pub(super) struct Material {
    dir: TempDir,
    run: String,
    members: u64,
    gateways: u64,
}

impl Material {
    /// Bootstraps a site for containers with names of this run.
    pub(super) fn bootstrap(run: &str, members: u64, gateways: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let material = Self { dir, run: run.to_owned(), members, gateways };
        run_ok(&mut material.bootstrapping());
        mint_tokens(&material.path("issuer"), material.dir.path());
        material
    }

    /// Makes what a new member of the journal needs. `journal.raft.members` of the others stays as it was.
    pub(super) fn add_member(&self, number: u64) {
        run_ok(self.bootstrapping().args(["--add-member", &self.member(number)]));
    }

    fn bootstrapping(&self) -> Command {
        let mut command = Command::new(binary("pact-enroll"));
        command.args(["bootstrap", "--site", SITE_NAME, "--dir"]).arg(self.site());
        for member in self.members() {
            command.args(["--member", &member]);
        }
        for number in 1..=self.gateways {
            let host = self.host(Part::Gateway(number));
            // Nodes use the name, this machine the port that is published.
            command.args(["--gateway", &format!("gateway-{number}:{host},localhost,127.0.0.1")]);
        }
        command.args(["--bus-host", &self.host(Part::Bus)]);
        command.args(["--bus-listen", &format!("0.0.0.0:{BUS_PORT}")]);
        command
    }

    /// Where the other members reach this one.
    pub(super) fn member_address(&self, number: u64) -> String {
        format!("{}:{PEER_PORT}", self.host(Part::Journal(number)))
    }

    /// Name of a part's container, which is its host name in the cluster's network.
    pub(super) fn host(&self, part: Part) -> String {
        format!("pact-test-{}-{part}", self.run)
    }

    /// Name of the network.
    pub(super) fn network(&self) -> String {
        format!("pact-test-{}", self.run)
    }

    /// Name of a volume.
    pub(super) fn volume(&self, part: Part, keep: Keep) -> String {
        format!("{}-{}", self.host(part), keep.name)
    }

    /// A path beside the site.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn site(&self) -> PathBuf {
        self.path("site")
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.site().join("ca.crt")
    }

    pub(super) fn token(&self, role: Role) -> PathBuf {
        self.path(&format!("{}.token", role.name()))
    }

    fn member(&self, number: u64) -> String {
        format!("{number}:{}", self.member_address(number))
    }

    /// The members with which the site was made, as bootstrap and `journal.raft.members` have them.
    fn members(&self) -> Vec<String> {
        (1..=self.members).map(|number| self.member(number)).collect()
    }

    /// What stands in the configuration of a part: a new member finds the journal at the first ones.
    fn members_of(&self, part: Part) -> Vec<String> {
        let mut members = self.members();
        if let Part::Journal(number) = part
            && number > self.members
        {
            members.push(self.member(number));
        }
        members
    }

    /// A tar of what belongs into the volumes of these parts, all with one owner, as it lies in [`FILLING`].
    pub(super) fn archive(&self, parts: &[Part], owner: &str) -> Vec<u8> {
        let stage = tempfile::tempdir().expect("a temporary folder");
        let root = stage.path().join(FILLING.trim_start_matches('/'));
        for part in parts {
            for keep in part.keeps() {
                let folder = root.join(self.volume(*part, keep));
                make_folder(&folder, keep.mode);
                if keep == ETC {
                    self.lay_out(*part, &folder);
                }
                if keep == BUS {
                    ["resolver", "jetstream"]
                        .iter()
                        .for_each(|f| make_folder(&folder.join(f), 0o700));
                }
            }
        }
        let (uid, gid) = owner.split_once(':').expect("uid:gid");
        let mut tar = Command::new("tar");
        tar.args(["--create", "--file=-", "--format=gnu", "--numeric-owner"]);
        tar.args([format!("--owner={uid}"), format!("--group={gid}")]);
        tar.arg("--directory").arg(stage.path()).arg(FILLING.trim_start_matches('/'));
        let output = tar.output().unwrap_or_else(|e| panic!("{tar:?}: {e}"));
        assert!(output.status.success(), "{tar:?}: {}", describe(&output));
        output.stdout
    }

    /// A part's configuration, keys and certificates.
    fn lay_out(&self, part: Part, folder: &Path) {
        for file in self.files(part) {
            let (from, to) = (self.site().join(&file), folder.join(&file));
            make_folder(to.parent().expect("it is in a folder"), 0o755);
            // With its mode: what is private stays so.
            std::fs::copy(&from, &to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        }
        if let Part::Gateway(_) = part {
            let jwks = folder.join("jwks.json");
            std::fs::copy(self.path("issuer").join("jwks.json"), jwks).expect("the issuer's keys");
        }
        std::fs::write(folder.join(part.config()), self.config(part)).expect("a file");
    }

    /// Files of the site that a part needs.
    fn files(&self, part: Part) -> Vec<String> {
        let pair = |stem: String| [format!("{stem}.crt"), format!("{stem}.key")];
        let mut files = vec!["ca.crt".to_owned()];
        match part {
            Part::Bus => files.extend(pair("tls/bus".to_owned())),
            Part::Journal(m) => {
                files.push(format!("creds/journal-{m}.creds"));
                files.extend(pair(format!("tls/journal-{m}")));
                files.extend(pair(format!("signing/grant-{m}")));
            }
            Part::Gateway(_) => {
                files.push(format!("creds/{part}.creds"));
                files.extend(pair(format!("tls/{part}")));
                files.extend(pair(format!("signing/{part}")));
            }
            Part::Enroll => {
                files.extend(pair("signing/enroll-1".to_owned()));
                let more = [
                    "root.key",
                    "creds/enroll-1.creds",
                    "creds/enroll-sys.creds",
                    "bus/pact.jwt",
                    "bus/pact-agents.nk",
                    "bus/operator-signing.nk",
                ];
                files.extend(more.map(str::to_owned));
            }
            Part::Approval | Part::Bridge => {
                files.push(format!("creds/{part}-1.creds"));
            }
            Part::Agent(_) => {}
        }
        files
    }

    /// A part's configuration file.
    fn config(&self, part: Part) -> String {
        match part {
            Part::Bus => self.bus_config(),
            _ => self.service_config(part),
        }
    }

    /// As bootstrap wrote it, with the paths of the container.
    fn bus_config(&self) -> String {
        let site = self.site();
        let text = std::fs::read_to_string(site.join("bus/nats-server.conf")).expect("its file");
        let site = site.to_str().expect("a path in UTF-8");
        let text = text
            .replace(&format!("{site}/bus/"), &format!("{}/", BUS.path))
            .replace(site, ETC.path);
        assert!(!text.contains("/tmp"), "a path of this machine is left: {text}");
        text
    }

    /// The templates of `config/dev` have one host for everything; here all listen everywhere and call each other by name.
    fn service_config(&self, part: Part) -> String {
        let quoted = |names: Vec<String>| format!("[\"{}\"]", names.join("\", \""));
        let gateways = (1..=self.gateways).map(|n| self.host(Part::Gateway(n)));
        let gateways: Vec<String> = gateways.map(|host| format!("{host}:{GATEWAY_PORT}")).collect();
        let is_agent = matches!(part, Part::Agent(_));
        let listen = format!("0.0.0.0:{GATEWAY_PORT}");
        let number = match part {
            Part::Journal(number) => number,
            _ => 0,
        };
        let text = render(
            &format!("{}.toml.in", part.program()),
            &[
                // Before the host alone: what is called, not what is listened on.
                ("HOST@:@BUS_PORT", &format!("{}:{BUS_PORT}", self.host(Part::Bus))),
                (
                    "HOST@:@GATEWAY_PORT",
                    if is_agent { gateways.join("\", \"") } else { listen }.as_str(),
                ),
                ("HOST", "0.0.0.0"),
                ("SITE_NAME", SITE_NAME),
                ("SITE", ETC.path),
                ("ISSUER", ETC.path),
                ("PEER_PORT", &PEER_PORT.to_string()),
                ("METRICS_PORT", &part.metrics_port().unwrap_or_default().to_string()),
                ("MEMBER", &number.to_string()),
                ("MEMBERS", &quoted(self.members_of(part))),
                ("DATA_DIR", part.keeps().last().map_or("", |keep| keep.path)),
                ("NODE", &part.to_string()),
                ("STATE", AGENT.path),
                ("WHITELIST_MODE", "strict"),
                ("ROOTS", ROOT.path),
                ("MAC", &if is_agent { part.mac() } else { String::new() }),
            ],
        );
        // The template is that of the only gateway of its site.
        if let Part::Gateway(_) = part {
            text.replace("gateway-1", &part.to_string())
        } else {
            text
        }
    }
}

fn make_folder(path: &Path, mode: u32) {
    std::fs::create_dir_all(path).expect("a folder");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode");
}
