//! What is different on a terminal. `script` gives the binary one.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::run::Home;
use crate::site::Site;

struct Shown {
    code: Option<i32>,
    text: String,
}

/// Runs a command line of `pact` on a terminal, with this typed on it once `prompt` is shown.
fn on_terminal(home: &Home, line: &str, prompt: &str, typed: &str) -> Shown {
    let inner = home.command(&[]);
    let mut command = Command::new("script");
    command
        .args(["-qec", &format!("{} {line}", env!("CARGO_BIN_EXE_pact")), "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    let mut child = command.spawn().expect("script (bsdutils) is installed");
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut bytes = Vec::new();
    let mut typed = Some(typed).filter(|t| !t.is_empty());
    let mut buffer = [0; 4096];
    loop {
        let length = output.read(&mut buffer).unwrap_or(0);
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..length]);
        if String::from_utf8_lossy(&bytes).contains(prompt)
            && let Some(typed) = typed.take()
        {
            input.write_all(typed.as_bytes()).unwrap();
        }
    }
    let code = child.wait().unwrap().code();
    Shown { code, text: String::from_utf8_lossy(&bytes).into_owned() }
}

#[test]
fn control_characters_of_a_node_do_not_reach_the_terminal() {
    let site = Site::start();
    let home = Home::new(&site.endpoint).with("NO_COLOR", "1");
    let safe = on_terminal(&home, "exec node-1 -- binary", "", "");
    assert!(!safe.text.contains(['\u{1b}', '\u{7}', '\u{8}', '\u{7f}']), "{:?}", safe.text);
    assert!(safe.text.contains("␛") && safe.text.contains("~␡"), "{:?}", safe.text);
    let raw = on_terminal(&home, "exec --raw node-1 -- binary", "", "");
    assert!(raw.text.contains('\u{1b}'), "{:?}", raw.text);
    let show = on_terminal(&home, "log show 40", "", "");
    assert!(!show.text.contains('\u{1b}') && show.text.contains("Linux ␛[1m"), "{:?}", show.text);
}

#[test]
fn identical_output_of_many_nodes_is_shown_once() {
    let site = Site::start();
    let home = Home::new(&site.endpoint).with("NO_COLOR", "1");
    let same = on_terminal(&home, "exec --yes node-[1-2] -- same", "", "");
    assert_eq!(same.text, "--- node-[1-2] (2) ---\r\nalike\r\n");
    let differs = on_terminal(&home, "exec node-[1-2] -- echo", "", "");
    let lines = ["node-1: echo", "node-1: from node-1", "node-2: echo", "node-2: from node-2"];
    assert_eq!(differs.text, lines.map(|line| format!("{line}\r\n")).concat());
    // Where it goes into a file or a program, every line has its node.
    let run = home.run(&["exec", "--yes", "node-[1-2]", "--", "same"]).exits(0);
    assert_eq!(run.stdout, "node-1: alike\nnode-2: alike\n");
}

#[test]
fn held_output_is_shown_when_the_wait_is_interrupted_or_long() {
    let site = Site::start();
    let home = Home::new(&site.endpoint).with("NO_COLOR", "1");
    // Never ends; its lines come although nothing can be compared yet. The typed character is Ctrl-C.
    let slow = on_terminal(&home, "exec --yes node-[1-2] -- slow", "node-1: tick", "\u{3}");
    assert_eq!(slow.code, Some(130), "{}", slow.text);
    assert!(slow.text.contains("node-1: tick\r\n"), "{}", slow.text);
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    assert!(on_terminal(&home, "status", "", "").text.contains("\u{1b}[32mactive\u{1b}[0m"));
    // Help, errors and data alike.
    let all = ["status", "--help", "help exec", "node", "log -n 999", "commit"];
    for line in all {
        let shown = |home: &Home| on_terminal(home, line, "", "").text;
        assert!(shown(&home).contains('\u{1b}'), "{line}");
        let plain = Home::new(&site.endpoint).with("NO_COLOR", "1").with("CLICOLOR_FORCE", "1");
        assert!(!shown(&plain).contains('\u{1b}'), "{line}");
        let words: Vec<&str> = line.split(' ').collect();
        let forced = Home::new(&site.endpoint).with("CLICOLOR_FORCE", "1").run(&words);
        assert!((forced.stdout + &forced.stderr).contains('\u{1b}'), "{line}");
        let redirected = home.run(&words);
        assert!(!(redirected.stdout + &redirected.stderr).contains('\u{1b}'), "{line}");
    }
}

#[test]
fn tables_fit_a_terminal_and_times_are_local_there() {
    let site = Site::start();
    let home = Home::new(&site.endpoint).with("NO_COLOR", "1").with("TZ", "XST-3");
    for line in ["status", "log", "diff node-042", "node list", "rollback 13", "health", "cluster"]
    {
        let text = on_terminal(&home, line, "", "").text;
        for row in text.lines() {
            assert!(
                row.trim_end().chars().count() <= 80 || row.contains("error["),
                "{line}: {row}"
            );
        }
    }
    let shown = on_terminal(&home, "log show 40", "", "").text;
    // 05:06:47 in UTC.
    assert!(shown.contains("time          2026-03-04 08:06:47\r\n"), "{shown}");
    let status = on_terminal(&home, "status", "", "").text;
    assert!(status.contains("ago (2026-03-04 08:17)"), "{status}");
    for utc in ["--utc log show 40", "log show 40 --utc"] {
        assert!(on_terminal(&home, utc, "", "").text.contains("2026-03-04T05:06:47.089Z"), "{utc}");
    }
    assert!(home.run(&["log", "show", "40"]).stdout.contains("2026-03-04T05:06:47.089Z"));
    assert!(on_terminal(&home, "status -o wide", "", "").text.contains("  AGENT"));
}

#[test]
fn a_change_on_many_nodes_runs_only_when_the_number_is_typed() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let line = "exec node-[1-2] -- systemctl restart x";
    let prompt = "Type the number of nodes";
    let wrong = on_terminal(&home, line, prompt, "yes\n");
    assert_eq!(wrong.code, Some(1), "{}", wrong.text);
    assert!(wrong.text.contains("nothing was done"), "{}", wrong.text);
    assert!(site.seen.exec_requests.lock().unwrap().is_empty());
    let right = on_terminal(&home, line, prompt, "2\n");
    assert_eq!(right.code, Some(0), "{}", right.text);
    assert_eq!(site.seen.exec_requests.lock().unwrap().len(), 1);
}

#[test]
fn conflicts_of_a_promotion_are_asked_key_by_key() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let shown = on_terminal(&home, "promote torn", "or (k)eep theirs?", "k\n");
    assert_eq!(shown.code, Some(0), "{}", shown.text);
    assert!(shown.text.contains("[vcluster.ml-training.sysctl]"), "{}", shown.text);
    let asked = site.seen.promotes.lock().unwrap();
    let decided = &asked[1].decisions[0];
    assert_eq!(decided.key, "sysctl/vm.swappiness");
    assert_eq!(decided.choice(), pact_schemas::v1::ConflictChoice::KeepLocal);
}

#[test]
fn who_waits_is_told_for_what_on_a_terminal_alone() {
    let site = Site::start();
    let home = Home::new(&site.endpoint).with("NO_COLOR", "1");
    let shown = on_terminal(&home, "diff late", "", "");
    assert!(shown.text.starts_with("waiting for late\r\n"), "{}", shown.text);
    assert_eq!(shown.text.matches("waiting").count(), 1, "{}", shown.text);
    let run = home.run(&["diff", "late"]).exits(0);
    assert!(!(run.stdout + &run.stderr).contains("waiting"));
}
