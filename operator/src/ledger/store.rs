//! The embedded store: `<session>/<number>.fgseg`, created once and never changed.
//!
//! Another store (S3, GCS, Azure) takes this file's place: it needs the same three things, an
//! upload that creates or fails, a look at what is stored, and a read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use recording::{Digest, Digester};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::{Error, KeptSession, file};

/// The longest segment that is stored.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;
/// An upload that sends nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The store.
#[derive(Clone, Debug)]
pub(super) struct Store {
    root: PathBuf,
    /// Uploads that are not whole yet; emptied at the start.
    incoming: PathBuf,
}

/// What an upload must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) session: String,
    pub(super) number: u64,
    pub(super) length: u64,
    pub(super) sha256: Digest,
}

impl Store {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let incoming = root.join(".incoming");
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        file::make_folder(&incoming)?;
        Ok(Self { root: root.to_owned(), incoming })
    }

    /// Writes beside the segments whose session it is: what a list of recordings shows.
    pub(super) async fn describe(&self, session: &KeptSession) -> Result<(), Error> {
        let path = self.folder(&session.session)?.join("session.json");
        let json = serde_json::to_vec_pretty(session).map_err(|_| Error::Malformed("session"))?;
        blocking(move || file::replace(&path, &json)).await
    }

    /// What [`Store::describe`] wrote; `None` if the session has none.
    pub(super) fn description(&self, session: &str) -> Option<KeptSession> {
        let path = self.folder(session).ok()?.join("session.json");
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Receives an object and creates it if it is what was expected and does not exist.
    pub(super) async fn receive<E: std::fmt::Display>(
        &self,
        expected: &Expected,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), Error> {
        let path = self.path(&expected.session, expected.number)?;
        let exists =
            || Error::Exists { session: expected.session.clone(), number: expected.number };
        if path.exists() {
            return Err(exists());
        }
        let beside = self.incoming.join(Uuid::new_v4().to_string());
        let _beside = Remove(beside.clone());
        let mut file = tokio::fs::File::create_new(&beside).await.map_err(unstorable)?;
        let mut digester = Digester::default();
        loop {
            let chunk = match tokio::time::timeout(SILENCE_MAX, body.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(_))) => return Err(Error::Bytes("the upload was cut off")),
                Ok(None) => break,
                Err(_) => return Err(Error::Bytes("the upload fell silent")),
            };
            digester.update(&chunk);
            if digester.length() > expected.length {
                return Err(Error::Bytes("there are more than announced"));
            }
            file.write_all(&chunk).await.map_err(unstorable)?;
        }
        if digester.length() != expected.length {
            return Err(Error::Bytes("there are fewer than announced"));
        }
        if digester.digest() != expected.sha256 {
            return Err(Error::Bytes("their SHA-256 is another one"));
        }
        file.flush().await.map_err(unstorable)?;
        file.sync_all().await.map_err(unstorable)?;
        // A link, unlike a rename, never replaces: of two uploads one creates.
        let created = blocking(move || {
            let folder = path.parent().unwrap_or(Path::new("."));
            file::make_folder(folder)?;
            match fs::hard_link(&beside, &path) {
                Ok(()) => file::sync_folder(folder).map(|()| true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await?;
        if created { Ok(()) } else { Err(exists()) }
    }

    /// Checks that an object lies there as announced, by reading it.
    pub(super) async fn expect(
        &self,
        session: &str,
        number: u64,
        length: u64,
        sha256: Digest,
    ) -> Result<(), Error> {
        let path = self.path(session, number)?;
        let stored = blocking(move || match fs::File::open(path) {
            Ok(mut file) => {
                let mut digester = Digester::default();
                let mut buffer = vec![0; 1 << 16];
                loop {
                    let read = io::Read::read(&mut file, &mut buffer)?;
                    if read == 0 {
                        return Ok(Some((digester.length(), digester.digest())));
                    }
                    digester.update(buffer.get(..read).unwrap_or_default());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await?;
        if stored == Some((length, sha256)) {
            Ok(())
        } else {
            Err(Error::NotStored { session: session.to_owned(), number })
        }
    }

    /// Where an object lies; the id is checked, so that no path leads elsewhere.
    pub(super) fn path(&self, session: &str, number: u64) -> Result<PathBuf, Error> {
        Ok(self.folder(session)?.join(format!("{number}.fgseg")))
    }

    fn folder(&self, session: &str) -> Result<PathBuf, Error> {
        if !is_session(session) {
            return Err(Error::Malformed("session id"));
        }
        Ok(self.root.join(session))
    }
}

/// A UUID in its usual spelling.
pub(super) fn is_session(session: &str) -> bool {
    Uuid::try_parse(session).is_ok_and(|id| id.to_string() == session)
}

/// Removes a file that is not wanted any more, whatever way its function ends.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(unstorable),
        Err(error) => Err(Error::Unstorable(error.to_string())),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "stands where errors are mapped")]
fn unstorable(error: io::Error) -> Error {
    Error::Unstorable(error.to_string())
}
