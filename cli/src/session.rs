//! What every command is given.

use pact_runtime::Clock;
use pact_schemas::VclusterId;
use pact_schemas::error_code::ErrorCode;

use crate::failure::Failure;
use crate::output::{Choice, Format, Screen};
use crate::settings::Settings;

/// The settings, clock and screen of one run of `pact`.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) screen: Screen,
}

/// How a command ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// It did what it was asked.
    pub(crate) const SUCCESS: Self = Self(0);

    /// The outcome of a remote command.
    pub(crate) const fn with(code: u8) -> Self {
        Self(code)
    }

    /// The exit code of the process.
    pub(crate) const fn code(self) -> u8 {
        self.0
    }
}

impl Session {
    pub(crate) fn new(settings: Settings, clock: Clock, screen: Screen) -> Self {
        let screen = screen
            .writing(settings.output.format())
            .wide(settings.output == Choice::Wide)
            .at(clock.now(), settings.utc);
        Self { settings, clock, screen }
    }

    /// Text or JSON.
    pub(crate) fn format(&self) -> Format {
        self.settings.output.format()
    }

    /// A new request id: the same on every retry of one command.
    pub(crate) fn new_request_id(&self) -> String {
        self.clock.new_uuid_v7().hyphenated().to_string()
    }

    /// The vCluster of flag, environment or file, if any.
    pub(crate) fn vcluster(&self) -> Option<String> {
        self.settings.vcluster.as_ref().map(ToString::to_string)
    }

    /// The vCluster, which this command cannot do without.
    pub(crate) fn required_vcluster(&self) -> Result<String, Failure> {
        self.vcluster().ok_or_else(no_vcluster)
    }

    /// Only what `--vcluster` says; defaults do not count.
    pub(crate) fn vcluster_flag(&self) -> Option<String> {
        self.settings.vcluster_flag.as_ref().map(VclusterId::to_string)
    }

    /// `--vcluster`, which this command cannot do without.
    pub(crate) fn required_vcluster_flag(&self) -> Result<String, Failure> {
        self.vcluster_flag().ok_or_else(no_vcluster)
    }
}

fn no_vcluster() -> Failure {
    Failure::new(ErrorCode::NoVcluster, "No vCluster specified")
        .next("use --vcluster or set PACT_VCLUSTER")
}
