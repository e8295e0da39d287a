//! How many of the traces that begin in this Envoy are sampled.

use super::tracers::Tracer;
use super::{Ids, TracingTestbed, traced_listener};
use crate::testbed::{Testbed, tests};

tests![ten_and_fifty_percent_of_the_traces_that_begin_here_are_sampled];

const PERCENTAGES: [u32; 2] = [10, 50];
const REQUESTS: usize = 400;

fn ten_and_fifty_percent_of_the_traces_that_begin_here_are_sampled(_: &Testbed) {
    let name = |tracer, ids, percentage| format!("{tracer:?} {ids:?} {percentage}");
    let testbed = TracingTestbed::start(|collector| {
        let mut listeners = Vec::new();
        for tracer in Tracer::ALL {
            for ids in [Ids::Filter, Ids::FilterWithoutTrust] {
                listeners.extend(PERCENTAGES.map(|percentage| {
                    let name = name(tracer, ids, percentage);
                    traced_listener(&name, ids, tracer, percentage, collector)
                }));
            }
        }
        listeners
    });
    for percentage in PERCENTAGES {
        let (mut requests, mut sampled) = (0, 0);
        for tracer in Tracer::ALL {
            let mut send = |kind, ids, header, values: &[Option<String>]| {
                let listener = name(tracer, ids, percentage);
                let (of_kind, ids) = send(&testbed, tracer, &listener, kind, header, values);
                let shown = format!("{listener}, {kind}");
                assert_proportion(&shown, of_kind, REQUESTS, percentage);
                requests += REQUESTS;
                sampled += of_kind;
                ids
            };
            let none = vec![None; REQUESTS];
            let new_ids = send("no id", Ids::Filter, "x-request-id", &none);
            send("no id", Ids::FilterWithoutTrust, "x-request-id", &none);
            // New ids are random, so a client may as well send these.
            let ids: Vec<_> = new_ids.into_iter().map(Some).collect();
            for (kind, header) in [("UUID", "x-request-id"), ("AWS UUID", "x-amzn-requestid")] {
                let same_ids = send(kind, Ids::Filter, header, &ids);
                assert!(same_ids.iter().eq(ids.iter().flatten()), "{kind}");
            }
            let aws_ids = (0..REQUESTS).map(|number| Some(format!("4B4NGF{number}")));
            let aws_ids: Vec<_> = aws_ids.collect();
            send("AWS id", Ids::Filter, "x-amz-request-id", &aws_ids);
        }
        assert_proportion("all", sampled, requests, percentage);
    }
}

/// Sends requests with these values in a header. Returns how many are sampled, and the ids of all.
fn send(
    testbed: &TracingTestbed,
    tracer: Tracer,
    listener: &str,
    kind: &str,
    header: &'static str,
    values: &[Option<String>],
) -> (usize, Vec<String>) {
    let mut connection = testbed.connect(listener);
    let mut sampled = 0;
    let mut ids = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let path = format!("/{listener}-{kind}-{number}").replace(' ', "-");
        let id = value.iter().map(|value| (header, value.clone().into()));
        let lines: Vec<_> = id.collect();
        let (response, received) = testbed.send(&mut connection, &path, &lines);
        let (decision, _) = tracer.propagated_decision(&received[0].headers);
        // 2 is Datadog's "keep".
        sampled += usize::from(decision == "1" || decision == "2");
        ids.push(response.id());
    }
    (sampled, ids)
}

/// Fails if so many are sampled by chance less often than once in a million.
fn assert_proportion(of_what: &str, sampled: usize, requests: usize, percentage: u32) {
    let count = |number: usize| f64::from(u32::try_from(number).expect("the number is small"));
    let share = f64::from(percentage) / 100.0;
    let expected = count(requests) * share;
    let deviation = (expected * (1.0 - share)).sqrt();
    assert!(
        (count(sampled) - expected).abs() < 5.0 * deviation,
        "{of_what}: {sampled} of {requests} are sampled at {percentage} %"
    );
}
