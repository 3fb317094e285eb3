//! The site's certificates: root, intermediates, servers, peers, signers, node leaves (decisions §7).
//!
//! The root (P-256, 10 years) is the only trust anchor. It signs servers and Raft peers, the Ed25519 signing certificates of
//! services, and short-lived intermediates, which sign nothing but node leaves.
//!
//! Absences: of a certificate request nothing but the public key is used; no private key appears in `Debug`; a signing
//! certificate is good for no TLS connection and a TLS certificate for no signature (different extended key usage).

mod intermediate;
mod request;
mod root;

use std::fmt;
use std::time::Duration;

use pact_runtime::{Clock, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

pub use intermediate::{Intermediate, Leaf};
pub use request::{MAX_CSR_BYTES, make_csr};
pub use root::SiteRoot;

/// Extended key usage of signing certificates: id-kp-documentSigning (RFC 9336). It keeps them out of TLS.
pub(crate) const DOCUMENT_SIGNING: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 36];

/// Certificates are valid from this long before they are made, for verifiers whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(300);

const DAY: Duration = Duration::from_secs(86_400);

/// Why a certificate was not issued or a key not read.
#[derive(Debug, thiserror::Error)]
pub enum X509Error {
    /// The private key is not PKCS#8 PEM of a supported kind.
    #[error("the private key cannot be read: PKCS#8 in PEM, P-256 or Ed25519, is expected")]
    Key(#[source] rcgen::Error),
    /// No certificate could be read from the PEM text.
    #[error("the certificate cannot be read: one certificate in PEM is expected")]
    CertificatePem,
    /// Certificate and key do not belong together.
    #[error("the certificate and the private key do not belong together")]
    KeyMismatch,
    /// The certificate is not what it must be here.
    #[error("the certificate is not {expected}")]
    NotA {
        /// What was expected.
        expected: &'static str,
    },
    /// A name that cannot stand in a certificate.
    #[error("{name:?} cannot be a name of a certificate")]
    Name {
        /// As given.
        name: String,
        /// What the library said.
        source: rcgen::Error,
    },
    /// A server certificate without names would be valid for nothing.
    #[error("a server certificate needs at least one host name or address")]
    NoNames,
    /// The issuer ends before the new certificate would.
    #[error("the issuer's certificate ends {issuer_ends}, before the new one would ({wanted})")]
    IssuerEndsFirst {
        /// End of the issuer.
        issuer_ends: Timestamp,
        /// End that was asked for.
        wanted: Timestamp,
    },
    /// The intermediate no longer signs: less than four days are left.
    #[error("the intermediate ends {ends} and signs no more: a new one is needed")]
    IntermediateEnding {
        /// Its end.
        ends: Timestamp,
    },
    /// The certificate request is refused.
    #[error("the certificate request is refused: {reason}")]
    Request {
        /// What is wrong with it.
        reason: RequestFault,
    },
    /// A time outside what certificates can say.
    #[error("the time {time} cannot stand in a certificate")]
    Time {
        /// The time.
        time: Timestamp,
    },
    /// The library refused to make the certificate or key.
    #[error("the certificate could not be made")]
    Issue(#[source] rcgen::Error),
}

/// What is wrong with a certificate request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// Longer than [`MAX_CSR_BYTES`].
    #[error("it is too long")]
    TooLong,
    /// Not PKCS#10 in DER, or followed by other bytes.
    #[error("it is not PKCS#10 in DER")]
    Form,
    /// Neither P-256 nor Ed25519.
    #[error("its key is neither P-256 nor Ed25519")]
    KeyKind,
    /// Not signed by its own key.
    #[error("its signature is not made by its key")]
    Signature,
}

/// A private key or another secret in PEM. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretPem(String);

impl SecretPem {
    /// Takes a text that was read from a file.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for writing it to a file of mode 0600 and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretPem(elided)")
    }
}

/// A key pair that certificates are made for or requested with.
pub struct PrivateKey(KeyPair);

impl PrivateKey {
    /// A new P-256 key.
    ///
    /// # Errors
    /// [`X509Error::Issue`] when the system gives no randomness.
    pub fn generate_p256() -> Result<Self, X509Error> {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map(Self).map_err(X509Error::Issue)
    }

