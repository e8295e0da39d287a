//! Tracing goes on as it would: the cases of the table, run with tracing, show that ids stay the same.

use std::time::Duration;

use crate::client::{Connection, all};
use crate::stage::{Stage, eventually, get, is_new};

/// The ids of a hundred requests that came without one, and how many of them are sampled.
fn sampled(stage: &Stage) -> (Vec<String>, usize) {
    let mut connection = Connection::open(stage.port);
    let (mut ids, mut sampled) = (Vec::new(), 0);
    for _ in 0..100 {
        let path = stage.unique("/");
        connection.send(&get("test", &path, &[]));
        let id = connection.receive().id();
        assert!(is_new(&id));
        let seen = stage.upstream.seen(&path);
        assert_eq!(all(&seen[0].headers, "x-request-id"), [id.as_bytes()]);
        sampled += usize::from(all(&seen[0].headers, "x-b3-sampled") == [b"1"]);
        ids.push(id);
    }
    (ids, sampled)
}

/// Every span, too, has the id that client and upstream have.
pub fn all_are_sampled(stage: &Stage) {
    let (ids, sampled) = sampled(stage);
    assert_eq!(sampled, 100);
    eventually(Duration::from_secs(20), || {
        let seen = stage.collector.seen("/spans").into_iter();
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
pub fn half_are_sampled(stage: &Stage) {
    let (_, sampled) = sampled(stage);
    assert!((20..=80).contains(&sampled), "{sampled}");
}
