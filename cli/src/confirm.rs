//! Asking before something happens to many nodes.

use tokio::io::AsyncBufReadExt as _;

use crate::failure::Failure;
use crate::session::Session;
use crate::target::Targets;

/// `--yes`, for commands that ask.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct YesArg {
    /// Do not ask, whatever the number of nodes
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Asks to type the number of nodes when there is more than one. `action` is a verb: "reboot".
pub(crate) async fn fleet(
    session: &Session,
    targets: &Targets,
    yes: &YesArg,
    action: &str,
) -> Result<(), Failure> {
    if yes.yes || targets.is_single() {
        return Ok(());
    }
    let count = targets.resolve(session).await?.len();
    if count == 1 {
        return Ok(());
    }
    if !can_ask(session) {
        return Err(Failure::argument(format!("{action} on {count} nodes needs --yes"))
            .because("there is no terminal to ask on"));
    }
    session.screen.note(&format!("{action} on {count} nodes: {}", targets.set));
    if is_typed(session, "Type the number of nodes to go on:", &count.to_string()).await {
        Ok(())
    } else {
        Err(Failure::argument("not confirmed; nothing was done"))
    }
}

/// Whether somebody is there to be asked.
pub(crate) fn can_ask(session: &Session) -> bool {
    session.screen.stdin_is_terminal && session.screen.stderr_is_terminal
}

/// Asks, and whether exactly this was typed.
pub(crate) async fn is_typed(session: &Session, question: &str, wanted: &str) -> bool {
    session.screen.note(question);
    let mut answer = String::new();
    let mut input = tokio::io::BufReader::new(tokio::io::stdin());
    input.read_line(&mut answer).await.is_ok() && is_confirmed(&answer, wanted)
}

fn is_confirmed(answer: &str, wanted: &str) -> bool {
    answer.trim() == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_confirms() {
        assert!(is_confirmed("17\n", "17") && is_confirmed("ml\n", "ml"));
        for answer in ["", "y\n", "yes", "16", "017", "17 nodes", "+17"] {
            assert!(!is_confirmed(answer, "17"), "{answer:?}");
        }
    }
}
