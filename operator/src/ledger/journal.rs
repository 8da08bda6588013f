//! The journal: leaves that are promised but not in a checkpoint yet, one line each.
//!
//! `<index> <durable> <leaf hash> <json>`, where `durable` is how many leaves were on disk before
//! the line was written. A line that does not read can so be told apart: if a later one knew it
//! to be durable, the journal was damaged; if none did, a crash cut an append off that nobody was
//! told of.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use recording::Digest;
use recording::ledger::leaf_hash;

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    length: u64,
}

/// A line that was written and promised does not read any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged(pub(super) u64);

/// Leaves by their index, as the journal has them.
pub(super) type Lines = Vec<(u64, Vec<u8>)>;

impl Journal {
    /// Opens the journal and reads its leaves; what a crash cut off is gone after it.
    pub(super) fn open(path: &Path) -> io::Result<Result<(Self, Lines), Damaged>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                super::file::replace(path, b"")?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let (lines, length) = match read(&bytes) {
            Ok(read) => read,
            Err(damaged) => return Ok(Err(damaged)),
        };
        let file = fs::OpenOptions::new().append(true).open(path)?;
        if length < bytes.len() as u64 {
            file.set_len(length)?;
            file.sync_all()?;
        }
        Ok(Ok((Self { file, length }, lines)))
    }

    /// Appends leaves from `index` on; they are on disk when this returns.
    ///
    /// After an error nothing of them is in the journal, or the error is [`Append::Lost`].
    pub(super) fn append<'a>(
        &mut self,
        index: u64,
        leaves: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), Append> {
        let mut lines = Vec::new();
        for (at, leaf) in (index..).zip(leaves) {
            lines.extend(format!("{at} {index} {} ", Digest(leaf_hash(leaf))).as_bytes());
            lines.extend(leaf);
            lines.push(b'\n');
        }
        if let Err(error) = self.file.write_all(&lines) {
            // Most likely the disk is full: the piece that fitted goes again.
            return match self.file.set_len(self.length).and_then(|()| self.file.sync_data()) {
                Ok(()) => Err(Append::Refused(error)),
                Err(error) => Err(Append::Lost(error)),
            };
        }
        // After a failed sync nobody knows what is on disk, and the next sync may lie.
        self.file.sync_data().map_err(Append::Lost)?;
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Empties the journal: its leaves are in a checkpoint.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.sync_data()?;
        self.length = 0;
        Ok(())
    }
}

/// Why an append failed.
#[derive(Debug)]
pub(super) enum Append {
    /// The journal is as it was before.
    Refused(io::Error),
    /// The journal is in an unknown state: nothing may be appended until it was read back.
    Lost(io::Error),
}

/// The leaves, and how many bytes of the journal they are.
fn read(bytes: &[u8]) -> Result<(Lines, u64), Damaged> {
    let mut lines: Lines = Vec::new();
    let mut length = 0;
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = parse(&rest[..end]);
        let expected = lines.last().map(|(index, _)| index + 1);
        match line {
            Some((index, _, leaf)) if expected.is_none_or(|expected| expected == index) => {
                lines.push((index, leaf.to_vec()));
                length += end as u64 + 1;
                rest = &rest[end + 1..];
            }
            _ => break,
        }
    }
    // Whatever knew more leaves to be durable than read now is evidence of damage.
    let durable = rest
        .split(|byte| *byte == b'\n')
        .filter_map(parse)
        .map(|(_, durable, _)| durable)
        .max()
        .unwrap_or(0);
    let next = lines.last().map_or(0, |(index, _)| index + 1);
    if durable > next { Err(Damaged(next)) } else { Ok((lines, length)) }
}

fn parse(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let index = text()?.parse().ok()?;
    let durable = text()?.parse().ok()?;
    let hash: Digest = text()?.parse().ok()?;
    let leaf = parts.next()?;
    (Digest(leaf_hash(leaf)) == hash).then_some((index, durable, leaf))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(batches: &[&[&str]]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, lines) = Journal::open(&path).unwrap().unwrap();
        assert!(lines.is_empty());
        let mut index = 0;
        for batch in batches {
            journal.append(index, batch.iter().map(|leaf| leaf.as_bytes())).unwrap();
            index += batch.len() as u64;
        }
        (folder, path)
    }

    fn read_back(path: &Path) -> Result<Vec<String>, Damaged> {
        Journal::open(path).unwrap().map(|(_, lines)| {
            lines.into_iter().map(|(_, leaf)| String::from_utf8(leaf).unwrap()).collect()
        })
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let (_folder, path) = journal(&[&["{\"a\": 1}", "b"], &["c d e"]]);
        assert_eq!(read_back(&path), Ok(vec!["{\"a\": 1}".into(), "b".into(), "c d e".into()]));
    }

    #[test]
    fn an_append_cut_off_anywhere_leaves_all_that_was_promised() {
        let (_folder, path) = journal(&[&["one", "two"], &["three", "four"]]);
        let whole = fs::read(&path).unwrap();
        let promised: usize =
            whole.split_inclusive(|byte| *byte == b'\n').take(2).map(<[u8]>::len).sum();
        for length in promised..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let read = read_back(&path).unwrap();
            assert!(read.starts_with(&["one".into(), "two".into()]) && read.len() < 4, "{length}");
        }
        // The blocks of one write may reach the disk in any order.
        let mut holed = whole;
        holed[promised..promised + 9].fill(0);
        fs::write(&path, &holed).unwrap();
        assert_eq!(read_back(&path), Ok(vec!["one".into(), "two".into()]));
    }

    #[test]
    fn a_change_in_what_was_promised_is_damage() {
        let (_folder, path) = journal(&[&["one"], &["two"], &["three"]]);
        let whole = fs::read(&path).unwrap();
        let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let cases = [
            (Damaged(0), vec![lines[0].to_ascii_uppercase(), lines[1].into(), lines[2].into()]),
            (Damaged(1), vec![lines[0].into(), lines[1].to_ascii_uppercase(), lines[2].into()]),
            (Damaged(1), vec![lines[0].into(), lines[2].into()]),
        ];
        for (damaged, altered) in cases {
            fs::write(&path, altered.concat()).unwrap();
            assert_eq!(read_back(&path), Err(damaged));
        }
    }
}
