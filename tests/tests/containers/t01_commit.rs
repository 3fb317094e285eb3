//! Three nodes with a file system each: what is committed on them, and what is declared for all of them.

use pact_tests::containers::{Cluster, Part};
use pact_tests::site::{Role, VCLUSTER};

const NODES: [Part; 3] = [Part::Agent(1), Part::Agent(2), Part::Agent(3)];

#[test]
fn drift_on_three_nodes_is_committed_and_rolled_back_on_each() {
    let cluster = Cluster::with_nodes(3);
    cluster.wait_baseline(&NODES);
    for node in NODES {
        cluster.write_on(node, "motd", &format!("this is {node}"));
        cluster.wait_drift(node, &["motd"]);
    }
    let args = ["commit", "-m", "who is who", "--node", "n[1-3]", "--output", "json"];
    let committed = cluster.pact_ok(Role::Ops, &args);
    let committed: serde_json::Value = serde_json::from_str(&committed).unwrap();
    assert_eq!(committed["items"].as_array().unwrap().len(), 3, "{committed}");
    for node in NODES {
        cluster.wait_drift(node, &[]);
    }
    // One entry for each, with its own value, by whoever asked.
    let entries = cluster.entries(50);
    let of = |node: Part| {
        let is_its = |e: &&serde_json::Value| {
            e["message"] == "who is who" && e["scope"] == format!("node:{node}")
        };
        let entry = entries.iter().find(is_its).unwrap_or_else(|| panic!("{node}: {entries:?}"));
        assert_eq!(entry["author"]["principal"], "ops", "{entry}");
        assert_eq!(entry["changes"][0]["key"], cluster.key("motd"), "{entry}");
        entry.clone()
    };
    let seqs = NODES.map(|node| of(node)["seq"].as_u64().unwrap());
    assert!(seqs.windows(2).all(|pair| pair[0] != pair[1]), "{seqs:?}");
    let values = NODES.map(|node| of(node)["changes"][0]["new"].to_string());
    assert_ne!(values[0], values[1], "each node has committed its own");

    for node in NODES {
        cluster.write_on(node, "motd", "graffiti");
        cluster.wait_drift(node, &["motd"]);
    }
    // Discarded on one of them: on the others it stays.
    cluster.pact_ok(Role::Ops, &["rollback", "head", "--node", "n2"]);
    cluster.wait_file(Part::Agent(2), "motd", "this is n2");
    for node in [Part::Agent(1), Part::Agent(3)] {
        assert_eq!(cluster.read_on(node, "motd").as_deref(), Some("graffiti"));
    }

    let path = cluster.watched("declared");
    let spec = format!(
        "[vcluster.{VCLUSTER}.policy]\nenforcement_mode = \"enforce\"\n[vcluster.{VCLUSTER}.files]\n\
         \"{path}\" = {{ content = \"for all\", mode = \"0640\", owner = \"root\", group = \"root\" }}\n"
    );
    let applied = cluster.apply(&spec);
    assert!(applied.status.success(), "{}", pact_tests::site::describe(&applied));
    for node in NODES {
        cluster.wait_file(node, "declared", "for all");
        assert_eq!(cluster.on_node(node, &format!("stat -c %a {path}")), "640\n");
    }
}
