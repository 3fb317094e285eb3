//! Every way in which a command fails: its code, its words, its exit code.

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;

/// Words that users and scripts look for, with the code that they belong to
/// ("Common Error Messages" of the troubleshooting guide).
const PROMISED: &[(ErrorCode, &str)] = &[
    (ErrorCode::PolicyDenied, "policy: denied"),
    (ErrorCode::NotWhitelisted, "command not whitelisted"),
    (ErrorCode::WindowExpired, "commit window expired"),
    (ErrorCode::ApprovalPending, "approval required"),
    (ErrorCode::HardwareIdentityConflict, "enrollment: hardware mismatch"),
];

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Failure {
    /// Reported to the user as `error[CODE]`.
    Reported(Box<v1::Error>),
    /// The reader of standard output closed it; nothing to report.
    OutputClosed,
    /// Reported already, in the command's own output; only the exit code is left.
    Shown(u8),
}

impl Failure {
    /// A failure of this code: what happened.
    pub(crate) fn new(code: ErrorCode, what: impl Into<String>) -> Self {
        code.error(what).into()
    }

    /// A wrong argument.
    pub(crate) fn argument(what: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, what)
    }

    /// An option that parses but that this version cannot carry out.
    pub(crate) fn unimplemented(what: &str) -> Self {
        Self::new(ErrorCode::Unimplemented, format!("{what} is not built yet"))
            .because("this version of pact has the command but not the function behind it")
    }

    /// Adds why it happened.
    pub(crate) fn because(self, cause: impl Into<String>) -> Self {
        self.map(|e| e.because(cause))
    }

    /// Adds what to do next.
    pub(crate) fn next(self, next_step: impl Into<String>) -> Self {
        self.map(|e| e.next(next_step))
    }

    fn map(self, change: impl FnOnce(v1::Error) -> v1::Error) -> Self {
        match self {
            Self::Reported(error) => Self::Reported(Box::new(change(*error))),
            other => other,
        }
    }

    /// The symbolic code, if this is a reported failure with a code that is known here.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Reported(error) => ErrorCode::parse(&error.code),
            Self::OutputClosed | Self::Shown(_) => None,
        }
    }

    /// The exit code of `pact` (contracts §1).
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            // A code of a newer gateway: still an error, of no kind that we know.
            Self::Reported(error) => ErrorCode::parse(&error.code).map_or(1, ErrorCode::exit_code),
            Self::OutputClosed => 0,
            Self::Shown(code) => *code,
        }
    }
}

impl From<v1::Error> for Failure {
    fn from(mut error: v1::Error) -> Self {
        let promised = ErrorCode::parse(&error.code)
            .and_then(|code| PROMISED.iter().find(|(c, _)| *c == code))
            .map(|(_, words)| *words);
        if let Some(words) = promised.filter(|w| !error.message.contains(w)) {
            error.message = match error.message.as_str() {
                "" => words.to_owned(),
                message => format!("{words}: {message}"),
            };
        }
        Self::Reported(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promised_words_appear_whatever_the_peer_said() {
        for (code, words) in PROMISED {
            for message in ["", "something else"] {
                let Failure::Reported(error) = Failure::new(*code, message) else {
                    panic!("not reported")
                };
                assert!(error.message.starts_with(words), "{error:?}");
            }
        }
        let kept = Failure::new(ErrorCode::NotWhitelisted, "vi: command not whitelisted");
        let Failure::Reported(error) = kept else { panic!("not reported") };
        assert_eq!(error.message, "vi: command not whitelisted");
    }

    #[test]
    fn every_code_has_the_exit_code_of_the_contract() {
        for code in ErrorCode::ALL {
            assert_eq!(Failure::new(*code, "x").exit_code(), code.exit_code());
        }
        let newer = v1::Error { code: "PACT_OF_TOMORROW".to_owned(), ..v1::Error::default() };
        assert_eq!(Failure::from(newer).exit_code(), 1);
        assert_eq!(Failure::OutputClosed.exit_code(), 0);
    }
}
