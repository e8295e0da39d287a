//! Which peers may supply ids.

use std::net::IpAddr;

/// The peers that may supply ids, in whatever header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Every peer.
    All,
    /// No peer.
    None,
    /// The peers with an address in one of these ranges.
    Only(Vec<Cidr>),
}

impl Trust {
    /// Returns trust in the peers in `ranges`.
    #[must_use]
    pub fn only(ranges: Vec<Cidr>) -> Self {
        match ranges[..] {
            [] => Self::None,
            _ => Self::Only(ranges),
        }
    }

    /// Returns whether the peer with this `source.address` is trusted. Envoy shows an address with a
    /// port (`10.0.0.1:4711`, `[2001:db8::1]:4711`); an address alone is accepted, too. Everything
    /// else, such as the path of a Unix socket, is trusted by [`Trust::All`] only.
    #[must_use]
    pub fn includes(&self, source_address: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(ranges) => parse_address(source_address)
                .is_some_and(|peer| ranges.iter().any(|range| range.contains(peer))),
        }
    }
}

#[inline(never)]
fn parse_address(source_address: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(source_address).ok()?;
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (address, port.strip_prefix(':')?)
        }
        None => match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => (text, "0"), // IPv6 without a port
            Some(both) => both,
            None => (text, "0"),
        },
    };
    let _port: u16 = port.parse().ok()?;
    address.parse().ok()
}

/// A range of IP addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cidr {
    text: String,
    /// The first address, with an IPv4 address in its IPv6 form (`::ffff:10.0.0.0`).
    first: u128,
    /// How many bits the addresses of the range have in common with the first, of 128.
    prefix: u8,
}

impl Cidr {
    /// Parses `10.0.0.0/8`, `2001:db8::/32`, or an address alone, which is a range of one address.
    /// Bits after the prefix are ignored, as in Envoy's own ranges.
    #[inline(never)]
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, digits) = match text.split_once('/') {
            Some((address, digits)) => (address, Some(digits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits_before = match address {
            IpAddr::V4(_) => 96,
            IpAddr::V6(_) => 0,
        };
        let prefix = match digits {
            None => 128,
            Some(digits) => {
                let prefix: u8 = digits.parse().ok()?;
                // `u8::from_str` accepts a sign and leading zeros.
                let is_plain = matches!(digits.as_bytes(), [b'0'] | [b'1'..=b'9', ..]);
                prefix
                    .checked_add(bits_before)
                    .filter(|&prefix| is_plain && prefix <= 128)?
            }
        };
        Some(Self {
            text: text.into(),
            first: ipv6_bits(address) & mask(prefix),
            prefix,
        })
    }

    /// Returns the text that was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the address is in the range. An IPv4-mapped address, as an IPv6 socket shows it
    /// (`::ffff:10.0.0.1`), is compared as the IPv4 address. No IPv4 address is in a range that is wider
    /// than all of IPv4, such as `::/0`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = ipv6_bits(address);
        let is_ipv4 = bits & mask(96) == 0xffff_0000_0000;
        bits & mask(self.prefix) == self.first && (self.prefix >= 96 || !is_ipv4)
    }
}

fn ipv6_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX
        .checked_shl(u32::from(128_u8.saturating_sub(prefix)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn invalid_ranges_are_refused() {
        for invalid in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/-1",
            "10.0.0/8",
            "10.0.0.0/8/8",
            "010.0.0.0/8",
            "::/129",
            "::1%eth0",
            "[::1]",
            "localhost",
            " 10.0.0.0/8",
            "10.0.0.0/256",
        ] {
            assert_eq!(Cidr::parse(invalid), None, "{invalid:?}");
        }
    }

    #[test]
    fn a_range_contains_its_addresses_and_no_others() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.128/25", "10.0.0.128", "10.0.0.127"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("::/0", "::1", "10.0.0.1"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.1"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"),
            ("10.1.2.3/8", "10.0.0.0", "11.1.2.3"),
            ("2001:DB8::1/32", "2001:db8::2", "2001:db7:ffff::"),
            ("::ffff:0:0/95", "::fffe:0:1", "::fffd:0:1"),
        ] {
            assert!(
                cidr(range).contains(inside.parse().unwrap()),
                "{inside} in {range}"
            );
            assert!(
                !cidr(range).contains(outside.parse().unwrap()),
                "{outside} in {range}"
            );
        }
    }

    #[test]
    fn a_range_is_shown_as_it_was_written() {
        assert_eq!(cidr("10.1.2.3/8").as_str(), "10.1.2.3/8");
    }

    #[test]
    fn peers_are_trusted_by_their_address() {
        let two = Trust::Only(vec![cidr("10.0.0.0/8"), cidr("2001:db8::/32")]);
        for peer in [
            "10.1.2.3:4711",
            "[2001:db8::1]:4711",
            "[::ffff:10.0.0.1]:1",
            "10.0.0.1:0",
            "10.0.0.1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(two.includes(peer.as_bytes()), "{peer}");
            assert!(Trust::All.includes(peer.as_bytes()));
            assert!(!Trust::None.includes(peer.as_bytes()));
        }
        for peer in [
            "11.0.0.1:1",
            "[2001:db9::1]:1",
            "11.0.0.1",
            "2001:db9::1",
            "[2001:db8::1]",
            "10.0.0.1:",
            "10.0.0.1:65536",
            "10.0.0.01",
            "",
            "/run/envoy.sock",
            "envoy://x",
            "\u{e9}",
        ] {
            assert!(!two.includes(peer.as_bytes()), "{peer}");
            assert!(Trust::All.includes(peer.as_bytes()));
        }
        assert!(!two.includes(b"\xff\xfe"));
    }
}
