//! The input of a fuzz target that is a message: parts that end with a zero byte. The first part is
//! the configuration, the second the peer's address or the id, and every other a header line.

use test_support::message::Line;

/// A message and the configuration of the filter that it meets.
#[derive(Debug)]
pub struct Input {
    /// The text of the configuration.
    pub configuration: Vec<u8>,
    /// The `source.address` of a request, or the id that a response belongs to.
    pub context: Vec<u8>,
    /// The header lines.
    pub lines: Vec<Line>,
}

impl Input {
    /// Reads the bytes of a fuzzer. Parts without a colon are left out.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut parts = bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec);
        Self {
            configuration: parts.next().unwrap_or_default(),
            context: parts.next().unwrap_or_default(),
            lines: parts
                .filter_map(|line| {
                    // The name of a pseudo-header begins with a colon.
                    let colon = line.iter().skip(1).position(|&byte| byte == b':')? + 1;
                    Some((line[..colon].to_vec(), line[colon + 1..].to_vec()))
                })
                .collect(),
        }
    }

    /// Returns the bytes from which [`Self::read`] reads this input.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut parts = vec![self.configuration.clone(), self.context.clone()];
        let lines = self.lines.iter();
        parts.extend(lines.map(|(name, value)| [name, &b":"[..], value].concat()));
        parts.join(&0)
    }
}
