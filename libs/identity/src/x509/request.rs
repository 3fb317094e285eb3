//! Certificate requests (PKCS#10): made by agents, and stripped down to their public key by the CA.

use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;

use super::{PrivateKey, RequestFault, X509Error};

/// Longest request that is looked at. One with an empty subject and a P-256 key has about 250 bytes.
pub const MAX_CSR_BYTES: usize = 8 * 1024;

/// A request for `key`, in DER. It names nothing: the CA would not look at it.
///
/// # Errors
/// [`X509Error::Issue`] when signing fails.
pub fn make_csr(key: &PrivateKey) -> Result<Vec<u8>, X509Error> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = params.serialize_request(key.pair()).map_err(X509Error::Issue)?;
    Ok(request.der().to_vec())
}

/// The public key of a request that its own key has signed. Everything else in it is dropped: rcgen's own path from a request to
/// a certificate would copy foreign names and key usages (decisions §7).
pub(super) fn public_key_of(csr_der: &[u8]) -> Result<rcgen::SubjectPublicKeyInfo, X509Error> {
    let refused = |reason| X509Error::Request { reason };
    if csr_der.len() > MAX_CSR_BYTES {
        return Err(refused(RequestFault::TooLong));
    }
    let (rest, request) =
        X509CertificationRequest::from_der(csr_der).map_err(|_| refused(RequestFault::Form))?;
    if !rest.is_empty() {
        return Err(refused(RequestFault::Form));
    }
    let key = &request.certification_request_info.subject_pki;
    if key.subject_public_key.unused_bits != 0 || request.signature_value.unused_bits != 0 {
        return Err(refused(RequestFault::Form));
    }
    let signed_with = &request.signature_algorithm.algorithm;
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let algorithm: &'static dyn VerificationAlgorithm = if key.algorithm.algorithm
        == OID_KEY_TYPE_EC_PUBLIC_KEY
        && curve == Some(OID_EC_P256)
        && *signed_with == OID_SIG_ECDSA_WITH_SHA256
    {
        &ECDSA_P256_SHA256_ASN1
    } else if key.algorithm.algorithm == OID_SIG_ED25519
        && curve.is_none()
        && *signed_with == OID_SIG_ED25519
    {
        &ED25519
    } else {
        return Err(refused(RequestFault::KeyKind));
    };
    UnparsedPublicKey::new(algorithm, &key.subject_public_key.data)
        .verify(request.certification_request_info.raw, &request.signature_value.data)
        .map_err(|_| refused(RequestFault::Signature))?;
    rcgen::SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| refused(RequestFault::KeyKind))
}
