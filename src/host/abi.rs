//! The host calls of Proxy-Wasm ABI 0.2.1 that run for each request, and those that a host may
//! refuse.
//!
//! The SDK has them too, but panics on a status it does not expect, and a panic takes down every
//! request of the worker. Here a refused call is a missing value or an `Err`. The SDK also offers
//! a header map only as one allocation per name and per value.

#![allow(unsafe_code)] // Host calls are foreign functions, and take and give raw pointers.

use std::ptr::null_mut;

use proxy_wasm::types::LogLevel;

/// The header maps that an HTTP filter may touch.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Map {
    /// Legal in the request callback only; Envoy answers `BadArgument` in the response's.
    Request = 0,
    /// Legal in the response callback only.
    Response = 2,
}

/// The status with which the host refused a call (proxy-wasm/spec, `proxy_status_t`).
#[derive(Clone, Copy, Debug)]
pub struct Refused(pub u32);

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_value(
        map: Map,
        name: *const u8,
        name_length: usize,
        value: *mut *mut u8,
        value_length: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: Map, data: *mut *mut u8, length: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: Map,
        name: *const u8,
        name_length: usize,
        value: *const u8,
        value_length: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: Map, name: *const u8, name_length: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_length: usize,
        value: *mut *mut u8,
        value_length: *mut usize,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_length: usize,
        body: *const u8,
        body_length: usize,
        headers: *const u8,
        headers_length: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_length: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_length: usize,
        value: *const u8,
        value_length: usize,
    ) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
}

/// The value of a header; of a repeated one the first line, unless Envoy joins it as it does
/// `x-request-id`. `None` if there is none.
pub fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    returned(|data, length| {
        // SAFETY: `name` is readable for its length during the call; `data` and `length` are
        // valid for writes (`returned`).
        unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), data, length) }
    })
}

/// All headers, serialized; empty if the host has no such map at hand.
pub fn headers(map: Map) -> Vec<u8> {
    returned(|data, length| {
        // SAFETY: `data` and `length` are valid for writes (`returned`).
        unsafe { proxy_get_header_map_pairs(map, data, length) }
    })
    .unwrap_or_default()
}

/// Sets a header to one value, whatever it held. (`add` would append to it.)
///
/// # Errors
/// The host's status; the header is as it was.
pub fn set_header(map: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
    // SAFETY: both slices are readable for their lengths during the call; the host copies them.
    ok(unsafe {
        proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes all lines of a header.
///
/// # Errors
/// The host's status; the header is as it was.
pub fn remove_header(map: Map, name: &str) -> Result<(), Refused> {
    // SAFETY: `name` is readable for its length during the call.
    ok(unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) })
}

/// The address and port of the peer, if the host has them.
pub fn peer() -> Option<Vec<u8>> {
    const PATH: &[u8] = b"source\0address";
    returned(|data, length| {
        // SAFETY: `PATH` is readable for its length; `data` and `length` are valid for writes.
        unsafe { proxy_get_property(PATH.as_ptr(), PATH.len(), data, length) }
    })
}

/// Answers the request at hand; it goes no further. Legal in the request callback.
///
/// `headers` are serialized as [`crate::headers::Headers`] reads them. `details` is what the access
/// log shows as `%RESPONSE_CODE_DETAILS%`.
///
/// # Errors
/// The host's status; the request goes on.
pub fn respond(
    status: u32,
    grpc_status: i32,
    details: &str,
    headers: &[u8],
    body: &str,
) -> Result<(), Refused> {
    // SAFETY: all slices are readable for their lengths during the call; the host copies them.
    ok(unsafe {
        proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

/// Milliseconds since 1970, by the host's clock.
pub fn now() -> Option<u64> {
    let mut nanoseconds = 0_u64;
    // SAFETY: `nanoseconds` is valid for the write.
    ok(unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) }).ok()?;
    nanoseconds.checked_div(1_000_000)
}

/// Defines a counter, or finds the one that another VM defined under this name.
///
/// # Errors
/// The host's status; some hosts have no metrics.
pub fn define_counter(name: &str) -> Result<u32, Refused> {
    const COUNTER: u32 = 0;
    let mut id = 0;
    // SAFETY: `name` is readable for its length during the call; `id` is valid for the write.
    ok(unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter. `by` has to be positive.
pub fn increment(counter: u32, by: i64) {
    // SAFETY: takes no pointer. A counter that was defined does not refuse.
    let _ = ok(unsafe { proxy_increment_metric(counter, by) });
}

/// Publishes a value of the stream at hand, in Envoy as filter state `wasm.{name}`.
///
/// # Errors
/// The host's status.
pub fn publish(name: &str, value: &str) -> Result<(), Refused> {
    // SAFETY: both are readable for their lengths during the call; the host copies them.
    ok(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// The level of the host's log for this module, which an administrator may change at any time.
///
/// # Errors
/// The host's status.
pub fn log_level() -> Result<LogLevel, Refused> {
    let mut level = 0;
    // SAFETY: `level` is valid for the write.
    ok(unsafe { proxy_get_log_level(&raw mut level) })?;
    Ok(match level {
        0 => LogLevel::Trace,
        1 => LogLevel::Debug,
        2 => LogLevel::Info,
        3 => LogLevel::Warn,
        4 => LogLevel::Error,
        _ => LogLevel::Critical,
    })
}

/// Has the host call `on_tick` every so many milliseconds.
///
/// # Errors
/// The host's status; some hosts have no timers.
pub fn set_tick_period(milliseconds: u32) -> Result<(), Refused> {
    // SAFETY: takes no pointer.
    ok(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

fn ok(status: u32) -> Result<(), Refused> {
    match status {
        0 => Ok(()),
        refused => Err(Refused(refused)),
    }
}

/// What a host call returns in memory that it took from this module's allocator.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data = null_mut();
    let mut length = 0;
    ok(call(&raw mut data, &raw mut length)).ok()?;
    if data.is_null() || length == 0 {
        return Some(Vec::new()); // Envoy's way to return an empty value: no memory taken.
    }
    // SAFETY: the host got the memory from `proxy_on_memory_allocate`, which leaks a boxed slice
    // of exactly `length` bytes of the global allocator, and passes its ownership on.
    Some(unsafe { Vec::from_raw_parts(data, length, length) })
}
