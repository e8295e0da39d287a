//! A collector of spans. It keeps the bytes that tracers send: texts such as ids and paths stand in them as they
//! are, whether a tracer writes JSON, protobuf or MessagePack.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};

use crate::echo::serve_http2;

/// The bytes of each request or datagram, so that parts of two requests do not mix.
type Received = Arc<Mutex<Vec<Vec<u8>>>>;

#[derive(Clone)]
pub struct Collector {
    /// The TCP port for tracers that send over HTTP/2, plain or gRPC.
    pub http2: u16,
    /// The UDP port for tracers that send datagrams.
    pub udp: u16,
    received: Received,
}

impl Collector {
    pub fn start() -> Self {
        let received = Received::default();
        let shared = Arc::clone(&received);
        Self {
            http2: serve_http2(move |request, respond| {
                collect(request, respond, Arc::clone(&shared))
            }),
            udp: listen_udp(Arc::clone(&received)),
            received,
        }
    }

    /// Returns everything that was received so far, with bytes replaced that are not UTF-8.
    pub fn text(&self) -> String {
        let received = self.received.lock().unwrap();
        String::from_utf8_lossy(&received.concat()).into_owned()
    }

    /// Returns the text that follows the name of the attribute for the request id, in each span received so far,
    /// up to this length.
    pub fn request_ids(&self, length: usize) -> Vec<String> {
        let text = self.text();
        let values = text.split("guid:x-request-id").skip(1);
        values
            .map(|value| value.chars().take(length).collect())
            .collect()
    }
}

fn listen_udp(received: Received) -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = socket.local_addr().expect("the socket has an address");
    thread::spawn(move || {
        let mut buffer = [0; 1 << 16];
        while let Ok(length) = socket.recv(&mut buffer) {
            received.lock().unwrap().push(buffer[..length].to_vec());
        }
    });
    address.port()
}

/// Reads a request to its end, which a stream of SkyWalking never reaches, and answers it.
async fn collect(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    received: Received,
) -> Result<(), h2::Error> {
    let grpc = HeaderValue::from_static("application/grpc");
    let is_grpc = request.headers().get("content-type") == Some(&grpc);
    let mut body = request.into_body();
    let index = {
        let mut received = received.lock().unwrap();
        received.push(Vec::new());
        received.len() - 1
    };
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        received.lock().unwrap()[index].extend(&part);
    }
    let mut response = Response::new(());
    if !is_grpc {
        respond.send_response(response, true)?;
        return Ok(());
    }
    response.headers_mut().insert("content-type", grpc);
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(Bytes::from_static(&[0; 5]), false)?; // an empty message
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", 0.into());
    stream.send_trailers(trailers)
}
