//! Signed statements: an Ed25519 signature under a certificate that the site root itself has issued.
//!
//! The signature covers `domain || payload`. Every kind of statement has a domain of its own that ends in a zero byte, so that no
//! statement can pass for one of another kind.
//!
//! Absences: a chain never goes through an intermediate; nothing here reads a clock; a certificate without the extended key
//! usage for documents, or for another site or role, verifies nothing.

use std::fmt;

use pact_runtime::Timestamp;
use pact_schemas::SiteName;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::uri::{Holder, PactUri, SignerName, SignerRole, uri_of_certificate};
use crate::x509::{Issued, PrivateKey, SecretPem, X509Error, certificate_from_pem};

/// What the signature covers before the payload.
pub mod domain {
    /// Grants: signed by journal members.
    pub const GRANT: &[u8] = b"pact.v1.grant\0";
    /// Attestations: signed by gateways and services.
    pub const ATTESTATION: &[u8] = b"pact.v1.attestation\0";
    /// Answers to time challenges: signed by journal members.
    pub const TIME: &[u8] = b"pact.v1.time\0";
    /// Configuration heads: signed by journal members.
    pub const CONFIG: &[u8] = b"pact.v1.config\0";
}

/// Largest payload that is signed or verified: what fits into one bus message.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// Largest certificate that is looked at; those of the site have about 500 bytes.
const MAX_CERTIFICATE_BYTES: usize = 4 * 1024;

/// id-kp-documentSigning in DER, without tag and length.
const DOCUMENT_SIGNING_DER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x24];

/// Most anchors in one file: during a rotation there are two.
const MAX_ANCHORS: usize = 8;

/// Why a signature is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The payload is too large.
    #[error("the signed payload has {bytes} bytes, the limit is {limit}", limit = MAX_PAYLOAD_BYTES)]
    PayloadTooLarge {
        /// Size in bytes.
        bytes: usize,
    },
    /// The certificate is too large to be one of the site.
    #[error("the signer's certificate has {bytes} bytes")]
    CertificateTooLarge {
        /// Size in bytes.
        bytes: usize,
    },
    /// The certificate cannot be read, is not issued by the site root itself, not for signing, or not valid at the time.
    #[error("the signer's certificate is not valid for this at {at}")]
    Certificate {
        /// The time for which it was checked.
        at: Timestamp,
        /// What webpki said.
        source: webpki::Error,
    },
    /// The certificate has no name of the scheme.
    #[error("the signer's certificate carries no pact name")]
    Unnamed(#[source] crate::uri::InvalidUri),
    /// The certificate belongs to another site.
    #[error("the signer belongs to the site {found}, not {expected}")]
    Site {
        /// As found.
        found: SiteName,
        /// The verifier's own.
        expected: SiteName,
    },
    /// The certificate's role may not make this statement.
    #[error("{found} may not sign this")]
    Role {
        /// Whom the certificate names.
        found: PactUri,
    },
    /// The signature does not belong to this payload, domain and key.
    #[error("the signature is wrong")]
    Signature(#[source] webpki::Error),
    /// A time before 1970.
    #[error("the time {at} is before 1970")]
    Time {
        /// The time.
        at: Timestamp,
    },
}

/// Why a signer or a verifier could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Key or certificate cannot be read or do not belong together.
    #[error("the signing certificate or its key cannot be used")]
    Certificate(#[from] X509Error),
    /// The key is not Ed25519.
    #[error("the signing key is not an Ed25519 key")]
    KeyKind,
    /// The certificate is not a signing certificate.
    #[error("the certificate is not a signing certificate of a pact site")]
    NotSigning,
    /// The file of anchors holds none, too many, or something else.
    #[error("the trust anchors cannot be used: 1 to {limit} site roots in PEM are expected", limit = MAX_ANCHORS)]
    Anchors,
    /// The anchors are of several sites.
    #[error("the trust anchors belong to several sites: {first} and {second}")]
    SeveralSites {
        /// Of the first anchor.
        first: SiteName,
        /// Of a later one.
        second: SiteName,
    },
}

/// A payload's signature, with the certificate that explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBlob {
    /// The bytes that were signed, without the domain.
    pub payload: Vec<u8>,
    /// Ed25519, 64 bytes.
    pub signature: Vec<u8>,
    /// DER.
    pub certificate: Vec<u8>,
}

/// The key that makes statements, with its certificate.
pub struct Signer {
    key: Ed25519KeyPair,
    certificate: CertificateDer<'static>,
    site: SiteName,
    name: SignerName,
    not_after: Timestamp,
}

