//! What is done on a node itself, by somebody who is on it.

use serde_json::Value;
use testcontainers::core::ExecCommand;

use super::cluster::Cluster;
use super::part::{Part, ROOT};
use crate::site::{READY, Role};
use crate::wait::until;

impl Cluster {
    /// Path of a file in the folder that agents watch, the same on every node.
    #[must_use]
    pub fn watched(&self, name: &str) -> String {
        format!("{}/{name}", ROOT.path)
    }

    /// Runs a shell command on a node, whether it has a network or not; what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn on_node(&self, node: Part, script: &str) -> String {
        let container = self.container(node);
        let ran = async {
            let command = ExecCommand::new(["sh", "-ec", script]);
            let mut running = container.exec(command).await.map_err(|e| e.to_string())?;
            let out = running.stdout_to_vec().await.map_err(|e| e.to_string())?;
            let err = running.stderr_to_vec().await.map_err(|e| e.to_string())?;
            let code = running.exit_code().await.map_err(|e| e.to_string())?;
            Ok::<_, String>((code, out, err))
        };
        let (code, out, err) = self.docker.ask(&format!("{script:?} on {node}"), ran);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(code, Some(0), "{script:?} on {node}: {}{}", text(&out), text(&err));
        text(&out)
    }

    /// Writes a watched file as somebody on the node would, readable for all.
    pub fn write_on(&self, node: Part, name: &str, text: &str) {
        let path = self.watched(name);
        self.on_node(node, &format!("umask 022; printf %s '{text}' > {path}"));
    }

    /// What a watched file holds; `None` when it is not there.
    #[must_use]
    pub fn read_on(&self, node: Part, name: &str) -> Option<String> {
        let path = self.watched(name);
        let text = self.on_node(node, &format!("if [ -e {path} ]; then echo +; cat {path}; fi"));
        text.strip_prefix("+\n").map(str::to_owned)
    }

    /// Waits until a watched file of a node holds this.
    pub fn wait_file(&self, node: Part, name: &str, text: &str) {
        until(&format!("{name} on {node} is {text:?}"), READY, || {
            (self.read_on(node, name).as_deref() == Some(text)).then_some(())
        });
    }

    /// The drift of a node, as its agent says.
    #[must_use]
    pub fn drift(&self, node: Part) -> Option<Value> {
        self.json(Role::Admin, &["diff", &node.to_string()])?["items"].as_array()?.first().cloned()
    }

    /// The differing files of a node below the watched folder.
    #[must_use]
    pub fn drifting_files(&self, node: Part) -> Option<Vec<Value>> {
        let mut items = self.drift(node)?["items"].as_array()?.clone();
        items.retain(|item| item["key"].as_str().is_some_and(|key| key.starts_with("file/")));
        Some(items)
    }

    /// Waits until exactly these watched files differ on a node; the items, in key order.
    pub fn wait_drift(&self, node: Part, names: &[&str]) -> Vec<Value> {
        let mut wanted: Vec<String> = names.iter().map(|name| self.key(name)).collect();
        wanted.sort();
        until(&format!("{names:?} differ on {node}"), READY, || {
            let items = self.drifting_files(node)?;
            let keys: Vec<&str> = items.iter().filter_map(|item| item["key"].as_str()).collect();
            (keys == wanted).then_some(items)
        })
        .0
    }

    /// The resource key of a watched file.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("file/{}", self.watched(name))
    }

    /// Waits until the agents have taken their baseline: what is changed from then on is drift.
    pub fn wait_baseline(&self, nodes: &[Part]) {
        for node in nodes {
            until(&format!("{node} has scanned"), READY, || {
                (self.drift(*node)?["scanning"] == false).then_some(())
            });
        }
    }
}
