//! Generated command lines: nothing panics, and no argument that is opened as a file can be
//! exchanged for a secret.

use std::cell::RefCell;
use std::path::PathBuf;

use pact_schemas::Argv;
use proptest::prelude::*;

use super::argv;
use super::lines::{READING, lines};
use super::recorded::{Recorded, node};
use crate::grammar::{Command, Value};
use crate::{
    FileRefusal, FileResolver, Files, Reads, ResolvedFile, Verdict, Whitelist, changes_state,
};

const SECRETS: [&str; 6] = [
    "/etc/shadow",
    "etc/shadow",
    "/etc/../etc/shadow",
    "/proc/self/root/etc/shadow",
    "/tmp/innocent",
    "//etc/./shadow",
];

/// Remembers which arguments were taken for files.
struct Recording<'a> {
    files: &'a Files<Recorded>,
    asked: RefCell<Vec<String>>,
}

impl FileResolver for Recording<'_> {
    fn resolve_program(&self, name: &str) -> Option<PathBuf> {
        self.files.resolve_program(name)
    }
    fn locate_program(&self, given: &str) -> Option<PathBuf> {
        self.files.locate_program(given)
    }
    fn resolve_file(&self, path: &str, reads: Reads) -> Result<ResolvedFile, FileRefusal> {
        self.asked.borrow_mut().push(path.to_owned());
        self.files.resolve_file(path, reads)
    }
    fn resolve_tree(&self, path: &str, reads: Reads) -> Result<ResolvedFile, FileRefusal> {
        self.asked.borrow_mut().push(path.to_owned());
        self.files.resolve_tree(path, reads)
    }
    fn check_mount_point(&self, path: &str) -> Result<(), FileRefusal> {
        self.files.check_mount_point(path)
    }
}

/// The files that an allowed line was taken to name.
fn named_files(list: &Whitelist, line: &[String], files: &Files<Recorded>) -> Option<Vec<String>> {
    let recording = Recording { files, asked: RefCell::default() };
    let line = Argv::new(line.to_vec()).ok()?;
    let allowed = matches!(list.judge(&line, &recording), Verdict::Allowed { .. });
    allowed.then(|| recording.asked.take())
}

/// Puts secrets in the place of every text that may be a file of an allowed line. The line must
/// then be refused, or still name that file: the text exchanged was a pattern or the like then.
/// Says how many were refused.
fn exchange_files(list: &Whitelist, line: &[String], files: &Files<Recorded>) -> usize {
    let Some(named) = named_files(list, line, files) else { return 0 };
    let mut refused = 0;
    for name in &named {
        for at in (1..line.len()).filter(|at| line[*at].ends_with(name)) {
            for secret in SECRETS {
                let mut changed = line.to_vec();
                let kept = changed[at].len() - name.len();
                changed[at].replace_range(kept.., secret);
                match named_files(list, &changed, files) {
                    None => refused += 1,
                    Some(after) => {
                        let count =
                            |files: &[String]| files.iter().filter(|file| *file == name).count();
                        assert_eq!(count(&after), count(&named), "{changed:?} is allowed");
                    }
                }
            }
        }
    }
    refused
}

#[test]
fn no_file_of_an_accepted_line_can_be_a_secret() {
    let files = node();
    let list = Whitelist::builtin();
    let refused: usize =
        lines(READING).map(|line| exchange_files(&list, argv(line).words(), &files)).sum();
    assert!(refused > 200, "only {refused} exchanges: the lines name too few files");
}

/// Arguments that mean something to this command, and some that mean nothing to any.
fn vocabulary(command: &Command) -> Vec<String> {
    let values = [
        "1",
        "/etc/hosts",
        "/tmp/chain",
        "name",
        "-",
        "--",
        "on",
        "+5",
        "a=b",
        "10.0.0.1/8",
        "/srv/clean",
        "/etc/shadow",
    ];
    let mut words: Vec<String> = values.iter().map(|word| (*word).to_owned()).collect();
    for option in command.options.iter().filter(|option| !matches!(option.value, Value::Refused(_)))
    {
        for name in &option.names {
            words.push((*name).to_owned());
            words.push(format!("{name}=/etc/hosts"));
            words.push(format!("{name}/etc/hosts"));
        }
    }
    words.extend(command.accepted().split(' ').map(str::to_owned));
    words
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_line_is_judged_and_no_file_can_be_a_secret(
        name in any::<prop::sample::Index>(),
        words in prop::collection::vec((any::<prop::sample::Index>(), prop::option::weighted(0.1, ".{0,12}")), 0..6),
    ) {
        thread_local! {
            static NODE: (Files<Recorded>, Whitelist) = (node(), Whitelist::builtin());
        }
        NODE.with(|(files, list)| {
            let commands: Vec<&Command> = list.commands.values().collect();
            let command = name.get(&commands);
            let vocabulary = vocabulary(command);
            let args = words.iter().map(|(word, any)| any.clone().unwrap_or_else(|| word.get(&vocabulary).clone()));
            let line: Vec<String> = std::iter::once(command.name.to_owned()).chain(args).collect();
            exchange_files(list, &line, files);
            let Ok(line) = Argv::new(line) else { return };
            if let Verdict::Allowed { changes_state: changes, .. } = list.judge(&line, files) {
                assert_eq!(changes_state(&line), changes, "{line:?}");
            }
        });
    }

    #[test]
    fn any_words_are_judged(line in prop::collection::vec(any::<String>(), 0..6)) {
        if let Ok(line) = Argv::new(line) {
            let _ = Whitelist::builtin().judge(&line, &Files::new(Recorded::default()));
        }
    }
}
