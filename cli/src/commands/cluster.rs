//! `pact cluster`

use std::net::SocketAddr;

use pact_schemas::{convert, v1};

use crate::failure::Failure;
use crate::gateway;
use crate::invoke::Invocation;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact cluster
  pact cluster add 4 10.0.0.4:9444
  pact cluster remove 4
  pact cluster ca status
  pact cluster ca rotate";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a journal member
    Add {
        /// Number of the new member
        #[arg(value_name = "MEMBER", value_parser = clap::value_parser!(u64).range(1..))]
        member: u64,
        /// Where it listens for its peers
        #[arg(value_name = "ADDRESS")]
        address: SocketAddr,
    },
    /// Remove a journal member
    Remove {
        /// Number of the member
        #[arg(value_name = "MEMBER", value_parser = clap::value_parser!(u64).range(1..))]
        member: u64,
    },
    /// The certificate authority of the nodes
    Ca {
        #[command(subcommand)]
        command: CaCommand,
    },
}

#[derive(Debug, clap::Subcommand)]
enum CaCommand {
    /// Show the certificates that are in use
    Status,
    /// Begin a new root
    Rotate,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = match self.command {
            None => return show(session).await,
            Some(Command::Add { member, address }) => Invocation::new("cluster.add")
                .argument("member", member)
                .argument("address", address),
            Some(Command::Remove { member }) => {
                Invocation::new("cluster.remove").argument("member", member)
            }
            Some(Command::Ca { command: CaCommand::Status }) => {
                Invocation::new("cluster.ca.status")
            }
            Some(Command::Ca { command: CaCommand::Rotate }) => {
                Invocation::new("cluster.ca.rotate")
            }
        };
        invocation.send(session).await
    }
}

async fn show(session: &Session) -> Result<Exit, Failure> {
    let reply = gateway::unary(session, |mut client| async move {
        client.cluster(v1::ClusterStatusRequest {}).await
    })
    .await?;
    let journal = convert::required(reply.journal.as_ref(), "ClusterStatusReply.journal")
        .map_err(v1::Error::from)?;
    match session.format() {
        Format::Json => {
            let mut items = vec![view::cluster::journal_json(journal)];
            items.extend(reply.lattice.as_ref().map(view::cluster::lattice_json));
            Envelope::new("pact/v1/Cluster", items).write()?;
        }
        Format::Text => {
            let text = view::cluster::text(journal, reply.lattice.as_ref(), session.screen);
            output::write_out(&text)?;
        }
    }
    Ok(Exit::SUCCESS)
}
