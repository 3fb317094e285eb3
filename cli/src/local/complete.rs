//! `pact __complete`: what the completion scripts ask.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::completion::{self, MAX_TYPED_BYTES, Shell};
use crate::failure::Failure;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which shell asks
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl Args {
    /// What was typed comes on standard input; it may hold a token, which the arguments of a process would show.
    pub(super) fn run(self, environment: BTreeMap<String, String>) -> Result<(), Failure> {
        let mut typed = Vec::new();
        let whole = std::io::stdin().lock().take(MAX_TYPED_BYTES + 1).read_to_end(&mut typed);
        if whole.is_err() || typed.len() as u64 > MAX_TYPED_BYTES {
            return Ok(());
        }
        output::write_out(&completion::answer(self.shell, &typed, environment))
    }
}
