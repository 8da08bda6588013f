//! The signed head of the log (C2SP tlog-checkpoint): origin, size, root.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::note::{KeyError, Note, NoteError, VerifierKey};
use super::tree::Hash;

/// What the log's key vouches for: so many leaves, and this root over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log; the name of its key.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Signed, but not a checkpoint.
    #[error("the signed text is not a checkpoint")]
    Malformed,
    /// Of another log.
    #[error("the checkpoint is that of the log `{0}`")]
    Origin(String),
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// The signed note, ready to be published.
    ///
    /// # Errors
    /// If the origin cannot be the name of a key.
    pub fn sign(&self, key: &Ed25519KeyPair) -> Result<Vec<u8>, KeyError> {
        Note::sign(&self.text(), &self.origin, key)
    }

    /// Reads a published checkpoint and verifies it with the log's key.
    ///
    /// # Errors
    /// If it is not a checkpoint of that key's log, signed by it.
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        let checkpoint = Self::parse(note.verified(key)?).ok_or(CheckpointError::Malformed)?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin(checkpoint.origin));
        }
        Ok(checkpoint)
    }

    /// Reads the text; lines after the root are extensions and passed over.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let number: u64 = size.parse().ok()?;
        if origin.is_empty() || number.to_string() != size || lines.any(str::is_empty) {
            return None;
        }
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        Some(Self { origin: origin.to_owned(), size: number, root })
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair;

    use super::*;

    #[test]
    fn only_the_strict_form_is_a_checkpoint() {
        let root = STANDARD.encode([7; 32]);
        let good = Checkpoint { origin: "log.example/a".into(), size: 12, root: [7; 32] };
        assert_eq!(good.text(), format!("log.example/a\n12\n{root}\n"));
        assert_eq!(Checkpoint::parse(&good.text()), Some(good.clone()));
        assert_eq!(Checkpoint::parse(&format!("{}extension\n", good.text())), Some(good));
        for text in [
            String::new(),
            "log.example/a\n12\n".into(),
            format!("\n12\n{root}\n"),
            format!("log.example/a\n012\n{root}\n"),
            format!("log.example/a\n+12\n{root}\n"),
            format!("log.example/a\n-1\n{root}\n"),
            format!("log.example/a\n18446744073709551616\n{root}\n"),
            format!("log.example/a\n12\n{}\n", STANDARD.encode([7; 31])),
            format!("log.example/a\n12\n{}\n", root.trim_end_matches('=')),
            format!("log.example/a\n12\n{root}\n\n"),
        ] {
            assert_eq!(Checkpoint::parse(&text), None, "{text:?}");
        }
    }

    #[test]
    fn a_checkpoint_of_another_log_is_refused() {
        let key = Ed25519KeyPair::generate().unwrap();
        let public = key.public_key().as_ref().try_into().unwrap();
        let ours = VerifierKey::new("log.example/a", public).unwrap();
        let checkpoint = Checkpoint { origin: "log.example/a".into(), size: 0, root: [0; 32] };
        assert_eq!(Checkpoint::open(&checkpoint.sign(&key).unwrap(), &ours), Ok(checkpoint));
        let other = Note::sign("log.example/b\n0\nAAAA\n", "log.example/a", &key).unwrap();
        assert_eq!(Checkpoint::open(&other, &ours), Err(CheckpointError::Malformed));
        let other = Checkpoint { origin: "log.example/b".into(), size: 0, root: [0; 32] };
        let signed = Note::sign(&other.text(), "log.example/a", &key).unwrap();
        assert_eq!(
            Checkpoint::open(&signed, &ours),
            Err(CheckpointError::Origin("log.example/b".into()))
        );
    }
}
