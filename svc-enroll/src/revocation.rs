//! Cutting bus users off: the account's token is signed again with the users on its list and pushed to the servers, which close
//! their connections at once (decisions §1).
//!
//! The token that the servers have is the only list there is: it is read before each change, so that another instance's
//! revocations are kept, and every push is read back.

use std::collections::BTreeSet;
use std::time::Duration;

use nkeys::KeyPair;
use pact_bus::{Bus, CallError, ConnectionState};
use pact_identity::nats_jwt::{self, Account, AccountClaims, JwtError, Revocations};
use pact_identity::x509::Intermediate;
use pact_runtime::Clock;

/// Servers answer from memory; this is for a cluster that is just electing.
const LIMIT: Duration = Duration::from_secs(5);

/// Two instances that push at the same time overwrite each other; whoever finds its users missing pushes again.
const MAX_ATTEMPTS: u32 = 3;

/// Places in the list that users of revoked nodes alone may take: a whole site of diskless nodes that boots ends a user for each
/// node, which must not keep the one that was thrown out on the bus.
const KEPT_FOR_REVOKED: usize = 2_000;

const UPDATE: &str = "$SYS.REQ.CLAIMS.UPDATE";

/// Why users were not cut off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevokeError {
    #[error("the system account of the bus does not answer")]
    Call(#[from] CallError),
    #[error("the token of the account cannot be used")]
    Token(#[from] JwtError),
    #[error("the bus refuses the new token of the account: {answer}")]
    Refused { answer: String },
    #[error("the revocation was overwritten {MAX_ATTEMPTS} times")]
    Overwritten,
    #[error("the calendar of this machine is before 1970")]
    Calendar,
}

/// A bus user that is to be cut off. Those of revoked nodes come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ended {
    /// Why.
    pub(crate) because: Because,
    /// Its public key.
    pub(crate) key: String,
    /// When its token expires, in unix seconds.
    pub(crate) not_after: u64,
}

/// Why a bus user is cut off, the more urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Because {
    /// Its node is revoked.
    NodeRevoked,
    /// Its node has enrolled again.
    Replaced,
}

/// What became of users that were to be cut off.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// How many were not cut off before.
    pub(crate) count: usize,
    /// Those for which the list has no room.
    pub(crate) left_out: BTreeSet<Ended>,
}

/// Puts users on the list, after what has expired is taken off it.
fn add(revocations: &mut Revocations, users: &BTreeSet<Ended>, now: u64) -> Revoked {
    let lifetime = Intermediate::leaf_lifetime().as_secs();
    revocations.prune(now.saturating_sub(lifetime));
    let mut result = Revoked::default();
    for user in users {
        // A key that was cut off may have been given a token again since; and the clock of who gave it may be ahead of ours.
        let issued = user.not_after.saturating_sub(lifetime);
        let since = revocations.since(&user.key);
        if since.is_some_and(|since| since >= issued) {
            continue;
        }
        let limit = match user.because {
            Because::NodeRevoked => Revocations::LIMIT,
            Because::Replaced => Revocations::LIMIT - KEPT_FOR_REVOKED,
        };
        let has_room = since.is_some() || revocations.len() < limit;
        if has_room && revocations.revoke(&user.key, now.max(issued)).is_ok() {
            result.count += 1;
        } else {
            result.left_out.insert(user.clone());
        }
    }
    result
}

/// Cuts users of one account off.
pub(crate) struct Revoker {
    system: Bus,
    /// The account's public key.
    account: String,
    signing: KeyPair,
    clock: Clock,
}

impl Revoker {
    /// `system` is a connection of the system account's user.
    pub(crate) fn new(system: Bus, account: String, signing: KeyPair, clock: Clock) -> Self {
        Self { system, account, signing, clock }
    }

    /// The state of the connection to the system account.
    pub(crate) fn state(&self) -> ConnectionState {
        self.system.state()
    }

    /// Refuses the tokens of `users` that were issued until now, and closes their connections. Those that are cut off already are
    /// left as they are.
    pub(crate) async fn revoke(&self, users: &BTreeSet<Ended>) -> Result<Revoked, RevokeError> {
        let now =
            u64::try_from(self.clock.now().unix_seconds()).map_err(|_| RevokeError::Calendar)?;
        let mut pushed = 0;
        for _ in 0..MAX_ATTEMPTS {
            let mut claims = self.current().await?;
            let added = add(&mut claims.body.revocations, users, now);
            pushed = pushed.max(added.count);
            if added.count == 0 {
                return Ok(Revoked { count: pushed, ..added });
            }
            // A server keeps the newer of two tokens.
            claims.issued_at = now.max(claims.issued_at.saturating_add(1));
            self.push(&claims).await?;
        }
        Err(RevokeError::Overwritten)
    }

    async fn push(&self, claims: &AccountClaims) -> Result<(), RevokeError> {
        let token = nats_jwt::encode_account(claims, &self.signing)?;
        let answer = self.system.request_bytes(UPDATE, token.into_bytes().into(), LIMIT).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        if answer.pointer("/data/code") == Some(&serde_json::Value::from(200)) {
            return Ok(());
        }
        Err(RevokeError::Refused { answer: answer.to_string().chars().take(200).collect() })
    }

    /// The account's token as the servers have it.
    async fn current(&self) -> Result<AccountClaims, RevokeError> {
        let subject = format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP", self.account);
        let token = self.system.request_bytes(&subject, Vec::new().into(), LIMIT).await?;
        let token = String::from_utf8_lossy(&token);
        Ok(nats_jwt::decode::<Account>(token.trim(), &[&self.signing.public_key()])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn lifetime() -> u64 {
        Intermediate::leaf_lifetime().as_secs()
    }

    fn ended(because: Because, key: &str, issued: u64) -> Ended {
        Ended { because, key: key.to_owned(), not_after: issued + lifetime() }
    }

    #[test]
    fn a_key_that_was_given_a_token_again_is_cut_off_again() {
        let mut list = Revocations::default();
        let first = BTreeSet::from([ended(Because::Replaced, "A", NOW - 60)]);
        assert_eq!(add(&mut list, &first, NOW).count, 1);
        assert_eq!(add(&mut list, &first, NOW + 10).count, 0);
        let again = BTreeSet::from([ended(Because::NodeRevoked, "A", NOW + 20)]);
        assert_eq!(add(&mut list, &again, NOW + 15).count, 1);
        assert_eq!(list.since("A"), Some(NOW + 20), "whoever issued it was ahead of us");
    }

    #[test]
    fn the_list_is_bounded_pruned_and_keeps_room_for_revoked_nodes() {
        let mut list = Revocations::default();
        let replaced: BTreeSet<Ended> =
            (0..9_000).map(|n| ended(Because::Replaced, &format!("R{n}"), NOW - 60)).collect();
        let added = add(&mut list, &replaced, NOW);
        assert_eq!((added.count, added.left_out.len()), (6_000, 3_000));
        let revoked: BTreeSet<Ended> =
            (0..2_001).map(|n| ended(Because::NodeRevoked, &format!("X{n}"), NOW - 60)).collect();
        let added = add(&mut list, &revoked, NOW);
        assert_eq!((added.count, added.left_out.len()), (2_000, 1));
        assert_eq!(list.len(), Revocations::LIMIT);
        let later = NOW + lifetime() + 1;
        add(&mut list, &BTreeSet::from([ended(Because::Replaced, "Z", later)]), later);
        assert_eq!(list.len(), 1, "what has expired is gone");
    }
}
