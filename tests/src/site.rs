//! A throw-away site on a loopback address of its own.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, binary};
use crate::template::render;
use crate::wait::until;

/// Bound of every wait for a part to become ready; far above what a loaded machine needs.
pub const READY: Duration = Duration::from_secs(60);
/// Name of the throw-away site.
const SITE_NAME: &str = "test";
/// The vCluster that the nodes are assigned to.
pub const VCLUSTER: &str = "ml";

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `pact-platform-admin`
    Admin,
    /// `pact-ops-ml`
    Ops,
    /// `pact-viewer-ml`
    Viewer,
    /// A token without any role.
    Nobody,
}

impl Role {
    const ALL: [Self; 4] = [Self::Admin, Self::Ops, Self::Viewer, Self::Nobody];

    /// Name of the principal, and of the file with its token.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Ops => "ops",
            Self::Viewer => "viewer",
            Self::Nobody => "nobody",
        }
    }

    fn role(self) -> Option<&'static str> {
        match self {
            Self::Admin => Some("pact-platform-admin"),
            Self::Ops => Some("pact-ops-ml"),
            Self::Viewer => Some("pact-viewer-ml"),
            Self::Nobody => None,
        }
    }
}

/// Everything that runs, and where.
#[derive(Debug)]
pub struct Site {
    parts: BTreeMap<String, Process>,
    members: u64,
    host: Ipv4Addr,
    base: u16,
    dir: TempDir,
}

/// Sites of one process share its address and differ in ports.
static SITES: AtomicU16 = AtomicU16::new(0);

/// A loopback address that no other running process derives: from the process id.
fn own_address() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 63), middle, low.clamp(1, 254))
}

impl Site {
    /// Bootstraps a site and starts the bus, `members` journals and all services.
    ///
    /// # Panics
    /// When a part does not become ready.
    #[must_use]
    pub fn start(members: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        // Users of the nodes can go through it: what they cannot reach, pact shows to nobody.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let base = 20_000 + 50 * SITES.fetch_add(1, Ordering::Relaxed);
        let mut site = Self { parts: BTreeMap::new(), members, host: own_address(), base, dir };
        site.bootstrap();
        site.start_bus();
        for member in 1..=members {
            site.start_part(&format!("journal-{member}"));
        }
        for part in ["enroll", "approval", "bridge", "gateway"] {
            site.start_part(part);
        }
        for part in site.all_services() {
            site.wait_ready(&part);
        }
        site
    }

    /// A site with one journal and these nodes, enrolled, assigned to [`VCLUSTER`] and active.
    #[must_use]
    pub fn with_nodes(members: u64, nodes: &[&str]) -> Self {
        let mut site = Self::start(members);
        let spec = site.path("spec.toml");
        std::fs::write(&spec, format!("[vcluster.{VCLUSTER}.policy]\nregulated = false\n"))
            .unwrap();
        site.pact_ok(Role::Admin, &["apply", "--create", spec.to_str().unwrap()]);
        for (i, node) in nodes.iter().enumerate() {
            let mac = mac_of(i);
            site.pact_ok(Role::Admin, &["node", "enroll", node, "--mac", &mac]);
            site.pact_ok(Role::Admin, &["node", "assign", node, "--vcluster", VCLUSTER]);
            site.start_agent(node, &mac, "strict");
        }
        for node in nodes {
            site.wait_active(node);
        }
        site
    }

    /// A path in the site's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folder that bootstrap made.
    #[must_use]
    pub fn site_dir(&self) -> PathBuf {
        self.path("site")
    }

    /// The part's process.
    ///
    /// # Panics
    /// When it was never started.
    pub fn part(&mut self, name: &str) -> &mut Process {
        self.parts.get_mut(name).unwrap_or_else(|| panic!("{name} was not started"))
    }

    /// Everything that a part has logged.
    #[must_use]
    pub fn log(&self, part: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{part}.log"))).unwrap_or_default()
    }

    /// URL of the bus.
    #[must_use]
    pub fn bus_url(&self) -> String {
        format!("tls://{}:{}", self.host, self.base)
    }

