//! `declared` and `plan`: what is declared, at any time, and what an action would change.

use pact_journal_core::action::Trial;
use pact_journal_core::declared::DeclaredScope;
use pact_journal_core::plan::plan as planned;
use pact_journal_core::record::RequestHorizon;
use pact_journal_core::tree::Tree;
use pact_schemas::convert::{Scope, required};
use pact_schemas::resource::ResourceKey;
use pact_schemas::v1::{self, Action, DeclaredReply, DeclaredRequest, PlanReply, PlanRequest};
use pact_schemas::{ErrorCode, convert};
use prost::Message as _;

use super::config::documents::to_wire;
use super::{MAX_REPLY_BYTES, reading};
use crate::context::Context;
use crate::store::declared::{Frozen, Rows, held_after, held_from, scope_mark};
use crate::store::query::{node_in, read_head, read_head_in, vcluster_in};
use crate::store::state::StateDb;
use crate::store::view::RocksView;

/// Longest prefix: no key is longer.
const MAX_PREFIX_BYTES: usize = pact_schemas::resource::MAX_KEY_BYTES;

/// A checked request.
struct Reading {
    scope: Scope,
    at_seq: Option<u64>,
    after: Option<ResourceKey>,
    prefix: String,
}

impl TryFrom<&DeclaredRequest> for Reading {
    type Error = v1::Error;

    fn try_from(request: &DeclaredRequest) -> Result<Self, v1::Error> {
        let scope = Scope::try_from(required(request.scope.as_ref(), "DeclaredRequest.scope")?)?;
        if scope == Scope::Global {
            return Err(ErrorCode::InvalidArgument
                .error("nothing is declared for the whole site")
                .next("name a node or a vCluster"));
        }
        if request.prefix.len() > MAX_PREFIX_BYTES || request.prefix.contains('\0') {
            return Err(ErrorCode::InvalidArgument.error("DeclaredRequest.prefix begins no key"));
        }
        let after = match request.after.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                ErrorCode::InvalidArgument.error("DeclaredRequest.after is no resource key")
            })?),
        };
        Ok(Self { scope, at_seq: request.at_seq, after, prefix: request.prefix.clone() })
    }
}

/// The declared keys of a scope, now or right after an entry, in key order and in pages.
///
/// # Errors
/// `PACT_NOT_FOUND` for a node, a vCluster or an entry that does not exist; `PACT_NO_LEADER` unless the caller takes what is here.
pub async fn declared(
    context: &Context,
    request: DeclaredRequest,
) -> Result<DeclaredReply, v1::Error> {
    let wanted = Reading::try_from(&request)?;
    context.current(request.stale).await?;
    let state = context.member().state();
    reading(move || page(&state, &wanted)).await?
}

fn page(state: &StateDb, wanted: &Reading) -> Result<DeclaredReply, v1::Error> {
    let moment = Frozen::of(state);
    let head = read_head_in(&moment).seq;
    let at_seq = wanted.at_seq.unwrap_or(head);
    if wanted.at_seq.is_some_and(|seq| !(1..=head).contains(&seq)) {
        return Err(ErrorCode::NotFound
            .error(format!("there is no entry {at_seq}"))
            .next("look at `pact log`"));
    }
    let Some(scope) = declared_scope(&moment, &wanted.scope)? else {
        // A node without vCluster has no deltas.
        return Ok(DeclaredReply::default());
    };
    let mark = scope_mark(&moment, &scope, at_seq).unwrap_or_default();
    let mut reply = DeclaredReply { seq: mark.seq, ..DeclaredReply::default() };
    let beginning = wanted.prefix.as_str();
    let is_within = wanted.after.as_ref().is_some_and(|after| after.as_str() >= beginning);
    let held: Box<dyn Iterator<Item = _>> = if is_within || beginning.is_empty() {
        Box::new(held_after(&moment as &dyn Rows, &scope, at_seq, wanted.after.as_ref()))
    } else {
        Box::new(held_from(&moment as &dyn Rows, &scope, at_seq, beginning))
    };
    let mut bytes = 0;
    for (key, held) in held.take_while(|(key, _)| key.as_str().starts_with(beginning)) {
        let key = to_wire((key, held));
        bytes += key.encoded_len();
        if bytes > MAX_REPLY_BYTES && !reply.keys.is_empty() {
            reply.more = true;
            break;
        }
        reply.keys.push(key);
    }
    Ok(reply)
}

fn declared_scope(rows: &dyn Rows, scope: &Scope) -> Result<Option<DeclaredScope>, v1::Error> {
    let missing = |what: String| ErrorCode::NotFound.error(what);
    match scope {
        Scope::Node(node) => {
            let record = node_in(rows, node.as_str())
                .ok_or_else(|| missing(format!("node {node} is not registered")).on(node))?;
            let vcluster = record.vcluster.as_deref();
            let vcluster =
                vcluster.map(|name| convert::id(name, "NodeRecord.vcluster")).transpose()?;
            Ok(vcluster.map(|vcluster| DeclaredScope::Delta(vcluster, node.clone())))
        }
        Scope::Vcluster(vcluster) => {
            vcluster_in(rows, vcluster.as_str())
                .ok_or_else(|| missing(format!("vCluster {vcluster} does not exist")))?;
            Ok(Some(DeclaredScope::Overlay(vcluster.clone())))
        }
        Scope::Global => Err(missing("nothing is declared for the whole site".to_owned())),
    }
}

/// What an action would do, by the code that does it, in pages. Whether the caller may ask for it is the gateway's to say.
///
/// # Errors
/// For what is no action, and `PACT_NO_LEADER`. An action that would be refused is answered with its refusal.
pub async fn plan(context: &Context, request: PlanRequest) -> Result<PlanReply, v1::Error> {
    let action = Action::decode(request.action.as_slice())
        .map_err(|_| convert::WireError::Decode { what: "PlanRequest.action" })?;
    let action = required(action.action, "Action.action")?;
    let after: Option<ResourceKey> = match request.after.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            ErrorCode::InvalidArgument.error("PlanRequest.after is no resource key")
        })?),
    };
    let by_platform_admin = request.by_platform_admin;
    context.current(false).await?;
    let now = context.inner.clock.now().unix_nanos();
    let state = context.member().state();
    reading(move || {
        let tree = Tree::default();
        let head = read_head(&state);
        let horizon = RequestHorizon::default();
        let view = RocksView { state: &state, head, tree: &tree, horizon };
        let trial = Trial { time_nanos: now.max(head.time_nanos), by_platform_admin };
        planned(&view, &action, trial).page(after.as_ref(), MAX_REPLY_BYTES)
    })
    .await?
}
