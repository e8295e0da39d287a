//! What the rules promise for any bytes at all.

use proptest::prelude::*;
use request_id_configuration as configuration;
use request_id_rules::id;
use request_id_rules::policy::{IdFormat, Policy};
use request_id_rules::request::{Outcome, decide_on_request};
use request_id_rules::trust::Trust;
use test_support::hostile;
use test_support::message::{Message, new_id};

/// A request whose header values need not be what HTTP allows: a host may pass on anything.
fn request() -> impl Strategy<Value = Message> {
    let source_address = prop_oneof![
        "(10|11)\\.0\\.0\\.1(:[0-9]{1,3})?".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..30),
    ];
    (hostile::request(), source_address, any::<[u8; 16]>()).prop_map(
        |(request, source_address, random)| {
            let mut lines = request.lines;
            lines.push((b":path".to_vec(), request.path));
            let mut message = Message::new(source_address, lines);
            message.random = Some(random);
            message
        },
    )
}

/// Any policy that a configuration can choose.
fn policy() -> impl Strategy<Value = Policy> {
    hostile::configuration().prop_filter_map("a refused configuration", |text| {
        Some(configuration::read(text.as_bytes()).ok()?.policy)
    })
}

proptest! {
    #![proptest_config(hostile::with_cases(4_000))]

    #[test]
    fn by_default_any_request_gets_a_safe_id(request in request()) {
        let decision = decide_on_request(&Policy::default(), &request).unwrap();
        let id = decision.id.as_bytes();
        prop_assert!((1..=200).contains(&id.len()));
        prop_assert!(id.iter().copied().all(id::is_safe), "{}", decision.id);
        if decision.outcome != Outcome::Kept && decision.outcome != Outcome::Generated {
            prop_assert!(id::parse_rfc9562(id).is_some(), "{} is not a UUID", decision.id);
        }
    }

    #[test]
    fn an_id_that_the_filter_gave_is_kept_by_every_later_run(policy in policy(), request in request()) {
        let first = decide_on_request(&policy, &request).unwrap();
        prop_assume!(!matches!(first.outcome, Outcome::KeptInvalid(_) | Outcome::Rejected(_)));
        let header = policy.headers.id();
        let mut next = request;
        next.lines.retain(|(name, _)| !header.matches(name));
        next.lines.push((header.as_str().into(), first.id.as_bytes().to_vec()));
        next.remembered_id = first.must_be_remembered.then(|| first.id.as_bytes().to_vec());
        for _ in 0..3 {
            let later = decide_on_request(&policy, &next).unwrap();
            prop_assert_eq!(&later.id, &first.id);
            prop_assert!(matches!(later.outcome, Outcome::Kept | Outcome::KeptOwn));
            prop_assert!(!later.sets_id);
        }
    }

    /// Without exception: whatever the client sends, an untrusted peer gets an id of the host's random
    /// bytes only.
    #[test]
    fn an_untrusted_client_chooses_no_byte(policy in policy(), request in request()) {
        let policy = Policy { trust: Trust::None, generate: IdFormat::Uuid4, ..policy };
        let decision = decide_on_request(&policy, &request).unwrap();
        prop_assert_eq!(Some(decision.id), new_id(IdFormat::Uuid4, request.random.unwrap()));
        prop_assert!(matches!(decision.outcome, Outcome::Generated | Outcome::Replaced(_)));
    }

    #[test]
    fn a_kept_id_is_part_of_what_the_client_sent(policy in policy(), request in request()) {
        let decision = decide_on_request(&policy, &request).unwrap();
        if decision.outcome == Outcome::Kept {
            let id = decision.id.as_bytes();
            let was_sent = request.lines.iter().any(|(name, value)| {
                policy.headers.id().matches(name) && value.windows(id.len()).any(|part| part == id)
            });
            prop_assert!(was_sent);
        }
    }

    #[test]
    fn ids_differ_if_their_random_bits_do(one in any::<[u8; 16]>(), other in any::<[u8; 16]>()) {
        // Six bits of a UUID are fixed: the version and the variant.
        let free = |mut random: [u8; 16]| { random[6] &= 0x0f; random[8] &= 0x3f; random };
        let same = |format| new_id(format, one) == new_id(format, other);
        prop_assert_eq!(same(IdFormat::Uuid4), free(one) == free(other));
        prop_assert_eq!(same(IdFormat::Hex32), one == other);
    }
}
