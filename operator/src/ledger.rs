//! The ledger: what the operator remembers for auditors, and where recordings are kept.
//!
//! ```text
//!   <root>/ledger/       checkpoint, tile/..., journal       the Merkle log        log, journal
//!   <root>/recordings/   <session>/<number>.fgseg            what sidecars ship    store, tickets
//!   <root>/sessions      living sessions                     for a restart         sessions
//! ```
//!
//! One process writes: the folder is locked. Whatever is promised is on disk first: an append
//! returns after its fsync, a segment is acknowledged after its own. Start at [`Ledger::open`],
//! which reads the whole log back and refuses to go on with a broken one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use control::{Grant, SealNotice, SegmentAsk, SignedGrant, Ticket};
use recording::ledger::{Fact, Leaf, VerifierKey};
use recording::{Digest, PublicKey, Signed};
use tokio::sync::watch;
use url::Url;

mod file;
mod journal;
mod key;
mod log;
mod serve;
mod sessions;
mod store;
mod tickets;
mod upload;

pub use key::{Key, KeyError};
pub use log::OpenError;
pub use recording::ledger::ReaderKey;
pub use serve::{Recording, Recordings, new_reader_key, serve_router};
pub use sessions::KeptSession;
pub use store::SEGMENT_BYTES_MAX;
pub use upload::upload_router;

/// Where the ledger lives and what it must agree with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder on the operator's volume.
    pub root: PathBuf,
    /// Where sidecars reach [`upload_router`], such as `https://frostgate.frostgate-system.svc:8443`.
    pub uploads: Url,
    /// How long a leaf may wait for its checkpoint.
    pub publish_every: Duration,
    /// A checkpoint published earlier and kept elsewhere: a log that does not begin with it was rewound.
    pub known: Option<Vec<u8>>,
    /// The key before this one: the log goes on under the new key behind a `KeyRotated` leaf.
    pub previous: Option<VerifierKey>,
}

impl Settings {
    /// The usual settings: a checkpoint within a second of a leaf.
    pub fn new(root: impl Into<PathBuf>, uploads: Url) -> Self {
        let publish_every = Duration::from_secs(1);
        Self { root: root.into(), uploads, publish_every, known: None, previous: None }
    }
}

/// The ledger of one operator.
#[derive(Debug)]
pub struct Ledger {
    key: Arc<Key>,
    log: log::Log,
    store: store::Store,
    tickets: tickets::Tickets,
    sessions: sessions::Sessions,
    index: Mutex<Index>,
    /// One seal, opening or closing at a time: the index is asked before a leaf and told after it.
    turn: tokio::sync::Mutex<()>,
}

