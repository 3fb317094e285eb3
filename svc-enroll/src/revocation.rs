//! Cutting bus users off: the account's token is signed again with the users on its list and pushed to the servers, which close
//! their connections at once (decisions §1).
//!
//! The token that the servers have is the only list there is: it is read before each change, so that another instance's
//! revocations are kept, and every push is read back.

use std::time::Duration;

use nkeys::KeyPair;
use pact_bus::{Bus, CallError, ConnectionState};
use pact_identity::nats_jwt::{self, Account, AccountClaims, JwtError, RevocationError};
use pact_identity::x509::Intermediate;
use pact_runtime::Clock;

/// Servers answer from memory; this is for a cluster that is just electing.
const LIMIT: Duration = Duration::from_secs(5);

/// Two instances that push at the same time overwrite each other; whoever finds its users missing pushes again.
const MAX_ATTEMPTS: u32 = 3;

const UPDATE: &str = "$SYS.REQ.CLAIMS.UPDATE";

/// Why users were not cut off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevokeError {
    #[error("the system account of the bus does not answer")]
    Call(#[from] CallError),
    #[error("the token of the account cannot be used")]
    Token(#[from] JwtError),
    #[error("the list of revocations has no room")]
    Full(#[from] RevocationError),
    #[error("the bus refuses the new token of the account: {answer}")]
    Refused { answer: String },
    #[error("the revocation was overwritten {MAX_ATTEMPTS} times")]
    Overwritten,
    #[error("the calendar of this machine is before 1970")]
    Calendar,
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

    /// Refuses the tokens of `users` (public keys) that were issued until now, and closes their connections. Those that are cut
    /// off already are left as they are. Returns how many were not.
    pub(crate) async fn revoke(&self, users: &[String]) -> Result<usize, RevokeError> {
        let now =
            u64::try_from(self.clock.now().unix_seconds()).map_err(|_| RevokeError::Calendar)?;
        let mut pushed = 0;
        for _ in 0..MAX_ATTEMPTS {
            let mut claims = self.current().await?;
            let revocations = &mut claims.body.revocations;
            let missing: Vec<&String> =
                users.iter().filter(|user| revocations.since(user).is_none()).collect();
            if missing.is_empty() {
                return Ok(pushed);
            }
            pushed = pushed.max(missing.len());
            revocations.prune(now.saturating_sub(Intermediate::leaf_lifetime().as_secs()));
            for user in missing {
                revocations.revoke(user, now)?;
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
