//! Manual pages, one for each command, made from the command tree.
//!
//! clap_mangen writes titles, names and options. What it has no words for is written here: examples, exit codes and
//! notes come from what `--help` ends with, the rest of pact(1) from the topics.

use std::io;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::app;
use crate::topics::{Block, TOPICS};

/// Commands of users.
const SECTION: &str = "1";
/// Shown at the top of each page.
const MANUAL: &str = "pact manual";

/// Longest line of running text in a page's source.
const MAX_LINE_BYTES: usize = 78;

/// One page.
#[derive(Debug)]
pub(crate) struct Page {
    /// `pact`, `pact-exec`, `pact-node-list`
    pub(crate) name: String,
    /// roff
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn file_name(&self) -> String {
        format!("{}.{SECTION}", self.name)
    }
}

/// The pages of all commands, each with this date (`YYYY-MM-DD`).
pub(crate) fn pages(date: &str) -> io::Result<Vec<Page>> {
    let mut tree = app::command(true).after_long_help("");
    tree.build();
    let mut pages = Vec::new();
    add(&tree, None, date, &mut pages)?;
    Ok(pages)
}

fn add(
    command: &Command,
    above: Option<&str>,
    date: &str,
    pages: &mut Vec<Page>,
) -> io::Result<()> {
    let name = page_name(command);
    pages.push(Page { text: page(command, above, date)?, name: name.clone() });
    for below in below(command) {
        add(below, Some(&name), date, pages)?;
    }
    Ok(())
}

fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// Commands below this one that have a page: not the `help` that clap adds, which the page is.
fn below(command: &Command) -> impl Iterator<Item = &Command> {
    let is_root = command.get_name() == "pact";
    command
        .get_subcommands()
        .filter(move |c| !c.is_hide_set() && (is_root || c.get_name() != "help"))
}

fn page(command: &Command, above: Option<&str>, date: &str) -> io::Result<String> {
    // The options that every command takes stand on pact(1) alone.
    let shown = command.clone().mut_args(|argument| {
        let hidden = above.is_some() && argument.is_global_set();
        if hidden { argument.hide(true) } else { argument }
    });
    let man = Man::new(shown.clone())
        .title(page_name(command).to_uppercase())
        .section(SECTION)
        .date(date)
        .source(format!("pact {}", env!("CARGO_PKG_VERSION")))
        .manual(MANUAL);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    let mut text = String::from_utf8(text).map_err(io::Error::other)?;
    text.push_str(&render(&synopsis(command)));
    text.push_str(&render(&description(command)));
    if shown.get_arguments().any(|argument| !argument.is_hide_set()) {
        let mut options = Vec::new();
        man.render_options_section(&mut options)?;
        text.push_str(&String::from_utf8(options).map_err(io::Error::other)?);
    }
    let rest = rest(command, above);
    text.push_str(&render(&rest));
    Ok(tidy(&text))
}

fn render(roff: &Roff) -> String {
    roff.render()
}

/// As `--help` has it: one line for each form.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut roff = heading("SYNOPSIS");
    for (index, form) in usage.trim_start_matches("Usage:").lines().map(str::trim).enumerate() {
        if index > 0 {
            roff.control("br", []);
        }
        match form.strip_prefix(name) {
            Some(rest) => roff.text([bold(name), roman(rest)]),
            None => roff.text([roman(form)]),
        };
    }
    roff
}

fn description(command: &Command) -> Roff {
    let mut roff = heading("DESCRIPTION");
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    for (index, paragraph) in about.split("\n\n").enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        paragraph.lines().for_each(|line| add_text(&mut roff, line));
    }
    roff
}

/// What stands behind the options.
fn rest(command: &Command, above: Option<&str>) -> Roff {
    let mut roff = Roff::new();
    if above.is_some() {
        common_options(&mut roff, command);
    }
    let below: Vec<&Command> = below(command).collect();
    if !below.is_empty() {
        roff.control("SH", ["COMMANDS"]);
        for command in &below {
            roff.control("TP", []);
            roff.text([bold(page_name(command)), roman(format!("({SECTION})"))]);
            roff.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
        }
    }
    for (title, blocks) in
        sections(&command.get_after_long_help().map(ToString::to_string).unwrap_or_default())
    {
        roff.control("SH", [title.as_str()]);
        blocks.iter().enumerate().for_each(|(index, block)| add_block(&mut roff, block, index > 0));
    }
    if above.is_none() {
        for topic in TOPICS {
            roff.control("SH", [title_of(topic.name)]);
            let blocks = (topic.content)();
            blocks
                .iter()
                .enumerate()
                .for_each(|(index, block)| add_block(&mut roff, block, index > 0));
        }
    }
    see_also(&mut roff, above, &below);
    roff
}

