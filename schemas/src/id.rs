//! Validated identifiers.
//!
//! Every id is checked once, where it enters; afterwards it can be put into a NATS
//! subject, a file name or a database key as it is. None has a `Default`.

use std::fmt;
use std::str::FromStr;

/// Why a text is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: {rule}")]
pub struct IdError {
    /// What was expected, e.g. `node id`.
    pub what: &'static str,
    /// The text as given, cut at 80 characters.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl IdError {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), rule }
    }
}

fn is_name(text: &str, max: usize, extra: &[u8]) -> bool {
    (1..=max).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || extra.contains(&b))
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            #[doc = concat!("Checks and takes a ", $what, ": ", $rule, ".")]
            ///
            /// # Errors
            /// [`IdError`] naming the text and the rule.
            pub fn new(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError::new($what, text, $rule))
                }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(de)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A node, e.g. `node-042` or an xname.
    NodeId, "node id", "1 to 63 of a-z, 0-9 and '-'", |t| is_name(t, 63, b"-")
);
text_id!(
    /// A vCluster, e.g. `ml-training`.
    VclusterId, "vCluster name", "1 to 63 of a-z, 0-9 and '-'", |t| is_name(t, 63, b"-")
);
text_id!(
    /// The site, part of every certificate's name.
    SiteName, "site name", "1 to 63 of a-z, 0-9 and '-'", |t| is_name(t, 63, b"-")
);
text_id!(
    /// One of pact's services, e.g. `journal`.
    ServiceName, "service name", "1 to 32 of a-z, 0-9 and '-'", |t| is_name(t, 32, b"-")
);
text_id!(
    /// A method of a service or of an agent, e.g. `propose`.
    MethodName, "method name", "1 to 32 of a-z, 0-9, '-' and '_'", |t| is_name(t, 32, b"-_")
);
text_id!(
    /// The kind of an agent's event, e.g. `exec_ended`.
    EventKind, "event kind", "1 to 32 of a-z, 0-9, '-' and '_'", |t| is_name(t, 32, b"-_")
);
text_id!(
    /// One byte stream between an agent and a caller.
    StreamId, "stream id", "32 hex digits", |t| is_hex(t, 32)
);
text_id!(
    /// One life of an agent's spool.
    SpoolId, "spool id", "32 hex digits", |t| is_hex(t, 32)
);

impl ServiceName {
    /// A name of this program, which a test has checked.
    pub(crate) fn known(name: &'static str) -> Self {
        Self(name.into())
    }
}

impl MethodName {
    /// A name of this program, which a test has checked.
    pub(crate) fn known(name: &'static str) -> Self {
        Self(name.into())
    }
}

/// A journal member's number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(u64);

impl MemberId {
    /// # Errors
    /// [`IdError`] for 0.
    pub fn new(number: u64) -> Result<Self, IdError> {
        if number == 0 {
            return Err(IdError::new("member id", "0", "a number from 1"));
        }
        Ok(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MemberId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let canonical = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if canonical => Self::new(number),
            _ => Err(IdError::new("member id", text, "a number from 1")),
        }
    }
}

/// A journal sequence number, from 1, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl Seq {
    /// # Errors
    /// [`IdError`] for 0.
    pub fn new(number: u64) -> Result<Self, IdError> {
        if number == 0 {
            return Err(IdError::new("sequence number", "0", "a number from 1"));
        }
        Ok(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client-chosen id of one mutating request: a UUIDv7, so it carries its time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    /// Takes a UUIDv7.
    ///
    /// # Errors
    /// [`IdError`] for any other version.
    pub fn new(id: uuid::Uuid) -> Result<Self, IdError> {
        if id.get_version_num() == 7 {
            Ok(Self(id))
        } else {
            Err(IdError::new("request id", &id.to_string(), "a UUID of version 7"))
        }
    }

    /// Milliseconds since the Unix epoch at which the client made the id.
    #[must_use]
    pub fn unix_milliseconds(&self) -> u64 {
        let value = self.0.as_u128() >> 80;
        u64::try_from(value).unwrap_or(u64::MAX)
    }

    /// The 16 bytes; their order is the order in time.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let rule = "a UUID of version 7, lower case with hyphens";
        let id = uuid::Uuid::try_parse(text).map_err(|_| IdError::new("request id", text, rule))?;
        if id.hyphenated().to_string() != text {
            return Err(IdError::new("request id", text, rule));
        }
        Self::new(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_holds_nothing_that_a_subject_could_trip_over() {
        for bad in ["", "*", "a.b", "a>", "A", "a b", "node_1", &"x".repeat(64)] {
            assert!(NodeId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(NodeId::new("x3000c0s1b0n0").unwrap().as_str(), "x3000c0s1b0n0");
    }

    #[test]
    fn a_request_id_is_a_canonical_uuid_of_version_7() {
        let good = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(good.parse::<RequestId>().unwrap().unix_milliseconds(), 1_688_096_058_518);
        assert!("01890A5D-AC96-774B-BCCE-B302099A8057".parse::<RequestId>().is_err());
        assert!("6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse::<RequestId>().is_err());
    }

    #[test]
    fn members_and_sequences_start_at_one() {
        assert!(MemberId::new(0).is_err() && Seq::new(0).is_err());
        assert!("01".parse::<MemberId>().is_err() && "+1".parse::<MemberId>().is_err());
        assert_eq!("12".parse::<MemberId>().unwrap().get(), 12);
    }
}
