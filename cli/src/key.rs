//! The key that an auditor holds: the one thing that is believed before anything was checked.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use recording::{PublicKey, ledger::VerifierKey};

/// The ledger's public key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    public: PublicKey,
    verifier: Option<VerifierKey>,
}

impl Key {
    /// Reads a key from a file, or as it is.
    pub(crate) fn read(given: &str) -> anyhow::Result<Self> {
        let text = if Path::new(given).exists() {
            fs::read_to_string(given)
                .with_context(|| format!("cannot read the key file {given}"))?
        } else {
            given.to_owned()
        };
        let text = text.trim();
        let public = PublicKey::parse(text).with_context(|| {
            format!("`{given}` is neither a file nor a key (see ConfigMap frostgate-ledger-key)")
        })?;
        // With a name and its checksum, the name is checked against the log's too.
        let verifier = text.parse().ok();
        if text.contains('+')
            && text.splitn(3, '+').count() == 3
            && verifier.is_none()
            && text.len() > 44
        {
            bail!("`{given}` is a verifier key whose checksum does not fit: copy it again");
        }
        Ok(Self { public, verifier })
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The same key, as the ledger named `origin` would publish it.
    pub(crate) fn verifier(&self, origin: &str) -> anyhow::Result<VerifierKey> {
        match &self.verifier {
            Some(key) => Ok(key.clone()),
            None => VerifierKey::new(origin, self.public.0).context("the ledger's name is no name"),
        }
    }
}
