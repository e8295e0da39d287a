//! Which peers may supply ids.

use std::net::{IpAddr, SocketAddr};

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
    #[inline(never)]
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
    match text.parse::<SocketAddr>() {
        Ok(address) => Some(address.ip()),
        Err(_) => text.parse().ok(),
    }
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
