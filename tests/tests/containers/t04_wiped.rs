//! A journal member loses all its volumes.

use pact_tests::containers::writes::{Write, while_writing};
use pact_tests::containers::{Cluster, Part};
use pact_tests::site::{READY, Role, describe};
use pact_tests::wait::until;

#[test]
fn a_member_that_lost_everything_is_refused_under_its_number_and_the_others_go_on() {
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
    let removed = cluster.pact(Role::Admin, &["cluster", "remove", &wiped.to_string()]);
    eprintln!("{}", describe(&removed));
}
