//! `pact-enroll bootstrap`: makes a site, once (docs/formats.md §13).
//!
//! - [`arguments`]: the command line.
//! - `folder`: the site's folder: locked, files written whole, nothing ever overwritten.
//! - `certificates`: the root and what it signs.
//! - `bus`: operator, accounts, users and the configuration of nats-server.
//! - `check`: whether what is kept belongs together.
//! - `summary`: what was made, what was kept, what to do next.
//!
//! Repeatable. What is there is kept, after a look at whether it belongs to this site and to the files beside it; what is
//! missing is made. Every file appears whole or not at all, and whatever needs two files can be completed from the first, so
//! a run that was cut off is completed by the next one.
//!
//! Absences: no key is overwritten or shown; no file of another site is touched; nothing is made from a part whose other
//! half (a key without its certificate, a token without its key) is gone: that is refused and named.

pub mod arguments;

mod bus;
mod certificates;
mod check;
mod error;
mod folder;
mod site_file;
mod summary;

use std::io::Write as _;
use std::process::ExitCode;

use pact_runtime::{Clock, report_error};

pub use arguments::BootstrapArgs;
pub use error::BootstrapError;
pub use folder::Fate;
pub use summary::Summary;

use folder::Folder;

/// Exit code of a bootstrap that was refused or failed.
const EXIT_REFUSED: u8 = 1;

/// Runs the subcommand: summary on stdout, errors on stderr.
#[must_use]
pub fn main(arguments: &BootstrapArgs) -> ExitCode {
    match run(arguments, &Clock::system()) {
        Ok(summary) => {
            // A reader that went away changes nothing about what was made.
            let _closed = writeln!(std::io::stdout().lock(), "{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            report_error(&error);
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

/// Makes the site or completes it.
///
/// # Errors
/// [`BootstrapError`]; nothing that existed was changed, and what was made before the error is kept by the next run.
pub fn run(arguments: &BootstrapArgs, clock: &Clock) -> Result<Summary, BootstrapError> {
    arguments.check()?;
    let mut folder = Folder::open(&arguments.dir)?;
    let added = site_file::claim(&mut folder, arguments)?;
    let root = certificates::root(&mut folder, &arguments.site, clock)?;
    // From here on a member is a member, whenever it came.
    let mut all = arguments.clone();
    all.members.extend(added);
    certificates::services(&mut folder, &root, &all)?;
    bus::make(&mut folder, &all, clock)?;
    Ok(Summary::new(folder, arguments, clock))
}
