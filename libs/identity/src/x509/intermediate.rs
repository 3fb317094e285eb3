//! The short-lived authority of svc-enroll: signs node leaves and nothing else.

use std::time::Duration;

use pact_runtime::{Clock, Timestamp};
use pact_schemas::{NodeId, SiteName};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;

use super::request::public_key_of;
use super::root::{authority_end, days};
use super::{PrivateKey, SecretPem, SiteRoot, Template, X509Error, certificate_from_pem, uri_name};
use crate::uri::{Holder, PactUri};

/// Lifetime of an intermediate that svc-enroll makes at each start.
const ONLINE_DAYS: u32 = 14;

/// Lifetime of one that is signed ahead because the root is kept offline.
const PRESIGNED_DAYS: u32 = 90;

/// Lifetime of a node's certificate; its bus user lives as long.
const LEAF_DAYS: u32 = 3;

/// With less than this left, an intermediate signs no more: it must outlive every leaf with a margin of a day.
const SIGNING_STOPS_DAYS: u32 = 4;

/// An authority for node leaves: pathLen 0, client authentication only.
#[derive(Debug)]
pub struct Intermediate {
    site: SiteName,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    not_after: Timestamp,
    clock: Clock,
}

/// A node's certificate.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// PEM of the leaf followed by the intermediate, as a TLS client presents it.
    pub chain_pem: String,
    /// DER of the leaf alone.
    pub certificate_der: CertificateDer<'static>,
    /// Serial number in lower-case hex.
    pub serial: String,
    /// Its end.
    pub not_after: Timestamp,
}

impl Intermediate {
    /// A new intermediate under `root`, 14 days, its key in memory only.
    ///
    /// # Errors
    /// [`X509Error`] when it cannot be made.
    pub fn generate(root: &SiteRoot) -> Result<Self, X509Error> {
        Self::generate_for_days(root, ONLINE_DAYS)
    }

    /// A new intermediate for a site whose root goes offline afterwards, 90 days; its key goes to a file of mode 0600.
    ///
    /// # Errors
    /// [`X509Error`] when it cannot be made.
    pub fn presign(root: &SiteRoot) -> Result<Self, X509Error> {
        Self::generate_for_days(root, PRESIGNED_DAYS)
    }

    fn generate_for_days(root: &SiteRoot, lifetime_days: u32) -> Result<Self, X509Error> {
        let key = PrivateKey::generate_p256()?;
        let template = Template::new(root.clock(), days(lifetime_days))?;
        // Every intermediate has a name of its own, or paths would be built over the wrong one.
        let name = format!("pact intermediate {}", template.serial);
        let mut template = template.named(&name);
        template.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        template.params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        template.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let issued = root.sign(template, &key)?;
        Self::assemble(root.site().clone(), issued.certificate_pem, key, root.clock())
    }

    /// An intermediate that [`Intermediate::presign`] made.
    ///
    /// # Errors
    /// [`X509Error`] when certificate or key cannot be read or do not belong together.
    pub fn load(
        site: &SiteName,
        certificate_pem: &str,
        key_pem: &SecretPem,
        clock: &Clock,
    ) -> Result<Self, X509Error> {
        Self::assemble(
            site.clone(),
            certificate_pem.to_owned(),
            PrivateKey::from_pem(key_pem)?,
            clock,
        )
    }

    fn assemble(
        site: SiteName,
        certificate_pem: String,
        key: PrivateKey,
        clock: &Clock,
    ) -> Result<Self, X509Error> {
        let certificate = certificate_from_pem(&certificate_pem)?;
        let not_after = authority_end(&certificate, key.pair())?
            .ok_or(X509Error::NotA { expected: "an intermediate authority" })?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key.0).map_err(X509Error::Issue)?;
        Ok(Self { site, certificate_pem, issuer, not_after, clock: clock.clone() })
    }

    /// PEM of the certificate.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The key, for a file of mode 0600; only a presigned intermediate's key is ever written.
    #[must_use]
    pub fn key_pem(&self) -> SecretPem {
        SecretPem::new(self.issuer.key().serialize_pem())
    }

    /// Its end.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Until when it signs; a new one is needed before.
    #[must_use]
    pub fn signs_until(&self) -> Timestamp {
        self.not_after.checked_sub(days(SIGNING_STOPS_DAYS)).unwrap_or(self.not_after)
    }

    /// How long a leaf lives.
    #[must_use]
    pub fn leaf_lifetime() -> Duration {
        days(LEAF_DAYS)
    }

    /// A leaf for `node`. From the request (PKCS#10 in DER) only the public key is taken, after its self-signature is checked.
    ///
    /// # Errors
    /// [`X509Error::Request`] for a bad request, [`X509Error::IntermediateEnding`] with less than four days left.
    pub fn issue_leaf(&self, node: &NodeId, csr_der: &[u8]) -> Result<Leaf, X509Error> {
        if self.clock.now() > self.signs_until() {
            return Err(X509Error::IntermediateEnding { ends: self.not_after });
        }
        let public_key = public_key_of(csr_der)?;
        let mut template = Template::new(&self.clock, Self::leaf_lifetime())?.named(node.as_str());
        template.must_end_before(self.not_after)?;
        let uri = PactUri { site: self.site.clone(), holder: Holder::Node(node.clone()) };
        template.params.is_ca = IsCa::ExplicitNoCa;
        template.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        template.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        template.params.subject_alt_names = vec![uri_name(&uri)?];
        let certificate =
            template.params.signed_by(&public_key, &self.issuer).map_err(X509Error::Issue)?;
        Ok(Leaf {
            chain_pem: format!("{}{}", certificate.pem(), self.certificate_pem),
            certificate_der: certificate.der().clone(),
            serial: template.serial,
            not_after: template.not_after,
        })
    }
}
