//! Keys of the operator itself, in Secrets of its own namespace: made at the first start, never replaced.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use zeroize::Zeroizing;

/// The ledger's signing key; who holds it can write another past.
pub const LEDGER: &str = "frostgate-ledger-key";
/// The key that readers of recordings share.
pub const READER: &str = "frostgate-recordings-reader";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret could not be read or made.
    #[error("secret {0}: {1}")]
    Secret(&'static str, #[source] Box<kube::Error>),
    /// The Secret holds something else.
    #[error(
        "secret {0} holds no {1:?}: restore it from a backup; a new one would not fit the ledger"
    )]
    Empty(&'static str, &'static str),
    /// No key could be made.
    #[error("no new key for secret {0}: {1}")]
    Make(&'static str, String),
}

/// The value under `field` of the Secret; `make` is asked once, when there is no such Secret yet.
///
/// # Errors
/// When the Secret cannot be read or made, or is not ours.
pub async fn kept(
    client: &Client,
    namespace: &str,
    name: &'static str,
    field: &'static str,
    make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, String>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let failed = |error| Error::Secret(name, Box::new(error));
    let secret = match api.get_opt(name).await.map_err(failed)? {
        Some(secret) => secret,
        None => {
            let made = make().map_err(|error| Error::Make(name, error))?;
            let secret = Secret {
                metadata: ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
                data: Some(BTreeMap::from([(field.to_owned(), ByteString(made.to_vec()))])),
                immutable: Some(true),
                ..Default::default()
            };
            match api.create(&PostParams::default(), &secret).await {
                Ok(created) => created,
                // Another replica was quicker.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    api.get(name).await.map_err(failed)?
                }
                Err(error) => return Err(failed(error)),
            }
        }
    };
    let value = secret.data.and_then(|mut data| data.remove(field));
    value.map(|bytes| Zeroizing::new(bytes.0)).ok_or(Error::Empty(name, field))
}
