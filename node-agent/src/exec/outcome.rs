//! How a command's end is told: one table from what happened to the entry that the journal keeps.

use pact_commands::{AdditionError, Fault, Mode, Refusal};
use pact_runtime::Timestamp;
use pact_schemas::v1::{ExecFinished, ExecOutcome};
use pact_schemas::{ErrorCode, convert};

use super::judge::Unjudged;
use super::launcher::LaunchError;
use super::process::{Cause, Ended};
use super::recorder::Recording;
use crate::blobs::BlobError;

/// Longest reason in an entry.
const MAX_REASON_CHARS: usize = 1024;

/// A command that was not run.
pub(crate) struct NotRun {
    outcome: ExecOutcome,
    code: ErrorCode,
    reason: String,
}

impl NotRun {
    /// The list says no, or the program is not there.
    pub(crate) fn refused(refusal: &Refusal) -> Self {
        let reason = refusal.to_string();
        if refusal.is_not_installed() {
            let outcome = ExecOutcome::NotStarted;
            return Self { outcome, code: ErrorCode::RemoteFailed, reason };
        }
        let outcome = ExecOutcome::Refused;
        if matches!(refusal.fault(), Fault::Malformed(_)) {
            return Self { outcome, code: ErrorCode::InvalidArgument, reason };
        }
        let reason = format!("command not whitelisted: {reason}");
        Self { outcome, code: ErrorCode::NotWhitelisted, reason }
    }

    /// The vCluster's additions to the list are no program names.
    pub(crate) fn bad_additions(error: &AdditionError) -> Self {
        let reason = error.to_string();
        Self { outcome: ExecOutcome::Refused, code: ErrorCode::InvalidSpec, reason }
    }

    /// The vCluster is regulated, and the agent would run what is off the list.
    pub(crate) fn not_strict(mode: Mode) -> Self {
        let reason = format!(
            "the node's vCluster is regulated, where only commands of the list may run, and the agent's whitelist mode is \
             {mode}; set [agent.shell] whitelist_mode = \"strict\" in the node's agent.toml and reload the agent (SIGHUP)",
            mode = mode.as_str()
        );
        Self { outcome: ExecOutcome::Refused, code: ErrorCode::PolicyDenied, reason }
    }

    /// The list could not be asked.
    pub(crate) fn not_judged(error: &Unjudged) -> Self {
        let code = match error {
            Unjudged::Failed => ErrorCode::Internal,
            Unjudged::Late => ErrorCode::Timeout,
            Unjudged::NoneFree => ErrorCode::Busy,
        };
        Self { outcome: ExecOutcome::Refused, code, reason: error.to_string() }
    }

    /// The system did not start it.
    pub(crate) fn not_launched(error: &LaunchError) -> Self {
        // The program may begin after all when its file system answers, and is killed then.
        if matches!(error, LaunchError::Late { .. }) {
            let reason = format!("{error}; its file system does not answer");
            return Self { outcome: ExecOutcome::Unknown, code: ErrorCode::Timeout, reason };
        }
        let reason = format!("{error}: {}", pact_runtime::causes(error));
        Self { outcome: ExecOutcome::NotStarted, code: ErrorCode::RemoteFailed, reason }
    }

    /// The stream to the caller could not be opened.
    pub(crate) fn no_stream(error: &pact_bus::BusError) -> Self {
        let reason = error.to_string();
        Self { outcome: ExecOutcome::NotStarted, code: ErrorCode::Unreachable, reason }
    }

    /// As the journal keeps it.
    pub(crate) fn finished(&self, at: Timestamp) -> ExecFinished {
        ExecFinished {
            outcome: self.outcome.into(),
            finished: Some(convert::timestamp(at.unix_nanos())),
            code: self.code.as_str().to_owned(),
            reason: shortened(&self.reason),
            ..ExecFinished::default()
        }
    }

    /// As the caller is told when there is no stream.
    pub(crate) fn error(&self) -> pact_schemas::v1::Error {
        self.code.error(self.reason.clone())
    }
}

/// What is known of a command that ran.
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    pub(crate) recording: Recording,
    pub(crate) not_recorded: Option<BlobError>,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
    /// Why strict mode would have refused it.
    pub(crate) off_list: Option<Refusal>,
}

impl Ran {
    /// As the journal keeps it.
    pub(crate) fn finished(self) -> ExecFinished {
        let Ended { cause, status, signal, killed } = self.ended;
        let (outcome, code, reason) = match cause {
            Cause::Itself if signal.is_some() => (ExecOutcome::Signalled, None, ""),
            Cause::Itself if status.is_some() => (ExecOutcome::Exited, None, ""),
            Cause::Itself => (
                ExecOutcome::Unknown,
                Some(ErrorCode::Internal),
                "the system did not tell how the command ended",
            ),
            Cause::TimedOut => (
                ExecOutcome::TimedOut,
                Some(ErrorCode::Timeout),
                "the command ran into its time limit and was killed",
            ),
            Cause::Cancelled => (
                ExecOutcome::Cancelled,
                Some(ErrorCode::Interrupted),
                "the caller cancelled; the command was killed",
            ),
            Cause::CallerGone => (
                ExecOutcome::Cancelled,
                Some(ErrorCode::Unreachable),
                "the caller went away; the command was killed",
            ),
            Cause::NotRecorded => (
                ExecOutcome::Cancelled,
                Some(ErrorCode::SpoolFull),
                "the output could not be recorded; the command was killed",
            ),
            Cause::AgentStopping => (
                ExecOutcome::Cancelled,
                Some(ErrorCode::Interrupted),
                "the agent was stopped; the command was killed",
            ),
        };
        let mut reason = reason.to_owned();
        if let Some(error) = &self.not_recorded {
            reason = format!("{reason}: {error}");
        }
        let left = (killed > 0)
            .then(|| format!("what it had left running was killed (processes: {killed})"));
        let off_list = self.off_list.as_ref().map(|refusal| format!("off the list: {refusal}"));
        for more in left.into_iter().chain(off_list) {
            let sep = if reason.is_empty() { "" } else { "; " };
            reason = format!("{reason}{sep}{more}");
        }
        ExecFinished {
            outcome: outcome.into(),
            exit_status: status,
            signal,
            output: self.recording.segments,
            output_bytes: self.recording.total_bytes,
            discarded_bytes: self.recording.discarded_bytes,
            started: Some(convert::timestamp(self.started.unix_nanos())),
            finished: Some(convert::timestamp(self.finished.unix_nanos())),
            code: code.map_or("", ErrorCode::as_str).to_owned(),
            reason: shortened(&reason),
            off_list: self.off_list.is_some(),
        }
    }
}

/// The outcome of a command that a crash interrupted.
pub(crate) fn unknown(started: Timestamp, found: Timestamp, reason: &str) -> ExecFinished {
    ExecFinished {
        outcome: ExecOutcome::Unknown.into(),
        started: Some(convert::timestamp(started.unix_nanos())),
        finished: Some(convert::timestamp(found.unix_nanos())),
        code: ErrorCode::Unreachable.as_str().to_owned(),
        reason: shortened(reason),
        ..ExecFinished::default()
    }
}

fn shortened(reason: &str) -> String {
    reason.chars().take(MAX_REASON_CHARS).collect()
}
