//! What a service answers, registered with the NATS services API (`nats micro ls`, `$SRV.INFO`).
//!
//! One subscription for each subtree, not for each method: the methods are told apart here, so that an unknown one
//! can be answered. Two patterns in one queue group that match the same subject would share its requests at random.

use std::future::Future;

use pact_schemas::operation::{Operation, Owner};
use pact_schemas::subject::pattern;
use pact_schemas::{MemberId, ServiceName, v1};

use crate::error::BusError;
use crate::responder::{Endpoints, MethodLimits, RequestContext, Slot};

/// The methods of one service instance, to be given to [`crate::Bus::serve`].
pub struct Service {
    pub(crate) name: Option<ServiceName>,
    pub(crate) version: String,
    pub(crate) instance: String,
    pub(crate) endpoints: Endpoints,
}

impl Service {
    /// A service without methods. `version` is semantic (`0.1.0`); `instance` names this process among its equals.
    /// A bad name is reported by [`crate::Bus::serve`].
    #[must_use]
    pub fn new(name: &str, version: &str, instance: &str) -> Self {
        let mut endpoints = Endpoints::new();
        let name = match ServiceName::new(name) {
            Ok(name) => Some(name),
            Err(error) => {
                endpoints.refuse(BusError::Name(error));
                None
            }
        };
        Self { name, version: version.to_owned(), instance: instance.to_owned(), endpoints }
    }

    /// The limits of the methods that are declared after this.
    #[must_use]
    pub fn limits(mut self, limits: MethodLimits) -> Self {
        self.endpoints.limits = limits;
        self
    }

    /// Declares each operation that this owner has not built yet: it answers so, instead of leaving its caller waiting.
    #[must_use]
    pub fn unbuilt(self, owner: Owner) -> Self {
        Operation::unbuilt(owner).fold(self, |service, operation| {
            service.method(operation.method, move |_, _: v1::InvokeRequest| async move {
                Err::<v1::InvokeReply, _>(operation.unimplemented())
            })
        })
    }

    /// Declares `pact.v1.rpc.<service>.<name>`; any instance answers.
    #[must_use]
    pub fn method<Req, Rep, F, Fut>(self, name: &str, handler: F) -> Self
    where
        Req: prost::Message + Default + 'static,
        Rep: prost::Message + 'static,
        F: Fn(RequestContext, Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Rep, v1::Error>> + Send + 'static,
    {
        let Some(service) = self.name.clone() else { return self };
        self.add("rpc", pattern::service(&service), Slot::Named(name), handler)
    }

    /// Declares `pact.v1.rpc.journal.m.<member>.<name>`, which this instance alone answers.
    #[must_use]
    pub fn member_method<Req, Rep, F, Fut>(self, member: MemberId, name: &str, handler: F) -> Self
    where
        Req: prost::Message + Default + 'static,
        Rep: prost::Message + 'static,
        F: Fn(RequestContext, Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Rep, v1::Error>> + Send + 'static,
    {
        self.add("member", pattern::member(member), Slot::Named(name), handler)
    }

    /// Declares `pact.v1.node.*.up.<name>`; any instance answers, `context.node` is the sender.
    #[must_use]
    pub fn up_method<Req, Rep, F, Fut>(self, name: &str, handler: F) -> Self
    where
        Req: prost::Message + Default + 'static,
        Rep: prost::Message + 'static,
        F: Fn(RequestContext, Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Rep, v1::Error>> + Send + 'static,
    {
        self.add(&format!("up-{name}"), pattern::all_up(name), Slot::Named(name), handler)
    }

    /// Declares `pact.v1.node.*.up.event.*`; `context.subject` holds the kind, `context.node` is the sender.
    #[must_use]
    pub fn events<Req, Rep, F, Fut>(self, handler: F) -> Self
    where
        Req: prost::Message + Default + 'static,
        Rep: prost::Message + 'static,
        F: Fn(RequestContext, Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Rep, v1::Error>> + Send + 'static,
    {
        self.add("events", pattern::all_events(), Slot::Any, handler)
    }

    fn add<Req, Rep, F, Fut>(
        mut self,
        endpoint: &str,
        pattern: String,
        slot: Slot<'_>,
        handler: F,
    ) -> Self
    where
        Req: prost::Message + Default + 'static,
        Rep: prost::Message + 'static,
        F: Fn(RequestContext, Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Rep, v1::Error>> + Send + 'static,
    {
        let Some(service) = &self.name else { return self };
        let queue_group = service.to_string();
        self.endpoints.add(endpoint, pattern, &queue_group, slot, handler);
        self
    }
}
