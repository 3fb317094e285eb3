//! Between what nodes wrote and the admin's terminal.
//!
//! A program on a node can print anything, escape sequences that retitle the window or type
//! into it included. What passes here holds no control character but tab and newline, and nothing
//! that changes the direction of text.

/// Neutralises a stream of bytes that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct Sanitizer {
    /// The beginning of a character whose end has not arrived; at most 3 bytes.
    pending: Vec<u8>,
    /// The last character was a carriage return: a newline that follows belongs to it.
    after_return: bool,
}

impl Sanitizer {
    /// The next piece, made harmless.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.pending);
        let mut safe = String::with_capacity(input.len());
        let mut rest = input.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.push_text(text, &mut safe);
                    return safe;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.push_text(&String::from_utf8_lossy(valid), &mut safe);
                    let Some(bad) = error.error_len() else {
                        self.pending = after.to_vec();
                        return safe;
                    };
                    self.push(char::REPLACEMENT_CHARACTER, &mut safe);
                    rest = after.get(bad..).unwrap_or_default();
                }
            }
        }
    }

    /// What is left at the end: a character that was cut off.
    pub(crate) fn finish(&mut self) -> String {
        let cut = !std::mem::take(&mut self.pending).is_empty();
        if cut { char::REPLACEMENT_CHARACTER.to_string() } else { String::new() }
    }

    fn push_text(&mut self, text: &str, safe: &mut String) {
        for c in text.chars() {
            self.push(c, safe);
        }
    }

    fn push(&mut self, c: char, safe: &mut String) {
        let ends_return = std::mem::replace(&mut self.after_return, c == '\r');
        match c {
            '\n' if ends_return => {}
            // A lone return would let later text overwrite what stands there.
            '\r' => safe.push('\n'),
            '\n' | '\t' => safe.push(c),
            _ => safe.push(harmless(c)),
        }
    }
}

/// One line for a table, a message or an error: nothing in it starts a new line either.
pub(crate) fn clean_line(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { harmless(c) }).collect()
}

/// A visible stand-in for what would act on the terminal.
fn harmless(c: char) -> char {
    let stand_in = match u32::from(c) {
        code @ 0x00..=0x1f => char::from_u32(0x2400 + code),
        0x7f => char::from_u32(0x2421),
        // C1, line and paragraph separators, direction marks, embeddings, isolates.
        0x80..=0x9f | 0x061c | 0x200e..=0x200f | 0x2028..=0x202e | 0x2066..=0x2069 => {
            Some(char::REPLACEMENT_CHARACTER)
        }
        _ => Some(c),
    };
    stand_in.unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> String {
        let mut sanitizer = Sanitizer::default();
        let mut text = sanitizer.feed(bytes);
        text.push_str(&sanitizer.finish());
        text
    }

    fn is_dangerous(c: char) -> bool {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
    }

    proptest! {
        #[test]
        fn nothing_that_acts_on_a_terminal_passes(bytes: Vec<u8>) {
            prop_assert!(!whole(&bytes).chars().any(is_dangerous));
        }

        #[test]
        fn nothing_that_acts_on_a_terminal_passes_from_text(text: String) {
            prop_assert!(!whole(text.as_bytes()).chars().any(is_dangerous));
            prop_assert!(!clean_line(&text).chars().any(|c| is_dangerous(c) || c == '\n' || c == '\t'));
        }

        #[test]
        fn twice_is_once(bytes: Vec<u8>) {
            let once = whole(&bytes);
            prop_assert_eq!(whole(once.as_bytes()), once);
        }

        #[test]
        fn pieces_read_like_the_whole(bytes: Vec<u8>, cut in 0_usize..64) {
            let cut = cut.min(bytes.len());
            let mut sanitizer = Sanitizer::default();
            let mut text = sanitizer.feed(&bytes[..cut]);
            text.push_str(&sanitizer.feed(&bytes[cut..]));
            text.push_str(&sanitizer.finish());
            prop_assert_eq!(text, whole(&bytes));
        }

        #[test]
        fn plain_text_stays_as_it_is(text in "[a-zäß€\u{1f600} \t\n]*") {
            prop_assert_eq!(whole(text.as_bytes()), text);
        }
    }

    #[test]
    fn an_escape_sequence_becomes_visible() {
        assert_eq!(
            whole(b"\x1b]0;owned\x07 50%\r100%\r\nok\x9b2J"),
            "␛]0;owned␇ 50%\n100%\nok\u{fffd}2J"
        );
    }
}
