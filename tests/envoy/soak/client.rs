//! A client that sends one request after another over HTTP/1.1 or HTTP/2, and what became of them.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Channel, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::request::{Kind, Listener, Request};
use super::upstream::Arrivals;

/// What became of requests.
#[derive(Default)]
pub struct Totals {
    /// How many requests of a kind ended in which way.
    pub outcomes: BTreeMap<(Kind, String), u64>,
    /// What the filter has to count.
    pub counters: BTreeMap<String, u64>,
    /// The ids that the filter generated, as numbers.
    pub new_ids: Vec<u128>,
}

impl Totals {
    pub fn add(&mut self, other: Self) {
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        for (counter, count) in other.counters {
            *self.counters.entry(counter).or_default() += count;
        }
        self.new_ids.extend(other.new_ids);
    }

    fn count(&mut self, request: &Request, outcome: &Outcome, has_filter: bool) {
        let name = match outcome {
            Outcome::ClientLeft => "the client left".into(),
            Outcome::Closed => "closed".into(),
            Outcome::Refused => panic!("Envoy refuses the connection of {request:?}"),
            Outcome::Cut(head) => format!("{} cut", head.status),
            Outcome::Whole(head) => head.status.as_u16().to_string(),
        };
        *self.outcomes.entry((request.kind, name)).or_default() += 1;
        if !has_filter {
            return;
        }
        for counter in request.counters() {
            *self.counters.entry(counter.to_owned()).or_default() += 1;
        }
        if let Outcome::Cut(head) | Outcome::Whole(head) = outcome {
            self.check_id(request, &head.headers);
        }
    }

    fn check_id(&mut self, request: &Request, headers: &HeaderMap) {
        let all = |name| headers.get_all(name).into_iter().collect::<Vec<_>>();
        let [id] = all("x-request-id")[..] else {
            panic!("the response to {request:?} must have one id: {headers:?}");
        };
        // What Envoy answers by itself was not at the upstream.
        let received = all("x-received-request-id");
        assert!(
            received.iter().all(|received| *received == id),
            "{headers:?}"
        );
        let id = id.to_str().expect("the id is ASCII");
        if let Some(expected) = request.expected_id() {
            assert_eq!(id, expected);
            return;
        }
        let digits = id.replace('-', "");
        assert_eq!(digits.len(), 32, "{id} is no new id");
        let number = u128::from_str_radix(&digits, 16);
        let number = number.expect("a new id consists of hexadecimal digits");
        self.new_ids.push(number);
    }
}

/// How a request ended.
enum Outcome {
    /// Nobody accepted the connection or, over HTTP/2, the stream.
    Refused,
    ClientLeft,
    /// The connection ended before the response began.
    Closed,
    /// The connection ended within the response.
    Cut(http::response::Parts),
    Whole(http::response::Parts),
}

/// Connections that one client uses over HTTP/1.1, or that several share over HTTP/2.
pub type Connections = legacy::Client<HttpConnector, BoxBody<Bytes, std::convert::Infallible>>;

pub fn connections(is_http2: bool) -> Connections {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .http2_only(is_http2)
        .build(connector)
}

pub struct Client {
    pub port: u16,
    pub listener: Listener,
    pub connections: Connections,
    pub is_http2: bool,
    pub arrivals: Arc<Arrivals>,
    pub has_filter: bool,
    pub totals: Totals,
}

impl Client {
    pub async fn run(mut self, numbers: impl Iterator<Item = u64>) -> Self {
        for number in numbers {
            let mut request = Request::planned(number, self.listener);
            if self.is_http2 && request.kind == Kind::LeftWithinHeaders {
                request.kind = Kind::LeftBeforeResponse; // Headers are sent as a whole.
            }
            let outcome = self.send(&request).await;
            self.totals.count(&request, &outcome, self.has_filter);
        }
        self
    }

    /// Sends plain requests until nobody listens any more.
    pub async fn run_until_refused(mut self, numbers: impl Iterator<Item = u64>) -> Self {
        for number in numbers {
            let mut request = Request::planned(number, self.listener);
            if request.kind != Kind::Rejected {
                request.kind = Kind::Answered;
            }
            let outcome = self.send(&request).await;
            // A connection that still waited to be accepted ends with the listener.
            let is_refused = match outcome {
                Outcome::Refused => true,
                Outcome::Closed => TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err(),
                _ => false,
            };
            if is_refused {
                break;
            }
            self.totals.count(&request, &outcome, self.has_filter);
        }
        self
    }

    async fn send(&self, request: &Request) -> Outcome {
        if request.kind == Kind::LeftWithinHeaders {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
            let head = format!("POST {} HTTP/1.1\r\nhost: test\r\n", request.path());
            let sent = stream.expect("Envoy listens").write_all(head.as_bytes());
            sent.expect("Envoy takes a part of the headers");
            return Outcome::ClientLeft;
        }
        let (mut sender, unfinished) = Channel::new(1);
        let body = if request.kind == Kind::LeftWithinBody {
            let part = Bytes::from_static(&request.body()[..1000]);
            let sent = sender.send_data(part).await;
            sent.expect("the channel has room for a part of the body");
            unfinished.boxed()
        } else {
            Full::from(request.body()).boxed()
        };
        let uri = format!("http://{}:{}{}", request.host(), self.port, request.path());
        let mut head = http::Request::post(uri).header("content-length", request.body().len());
        if let Some((name, value)) = request.id_line() {
            head = head.header(name, value);
        }
        let arrival = request
            .is_left()
            .then(|| self.arrivals.expect(request.number));
        let response = self
            .connections
            .request(head.body(body).expect("the request is valid"));
        if let Some(arrival) = arrival {
            tokio::select! {
                arrived = arrival => arrived.expect("the upstream tells of an arrival"),
                response = response => panic!("the upstream never answers {request:?}: {response:?}"),
            }
            return Outcome::ClientLeft;
        }
        match response.await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                match body.collect().await {
                    Ok(_) => Outcome::Whole(head),
                    Err(_) => Outcome::Cut(head),
                }
            }
            Err(error) if error.is_connect() || is_go_away(&error) => Outcome::Refused,
            Err(_) => Outcome::Closed,
        }
    }
}

/// Returns whether the server has not taken the stream because it ends the connection.
fn is_go_away(error: &legacy::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(h2::Error::is_go_away) {
            return true;
        }
        cause = error.source();
    }
    false
}
