//! The journal and the nodes, asked.

pub(crate) mod changes;
pub(crate) mod fanout;
pub(crate) mod nodes;
pub(crate) mod plans;
pub(crate) mod propose;
pub(crate) mod read;
pub(crate) mod request;
