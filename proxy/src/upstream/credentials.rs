//! The session's own key pair, and the login it signs.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// How long a login JWT lives, seconds: long enough for one login with its retries.
const LIFE: i64 = 120;

/// An RSA key that lives as long as its session, in memory only.
pub(crate) struct SessionKey {
    pair: KeyPair,
    public: Vec<u8>,
}

/// The key could not be made, or not sign.
#[derive(Debug, thiserror::Error)]
#[error("the session's key pair cannot be used")]
pub(crate) struct KeyError;

impl SessionKey {
    /// Makes a key, off the threads that serve.
    pub(crate) async fn generate() -> Result<Self, KeyError> {
        let work = || {
            let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError)?;
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| KeyError)?;
            let public = public.as_ref().to_vec();
            Ok(Self { pair, public })
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(KeyError))
    }

    /// DER SubjectPublicKeyInfo, base64: what the user is made with.
    pub(crate) fn public_base64(&self) -> String {
        STANDARD.encode(&self.public)
    }

    /// A login JWT for `user` of `account`.
    pub(crate) fn jwt(&self, account: &str, user: &str, now: i64) -> Result<String, KeyError> {
        let account = account_in_claims(account);
        let user = user.to_uppercase();
        let fingerprint = STANDARD.encode(Sha256::digest(&self.public));
        let claims = json!({
            "iss": format!("{account}.{user}.SHA256:{fingerprint}"),
            "sub": format!("{account}.{user}"),
            "iat": now,
            "exp": now + LIFE,
        });
        let header = json!({ "alg": "RS256", "typ": "JWT" });
        let encode = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| KeyError)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The account as the claims name it: upper case, without a region; `.global` accounts end at the first hyphen.
fn account_in_claims(account: &str) -> String {
    let short = match account.split_once('.') {
        Some((name, rest)) if rest.contains("global") => name.split('-').next().unwrap_or(name),
        Some((name, _)) => name,
        None => account,
    };
    short.to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    #[test]
    fn the_account_is_named_as_the_account_expects() {
        for (account, expected) in [
            ("myorg-analytics", "MYORG-ANALYTICS"),
            ("xy12345.us-east-1", "XY12345"),
            ("xy12345-abc.global", "XY12345"),
        ] {
            assert_eq!(account_in_claims(account), expected);
        }
    }

    #[tokio::test]
    async fn a_login_is_signed_by_the_session_s_key() {
        let key = SessionKey::generate().await.unwrap();
        let jwt = key.jwt("acme-dev", "fg_user", 1_000).unwrap();
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key.public);
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify(signed.as_bytes(), &signature).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["sub"], "ACME-DEV.FG_USER");
        assert!(claims["iss"].as_str().unwrap().starts_with("ACME-DEV.FG_USER.SHA256:"));
        assert_eq!(claims["exp"], 1_120);
    }
}
