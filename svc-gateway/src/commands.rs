//! The API, one file for each area. This file only takes requests apart and puts answers together.

mod apply;
mod blacklist;
mod cap;
mod cluster;
mod commit;
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

use std::pin::Pin;
use std::time::Duration;

use pact_schemas::v1::pact_server::Pact;
use pact_schemas::v1::{self, EntryRecord, ExecInput, ExecOutput, ReadOutputReply};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::Answer;
use crate::rights::authorise::{Asked, operation};

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Gateway {
    /// Counts the call and makes a status of its failure.
    fn answered<T>(
        &self,
        method: &'static str,
        started: Duration,
        answer: Answer<T>,
    ) -> Result<Response<T>, Status> {
        let result = match &answer {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.code.clone(),
        };
        let took = self.clock.monotonic().saturating_sub(started);
        metrics::counter!("pact_gateway_requests_total", "method" => method, "result" => result)
            .increment(1);
        metrics::histogram!("pact_gateway_request_seconds", "method" => method)
            .record(took.as_secs_f64());
        answer.map(Response::new).map_err(v1::Error::into_status)
    }

    async fn whoami(&self, caller: Caller, _: v1::WhoamiRequest) -> Answer<v1::WhoamiReply> {
        self.authorise(&caller, Asked::of(operation("whoami")?)).await?;
        let expires = caller.principal.expires();
        Ok(v1::WhoamiReply {
            principal: Some(caller.principal.to_wire()),
            expires: expires.map(|at| pact_schemas::convert::timestamp(at.unix_nanos())),
        })
    }
}

/// Every method: authenticate, then the function of the same name in one of the files of this folder.
macro_rules! api {
    (
        streams { $($stream:ident($takes:ty) -> $kind:ident of $item:ty;)* }
        unary { $($method:ident($request:ty) -> $reply:ty;)* }
    ) => {
        #[tonic::async_trait]
        impl Pact for Gateway {
            $(
                type $kind = Answers<$item>;

                async fn $stream(&self, request: Request<$takes>) -> Result<Response<Self::$kind>, Status> {
                    let started = self.clock.monotonic();
                    let answer = match self.tokens.authenticate(request.metadata()) {
                        Ok(caller) => Box::pin(Gateway::$stream(self, caller, request.into_inner())).await,
                        Err(error) => Err(error),
                    };
                    let stream = answer.map(|items| Box::pin(items) as Self::$kind);
                    self.answered(stringify!($stream), started, stream)
                }
            )*
            $(
                async fn $method(&self, request: Request<$request>) -> Result<Response<$reply>, Status> {
                    let started = self.clock.monotonic();
                    let answer = match self.tokens.authenticate(request.metadata()) {
                        Ok(caller) => Box::pin(Gateway::$method(self, caller, request.into_inner())).await,
                        Err(error) => Err(error),
                    };
                    self.answered(stringify!($method), started, answer)
                }
            )*
        }
    };
}

api! {
    streams {
        exec(Streaming<ExecInput>) -> ExecStream of ExecOutput;
        watch(v1::WatchRequest) -> WatchStream of EntryRecord;
        read_output(v1::ReadOutputRequest) -> ReadOutputStream of ReadOutputReply;
    }
    unary {
        whoami(v1::WhoamiRequest) -> v1::WhoamiReply;
        log(v1::LogRequest) -> v1::LogReply;
        show_entry(v1::ShowEntryRequest) -> v1::ShowEntryReply;
        status(v1::StatusRequest) -> v1::StatusReply;
        capability(v1::CapabilityRequest) -> v1::CapabilityReply;
        enroll_node(v1::EnrollNodeRequest) -> v1::EnrollNodeReply;
        assign_node(v1::AssignNodeRequest) -> v1::AssignNodeReply;
        list_nodes(v1::ListNodesRequest) -> v1::ListNodesReply;
        inspect_node(v1::InspectNodeRequest) -> v1::InspectNodeReply;
        list_groups(v1::ListGroupsRequest) -> v1::ListGroupsReply;
        show_group(v1::ShowGroupRequest) -> v1::ShowGroupReply;
        diff(v1::DiffNodesRequest) -> v1::DiffNodesReply;
        commit(v1::CommitRequest) -> v1::CommitReply;
        rollback(v1::RollbackScopeRequest) -> v1::RollbackScopeReply;
        extend(v1::ExtendWindowRequest) -> v1::ExtendWindowReply;
        promote(v1::PromoteRequest) -> v1::PromoteReply;
        apply(v1::ApplyRequest) -> v1::ApplyReply;
        set_policy(v1::SetPolicyRequest) -> v1::SetPolicyReply;
        blacklist_list(v1::BlacklistListRequest) -> v1::BlacklistListReply;
        blacklist_add(v1::BlacklistChangeRequest) -> v1::BlacklistChangeReply;
        blacklist_remove(v1::BlacklistChangeRequest) -> v1::BlacklistChangeReply;
        cluster(v1::ClusterStatusRequest) -> v1::ClusterStatusReply;
        cluster_add(v1::ClusterAddRequest) -> v1::ClusterChangeReply;
        cluster_remove(v1::ClusterRemoveRequest) -> v1::ClusterChangeReply;
        health(v1::HealthRequest) -> v1::HealthReply;
        invoke(v1::InvokeRequest) -> v1::InvokeReply;
    }
}
