//! Randomness from the host, in blocks: one host call serves many ids.

const BLOCK: usize = 2048;

/// Unused bytes of the host's cryptographically secure source. One per plugin and VM, so no two share
/// any; handed-out bytes are erased.
pub struct Random {
    block: [u8; BLOCK],
    used: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self {
            block: [0; BLOCK],
            used: BLOCK,
        }
    }
}

impl Random {
    /// The next bytes, each handed out once. `None` if the host has none.
    pub fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.block.len().saturating_sub(self.used) < N {
            getrandom::fill(&mut self.block).ok()?;
            self.used = 0;
        }
        let (taken, _) = self.block.get_mut(self.used..)?.split_first_chunk_mut()?;
        self.used = self.used.saturating_add(N);
        Some(std::mem::replace(taken, [0; N]))
    }
}
