//! Settings: flag > environment > `~/.config/pact/cli.toml` > `/etc/pact/cli.toml`
//! > the node's own file > default, each on its own (contracts §6).

pub(crate) mod schema;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use pact_runtime::config::{ConfigError, Loader};
use pact_schemas::VclusterId;
use pact_schemas::error_code::ErrorCode;
use serde::Deserialize;

use self::schema::{NODE_FILE, SCHEMA, SITE_FILE};
use crate::endpoint::Endpoint;
use crate::environment::{self, Variable};
use crate::failure::Failure;
use crate::output::Choice;

/// Where nothing else says where the gateway is: on this machine, as services have it, or as a trial has it.
const DEFAULT_ENDPOINTS: [&str; 2] = ["https://localhost:9443", "http://localhost:9443"];

/// Options that every command takes, before or after its name.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Gateway to talk to; several with commas (overrides PACT_ENDPOINT and the config file)
    #[arg(long, global = true, hide_short_help = true, value_name = "URL", value_delimiter = ',')]
    endpoint: Vec<String>,
    /// Bearer token, visible to other users of this machine; prefer PACT_TOKEN or a file
    #[arg(long, global = true, hide_short_help = true, value_name = "TOKEN")]
    token: Option<String>,
    /// vCluster scope (overrides PACT_VCLUSTER and the config file)
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    vcluster: Option<String>,
    /// Output format
    #[arg(short, long, global = true, hide_short_help = true, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<Choice>,
    /// Show times as RFC 3339 in UTC, on a terminal too
    #[arg(long, global = true, hide_short_help = true)]
    utc: bool,
    /// Lattice endpoint to pass to the bridge (overrides PACT_LATTICE_ENDPOINT)
    #[arg(long, global = true, hide_short_help = true, value_name = "URL")]
    lattice_endpoint: Option<String>,
    /// Certificate authority file (overrides PACT_TLS_CA and the config file)
    #[arg(long, global = true, hide_short_help = true, value_name = "PATH")]
    tls_ca: Option<PathBuf>,
}

impl GlobalArgs {
    /// Whether `--vcluster` was typed.
    pub(crate) fn names_vcluster(&self) -> bool {
        self.vcluster.is_some()
    }
}

/// Everything that was settled before a command runs.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Gateways, tried in this order; never empty.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Nobody said where the gateway is.
    pub(crate) guesses_endpoint: bool,
    /// From flag, environment or file.
    pub(crate) vcluster: Option<VclusterId>,
    /// From the flag alone.
    pub(crate) vcluster_flag: Option<VclusterId>,
    pub(crate) output: Choice,
    /// Times in UTC, on a terminal too.
    pub(crate) utc: bool,
    pub(crate) timeout: Duration,
    /// Given by `--token` or `PACT_TOKEN`.
    pub(crate) token: Option<String>,
    /// Named in a configuration file.
    pub(crate) token_path: Option<PathBuf>,
    pub(crate) tls_ca: PathBuf,
    pub(crate) lattice_endpoint: Option<String>,
    /// `PACT_NODE`, else the node that this machine is.
    pub(crate) node: Option<String>,
    /// `PACT_OPENCHAMI_SMD_URL`
    pub(crate) smd_url: Option<String>,
    pub(crate) home: Option<PathBuf>,
}

/// What `cli.toml` and its variables and flags say together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layered {
    endpoint: Option<Vec<String>>,
    default_vcluster: Option<String>,
    output_format: String,
    timeout_seconds: u64,
    token_path: Option<PathBuf>,
    tls_ca: PathBuf,
}

/// What the agent tells other programs of its machine.
#[derive(Debug, Default, Deserialize)]
struct NodeFile {
    node_id: Option<String>,
    #[serde(default)]
    endpoints: Vec<String>,
}

/// Files that settings come from; tests name others.
#[derive(Debug)]
struct Files {
    home: Option<PathBuf>,
    site: PathBuf,
    node: PathBuf,
}

impl Settings {
    /// Reads files and combines the layers.
    pub(crate) fn load(
        flags: GlobalArgs,
        environment: BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let home = environment::HOME.of(&environment).map(PathBuf::from);
        let files = Files { home, site: SITE_FILE.into(), node: NODE_FILE.into() };
        Self::from_files(flags, environment, files)
    }

