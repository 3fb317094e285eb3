//! A stream of writes while something happens to the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use crate::site::{READY, Role, describe, mac_of};
use crate::wait::until;

/// Writers at once; each starts one `pact` after another.
const WRITERS: usize = 2;

/// What became of the writes.
#[derive(Debug, Default)]
pub struct Writes {
    /// Nodes whose registration was acknowledged.
    pub acknowledged: BTreeSet<String>,
    /// What `pact` said about those that failed, whatever it had tried itself.
    pub failed: Vec<String>,
    /// The longest that a caller waited for an acknowledgement.
    pub longest: Duration,
}

/// How far a stream of writes has come.
#[derive(Debug, Default)]
pub struct Stream {
    stop: AtomicBool,
    acknowledged: AtomicUsize,
    writes: Mutex<Writes>,
}

impl Stream {
    /// Waits until this many more writes were acknowledged, of those that begin now.
    pub fn wait_for(&self, more: usize) {
        let so_far = self.acknowledged.load(Ordering::Relaxed);
        // What is under way counts for what was before.
        let wanted = so_far + WRITERS + more;
        until(&format!("{more} more writes are acknowledged"), READY, || {
            (self.acknowledged.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    }

    fn write(&self, cluster: &Cluster) {
        let index = cluster.next_index();
        let (name, mac) = (format!("w{index}"), mac_of(index));
        let begun = Instant::now();
        let output = cluster.pact(Role::Admin, &["node", "enroll", &name, "--mac", &mac]);
        let took = begun.elapsed();
        let mut writes = self.writes.lock().unwrap();
        writes.longest = writes.longest.max(took);
        if output.status.success() {
            writes.acknowledged.insert(name);
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else {
            writes.failed.push(format!("{name} after {took:?}: {}", describe(&output)));
        }
    }
}

/// Ends the writers, after a panic too: else they would be waited for.
struct Ending<'a>(&'a Stream);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Does something while nodes are registered one after another; what became of that.
pub fn while_writing(cluster: &Cluster, something: impl FnOnce(&Stream)) -> Writes {
    let stream = Stream::default();
    std::thread::scope(|threads| {
        for _ in 0..WRITERS {
            threads.spawn(|| {
                while !stream.stop.load(Ordering::Relaxed) {
                    stream.write(cluster);
                }
            });
        }
        let _ending = Ending(&stream);
        stream.wait_for(1);
        something(&stream);
    });
    stream.writes.into_inner().unwrap()
}

impl Writes {
    /// Whether everything that was acknowledged is in the journal, once, and the journal has no hole.
    ///
    /// # Panics
    /// When not.
    pub fn assert_kept(&self, cluster: &Cluster) {
        let entries = cluster.entries(10_000);
        let mut seqs = entries.iter().map(|entry| entry["seq"].as_u64().expect("a number"));
        let first = seqs.next().expect("there are entries");
        assert_eq!(first, 1, "the log is longer than what was asked for");
        for (expected, seq) in (2..).zip(seqs) {
            assert_eq!(seq, expected, "entries have no gap");
        }
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry["kind"] == "NodeRegistered") {
            let node = entry["scope"].as_str().and_then(|scope| scope.strip_prefix("node:"));
            *times.entry(node.expect("a node").to_owned()).or_default() += 1;
        }
        for (node, times) in &times {
            assert_eq!(*times, 1, "{node} was registered more than once");
        }
        for name in &self.acknowledged {
            assert!(times.contains_key(name), "{name} was acknowledged and is gone");
        }
    }

    /// Whether no write failed, after all that `pact` tries by itself.
    ///
    /// # Panics
    /// With what it said about each.
    pub fn assert_none_failed(&self) {
        let (failed, all) = (self.failed.len(), self.failed.len() + self.acknowledged.len());
        assert!(self.failed.is_empty(), "{failed} of {all} failed:\n{}", self.failed.join("\n"));
    }
}
