//! From drift to decision on a real node: what changes is seen, shown, committed, rolled back, or undone by the node itself.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use pact_tests::site::{READY, Role, Site, VCLUSTER, describe};
use pact_tests::wait::until;
use serde_json::Value;

/// A site with nodes whose agents have taken their baseline and know their vCluster.
fn watched(nodes: &[&str]) -> Site {
    let site = Site::with_nodes(1, nodes);
    for node in nodes {
        until("the first scan", READY, || {
            let shown = drift(&site, node)?;
            (!shown["scanning"].as_bool()? && shown["vcluster"] == VCLUSTER).then_some(())
        });
    }
    site
}

fn drift(site: &Site, node: &str) -> Option<Value> {
    site.json(Role::Viewer, &["diff", node])?["items"].as_array()?.first().cloned()
}

/// Waits until exactly these files of the node differ; the items, in key order.
fn until_drift(site: &Site, node: &str, files: &[&Path]) -> Vec<Value> {
    let mut wanted: Vec<String> = files.iter().map(|f| format!("file/{}", f.display())).collect();
    wanted.sort();
    until(&format!("{wanted:?} differ"), READY, || {
        let mut items = drift(site, node)?["items"].as_array()?.clone();
        // The parameters of this machine belong to others.
        items.retain(|item| item["key"].as_str().is_some_and(|key| key.starts_with("file/")));
        let keys: Vec<&str> = items.iter().filter_map(|item| item["key"].as_str()).collect();
        (keys == wanted).then_some(items)
    })
    .0
}

fn commit(site: &Site, node: &str, message: &str) -> u64 {
    site.pact_ok(Role::Ops, &["commit", "-m", message, "--node", node]);
    until_drift(site, node, &[]);
    let entries = site.entries(50);
    let entry = entries.iter().rev().find(|entry| entry["message"] == message);
    entry.unwrap_or_else(|| panic!("{entries:?}"))["seq"].as_u64().unwrap()
}

fn write(path: &Path, contents: &[u8], mode: u32) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn files(site: &Site, node: &str) -> [PathBuf; 3] {
    ["kept", "new", "gone"].map(|name| site.node_root(node).join(name))
}

#[test]
fn drift_is_shown_committed_and_rolled_back_byte_for_byte() {
    let site = watched(&["n1"]);
    let [kept, new, gone] = files(&site, "n1");
    let binary = [0_u8, 0xff, b'\n', 0x1b, b'x'];
    write(&kept, b"one\n", 0o644);
    write(&gone, &binary, 0o640);
    until_drift(&site, "n1", &[&kept, &gone]);
    let first = commit(&site, "n1", "two files");

    write(&kept, b"two\n", 0o600);
    write(&new, b"three\n", 0o644);
    fs::remove_file(&gone).unwrap();
    let items = until_drift(&site, "n1", &[&kept, &new, &gone]);
    let of = |path: &Path| {
        let key = format!("file/{}", path.display());
        items.iter().find(|item| item["key"] == key.as_str()).unwrap().clone()
    };
    assert_eq!(of(&kept)["old"]["mode"], "0644");
    assert_eq!(of(&gone)["new"]["absent"], true, "{}", of(&gone));
    let differs = site.pact(Role::Viewer, &["diff", "n1", "--exit-code"]);
    assert_eq!(differs.status.code(), Some(11), "{}", describe(&differs));
    let status = site.json(Role::Viewer, &["status", "n1"]).unwrap();
    assert!(status.to_string().contains("\"open\""), "{status}");
    commit(&site, "n1", "edited, made and removed");
    assert!(!gone.exists() && new.exists());
    let same = site.pact(Role::Viewer, &["diff", "n1", "--exit-code"]);
    assert_eq!(same.status.code(), Some(0), "{}", describe(&same));

    site.pact_ok(Role::Ops, &["rollback", &first.to_string(), "--node", "n1"]);
    until("all is as it was", READY, || (!new.exists() && gone.exists()).then_some(()));
    assert_eq!(fs::read(&kept).unwrap(), b"one\n");
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(fs::read(&gone).unwrap(), binary);
    assert_eq!(fs::metadata(&gone).unwrap().mode() & 0o7777, 0o640);
    until_drift(&site, "n1", &[]);

    // An entry whose state is declared already takes the node back to it as well.
    for to in [first.to_string().as_str(), "head"] {
        write(&kept, b"unwanted\n", 0o644);
        until_drift(&site, "n1", &[&kept]);
        site.pact_ok(Role::Ops, &["rollback", to, "--node", "n1"]);
        until_drift(&site, "n1", &[]);
        assert_eq!(fs::read(&kept).unwrap(), b"one\n");
    }
}

#[test]
fn two_admins_on_the_same_keys_the_second_is_told() {
    let site = watched(&["n1"]);
    let [kept, ..] = files(&site, "n1");
    write(&kept, b"one\n", 0o644);
    until_drift(&site, "n1", &[&kept]);
    let seen = drift(&site, "n1").unwrap()["digest"].as_str().unwrap().to_owned();
    write(&kept, b"two\n", 0o644);
    until("the second edit is seen", READY, || {
        (drift(&site, "n1")?["digest"].as_str()? != seen).then_some(())
    });
    let args = ["commit", "-m", "as I saw it", "--node", "n1", "--expect", &seen];
    let refused = site.pact(Role::Ops, &args);
    assert_eq!(refused.status.code(), Some(4), "{}", describe(&refused));
    let viewer = site.pact(Role::Viewer, &["commit", "-m", "no", "--node", "n1"]);
    assert_eq!(viewer.status.code(), Some(2), "{}", describe(&viewer));
}

