//! An OCSP responder for one certificate.
//!
//! Drivers of the 3.x line refuse a certificate that names no responder, and others check when one is named. The
//! issuer itself answers, for its one leaf, on the pod's loopback (RFC 6960).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use x509_cert::der::asn1::{
    Any, BitString, GeneralizedTime, Ia5String, ObjectIdentifier, OctetString,
};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AccessDescription, AuthorityInfoAccessSyntax};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse,
    OcspResponseStatus, ResponderId, ResponseData, SingleResponse, Version,
};

/// `id-ad-ocsp`, RFC 5280 4.2.2.1.
const ID_AD_OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
/// `sha256WithRSAEncryption`, RFC 4055 5; its parameters are NULL.
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
/// `id-pkix-ocsp-nonce`, RFC 8954.
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
/// How long an answer holds; the responder lives as long as the certificate, so it can be short.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// Clocks may differ by this much.
const BACKDATED: Duration = Duration::from_secs(3600);
/// A request about more certificates than this is not from a TLS client.
const MAX_QUESTIONS: usize = 8;
/// No request is longer; a larger one is refused before it is read.
pub(crate) const MAX_REQUEST_BYTES: usize = 4096;

/// The content of a leaf's Authority Information Access extension.
pub(crate) fn authority_information_access(url: &str) -> Result<Vec<u8>, x509_cert::der::Error> {
    AuthorityInfoAccessSyntax(vec![AccessDescription {
        access_method: ID_AD_OCSP,
        access_location: GeneralName::UniformResourceIdentifier(Ia5String::new(url)?),
    }])
    .to_der()
}

/// Answers for one leaf, signed by its issuer.
#[derive(Clone)]
pub(crate) struct Responder(Arc<Signer>);

struct Signer {
    key: RsaKeyPair,
    /// SHA-1 over the issuer's public key: how responses name who answers.
    key_hash: OctetString,
    serial: Vec<u8>,
}

/// The issuer's key cannot sign.
#[derive(Debug, thiserror::Error)]
#[error("the OCSP responder has no key: {0}")]
pub(crate) struct NoKey(String);

impl Responder {
    /// For the leaf with this serial number.
    pub(crate) fn new(issuer: &KeyPair, serial: &[u8]) -> Result<Self, NoKey> {
        let key = RsaKeyPair::from_pkcs8(&issuer.serialize_der())
            .map_err(|error| NoKey(error.to_string()))?;
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, issuer.public_key_raw());
        let key_hash = OctetString::new(hash.as_ref()).map_err(|error| NoKey(error.to_string()))?;
        Ok(Self(Arc::new(Signer { key, key_hash, serial: serial.to_vec() })))
    }

    /// The response to a request in DER; what is no request gets the response that says so.
    pub(crate) fn answer(&self, request: &[u8], now: SystemTime) -> Vec<u8> {
        let response = match OcspRequest::from_der(request) {
            Ok(request) if request.tbs_request.request_list.len() <= MAX_QUESTIONS => self
                .respond(&request, now)
                .unwrap_or_else(|_| without_answer(OcspResponseStatus::InternalError)),
            _ => without_answer(OcspResponseStatus::MalformedRequest),
        };
        // The fallback is `internalError`: SEQUENCE { ENUMERATED 2 }.
        response.to_der().unwrap_or_else(|_| vec![0x30, 3, 0x0a, 1, 2])
    }

    /// The response to the GET form, whose path is the request in base64, percent-encoded or not.
    pub(crate) fn answer_path(&self, path: &str, now: SystemTime) -> Vec<u8> {
        let encoded = path.trim_start_matches('/').replace("%2B", "+").replace("%2b", "+");
        let encoded =
            encoded.replace("%2F", "/").replace("%2f", "/").replace("%3D", "=").replace("%3d", "=");
        self.answer(&STANDARD.decode(encoded).unwrap_or_default(), now)
    }

    #[cfg(test)]
    pub(super) fn serial_for_tests(&self) -> &[u8] {
        &self.0.serial
    }

    fn respond(
        &self,
        request: &OcspRequest,
        now: SystemTime,
    ) -> Result<OcspResponse, RespondError> {
        let responses = request
            .tbs_request
            .request_list
            .iter()
            .map(|question| self.status(&question.req_cert, now))
            .collect::<Result<_, _>>()?;
        let nonce = request.tbs_request.request_extensions.as_ref().map(|extensions| {
            extensions
                .iter()
                .filter(|extension| extension.extn_id == NONCE)
                .cloned()
                .collect::<Vec<_>>()
        });
        let answer = ResponseData {
            version: Version::V1,
            responder_id: ResponderId::ByKey(self.0.key_hash.clone()),
            produced_at: at(now)?,
            responses,
            response_extensions: nonce.filter(|extensions| !extensions.is_empty()),
        };
        let mut signature = vec![0; self.0.key.public_modulus_len()];
        let (padding, random) = (&RSA_PKCS1_SHA256, SystemRandom::new());
        self.0.key.sign(padding, &random, &answer.to_der()?, &mut signature)?;
        Ok(OcspResponse::successful(BasicOcspResponse {
            tbs_response_data: answer,
            signature_algorithm: AlgorithmIdentifierOwned {
                oid: SHA256_WITH_RSA,
                parameters: Some(Any::null()),
            },
            signature: BitString::from_bytes(&signature)?,
            certs: None,
        })?)
    }

    fn status(&self, asked: &CertId, now: SystemTime) -> Result<SingleResponse, RespondError> {
        let known = asked.serial_number.as_bytes() == self.0.serial;
        Ok(SingleResponse {
            cert_id: asked.clone(),
            cert_status: if known { CertStatus::good() } else { CertStatus::unknown() },
            this_update: at(now - BACKDATED)?,
            next_update: Some(at(now + VALIDITY)?),
            single_extensions: None,
        })
    }
}

/// Why a request that is well formed gets no answer.
#[derive(Debug, thiserror::Error)]
enum RespondError {
    #[error(transparent)]
    Encode(#[from] x509_cert::der::Error),
    #[error("the issuer's key does not sign")]
    Sign(#[from] aws_lc_rs::error::Unspecified),
}

fn without_answer(status: OcspResponseStatus) -> OcspResponse {
    OcspResponse { response_status: status, response_bytes: None }
}

/// Whole seconds: GeneralizedTime of RFC 5280 has no fractions.
fn at(time: SystemTime) -> Result<OcspGeneralizedTime, x509_cert::der::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(OcspGeneralizedTime(GeneralizedTime::from_unix_duration(Duration::from_secs(
        since.as_secs(),
    ))?))
}
