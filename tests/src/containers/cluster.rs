//! The cluster: its parts, what can be done to them, and who is asked how they are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use testcontainers::bollard::models::PortBinding;
use testcontainers::core::{AccessMode, IntoContainerPort as _, Mount};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, Healthcheck, ImageExt as _};
use tokio::task::JoinSet;

use super::docker::{Docker, STOP};
use super::images::Images;
use super::leftovers;
use super::material::Material;
use super::part::{ETC, GATEWAY_PORT, Part};
use crate::process::bin_dir;
use crate::site::{READY, Role, VCLUSTER, describe, http_get, pact_command};
use crate::wait::until;

/// Members of the journal.
const MEMBERS: u64 = 3;
/// Gateways: one can always be away.
const GATEWAYS: u64 = 2;
/// Numbers of things that tests make begin here: hardware addresses below belong to the agents.
const FIRST_INDEX: usize = 1000;
/// Longest life of one `pact`; its own limit for an answer is 30 s. 124 is the exit code then.
const COMMAND_SECONDS: &str = "90";
/// Lines of each log that are shown when a test fails.
const LAST_LINES: usize = 12;

/// What an agent keeps of root's privileges (docs/containers.md).
const AGENT_CAPABILITIES: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SYS_PTRACE"];

/// One cluster at a time in one process: `cargo test` runs tests in threads.
static ALONE: Mutex<()> = Mutex::new(());

/// A container that is there, running or not.
type Container = Arc<ContainerAsync<GenericImage>>;

