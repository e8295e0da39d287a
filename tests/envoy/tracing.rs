//! Tracing goes on as it would: the cases of the table, run with tracing, show that ids stay the same.

use std::time::Duration;

use crate::testbed::{Testbed, eventually, get, is_new};
use test_support::client::{Connection, all};

/// The ids of a hundred requests that came without one, and how many of them are sampled.
fn sampled(testbed: &Testbed) -> (Vec<String>, usize) {
    let mut connection = Connection::open(testbed.port);
    let (mut ids, mut sampled) = (Vec::new(), 0);
    for _ in 0..100 {
        let path = testbed.unique("/");
        connection.send(&get("test", &path, &[]));
        let id = connection.receive().id();
        assert!(is_new(&id));
        let seen = testbed.upstream.seen(&path);
        assert_eq!(all(&seen[0].headers, "x-request-id"), [id.as_bytes()]);
        sampled += usize::from(all(&seen[0].headers, "x-b3-sampled") == [b"1"]);
        ids.push(id);
    }
    (ids, sampled)
}

/// Every span, too, has the id that client and upstream have.
pub fn all_are_sampled(testbed: &Testbed) {
    let (ids, sampled) = sampled(testbed);
    assert_eq!(sampled, 100);
    eventually(Duration::from_secs(20), || {
        let seen = testbed.collector.seen("/spans").into_iter();
        let bodies: Vec<_> = seen.map(|seen| seen.body).collect();
        let spans = String::from_utf8_lossy(&bodies.concat()).into_owned();
        let is_in_a_span =
            |id: &&String| spans.contains(&format!("\"guid:x-request-id\":\"{id}\""));
        let collected = ids.iter().filter(is_in_a_span).count();
        // Envoy keeps the last few until it has more.
        (collected > 90, format!("{collected} of 100 ids in spans"))
    });
}

/// By chance fewer than 20 or more than 80 of 100 are once in 10^9.
pub fn half_are_sampled(testbed: &Testbed) {
    let (_, sampled) = sampled(testbed);
    assert!((20..=80).contains(&sampled), "{sampled}");
}
