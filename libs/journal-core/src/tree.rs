//! The RFC 6962 Merkle tree over entry hashes, kept as full tiles of 256 and the incomplete right
//! edge.

use crate::record::{TreeRow, sha256};

/// Hashes per tile: eight levels of the tree.
pub const TILE_LEAVES: usize = 256;

type Hash = [u8; 32];

/// A tile that has just become full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullTile {
    /// 0: leaves; each level above hashes whole tiles of the one below.
    pub level: u8,
    /// Position within the level.
    pub index: u64,
    /// 256 hashes, concatenated.
    pub hashes: Vec<u8>,
}

/// The right edge of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Leaves under full level-0 tiles.
    tiled_leaves: u64,
    /// Per level the hashes of its incomplete tile, fewer than 256 each.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.tiled_leaves + self.levels.first().map_or(0, |l| l.len() as u64)
    }

    /// Adds a leaf hash; returns the tiles that it filled, lowest first.
    pub fn push(&mut self, leaf: Hash) -> Vec<FullTile> {
        let mut full = Vec::new();
        let mut hash = leaf;
        for level in 0_u8.. {
            let slot = usize::from(level);
            if self.levels.len() <= slot {
                self.levels.push(Vec::with_capacity(TILE_LEAVES));
            }
            let Some(row) = self.levels.get_mut(slot) else { break };
            row.push(hash);
            if row.len() < TILE_LEAVES {
                break;
            }
            hash = subtree_root(row);
            let hashes = row.concat();
            row.clear();
            if level == 0 {
                self.tiled_leaves += TILE_LEAVES as u64;
            }
            let span = (TILE_LEAVES as u64).saturating_pow(u32::from(level) + 1);
            full.push(FullTile {
                level,
                index: (self.tiled_leaves / span).saturating_sub(1),
                hashes,
            });
        }
        full
    }

    /// The tree hash; SHA-256 of nothing for the empty tree.
    #[cfg_attr(not(test), allow(dead_code, reason = "signed checkpoints are the next user"))]
    pub fn root(&self) -> Hash {
        // Left to right: complete subtrees of falling size.
        let mut edge: Vec<Hash> = Vec::new();
        for row in self.levels.iter().rev() {
            let mut rest = row.as_slice();
            while !rest.is_empty() {
                let power = 1_usize << rest.len().ilog2();
                let (head, tail) = rest.split_at(power);
                edge.push(subtree_root(head));
                rest = tail;
            }
        }
        edge.into_iter()
            .rev()
            .reduce(|right, left| parent(&left, &right))
            .unwrap_or_else(|| sha256(&[]))
    }

    /// What is stored whenever a tile became full.
    pub fn to_row(&self) -> TreeRow {
        TreeRow {
            tiled_leaves: self.tiled_leaves,
            levels: self.levels.iter().skip(1).map(|level| level.concat()).collect(),
        }
    }

    /// The tree of a stored row and the leaves after its full tiles; `None` when they cannot belong
    /// together.
    pub fn from_row(row: &TreeRow, leaves: Vec<Hash>) -> Option<Self> {
        if leaves.len() >= TILE_LEAVES {
            return None;
        }
        let mut levels = vec![leaves];
        for level in &row.levels {
            let (hashes, rest) = level.as_chunks::<32>();
            if !rest.is_empty() || hashes.len() >= TILE_LEAVES {
                return None;
            }
            levels.push(hashes.to_vec());
        }
        Some(Self { tiled_leaves: row.tiled_leaves, levels })
    }
}

fn parent(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// The root of a complete subtree: a power of two of hashes.
fn subtree_root(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => parent(left, right),
                [single, ..] => *single,
                [] => [0; 32],
            })
            .collect();
    }
    row.first().copied().unwrap_or([0; 32])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 §2.1, word for word.
    fn reference(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [one] => *one,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                parent(&reference(&leaves[..k]), &reference(&leaves[k..]))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_rfc_6962_across_tile_borders() {
        let leaves: Vec<Hash> = (0..70_000_u32).map(|i| sha256(&[&i.to_be_bytes()])).collect();
        let mut tree = Tree::default();
        let mut tiles = Vec::new();
        for (i, leaf) in leaves.iter().enumerate() {
            tiles.extend(tree.push(*leaf));
            if [0, 1, 2, 254, 255, 256, 511, 600, 65_535, 65_536, 69_999].contains(&i) {
                assert_eq!(tree.root(), reference(&leaves[..=i]), "at {i}");
            }
        }
        assert_eq!(tree.size(), 70_000);
        assert_eq!(tiles.iter().filter(|t| t.level == 0).count(), 273);
        let upper: Vec<_> = tiles.iter().filter(|t| t.level == 1).collect();
        assert_eq!(upper.len(), 1);
        assert_eq!((upper[0].index, upper[0].hashes.len()), (0, 8192));

        let tail = leaves[273 * 256..].to_vec();
        assert_eq!(Tree::from_row(&tree.to_row(), tail), Some(tree));
    }
}
