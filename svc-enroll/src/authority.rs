//! What a node gets: a certificate and a bus user, for one node and one lifetime.
//!
//! The intermediate that signs leaves lives in memory only, is made at start and made anew before it stops signing. The bus user
//! is signed with the scoped key, which cannot give more than the agent's rights (decisions §1).
//!
//! Absences: no name is taken from a request, only a public key; nothing is signed for a name that is no [`NodeId`] (a bus user
//! called `*` would be everybody); no key is written or shown.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nkeys::{KeyPair, KeyPairType};
use pact_identity::nats_jwt::{self, Account, AccountClaims, JwtError, SigningKey};
use pact_identity::signing::SetupError;
use pact_identity::x509::{Intermediate, SecretPem, SiteRoot, X509Error};
use pact_identity::{ServiceInstance, ServiceRole, Signer, SigningRole};
use pact_runtime::{Clock, SecretFileError, Timestamp, read_secret_file};
use pact_schemas::{ErrorCode, NodeId, v1};

use crate::config::Settings;

/// A new intermediate is made this long before the old one stops signing, so that no request meets one that has.
const RENEWED_AHEAD: Duration = Duration::from_secs(86_400);

/// Why the service's keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A secret is missing, or others can read it.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No nkey seed of the right kind.
    #[error("{} is not the seed of {expected} key", path.display())]
    Seed {
        /// The file.
        path: PathBuf,
        /// The kind.
        expected: &'static str,
    },
    /// The root cannot sign.
    #[error("cannot use the site root in {}", path.display())]
    Root {
        /// The certificate.
        path: PathBuf,
        /// Why.
        #[source]
        source: X509Error,
    },
    /// The account's token is not believed.
    #[error("cannot use the account token in {}", path.display())]
    Account {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: JwtError,
    },
    /// The scoped key is not one of the account.
    #[error("the account in {} does not know the key for nodes as a scoped key", path.display())]
    NotScoped {
        /// The account's token.
        path: PathBuf,
    },
    /// The signing certificate cannot be used.
    #[error("cannot use the signing certificate in {}", path.display())]
    Signing {
        /// The certificate.
        path: PathBuf,
        /// Why.
        #[source]
        source: SetupError,
    },
    /// Keys of different sites or instances.
    #[error("{} is for {found}, the configuration is for {expected}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Whom it names.
        found: String,
        /// Whom it should name.
        expected: String,
    },
    /// `enroll.name` is no instance of svc-enroll.
    #[error(
        "enroll.name is {name:?}; enroll-<instance> is expected, as the bootstrap names its files"
    )]
    Name {
        /// As configured.
        name: String,
    },
}

/// Issues certificates and bus users.
pub(crate) struct Authority {
    root: SiteRoot,
    intermediate: Mutex<Arc<Intermediate>>,
    account: String,
    agents: KeyPair,
    clock: Clock,
}

/// A node's new credentials.
pub(crate) struct Issued {
    pub(crate) certificate_chain: String,
    pub(crate) serial: String,
    pub(crate) not_after: Timestamp,
    pub(crate) bus_jwt: String,
}

/// Why credentials are not issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error("the certificate is not issued")]
    Certificate(#[source] X509Error),
    #[error("the bus user is not signed")]
    BusUser(#[source] JwtError),
    #[error("the calendar of this machine is before 1970")]
    Calendar,
}

impl From<IssueError> for v1::Error {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Certificate(source @ X509Error::Request { .. }) => {
                ErrorCode::InvalidArgument.error(source.to_string())
            }
            IssueError::BusUser(source @ JwtError::SubjectKind { .. }) => {
                ErrorCode::InvalidArgument.error(source.to_string())
            }
            other => {
                tracing::error!(
                    error = &other as &dyn std::error::Error,
                    "no credentials can be issued"
                );
                ErrorCode::Internal
                    .error("no credentials can be issued")
                    .because(other.to_string())
                    .next("see the log of pact-enroll")
            }
        }
    }
}

