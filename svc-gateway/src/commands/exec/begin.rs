//! What a client asks for, checked.

use std::time::Duration;

use pact_schemas::v1::{ExecInput, exec_input::Input};
use pact_schemas::{Argv, ErrorCode};
use tonic::Status;

use crate::ask::fanout::AT_ONCE;
use crate::ask::request::RequestKey;
use crate::config::ExecSettings;
use crate::error::Answer;

/// A whole and bounded request.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) key: RequestKey,
    pub(super) targets: String,
    pub(super) exclude: String,
    pub(super) argv: Argv,
    pub(super) stdin: bool,
    pub(super) timeout_seconds: u32,
}

impl Begin {
    pub(super) fn read(
        first: Result<Option<ExecInput>, Status>,
        limits: &ExecSettings,
    ) -> Answer<Self> {
        let invalid = |message: &str| ErrorCode::InvalidArgument.error(message.to_owned());
        let first = first
            .map_err(|status| invalid("the request does not decode").because(status.message()))?;
        let Some(Input::Begin(begin)) = first.and_then(|input| input.input) else {
            return Err(invalid("the first message must be ExecBegin"));
        };
        let key = RequestKey::of("exec", &begin.request_id, &begin)?;
        let argv = Argv::new(begin.argv)?;
        let timeout_seconds = match begin.timeout_seconds {
            0 => whole_seconds(limits.timeout),
            seconds if seconds <= whole_seconds(limits.max_timeout) => seconds,
            seconds => {
                return Err(invalid(&format!(
                    "a time limit of {seconds} s was asked for; at most {} s are accepted",
                    whole_seconds(limits.max_timeout)
                )));
            }
        };
        Ok(Self {
            key,
            targets: begin.targets,
            exclude: begin.exclude,
            argv,
            stdin: begin.stdin,
            timeout_seconds,
        })
    }

    /// Standard input goes to all nodes at the pace of the slowest, so all must be running at once.
    pub(super) fn check_stdin(&self, nodes: usize) -> Answer<()> {
        if self.stdin && nodes > AT_ONCE {
            return Err(ErrorCode::InvalidArgument.error(format!(
                "standard input can be forwarded to at most {AT_ONCE} nodes at once, not to {nodes}"
            )));
        }
        Ok(())
    }
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use pact_schemas::v1::ExecBegin;

    use super::*;

    const LIMITS: ExecSettings = ExecSettings {
        timeout: Duration::from_secs(300),
        max_timeout: Duration::from_secs(900),
        output_limit_bytes: 65_536,
        streams_per_user: 1,
    };

    fn read(change: impl FnOnce(&mut ExecBegin)) -> Result<Begin, ErrorCode> {
        let mut begin = ExecBegin {
            request_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
            targets: "n1".into(),
            argv: vec!["true".into()],
            ..ExecBegin::default()
        };
        change(&mut begin);
        let input = ExecInput { input: Some(Input::Begin(begin)) };
        Begin::read(Ok(Some(input)), &LIMITS).map_err(|e| e.known_code())
    }

    #[test]
    fn what_is_not_whole_or_over_a_bound_is_refused() {
        assert_eq!(read(|_| {}).unwrap().timeout_seconds, 300);
        assert_eq!(read(|b| b.timeout_seconds = 900).unwrap().timeout_seconds, 900);
        let invalid = Some(ErrorCode::InvalidArgument);
        assert_eq!(read(|b| b.timeout_seconds = 901).err(), invalid);
        assert_eq!(read(|b| b.argv.clear()).err(), invalid);
        assert_eq!(read(|b| b.argv[0].clear()).err(), invalid);
        assert_eq!(read(|b| b.argv.push("a\0b".into())).err(), invalid);
        assert_eq!(read(|b| b.request_id.clear()).err(), invalid);
        assert_eq!(read(|b| b.argv = vec!["x".into(); 1_025]).err(), Some(ErrorCode::TooLarge));
        assert!(read(|b| b.argv = vec!["x".into(); 1_024]).is_ok());
        assert_eq!(read(|b| b.argv.push("x".repeat(65_536))).err(), Some(ErrorCode::TooLarge));
        let nothing = Begin::read(Ok(None), &LIMITS).map_err(|e| e.known_code());
        assert_eq!(nothing.err(), invalid);
    }

    #[test]
    fn standard_input_goes_to_as_many_as_run_at_once() {
        let begin = read(|b| b.stdin = true).unwrap();
        assert!(begin.check_stdin(AT_ONCE).is_ok() && begin.check_stdin(AT_ONCE + 1).is_err());
    }
}
