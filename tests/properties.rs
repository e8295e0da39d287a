//! What holds for any bytes at all.

use proptest::collection::vec;
use proptest::prelude::*;
use request_id_filter::adopt::first_usable;
use request_id_filter::decide::{Decision, Origin, Request, Write, decide};
use request_id_filter::headers::Headers;
use request_id_filter::id::{self, RequestId};
use request_id_filter::respond::respond;
use request_id_filter::{aws, sigv4};

/// A request of an id header and of a header map, which need not agree: a host may do anything.
#[derive(Clone, Debug)]
struct Any {
    id: Option<Vec<u8>>,
    headers: Vec<u8>,
    random: [u8; 16],
}

impl Request for Any {
    fn id(&mut self) -> Option<Vec<u8>> {
        self.id.clone()
    }
    fn headers(&mut self) -> Vec<u8> {
        self.headers.clone()
    }
    fn random(&mut self) -> Option<[u8; 16]> {
        Some(self.random)
    }
}

/// Bytes of any kind, more often such as an id or a list of ids may have.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        vec(
            prop::sample::select(b"aF0-., \t;=%:@~\x7f\x80\xff".to_vec()),
            0..240
        ),
        "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
            .prop_map(String::into_bytes),
        "(null|-|none|[A-Z0-9]{16}|a b)(,[ a-c]{0,3}){0,3}".prop_map(String::into_bytes),
        "AWS4-HMAC-SHA256 Credential=[a-z/]{0,9}, ?SignedHeaders=(host|x-request-id|;){0,4}"
            .prop_map(String::into_bytes),
        "/[a-z]{0,3}\\?(X-Amz-SignedHeaders=|host|%3[Bb]|x-request-id|&|%){0,6}"
            .prop_map(String::into_bytes),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let known = aws::REQUEST_NAMES
        .iter()
        .chain(aws::RESPONSE_NAMES)
        .copied();
    let known: Vec<_> = known
        .chain([
            aws::S3_HOST_ID,
            ":path",
            "authorization",
            "x-request-id",
            "",
        ])
        .collect();
    let prefixed = (0..4_usize, prop::sample::select(known)).prop_map(|(prefixes, name)| {
        format!("{}{name}", "x-amzn-remapped-".repeat(prefixes)).into_bytes()
    });
    prop_oneof![4 => prefixed, 1 => vec(any::<u8>(), 0..40)]
}

/// A header map as a host serializes it, or any bytes in its place.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let serialized = vec((name(), value()), 0..8).prop_map(|lines| {
        let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
        let mut map = number(lines.len()).to_vec();
        for (name, value) in &lines {
            map.extend([number(name.len()), number(value.len())].concat());
        }
        for (name, value) in lines {
            map.extend([&name[..], b"\0", &value, b"\0"].concat());
        }
        map
    });
    prop_oneof![4 => serialized, 1 => vec(any::<u8>(), 0..200)]
}

prop_compose! {
    fn request()(id in prop::option::of(value()), headers in headers(), random in any::<[u8; 16]>()) -> Any {
        Any { id, headers, random }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_request_gets_a_safe_id(mut request in request()) {
        let Decision { id, origin, .. } = decide(&mut request).unwrap();
        prop_assert!((1..=id::MAX_LENGTH).contains(&id.as_bytes().len()));
        prop_assert!(id.as_bytes().iter().copied().all(id::is_safe), "{}", id);
        if origin != Origin::Kept {
            prop_assert!(id::rfc9562(id.as_bytes()).is_some(), "{} is no UUID", id);
        }
    }

    #[test]
    fn an_id_that_was_given_is_kept_for_ever(mut request in request()) {
        let first = decide(&mut request).unwrap();
        let mut next = Any { id: Some(first.id.as_bytes().to_vec()), ..request };
        let kept = Decision { id: first.id, origin: Origin::Kept, write: Write::Unneeded };
        prop_assert_eq!(decide(&mut next), Some(kept));
    }

    #[test]
    fn a_kept_id_is_part_of_what_came(mut request in request()) {
        let Decision { id, origin, write } = decide(&mut request).unwrap();
        if origin == Origin::Kept {
            let came = request.id.unwrap();
            prop_assert!(came.windows(id.as_bytes().len()).any(|part| part == id.as_bytes()));
            prop_assert_eq!(write == Write::Unneeded, came == id.as_bytes());
        }
    }

    #[test]
    fn a_signed_request_is_never_written(mut request in request()) {
        let signed = Headers::new(&request.headers)
            .iter()
            .any(|(name, value)| sigv4::signs(name, value, b"x-request-id"));
        let write = decide(&mut request).unwrap().write;
        let otherwise = if signed { Write::Signed } else { Write::Set };
        prop_assert!(write == Write::Unneeded || write == otherwise);
    }

    #[test]
    fn any_response_publishes_a_safe_aws_id(headers in headers(), random in any::<[u8; 16]>()) {
        let id = RequestId::v4(random);
        if let Some(aws_id) = respond(&id, Headers::new(&headers)).aws_id {
            prop_assert_eq!(first_usable(aws_id), Some(aws_id));
            prop_assert!(aws_id.iter().copied().all(id::is_safe));
        }
    }

    #[test]
    fn new_ids_differ_where_their_randomness_does(one in any::<[u8; 16]>(), other in any::<[u8; 16]>()) {
        // Six bits are fixed: version and variant.
        let fixed = |mut random: [u8; 16]| { random[6] &= 0x0f; random[8] &= 0x3f; random };
        prop_assert_eq!(RequestId::v4(one) == RequestId::v4(other), fixed(one) == fixed(other));
    }
}