    fn from_files(
        flags: GlobalArgs,
        environment: BTreeMap<String, String>,
        files: Files,
    ) -> Result<Self, Failure> {
        let value = |variable: Variable| variable.of(&environment).map(str::to_owned);
        let own = (value(environment::TOKEN), value(environment::NODE));
        let (lattice, smd_url) =
            (value(environment::LATTICE_ENDPOINT), value(environment::SMD_URL));
        let layered = layers(&flags, environment, &files)?;
        let node_file = NodeFile::read(&files.node);
        let named = layered.endpoint.filter(|list| !list.is_empty());
        let named = named.or_else(|| node_file.endpoints());
        let guesses_endpoint = named.is_none();
        let endpoints = named.unwrap_or_else(|| DEFAULT_ENDPOINTS.map(str::to_owned).to_vec());
        Ok(Self {
            guesses_endpoint,
            endpoints: endpoints.iter().map(|e| Endpoint::parse(e)).collect::<Result<_, _>>()?,
            vcluster: layered.default_vcluster.as_deref().map(vcluster).transpose()?,
            vcluster_flag: flags.vcluster.as_deref().map(vcluster).transpose()?,
            output: Choice::parse(&layered.output_format).unwrap_or_default(),
            utc: flags.utc,
            timeout: Duration::from_secs(layered.timeout_seconds),
            token: flags.token.filter(|t| !t.is_empty()).or(own.0),
            token_path: layered.token_path.map(|p| expand_home(&p, files.home.as_deref())),
            tls_ca: expand_home(&layered.tls_ca, files.home.as_deref()),
            lattice_endpoint: flags.lattice_endpoint.or(lattice),
            node: own.1.or(node_file.node_id),
            smd_url,
            home: files.home,
        })
    }
}

fn layers(
    flags: &GlobalArgs,
    environment: BTreeMap<String, String>,
    files: &Files,
) -> Result<Layered, Failure> {
    let mut loader = Loader::new(&SCHEMA).file(&files.site, false);
    if let Some(home) = &files.home {
        loader = loader.file(home.join(".config/pact/cli.toml"), false);
    }
    loader = loader.env(environment);
    if !flags.endpoint.is_empty() {
        loader = loader.named_flag("--endpoint", "endpoint", flags.endpoint.join(","));
    }
    if let Some(name) = &flags.vcluster {
        loader = loader.named_flag("--vcluster", "default_vcluster", name);
    }
    if let Some(format) = flags.output {
        loader = loader.named_flag("--output", "output_format", format.name());
    }
    if let Some(path) = &flags.tls_ca {
        loader = loader.named_flag("--tls-ca", "tls_ca", path.to_string_lossy());
    }
    loader.load().and_then(|loaded| loaded.parse()).map_err(|error| refused(&error))
}

fn refused(error: &ConfigError) -> Failure {
    let lines: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
    Failure::new(ErrorCode::InvalidConfig, lines.join("; "))
        .next("correct the file, variable or option named")
}

fn vcluster(name: &str) -> Result<VclusterId, Failure> {
    VclusterId::new(name).map_err(|error| Failure::argument(error.to_string()))
}

/// `~/x` under the home folder; everything else as it is.
fn expand_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_path_buf(),
    }
}

