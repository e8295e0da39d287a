//! SHA-1 (RFC 3174), which version 5 UUIDs are made of.
//!
//! The crates for it unroll the 80 rounds, which makes a function of 3 kB. V8 compiles each function
//! as a whole when it loads the module, and the memory for that stays with the process, so the rounds
//! are a loop here. Only a request with an AWS id needs a hash.

/// Returns the SHA-1 of `message`.
#[inline(never)]
pub fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    let bits = u64::try_from(message.len())
        .unwrap_or_default()
        .wrapping_mul(8);
    padded.extend_from_slice(&bits.to_be_bytes());

    let mut state = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 16];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        add_block(&mut state, words);
    }
    let mut hash = [0; 20];
    for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    hash
}

#[inline(never)]
fn add_block(state: &mut [u32; 5], mut words: [u32; 16]) {
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for round in 0..80_u8 {
        let (mixed, constant) = match round {
            0..20 => ((b & c) | (!b & d), 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let [word, _, third, .., ninth, _, _, _, _, fourteenth, _, _] = words;
        let next = a
            .rotate_left(5)
            .wrapping_add(mixed)
            .wrapping_add(e)
            .wrapping_add(constant)
            .wrapping_add(word);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        // The message schedule: the word for the round after the next fifteen.
        words.rotate_left(1);
        let [.., last] = &mut words;
        *last = (fourteenth ^ ninth ^ third ^ word).rotate_left(1);
    }
    for (sum, word) in state.iter_mut().zip([a, b, c, d, e]) {
        *sum = sum.wrapping_add(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_crate_makes_the_same_version_5_uuids() {
        use uuid::{Builder, Uuid};
        for length in 0..1200_usize {
            let name: Vec<u8> = (0..length)
                .map(|at| u8::try_from(at % 251).unwrap())
                .collect();
            let hash = sha1(&[&Uuid::NAMESPACE_DNS.as_bytes()[..], &name].concat());
            let (bytes, _) = hash.split_first_chunk().unwrap();
            let uuid = Builder::from_sha1_bytes(*bytes).into_uuid();
            assert_eq!(
                uuid,
                Uuid::new_v5(&Uuid::NAMESPACE_DNS, &name),
                "{length} bytes"
            );
        }
    }
}
