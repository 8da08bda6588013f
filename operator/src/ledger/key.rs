//! The ledger's key: it signs checkpoints, grants and the certificates of recordings.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use recording::SigningKey;
use recording::ledger::{Checkpoint, VerifierKey};
use zeroize::Zeroizing;

/// An Ed25519 key with the name under which auditors know it.
///
/// One key signs three kinds of things; each begins with its own line, and a key's name, which
/// begins a checkpoint, holds no blank: no signature of one kind passes for another.
pub struct Key {
    pair: Ed25519KeyPair,
    signing: SigningKey,
    verifier: VerifierKey,
    seed: Zeroizing<[u8; 32]>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not PKCS#8 of an Ed25519 key.
    #[error("the ledger key is not an Ed25519 key in PKCS#8")]
    Form,
    /// The name cannot stand in a note.
    #[error(transparent)]
    Name(#[from] recording::ledger::KeyError),
    /// The file cannot be read or made.
    #[error("the ledger key `{0}` cannot be read or written: {1}")]
    File(std::path::PathBuf, std::io::Error),
}

impl Key {
    /// Makes a new key, as PKCS#8 to be kept where only the operator reads.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Form)?;
        let document = pair.to_pkcs8().map_err(|_| KeyError::Form)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads a key; the name is the origin of the log and never changes with the key.
    ///
    /// # Errors
    /// If it is no Ed25519 key, or the name has blanks or `+`.
    pub fn from_pkcs8(name: &str, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Form)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Form)?;
        let verifier = VerifierKey::new(name, public)?;
        let seed = pair.seed().map_err(|_| KeyError::Form)?;
        let seed = seed.as_be_bytes().map_err(|_| KeyError::Form)?;
        let seed = Zeroizing::new(seed.as_ref().try_into().map_err(|_| KeyError::Form)?);
        let signing = SigningKey::from_seed(&seed).map_err(|_| KeyError::Form)?;
        Ok(Self { pair, signing, verifier, seed })
    }

    /// The key of a local folder, made at the first start: a file that only its owner reads.
    ///
    /// # Errors
    /// If the file cannot be read or made.
    pub fn in_folder(folder: &Path, name: &str) -> Result<Self, KeyError> {
        let path = folder.join("ledger.key");
        let failed = |error| KeyError::File(path.clone(), error);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                let pkcs8 = STANDARD.decode(text.trim()).map_err(|_| KeyError::Form)?;
                Self::from_pkcs8(name, &Zeroizing::new(pkcs8))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let pkcs8 = Self::generate()?;
                std::fs::create_dir_all(folder).map_err(failed)?;
                // Written beside and linked: a half-written key would be the only one there is.
                let beside = folder.join("ledger.key.new");
                let _ = std::fs::remove_file(&beside);
                let mut options = std::fs::OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&beside)
                    .map_err(failed)?;
                let text = Zeroizing::new(format!("{}\n", STANDARD.encode(&pkcs8)));
                file.write_all(text.as_bytes()).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                std::fs::rename(&beside, &path).map_err(failed)?;
                super::file::sync_folder(folder).map_err(failed)?;
                Self::from_pkcs8(name, &pkcs8)
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) fn verifier_key(&self) -> VerifierKey {
        self.verifier.clone()
    }

    pub(super) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    pub(super) fn sign(&self, checkpoint: &Checkpoint) -> Result<Vec<u8>, KeyError> {
        Ok(checkpoint.sign(&self.pair)?)
    }

    /// A secret for another purpose: needs no keeping and survives a restart.
    pub(super) fn derive(&self, purpose: &[u8]) -> hmac::Key {
        let secret = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.seed.as_slice()), purpose);
        hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.verifier)
    }
}
