//! Text and JSON of the commands that show something.

use crate::run::Home;
use crate::schema;
use crate::site::Site;

const COMMANDS: &[(&str, &[&str])] = &[
    ("log", &["log"]),
    ("log_show", &["log", "show", "40"]),
    ("status", &["status"]),
    ("cap", &["cap", "node-042"]),
    ("whoami", &["whoami"]),
    ("watch", &["watch"]),
    ("node_list", &["node", "list"]),
    ("node_inspect", &["node", "inspect", "node-042"]),
    ("node_enroll", &["node", "enroll", "n1", "--mac", "AA:bb:cc:dd:ee:01"]),
    ("node_assign", &["node", "assign", "node-042,node-043", "--vcluster", "ml-training"]),
    ("group_list", &["group", "list"]),
    ("group_show", &["group", "show", "ml-training"]),
    ("cluster", &["cluster"]),
    ("cluster_add", &["cluster", "add", "4", "journal-4.mgmt:9444"]),
    ("cluster_remove", &["cluster", "remove", "3"]),
    ("health", &["health"]),
    ("exec", &["exec", "--yes", "node-[1-2]", "--", "differ"]),
    ("log_show_commit", &["log", "show", "44"]),
    ("log_show_drift", &["log", "show", "45"]),
    ("log_show_rollback", &["log", "show", "46"]),
    ("log_show_deferred", &["log", "show", "47"]),
    ("log_show_overlay", &["log", "show", "48"]),
    ("diff", &["diff", "node-042"]),
    ("diff_none", &["diff", "quiet"]),
    ("diff_committed", &["diff", "--committed", "node-042"]),
    ("commit", &["commit", "-m", "tuned", "--node", "node-042"]),
    ("commit_none", &["commit", "-m", "tuned", "--node", "quiet"]),
    ("commit_partial", &["commit", "-m", "tuned", "--node", "node-[1-2]"]),
    ("rollback", &["rollback", "42"]),
    ("rollback_head", &["rollback", "head", "--node", "node-042"]),
    ("rollback_held", &["rollback", "13"]),
    ("rollback_vcluster", &["rollback", "14"]),
    ("rollback_none", &["rollback", "15"]),
    ("extend", &["extend", "30", "--node", "node-042"]),
    ("promote", &["promote", "node-042"]),
    ("promote_dry_run", &["promote", "torn", "--dry-run"]),
    ("blacklist_list", &["blacklist", "list", "--node", "node-042"]),
    ("blacklist_add", &["blacklist", "add", "/x/**", "--node", "node-042"]),
    ("blacklist_remove", &["blacklist", "remove", "/x/**", "--vcluster", "ml-training"]),
];

#[test]
fn text_reads_well() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    for (name, arguments) in COMMANDS {
        let run = home.run(arguments);
        insta::assert_snapshot!(
            format!("{name}_text"),
            format!("{}--- stderr\n{}", run.stdout, run.stderr)
        );
        assert!(
            !run.stdout.contains('\u{1b}') || *name == "log_show",
            "{name}: an escape sequence in a table"
        );
    }
}

#[test]
fn json_is_as_its_schema_says() {
    let site = Site::start();
    let home = Home::new(&site.endpoint).with("PACT_OUTPUT", "json");
    for (name, arguments) in COMMANDS {
        let run = home.run(arguments);
        for line in run.stdout.lines() {
            schema::check(line);
        }
        assert!(!run.stdout.is_empty(), "{name}: {}", run.stderr);
        insta::assert_snapshot!(format!("{name}_json"), run.stdout);
    }
}

#[test]
fn errors_and_apply_are_as_their_schemas_say() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    home.file("good.toml", "x = 1\n");
    home.file("bad.toml", "nonsense\n");
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let run = home.run(&["apply", &path("good.toml"), "--output", "json"]).exits(0);
    schema::check(&run.stdout);
    assert_eq!(
        home.run(&["apply", &path("good.toml")]).exits(0).stdout,
        "applied: policy of ml-training (entry 47)\n"
    );
    let dry = home.run(&["apply", &path("good.toml"), "--dry-run"]).exits(0).stdout;
    assert_eq!(dry, "would apply: policy of ml-training\n");
    let run = home.run(&["apply", &path("bad.toml"), "--output", "json"]).exits(1);
    schema::check(&run.stderr);
    let run = home.run(&["apply", &path("good.toml"), "--canary", "1"]).exits(1);
    assert!(run.stderr.contains("apply --canary is not built yet"), "{}", run.stderr);
}

#[test]
fn an_entry_that_does_not_match_its_hash_is_not_shown() {
    let site = Site::start();
    // The test gateway changes an entry when asked for this many.
    let run = Home::new(&site.endpoint).run(&["log", "-n", "999"]).exits(1);
    assert!(run.stderr.contains("PACT_BAD_SIGNATURE"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
}

#[test]
fn the_scope_is_the_option_else_the_default_vcluster() {
    use pact_schemas::v1::scope::Scope;
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    home.run(&["log"]).exits(0);
    home.run(&["log", "--vcluster", "v"]).exits(0);
    let default = Home::new(&site.endpoint).with("PACT_VCLUSTER", "v");
    default.run(&["log", "--scope", "node:n"]).exits(0);
    // Typed, both would ask for something and one would not be heard.
    let run = home.run(&["log", "--vcluster", "v", "--scope", "node:n"]).exits(1);
    assert!(run.stderr.contains("--scope and --vcluster"), "{}", run.stderr);
    let scopes: Vec<Option<Scope>> = site
        .seen
        .log_scopes
        .lock()
        .unwrap()
        .iter()
        .map(|s| s.clone().and_then(|s| s.scope))
        .collect();
    assert_eq!(scopes, [None, Some(Scope::Vcluster("v".into())), Some(Scope::Node("n".into()))]);
}

#[test]
fn enrolling_a_node_that_exists_replaces_only_what_is_given() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    home.run(&["enroll", "node-042", "--hardware-id", "tpm:00ff"]).exits(0);
    home.run(&["enroll", "node-404", "--mac", "aa:bb:cc:dd:ee:09"]).exits(0);
    home.run(&["enroll", "node-404", "--hardware-id", "tpm:00ff"]).exits(1);
    home.run(&["enroll", "node-042"]).exits(1);
    let enrolled = site.seen.enrolled.lock().unwrap();
    assert_eq!(enrolled.len(), 2);
    let (replaced, new) = (&enrolled[0], &enrolled[1]);
    let identity = replaced.identity.as_ref().unwrap();
    assert!(replaced.replace && !new.replace);
    assert_eq!(identity.macs, ["aa:bb:cc:dd:ee:01"]);
    assert_eq!(identity.hardware_ids, ["tpm:00ff"]);
}

#[test]
fn recorded_output_can_be_had_alone_and_byte_exact() {
    let site = Site::start();
    let run = Home::new(&site.endpoint).run(&["log", "show", "40", "--raw"]).exits(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("Linux \u{1b}[1mnode-042\n", "oops\n"));
}

#[test]
fn a_change_of_members_that_others_have_followed_or_that_was_given_up_is_no_success() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    for (member, said) in [("5", "is not known here"), ("6", "nobody at journal-6 answers")] {
        let run = home.run(&["cluster", "add", member, "journal-6.mgmt:9444"]);
        assert!(run.code != 0 && run.stderr.contains(said), "{}{}", run.stdout, run.stderr);
        assert!(run.stdout.is_empty(), "{}", run.stdout);
    }
}
