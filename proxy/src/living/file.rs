//! The file: one line per change, each bound to all before it.
//!
//! ```text
//! <16 hex digits of SHA-256 over the digits before and the JSON> <JSON>\n
//! ```
//!
//! A crash can only cut the last line off; every other damage shows, and then nothing of the file is believed.

use recording::Digest;
use zeroize::Zeroizing;

/// Digits before a line's JSON.
const DIGITS: usize = 16;

/// What the next line is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link(String);

/// Somebody has been at the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged")]
pub(super) struct Corrupt;

impl Link {
    /// The bytes of the next line, and what the one after it is bound to.
    pub(super) fn line(&self, json: &[u8]) -> (Zeroizing<Vec<u8>>, Self) {
        let link = self.next(json);
        let mut bytes = Zeroizing::new(Vec::with_capacity(DIGITS + json.len() + 2));
        bytes.extend_from_slice(link.0.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(json);
        bytes.push(b'\n');
        (bytes, link)
    }

    fn next(&self, json: &[u8]) -> Self {
        let mut digits = Digest::of_parts(&[self.0.as_bytes(), json]).to_string();
        digits.truncate(DIGITS);
        Self(digits)
    }
}

/// The JSON of each whole line, as long as it fits to those before it.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], Corrupt>> {
    let mut link = Link::default();
    let whole = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    whole.map(move |line| {
        let line = line.strip_suffix(b"\n").ok_or(Corrupt)?;
        let (digits, rest) = line.split_at_checked(DIGITS).ok_or(Corrupt)?;
        let json = rest.strip_prefix(b" ").ok_or(Corrupt)?;
        link = link.next(json);
        if link.0.as_bytes() == digits { Ok(json) } else { Err(Corrupt) }
    })
}
