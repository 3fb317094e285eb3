//! Globs over resource keys, matched in bounded time.
//!
//! `*` is any run of characters but `/`, `**` any run at all, `?` one character but
//! `/`, `[a-z]` and `[!a-z]` one of a set but `/`, `\x` the character x. `**/`
//! between slashes also stands for nothing: `/a/**/b` matches `/a/b`. A pattern that
//! begins with `/` is one over paths: `file/` is put before it. Patterns match the
//! text form of a key, where a `%` of a name is written `%25`.
//!
//! The matcher goes through the key once and keeps the set of places in the pattern
//! where it may be: no pattern is expensive beyond length times length.

use std::fmt;
use std::str::FromStr;

use super::dimension::Kind;
use super::key::ResourceKey;

/// Longest pattern in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// Most patterns in one list (a vCluster's, a node's, an agent's file): each is tried on each key that changes.
pub const MAX_PATTERNS: usize = 256;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing, or longer than [`MAX_PATTERN_BYTES`].
    #[error("a pattern has 1 to {MAX_PATTERN_BYTES} bytes, this one has {bytes}")]
    Length {
        /// Its length.
        bytes: usize,
    },
    /// No key could ever match it.
    #[error("{pattern:?} matches no resource key: {rule}")]
    Never {
        /// As given, cut.
        pattern: String,
        /// What is accepted.
        rule: &'static str,
    },
    /// Not well formed.
    #[error("{pattern:?} is no pattern: {rule}")]
    Syntax {
        /// As given, cut.
        pattern: String,
        /// What is accepted.
        rule: &'static str,
    },
    /// It would leave no file under watch.
    #[error(
        "{pattern:?} matches every file: nothing would be watched; name the folders that are not to be"
    )]
    Everything {
        /// As given, cut.
        pattern: String,
    },
    /// Too many in one list.
    #[error("a list has at most {MAX_PATTERNS} patterns, this one has {count}")]
    TooMany {
        /// How many.
        count: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `[…]`; ranges with both ends.
    Class {
        negated: bool,
        ranges: Box<[(char, char)]>,
    },
    /// `*`
    Star,
    /// `**`
    All,
    /// `**/` as a whole component, before anything was taken: may be skipped.
    DirsOrNone,
    /// Inside it, up to a `/`.
    Dirs,
}

/// A glob over the text form of resource keys.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPattern {
    text: Box<str>,
    /// What every match begins with.
    literal: Box<str>,
    /// What comes after that.
    tokens: Box<[Token]>,
}

impl KeyPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for what is malformed, or can match no key at all.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if !(1..=MAX_PATTERN_BYTES).contains(&text.len()) {
            return Err(PatternError::Length { bytes: text.len() });
        }
        let whole = if text.starts_with('/') { format!("file/{text}") } else { text.to_owned() };
        if let Err(rule) = can_match(&whole) {
            return Err(PatternError::Never { pattern: cut(text), rule });
        }
        let tokens =
            tokens_of(&whole).map_err(|rule| PatternError::Syntax { pattern: cut(text), rule })?;
        if let Err(rule) = can_be_named(&whole, &tokens) {
            return Err(PatternError::Never { pattern: cut(text), rule });
        }
        let literal: String = tokens
            .iter()
            .map_while(|token| match token {
                Token::Char(c) => Some(*c),
                _ => None,
            })
            .collect();
        let tokens = tokens.into_iter().skip_while(|t| matches!(t, Token::Char(_))).collect();
        Ok(Self { text: text.into(), literal: literal.into(), tokens })
    }

    /// Whether the whole key matches.
    #[must_use]
    pub fn matches(&self, key: &ResourceKey) -> bool {
        self.matches_text(key.as_str())
    }

    fn matches_text(&self, key: &str) -> bool {
        match key.strip_prefix(&*self.literal) {
            Some("") if self.tokens.is_empty() => true,
            Some(rest) => run(&self.tokens, rest),
            None => false,
        }
    }

    /// Whether it matches every file, whatever its name, but for some of the topmost.
    fn is_everything(&self) -> bool {
        // Names that nobody would write into a pattern.
        let keys = ["file//%00q/%00q", "file//%00q/%00q/%00q/%00q"];
        keys.iter().all(|key| self.matches_text(key))
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for KeyPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::new(text)
    }
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.text)
    }
}

/// Several patterns, of which any may match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPatterns(Vec<KeyPattern>);

