//! `pact accounting`

use crate::failure::Failure;
use crate::invoke::Invocation;
use crate::session::{Exit, Session};

const EXAMPLES: &str = "\
Examples:
  pact accounting                          Default vCluster
  pact accounting --vcluster ml-training   One vCluster";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let vcluster = session.required_vcluster()?;
        Invocation::new("accounting").vcluster(Some(vcluster)).send(session).await
    }
}