/// The names of sections that manual pages have everywhere.
fn title_of(topic: &'static str) -> &'static str {
    match topic {
        "exit-codes" => "EXIT STATUS",
        "environment" => "ENVIRONMENT",
        "node-sets" => "NODE SETS",
        other => other,
    }
}

fn common_options(roff: &mut Roff, command: &Command) {
    let global = command.get_arguments().filter(|argument| argument.is_global_set());
    let names: Vec<String> =
        global.filter_map(Arg::get_long).map(|long| format!("--{long}")).collect();
    let names: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !matches!(*name, "--help" | "--version"))
        .collect();
    roff.control("SH", ["COMMON OPTIONS"]);
    roff.text([roman(format!("{} are described in pact({SECTION}).", names.join(", ")))]);
}

fn see_also(roff: &mut Roff, above: Option<&str>, below: &[&Command]) {
    let mut names: Vec<String> = below.iter().map(|command| page_name(command)).collect();
    names.extend(above.map(str::to_owned));
    names.extend(above.filter(|name| *name != "pact").map(|_| "pact".to_owned()));
    names.sort_unstable();
    if names.is_empty() {
        return;
    }
    roff.control("SH", ["SEE ALSO"]);
    let count = names.len();
    for (index, name) in names.into_iter().enumerate() {
        let separator = if index + 1 < count { "," } else { "" };
        roff.text([bold(name), roman(format!("({SECTION}){separator}"))]);
    }
}

fn heading(title: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    roff
}

fn add_block(roff: &mut Roff, block: &Block, is_next: bool) {
    match block {
        Block::Text(text) => {
            if is_next {
                roff.control("PP", []);
            }
            add_text(roff, text);
        }
        Block::Terms(terms) => {
            for (term, about) in terms {
                roff.control("TP", []);
                roff.text([bold(term)]);
                add_text(roff, about);
            }
        }
        Block::Lines(lines) => {
            if is_next {
                roff.control("PP", []);
            }
            roff.control("RS", ["4"]);
            roff.control("nf", []);
            lines.iter().for_each(|line| add_text(roff, line));
            roff.control("fi", []);
            roff.control("RE", []);
        }
    }
}

/// A line of text, with what stands in angle brackets in italics.
fn add_text(roff: &mut Roff, text: &str) {
    let mut parts: Vec<Inline> = Vec::new();
    let mut rest = text;
    while let Some((before, value, after)) = next_value(rest) {
        parts.extend([roman(before), italic(value)]);
        rest = after;
    }
    parts.push(roman(rest));
    roff.text(parts);
}

fn next_value(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find('<')?;
    let length = text.get(start..)?.find('>')? + 1;
    let value = text.get(start..start + length)?;
    let is_value = value.chars().all(|c| c.is_ascii_alphanumeric() || "<>_-|%".contains(c));
    is_value.then(|| Some((text.get(..start)?, value, text.get(start + length..)?)))?
}

/// The end of a command's help as sections: `Examples:` and lines that are indented, `Exit codes: …`, notes.
fn sections(after_help: &str) -> Vec<(String, Vec<Block>)> {
    let mut sections: Vec<(String, Vec<Block>)> = Vec::new();
    for paragraph in after_help.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        let (title, block) = section(paragraph);
        match sections.iter_mut().find(|(known, _)| *known == title) {
            Some((_, blocks)) => blocks.push(block),
            None => sections.push((title, vec![block])),
        }
    }
    sections
}

fn section(paragraph: &str) -> (String, Block) {
    let lines = |text: &str| text.lines().map(|line| line.trim_start().to_owned()).collect();
    if let Some((first, rest)) = paragraph.split_once(":\n")
        && !first.contains('\n')
        && rest.lines().all(|line| line.starts_with("  "))
    {
        return (first.to_uppercase(), Block::Lines(lines(rest)));
    }
    let joined = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    match joined.strip_prefix("Exit codes: ") {
        Some(codes) => ("EXIT STATUS".to_owned(), Block::Text(codes.to_owned())),
        None => ("NOTES".to_owned(), Block::Text(joined)),
    }
}

