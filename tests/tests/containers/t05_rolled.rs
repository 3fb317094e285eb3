//! All services are replaced, one after another, under writes: none of them fails.

use std::time::Duration;

use pact_tests::containers::writes::{Write, while_writing};
use pact_tests::containers::{Cluster, Part};
use pact_tests::site::{READY, Role};
use pact_tests::wait::until;

#[test]
fn every_service_is_replaced_under_writes_and_none_of_them_fails() {
    let cluster = Cluster::with_nodes(1);
    let node = Part::Agent(1);
    let executes = || {
        until("the node executes", READY, || {
            let done = cluster.pact(Role::Ops, &["exec", "n1", "--", "uname", "-s"]);
            (done.status.success() && done.stdout == b"Linux\n").then_some(())
        })
    };
    executes();
    let parts: Vec<Part> = cluster.services().into_iter().chain([Part::Bus]).collect();
    let writes = while_writing(&cluster, [Write::Node, Write::Vcluster], |stream| {
        for part in &parts {
            let code = cluster.replace(*part);
            // nats-server says 1 when it is asked to end.
            assert!(code == 0 || *part == Part::Bus, "{part} ends in order on SIGTERM: {code}");
            if *part != Part::Bus {
                cluster.wait_ready(*part);
            }
            if let Part::Journal(_) = part {
                cluster.wait_equal(&[1, 2, 3]);
            }
            stream.wait_for(2);
        }
    });
    let count = writes.acknowledged.len();
    eprintln!("{parts:?} replaced: {count} writes, the longest took {:?}", writes.longest);
    writes.assert_none_failed();
    if let Ok(seconds) = std::env::var("PACT_SOAK_WRITE_SECONDS") {
        // Not in the usual run: how long a container takes to start is the machine's affair.
        let most = Duration::from_secs(seconds.parse().expect("a number of seconds"));
        assert!(writes.longest <= most, "a write took {:?}: {}", writes.longest, writes.slowest);
    }
    writes.assert_kept(&cluster);
    assert_eq!(cluster.replace(node), 0, "the agent ends in order on SIGTERM");
    executes();
}
