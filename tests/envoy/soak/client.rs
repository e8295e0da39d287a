//! A client that sends one request after another over HTTP/1.1 or HTTP/2, and how it came out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::request::{Kind, Listener, Request};
use super::upstream::Arrivals;
use test_support::client::{Headers, all, owned};

/// What became of requests.
#[derive(Default)]
pub struct Tally {
    /// How many of a kind came out in which way.
    pub outcomes: BTreeMap<(Kind, String), u64>,
    /// What the filter has to count.
    pub counters: BTreeMap<String, u64>,
    /// The ids that the filter generated, as numbers.
    pub new_ids: Vec<u128>,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        for (counter, count) in other.counters {
            *self.counters.entry(counter).or_default() += count;
        }
        self.new_ids.extend(other.new_ids);
    }

    /// `response` is nothing for a request that the client left.
    fn count(&mut self, request: &Request, response: Option<&Response>, filtered: bool) {
        let outcome = match response {
            None => "left".into(),
            Some(Response { status: 0, .. }) => "closed".into(),
            Some(response) if response.is_whole => response.status.to_string(),
            Some(response) => format!("{} cut", response.status),
        };
        let of_kind = self.outcomes.entry((request.kind, outcome));
        *of_kind.or_default() += 1;
        if !filtered {
            return;
        }
        for counter in request.counters() {
            *self.counters.entry(counter.to_owned()).or_default() += 1;
        }
        if let Some(response) = response.filter(|response| response.status != 0) {
            self.look_at_id(request, response);
        }
    }

    fn look_at_id(&mut self, request: &Request, response: &Response) {
        let ids = all(&response.headers, "x-request-id");
        let [id] = ids[..] else {
            panic!("{:?}: ids in {response:?}", request.kind);
        };
        // What Envoy answers by itself was not at the upstream.
        for received in all(&response.headers, "x-received-request-id") {
            assert_eq!(received, id, "{response:?}");
        }
        let id = str::from_utf8(id).expect("an id in ASCII");
        if let Some(expected) = request.expected_id() {
            assert_eq!(id, expected);
            return;
        }
        let digits = id.replace('-', "");
        assert_eq!(digits.len(), 32, "a new id: {id}");
        let number = u128::from_str_radix(&digits, 16);
        self.new_ids.push(number.expect("hexadecimal digits"));
    }
}

#[derive(Debug)]
struct Response {
    /// 0 if the connection ended before one came.
    status: u16,
    headers: Headers,
    is_whole: bool,
}

impl Response {
    const NONE: Self = Self {
        status: 0,
        headers: Vec::new(),
        is_whole: false,
    };

    fn closes(&self) -> bool {
        !self.is_whole || all(&self.headers, "connection") == [b"close"]
    }
}

pub enum Protocol {
    Http1(Option<Connection>),
    /// A connection that several clients share.
    Http2(Arc<Mutex<Option<Http2>>>),
}

/// A connection of HTTP/2, and whether anything was answered on it.
pub type Http2 = (SendRequest<Bytes>, Arc<AtomicBool>);

pub struct Client {
    pub port: u16,
    pub listener: Listener,
    pub protocol: Protocol,
    pub arrivals: Arc<Arrivals>,
    /// Whether the filter is there.
    pub filtered: bool,
    pub tally: Tally,
}

impl Client {
    pub async fn run(mut self, numbers: impl Iterator<Item = u64>) -> Self {
        for number in numbers {
            let mut request = Request::planned(number, self.listener);
            let response = match self.protocol {
                Protocol::Http1(_) => self.http1(&request).await,
                Protocol::Http2(_) => {
                    if request.kind == Kind::LeftWithinHeaders {
                        // Its headers go as a whole.
                        request.kind = Kind::LeftBeforeResponse;
                    }
                    self.http2(&request).await
                }
            };
            let left = is_left(request.kind);
            let response = response.expect("Envoy listens");
            self.tally
                .count(&request, Some(&response).filter(|_| !left), self.filtered);
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
            let response = match self.protocol {
                Protocol::Http1(_) => self.http1(&request).await,
                Protocol::Http2(_) => self.http2(&request).await,
            };
            let Some(response) = response else {
                break;
            };
            self.tally.count(&request, Some(&response), self.filtered);
        }
        self
    }

