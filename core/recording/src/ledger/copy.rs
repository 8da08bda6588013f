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
