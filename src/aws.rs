//! The names AWS gives its request ids.

/// Where a client or a gateway of AWS puts its id on a request, best first.
///
/// The order is the one most SDKs read them in; `x-amz-requestid` comes last because hardly
/// anything sends it.
pub const REQUEST_NAMES: &[&str] = &[
    "x-amzn-requestid",
    "x-amzn-request-id",
    "x-amz-request-id",
    "x-amz-requestid",
];

/// Where an AWS service puts its id in a response, best first. The first is the [`CANONICAL`] one.
pub const RESPONSE_NAMES: &[&str] = &[
    CANONICAL,
    "x-amzn-request-id",
    "apigw-requestid",
    "x-amz-request-id",
    "x-amz-requestid",
    "x-amz-cognito-request-id",
];

/// The name that nearly every service uses and every SDK reads first.
pub const CANONICAL: &str = "x-amzn-requestid";

/// S3's second id, which AWS support asks for together with the first.
pub const S3_HOST_ID: &str = "x-amz-id-2";

/// What API Gateway puts before the name of a header of its back end that it has itself. Stacked
/// gateways stack it.
pub const REMAPPED: &str = "x-amzn-remapped-";

/// A header that belongs to a list of names: the better the name, the smaller the value.
///
/// Every plain name comes before every remapped one; of the remapped ones fewer prefixes come
/// first, as each prefix is one gateway more between the id and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    prefixes: usize,
    index: usize,
}

impl Rank {
    /// The rank of the first name of a list, without a prefix.
    pub const BEST: Self = Self {
        prefixes: 0,
        index: 0,
    };

    /// The rank of the header `name` (in any case) among `names`, if it is one of them with any
    /// number of `x-amzn-remapped-` before it.
    #[must_use]
    pub fn of(name: &[u8], names: &[&str]) -> Option<Self> {
        // Most headers are told apart by their last byte: these names all end in "id".
        if !matches!(name.last(), Some(b'd' | b'D')) {
            return None;
        }
        let mut plain = name;
        let mut prefixes: usize = 0;
        while let Some(rest) = strip_prefix(plain, REMAPPED.as_bytes()) {
            plain = rest;
            prefixes = prefixes.saturating_add(1);
        }
        let index = names
            .iter()
            .position(|known| plain.eq_ignore_ascii_case(known.as_bytes()))?;
        Some(Self { prefixes, index })
    }

    /// The name of `names` that the rank stands for, without its prefixes.
    #[must_use]
    pub fn name<'n>(self, names: &[&'n str]) -> &'n str {
        names.get(self.index).copied().unwrap_or_default()
    }

    /// Whether the name came behind `x-amzn-remapped-`.
    #[must_use]
    pub fn is_remapped(self) -> bool {
        self.prefixes > 0
    }
}

fn strip_prefix<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ranked_plain_before_remapped_before_nested() {
        let best_first: &[&[u8]] = &[
            b"x-amzn-requestid",
            b"x-amzn-request-id",
            b"x-amz-request-id",
            b"x-amz-requestid",
            b"x-amzn-remapped-x-amzn-requestid",
            b"X-Amzn-Remapped-X-Amz-RequestId",
            b"x-amzn-remapped-x-amzn-remapped-x-amzn-requestid",
        ];
        let ranks: Vec<_> = best_first
            .iter()
            .map(|name| Rank::of(name, REQUEST_NAMES).unwrap())
            .collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert_eq!(ranks[0], Rank::BEST);
    }

    #[test]
    fn every_name_ends_in_id() {
        for name in [REQUEST_NAMES, RESPONSE_NAMES].concat() {
            assert!(name.ends_with("id"), "{name}");
        }
    }

    #[test]
    fn other_names_have_no_rank() {
        for name in [
            &b"x-amzn-remapped-"[..],
            b"x-amzn-remapped-date",
            b"x-amzn-requestid-",
            b"xx-amzn-requestid",
            b"x-amz-id-2",
            b"x-amzn-trace-id",
            b"x-amz-remapped-x-amzn-requestid",
            b"",
        ] {
            assert_eq!(Rank::of(name, REQUEST_NAMES), None);
        }
    }
}