    /// `None` if nobody takes the connection: one in the queue of a listener ends with it.
    async fn http1(&mut self, request: &Request) -> Option<Response> {
        let Protocol::Http1(kept) = &mut self.protocol else {
            unreachable!("another protocol");
        };
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(self.port).await?,
        };
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n",
            request.path(),
            request.host(),
            request.body().len()
        );
        if let Some((name, value)) = request.id_line() {
            head += &format!("{name}: {value}\r\n");
        }
        let mut bytes = head.into_bytes();
        let end_of_headers = bytes.len();
        bytes.extend(b"\r\n");
        bytes.extend(request.body());
        match request.kind {
            Kind::LeftWithinHeaders => bytes.truncate(end_of_headers),
            Kind::LeftWithinBody => bytes.truncate(end_of_headers + 1000),
            _ => {}
        }
        let arrival = is_left(request.kind).then(|| self.arrivals.expect(request.number));
        // Whether that goes well shows in the response.
        let _ = connection.stream.write_all(&bytes).await;
        if request.kind == Kind::LeftWithinHeaders {
            return Some(Response::NONE);
        }
        if let Some(arrival) = arrival {
            arrival.await.expect("the upstream");
            return Some(Response::NONE);
        }
        let response = connection.receive().await;
        if !connection.has_served && response.status == 0 {
            return None;
        }
        connection.has_served = true;
        if !response.closes() {
            *kept = Some(connection);
        }
        Some(response)
    }

    /// `None` as above.
    async fn http2(&mut self, request: &Request) -> Option<Response> {
        let Protocol::Http2(shared) = &self.protocol else {
            unreachable!("another protocol");
        };
        let (client, has_served) = {
            let mut shared = shared.lock().await;
            let (client, has_served) = match shared.take() {
                Some((client, has_served)) => (client.ready().await.ok(), has_served),
                None => (None, Arc::default()),
            };
            let shared = shared.insert(match client {
                Some(client) => (client, has_served),
                None => (open_http2(self.port).await?, Arc::default()),
            });
            shared.clone()
        };
        let mut head = http::Request::post(format!("http://{}{}", request.host(), request.path()))
            .header("content-length", request.body().len());
        if let Some((name, value)) = request.id_line() {
            head = head.header(name, value);
        }
        let head = head.body(()).expect("a request");
        let leaves = is_left(request.kind);
        let arrival = leaves.then(|| self.arrivals.expect(request.number));
        let body = request.body();
        let mut client = client.ready().await.ok()?;
        let (response, mut stream) = client.send_request(head, body.is_empty()).ok()?;
        if !body.is_empty() {
            let (sent, ends) = match request.kind {
                Kind::LeftWithinBody => (&body[..1000], false),
                _ => (body, true),
            };
            let _ = stream.send_data(Bytes::from_static(sent), ends);
        }
        if let Some(arrival) = arrival {
            arrival.await.expect("the upstream");
            stream.send_reset(h2::Reason::CANCEL);
            return Some(Response::NONE);
        }
        let response = match response.await {
            Ok(response) => response,
            // Not taken, as the connection drains.
            Err(error) if error.is_go_away() => return None,
            Err(_) => return has_served.load(Ordering::Relaxed).then_some(Response::NONE),
        };
        has_served.store(true, Ordering::Relaxed);
        let (head, mut body) = response.into_parts();
        let mut is_whole = true;
        while let Some(data) = body.data().await {
            match data {
                Ok(data) => drop(body.flow_control().release_capacity(data.len())),
                Err(_) => {
                    is_whole = false;
                    break; // it would say so for ever
                }
            }
        }
        let headers = head.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Some(Response {
            status: head.status.as_u16(),
            headers: headers.collect(),
            is_whole,
        })
    }
}

fn is_left(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::LeftWithinHeaders | Kind::LeftWithinBody | Kind::LeftBeforeResponse
    )
}

async fn open(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

async fn open_http2(port: u16) -> Option<SendRequest<Bytes>> {
    let (client, connection) = h2::client::handshake(open(port).await?).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

/// A connection for HTTP/1.1.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    has_served: bool,
}

impl Connection {
    async fn open(port: u16) -> Option<Self> {
        Some(Self {
            stream: open(port).await?,
            received: Vec::new(),
            has_served: false,
        })
    }

    async fn receive(&mut self) -> Response {
        let mut response = loop {
            if let Some(response) = self.head() {
                break response;
            }
            if !self.fill().await {
                return Response::NONE;
            }
        };
        let length = all(&response.headers, "content-length");
        let length = str::from_utf8(length.first().expect("a length")).expect("a length");
        let length = length.parse().expect("a length");
        while self.received.len() < length {
            if !self.fill().await {
                response.is_whole = false;
                return response;
            }
        }
        self.received.drain(..length);
        response
    }

    fn head(&mut self) -> Option<Response> {
        let mut lines = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut lines);
        let parsed = head.parse(&self.received).expect("a response");
        let httparse::Status::Complete(length) = parsed else {
            return None;
        };
        let response = Response {
            status: head.code.expect("a status"),
            headers: owned(head.headers),
            is_whole: true,
        };
        self.received.drain(..length);
        Some(response)
    }

    /// Whether there was more.
    async fn fill(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.received).await;
        read.is_ok_and(|read| read > 0)
    }
}
