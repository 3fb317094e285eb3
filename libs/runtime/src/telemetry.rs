//! Tracing to stderr, as text for people or JSON for collectors.
//!
//! A text event is one line: control characters inside it are escaped, so that nothing a node or a client sent can
//! forge a log line or steer a terminal. JSON escapes them anyway.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::process::environment;

/// How log events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line each, for people.
    #[default]
    Text,
    /// One JSON object each, for collectors.
    Json,
}

/// Why tracing cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG`, or the service's own filter, is not a list of directives.
    #[error(
        "the log filter `{filter}` is not understood; expected e.g. `info` or `pact_journal=debug,info`"
    )]
    Filter {
        /// The filter.
        filter: String,
    },
    /// Tracing runs already.
    #[error("tracing is initialised already")]
    AlreadyInitialised,
}

/// Starts tracing for the process. `RUST_LOG` wins over `default_filter`.
pub fn init(format: LogFormat, default_filter: &str) -> Result<(), TelemetryError> {
    let filter = environment()
        .find_map(|(name, value)| (name == "RUST_LOG" && !value.is_empty()).then_some(value))
        .unwrap_or_else(|| default_filter.to_owned());
    let filter = EnvFilter::try_new(&filter).map_err(|_parse| TelemetryError::Filter { filter })?;
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    match format {
        LogFormat::Text => base.with_writer(OneLineEach).finish().try_init(),
        LogFormat::Json => base
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(io::stderr)
            .finish()
            .try_init(),
    }
    .map_err(|_set| TelemetryError::AlreadyInitialised)
}

/// Logs panics as events, so that they reach the log in its format.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let location = info.location().map(tracing::field::display);
        let message = panic_message(info.payload());
        tracing::error!(location, message, "panic");
    }));
}

/// The message of a panic, when it has one.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// Writes each event, which tracing hands over in one piece, as one line to stderr.
struct OneLineEach;

impl<'a> MakeWriter<'a> for OneLineEach {
    type Writer = OneLine;

    fn make_writer(&'a self) -> OneLine {
        OneLine
    }
}

struct OneLine;

impl io::Write for OneLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        io::stderr().write_all(one_line(&text).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Escapes every control character, and those that reorder text, but the last newline.
fn one_line(event: &str) -> Cow<'_, str> {
    let body = event.strip_suffix('\n').unwrap_or(event);
    if !body.chars().any(is_unsafe) {
        return Cow::Borrowed(event);
    }
    let mut line = String::with_capacity(event.len() + 8);
    for symbol in body.chars() {
        if is_unsafe(symbol) {
            // Writing to a string cannot fail.
            let _infallible = write!(line, "{}", symbol.escape_default());
        } else {
            line.push(symbol);
        }
    }
    line.push('\n');
    Cow::Owned(line)
}

fn is_unsafe(symbol: char) -> bool {
    let reorders = matches!(symbol, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    symbol.is_control() || reorders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_one_line_whatever_it_holds() {
        let forged = "INFO node said \u{1b}[2J\n2026-01-01 ERROR approved\u{202e}\r\n";
        assert_eq!(
            one_line(forged),
            "INFO node said \\u{1b}[2J\\n2026-01-01 ERROR approved\\u{202e}\\r\n"
        );
        assert_eq!(one_line("INFO zwölf\n"), "INFO zwölf\n");
    }

    #[test]
    fn a_second_start_is_refused() {
        let first = init(LogFormat::Text, "info");
        assert!(matches!(first, Ok(())));
        let second = init(LogFormat::Json, "info");
        assert!(matches!(second, Err(TelemetryError::AlreadyInitialised)));
        let nonsense = init(LogFormat::Text, "pact=loud");
        assert!(matches!(nonsense, Err(TelemetryError::Filter { .. })));
    }
}
