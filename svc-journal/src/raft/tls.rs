//! Mutual TLS between members: TLS 1.3, both ends under the site root, each named by `pact://<site>/journal/<member>`.
//!
//! Host names do not matter: a certificate is believed for the member that it names, wherever it is reached.

use std::collections::BTreeSet;
use std::sync::Arc;

use pact_identity::{Holder, PactUri, uri_of_certificate};
use pact_journal_core::record::sha256;
use pact_schemas::{MemberId, SiteName};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// gRPC's protocol.
const ALPN_H2: &[u8] = b"h2";

/// Certificate, key and anchor of a member, in PEM. `Debug` shows no key.
#[derive(Clone)]
pub struct PeerTls {
    /// The member's certificate, issued by the site root.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: String,
    /// The site root.
    pub ca_pem: String,
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerTls(elided)")
    }
}

/// Why TLS between members cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text does not hold what it must.
    #[error("{what} cannot be read")]
    Pem {
        /// Certificate, key or anchor.
        what: &'static str,
    },
    /// The certificate is another's.
    #[error("the peer certificate names {found}, this member is {expected}")]
    Name {
        /// In the certificate.
        found: String,
        /// As configured.
        expected: String,
    },
    /// rustls refuses.
    #[error("TLS between members cannot be set up")]
    Rustls(#[from] rustls::Error),
    /// The verifier of peers' certificates refuses the anchor.
    #[error("the site root is not accepted as a trust anchor")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Both ends' configuration.
pub(crate) struct PeerConfigs {
    pub(crate) site: SiteName,
    pub(crate) server: Arc<ServerConfig>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn peer_name(site: &SiteName, member: MemberId) -> PactUri {
    PactUri { site: site.clone(), holder: Holder::Peer(member) }
}

impl PeerConfigs {
    pub(crate) fn new(tls: &PeerTls, site: &SiteName, own: MemberId) -> Result<Self, TlsError> {
        let pem = |what| move |_| TlsError::Pem { what };
        let chain = CertificateDer::pem_slice_iter(tls.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(pem("the peer certificate"))?;
        let leaf = chain.first().ok_or(TlsError::Pem { what: "the peer certificate" })?;
        let expected = peer_name(site, own);
        let found =
            uri_of_certificate(leaf).map_or_else(|_| "nobody".to_owned(), |uri| uri.to_string());
        if found != expected.to_string() {
            return Err(TlsError::Name { found, expected: expected.to_string() });
        }
        let key =
            PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes()).map_err(pem("the peer key"))?;
        let mut roots = RootCertStore::empty();
        for anchor in CertificateDer::pem_slice_iter(tls.ca_pem.as_bytes()) {
            roots.add(anchor.map_err(pem("the site root"))?)?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())?;
        server.alpn_protocols = vec![ALPN_H2.to_vec()];
        Ok(Self { site: site.clone(), server: Arc::new(server), roots, provider, chain, key })
    }

    /// Which site roots the member trusts: SHA-256 of their public keys, in hexadecimal.
    pub(crate) fn root_keys(&self) -> BTreeSet<String> {
        let keys = self.roots.roots.iter().map(|root| sha256(&[&root.subject_public_key_info]));
        keys.map(|key| key.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
    }

    /// How this member calls another one, and makes sure that it is the one.
    pub(crate) fn client(&self, target: MemberId) -> Result<Arc<ClientConfig>, TlsError> {
        let verifier = PeerVerifier {
            roots: Arc::clone(&self.roots),
            provider: Arc::clone(&self.provider),
            expected: peer_name(&self.site, target),
        };
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        client.alpn_protocols = vec![ALPN_H2.to_vec()];
        Ok(Arc::new(client))
    }

    /// The member that a verified client certificate names; `None` for everybody else under the site root.
    pub(crate) fn member_of(&self, certificates: &[CertificateDer<'_>]) -> Option<MemberId> {
        let uri = uri_of_certificate(certificates.first()?).ok()?;
        match uri.holder {
            Holder::Peer(member) if uri.site == self.site => Some(member),
            _ => None,
        }
    }
}

/// Believes the certificate of one member: chained to the site root, for servers, and with exactly that member's name.
#[derive(Debug)]
struct PeerVerifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    expected: PactUri,
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        match uri_of_certificate(end_entity) {
            Ok(found) if found == self.expected => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken between members".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
