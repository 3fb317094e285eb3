//! The commands: one file each, named like the operation that it carries. Families whose commands
//! are not built yet are one file.

mod accounting;
mod apply;
mod approve;
mod audit;
mod backup;
mod blacklist;
mod blame;
mod budget;
mod cap;
mod cluster;
mod commit;
mod cordon;
mod dag;
mod diag;
mod diff;
mod emergency;
mod enroll;
mod entry_filter;
mod exec;
mod extend;
mod group;
mod health;
mod jobs;
mod log;
mod login;
mod logout;
mod node;
mod nodes;
mod policy;
mod promote;
mod queue;
mod rollback;
mod service;
mod services;
mod session;
mod shell;
mod status;
mod take_down;
mod uncordon;
mod undrain;
mod watch;
mod whoami;

use clap::Subcommand;

use crate::failure::Failure;
use crate::session::{Exit, Session};

/// Everything that can be asked of pact.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Authenticate with the site's identity provider
    Login(login::Args),
    /// Delete the local token cache
    Logout(logout::Args),
    /// Show who you are to pact, and your roles
    Whoami(whoami::Args),
    /// Show nodes: state, vCluster, modes, last contact
    Status(status::Args),
    /// Show the journal's entries
    Log(log::Args),
    /// Show declared against actual state (drift)
    Diff(diff::Args),
    /// Show a node's hardware capabilities
    Cap(cap::Args),
    /// Follow the journal's entries as they are made
    Watch(watch::Args),
    /// Show which entry set each declared key
    Blame(blame::Args),
    /// Commit a node's drift as its declared state
    Commit(commit::Args),
    /// Roll back to the declared state after an entry
    Rollback(rollback::Args),
    /// Apply a configuration specification (TOML)
    Apply(apply::Args),
    /// Export a node's committed deltas as an overlay (TOML)
    Promote(promote::Args),
    /// Extend the current commit window
    Extend(extend::Args),
    /// Run a command on nodes
    Exec(exec::Args),
    /// Open an interactive shell on a node
    Shell(shell::Args),
    /// Recorded shell sessions
    Session(session::Args),
    /// Manage services on a node
    Service(service::Args),
    /// Collect diagnostic logs from nodes
    Diag(diag::Args),
    /// Enter or leave emergency mode
    Emergency(emergency::Args),
    /// Decide on changes that need a second person
    Approve(approve::Args),
    /// Enrol, assign and list nodes
    Node(node::Args),
    /// Register a node, or replace its hardware identity (short for `node enroll`)
    Enroll(enroll::Args),
    /// Move workloads off nodes (lattice)
    #[command(after_help = take_down::DRAIN)]
    Drain(take_down::Args),
    /// Cancel a drain (lattice)
    Undrain(undrain::Args),
    /// Keep new workloads off nodes (lattice)
    Cordon(cordon::Args),
    /// Let new workloads on nodes again (lattice)
    Uncordon(uncordon::Args),
    /// Reboot nodes through their management controller
    #[command(after_help = take_down::REBOOT)]
    Reboot(take_down::Args),
    /// Install nodes anew through the node management
    #[command(after_help = take_down::REIMAGE)]
    Reimage(take_down::Args),
    /// Show vCluster groups and set their policy
    Group(group::Args),
    /// Patterns that drift detection leaves out
    Blacklist(blacklist::Args),
    /// Job allocations (lattice)
    Jobs(jobs::Args),
    /// The scheduling queue (lattice)
    Queue(queue::Args),
    /// Show the Raft groups of pact and lattice
    Cluster(cluster::Args),
    /// The audit trail of pact and lattice
    Audit(audit::Args),
    /// Resource usage (lattice)
    Accounting(accounting::Args),
    /// Show the health of every part
    Health(health::Args),
    /// The service registry (lattice)
    Services(services::Args),
    /// DAG workflows (lattice)
    Dag(dag::Args),
    /// Resource budgets (lattice)
    Budget(budget::Args),
    /// Backups of lattice's state, on lattice's server
    Backup(backup::Args),
    /// Lattice's node inventory
    Nodes(nodes::Args),
    /// Explain and test policy decisions
    Policy(policy::Args),
}

impl Command {
    /// Carries the command out. Each branch is boxed: the futures differ much in size.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Login(args) => args.run(session),
            Self::Logout(args) => args.run(session),
            Self::Whoami(args) => Box::pin(args.run(session)).await,
            Self::Status(args) => Box::pin(args.run(session)).await,
            Self::Log(args) => Box::pin(args.run(session)).await,
            Self::Diff(args) => Box::pin(args.run(session)).await,
            Self::Cap(args) => Box::pin(args.run(session)).await,
            Self::Watch(args) => Box::pin(args.run(session)).await,
            Self::Blame(args) => Box::pin(args.run(session)).await,
            Self::Commit(args) => Box::pin(args.run(session)).await,
            Self::Rollback(args) => Box::pin(args.run(session)).await,
            Self::Apply(args) => Box::pin(args.run(session)).await,
            Self::Promote(args) => Box::pin(args.run(session)).await,
            Self::Extend(args) => Box::pin(args.run(session)).await,
            Self::Exec(args) => Box::pin(args.run(session)).await,
            Self::Shell(args) => Box::pin(args.run(session)).await,
            Self::Session(args) => Box::pin(args.run(session)).await,
            Self::Service(args) => Box::pin(args.run(session)).await,
            Self::Diag(args) => Box::pin(args.run(session)).await,
            Self::Emergency(args) => Box::pin(args.run(session)).await,
            Self::Approve(args) => Box::pin(args.run(session)).await,
            Self::Node(args) => Box::pin(args.run(session)).await,
            Self::Enroll(args) => Box::pin(args.run(session)).await,
            Self::Drain(args) => Box::pin(args.run(session, "drain")).await,
            Self::Undrain(args) => Box::pin(args.run(session)).await,
            Self::Cordon(args) => Box::pin(args.run(session)).await,
            Self::Uncordon(args) => Box::pin(args.run(session)).await,
            Self::Reboot(args) => Box::pin(args.run(session, "reboot")).await,
            Self::Reimage(args) => Box::pin(args.run(session, "reimage")).await,
            Self::Group(args) => Box::pin(args.run(session)).await,
            Self::Blacklist(args) => Box::pin(args.run(session)).await,
            Self::Jobs(args) => Box::pin(args.run(session)).await,
            Self::Queue(args) => Box::pin(args.run(session)).await,
            Self::Cluster(args) => Box::pin(args.run(session)).await,
            Self::Audit(args) => Box::pin(args.run(session)).await,
            Self::Accounting(args) => Box::pin(args.run(session)).await,
            Self::Health(args) => Box::pin(args.run(session)).await,
            Self::Services(args) => Box::pin(args.run(session)).await,
            Self::Dag(args) => Box::pin(args.run(session)).await,
            Self::Budget(args) => Box::pin(args.run(session)).await,
            Self::Backup(args) => Box::pin(args.run(session)).await,
            Self::Nodes(args) => Box::pin(args.run(session)).await,
            Self::Policy(args) => Box::pin(args.run(session)).await,
        }
    }
}
