//! The decision that reaches the upstream, and the spans that reach the collector, compared with those of an Envoy
//! that gives requests ids of its own.

use std::time::Duration;

use super::tracers::Tracer::{
    self, Datadog, OpenTelemetry, OpenTelemetryWithSampler, SkyWalking, Zipkin,
};
use super::{Ids, TracingTestbed, traced_listener};
use crate::testbed::{Testbed, eventually, tests};
use test_support::cases::Line;

tests![each_tracer_decides_as_with_envoys_own_ids];

/// The name of a kind of request, and the header lines that make a request one of that kind.
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

/// Returns the decisions with Envoy's own ids and those with the filter, if the two are known to differ: with a sampled
/// parent, with an unsampled one, and without. `docs/tracing.md` explains them.
fn known_difference(
    tracer: Tracer,
    minor_version: u32,
    ids: Ids,
    request: &str,
) -> Option<(&'static str, &'static str)> {
    let is_from_1_39 = minor_version >= 39;
    // Envoy makes its first decision without an id by which it can sample.
    let has_no_id_at_first = match ids {
        // An empty id counts as one that is there, and Envoy adds no provisional one.
        Ids::Filter => request == "empty",
        // This is what the provisional ids are for.
        Ids::FilterWithoutMutation => ["no id", "AWS UUID", "AWS id", "empty"].contains(&request),
        // The id of a client that is not trusted still makes the first decision.
        Ids::FilterWithoutTrust => ["req-1", "invalid", "empty"].contains(&request),
        Ids::Envoy | Ids::EnvoyAtEdge | Ids::Nobody => false,
    };
    // The filter replaces the invalid id before Envoy decides again.
    let is_replaced = request == "invalid" && ids != Ids::FilterWithoutTrust;
    match tracer {
        OpenTelemetry if is_replaced && is_from_1_39 => Some(("0/0/0", "0/0/1")),
        OpenTelemetry | Zipkin if is_replaced => Some(("1/0/0", "1/0/1")),
        OpenTelemetry if has_no_id_at_first && is_from_1_39 => Some(("1/0/1", "0/0/1")),
        OpenTelemetryWithSampler if has_no_id_at_first && is_from_1_39 => Some(("1/0/1", "0/0/0")),
        SkyWalking if has_no_id_at_first => Some(("1/1/1", "1/1/nothing")),
        // To Datadog, Envoy's second decision is one that a user made, which has priority 2 ("keep") instead of 1.
        Datadog if is_replaced => Some(("1/0/-1", "1/0/2")),
        Datadog if ids == Ids::FilterWithoutTrust || !["UUID", "req-1"].contains(&request) => {
            Some(("1/0/1", "1/0/2"))
        }
        _ => None,
    }
}

/// What was observed of a request.
struct Observation {
    tracer: Tracer,
    /// The decision that the upstream received, and whether the upstream's trace is the one of the client.
    propagated: (String, bool),
    /// The path, which the span has, too.
    path: String,
}

/// What was observed of one kind of request, with each of [`PARENTS`].
type Row = [Observation; 3];

fn propagated(row: &Row) -> [&(String, bool); 3] {
    row.each_ref().map(|seen| &seen.propagated)
}

fn decisions(row: &Row) -> String {
    propagated(row).map(|(decision, _)| &**decision).join("/")
}

fn each_tracer_decides_as_with_envoys_own_ids(_: &Testbed) {
    let name = |tracer: Tracer, ids: Ids| format!("{tracer:?} {ids:?}");
    let testbed = TracingTestbed::start(|collector| {
        let ids = [Ids::Envoy, Ids::EnvoyAtEdge].into_iter();
        let ids = ids.chain(COMPARED.map(|(filter, _)| filter));
        let listeners = ids.flat_map(|ids| {
            let listener =
                |tracer| traced_listener(&name(tracer, ids), ids, tracer, 100, collector);
            Tracer::ALL.map(listener)
        });
        listeners.collect()
    });
    let minor_version = testbed.minor_version();

    let mut observations = Vec::new();
    let mut wrong = Vec::new();
    for tracer in Tracer::ALL {
        for (filter_ids, own_ids) in COMPARED {
            for request @ (kind, _) in REQUESTS {
                let row = |ids: Ids| {
                    let listener = name(tracer, ids);
                    let row = send(&testbed, tracer, &listener, request);
                    let (_, is_continued) = row[0].propagated;
                    assert!(is_continued, "the client's trace ends: {listener}, {kind}");
                    row
                };
                let (own, filter) = (row(own_ids), row(filter_ids));
                let (own_decisions, filter_decisions) = (decisions(&own), decisions(&filter));
                let known = known_difference(tracer, minor_version, filter_ids, kind);
                let is_as_expected = match known {
                    Some(known) => (&*own_decisions, &*filter_decisions) == known,
                    None => propagated(&own) == propagated(&filter),
                };
                if !is_as_expected {
                    wrong.push(format!(
                        "{tracer:?}, {filter_ids:?}, {kind}: the upstream is told {filter_decisions}, \
                         and with {own_ids:?} {own_decisions}"
                    ));
                }
                // If nothing were traced, nothing could differ.
                if *kind == "UUID" {
                    let traced = if tracer == SkyWalking {
                        "1/1/1"
                    } else {
                        "1/0/1"
                    };
                    assert_eq!(own_decisions, traced, "{tracer:?}");
                }
                observations.extend(own.into_iter().chain(filter));
            }
        }
    }
    let wrong = wrong.join("\n");
    assert!(wrong.is_empty(), "Envoy 1.{minor_version}:\n{wrong}");

    // With Datadog, the agent drops spans.
    let is_sampled = |seen: &&Observation| seen.tracer == Datadog || seen.propagated.0 == "1";
    let (sampled, others): (Vec<_>, Vec<_>) = observations.iter().partition(is_sampled);
    let paths_without_span = || {
        let spans = testbed.collector.text();
        let paths = sampled.iter().map(|seen| seen.path.as_str());
        let without_span = paths.filter(|path| !spans.contains(path));
        without_span.collect::<Vec<_>>()
    };
    eventually(Duration::from_secs(20), paths_without_span, Vec::is_empty);
    let spans = testbed.collector.text();
    for Observation { tracer, path, .. } in others {
        assert!(!spans.contains(path), "{tracer:?} sends a span of {path}");
    }
}

/// Sends a request with each parent to a listener.
fn send(testbed: &TracingTestbed, tracer: Tracer, listener: &str, request: &Request) -> Row {
    let mut connection = testbed.connect(listener);
    let (kind, lines) = request;
    PARENTS.map(|parent| {
        let words = format!("{listener} {kind} {parent:?}");
        let path = format!("/{}/", words.replace(|c: char| !c.is_alphanumeric(), "-"));
        let lines = lines
            .iter()
            .map(|(name, value)| (*name, value.as_bytes().to_vec()));
        let parent = parent
            .into_iter()
            .flat_map(|is_sampled| tracer.parent(is_sampled));
        let lines: Vec<Line> = lines.chain(parent).collect();
        let (response, received) = testbed.send(&mut connection, &path, &lines);
        assert_eq!(response.status, 200, "{response:?}");
        Observation {
            tracer,
            propagated: tracer.propagated_decision(&received[received.len() - 1].headers),
            path,
        }
    })
}
