//! How a command writes: what `--output` asks for.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What `--output` takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    /// For people; tables fit a terminal
    #[default]
    Text,
    /// For people, with every column
    Wide,
    /// For programs
    Json,
}

impl Choice {
    /// The name, as in flags and files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Wide => "wide",
            Self::Json => "json",
        }
    }

    /// The choice of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Text, Self::Wide, Self::Json].into_iter().find(|choice| choice.name() == name)
    }

    /// Text or JSON.
    pub(crate) const fn format(self) -> Format {
        match self {
            Self::Text | Self::Wide => Format::Text,
            Self::Json => Format::Json,
        }
    }

    /// What flag and environment say, for errors that come before the settings are known.
    pub(crate) fn of(flag: Option<Self>, environment: &BTreeMap<String, String>) -> Self {
        flag.or_else(|| environment.get("PACT_OUTPUT").and_then(|v| Self::parse(v)))
            .unwrap_or_default()
    }

    /// The same, from a command line that does not parse.
    pub(crate) fn in_raw_arguments(
        arguments: &[OsString],
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let own = arguments.iter().take_while(|a| *a != "--").map(|a| a.to_string_lossy());
        let words: Vec<_> = own.collect();
        let named = (0..words.len()).filter_map(|at| {
            let (word, next) = (words.get(at)?.as_ref(), words.get(at + 1).map(AsRef::as_ref));
            match word.strip_prefix("--output") {
                Some("") => next,
                Some(rest) => rest.strip_prefix('='),
                None => match word.strip_prefix("-o")? {
                    "" => next,
                    rest => Some(rest.strip_prefix('=').unwrap_or(rest)),
                },
            }
        });
        Self::of(named.filter_map(Self::parse).next_back(), environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_known_even_when_the_command_line_does_not_parse() {
        let format = |words: &[&str], variable: Option<&str>| {
            let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
            let environment = variable
                .map(|v| BTreeMap::from([("PACT_OUTPUT".to_owned(), v.to_owned())]))
                .unwrap_or_default();
            Choice::in_raw_arguments(&arguments, &environment)
        };
        assert_eq!(format(&["pact", "--output", "json", "nonsense"], None), Choice::Json);
        assert_eq!(format(&["pact", "log", "--output=json"], None), Choice::Json);
        for short in [&["-o", "json"][..], &["-ojson"], &["-o=json"]] {
            assert_eq!(
                format(&[&["pact", "x"], short, &["nonsense"]].concat(), None),
                Choice::Json
            );
        }
        assert_eq!(format(&["pact", "-o", "wide", "nonsense"], Some("json")), Choice::Wide);
        assert_eq!(format(&["pact", "log"], Some("json")), Choice::Json);
        assert_eq!(format(&["pact", "--output=text"], Some("json")), Choice::Text);
        assert_eq!(format(&["pact", "exec", "n", "--", "--output", "json"], None), Choice::Text);
    }
}
