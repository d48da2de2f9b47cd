//! Merkle trees of RFC 6962 section 2.1, with SHA-256.
//!
//! Leaf hash `SHA-256(0x00 ‖ leaf)`, node hash `SHA-256(0x01 ‖ left ‖ right)`; a tree of n leaves splits at the largest
//! power of two below n. The two prefixes keep a leaf from being given as a node.

use super::digest::Digest;

/// The hash of a leaf.
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], leaf])
}

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// A tree over the hashes of some leaves. Costs one hash per leaf to build, and keeps every node.
#[derive(Clone, Debug)]
pub struct Tree {
    /// `levels[0]` are the leaves; each level above joins pairs, and an odd last one moves up as it is. That shape is the
    /// same tree as RFC 6962's recursive split.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The tree over these leaf hashes, in this order.
    pub fn new(leaf_hashes: Vec<Digest>) -> Self {
        let mut levels = vec![leaf_hashes];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let join = |pair: &[Digest]| match pair {
                [left, right] => node_hash(left, right),
                [single] => *single,
                _ => unreachable!("chunks of two have one or two elements"),
            };
            levels.push(below.chunks(2).map(join).collect());
        }
        Self { levels }
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, Vec::len) as u64
    }

    /// The root hash. Of no leaves, the hash of nothing.
    pub fn root(&self) -> Digest {
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or_else(|| Digest::of(b""))
    }

    /// The audit path of the leaf at `index`, from the bottom up; nothing if there is no such leaf.
    pub fn path(&self, index: u64) -> Option<Vec<Digest>> {
        let mut index = usize::try_from(index).ok()?;
        self.levels.first()?.get(index)?;
        let mut path = Vec::new();
        for level in &self.levels {
            path.extend(level.get(index ^ 1));
            index /= 2;
        }
        Some(path)
    }
}

/// The root hash that a leaf, its place and its audit path lead to (RFC 9162 section 2.1.3.2); nothing if the path
/// has not exactly the length of that place in a tree of that size.
pub fn root_from_path(leaf_hash: Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut place, mut last) = (index, size - 1);
    let mut hash = leaf_hash;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if place % 2 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            // A last node without a sibling moved up as it was, perhaps several levels.
            while place % 2 == 0 && place != 0 {
                place /= 2;
                last /= 2;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        place /= 2;
        last /= 2;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The leaves of the reference trees in google/certificate-transparency.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

    /// Their root hashes, for the first 1 to 8 of them.
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves(n: usize) -> Vec<Digest> {
        LEAVES[..n]
            .iter()
            .map(|hex| leaf_hash(&data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()))
            .collect()
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        assert_eq!(
            Tree::new(vec![]).root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (i, root) in ROOTS.iter().enumerate() {
            assert_eq!(Tree::new(leaves(i + 1)).root().to_string(), *root);
        }
    }

    #[test]
    fn audit_paths_are_those_of_certificate_transparency() {
        let path = |index, size| -> Vec<String> {
            Tree::new(leaves(size)).path(index).unwrap().iter().map(Digest::to_string).collect()
        };
        assert!(path(0, 1).is_empty());
        assert_eq!(
            path(0, 8),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            path(5, 8),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(path(2, 3), ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]);
        assert!(Tree::new(leaves(3)).path(3).is_none());
        assert!(Tree::new(vec![]).path(0).is_none());
    }

    /// RFC 6962's own recursive definition.
    fn recursive_root(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&recursive_root(&leaves[..split]), &recursive_root(&leaves[split..]))
            }
        }
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved() {
        let all: Vec<Digest> = (0..40_u8).map(|n| leaf_hash(&[n])).collect();
        for size in 1..=all.len() {
            let tree = Tree::new(all[..size].to_vec());
            assert_eq!(tree.root(), recursive_root(&all[..size]));
            for (index, leaf) in all[..size].iter().enumerate() {
                let path = tree.path(index as u64).unwrap();
                let root = |index, size, path: &[Digest]| root_from_path(*leaf, index, size, path);
                assert_eq!(root(index as u64, size as u64, &path), Some(tree.root()));
                // Another place never gives the root, nor does a path that is too short or too long.
                for other in (0..size as u64 + 2).filter(|other| *other != index as u64) {
                    assert_ne!(
                        root(other, size as u64, &path),
                        Some(tree.root()),
                        "{index} as {other} of {size}"
                    );
                }
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(root(index as u64, size as u64, shorter), None);
                }
                let longer = [path.as_slice(), &[*leaf]].concat();
                assert_eq!(root(index as u64, size as u64, &longer), None);
            }
        }
    }

    #[test]
    fn edges_of_size_are_kept() {
        let leaf = leaf_hash(b"x");
        assert_eq!(root_from_path(leaf, 0, 0, &[]), None);
        assert_eq!(root_from_path(leaf, 0, 1, &[]), Some(leaf));
        assert_eq!(root_from_path(leaf, 1, 1, &[]), None);
        assert_eq!(root_from_path(leaf, 0, 1, &[leaf]), None);
        assert_eq!(root_from_path(leaf, u64::MAX, u64::MAX, &[leaf; 64]), None);
        // A node is no leaf: the leaf hash of its two halves is another.
        let tree = Tree::new(leaves(2));
        let halves = [leaves(2)[0].as_bytes().as_slice(), leaves(2)[1].as_bytes()].concat();
        assert_ne!(leaf_hash(&halves), tree.root());
    }

    proptest! {
        #[test]
        fn a_changed_path_or_leaf_gives_another_root(
            size in 1_u64..200, pick in any::<u64>(), level in any::<usize>(), bit in 0_usize..256
        ) {
            let leaves: Vec<Digest> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
            let tree = Tree::new(leaves.clone());
            let index = pick % size;
            let mut path = tree.path(index).unwrap();
            let leaf = leaves[index as usize];
            prop_assert_eq!(root_from_path(leaf, index, size, &path), Some(tree.root()));
            let flip = |digest: Digest| {
                let mut bytes = *digest.as_bytes();
                bytes[bit / 8] ^= 1 << (bit % 8);
                Digest::from_bytes(bytes)
            };
            prop_assert_ne!(root_from_path(flip(leaf), index, size, &path), Some(tree.root()));
            if !path.is_empty() {
                let level = level % path.len();
                path[level] = flip(path[level]);
                prop_assert_ne!(root_from_path(leaf, index, size, &path), Some(tree.root()));
            }
        }
    }
}
