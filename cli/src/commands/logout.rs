//! `pact logout`

use std::io::ErrorKind;

use pact_schemas::error_code::ErrorCode;

use crate::failure::Failure;
use crate::output::{Envelope, Format};
use crate::session::{Exit, Session};
use crate::token;

const EXAMPLES: &str = "\
Examples:
  pact logout";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

impl Args {
    /// Deletes what `pact login` keeps for the configured endpoints.
    pub(crate) fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Some(home) = &session.settings.home else {
            return Err(Failure::new(ErrorCode::InvalidConfig, "HOME is not set")
                .because("the token cache lies under it"));
        };
        let mut deleted = Vec::new();
        for endpoint in &session.settings.endpoints {
            let path = token::cache_path(home, endpoint);
            match std::fs::remove_file(&path) {
                Ok(()) => deleted.push(endpoint.to_string()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    let what = format!("{} cannot be deleted", path.display());
                    return Err(Failure::new(ErrorCode::Internal, what).because(error.to_string()));
                }
            }
        }
        match session.format() {
            Format::Json => {
                let items = deleted.iter().map(|e| serde_json::json!({"endpoint": e})).collect();
                Envelope::new("pact/v1/Logout", items).write()?;
            }
            Format::Text if deleted.is_empty() => session.screen.note("no login was cached"),
            Format::Text => session.screen.note(&format!("logged out of {}", deleted.join(", "))),
        }
        let own_file = home.join(".config/pact/token");
        if own_file.exists() {
            session.screen.warn(&format!("{} still holds a token", own_file.display()));
        }
        if session.settings.token.is_some() {
            session.screen.warn("PACT_TOKEN or --token still holds a token");
        }
        Ok(Exit::SUCCESS)
    }
}
