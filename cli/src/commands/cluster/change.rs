//! `pact cluster add` and `remove`: asked for, then watched until the journal says how it ended.

use std::time::Duration;

use pact_schemas::error_code::ErrorCode;
use pact_schemas::{convert, v1};
use serde_json::json;

use super::ask;
use crate::failure::Failure;
use crate::gateway;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Longer than the journal takes before it gives up a member that does not catch up.
const LONGEST: Duration = Duration::from_secs(35 * 60);
/// The journal may be without a leader for a moment: the leader itself may be the one that is removed.
const UNANSWERED: Duration = Duration::from_secs(60);

/// What was asked for.
struct Asked {
    change: &'static str,
    member: u64,
    address: Option<String>,
    /// The entry that asks for it.
    seq: u64,
}

pub(super) async fn add(session: &Session, member: u64, address: String) -> Result<Exit, Failure> {
    let request_id = session.new_request_id();
    let request = v1::ClusterAddRequest { request_id, member, address: address.clone() };
    let reply = gateway::unary(session, |mut client| {
        let request = request.clone();
        async move { client.cluster_add(request).await }
    });
    let seq = reply.await?.seq;
    let asked = Asked { change: "add", member, address: Some(address), seq };
    asked.watch(session).await
}

pub(super) async fn remove(session: &Session, member: u64) -> Result<Exit, Failure> {
    let request = v1::ClusterRemoveRequest { request_id: session.new_request_id(), member };
    let reply = gateway::unary(session, |mut client| {
        let request = request.clone();
        async move { client.cluster_remove(request).await }
    });
    let seq = reply.await?.seq;
    Asked { change: "remove", member, address: None, seq }.watch(session).await
}

impl Asked {
    async fn watch(self, session: &Session) -> Result<Exit, Failure> {
        session
            .screen
            .note(&format!("recorded as entry {}; the journal's leader carries it out", self.seq));
        let clock = &session.clock;
        let begun = clock.monotonic();
        let (mut answered, mut said) = (begun, String::new());
        loop {
            let now = clock.monotonic();
            match ask(session).await {
                Ok(reply) => {
                    answered = now;
                    let journal =
                        convert::required(reply.journal.as_ref(), "ClusterStatusReply.journal")
                            .map_err(v1::Error::from)?;
                    if let Some(ended) = journal.ended.as_ref().filter(|end| end.seq >= self.seq) {
                        return self.finish(session, ended);
                    }
                    let progress = self.progress(journal);
                    if progress != said {
                        session.screen.note(&progress);
                        said = progress;
                    }
                }
                Err(failure) if now.saturating_sub(answered) >= UNANSWERED => return Err(failure),
                Err(_) => {}
            }
            if now.saturating_sub(begun) >= LONGEST {
                return Err(Failure::new(ErrorCode::Timeout, "the change has not ended yet")
                    .because(format!("it is recorded as entry {}, and goes on", self.seq))
                    .next("look at `pact cluster`"));
            }
            clock.sleep(LOOK).await;
        }
    }

    fn progress(&self, journal: &v1::ClusterReply) -> String {
        let member = journal.members.iter().find(|member| member.id == self.member);
        match (self.change, member.map(|member| member.voter)) {
            ("add", None) => format!("member {} is being asked", self.member),
            ("add", Some(false)) => format!("member {} gets the log", self.member),
            ("add", Some(true)) => format!("member {} votes", self.member),
            (_, Some(_)) => format!("member {} is being removed", self.member),
            (_, None) => format!("member {} is not a member any more", self.member),
        }
    }

    fn finish(&self, session: &Session, ended: &v1::MemberChangeEnd) -> Result<Exit, Failure> {
        let Self { change, member, address, seq } = self;
        if ended.seq != *seq {
            let what = format!("how the change of entry {seq} ended is not known here");
            return Err(Failure::new(ErrorCode::Conflict, what)
                .because(format!("another change, of entry {}, has ended since", ended.seq))
                .next("look at `pact cluster` and `pact log`"));
        }
        if !ended.failure.is_empty() {
            let what = format!("member {member} was not added");
            return Err(Failure::new(ErrorCode::Unreachable, what)
                .because(ended.failure.as_str())
                .next("the members are as before; mend it and add the member again"));
        }
        match session.format() {
            Format::Json => {
                let item = json!({
                    "change": change, "member": member, "address": address, "seq": seq,
                });
                Envelope::new("pact/v1/ClusterChange", vec![item]).write()?;
            }
            Format::Text if *change == "add" => {
                output::write_out(&format!("member {member} is a voter of the journal\n"))?;
            }
            Format::Text => {
                output::write_out(&format!("member {member} is removed for good\n"))?;
                session.screen.note("its number is never used again; wipe its data folder before its host gets a new one");
            }
        }
        Ok(Exit::SUCCESS)
    }
}
