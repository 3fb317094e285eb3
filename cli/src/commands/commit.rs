//! `pact commit`

use pact_schemas::{Digest, ErrorCode, Ttl, v1};
use serde_json::json;

use crate::failure::Failure;
use crate::fleet::Answered;
use crate::gateway;
use crate::output::Screen;
use crate::session::{Exit, Session};
use crate::target::{ExcludeArg, NodeArg, Targets, written_node};
use crate::view::{change, drift};

const EXAMPLES: &str = "\
Examples:
  pact commit -m \"tuned hugepages for ML training\"
  pact commit -m \"added NFS mount for datasets\" --node node-042
  pact commit -m \"until the weekend\" --ttl 3d
  pact commit -m \"what I saw\" --expect DIGEST   As printed by `pact diff`";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Commit message
    #[arg(short = 'm', value_name = "MESSAGE")]
    message: String,
    /// Seconds until the deltas expire, 900 to 864000, or 15m, 6h, 3d (default: until superseded)
    #[arg(long, value_name = "SECONDS", value_parser = parse_ttl)]
    ttl: Option<Ttl>,
    /// Digest of the drift that you saw with `diff` (default: at the start of this command)
    #[arg(long, value_name = "DIGEST", value_parser = parse_digest)]
    expect: Option<Digest>,
    /// Do not wait for approval: exit with 8 if it is needed
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    node: NodeArg,
    #[command(flatten)]
    exclude: ExcludeArg,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let named = written_node(session, self.node.node.as_deref()).await?;
        let targets = Targets::new(&named.set, &self.exclude)?;
        let request = v1::CommitRequest {
            request_id: session.new_request_id(),
            targets: targets.set,
            exclude: targets.exclude,
            vcluster: session.vcluster(),
            message: self.message,
            ttl_seconds: self.ttl.map(Ttl::seconds),
            expect_digest: self.expect.map(|digest| digest.to_vec()).unwrap_or_default(),
        };
        let reply = gateway::unary(session, |mut client| {
            let request = request.clone();
            async move { client.commit(request).await }
        })
        .await?;
        let is_whole = reply.nodes.iter().all(|node| node.left.is_empty());
        let exit = Answered {
            schema: "pact/v1/Commit",
            items: reply.nodes.iter().map(as_json).collect(),
            ok: reply.nodes.len(),
            text: reply.nodes.iter().map(|node| as_text(node, session.screen)).collect(),
            errors: reply.errors,
        }
        .show(session)?;
        if !is_whole && exit == Exit::SUCCESS {
            return Ok(Exit::with(ErrorCode::Partial.exit_code()));
        }
        Ok(exit)
    }
}

fn as_json(node: &v1::NodeCommit) -> serde_json::Value {
    json!({
        "node": node.node,
        "seq": Some(node.seq).filter(|seq| *seq > 0),
        "digest": drift::hex(&node.drift_digest),
        "changes": change::as_json(&node.changes),
        "omitted_changes": node.omitted_changes,
        "not_restorable": node.not_restorable,
        "left": drift::problems_json(&node.left),
        "settled": drift::settled_json(node.settled.as_ref()),
    })
}

fn as_text(node: &v1::NodeCommit, screen: Screen) -> String {
    if node.seq == 0 {
        return drift::node_line(&node.node, "nothing to commit");
    }
    let count = node.changes.len() + node.omitted_changes as usize;
    let keys = if count == 1 { "key" } else { "keys" };
    let what = format!("{count} {keys} committed (entry {})", node.seq);
    let mut text = drift::node_line(&node.node, &what);
    text.push_str(&change::table(&node.changes, node.omitted_changes, screen));
    if !node.not_restorable.is_empty() {
        let keys = change::keys(node.not_restorable.iter().map(String::as_str));
        text.push_str(&drift::node_line(&node.node, &format!("can never be restored: {keys}")));
    }
    for problem in &node.left {
        let left = format!("left as drift: {}: {}", problem.key, problem.reason);
        text.push_str(&drift::node_line(&node.node, &left));
    }
    let left = node.settled.as_ref().map_or_else(
        || "recorded; the node has not confirmed it yet".to_owned(),
        |settled| drift::settled_text(settled, screen),
    );
    text.push_str(&drift::node_line(&node.node, &left));
    text
}

/// Seconds, or a number with `s`, `m`, `h` or `d`.
fn parse_ttl(text: &str) -> Result<Ttl, String> {
    let refuse = || "expected 900 to 864000 seconds, or a number with s, m, h or d".to_owned();
    let (number, unit) = match text.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => (text.get(..at).unwrap_or(""), unit),
        _ => (text, 's'),
    };
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(refuse()),
    };
    let is_plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let seconds = number.parse::<u64>().ok().filter(|_| is_plain);
    let seconds = seconds.and_then(|n| n.checked_mul(factor));
    seconds.and_then(|seconds| Ttl::try_from(seconds).ok()).ok_or_else(refuse)
}

fn parse_digest(text: &str) -> Result<Digest, String> {
    text.parse().map_err(|_| "expected the 64 hex digits that `pact diff` prints".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_seconds_or_has_a_unit() {
        for (text, seconds) in
            [("900", 900), ("900s", 900), ("15m", 900), ("6h", 21_600), ("10d", 864_000)]
        {
            assert_eq!(parse_ttl(text).map(Ttl::seconds), Ok(seconds), "{text}");
        }
        for bad in ["", "899", "864001", "14m", "11d", "d", "1w", "-1d", "+900", "1.5h", "900 "] {
            assert!(parse_ttl(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_is_64_hex_digits() {
        assert_eq!(parse_digest(&"aB".repeat(32)), Ok(Digest::from([0xab; 32])));
        for bad in ["", "ab", &"a".repeat(63), &"ab".repeat(33), &"zz".repeat(32)] {
            assert!(parse_digest(bad).is_err(), "{bad:?}");
        }
    }
}
