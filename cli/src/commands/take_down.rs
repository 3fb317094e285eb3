//! `pact drain`, `pact reboot`, `pact reimage`: what takes nodes away from their users, asked about first.

use crate::confirm::{self, YesArg};
use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

pub(super) const DRAIN: &str = "\
Examples:
  pact drain node-042
  pact drain 'node[001-128]' -x node-013";

pub(super) const REBOOT: &str = "\
Examples:
  pact reboot node-042
  pact reboot 'node[001-128]' -x node-013";

pub(super) const REIMAGE: &str = "\
Examples:
  pact reimage node-042
  pact reimage 'node[001-128]' -x node-013";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Target nodes
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    exclude: ExcludeArg,
    #[command(flatten)]
    yes: YesArg,
}

impl Args {
    /// Asks where there are several nodes, then passes the operation of this name on.
    pub(crate) async fn run(
        self,
        session: &Session,
        operation: &'static str,
    ) -> Result<Exit, Failure> {
        let targets = Targets::new(&self.node, &self.exclude)?;
        confirm::fleet(session, &targets, &self.yes, operation).await?;
        Invocation::new(operation).on(targets).send(session).await
    }
}
