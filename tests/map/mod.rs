//! A header map as the host serializes it: what `Headers` reads.

pub fn serialized<N: AsRef<[u8]>>(lines: &[(N, Vec<u8>)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).expect("a short map").to_le_bytes();
    let mut map = number(lines.len()).to_vec();
    for (name, value) in lines {
        map.extend([number(name.as_ref().len()), number(value.len())].concat());
    }
    for (name, value) in lines {
        map.extend(
            [
                &name.as_ref().to_ascii_lowercase(),
                &b"\0"[..],
                value,
                b"\0",
            ]
            .concat(),
        );
    }
    map
}
