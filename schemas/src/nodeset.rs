//! Node sets: `node[001-128],login1`, parsed, expanded and folded.
//!
//! Two levels. [`NodeSet`] is a plain set of node ids with its folded text; it is
//! what commands, grants and entries carry. [`Expression`] is what users type: names
//! with ranges and selectors (`@vc:ml-training`), which the gateway resolves against
//! the journal's node list. An empty set is an error everywhere, never "all".

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::id::{NodeId, VclusterId};

/// Longest expression or folded text, in bytes: it must fit into a grant.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Most nodes that one expression may name: the largest site pact is made for.
pub const MAX_NODES: usize = 100_000;

/// Why a node-set expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeSetError {
    /// Nothing is named.
    #[error("the node set is empty")]
    Empty,
    /// Too long to be carried.
    #[error("the node set is {bytes} bytes long; at most {MAX_TEXT_BYTES} are accepted")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Too many nodes.
    #[error("the node set names more than {MAX_NODES} nodes")]
    TooMany,
    /// A part that is neither a name, a range nor a selector.
    #[error("{part:?} in the node set is not understood: {rule}")]
    Part {
        /// The part.
        part: String,
        /// What is accepted in its place.
        rule: String,
    },
}

fn part(part: &str, rule: impl Into<String>) -> NodeSetError {
    NodeSetError::Part { part: part.chars().take(80).collect(), rule: rule.into() }
}

/// A non-empty set of nodes, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSet(BTreeSet<NodeId>);

impl NodeSet {
    /// A set of these nodes.
    ///
    /// # Errors
    /// [`NodeSetError::Empty`] or [`NodeSetError::TooMany`].
    pub fn new(nodes: impl IntoIterator<Item = NodeId>) -> Result<Self, NodeSetError> {
        let nodes: BTreeSet<NodeId> = nodes.into_iter().take(MAX_NODES + 1).collect();
        match nodes.len() {
            0 => Err(NodeSetError::Empty),
            n if n > MAX_NODES => Err(NodeSetError::TooMany),
            _ => Ok(Self(nodes)),
        }
    }

    /// Parses names and ranges; selectors are refused.
    ///
    /// # Errors
    /// [`NodeSetError`].
    pub fn parse(text: &str) -> Result<Self, NodeSetError> {
        let mut nodes = BTreeSet::new();
        for term in Expression::parse(text)?.0 {
            match term {
                Term::Nodes(set) => nodes.extend(set.0),
                Term::Vcluster(_) | Term::State(_) | Term::Lattice(_) => {
                    return Err(part(text, "only names and ranges are accepted here"));
                }
            }
        }
        Self::new(nodes)
    }

    /// Parses names and ranges between commas and blanks, in as many bytes as a list of them has.
    ///
    /// # Errors
    /// [`NodeSetError`].
    pub fn parse_list(text: &str) -> Result<Self, NodeSetError> {
        let mut nodes = BTreeSet::new();
        for word in text.split_whitespace() {
            for piece in split_outside_brackets(word)? {
                nodes.extend(expand(piece)?.0);
                if nodes.len() > MAX_NODES {
                    return Err(NodeSetError::TooMany);
                }
            }
        }
        Self::new(nodes)
    }

    /// The nodes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &NodeId> {
        self.0.iter()
    }

    /// Whether this node is a member.
    #[must_use]
    pub fn contains(&self, node: &NodeId) -> bool {
        self.0.contains(node)
    }

    /// Number of nodes, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The shortest text this module knows for the set; [`NodeSet::parse`] reads it back.
    #[must_use]
    pub fn fold(&self) -> String {
        let mut groups: BTreeMap<(String, usize, String), Vec<u64>> = BTreeMap::new();
        let mut parts: Vec<String> = Vec::new();
        for node in &self.0 {
            match split_number(node.as_str()) {
                Some((before, digits, after, number)) => groups
                    .entry((before.to_owned(), digits.len(), after.to_owned()))
                    .or_default()
                    .push(number),
                None => parts.push(node.to_string()),
            }
        }
        for ((before, width, after), mut numbers) in groups {
            numbers.sort_unstable();
            let ranges = fold_numbers(&numbers, width);
            let single = !ranges.contains([',', '-']);
            parts.push(if single {
                format!("{before}{ranges}{after}")
            } else {
                format!("{before}[{ranges}]{after}")
            });
        }
        parts.sort_unstable();
        parts.join(",")
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fold())
    }
}

/// Splits at the last run of digits; runs of more than 18 digits are left alone.
fn split_number(name: &str) -> Option<(&str, &str, &str, u64)> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let head = name.get(..end)?;
    let start = head.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |i| i + 1);
    let (before, digits, after) = (name.get(..start)?, name.get(start..end)?, name.get(end..)?);
    let number = if digits.len() <= 18 { digits.parse().ok()? } else { return None };
    Some((before, digits, after, number))
}

fn fold_numbers(sorted: &[u64], width: usize) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &n in sorted {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => runs.push((n, n)),
        }
    }
    let texts: Vec<String> = runs
        .into_iter()
        .map(
            |(a, b)| {
                if a == b { format!("{a:0width$}") } else { format!("{a:0width$}-{b:0width$}") }
            },
        )
        .collect();
    texts.join(",")
}

/// One comma-separated part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// Names and ranges, expanded.
    Nodes(NodeSet),
    /// `@vc:<vcluster>`
    Vcluster(VclusterId),
    /// `@state:<state>`
    State(String),
    /// `@lattice:<state>`
    Lattice(String),
}

/// What a user typed where a node is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression(pub Vec<Term>);

