//! The bus: operator, system account, account PACT, users of the services, and the configuration of nats-server.
//!
//! Keys come first, the tokens that name them second: a token can be signed again from its keys, a key that a token names
//! cannot be made again.

use pact_bus::server::{Authority, JetStream, ServerConfig, ServerTls};
use pact_identity::nats_jwt::{
    self, Account, AccountClaims, KeyPair, Operator, OperatorClaims, SigningKey, User, UserClaims,
    UserLimits,
};
use pact_identity::{ServiceInstance, ServiceRole};
use pact_runtime::Clock;

use super::folder::{Folder, Readers};
use super::{BootstrapArgs, BootstrapError};

/// Name of the account of nodes and services.
const ACCOUNT: &str = "PACT";

const OPERATOR: &str = "bus/operator";
const SYSTEM: &str = "bus/system";
const PACT: &str = "bus/pact";
pub(super) const SERVER_CONFIG: &str = "bus/nats-server.conf";

const KEY_REMEDY: &str = "it cannot be made again: tokens of the site name it";

/// The services that have one instance in a new site.
pub(super) fn single_services() -> Vec<ServiceInstance> {
    [ServiceRole::Enroll, ServiceRole::Approval, ServiceRole::Bridge]
        .into_iter()
        .filter_map(|role| ServiceInstance::new(role, "1").ok()) // "1" is a name
        .collect()
}

/// Makes or completes everything of the bus.
pub(super) fn make(
    folder: &mut Folder,
    arguments: &BootstrapArgs,
    clock: &Clock,
) -> Result<(), BootstrapError> {
    let now = u64::try_from(clock.now().unix_seconds()).unwrap_or(0);
    let keys = Keys::keep_or_make(folder)?;
    let tokens = keys.tokens(folder, arguments, now)?;
    for instance in users(arguments) {
        let rights = nats_jwt::service_user(&instance);
        creds(folder, &instance.to_string(), &keys.services, &keys.pact, rights, now)?;
    }
    for instance in single_services().iter().filter(|one| one.role == ServiceRole::Enroll) {
        let rights = nats_jwt::enroll_system_user(instance);
        creds(folder, "enroll-sys", &keys.system, &keys.system, rights, now)?;
    }
    server_config(folder, arguments, &keys, &tokens)
}

/// Every service instance of the site.
fn users(arguments: &BootstrapArgs) -> Vec<ServiceInstance> {
    let member = |id: String| ServiceInstance::new(ServiceRole::Journal, &id).ok(); // digits are a name
    let members = arguments.members.iter().filter_map(|one| member(one.id.to_string()));
    let gateways = arguments.gateways.iter().map(super::arguments::Gateway::service);
    members.chain(gateways).chain(single_services()).collect()
}

struct Keys {
    operator: KeyPair,
    operator_signing: KeyPair,
    system: KeyPair,
    pact: KeyPair,
    agents: KeyPair,
    services: KeyPair,
}

struct Tokens {
    operator: String,
    system: String,
    pact: String,
}

impl Keys {
    fn keep_or_make(folder: &mut Folder) -> Result<Self, BootstrapError> {
        Ok(Self {
            operator: key(folder, OPERATOR, "", KeyPair::new_operator)?,
            operator_signing: key(folder, OPERATOR, "-signing", KeyPair::new_operator)?,
            system: key(folder, SYSTEM, "", KeyPair::new_account)?,
            pact: key(folder, PACT, "", KeyPair::new_account)?,
            agents: key(folder, PACT, "-agents", KeyPair::new_account)?,
            services: key(folder, PACT, "-services", KeyPair::new_account)?,
        })
    }

