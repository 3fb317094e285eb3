//! `pact health`

use pact_schemas::cluster_state::JOURNAL_QUORUM;
use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;

use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact health
  pact health --output json

Exits with 0 when all of it is healthy or not configured, with 5 when the journal has no quorum or no leader, and
with 7 when anything else is degraded or down.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

impl Args {
    /// The exit code says how it is: see [`exit`].
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let reply = gateway::unary(session, |mut client| async move {
            client.health(v1::HealthRequest {}).await
        })
        .await?;
        match session.format() {
            Format::Json => {
                let items = reply.items.iter().map(view::cluster::health_json).collect();
                Envelope::new("pact/v1/Health", items).write()?;
            }
            Format::Text => {
                output::write_out(&view::cluster::health_table(&reply.items, session.screen))?;
            }
        }
        Ok(exit(&reply.items))
    }
}

/// 0: all of it is healthy, or not there to be so; 5: the journal cannot decide anything; else 7.
fn exit(items: &[v1::HealthItem]) -> Exit {
    let is_down = |item: &v1::HealthItem| item.state() == v1::HealthState::Down;
    if items.iter().any(|item| item.name == JOURNAL_QUORUM && is_down(item)) {
        return Exit::with(ErrorCode::NoLeader.exit_code());
    }
    let is_well = |item: &v1::HealthItem| {
        use v1::HealthState::{Healthy, NotConfigured, Unimplemented};
        matches!(item.state(), Healthy | NotConfigured | Unimplemented)
    };
    if items.iter().all(is_well) {
        Exit::SUCCESS
    } else {
        Exit::with(ErrorCode::Partial.exit_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_how_it_is() {
        use v1::HealthState::{Degraded, Down, Healthy, NotConfigured, Unimplemented};
        let of = |journal: v1::HealthState, other: v1::HealthState| {
            let item = |name: &str, state: v1::HealthState| v1::HealthItem {
                name: name.to_owned(),
                state: state.into(),
                ..v1::HealthItem::default()
            };
            exit(&[item(JOURNAL_QUORUM, journal), item("lattice scheduler", other)]).code()
        };
        assert_eq!(of(Healthy, NotConfigured), 0);
        assert_eq!(of(Healthy, Unimplemented), 0);
        assert_eq!(of(Degraded, NotConfigured), 7);
        assert_eq!(of(Healthy, Down), 7);
        assert_eq!(of(Down, Degraded), 5);
        assert_eq!(of(Healthy, v1::HealthState::Unspecified), 7, "unknown is not well");
    }
}