impl Expression {
    /// Parses an expression. `@file:` is not accepted here: the CLI reads the file.
    ///
    /// # Errors
    /// [`NodeSetError`] naming the part that is not understood.
    pub fn parse(text: &str) -> Result<Self, NodeSetError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(NodeSetError::TooLong { bytes: text.len() });
        }
        let mut terms = Vec::new();
        let mut total = 0;
        for piece in split_outside_brackets(text)? {
            let term = parse_term(piece)?;
            if let Term::Nodes(set) = &term {
                total += set.len();
                if total > MAX_NODES {
                    return Err(NodeSetError::TooMany);
                }
            }
            terms.push(term);
        }
        if terms.is_empty() { Err(NodeSetError::Empty) } else { Ok(Self(terms)) }
    }
}

fn split_outside_brackets(text: &str) -> Result<Vec<&str>, NodeSetError> {
    let mut pieces = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    for (i, c) in text.char_indices() {
        match c {
            '[' if depth == 0 => depth = 1,
            ']' if depth == 1 => depth = 0,
            '[' | ']' => return Err(part(text, "brackets must be closed and not nested")),
            ',' if depth == 0 => {
                pieces.push(text.get(start..i).unwrap_or_default());
                start = i + 1;
            }
            _ => {}
        }
    }
    if depth != 0 {
        return Err(part(text, "brackets must be closed and not nested"));
    }
    pieces.push(text.get(start..).unwrap_or_default());
    Ok(pieces.into_iter().map(str::trim).filter(|p| !p.is_empty()).collect())
}

fn parse_term(text: &str) -> Result<Term, NodeSetError> {
    let Some(selector) = text.strip_prefix('@') else {
        return Ok(Term::Nodes(expand(text)?));
    };
    let known = "@vc:<vcluster>, @state:<state>, @lattice:<state> and @file:<path> are accepted";
    match selector.split_once(':') {
        Some(("vc", name)) => {
            VclusterId::new(name).map(Term::Vcluster).map_err(|e| part(text, e.to_string()))
        }
        Some(("state", state)) => match state {
            "active" | "inactive" | "registered" | "revoked" => Ok(Term::State(state.to_owned())),
            _ => Err(part(text, "states are active, inactive, registered and revoked")),
        },
        Some(("lattice", state)) if !state.is_empty() => Ok(Term::Lattice(state.to_owned())),
        _ => Err(part(text, known)),
    }
}

/// Expands one name with at most one bracket.
fn expand(text: &str) -> Result<NodeSet, NodeSetError> {
    let node = |name: &str| NodeId::new(name).map_err(|e| part(text, e.to_string()));
    let Some((before, rest)) = text.split_once('[') else {
        return NodeSet::new([node(text)?]);
    };
    let Some((ranges, after)) = rest.split_once(']') else {
        return Err(part(text, "brackets must be closed and not nested"));
    };
    if after.contains('[') {
        return Err(part(text, "one bracket for each name is accepted"));
    }
    let mut nodes = BTreeSet::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let is_padded = |digits: &str| digits.starts_with('0') && digits.len() > 1;
        let is_padded = is_padded(first) || is_padded(last);
        let width = if is_padded { first.len() } else { 1 };
        let number = |digits: &str| {
            let plain =
                (1..=18).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|_| plain)
        };
        let (Some(a), Some(b)) = (number(first), number(last)) else {
            return Err(part(text, "ranges are numbers: [001-128,130]"));
        };
        if b < a || (is_padded && last.len() != width) {
            return Err(part(text, "a range goes upwards, with equally many digits when padded"));
        }
        if b - a >= MAX_NODES as u64 || nodes.len() > MAX_NODES {
            return Err(NodeSetError::TooMany);
        }
        for n in a..=b {
            nodes.insert(node(&format!("{before}{n:0width$}{after}"))?);
        }
    }
    NodeSet::new(nodes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        NodeSet::parse(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_expand_with_their_padding() {
        assert_eq!(names("node[008-010],login1"), ["login1", "node008", "node009", "node010"]);
        assert_eq!(names("x[1,3-4]n0"), ["x1n0", "x3n0", "x4n0"]);
        assert_eq!(names("n[9-11]"), ["n10", "n11", "n9"]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            "",
            ",",
            "n[",
            "n[]",
            "n[1-",
            "n[3-1]",
            "n[01-100]",
            "n[1-02]",
            "n[9-010]",
            "n[1][2]",
            "N1",
            "*",
            "n[[1]]",
            "@vc:",
            "@state:up",
            "@all",
            "n[1-999999]",
            "@file:/x",
        ] {
            assert!(Expression::parse(bad).is_err(), "{bad:?}");
        }
        assert!(NodeSet::parse("@vc:ml").is_err());
        assert!(Expression::parse("@vc:ml,node[1-3],@state:active").is_ok());
    }

    #[test]
    fn sets_fold() {
        let fold = |t: &str| NodeSet::parse(t).unwrap().fold();
        assert_eq!(fold("node003,node001,node002"), "node[001-003]");
        assert_eq!(fold("n9,n10,n11,b"), "b,n9,n[10-11]");
        assert_eq!(fold("x1c0s1b0n0,x1c0s2b0n0"), "x1c0s1b0n0,x1c0s2b0n0");
    }

    proptest! {
        #[test]
        fn folding_loses_nothing(names in proptest::collection::btree_set("[a-z0-9-]{1,12}", 1..60)) {
            let set = NodeSet::new(names.iter().map(|n| NodeId::new(n).unwrap())).unwrap();
            prop_assert_eq!(NodeSet::parse(&set.fold()).unwrap(), set);
        }
    }
}