/// Why the ledger refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The disk does not take any more.
    #[error("the ledger cannot be written: {0}; check the operator's volume")]
    Unwritable(String),
    /// The recordings' folder does not take any more.
    #[error("the recording cannot be stored: {0}; check the operator's volume")]
    Unstorable(String),
    /// The session was never opened here.
    #[error("session {0} is not in the ledger")]
    UnknownSession(String),
    /// The session is over.
    #[error("session {0} is closed")]
    ClosedSession(String),
    /// A credential, grant or seal of a session would be out of its order.
    #[error("segment {number} of session {session} cannot be sealed: the next one is {next}")]
    OutOfOrder {
        /// The session.
        session: String,
        /// The segment that was announced.
        number: u64,
        /// The one that must come.
        next: u64,
    },
    /// A segment with this number is sealed already, with other bytes.
    #[error("segment {number} of session {session} is sealed already with other bytes")]
    SealedOtherwise {
        /// The session.
        session: String,
        /// The segment.
        number: u64,
    },
    /// What was announced is not what is stored.
    #[error("segment {number} of session {session} is not stored as announced; upload it again")]
    NotStored {
        /// The session.
        session: String,
        /// The segment.
        number: u64,
    },
    /// A segment that no store takes.
    #[error("a segment must have 1 to {SEGMENT_BYTES_MAX} bytes, this one has {0}")]
    SegmentSize(u64),
    /// Not an id, digest or key of ours.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The upload ticket is not valid for this request.
    #[error("the upload ticket is not valid: {0}; ask for a new one")]
    Ticket(&'static str),
    /// The object exists; stores are create-only.
    #[error("segment {number} of session {session} is stored already")]
    Exists {
        /// The session.
        session: String,
        /// The segment.
        number: u64,
    },
    /// The bytes received are not those the ticket is for.
    #[error("the uploaded bytes are not those of the ticket: {0}")]
    Bytes(&'static str),
}

impl Error {
    /// What a caller over the control API reads.
    pub fn problem(&self) -> control::Problem {
        let (code, retryable) = match self {
            Self::Unwritable(_) | Self::Unstorable(_) => ("FG-5003", true),
            Self::UnknownSession(_) | Self::ClosedSession(_) => ("FG-1004", false),
            Self::Ticket(_) => ("FG-5004", true),
            Self::NotStored { .. } | Self::Bytes(_) => ("FG-5005", true),
            Self::Exists { .. } | Self::SealedOtherwise { .. } => ("FG-5006", false),
            Self::OutOfOrder { .. } => ("FG-5007", false),
            Self::SegmentSize(_) => ("FG-6002", false),
            Self::Malformed(_) => ("FG-6001", false),
        };
        control::Problem { code: code.into(), message: self.to_string(), retryable }
    }

    /// The HTTP status that goes with it.
    pub fn status(&self) -> http::StatusCode {
        use http::StatusCode as Status;
        match self {
            Self::Unwritable(_) | Self::Unstorable(_) => Status::INSUFFICIENT_STORAGE,
            Self::UnknownSession(_) | Self::ClosedSession(_) => Status::NOT_FOUND,
            Self::Ticket(_) => Status::FORBIDDEN,
            Self::Exists { .. } => Status::PRECONDITION_FAILED,
            Self::OutOfOrder { .. } | Self::SealedOtherwise { .. } | Self::NotStored { .. } => {
                Status::CONFLICT
            }
            Self::SegmentSize(_) => Status::PAYLOAD_TOO_LARGE,
            Self::Malformed(_) | Self::Bytes(_) => Status::BAD_REQUEST,
        }
    }
}

/// What the leaves say of each session; rebuilt from them at every start.
#[derive(Debug, Default)]
struct Index {
    sessions: BTreeMap<String, Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    connection: String,
    opened_at_ms: i64,
    closed: Option<(i64, String)>,
    segments: u64,
    bytes: u64,
    last: Option<Digest>,
    is_final: bool,
}

impl Index {
    fn apply(&mut self, leaf: &Leaf) {
        let Some(session) = leaf.fact.session() else { return };
        let seen = self.sessions.entry(session.to_owned()).or_default();
        match &leaf.fact {
            Fact::SessionOpened { connection, .. } => {
                seen.opened_at_ms = leaf.at_ms;
                seen.connection.clone_from(connection);
            }
            Fact::SegmentSealed { number, sha256, length, is_final, .. } => {
                seen.segments = number + 1;
                seen.bytes += length;
                seen.last = Some(*sha256);
                seen.is_final |= is_final;
            }
            Fact::SessionClosed { reason, .. } => seen.closed = Some((leaf.at_ms, reason.clone())),
            _ => {}
        }
    }
}

impl Ledger {
    /// Opens the ledger in its folder, or begins one there; blocks while it reads everything back.
    ///
    /// # Errors
    /// If the folder is in use, or what is in it is not a whole log of this key. Nothing is
    /// repaired but an append that was cut off before anybody was told of it.
    pub fn open(settings: Settings, key: Key) -> Result<Arc<Self>, OpenError> {
        let key = Arc::new(key);
        let lock = file::Lock::take(&settings.root)?;
        let (log, leaves) = log::Log::open(&settings, Arc::clone(&key), lock)?;
        let mut index = Index::default();
        leaves.iter().for_each(|leaf| index.apply(leaf));
        let sessions = sessions::Sessions::open(&settings.root.join("sessions"))?;
        let store = store::Store::open(&settings.root.join("recordings"))?;
        let tickets =
            tickets::Tickets::new(key.derive(b"frostgate upload tickets v1"), settings.uploads);
        Ok(Arc::new(Self {
            key,
            log,
            store,
            tickets,
            sessions,
            index: Mutex::new(index),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    /// The key that auditors must hold: publish it where they can trust it.
    pub fn verifier_key(&self) -> VerifierKey {
        self.key.verifier_key()
    }

    /// The public key that signs grants and certificates.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(*self.key.verifier_key().public())
    }

    /// The key of the `Hash` masks of a connection (`namespace/name`): the same for as long as the ledger's key is.
    pub fn mask_key(&self, connection: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.key.derive(b"frostgate mask keys v1"), connection.as_bytes());
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        key
    }

    /// The checkpoint published last; changes with every publication.
    pub fn checkpoints(&self) -> watch::Receiver<Arc<[u8]>> {
        self.log.checkpoints()
    }

    /// Remembers a session, durably: before this returns no credential may exist for it.
    ///
    /// # Errors
    /// If the disk does not take it: the session must not open.
    pub async fn open_session(
        &self,
        session: &KeptSession,
        policy_hash: &str,
        recording_key: PublicKey,
    ) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.store.describe(session).await?;
        self.sessions.keep(session).await?;
        self.append(Fact::SessionOpened {
            session: session.session.clone(),
            pod_uid: session.principal.workload.pod_uid.clone(),
            connection: session.connection.clone(),
            policy_hash: policy_hash.to_owned(),
            recording_key: Digest::of(&recording_key.0),
        })
        .await
    }

    /// Remembers that a way to log in is about to exist, durably, and for whom.
    ///
    /// # Errors
    /// If the session is not open, or the disk does not take it: nothing may be minted.
    pub async fn mint(
        &self,
        session: &KeptSession,
        mode: &str,
        user: &str,
        expires_at_ms: i64,
    ) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let seen = self.seen(&session.session)?;
        if seen.closed.is_some() {
            return Err(Error::ClosedSession(session.session.clone()));
        }
        self.sessions.keep(session).await?;
        self.append(Fact::CredentialMinted {
            session: session.session.clone(),
            mode: mode.to_owned(),
            user: Digest::of(user.as_bytes()),
            expires_at_ms,
        })
        .await
    }

    /// Remembers that a credential no longer logs in.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub async fn drop_credential(
        &self,
        session: &str,
        user: &str,
        reason: &str,
    ) -> Result<(), Error> {
        self.append(Fact::CredentialDropped {
            session: session.to_owned(),
            user: Digest::of(user.as_bytes()),
            reason: reason.to_owned(),
        })
        .await
    }

    /// Remembers that a session is over; closing it again changes nothing.
    ///
    /// The session stays among [`Ledger::living`] until [`Ledger::forget`]: its credential may
    /// still have to be dropped.
    ///
    /// # Errors
    /// If the session is unknown or the disk does not take it.
    pub async fn close_session(&self, session: &str, reason: &str) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let seen = self.seen(session)?;
        if seen.closed.is_some() {
            return Ok(());
        }
        self.append(Fact::SessionClosed {
            session: session.to_owned(),
            reason: reason.to_owned(),
            last: seen.segments.checked_sub(1),
        })
        .await
    }

    /// Sessions that were not forgotten, also those of before a restart.
    pub fn living(&self) -> Vec<KeptSession> {
        self.sessions.all()
    }

    /// Changes what is kept of a session for a restart, such as its expiry.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub async fn keep(&self, session: &KeptSession) -> Result<(), Error> {
        self.sessions.keep(session).await
    }

    /// Nothing of the session is left to clean up.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub async fn forget(&self, session: &str) -> Result<(), Error> {
        self.sessions.forget(session).await
    }

    /// Whether the ledger holds the end of the session; `None` if it never held its beginning.
    pub fn is_closed(&self, session: &str) -> Option<bool> {
        self.seen(session).ok().map(|seen| seen.closed.is_some())
    }

    /// Remembers a fact that is about no recording: a policy, a decision.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub async fn append(&self, fact: Fact) -> Result<(), Error> {
        let leaf = Leaf::new(jiff::Timestamp::now().as_millisecond(), fact);
        self.log.append(&leaf).await?;
        self.index.lock().unwrap_or_else(PoisonError::into_inner).apply(&leaf);
        Ok(())
    }

    /// Certifies a session's recording key.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn certify(
        &self,
        session: &KeptSession,
        recording_key: PublicKey,
        not_after_ms: i64,
    ) -> Result<Signed, Error> {
        let certificate = recording::Certificate {
            v: 1,
            session: session.session.clone(),
            key: recording_key,
            pod_uid: session.principal.workload.pod_uid.clone(),
            issued_at_ms: session.opened_at_ms,
            not_after_ms,
        };
        Signed::sign(recording::seal::CERTIFICATE_CONTEXT, &certificate, self.key.signing())
            .map_err(|_| Error::Malformed("certificate"))
    }

    /// Signs a grant and remembers that it was signed, durably, before anybody holds it.
    ///
    /// # Errors
    /// If the disk does not take it: the grant does not exist then.
    pub async fn sign_grant(&self, grant: &Grant) -> Result<SignedGrant, Error> {
        let Signed { payload, signature } =
            Signed::sign(control::approval::GRANT_CONTEXT, grant, self.key.signing())
                .map_err(|_| Error::Malformed("grant"))?;
        let json = serde_json::to_vec(grant).map_err(|_| Error::Malformed("grant"))?;
        self.append(Fact::GrantSigned {
            session: grant.session.clone(),
            statement: grant.statement.clone(),
            request: grant.request_uid.clone(),
            grant: Digest::of(&json),
            expires_at_ms: grant.expires_at_ms,
        })
        .await?;
        Ok(SignedGrant { payload, signature })
    }

    /// A ticket to upload one segment once.
    ///
    /// # Errors
    /// If the session is unknown or the segment can never be stored.
    pub fn ticket(&self, session: &str, ask: &SegmentAsk) -> Result<Ticket, Error> {
        self.seen(session)?;
        self.tickets.issue(session, ask, jiff::Timestamp::now().as_millisecond())
    }

    /// Remembers a segment that lies in the store; telling the last one again changes nothing.
    ///
    /// # Errors
    /// If it is not stored as announced, or not the next one of its session.
    pub async fn seal(&self, session: &str, notice: &SealNotice) -> Result<(), Error> {
        let sha256: Digest = notice.sha256.parse().map_err(|_| Error::Malformed("sha256"))?;
        let head: Digest = notice.head.parse().map_err(|_| Error::Malformed("head"))?;
        let _turn = self.turn.lock().await;
        let seen = self.seen(session)?;
        let number = notice.number;
        if number + 1 == seen.segments {
            return if seen.last == Some(sha256) {
                Ok(())
            } else {
                Err(Error::SealedOtherwise { session: session.to_owned(), number })
            };
        }
        if number != seen.segments || seen.is_final {
            return Err(Error::OutOfOrder {
                session: session.to_owned(),
                number,
                next: seen.segments,
            });
        }
        self.store.expect(session, number, notice.length, sha256).await?;
        self.append(Fact::SegmentSealed {
            session: session.to_owned(),
            number,
            sha256,
            length: notice.length,
            first_entry: notice.first_entry,
            last_entry: notice.last_entry,
            head,
            is_final: notice.is_final,
        })
        .await
    }

    fn seen(&self, session: &str) -> Result<Seen, Error> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index
            .sessions
            .get(session)
            .cloned()
            .ok_or_else(|| Error::UnknownSession(session.to_owned()))
    }
}

#[cfg(test)]
mod tests;
