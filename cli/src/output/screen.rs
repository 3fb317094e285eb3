//! What a run of `pact` writes to, and how: terminal or not, colours, times, text or JSON.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use clap::builder::StyledStr;
use pact_runtime::Timestamp;

use super::when::{Times, Zone};
use super::{Format, Hue, clean_line, json};
use crate::environment;

/// What the standard streams are connected to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) stdin_is_terminal: bool,
    pub(crate) stdout_is_terminal: bool,
    pub(crate) stderr_is_terminal: bool,
    colours_stdout: bool,
    colours_stderr: bool,
    is_silent: bool,
    is_wide: bool,
    format: Format,
    /// The words of the command below `pact`; none before they are known.
    pub(crate) command: &'static [&'static str],
    /// How times are written.
    pub(crate) times: Times,
}

impl Screen {
    /// Files and pipes all around.
    #[cfg(test)]
    pub(crate) const NOT_A_TERMINAL: Self = Self { is_silent: false, ..Self::SILENT };

    /// A terminal all around, without colour.
    #[cfg(test)]
    pub(crate) const TERMINAL: Self = Self {
        stdin_is_terminal: true,
        stdout_is_terminal: true,
        stderr_is_terminal: true,
        ..Self::NOT_A_TERMINAL
    };

    /// Says nothing: for what nobody asked for by a command.
    pub(crate) const SILENT: Self = Self {
        stdin_is_terminal: false,
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        colours_stdout: false,
        colours_stderr: false,
        is_silent: true,
        is_wide: false,
        format: Format::Text,
        command: &[],
        times: Times::Utc,
    };

    /// Looks at the standard streams and at the variables about colours.
    pub(crate) fn detect(environment: &BTreeMap<String, String>) -> Self {
        let stdout_is_terminal = std::io::stdout().is_terminal();
        let stderr_is_terminal = std::io::stderr().is_terminal();
        Self {
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal,
            stderr_is_terminal,
            colours_stdout: wants_colour(environment, stdout_is_terminal),
            colours_stderr: wants_colour(environment, stderr_is_terminal),
            is_silent: false,
            is_wide: false,
            format: Format::Text,
            command: &[],
            times: Times::Utc,
        }
    }

    /// With times for a person who reads `now`, where one does and does not ask for UTC.
    pub(crate) const fn at(self, now: Timestamp, wants_utc: bool) -> Self {
        let is_local = self.stdout_is_terminal && !wants_utc;
        let times = if is_local { Times::Local(now, Zone::OfMachine) } else { Times::Utc };
        Self { times, ..self }
    }

    /// For people or for programs.
    pub(crate) const fn writing(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// For this command.
    pub(crate) const fn running(self, command: &'static [&'static str]) -> Self {
        Self { command, ..self }
    }

    /// For people or for programs.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    /// With every column of a table, or with those that fit.
    pub(crate) const fn wide(self, is_wide: bool) -> Self {
        Self { is_wide, ..self }
    }

    /// Whether every column is shown.
    pub(crate) const fn is_wide(&self) -> bool {
        self.is_wide
    }

    /// Whether tables have to fit the width of a terminal. Where programs read, lines stay whole.
    pub(crate) const fn fits_tables(&self) -> bool {
        self.stdout_is_terminal && !self.is_wide
    }

    /// Whether somebody sees what is waited for.
    pub(crate) fn shows_progress(&self) -> bool {
        self.stderr_is_terminal && !self.is_silent && self.format == Format::Text
    }

    /// Whether this stream is a terminal.
    pub(crate) const fn is_terminal(&self, is_stderr: bool) -> bool {
        if is_stderr { self.stderr_is_terminal } else { self.stdout_is_terminal }
    }

    /// For data that goes to stderr, without colour.
    pub(crate) const fn for_stderr(self) -> Self {
        Self { colours_stdout: false, stdout_is_terminal: self.stderr_is_terminal, ..self }
    }

    /// Lines on stderr; one object for programs.
    pub(crate) fn notes(&self, text: &str) {
        match self.format {
            Format::Text => text.lines().for_each(|line| self.note(line)),
            Format::Json if text.is_empty() => {}
            Format::Json => self.note(text.trim_end()),
        }
    }

    /// Colours data, where that is wanted.
    pub(crate) fn paint(&self, text: &str, hue: Hue) -> String {
        if self.colours_stdout { hue.paint(text) } else { text.to_owned() }
    }

    /// Colours the head of an error, where that is wanted.
    pub(crate) fn paint_error(&self, text: &str) -> String {
        if self.colours_stderr { Hue::Red.paint(text) } else { text.to_owned() }
    }

    /// Help for people, with its colours where they are wanted.
    pub(crate) fn styled(&self, text: &StyledStr, is_stderr: bool) -> String {
        let colours = if is_stderr { self.colours_stderr } else { self.colours_stdout };
        if colours { text.ansi().to_string() } else { text.to_string() }
    }

    /// One line on stderr.
    pub(crate) fn note(&self, text: &str) {
        self.say("note", text);
    }

    /// One line on stderr that begins with `warning:`.
    pub(crate) fn warn(&self, text: &str) {
        self.say("warning", text);
    }

    fn say(&self, level: &'static str, text: &str) {
        if self.is_silent {
            return;
        }
        let line = match self.format {
            Format::Json => json::note(level, text),
            Format::Text if level == "warning" => format!("warning: {}\n", clean_line(text)),
            Format::Text => format!("{}\n", clean_line(text)),
        };
        // Nobody is left to tell when stderr is closed.
        let _closed = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// Whether a stream is coloured: never with `NO_COLOR`, always with `CLICOLOR_FORCE`, else on terminals that can.
fn wants_colour(environment: &BTreeMap<String, String>, is_terminal: bool) -> bool {
    let is_dumb = || environment::TERM.of(environment).is_none_or(|term| term == "dumb");
    if environment::NO_COLOR.of(environment).is_some() {
        return false;
    }
    match environment::CLICOLOR_FORCE.of(environment) {
        None | Some("0") => is_terminal && !is_dumb(),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_obey_the_same_variables_everywhere() {
        let wants = |pairs: &[(&str, &str)], is_terminal: bool| {
            let pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            wants_colour(&pairs.collect(), is_terminal)
        };
        let term = ("TERM", "xterm");
        assert!(wants(&[term], true) && !wants(&[term], false));
        assert!(!wants(&[], true) && !wants(&[("TERM", "dumb")], true));
        assert!(wants(&[("CLICOLOR_FORCE", "1")], false));
        assert!(!wants(&[("CLICOLOR_FORCE", "0"), term], false));
        assert!(!wants(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1"), term], true));
        assert!(wants(&[("NO_COLOR", ""), term], true));
    }
}
