//! Reading TOML tables whose keys are known, with lines in every refusal.

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::MAX_SPEC_BYTES;
use crate::ErrorCode;
use crate::v1;

/// Where something stands in the text, in bytes.
pub(super) type Span = std::ops::Range<usize>;

/// Names less alike than this (0 to 1) are no suggestion.
const LEAST_SIMILARITY: f64 = 0.6;

/// A file and its text.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl<'a> Reader<'a> {
    /// Takes a text that is not too large.
    pub(super) fn new(file: &'a str, text: &'a str) -> Result<Self, v1::Error> {
        if text.len() > MAX_SPEC_BYTES {
            return Err(ErrorCode::TooLarge
                .error(format!(
                    "{file} has {} bytes; at most {MAX_SPEC_BYTES} are accepted",
                    text.len()
                ))
                .because("a specification travels in one message")
                .next("split it, and apply the parts one after the other"));
        }
        Ok(Self { file, text })
    }

    /// The whole text as TOML.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'a>>, v1::Error> {
        DeTable::parse(self.text)
            .map_err(|e| self.at(e.span().unwrap_or(0..0), format!("not TOML: {}", e.message())))
    }

    /// The line, from 1.
    pub(super) fn line(&self, span: &Span) -> usize {
        let before = self.text.get(..span.start).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// A refusal of what stands there.
    pub(super) fn at(&self, span: Span, message: impl AsRef<str>) -> v1::Error {
        let line = self.line(&span);
        ErrorCode::InvalidSpec.error(format!("{}:{line}: {}", self.file, message.as_ref()))
    }

    /// A name that is none of `known`.
    pub(super) fn unknown(
        &self,
        name: &Spanned<DeString<'_>>,
        what: &str,
        known: &[&str],
        accepted: &str,
    ) -> v1::Error {
        let meant = nearest(name.get_ref(), known)
            .map(|known| format!(" (did you mean {known:?}?)"))
            .unwrap_or_default();
        self.at(
            name.span(),
            format!("unknown {what} {:?}{meant}; accepted: {accepted}", name.get_ref()),
        )
    }

    /// A table, whatever its keys.
    pub(super) fn table<'t>(
        &self,
        path: &str,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Result<&'t DeTable<'t>, v1::Error> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            other => {
                let message =
                    format!("{path} has the type {}; accepted: a table", other.type_str());
                Err(self.at(value.span(), message))
            }
        }
    }

    /// A list of texts, each with its place.
    pub(super) fn texts(
        &self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        accepted: &str,
        most: usize,
    ) -> Result<Vec<(String, Span)>, v1::Error> {
        let refuse = |span: Span| self.at(span, format!("{path}: accepted: {accepted}"));
        let items: &DeArray<'_> = value.get_ref().as_array().ok_or_else(|| refuse(value.span()))?;
        if items.len() > most {
            return Err(refuse(value.span()));
        }
        items
            .iter()
            .map(|item| {
                let text = item.get_ref().as_str().ok_or_else(|| refuse(item.span()))?;
                Ok((text.to_owned(), item.span()))
            })
            .collect()
    }

    /// A table that has these keys only.
    pub(super) fn fields<'t>(
        &'t self,
        path: &str,
        value: &'t Spanned<DeValue<'t>>,
        known: &[&str],
    ) -> Result<Fields<'t>, v1::Error> {
        let DeValue::Table(table) = value.get_ref() else {
            let is = value.get_ref().type_str();
            let message =
                format!("{path} has the type {is}; accepted: a table with {}", known.join(", "));
            return Err(self.at(value.span(), message));
        };
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                return Err(self.unknown(
                    key,
                    &format!("key of {path}:"),
                    known,
                    &known.join(", "),
                ));
            }
        }
        Ok(Fields { reader: self, path: path.to_owned(), span: value.span(), table })
    }
}

/// A table whose keys are all known.
pub(super) struct Fields<'t> {
    reader: &'t Reader<'t>,
    path: String,
    span: Span,
    table: &'t DeTable<'t>,
}

impl<'t> Fields<'t> {
    /// The value of a key, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
    }

    /// The keys that are there.
    pub(super) fn names(&self) -> impl Iterator<Item = &'t str> {
        self.table.keys().map(|key| {
            let name: &str = key.get_ref();
            name
        })
    }

    /// The table and a key in it, as errors name them.
    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// A refusal of a key's value, or of the table where the key is missing.
    pub(super) fn refuse(&self, name: &str, accepted: &str) -> v1::Error {
        let span = self.get(name).map_or_else(|| self.span.clone(), Spanned::span);
        self.reader.at(span, format!("{}: accepted: {accepted}", self.path_of(name)))
    }

    /// A refusal of the table as a whole.
    pub(super) fn refuse_whole(&self, message: &str) -> v1::Error {
        self.reader.at(self.span.clone(), format!("{}: {message}", self.path))
    }

    /// The value of a key that has to be there.
    pub(super) fn required(
        &self,
        name: &str,
        accepted: &str,
    ) -> Result<&'t Spanned<DeValue<'t>>, v1::Error> {
        self.get(name).ok_or_else(|| self.missing(name, accepted))
    }

    /// A refusal of a table that lacks a key.
    pub(super) fn missing(&self, name: &str, accepted: &str) -> v1::Error {
        self.refuse_whole(&format!("{name} is missing; accepted: {accepted}"))
    }

    /// A text that is good, if the key is there.
    pub(super) fn text(
        &self,
        name: &str,
        accepted: &str,
        good: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, v1::Error> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.get_ref().as_str() {
            Some(text) if good(text) => Ok(Some(text.to_owned())),
            _ => Err(self.refuse(name, accepted)),
        }
    }

    /// A truth, if the key is there.
    pub(super) fn truth(&self, name: &str) -> Result<Option<bool>, v1::Error> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let truth = value.get_ref().as_bool();
        truth.map(Some).ok_or_else(|| self.refuse(name, "true or false"))
    }

    /// A key that is `true` or not there.
    pub(super) fn flag(&self, name: &str) -> Result<bool, v1::Error> {
        match self.truth(name)? {
            Some(false) => Err(self.refuse(name, "true, or leave the key out")),
            truth => Ok(truth.is_some()),
        }
    }

    /// A whole number within its bounds, if the key is there.
    pub(super) fn whole(&self, name: &str, min: i64, max: i64) -> Result<Option<i64>, v1::Error> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = integer(value.get_ref()).filter(|number| (min..=max).contains(number));
        let refuse = || self.refuse(name, &format!("a whole number from {min} to {max}"));
        number.map(Some).ok_or_else(refuse)
    }

    /// A list of good texts, if the key is there.
    pub(super) fn list(
        &self,
        name: &str,
        accepted: &str,
        most: usize,
        good: impl Fn(&str) -> bool,
    ) -> Result<Option<Vec<String>>, v1::Error> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let accepted = format!("a list of at most {most} of {accepted}");
        let texts = self.reader.texts(&self.path_of(name), value, &accepted, most)?;
        if !texts.iter().all(|(text, _)| good(text)) {
            return Err(self.refuse(name, &accepted));
        }
        Ok(Some(texts.into_iter().map(|(text, _)| text).collect()))
    }
}

/// The number that a value is.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    match value {
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok(),
        _ => None,
    }
}

fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(name, known), *known))
        .filter(|(similarity, _)| *similarity >= LEAST_SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}
