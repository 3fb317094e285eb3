//! An agent that dies while a command runs: outcome unknown, nothing twice, events in order.

use std::process::Stdio;
use std::time::Duration;

use pact_tests::site::{READY, Role, Site};
use pact_tests::wait::until;

#[test]
fn the_outcome_is_unknown_and_nothing_runs_again() {
    let mut site = Site::with_nodes(1, &["n1"]);
    let followed = site.path("followed");
    std::fs::write(&followed, "running\n").unwrap();
    let mut caller = site
        .command(Role::Ops, &["exec", "n1", "--", "tail", "-f", followed.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0_u8; 1];
    std::io::Read::read_exact(caller.stdout.as_mut().unwrap(), &mut first).unwrap();

    site.part("n1").kill();
    site.restart_agent("n1");
    let (finished, _) = until("the outcome is recorded", READY, || {
        let of = |e: &serde_json::Value| e["kind"] == "ExecFinished";
        let outcomes: Vec<_> = site.entries(50).into_iter().filter(of).collect();
        assert!(outcomes.len() < 2, "one command, one outcome");
        outcomes.into_iter().next()
    });
    assert!(finished.to_string().to_lowercase().contains("unknown"), "{finished}");

    // The agent works again, and what it reports from now on comes after, once each.
    until("the node executes again", READY, || {
        let done = site.pact(Role::Ops, &["exec", "n1", "--", "uname"]);
        done.status.success().then_some(())
    });
    until("its outcome follows", READY, || {
        let finished = |e: &&serde_json::Value| e["kind"] == "ExecFinished";
        (site.entries(50).iter().filter(finished).count() >= 2).then_some(())
    });
    let requested = site.entries(50).iter().filter(|e| e["kind"] == "ExecRequested").count();
    let outcomes = site.entries(50).iter().filter(|e| e["kind"] == "ExecFinished").count();
    assert!(outcomes <= requested, "{outcomes} outcomes of {requested} requests");
    let end = until("the caller ends", Duration::from_secs(60), || caller.try_wait().unwrap()).0;
    assert!(!end.success());
}
