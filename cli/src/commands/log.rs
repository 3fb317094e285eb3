//! `pact log`

mod show;

use pact_schemas::{NodeId, VclusterId, v1};

use super::entry_filter::Filter;
use super::watch;
use crate::entry::VerifiedEntry;
use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

/// Most entries that the gateway hands out at once.
const MAX_COUNT: i64 = 10_000;

const EXAMPLES: &str = "\
Examples:
  pact log                             Last 20 entries
  pact log -n 50                       Last 50 entries
  pact log --scope node:node-042       Filter by node
  pact log --scope vc:ml-training      Filter by vCluster
  pact log --scope global              Global entries only
  pact log --kind Commit,Rollback      Entries of some kinds
  pact log --by alice --since 2h       What somebody changed lately
  pact log -f                          And whatever comes then
  pact log show 42                     One entry, with recorded output";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Number of entries to show
    #[arg(short = 'n', value_name = "COUNT", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=MAX_COUNT))]
    count: u32,
    /// node:<id>, vc:<name> or global (default: the default vCluster, or all that you may see)
    #[arg(long, value_name = "FILTER", value_parser = parse_scope)]
    scope: Option<v1::Scope>,
    #[command(flatten)]
    filter: Filter,
    /// Go on with entries as they are committed
    #[arg(short = 'f', long)]
    follow: bool,
    /// The log as it was after this entry
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    at: Option<u64>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show one entry, its outcomes and the recorded output
    Show(show::Args),
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        if let Some(Command::Show(args)) = self.command {
            return args.run(session).await;
        }
        if self.at.is_some() {
            return Err(Failure::unimplemented("log --at"));
        }
        if self.scope.is_some() && session.vcluster_flag().is_some() {
            return Err(Failure::argument("--scope and --vcluster say two things about one")
                .next("leave one of them out; --scope vc:NAME is a vCluster too"));
        }
        let default =
            || session.vcluster().map(|v| v1::Scope { scope: Some(v1::scope::Scope::Vcluster(v)) });
        let filter = Some(self.filter.to_wire(&session.clock)?);
        let scope = self.scope.or_else(default);
        let request = v1::LogRequest { count: self.count, scope, filter };
        let reply = gateway::unary(session, |mut client| {
            let request = request.clone();
            async move { client.log(request).await }
        })
        .await?;
        let entries = VerifiedEntry::all(&reply.entries)?;
        if reply.is_cut {
            session
                .screen
                .warn("older entries are left out: they are too many, or take too long to find");
        }
        if self.follow {
            let v1::LogRequest { scope, filter, .. } = request;
            let watch = v1::WatchRequest { scope, after: Some(reply.head_seq), filter };
            return watch::show_and_follow(session, &entries, watch).await;
        }
        match session.format() {
            Format::Json => {
                let items = entries.iter().map(view::entry::as_json).collect::<Result<_, _>>()?;
                Envelope::new("pact/v1/Log", items).write()?;
            }
            Format::Text if entries.is_empty() => session.screen.note("no entries"),
            Format::Text => output::write_out(&view::entry::table(&entries, session.screen)?)?,
        }
        Ok(Exit::SUCCESS)
    }
}

/// `node:<id>`, `vc:<name>` or `global`.
fn parse_scope(text: &str) -> Result<v1::Scope, String> {
    let scope = match text.split_once(':') {
        Some(("node", id)) => {
            let node = NodeId::new(id).map_err(|error| error.to_string())?;
            v1::scope::Scope::Node(node.to_string())
        }
        Some(("vc", name)) => {
            let name = VclusterId::new(name).map_err(|error| error.to_string())?;
            v1::scope::Scope::Vcluster(name.to_string())
        }
        None if text == "global" => v1::scope::Scope::Global(v1::Global {}),
        _ => return Err("expected node:<id>, vc:<name> or global".to_owned()),
    };
    Ok(v1::Scope { scope: Some(scope) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_one_of_three_forms() {
        for good in ["node:node-042", "vc:ml-training", "global"] {
            let scope = parse_scope(good).unwrap();
            assert_eq!(view::entry::scope(Some(&scope)).unwrap(), good);
        }
        for bad in ["", "node", "node:", "node:A", "vcluster:x", "global:", "vc:a.b"] {
            assert!(parse_scope(bad).is_err(), "{bad}");
        }
    }
}