impl Authority {
    /// Issues for `node`. From `csr` (PKCS#10, DER) only the public key is taken; `bus_user` is a public user nkey.
    pub(crate) fn issue(
        &self,
        node: &NodeId,
        csr: &[u8],
        bus_user: &str,
    ) -> Result<Issued, IssueError> {
        let now =
            u64::try_from(self.clock.now().unix_seconds()).map_err(|_| IssueError::Calendar)?;
        let intermediate = self.intermediate().map_err(IssueError::Certificate)?;
        let leaf = intermediate.issue_leaf(node, csr).map_err(IssueError::Certificate)?;
        let expires =
            u64::try_from(leaf.not_after.unix_seconds()).map_err(|_| IssueError::Calendar)?;
        let claims = nats_jwt::agent_user(node, bus_user, &self.account, now, expires);
        let bus_jwt = nats_jwt::encode_user(&claims, &self.agents).map_err(IssueError::BusUser)?;
        Ok(Issued {
            certificate_chain: leaf.chain_pem,
            serial: leaf.serial,
            not_after: leaf.not_after,
            bus_jwt,
        })
    }

    /// The intermediate that signs now.
    fn intermediate(&self) -> Result<Arc<Intermediate>, X509Error> {
        let mut current = self.intermediate.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = self.clock.now().checked_add(RENEWED_AHEAD);
        if soon.is_none_or(|soon| soon > current.signs_until()) {
            *current = Arc::new(Intermediate::generate(&self.root)?);
            tracing::info!(ends = %current.not_after(), "a new intermediate certificate signs");
        }
        Ok(Arc::clone(&current))
    }

    /// Until when the site root is valid.
    pub(crate) fn root_ends(&self) -> Timestamp {
        self.root.not_after()
    }
}

/// Everything secret that the service works with.
pub(crate) struct Keys {
    pub(crate) instance: ServiceInstance,
    pub(crate) authority: Authority,
    pub(crate) signer: Signer,
    /// The account as the bootstrap made it; its public key is what matters.
    pub(crate) account: AccountClaims,
    pub(crate) operator_signing: KeyPair,
}

impl Keys {
    /// Reads and checks all keys.
    pub(crate) fn load(settings: &Settings, clock: &Clock) -> Result<Self, KeyError> {
        let instance = instance(&settings.name)?;
        let root = load_root(settings, clock)?;
        let signer = load_signer(settings, &instance)?;
        let agents = load_seed(&settings.nats.agents_key, KeyPairType::Account, "an account")?;
        let operator_signing =
            load_seed(&settings.nats.operator_signing_key, KeyPairType::Operator, "an operator")?;
        let path = &settings.nats.account_jwt;
        let account: AccountClaims =
            nats_jwt::decode::<Account>(read(path)?.trim(), &[&operator_signing.public_key()])
                .map_err(|source| KeyError::Account { path: path.clone(), source })?;
        let scoped = agents.public_key();
        let is_scoped =
            |key: &SigningKey| matches!(key, SigningKey::Scoped(scope) if scope.key == scoped);
        if !account.body.signing_keys.iter().any(is_scoped) {
            return Err(KeyError::NotScoped { path: path.clone() });
        }
        let intermediate = Intermediate::generate(&root)
            .map_err(|source| KeyError::Root { path: settings.ca.root_cert.clone(), source })?;
        let authority = Authority {
            root,
            intermediate: Mutex::new(Arc::new(intermediate)),
            account: account.subject.clone(),
            agents,
            clock: clock.clone(),
        };
        Ok(Self { instance, authority, signer, account, operator_signing })
    }
}

fn instance(name: &str) -> Result<ServiceInstance, KeyError> {
    let prefix = format!("{}-", ServiceRole::Enroll);
    name.strip_prefix(&prefix)
        .and_then(|rest| ServiceInstance::new(ServiceRole::Enroll, rest).ok())
        .ok_or_else(|| KeyError::Name { name: name.to_owned() })
}

fn load_root(settings: &Settings, clock: &Clock) -> Result<SiteRoot, KeyError> {
    let path = &settings.ca.root_cert;
    let root = SiteRoot::load(&read(path)?, &read_secret(&settings.ca.root_key)?, clock)
        .map_err(|source| KeyError::Root { path: path.clone(), source })?;
    expect(path, root.site(), &settings.site)?;
    Ok(root)
}