impl Signer {
    /// From the PEM files that the bootstrap wrote.
    ///
    /// # Errors
    /// [`SetupError`] when they are no signing certificate with its key.
    pub fn from_pem(certificate_pem: &str, key_pem: &SecretPem) -> Result<Self, SetupError> {
        let key = PrivateKey::from_pem(key_pem)?;
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.to_der().secret_pkcs8_der())
            .map_err(|_| SetupError::KeyKind)?;
        let certificate = certificate_from_pem(certificate_pem)?;
        let PactUri { site, holder: Holder::Signing(name) } =
            uri_of_certificate(&certificate).map_err(|_| SetupError::NotSigning)?
        else {
            return Err(SetupError::NotSigning);
        };
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|_| SetupError::NotSigning)?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key().as_ref() {
            return Err(SetupError::Certificate(X509Error::KeyMismatch));
        }
        let ends = parsed.validity().not_after.timestamp();
        let not_after = Timestamp::from_unix_seconds(ends).ok_or(SetupError::NotSigning)?;
        Ok(Self { key, certificate, site, name, not_after })
    }

    /// From a certificate that was issued in this process.
    ///
    /// # Errors
    /// [`SetupError`] when it is no signing certificate.
    pub fn from_issued(issued: &Issued) -> Result<Self, SetupError> {
        Self::from_pem(&issued.certificate_pem, &issued.key_pem)
    }

    /// Signs `domain || payload`.
    #[must_use]
    pub fn sign(&self, domain: &'static [u8], payload: &[u8]) -> SignedBlob {
        SignedBlob {
            payload: payload.to_vec(),
            signature: self.key.sign(&[domain, payload].concat()).as_ref().to_vec(),
            certificate: self.certificate.to_vec(),
        }
    }

    /// The site that the certificate is for.
    #[must_use]
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// Whom the certificate names.
    #[must_use]
    pub fn name(&self) -> &SignerName {
        &self.name
    }

    /// The certificate's end, for the alarm before it.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("site", &self.site)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What signatures are checked against: the site's roots.
pub struct Verifier {
    site: SiteName,
    anchors: Vec<TrustAnchor<'static>>,
}

