//! What shells offer after Tab: the answers of `pact __complete`, and real shells with the printed scripts.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pact_runtime::Clock;

use crate::run::{Home, Run};
use crate::site::Site;

/// A multiple of the budget of 300 ms for a busy machine; a call without it waits 30 s.
const AT_ONCE: Duration = Duration::from_secs(10);

fn ask(home: &Home, shell: &str, words: &[&str]) -> Run {
    let input: String = words.iter().map(|word| format!("{word}\0")).collect();
    home.run_with_input(&["__complete", shell], input.as_bytes())
}

/// What is offered for the last of the words: fish is answered without a mode and with explanations.
fn offered(home: &Home, words: &[&str]) -> Vec<String> {
    let run = ask(home, "fish", words).exits(0);
    assert_eq!(run.stderr, "");
    run.stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn commands_options_and_values_come_from_the_tree() {
    let home = Home::bare();
    assert_eq!(offered(&home, &["pact", "st"]), ["status"]);
    assert_eq!(offered(&home, &["pact", "node", "as"]), ["assign"]);
    assert_eq!(offered(&home, &["pact", "exec", "--ti"]), ["--timeout"]);
    assert_eq!(offered(&home, &["pact", "log", "--output", ""]), ["text", "wide", "json"]);
    assert_eq!(offered(&home, &["pact", "log", "--output=j"]), ["--output=json"]);
    assert_eq!(offered(&home, &["pact", "diag", "--source", "d"]), ["dmesg"]);
    assert_eq!(offered(&home, &["pact", "help", "node-"]), ["node-sets"]);
    assert_eq!(offered(&home, &["pact", "help", "node", "li"]), ["list"]);
    assert_eq!(offered(&home, &["pact", "node", "help", "li"]), ["list"]);
    assert_eq!(offered(&home, &["pact", "policy", "explain", "node.as"]), ["node.assign"]);
    let all = offered(&home, &["pact", ""]);
    assert!(!all.contains(&"jobs".to_owned()), "hidden without lattice");
    assert!(
        all.contains(&"exec".to_owned()) && !all.iter().any(|word| word.starts_with(['-', '_']))
    );
    assert!(offered(&home, &["pact", "exec", "n", "--", "cat", ""]).is_empty());
}

#[test]
fn names_come_from_the_gateway() {
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let both = ["node-042", "node-043"];
    assert_eq!(offered(&home, &["pact", "exec", ""]), both);
    assert_eq!(
        offered(&home, &["pact", "exec", "n[1-3],no"]),
        ["n[1-3],node-042", "n[1-3],node-043"]
    );
    assert_eq!(offered(&home, &["pact", "exec", "node-042,no"]), ["node-042,node-043"]);
    assert_eq!(offered(&home, &["pact", "status", "-x", "no"]), both);
    assert_eq!(offered(&home, &["pact", "shell", "node-043"]), ["node-043"]);
    assert!(offered(&home, &["pact", "shell", "n1,no"]).is_empty(), "one node, not a set");
    assert!(offered(&home, &["pact", "exec", "node-[04"]).is_empty(), "numbers are no names");
    assert_eq!(offered(&home, &["pact", "status", "--vcluster", ""]), ["ml-training"]);
    assert_eq!(offered(&home, &["pact", "--vcluster=m"]), ["--vcluster=ml-training"]);
    assert_eq!(offered(&home, &["pact", "group", "show", "m"]), ["ml-training"]);
    assert_eq!(offered(&home, &["pact", "exec", "a,@v"]), ["a,@vc:"]);
    assert_eq!(offered(&home, &["pact", "exec", "a,@vc:"]), ["a,@vc:ml-training"]);
    assert_eq!(offered(&home, &["pact", "exec", "@state:in"]), ["@state:inactive"]);
    assert_eq!(offered(&home, &["pact", "log", "--scope", "node:node-042"]), ["node:node-042"]);
    assert_eq!(offered(&home, &["pact", "log", "--scope", "vc:"]), ["vc:ml-training"]);
}

#[test]
fn the_line_that_is_typed_says_whom_to_ask() {
    let site = Site::start();
    let home = Home::bare().with("PACT_TOKEN", "good");
    let words = ["pact", "--endpoint", &site.endpoint, "exec", "node-042"];
    assert_eq!(offered(&home, &words), ["node-042"]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = format!("http://{nobody},{}", site.endpoint);
    assert_eq!(offered(&home, &["pact", "exec", "--endpoint", &both, "node-042"]), ["node-042"]);
}

#[test]
fn without_an_answer_there_are_no_names_and_no_words_about_it() {
    let site = Site::start();
    // Accepts by backlog, answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broken = Home::new(&site.endpoint);
    broken.file(".config/pact/cli.toml", "nonsense = 1\n");
    // A command would warn that the login has expired.
    let expired = Home::bare().with("PACT_ENDPOINT", "https://j:9443");
    let cache = "{\"access_token\":\"x\",\"expires_at\":\"2026-03-04T05:06:07Z\"}";
    expired.file(".config/pact/auth/tokens-c029042d7fae3c00.json", cache);
    expired.file(".config/pact/token", "good");
    let homes = [
        Home::new(&silent),
        Home::new(&format!("{silent},{silent}")),
        Home::new(&format!("http://{gone}")),
        Home::new("https://no-such-host.invalid:9443"),
        Home::bare().with("PACT_ENDPOINT", &site.endpoint),
        Home::bare(),
        broken,
        expired,
        Home::new(&silent).with("RUST_LOG", "trace"),
    ];
    let clock = Clock::system();
    for home in &homes {
        let start = clock.monotonic();
        let run = ask(home, "bash", &["no", "pact exec no"]).exits(0);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("plain\n", ""), "{home:?}");
        assert!(clock.monotonic() - start < AT_ONCE);
    }
    // An endpoint that is silent does not hide the next.
    let next = Home::new(&format!("http://{gone},{}", site.endpoint));
    assert_eq!(offered(&next, &["pact", "exec", "node-042"]), ["node-042"]);
    for nonsense in [b"".as_slice(), b"pact", b"\xff\0\xff\0", b"pact\0"] {
        let run = next.run_with_input(&["__complete", "fish"], nonsense).exits(0);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    }
}

#[test]
fn files_are_left_to_shells_that_know_them() {
    let home = Home::bare();
    for line in ["pact apply over", "pact exec a,@file:over", "pact --tls-ca over"] {
        assert_eq!(ask(&home, "bash", &["over", line]).exits(0).stdout, "files\n", "{line}");
    }
    assert_eq!(ask(&home, "zsh", &["pact", "exec", "@file:x"]).exits(0).stdout, "files\n");
    home.file("overlay.toml", "");
    let path = home.path().join("over").to_str().unwrap().to_owned();
    assert_eq!(offered(&home, &["pact", "apply", &path]), [format!("{path}lay.toml")]);
    let set = format!("a,@file:{path}");
    assert_eq!(offered(&home, &["pact", "exec", &set]), [format!("{set}lay.toml")]);
}

/// A folder with a `pact` that writes its arguments down and then runs the real one.
fn observed_pact(home: &Home) -> PathBuf {
    let folder = home.path().join("bin");
    let log = home.path().join("arguments");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >>'{}'\nexec '{}' \"$@\"\n",
        log.display(),
        env!("CARGO_BIN_EXE_pact")
    );
    home.file("bin/pact", &script);
    let executable = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(folder.join("pact"), executable).unwrap();
    folder
}

