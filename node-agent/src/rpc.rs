//! What this node answers on `pact.v1.node.<node>.rpc.*`: `exec`, `ping`, what `drift` answers, and for each operation that is not
//! built yet the error that names its command.

use std::time::Duration;

use pact_bus::{MethodLimits, Responder};
use pact_schemas::rpc::node as rpc;
use pact_schemas::{NodeId, v1};

use crate::boot::BootId;
use crate::drift::{self, Drift};
use crate::exec::Engine;
use crate::uplink::Uplink;

/// Requests at work: twice the commands that may run, for those that are told so.
const WORKERS: usize = 32;

/// Taking a command: two syncs and a look at its files.
const LONGEST: Duration = Duration::from_secs(15);

/// The methods of this node.
pub(crate) fn responder(
    node: &NodeId,
    engine: &Engine,
    drift: &Drift,
    uplink: &Uplink,
    boot: &BootId,
    version: &'static str,
) -> Responder {
    let ping = v1::PingReply { boot_id: boot.to_string(), agent_version: version.to_owned() };
    let responder = Responder::node(node)
        .limits(MethodLimits { workers: WORKERS, longest: LONGEST })
        .with(engine.clone())
        .on(rpc::Exec, |engine, _, start| async move { engine.exec(start).await })
        .on(rpc::Ping, move |_, _, _| std::future::ready(Ok(ping.clone())));
    drift::methods(responder, drift, engine, uplink).unbuilt().with(())
}
