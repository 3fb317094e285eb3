//! `pact diag`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

const EXAMPLES: &str = "\
Examples:
  pact diag node-042                               All sources, last 200 lines
  pact diag node-042 --lines 500                   Last 500 lines of each source
  pact diag node-042 --source dmesg                Only kernel messages
  pact diag node-042 --service nvidia-persistenced Logs of one service
  pact diag node-042 --grep \"ECC\"                  Only lines that match
  pact diag --vcluster ml-training --grep \"ECC\"    All nodes of a vCluster";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Target nodes (required unless --vcluster is given)
    #[arg(value_name = "NODE")]
    node: Option<String>,
    /// Number of lines of each source
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    lines: u32,
    /// Log source (default: all)
    #[arg(long, value_name = "SOURCE", value_parser = ["dmesg", "syslog", "service"])]
    source: Option<String>,
    /// Only this service's logs (implies --source service)
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only lines that match, filtered on the node
    #[arg(long, value_name = "PATTERN")]
    grep: Option<String>,
    #[command(flatten)]
    exclude: ExcludeArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let source = match (&self.service, self.source.as_deref()) {
            (Some(_), Some("dmesg" | "syslog")) => {
                return Err(Failure::argument("--service implies --source service"));
            }
            (Some(_), _) => Some("service"),
            (None, source) => source,
        };
        // Fleet mode reacts to the flag alone: no default turns a forgotten argument into a fleet.
        let targets = match (&self.node, session.vcluster_flag()) {
            (Some(node), _) => Targets::new(node, &self.exclude)?,
            (None, Some(vcluster)) => Targets::new(&format!("@vc:{vcluster}"), &self.exclude)?,
            (None, None) => {
                return Err(Failure::argument("a node is required")
                    .next("name nodes, or use --vcluster for all nodes of a vCluster"));
            }
        };
        Invocation::new("diag")
            .on(targets)
            .vcluster(session.vcluster_flag())
            .argument("lines", self.lines)
            .maybe("source", source)
            .maybe("service", self.service)
            .maybe("grep", self.grep)
            .send(session)
            .await
    }
}
