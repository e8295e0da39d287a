//! Requests to proxies, and what came of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub const ID: &str = "x-request-id";

/// An id as AWS sends it, and what is derived from it.
pub const AWS: (&str, &str) = ("x-amzn-requestid", "4B4NGF0EAWN0GE63");
pub const DERIVED: &str = "37be84ba-5e55-5531-9cda-bc301b676303";

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// The id in the response.
    pub id: Option<String>,
    /// The request's headers as they reached the workload, if they did.
    pub upstream: Value,
    pub body: String,
}

impl Response {
    /// The id, which has to be the same in the response and at the workload.
    pub fn same_id(&self) -> Result<&str> {
        ensure!(self.status == 200, "{self:?}");
        let id = self.id.as_deref().context("no id in the response")?;
        ensure!(self.upstream["X-Request-Id"][0] == id, "{self:?}");
        ensure!(self.upstream["X-Request-Id"][1].is_null(), "{self:?}");
        Ok(id)
    }

    /// Checks the status and the id of a response that no workload sent.
    pub fn require(&self, status: u16, id: &str) -> Result<()> {
        let has_id = self.id.as_deref() == Some(id);
        ensure!(self.status == status && has_id, "{self:?}");
        Ok(())
    }
}

pub fn get(url: &str, headers: &[(&str, &str)]) -> Result<Response> {
    send("GET", url, headers)
}

/// Sends a request to the host that has a route, unless the headers name another one.
pub fn send_to_route(method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let mut headers = headers.to_vec();
    if headers.iter().all(|(name, _)| *name != "host") {
        headers.push(("host", "www.example.com"));
    }
    send(method, url, &headers)
}

/// Sends a request without a body, on a connection of its own.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(Duration::from_secs(20)))
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let mut request = ::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent
        .run(request.body(())?)
        .with_context(|| url.to_owned())?;
    let id = response
        .headers()
        .get(ID)
        .map(|id| id.to_str().map(Into::into));
    let id = id.transpose()?;
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string()?;
    Ok(Response {
        status,
        id,
        upstream: serde_json::from_str(&body).unwrap_or_default(),
        body,
    })
}

/// Whether this is a UUID of that version.
pub fn is_uuid(id: &str, version: char) -> bool {
    let shape = |(index, byte): (usize, u8)| match index {
        8 | 13 | 18 | 23 => byte == b'-',
        14 => char::from(byte) == version,
        _ => byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase(),
    };
    id.len() == 36 && id.bytes().enumerate().all(shape)
}