    fn tokens(
        &self,
        folder: &mut Folder,
        arguments: &BootstrapArgs,
        now: u64,
    ) -> Result<Tokens, BootstrapError> {
        let site = arguments.site.as_str();
        let operator = token(folder, OPERATOR, || {
            nats_jwt::encode_operator(&self.operator_claims(site, now), &self.operator)
        })?;
        let system = token(folder, SYSTEM, || {
            let claims = nats_jwt::system_account_claims(&self.system.public_key(), now);
            nats_jwt::encode_account(&claims, &self.operator_signing)
        })?;
        let pact = token(folder, PACT, || {
            nats_jwt::encode_account(&self.pact_claims(now), &self.operator_signing)
        })?;
        let tokens = Tokens { operator, system, pact };
        self.check(folder, &tokens)?;
        Ok(tokens)
    }

    fn operator_claims(&self, site: &str, now: u64) -> OperatorClaims {
        nats_jwt::operator_claims(
            &format!("pact {site}"),
            &self.operator.public_key(),
            &self.system.public_key(),
            &self.operator_signing.public_key(),
            now,
        )
    }

    fn pact_claims(&self, now: u64) -> AccountClaims {
        let (account, agents) = (self.pact.public_key(), self.agents.public_key());
        let mut claims = nats_jwt::account_claims(ACCOUNT, &account, &agents, now);
        claims.body.signing_keys.push(SigningKey::Plain(self.services.public_key()));
        claims
    }

    /// Whether the tokens, kept or new, are about these keys.
    fn check(&self, folder: &Folder, tokens: &Tokens) -> Result<(), BootstrapError> {
        let (operator, signing) = (self.operator.public_key(), self.operator_signing.public_key());
        let issuers = [operator.as_str(), signing.as_str()];
        let refused = |stem: &str| {
            let file = folder.path(&format!("{stem}.jwt"));
            move |source| BootstrapError::Token { file, source }
        };
        let unfit = |stem: &str| BootstrapError::Unfit {
            file: folder.path(&format!("{stem}.jwt")),
            fault: "is not about the keys beside it",
        };
        let claims = nats_jwt::decode::<Operator>(&tokens.operator, &[&operator])
            .map_err(refused(OPERATOR))?;
        let names_keys = claims.body.system_account == self.system.public_key()
            && claims.body.signing_keys.contains(&signing);
        if claims.subject != operator || !names_keys {
            return Err(unfit(OPERATOR));
        }
        let claims =
            nats_jwt::decode::<Account>(&tokens.system, &issuers).map_err(refused(SYSTEM))?;
        if claims.subject != self.system.public_key() {
            return Err(unfit(SYSTEM));
        }
        let claims = nats_jwt::decode::<Account>(&tokens.pact, &issuers).map_err(refused(PACT))?;
        let (agents, services) = (self.agents.public_key(), self.services.public_key());
        let has = |wanted: &str| {
            claims.body.signing_keys.iter().any(|key| match key {
                SigningKey::Plain(key) => key == wanted && wanted == services,
                SigningKey::Scoped(scope) => scope.key == wanted && wanted == agents,
            })
        };
        if claims.subject != self.pact.public_key() || !has(&agents) || !has(&services) {
            return Err(unfit(PACT));
        }
        Ok(())
    }
}

/// Keeps or makes `<stem><suffix>.nk`, which `<stem>.jwt` names.
fn key(
    folder: &mut Folder,
    stem: &str,
    suffix: &str,
    make: fn() -> KeyPair,
) -> Result<KeyPair, BootstrapError> {
    let name = format!("{stem}{suffix}.nk");
    let file = folder.path(&name);
    let failed = |source| BootstrapError::Key { file: file.clone(), source };
    if let Some(seed) = folder.read_secret(&name)? {
        let pair = KeyPair::from_seed(seed.expose().trim()).map_err(failed)?;
        if pair.key_pair_type() != make().key_pair_type() {
            return Err(BootstrapError::Unfit { file, fault: "is a key of another kind" });
        }
        return Ok(pair);
    }
    let token = folder.path(&format!("{stem}.jwt"));
    if token.exists() {
        let remedy = KEY_REMEDY;
        return Err(BootstrapError::HalfMissing { missing: file, because_of: token, remedy });
    }
    let pair = make();
    let seed = pair.seed().map_err(failed)?;
    folder.write(&name, &format!("{seed}\n"), Readers::Owner)?;
    Ok(pair)
}

