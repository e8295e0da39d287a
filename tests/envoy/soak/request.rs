//! Which requests are sent, and what the filter counts for each.

/// Where a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The default configuration, which changes all the time.
    Main,
    /// Trusts nobody.
    Edge,
    /// Rejects invalid ids.
    Strict,
}

/// What becomes of a request, the filter aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Answered,
    WithBody,
    DirectResponse,
    UnknownCluster,
    NoRoute,
    /// The first attempt fails, the second does not.
    Retried,
    /// An internal redirect, after which the filter runs again.
    Moved,
    ResetBeforeHeaders,
    ResetAfterHeaders,
    ResetWithinBody,
    TimedOut,
    /// The client leaves with half of the headers sent, over HTTP/1.1.
    LeftWithinHeaders,
    /// The client leaves with part of the body sent.
    LeftWithinBody,
    /// The client leaves with everything sent and nothing answered.
    LeftBeforeResponse,
    /// An invalid id where it is rejected.
    Rejected,
}

/// How many of 200 requests are of each kind, and their path.
const KINDS: [(Kind, u64, &str); 14] = [
    (Kind::Answered, 120, "/answered"),
    (Kind::WithBody, 20, "/answered"),
    (Kind::DirectResponse, 6, "/direct"),
    (Kind::UnknownCluster, 6, "/unknown"),
    (Kind::NoRoute, 6, "/answered"),
    (Kind::Retried, 8, "/retry"),
    (Kind::Moved, 10, "/moved"),
    (Kind::ResetBeforeHeaders, 4, "/reset-before-headers"),
    (Kind::ResetAfterHeaders, 4, "/reset-after-headers"),
    (Kind::ResetWithinBody, 4, "/reset-within-body"),
    (Kind::TimedOut, 1, "/slow"),
    (Kind::LeftWithinHeaders, 2, "/left"),
    (Kind::LeftWithinBody, 5, "/left"),
    (Kind::LeftBeforeResponse, 4, "/left"),
];

/// The id that a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    Nothing,
    Valid,
    Invalid,
    Aws,
}

#[derive(Debug)]
pub struct Request {
    pub number: u64,
    pub listener: Listener,
    pub kind: Kind,
    pub given: Given,
}

impl Request {
    /// Returns the request of this number, which is the same in each run.
    pub fn planned(number: u64, listener: Listener) -> Self {
        let random = spread_evenly(number);
        let mut place = random % 200;
        let kind = KINDS.into_iter().find(|(_, share, _)| {
            let is_here = place < *share;
            place = place.wrapping_sub(*share);
            is_here
        });
        let (kind, ..) = kind.expect("the shares add up to 200");
        let given = match (random >> 32) % 8 {
            0..4 => Given::Nothing,
            4..6 => Given::Valid,
            6 => Given::Invalid,
            _ => Given::Aws,
        };
        let kind = match (listener, given) {
            (Listener::Strict, Given::Invalid) => Kind::Rejected,
            _ => kind,
        };
        Self {
            number,
            listener,
            kind,
            given,
        }
    }

    pub fn path(&self) -> String {
        let of_kind = KINDS.into_iter().find(|(kind, ..)| *kind == self.kind);
        // Only rejected requests are of no kind here: they would be answered.
        let path = of_kind.map_or("/answered", |(.., path)| path);
        format!("{path}?{}", self.number)
    }

    pub fn host(&self) -> &'static str {
        match self.kind {
            Kind::NoRoute => "localhost",
            _ => "127.0.0.1",
        }
    }

    /// Returns the header with the id that the request brings.
    pub fn id_line(&self) -> Option<(&'static str, String)> {
        match self.given {
            Given::Nothing => None,
            Given::Valid => Some(("x-request-id", format!("valid-{}", self.number))),
            Given::Invalid => Some(("x-request-id", format!("invalid {}", self.number))),
            Given::Aws => Some(("x-amzn-requestid", AWS.into())),
        }
    }

    pub fn body(&self) -> &'static [u8] {
        match self.kind {
            Kind::WithBody | Kind::LeftWithinBody => &[b'x'; 4096],
            _ => &[],
        }
    }

    /// Returns whether the client leaves before it is answered.
    pub fn is_left(&self) -> bool {
        use Kind::{LeftBeforeResponse, LeftWithinBody, LeftWithinHeaders};
        matches!(
            self.kind,
            LeftWithinHeaders | LeftWithinBody | LeftBeforeResponse
        )
    }

    /// Returns the counters that count the request: one of an outcome for each time that the filter runs.
    pub fn counters(&self) -> Vec<&'static str> {
        let mut first = match (self.listener, self.given) {
            (Listener::Edge, Given::Nothing | Given::Aws) => vec!["generated", "untrusted"],
            (Listener::Edge, Given::Valid | Given::Invalid) => vec!["replaced", "untrusted"],
            (_, Given::Nothing) => vec!["generated"],
            (_, Given::Valid) => vec!["kept"],
            (_, Given::Aws) => vec!["adopted"],
            (Listener::Main, Given::Invalid) => vec!["replaced", "invalid.bad_byte"],
            (Listener::Strict, Given::Invalid) => vec!["rejected", "invalid.bad_byte"],
        };
        match self.kind {
            Kind::LeftWithinHeaders => first.clear(),
            // The second run keeps the id of the first one, even from a peer that is not trusted.
            Kind::Moved if first[0] != "rejected" => first.push("kept"),
            _ => {}
        }
        first
    }

    /// Returns the id of the response, if it can be known in advance.
    pub fn expected_id(&self) -> Option<String> {
        match (self.listener, self.given) {
            (Listener::Edge, _) | (_, Given::Nothing | Given::Invalid) => None,
            (_, Given::Valid) => self.id_line().map(|(_, id)| id),
            (_, Given::Aws) => Some(AWS.into()),
        }
    }
}

/// An RFC 9562 UUID, which is adopted unchanged.
const AWS: &str = "0b1e1d7c-36a4-4d8f-9d0a-5e1c1b7f2a90";

/// Spreads numbers that count up evenly (the finalizer of SplitMix64).
fn spread_evenly(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
