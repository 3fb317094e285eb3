//! Typed calls: subject, request and reply come from one type, see [`pact_schemas::rpc`].

use std::time::Duration;

use pact_schemas::rpc::Rpc;

use crate::bus::Bus;
use crate::error::CallError;

impl Bus {
    /// Asks and waits for the answer, for at most `deadline` (bounded by [`crate::MAX_DEADLINE`]). The receiver obeys the
    /// deadline too. Nothing is retried.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::nothing_done`] tells whether a retry is safe without a request id.
    pub async fn call<R: Rpc>(
        &self,
        to: &R::To,
        request: &R::Request,
        deadline: Duration,
    ) -> Result<R::Reply, CallError> {
        self.request(&R::subject(to), request, deadline).await
    }

    /// As [`Bus::call`], for requests that do no harm when they are carried out twice, see [`Bus::request_any`].
    ///
    /// # Errors
    /// As [`Bus::request_any`].
    pub async fn call_any<R: Rpc>(
        &self,
        to: &R::To,
        request: &R::Request,
        again: Duration,
        deadline: Duration,
    ) -> Result<R::Reply, CallError> {
        self.request_any(&R::subject(to), request, again, deadline).await
    }
}
