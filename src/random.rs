//! Random bytes from the host, in blocks: one host call serves many ids.

const BLOCK: usize = 2048;

/// Unused bytes of the host's cryptographically secure source. Every plugin has its own in every VM,
/// so no byte serves two ids; bytes that were handed out are erased.
pub struct RandomBytes {
    block: [u8; BLOCK],
    used: usize,
}

impl Default for RandomBytes {
    fn default() -> Self {
        Self {
            block: [0; BLOCK],
            used: BLOCK,
        }
    }
}

impl RandomBytes {
    /// Returns the next bytes, or `None` if the host has none.
    pub fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.block.len().saturating_sub(self.used) < N {
            getrandom::fill(&mut self.block).ok()?;
            self.used = 0;
        }
        let (bytes, _) = self.block.get_mut(self.used..)?.split_first_chunk_mut()?;
        self.used = self.used.saturating_add(N);
        Some(std::mem::replace(bytes, [0; N]))
    }
}
