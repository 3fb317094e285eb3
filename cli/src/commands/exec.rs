//! `pact exec`

mod call;
mod fold;
mod screen;
mod verdict;

use std::time::Duration;

use pact_commands::changes_state;
use pact_schemas::error_code::ErrorCode;
use pact_schemas::{Argv, v1};

use crate::confirm::{self, YesArg};
use crate::failure::Failure;
use crate::output;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, Targets};

use screen::ExecScreen;
use verdict::Verdict;

/// pact's own failures under `-S`, where every other code belongs to the remote command.
const OWN_FAILURE: u8 = 255;

/// After Ctrl-C, what was held is shown, but a reader who paused is not waited for.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  pact exec node-042 -- nvidia-smi
  pact exec node-042 -- dmesg -T | tail -20
  pact exec node-042 -- cat /proc/meminfo
  pact exec 'node[001-128]' -x node-013 -- uptime
  pact exec -S node-042 -- grep -q nfs /proc/mounts

Exit codes: 0 the command succeeded; 12 it failed (its status is on stderr); 6 command not
whitelisted; 5 the node does not answer; 7 mixed outcomes. With -S the status of the command
itself, and 255 for pact's own failures.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Target nodes
    #[arg(value_name = "NODE")]
    node: String,
    /// Command and arguments, run without a shell
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<String>,
    /// Forward standard input
    #[arg(short = 'i')]
    stdin: bool,
    /// Exit with the remote command's own status
    #[arg(short = 'S')]
    status: bool,
    /// Kill the command after this many seconds (default: the site's limit)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,
    /// Do not neutralise control characters on a terminal
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    exclude: ExcludeArg,
    #[command(flatten)]
    yes: YesArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let own_status = self.status;
        match self.carry_out(session).await {
            Err(failure @ Failure::Reported(_))
                if own_status && failure.code() != Some(ErrorCode::Interrupted) =>
            {
                output::print_failure(&failure, session.screen);
                Err(Failure::Shown(OWN_FAILURE))
            }
            other => other,
        }
    }

    async fn carry_out(self, session: &Session) -> Result<Exit, Failure> {
        let targets = Targets::new(&self.node, &self.exclude)?;
        let argv = Argv::new(self.command).map_err(v1::Error::from)?;
        if changes_state(&argv) {
            let confirmed = Box::pin(confirm::fleet(session, &targets, &self.yes, argv.program()));
            until_interrupted(confirmed).await?;
        }
        let call = call::Call {
            session,
            targets,
            argv,
            stdin: self.stdin,
            timeout_seconds: self.timeout.unwrap_or(0),
        };
        let mut verdict = Verdict::new();
        let mut screen =
            ExecScreen::new(session.format(), session.screen, self.raw, session.clock.clone());
        // Dropping the call ends the stream, and with it the process group on every node.
        let result = until_interrupted(Box::pin(call.run(&mut verdict, &mut screen))).await;
        let flush = screen.flush_all(verdict.is_fleet());
        if result.as_ref().is_err_and(|failure| failure.code() == Some(ErrorCode::Interrupted)) {
            let _shown = session.clock.timeout(LAST_OUTPUT, flush).await;
        } else {
            until_interrupted(flush).await?;
        }
        result?;
        until_interrupted(screen.end(&verdict)).await?;
        verdict.exit(self.status)
    }
}

async fn until_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        result = work => result, // dropped when interrupted: that is what ends it
        _interrupt = tokio::signal::ctrl_c() => Err(interrupted()), // cancel-safe
    }
}

fn interrupted() -> Failure {
    Failure::new(ErrorCode::Interrupted, "interrupted")
        .because("the remote command and its whole process group are being killed")
        .next("`pact log` shows how it ended")
}