fn token(
    folder: &mut Folder,
    stem: &str,
    sign: impl FnOnce() -> Result<String, nats_jwt::JwtError>,
) -> Result<String, BootstrapError> {
    let name = format!("{stem}.jwt");
    if let Some(text) = folder.read(&name)? {
        return Ok(text.trim().to_owned());
    }
    let token =
        sign().map_err(|source| BootstrapError::Token { file: folder.path(&name), source })?;
    folder.write(&name, &format!("{token}\n"), Readers::All)?;
    Ok(token)
}

/// Keeps or makes the user `name` of `account`, signed by `signer`. Services' users do not expire: they are revoked.
fn creds(
    folder: &mut Folder,
    name: &str,
    signer: &KeyPair,
    account: &KeyPair,
    rights: UserLimits,
    now: u64,
) -> Result<(), BootstrapError> {
    let path = format!("creds/{name}.creds");
    let file = folder.path(&path);
    let refused = |source| BootstrapError::Token { file: file.clone(), source };
    if let Some(kept) = folder.read_secret(&path)? {
        let unfit = |fault| BootstrapError::Unfit { file: file.clone(), fault };
        let token = token_of(kept.expose()).ok_or_else(|| unfit("holds no user token"))?;
        let (signer, account) = (signer.public_key(), account.public_key());
        let claims = nats_jwt::decode::<User>(token, &[&signer, &account]).map_err(refused)?;
        if claims.name != name || claims.body.issuer_account() != account {
            return Err(unfit("is for another user"));
        }
        return Ok(());
    }
    let user = KeyPair::new_user();
    let claims = UserClaims {
        subject: user.public_key(),
        name: name.to_owned(),
        issued_at: now,
        expires_at: None,
        body: User::with_limits(&account.public_key(), rights),
    };
    let token = nats_jwt::encode_user(&claims, signer).map_err(refused)?;
    let seed = user.seed().map_err(|source| BootstrapError::Key { file: file.clone(), source })?;
    folder.write(&path, &nats_jwt::creds_file(&token, &seed), Readers::Owner)
}

/// The line after the mark in a credentials file.
fn token_of(creds: &str) -> Option<&str> {
    let mut lines = creds.lines().map(str::trim);
    lines.by_ref().find(|line| *line == "-----BEGIN NATS USER JWT-----")?;
    lines.find(|line| !line.is_empty())
}

fn server_config(
    folder: &mut Folder,
    arguments: &BootstrapArgs,
    keys: &Keys,
    tokens: &Tokens,
) -> Result<(), BootstrapError> {
    folder.make_folder("bus/resolver")?;
    folder.make_folder("bus/jetstream")?;
    let accounts = [
        (keys.system.public_key(), tokens.system.clone()),
        (keys.pact.public_key(), tokens.pact.clone()),
    ];
    let config = ServerConfig {
        server_name: format!("pact-{}", arguments.site),
        listen: arguments.bus_listen,
        tls: Some(ServerTls {
            cert_file: folder.path("tls/bus.crt"),
            key_file: folder.path("tls/bus.key"),
        }),
        authority: Authority {
            operator_jwt: tokens.operator.clone(),
            system_account: keys.system.public_key(),
            accounts: accounts.into_iter().collect(),
        },
        resolver_dir: folder.path("bus/resolver"),
        jetstream: Some(JetStream {
            store_dir: folder.path("bus/jetstream"),
            max_file_bytes: None,
        }),
        monitoring: None,
        log_file: None,
    };
    match folder.read(SERVER_CONFIG)? {
        Some(_) => Ok(()),
        None => folder.write(SERVER_CONFIG, &config.render(), Readers::All),
    }
}
