//! The calls on the bus. A type without size stands for each and holds together what belongs together: the subject, the
//! request and the reply.
//!
//! Callers name the type (`bus.call::<journal::Nodes>(…)`), handlers are registered with it, so that no method is spelled
//! twice and no reply is taken for that of another request. Byte streams are no calls: `exec` is answered once, and what it
//! prints follows on a stream of its own.

use prost::Message;

use crate::Subject;
use crate::id::{EventKind, MemberId, MethodName, NodeId, ServiceName};
use crate::v1;

/// One call: who is asked what, and what comes back.
pub trait Rpc: Copy + Send + Sync + 'static {
    /// What a caller names beside the request: nothing, a member of the journal, or a node.
    type To;
    /// The question.
    type Request: Message + Default + 'static;
    /// The answer.
    type Reply: Message + Default + 'static;

    /// Where the question is sent.
    fn subject(to: &Self::To) -> Subject;
}

/// A call that any instance of a service answers.
pub trait ServiceRpc: Rpc<To = ()> {
    /// The service.
    const SERVICE: &'static str;
    /// Last token of the subject.
    const METHOD: &'static str;
}

/// A call that one member of the journal answers.
pub trait MemberRpc: Rpc<To = MemberId> {
    /// Last token of the subject.
    const METHOD: &'static str;
}

/// A call that a node's agent answers.
pub trait NodeRpc: Rpc<To = NodeId> {
    /// Last token of the subject.
    const METHOD: &'static str;
}

/// A call of a node's agent, which a service answers.
pub trait UpRpc: Rpc<To = NodeId> {
    /// Last token of the subject.
    const METHOD: &'static str;
}

/// Declares the calls of one kind, and their names for the tests.
macro_rules! calls {
    (@to service) => { () };
    (@to member) => { MemberId };
    (@to node) => { NodeId };
    (@to up) => { NodeId };
    (@subject service, $service:literal, $method:literal, $to:ident) => {{
        let () = $to;
        Subject::ServiceRpc { service: ServiceName::known($service), method: MethodName::known($method) }
    }};
    (@subject member, $service:literal, $method:literal, $to:ident) => {
        Subject::MemberRpc { member: *$to, method: MethodName::known($method) }
    };
    (@subject node, $service:literal, $method:literal, $to:ident) => {
        Subject::NodeRpc { node: $to.clone(), method: MethodName::known($method) }
    };
    (@subject up, $service:literal, $method:literal, $to:ident) => {
        Subject::NodeUp { node: $to.clone(), method: MethodName::known($method) }
    };
    (@named service, $name:ident, $service:literal, $method:literal) => {
        impl ServiceRpc for $name {
            const SERVICE: &'static str = $service;
            const METHOD: &'static str = $method;
        }
    };
    (@named member, $name:ident, $service:literal, $method:literal) => {
        impl MemberRpc for $name {
            const METHOD: &'static str = $method;
        }
    };
    (@named node, $name:ident, $service:literal, $method:literal) => {
        impl NodeRpc for $name {
            const METHOD: &'static str = $method;
        }
    };
    (@named up, $name:ident, $service:literal, $method:literal) => {
        impl UpRpc for $name {
            const METHOD: &'static str = $method;
        }
    };
    ($kind:ident $service:literal: $($name:ident = $method:literal($request:ident) -> $reply:ident;)*) => {
        $(
            #[doc = concat!("`", $method, "`: [`v1::", stringify!($request), "`] → [`v1::", stringify!($reply), "`].")]
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl Rpc for $name {
                type To = calls!(@to $kind);
                type Request = v1::$request;
                type Reply = v1::$reply;

                fn subject(to: &Self::To) -> Subject {
                    calls!(@subject $kind, $service, $method, to)
                }
            }

            calls!(@named $kind, $name, $service, $method);
        )*

        /// The methods of this kind, in the order in which they are declared.
        pub const METHODS: &[&str] = &[$($method),*];
    };
}

/// What any member of the journal answers.
pub mod journal {
    use super::*;

    calls! { service "journal":
        Entries = "entries"(EntriesRequest) -> EntriesReply;
        Entry = "entry"(EntryRequest) -> EntryReply;
        Nodes = "nodes"(NodesRequest) -> NodesReply;
        Vclusters = "vclusters"(VclustersRequest) -> VclustersReply;
        Blob = "blob"(BlobRequest) -> BlobReply;
        Cluster = "cluster"(ClusterRequest) -> ClusterReply;
        Health = "health"(HealthRequest) -> HealthReply;
        Recall = "recall"(RecallRequest) -> RecallReply;
        Declared = "declared"(DeclaredRequest) -> DeclaredReply;
        Plan = "plan"(PlanRequest) -> PlanReply;
    }
}