#[test]
fn a_specification_reaches_every_node_and_the_node_undoes_what_nobody_wants() {
    let mut site = watched(&["n1", "n2"]);
    let spec = site.path("overlay.toml");
    let motd = |node: &str| site.node_root(node).join("motd");
    let [one, two] = [motd("n1"), motd("n2")];
    let file = |path: &Path| {
        format!(
            "\"{}\" = {{ content = \"hello\\n\", mode = \"0644\", owner = \"root\", group = \"root\" }}\n",
            path.display()
        )
    };
    let text = format!(
        "[vcluster.{VCLUSTER}.policy]\nenforcement_mode = \"enforce\"\nbase_commit_window_seconds = 60\nmin_window_seconds = 10\n\
         drift_sensitivity = 100\n[vcluster.{VCLUSTER}.files]\n{}{}",
        file(&one),
        file(&two)
    );
    fs::write(&spec, text).unwrap();
    site.part("n2").kill();
    let dry = site.pact_ok(Role::Admin, &["apply", spec.to_str().unwrap(), "--dry-run"]);
    assert!(dry.contains("motd"), "{dry}");
    assert!(!one.exists());
    let _away_is_not_waited_for = site.pact(Role::Admin, &["apply", spec.to_str().unwrap()]);
    let is_there = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes == b"hello\n");
    until("the node that is there has it", READY, || is_there(&one).then_some(()));
    assert!(!two.exists());
    site.restart_agent("n2");
    until("the node that was away has it", READY, || is_there(&two).then_some(()));

    // The short window of this specification ends: an edit that nobody commits is undone.
    write(&one, b"graffiti\n", 0o600);
    until("the edit is undone", READY, || is_there(&one).then_some(()));
    assert_eq!(fs::metadata(&one).unwrap().mode() & 0o7777, 0o644);
    until("the log says so", READY, || {
        site.entries(50).iter().any(|entry| entry["kind"] == "AutoConverge").then_some(())
    });
}

#[test]
fn ten_thousand_keys_are_declared_at_once_and_shown_with_their_entry() {
    const KEYS: usize = 10_000;
    let site = watched(&["n1"]);
    let spec = site.path("large.toml");
    let mut text = format!("[vcluster.{VCLUSTER}.sysctl]\n");
    for i in 0..KEYS {
        text.push_str(&format!("\"zz.k{i}\" = \"1\"\n"));
    }
    fs::write(&spec, text).unwrap();
    site.pact_ok(Role::Admin, &["apply", spec.to_str().unwrap()]);
    let entries = site.entries(20);
    let applied = entries.iter().find(|entry| entry["kind"] == "OverlayApplied").unwrap();
    let seq = applied["seq"].as_u64().unwrap().to_string();
    let shown = site.json(Role::Viewer, &["log", "show", &seq]).unwrap();
    assert_eq!(shown["items"][0]["changes"].as_array().unwrap().len(), KEYS);
    until("the node knows all of them", READY, || {
        let total = drift(&site, "n1")?["total"].as_u64()?;
        (total >= KEYS as u64).then_some(())
    });
}

#[test]
fn what_a_node_has_alone_is_promoted_to_all_and_no_delta_stays_behind() {
    let site = watched(&["n1", "n2", "n3"]);
    let path = |node: &str| site.node_root(node).join("shared");
    // The nodes of this test share the machine: the file of the first is what is promoted to all of them.
    let shared = path("n1");
    write(&shared, b"tuned\n", 0o644);
    until_drift(&site, "n1", &[&shared]);
    commit(&site, "n1", "tuned on one node");
    let deltas = |node: &str| {
        let committed = site.json(Role::Viewer, &["diff", "--committed", node]).unwrap();
        committed["items"][0]["deltas"].as_array().unwrap().len()
    };
    assert_eq!(deltas("n1"), 1);
    let toml = site.pact_ok(Role::Ops, &["promote", "n1"]);
    let spec = site.path("promoted.toml");
    fs::write(&spec, &toml).unwrap();
    let applied = site.pact_ok(Role::Admin, &["apply", spec.to_str().unwrap()]);
    assert!(applied.contains("applied"), "{applied}");
    assert_eq!(deltas("n1"), 0, "the delta says what the overlay says");
    until_drift(&site, "n1", &[]);
    assert_eq!(fs::read(&shared).unwrap(), b"tuned\n");
}

#[test]
fn what_only_root_can_read_appears_nowhere_off_the_node() {
    const SECRET: &[u8] = b"a-secret-that-stays-on-the-node";
    let mut site = watched(&["n1"]);
    let [kept, ..] = files(&site, "n1");
    write(&kept, SECRET, 0o600);
    let items = until_drift(&site, "n1", &[&kept]);
    assert!(items[0]["new"]["withheld"].is_string(), "{items:?}");
    let first = commit(&site, "n1", "a root-only file");
    write(&kept, b"other", 0o600);
    until_drift(&site, "n1", &[&kept]);
    commit(&site, "n1", "another one");
    site.pact_ok(Role::Ops, &["rollback", &first.to_string(), "--node", "n1"]);
    until("the node restores it by itself", READY, || {
        fs::read(&kept).is_ok_and(|bytes| bytes == SECRET).then_some(())
    });
    let shown = site.pact(Role::Admin, &["log", "show", &first.to_string()]);
    assert!(!shown.stdout.windows(SECRET.len()).any(|w| w == SECRET));
    site.part("journal-1").kill();
    for off_the_node in ["journal-1", "site", "journal-1.log", "gateway.log", "nats-server.log"] {
        let path = site.path(off_the_node);
        let holds = if path.is_dir() {
            pact_tests::site::tree_holds(&path, SECRET)
        } else {
            fs::read(&path).is_ok_and(|bytes| bytes.windows(SECRET.len()).any(|w| w == SECRET))
        };
        assert!(!holds, "{}", path.display());
    }
}
