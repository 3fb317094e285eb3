//! The environment variables that pact reads, each with what it is for: help, manual and code take them from here.
//!
//! Those of `cli.toml` stand with its keys (`settings::schema`); here is what no file can hold.

use std::collections::BTreeMap;

use crate::settings::schema::{NODE_FILE, SCHEMA, SITE_FILE};

/// A variable that no configuration file can stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variable {
    /// As it is set.
    pub(crate) name: &'static str,
    /// What it is for, in a sentence.
    about: &'static str,
}

impl Variable {
    /// The value, if it is set and not empty.
    pub(crate) fn of<'a>(&self, environment: &'a BTreeMap<String, String>) -> Option<&'a str> {
        environment.get(self.name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

macro_rules! variables {
    ($($constant:ident = $name:literal, $about:literal;)*) => {
        $(pub(crate) const $constant: Variable = Variable { name: $name, about: $about };)*

        /// All of them, as they are listed.
        const OWN: &[Variable] = &[$($constant),*];
    };
}

variables! {
    TOKEN = "PACT_TOKEN", "Bearer token. It counts before every file; other users of the machine cannot see it.";
    NODE = "PACT_NODE", "The node that a command acts on when it is given none, before the one that this machine is.";
    LATTICE_ENDPOINT = "PACT_LATTICE_ENDPOINT",
        "Lattice endpoint that is passed to the bridge. Once it is set, --help shows the commands that need lattice.";
    SMD_URL = "PACT_OPENCHAMI_SMD_URL", "Inventory of OpenCHAMI, for `pact node import`.";
    SMD_TOKEN = "PACT_OPENCHAMI_TOKEN", "The bearer token for it.";
    CLIENT_ID = "PACT_CLIENT_ID", "Who logs in with `pact login --service-account`.";
    CLIENT_SECRET = "PACT_CLIENT_SECRET", "The secret of that client.";
    LOG = "RUST_LOG", "Level of debug output on standard error, e.g. debug. Without it there is none.";
    NO_COLOR = "NO_COLOR", "Set to anything: no colours.";
    CLICOLOR_FORCE = "CLICOLOR_FORCE", "Set to anything but 0: colours even where there is no terminal. NO_COLOR counts before it.";
    TERM = "TERM", "Type of the terminal; none, or dumb, means no colours.";
    TZ = "TZ", "Time zone of times on a terminal, before the one of the machine; --utc does without.";
    HOME = "HOME", "Where the files below ~ are.";
    SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH",
        "Seconds since 1970: the date that `pact man` puts on its pages, for packages that are built twice alike.";
}

/// Every variable, with what it is for: those of `cli.toml`, then the others.
pub(crate) fn all() -> Vec<(String, String)> {
    let keys = SCHEMA.keys.iter().map(|key| {
        let about = format!("{} Wins over {} in cli.toml.", key.doc, key.path);
        (SCHEMA.variable(key), about)
    });
    let own = OWN.iter().map(|variable| (variable.name.to_owned(), variable.about.to_owned()));
    keys.chain(own).collect()
}

/// Configuration files, with whom they are for.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("~/.config/pact/cli.toml", "Your settings."),
    (SITE_FILE, "Settings for everybody on the machine."),
    ("~/.config/pact/auth/", "Tokens of `pact login`, a file for each server."),
    ("~/.config/pact/token", "A bearer token; mode 0600."),
    (NODE_FILE, "Which node this machine is, and its gateways; written by its agent."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use pact_schemas::ErrorCode;

    use super::*;

    /// Names that look like variables in what users or the system see: the sources up to their tests.
    fn mentioned(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                mentioned(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let source = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = code.collect::<Vec<_>>().join("\n");
            let words = code.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
            found.extend(words.filter(|w| w.starts_with("PACT_")).map(str::to_owned));
        }
    }

    #[test]
    fn every_variable_in_the_sources_is_listed() {
        let mut found = BTreeSet::new();
        mentioned(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
        let listed: BTreeSet<String> = all().into_iter().map(|(name, _)| name).collect();
        let prefix = SCHEMA.env_prefix;
        let unknown: Vec<&String> = found
            .iter()
            .filter(|name| !listed.contains(*name) && ErrorCode::parse(name).is_none())
            .filter(|name| name.trim_end_matches('_') != prefix)
            .collect();
        assert!(unknown.is_empty(), "{unknown:?} are not in environment.rs or the key table");
        assert!(found.contains("PACT_TOKEN") && found.contains("PACT_TLS_CA"), "{found:?}");
    }

    #[test]
    fn nothing_is_listed_twice_and_empty_counts_as_unset() {
        let names: Vec<String> = all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        let environment =
            BTreeMap::from([("PACT_TOKEN".to_owned(), String::new()), ("TERM".into(), "x".into())]);
        assert_eq!(TOKEN.of(&environment), None);
        assert_eq!(TERM.of(&environment), Some("x"));
    }
}
