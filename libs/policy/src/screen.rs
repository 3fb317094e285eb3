//! What a site's sources may not contain, found before they are compiled.
//!
//! The engine's time limit is looked at between two steps, so a single step that can take long would run past it.
//! Only builtins on the list below may be called, functions may not call themselves, and `with`, which could put one
//! function in the place of another, is refused. The sources are read with the engine's own lexer, so that comments
//! and strings are seen as the parser sees them.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Source;
use regorus::unstable::{Lexer, TokenKind};

use crate::bundle::BundleError;

/// Builtins whose cost is bounded by the size of their arguments.
const BUILTINS: &[&str] = &[
    "abs",
    "all",
    "any",
    "array.concat",
    "array.reverse",
    "array.slice",
    "bits.and",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_is_valid",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.find_n",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "set",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "upper",
];

/// Words of the language that may stand before a parenthesis.
const KEYWORDS: &[&str] =
    &["as", "contains", "default", "else", "every", "if", "import", "in", "not", "package", "some"];

/// A call that was found: where, by which rule, of what.
struct Call {
    file: String,
    line: u32,
    rule: String,
    path: String,
}

/// Collects definitions and calls over all files of a bundle.
pub struct Screen {
    functions: BTreeSet<String>,
    calls: Vec<Call>,
}

struct Word {
    text: String,
    line: u32,
    is_name: bool,
}

impl Screen {
    /// Nothing seen yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "an empty screen has screened nothing")]
    pub fn new() -> Self {
        Self { functions: BTreeSet::new(), calls: Vec::new() }
    }

    /// Reads one source.
    ///
    /// # Errors
    /// [`BundleError::Source`] for another package than `pact.site`, `with`, and calls through brackets.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), BundleError> {
        let refuse = |line: u32, reason: &str| BundleError::Source {
            file: file.to_owned(),
            line,
            reason: reason.to_owned(),
        };
        let words = words(file, text)?;
        let package: Vec<&str> = words.iter().take(5).map(|w| w.text.as_str()).collect();
        match package.as_slice() {
            ["package", "pact", ".", "site", next] if *next != "." && *next != "[" => {}
            ["package", "pact", ".", "site"] => {}
            _ => return Err(refuse(1, "the file must begin with `package pact.site`")),
        }
        let (mut depth, mut rule, mut last_line) = (0_u32, String::new(), 0);
        for (i, word) in words.iter().enumerate() {
            let opens_line = word.line != last_line;
            last_line = word.line;
            if word.is_name && word.text == "with" {
                return Err(refuse(word.line, "`with` is not accepted in site rules"));
            }
            let is_head =
                depth == 0 && opens_line && word.is_name && !KEYWORDS.contains(&word.text.as_str());
            if is_head {
                rule.clone_from(&word.text);
            }
            match word.text.as_str() {
                _ if word.is_name => {}
                "(" | "set(" => {
                    depth += 1;
                    if word.text == "(" {
                        self.open(file, &words, i, &rule, depth)?;
                    }
                }
                "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(())
    }

    /// A parenthesis at `words[i]`: a definition, a call, or plain grouping.
    fn open(
        &mut self,
        file: &str,
        words: &[Word],
        i: usize,
        rule: &str,
        depth: u32,
    ) -> Result<(), BundleError> {
        let (path, start) = path_before(words, i);
        let Some(before) = i.checked_sub(1).and_then(|b| words.get(b)) else { return Ok(()) };
        if before.text == "]" && !before.is_name {
            return Err(BundleError::Source {
                file: file.to_owned(),
                line: before.line,
                reason: "`](`: functions are not called through brackets".to_owned(),
            });
        }
        if path.is_empty() || KEYWORDS.contains(&path.as_str()) {
            return Ok(());
        }
        let opens_line =
            start.checked_sub(1).and_then(|b| words.get(b)).is_none_or(|w| w.line != before.line);
        if depth == 1 && opens_line && path == rule {
            self.functions.insert(path);
        } else {
            let (file, rule) = (file.to_owned(), rule.to_owned());
            self.calls.push(Call { file, line: before.line, rule, path });
        }
        Ok(())
    }

    /// Judges the calls once all files are known.
    ///
    /// # Errors
    /// [`BundleError::Source`] naming the first function that is refused.
    pub fn finish(self) -> Result<(), BundleError> {
        let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for call in &self.calls {
            if BUILTINS.contains(&call.path.as_str()) {
                continue;
            }
            let name = call.path.rsplit('.').next().unwrap_or(&call.path);
            let own = !regorus::unstable::BUILTINS.contains_key(call.path.as_str());
            if !own || !self.functions.contains(name) {
                return Err(call.refuse(if own {
                    "is neither defined in this bundle nor a builtin that is accepted here"
                } else {
                    "can take longer than a decision may, and is refused"
                }));
            }
            graph.entry(&call.rule).or_default().insert(name);
        }
        for call in &self.calls {
            let name = call.path.rsplit('.').next().unwrap_or(&call.path);
            if self.functions.contains(name) && reaches(&graph, name, &call.rule) {
                return Err(call.refuse("ends in a call of itself, which is refused"));
            }
        }
        Ok(())
    }
}

impl Call {
    fn refuse(&self, why: &str) -> BundleError {
        let reason = format!("the function {} {why}", self.path);
        BundleError::Source { file: self.file.clone(), line: self.line, reason }
    }
}

/// Whether `to` is called by `from`, directly or not.
fn reaches(graph: &BTreeMap<&str, BTreeSet<&str>>, from: &str, to: &str) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            open.extend(graph.get(name).into_iter().flatten().copied());
        }
    }
    false
}

/// The dotted path that ends before `words[i]`, and where it starts.
fn path_before(words: &[Word], i: usize) -> (String, usize) {
    let (mut parts, mut at) = (Vec::new(), i);
    while let Some(word) = at.checked_sub(1).and_then(|b| words.get(b)).filter(|w| w.is_name) {
        parts.push(word.text.as_str());
        at -= 1;
        match at.checked_sub(1).and_then(|b| words.get(b)) {
            Some(dot) if dot.text == "." && !dot.is_name => at -= 1,
            _ => break,
        }
    }
    parts.reverse();
    (parts.join("."), at)
}

fn words(file: &str, text: &str) -> Result<Vec<Word>, BundleError> {
    let fault = |line: u32, error: String| BundleError::Source {
        file: file.to_owned(),
        line,
        reason: error.rsplit("error: ").next().unwrap_or_default().trim().to_owned(),
    };
    let source = Source::from_contents(file.to_owned(), text.to_owned())
        .map_err(|error| fault(0, error.to_string()))?;
    let mut lexer = Lexer::new(&source);
    let mut words: Vec<Word> = Vec::new();
    loop {
        let line = words.last().map_or(1, |w| w.line);
        let token = lexer.next_token().map_err(|error| fault(line, error.to_string()))?;
        let is_name = match token.0 {
            TokenKind::Eof => return Ok(words),
            TokenKind::Ident => true,
            TokenKind::Symbol | TokenKind::String | TokenKind::RawString | TokenKind::Number => {
                false
            }
        };
        // Texts of strings and numbers play no part; an empty text cannot be mistaken for a symbol.
        let text = match token.0 {
            TokenKind::Ident | TokenKind::Symbol => token.1.text().to_owned(),
            _ => String::new(),
        };
        words.push(Word { text, line: token.1.line, is_name });
    }
}
