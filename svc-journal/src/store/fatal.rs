//! How it ends when storage fails.

use std::fmt::Display;

/// Ends the process at once: the disk refused a write, or gave back what was never written.
///
/// Going on would mean answering from a state that may not be there after the next start, or differing from the other
/// members without anybody noticing. There is nothing to flush: what is acknowledged is synced, what is not was not promised.
pub(crate) fn fatal(what: &str, error: &dyn Display) -> ! {
    tracing::error!(what, %error, "storage failed; the process ends so that nothing wrong is acknowledged");
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place where a storage failure ends the process"
    )]
    std::process::abort()
}

/// An error with everything that caused it, in one line: the last one that this process writes.
pub(crate) struct Chain<E>(pub(crate) E);

impl<E: std::error::Error + 'static> Display for Chain<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        match pact_runtime::causes(&self.0).as_str() {
            "" => Ok(()),
            causes => write!(f, ": {causes}"),
        }
    }
}

/// The value, or the end of the process.
pub(crate) trait OrFatal<T> {
    /// The value; [`fatal`] otherwise.
    fn or_fatal(self, what: &str) -> T;
}

impl<T, E: Display> OrFatal<T> for Result<T, E> {
    fn or_fatal(self, what: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => fatal(what, &error),
        }
    }
}

impl<T> OrFatal<T> for Option<T> {
    fn or_fatal(self, what: &str) -> T {
        match self {
            Some(value) => value,
            None => fatal(what, &"it is not there, or not readable"),
        }
    }
}