impl KeyPatterns {
    /// Reads one list.
    ///
    /// # Errors
    /// [`PatternError`] of the first pattern that is none, or for more than [`MAX_PATTERNS`].
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, PatternError> {
        if texts.len() > MAX_PATTERNS {
            return Err(PatternError::TooMany { count: texts.len() });
        }
        texts.iter().map(|text| KeyPattern::new(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Reads a list of what is not to be watched.
    ///
    /// # Errors
    /// As [`KeyPatterns::parse`], and for a pattern that would leave no file under watch.
    pub fn parse_blacklist<T: AsRef<str>>(texts: &[T]) -> Result<Self, PatternError> {
        let patterns = Self::parse(texts)?;
        match patterns.0.iter().find(|pattern| pattern.is_everything()) {
            Some(pattern) => Err(PatternError::Everything { pattern: cut(pattern.as_str()) }),
            None => Ok(patterns),
        }
    }

    /// Whether any of them matches the key.
    #[must_use]
    pub fn matches(&self, key: &ResourceKey) -> bool {
        self.0.iter().any(|pattern| pattern.matches(key))
    }

    /// The patterns, in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[KeyPattern] {
        &self.0
    }
}

impl From<Vec<KeyPattern>> for KeyPatterns {
    fn from(patterns: Vec<KeyPattern>) -> Self {
        Self(patterns)
    }
}

impl Extend<KeyPattern> for KeyPatterns {
    fn extend<I: IntoIterator<Item = KeyPattern>>(&mut self, patterns: I) {
        self.0.extend(patterns);
    }
}

fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}

fn is_wild(part: &str) -> bool {
    part.contains(['*', '?', '[', '\\'])
}

/// Refuses what looks like a pattern and would silently match nothing.
fn can_match(whole: &str) -> Result<(), &'static str> {
    const KINDS: &str = "it begins with '/' (a path) or with one of sysctl/, module/, mount/, file/, net/, service/, package/, gpu/";
    if whole.chars().any(char::is_control) {
        return Err("control characters are written %XX");
    }
    let (kind, name) = whole.split_once('/').unwrap_or((whole, ""));
    if is_wild(kind) {
        return Ok(());
    }
    let kind = Kind::of_prefix(kind).ok_or(KINDS)?;
    if name.is_empty() {
        return Err("a name follows the kind");
    }
    if !matches!(kind, Kind::File | Kind::Mount) || is_wild(name.get(..1).unwrap_or_default()) {
        return Ok(());
    }
    let rest = name.strip_prefix('/').ok_or("the path of a file or mount begins with '/'")?;
    let odd = |part: &str| matches!(part, "" | "." | "..");
    if !rest.is_empty() && rest.split('/').any(odd) {
        return Err("a path has no empty, '.' and '..' components");
    }
    Ok(())
}

/// Refuses what is well formed and has what no name of its kind has.
fn can_be_named(whole: &str, tokens: &[Token]) -> Result<(), &'static str> {
    let literal = |token: &Token| match token {
        Token::Char(c) => Some(*c),
        _ => None,
    };
    if let Some(text) = tokens.iter().map(literal).collect::<Option<String>>() {
        return text
            .parse::<ResourceKey>()
            .map(drop)
            .map_err(|_| "it is no key, and has no wildcard");
    }
    let Some(kind) = whole.split_once('/').and_then(|(kind, _)| Kind::of_prefix(kind)) else {
        return Ok(());
    };
    let name = tokens.get(kind.prefix().len() + 1..).unwrap_or_default();
    if name.iter().filter_map(literal).any(|c| !may_hold(kind, c)) {
        return Err("names of this kind do not hold every one of its characters");
    }
    let is_digit = |token: Option<&Token>| {
        token.and_then(literal).is_none_or(|c| c.is_ascii_digit() || ('A'..='F').contains(&c))
    };
    let is_escape = |at: usize| is_digit(name.get(at + 1)) && is_digit(name.get(at + 2));
    let mut percents = (0..name.len()).filter(|at| name.get(*at) == Some(&Token::Char('%')));
    if percents.any(|at| !is_escape(at)) {
        return Err("a % is written %25, and a byte %XX with two upper-case hex digits");
    }
    Ok(())
}

/// Whether a character can stand in the name of a key.
fn may_hold(kind: Kind, c: char) -> bool {
    match kind {
        Kind::File | Kind::Mount => true,
        Kind::Sysctl => !c.is_whitespace(),
        Kind::Module => c.is_ascii_alphanumeric() || c == '_',
        Kind::Net => !c.is_whitespace() && !"/:".contains(c),
        Kind::Service => c.is_ascii_alphanumeric() || "@._:\\-".contains(c),
        Kind::Package | Kind::Gpu => !c.is_whitespace() && c != '/',
    }
}