impl NodeFile {
    /// Absent on machines that are no node. One that does not parse is treated alike: nothing
    /// security relevant is in it, and commands that need a node then say so.
    fn read(path: &Path) -> Self {
        std::fs::read_to_string(path)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// The agent's endpoints, which may lack a scheme: agents speak TLS only.
    fn endpoints(&self) -> Option<Vec<String>> {
        let with_scheme = |e: &String| {
            if e.contains("://") { e.clone() } else { format!("https://{e}") }
        };
        (!self.endpoints.is_empty()).then(|| self.endpoints.iter().map(with_scheme).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine {
        folder: tempfile::TempDir,
        environment: BTreeMap<String, String>,
        flags: GlobalArgs,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(folder.path().join("home/.config/pact")).unwrap();
            Self { folder, environment: BTreeMap::new(), flags: GlobalArgs::default() }
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }

        fn load(self) -> Result<Settings, Failure> {
            let path = |name: &str| self.folder.path().join(name);
            let files = Files {
                home: Some(path("home")),
                site: path("site.toml"),
                node: path("node.json"),
            };
            Settings::from_files(self.flags, self.environment, files)
        }
    }

    fn first_endpoint(settings: &Settings) -> String {
        settings.endpoints[0].to_string()
    }

    #[test]
    fn each_layer_wins_over_the_ones_below_setting_by_setting() {
        let node = "{\"node_id\":\"node-042\",\"endpoints\":[\"j-node:9443\"]}";
        let site =
            "endpoint = \"https://j-site:9443\"\ndefault_vcluster = \"site\"\ntimeout_seconds = 7";
        let home = "endpoint = [\"https://j-home:9443\", \"https://k-home:9443\"]\noutput_format = \"json\"";

        let machine = Machine::new();
        let settings = machine.load().unwrap();
        let guessed: Vec<String> = settings.endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(guessed, DEFAULT_ENDPOINTS);
        assert!(settings.guesses_endpoint);

        let machine = Machine::new();
        machine.write("node.json", node);
        let settings = machine.load().unwrap();
        assert_eq!(first_endpoint(&settings), "https://j-node:9443");
        assert_eq!(settings.node.as_deref(), Some("node-042"));
        assert!(!settings.guesses_endpoint);

        let machine = Machine::new();
        machine.write("node.json", node);
        machine.write("site.toml", site);
        assert_eq!(first_endpoint(&machine.load().unwrap()), "https://j-site:9443");

        let machine = Machine::new();
        machine.write("site.toml", site);
        machine.write("home/.config/pact/cli.toml", home);
        let settings = machine.load().unwrap();
        assert_eq!(settings.endpoints.len(), 2);
        assert_eq!(settings.output, Choice::Json);
        assert_eq!(settings.timeout, Duration::from_secs(7));
        assert_eq!(settings.vcluster.unwrap().as_str(), "site");
        assert_eq!(settings.vcluster_flag, None);

        let mut machine = Machine::new();
        machine.write("home/.config/pact/cli.toml", home);
        machine.environment.insert("PACT_ENDPOINT".into(), "https://j-env:9443".into());
        machine.environment.insert("PACT_OUTPUT".into(), "text".into());
        let settings = machine.load().unwrap();
        assert_eq!(first_endpoint(&settings), "https://j-env:9443");
        assert_eq!(settings.output, Choice::Text);

        let mut machine = Machine::new();
        machine.environment.insert("PACT_ENDPOINT".into(), "https://j-env:9443".into());
        machine.environment.insert("PACT_TOKEN".into(), "from-env".into());
        machine.flags.endpoint = vec!["https://j-flag:9443".into()];
        machine.flags.vcluster = Some("flag".into());
        let settings = machine.load().unwrap();
        assert_eq!(first_endpoint(&settings), "https://j-flag:9443");
        assert_eq!(settings.vcluster_flag.unwrap().as_str(), "flag");
        assert_eq!(settings.token.as_deref(), Some("from-env"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_file_line_and_the_nearest_known_one() {
        let machine = Machine::new();
        machine.write("home/.config/pact/cli.toml", "timeout_seconds = 5\nendpont = \"x\"\n");
        let Failure::Reported(error) = machine.load().unwrap_err() else { panic!("not reported") };
        assert_eq!(error.code, "PACT_INVALID_CONFIG");
        for part in ["cli.toml:2", "endpont", "`endpoint`"] {
            assert!(error.message.contains(part), "{part} in {}", error.message);
        }
    }

    #[test]
    fn a_tilde_is_the_home_folder_and_bad_values_are_refused() {
        let machine = Machine::new();
        let home = machine.folder.path().join("home");
        machine.write("site.toml", "token_path = \"~/t\"\ntls_ca = \"/x/ca\"");
        let settings = machine.load().unwrap();
        assert_eq!(settings.token_path.unwrap(), home.join("t"));
        assert_eq!(settings.tls_ca, Path::new("/x/ca"));
        for bad in ["timeout_seconds = 0", "output_format = \"xml\"", "default_vcluster = \"A B\""]
        {
            let machine = Machine::new();
            machine.write("site.toml", bad);
            assert!(machine.load().is_err(), "{bad}");
        }
    }

    /// The example without its head, which speaks of options that services have.
    fn example() -> String {
        let generated = pact_runtime::config::example_file(&SCHEMA);
        let keys = generated.split_once("\n\n").map(|(_, keys)| keys).unwrap();
        format!(
            "# ~/.config/pact/cli.toml, and /etc/pact/cli.toml for everybody on the machine. An option wins over the\n\
             # environment, the environment over the first file, the first file over the second. Unknown keys are errors.\n\n{keys}"
        )
    }

    #[test]
    fn the_example_file_is_the_key_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/cli.toml");
        if pact_runtime::environment().any(|(name, _)| name == "PACT_REGENERATE") {
            std::fs::write(path, example()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert_eq!(committed, example(), "config/cli.toml is stale: run with PACT_REGENERATE=1");
        let machine = Machine::new();
        machine.write("site.toml", &committed);
        machine.load().unwrap();
    }
}
