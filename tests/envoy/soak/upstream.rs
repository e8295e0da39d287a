//! An upstream that answers, resets or waits, depending on the path.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use test_support::client::{Connection, length};
use test_support::upstream;
use tokio::sync::oneshot;

/// The requests that clients abandon as soon as they have arrived, by number.
#[derive(Default)]
pub struct Arrivals(Mutex<HashMap<u64, oneshot::Sender<()>>>);

impl Arrivals {
    /// Returns a receiver that is notified when the request of this number arrives.
    pub fn expect(&self, number: u64) -> oneshot::Receiver<()> {
        let (arrived, arrival) = oneshot::channel();
        self.0.lock().unwrap().insert(number, arrived);
        arrival
    }

    fn notify(&self, number: u64) {
        let arrived = self.0.lock().unwrap().remove(&number);
        let _ = arrived.expect("a client waits for this request").send(());
    }
}

/// Starts the upstream and returns its port.
pub fn start(arrivals: &Arc<Arrivals>) -> u16 {
    let arrivals = Arc::clone(arrivals);
    upstream::start(move |connection| serve(connection, &arrivals))
}

/// Serves one connection until either side ends it.
fn serve(mut connection: Connection, arrivals: &Arrivals) -> Option<()> {
    loop {
        let request = connection.receive_request_head()?;
        let (path, number) = request.path.split_once('?').expect("the path has a query");
        let number: u64 = number.parse().expect("the query is a number");
        if path == "/left" {
            arrivals.notify(number);
            connection.rest();
            return None;
        }
        connection.read(length(&request.headers).unwrap_or(0))?;
        let id = request.all("x-request-id").concat();
        let id = String::from_utf8_lossy(&id);
        let is_first = request.all("x-envoy-attempt-count") == [b"1"];
        let answer = |status: &str, length: usize, more: &str| {
            format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nx-received-request-id: {id}\r\n{more}\r\n"
            )
        };
        let (answer, is_kept_alive) = match path {
            "/retry" if is_first && number.is_multiple_of(2) => (answer("500 No", 0, ""), true),
            "/retry" if is_first => return reset(&connection),
            "/reset-before-headers" => return reset(&connection),
            "/reset-after-headers" => (answer("200 OK", 100, ""), false),
            "/reset-within-body" => (answer("200 OK", 100, "") + "begun", false),
            "/moved" => {
                let location = format!("location: http://test/answered?{number}\r\n");
                (answer("302 Found", 0, &location), true)
            }
            "/slow" => {
                connection.rest();
                return None;
            }
            _ => (answer("200 OK", 2, "") + "ok", true),
        };
        connection.stream.write_all(answer.as_bytes()).ok()?;
        if !is_kept_alive {
            return None;
        }
    }
}

/// Ends a connection so that the other side sees a reset.
fn reset(connection: &Connection) -> Option<()> {
    SockRef::from(&connection.stream)
        .set_linger(Some(Duration::ZERO))
        .ok()
}
