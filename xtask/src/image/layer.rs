//! One layer of an image: a tar archive that is the same, byte for byte, for the same files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// A finished layer.
pub(crate) struct Layer {
    /// The compressed archive.
    pub(crate) blob: Vec<u8>,
    /// Its digest, by which a manifest names its layers.
    pub(crate) digest: String,
    /// The digest of the archive before compression, by which a config names its layers.
    pub(crate) diff_id: String,
}

/// A layer being written. Owner, time and order are fixed, so that its digest depends on the
/// content alone.
pub(crate) struct Writer(Builder<Hashing<GzEncoder<Vec<u8>>>>);

impl Writer {
    /// An empty layer.
    pub(crate) fn new() -> Self {
        let archive =
            Hashing { inner: GzEncoder::new(Vec::new(), Compression::fast()), hash: Sha256::new() };
        let mut builder = Builder::new(archive);
        builder.follow_symlinks(false);
        Self(builder)
    }

    /// Adds a file with the given content.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let mut header = header(EntryType::Regular, mode);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, path, content)?;
        Ok(())
    }

    /// Adds an empty folder.
    pub(crate) fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        let mut header = header(EntryType::Directory, mode);
        self.0.append_data(&mut header, path, std::io::empty())?;
        Ok(())
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, to: impl AsRef<Path>) -> Result<()> {
        self.0.append_link(&mut header(EntryType::Symlink, 0o777), path, to)?;
        Ok(())
    }

    /// Adds everything below a folder of this machine, under `prefix`, but for the bytecode that
    /// Python leaves behind.
    pub(crate) fn tree(&mut self, source: &Path, prefix: &str) -> Result<()> {
        let mut entries: Vec<_> = fs::read_dir(source)
            .with_context(|| format!("read {}", source.display()))?
            .collect::<Result<_, _>>()?;
        entries.retain(|entry| entry.file_name() != "__pycache__");
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
            let metadata = fs::symlink_metadata(&path)?;
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                self.folder(&name, mode)?;
                self.tree(&path, &name)?;
            } else if metadata.is_symlink() {
                self.link(&name, fs::read_link(&path)?)?;
            } else if metadata.is_file() {
                self.file(&name, mode, &fs::read(&path)?)?;
            }
        }
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(self) -> Result<Layer> {
        let archive = self.0.into_inner()?;
        let diff_id = digest_of(archive.hash);
        let blob = archive.inner.finish()?;
        Ok(Layer { digest: digest(&blob), blob, diff_id })
    }
}

/// Compresses an archive that exists already.
pub(crate) fn from_archive(archive: &[u8]) -> Result<Layer> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(archive)?;
    let blob = encoder.finish()?;
    Ok(Layer { digest: digest(&blob), blob, diff_id: digest(archive) })
}

/// `sha256:<hex>` of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    digest_of(Sha256::new_with_prefix(bytes))
}

fn digest_of(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

/// Passes bytes on and digests them.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> Layer {
        let mut writer = Writer::new();
        writer.folder("etc", 0o755).unwrap();
        writer.file("etc/name", 0o644, b"content").unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn the_same_files_make_the_same_layer() {
        assert_eq!(layer().digest, layer().digest);
    }

    #[test]
    fn the_diff_id_is_the_digest_of_the_uncompressed_archive() {
        let layer = layer();
        let mut archive = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(layer.blob.as_slice());
        std::io::Read::read_to_end(&mut decoder, &mut archive).unwrap();
        assert_eq!(digest(&archive), layer.diff_id);
        let names: Vec<_> = tar::Archive::new(archive.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["etc", "etc/name"]);
    }
}
