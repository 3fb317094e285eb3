//! Journal entries: rows of `pact log`, and their JSON.

use pact_schemas::v1;
use serde::Serialize;
use serde_json::Value;

use super::{change, entry_detail};
use crate::entry::VerifiedEntry;
use crate::failure::Failure;
use crate::output::{Cell, Hue, Screen, Table, code_of, fields};

/// An entry as `pact log --output json` shows it (contracts §3).
#[derive(Debug, Serialize)]
struct EntryJson {
    seq: u64,
    time: String,
    kind: String,
    scope: String,
    author: AuthorJson,
    message: String,
    request_id: Option<String>,
    approval: Option<String>,
    emergency: Option<String>,
    changes: Vec<Value>,
    /// Bytes of changes that are too large to be in the entry and are not here either.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes_size_bytes: Option<u64>,
    /// Life of what a commit declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<u64>,
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

#[derive(Debug, Serialize)]
struct AuthorJson {
    principal: String,
    #[serde(rename = "type")]
    kind: String,
    role: String,
}

/// The entry as JSON.
pub(crate) fn as_json(verified: &VerifiedEntry) -> Result<Value, Failure> {
    let entry = &verified.entry;
    let json = EntryJson {
        seq: entry.seq,
        time: verified.time.to_string(),
        kind: verified.kind_name(),
        scope: scope(entry.scope.as_ref())?,
        author: AuthorJson {
            principal: principal(entry)?.subject.clone(),
            kind: principal_kind(principal(entry)?),
            role: entry.acting_role.clone(),
        },
        message: entry.message.clone(),
        request_id: entry.request_id.clone(),
        approval: entry.approval.clone(),
        emergency: entry.emergency.clone(),
        changes: change::as_json(&verified.changes),
        changes_size_bytes: verified.missing_bytes(),
        ttl_seconds: entry.ttl_seconds,
        hash: verified.hash.clone(),
        detail: entry_detail::as_json(entry),
    };
    serde_json::to_value(json).map_err(|error| {
        Failure::new(pact_schemas::ErrorCode::Internal, "an entry cannot be shown as JSON")
            .because(error.to_string())
    })
}

fn principal(entry: &v1::Entry) -> Result<&v1::Principal, Failure> {
    let field = "Entry.author";
    Ok(pact_schemas::convert::required(entry.author.as_ref(), field).map_err(v1::Error::from)?)
}

/// `human`, `service-agent`, `service-ai`, `service` or `node`.
pub(crate) fn principal_kind(principal: &v1::Principal) -> String {
    code_of(principal.kind().as_str_name(), "PRINCIPAL_KIND_")
}

/// `node:<id>`, `vc:<name>` or `global`, as `--scope` takes it.
pub(crate) fn scope(scope: Option<&v1::Scope>) -> Result<String, Failure> {
    let scope = scope.and_then(|s| s.scope.as_ref());
    match scope {
        Some(v1::scope::Scope::Node(node)) => Ok(format!("node:{node}")),
        Some(v1::scope::Scope::Vcluster(name)) => Ok(format!("vc:{name}")),
        Some(v1::scope::Scope::Global(_)) => Ok("global".to_owned()),
        None => Err(Failure::new(
            pact_schemas::ErrorCode::Malformed,
            "an entry has no scope that this version knows",
        )),
    }
}

/// The entries as a table, oldest first.
pub(crate) fn table(entries: &[VerifiedEntry], screen: Screen) -> Result<String, Failure> {
    let mut table =
        Table::new(&["SEQ", "TIME", "KIND", "SCOPE", "AUTHOR", "ROLE", "OUTCOME", "MESSAGE"])
            .wide_only(&["ROLE", "OUTCOME"]);
    for entry in entries {
        table.row(cells(entry, screen)?);
    }
    Ok(table.render(screen))
}

/// One line of `pact watch`.
pub(crate) fn line(verified: &VerifiedEntry, screen: Screen) -> Result<String, Failure> {
    let entry = &verified.entry;
    let mut words = vec![
        entry.seq.to_string(),
        screen.times.lasting(verified.time),
        verified.kind_name(),
        scope(entry.scope.as_ref())?,
        principal(entry)?.subject.clone(),
    ];
    words.extend(entry_detail::outcome(entry).map(|(text, _)| text));
    words.push(entry.message.clone());
    let line: Vec<String> = words.iter().map(|w| crate::output::clean_line(w)).collect();
    Ok(format!("{}\n", line.join("  ")))
}

fn cells(verified: &VerifiedEntry, screen: Screen) -> Result<Vec<Cell>, Failure> {
    let entry = &verified.entry;
    let outcome = entry_detail::outcome(entry);
    let outcome = outcome.map_or_else(|| Cell::from(""), |(text, hue)| Cell::from(text).hue(hue));
    Ok(vec![
        Cell::from(entry.seq.to_string()),
        Cell::from(screen.times.past(verified.time)).hue(Some(Hue::Dim)),
        Cell::from(verified.kind_name()),
        Cell::from(scope(entry.scope.as_ref())?),
        Cell::from(&principal(entry)?.subject),
        Cell::from(&entry.acting_role),
        outcome,
        Cell::from(&entry.message),
    ])
}

/// Everything about one entry.
pub(crate) fn full(verified: &VerifiedEntry, screen: Screen) -> Result<String, Failure> {
    let entry = &verified.entry;
    let author = principal(entry)?;
    let mut pairs = vec![
        ("seq", Some(entry.seq.to_string())),
        ("time", Some(screen.times.exact(verified.time))),
        ("kind", Some(verified.kind_name())),
        ("scope", Some(scope(entry.scope.as_ref())?)),
        ("author", Some(format!("{} ({})", author.subject, principal_kind(author)))),
        ("role", Some(entry.acting_role.clone()).filter(|r| !r.is_empty())),
        ("outcome", entry_detail::outcome(entry).map(|(text, _)| text)),
        ("message", Some(entry.message.clone()).filter(|m| !m.is_empty())),
        ("request", entry.request_id.clone()),
        ("parent", entry.parent.map(|seq| seq.to_string())),
        ("approval", entry.approval.clone()),
        ("emergency", entry.emergency.clone()),
        ("time to live", entry.ttl_seconds.map(|seconds| format!("{seconds} s"))),
        ("policy", Some(entry.policy_ref.clone()).filter(|p| !p.is_empty())),
    ];
    pairs.extend(entry_detail::fields(entry, screen));
    pairs.push(("hash", Some(verified.hash.clone())));
    let mut text = fields(&pairs, screen);
    if !verified.changes.is_empty() {
        let omitted = entry_detail::omitted_changes(entry);
        text.push_str(&change::table(&verified.changes, omitted, screen));
    }
    if let Some(bytes) = verified.missing_bytes() {
        text.push_str(&format!(
            "its changes have {bytes} bytes: see them with `pact log show {}`\n",
            entry.seq
        ));
    }
    Ok(text)
}
