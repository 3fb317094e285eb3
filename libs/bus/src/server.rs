//! nats-server itself: its configuration, and a throw-away one for tests.
//!
//! Only settings that nats-server 2.9.10 knows are written. JWTs come from elsewhere; nothing here makes one.

mod config;
mod test_server;

pub use config::{Accounts, Authority, JetStream, ServerConfig, ServerTls};
pub use test_server::{TestServer, TestServerError};
