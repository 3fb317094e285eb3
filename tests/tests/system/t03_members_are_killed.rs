//! No acknowledged entry is lost, whichever member is killed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use pact_tests::site::{READY, Role, Site, mac_of};
use pact_tests::wait::until;

/// Registers one node after another; the names that were acknowledged.
fn write_until(site: &Site, stop: &AtomicBool, done: &AtomicUsize, from: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for i in from.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("w{i}");
        let mac = mac_of(i);
        if site.pact(Role::Admin, &["node", "enroll", &name, "--mac", &mac]).status.success() {
            acknowledged.push(name);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

#[test]
fn every_acknowledged_entry_survives_kill_9_of_each_member_in_turn() {
    let mut site = Site::start(3);
    let mut acknowledged = Vec::new();
    for (round, member) in ["journal-1", "journal-2", "journal-3"].into_iter().enumerate() {
        let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let killed = {
            let victim = nix::unistd::Pid::from_raw(i32::try_from(site.part(member).id()).unwrap());
            let (site, stop, done) = (&site, &stop, &done);
            std::thread::scope(|threads| {
                let writer =
                    threads.spawn(move || write_until(site, stop, done, 1 + round * 10_000));
                until("writes flow", READY, || (done.load(Ordering::Relaxed) >= 3).then_some(()));
                nix::sys::signal::kill(victim, nix::sys::signal::Signal::SIGKILL).unwrap();
                let since = Instant::now();
                let probe = format!("probe{round}");
                let mac = mac_of(50_000 + round);
                until("writes are accepted again", READY, || {
                    let done = site.pact(Role::Admin, &["node", "enroll", &probe, "--mac", &mac]);
                    done.status.success().then_some(())
                });
                let gap = since.elapsed();
                stop.store(true, Ordering::Relaxed);
                acknowledged.extend(writer.join().unwrap());
                acknowledged.push(probe);
                gap
            })
        };
        eprintln!("{member} killed: a write was accepted after {killed:?}");
        site.part(member).kill();
        site.start_part(member);
        site.wait_ready(member);
    }
    assert!(acknowledged.len() > 6, "the stream of writes was a stream: {acknowledged:?}");
    let list = site.json(Role::Admin, &["node", "list"]).unwrap();
    let known: BTreeSet<&str> =
        list["items"].as_array().unwrap().iter().map(|n| n["node"].as_str().unwrap()).collect();
    for name in &acknowledged {
        assert!(known.contains(name.as_str()), "{name} was acknowledged and is gone");
    }
    let entries = site.entries(10_000);
    for pair in entries.windows(2) {
        assert_eq!(pair[1]["seq"].as_u64().unwrap(), pair[0]["seq"].as_u64().unwrap() + 1);
    }
}
