//! SIGHUP: what can change changes at once, and a bad file changes nothing.

use nix::sys::signal::Signal;
use pact_schemas::v1::ExecOutcome;

use crate::plane::{Plane, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_the_new_mode_and_a_bad_file_keeps_the_last_good_one() {
    let plane = Plane::start().await;
    let agent = plane.agent("strict").await;
    let argv = ["sh", "-c", "exit 3"];
    let (_, finished) = plane.run(&plane.payload(1, &argv)).await;
    assert_eq!(finished.outcome(), ExecOutcome::Refused);

    // A command that runs meanwhile is not disturbed.
    let mut payload = plane.payload(2, &["cat"]);
    crate::plane::exec(&mut payload).stdin = true;
    let (mut running, reply) = plane.present(plane.sign(&payload)).await;
    reply.unwrap();

    let more = "enforcement_mode = \"enforce\"\ncapability.manifest_path = \"/run/other.json\"";
    plane.configure("learning", more);
    agent.signal(Signal::SIGHUP);
    until("the next hello tells of it", || {
        let told = plane.told.lock().unwrap();
        let last = told.hellos.last().unwrap();
        last.whitelist_mode == "learning" && last.enforcement_mode == "enforce"
    })
    .await;
    let (_, finished) = plane.run(&plane.payload(3, &argv)).await;
    assert_eq!((finished.exit_status, finished.off_list), (Some(3), true));
    let restart =
        "takes effect when the agent is started again key=\"agent.capability.manifest_path\"";
    assert!(agent.log().contains(restart), "{}", agent.log());

    plane.configure("permissive", "");
    agent.signal(Signal::SIGHUP);
    until("the refusal", || agent.log().contains("the last good one stays in force")).await;
    let (_, finished) = plane.run(&plane.payload(4, &argv)).await;
    assert_eq!((finished.exit_status, finished.off_list), (Some(3), true));

    running.controls().close_stdin().await.unwrap();
    let (_, finished) = crate::plane::rest(&mut running).await;
    assert_eq!(finished.exit_status, Some(0));
}
