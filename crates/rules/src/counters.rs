//! What the filter counts.

use std::iter;

use crate::id::Invalid;
use crate::request::{Decision, Outcome, Reason};

/// A counter. The order is that of [`Counter::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Requests whose id was kept. Every run of the filter increments exactly one of the first five.
    Kept,
    /// Requests without an id that got one from another header.
    Adopted,
    /// Requests without an id that got a new one.
    Generated,
    /// Requests whose id was replaced because it was invalid or the peer was not trusted.
    Replaced,
    /// Requests that were answered with 400.
    Rejected,
    /// Ids that were longer than `incoming.max_length`.
    TooLong,
    /// Requests with several different ids.
    Duplicate,
    /// Ids with a byte that `incoming.accept` does not allow.
    BadByte,
    /// Ids that were not UUIDs although `incoming.accept` asks for UUIDs.
    NotUuid,
    /// Requests from peers that are not trusted.
    Untrusted,
    /// Responses whose AWS id was published under the canonical name.
    AwsNormalized,
}

impl Counter {
    /// All counters with their names. Envoy puts `wasmcustom.` before a name.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::Kept, "request_id_filter.kept"),
        (Self::Adopted, "request_id_filter.adopted"),
        (Self::Generated, "request_id_filter.generated"),
        (Self::Replaced, "request_id_filter.replaced"),
        (Self::Rejected, "request_id_filter.rejected"),
        (Self::TooLong, "request_id_filter.invalid.too_long"),
        (Self::Duplicate, "request_id_filter.invalid.duplicate"),
        (Self::BadByte, "request_id_filter.invalid.bad_byte"),
        (Self::NotUuid, "request_id_filter.invalid.not_uuid"),
        (Self::Untrusted, "request_id_filter.untrusted"),
        (Self::AwsNormalized, "request_id_filter.aws_normalized"),
    ];

    fn of_outcome(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Kept | Outcome::KeptOwn | Outcome::KeptInvalid(_) => Self::Kept,
            Outcome::Adopted(_) => Self::Adopted,
            Outcome::Generated => Self::Generated,
            Outcome::Replaced(_) => Self::Replaced,
            Outcome::Rejected(_) => Self::Rejected,
        }
    }

    fn of_invalid(invalid: Invalid) -> Self {
        match invalid {
            Invalid::TooLong => Self::TooLong,
            Invalid::Duplicate => Self::Duplicate,
            Invalid::BadByte => Self::BadByte,
            Invalid::NotUuid => Self::NotUuid,
        }
    }
}

impl Decision {
    /// Returns the counters that this request increments.
    pub fn counters(&self) -> impl Iterator<Item = Counter> {
        let invalid = match self.outcome.reason() {
            Some(Reason::Invalid(invalid)) => Some(Counter::of_invalid(invalid)),
            Some(Reason::Untrusted) | None => None,
        };
        let untrusted = self.is_peer_untrusted.then_some(Counter::Untrusted);
        iter::once(Counter::of_outcome(&self.outcome))
            .chain(invalid)
            .chain(untrusted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_listed_in_their_order() {
        for (index, (counter, name)) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, index, "{name}");
        }
    }
}