    /// A new Ed25519 key.
    ///
    /// # Errors
    /// [`X509Error::Issue`] when the system gives no randomness.
    pub fn generate_ed25519() -> Result<Self, X509Error> {
        KeyPair::generate_for(&rcgen::PKCS_ED25519).map(Self).map_err(X509Error::Issue)
    }

    /// Reads PKCS#8 PEM.
    ///
    /// # Errors
    /// [`X509Error::Key`].
    pub fn from_pem(pem: &SecretPem) -> Result<Self, X509Error> {
        KeyPair::from_pem(pem.expose()).map(Self).map_err(X509Error::Key)
    }

    /// PKCS#8 PEM.
    #[must_use]
    pub fn to_pem(&self) -> SecretPem {
        SecretPem(self.0.serialize_pem())
    }

    /// PKCS#8 DER, for TLS stacks and signers.
    #[must_use]
    pub fn to_der(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der())
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(elided)")
    }
}

/// A certificate with its new key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// PEM of the certificate; the issuer is not included, it is the anchor.
    pub certificate_pem: String,
    /// DER of the certificate.
    pub certificate_der: CertificateDer<'static>,
    /// PKCS#8 PEM of the key.
    pub key_pem: SecretPem,
    /// Serial number in lower-case hex.
    pub serial: String,
    /// Its end.
    pub not_after: Timestamp,
}

/// The parts that every certificate here shares: random 128-bit serial, validity from a little before now.
struct Template {
    params: CertificateParams,
    serial: String,
    not_after: Timestamp,
}

impl Template {
    fn new(clock: &Clock, lifetime: Duration) -> Result<Self, X509Error> {
        let now = clock.now();
        let unrepresentable = X509Error::Time { time: now };
        let (Some(not_before), Some(not_after)) =
            (now.checked_sub(BACKDATED), now.checked_add(lifetime))
        else {
            return Err(unrepresentable);
        };
        let mut serial: [u8; 16] = clock.random_bytes();
        if let Some(first) = serial.first_mut() {
            *first &= 0x7f; // positive, so that the encoding stays at 16 bytes
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = date(not_before)?;
        params.not_after = date(not_after)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.use_authority_key_identifier_extension = true;
        let serial = data_encoding::HEXLOWER.encode(&serial);
        // Certificates carry whole seconds.
        let not_after =
            Timestamp::from_unix_seconds(not_after.unix_seconds()).ok_or(unrepresentable)?;
        Ok(Self { params, serial, not_after })
    }

    /// Sets the subject's common name; longer than 64 characters would not be valid and is cut.
    fn named(mut self, common_name: &str) -> Self {
        let name: String = common_name.chars().take(64).collect();
        self.params.distinguished_name.push(DnType::CommonName, name);
        self
    }

    fn must_end_before(&self, issuer_ends: Timestamp) -> Result<(), X509Error> {
        if self.not_after > issuer_ends {
            return Err(X509Error::IssuerEndsFirst { issuer_ends, wanted: self.not_after });
        }
        Ok(())
    }
}

fn date(time: Timestamp) -> Result<OffsetDateTime, X509Error> {
    OffsetDateTime::from_unix_timestamp(time.unix_seconds()).map_err(|_| X509Error::Time { time })
}

fn uri_name(uri: &crate::uri::PactUri) -> Result<rcgen::SanType, X509Error> {
    let name = uri.to_string();
    let text = name
        .as_str()
        .try_into()
        .map_err(|source| X509Error::Name { name: name.clone(), source })?;
    Ok(rcgen::SanType::URI(text))
}

fn document_signing() -> ExtendedKeyUsagePurpose {
    ExtendedKeyUsagePurpose::Other(DOCUMENT_SIGNING.to_vec())
}

/// The one certificate in a PEM text.
pub(crate) fn certificate_from_pem(pem: &str) -> Result<CertificateDer<'static>, X509Error> {
    let mut found = CertificateDer::pem_slice_iter(pem.as_bytes());
    match (found.next(), found.next()) {
        (Some(Ok(certificate)), None) => Ok(certificate),
        _ => Err(X509Error::CertificatePem),
    }
}