fn load_signer(settings: &Settings, instance: &ServiceInstance) -> Result<Signer, KeyError> {
    let path = &settings.signing.cert;
    let signer = Signer::from_pem(&read(path)?, &read_secret(&settings.signing.key)?)
        .map_err(|source| KeyError::Signing { path: path.clone(), source })?;
    expect(path, signer.site(), &settings.site)?;
    expect(path, signer.name(), &SigningRole::Enroll(instance.name.clone()))?;
    Ok(signer)
}

fn expect<T: PartialEq + std::fmt::Display>(
    path: &Path,
    found: &T,
    expected: &T,
) -> Result<(), KeyError> {
    if found == expected {
        return Ok(());
    }
    Err(KeyError::Other {
        path: path.to_owned(),
        found: found.to_string(),
        expected: expected.to_string(),
    })
}

fn load_seed(path: &Path, kind: KeyPairType, expected: &'static str) -> Result<KeyPair, KeyError> {
    let seed = read_secret(path)?;
    match KeyPair::from_seed(seed.expose().trim()) {
        Ok(pair) if pair.key_pair_type() == kind => Ok(pair),
        _ => Err(KeyError::Seed { path: path.to_owned(), expected }),
    }
}

fn read(path: &Path) -> Result<String, KeyError> {
    fs::read_to_string(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })
}

fn read_secret(path: &Path) -> Result<SecretPem, KeyError> {
    Ok(SecretPem::new(read_secret_file(path)?))
}

#[cfg(test)]
mod tests {
    use pact_identity::x509::{PrivateKey, make_csr};

    use super::*;

    const START: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn leaves_are_issued_for_months_by_intermediates_that_outlive_them() {
        let (clock, hand) = Clock::manual(START);
        let root = SiteRoot::generate(&"alps".parse().unwrap(), &clock).unwrap();
        let first = Arc::new(Intermediate::generate(&root).unwrap());
        let authority = Authority {
            root,
            intermediate: Mutex::new(Arc::clone(&first)),
            account: KeyPair::new_account().public_key(),
            agents: KeyPair::new_account(),
            clock: clock.clone(),
        };
        let csr = make_csr(&PrivateKey::generate_p256().unwrap()).unwrap();
        let (node, user) = ("n1".parse().unwrap(), KeyPair::new_user().public_key());
        for day in 0..60 {
            let issued = authority.issue(&node, &csr, &user).unwrap();
            let claims: nats_jwt::UserClaims =
                nats_jwt::decode(&issued.bus_jwt, &[&authority.agents.public_key()]).unwrap();
            let end = u64::try_from(issued.not_after.unix_seconds()).unwrap();
            assert_eq!((claims.name.as_str(), claims.expires_at), ("n1", Some(end)), "day {day}");
            assert_eq!(issued.not_after.duration_since(clock.now()), Some(3 * DAY));
            assert_eq!(issued.certificate_chain.contains(first.certificate_pem()), day <= 9);
            hand.advance(DAY);
        }
    }

    #[test]
    fn a_key_of_another_kind_gets_nothing() {
        let (clock, _hand) = Clock::manual(START);
        let root = SiteRoot::generate(&"alps".parse().unwrap(), &clock).unwrap();
        let authority = Authority {
            intermediate: Mutex::new(Arc::new(Intermediate::generate(&root).unwrap())),
            root,
            account: KeyPair::new_account().public_key(),
            agents: KeyPair::new_account(),
            clock,
        };
        let csr = make_csr(&PrivateKey::generate_p256().unwrap()).unwrap();
        let node = "n1".parse().unwrap();
        let account = KeyPair::new_account().public_key();
        let error = authority.issue(&node, &csr, &account).err().unwrap();
        assert_eq!(v1::Error::from(error).known_code(), ErrorCode::InvalidArgument);
        let user = KeyPair::new_user().public_key();
        let error = authority.issue(&node, &csr[1..], &user).err().unwrap();
        assert_eq!(v1::Error::from(error).known_code(), ErrorCode::InvalidArgument);
    }
}
