//! A stream of writes while something happens to the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::Cluster;
use crate::site::{READY, Role, describe, mac_of};
use crate::wait::until;

/// What a writer does, again and again; two of them write at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Registers a node: gateway, enrolment, journal.
    Node,
    /// Declares a vCluster: gateway, journal.
    Vcluster,
}

/// What became of the writes.
#[derive(Debug, Default)]
pub struct Writes {
    /// Scopes of what was acknowledged.
    pub acknowledged: BTreeSet<String>,
    /// What `pact` said about those that failed, whatever it had tried itself.
    pub failed: Vec<String>,
    /// The longest that a caller waited for an acknowledgement.
    pub longest: Duration,
    /// The scope of the write that took it.
    pub slowest: String,
}

/// How far a stream of writes has come.
#[derive(Debug)]
pub struct Stream {
    stop: AtomicBool,
    acknowledged: [AtomicUsize; 2],
    writes: Mutex<Writes>,
}

impl Stream {
    /// Waits until so many more writes of each writer were acknowledged, of those that begin now.
    pub fn wait_for(&self, more: usize) {
        let count = || self.acknowledged.each_ref().map(|count| count.load(Ordering::Relaxed));
        let so_far = count();
        until(&format!("{more} more writes are acknowledged"), READY, || {
            let now = count();
            // What is under way counts for what was before.
            so_far.iter().zip(now).all(|(then, now)| now > then + more).then_some(())
        });
    }

    fn write(&self, cluster: &Cluster, writer: usize, write: Write) {
        let index = cluster.next_index();
        let name = format!("w{index}");
        let begun = Instant::now();
        let (scope, output) = match write {
            Write::Node => {
                let args = ["node", "enroll", &name, "--mac", &mac_of(index)];
                (format!("node:{name}"), cluster.pact(Role::Admin, &args))
            }
            Write::Vcluster => {
                let spec = format!("[vcluster.{name}.policy]\nregulated = false\n");
                (format!("vc:{name}"), cluster.apply(&spec))
            }
        };
        let took = begun.elapsed();
        let mut writes = self.writes.lock().unwrap();
        if took > writes.longest {
            writes.longest = took;
            writes.slowest.clone_from(&scope);
        }
        if output.status.success() {
            writes.acknowledged.insert(scope);
            self.acknowledged[writer].fetch_add(1, Ordering::Relaxed);
        } else {
            writes.failed.push(format!("{scope} after {took:?}: {}", describe(&output)));
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

/// Does something while two writers write, one command after another; what became of that.
pub fn while_writing(
    cluster: &Cluster,
    writers: [Write; 2],
    something: impl FnOnce(&Stream),
) -> Writes {
    let stream = Stream {
        stop: AtomicBool::new(false),
        acknowledged: Default::default(),
        writes: Mutex::default(),
    };
    std::thread::scope(|threads| {
        for (writer, write) in writers.into_iter().enumerate() {
            let stream = &stream;
            threads.spawn(move || {
                while !stream.stop.load(Ordering::Relaxed) {
                    stream.write(cluster, writer, write);
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
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        let is_of_write =
            |entry: &&Value| entry["kind"] == "NodeRegistered" || entry["kind"] == "PolicyUpdate";
        for entry in entries.iter().filter(is_of_write) {
            *times.entry(entry["scope"].as_str().expect("a scope")).or_default() += 1;
        }
        for scope in &self.acknowledged {
            let times = times.get(scope.as_str()).copied().unwrap_or_default();
            assert_eq!(times, 1, "{scope} was acknowledged and is {times} times in the journal");
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
