//! Signed notes (C2SP signed-note): a text, and Ed25519 signatures that name their key.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The longest note that is read.
pub const NOTE_BYTES_MAX: usize = 1 << 20;
/// The most signatures that are read.
pub const SIGNATURES_MAX: usize = 100;

/// The algorithm byte of Ed25519 in key ids and verifier keys.
const ED25519_ALGORITHM: u8 = 1;

/// A named public key, written `<name>+<id>+<base64>`: what an auditor trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// Who signs: a name without blanks and `+`.
    name: String,
    /// Raw Ed25519 public key.
    public: [u8; 32],
}

/// Why a text is no verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Empty, or it holds a blank, a `+` or a control character.
    #[error("the name of a verifier key must not be empty or hold blanks or `+`")]
    Name,
    /// Not `<name>+<8 hex digits>+<base64>`.
    #[error("a verifier key reads `<name>+<id>+<base64 key>`")]
    Form,
    /// The id is not that of name and key: most likely a piece was lost in copying.
    #[error("the id of the verifier key does not belong to its name and key; copy it again whole")]
    Id,
    /// Another algorithm than Ed25519.
    #[error("the verifier key is not an Ed25519 key")]
    Algorithm,
}

impl VerifierKey {
    /// Names a raw Ed25519 public key.
    ///
    /// # Errors
    /// If the name cannot stand in a note.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        Ok(Self { name: name.to_owned(), public })
    }

    /// Who signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Raw Ed25519 public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The id that stands before each signature of this key.
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(self.name.as_bytes())
            .chain_update([b'\n', ED25519_ALGORITHM])
            .chain_update(self.public)
            .finalize();
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash);
        [a, b, c, d]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519_ALGORITHM], self.public.as_slice()].concat();
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id()), STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        // The base64 may hold a `+`, the name may not.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let key = STANDARD.decode(key).map_err(|_| KeyError::Form)?;
        let Some((algorithm, public)) = key.split_first() else { return Err(KeyError::Form) };
        if *algorithm != ED25519_ALGORITHM {
            return Err(KeyError::Algorithm);
        }
        let public = public.try_into().map_err(|_| KeyError::Form)?;
        let key = Self::new(name, public)?;
        if format!("{:08x}", u32::from_be_bytes(key.id())) != id {
            return Err(KeyError::Id);
        }
        Ok(key)
    }
}

/// A text with its signatures, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The text, with its last newline.
    text: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

/// Why a note is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`], or more than [`SIGNATURES_MAX`] signatures.
    #[error("the note is too large")]
    TooLarge,
    /// Not a text, a blank line and signature lines.
    #[error("the note is malformed")]
    Malformed,
    /// No signature by the key.
    #[error("the note is not signed by the key `{0:08x}`")]
    NotSigned(u32),
    /// A signature that names the key but is not its own.
    #[error("the signature of the note is wrong")]
    Signature,
}

