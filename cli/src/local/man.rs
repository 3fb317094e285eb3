//! `pact man`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pact_runtime::{Clock, Timestamp};
use pact_schemas::error_code::ErrorCode;

use crate::environment;
use crate::failure::Failure;
use crate::manual;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  pact man exec | man -l -                                Read a page that is not installed
  pact man --dir /usr/local/share/man/man1                Install them all";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The command that the page is about (default: pact itself)
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> Result<(), Failure> {
        let date = date(environment)?;
        match &self.dir {
            Some(dir) => write_all(dir, &date),
            None => {
                let name = [&["pact".to_owned()], self.command.as_slice()].concat().join("-");
                let pages = manual::pages(&date).map_err(|error| output::write_failure(&error))?;
                let page = pages.into_iter().find(|page| page.name == name).ok_or_else(|| {
                    Failure::argument(format!("there is no command `{}`", self.command.join(" ")))
                        .next("`pact --help` lists the commands")
                })?;
                output::write_out(&page.text)
            }
        }
    }
}

fn write_all(dir: &Path, date: &str) -> Result<(), Failure> {
    for page in manual::pages(date).map_err(|error| output::write_failure(&error))? {
        let path = dir.join(page.file_name());
        std::fs::write(&path, page.text).map_err(|error| {
            Failure::new(ErrorCode::Internal, format!("{} cannot be written", path.display()))
                .because(error.to_string())
                .next("name a folder that exists and that you may write to")
        })?;
    }
    Ok(())
}

/// `YYYY-MM-DD`, of today or of `SOURCE_DATE_EPOCH`.
fn date(environment: &BTreeMap<String, String>) -> Result<String, Failure> {
    let variable = environment::SOURCE_DATE_EPOCH;
    let time = match variable.of(environment) {
        None => Clock::system().now(),
        Some(text) => {
            let seconds = text.parse().ok().and_then(Timestamp::from_unix_seconds);
            seconds.ok_or_else(|| {
                Failure::new(ErrorCode::InvalidConfig, format!("{} is {text:?}", variable.name))
                    .next("set it to seconds since 1970, or unset it")
            })?
        }
    };
    let time = time.to_string();
    Ok(time.split('T').next().unwrap_or_default().to_owned())
}
