//! Checking a copy of the log: every leaf, every tile, the root, the signature.

use super::checkpoint::{Checkpoint, CheckpointError};
use super::leaf::Leaf;
use super::note::VerifierKey;
use super::tile::{self, Tile};
use super::tree::{Hash, Tree, leaf_hash};

/// A log whose every byte was checked.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The head the key signed.
    pub checkpoint: Checkpoint,
    /// All leaves in order.
    pub leaves: Vec<Leaf>,
    /// The tree, ready to grow on.
    pub tree: Tree,
}

/// Where a copy of the log is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// There is no head.
    #[error("the log has no checkpoint")]
    NoCheckpoint,
    /// The head is not believed.
    #[error("the log's checkpoint is not valid: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A file of the log is gone.
    #[error("`{path}` is missing from the log, which has {size} leaves")]
    Missing {
        /// Path below the log's folder.
        path: String,
        /// How many leaves the checkpoint says there are.
        size: u64,
    },
    /// A bundle of leaves is not as long as it must be.
    #[error("`{path}` does not hold the {expected} leaves it must hold")]
    Bundle {
        /// Path below the log's folder.
        path: String,
        /// How many leaves must be in it.
        expected: u16,
    },
    /// A leaf is not the one that was hashed into the tree.
    #[error("leaf {index} in `{path}` is not the one that was appended")]
    Leaf {
        /// Number of the leaf.
        index: u64,
        /// Path of its bundle.
        path: String,
    },
    /// A leaf that was appended is no JSON of ours.
    #[error("leaf {0} is not a leaf of Frostgate")]
    Foreign(u64),
    /// A tile is not what the leaves hash to.
    #[error("`{0}` does not belong to the leaves of the log")]
    Tile(String),
    /// Leaves and tiles agree with each other, but not with the signature.
    #[error("the root over the {0} leaves is not the one that the checkpoint signs")]
    Root(u64),
    /// An earlier head is not the beginning of this log.
    #[error("the log was rewound or forked: it no longer begins with the {0} leaves known before")]
    Forked(u64),
}

/// Rebuilds the log from its leaves and compares every tile and the signed root.
///
/// `read` gives the file at a path below the log's folder. With `known`, a checkpoint that was
/// verified earlier, the log must begin with it.
///
/// # Errors
/// Names the first place where the copy is broken.
pub fn check(
    mut read: impl FnMut(&str) -> Option<Vec<u8>>,
    key: &VerifierKey,
    known: Option<&Checkpoint>,
) -> Result<Checked, CopyError> {
    let note = read(tile::CHECKPOINT_PATH).ok_or(CopyError::NoCheckpoint)?;
    let checkpoint = Checkpoint::open(&note, key)?;
    let size = checkpoint.size;
    if known.is_some_and(|known| known.size > size) {
        return Err(CopyError::Forked(known.map_or(0, |known| known.size)));
    }

    let mut leaves = Vec::new();
    let mut tree = Tree::default();
    let mut is_known = known.is_none_or(|known| known.size == 0);
    for tile in tile::tiles(size).take_while(|tile| tile.level == 0) {
        let path = tile.bundle_path();
        let bundle = fetch(&mut read, tile, Tile::bundle_path)
            .ok_or_else(|| CopyError::Missing { path: path.clone(), size })?;
        let bundled = tile::decode_bundle(&bundle)
            // A full bundle may stand in for a partial one: its first leaves are the same.
            .filter(|leaves| leaves.len() >= usize::from(tile.width))
            .ok_or_else(|| CopyError::Bundle { path: path.clone(), expected: tile.width })?;
        let hashes = fetch(&mut read, tile, Tile::path)
            .ok_or_else(|| CopyError::Missing { path: tile.path(), size })?;
        let (hashes, rest) = hashes.as_chunks::<32>();
        if hashes.len() < usize::from(tile.width) || !rest.is_empty() {
            return Err(CopyError::Tile(tile.path()));
        }
        for (leaf, expected) in bundled.iter().zip(hashes).take(usize::from(tile.width)) {
            let index = tree.size();
            let hash = leaf_hash(leaf);
            if hash != *expected {
                return Err(CopyError::Leaf { index, path });
            }
            leaves.push(serde_json::from_slice(leaf).map_err(|_| CopyError::Foreign(index))?);
            for (full, hashes) in tree.push(hash).into_iter().filter(|(tile, _)| tile.level > 0) {
                compare(&mut read, full, &hashes, size)?;
            }
            if let Some(known) = known.filter(|known| known.size == tree.size()) {
                is_known = known.root == tree.root();
            }
        }
    }
    for (partial, hashes) in tree.partial_tiles().filter(|(tile, _)| tile.level > 0) {
        compare(&mut read, partial, hashes, size)?;
    }
    if tree.root() != checkpoint.root {
        return Err(CopyError::Root(size));
    }
    if !is_known {
        return Err(CopyError::Forked(known.map_or(0, |known| known.size)));
    }
    Ok(Checked { checkpoint, leaves, tree })
}

