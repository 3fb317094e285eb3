//! What was typed, in words.
//!
//! zsh and fish send words, each ending with a zero byte: without their quotes, but for the last of fish. Bash sends two texts: the part of
//! the word that it will replace, and the line up to the cursor. Its own words are of no use: it breaks them
//! at `:`, `=` and `@`, so that `@vc:ml` and `--output=json` are several.

use super::Shell;

/// A command line up to the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    /// The command, its arguments, and as the last the word that is completed (perhaps empty). At least two.
    pub(super) words: Vec<String>,
    /// The beginning of the last word that the shell keeps as it is.
    pub(super) kept: String,
}

impl Typed {
    /// From what the script of this shell sends; `None` when there is nothing to complete.
    pub(super) fn read(shell: Shell, input: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(input).ok()?;
        let mut parts = text.strip_suffix('\0')?.split('\0');
        let typed = match shell {
            Shell::Bash => {
                let (replaced, line) = (parts.next()?, parts.next()?);
                let words = split(line);
                let kept = words.last()?.strip_suffix(replaced)?.to_owned();
                Self { words, kept }
            }
            Shell::Zsh => Self { words: parts.map(str::to_owned).collect(), kept: String::new() },
            Shell::Fish => {
                let mut words: Vec<String> = parts.map(str::to_owned).collect();
                if let Some(last) = words.last_mut() {
                    *last = split(last).concat();
                }
                Self { words, kept: String::new() }
            }
        };
        (typed.words.len() > 1).then_some(typed)
    }

    /// Index of the word that is completed.
    pub(super) fn index(&self) -> usize {
        self.words.len().saturating_sub(1)
    }

    /// The word that is completed.
    pub(super) fn current(&self) -> &str {
        self.words.last().map_or("", String::as_str)
    }
}

/// Splits at blanks as a shell does, quotes and backslashes heeded and taken away; variables stay as they are. A blank
/// at the end begins a new, empty word; a quote that is not closed ends with the line.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, ' ' | '\t' | '\n') => words.extend(word.take()),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (Some(open), _) if open == c => quote = None,
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some('"'), '\\') => {
                let next = chars.next();
                let word = word.get_or_insert_default();
                // Inside double quotes a backslash means something before these alone.
                if !matches!(next, Some('"' | '\\' | '$' | '`')) {
                    word.push('\\');
                }
                word.extend(next);
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.push(word.unwrap_or_default());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bash(replaced: &str, line: &str) -> Option<(Vec<String>, String)> {
        let typed = Typed::read(Shell::Bash, format!("{replaced}\0{line}\0").as_bytes())?;
        Some((typed.words, typed.kept))
    }

    #[test]
    fn lines_are_split_as_bash_reads_them() {
        for (line, expected) in [
            ("pact exec ", vec!["pact", "exec", ""]),
            ("pact  exec\tno", vec!["pact", "exec", "no"]),
            ("pact exec 'node[001-", vec!["pact", "exec", "node[001-"]),
            ("pact commit -m \"a b\" x", vec!["pact", "commit", "-m", "a b", "x"]),
            ("pact apply a\\ b", vec!["pact", "apply", "a b"]),
            ("pact x \"a\\\"b\\c", vec!["pact", "x", "a\"b\\c"]),
            ("pact '' ", vec!["pact", "", ""]),
            ("pact a'b'\"c\"d", vec!["pact", "abcd"]),
        ] {
            assert_eq!(split(line), expected, "{line}");
        }
    }

    #[test]
    fn what_bash_replaces_is_the_end_of_the_word() {
        let kept = |replaced, line| bash(replaced, line).map(|(_, kept)| kept);
        assert_eq!(kept("ml", "pact exec @vc:ml").as_deref(), Some("@vc:"));
        assert_eq!(kept("", "pact exec @vc:").as_deref(), Some("@vc:"));
        assert_eq!(kept("js", "pact log --output=js").as_deref(), Some("--output="));
        assert_eq!(kept("n[1-3],no", "pact exec n[1-3],no").as_deref(), Some(""));
        assert_eq!(kept("a\\ b", "pact apply a\\ b"), None, "bash and we read it differently");
        assert_eq!(kept("pa", "pa"), None, "the command itself");
    }

    #[test]
    fn zsh_and_fish_send_words() {
        let read = |input: &str| Typed::read(Shell::Zsh, input.as_bytes()).map(|typed| typed.words);
        assert_eq!(read("pact\0exec\0\0").unwrap(), ["pact", "exec", ""]);
        let fish = Typed::read(Shell::Fish, b"pact\0a b\0'n[1]',no\0").unwrap();
        assert_eq!(fish.words, ["pact", "a b", "n[1],no"]);
        for nothing in ["", "pact\0", "pact\0exec"] {
            assert_eq!(read(nothing), None, "{nothing:?}");
        }
        assert_eq!(Typed::read(Shell::Fish, b"pact\0\xff\0"), None);
    }
}
