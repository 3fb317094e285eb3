//! Every refusal has its exit code, and refusals of known principals are in the log.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use pact_tests::site::{Role, Site, VCLUSTER, describe};
use pact_tests::wait::until;

fn assert_exit(output: &Output, code: i32, words: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", describe(output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(words), "{words:?} is not in {stderr}");
}

/// What `exec` refuses to everybody is no ops' to declare.
fn one_power_has_one_rule(site: &Site) {
    let spec = site.path("root.toml");
    let keys = "\"kernel.poweroff_cmd\" = \"/tmp/x\"\n\"vm.swappiness\" = \"10\"\n";
    std::fs::write(&spec, format!("[vcluster.{VCLUSTER}.sysctl]\n{keys}")).unwrap();
    let sysctl = ["exec", "n1", "--", "sysctl", "-w", "kernel.poweroff_cmd=/tmp/x"];
    assert_exit(&site.pact(Role::Admin, &sysctl), 6, "command not whitelisted");
    for options in [&[][..], &["--dry-run"]] {
        let apply = [&["apply", spec.to_str().unwrap()][..], options].concat();
        let refused = site.pact(Role::Ops, &apply);
        assert_exit(&refused, 2, "kernel.poweroff_cmd");
        assert!(!describe(&refused).contains("vm.swappiness ("), "{}", describe(&refused));
    }
}

#[test]
fn refusals_have_their_exit_codes() {
    let mut site = Site::with_nodes(1, &["n1"]);
    let exec = |role, argv: &[&str]| {
        let args: Vec<&str> = ["exec", "n1", "--"].iter().chain(argv).copied().collect();
        site.pact(role, &args)
    };
    assert_exit(&exec(Role::Ops, &["perl", "-e", "1"]), 6, "command not whitelisted");
    assert_exit(&exec(Role::Ops, &["cat", "/etc/shadow"]), 6, "command not whitelisted");
    // Contents that no other user of the node can read are not printed, whatever the agent runs as.
    let ticket = site.path("ticket");
    std::fs::write(&ticket, "open\n").unwrap();
    let mode = std::fs::Permissions::from_mode;
    std::fs::set_permissions(&ticket, mode(0o644)).unwrap();
    assert_exit(&exec(Role::Ops, &["cat", ticket.to_str().unwrap()]), 0, "");
    std::fs::set_permissions(&ticket, mode(0o600)).unwrap();
    assert_exit(&exec(Role::Ops, &["cat", ticket.to_str().unwrap()]), 6, "is withheld");
    assert_exit(&exec(Role::Ops, &["systemctl", "stop", "pact-agent"]), 6, "not whitelisted");
    assert_exit(&exec(Role::Viewer, &["uname"]), 2, "PACT_NOT_AUTHORISED");
    assert_exit(&exec(Role::Nobody, &["uname"]), 2, "PACT_NOT_AUTHORISED");
    assert_exit(&exec(Role::Ops, &["ls", "/no-such-file"]), 12, "2");
    let status = site.pact(Role::Ops, &["exec", "-S", "n1", "--", "ls", "/no-such-file"]);
    assert_exit(&status, 2, "no-such-file");
    assert_exit(&site.pact(Role::Ops, &["exec", "n9", "--", "uname"]), 9, "n9");
    assert_exit(&site.pact(Role::Admin, &["node", "assign", "n1", "--vcluster", "mll"]), 9, "mll");

    let no_token = site.command(Role::Ops, &["status"]).env_remove("PACT_TOKEN").output().unwrap();
    assert_exit(&no_token, 2, "No auth token found");
    let bad_token =
        site.command(Role::Ops, &["status"]).env("PACT_TOKEN", "x.y.z").output().unwrap();
    assert_exit(&bad_token, 2, "PACT_UNAUTHENTICATED");
    let closed = site
        .command(Role::Ops, &["status"])
        .env("PACT_ENDPOINT", "https://127.0.0.1:1")
        .output()
        .unwrap();
    assert_exit(&closed, 1, "connection refused");
    assert_exit(&site.pact(Role::Ops, &["reboot", "n1", "--yes"]), 1, "PACT_UNIMPLEMENTED");
    assert_exit(&site.pact(Role::Ops, &["drain", "n1"]), 1, "PACT_UNIMPLEMENTED");

    one_power_has_one_rule(&site);

    until("both refusals are in the log", pact_tests::site::READY, || {
        let entries = site.entries(100);
        let refused = |who: &str| {
            entries.iter().any(|e| e["kind"] == "Denied" && e["author"]["principal"] == who)
        };
        let unlisted = entries
            .iter()
            .any(|e| e["kind"] == "ExecFinished" && e.to_string().contains("PACT_NOT_WHITELISTED"));
        (refused("viewer") && refused("nobody") && unlisted).then_some(())
    });

    site.part("journal-1").kill();
    assert_exit(&site.pact(Role::Ops, &["exec", "n1", "--", "uname"]), 5, "error[PACT_");
}
