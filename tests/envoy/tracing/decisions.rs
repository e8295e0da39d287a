//! The decision that reaches the upstream, and the spans that reach the collector, compared with
//! the same Envoy that gives requests its
//! own ids.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use super::tracers::Tracer::{
    self, Datadog, OpenTelemetry, OpenTelemetryWithSampler, SkyWalking, Zipkin,
};
use super::{Ids, TracingTestbed, listener};
use crate::testbed::{MANAGER, at, eventually};
use test_support::cases::Line;

/// A kind of request, and the header lines by which it has an id or another header has one.
type Request = (&'static str, &'static [(&'static str, &'static str)]);

const REQUESTS: &[Request] = &[
    ("no id", &[]),
    (
        "AWS UUID",
        &[("x-amzn-requestid", "c2b5e1d4-5f0a-4c39-9d1e-7a3b8f6c2d10")],
    ),
    ("AWS id", &[("x-amz-request-id", "4B4NGF0EAWN0GE63")]),
    (
        "UUID",
        &[("x-request-id", "0f8fad5b-d9cb-469f-a165-70867728950e")],
    ),
    // Envoy samples at random by the first eight digits of the id, which these have not.
    ("req-1", &[("x-request-id", "req-1")]),
    ("invalid", &[("x-request-id", "zz 1")]),
    ("invalid, with digits", &[("x-request-id", "0f8fad5b 1")]),
    ("empty", &[("x-request-id", "")]),
];

/// Whether the trace that the client began is sampled, if it began one.
const PARENTS: [Option<bool>; 3] = [Some(true), Some(false), None];

/// A way to give requests their ids, and the way of Envoy's own that it is compared with.
const COMPARED: [(Ids, Ids); 3] = [
    (Ids::Filter, Ids::Envoy),
    (Ids::FilterWithoutMutation, Ids::Envoy),
    (Ids::FilterWithoutTrust, Ids::EnvoyAtEdge),
];

/// Requests for which the upstream receives another decision than with Envoy's own ids.
struct Difference {
    tracers: &'static [Tracer],
    /// The minor versions of Envoy.
    envoy: RangeInclusive<u32>,
    ids: &'static [Ids],
    requests: &'static [&'static str],
    /// The decisions with Envoy's own ids, and with the filter: with a sampled parent, an unsampled one and none.
    own: &'static str,
    filter: &'static str,
}

const ANY: RangeInclusive<u32> = 0..=u32::MAX;
const UP_TO_1_38: RangeInclusive<u32> = 0..=38;
const FROM_1_39: RangeInclusive<u32> = 39..=u32::MAX;

