//! Where hashes and leaves lie: the file layout of C2SP tlog-tiles.

use super::tree::Hash;

/// How many hashes, or leaves, a full tile holds.
pub const WIDTH: u16 = 256;
/// The longest leaf an entry bundle can hold.
pub const LEAF_BYTES_MAX: usize = u16::MAX as usize;
/// The file with the signed head of the tree.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// One file of hashes, `tile/<level>/<index>[.p/<width>]`, and the bundle of leaves beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// Each level's hashes are roots over 256 of the level below; 0 holds leaf hashes.
    pub level: u8,
    /// Position in the level.
    pub index: u64,
    /// How many hashes it holds, 1 to 256.
    pub width: u16,
}

impl Tile {
    /// Path of the tile's hashes.
    pub fn path(self) -> String {
        format!("tile/{}/{}", self.level, self.place())
    }

    /// Path of the leaves under a tile of level 0.
    pub fn bundle_path(self) -> String {
        format!("tile/entries/{}", self.place())
    }

    /// The full tile that a partial one becomes.
    pub fn full(self) -> Self {
        Self { width: WIDTH, ..self }
    }

    /// Groups of three digits, all but the last with an `x`; `.p/<width>` for a partial tile.
    fn place(self) -> String {
        let mut groups = vec![format!("{:03}", self.index % 1000)];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        groups.reverse();
        let place = groups.join("/");
        if self.width == WIDTH { place } else { format!("{place}.p/{}", self.width) }
    }
}

/// A path below the log's folder that may exist; anything else names no file of a log.
pub fn is_path(path: &str) -> bool {
    if path == CHECKPOINT_PATH {
        return true;
    }
    let Some(rest) = path.strip_prefix("tile/") else { return false };
    let Some((level, place)) = rest.split_once('/') else { return false };
    let level = if level == "entries" { Some(0) } else { canonical(level).filter(|at| *at < 8) };
    let (Some(level), Some((index, width))) = (level, parse_place(place)) else { return false };
    let tile = Tile { level: level as u8, index, width };
    path == tile.path() || path == tile.bundle_path()
}

fn parse_place(place: &str) -> Option<(u64, u16)> {
    let (place, width) = match place.split_once(".p/") {
        Some((place, width)) => (
            place,
            u16::try_from(canonical(width)?).ok().filter(|width| (1..WIDTH).contains(width))?,
        ),
        None => (place, WIDTH),
    };
    let mut index = 0u64;
    for group in place.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some((index, width))
}

fn canonical(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|number: &u64| number.to_string() == digits)
}

/// All tiles of a tree, level by level from left to right.
pub fn tiles(size: u64) -> impl Iterator<Item = Tile> {
    let mut level_sizes = Vec::new();
    let mut rest = size;
    while rest > 0 {
        level_sizes.push(rest);
        rest /= u64::from(WIDTH);
    }
    level_sizes.into_iter().enumerate().flat_map(|(level, hashes)| {
        let full = hashes / u64::from(WIDTH);
        let last = (hashes % u64::from(WIDTH)) as u16;
        let level = level as u8;
        (0..full)
            .map(move |index| Tile { level, index, width: WIDTH })
            .chain((last > 0).then_some(Tile { level, index: full, width: last }))
    })
}

/// The bytes of a tile's file.
pub fn encode(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The bytes of an entry bundle: each leaf behind its length in two bytes, big-endian.
///
/// Leaves longer than [`LEAF_BYTES_MAX`] have no bundle.
pub fn encode_bundle<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bundle = Vec::new();
    for leaf in leaves {
        bundle.extend(u16::try_from(leaf.len()).ok()?.to_be_bytes());
        bundle.extend(leaf);
    }
    Some(bundle)
}

/// The leaves of an entry bundle; `None` if the lengths do not add up.
pub fn decode_bundle(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk::<2>()?;
        let (leaf, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        leaves.push(leaf);
        bundle = rest;
    }
    Some(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let cases = [
            (Tile { level: 0, index: 0, width: 256 }, "tile/0/000"),
            (Tile { level: 1, index: 67, width: 3 }, "tile/1/067.p/3"),
            (Tile { level: 0, index: 1_234_067, width: 256 }, "tile/0/x001/x234/067"),
            (Tile { level: 2, index: 1000, width: 255 }, "tile/2/x001/000.p/255"),
        ];
        for (tile, path) in cases {
            assert_eq!(tile.path(), path);
            assert!(is_path(path), "{path}");
        }
        assert_eq!(cases[2].0.bundle_path(), "tile/entries/x001/x234/067");
        assert!(is_path("tile/entries/x001/x234/067.p/9"));
    }

    #[test]
    fn what_is_no_path_of_a_log_is_none() {
        for path in [
            "",
            "..",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/../../checkpoint",
            "tile/0/000/",
            "tile/8/000",
            "tile/-1/000",
            "tile/entries",
            "tile/entries/abc",
            "tile/entries/+01",
            "checkpoint/",
            "/checkpoint",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert!(!is_path(path), "{path}");
        }
    }

    #[test]
    fn the_tiles_of_a_tree_cover_it() {
        let paths = |size| tiles(size).map(Tile::path).collect::<Vec<_>>();
        assert!(paths(0).is_empty());
        assert_eq!(paths(1), ["tile/0/000.p/1"]);
        assert_eq!(paths(256), ["tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(paths(513), ["tile/0/000", "tile/0/001", "tile/0/002.p/1", "tile/1/000.p/2"]);
    }

    #[test]
    fn a_bundle_gives_its_leaves_back_and_a_cut_one_gives_none() {
        let leaves: [&[u8]; 3] = [b"", b"one", &[7; 300]];
        let bundle = encode_bundle(leaves).unwrap();
        assert_eq!(decode_bundle(&bundle).unwrap(), leaves);
        for length in [1, 3, 4, bundle.len() - 1] {
            assert_eq!(decode_bundle(&bundle[..length]), None, "{length}");
        }
        assert_eq!(encode_bundle([vec![0; LEAF_BYTES_MAX + 1].as_slice()]), None);
    }
}
