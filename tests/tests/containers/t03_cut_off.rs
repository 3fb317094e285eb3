//! A journal and two agents are cut off the network for a while, and meet the others again.

use std::collections::BTreeSet;

use pact_tests::containers::{Cluster, Part};
use pact_tests::site::{READY, Role, VCLUSTER};
use pact_tests::wait::until;
use serde_json::Value;

/// The vCluster of the node that decides quickly: its window is as short as windows get.
const QUICK: &str = "quick";
const CONNECTED: Part = Part::Agent(1);
const CHANGED: Part = Part::Agent(2);
const ENFORCING: Part = Part::Agent(3);

fn files(cluster: &Cluster, vcluster: &str, contents: &[(&str, &str)]) -> String {
    let mut spec = format!("[vcluster.{vcluster}.files]\n");
    for (name, content) in contents {
        let path = cluster.watched(name);
        spec.push_str(&format!(
            "\"{path}\" = {{ content = \"{content}\", mode = \"0644\", owner = \"root\", group = \"root\" }}\n"
        ));
    }
    spec
}

/// Two nodes in one vCluster, whose windows are long, and one in another; all have what is declared.
fn declared() -> Cluster {
    let cluster = Cluster::with_nodes(3);
    let quick = "base_commit_window_seconds = 60\nmin_window_seconds = 10\ndrift_sensitivity = 100";
    let policy = |vcluster: &str, more: &str| {
        let spec =
            format!("[vcluster.{vcluster}.policy]\nenforcement_mode = \"enforce\"\n{more}\n");
        assert!(cluster.apply(&spec).status.success());
    };
    policy(VCLUSTER, "");
    policy(QUICK, quick);
    cluster.pact_ok(Role::Admin, &["node", "move", "n3", "--to-vcluster", QUICK]);
    cluster.wait_baseline(&[CONNECTED, CHANGED, ENFORCING]);
    let spec = files(&cluster, VCLUSTER, &[("both", "one"), ("declared", "one")]);
    let spec = format!("{spec}{}", files(&cluster, QUICK, &[("kept", "as declared")]));
    assert!(cluster.apply(&spec).status.success());
    for node in [CONNECTED, CHANGED] {
        cluster.wait_file(node, "both", "one");
        cluster.wait_file(node, "declared", "one");
    }
    cluster.wait_file(ENFORCING, "kept", "as declared");
    cluster
}

/// The node's entries about drift, oldest first.
fn entries_of(cluster: &Cluster, node: Part) -> Vec<Value> {
    let is_about_drift = |kind: &str| {
        kind.starts_with("Drift") || kind.starts_with("Conflict") || kind == "AutoConverge"
    };
    let mut entries = cluster.entries(500);
    entries.retain(|entry| {
        entry["scope"] == format!("node:{node}")
            && entry["kind"].as_str().is_some_and(is_about_drift)
    });
    entries
}

fn find<'a>(entries: &'a [Value], kind: &str) -> &'a Value {
    entries.iter().find(|e| e["kind"] == kind).unwrap_or_else(|| panic!("no {kind}: {entries:?}"))
}

fn keys(entry: &Value) -> Vec<&str> {
    entry["changes"].as_array().unwrap().iter().map(|c| c["key"].as_str().unwrap()).collect()
}

/// Waits until a part that was cut off has noticed it.
fn wait_noticed(cluster: &Cluster, part: Part) {
    until(&format!("{part} knows that it is alone"), READY, || {
        cluster.log(part).contains("lost the connection to the bus").then_some(())
    });
}

#[test]
fn what_both_sides_changed_waits_for_a_decision_and_everything_else_goes_on() {
    let cluster = declared();
    let (both, own) = (cluster.key("both"), cluster.key("own"));
    let alone = cluster.leader();
    for part in [Part::Journal(alone), CHANGED, ENFORCING] {
        cluster.cut(part);
    }
    cluster.write_on(CHANGED, "both", "local");
    cluster.write_on(CHANGED, "own", "local");
    cluster.write_on(ENFORCING, "kept", "graffiti");

    // The majority goes on without the member that led it.
    until("another member leads", READY, || (cluster.leader() != alone).then_some(()));
    // The nodes go on with what they were told last: one undoes by itself what nobody wants.
    cluster.wait_file(ENFORCING, "kept", "as declared");
    wait_noticed(&cluster, CHANGED);
    let spec = files(&cluster, VCLUSTER, &[("both", "two"), ("declared", "two")]);
    until("what is declared anew is accepted", READY, || {
        // 7: one of the two nodes does not answer. Until the bus knows that the member that was cut off is silent, it gives it
        // its share of the questions, and some commands end with a timeout.
        let code = cluster.apply(&spec).status.code();
        (code == Some(7) || code == Some(0)).then_some(())
    });
    cluster.wait_file(CONNECTED, "both", "two");
    cluster.wait_file(CONNECTED, "declared", "two");
    assert_eq!(cluster.read_on(CHANGED, "both").as_deref(), Some("local"));
    assert_eq!(cluster.read_on(CHANGED, "declared").as_deref(), Some("one"));
    for node in [CHANGED, ENFORCING] {
        let told = entries_of(&cluster, node);
        assert!(told.is_empty(), "{node} is cut off: {told:?}");
    }

    for part in [Part::Journal(alone), CHANGED, ENFORCING] {
        cluster.heal(part);
    }
    cluster.wait_ready(Part::Journal(alone));
    cluster.wait_equal(&[1, 2, 3]);
    // Only the key that both sides changed waits; the other declared one is brought about, what the node has alone stays drift.
    cluster.wait_file(CHANGED, "declared", "two");
    let items = cluster.wait_drift(CHANGED, &["both", "own"]);
    assert_eq!([&items[0]["conflict"], &items[1]["conflict"]], [true, false], "{items:?}");
    assert_eq!(cluster.read_on(CHANGED, "both").as_deref(), Some("local"));
    let told = entries_of(&cluster, CHANGED);
    let conflict = find(&told, "ConflictDetected");
    assert_eq!(keys(conflict), [&both], "{conflict}");
    // The two were written one after the other: on a slow machine they are two events.
    let is_first = |entry: &&Value| {
        entry["kind"] == "DriftDetected" && entry["seq"].as_u64() < conflict["seq"].as_u64()
    };
    let first: BTreeSet<&str> = told.iter().filter(is_first).flat_map(keys).collect();
    assert!(
        first.contains(both.as_str()) && first.contains(own.as_str()),
        "its own changes come first: {told:?}"
    );
    // What the other node did alone is told too.
    let told = entries_of(&cluster, ENFORCING);
    let undone = find(&told, "AutoConverge");
    assert_eq!(keys(undone), [&cluster.key("kept")], "{undone}");

    cluster.pact_ok(Role::Ops, &["commit", "-m", "as it is here", "--node", "n2"]);
    cluster.wait_drift(CHANGED, &[]);
    until("the decision is told", READY, || {
        let told = entries_of(&cluster, CHANGED);
        told.into_iter().find(|e| e["kind"] == "ConflictResolved")
    });
    for (node, value) in [(CHANGED, "local"), (CONNECTED, "two")] {
        assert_eq!(cluster.read_on(node, "both").as_deref(), Some(value), "{node}");
    }
}
