//! `pact completions`

use crate::completion::Shell;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  source <(pact completions bash)                         This shell; in ~/.bashrc: every one
  pact completions bash > ~/.local/share/bash-completion/completions/pact
  pact completions zsh > \"${fpath[1]}/_pact\"              Then start a new shell
  pact completions fish > ~/.config/fish/completions/pact.fish

Names of nodes and vClusters are asked of the gateway, with your settings and your token; this is recorded
like `pact node list` and `pact group list`. After 300 ms, without a token or without a gateway there are none,
and nothing is said. Where more than 512 names match, their beginnings are offered. The scripts call the pact
in the PATH.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl Args {
    pub(super) fn run(&self) -> Result<(), Failure> {
        output::write_out(self.shell.script())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::{BUDGET, MAX_NAMES};

    #[test]
    fn the_help_tells_the_bounds_of_the_code() {
        assert!(EXAMPLES.contains(&format!("After {} ms", BUDGET.as_millis())));
        assert!(EXAMPLES.contains(&format!("more than {MAX_NAMES} names")));
    }
}
