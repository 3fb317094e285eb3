//! The bus dies and comes back: everything resumes by itself.

use pact_tests::site::{READY, Role, Site};
use pact_tests::wait::until;

#[test]
fn everything_resumes_when_the_bus_is_back() {
    let mut site = Site::with_nodes(1, &["n1"]);
    site.pact_ok(Role::Ops, &["exec", "n1", "--", "uname"]);
    let before: Vec<u32> =
        ["journal-1", "gateway", "enroll", "n1"].map(|part| site.part(part).id()).to_vec();
    site.part("nats-server").kill();
    let down = site.pact(Role::Ops, &["exec", "n1", "--", "uname"]);
    assert_eq!(down.status.code(), Some(5), "{}", String::from_utf8_lossy(&down.stderr));
    site.start_bus();
    let ((), took) = until("an exec works again", READY, || {
        site.pact(Role::Ops, &["exec", "n1", "--", "uname"]).status.success().then_some(())
    });
    eprintln!("an exec worked {took:?} after the bus was back");
    let after: Vec<u32> =
        ["journal-1", "gateway", "enroll", "n1"].map(|part| site.part(part).id()).to_vec();
    assert_eq!(before, after, "nothing was restarted");
    for part in ["journal-1", "gateway", "enroll", "n1"] {
        assert!(site.part(part).is_running(), "{part}");
    }
}
