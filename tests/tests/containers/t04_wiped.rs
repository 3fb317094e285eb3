//! A journal member loses all its volumes, and comes back as a new member.

use std::time::Instant;

use pact_tests::containers::writes::{Write, while_writing};
use pact_tests::containers::{Cluster, Part};
use pact_tests::site::{READY, Role};
use pact_tests::wait::until;

#[test]
fn a_member_that_lost_everything_is_refused_under_its_number_and_comes_back_under_a_new_one() {
    let cluster = Cluster::start();
    let wiped = until("a member follows", READY, || {
        let leader = cluster.leader();
        (1..=3).find(|member| *member != leader)
    })
    .0;
    let others: Vec<u64> = (1..=3).filter(|member| *member != wiped).collect();
    let mut said = String::new();
    let writes = while_writing(&cluster, [Write::Node, Write::Vcluster], |stream| {
        cluster.wipe(Part::Journal(wiped));
        let end = || cluster.ended(Part::Journal(wiped));
        let (code, _) = until("the member with an empty log ends", READY, end);
        said = format!("exit code {code}\n{}", cluster.log(Part::Journal(wiped)));
        assert_ne!(code, 0, "{said}");
        stream.wait_for(3);
    });
    let who = format!("member {wiped} has been part of this journal before");
    assert!(said.contains(&who) && said.contains("add it again under a new id"), "{said}");
    writes.assert_none_failed();
    writes.assert_kept(&cluster);
    cluster.wait_equal(&others);

    let writes = while_writing(&cluster, [Write::Node, Write::Vcluster], |stream| {
        cluster.pact_ok(Role::Admin, &["cluster", "remove", &wiped.to_string()]);
        stream.wait_for(3);
        let address = cluster.start_member(4);
        let waits = || cluster.log(Part::Journal(4)).contains("pact cluster add 4").then_some(());
        until("the new member waits to be added", READY, waits);
        let begun = Instant::now();
        cluster.pact_ok(Role::Admin, &["cluster", "add", "4", &address]);
        eprintln!("member 4 votes after {:?}", begun.elapsed());
        stream.wait_for(3);
    });
    writes.assert_none_failed();
    cluster.wait_ready(Part::Journal(4));
    cluster.wait_equal(&[&others[..], &[4]].concat());

    // The new member and one of the old ones are a majority, and have everything.
    for old in &others {
        let writes = while_writing(&cluster, [Write::Node, Write::Vcluster], |stream| {
            cluster.kill(Part::Journal(*old));
            stream.wait_for(3);
        });
        writes.assert_none_failed();
        writes.assert_kept(&cluster);
        cluster.start_again(Part::Journal(*old));
        cluster.wait_ready(Part::Journal(*old));
    }
    cluster.wait_equal(&[&others[..], &[4]].concat());

    // Started once more under its old number, it is told that it is gone for good.
    cluster.start_again(Part::Journal(wiped));
    let end = || cluster.ended(Part::Journal(wiped));
    let (code, _) = until("the removed member ends", READY, end);
    let said = cluster.log(Part::Journal(wiped));
    assert!(code != 0 && said.contains("was removed from the journal by entry"), "{said}");
}
