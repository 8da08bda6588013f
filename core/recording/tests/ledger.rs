//! The golden log in `vectors/ledger`: this crate writes exactly its bytes and reads it as intact.
//!
//! `e2e/verifier/go` checks the same files with Go's `sumdb/tlog` and `sumdb/note`, so a change of
//! the format cannot go unseen by agreeing with itself.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads files, and ends when it cannot"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use recording::Digest;
use recording::ledger::{Checkpoint, Fact, Leaf, Tree, VerifierKey, check, leaf_hash, tile};

const NAME: &str = "frostgate.dev/ledger/golden";
const LEAVES: u64 = 300;
/// The size at which the known checkpoint was taken.
const KNOWN: u64 = 258;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/ledger")
}

fn leaves() -> Vec<Vec<u8>> {
    let facts = (0..LEAVES).map(|number| {
        let session = format!("01890a5d-ac96-774b-bcce-{number:012}");
        let digest = Digest::of(&number.to_be_bytes());
        match number % 4 {
            0 => Fact::SessionOpened {
                session,
                pod_uid: format!("pod-{number}"),
                connection: "data/prod".into(),
                policy_hash: digest.to_string(),
                recording_key: digest,
            },
            1 => Fact::CredentialMinted {
                session,
                mode: "EphemeralUser".into(),
                user: digest,
                expires_at_ms: 1_700_000_900_000,
            },
            2 => Fact::SegmentSealed {
                session,
                number: 0,
                sha256: digest,
                length: 100 + number,
                first_entry: 0,
                last_entry: number,
                head: digest,
                is_final: true,
            },
            _ => Fact::SessionClosed { session, reason: "Logout".into(), last: Some(0) },
        }
    });
    (1_700_000_000_000..)
        .zip(facts)
        .map(|(at_ms, fact)| serde_json::to_vec(&Leaf::new(at_ms, fact)).unwrap())
        .collect()
}

/// Every file of the golden log, written from nothing.
fn written() -> BTreeMap<String, Vec<u8>> {
    let key = Ed25519KeyPair::from_seed_unchecked(&[42; 32]).unwrap();
    let verifier = VerifierKey::new(NAME, key.public_key().as_ref().try_into().unwrap()).unwrap();
    let mut files = BTreeMap::from([("key".to_owned(), format!("{verifier}\n").into_bytes())]);
    let mut tree = Tree::default();
    let sign = |tree: &Tree| {
        let head = Checkpoint { origin: NAME.into(), size: tree.size(), root: tree.root() };
        head.sign(&key).unwrap()
    };
    let leaves = leaves();
    for leaf in &leaves {
        for (tile, hashes) in tree.push(leaf_hash(leaf)) {
            files.insert(tile.path(), tile::encode(&hashes));
        }
        if tree.size() == KNOWN {
            files.insert("known".into(), sign(&tree));
        }
    }
    for (tile, hashes) in tree.partial_tiles() {
        files.insert(tile.path(), tile::encode(hashes));
    }
    for (tile, leaves) in tile::tiles(LEAVES).zip(leaves.chunks(usize::from(tile::WIDTH))) {
        let bundle = tile::encode_bundle(leaves.iter().map(Vec::as_slice)).unwrap();
        files.insert(tile.bundle_path(), bundle);
    }
    files.insert(tile::CHECKPOINT_PATH.into(), sign(&tree));
    files
}

#[test]
fn the_golden_log_is_written_byte_by_byte() {
    for (path, bytes) in written() {
        let golden = fs::read(folder().join(&path)).unwrap();
        assert!(golden == bytes, "{path} is not written as it was: the format changed");
    }
}

#[test]
fn the_golden_log_is_intact_and_begins_as_it_was_known() {
    let read = |path: &str| fs::read(folder().join(path)).ok();
    let key: VerifierKey =
        fs::read_to_string(folder().join("key")).unwrap().trim().parse().unwrap();
    let known = Checkpoint::open(&read("known").unwrap(), &key).unwrap();
    let checked = check(read, &key, Some(&known)).unwrap();
    assert_eq!((known.size, checked.leaves.len() as u64), (KNOWN, LEAVES));
}

#[test]
#[ignore = "rewrites the golden log: run it only when the format is meant to change"]
fn write_the_golden_log() {
    for (path, bytes) in written() {
        let path = folder().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
