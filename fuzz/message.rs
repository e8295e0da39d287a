//! A message as one input of a fuzzer: parts that end with a zero byte. The first is the
//! configuration, the second the peer or the id, each other a header line.

#[derive(Debug)]
pub struct Message {
    pub configuration: Vec<u8>,
    pub other: Vec<u8>,
    pub lines: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Message {
    #[allow(dead_code)] // The seeds are only written.
    pub fn read(input: &[u8]) -> Self {
        let mut parts = input.split(|&byte| byte == 0).map(<[u8]>::to_vec);
        Self {
            configuration: parts.next().unwrap_or_default(),
            other: parts.next().unwrap_or_default(),
            lines: parts
                .filter_map(|line| {
                    // The name of the path begins with a colon.
                    let colon = line.iter().skip(1).position(|&byte| byte == b':')? + 1;
                    Some((line[..colon].to_vec(), line[colon + 1..].to_vec()))
                })
                .collect(),
        }
    }

    #[allow(dead_code)] // The targets only read.
    pub fn write(&self) -> Vec<u8> {
        let mut parts = vec![self.configuration.clone(), self.other.clone()];
        let lines = self.lines.iter();
        parts.extend(lines.map(|(name, value)| [name, &b":"[..], value].concat()));
        parts.join(&0)
    }
}
