//! The site root, and the certificates that it signs for services.

use pact_identity::SigningRole;
use pact_identity::x509::{Issued, SecretPem, SiteRoot, X509Error};
use pact_runtime::Clock;
use pact_schemas::SiteName;

use super::arguments::Host;
use super::check;
use super::folder::{Folder, Readers};
use super::{BootstrapArgs, BootstrapError};

/// Server certificates are renewed by hand, by moving the pair away and running the bootstrap again: 1 year.
const SERVER_DAYS: u32 = 365;

const ROOT_CERTIFICATE: &str = "ca.crt";
const ROOT_KEY: &str = "root.key";

/// Key and certificate of a new root, until both have their own file: a root must never be made twice.
const ROOT_PENDING: &str = ".root.pending";

const CERTIFICATE_MARK: &str = "-----BEGIN CERTIFICATE-----";

const ROOT_REMEDY: &str = "it cannot be made again: everything of the site hangs on it";
const KEY_REMEDY: &str =
    "or move the key away, so that a new key and certificate are made together";

/// The root of the site: kept, completed, or made.
pub(super) fn root(
    folder: &mut Folder,
    site: &SiteName,
    clock: &Clock,
) -> Result<SiteRoot, BootstrapError> {
    let certificate = folder.read(ROOT_CERTIFICATE)?;
    let key = folder.read_secret(ROOT_KEY)?;
    let load = |folder: &Folder, certificate: &str, key: &SecretPem| {
        let loaded = SiteRoot::load(certificate, key, clock)
            .map_err(|source| failed(folder, ROOT_CERTIFICATE, source))?;
        if loaded.site() == site {
            return Ok(loaded);
        }
        Err(unfit(folder, ROOT_CERTIFICATE, "is the root of another site"))
    };
    if let Some(pending) = folder.read_secret(ROOT_PENDING)? {
        let (key_pem, certificate_pem) = halves(&pending)
            .ok_or_else(|| unfit(folder, ROOT_PENDING, "is not a key and a certificate"))?;
        let root = load(folder, certificate.as_ref().unwrap_or(&certificate_pem), &key_pem)?;
        if key.is_none() {
            folder.write(ROOT_KEY, key_pem.expose(), Readers::Owner)?;
        }
        if certificate.is_none() {
            folder.write(ROOT_CERTIFICATE, &certificate_pem, Readers::All)?;
        }
        folder.remove(ROOT_PENDING)?;
        return Ok(root);
    }
    match (certificate, key) {
        (Some(certificate), Some(key)) => load(folder, &certificate, &key),
        (Some(_), None) => Err(half(folder, ROOT_KEY, ROOT_CERTIFICATE, ROOT_REMEDY)),
        (None, Some(_)) => Err(half(folder, ROOT_CERTIFICATE, ROOT_KEY, ROOT_REMEDY)),
        (None, None) => match ["tls", "signing"].iter().find(|name| folder.has_files_in(name)) {
            Some(name) => Err(half(folder, ROOT_KEY, name, ROOT_REMEDY)),
            None => new_root(folder, site, clock),
        },
    }
}

fn new_root(
    folder: &mut Folder,
    site: &SiteName,
    clock: &Clock,
) -> Result<SiteRoot, BootstrapError> {
    let root = SiteRoot::generate(site, clock)
        .map_err(|source| failed(folder, ROOT_CERTIFICATE, source))?;
    let key = root.key_pem();
    let both = SecretPem::new(format!("{}{}", key.expose(), root.certificate_pem()));
    folder.write(ROOT_PENDING, both.expose(), Readers::Owner)?;
    folder.write(ROOT_KEY, key.expose(), Readers::Owner)?;
    folder.write(ROOT_CERTIFICATE, root.certificate_pem(), Readers::All)?;
    folder.remove(ROOT_PENDING)?;
    Ok(root)
}

fn halves(pending: &SecretPem) -> Option<(SecretPem, String)> {
    let text = pending.expose();
    let (key, certificate) = text.split_at(text.find(CERTIFICATE_MARK)?);
    Some((SecretPem::new(key.to_owned()), certificate.to_owned()))
}

