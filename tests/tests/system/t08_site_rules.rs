//! A site's own rules can deny more than the role table does (exit code 3).

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pact_tests::site::{READY, Role, Site};
use pact_tests::wait::until;

const RULE: &str = r#"package pact.site

deny contains "uname is for daylight" if {
    input.operation == "exec"
    input.command[0] == "uname"
}
"#;

#[test]
fn a_site_rule_denies_and_a_reload_takes_the_rule_as_it_is_then() {
    let mut site = Site::with_nodes(1, &["n1"]);
    let rules = site.path("rules");
    std::fs::create_dir(&rules).unwrap();
    std::fs::write(rules.join("daylight.rego"), RULE).unwrap();
    site.part("gateway").stop();
    site.restart_gateway_with(&format!("[gateway.policy]\nsite_bundle = {rules:?}\n"));

    let denied = site.pact(Role::Admin, &["exec", "n1", "--", "uname"]);
    assert_eq!(denied.status.code(), Some(3), "{}", String::from_utf8_lossy(&denied.stderr));
    let stderr = String::from_utf8_lossy(&denied.stderr);
    assert!(stderr.contains("policy: denied") && stderr.contains("daylight"), "{stderr}");
    site.pact_ok(Role::Admin, &["exec", "n1", "--", "true"]);

    std::fs::write(rules.join("daylight.rego"), RULE.replace("uname", "uptime")).unwrap();
    let gateway = Pid::from_raw(i32::try_from(site.part("gateway").id()).unwrap());
    kill(gateway, Signal::SIGHUP).unwrap();
    until("the rule is about uptime now", READY, || {
        site.pact(Role::Admin, &["exec", "n1", "--", "uname"]).status.success().then_some(())
    });
    let denied = site.pact(Role::Admin, &["exec", "n1", "--", "uptime"]);
    assert_eq!(denied.status.code(), Some(3));

    // A rule that does not compile changes nothing.
    std::fs::write(rules.join("daylight.rego"), "package pact.site\ndeny contains {").unwrap();
    kill(gateway, Signal::SIGHUP).unwrap();
    until("the reload is refused", READY, || {
        site.log("gateway").contains("daylight.rego").then_some(())
    });
    let denied = site.pact(Role::Admin, &["exec", "n1", "--", "uptime"]);
    assert_eq!(denied.status.code(), Some(3));
}
