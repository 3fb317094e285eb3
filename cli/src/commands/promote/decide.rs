//! Asking about each key for which other nodes have values of their own.

use std::collections::BTreeMap;

use pact_schemas::v1;
use tokio::io::{AsyncBufReadExt as _, BufReader, Stdin};

use crate::failure::Failure;
use crate::session::Session;
use crate::view::change;

/// Answers that are not understood, for one key.
const MAX_ATTEMPTS: u32 = 3;

/// A decision for each key, in key order.
pub(super) async fn ask(
    session: &Session,
    conflicts: &[v1::DeltaConflict],
) -> Result<Vec<v1::ConflictDecided>, Failure> {
    let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        by_key.entry(&conflict.key).or_default().push(&conflict.node);
    }
    let mut input = BufReader::new(tokio::io::stdin());
    let mut decisions = Vec::new();
    for (key, nodes) in by_key {
        let nodes = change::keys(nodes.into_iter());
        session.screen.note(&format!("{key}: (o)verwrite it on {nodes}, or (k)eep theirs?"));
        let choice = answer(session, &mut input).await?;
        decisions.push(v1::ConflictDecided { key: key.to_owned(), choice: choice.into() });
    }
    Ok(decisions)
}

async fn answer(
    session: &Session,
    input: &mut BufReader<Stdin>,
) -> Result<v1::ConflictChoice, Failure> {
    for _ in 0..MAX_ATTEMPTS {
        let mut line = String::new();
        let read = input.read_line(&mut line).await;
        match (read, understood(&line)) {
            (Ok(1..), Some(choice)) => return Ok(choice),
            (Ok(1..), None) => session.screen.note("type o or k"),
            (Ok(0) | Err(_), _) => break,
        }
    }
    Err(Failure::argument("not decided; nothing was exported"))
}

fn understood(line: &str) -> Option<v1::ConflictChoice> {
    match line.trim() {
        "o" | "overwrite" => Some(v1::ConflictChoice::Overwrite),
        "k" | "keep" | "keep-local" => Some(v1::ConflictChoice::KeepLocal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_decides() {
        assert_eq!(understood("o\n"), Some(v1::ConflictChoice::Overwrite));
        assert_eq!(understood(" keep-local\n"), Some(v1::ConflictChoice::KeepLocal));
        for unclear in ["", "y", "yes", "O", "ok", "overwrite all"] {
            assert_eq!(understood(unclear), None, "{unclear:?}");
        }
    }
}
