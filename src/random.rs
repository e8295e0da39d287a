//! Random bytes from the host, in blocks: one host call serves many ids.

const BLOCK: usize = 2048;

/// Fills a block with random bytes, or returns `None` if it cannot.
type Source = fn(&mut [u8]) -> Option<()>;

/// Unused bytes of the host's cryptographically secure source. Every plugin has its own in every VM,
/// so no byte serves two ids; bytes that were handed out are erased.
pub struct RandomBytes {
    source: Source,
    block: [u8; BLOCK],
    used: usize,
}

#[cfg(target_family = "wasm")]
impl Default for RandomBytes {
    fn default() -> Self {
        Self::new(|block| getrandom::fill(block).ok())
    }
}

impl RandomBytes {
    fn new(source: Source) -> Self {
        Self {
            source,
            block: [0; BLOCK],
            used: BLOCK,
        }
    }

    /// Returns the next bytes, or `None` if the host has none.
    pub fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.block.len().saturating_sub(self.used) < N {
            (self.source)(&mut self.block)?;
            self.used = 0;
        }
        let (bytes, _) = self.block.get_mut(self.used..)?.split_first_chunk_mut()?;
        self.used = self.used.saturating_add(N);
        Some(std::mem::replace(bytes, [0; N]))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn every_byte_is_handed_out_once_and_erased() {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        // Numbers in place of random bytes: each one can be recognized.
        let numbers = |block: &mut [u8]| {
            for number in block.chunks_exact_mut(4) {
                number.copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            }
            Some(())
        };
        let mut bytes = RandomBytes::new(numbers);
        let mut expected = 1_u32;
        for _ in 0..3 * BLOCK / 16 {
            let id: [u8; 16] = bytes.next().unwrap();
            for number in id.chunks_exact(4) {
                assert_eq!(number, expected.to_be_bytes());
                expected += 1;
            }
            assert!(bytes.block[..bytes.used].iter().all(|&byte| byte == 0));
        }
    }

    /// A part of a block that is too short for an id is not handed out.
    #[test]
    fn a_rest_is_not_filled_up_from_the_next_block() {
        let mut bytes = RandomBytes::new(|block| {
            block.fill(7);
            Some(())
        });
        assert!(bytes.next::<{ BLOCK - 3 }>().is_some());
        assert_eq!(bytes.next::<16>(), Some([7; 16]));
        assert_eq!(bytes.used, 16);
    }

    #[test]
    fn without_a_source_there_are_no_bytes() {
        let mut bytes = RandomBytes::new(|_| None);
        assert_eq!(bytes.next::<16>(), None);
        assert_eq!(bytes.next::<16>(), None);
    }
}