/// A shell on a terminal.
struct Shell<'a> {
    /// How it is started.
    start: &'a str,
    /// What makes it complete pact.
    setup: &'a str,
}

const BASH: Shell = Shell {
    start: "bash --norc --noprofile",
    setup: "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; source <(pact completions bash)",
};
const ZSH: Shell = Shell {
    start: "zsh -f",
    setup: "unsetopt zle_bracketed_paste prompt_sp; autoload -Uz compinit; compinit -D -u; source <(pact completions zsh)",
};
const FISH: Shell =
    Shell { start: "fish --no-config --private", setup: "pact completions fish | source" };

impl Shell<'_> {
    /// Whether it is installed; the tests of one that is not say so and do nothing.
    fn is_here(&self) -> bool {
        let name = self.start.split(' ').next().unwrap();
        let here =
            Path::new("/usr/bin").join(name).exists() || Path::new("/bin").join(name).exists();
        if !here {
            eprintln!(
                "NOT TESTED: completion in {name}, which is not installed (apt-get install {name})"
            );
        }
        here
    }

    /// Types each line and Tab, then Enter with `echo` before it, and returns what the lines had become.
    fn completes(&self, home: &Home, lines: &[&str]) -> Vec<String> {
        let path = format!("{}:/usr/bin:/bin", observed_pact(home).display());
        let inner = home.command(&[]);
        let mut command = Command::new("script");
        command.args(["-qec", self.start, "/dev/null"]).env_clear();
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap());
        }
        let mut child = command
            .envs([("PATH", path.as_str()), ("TERM", "xterm"), ("LANG", "C.UTF-8"), ("PS1", "$ ")])
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script (bsdutils) is installed");
        let mut input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut shown = String::new();
        let mut until = |mark: &str| {
            let mut buffer = [0; 4096];
            while !shown.contains(mark) {
                let length = output.read(&mut buffer).unwrap_or(0);
                assert!(length > 0, "no {mark:?} in:\n{shown}");
                shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            std::mem::take(&mut shown)
        };
        writeln!(input, "{}; printf '%s-%s\\n' is ready", self.setup).unwrap();
        until("is-ready");
        let mut became = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            // Tab, to the start of the line (Ctrl-A), a command that writes the words down, Enter.
            let file = format!("line-{index}");
            writeln!(
                input,
                "{line}\t\u{1}printf '%s\\n' >{file} \u{5} ; printf '%s-%s\\n' done {index}"
            )
            .unwrap();
            until(&format!("done-{index}"));
            let words = std::fs::read_to_string(home.path().join(&file)).unwrap();
            became.push(words.lines().collect::<Vec<_>>().join(" "));
        }
        drop(input);
        // Its input is gone; whether it takes that as an end is its affair.
        let _gone = child.kill();
        let _status = child.wait();
        became
    }
}

