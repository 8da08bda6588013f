//! Inclusion and consistency proofs (RFC 9162, 2.1.3 and 2.1.4).
//!
//! Proving reads hashes of perfect subtrees through a closure `(level, index) -> Hash`, where
//! level 0 are the leaf hashes; [`from_tiles`] makes one of a tile reader. Verifying needs the
//! proof alone.

use super::tile::{self, Tile};
use super::tree::{Hash, node_hash, perfect};

/// Proves that leaf `index` is in the tree of `size` leaves; `None` if a hash is missing or there
/// is no such leaf.
pub fn inclusion(
    index: u64,
    size: u64,
    read: &mut impl FnMut(u32, u64) -> Option<Hash>,
) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(subtree(middle, end, read)?);
            end = middle;
        } else {
            proof.push(subtree(start, middle, read)?);
            start = middle;
        }
    }
    proof.reverse();
    Some(proof)
}

/// Whether `proof` shows that `leaf` is leaf `index` of the tree with `size` and `root`.
pub fn includes(leaf: &Hash, index: u64, size: u64, root: &Hash, proof: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for step in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(step, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Proves that the tree of `old` leaves is the beginning of that of `new` leaves.
pub fn consistency(
    old: u64,
    new: u64,
    read: &mut impl FnMut(u32, u64) -> Option<Hash>,
) -> Option<Vec<Hash>> {
    if old == 0 || old > new {
        return None;
    }
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, new);
    let mut is_old_root = true;
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(subtree(middle, end, read)?);
            end = middle;
        } else {
            proof.push(subtree(start, middle, read)?);
            start = middle;
            is_old_root = false;
        }
    }
    if !is_old_root {
        proof.push(subtree(start, end, read)?);
    }
    proof.reverse();
    Some(proof)
}

/// Whether `proof` shows that a tree grew from `(old, old_root)` to `(new, new_root)` by appending
/// alone.
pub fn grows(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> bool {
    if old == 0 || old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        let Some((first, rest)) = proof.split_first() else { return false };
        (first, rest)
    };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut of_old, mut of_new) = (*first, *first);
    for step in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            of_old = node_hash(step, &of_old);
            of_new = node_hash(step, &of_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            of_new = node_hash(&of_new, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && of_old == *old_root && of_new == *new_root
}

/// Reads the hashes of perfect subtrees out of the tiles of a tree of `size` leaves.
pub fn from_tiles(
    size: u64,
    mut read: impl FnMut(Tile) -> Option<Vec<u8>>,
) -> impl FnMut(u32, u64) -> Option<Hash> {
    move |level, index| {
        let tile_level = level / 8;
        let span = 1u64 << (level % 8);
        let first = index.checked_mul(span)?;
        let in_level = size.checked_shr(tile_level * 8)?;
        let at = first / u64::from(tile::WIDTH);
        let width = in_level.saturating_sub(at * u64::from(tile::WIDTH)).min(256) as u16;
        let bytes = read(Tile { level: tile_level as u8, index: at, width })?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        let start = (first % u64::from(tile::WIDTH)) as usize;
        let wanted = hashes.get(start..start + span as usize)?;
        rest.is_empty().then(|| perfect(wanted))
    }
}

/// The largest power of two below `size`.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The hash over the leaves `start..end`, where `start` is aligned as the recursion aligns it.
fn subtree(start: u64, end: u64, read: &mut impl FnMut(u32, u64) -> Option<Hash>) -> Option<Hash> {
    let length = end - start;
    if length.is_power_of_two() {
        let level = length.ilog2();
        return read(level, start >> level);
    }
    let middle = start + split(length);
    Some(node_hash(&subtree(start, middle, read)?, &subtree(middle, end, read)?))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::tree::{Tree, leaf_hash};
    use super::*;

    fn hash(number: u64) -> Hash {
        leaf_hash(&number.to_be_bytes())
    }

    /// Root and tiles of the tree over the numbers below `size`.
    fn grown(size: u64) -> (Hash, HashMap<Tile, Vec<u8>>) {
        let mut tree = Tree::default();
        let mut tiles = HashMap::new();
        for number in 0..size {
            for (tile, hashes) in tree.push(hash(number)) {
                tiles.insert(tile, tile::encode(&hashes));
            }
        }
        for (tile, hashes) in tree.partial_tiles() {
            tiles.insert(tile, tile::encode(hashes));
        }
        (tree.root(), tiles)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_leaf_of_every_tree_is_proven(size in 1u64..1500, at in any::<prop::sample::Index>()) {
            let index = at.index(size as usize) as u64;
            let (root, tiles) = grown(size);
            let mut read = from_tiles(size, |tile| tiles.get(&tile).cloned());
            let proof = inclusion(index, size, &mut read).unwrap();
            prop_assert!(includes(&hash(index), index, size, &root, &proof));
            // Another leaf, place, size, root or proof is not proven.
            prop_assert!(!includes(&hash(size), index, size, &root, &proof));
            prop_assert!(!includes(&hash(index), index ^ 1, size, &root, &proof));
            prop_assert!(!includes(&hash(index), index, size, &hash(0), &proof) || size == 1);
            if !proof.is_empty() {
                prop_assert!(!includes(&hash(index), index, size, &root, &proof[1..]));
            }
            let longer = [proof.as_slice(), &[hash(3)]].concat();
            prop_assert!(!includes(&hash(index), index, size, &root, &longer));
            for step in 0..proof.len() {
                let mut altered = proof.clone();
                altered[step][7] ^= 1;
                prop_assert!(!includes(&hash(index), index, size, &root, &altered));
            }
        }

        #[test]
        fn every_growth_is_proven(new in 1u64..1500, at in any::<prop::sample::Index>()) {
            let old = at.index(new as usize) as u64 + 1;
            let (old_root, _) = grown(old);
            let (new_root, tiles) = grown(new);
            let mut read = from_tiles(new, |tile| tiles.get(&tile).cloned());
            let proof = consistency(old, new, &mut read).unwrap();
            prop_assert!(grows(old, &old_root, new, &new_root, &proof));
            prop_assert!(!grows(old, &hash(0), new, &new_root, &proof) || old_root == hash(0));
            prop_assert!(!grows(old, &old_root, new, &hash(9), &proof));
            for step in 0..proof.len() {
                let mut altered = proof.clone();
                altered[step][31] ^= 128;
                prop_assert!(!grows(old, &old_root, new, &new_root, &altered));
            }
            if !proof.is_empty() {
                prop_assert!(!grows(old, &old_root, new, &new_root, &proof[1..]));
            }
        }
    }

    #[test]
    fn nothing_is_proven_outside_the_tree() {
        let (root, tiles) = grown(5);
        let mut read = from_tiles(5, |tile| tiles.get(&tile).cloned());
        assert_eq!(inclusion(5, 5, &mut read), None);
        assert_eq!(consistency(0, 5, &mut read), None);
        assert_eq!(consistency(6, 5, &mut read), None);
        assert!(!includes(&hash(0), 0, 0, &root, &[]));
        assert!(!grows(0, &root, 5, &root, &[]));
    }
}
