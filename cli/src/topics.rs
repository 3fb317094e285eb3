//! What is worth explaining beside the commands: `pact help <topic>`, and sections of the manual page pact(1).
//!
//! Facts come from where the code has them: exit codes, variables, bounds.

use pact_schemas::nodeset::{MAX_NODES, MAX_TEXT_BYTES};

use crate::environment;
use crate::exit_codes::{EXIT_CODES, symbols};

/// Columns of text that goes to a terminal or a pipe.
const WIDTH: usize = 80;
/// Column at which the explanation of a term begins.
const TERM_WIDTH: usize = 26;

/// A part of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    /// A paragraph.
    Text(String),
    /// Terms with what they mean.
    Terms(Vec<(String, String)>),
    /// Lines that stay as they are.
    Lines(Vec<String>),
}

/// Something that can be asked about.
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    /// In a few words.
    pub(crate) about: &'static str,
    pub(crate) content: fn() -> Vec<Block>,
}

/// All topics.
pub(crate) const TOPICS: &[Topic] = &[
    Topic {
        name: "node-sets",
        about: "How nodes are named, wherever a command takes them",
        content: node_sets,
    },
    Topic {
        name: "exit-codes",
        about: "What the exit codes mean, and which errors have them",
        content: exit_codes,
    },
    Topic { name: "environment", about: "Environment variables and files", content: variables },
];

/// The word that lists the topics.
pub(crate) const LIST: &str = "topics";

/// The topic of this name.
pub(crate) fn find(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// The list of topics.
pub(crate) fn list() -> String {
    let terms = TOPICS.iter().map(|t| (format!("pact help {}", t.name), format!("{}.", t.about)));
    let each = ("pact help <COMMAND>".to_owned(), "The help of a command.".to_owned());
    plain(&[Block::Text("Topics:".to_owned()), Block::Terms(terms.chain([each]).collect())])
}

/// Text for a terminal or a pipe.
pub(crate) fn plain(blocks: &[Block]) -> String {
    let shown = blocks.iter().map(|block| match block {
        Block::Text(text) => fill(text, 0),
        Block::Terms(terms) => terms.iter().map(|(term, about)| described(term, about)).collect(),
        Block::Lines(lines) => lines.iter().map(|line| format!("  {line}\n")).collect(),
    });
    shown.collect::<Vec<String>>().join("\n")
}

fn described(term: &str, about: &str) -> String {
    let filled = fill(about, TERM_WIDTH);
    if term.len() + 4 > TERM_WIDTH {
        return format!("  {term}\n{filled}");
    }
    format!("  {term:width$}{}", filled.trim_start(), width = TERM_WIDTH - 2)
}

/// Breaks a text into lines of at most [`WIDTH`] columns, all indented.
fn fill(text: &str, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{:indent$}{word}", "")),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn node_sets() -> Vec<Block> {
    let terms = [
        ("node-042", "One node."),
        (
            "node[001-128,130]",
            "A range, with as many digits as it is written with. One bracket for each name.",
        ),
        ("login,gpu[1-4]", "Several, with commas between them."),
        ("@vc:ml-training", "The nodes of a vCluster."),
        ("@state:active", "Nodes in a state: active, inactive, registered or revoked."),
        ("@lattice:drained", "Nodes in a state of lattice."),
        (
            "@file:PATH",
            "The nodes listed in a file on this machine, with blanks, commas or lines between them; # begins a comment.",
        ),
    ];
    let owned = |(term, about): &(&str, &str)| ((*term).to_owned(), (*about).to_owned());
    let lines = [
        "pact status 'node[001-128]' -x node-013",
        "pact exec @vc:ml-training,login -- uptime",
        "pact status @state:inactive",
    ];
    vec![
        Block::Text("Wherever a command takes <NODE>, it takes a set of nodes. shell, promote, enroll and inspect act on one node and take its name.".to_owned()),
        Block::Terms(terms.iter().map(owned).collect()),
        Block::Text("-x SET, --exclude SET leaves members out. Brackets mean something to shells too: put such a set into quotes.".to_owned()),
        Block::Text(format!("A set has at most {MAX_NODES} nodes, and {MAX_TEXT_BYTES} bytes as it is written. A set without nodes is an error and never means all. Commands that change something on more than one node ask for their number; --yes answers.")),
        Block::Lines(lines.iter().map(|line| (*line).to_owned()).collect()),
    ]
}

fn exit_codes() -> Vec<Block> {
    let terms = EXIT_CODES.iter().map(|exit| {
        let symbols = symbols(exit.code);
        let of =
            if symbols.is_empty() { String::new() } else { format!(" {}.", symbols.join(", ")) };
        (format!("{} {}", exit.code, exit.short), format!("{}{of}", exit.when))
    });
    vec![
        Block::Text("Every error is printed as error[CODE] with its cause and what to do next, or as one JSON object with --output json. The exit code says what kind it is:".to_owned()),
        Block::Terms(terms.collect()),
    ]
}

fn variables() -> Vec<Block> {
    let files =
        environment::FILES.iter().map(|(path, about)| ((*path).to_owned(), (*about).to_owned()));
    vec![
        Block::Text("An option wins over a variable, a variable over your file, your file over the machine's, each setting on its own. An empty variable counts as none.".to_owned()),
        Block::Terms(environment::all()),
        Block::Text("Files:".to_owned()),
        Block::Terms(files.collect()),
    ]
}

#[cfg(test)]
mod tests {
    use pact_schemas::nodeset::Expression;

    use super::*;

    #[test]
    fn every_set_in_the_text_is_a_set() {
        let mut sets = 0;
        for block in node_sets() {
            match block {
                Block::Terms(terms) => {
                    for (term, _) in terms.iter().filter(|(term, _)| !term.starts_with("@file:")) {
                        Expression::parse(term).unwrap();
                        sets += 1;
                    }
                }
                Block::Lines(lines) => {
                    for line in lines {
                        let words = line.split_whitespace().map(|word| word.trim_matches('\''));
                        crate::command(true).try_get_matches_from(words.clone()).unwrap();
                        Expression::parse(words.clone().nth(2).unwrap()).unwrap();
                        sets += 1;
                    }
                }
                Block::Text(_) => {}
            }
        }
        assert!(sets > 5);
    }

    #[test]
    fn no_line_is_longer_than_a_terminal_and_no_topic_is_a_command() {
        for topic in TOPICS {
            let text = plain(&(topic.content)());
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{}: {line}", topic.name);
            }
            assert!(crate::command(true).find_subcommand(topic.name).is_none());
        }
        assert!(list().contains("pact help node-sets"));
    }

    #[test]
    fn terms_stand_beside_or_above_what_they_mean() {
        let terms = [("a", "means this"), ("a-term-that-is-quite-a-lot-longer", "means that")];
        let terms = terms.map(|(t, a)| (t.to_owned(), a.to_owned())).to_vec();
        let blank = " ".repeat(TERM_WIDTH);
        let column = " ".repeat(TERM_WIDTH - 3);
        let expected = format!(
            "  a{column}means this\n  a-term-that-is-quite-a-lot-longer\n{blank}means that\n"
        );
        assert_eq!(plain(&[Block::Terms(terms)]), expected);
    }
}
