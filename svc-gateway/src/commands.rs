//! The API, one file for each operation: functions, each over the parts of the gateway that it needs.

mod apply;
mod blacklist;
mod cap;
mod cluster;
mod commit;
pub(crate) mod complete;
mod diff;
mod exec;
mod extend;
mod group;
mod group_set_policy;
mod health;
mod invoke;
mod log;
mod node;
mod output;
mod promote;
mod rollback;
mod settle;
mod status;
mod watch;
mod whoami;

use std::pin::Pin;
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::v1::pact_server::Pact;
use pact_schemas::v1::{self, EntryRecord, ExecInput, ExecOutput, ReadOutputReply};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::context::Gateway;
use crate::error::Answer;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Counts the call and makes a status of its failure.
fn answered<T>(
    clock: &Clock,
    method: &'static str,
    started: Duration,
    answer: Answer<T>,
) -> Result<Response<T>, Status> {
    let result = match &answer {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code.clone(),
    };
    let took = clock.monotonic().saturating_sub(started);
    metrics::counter!("pact_gateway_requests_total", "method" => method, "result" => result)
        .increment(1);
    metrics::histogram!("pact_gateway_request_seconds", "method" => method)
        .record(took.as_secs_f64());
    answer.map(Response::new).map_err(v1::Error::into_status)
}

/// Every method: authenticate, then the function of the same name in its command's file.
macro_rules! api {
    (
        streams { $($file:ident::$stream:ident($takes:ty) -> $kind:ident of $item:ty;)* }
        unary { $($home:ident::$method:ident($request:ty) -> $reply:ty;)* }
    ) => {
        #[tonic::async_trait]
        impl Pact for Gateway {
            $(
                type $kind = Answers<$item>;

                async fn $stream(&self, request: Request<$takes>) -> Result<Response<Self::$kind>, Status> {
                    let started = self.clock.monotonic();
                    let answer = match self.tokens.authenticate(request.metadata()) {
                        Ok(caller) => Box::pin($file::$stream(self, caller, request.into_inner())).await,
                        Err(error) => Err(error),
                    };
                    let stream = answer.map(|items| Box::pin(items) as Self::$kind);
                    answered(&self.clock, stringify!($stream), started, stream)
                }
            )*
            $(
                async fn $method(&self, request: Request<$request>) -> Result<Response<$reply>, Status> {
                    let started = self.clock.monotonic();
                    let answer = match self.tokens.authenticate(request.metadata()) {
                        Ok(caller) => Box::pin($home::$method(self, caller, request.into_inner())).await,
                        Err(error) => Err(error),
                    };
                    answered(&self.clock, stringify!($method), started, answer)
                }
            )*
        }
    };
}

api! {
    streams {
        exec::exec(Streaming<ExecInput>) -> ExecStream of ExecOutput;
        watch::watch(v1::WatchRequest) -> WatchStream of EntryRecord;
        output::read_output(v1::ReadOutputRequest) -> ReadOutputStream of ReadOutputReply;
    }
    unary {
        whoami::whoami(v1::WhoamiRequest) -> v1::WhoamiReply;
        log::log(v1::LogRequest) -> v1::LogReply;
        log::show_entry(v1::ShowEntryRequest) -> v1::ShowEntryReply;
        status::status(v1::StatusRequest) -> v1::StatusReply;
        cap::capability(v1::CapabilityRequest) -> v1::CapabilityReply;
        node::enroll_node(v1::EnrollNodeRequest) -> v1::EnrollNodeReply;
        node::assign_node(v1::AssignNodeRequest) -> v1::AssignNodeReply;
        node::list_nodes(v1::ListNodesRequest) -> v1::ListNodesReply;
        node::inspect_node(v1::InspectNodeRequest) -> v1::InspectNodeReply;
        group::list_groups(v1::ListGroupsRequest) -> v1::ListGroupsReply;
        group::show_group(v1::ShowGroupRequest) -> v1::ShowGroupReply;
        diff::diff(v1::DiffNodesRequest) -> v1::DiffNodesReply;
        commit::commit(v1::CommitRequest) -> v1::CommitReply;
        rollback::rollback(v1::RollbackScopeRequest) -> v1::RollbackScopeReply;
        extend::extend(v1::ExtendWindowRequest) -> v1::ExtendWindowReply;
        promote::promote(v1::PromoteRequest) -> v1::PromoteReply;
        apply::apply(v1::ApplyRequest) -> v1::ApplyReply;
        group_set_policy::set_policy(v1::SetPolicyRequest) -> v1::SetPolicyReply;
        blacklist::blacklist_list(v1::BlacklistListRequest) -> v1::BlacklistListReply;
        blacklist::blacklist_add(v1::BlacklistChangeRequest) -> v1::BlacklistChangeReply;
        blacklist::blacklist_remove(v1::BlacklistChangeRequest) -> v1::BlacklistChangeReply;
        cluster::cluster(v1::ClusterStatusRequest) -> v1::ClusterStatusReply;
        cluster::cluster_add(v1::ClusterAddRequest) -> v1::ClusterChangeReply;
        cluster::cluster_remove(v1::ClusterRemoveRequest) -> v1::ClusterChangeReply;
        health::health(v1::HealthRequest) -> v1::HealthReply;
        complete::complete(v1::CompleteRequest) -> v1::CompleteReply;
        invoke::invoke(v1::InvokeRequest) -> v1::InvokeReply;
    }
}
