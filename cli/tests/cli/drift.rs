//! What the commands of drift and declared state ask for, and how they end.

use pact_schemas::v1::ConflictChoice;

use crate::run::Home;
use crate::schema;
use crate::site::Site;

#[test]
fn exit_codes_say_what_came_out() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    for (code, arguments) in [
        (0, &["diff", "node-042"][..]),
        (11, &["diff", "node-042", "--exit-code"]),
        (0, &["diff", "quiet", "--exit-code"]),
        (7, &["diff", "node-[1-2]", "--exit-code"]),
        (0, &["commit", "-m", "x", "--node", "quiet"]),
        (7, &["commit", "-m", "x", "--node", "node-[1-2]"]),
        (10, &["rollback", "13"]),
        (0, &["rollback", "14"]),
        (0, &["rollback", "15"]),
        (9, &["extend", "--node", "quiet"]),
        (4, &["promote", "torn"]),
        (0, &["promote", "torn", "--on-conflict", "keep-local"]),
        (1, &["blacklist", "add", "/x", "--node", "n", "--vcluster", "v"]),
        (1, &["commit", "-m", "x", "--node", "n", "--expect", "abc"]),
    ] {
        home.run(arguments).exits(code);
        home.run(&[arguments, &["--output", "json"]].concat()).exits(code);
    }
}

#[test]
fn a_writing_command_names_its_target_and_never_guesses_it() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    for arguments in [&["commit", "-m", "x"][..], &["extend"], &["blacklist", "add", "/x"]] {
        let run = home.run(arguments).exits(1);
        assert!(run.stderr.contains("error[PACT_NO_NODE]"), "{}", run.stderr);
    }
    let home = home.with("PACT_NODE", "node-042").with("PACT_VCLUSTER", "ml-training");
    for arguments in [&["commit", "-m", "x"][..], &["extend"], &["blacklist", "add", "/x"]] {
        let run = home.run(arguments).exits(0);
        assert!(run.stderr.contains("target: node-042\n"), "{arguments:?}: {}", run.stderr);
    }
    let run = home.run(&["rollback", "14"]).exits(0);
    assert!(run.stderr.contains("target: vc:ml-training\n"), "{}", run.stderr);
    let commits = site.seen.commits.lock().unwrap();
    assert_eq!(commits[0].targets, "node-042");
    assert_eq!(commits[0].vcluster.as_deref(), Some("ml-training"));
    assert_eq!(commits[0].request_id.chars().nth(14), Some('7'));
}

#[test]
fn a_commit_says_what_was_seen_and_how_long_it_lives() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let digest = "3f".repeat(32);
    let line = ["commit", "-m", "x", "--node", "n", "--ttl", "3d", "--expect", &digest];
    home.run(&line).exits(0);
    let commits = site.seen.commits.lock().unwrap();
    assert_eq!((commits[0].ttl_seconds, commits[0].vcluster.clone()), (Some(259_200), None));
    assert_eq!(commits[0].expect_digest, [0x3f; 32]);
}

#[test]
fn a_rollback_does_the_plan_that_it_showed() {
    let site = Site::start();
    let home = Home::new(&site.endpoint).with("PACT_NODE", "node-042");
    let run = home.run(&["rollback", "42"]).exits(0);
    assert!(run.stderr.contains("plan: 2 keys change"), "{}", run.stderr);
    home.run(&["rollback", "head"]).exits(0);
    home.run(&["rollback", "15"]).exits(0);
    let asked = site.seen.rollbacks.lock().unwrap();
    let [plan, done, head, _, nothing] = asked.as_slice() else { panic!("{asked:?}") };
    assert!(plan.plan_only && plan.expect_plan.is_empty());
    assert!(!done.plan_only && done.expect_plan == [9; 32]);
    assert_eq!((plan.to_seq, &plan.request_id), (Some(42), &done.request_id));
    assert_eq!(plan.targets, "", "an entry brings its own scope");
    assert_eq!((head.to_seq, head.targets.as_str()), (None, "node-042"));
    assert!(nothing.plan_only, "what does nothing is not asked for");
}

#[test]
fn a_dry_run_of_a_rollback_is_its_plan_alone() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let run = home.run(&["rollback", "42", "--dry-run"]).exits(0);
    assert!(run.stdout.contains("plan: 2 keys change"), "{}", run.stdout);
    let asked = site.seen.rollbacks.lock().unwrap();
    assert!(matches!(asked.as_slice(), [only] if only.plan_only), "{asked:?}");
}

#[test]
fn a_specification_comes_from_standard_input_too() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let line = ["apply", "-", "--on-conflict", "keep", "--output", "json"];
    let run = home.run_with_input(&line, b"sysctl\n").exits(0);
    schema::check(&run.stdout);
    let large = vec![b'x'; 1024 * 1024 + 1];
    let run = home.run_with_input(&["apply", "-"], &large).exits(1);
    assert!(run.stderr.contains("standard input"), "{}", run.stderr);
}

#[test]
fn a_specification_says_loudly_what_it_removes() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    home.file("s.toml", "sysctl\n");
    let path = home.path().join("s.toml");
    let path = path.to_str().unwrap();
    let json = |line: &[&str], code: i32| {
        let run = home.run(&[line, &["--output", "json"]].concat()).exits(code);
        schema::check(&run.stdout);
    };
    let dry = &["apply", path, "--dry-run"];
    let run = home.run(dry).exits(4);
    insta::assert_snapshot!(
        "apply_dry_run_text",
        format!("{}--- stderr\n{}", run.stdout, run.stderr)
    );
    json(dry, 4);
    json(&["apply", path, "--dry-run", "--on-conflict", "keep"], 0);
    let line = &["apply", path, "--on-conflict", "overwrite", "--replace", "--no-wait"];
    let run = home.run(line).exits(0);
    insta::assert_snapshot!("apply_text", format!("{}--- stderr\n{}", run.stdout, run.stderr));
    json(line, 0);
}

#[test]
fn a_promotion_is_a_file_that_apply_takes() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let run = home.run(&["promote", "node-042"]).exits(0);
    assert_eq!(run.stdout, "[vcluster.ml-training.sysctl]\n\"vm.swappiness\" = \"10\"\n");
    let run = home.run(&["promote", "torn"]).exits(4);
    assert!(run.stdout.is_empty() && run.stderr.contains("sysctl/vm.swappiness on node-043"));
    home.run(&["promote", "torn", "--on-conflict", "overwrite"]).exits(0);
    let asked = site.seen.promotes.lock().unwrap();
    assert_eq!(asked[2].on_conflict, Some(ConflictChoice::Overwrite.into()));
}

#[test]
fn a_policy_is_set_from_a_file() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    home.file("policy.toml", "drift_sensitivity = 3.0\n");
    let path = home.path().join("policy.toml");
    let line = ["group", "set-policy", "ml-training", "--file", path.to_str().unwrap()];
    assert_eq!(home.run(&line).exits(0).stdout, "policy of ml-training set (entry 53)\n");
    let json = home.run(&[&line[..], &["--output", "json"]].concat()).exits(0);
    schema::check(&json.stdout);
}

#[test]
fn nothing_from_a_node_acts_on_the_terminal() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    for arguments in [
        &["diff", "node-042"][..],
        &["commit", "-m", "x", "--node", "n"],
        &["rollback", "42"],
        &["log", "show", "44"],
    ] {
        let run = home.run(arguments).exits(0);
        assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{arguments:?}");
        assert!(format!("{}{}", run.stdout, run.stderr).contains("10␛[2J"), "{arguments:?}");
    }
}
