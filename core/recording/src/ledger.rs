//! The operator's ledger: one append-only Merkle tree over sessions, seals, approvals and credentials.
//!
//! ```text
//! Leaf -> JSON bytes -> leaf hash -> Tree -> root -> Checkpoint -> signed Note
//!                          |          |
//!               tile/entries/<N>   tile/<L>/<N>          (C2SP tlog-tiles: plain files)
//! ```
//!
//! The tree is RFC 6962's, the files are laid out as C2SP tlog-tiles, the head is a C2SP
//! checkpoint (a signed note, Ed25519): any verifier of those formats can check the log. Start at
//! [`check`], which rebuilds a copy of the log from nothing and compares every byte.

pub mod checkpoint;
pub mod copy;
pub mod leaf;
pub mod note;
pub mod proof;
pub mod reader;
pub mod tile;
pub mod tree;

pub use checkpoint::Checkpoint;
pub use copy::{Checked, CopyError, check};
pub use leaf::{Fact, Leaf};
pub use note::{KeyError, Note, NoteError, VerifierKey};
pub use reader::{READER_HEADER, ReaderKey};
pub use tile::Tile;
pub use tree::{Hash, Tree, leaf_hash, node_hash};
