//! The tree against the vectors of RFC 6962's reference implementation, and against `ct-merkle` as oracle.

use std::convert::Infallible;

use ct_merkle::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof};
use proptest::prelude::*;

use super::*;

/// SHA-256 in the clothes that the oracle asks for.
#[derive(Clone)]
struct Sha(Context);

impl Default for Sha {
    fn default() -> Self {
        Sha(Context::new(&SHA256))
    }
}
impl HashMarker for Sha {}
impl OutputSizeUser for Sha {
    type OutputSize = ct_merkle::digest::consts::U32;
}
impl Update for Sha {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
}
impl FixedOutput for Sha {
    fn finalize_into(self, out: &mut Output<Self>) {
        out.copy_from_slice(self.0.finish().as_ref());
    }
}

fn roots(leaves: &[Hash]) -> impl FnMut(Range<u64>) -> Result<Hash, Infallible> {
    |range| Ok(root_of(&leaves[range.start as usize..range.end as usize]))
}

#[test]
fn roots_of_the_reference_tree_match() {
    // Inputs and roots of the Certificate Transparency reference implementation (RFC 6962 trees of 1 to 8 leaves).
    let inputs =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let expected = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    assert_eq!(empty_root().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(Frontier::new().root(), empty_root());
    let mut tree = Frontier::new();
    for (input, root) in inputs.iter().zip(expected) {
        tree.push(leaf_hash(&bytes_from_hex(input.as_bytes()).unwrap()));
        assert_eq!(tree.root().hex(), root);
    }
}

proptest! {
    #[test]
    fn roots_and_proofs_agree_with_the_oracle(size in 1usize..130, a in any::<u64>(), b in any::<u64>()) {
        let (index, old) = ((a % size as u64) as usize, (b % size as u64) as usize + 1);
        let data: Vec<Vec<u8>> = (0..size).map(|i| i.to_string().into_bytes()).collect();
        let leaves: Vec<Hash> = data.iter().map(|d| leaf_hash(d)).collect();
        let mut oracle = MemoryBackedTree::<Sha, Vec<u8>>::new();
        let mut old_root = None;
        for (i, item) in data.iter().enumerate() {
            oracle.push(item.clone());
            if i + 1 == old {
                old_root = Some(oracle.root());
            }
        }
        let old_root = old_root.unwrap();
        prop_assert!(root_of(&leaves).0.as_slice() == oracle.root().as_bytes().as_slice());
        prop_assert!(root_of(&leaves[..old]).0.as_slice() == old_root.as_bytes().as_slice());

        // Ours, in their form, satisfy them; theirs are byte for byte ours.
        let ours = prove_inclusion(index as u64, size as u64, roots(&leaves)).unwrap().unwrap();
        let bytes: Vec<u8> = ours.iter().flat_map(|h| h.0).collect();
        let theirs = oracle.prove_inclusion(index);
        prop_assert_eq!(theirs.as_bytes(), bytes.as_slice());
        prop_assert!(oracle.root().verify_inclusion(&data[index], index as u64, &InclusionProof::from_bytes(bytes)).is_ok());
        prop_assert!(verify_inclusion(&leaves[index], index as u64, size as u64, &ours, &root_of(&leaves)));

        let ours = prove_consistency(old as u64, size as u64, roots(&leaves)).unwrap().unwrap();
        let bytes: Vec<u8> = ours.iter().flat_map(|h| h.0).collect();
        if old < size {
            let theirs = oracle.prove_consistency(size - old);
            prop_assert_eq!(theirs.as_bytes(), bytes.as_slice());
            let proof = ConsistencyProof::try_from_bytes(bytes).unwrap();
            prop_assert!(oracle.root().verify_consistency(&old_root, &proof).is_ok());
        }
        prop_assert!(verify_consistency(old as u64, &root_of(&leaves[..old]), size as u64, &root_of(&leaves), &ours));
    }

    #[test]
    fn a_proof_changed_anywhere_is_refused(size in 2usize..70, a in any::<u64>(), b in any::<u64>(), at in any::<usize>()) {
        let (index, old) = (a % size as u64, b % (size as u64 - 1) + 1);
        let leaves: Vec<Hash> = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let root = root_of(&leaves);
        let good = prove_inclusion(index, size as u64, roots(&leaves)).unwrap().unwrap();
        let mut bad = good.clone();
        let step = at % bad.len();
        bad[step].0[at % 32] ^= 1;
        let leaf = leaves[index as usize];
        prop_assert!(!verify_inclusion(&leaf, index, size as u64, &bad, &root));
        prop_assert!(!verify_inclusion(&leaf, index, size as u64, &good[1..], &root));
        prop_assert!(!verify_inclusion(&leaf, size as u64, size as u64, &good, &root));
        if (index + 1) < size as u64 {
            prop_assert!(!verify_inclusion(&leaf, index + 1, size as u64, &good, &root));
        }
        let good = prove_consistency(old, size as u64, roots(&leaves)).unwrap().unwrap();
        let mut bad = good.clone();
        let step = at % bad.len();
        bad[step].0[at % 32] ^= 1;
        let old_root = root_of(&leaves[..old as usize]);
        prop_assert!(!verify_consistency(old, &old_root, size as u64, &root, &bad));
        prop_assert!(!verify_consistency(old, &old_root, size as u64, &root, &good[1..]));
        prop_assert!(!verify_consistency(old, &root, size as u64, &root, &good));
    }

    #[test]
    fn a_frontier_carried_over_goes_on_as_if_never_stopped(first in 0usize..100, more in 0usize..100) {
        let mut whole = Frontier::new();
        (0..first).for_each(|i| whole.push(leaf_hash(&i.to_be_bytes())));
        let mut carried = Frontier::from_parts(whole.size(), whole.nodes().to_vec()).unwrap();
        for i in first..first + more {
            whole.push(leaf_hash(&i.to_be_bytes()));
            carried.push(leaf_hash(&i.to_be_bytes()));
        }
        prop_assert_eq!(whole.root(), carried.root());
        let mut surplus = whole.nodes().to_vec();
        surplus.push(Hash::ZERO);
        prop_assert!(Frontier::from_parts(whole.size(), surplus).is_none());
    }
}
