//! One command, from the CLI to the node and into the journal.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Duration;

use pact_tests::site::{Role, Site, describe};
use pact_tests::wait::until;

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_command_streams_and_both_entries_are_in_the_log() {
    let site = Site::with_nodes(1, &["n1"]);
    let output = site.pact(Role::Ops, &["exec", "n1", "--", "uname", "-s"]);
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Linux\n");

    let (finished, _) = until("the outcome is in the log", LONG, || {
        site.entries(20).into_iter().find(|e| e["kind"] == "ExecFinished")
    });
    let parent = finished["detail"]["parent"].as_u64().unwrap();
    let entries = site.entries(20);
    let requested = entries.iter().find(|e| e["seq"].as_u64() == Some(parent)).unwrap();
    assert_eq!(requested["kind"], "ExecRequested");
    assert_eq!(requested["author"]["principal"], "ops");
    assert_eq!(requested["author"]["role"], "pact-ops-ml");
    assert_eq!(requested["scope"], "node:n1");
    assert_eq!(finished["author"]["principal"], "node:n1");

    let shown = site.pact_ok(Role::Viewer, &["log", "show", &parent.to_string()]);
    assert!(shown.contains("Linux\n"), "{shown}");

    // A thousand arguments run; one over the limit is refused before anything is requested.
    let requests = || site.entries(20).iter().filter(|e| e["kind"] == "ExecRequested").count();
    let many = |count| [&["exec", "n1", "--", "echo"], ["x"].repeat(count).as_slice()].concat();
    assert_eq!(site.pact_ok(Role::Ops, &many(999)).trim_end().len(), 2 * 999 - 1);
    assert_eq!(requests(), 2);
    let refused = site.pact(Role::Ops, &many(1_024));
    assert_eq!(refused.status.code(), Some(1), "{}", describe(&refused));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("PACT_TOO_LARGE"));
    assert_eq!(requests(), 2);
}

#[test]
fn output_arrives_as_it_is_produced_and_an_interrupt_kills_on_the_node() {
    let site = Site::with_nodes(1, &["n1"]);
    let followed = site.path("followed");
    std::fs::write(&followed, "first\n").unwrap();
    let path = followed.to_str().unwrap();
    let mut child = site
        .command(Role::Ops, &["exec", "n1", "--", "tail", "-f", path])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    // Written only now: the command still runs, and its output is not held back.
    File::options().append(true).open(&followed).unwrap().write_all(b"second\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "second");
    assert!(is_running(path));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    until("the remote process is gone", LONG, || (!is_running(path)).then_some(()));
    until("the outcome says cancelled", LONG, || {
        let entries = site.entries(20);
        let outcome = entries.iter().find(|e| e["kind"] == "ExecFinished")?;
        outcome.to_string().to_lowercase().contains("cancelled").then_some(())
    });
}

#[test]
fn output_is_cut_at_the_limit_and_says_so() {
    let site = Site::with_nodes(1, &["n1"]);
    let big = site.path("big");
    std::fs::write(&big, vec![b'x'; 30 << 20]).unwrap();
    let output = site.pact(Role::Ops, &["exec", "n1", "--", "cat", big.to_str().unwrap()]);
    assert_eq!(output.stdout.len(), 10 << 20, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cut"));
    assert!(output.status.success());
}

/// Whether a `tail` of this file runs on this machine.
fn is_running(file: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| {
            let arguments: Vec<&[u8]> = line.split(|b| *b == 0).collect();
            arguments.first().is_some_and(|program| program.ends_with(b"tail"))
                && arguments.contains(&file.as_bytes())
        })
    })
}
