//! The leader of the journal is killed, stopped, restarted and frozen under writes: none of them fails.

use pact_tests::containers::writes::{Write, while_writing};
use pact_tests::containers::{Cluster, Part};
use pact_tests::site::READY;
use pact_tests::wait::until;

const MEMBERS: [u64; 3] = [1, 2, 3];

/// Who leads now, instead of this member.
fn wait_other_leader(cluster: &Cluster, old: u64) -> u64 {
    let other = || Some(cluster.leader()).filter(|leader| *leader != old);
    until(&format!("another member than {old} leads"), READY, other).0
}

#[test]
fn whatever_happens_to_the_leader_no_write_fails_or_is_lost() {
    let cluster = Cluster::start();
    let mut led = Vec::new();
    let writes = while_writing(&cluster, [Write::Node, Write::Vcluster], |stream| {
        let killed = cluster.leader();
        cluster.kill(Part::Journal(killed));
        led.push(("killed", killed));
        wait_other_leader(&cluster, killed);
        stream.wait_for(3);
        cluster.start_again(Part::Journal(killed));
        cluster.wait_ready(Part::Journal(killed));
        cluster.wait_equal(&MEMBERS);

        let stopped = cluster.leader();
        assert_eq!(cluster.stop(Part::Journal(stopped)), 0, "SIGTERM ends it in order");
        led.push(("stopped", stopped));
        wait_other_leader(&cluster, stopped);
        stream.wait_for(3);
        cluster.start_again(Part::Journal(stopped));
        cluster.wait_ready(Part::Journal(stopped));
        cluster.wait_equal(&MEMBERS);

        // Gone and back at once, quicker than the others may notice: it may lead still.
        let restarted = cluster.leader();
        cluster.kill(Part::Journal(restarted));
        cluster.start_again(Part::Journal(restarted));
        led.push(("restarted", restarted));
        cluster.wait_ready(Part::Journal(restarted));
        stream.wait_for(3);
        cluster.wait_equal(&MEMBERS);
    });
    eprintln!(
        "{led:?}; {} writes, the longest took {:?}",
        writes.acknowledged.len(),
        writes.longest
    );
    writes.assert_none_failed();
    writes.assert_kept(&cluster);
}