fn tokens_of(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    let mut before = '/';
    while let Some(c) = chars.next() {
        match c {
            '*' => {
                let mut stars = 1;
                while chars.next_if_eq(&'*').is_some() {
                    stars += 1;
                }
                if stars == 1 {
                    tokens.push(Token::Star);
                } else if before == '/' && chars.next_if_eq(&'/').is_some() {
                    tokens.extend([Token::DirsOrNone, Token::Dirs]);
                    before = '/';
                    continue;
                } else {
                    tokens.push(Token::All);
                }
            }
            '?' => tokens.push(Token::One),
            '[' => tokens.push(class(&mut chars)?),
            '{' | '}' => {
                return Err(
                    "'{a,b}' is no choice: write a pattern for each; a literal brace is written '\\{'",
                );
            }
            '\\' => {
                let next = chars.next().ok_or("a character follows '\\'")?;
                tokens.push(Token::Char(next));
            }
            other => tokens.push(Token::Char(other)),
        }
        before = c;
    }
    Ok(tokens)
}

/// The rest of `[…]`. A `]` that comes first is a member of the set.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    const OPEN: &str = "a '[' is closed by ']', and a literal one is written '\\['";
    let negated = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        let first = chars.next().ok_or(OPEN)?;
        if first == ']' && !ranges.is_empty() {
            return Ok(Token::Class { negated, ranges: ranges.into() });
        }
        let low = member(first, chars)?;
        let mut high = low;
        let mut ahead = chars.clone();
        if ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']') {
            chars.next();
            let last = chars.next().ok_or(OPEN)?;
            high = member(last, chars)?;
        }
        if low > high || (low..=high).contains(&'/') {
            return Err("a set '[a-z]' goes upwards and does not hold '/'");
        }
        ranges.push((low, high));
    }
}

fn member(
    c: char,
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> Result<char, &'static str> {
    if c == '\\' { chars.next().ok_or("a character follows '\\'") } else { Ok(c) }
}

/// Places in the pattern, each once.
struct Places {
    list: Vec<usize>,
    is_in: Vec<bool>,
}

impl Places {
    fn new(tokens: usize) -> Self {
        Self { list: Vec::with_capacity(8), is_in: vec![false; tokens + 1] }
    }

    fn add(&mut self, place: usize) {
        if let Some(is_in) = self.is_in.get_mut(place)
            && !*is_in
        {
            *is_in = true;
            self.list.push(place);
        }
    }

    fn clear(&mut self) {
        for place in self.list.drain(..) {
            if let Some(is_in) = self.is_in.get_mut(place) {
                *is_in = false;
            }
        }
    }

    /// Adds what can be reached without taking a character.
    fn close(&mut self, tokens: &[Token]) {
        let mut k = 0;
        while let Some(&place) = self.list.get(k) {
            k += 1;
            match tokens.get(place) {
                Some(Token::Star | Token::All) => self.add(place + 1),
                Some(Token::DirsOrNone) => {
                    self.add(place + 1);
                    self.add(place + 2);
                }
                _ => {}
            }
        }
    }
}

fn run(tokens: &[Token], text: &str) -> bool {
    let end = tokens.len();
    let mut now = Places::new(end);
    let mut next = Places::new(end);
    now.add(0);
    now.close(tokens);
    for c in text.chars() {
        if now.list.is_empty() {
            return false;
        }
        for &place in &now.list {
            match tokens.get(place) {
                Some(Token::Char(wanted)) if *wanted == c => next.add(place + 1),
                Some(Token::One) if c != '/' => next.add(place + 1),
                Some(Token::Class { negated, ranges }) if c != '/' => {
                    let is_in = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                    if is_in != *negated {
                        next.add(place + 1);
                    }
                }
                Some(Token::Star) if c != '/' => next.add(place),
                // Nothing after it: whatever is left matches.
                Some(Token::All) if place + 1 == end => return true,
                Some(Token::All) => next.add(place),
                Some(Token::Dirs) => {
                    next.add(place);
                    if c == '/' {
                        next.add(place + 1);
                    }
                }
                _ => {}
            }
        }
        next.close(tokens);
        std::mem::swap(&mut now, &mut next);
        next.clear();
    }
    now.is_in.get(end).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests;
