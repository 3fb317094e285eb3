//! `pact exec` over a real stream.

use std::io::Read as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::run::Home;
use crate::site::Site;

#[test]
fn output_and_exit_codes_of_one_node() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let run = home.run(&["exec", "node-1", "--", "echo", "a b"]).exits(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("echo a b\nfrom node-1", ""));

    let run = home.run(&["exec", "node-1", "--", "fail"]).exits(12);
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr
            .starts_with("no\nerror[PACT_REMOTE_FAILED]: node-1: the command ended with exit 3"),
        "{}",
        run.stderr
    );
    home.run(&["exec", "-S", "node-1", "--", "fail"]).exits(3);

    let run = home.run(&["exec", "node-1", "--", "vi"]).exits(6);
    assert!(
        run.stderr.contains("error[PACT_NOT_WHITELISTED]: node-1: command not whitelisted"),
        "{}",
        run.stderr
    );
    home.run(&["exec", "-S", "node-1", "--", "vi"]).exits(255);

    home.run(&["exec", "node-1", "--", "gone"]).exits(5);
    home.run(&["exec", "node-404", "--", "uname"]).exits(9);
    home.run(&["exec", "-S", "node-404", "--", "uname"]).exits(255);
    let run = home.run(&["exec", "node-1", "--", "forbidden"]).exits(3);
    assert!(run.stderr.contains("policy: denied: no exec on Sundays"), "{}", run.stderr);

    let run = home.run(&["exec", "node-1", "--", "cut"]).exits(0);
    assert!(
        run.stderr.contains("output cut at 10485760 bytes, 39514240 discarded"),
        "{}",
        run.stderr
    );
}

#[test]
fn redirected_output_is_byte_exact_and_input_reaches_the_command() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let output = home.command(&["exec", "node-1", "--", "binary"]).output().unwrap();
    assert_eq!(output.stdout, (0..=255).collect::<Vec<u8>>());

    let input = "line\n".repeat(50_000);
    let run =
        home.run_with_input(&["exec", "-i", "node-1", "--", "cat"], input.as_bytes()).exits(0);
    assert_eq!(run.stdout, input);
}

#[test]
fn several_nodes_have_their_names_in_front_and_one_verdict() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let run = home.run(&["exec", "node-[1-2]", "--", "echo"]).exits(0);
    assert_eq!(
        run.stdout,
        "node-1: echo\nnode-1: from node-1\nnode-2: echo\nnode-2: from node-2\n"
    );
    home.run(&["exec", "--yes", "node-[1-2]", "--", "differ"]).exits(7);
    home.run(&["exec", "--yes", "node-[1-2]", "--", "vi"]).exits(6);
}

#[test]
fn changing_many_nodes_needs_a_yes() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let run = home.run(&["exec", "node-[1-2]", "--", "systemctl", "restart", "x"]).exits(1);
    assert!(run.stderr.contains("systemctl on 2 nodes needs --yes"), "{}", run.stderr);
    assert!(site.seen.exec_requests.lock().unwrap().is_empty());
    home.run(&["exec", "--yes", "node-[1-2]", "--", "systemctl", "restart", "x"]).exits(0);
    home.run(&["exec", "node-1", "--", "systemctl", "restart", "x"]).exits(0);
}

#[test]
fn a_program_that_nobody_knows_counts_as_changing() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let run = home.run(&["exec", "node-[1-2]", "--", "wipe-disks", "--all"]).exits(1);
    assert!(run.stderr.contains("wipe-disks on 2 nodes needs --yes"), "{}", run.stderr);
    assert!(site.seen.exec_requests.lock().unwrap().is_empty());
    home.run(&["exec", "node-[1-2]", "--", "uptime"]).exits(0);
}

#[test]
fn a_command_with_too_many_arguments_is_refused_before_it_is_sent() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let words =
        |count| [&["exec", "node-1", "--", "echo"], ["x"].repeat(count).as_slice()].concat();
    home.run(&words(1_023)).exits(0);
    let run = home.run(&words(1_024)).exits(1);
    assert!(run.stderr.contains("error[PACT_TOO_LARGE]: the command has 1025"), "{}", run.stderr);
    assert_eq!(site.seen.exec_requests.lock().unwrap().len(), 1);
}

#[test]
fn a_connection_lost_before_acceptance_is_made_again_with_the_same_request() {
    let site = Site::start();
    Home::new(&site.endpoint).run(&["exec", "node-1", "--", "flaky"]).exits(0);
    let requests = site.seen.exec_requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0], requests[1]);
}

#[test]
fn ctrl_c_ends_the_stream_and_exits_with_130() {
    let site = Site::start();
    let mut child = Home::new(&site.endpoint).start(&["exec", "node-1", "--", "slow"]);
    let mut first = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"tick\n");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    wait_until(|| site.seen.cancelled.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let site = Site::start();
    let mut child = Home::new(&site.endpoint).start(&["exec", "node-1", "--", "slow"]);
    let mut first = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    wait_until(|| site.seen.cancelled.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_gateway_that_dies_leaves_an_unknown_outcome_and_says_so() {
    let mut site = Site::start();
    let home = Home::new(&site.endpoint);
    let mut child = home.start(&["exec", "node-1", "--", "slow"]);
    let mut first = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    site.kill();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("the outcome of entry 40 is unknown on node-1"), "{stderr}");
}

/// Waits for something that another thread is about to do.
fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not happen within 5 s");
}
