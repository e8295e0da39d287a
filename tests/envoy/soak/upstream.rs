//! An upstream that answers, resets or waits, depending on the path.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
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

    fn tell(&self, number: u64) {
        let arrived = self.0.lock().unwrap().remove(&number);
        let _ = arrived.expect("a client waits for this request").send(());
    }
}

/// Starts the upstream and returns its port.
pub async fn start(arrivals: Arc<Arrivals>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a port is free");
    let port = listener
        .local_addr()
        .expect("the socket has an address")
        .port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&arrivals)));
        }
    });
    port
}

/// Serves one connection until either side ends it.
async fn serve(mut stream: TcpStream, arrivals: Arc<Arrivals>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut received = Vec::with_capacity(8192);
    loop {
        let (length, head) = match head(&received) {
            Some(found) => found,
            None => {
                read(&mut stream, &mut received).await?;
                continue;
            }
        };
        received.drain(..length);
        let (path, number) = head.path.split_once('?').expect("the path has a query");
        let number: u64 = number.parse().expect("the text is a number");
        if path == "/left" {
            arrivals.tell(number);
            while read(&mut stream, &mut received).await.is_some() {}
            return None;
        }
        while received.len() < head.body {
            read(&mut stream, &mut received).await?;
        }
        received.drain(..head.body);
        let id = &head.id;
        let answer = |status: &str, length: usize, more: &str| {
            format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nx-received-request-id: {id}\r\n{more}\r\n"
            )
        };
        let (answer, goes_on) = match path {
            "/retry" if head.attempt == 1 && number.is_multiple_of(2) => {
                (answer("500 No", 0, ""), true)
            }
            "/retry" if head.attempt == 1 => return reset(stream),
            "/reset-before-headers" => return reset(stream),
            "/reset-after-headers" => (answer("200 OK", 100, ""), false),
            "/reset-within-body" => (answer("200 OK", 100, "") + "begun", false),
            "/moved" => {
                let location = format!("location: http://test/answered?{number}\r\n");
                (answer("302 Found", 0, &location), true)
            }
            "/slow" => {
                while read(&mut stream, &mut received).await.is_some() {}
                return None;
            }
            _ => (answer("200 OK", 2, "") + "ok", true),
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
        if !goes_on {
            return None;
        }
    }
}

/// Ends a connection so that the other side sees a reset.
fn reset(stream: TcpStream) -> Option<()> {
    stream.set_zero_linger().ok()
}

struct Head {
    path: String,
    id: String,
    attempt: u32,
    body: usize,
}

/// Parses the head of a request. Returns its length and the head, or `None` if a part of it is missing.
fn head(received: &[u8]) -> Option<(usize, Head)> {
    let mut lines = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut lines);
    let parsed = request.parse(received).expect("the request is valid");
    let httparse::Status::Complete(length) = parsed else {
        return None;
    };
    let path = request.path.expect("the value is a path").to_owned();
    let value = |name: &str| {
        let line = request.headers.iter().find(|line| line.name == name);
        line.map_or("", |line| {
            std::str::from_utf8(line.value).expect("the value is ASCII")
        })
    };
    let head = Head {
        path,
        id: value("x-request-id").to_owned(),
        attempt: value("x-envoy-attempt-count").parse().unwrap_or(0),
        body: value("content-length").parse().unwrap_or(0),
    };
    Some((length, head))
}

/// Reads more; `None` at the end.
async fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(received).await {
        Ok(read) if read > 0 => Some(()),
        _ => None,
    }
}