/// One preamble is enough; blank lines and double breaks, which clap_mangen puts around possible values, mean nothing
/// that is wanted; and what reads these files dislikes long lines.
fn tidy(text: &str) -> String {
    let is_preamble = |line: &str| line.starts_with(".ie \\n(.g") || line.starts_with(".el .ds Aq");
    let mut tidied = String::new();
    let (mut previous, mut is_verbatim) = ("", false);
    for (index, line) in text.lines().enumerate() {
        let repeats = line == ".br" && previous == ".br";
        if line.is_empty() || repeats || (index > 1 && is_preamble(line)) {
            continue;
        }
        is_verbatim = line == ".nf" || (is_verbatim && line != ".fi");
        // What stands behind .TP is one line, the term.
        if is_verbatim || line.starts_with('.') || previous == ".TP" {
            tidied.push_str(line);
            tidied.push('\n');
        } else {
            tidied.push_str(&folded(line));
        }
        previous = line;
    }
    tidied
}

/// A line of running text on several lines, none of which begins like a request.
fn folded(line: &str) -> String {
    let mut folded = String::new();
    let mut length = 0;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        if length > 0 && length + 1 + word.len() > MAX_LINE_BYTES {
            folded.push('\n');
            length = 0;
            if word.starts_with(['.', '\'']) {
                folded.push_str("\\&");
            }
        } else if length > 0 {
            folded.push(' ');
            length += 1;
        }
        folded.push_str(word);
        length += word.len();
    }
    folded.push('\n');
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_help_becomes_sections() {
        let text = "Examples:\n  pact x\n  pact y     why\n\nExit codes: 0 well; 1\nnot.\n\nMore\nwords.\n\nAnd more.";
        let sections = sections(text);
        let expected = [
            ("EXAMPLES", vec![Block::Lines(vec!["pact x".into(), "pact y     why".into()])]),
            ("EXIT STATUS", vec![Block::Text("0 well; 1 not.".into())]),
            ("NOTES", vec![Block::Text("More words.".into()), Block::Text("And more.".into())]),
        ];
        let expected: Vec<(String, Vec<Block>)> =
            expected.into_iter().map(|(title, blocks)| (title.to_owned(), blocks)).collect();
        assert_eq!(sections, expected);
    }

    #[test]
    fn every_command_has_a_page_with_examples_near_it() {
        let pages = pages("2026-01-02").unwrap();
        let page = |name: &str| &pages.iter().find(|page| page.name == name).unwrap().text;
        assert!(page("pact-exec").contains("pact exec node\\-042 \\-\\- nvidia\\-smi"));
        assert!(page("pact-exec").contains(".SH \"EXIT STATUS\"\n0 the command succeeded"));
        assert!(page("pact-node").contains("pact\\-node\\-list"));
        for part in [
            ".SH ENVIRONMENT",
            "PACT_TLS_CA",
            "PACT_NOT_WHITELISTED",
            "@vc:ml\\-training",
            ".SH \"NODE SETS\"",
        ] {
            assert!(page("pact").contains(part), "{part}");
        }
        assert!(!page("pact-exec").contains("Bearer token"), "common options stand on one page");
        assert!(
            pages.iter().all(|page| !page.name.contains("__") && !page.name.ends_with("-help")
                || page.name == "pact-help")
        );
    }

    #[test]
    fn long_lines_are_folded_without_making_requests() {
        let word = "x".repeat(40);
        let line = format!("{word} {word} .br 'x {word} {word}");
        assert_eq!(folded(&line), format!("{word}\n{word} .br 'x\n{word}\n{word}\n"));
        let dotted = format!("{word} {} .br", "y".repeat(36));
        assert_eq!(folded(&dotted), format!("{word} {}\n\\&.br\n", "y".repeat(36)));
        let verbatim = format!(".nf\n{word} {word}\n.fi\n");
        assert_eq!(tidy(&verbatim), verbatim);
    }

    #[test]
    fn values_are_set_apart() {
        assert_eq!(next_value("a <NODE> b"), Some(("a ", "<NODE>", " b")));
        assert_eq!(next_value("source <(pact completions bash)"), None);
        assert_eq!(next_value("no values"), None);
    }
}
