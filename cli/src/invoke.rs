//! Operations that are not built yet: they reach the service that owns them, which says so.

use pact_schemas::v1;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{Envelope, Format};
use crate::session::{Exit, Session};
use crate::target::Targets;

/// One call of `Invoke`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Invocation {
    request: v1::InvokeRequest,
}

impl Invocation {
    /// Of this row of the operations table.
    pub(crate) fn new(operation: &'static str) -> Self {
        let request = v1::InvokeRequest { operation: operation.to_owned(), ..Default::default() };
        Self { request }
    }

    /// On these nodes.
    pub(crate) fn on(mut self, targets: Targets) -> Self {
        self.request.targets = targets.set;
        self.request.exclude = targets.exclude;
        self
    }

    /// In this vCluster.
    pub(crate) fn vcluster(mut self, vcluster: Option<String>) -> Self {
        self.request.vcluster = vcluster;
        self
    }

    /// With this argument.
    pub(crate) fn argument(mut self, name: &str, value: impl ToString) -> Self {
        let argument = v1::Argument { name: name.to_owned(), value: value.to_string() };
        self.request.arguments.push(argument);
        self
    }

    /// With this argument, if it was given.
    pub(crate) fn maybe(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.argument(name, value),
            None => self,
        }
    }

    /// With this switch, if it was set.
    pub(crate) fn switch(self, name: &str, is_set: bool) -> Self {
        if is_set { self.argument(name, true) } else { self }
    }

    /// Sends it; the id is the same on a retry.
    pub(crate) async fn send(mut self, session: &Session) -> Result<Exit, Failure> {
        self.request.request_id = session.new_request_id();
        self = self.maybe("lattice_endpoint", session.settings.lattice_endpoint.clone());
        let request = &self.request;
        gateway::unary(session, |mut client| {
            let request = request.clone();
            async move { client.invoke(request).await }
        })
        .await?;
        match session.format() {
            Format::Json => Envelope::new("pact/v1/Invoke", Vec::new()).write()?,
            Format::Text => session.screen.note("done"),
        }
        Ok(Exit::SUCCESS)
    }
}
