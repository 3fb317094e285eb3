//! The process itself: its environment, its exit codes, and the one place that prints errors.
//!
//! The bans of `clippy.toml` on `std::env::vars_os` and `std::process::exit` are lifted here and nowhere else.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::causes::cause_texts;

const NATS_SERVER: &str = "nats-server";
const NATS_SERVER_VARIABLE: &str = "PACT_NATS_SERVER";
/// Debian's package, and what is installed by hand.
const NATS_SERVER_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/bin"];

/// A service that was asked to stop and drained within its grace period.
pub const EXIT_CLEAN: u8 = 0;
/// A service that failed: a task, a taken port, a dependency that cannot be built, an overrun grace period.
pub const EXIT_FAILURE: u8 = 1;
/// A service that refused its arguments or its configuration (`EX_USAGE`); a restart will not help.
pub const EXIT_BAD_CONFIG: u8 = 64;

/// The environment as (name, value) pairs.
///
/// Bytes that are not UTF-8 become U+FFFD; the configuration loader refuses values that hold it.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    #[allow(clippy::disallowed_methods)] // the only reader of the environment
    let pairs = std::env::vars_os();
    pairs.map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    })
}

/// The nats-server that tests start: the one that `PACT_NATS_SERVER` names, else the first in the path and in the folders
/// where packages put it, which are not in every user's path; else the bare name, so that starting it says that there is none.
///
/// Services never start one: they are told where theirs listens.
pub fn nats_server() -> PathBuf {
    let (mut named, mut path) = (String::new(), String::new());
    for (name, value) in environment() {
        match name.as_str() {
            NATS_SERVER_VARIABLE => named = value,
            "PATH" => path = value,
            _ => {}
        }
    }
    find_nats_server(&named, &path)
}

fn find_nats_server(named: &str, path: &str) -> PathBuf {
    if !named.is_empty() {
        return named.into();
    }
    let folders = std::env::split_paths(path).chain(NATS_SERVER_FOLDERS.map(PathBuf::from));
    let mut files = folders.map(|folder| folder.join(NATS_SERVER));
    files.find(|file| file.is_file()).unwrap_or_else(|| NATS_SERVER.into())
}

/// Ends the process without unwinding or draining. For the second signal, and for callers that already cleaned up.
pub fn exit_now(code: i32) -> ! {
    #[allow(clippy::disallowed_methods)] // the only way out that is not a return from `main`
    std::process::exit(code)
}

/// Stops the process at once where going on would be unsafe: no randomness, no clock. Prints why.
pub(crate) fn abort(reason: &str) -> ! {
    print_error_lines(&[format!("error: {reason}")]);
    #[allow(clippy::disallowed_methods)] // going on would mean a weak nonce or a wrong time
    std::process::abort()
}

/// Prints an error and its causes on stderr, each once:
///
/// ```text
/// error: cannot connect to the bus at nats://bus-1:4222
///   caused by: connection refused
/// ```
pub fn report_error(error: &(dyn Error + 'static)) {
    print_error_lines(&error_lines(error));
}

fn error_lines(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut lines = vec![format!("error: {error}")];
    lines.extend(cause_texts(error).iter().map(|text| format!("  caused by: {text}")));
    lines
}

fn print_error_lines(lines: &[String]) {
    let mut stderr = std::io::stderr().lock();
    for line in lines {
        // There is nobody left to tell when stderr is gone.
        let _closed = writeln!(stderr, "{line}");
    }
}

/// Prints text on stdout; a reader that went away is not an error.
pub(crate) fn print_out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _closed = stdout.write_all(text.as_bytes());
    let _closed = stdout.flush();
}

/// Parses the arguments of a service. `Err` holds the exit code for `main`: 0 after `--help` and `--version`,
/// [`EXIT_BAD_CONFIG`] after a usage error (clap's own choice would be 2). What clap has to say is printed.
pub fn parse_args<A: clap::Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        let _closed = error.print();
        ExitCode::from(if error.use_stderr() { EXIT_BAD_CONFIG } else { EXIT_CLEAN })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the spool")]
    struct Outer(#[source] Wrapper);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Wrapper(std::io::Error);

    #[test]
    fn prints_each_cause_once() {
        let error = Outer(Wrapper(std::io::Error::other("disk on fire")));
        assert_eq!(
            error_lines(&error),
            ["error: cannot open the spool", "  caused by: disk on fire"]
        );
    }

    #[test]
    fn the_nats_server_that_is_named_wins_and_the_path_comes_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = format!("/nowhere:{}", folder.path().display());
        assert_eq!(find_nats_server("/x/nats-server", &path), PathBuf::from("/x/nats-server"));
        let here = folder.path().join("nats-server");
        std::fs::create_dir(&here).unwrap();
        assert_ne!(find_nats_server("", &path), here, "a folder is no program");
        std::fs::remove_dir(&here).unwrap();
        std::fs::write(&here, "").unwrap();
        assert_eq!(find_nats_server("", &path), here);
    }
}
