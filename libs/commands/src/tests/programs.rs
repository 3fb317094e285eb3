//! The descriptions held against the installed programs: whether an option takes a value here as it
//! does there, and whether an accepted `ps` shows an environment. Both readings must agree, or a
//! file could pass as a value.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::argv;
use super::recorded::node;
use crate::files::TRUSTED_PATH;
use crate::grammar::{Spelling, Value};
use crate::{Verdict, Whitelist};

const BOGUS: &str = "--pact-no-such-option";

/// The program of this machine.
fn installed(name: &str) -> Option<PathBuf> {
    TRUSTED_PATH.iter().map(|folder| PathBuf::from(folder).join(name)).find(|path| path.is_file())
}

fn run(program: &PathBuf, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("TERM", "dumb");
    command.current_dir("/").stdin(Stdio::null()).output().unwrap()
}

/// Whether the program complained about the bogus option, that is, did not take it for a value.
fn saw_bogus(output: &Output) -> bool {
    let text = String::from_utf8_lossy(&output.stderr);
    text.contains("pact-no-such-option")
        && (text.contains("unrecognized option") || text.contains("unknown option"))
}

#[test]
fn options_take_values_exactly_where_the_installed_programs_do() {
    let list = Whitelist::builtin();
    let mut checked = 0;
    let mut wrong = Vec::new();
    // `ps` and `ip` read their arguments in their own ways, and the two below have no getopt
    // messages.
    let foreign = ["ps", "traceroute", "ping", "lspci"];
    for command in list
        .commands
        .values()
        .filter(|c| c.spelling == Spelling::Bundled && !foreign.contains(&c.name))
    {
        let Some(program) = installed(command.name) else { continue };
        for (option, name) in command
            .options
            .iter()
            .flat_map(|option| option.names.iter().map(move |name| (option, *name)))
        {
            let takes_next = match option.value {
                Value::Required(_) | Value::Separate(_) => true,
                Value::None | Value::Attached(_) => false,
                // Refused ones are never given; the last kind looks at what the next argument is.
                Value::Refused(_) | Value::Perhaps(_) => continue,
            };
            if command.name == "uptime" || acts_at_once(name) {
                continue;
            }
            let output = run(&program, &[name, BOGUS]);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let unknown_here = text.contains(&format!("unrecognized option '{name}'"))
                || name
                    .strip_prefix('-')
                    .is_some_and(|letter| text.contains(&format!("invalid option -- '{letter}'")));
            if unknown_here {
                continue;
            }
            checked += 1;
            if saw_bogus(&output) == takes_next {
                wrong.push(format!("{} {name}: {text}", command.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        checked > 150,
        "only {checked} options were checked: the programs are missing or speak otherwise"
    );
}

struct Canary(Child);

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_accepted_ps_shows_an_environment() {
    let files = node();
    let list = Whitelist::builtin();
    let Some(program) = installed("ps") else { return };
    let mut sleeper = Command::new("sleep");
    let canary = Canary(
        sleeper
            .arg("300")
            .env("PACT_CANARY", "pact-canary-value")
            .stdin(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let shows = |args: &[&str]| {
        String::from_utf8_lossy(&run(&program, args).stdout).contains("pact-canary-value")
    };
    // The check can fail: these do show it.
    assert!(shows(&["axeww"]), "ps axeww should show the environment");

    let words = [
        "-e",
        "-ef",
        "-A",
        "-f",
        "-F",
        "-l",
        "-j",
        "-L",
        "-T",
        "-H",
        "-M",
        "-w",
        "-ww",
        "-y",
        "-c",
        "-P",
        "-a",
        "-d",
        "-eLf",
        "-ely",
        "-eM",
        "-eo",
        "-o",
        "pid,args",
        "args",
        "pid,environ",
        "cmd:200",
        "--forest",
        "--headers",
        "--sort=-pcpu",
        "--sort",
        "-pid",
        "unit",
        "-p",
        "1",
        "99999999",
        "-u",
        "root",
        "-U",
        "nobody",
        "no-such-user",
        "xe",
        "e",
        "aux",
        "axo",
        "o",
        "wwo",
        "comm",
        "-eaf",
        "axww",
        "f",
        "l",
        "j",
        "v",
        "s",
        "-C",
        "sleep",
        "--no-headers",
        "--width=500",
        "--ppid",
        "1,2",
        "-eww",
        "-efww",
        "-ewwF",
        "-ejww",
        "-eTww",
        "-eHo",
        "-eLo",
        "-eyl",
        "-ec",
        "-eP",
        "-ew",
        "-ewf",
        "-auxe",
        "-uxe",
        "-Ce",
        "-Uwe",
        "-auxwwe",
        "-ww",
        "-aux",
        "root,xe",
        "-pe",
        "--user=xe",
        "-owe",
        "-eu",
        "-wwe",
        "-eww",
    ];
    let lines = prop::collection::vec(prop::sample::select(words.to_vec()), 1..5);
    let mut runner = TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..20_000 {
        let args = lines.new_tree(&mut runner).unwrap().current();
        let line = argv(&format!("ps {}", args.join(" ")));
        if matches!(list.judge(&line, &files), Verdict::Refused(_)) {
            continue;
        }
        accepted += 1;
        assert!(!shows(&args), "{line:?} shows environments");
        if accepted >= 800 {
            break;
        }
    }
    assert!(accepted >= 200, "only {accepted} lines were accepted");
    drop(canary);
}

/// Options upon which some program stops before it reads the next one.
fn acts_at_once(name: &str) -> bool {
    matches!(
        name,
        "-h" | "-V"
            | "-v"
            | "--help"
            | "--version"
            | "-O"
            | "-Z"
            | "-z"
            | "--context"
            | "--contexts"
            | "--list-fields"
    )
}