    /// URL of the gateway.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://{}:{}", self.host, self.base + 1)
    }

    fn metrics_port(&self, part: &str) -> u16 {
        let offset = match part {
            "gateway" => 0,
            "enroll" => 1,
            "approval" => 2,
            "bridge" => 3,
            journal => 3 + journal.rsplit('-').next().unwrap().parse::<u16>().unwrap(),
        };
        self.base + 20 + offset
    }

    fn peer_port(&self, member: u64) -> u16 {
        self.base + 1 + u16::try_from(member).unwrap()
    }

    fn all_services(&self) -> Vec<String> {
        let journals = (1..=self.members).map(|m| format!("journal-{m}"));
        journals.chain(["enroll", "approval", "bridge", "gateway"].map(str::to_owned)).collect()
    }

    fn bootstrap(&self) {
        let mut command = Command::new(binary("pact-enroll"));
        command.args(["bootstrap", "--site", SITE_NAME, "--dir"]).arg(self.site_dir());
        for member in 1..=self.members {
            command.arg("--member").arg(format!(
                "{member}:{}:{}",
                self.host,
                self.peer_port(member)
            ));
        }
        command.arg("--gateway").arg(format!("gateway-1:{}", self.host));
        command.arg("--bus-host").arg(self.host.to_string());
        command.arg("--bus-listen").arg(format!("{}:{}", self.host, self.base));
        run_ok(&mut command);
        mint_tokens(&self.path("issuer"), self.dir.path());
    }

    /// The file with this role's token.
    #[must_use]
    pub fn token_file(&self, role: Role) -> PathBuf {
        self.path(&format!("{}.token", role.name()))
    }

    /// Starts nats-server, or starts it again after a kill.
    pub fn start_bus(&mut self) {
        let mut command = Command::new(pact_runtime::nats_server());
        command.arg("-c").arg(self.site_dir().join("bus/nats-server.conf"));
        self.keep("nats-server", &mut command);
        let address = format!("{}:{}", self.host, self.base);
        until("nats-server accepts connections", READY, || TcpStream::connect(&address).ok());
    }

    /// Starts a service, or starts it again after a kill.
    pub fn start_part(&mut self, part: &str) {
        let (program, config) = self.configure(part);
        let mut command = Command::new(binary(&format!("pact-{program}")));
        command.arg("--config").arg(config);
        self.keep(part, &mut command);
    }

    /// Starts the gateway again, with more configuration.
    pub fn restart_gateway_with(&mut self, more: &str) {
        let (_, config) = self.configure("gateway");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}\n{more}")).unwrap();
        let mut command = Command::new(binary("pact-gateway"));
        command.arg("--config").arg(config);
        self.keep("gateway", &mut command);
        self.wait_ready("gateway");
    }

    fn keep(&mut self, part: &str, command: &mut Command) {
        let log = self.path(&format!("{part}.log"));
        let process = Process::start(command, &log);
        self.parts.insert(part.to_owned(), process);
    }

    /// Writes the part's configuration; the program and the file.
    fn configure(&self, part: &str) -> (String, PathBuf) {
        let program = part.split('-').next().unwrap().to_owned();
        let member = part.strip_prefix("journal-").unwrap_or("0");
        let members: Vec<String> = (1..=self.members)
            .map(|m| format!("\"{m}:{}:{}\"", self.host, self.peer_port(m)))
            .collect();
        let ids: Vec<String> = (1..=self.members).map(|m| m.to_string()).collect();
        let text = render(
            &format!("{program}.toml.in"),
            &[
                ("SITE_NAME", SITE_NAME),
                ("SITE", self.site_dir().to_str().unwrap()),
                ("ISSUER", self.path("issuer").to_str().unwrap()),
                ("HOST", &self.host.to_string()),
                ("BUS_PORT", &self.base.to_string()),
                ("GATEWAY_PORT", &(self.base + 1).to_string()),
                ("PEER_PORT", &self.peer_port(member.parse().unwrap()).to_string()),
                ("METRICS_PORT", &self.metrics_port(part).to_string()),
                ("MEMBER", member),
                ("MEMBERS", &format!("[{}]", members.join(", "))),
                ("MEMBER_IDS", &format!("[{}]", ids.join(", "))),
                ("DATA_DIR", self.path(part).to_str().unwrap()),
            ],
        );
        let config = self.path(&format!("{part}.toml"));
        std::fs::write(&config, text).unwrap();
        (program, config)
    }

    /// The folder that a node's agent watches.
    #[must_use]
    pub fn node_root(&self, node: &str) -> PathBuf {
        self.path("roots").join(node)
    }

    /// Starts a node's agent, or starts it again after a kill.
    pub fn start_agent(&mut self, node: &str, mac: &str, whitelist_mode: &str) {
        let state = self.path("nodes");
        std::fs::create_dir_all(state.join(node)).unwrap();
        let roots = self.node_root(node);
        std::fs::create_dir_all(&roots).unwrap();
        let text = render(
            "agent.toml.in",
            &[
                ("NODE", node),
                ("STATE", state.to_str().unwrap()),
                ("SITE", self.site_dir().to_str().unwrap()),
                ("HOST", &self.host.to_string()),
                ("GATEWAY_PORT", &(self.base + 1).to_string()),
                ("WHITELIST_MODE", whitelist_mode),
                ("ROOTS", roots.to_str().unwrap()),
                ("MAC", mac),
            ],
        );
        let config = self.path(&format!("{node}.toml"));
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(binary("pact-agent"));
        command.arg("--config").arg(config);
        self.keep(node, &mut command);
    }

    /// Starts a killed agent again with the configuration that it had.
    pub fn restart_agent(&mut self, node: &str) {
        let mut command = Command::new(binary("pact-agent"));
        command.arg("--config").arg(self.path(&format!("{node}.toml")));
        self.keep(node, &mut command);
    }

    /// Waits until a service says that it is ready.
    pub fn wait_ready(&mut self, part: &str) {
        let address = format!("{}:{}", self.host, self.metrics_port(part));
        until(&format!("{part} is ready"), READY, || {
            assert!(self.part(part).is_running(), "{part} ended:\n{}", self.log(part));
            is_ready(&address).then_some(())
        });
    }

    /// Waits until the node is active and its agent has said hello on the bus.
    pub fn wait_active(&mut self, node: &str) {
        until(&format!("{node} is active"), READY, || {
            assert!(self.part(node).is_running(), "{node} ended:\n{}", self.log(node));
            let status = self.json(Role::Admin, &["status", node])?;
            let item = status["items"].as_array()?.first()?;
            (item["state"] == "active" && item["last_hello"].is_string()).then_some(())
        });
    }

    /// `pact` as this role, not started yet.
    #[must_use]
    pub fn command(&self, role: Role, args: &[&str]) -> Command {
        let ca = self.site_dir().join("ca.crt");
        let mut command = pact_command(&self.endpoint(), &ca, &self.token_file(role));
        command.args(args).env("HOME", self.dir.path());
        command
    }

    /// Runs `pact` as this role.
    #[must_use]
    pub fn pact(&self, role: Role, args: &[&str]) -> Output {
        self.command(role, args).output().expect("pact starts")
    }

    /// Runs `pact`, expecting success; its standard output.
    pub fn pact_ok(&self, role: Role, args: &[&str]) -> String {
        let output = self.pact(role, args);
        assert!(output.status.success(), "pact {args:?}: {}", describe(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `pact --output json`; the envelope, or `None` on failure.
    #[must_use]
    pub fn json(&self, role: Role, args: &[&str]) -> Option<serde_json::Value> {
        let args: Vec<&str> =
            ["--output", "json"].into_iter().chain(args.iter().copied()).collect();
        let output = self.pact(role, &args);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The newest entries, oldest first.
    #[must_use]
    pub fn entries(&self, count: u32) -> Vec<serde_json::Value> {
        let log = self.json(Role::Admin, &["log", "-n", &count.to_string()]).expect("pact log");
        log["items"].as_array().unwrap().clone()
    }
}

/// The hardware address of the test node with this index.
#[must_use]
pub fn mac_of(index: usize) -> String {
    format!("02:00:00:00:{:02x}:{:02x}", index >> 8, index & 255)
}

/// Status and both outputs, for messages.
#[must_use]
pub fn describe(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\nstdout: {}\nstderr: {}", output.status, text(&output.stdout), text(&output.stderr))
}

/// A token for each role, `<name>.token` in `out`, signed by a development issuer that is made in `issuer`.
pub(crate) fn mint_tokens(issuer: &Path, out: &Path) {
    run_ok(Command::new(binary("pact-dev-issuer")).args(["init", "--dir"]).arg(issuer));
    for role in Role::ALL {
        let mut mint = Command::new(binary("pact-dev-issuer"));
        mint.args(["mint", "--issuer", "pact-development", "--audience", "pact"]);
        mint.args(["--subject", role.name(), "--dir"]).arg(issuer);
        mint.arg("--out").arg(out.join(format!("{}.token", role.name())));
        if let Some(name) = role.role() {
            mint.args(["--role", name]);
        }
        run_ok(&mut mint);
    }
}

/// `pact` with nothing of this machine's own configuration but the path.
pub(crate) fn pact_command(endpoints: &str, ca: &Path, token: &Path) -> Command {
    let mut command = Command::new(binary("pact"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PACT_ENDPOINT", endpoints)
        .env("PACT_TLS_CA", ca)
        .env("PACT_TOKEN", std::fs::read_to_string(token).unwrap());
    command
}

/// Runs a program, expecting success.
pub(crate) fn run_ok(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", describe(&output));
}

fn is_ready(address: &str) -> bool {
    http_get(address, "/readyz").is_some_and(|(is_ok, _)| is_ok)
}

/// Whether an HTTP GET is answered with 200, and with what; `None` when nobody answers.
pub(crate) fn http_get(address: &str, path: &str) -> Option<(bool, String)> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_ok = head.lines().next().is_some_and(|line| line.contains(" 200 "));
    Some((is_ok, body.to_owned()))
}

/// Whether a file of this folder, or of one below it, holds these bytes.
#[must_use]
pub fn tree_holds(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                tree_holds(&path, needle)
            } else {
                std::fs::read(&path)
                    .is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
            }
        })
    })
}
