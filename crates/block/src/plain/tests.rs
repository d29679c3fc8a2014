//! Plain rows come back bit by bit or not at all.

use proptest::prelude::*;

use super::*;
use crate::fixtures::{any_tenants, awkward, bits};

#[test]
fn any_flipped_bit_is_found() {
    let block = PlainCodec.encode(Level::L1, &awkward()[1..]).unwrap();
    let objects: Vec<Bytes> = block.objects.iter().map(|object| object.bytes.clone()).collect();
    for (object, bytes) in objects.iter().enumerate() {
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[at / 8] ^= 1 << (at % 8);
            let mut objects = objects.clone();
            objects[object] = damaged.into();
            assert!(PlainCodec.decode(&block.meta, &objects).is_err(), "object {object} bit {at}");
        }
    }
}

proptest! {
    #[test]
    fn rows_come_back_bit_by_bit(tenants in any_tenants()) {
        let block = PlainCodec.encode(Level::L1, &tenants).unwrap();
        let objects: Vec<Bytes> = block.objects.iter().map(|object| object.bytes.clone()).collect();
        prop_assert_eq!(bits(&PlainCodec.decode(&block.meta, &objects).unwrap()), bits(&tenants));
    }
}
