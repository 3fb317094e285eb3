//! `pact cluster`

mod change;

use pact_schemas::{convert, v1};

use crate::failure::Failure;
use crate::gateway;
use crate::invoke::Invocation;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  pact cluster
  pact cluster add 4 journal-4.mgmt:9444
  pact cluster remove 3
  pact cluster ca status
  pact cluster ca rotate

A journal member that has lost its data cannot come back under its number. To replace member 3:
  pact cluster remove 3
  pact-enroll bootstrap ... --add-member 4:journal-3.mgmt:9444   (certificates and bus credentials)
  on its host: wipe the data folder; journal.member = 4, journal.raft.members without 3 and with 4,
  the new certificates and credentials; start pact-journal, which then waits
  pact cluster add 4 journal-3.mgmt:9444
Afterwards correct journal.raft.members on the other members; until then they only warn.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

const ADD_HELP: &str = "\
Examples:
  pact cluster add 4 journal-4.mgmt:9444

The new member gets the whole log before it votes; the command waits for that. A member that does not answer for
30 s is given up, and the members stay as they were. `pact cluster` shows what is under way.";

const REMOVE_HELP: &str = "\
Examples:
  pact cluster remove 3

Refused when the members that would be left and answer could not write. The number is never used again: the member
ends, and comes back only under a new number and with an empty data folder (`pact cluster --help`).";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a journal member that is running and waits for it
    #[command(after_help = ADD_HELP)]
    Add {
        /// Number of the new member; one that no member has ever had
        #[arg(value_name = "MEMBER", value_parser = clap::value_parser!(u64).range(1..))]
        member: u64,
        /// Host and port where the others reach it
        #[arg(value_name = "ADDRESS", value_parser = address)]
        address: String,
    },
    /// Remove a journal member for good
    #[command(after_help = REMOVE_HELP)]
    Remove {
        /// Number of the member
        #[arg(value_name = "MEMBER", value_parser = clap::value_parser!(u64).range(1..))]
        member: u64,
    },
    /// The certificate authority of the nodes
    Ca {
        #[command(subcommand)]
        command: CaCommand,
    },
}

#[derive(Debug, clap::Subcommand)]
enum CaCommand {
    /// Show the certificates that are in use
    Status,
    /// Begin a new root
    Rotate,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let invocation = match self.command {
            None => return show(session).await,
            Some(Command::Add { member, address }) => {
                return change::add(session, member, address).await;
            }
            Some(Command::Remove { member }) => return change::remove(session, member).await,
            Some(Command::Ca { command: CaCommand::Status }) => {
                Invocation::new("cluster.ca.status")
            }
            Some(Command::Ca { command: CaCommand::Rotate }) => {
                Invocation::new("cluster.ca.rotate")
            }
        };
        invocation.send(session).await
    }
}

/// A host name or an IP address (IPv6 in brackets), and a port.
fn address(text: &str) -> Result<String, String> {
    let expected = "host and port are expected, as in journal-4.mgmt:9444 or [2001:db8::4]:9444";
    let (host, port) = text.rsplit_once(':').ok_or(expected)?;
    let is_name = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    let is_host = is_name || text.parse::<std::net::SocketAddrV6>().is_ok();
    if is_host && port.parse::<u16>().is_ok_and(|port| port != 0) {
        return Ok(text.to_owned());
    }
    Err(expected.to_owned())
}

async fn ask(session: &Session) -> Result<v1::ClusterStatusReply, Failure> {
    gateway::unary(session, |mut client| async move {
        client.cluster(v1::ClusterStatusRequest {}).await
    })
    .await
}

async fn show(session: &Session) -> Result<Exit, Failure> {
    let reply = ask(session).await?;
    let journal = convert::required(reply.journal.as_ref(), "ClusterStatusReply.journal")
        .map_err(v1::Error::from)?;
    match session.format() {
        Format::Json => {
            let mut items = vec![view::cluster::journal_json(journal)];
            items.extend(reply.lattice.as_ref().map(view::cluster::lattice_json));
            Envelope::new("pact/v1/Cluster", items).write()?;
        }
        Format::Text => {
            let text = view::cluster::text(journal, reply.lattice.as_ref(), session.screen);
            output::write_out(&text)?;
        }
    }
    Ok(Exit::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["journal-4:9444", "journal-4.mgmt:9444", "10.0.0.4:1", "[2001:db8::4]:9444"] {
            assert_eq!(address(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "journal-4", "journal-4:", ":9444", "a b:1", "a:0", "a:65536", "2001:db8::4:9444"]
        {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
