//! Commands about `pact` itself, beside `help`. They need no settings, no token and no gateway, and nothing of them is recorded.

mod complete;
mod completions;
mod man;

use std::collections::BTreeMap;

use crate::failure::Failure;

/// What can be asked of the command line itself.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Local {
    /// Print the completion script of a shell
    Completions(completions::Args),
    /// Print a manual page, or write all of them to a folder
    Man(man::Args),
    /// Asked by the completion scripts
    #[command(name = "__complete", hide = true)]
    Complete(complete::Args),
}

impl Local {
    /// Carries it out.
    pub(crate) fn run(self, environment: BTreeMap<String, String>) -> Result<(), Failure> {
        match self {
            Self::Completions(args) => args.run(),
            Self::Man(args) => args.run(&environment),
            Self::Complete(args) => args.run(environment),
        }
    }
}