/// What one member of the journal answers.
pub mod member {
    use super::*;

    calls! { member "journal":
        Propose = "propose"(ProposeRequest) -> ProposeReply;
    }
}

/// What svc-enroll answers.
pub mod enroll {
    use super::*;

    calls! { service "enroll":
        Enroll = "enroll"(EnrollRequest) -> EnrollReply;
        Liveness = "liveness"(LivenessRequest) -> LivenessReply;
        Health = "health"(HealthRequest) -> HealthReply;
    }
}

/// What svc-approval answers.
pub mod approval {
    use super::*;

    calls! { service "approval":
        Health = "health"(HealthRequest) -> HealthReply;
    }
}

/// What svc-bridge answers.
pub mod bridge {
    use super::*;

    calls! { service "bridge":
        Health = "health"(HealthRequest) -> HealthReply;
    }
}

/// What a node's agent answers.
pub mod node {
    use super::*;

    calls! { node "":
        Ping = "ping"(PingRequest) -> PingReply;
        Exec = "exec"(ExecStart) -> ExecAccepted;
        Diff = "diff"(DiffRequest) -> DiffReply;
        Capture = "capture"(CaptureRequest) -> CaptureReply;
        Settle = "settle"(SettleRequest) -> SettleReply;
        RollbackChunk = "rollback_chunk"(RollbackChunk) -> RollbackChunkAck;
        RollbackCheck = "rollback_check"(RollbackCheckRequest) -> RollbackCheckReply;
        Rollback = "rollback"(RollbackStart) -> RollbackReply;
        Extend = "extend"(ExtendStart) -> ExtendReply;
    }
}

/// What a node's agent asks.
pub mod up {
    use super::*;

    calls! { up "":
        Hello = "hello"(Hello) -> HelloReply;
        Renew = "renew"(RenewRequest) -> EnrollReply;
        Recording = "recording"(PutBlob) -> RecordingAck;
        Time = "time"(TimeRequest) -> SignedTime;
        Config = "config"(ConfigRequest) -> ConfigReply;
    }

    /// `event.<kind>`: [`v1::NodeEvent`] → [`v1::EventAck`]. The kind stands in the subject.
    #[derive(Debug, Clone, Copy)]
    pub struct Event;

    impl Rpc for Event {
        type To = (NodeId, EventKind);
        type Request = v1::NodeEvent;
        type Reply = v1::EventAck;

        fn subject((node, kind): &Self::To) -> Subject {
            Subject::NodeEvent { node: node.clone(), kind: kind.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_name_that_subjects_can_hold() {
        let services = [journal::METHODS, enroll::METHODS, approval::METHODS, bridge::METHODS];
        let others = [member::METHODS, node::METHODS, up::METHODS];
        for name in services.concat().into_iter().chain(others.concat()) {
            assert_eq!(MethodName::new(name).unwrap(), MethodName::known(name));
        }
        for name in [
            journal::Nodes::SERVICE,
            enroll::Enroll::SERVICE,
            approval::Health::SERVICE,
            bridge::Health::SERVICE,
        ] {
            assert_eq!(ServiceName::new(name).unwrap(), ServiceName::known(name));
        }
    }

    #[test]
    fn subjects_are_those_of_the_contract() {
        let node = NodeId::new("n1").unwrap();
        let of = (node.clone(), EventKind::new("exec_ended").unwrap());
        for (subject, wanted) in [
            (journal::Nodes::subject(&()), "pact.v1.rpc.journal.nodes"),
            (
                member::Propose::subject(&MemberId::new(3).unwrap()),
                "pact.v1.rpc.journal.m.3.propose",
            ),
            (enroll::Enroll::subject(&()), "pact.v1.rpc.enroll.enroll"),
            (node::RollbackCheck::subject(&node), "pact.v1.node.n1.rpc.rollback_check"),
            (up::Hello::subject(&node), "pact.v1.node.n1.up.hello"),
            (up::Event::subject(&of), "pact.v1.node.n1.up.event.exec_ended"),
        ] {
            assert_eq!(subject.to_string(), wanted);
            assert_eq!(wanted.parse::<Subject>().unwrap(), subject);
        }
    }
}
