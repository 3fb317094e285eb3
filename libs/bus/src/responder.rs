//! What a process answers: methods, their bounds, and the subjects on which they are asked for.

use std::collections::BTreeMap;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pact_schemas::operation::{Operation, Owner};
use pact_schemas::rpc::NodeRpc;
use pact_schemas::subject::pattern;
use pact_schemas::{ErrorCode, MethodName, NodeId, Subject, v1};
use tokio::sync::Semaphore;

use crate::deadline::{Deadline, MAX_DEADLINE};
use crate::error::BusError;

/// The queue group of an agent: while its credentials are renewed, two connections hold the same subjects (decisions §1).
const AGENT_QUEUE_GROUP: &str = "n";

/// What one method may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodLimits {
    /// Requests worked on at once; one more is answered `PACT_BUSY`.
    pub workers: usize,
    /// The longest that one request may take, whatever its deadline says; at most [`MAX_DEADLINE`].
    pub longest: Duration,
}

impl MethodLimits {
    /// 256 at once: more than the cores and disks of a management host can serve, less than hurts its memory.
    pub const STANDARD: Self = Self { workers: 256, longest: MAX_DEADLINE };
}

/// What a handler knows about a request beside its body.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The subject on which it came. What it says about the sender was enforced by the bus.
    pub subject: Subject,
    /// When the handler is cut off and the caller told `PACT_TIMEOUT`.
    pub deadline: Deadline,
    /// The node in the subject: the sender of `up` requests, this node for its own methods.
    pub node: Option<NodeId>,
}

/// The outcome of a handler, encoded.
pub(crate) type Handled = Result<Vec<u8>, v1::Error>;

/// A method with its body still encoded.
pub(crate) type Handler = Arc<
    dyn Fn(RequestContext, Bytes) -> Pin<Box<dyn Future<Output = Handled> + Send>> + Send + Sync,
>;

/// A method and the workers it may use.
#[derive(Clone)]
pub(crate) struct Method {
    pub(crate) handler: Handler,
    pub(crate) workers: Arc<Semaphore>,
    pub(crate) longest: Duration,
}

/// One subscription and the methods behind it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// In the services API, where no dot is allowed.
    pub(crate) name: String,
    pub(crate) pattern: String,
    pub(crate) queue_group: String,
    pub(crate) methods: BTreeMap<String, Method>,
    /// For whatever is not in `methods`; without it that is `PACT_UNIMPLEMENTED`.
    pub(crate) any: Option<Method>,
}

/// Collects endpoints, and the first mistake made while doing so.
pub(crate) struct Endpoints {
    pub(crate) list: Vec<Endpoint>,
    pub(crate) limits: MethodLimits,
    pub(crate) mistake: Option<BusError>,
}

/// Which part of an endpoint a handler is for.
pub(crate) enum Slot<'a> {
    Named(&'a str),
    Any,
}

impl Endpoints {
    pub(crate) fn new() -> Self {
        Self { list: Vec::new(), limits: MethodLimits::STANDARD, mistake: None }
    }

