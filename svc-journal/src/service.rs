//! The service: a member of the journal, on the bus.

use std::path::Path;
use std::time::Duration;

use pact_bus::Bus;
use pact_identity::x509::SecretPem;
use pact_identity::{GrantIssuer, Signer, SigningRole, Verifier};
use pact_runtime::{Check, Context as Runtime, Service, read_secret_file};
use tokio::sync::watch;

use crate::announcements;
use crate::config::{Config, SCHEMA};
use crate::context::Context;
use crate::error::BuildError;
use crate::handlers;
use crate::raft::clocks::ClockFault;
use crate::raft::member::{Member, MemberConfig};
use crate::raft::tls::PeerTls;
use crate::store::private;

/// What the binary is.
pub static SERVICE: Service = Service {
    name: "pact-journal",
    version: env!("CARGO_PKG_VERSION"),
    schema: &SCHEMA,
    metrics_listen: Some("journal.metrics_listen"),
    // openraft repeats itself five times a second for each member that is away; the journal says it once.
    log_filter: "info,openraft=off",
    grace: Duration::from_secs(30),
    worker_threads: None,
};

/// Opens the stores, joins the other members, goes on the bus; the service then runs until it is told to stop.
///
/// # Errors
/// [`BuildError`] for what no retry can mend.
pub async fn build(config: Config, runtime: Runtime) -> Result<(), BuildError> {
    private::close_umask();
    let settings = &config.settings;
    let ca_pem = read("journal.tls.ca", &settings.tls.ca)?;
    let verifier = Verifier::from_pem(&ca_pem);
    let verifier =
        verifier.map_err(|source| BuildError::Certificate { key: "journal.tls.ca", source })?;
    if *verifier.site() != config.site {
        return Err(BuildError::other_site("journal.tls.ca", verifier.site(), &config.site));
    }
    let issuer = issuer(&config)?;
    let tls = PeerTls {
        certificate_pem: read("journal.tls.cert", &settings.tls.cert)?,
        key_pem: read_secret("journal.tls.key", &settings.tls.key)?,
        ca_pem,
    };
    let member_config = MemberConfig {
        site: config.site.clone(),
        members: config.members.clone(),
        data_dir: settings.data_dir.clone(),
        listen: settings.raft.listen,
        snapshot_interval: settings.raft.snapshot_interval,
        tls,
    };
    let member =
        Box::pin(Member::start(member_config, runtime.clock.clone(), &runtime.supervisor)).await?;
    let unless_served = member.halt_on_drop();
    let leader = runtime.readiness.check("leader");
    let watched = member.clone();
    runtime.supervisor.spawn_owned("leader", |stop| async move {
        tokio::select! {
            () = stop.cancelled() => {} // cancel-safe
            () = watch_leader(watched, leader) => {} // only reads; never ends while the member lives
        }
        Ok::<(), std::convert::Infallible>(())
    });
    let clock = runtime.readiness.check("clock");
    let verdicts = member.clocks().verdict();
    runtime.supervisor.spawn_owned("clock", |stop| async move {
        tokio::select! {
            () = stop.cancelled() => {} // cancel-safe
            () = watch_clock(verdicts, clock) => {} // only reads; never ends while the member lives
        }
        Ok::<(), std::convert::Infallible>(())
    });
    let context = Context::new(member, verifier, issuer, runtime.clock.clone());
    serve(&config, &runtime, context).await?;
    unless_served.disarm();
    Ok(())
}

fn issuer(config: &Config) -> Result<GrantIssuer, BuildError> {
    let grant = &config.settings.grant;
    let certificate = read("journal.grant.cert", &grant.cert)?;
    let key = SecretPem::new(read_secret("journal.grant.key", &grant.key)?);
    let signer = Signer::from_pem(&certificate, &key);
    let signer =
        signer.map_err(|source| BuildError::Certificate { key: "journal.grant.cert", source })?;
    if *signer.site() != config.site {
        return Err(BuildError::other_site("journal.grant.cert", signer.site(), &config.site));
    }
    let expected = SigningRole::Grant(config.members.own());
    if *signer.name() != expected {
        let found = signer.name().to_string();
        return Err(BuildError::Other {
            key: "journal.grant.cert",
            found,
            expected: expected.to_string(),
        });
    }
    Ok(GrantIssuer::new(signer)?)
}

fn read(key: &'static str, path: &Path) -> Result<String, BuildError> {
    std::fs::read_to_string(path).map_err(|source| BuildError::File {
        key,
        path: path.to_owned(),
        source,
    })
}

fn read_secret(key: &'static str, path: &Path) -> Result<String, BuildError> {
    read_secret_file(path).map_err(|source| BuildError::Secret { key, source })
}

async fn serve(config: &Config, runtime: &Runtime, context: Context) -> Result<(), BuildError> {
    let name = format!("journal-{}", config.members.own());
    let settings = &config.settings.bus;
    let bus = Bus::connect(
        settings.config(&name, format!("_INBOX_s.{name}")),
        runtime.clock.clone(),
        Some(runtime.readiness.check("bus")),
    )
    .await?;
    let (announcing, hints) = (context.member().clone(), bus.clone());
    runtime.supervisor.spawn_owned("announcements", |stop| async move {
        announcements::run(announcing, hints, stop).await;
        Ok::<(), std::convert::Infallible>(())
    });
    let member = context.member().clone();
    let votes = runtime.readiness.check("member");
    runtime.supervisor.spawn_owned("bus", |stop| async move {
        votes.set_not_ready("this member is not a voter of the journal yet");
        let served = tokio::select! {
            () = stop.cancelled() => Ok(()), // cancel-safe
            // Only reads. Whoever has not caught up would answer what the others know better, and slower.
            () = member.votes() => bus.serve(handlers::service(&context, &name)).await,
        };
        if served.is_ok() && !stop.is_cancelled() {
            votes.set_ready();
            stop.cancelled().await;
        }
        // First no new requests, then the answers to those that were taken, then Raft.
        bus.drain().await;
        member.halt();
        served
    });
    Ok(())
}

/// Ready while the journal can commit, as far as this member knows.
async fn watch_leader(member: Member, check: Check) {
    let mut metrics = member.raft().metrics();
    loop {
        match metrics.borrow_and_update().current_leader {
            Some(_) => check.set_ready(),
            None => check.set_not_ready("no leader is known"),
        }
        if metrics.changed().await.is_err() {
            // Raft has ended, which is seen where it is guarded.
            std::future::pending::<()>().await;
        }
    }
}

/// Ready while this member's clock is to be believed.
async fn watch_clock(mut verdicts: watch::Receiver<Result<(), ClockFault>>, check: Check) {
    loop {
        match *verdicts.borrow_and_update() {
            Ok(()) => check.set_ready(),
            Err(fault) => check.set_not_ready(fault.to_string()),
        }
        if verdicts.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        std::fs::write(&path, "secret").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = read_secret("journal.tls.key", &path).unwrap_err();
        assert!(matches!(&error, BuildError::Secret { key: "journal.tls.key", .. }), "{error}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_secret("journal.tls.key", &path).unwrap(), "secret");
    }
}
