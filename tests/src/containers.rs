//! A whole cluster in containers, on a network of its own.
//!
//! - [`Cluster`]: nats-server, three journals, two gateways, enrolment, approval, bridge, and the agents of as many nodes as a
//!   test wants, each in a container of the images that `./dev images` makes. `pact` runs on this machine.
//! - [`part`]: what the parts are called, keep and publish. `material`: their keys and configuration.
//! - [`docker`]: the daemon. [`leftovers`]: nothing stays behind, whatever happens to a test. `images`: no stale ones.
//! - [`writes`]: a stream of writes, and what became of each.
//!
//! Each test has its own cluster: nextest runs each in a process of its own, and a scenario that finds the damage of another
//! says nothing. Starting one takes about as long as a scenario's first fault.
//!
//! Invariants, as absences: no part has the keys of another; nothing runs as root but agents; no wait is without a bound;
//! nothing without this module's labels is removed.

mod cluster;
pub mod docker;
mod images;
pub mod leftovers;
mod material;
mod nodes;
pub mod part;
pub mod writes;

pub use cluster::Cluster;
pub use part::Part;