impl Verifier {
    /// From the content of `ca.crt`: one site root, or several of one site during a rotation.
    ///
    /// # Errors
    /// [`SetupError`] when there is none, or what is there is not a site root made by pact.
    pub fn from_pem(ca_pem: &str) -> Result<Self, SetupError> {
        let mut site: Option<SiteName> = None;
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|_| SetupError::Anchors)?;
            let Ok(PactUri { site: found, holder: Holder::Site }) =
                uri_of_certificate(&certificate)
            else {
                return Err(SetupError::Anchors);
            };
            match &site {
                Some(first) if *first != found => {
                    return Err(SetupError::SeveralSites { first: first.clone(), second: found });
                }
                _ => site = Some(found),
            }
            anchors.push(
                anchor_from_trusted_cert(&certificate).map_err(|_| SetupError::Anchors)?.to_owned(),
            );
        }
        match site {
            Some(site) if anchors.len() <= MAX_ANCHORS => Ok(Self { site, anchors }),
            _ => Err(SetupError::Anchors),
        }
    }

    /// The site whose signatures are believed.
    #[must_use]
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// Checks that a holder of one of `roles` at this site signed `domain || payload`, with a certificate that is valid at `now`
    /// and issued by a site root itself.
    ///
    /// # Errors
    /// [`SignatureError`] saying what is wrong.
    pub fn verify(
        &self,
        roles: &[SignerRole],
        domain: &'static [u8],
        payload: &[u8],
        signature: &[u8],
        certificate_der: &[u8],
        now: Timestamp,
    ) -> Result<SignerName, SignatureError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(SignatureError::PayloadTooLarge { bytes: payload.len() });
        }
        if certificate_der.len() > MAX_CERTIFICATE_BYTES {
            return Err(SignatureError::CertificateTooLarge { bytes: certificate_der.len() });
        }
        let seconds =
            u64::try_from(now.unix_seconds()).map_err(|_| SignatureError::Time { at: now })?;
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let certificate = CertificateDer::from(certificate_der);
        let invalid = |source| SignatureError::Certificate { at: now, source };
        let holder = EndEntityCert::try_from(&certificate).map_err(invalid)?;
        holder
            .verify_for_usage(
                &[webpki::ring::ECDSA_P256_SHA256],
                &self.anchors,
                &[], // never through an intermediate: svc-enroll must not be able to make a signer
                time,
                KeyUsage::required(DOCUMENT_SIGNING_DER),
                None,
                None,
            )
            .map_err(invalid)?;
        let uri = uri_of_certificate(certificate_der).map_err(SignatureError::Unnamed)?;
        if uri.site != self.site {
            return Err(SignatureError::Site { found: uri.site, expected: self.site.clone() });
        }
        let name = match &uri.holder {
            Holder::Signing(name) if roles.contains(&name.role()) => name.clone(),
            _ => return Err(SignatureError::Role { found: uri }),
        };
        holder
            .verify_signature(webpki::ring::ED25519, &[domain, payload].concat(), signature)
            .map_err(SignatureError::Signature)?;
        Ok(name)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("site", &self.site)
            .field("anchors", &self.anchors.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pact_runtime::Clock;

    use super::*;
    use crate::instance::InstanceName;
    use crate::uri::SigningRole;
    use crate::x509::SiteRoot;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
    const GRANT: &[SignerRole] = &[SignerRole::Grant];

    fn clock() -> Clock {
        Clock::manual(NOW).0
    }

    fn root(site: &str) -> SiteRoot {
        SiteRoot::generate(&site.parse().unwrap(), &clock()).unwrap()
    }

    fn member(root: &SiteRoot) -> Signer {
        Signer::from_issued(&root.issue_signing(&SigningRole::Grant("1".parse().unwrap())).unwrap())
            .unwrap()
    }

    fn verify(
        verifier: &Verifier,
        blob: &SignedBlob,
        at: Timestamp,
    ) -> Result<SignerName, SignatureError> {
        verifier.verify(GRANT, domain::GRANT, &blob.payload, &blob.signature, &blob.certificate, at)
    }

    #[test]
    fn a_members_signature_is_believed_and_every_changed_byte_refused() {
        let root = root("alps");
        let verifier = Verifier::from_pem(root.certificate_pem()).unwrap();
        let blob = member(&root).sign(domain::GRANT, b"run it");
        assert_eq!(verify(&verifier, &blob, NOW).unwrap().to_string(), "grant/1");
        for part in 0..3 {
            let length = [blob.payload.len(), blob.signature.len(), blob.certificate.len()][part];
            for at in 0..length {
                let mut changed = blob.clone();
                [&mut changed.payload, &mut changed.signature, &mut changed.certificate][part]
                    [at] ^= 1;
                assert!(verify(&verifier, &changed, NOW).is_err(), "part {part}, byte {at}");
            }
        }
    }

    #[test]
    fn another_domain_role_site_or_time_is_refused() {
        let alps = root("alps");
        let verifier = Verifier::from_pem(alps.certificate_pem()).unwrap();
        let blob = member(&alps).sign(domain::TIME, b"x");
        assert!(matches!(verify(&verifier, &blob, NOW), Err(SignatureError::Signature(_))));

        let name = InstanceName::new("mgmt-1").unwrap();
        let gateway =
            Signer::from_issued(&alps.issue_signing(&SigningRole::Gateway(name)).unwrap()).unwrap();
        assert!(matches!(
            verify(&verifier, &gateway.sign(domain::GRANT, b"x"), NOW),
            Err(SignatureError::Role { .. })
        ));

        let twin = member(&root("alps")).sign(domain::GRANT, b"x");
        assert!(matches!(verify(&verifier, &twin, NOW), Err(SignatureError::Certificate { .. })));

        let blob = member(&alps).sign(domain::GRANT, b"x");
        for (at, valid) in [(364_i32, true), (366, false), (-1, false)] {
            let day = Duration::from_secs(86_400);
            let time = if at < 0 {
                NOW.checked_sub(day)
            } else {
                NOW.checked_add(day * at.unsigned_abs())
            }
            .unwrap();
            assert_eq!(verify(&verifier, &blob, time).is_ok(), valid, "day {at}");
        }
    }

    #[test]
    fn tls_certificates_sign_nothing() {
        let root = root("alps");
        let peer = root.issue_peer("1".parse().unwrap(), &["journal-1"]).unwrap();
        assert!(matches!(Signer::from_issued(&peer), Err(SetupError::KeyKind)));
        let verifier = Verifier::from_pem(root.certificate_pem()).unwrap();
        let mut blob = member(&root).sign(domain::GRANT, b"x");
        blob.certificate = peer.certificate_der.to_vec();
        assert!(matches!(verify(&verifier, &blob, NOW), Err(SignatureError::Certificate { .. })));
    }

    #[test]
    fn anchors_of_two_sites_or_none_are_refused() {
        let (alps, jura) = (root("alps"), root("jura"));
        let both = format!("{}{}", alps.certificate_pem(), jura.certificate_pem());
        assert!(matches!(Verifier::from_pem(&both), Err(SetupError::SeveralSites { .. })));
        assert!(matches!(Verifier::from_pem(""), Err(SetupError::Anchors)));
        let server = alps.issue_server(&["localhost"], 1).unwrap();
        assert!(matches!(Verifier::from_pem(&server.certificate_pem), Err(SetupError::Anchors)));
        let old_and_new = format!("{}{}", alps.certificate_pem(), root("alps").certificate_pem());
        let blob = member(&alps).sign(domain::GRANT, b"x");
        assert!(verify(&Verifier::from_pem(&old_and_new).unwrap(), &blob, NOW).is_ok());
    }
}
