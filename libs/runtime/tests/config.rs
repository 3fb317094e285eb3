//! Configuration: layers, origins, and every kind of mistake, on real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::time::Duration;

use pact_runtime::config::{
    ConfigError, Default, Key, KeyKind, Loader, Problem, Schema, example_file, seconds,
};
use serde::Deserialize;

static SCHEMA: Schema = Schema {
    file_name: "journal.toml",
    env_prefix: "PACT_JOURNAL",
    other_environment: &["PACT_JOURNAL_TEST_*"],
    keys: &[
        Key::new(
            "journal.member",
            KeyKind::Integer { min: 1, max: 5 },
            Default::Required,
            "Which member of `journal.raft.members` this is.",
        )
        .example("1"),
        Key::new(
            "journal.data_dir",
            KeyKind::Path,
            Default::Value("\"/var/lib/pact/journal\""),
            "Folder of both databases.",
        ),
        Key::new(
            "journal.mode",
            KeyKind::Enum(&["observe", "enforce"]),
            Default::Value("\"enforce\""),
            "What to do about it.",
        ),
        Key::new(
            "journal.metrics_listen",
            KeyKind::Address,
            Default::Value("\"127.0.0.1:9091\""),
            "Where metrics and health are served.",
        ),
        Key::new("journal.password", KeyKind::String, Default::Optional, "Password of the bus.")
            .secret(),
        Key::new(
            "journal.raft.members",
            KeyKind::StringList,
            Default::Value("[]"),
            "All members, identical on all.",
        )
        .example("[\"1:journal-1.mgmt:9444\"]"),
        Key::new(
            "journal.raft.interval-seconds",
            KeyKind::Seconds { min: 1, max: 60 },
            Default::Value("10"),
            "How often.",
        ),
        Key::new("journal.weights", KeyKind::Table, Default::Optional, "Weights by dimension."),
    ],
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    journal: Journal,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal {
    member: u8,
    data_dir: PathBuf,
    mode: Mode,
    metrics_listen: std::net::SocketAddr,
    password: Option<String>,
    raft: Raft,
    #[serde(default)]
    weights: std::collections::BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Observe,
    Enforce,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raft {
    members: Vec<String>,
    #[serde(with = "seconds")]
    interval_seconds: Duration,
}

struct TestFile {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl TestFile {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.toml");
        std::fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }

    fn loader(&self) -> Loader {
        Loader::new(&SCHEMA).file(&self.path, true)
    }

    /// Messages with this file's path as `FILE`.
    fn refused(&self, error: &ConfigError) -> Vec<String> {
        let path = self.path.display().to_string();
        let problems = error.problems().iter();
        problems.map(|problem| problem.to_string().replace(&path, "FILE")).collect()
    }
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

#[test]
fn later_layers_win_and_the_struct_gets_them() {
    let file = TestFile::new(
        "[journal]\nmember = 2\nmode = 'observe'\ndata_dir = '/srv/file'\npassword = 'hunter2'\n\
         [journal.raft]\nmembers = 'one'\n[journal.weights]\nkernel = 2.0\n",
    );
    let config: Config = file
        .loader()
        .env(env(&[
            ("PACT_JOURNAL_DATA_DIR", "/srv/env"),
            ("PACT_JOURNAL_RAFT_MEMBERS", "a, b"),
            ("PACT_JOURNAL_MODE", ""),
            ("PACT_JOURNAL_TEST_ROOT", "read by something else"),
            ("HOME", "/root"),
        ]))
        .flag("journal.data_dir", "/srv/flag")
        .set("journal.raft.interval-seconds=7")
        .load()
        .unwrap()
        .parse()
        .unwrap();
    let journal = config.journal;
    assert_eq!(journal.member, 2);
    assert_eq!(journal.data_dir, PathBuf::from("/srv/flag"));
    assert_eq!(journal.mode, Mode::Observe, "an empty variable is not set");
    assert_eq!(journal.metrics_listen.port(), 9091);
    assert_eq!(journal.password.as_deref(), Some("hunter2"));
    assert_eq!(journal.raft.members, ["a", "b"]);
    assert_eq!(journal.raft.interval_seconds, Duration::from_secs(7));
    assert_eq!(journal.weights["kernel"], 2.0);
}

#[test]
fn a_later_file_wins_over_an_earlier_one() {
    let (site, user) = (
        TestFile::new("journal.member = 1\njournal.mode = 'observe'"),
        TestFile::new("journal.member = 3"),
    );
    let loaded = site.loader().file(&user.path, true).load().unwrap();
    let config: Config = loaded.parse().unwrap();
    assert_eq!((config.journal.member, config.journal.mode), (3, Mode::Observe));
}

#[test]
fn print_shows_origins_and_no_secret() {
    let file = TestFile::new("[journal]\nmember = 2\n\npassword = 'hunter2'\n");
    let printed = file
        .loader()
        .env(env(&[("PACT_JOURNAL_MODE", "observe")]))
        .flag("journal.raft.members", "a,b")
        .load()
        .unwrap()
        .print()
        .replace(&file.path.display().to_string(), "FILE");
    assert_eq!(
        printed,
        "journal.member = 2   # file FILE:2\n\
         journal.data_dir = \"/var/lib/pact/journal\"   # default\n\
         journal.mode = \"observe\"   # environment PACT_JOURNAL_MODE\n\
         journal.metrics_listen = \"127.0.0.1:9091\"   # default\n\
         journal.password = <set>   # file FILE:4\n\
         journal.raft.members = [\"a\", \"b\"]   # flag --set\n\
         journal.raft.interval-seconds = 10   # default\n\
         # journal.weights is not set\n"
    );
}

#[test]
fn all_problems_are_reported_at_once_with_their_places() {
    let file = TestFile::new(
        "[journal]\ndta_dir = '/srv'\nmode = 'enforcing'\npassword = 4711\n\n[journal.raft]\n\
         member = 3\ninterval-seconds = 600\n[journl]\nx = 1\n",
    );
    let error = file
        .loader()
        .env(env(&[
            ("PACT_JOURNAL_RAFT_MEMBER", "x"),
            ("PACT_JOURNAL_METRICS_LISTEN", "9091"),
            ("PACT_JOURNAL_PASSWORD", "s3cret"),
        ]))
        .set("journal.data-dir=/srv")
        .set("journal.mode")
        .load()
        .unwrap_err();
    assert_eq!(
        file.refused(&error),
        [
            "file FILE:2: unknown key `journal.dta_dir`; did you mean `journal.data_dir`?",
            "file FILE:3: `journal.mode` cannot be \"enforcing\"; accepted: \"observe\", \"enforce\"",
            "file FILE:4: `journal.password` cannot be a value of type integer; accepted: a string that is not empty",
            "file FILE:7: unknown key `journal.raft.member`; did you mean `journal.raft.members`?",
            "file FILE:8: `journal.raft.interval-seconds` cannot be 600; accepted: whole seconds from 1 to 60",
            "file FILE:9: unknown key `journl`; did you mean `journal`?",
            "unknown environment variable PACT_JOURNAL_RAFT_MEMBER; did you mean `PACT_JOURNAL_RAFT_MEMBERS`?",
            "environment PACT_JOURNAL_METRICS_LISTEN: `journal.metrics_listen` cannot be \"9091\"; \
             accepted: an IP address and port such as \"127.0.0.1:9091\"",
            "environment PACT_JOURNAL_PASSWORD: `journal.password` is a secret and is read from a file only",
            "flag --set: unknown key `journal.data-dir`; did you mean `journal.data_dir`?",
            "flag --set: expected key=value, found no `=` after `journal.mode`",
            "`journal.member` is not set: Which member of `journal.raft.members` this is. \
             Set it in FILE or as PACT_JOURNAL_MEMBER",
        ]
    );
    let shown = error.to_string();
    assert!(shown.starts_with("12 problems in the configuration:\n  - file "));
    assert!(!shown.contains("4711") && !shown.contains("s3cret"));
}

#[test]
fn a_broken_file_is_one_problem_with_a_line_and_without_its_text() {
    let file = TestFile::new("[journal]\nmember = 1\npassword = \"hunter2\nmode = 'observe'\n");
    let error = file.loader().load().unwrap_err();
    let refused = file.refused(&error);
    assert!(refused[0].starts_with("file FILE:3: "), "{refused:?}");
    assert!(!error.to_string().contains("hunter2"));
    assert!(error.problems().iter().all(|problem| matches!(problem, Problem::Syntax { .. })));
}

#[test]
fn a_file_must_be_there_only_when_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("journal.toml");
    let loader = || Loader::new(&SCHEMA).set("journal.member=1");
    loader().file(&absent, false).load().unwrap();
    let error = loader().file(&absent, true).load().unwrap_err();
    assert!(error.to_string().ends_with("journal.toml: entity not found"));
    // Never silently skipped: a folder in its place.
    let error = loader().file(folder.path(), false).load().unwrap_err();
    assert!(matches!(error.problems()[0], Problem::Unreadable { .. }));
}

#[test]
fn a_quoted_dot_is_not_a_path() {
    let file = TestFile::new("\"journal.member\" = 1\n");
    let error = file.loader().load().unwrap_err();
    assert!(matches!(error.problems()[0], Problem::UnknownKey { .. }));
}

#[test]
fn what_only_the_struct_can_refuse_is_put_at_its_key() {
    #[derive(Debug, Deserialize)]
    struct Narrow {
        #[serde(rename = "journal")]
        _journal: NarrowJournal,
    }
    #[derive(Debug, Deserialize)]
    struct NarrowJournal {
        #[serde(rename = "weights")]
        _weights: std::collections::BTreeMap<String, f64>,
    }
    let file = TestFile::new("[journal]\nmember = 1\n[journal.weights]\ngpu = 'heavy'\n");
    let loaded = file.loader().load().unwrap();
    let error = loaded.parse::<Narrow>().unwrap_err();
    assert_eq!(
        file.refused(&error),
        [
            "file FILE:3: `journal.weights`: invalid type: string \"heavy\", expected f64 in `journal.weights.gpu`"
        ]
    );
    let error = loaded.reject("journal.member", "is not in `journal.raft.members`");
    assert_eq!(
        file.refused(&error),
        ["file FILE:2: `journal.member`: is not in `journal.raft.members`"]
    );
}

#[test]
fn the_example_file_documents_every_key_and_loads() {
    let text = example_file(&SCHEMA);
    assert!(text.contains("\n# Which member of `journal.raft.members` this is.\n"));
    assert!(text.contains(
        "\n# Required; an integer from 1 to 5; environment PACT_JOURNAL_MEMBER.\nmember = 1\n"
    ));
    assert!(text.contains("\n# data_dir = \"/var/lib/pact/journal\"\n"));
    assert!(text.contains("secret: in this file only.\n# password =\n"));
    assert!(text.lines().all(|line| line.chars().count() <= 100));
    let file = TestFile::new(&text);
    file.loader().load().unwrap();
    // With every comment of a setting taken off, each key is there and accepted.
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.contains(" = ") => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    TestFile::new(&all).loader().load().unwrap();
}

#[test]
fn a_schema_with_a_mistake_does_not_load() {
    static BROKEN: Schema = Schema {
        file_name: "x.toml",
        env_prefix: "PACT_X",
        other_environment: &[],
        keys: &[
            Key::new("x.a", KeyKind::Bool, Default::Value("1"), "A."),
            Key::new("x.a.b", KeyKind::Bool, Default::Required, "B."),
            Key::new("x.a_b", KeyKind::Bool, Default::Optional, "C."),
        ],
    };
    let error = Loader::new(&BROKEN).load().unwrap_err().to_string();
    for fault in [
        "`x.a` is a key and a table",
        "`x.a` has a default that its kind refuses",
        "`x.a.b` is required and has no example",
        "`x.a_b` has the variable of another key",
    ] {
        assert!(error.contains(fault), "{fault} in {error}");
    }
}
