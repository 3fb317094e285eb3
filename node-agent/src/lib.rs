//! The agent on every node: the only thing that acts there, and only on what the journal has committed.
//!
//! Parts
//! - [`agent`]: the life: open, recover, enrol, connect, serve, stop. [`config`]: its keys. [`reload`]: SIGHUP.
//! - `enrol`: first contact, identity on disk, renewal. `uplink`: the current bus connection. `hello`: signs of life.
//! - `time`: plane time from signed answers. `nonces`: which grants were used.
//! - `exec`: commands, from grant to outcome; `pact_commands` says which of them may run. [`warden`]: what ends all of
//!   a command.
//! - `declared`: what the node should be. `provider`: what it is. `drift`: the difference, and what is decided about it.
//! - `spool`: numbered events until the journal has them. `blobs`: recorded output until the journal has it.
//! - [`capability`], `report`: what this node has.
//! - `held`, `memory`: values in little memory, and what is free of it. `durable`, `records`, `owner`, `boot`: files that survive a crash, threads that own them, the boot they belong to.
//!   `processes`: what `/proc` says of the machine's processes. `privileges`: whether the agent may do what it has to.
//!
//! Invariants, as absences
//! - No socket listens; every request comes over the bus connection that the agent made itself.
//! - Nothing starts without a verified grant, none of them twice, and none before its use is on disk.
//! - No started command is without outcome: what a crash interrupts is reported as unknown and never run again.
//! - No event is dropped, reordered or numbered twice; a full spool refuses new work instead.
//! - No key leaves the node, and none is shown. No wall clock decides about a grant.
//! - Nothing polls while the node is idle, but for one hello a minute, one report and one question for declarations each five,
//!   one time fix and one full look an hour, and what providers cannot be notified of.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod agent;
pub mod capability;
pub mod config;
pub mod reload;
pub mod warden;

mod blobs;
mod boot;
mod declared;
mod drift;
mod durable;
mod enrol;
mod exec;
mod held;
mod hello;
mod memory;
mod nonces;
mod owner;
mod privileges;
mod processes;
#[allow(dead_code, reason = "some of it serves its tests only")]
mod provider;
mod readers;
mod records;
mod report;
mod rpc;
mod spool;
mod time;
mod uplink;
