//! The header names under which AWS sends its request ids.

/// The headers in which AWS clients and gateways send a request id, in order of preference.
///
/// The order is the one in which most AWS SDKs read them. `x-amz-requestid` comes last because hardly
/// anything sends it.
pub const REQUEST_NAMES: &[&str] = &[
    "x-amzn-requestid",
    "x-amzn-request-id",
    "x-amz-request-id",
    "x-amz-requestid",
];

/// The headers in which AWS services report a request id, in order of preference. The first one is
/// [`CANONICAL`].
pub const RESPONSE_NAMES: &[&str] = &[
    CANONICAL,
    "x-amzn-request-id",
    "apigw-requestid",
    "x-amz-request-id",
    "x-amz-requestid",
    "x-amz-cognito-request-id",
];

/// The name that nearly every AWS service uses and every AWS SDK reads first.
pub const CANONICAL: &str = "x-amzn-requestid";

/// S3's second id, which AWS support asks for together with the first.
pub const S3_HOST_ID: &str = "x-amz-id-2";

/// The prefix that API Gateway puts before a header of its back end if it sets that header itself.
/// Gateways behind one another repeat it.
pub const REMAPPED: &str = "x-amzn-remapped-";

/// A header from a list of AWS names, perhaps behind `x-amzn-remapped-`. Preferred headers compare
/// as smaller.
///
/// Every plain name is preferred to every remapped one, and fewer prefixes are preferred to more:
/// each prefix is one more gateway between the id and this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AwsHeader {
    prefixes: usize,
    index: usize,
}

impl AwsHeader {
    /// The first name of a list, without a prefix.
    pub const MOST_PREFERRED: Self = Self {
        prefixes: 0,
        index: 0,
    };

    /// Returns which of `names` the header `name` is, in any case and with any number of
    /// `x-amzn-remapped-` before it, or `None` if it is none of them.
    #[inline(always)]
    #[must_use]
    pub fn find(name: &[u8], names: &[&str]) -> Option<Self> {
        // All of these names end in "id", and most other headers do not: this saves 2 % of a request. It is
        // inlined because it runs for every header line.
        match name.last() {
            Some(b'd' | b'D') => Self::find_by_whole_name(name, names),
            _ => None,
        }
    }

    #[inline(never)]
    fn find_by_whole_name(name: &[u8], names: &[&str]) -> Option<Self> {
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

    /// Returns the name from the list `names`, without its prefixes.
    #[must_use]
    pub fn plain_name<'n>(self, names: &[&'n str]) -> &'n str {
        names.get(self.index).copied().unwrap_or_default()
    }

    /// Returns whether the name has at least one `x-amzn-remapped-` before it.
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
    fn every_name_ends_in_id() {
        for name in [REQUEST_NAMES, RESPONSE_NAMES].concat() {
            assert!(name.ends_with("id"), "{name}");
        }
    }
}
