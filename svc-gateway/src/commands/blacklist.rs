//! `blacklist list|add|remove`: what drift detection leaves out, of a node or a vCluster.

use pact_journal_client::Journal;
use pact_schemas::convert::{self, Scope};
use pact_schemas::resource::KeyPattern;
use pact_schemas::v1::{self, ChangeBlacklist, NodeRecord, action::Action as Act};
use pact_schemas::{ErrorCode, VclusterId};

use crate::ask::read;
use crate::ask::request::RequestKey;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_reply, bad_request};
use crate::rights::authorise::{Asked, Rights, operation};
use crate::rights::permit::Permit;
use crate::rights::targets::{self, Targets};

/// A node with its record, or a vCluster.
enum Place {
    Node(Targets),
    Vcluster(VclusterId),
}

pub(super) async fn blacklist_list(
    gateway: &Gateway,
    caller: Caller,
    request: v1::BlacklistListRequest,
) -> Answer<v1::BlacklistListReply> {
    let place = place_of(&gateway.journal, request.scope.as_ref()).await?;
    authorise_place(&gateway.rights, &caller, "blacklist.list", &place).await?;
    patterns(&gateway.journal, place).await
}

pub(super) async fn blacklist_add(
    gateway: &Gateway,
    caller: Caller,
    request: v1::BlacklistChangeRequest,
) -> Answer<v1::BlacklistChangeReply> {
    change_blacklist(gateway, &caller, "blacklist.add", request).await
}

pub(super) async fn blacklist_remove(
    gateway: &Gateway,
    caller: Caller,
    request: v1::BlacklistChangeRequest,
) -> Answer<v1::BlacklistChangeReply> {
    change_blacklist(gateway, &caller, "blacklist.remove", request).await
}

async fn change_blacklist(
    gateway: &Gateway,
    caller: &Caller,
    name: &'static str,
    request: v1::BlacklistChangeRequest,
) -> Answer<v1::BlacklistChangeReply> {
    let key = RequestKey::of(name, &request.request_id, &request)?;
    let pattern = KeyPattern::new(&request.pattern).map_err(|error| {
        ErrorCode::InvalidArgument
            .error(error.to_string())
            .next("patterns look like /var/cache/** or sysctl/net.*")
    })?;
    let place = place_of(&gateway.journal, request.scope.as_ref()).await?;
    let permit = authorise_place(&gateway.rights, caller, name, &place).await?;
    let listed = vec![pattern.as_str().to_owned()];
    let (add, remove) =
        if name == "blacklist.add" { (listed, Vec::new()) } else { (Vec::new(), listed) };
    let judged = match &place {
        Place::Node(targets) => targets.judged()?,
        Place::Vcluster(_) => Vec::new(),
    };
    let change = ChangeBlacklist { scope: request.scope.clone(), add, remove, judged };
    let (done, _) = gateway.proposals.commit(&permit, key, Act::ChangeBlacklist(change)).await?;
    // As it is now: the record is read again.
    let now = patterns(&gateway.journal, place_of(&gateway.journal, request.scope.as_ref()).await?)
        .await?;
    Ok(v1::BlacklistChangeReply { seq: done.first_seq, patterns: now.patterns })
}

async fn place_of(journal: &Journal, scope: Option<&v1::Scope>) -> Answer<Place> {
    let scope = convert::required(scope, "scope").and_then(Scope::try_from);
    match scope.map_err(bad_request)? {
        Scope::Node(node) => Ok(Place::Node(targets::one_node(journal, node.as_str()).await?)),
        Scope::Vcluster(vcluster) => Ok(Place::Vcluster(vcluster)),
        Scope::Global => Err(ErrorCode::InvalidArgument
            .error("there is no blacklist of the whole site")
            .next("name a node, or a vCluster with --vcluster")),
    }
}

async fn authorise_place(
    rights: &Rights,
    caller: &Caller,
    name: &'static str,
    place: &Place,
) -> Answer<Permit> {
    let asked = Asked::of(operation(name)?);
    let asked = match place {
        Place::Node(targets) => asked.on(targets),
        Place::Vcluster(vcluster) => asked.within([vcluster.clone()]),
    };
    rights.authorise(caller, asked).await
}

async fn patterns(journal: &Journal, place: Place) -> Answer<v1::BlacklistListReply> {
    match place {
        Place::Vcluster(vcluster) => Ok(v1::BlacklistListReply {
            patterns: read::vcluster(journal, &vcluster).await?.blacklist,
            vcluster_patterns: Vec::new(),
            vcluster: Some(vcluster.to_string()),
        }),
        Place::Node(targets) => {
            let record: NodeRecord = targets
                .records
                .into_iter()
                .next()
                .ok_or_else(|| bad_reply("pact-journal", "a node has no record"))?;
            let vcluster_patterns = match &record.vcluster {
                Some(name) => {
                    let vcluster =
                        VclusterId::new(name).map_err(|e| bad_reply("pact-journal", e))?;
                    read::vcluster(journal, &vcluster).await?.blacklist
                }
                None => Vec::new(),
            };
            let (patterns, vcluster) = (record.blacklist, record.vcluster);
            Ok(v1::BlacklistListReply { patterns, vcluster_patterns, vcluster })
        }
    }
}