/// A cluster; removed when dropped.
#[derive(Debug)]
pub struct Cluster {
    pub(super) docker: Docker,
    run: String,
    images: Images,
    material: Material,
    containers: Mutex<BTreeMap<Part, Container>>,
    /// Where a part's port is on this machine, or was last. Callers keep the addresses of gateways that are away.
    ports: Mutex<BTreeMap<(Part, u16), u16>>,
    next_index: AtomicUsize,
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts everything but agents.
    ///
    /// # Panics
    /// Without a Docker daemon, without the images of this build, or when a part does not become ready.
    #[must_use]
    pub fn start() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let docker = Docker::find();
        leftovers::sweep(&docker);
        let images = Images::find(&docker);
        let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("a random id");
        let run = id[..8].to_owned();
        let material = Material::bootstrap(&run, MEMBERS, GATEWAYS);
        let cluster = Self {
            docker,
            run,
            images,
            material,
            containers: Mutex::default(),
            ports: Mutex::default(),
            next_index: AtomicUsize::new(FIRST_INDEX),
            _alone: alone,
        };
        // From here on, a panic cleans up.
        cluster.docker.create_network(&cluster.material.network(), leftovers::labels(&cluster.run));
        let services = cluster.services();
        let parts: Vec<Part> = [Part::Bus].into_iter().chain(services.iter().copied()).collect();
        cluster.create(&parts);
        services.iter().for_each(|part| cluster.wait_ready(*part));
        cluster
    }

    /// A cluster with the nodes `n1`, `n2`, …, in [`VCLUSTER`] and active.
    #[must_use]
    pub fn with_nodes(count: u64) -> Self {
        let cluster = Self::start();
        cluster.apply(&format!("[vcluster.{VCLUSTER}.policy]\nregulated = false\n"));
        let nodes: Vec<Part> = (1..=count).map(Part::Agent).collect();
        for node in &nodes {
            let (name, mac) = (node.to_string(), node.mac());
            cluster.pact_ok(Role::Admin, &["node", "enroll", &name, "--mac", &mac]);
            cluster.pact_ok(Role::Admin, &["node", "assign", &name, "--vcluster", VCLUSTER]);
        }
        cluster.create(&nodes);
        nodes.iter().for_each(|node| cluster.wait_active(*node));
        cluster
    }

    /// All services, in the order in which they are rolled.
    #[must_use]
    pub fn services(&self) -> Vec<Part> {
        let journals = (1..=MEMBERS).map(Part::Journal);
        let gateways = (1..=GATEWAYS).map(Part::Gateway);
        journals.chain([Part::Enroll, Part::Approval, Part::Bridge]).chain(gateways).collect()
    }

    /// Name of this cluster in labels and names.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<Part, Container>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not kept locked: others ask meanwhile.
    pub(super) fn container(&self, part: Part) -> Container {
        let containers = self.containers();
        Arc::clone(containers.get(&part).unwrap_or_else(|| panic!("{part} was not started")))
    }

    /// A part's container, which is its host name.
    #[must_use]
    pub fn host(&self, part: Part) -> String {
        self.material.host(part)
    }

    /// Makes volumes and containers of parts that were not there, and starts them.
    fn create(&self, parts: &[Part]) {
        let volumes = |part: Part| part.keeps().into_iter().map(move |keep| (part, keep));
        let volumes = parts.iter().copied().flat_map(volumes);
        let volumes: Vec<String> = volumes.map(|(p, k)| self.material.volume(p, k)).collect();
        for volume in &volumes {
            self.docker.create_volume(volume, leftovers::labels(&self.run));
        }
        let mut owners: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
        for part in parts {
            owners.entry(&self.images.of(*part).owner).or_default().push(*part);
        }
        let archives = owners.iter().map(|(owner, parts)| self.material.archive(parts, owner));
        let name = format!("{}-filling", self.material.network());
        let image = &self.images.of(Part::Enroll).reference;
        let aside = (image.as_str(), name.as_str(), leftovers::labels(&self.run));
        self.docker.fill(aside, &volumes, archives.collect());
        self.launch(parts);
    }

    /// Starts new containers on volumes that are there, all at once.
    fn launch(&self, parts: &[Part]) {
        let started = async {
            let mut starting = JoinSet::new();
            for part in parts {
                let (part, request) = (*part, self.request(*part));
                starting.spawn(async move { (part, request.start().await) });
            }
            let mut started = Vec::new();
            while let Some(joined) = starting.join_next().await {
                let (part, container) = joined.map_err(|error| error.to_string())?;
                started.push((part, container.map_err(|error| format!("{part}: {error}"))?));
            }
            Ok::<_, String>(started)
        };
        for (part, container) in self.docker.ask("start containers", started) {
            self.containers().insert(part, Arc::new(container));
            self.find_ports(part);
        }
    }

    /// As `compose.yaml` starts it: nothing may be written but what is meant to, and nobody has privileges but who needs them.
    fn request(&self, part: Part) -> ContainerRequest<GenericImage> {
        let (name, tag) = self.images.of(part).name_and_tag();
        let mut image = GenericImage::new(name, tag);
        if part == Part::Bus {
            image = image.with_entrypoint(part.program());
        }
        let ports = part.published();
        for port in &ports {
            image = image.with_exposed_port(port.tcp());
        }
        let mut request = image
            .with_cmd(part.command())
            .with_container_name(self.host(part))
            .with_hostname(part.to_string())
            .with_network(self.material.network())
            .with_labels(leftovers::labels(&self.run))
            // Tests ask for themselves, and sooner.
            .with_health_check(Healthcheck::none())
            .with_readonly_rootfs(true)
            .with_mount(Mount::tmpfs_mount("/tmp"))
            .with_cap_drop("ALL")
            .with_security_opt("no-new-privileges:true");
        // What this process is to log, its cluster logs too.
        if let Ok(filter) = std::env::var("RUST_LOG") {
            request = request.with_env_var("RUST_LOG", filter);
        }
        for keep in part.keeps() {
            let mount = Mount::volume_mount(self.material.volume(part, keep), keep.path);
            let access = if keep == ETC { AccessMode::ReadOnly } else { AccessMode::ReadWrite };
            request = request.with_mount(mount.with_access_mode(access));
        }
        let is_agent = matches!(part, Part::Agent(_));
        if is_agent {
            request = request.with_mount(Mount::tmpfs_mount("/run"));
            request = AGENT_CAPABILITIES.iter().fold(request, |r, name| r.with_cap_add(*name));
        }
        request.with_host_config_modifier(move |host| {
            // A port of this machine that is free, on loopback only.
            let free = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: Some(String::new()),
            };
            let bind = |port: &u16| (format!("{port}/tcp"), Some(vec![free.clone()]));
            host.publish_all_ports = Some(false);
            host.port_bindings = Some(ports.iter().map(bind).collect());
            host.init = Some(is_agent);
        })
    }

    /// Docker publishes on other ports after each start.
    fn find_ports(&self, part: Part) {
        let found = self.docker.ask("look for ports", self.container(part).ports());
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        for port in part.published() {
            if let Some(here) = found.map_to_host_port_ipv4(port.tcp()) {
                ports.insert((part, port), here);
            }
        }
    }

    /// Where a part's port is on this machine, while its container runs.
    fn address(&self, part: Part, port: u16) -> Option<String> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.get(&(part, port)).map(|port| format!("127.0.0.1:{port}"))
    }

    /// kill -9.
    pub fn kill(&self, part: Part) {
        self.docker.kill(&self.host(part));
    }

    /// SIGTERM, and waits for the end; the exit code.
    pub fn stop(&self, part: Part) -> i64 {
        let seconds = Some(i32::try_from(STOP.as_secs()).expect("small"));
        let stopped = self.container(part);
        self.docker.ask(&format!("stop {part}"), stopped.stop_with_timeout(seconds));
        self.docker.state(stopped.id()).exit_code.expect("it has ended")
    }

    /// Starts a container that ended, with all that is in it.
    pub fn start_again(&self, part: Part) {
        self.docker.ask(&format!("start {part}"), self.container(part).start());
        self.find_ports(part);
    }

    /// SIGSTOP for everything in it.
    pub fn pause(&self, part: Part) {
        self.docker.ask(&format!("pause {part}"), self.container(part).pause());
    }

    /// SIGCONT.
    pub fn unpause(&self, part: Part) {
        self.docker.ask(&format!("go on with {part}"), self.container(part).unpause());
    }

    /// Takes a part off the network: nobody reaches it, it reaches nobody, and nobody is told.
    pub fn cut(&self, part: Part) {
        self.docker.disconnect(&self.material.network(), &self.host(part));
    }

    /// Puts it back.
    pub fn heal(&self, part: Part) {
        self.docker.connect(&self.material.network(), &self.host(part));
        self.find_ports(part);
    }

    /// Ends a part as an upgrade does, and starts a new container on what it keeps; the exit code of the old one.
    pub fn replace(&self, part: Part) -> i64 {
        let code = self.stop(part);
        self.remove(part);
        self.launch(&[part]);
        code
    }

    /// Removes a part with its volumes and makes it again, with the same keys and nothing else.
    pub fn wipe(&self, part: Part) {
        self.stop(part);
        self.remove(part);
        for keep in part.keeps() {
            self.docker.remove_volume(&self.material.volume(part, keep));
        }
        self.create(&[part]);
    }

    /// Makes certificates and credentials for a new member of the journal and starts it; its address. It waits to be added.
    pub fn start_member(&self, number: u64) -> String {
        self.material.add_member(number);
        self.create(&[Part::Journal(number)]);
        self.material.member_address(number)
    }

    fn remove(&self, part: Part) {
        let container = self.container(part);
        self.containers().remove(&part);
        let container = Arc::into_inner(container).expect("nobody else uses it");
        self.docker.ask(&format!("remove {part}"), container.rm());
    }

    /// The exit code of a part that has ended by itself.
    #[must_use]
    pub fn ended(&self, part: Part) -> Option<i64> {
        let state = self.docker.state(&self.host(part));
        if state.running == Some(true) { None } else { state.exit_code }
    }

    /// Everything that a part has logged.
    #[must_use]
    pub fn log(&self, part: Part) -> String {
        let container = self.container(part);
        let both = [
            self.docker.attempt(container.stdout_to_vec()),
            self.docker.attempt(container.stderr_to_vec()),
        ];
        let text = |log: Result<Vec<u8>, String>| match log {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("(no log: {error})\n"),
        };
        both.map(text).concat()
    }

    /// Waits until a service says that it is ready.
    pub fn wait_ready(&self, part: Part) {
        until(&format!("{part} is ready"), READY, || {
            let ended = self.ended(part);
            assert!(ended.is_none(), "{part} ended with {ended:?}:\n{}", self.log(part));
            let address = self.address(part, part.metrics_port()?)?;
            http_get(&address, "/readyz").filter(|(is_ok, _)| *is_ok)
        });
    }

    /// Waits until a node is active and its agent has said hello on the bus.
    pub fn wait_active(&self, node: Part) {
        until(&format!("{node} is active"), READY, || {
            let ended = self.ended(node);
            assert!(ended.is_none(), "{node} ended with {ended:?}:\n{}", self.log(node));
            let status = self.json(Role::Admin, &["status", &node.to_string()])?;
            let item = status["items"].as_array()?.first()?;
            (item["state"] == "active" && item["last_hello"].is_string()).then_some(())
        });
    }

    /// One of a member's own numbers, such as `head_seq`; `None` while it answers nobody.
    #[must_use]
    pub fn member_metric(&self, member: u64, name: &str) -> Option<u64> {
        let part = Part::Journal(member);
        let address = self.address(part, part.metrics_port()?)?;
        let (_, text) = http_get(&address, "/metrics")?;
        let name = format!("pact_journal_{name}");
        let line = text.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(' '))?;
        line.trim().split('.').next()?.parse().ok()
    }

    /// Who leads, as the journal itself says.
    #[must_use]
    pub fn leader(&self) -> u64 {
        let ask = || self.json(Role::Admin, &["cluster"])?["items"][0]["leader"].as_u64();
        until("the journal has a leader", READY, ask).0
    }

    /// Waits until every one of these members has applied what was committed by now.
    pub fn wait_equal(&self, members: &[u64]) {
        let ask = || self.json(Role::Admin, &["cluster"])?["items"][0]["head_seq"].as_u64();
        let (head, _) = until("the journal tells its head", READY, ask);
        for member in members {
            until(&format!("member {member} has entry {head}"), READY, || {
                self.member_metric(*member, "head_seq").filter(|own| *own >= head)
            });
        }
    }

    /// All gateways that are published, as `PACT_ENDPOINT` takes them.
    #[must_use]
    pub fn endpoints(&self) -> String {
        let address = |n| self.address(Part::Gateway(n), GATEWAY_PORT);
        let urls = (1..=GATEWAYS).filter_map(address).map(|address| format!("https://{address}"));
        urls.collect::<Vec<_>>().join(",")
    }

    /// `pact` as this role, not started yet.
    #[must_use]
    pub fn command(&self, role: Role, args: &[&str]) -> Command {
        let token = self.material.token(role);
        let mut command = pact_command(&self.endpoints(), &self.material.ca(), &token);
        command.args(args).env("HOME", self.material.path("."));
        command
    }

    /// Runs `pact` as this role.
    #[must_use]
    pub fn pact(&self, role: Role, args: &[&str]) -> Output {
        // Streams have no limit of their own.
        let pact = self.command(role, args);
        let mut bounded = Command::new("timeout");
        bounded.args(["--kill-after=5", COMMAND_SECONDS]).arg(pact.get_program());
        bounded.args(pact.get_args()).env_clear();
        bounded.envs(pact.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bounded.output().expect("timeout and pact start")
    }

    /// Runs `pact`, expecting success; its standard output.
    pub fn pact_ok(&self, role: Role, args: &[&str]) -> String {
        let output = self.pact(role, args);
        assert!(output.status.success(), "pact {args:?}: {}", describe(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs `pact --output json`; the envelope, or `None` on failure.
    #[must_use]
    pub fn json(&self, role: Role, args: &[&str]) -> Option<Value> {
        let args: Vec<&str> =
            ["--output", "json"].into_iter().chain(args.iter().copied()).collect();
        let output = self.pact(role, &args);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// The newest entries, oldest first.
    #[must_use]
    pub fn entries(&self, count: u32) -> Vec<Value> {
        let count = count.to_string();
        until("the log is read", READY, || {
            let log = self.json(Role::Admin, &["log", "-n", &count])?;
            log["items"].as_array().cloned()
        })
        .0
    }

    /// Applies a specification as a platform admin; what it printed.
    pub fn apply(&self, spec: &str) -> Output {
        let path = self.material.path(&format!("spec-{}.toml", self.next_index()));
        std::fs::write(&path, spec).expect("a file");
        self.pact(Role::Admin, &["apply", "--create", path.to_str().expect("a path in UTF-8")])
    }

    /// A number that nothing else of this cluster was made of.
    pub(super) fn next_index(&self) -> usize {
        self.next_index.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes all logs to a folder and shows their ends.
    fn save_logs(&self) {
        let target = bin_dir().parent().map_or_else(PathBuf::new, std::path::Path::to_owned);
        let folder = target.join("container-logs").join(&self.run);
        if let Err(error) = std::fs::create_dir_all(&folder) {
            return eprintln!("no logs: {}: {error}", folder.display());
        }
        let parts: Vec<Part> = self.containers().keys().copied().collect();
        for part in parts {
            let log = self.log(part);
            let file = folder.join(format!("{part}.log"));
            let _a_full_disk = std::fs::write(&file, &log);
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LAST_LINES)..];
            eprintln!("--- {part}, {}\n{}", file.display(), tail.join("\n"));
        }
        eprintln!("all logs of this cluster: {}", folder.display());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.save_logs();
        }
        leftovers::remove_run(&self.docker, &self.run);
        // Removed already: they have nothing left to do, and would ask for it one after another.
        std::mem::take(&mut *self.containers()).into_values().for_each(std::mem::forget);
    }
}