/// A tile's file; a log may drop a partial tile once the full one is there.
fn fetch(
    read: &mut impl FnMut(&str) -> Option<Vec<u8>>,
    tile: Tile,
    path: fn(Tile) -> String,
) -> Option<Vec<u8>> {
    read(&path(tile)).or_else(|| read(&path(tile.full())))
}

fn compare(
    read: &mut impl FnMut(&str) -> Option<Vec<u8>>,
    tile: Tile,
    hashes: &[Hash],
    size: u64,
) -> Result<(), CopyError> {
    let bytes = fetch(read, tile, Tile::path)
        .ok_or_else(|| CopyError::Missing { path: tile.path(), size })?;
    if bytes.len() % 32 == 0 && bytes.starts_with(&tile::encode(hashes)) {
        Ok(())
    } else {
        Err(CopyError::Tile(tile.path()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;
    use crate::ledger::leaf::Fact;

    type Files = BTreeMap<String, Vec<u8>>;

    struct Log {
        pair: Ed25519KeyPair,
        key: VerifierKey,
    }

    impl Log {
        fn new() -> Self {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
            let public = pair.public_key().as_ref().try_into().unwrap();
            Self { pair, key: VerifierKey::new("log.example/test", public).unwrap() }
        }

        /// The files of a log over the given leaves.
        fn files(&self, leaves: &[Vec<u8>]) -> Files {
            let mut files = Files::new();
            let mut tree = Tree::default();
            for leaf in leaves {
                for (tile, hashes) in tree.push(leaf_hash(leaf)) {
                    files.insert(tile.path(), tile::encode(&hashes));
                }
            }
            for (tile, hashes) in tree.partial_tiles() {
                files.insert(tile.path(), tile::encode(hashes));
            }
            for (tile, leaves) in
                tile::tiles(leaves.len() as u64).zip(leaves.chunks(usize::from(tile::WIDTH)))
            {
                let bundle = tile::encode_bundle(leaves.iter().map(Vec::as_slice)).unwrap();
                files.insert(tile.bundle_path(), bundle);
            }
            let head = self.head(tree.size(), tree.root());
            files.insert(tile::CHECKPOINT_PATH.into(), head.sign(&self.pair).unwrap());
            files
        }

        fn head(&self, size: u64, root: Hash) -> Checkpoint {
            Checkpoint { origin: self.key.name().into(), size, root }
        }

        fn check(&self, files: &Files) -> Result<Checked, CopyError> {
            check(|path| files.get(path).cloned(), &self.key, None)
        }
    }

    fn leaves(count: u64) -> Vec<Vec<u8>> {
        (0..count)
            .map(|number| {
                let fact = Fact::SessionClosed {
                    session: format!("session-{number}"),
                    reason: "Logout".into(),
                    last: Some(number),
                };
                serde_json::to_vec(&Leaf::new(number as i64, fact)).unwrap()
            })
            .collect()
    }

    #[test]
    fn an_untouched_log_is_intact_at_every_size() {
        let log = Log::new();
        for size in [0, 1, 2, 255, 256, 257, 512, 600] {
            let checked = log.check(&log.files(&leaves(size))).unwrap();
            assert_eq!(checked.leaves.len() as u64, size);
            assert_eq!(checked.checkpoint.size, size);
        }
    }

    #[test]
    fn full_tiles_stand_in_for_partial_ones_that_were_dropped() {
        let log = Log::new();
        let mut files = log.files(&leaves(512));
        let early = log.files(&leaves(300));
        let head = early[tile::CHECKPOINT_PATH].clone();
        files.insert(tile::CHECKPOINT_PATH.into(), head);
        files.insert("tile/1/000.p/1".into(), early["tile/1/000.p/1"].clone());
        assert_eq!(log.check(&files).unwrap().leaves.len(), 300);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let log = Log::new();
        let files = log.files(&leaves(300));
        for (path, bytes) in &files {
            for place in (0..bytes.len()).step_by(211).chain([bytes.len() - 1]) {
                let mut altered = files.clone();
                altered.get_mut(path).unwrap()[place] ^= 4;
                assert!(log.check(&altered).is_err(), "{path}:{place} flipped");
                let mut cut = files.clone();
                cut.get_mut(path).unwrap().truncate(place);
                assert!(log.check(&cut).is_err(), "{path} cut at {place}");
            }
            let mut without = files.clone();
            without.remove(path);
            assert!(log.check(&without).is_err(), "{path} removed");
        }
    }

    #[test]
    fn tampering_is_named_at_its_place() {
        let log = Log::new();
        let good = leaves(300);
        let files = log.files(&good);
        let bundle =
            |leaves: &[Vec<u8>]| tile::encode_bundle(leaves.iter().map(Vec::as_slice)).unwrap();
        let mut reordered = good[..256].to_vec();
        reordered.swap(9, 10);
        let mut changed = good[..256].to_vec();
        changed[77] =
            String::from_utf8(changed[77].clone()).unwrap().replace("Logout", "Expire").into();
        // An insider rewrites leaves and tiles alike, but has not the key.
        let mut rewritten = good.clone();
        rewritten[77] = changed[77].clone();
        let mut forged = log.files(&rewritten);
        forged.insert(tile::CHECKPOINT_PATH.into(), files[tile::CHECKPOINT_PATH].clone());
        let mut shortened = log.files(&good[..299]);
        shortened.insert(tile::CHECKPOINT_PATH.into(), files[tile::CHECKPOINT_PATH].clone());

        let with = |path: &str, bytes: Vec<u8>| {
            let mut files = files.clone();
            files.insert(path.into(), bytes);
            files
        };
        let entries = "tile/entries/000".to_owned();
        let cases = [
            (
                "changed",
                with(&entries, bundle(&changed)),
                CopyError::Leaf { index: 77, path: entries.clone() },
            ),
            (
                "reordered",
                with(&entries, bundle(&reordered)),
                CopyError::Leaf { index: 9, path: entries.clone() },
            ),
            (
                "dropped",
                with(&entries, bundle(&good[1..256])),
                CopyError::Bundle { path: entries.clone(), expected: 256 },
            ),
            ("rewritten whole", forged, CopyError::Root(300)),
            (
                "shortened",
                shortened,
                CopyError::Missing { path: "tile/entries/001.p/44".into(), size: 300 },
            ),
            (
                "inner tile",
                with("tile/1/000.p/1", vec![1; 32]),
                CopyError::Tile("tile/1/000.p/1".into()),
            ),
        ];
        for (what, files, error) in cases {
            assert_eq!(log.check(&files).unwrap_err(), error, "{what}");
        }
    }

    #[test]
    fn a_log_that_no_longer_begins_as_it_was_known_is_forked() {
        let log = Log::new();
        let read = |files: Files| move |path: &str| files.get(path).cloned();
        let known = log.check(&log.files(&leaves(260))).unwrap().checkpoint;
        let grown = log.files(&leaves(300));
        assert!(check(read(grown.clone()), &log.key, Some(&known)).is_ok());
        assert!(check(read(log.files(&leaves(260))), &log.key, Some(&known)).is_ok());
        let rewound = log.files(&leaves(259));
        let error = check(read(rewound), &log.key, Some(&known)).unwrap_err();
        assert_eq!(error, CopyError::Forked(260));
        let other = log.head(260, [3; 32]);
        let error = check(read(grown), &log.key, Some(&other)).unwrap_err();
        assert_eq!(error, CopyError::Forked(260));
    }

    #[test]
    fn a_leaf_that_is_none_of_ours_is_named() {
        let log = Log::new();
        let mut leaves = leaves(3);
        leaves[1] = b"[]".to_vec();
        assert_eq!(log.check(&log.files(&leaves)).unwrap_err(), CopyError::Foreign(1));
    }
}
