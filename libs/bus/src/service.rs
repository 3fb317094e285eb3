//! What a service answers, registered with the NATS services API (`nats micro ls`, `$SRV.INFO`).
//!
//! One subscription for each subtree, not for each method: the methods are told apart here, so that an unknown one
//! can be answered. Two patterns in one queue group that match the same subject would share its requests at random.

use std::future::Future;

use pact_schemas::operation::{Operation, Owner};
use pact_schemas::rpc::{MemberRpc, Rpc, ServiceRpc, UpRpc, up};
use pact_schemas::subject::pattern;
use pact_schemas::{MemberId, ServiceName, v1};

use crate::error::BusError;
use crate::responder::{Endpoints, MethodLimits, RequestContext, Slot, unbuilt};

/// The methods of one service instance, to be given to [`crate::Bus::serve`]. `S` is what every handler is given.
pub struct Service<S = ()> {
    pub(crate) name: Option<ServiceName>,
    pub(crate) version: String,
    pub(crate) instance: String,
    pub(crate) endpoints: Endpoints,
    state: S,
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
        let (version, instance) = (version.to_owned(), instance.to_owned());
        Self { name, version, instance, endpoints, state: () }
    }

    /// The same with what its handlers are given.
    #[must_use]
    pub fn with<S>(self, state: S) -> Service<S> {
        let Self { name, version, instance, endpoints, state: () } = self;
        Service { name, version, instance, endpoints, state }
    }
}

impl<S: Clone + Send + Sync + 'static> Service<S> {
    /// The limits of the methods that are declared after this.
    #[must_use]
    pub fn limits(mut self, limits: MethodLimits) -> Self {
        self.endpoints.limits = limits;
        self
    }

    /// Declares each operation that this owner has not built yet: it answers so, instead of leaving its caller waiting.
    #[must_use]
    pub fn unbuilt(self, owner: Owner) -> Self {
        let Some(service) = self.name.clone() else { return self };
        Operation::unbuilt(owner).fold(self, |mut all, operation| {
            let (slot, pattern) = (Slot::Named(operation.method), pattern::service(&service));
            all.endpoints.add("rpc", pattern, service.as_str(), slot, unbuilt(operation));
            all
        })
    }

    /// Declares a call of this service; any instance answers. A call of another service is reported by
    /// [`crate::Bus::serve`].
    ///
    /// ```
    /// # use {pact_bus::Service, pact_schemas::{rpc::journal, v1}};
    /// # let service = Service::new("journal", "0.1.0", "journal-1");
    /// service.on(journal::Nodes, |(), _, _| async { Ok(v1::NodesReply::default()) });
    /// ```
    ///
    /// A reply that belongs to another request does not compile:
    ///
    /// ```compile_fail
    /// # use {pact_bus::Service, pact_schemas::{rpc::journal, v1}};
    /// # let service = Service::new("journal", "0.1.0", "journal-1");
    /// service.on(journal::Nodes, |(), _, _| async { Ok(v1::EntriesReply::default()) });
    /// ```
    #[must_use]
    pub fn on<R: ServiceRpc, Fut>(
        mut self,
        _call: R,
        handler: impl Fn(S, RequestContext, R::Request) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<R::Reply, v1::Error>> + Send + 'static,
    {
        let Some(service) = self.name.clone() else { return self };
        if service.as_str() != R::SERVICE {
            let (service, method) = (service.to_string(), R::METHOD);
            self.endpoints.refuse(BusError::ForeignMethod { service, owner: R::SERVICE, method });
        }
        self.add::<R, Fut>("rpc", pattern::service(&service), Slot::Named(R::METHOD), handler)
    }

    /// Declares a call of this member of the journal, which this instance alone answers.
    #[must_use]
    pub fn on_member<R: MemberRpc, Fut>(
        self,
        member: MemberId,
        _call: R,
        handler: impl Fn(S, RequestContext, R::Request) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<R::Reply, v1::Error>> + Send + 'static,
    {
        self.add::<R, Fut>("member", pattern::member(member), Slot::Named(R::METHOD), handler)
    }

    /// Declares a call of nodes' agents; any instance answers, `context.node` is the sender.
    #[must_use]
    pub fn on_up<R: UpRpc, Fut>(
        self,
        _call: R,
        handler: impl Fn(S, RequestContext, R::Request) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<R::Reply, v1::Error>> + Send + 'static,
    {
        let (endpoint, pattern) = (format!("up-{}", R::METHOD), pattern::all_up(R::METHOD));
        self.add::<R, Fut>(&endpoint, pattern, Slot::Named(R::METHOD), handler)
    }

    /// Declares what nodes' spools send; `context.subject` holds the kind, `context.node` is the sender.
    #[must_use]
    pub fn on_events<Fut>(
        self,
        handler: impl Fn(S, RequestContext, v1::NodeEvent) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<v1::EventAck, v1::Error>> + Send + 'static,
    {
        self.add::<up::Event, Fut>("events", pattern::all_events(), Slot::Any, handler)
    }

    fn add<R: Rpc, Fut>(
        mut self,
        endpoint: &str,
        pattern: String,
        slot: Slot<'_>,
        handler: impl Fn(S, RequestContext, R::Request) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<R::Reply, v1::Error>> + Send + 'static,
    {
        let Some(service) = &self.name else { return self };
        let queue_group = service.to_string();
        let state = self.state.clone();
        let handler = move |context, request: R::Request| handler(state.clone(), context, request);
        self.endpoints.add(endpoint, pattern, &queue_group, slot, handler);
        self
    }
}
