//! `pact blacklist`: of one vCluster with `--vcluster`, else of one node.

use pact_schemas::v1;
use serde_json::json;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Cell, Envelope, Format, Table, clean_line};
use crate::session::{Exit, Session};
use crate::target::{NodeArg, Targets, acting_node, written_node};
use crate::view::entry::scope as scope_text;

const EXAMPLES: &str = "\
Examples:
  pact blacklist list
  pact blacklist list --vcluster ml-training
  pact blacklist add \"/var/cache/**\"
  pact blacklist add \"/opt/scratch/**\" --vcluster ml-training
  pact blacklist remove \"/var/cache/**\"

A pattern that begins with / is about files; others are about all keys, such as
sysctl/net.*. The patterns of the agent's own file apply beside these.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the patterns of a node or a vCluster
    List {
        #[command(flatten)]
        node: NodeArg,
    },
    /// Leave what matches out of drift detection
    Add {
        /// Glob pattern
        #[arg(value_name = "PATTERN")]
        pattern: String,
        #[command(flatten)]
        node: NodeArg,
    },
    /// Take a pattern out of the list
    Remove {
        /// Glob pattern
        #[arg(value_name = "PATTERN")]
        pattern: String,
        #[command(flatten)]
        node: NodeArg,
    },
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self.command {
            Command::List { node } => list(session, &node).await,
            Command::Add { pattern, node } => change(session, &node, pattern, true).await,
            Command::Remove { pattern, node } => change(session, &node, pattern, false).await,
        }
    }
}

/// The vCluster of the flag, else a node.
async fn scope(session: &Session, node: &NodeArg, writes: bool) -> Result<v1::Scope, Failure> {
    let scope = match (session.vcluster_flag(), node.node.as_deref()) {
        (Some(_), Some(_)) => {
            return Err(Failure::argument("--node and --vcluster exclude each other"));
        }
        (Some(vcluster), None) => {
            if writes {
                session.screen.note(&format!("target: vc:{vcluster}"));
            }
            v1::scope::Scope::Vcluster(vcluster)
        }
        (None, given) => {
            let named = match writes {
                true => written_node(session, given).await?,
                false => acting_node(session, given).await?,
            };
            v1::scope::Scope::Node(Targets::one(&named.set)?.set)
        }
    };
    Ok(v1::Scope { scope: Some(scope) })
}

async fn list(session: &Session, node: &NodeArg) -> Result<Exit, Failure> {
    let scope = scope(session, node, false).await?;
    let request = v1::BlacklistListRequest { scope: Some(scope.clone()) };
    let reply = gateway::unary(session, |mut client| {
        let request = request.clone();
        async move { client.blacklist_list(request).await }
    })
    .await?;
    match session.format() {
        Format::Json => {
            let item = json!({
                "scope": scope_text(Some(&scope))?,
                "patterns": reply.patterns,
                "vcluster": reply.vcluster,
                "vcluster_patterns": reply.vcluster_patterns,
            });
            Envelope::new("pact/v1/BlacklistList", vec![item]).write()?;
        }
        Format::Text => {
            let vcluster = reply.vcluster.map(|name| format!("vc:{name}")).unwrap_or_default();
            let own = scope_text(Some(&scope))?;
            let mut table = Table::new(&["PATTERN", "OF"]);
            for pattern in &reply.patterns {
                table.row(vec![Cell::from(pattern), Cell::from(&own)]);
            }
            for pattern in &reply.vcluster_patterns {
                table.row(vec![Cell::from(pattern), Cell::from(&vcluster)]);
            }
            let text = table.render(session.screen);
            if text.is_empty() {
                session.screen.note("no patterns");
            }
            output::write_out(&text)?;
        }
    }
    Ok(Exit::SUCCESS)
}

async fn change(
    session: &Session,
    node: &NodeArg,
    pattern: String,
    adds: bool,
) -> Result<Exit, Failure> {
    let scope = scope(session, node, true).await?;
    let request = v1::BlacklistChangeRequest {
        request_id: session.new_request_id(),
        scope: Some(scope.clone()),
        pattern: pattern.clone(),
    };
    let reply = gateway::unary(session, |mut client| {
        let request = request.clone();
        async move {
            if adds {
                client.blacklist_add(request).await
            } else {
                client.blacklist_remove(request).await
            }
        }
    })
    .await?;
    let of = scope_text(Some(&scope))?;
    match session.format() {
        Format::Json => {
            let item = json!({
                "scope": of,
                "pattern": pattern,
                "seq": Some(reply.seq).filter(|seq| *seq > 0),
                "patterns": reply.patterns,
            });
            Envelope::new("pact/v1/BlacklistChange", vec![item]).write()?;
        }
        Format::Text => {
            let verb = if adds { "added to" } else { "removed from" };
            let pattern = clean_line(&pattern);
            output::write_out(&match (reply.seq, adds) {
                (0, true) => format!("{pattern} is in the blacklist of {of} already\n"),
                (0, false) => format!("{pattern} is not in the blacklist of {of}\n"),
                (seq, _) => format!("{pattern} {verb} the blacklist of {of} (entry {seq})\n"),
            })?;
        }
    }
    Ok(Exit::SUCCESS)
}
