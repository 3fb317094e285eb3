//! Identical output of many nodes, shown once under their node set; for terminals alone.
//!
//! Output is held until it can be compared: that of a stream until the stream ends, that of the nodes that have ended
//! until no other has ended for a moment. What does not end soon, or is large, is shown as it comes, with the node's
//! name in front of each line. Nothing here waits or writes: the screen asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fleet::node_set;

/// Output of one stream that is held: several screens; more is not compared by eye.
const MAX_HELD_BYTES: usize = 64 * 1024;

/// All output that is held; identical output of nodes that have ended counts once.
const MAX_ALL_BYTES: usize = 16 * 1024 * 1024;

/// How long a stream may take to end, and how long the next node to end is waited for.
const HOLD: Duration = Duration::from_secs(2);

/// A node's standard output (`false`) or standard error (`true`).
type Stream = (String, bool);

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// Streams that have not ended, and since when something of them is held.
    open: BTreeMap<Stream, (Vec<u8>, Duration)>,
    /// Streams that are shown as they come.
    released: BTreeSet<Stream>,
    /// Nodes by what they wrote, and to which of the two.
    ended: BTreeMap<(bool, Vec<u8>), BTreeSet<String>>,
    /// When the last one was added to them.
    last_end: Duration,
    bytes: usize,
}

/// Output that several nodes, or one, wrote alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) is_stderr: bool,
    /// In order; never empty.
    pub(super) nodes: Vec<String>,
    pub(super) bytes: Vec<u8>,
}

impl Fold {
    /// Takes a piece of a stream. Returns what is to be shown now: all that was held of it, once it is not held any more.
    pub(super) fn take(
        &mut self,
        node: &str,
        is_stderr: bool,
        piece: &[u8],
        now: Duration,
    ) -> Vec<u8> {
        let stream = (node.to_owned(), is_stderr);
        if self.released.contains(&stream) {
            return piece.to_vec();
        }
        let (held, _) = self.open.entry(stream.clone()).or_insert_with(|| (Vec::new(), now));
        held.extend_from_slice(piece);
        let is_large = held.len() > MAX_HELD_BYTES;
        self.bytes += piece.len();
        if is_large || self.bytes > MAX_ALL_BYTES { self.release(stream) } else { Vec::new() }
    }

    /// Shows a stream as it comes from now on; returns what was held of it.
    fn release(&mut self, stream: Stream) -> Vec<u8> {
        let (held, _) = self.open.remove(&stream).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(held.len());
        self.released.insert(stream);
        held
    }

    /// The node has ended: what is held of it can be compared. Returns whether anything is.
    pub(super) fn end(&mut self, node: &str, now: Duration) -> bool {
        let mut is_held = false;
        for is_stderr in [false, true] {
            let Some((held, _)) = self.open.remove(&(node.to_owned(), is_stderr)) else { continue };
            if held.is_empty() {
                continue;
            }
            is_held = true;
            self.last_end = now;
            let size = held.len();
            let nodes = self.ended.entry((is_stderr, held)).or_default();
            if !nodes.is_empty() {
                self.bytes = self.bytes.saturating_sub(size); // it is there already
            }
            nodes.insert(node.to_owned());
        }
        is_held
    }

    /// When something will have been held for long enough.
    pub(super) fn due(&self) -> Option<Duration> {
        let oldest = self.open.values().map(|(_, since)| *since).min();
        let ended = (!self.ended.is_empty()).then_some(self.last_end);
        oldest.into_iter().chain(ended).min().map(|since| since + HOLD)
    }

    /// Streams that took too long to end, with what was held of them.
    pub(super) fn overdue_streams(&mut self, now: Duration) -> Vec<(Stream, Vec<u8>)> {
        let is_due = |since: &Duration| *since + HOLD <= now;
        let due = self.open.iter().filter(|(_, (_, since))| is_due(since));
        let due: Vec<Stream> = due.map(|(stream, _)| stream.clone()).collect();
        due.into_iter().map(|stream| (stream.clone(), self.release(stream))).collect()
    }

    /// What has ended, when no other node has for long enough.
    pub(super) fn overdue_groups(&mut self, now: Duration) -> Vec<Group> {
        if self.last_end + HOLD <= now { self.groups() } else { Vec::new() }
    }