/// Lines and what Tab makes of them, in every shell.
const LINES: &[(&str, &str)] = &[
    ("pact sta", "pact status"),
    ("pact exec node-042", "pact exec node-042"),
    ("pact exec n1,no", "pact exec n1,node-04"),
    ("pact exec 'n[1-3]',node-043", "pact exec n[1-3],node-043"),
    ("pact exec @vc:ml", "pact exec @vc:ml-training"),
    ("pact exec n1,@st", "pact exec n1,@state:"),
    ("pact status --vcluster=m", "pact status --vcluster=ml-training"),
    ("pact log --output=j", "pact log --output=json"),
    (
        "pact --token secret-word exec login,node-042",
        "pact --token secret-word exec login,node-042",
    ),
    ("pact apply over", "pact apply overlay.toml"),
    ("pact exec a,@file:over", "pact exec a,@file:overlay.toml"),
];

fn in_shell(shell: &Shell<'_>) {
    if !shell.is_here() {
        return;
    }
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    home.file("overlay.toml", "");
    let lines: Vec<&str> = LINES.iter().map(|(line, _)| *line).collect();
    let became = shell.completes(&home, &lines);
    let expected: Vec<&str> = LINES.iter().map(|(_, expected)| *expected).collect();
    assert_eq!(became, expected);
    let arguments = std::fs::read_to_string(home.path().join("arguments")).unwrap();
    assert!(arguments.contains("__complete"), "{arguments}");
    assert!(!arguments.contains("secret"), "{arguments}");
}

#[test]
fn bash_completes() {
    assert!(BASH.is_here(), "bash is everywhere");
    in_shell(&BASH);
}

#[test]
fn zsh_completes() {
    in_shell(&ZSH);
}

#[test]
fn fish_completes() {
    in_shell(&FISH);
}

#[test]
fn the_zsh_script_also_works_from_the_function_path() {
    if !ZSH.is_here() {
        return;
    }
    let site = Site::start();
    let home = Home::new(&site.endpoint);
    let script = home.run(&["completions", "zsh"]).exits(0).stdout;
    home.file("functions/_pact", &script);
    let setup = "unsetopt zle_bracketed_paste prompt_sp; fpath=($HOME/functions $fpath); autoload -Uz compinit; compinit -D -u";
    let became = Shell { setup, ..ZSH }.completes(&home, &["pact sta", "pact exec node-043"]);
    assert_eq!(became, ["pact status", "pact exec node-043"]);
}
