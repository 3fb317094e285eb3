//! The rules of enrolment and liveness. Nothing in here reads a clock, sends a message or logs: facts in, verdicts out.

pub(crate) mod contact;
pub(crate) mod hardware;
pub(crate) mod liveness;
pub(crate) mod refusals;
