//! The login of a key-pair user: a JWT that lives for a minute.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// A login JWT is used at once; what is stolen later is worth nothing.
pub(super) const JWT_LIFETIME: Duration = Duration::from_secs(60);

/// A private key that logs in.
pub(super) struct Key {
    pair: RsaKeyPair,
    fingerprint: String,
}

/// The Secret holds no key that could log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    /// Not PEM, or another kind of key.
    #[error("expected an unencrypted PKCS#8 RSA private key in PEM, of at least 2048 bits")]
    NotUnderstood,
    /// The key did not sign.
    #[error("the private key does not sign")]
    NotSigned,
}

impl Key {
    /// Reads the key.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::NotUnderstood)?;
        let pair =
            RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| KeyError::NotUnderstood)?;
        if pair.public_modulus_len() < 256 {
            return Err(KeyError::NotUnderstood);
        }
        let public: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|_| KeyError::NotUnderstood)?;
        let fingerprint = STANDARD.encode(Sha256::digest(public.as_ref()));
        Ok(Self { pair, fingerprint })
    }

    /// Signs a login of the user.
    pub(super) fn sign(&self, account: &str, user: &str, now: Timestamp) -> Result<Jwt, KeyError> {
        let subject = format!("{}.{}", issuer(account), user.to_uppercase());
        let issued = now.as_second();
        let expires = issued.saturating_add(JWT_LIFETIME.as_secs().cast_signed());
        let header = json!({ "alg": "RS256", "typ": "JWT" });
        let claims = json!({
            "iss": format!("{subject}.SHA256:{}", self.fingerprint),
            "sub": subject,
            "iat": issued,
            "exp": expires,
        });
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| KeyError::NotSigned)?;
        let text = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        Ok(Jwt { text, expires_at_ms: expires.saturating_mul(1000) })
    }
}

/// A signed login.
pub(super) struct Jwt {
    pub(super) text: String,
    pub(super) expires_at_ms: i64,
}

fn part(value: &serde_json::Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The account as a JWT names it: upper case, without region; a global account without its suffix.
fn issuer(account: &str) -> String {
    let name = if account.contains(".global") {
        account.split('-').next()
    } else {
        account.split('.').next()
    };
    name.unwrap_or(account).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use rcgen::{PKCS_RSA_SHA256, PublicKeyData as _};

    use super::*;

    #[test]
    fn a_login_names_account_user_and_key_and_lives_a_minute() {
        let pair = rcgen::KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let key = Key::from_pem(pair.serialize_pem().as_bytes()).unwrap();
        let now = Timestamp::now();
        let jwt = key.sign("myorg-analytics.eu", "provisioner", now).unwrap();
        let public = DecodingKey::from_rsa_pem(pair.public_key_pem().as_bytes()).unwrap();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        let token =
            jsonwebtoken::decode::<serde_json::Value>(&jwt.text, &public, &validation).unwrap();
        let fingerprint = STANDARD.encode(Sha256::digest(pair.subject_public_key_info()));
        assert_eq!(token.claims["sub"], "MYORG-ANALYTICS.PROVISIONER");
        let expected = format!("MYORG-ANALYTICS.PROVISIONER.SHA256:{fingerprint}");
        assert_eq!(token.claims["iss"], expected);
        assert_eq!(
            token.claims["exp"].as_i64().unwrap() - token.claims["iat"].as_i64().unwrap(),
            60
        );
    }

    #[test]
    fn accounts_are_named_as_the_account_expects_it() {
        for (account, expected) in [
            ("myorg-analytics", "MYORG-ANALYTICS"),
            ("xy12345.eu-central-1", "XY12345"),
            ("acct-abc.global", "ACCT"),
        ] {
            assert_eq!(issuer(account), expected);
        }
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        for pem in ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
        {
            assert_eq!(Key::from_pem(pem.as_bytes()).err(), Some(KeyError::NotUnderstood));
        }
    }
}
