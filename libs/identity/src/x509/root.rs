//! The site root and what it signs directly.

use std::time::Duration;

use pact_runtime::{Clock, Timestamp};
use pact_schemas::{MemberId, SiteName};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    DAY, Issued, PrivateKey, SecretPem, Template, X509Error, certificate_from_pem,
    document_signing, uri_name,
};
use crate::uri::{Holder, PactUri, SigningRole, uri_of_certificate};

/// 10 years.
const ROOT_DAYS: u32 = 3_652;

/// Peers and signers are renewed by hand, by running the bootstrap again: 1 year.
const SERVICE_DAYS: u32 = 365;

/// The root of the site: the key that can make everything else. Held by the bootstrap and by svc-enroll, nobody else.
#[derive(Debug)]
pub struct SiteRoot {
    site: SiteName,
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    not_after: Timestamp,
    clock: Clock,
}

impl SiteRoot {
    /// A new root for `site`.
    ///
    /// # Errors
    /// [`X509Error`] when the key or the certificate cannot be made.
    pub fn generate(site: &SiteName, clock: &Clock) -> Result<Self, X509Error> {
        let key = PrivateKey::generate_p256()?;
        let mut template =
            Template::new(clock, days(ROOT_DAYS))?.named(&format!("pact {site} root"));
        template.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        template.params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        template.params.use_authority_key_identifier_extension = false;
        template.params.subject_alt_names =
            vec![uri_name(&PactUri { site: site.clone(), holder: Holder::Site })?];
        let certificate = template.params.self_signed(key.pair()).map_err(X509Error::Issue)?;
        Self::load(&certificate.pem(), &key.to_pem(), clock)
    }

    /// A root that [`SiteRoot::generate`] made: `certificate_pem` is `ca.crt`, `key_pem` its PKCS#8 key.
    ///
    /// # Errors
    /// [`X509Error`] when either cannot be read, they do not belong together, or the certificate is no site root.
    pub fn load(
        certificate_pem: &str,
        key_pem: &SecretPem,
        clock: &Clock,
    ) -> Result<Self, X509Error> {
        let key = PrivateKey::from_pem(key_pem)?;
        let certificate = certificate_from_pem(certificate_pem)?;
        let not_root = X509Error::NotA { expected: "a site root made by pact" };
        let site = match uri_of_certificate(&certificate) {
            Ok(PactUri { site, holder: Holder::Site }) => site,
            _ => return Err(not_root),
        };
        let not_after = authority_end(&certificate, key.pair())?.ok_or(not_root)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key.0).map_err(X509Error::Issue)?;
        Ok(Self {
            site,
            certificate_pem: certificate_pem.to_owned(),
            certificate,
            issuer,
            not_after,
            clock: clock.clone(),
        })
    }

    /// The site that the root is for.
    #[must_use]
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// What `ca.crt` holds.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// DER of the root certificate.
    #[must_use]
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key, for a file of mode 0600.
    #[must_use]
    pub fn key_pem(&self) -> SecretPem {
        SecretPem::new(self.issuer.key().serialize_pem())
    }

    /// The root's end.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// A TLS server certificate with a new P-256 key for these host names and addresses (gateway, bus).
    ///
    /// # Errors
    /// [`X509Error`] when a name is none, there is none at all, or the root ends before.
    pub fn issue_server(&self, names: &[&str], lifetime_days: u32) -> Result<Issued, X509Error> {
        let first = names.first().ok_or(X509Error::NoNames)?;
        let mut template = Template::new(&self.clock, days(lifetime_days))?.named(first);
        template.params.subject_alt_names = host_names(names)?;
        template.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.finish_tls(template)
    }

    /// A certificate for both ends of Raft's mutual TLS: these names, and `pact://<site>/journal/<member>`.
    ///
    /// # Errors
    /// [`X509Error`] when a name is none, there is none at all, or the root ends before.
    pub fn issue_peer(&self, member: MemberId, names: &[&str]) -> Result<Issued, X509Error> {
        if names.is_empty() {
            return Err(X509Error::NoNames);
        }
        let mut template =
            Template::new(&self.clock, days(SERVICE_DAYS))?.named(&format!("journal {member}"));
        let uri = PactUri { site: self.site.clone(), holder: Holder::Peer(member) };
        template.params.subject_alt_names = host_names(names)?;
        template.params.subject_alt_names.push(uri_name(&uri)?);
        template.params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.finish_tls(template)
    }

    /// An Ed25519 signing certificate with a new key: `pact://<site>/<role>/<name>`, 1 year, of no use in TLS.
    ///
    /// # Errors
    /// [`X509Error`] when the root ends before.
    pub fn issue_signing(&self, role: &SigningRole) -> Result<Issued, X509Error> {
        let mut template = Template::new(&self.clock, days(SERVICE_DAYS))?.named(&role.to_string());
        let uri = PactUri { site: self.site.clone(), holder: Holder::Signing(role.clone()) };
        template.params.subject_alt_names = vec![uri_name(&uri)?];
        template.params.extended_key_usages = vec![document_signing()];
        self.finish(template, &PrivateKey::generate_ed25519()?)
    }

    fn finish_tls(&self, template: Template) -> Result<Issued, X509Error> {
        self.finish(template, &PrivateKey::generate_p256()?)
    }

    fn finish(&self, mut template: Template, key: &PrivateKey) -> Result<Issued, X509Error> {
        template.params.is_ca = IsCa::ExplicitNoCa;
        template.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.sign(template, key)
    }

    /// Signs for `key` whatever the template says; the intermediates use it too.
    pub(super) fn sign(&self, template: Template, key: &PrivateKey) -> Result<Issued, X509Error> {
        template.must_end_before(self.not_after)?;
        let certificate =
            template.params.signed_by(key.pair(), &self.issuer).map_err(X509Error::Issue)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().clone(),
            key_pem: key.to_pem(),
            serial: template.serial,
            not_after: template.not_after,
        })
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }
}

pub(super) fn days(count: u32) -> Duration {
    DAY.saturating_mul(count)
}

/// The end of a CA certificate that belongs to `key`; `None` when it is no CA.
pub(super) fn authority_end(
    certificate: &CertificateDer<'_>,
    key: &KeyPair,
) -> Result<Option<Timestamp>, X509Error> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| X509Error::CertificatePem)?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(X509Error::KeyMismatch);
    }
    let end = Timestamp::from_unix_seconds(parsed.validity().not_after.timestamp());
    Ok(end.filter(|_| parsed.is_ca()))
}

fn host_names(names: &[&str]) -> Result<Vec<rcgen::SanType>, X509Error> {
    let one = |name: &&str| {
        let unfit = |source| X509Error::Name { name: (*name).to_owned(), source };
        if name.is_empty() || !name.is_ascii() {
            return Err(unfit(rcgen::Error::InvalidNameType));
        }
        CertificateParams::new(vec![(*name).to_owned()])
            .map(|params| params.subject_alt_names)
            .map_err(unfit)
    };
    Ok(names.iter().map(one).collect::<Result<Vec<_>, _>>()?.concat())
}