/// `docs/tracing.md` explains them.
const DIFFERENCES: &[Difference] = &[
    // The filter replaces the invalid id before Envoy decides again.
    Difference {
        tracers: &[OpenTelemetry],
        envoy: UP_TO_1_38,
        ids: &[Ids::Filter, Ids::FilterWithoutMutation],
        requests: &["invalid"],
        own: "1/0/0",
        filter: "1/0/1",
    },
    Difference {
        tracers: &[OpenTelemetry],
        envoy: FROM_1_39,
        ids: &[Ids::Filter, Ids::FilterWithoutMutation],
        requests: &["invalid"],
        own: "0/0/0",
        filter: "0/0/1",
    },
    Difference {
        tracers: &[Zipkin],
        envoy: ANY,
        ids: &[Ids::Filter, Ids::FilterWithoutMutation],
        requests: &["invalid"],
        own: "1/0/0",
        filter: "1/0/1",
    },
    // An empty id counts as one that is there, and Envoy adds no provisional one.
    Difference {
        tracers: &[OpenTelemetry],
        envoy: FROM_1_39,
        ids: &[Ids::Filter],
        requests: &["empty"],
        own: "1/0/1",
        filter: "0/0/1",
    },
    Difference {
        tracers: &[OpenTelemetryWithSampler],
        envoy: FROM_1_39,
        ids: &[Ids::Filter],
        requests: &["empty"],
        own: "1/0/1",
        filter: "0/0/0",
    },
    Difference {
        tracers: &[SkyWalking],
        envoy: ANY,
        ids: &[Ids::Filter],
        requests: &["empty"],
        own: "1/1/1",
        filter: "1/1/nothing",
    },
    // The id of a client that is not trusted still makes the first decision.
    Difference {
        tracers: &[OpenTelemetry],
        envoy: FROM_1_39,
        ids: &[Ids::FilterWithoutTrust],
        requests: &["req-1", "invalid", "empty"],
        own: "1/0/1",
        filter: "0/0/1",
    },
    Difference {
        tracers: &[OpenTelemetryWithSampler],
        envoy: FROM_1_39,
        ids: &[Ids::FilterWithoutTrust],
        requests: &["req-1", "invalid", "empty"],
        own: "1/0/1",
        filter: "0/0/0",
    },
    Difference {
        tracers: &[SkyWalking],
        envoy: ANY,
        ids: &[Ids::FilterWithoutTrust],
        requests: &["req-1", "invalid", "empty"],
        own: "1/1/1",
        filter: "1/1/nothing",
    },
    // To Datadog, Envoy's second decision is one that a user made, which has priority 2 ("keep") instead of 1.
    Difference {
        tracers: &[Datadog],
        envoy: ANY,
        ids: &[Ids::Filter, Ids::FilterWithoutMutation],
        requests: &[
            "no id",
            "AWS UUID",
            "AWS id",
            "invalid, with digits",
            "empty",
        ],
        own: "1/0/1",
        filter: "1/0/2",
    },
    Difference {
        tracers: &[Datadog],
        envoy: ANY,
        ids: &[Ids::Filter, Ids::FilterWithoutMutation],
        requests: &["invalid"],
        own: "1/0/-1",
        filter: "1/0/2",
    },
    Difference {
        tracers: &[Datadog],
        envoy: ANY,
        ids: &[Ids::FilterWithoutTrust],
        requests: &[
            "no id",
            "AWS UUID",
            "AWS id",
            "UUID",
            "req-1",
            "invalid",
            "invalid, with digits",
            "empty",
        ],
        own: "1/0/1",
        filter: "1/0/2",
    },
    // What the provisional ids are for.
    Difference {
        tracers: &[OpenTelemetry],
        envoy: FROM_1_39,
        ids: &[Ids::FilterWithoutMutation],
        requests: &["no id", "AWS UUID", "AWS id", "empty"],
        own: "1/0/1",
        filter: "0/0/1",
    },
    Difference {
        tracers: &[OpenTelemetryWithSampler],
        envoy: FROM_1_39,
        ids: &[Ids::FilterWithoutMutation],
        requests: &["no id", "AWS UUID", "AWS id", "empty"],
        own: "1/0/1",
        filter: "0/0/0",
    },
    Difference {
        tracers: &[SkyWalking],
        envoy: ANY,
        ids: &[Ids::FilterWithoutMutation],
        requests: &["no id", "AWS UUID", "AWS id", "empty"],
        own: "1/1/1",
        filter: "1/1/nothing",
    },
];

/// What was observed of one kind of request: with a sampled parent, with an unsampled one, and without.
#[derive(PartialEq)]
struct Row([Observation; 3]);

struct Observation {
    /// The decision that the upstream received.
    decision: String,
    /// Whether the upstream's trace is the one of the client.
    is_continued: bool,
    /// The path, which the span has, too.
    path: String,
}

impl PartialEq for Observation {
    fn eq(&self, other: &Self) -> bool {
        (&self.decision, self.is_continued) == (&other.decision, other.is_continued)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}",
            self.0
                .each_ref()
                .map(|observation| &*observation.decision)
                .join("/")
        )
    }
}

