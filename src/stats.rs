//! What is counted. The adapter adds the counts up inside the module and hands them to the host from
//! time to time: a host call for each request would cost each request.

use crate::decide::{Decision, Outcome, Write};
use crate::id::Invalid;

/// A counter. The order is that of [`Counter::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Requests whose id was kept; each request is in exactly one of the first five.
    Kept,
    /// Requests without an id that got one from another header.
    Adopted,
    /// Requests without an id that got a new one.
    Generated,
    /// Requests with an id that was not believed.
    Replaced,
    /// Requests that were answered with 400.
    Rejected,
    /// Ids that were longer than `incoming.max_length`.
    TooLong,
    /// Ids that came more than once, with different values.
    Duplicate,
    /// Ids with a byte outside the set of `incoming.accept`.
    BadByte,
    /// Ids that were no UUIDs where `incoming.accept` asks for them.
    NotUuid,
    /// Requests of peers that are not trusted.
    Untrusted,
    /// Requests whose header of the id would have been written, but is signed.
    Signed,
    /// Responses whose AWS id got its one name.
    AwsNormalized,
}

impl Counter {
    /// All of them, and their names. Envoy puts `wasmcustom.` before a name.
    pub const ALL: [(Self, &'static str); 12] = [
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
        (Self::Signed, "request_id_filter.signed"),
        (Self::AwsNormalized, "request_id_filter.aws_normalized"),
    ];
}

impl Decision {
    /// The counters that count this request.
    pub fn counters(&self) -> impl Iterator<Item = Counter> {
        let (outcome, invalid) = match self.outcome {
            Outcome::Kept => (Counter::Kept, None),
            Outcome::DryRun(invalid) => (Counter::Kept, Some(invalid)),
            Outcome::Adopted(_) => (Counter::Adopted, None),
            Outcome::Generated => (Counter::Generated, None),
            Outcome::Replaced(invalid) => (Counter::Replaced, Some(invalid)),
            Outcome::Disbelieved => (Counter::Replaced, None),
            Outcome::Rejected(invalid) => (Counter::Rejected, Some(invalid)),
        };
        let invalid = invalid.map(|invalid| match invalid {
            Invalid::TooLong => Counter::TooLong,
            Invalid::Duplicate => Counter::Duplicate,
            Invalid::BadByte => Counter::BadByte,
            Invalid::NotUuid => Counter::NotUuid,
        });
        let untrusted = self.untrusted.then_some(Counter::Untrusted);
        let signed = (self.write == Write::Signed).then_some(Counter::Signed);
        [Some(outcome), invalid, untrusted, signed]
            .into_iter()
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_its_place() {
        for (place, (counter, name)) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, place, "{name}");
        }
    }
}
