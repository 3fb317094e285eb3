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
fn services_refuse_what_is_unknown_or_missing() {
    let site = Site::start(1);
    let gateway = std::fs::read_to_string(site.path("gateway.toml")).unwrap();

    let typo = gateway.replace("jwks_file", "jwks_fil");
    assert_refused(&run(&site, "pact-gateway", &typo), &["jwks_fil", "jwks_file", "changed.toml"]);
    assert_refused(&run(&site, "pact-gateway", "[gateway\n"), &["changed.toml"]);
    let open = gateway.replace("issuer = \"pact-development\"\n", "");
    assert_refused(&run(&site, "pact-gateway", &open), &["gateway.oidc.issuer"]);
}

#[test]
fn a_journal_refuses_the_data_directory_of_another_member() {
    let mut site = Site::start(3);
    site.part("journal-1").kill();
    site.part("journal-2").kill();
    let before = std::fs::read(site.path("journal-1/IDENTITY")).unwrap();
    let second = std::fs::read_to_string(site.path("journal-2.toml")).unwrap();
    let foreign = second.replace(
        site.path("journal-2").to_str().unwrap(),
        site.path("journal-1").to_str().unwrap(),
    );
    assert_refused(&run(&site, "pact-journal", &foreign), &["member"]);
    assert_eq!(std::fs::read(site.path("journal-1/IDENTITY")).unwrap(), before);
    for journal in ["journal-1", "journal-2"] {
        site.start_part(journal);
        site.wait_ready(journal);
    }
    site.pact_ok(Role::Admin, &["cluster"]);
}

#[test]
fn an_agent_without_a_whitelist_mode_does_not_start() {
    let site = Site::with_nodes(1, &["n1"]);
    let agent = std::fs::read_to_string(site.path("n1.toml")).unwrap();
    let unset = agent.replace("whitelist_mode = \"strict\"\n", "");
    assert_refused(&run(&site, "pact-agent", &unset), &["whitelist_mode"]);
}
