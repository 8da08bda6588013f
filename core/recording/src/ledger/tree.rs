//! Growing the tree: RFC 6962 hashes, and the right edge that is all an append needs.

use sha2::{Digest, Sha256};

use super::tile::{self, Tile};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The hash of a leaf: the prefix keeps a leaf from being taken for a node.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// The hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree by its right edge: per tile level, the hashes of the tile that is not full yet.
///
/// Everything to the left is final and lies in full tiles; an append touches the edge only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    edge: Vec<Row>,
}

/// The last tile of one level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    full_tiles: u64,
    hashes: Vec<Hash>,
}

impl Tree {
    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash and gives the tiles that became full by it, lowest level first.
    pub fn push(&mut self, leaf: Hash) -> Vec<(Tile, Vec<Hash>)> {
        self.size += 1;
        let mut full = Vec::new();
        let mut hash = leaf;
        for level in 0.. {
            if self.edge.len() == level {
                self.edge.push(Row::default());
            }
            let Some(row) = self.edge.get_mut(level) else { break };
            row.hashes.push(hash);
            if row.hashes.len() < tile::WIDTH as usize {
                break;
            }
            let hashes = std::mem::take(&mut row.hashes);
            hash = perfect(&hashes);
            let tile = Tile { level: level as u8, index: row.full_tiles, width: tile::WIDTH };
            row.full_tiles += 1;
            full.push((tile, hashes));
        }
        full
    }

    /// The tiles on the right edge that are not full, lowest level first.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        self.edge.iter().enumerate().filter(|(_, row)| !row.hashes.is_empty()).map(
            |(level, row)| {
                let width = row.hashes.len() as u16;
                let tile = Tile { level: level as u8, index: row.full_tiles, width };
                (tile, row.hashes.as_slice())
            },
        )
    }

    /// The root over all leaves; that of an empty tree is the hash of nothing.
    pub fn root(&self) -> Hash {
        // Perfect subtrees from left to right: the higher level lies to the left, and in a row the
        // larger power of two does.
        let mut peaks = Vec::new();
        for row in self.edge.iter().rev() {
            let mut rest = row.hashes.as_slice();
            while !rest.is_empty() {
                let (peak, after) = rest.split_at(1 << rest.len().ilog2());
                peaks.push(perfect(peak));
                rest = after;
            }
        }
        peaks
            .into_iter()
            .rev()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(|| Sha256::digest(b"").into())
    }
}

/// The root over hashes of which there are a power of two.
pub(super) fn perfect(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Sha256::digest(b"").into(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            node_hash(&perfect(left), &perfect(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962's definition, word for word.
    pub(crate) fn by_definition(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => Sha256::digest(b"").into(),
            [one] => leaf_hash(one),
            more => {
                let split = (more.len() - 1).checked_ilog2().map_or(1, |log| 1 << log);
                let (left, right) = more.split_at(split);
                node_hash(&by_definition(left), &by_definition(right))
            }
        }
    }

    fn hex(hash: Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The leaves and roots of certificate-transparency's own test suite.
    #[test]
    fn roots_are_those_of_the_golden_vectors() {
        let leaves: [&[u8]; 8] = [
            b"",
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[
                0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
                0x6e, 0x6f,
            ],
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(
            hex(tree.root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (leaf, root) in leaves.iter().zip(roots) {
            tree.push(leaf_hash(leaf));
            assert_eq!(hex(tree.root()), root);
        }
    }

    #[test]
    fn the_edge_gives_the_root_of_the_definition_at_every_size_around_a_tile() {
        let leaves: Vec<Vec<u8>> =
            (0..600u32).map(|number| number.to_be_bytes().to_vec()).collect();
        let mut tree = Tree::default();
        for (index, leaf) in leaves.iter().enumerate() {
            tree.push(leaf_hash(leaf));
            let size = index + 1;
            if size < 20 || size % 256 < 3 || size % 256 > 253 || size == 600 {
                assert_eq!(tree.root(), by_definition(&leaves[..size]), "size {size}");
            }
        }
    }

    #[test]
    fn a_tile_is_handed_out_once_when_it_is_full() {
        let mut tree = Tree::default();
        let mut full = Vec::new();
        for number in 0..65_536u32 {
            full.extend(
                tree.push(leaf_hash(&number.to_be_bytes())).into_iter().map(|(tile, _)| tile),
            );
        }
        assert_eq!(full.iter().filter(|tile| tile.level == 0).count(), 256);
        assert_eq!(full.iter().filter(|tile| tile.level == 1).count(), 1);
        assert_eq!(
            tree.partial_tiles().map(|(tile, _)| tile).collect::<Vec<_>>(),
            [Tile { level: 2, index: 0, width: 1 }]
        );
    }
}