impl Note {
    /// Reads the strict form: nothing that another reader could understand differently.
    ///
    /// # Errors
    /// If it is too large or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed)?;
        if whole.bytes().any(|byte| (byte < b' ' && byte != b'\n') || byte == 0x7f) {
            return Err(NoteError::Malformed);
        }
        let end = whole.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, lines) = (&whole[..=end], &whole[end + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == SIGNATURES_MAX {
                return Err(NoteError::TooLarge);
            }
            signatures.push(Signature::parse(line).ok_or(NoteError::Malformed)?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Signs a text, which must end with a newline.
    pub fn sign(text: &str, name: &str, key: &Ed25519KeyPair) -> Result<Vec<u8>, KeyError> {
        let public = key.public_key().as_ref().try_into().map_err(|_| KeyError::Algorithm)?;
        let verifier = VerifierKey::new(name, public)?;
        let signature = [verifier.id().as_slice(), key.sign(text.as_bytes()).as_ref()].concat();
        Ok(format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(signature)).into_bytes())
    }

    /// The text, if the key signed it.
    ///
    /// # Errors
    /// If it did not. Signatures of unknown keys are passed over, as the format wants it.
    pub fn verified(&self, key: &VerifierKey) -> Result<&str, NoteError> {
        let mut by_key = self
            .signatures
            .iter()
            .filter(|signature| signature.name == key.name && signature.id == key.id());
        let (Some(signature), None) = (by_key.next(), by_key.next()) else {
            return Err(NoteError::NotSigned(u32::from_be_bytes(key.id())));
        };
        UnparsedPublicKey::new(&ED25519, key.public)
            .verify(self.text.as_bytes(), &signature.bytes)
            .map_err(|_| NoteError::Signature)?;
        Ok(&self.text)
    }
}

impl Signature {
    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let signature = STANDARD.decode(signature).ok()?;
        let (id, bytes) = signature.split_first_chunk::<4>()?;
        (is_name(name) && !bytes.is_empty()).then(|| Self {
            name: name.to_owned(),
            id: *id,
            bytes: bytes.to_vec(),
        })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .contains(|letter: char| letter.is_whitespace() || letter.is_control() || letter == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of C2SP signed-note, which is also that of golang.org/x/mod/sumdb/note.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const EXAMPLE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn the_published_example_verifies() {
        let key: VerifierKey = PETER.parse().unwrap();
        assert_eq!(key.to_string(), PETER);
        let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
        assert!(note.verified(&key).unwrap().ends_with("problem is.\n"));
    }

    #[test]
    fn a_note_signed_here_verifies_and_an_altered_one_does_not() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key =
            VerifierKey::new("ledger", pair.public_key().as_ref().try_into().unwrap()).unwrap();
        let bytes = Note::sign("ledger\n7\n", "ledger", &pair).unwrap();
        assert_eq!(Note::parse(&bytes).unwrap().verified(&key), Ok("ledger\n7\n"));
        let altered = String::from_utf8(bytes).unwrap().replace("\n7\n", "\n8\n");
        let note = Note::parse(altered.as_bytes()).unwrap();
        assert_eq!(note.verified(&key), Err(NoteError::Signature));
    }

    #[test]
    fn malformed_notes_are_refused() {
        let two = EXAMPLE.replace("\u{2014} Peter", "\n\u{2014} Peter");
        let many = format!("{EXAMPLE}{}", "\u{2014} other AAAAAAAA\n".repeat(SIGNATURES_MAX));
        let cases = [
            ("no signature", EXAMPLE[..99].to_owned()),
            ("no last newline", EXAMPLE.trim_end().to_owned()),
            ("carriage return", EXAMPLE.replace('\n', "\r\n")),
            ("hyphen for the dash", EXAMPLE.replace('\u{2014}', "-")),
            ("base64 with a missing pad", EXAMPLE.replace("nAM=", "nAM")),
            ("base64 with loose last bits", EXAMPLE.replace("nAM=", "nAN=")),
            ("a line after the signatures", format!("{EXAMPLE}more\n")),
            ("a blank line after the signatures", format!("{EXAMPLE}\n")),
            ("nul", EXAMPLE.replace("think", "thi\0nk")),
        ];
        for (what, text) in cases {
            assert_eq!(Note::parse(text.as_bytes()), Err(NoteError::Malformed), "{what}");
        }
        assert!(Note::parse(two.as_bytes()).unwrap().verified(&PETER.parse().unwrap()).is_err());
        assert_eq!(Note::parse(many.as_bytes()), Err(NoteError::TooLarge));
        assert_eq!(Note::parse(&vec![b'a'; NOTE_BYTES_MAX + 1]), Err(NoteError::TooLarge));
        assert_eq!(Note::parse(&[0xff, 0xfe]), Err(NoteError::Malformed));
    }

    #[test]
    fn unknown_keys_are_passed_over_and_no_signature_twice_is_believed() {
        let key: VerifierKey = PETER.parse().unwrap();
        let line = EXAMPLE.lines().last().unwrap();
        let also = format!("{EXAMPLE}\u{2014} witness AAAAAAAAAAA=\n");
        assert!(Note::parse(also.as_bytes()).unwrap().verified(&key).is_ok());
        let twice = format!("{EXAMPLE}{line}\n");
        assert_eq!(
            Note::parse(twice.as_bytes()).unwrap().verified(&key),
            Err(NoteError::NotSigned(0xc74f_20a3))
        );
    }

    #[test]
    fn a_damaged_verifier_key_says_what_is_wrong() {
        let cases = [
            ("PeterNeumann", KeyError::Form),
            ("PeterNeumann+c74f20a3+!!", KeyError::Form),
            ("PeterNeumann+c74f20a3+ARpc2Qc=", KeyError::Form),
            ("Peter+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Id),
            ("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Id),
            (
                "PeterNeumann+c74f20a3+Axpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
                KeyError::Algorithm,
            ),
            ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Name),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<VerifierKey>(), Err(error), "{text}");
        }
    }
}
