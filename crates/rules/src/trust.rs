//! Which peers may supply ids.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

fn parse_address(source_address: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(source_address).ok()?;
    match text.parse::<SocketAddr>() {
        Ok(address) => Some(address.ip()),
        Err(_) => text.parse().ok(),
    }
}

/// A range of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    first: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Parses `10.0.0.0/8`, `2001:db8::/32`, or an address alone, which is a range of one address.
    /// Bits after the prefix are ignored, as in Envoy's own ranges.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let prefix = match prefix {
            None => longest,
            // `u8::from_str` would accept a sign and leading zeros.
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|&prefix: &u8| prefix <= longest && prefix.to_string() == digits)?,
        };
        let (address, prefix) = match (address.to_canonical(), prefix.checked_sub(96)) {
            // `::ffff:10.0.0.0/104` is 10.0.0.0/8, because a peer's IPv4-mapped address is compared as
            // IPv4, too. No IPv4 range has a prefix of 96 or more.
            (IpAddr::V4(mapped), Some(prefix)) => (mapped.into(), prefix),
            _ => (address, prefix),
        };
        let first = match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & mask_v4(prefix)).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & mask_v6(prefix)).into(),
        };
        Some(Self { first, prefix })
    }

    /// Returns whether the address is in the range. An IPv4-mapped address, as an IPv6 socket shows it
    /// (`::ffff:10.0.0.1`), is compared as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                address.to_bits() & mask_v4(self.prefix) == first.to_bits()
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                address.to_bits() & mask_v6(self.prefix) == first.to_bits()
            }
            _ => false,
        }
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(u32::from(32_u8.saturating_sub(prefix)))
        .unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX
        .checked_shl(u32::from(128_u8.saturating_sub(prefix)))
        .unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}
