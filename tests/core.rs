//! The table of cases on the pure core, and what the table itself rests on.

mod cases;

use std::process::Command;

use cases::{Case, Id, Line};
use request_id_filter::decide::{Decision, Origin, Request, Write, decide};
use request_id_filter::headers::Headers;
use request_id_filter::id::RequestId;
use request_id_filter::respond::respond;

const RANDOM: [u8; 16] = [0x5a; 16];

/// A request as Envoy shows it to the filter.
struct AsEnvoy {
    lines: Vec<Line>,
    random: Option<[u8; 16]>,
}

impl AsEnvoy {
    fn new(case: &Case) -> Self {
        let mut lines = vec![(":path", case.path.into())];
        lines.extend(as_envoy(&case.request));
        Self {
            lines,
            random: Some(RANDOM),
        }
    }
}

/// Envoy's codec trims a value (`ConnectionImpl::onHeaderValueImpl`) and Envoy joins the lines of
/// an inline header, which `x-request-id` is, leaving out empty ones
/// (`HeaderMapImpl::appendToHeader`).
fn as_envoy(lines: &[Line]) -> Vec<Line> {
    let mut seen: Vec<Line> = Vec::new();
    for (name, value) in lines {
        let value = request_id_filter::headers::trim(value);
        let is_id = name.eq_ignore_ascii_case("x-request-id");
        match seen
            .iter_mut()
            .find(|(seen, _)| is_id && seen.eq_ignore_ascii_case(name))
        {
            None => seen.push((name, value.to_vec())),
            Some((_, joined)) if joined.is_empty() => *joined = value.to_vec(),
            Some(_) if value.is_empty() => {}
            Some((_, joined)) => {
                joined.push(b',');
                joined.extend(value);
            }
        }
    }
    seen
}

fn serialized(lines: &[Line]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut map = number(lines.len()).to_vec();
    for (name, value) in lines {
        map.extend(number(name.len()));
        map.extend(number(value.len()));
    }
    for (name, value) in lines {
        map.extend([name.to_lowercase().as_bytes(), b"\0", value, b"\0"].concat());
    }
    map
}

impl Request for AsEnvoy {
    fn id(&mut self) -> Option<Vec<u8>> {
        let line = self
            .lines
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("x-request-id"));
        line.map(|(_, value)| value.clone())
    }

    fn headers(&mut self) -> Vec<u8> {
        serialized(&self.lines)
    }

    fn random(&mut self) -> Option<[u8; 16]> {
        self.random.take()
    }
}

#[test]
fn the_core_decides_as_the_table_says() {
    let cases = cases::all();
    for case in &cases {
        let decision = decide(&mut AsEnvoy::new(case)).expect("a decision");
        let id = match &case.id {
            Id::Is(id) => id.clone(),
            Id::New => RequestId::v4(RANDOM).as_bytes().to_vec(),
        };
        let write = match (case.signed, case.written) {
            (true, _) => Write::Signed,
            (false, true) => Write::Set,
            (false, false) => Write::Unneeded,
        };
        let name = case.name;
        assert_eq!(
            decision.id.to_string(),
            id.escape_ascii().to_string(),
            "{name}"
        );
        assert_eq!(decision.origin.to_string(), case.origin, "{name}");
        assert_eq!(decision.write, write, "{name}");

        let map = serialized(&as_envoy(&case.upstream));
        let response = respond(&decision.id, Headers::new(&map));
        assert_eq!(response.aws_id, case.aws_id, "{name}");
        let theirs = as_envoy(&case.upstream)
            .into_iter()
            .find(|(name, _)| *name == "x-request-id");
        assert_eq!(
            response.set_id,
            theirs.is_none_or(|(_, theirs)| theirs != id),
            "{name}"
        );
    }
    println!("{} cases", cases.len());
}

#[test]
fn the_names_of_cases_are_their_own() {
    let mut names: Vec<_> = cases::all().iter().map(|case| case.name).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

/// The design promises that anyone can recompute a derived id with stock tools.
#[test]
fn python_derives_the_same_ids() {
    let derived = cases::all()
        .into_iter()
        .filter_map(|case| match (&case.id, &case.request[..]) {
            (Id::Is(id), [(_, value)])
                if case.origin.starts_with("adopted") && id.get(14) == Some(&b'5') =>
            {
                Some((
                    String::from_utf8(value.clone()).ok()?.trim().to_owned(),
                    id.clone(),
                ))
            }
            _ => None,
        });
    let (values, ids): (Vec<_>, Vec<_>) = derived
        .filter(|(value, id)| !value.eq_ignore_ascii_case(&String::from_utf8_lossy(id)))
        .unzip();
    assert!(ids.len() >= 6, "{values:?}");
    let python = Command::new("python3")
        .arg("-c")
        .arg("import sys, uuid\nspace = uuid.uuid5(uuid.NAMESPACE_DNS, 'amazonaws.com')\nfor value in sys.argv[1:]: print(uuid.uuid5(space, value))")
        .args(&values)
        .output()
        .expect("python3 is missing: install it (Debian: apt-get install python3)");
    let ids: Vec<_> = ids.iter().map(|id| String::from_utf8_lossy(id)).collect();
    assert_eq!(
        String::from_utf8_lossy(&python.stdout)
            .lines()
            .collect::<Vec<_>>(),
        ids
    );
}

#[test]
fn without_randomness_an_id_that_came_still_serves() {
    let decide_without = |lines: Vec<Line>| {
        decide(&mut AsEnvoy {
            lines,
            random: None,
        })
    };
    assert_eq!(decide_without(vec![]), None);
    assert_eq!(
        decide_without(vec![("x-request-id", b"a b".to_vec())]),
        None
    );
    let kept = decide_without(vec![("x-request-id", b"mine".to_vec())]);
    assert!(matches!(
        kept,
        Some(Decision {
            origin: Origin::Kept,
            ..
        })
    ));
    let adopted = decide_without(vec![("x-amzn-requestid", b"theirs".to_vec())]);
    assert!(matches!(
        adopted,
        Some(Decision {
            origin: Origin::Adopted(_),
            ..
        })
    ));
}

/// Envoy's codec trims; a host that does not gets the same id.
#[test]
fn blanks_around_an_id_are_dropped_by_a_write() {
    let lines = vec![("x-request-id", b" mine\t".to_vec())];
    let decision = decide(&mut AsEnvoy {
        lines,
        random: None,
    })
    .expect("a decision");
    assert_eq!(decision.id.as_bytes(), b"mine");
    assert_eq!(
        (decision.origin, decision.write),
        (Origin::Kept, Write::Set)
    );
}
