//! How new ids are made.

use uuid::Builder;

use crate::id::RequestId;
use crate::policy::IdFormat;

/// Makes new ids from random bytes and, for version 7 UUIDs, the time. Each plugin has one per
/// worker.
#[derive(Debug, Default)]
pub struct Generator {
    /// The milliseconds since 1970 and the counter of the last version 7 UUID.
    last: (u64, u16),
}

/// The largest counter: it fills `rand_a` of RFC 9562, 5.7.
const COUNTER: u16 = 0x0fff;
/// The largest start of the counter in a millisecond, which leaves half of its range to count.
const COUNTER_START: u16 = 0x07ff;

impl Generator {
    /// Returns a new id. `now` returns the milliseconds since 1970 and is called only if the format
    /// contains a time; if it returns `None`, so does this function.
    pub fn next(
        &mut self,
        format: IdFormat,
        random: [u8; 16],
        now: impl FnOnce() -> Option<u64>,
    ) -> Option<RequestId> {
        Some(match format {
            IdFormat::Uuid4 => RequestId::from_uuid(Builder::from_random_bytes(random).into_uuid()),
            IdFormat::Hex32 => RequestId::from_hex(random),
            IdFormat::Uuid7 => self.uuid7(random, now()?),
        })
    }

    /// Returns an id that is greater than the one before, whatever the clock does: within a
    /// millisecond, and while the clock is behind the last id, a counter goes up (RFC 9562, 6.2,
    /// method 1). When the counter is used up, the next millisecond is begun early.
    fn uuid7(&mut self, random: [u8; 16], now: u64) -> RequestId {
        let [high, low, rest @ ..] = random;
        let fresh = u16::from_be_bytes([high, low]) & COUNTER_START;
        let (last, counter) = self.last;
        self.last = if now > last {
            (now, fresh)
        } else if counter < COUNTER {
            (last, counter.saturating_add(1))
        } else {
            (last.saturating_add(1), fresh)
        };
        let (milliseconds, counter) = self.last;
        let [high, low] = counter.to_be_bytes();
        let [a, b, c, d, e, f, g, h, ..] = rest;
        let bytes = [high, low, a, b, c, d, e, f, g, h];
        RequestId::from_uuid(Builder::from_unix_timestamp_millis(milliseconds, &bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(format: IdFormat, random: u8) -> String {
        let id = Generator::default().next(format, [random; 16], || Some(0x0123_4567_89ab));
        id.expect("there is an id").to_string()
    }

    #[test]
    fn formats_have_their_fixed_bits() {
        assert_eq!(
            next(IdFormat::Uuid4, 0),
            "00000000-0000-4000-8000-000000000000"
        );
        assert_eq!(
            next(IdFormat::Uuid4, 255),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(
            next(IdFormat::Uuid7, 0),
            "01234567-89ab-7000-8000-000000000000"
        );
        assert_eq!(
            next(IdFormat::Uuid7, 255),
            "01234567-89ab-77ff-bfff-ffffffffffff"
        );
        assert_eq!(next(IdFormat::Hex32, 0), "0".repeat(32));
        assert_eq!(next(IdFormat::Hex32, 255), "f".repeat(32));
    }

    #[test]
    fn only_a_format_with_a_time_needs_the_clock() {
        let mut generator = Generator::default();
        assert!(generator.next(IdFormat::Uuid4, [0; 16], || None).is_some());
        assert!(generator.next(IdFormat::Hex32, [0; 16], || None).is_some());
        assert!(generator.next(IdFormat::Uuid7, [0; 16], || None).is_none());
    }

    #[test]
    fn version_7_ids_sort_by_time_whatever_the_clock_does() {
        let mut generator = Generator::default();
        // Still, backwards by a day, and on again; many within one millisecond.
        let clock = [5_000_000, 5_000_000, 4_999_999, 1, 5_000_000, 5_000_001];
        let mut ids = Vec::new();
        for (turn, now) in clock.into_iter().enumerate() {
            for count in 0..5000_usize {
                let random = std::array::from_fn(|at| {
                    u8::try_from((turn + count * 7 + at * 13) % 256).unwrap()
                });
                let id = generator
                    .next(IdFormat::Uuid7, random, || Some(now))
                    .unwrap();
                ids.push(id.to_string());
            }
        }
        assert!(ids.is_sorted_by(|one, next| one < next));
        for id in ids {
            assert_eq!((id.len(), id.as_bytes()[14]), (36, b'7'));
        }
    }

    #[test]
    fn a_millisecond_is_left_when_its_counter_is_used_up() {
        let mut generator = Generator::default();
        let mut next = || {
            let id = generator
                .next(IdFormat::Uuid7, [0; 16], || Some(5))
                .unwrap();
            id.to_string()
        };
        for counter in 0..=0xfff {
            let id = format!("00000000-0005-7{counter:03x}-8000-000000000000");
            assert_eq!(next(), id);
        }
        assert_eq!(next(), "00000000-0006-7000-8000-000000000000");
    }
}