pub fn are_those_of_envoys_own_ids() {
    let name = |tracer: Tracer, ids: Ids| format!("{tracer:?} {ids:?}");
    let testbed = TracingTestbed::start(|collector| {
        let listener = |tracer: Tracer, ids| -> Value {
            let mut listener = listener(&name(tracer, ids), ids);
            at(&mut listener, MANAGER)["tracing"] = tracer.tracing(100, collector);
            listener
        };
        let ids = [Ids::Envoy, Ids::EnvoyAtEdge].into_iter();
        let ids = ids.chain(COMPARED.map(|(filter, _)| filter));
        ids.flat_map(|ids| Tracer::ALL.map(|tracer| listener(tracer, ids)))
            .collect()
    });
    let envoy = testbed.minor_version();

    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for tracer in Tracer::ALL {
        for (filter_ids, own_ids) in COMPARED {
            for request in REQUESTS {
                let row = |ids: Ids| {
                    let listener = name(tracer, ids);
                    let row = send(&testbed, tracer, &listener, request);
                    assert!(
                        row.0[0].is_continued,
                        "the client's trace ends: {listener}, {}",
                        request.0
                    );
                    row
                };
                let (own, filter) = (row(own_ids), row(filter_ids));
                let mut differences = DIFFERENCES.iter().filter(|difference| {
                    difference.tracers.contains(&tracer)
                        && difference.envoy.contains(&envoy)
                        && difference.ids.contains(&filter_ids)
                        && difference.requests.contains(&request.0)
                });
                let is_as_expected = match differences.next() {
                    Some(known) => {
                        (own.to_string(), filter.to_string())
                            == (known.own.into(), known.filter.into())
                    }
                    None => own == filter,
                };
                if !is_as_expected {
                    wrong.push(format!(
                        "{tracer:?}, {filter_ids:?}, {}: {filter} is told, with {own_ids:?} {own}",
                        request.0
                    ));
                }
                // Were nothing traced, nothing could differ.
                if request.0 == "UUID" {
                    let traced = if tracer == SkyWalking {
                        "1/1/1"
                    } else {
                        "1/0/1"
                    };
                    assert_eq!(own.to_string(), traced, "{tracer:?}");
                }
                rows.extend([(tracer, own), (tracer, filter)]);
            }
        }
    }
    assert!(wrong.is_empty(), "Envoy 1.{envoy}:\n{}", wrong.join("\n"));

    // Datadog's agent is what drops spans.
    let is_sampled = |tracer: Tracer, observation: &Observation| {
        tracer == Datadog || observation.decision == "1"
    };
    let cells = rows
        .iter()
        .flat_map(|(tracer, row)| row.0.iter().map(|observation| (*tracer, observation)));
    let (sampled, others): (Vec<_>, Vec<_>) =
        cells.partition(|(tracer, observation)| is_sampled(*tracer, observation));
    let without_span = || {
        let spans = testbed.collector.text();
        let missing = sampled
            .iter()
            .filter(|(_, observation)| !spans.contains(&observation.path));
        missing.count()
    };
    eventually(Duration::from_secs(20), without_span, |missing| {
        *missing == 0
    });
    let spans = testbed.collector.text();
    for (tracer, observation) in others {
        assert!(
            !spans.contains(&observation.path),
            "{tracer:?} sends a span of {}",
            observation.path
        );
    }
}

/// Sends a request with each parent to a listener.
fn send(testbed: &TracingTestbed, tracer: Tracer, listener: &str, request: &Request) -> Row {
    let mut connection = testbed.connect(listener);
    Row(PARENTS.map(|parent| {
        let words = format!("{listener} {} {parent:?}", request.0);
        let path = format!("/{}/", words.replace(|c: char| !c.is_alphanumeric(), "-"));
        let id = request
            .1
            .iter()
            .map(|(name, value)| (*name, value.as_bytes().to_vec()));
        let parent = parent
            .into_iter()
            .flat_map(|is_sampled| tracer.parent(is_sampled));
        let lines: Vec<Line> = id.chain(parent).collect();
        let (response, received) = testbed.send(&mut connection, &path, &lines);
        assert_eq!(response.status, 200, "{response:?}");
        let (decision, is_continued) =
            tracer.propagated_decision(&received[received.len() - 1].headers);
        Observation {
            decision,
            is_continued,
            path,
        }
    }))
}
