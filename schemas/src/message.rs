//! What a person says about a change: the text of `-m`.

use std::fmt;

use crate::convert::WireError;

const FIELD: &str = "message";

/// One line that says something. Control characters could forge another line in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(String);

impl Message {
    /// Longest message in bytes: a paragraph, which an entry and a line of a log still have room for.
    pub const MAX_BYTES: usize = 1_024;

    /// Takes a message as a person gave it.
    ///
    /// # Errors
    /// [`WireError::Missing`] for a blank text, [`WireError::Bounds`] for one that is too long or has control characters.
    pub fn new(text: &str) -> Result<Self, WireError> {
        if text.trim().is_empty() {
            return Err(WireError::Missing { field: FIELD });
        }
        bounded(text)?;
        if text.chars().any(char::is_control) {
            return Err(WireError::Bounds { field: FIELD, rule: "must be one line" });
        }
        Ok(Self(text.to_owned()))
    }

    /// Takes what was proposed as a message: nothing is said by a blank text, and control characters become blanks.
    ///
    /// # Errors
    /// [`WireError::Bounds`] for a text that is too long.
    pub fn flattened(text: &str) -> Result<Option<Self>, WireError> {
        bounded(text)?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        Ok(Some(Self(line.collect())))
    }
}

fn bounded(text: &str) -> Result<(), WireError> {
    if text.len() > Message::MAX_BYTES {
        return Err(WireError::Bounds { field: FIELD, rule: "may have 1,024 bytes" });
    }
    Ok(())
}

impl TryFrom<&str> for Message {
    type Error = WireError;

    fn try_from(text: &str) -> Result<Self, WireError> {
        Self::new(text)
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        message.0
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_bounded_length_that_says_something() {
        let long = "x".repeat(Message::MAX_BYTES);
        for good in ["why", " ä ", &long] {
            assert_eq!(Message::new(good).unwrap().to_string(), good);
        }
        assert_eq!(Message::new(" \t"), Err(WireError::Missing { field: "message" }));
        for (bad, rule) in [
            ("a\nb", "must be one line"),
            ("a\u{85}b", "must be one line"),
            (&format!("{long}x"), "may have 1,024 bytes"),
        ] {
            assert_eq!(Message::new(bad), Err(WireError::Bounds { field: "message", rule }));
        }
    }

    #[test]
    fn what_is_recorded_is_flattened_and_still_bounded() {
        assert_eq!(Message::flattened("a\nb").unwrap().unwrap().to_string(), "a b");
        assert_eq!(Message::flattened("\n "), Ok(None));
        assert!(Message::flattened(&"x".repeat(Message::MAX_BYTES + 1)).is_err());
    }
}
