//! TLS to the bus: version 1.3, and no anchor but the site's own CA.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::BusError;

/// A client configuration that believes the certificates in `ca` and nothing else.
///
/// async-nats reads the machine's certificate store even when it is given this configuration, but does not use it.
pub(crate) fn client_config(ca: &Path) -> Result<ClientConfig, BusError> {
    let failed = |source| BusError::Ca { path: ca.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| failed(error.into()))? {
        let certificate = certificate.map_err(|error| failed(error.into()))?;
        roots.add(certificate).map_err(|error| failed(error.into()))?;
    }
    if roots.is_empty() {
        return Err(failed("the file holds no certificate".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(BusError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
