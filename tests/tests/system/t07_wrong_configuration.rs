//! Wrong configuration: a clear error, exit 64, nothing changed.

use std::process::{Command, Output};

use pact_tests::process::binary;
use pact_tests::site::{Role, Site, describe};

fn run(site: &Site, program: &str, config: &str) -> Output {
    let file = site.path("changed.toml");
    std::fs::write(&file, config).unwrap();
    Command::new(binary(program)).arg("--config").arg(file).output().unwrap()
}

fn assert_refused(output: &Output, words: &[&str]) {
    assert!(!output.status.success(), "{}", describe(output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in {stderr}");
    }
}

#[test]
fn services_refuse_what_is_unknown_missing_or_of_another_member() {
    let mut site = Site::start(1);
    let journal = std::fs::read_to_string(site.path("journal-1.toml")).unwrap();
    let gateway = std::fs::read_to_string(site.path("gateway.toml")).unwrap();

    let typo = gateway.replace("jwks_file", "jwks_fil");
    assert_refused(&run(&site, "pact-gateway", &typo), &["jwks_fil", "jwks_file", "changed.toml"]);
    assert_refused(&run(&site, "pact-gateway", "[gateway\n"), &["changed.toml"]);
    let open = gateway.replace("issuer = \"pact-development\"\n", "");
    assert_refused(&run(&site, "pact-gateway", &open), &["gateway.oidc.issuer"]);

    site.part("journal-1").kill();
    let before = std::fs::read(site.path("journal-1/IDENTITY")).unwrap();
    let other = journal.replace("member = 1", "member = 2").replace("\"1:", "\"2:");
    assert_refused(&run(&site, "pact-journal", &other), &["member"]);
    assert_eq!(std::fs::read(site.path("journal-1/IDENTITY")).unwrap(), before);
    site.start_part("journal-1");
    site.wait_ready("journal-1");
    assert!(site.pact(Role::Admin, &["cluster"]).status.success());
}

#[test]
fn an_agent_without_a_whitelist_mode_does_not_start() {
    let site = Site::with_nodes(1, &["n1"]);
    let agent = std::fs::read_to_string(site.path("n1.toml")).unwrap();
    let unset = agent.replace("whitelist_mode = \"strict\"\n", "");
    assert_refused(&run(&site, "pact-agent", &unset), &["whitelist_mode"]);
}
