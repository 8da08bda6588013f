//! Keeps evidence: entry format, hash chain, verifier, export.
//!
//! # The format on one page
//!
//! A recording is a folder `<session>/` of segment files `<number>.fgseg`, numbered from 0. All numbers are big endian.
//!
//! ```text
//! file    = magic frame*
//! magic   = "FGSEG" 00 01 0a                      8 bytes: name, version 1
//! frame   = kind flags zero zero raw stored link body
//!   kind    1 byte    'H' header, 'E' entry, 'P' payload, 'S' seal
//!   flags   1 byte    bit 0: the body is zstd-compressed
//!   raw     4 bytes   length of the body before compression, at most 16 MiB
//!   stored  4 bytes   length of the body in the file
//!   link    32 bytes  SHA-256(link of the frame before || the 12 bytes from kind to stored || body)
//!   body    `stored` bytes
//! ```
//!
//! The link before the first frame of a file is 32 zero bytes; what binds a segment to the one before is the SHA-256 of
//! that whole file in its header. So the chain runs through all frames of a session, and a single segment can be
//! checked by itself.
//!
//! - **H**, the first frame of every segment: JSON [`segment::Header`]: session, segment number, number of its first
//!   entry, SHA-256 of the previous segment's file, and the operator's certificate over the session's key.
//! - **E**: JSON [`Entry`]. Entries are numbered through the session, from 0, without a hole.
//! - **P**: the bytes that the [`entry::Rows`] entry right before it announces, exactly as the agent saw them.
//! - **S**, the last frame of a sealed segment: JSON [`Signed`] over a [`Seal`], by the session's key.
//!
//! A signature is Ed25519 over a context line and the exact bytes of a JSON object, which stands beside it as base64.
//! The certificate (context `frostgate certificate v1`) must be signed by the key that the auditor already holds; the
//! seal (context `frostgate seal v1`) by the certified key; both context lines end in a line feed.
//!
//! While a session runs, its last segment is the same file without a seal. After a crash the bytes behind the last
//! whole frame are cut off, a [`entry::Recovered`] entry is added, and the segment stays without a seal for ever: what
//! stands in it is chained but not signed. Only the operator's ledger ([`ledger`]) can tell whether a recording that
//! ends without a closing entry is open, lost, or was shortened.
//!
//! Start at [`verify::verify`]; [`segment::Writer`] is its mirror.

pub mod digest;
pub mod entry;
pub mod export;
pub mod ledger;
pub mod rows;
pub mod seal;
pub mod segment;
pub mod transcript;
pub mod verify;

pub use digest::{Digest, Digester};
pub use entry::{Entry, Fact};
pub use seal::{Certificate, Grant, PublicKey, Seal, Signed, SigningKey};