    /// All that has ended, by the first node of each group.
    pub(super) fn groups(&mut self) -> Vec<Group> {
        let ended = std::mem::take(&mut self.ended).into_iter();
        let mut groups: Vec<Group> = ended
            .map(|((is_stderr, bytes), nodes)| {
                self.bytes = self.bytes.saturating_sub(bytes.len());
                Group { is_stderr, nodes: nodes.into_iter().collect(), bytes }
            })
            .collect();
        groups.sort_by(|a, b| (&a.nodes, a.is_stderr).cmp(&(&b.nodes, b.is_stderr)));
        groups
    }
}

/// The line above the output of several nodes: `--- node[001-128] (128) ---`.
pub(super) fn heading(nodes: &[String]) -> String {
    let set = node_set(nodes);
    format!("--- {set} ({}) ---\n", nodes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    fn group(nodes: &[&str], bytes: &[u8]) -> Group {
        let nodes = nodes.iter().map(ToString::to_string).collect();
        Group { is_stderr: false, nodes, bytes: bytes.to_vec() }
    }

    #[test]
    fn identical_output_is_one_group_whatever_its_pieces_are() {
        let mut fold = Fold::default();
        for (node, piece) in
            [("n1", "a\nb"), ("n2", "a"), ("n3", "other\n"), ("n2", "\nb\n"), ("n1", "\n")]
        {
            assert_eq!(fold.take(node, false, piece.as_bytes(), START), b"");
        }
        for node in ["n3", "n2", "n1"] {
            assert!(fold.end(node, START));
        }
        assert!(!fold.end("n4", START), "it wrote nothing");
        assert_eq!(fold.bytes, "a\nb\nother\n".len(), "what is the same is kept once");
        let groups = fold.groups();
        assert_eq!(groups, [group(&["n1", "n2"], b"a\nb\n"), group(&["n3"], b"other\n")]);
        assert_eq!((fold.bytes, fold.groups()), (0, vec![]));
    }

    #[test]
    fn the_two_outputs_of_a_node_are_told_apart() {
        let mut fold = Fold::default();
        fold.take("n1", false, b"x\n", START);
        fold.take("n1", true, b"x\n", START);
        fold.end("n1", START);
        let groups = fold.groups();
        assert_eq!(groups.iter().map(|g| g.is_stderr).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn large_output_is_shown_as_it_comes() {
        let mut fold = Fold::default();
        let most = vec![b'x'; MAX_HELD_BYTES];
        assert_eq!(fold.take("n1", false, &most, START), b"");
        assert_eq!(fold.take("n1", false, b"y", START).len(), MAX_HELD_BYTES + 1);
        assert_eq!(fold.take("n1", false, b"z", START), b"z");
        assert!(!fold.end("n1", START));
        assert_eq!(fold.bytes, 0);
    }

    #[test]
    fn memory_is_bounded_for_all_nodes_together() {
        let mut fold = Fold::default();
        let (most, mut shown) = (vec![b'x'; MAX_HELD_BYTES], 0);
        for node in 0..400 {
            shown += fold.take(&format!("n{node}"), false, &most, START).len();
            assert!(fold.bytes <= MAX_ALL_BYTES);
        }
        assert_eq!(shown, 400 * MAX_HELD_BYTES - MAX_ALL_BYTES);
    }

    #[test]
    fn what_does_not_end_soon_is_not_waited_for() {
        let mut fold = Fold::default();
        fold.take("slow", false, b"tick\n", START);
        fold.take("n1", false, b"done\n", START);
        let later = START + Duration::from_secs(1);
        fold.end("n1", later);
        assert_eq!(fold.due(), Some(START + HOLD));
        assert_eq!(fold.overdue_streams(later), []);
        let released = fold.overdue_streams(START + HOLD);
        assert_eq!(released, [(("slow".to_owned(), false), b"tick\n".to_vec())]);
        assert_eq!(fold.take("slow", false, b"tick\n", later), b"tick\n");
        assert_eq!((fold.overdue_groups(START + HOLD), fold.due()), (vec![], Some(later + HOLD)));
        assert_eq!(fold.overdue_groups(later + HOLD), [group(&["n1"], b"done\n")]);
        assert_eq!(fold.due(), None);
    }

    #[test]
    fn the_heading_is_the_folded_set() {
        let nodes: Vec<String> = (1..=128).map(|n| format!("node{n:03}")).collect();
        insta::assert_snapshot!(heading(&nodes), @"--- node[001-128] (128) ---");
        insta::assert_snapshot!(heading(&["a b".into(), "c".into()]), @"--- a b,c (2) ---");
    }
}