/// The TLS and signing certificates of all services.
pub(super) fn services(
    folder: &mut Folder,
    root: &SiteRoot,
    arguments: &BootstrapArgs,
) -> Result<(), BootstrapError> {
    let server = |hosts: &[Host]| root.issue_server(&names(hosts), SERVER_DAYS);
    tls(folder, "bus", || server(&arguments.bus_hosts))?;
    for gateway in &arguments.gateways {
        tls(folder, &gateway.name(), || server(&gateway.hosts))?;
        let role = SigningRole::Gateway(gateway.instance.clone());
        signing(folder, root, &gateway.name(), &role)?;
    }
    for member in &arguments.members {
        let name = format!("journal-{}", member.id);
        tls(folder, &name, || root.issue_peer(member.id, &[member.host.as_str()]))?;
        let role = SigningRole::Grant(member.id);
        signing(folder, root, &format!("grant-{}", member.id), &role)?;
    }
    for service in super::bus::single_services() {
        let name = service.name.clone();
        let role = match service.role {
            pact_identity::ServiceRole::Enroll => SigningRole::Enroll(name),
            pact_identity::ServiceRole::Approval => SigningRole::Approval(name),
            pact_identity::ServiceRole::Bridge => SigningRole::Bridge(name),
            pact_identity::ServiceRole::Gateway | pact_identity::ServiceRole::Journal => continue,
        };
        signing(folder, root, &service.to_string(), &role)?;
    }
    Ok(())
}

fn names(hosts: &[Host]) -> Vec<&str> {
    hosts.iter().map(Host::as_str).collect()
}

fn tls(
    folder: &mut Folder,
    name: &str,
    issue: impl FnOnce() -> Result<Issued, X509Error>,
) -> Result<(), BootstrapError> {
    pair(folder, &format!("tls/{name}"), issue, check::tls_pair)
}

fn signing(
    folder: &mut Folder,
    root: &SiteRoot,
    name: &str,
    role: &SigningRole,
) -> Result<(), BootstrapError> {
    let check = |folder: &Folder, file: &str, certificate: &str, key: &SecretPem| {
        check::signing_pair(folder, file, certificate, key, root.site(), role)
    };
    pair(folder, &format!("signing/{name}"), || root.issue_signing(role), check)
}

/// Keeps or makes `<stem>.crt` and `<stem>.key`. The certificate is written first: without its key it is of no use to anybody,
/// so a run that was cut off between the two starts this pair again.
fn pair(
    folder: &mut Folder,
    stem: &str,
    issue: impl FnOnce() -> Result<Issued, X509Error>,
    check: impl FnOnce(&Folder, &str, &str, &SecretPem) -> Result<(), BootstrapError>,
) -> Result<(), BootstrapError> {
    let (certificate_file, key_file) = (format!("{stem}.crt"), format!("{stem}.key"));
    match (folder.read(&certificate_file)?, folder.read_secret(&key_file)?) {
        (Some(certificate), Some(key)) => check(folder, &certificate_file, &certificate, &key),
        (None, Some(_)) => Err(half(folder, &certificate_file, &key_file, KEY_REMEDY)),
        (certificate, None) => {
            let issued = issue().map_err(|source| failed(folder, &certificate_file, source))?;
            match certificate {
                Some(_) => folder.replace_public(&certificate_file, &issued.certificate_pem)?,
                None => folder.write(&certificate_file, &issued.certificate_pem, Readers::All)?,
            }
            folder.write(&key_file, issued.key_pem.expose(), Readers::Owner)
        }
    }
}

fn failed(folder: &Folder, file: &str, source: X509Error) -> BootstrapError {
    BootstrapError::Certificate { file: folder.path(file), source }
}

fn unfit(folder: &Folder, file: &str, fault: &'static str) -> BootstrapError {
    BootstrapError::Unfit { file: folder.path(file), fault }
}

fn half(folder: &Folder, missing: &str, because_of: &str, remedy: &'static str) -> BootstrapError {
    BootstrapError::HalfMissing {
        missing: folder.path(missing),
        because_of: folder.path(because_of),
        remedy,
    }
}