    pub(crate) fn add<Req, Rep, F, Fut>(
        &mut self,
        name: &str,
        pattern: String,
        queue_group: &str,
        slot: Slot<'_>,
        handler: F,
    ) where
        Req: prost::Message + Default + 'static,
        Rep: prost::Message + 'static,
        F: Fn(RequestContext, Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Rep, v1::Error>> + Send + 'static,
    {
        let method = Method {
            handler: decoding(handler),
            workers: Arc::new(Semaphore::new(self.limits.workers.min(Semaphore::MAX_PERMITS))),
            longest: self.limits.longest.min(MAX_DEADLINE),
        };
        let named = match slot {
            Slot::Any => None,
            Slot::Named(text) => match MethodName::new(text) {
                Ok(name) => Some(name),
                Err(error) => return self.refuse(BusError::Name(error)),
            },
        };
        let endpoint = self.endpoint(name, pattern, queue_group);
        let (taken, method_name) = match named {
            None => (endpoint.any.replace(method).is_some(), "*".to_owned()),
            Some(name) => {
                let name = name.to_string();
                (endpoint.methods.insert(name.clone(), method).is_some(), name)
            }
        };
        if taken {
            let pattern = endpoint.pattern.clone();
            self.refuse(BusError::DuplicateMethod { pattern, method: method_name });
        }
    }

    pub(crate) fn refuse(&mut self, mistake: BusError) {
        self.mistake.get_or_insert(mistake);
    }

    fn endpoint(&mut self, name: &str, pattern: String, queue_group: &str) -> &mut Endpoint {
        let found = self.list.iter().position(|endpoint| endpoint.pattern == pattern);
        let at = found.unwrap_or(self.list.len());
        if found.is_none() {
            self.list.push(Endpoint {
                name: name.to_owned(),
                pattern,
                queue_group: queue_group.to_owned(),
                methods: BTreeMap::new(),
                any: None,
            });
        }
        // In bounds: `at` was found, or is the place of what was just pushed.
        #[allow(clippy::indexing_slicing)]
        &mut self.list[at]
    }
}

fn decoding<Req, Rep, F, Fut>(handler: F) -> Handler
where
    Req: prost::Message + Default + 'static,
    Rep: prost::Message + 'static,
    F: Fn(RequestContext, Req) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Rep, v1::Error>> + Send + 'static,
{
    Arc::new(move |context, body: Bytes| match Req::decode(body) {
        Ok(request) => {
            let work = handler(context, request);
            Box::pin(async move { work.await.map(|reply| reply.encode_to_vec()) })
        }
        Err(error) => {
            let refusal = ErrorCode::Malformed
                .error("the body of the request does not decode")
                .because(error.to_string());
            Box::pin(std::future::ready(Err(refusal)))
        }
    })
}

/// What is answered to an operation that is not built yet.
pub(crate) fn unbuilt(
    operation: &'static Operation,
) -> impl Fn(RequestContext, v1::InvokeRequest) -> Ready<Result<v1::InvokeReply, v1::Error>> {
    move |_, _| ready(Err(operation.unimplemented()))
}

/// What an agent answers, on `pact.v1.node.<node>.rpc.*`; `S` is what every handler is given. Agents have no right to the
/// services API.
pub struct Responder<S = ()> {
    node: NodeId,
    pub(crate) endpoints: Endpoints,
    state: S,
}

impl Responder {
    /// Nothing yet; methods that are asked for and not declared are `PACT_UNIMPLEMENTED`.
    #[must_use]
    pub fn node(node: &NodeId) -> Self {
        Self { node: node.clone(), endpoints: Endpoints::new(), state: () }
    }
}

impl<S: Clone + Send + Sync + 'static> Responder<S> {
    /// The same with what the handlers are given that are declared after this.
    #[must_use]
    pub fn with<T>(self, state: T) -> Responder<T> {
        Responder { node: self.node, endpoints: self.endpoints, state }
    }

    /// The limits of the methods that are declared after this.
    #[must_use]
    pub fn limits(mut self, limits: MethodLimits) -> Self {
        self.endpoints.limits = limits;
        self
    }

    /// Declares a call of this node.
    #[must_use]
    pub fn on<R: NodeRpc, Fut>(
        mut self,
        _call: R,
        handler: impl Fn(S, RequestContext, R::Request) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<R::Reply, v1::Error>> + Send + 'static,
    {
        let (pattern, state) = (pattern::node_rpc(&self.node), self.state.clone());
        let handler = move |context, request: R::Request| handler(state.clone(), context, request);
        let slot = Slot::Named(R::METHOD);
        self.endpoints.add("node", pattern, AGENT_QUEUE_GROUP, slot, handler);
        self
    }

    /// Declares each operation of nodes that is not built yet: it answers so, instead of leaving its caller waiting.
    #[must_use]
    pub fn unbuilt(self) -> Self {
        Operation::unbuilt(Owner::Node).fold(self, |mut all, operation| {
            let (slot, pattern) = (Slot::Named(operation.method), pattern::node_rpc(&all.node));
            all.endpoints.add("node", pattern, AGENT_QUEUE_GROUP, slot, unbuilt(operation));
            all
        })
    }
}
