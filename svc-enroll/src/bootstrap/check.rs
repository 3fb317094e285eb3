//! Whether what is kept is what it should be.

use pact_identity::x509::SecretPem;
use pact_identity::{Signer, SigningRole};
use pact_runtime::Timestamp;
use pact_schemas::SiteName;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::BootstrapError;
use super::folder::Folder;

/// Certificate and key of a TLS server are readable and belong together.
pub(super) fn tls_pair(
    folder: &Folder,
    file: &str,
    certificate: &str,
    key: &SecretPem,
) -> Result<(), BootstrapError> {
    if belong_together(certificate, key) == Some(true) {
        return Ok(());
    }
    Err(BootstrapError::Unfit {
        file: folder.path(file),
        fault: "does not belong to the key beside it",
    })
}

fn belong_together(certificate: &str, key: &SecretPem) -> Option<bool> {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).ok()?;
    let pair = CertifiedKey::new(vec![certificate], any_supported_type(&key).ok()?);
    Some(pair.keys_match().is_ok())
}

/// A signing certificate names the expected signer of this site, and its key belongs to it.
pub(super) fn signing_pair(
    folder: &Folder,
    file: &str,
    certificate: &str,
    key: &SecretPem,
    site: &SiteName,
    role: &SigningRole,
) -> Result<(), BootstrapError> {
    let signer = Signer::from_pem(certificate, key)
        .map_err(|source| BootstrapError::Signing { file: folder.path(file), source })?;
    if signer.site() == site && signer.name() == role {
        return Ok(());
    }
    Err(BootstrapError::Unfit {
        file: folder.path(file),
        fault: "names another signer or another site",
    })
}

/// When the certificate in a PEM text ends.
pub(super) fn end_of_certificate(pem: &str) -> Option<Timestamp> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
    Timestamp::from_unix_seconds(parsed.validity().not_after.timestamp())
}
