//! `pact node`

mod assign;
mod decommission;
mod enroll;
mod import;
mod inspect;
mod list;

pub(super) use enroll::{Identity, parse_hardware_id, parse_mac, register};
pub(super) use inspect::show as inspect_node;

use crate::failure::Failure;
use crate::session::{Exit, Session};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Register a node with its hardware identity
    Enroll(enroll::Args),
    /// Register nodes from the inventory of OpenCHAMI SMD
    Import(import::Args),
    /// Take nodes out: revoke certificates and bus users
    Decommission(decommission::Args),
    /// Assign nodes to a vCluster
    Assign(assign::AssignArgs),
    /// Take nodes out of their vCluster
    Unassign(assign::UnassignArgs),
    /// Move nodes to another vCluster
    Move(assign::MoveArgs),
    /// List enrolled nodes
    List(list::Args),
    /// Show everything about a node's enrolment
    Inspect(inspect::Args),
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self.command {
            Command::Enroll(args) => args.run(session).await,
            Command::Import(args) => args.run(session),
            Command::Decommission(args) => args.run(session).await,
            Command::Assign(args) => args.run(session).await,
            Command::Unassign(args) => args.run(session).await,
            Command::Move(args) => args.run(session).await,
            Command::List(args) => args.run(session).await,
            Command::Inspect(args) => args.run(session).await,
        }
    }
}
