//! Host functions of Proxy-Wasm ABI 0.2.1.
//!
//! The SDK's versions of all of these panic on a status that they do not expect, for example if an
//! operator forbids the function with `capability_restriction_config`, and a panic ends every request
//! of the worker. Here a refused call is a missing value or an `Err`.

#![allow(unsafe_code)] // Host functions are foreign functions, and take and return raw pointers.

use std::ptr::null_mut;
use std::time::Duration;

use proxy_wasm::types::LogLevel;

/// A header map.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Map {
    /// The request's; available in the request callback only.
    Request = 0,
    /// The response's; available in the response callback only.
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
    fn proxy_call_foreign_function(
        name: *const u8,
        name_length: usize,
        argument: *const u8,
        argument_length: usize,
        result: *mut *mut u8,
        result_length: *mut usize,
    ) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
}

/// Returns the value of a header, or `None` if there is none. Of a repeated header it is the value of
/// the first line, unless the host joins the lines as Envoy does for `x-request-id`.
pub fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    receive(|data, length| {
        // SAFETY: `name` is readable for its length during the call; `data` and `length` are
        // valid for writes (`receive`).
        unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), data, length) }
    })
}

/// Returns all headers in their serialized form ([`crate::header_map`]); empty if the host has no
/// such map at the moment. The SDK offers this only with an allocation for every name and value.
pub fn headers(map: Map) -> Vec<u8> {
    receive(|data, length| {
        // SAFETY: `data` and `length` are valid for writes (`receive`).
        unsafe { proxy_get_header_map_pairs(map, data, length) }
    })
    .unwrap_or_default()
}

/// Sets a header to one value, whatever it held. (`add` would append to it.)
///
/// # Errors
/// Returns the host's status; the header is unchanged.
pub fn set_header(map: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
    // SAFETY: both slices are readable for their lengths during the call; the host copies them.
    ok(unsafe {
        proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes all lines of a header.
///
/// # Errors
/// Returns the host's status; the header is unchanged.
pub fn remove_header(map: Map, name: &str) -> Result<(), Refused> {
    // SAFETY: `name` is readable for its length during the call.
    ok(unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) })
}

/// Returns a property of the current stream: an attribute of Envoy's, whose path is separated by zero
/// bytes, or one that was set with [`set_property`], perhaps by another plugin or an earlier run.
pub fn property(path: &str) -> Option<Vec<u8>> {
    receive(|data, length| {
        // SAFETY: `path` is readable for its length; `data` and `length` are valid for writes.
        unsafe { proxy_get_property(path.as_ptr(), path.len(), data, length) }
    })
}

/// Sets a property of the current stream, in Envoy the filter state `wasm.{name}`.
///
/// # Errors
/// Returns the host's status.
pub fn set_property(name: &str, value: &[u8]) -> Result<(), Refused> {
    // SAFETY: both are readable for their lengths during the call; the host copies them.
    ok(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Makes the property `name` live as long as the downstream request. Without this it would end with
/// the filter chain, which an internal redirect replaces. Envoy allows the call in a root context,
/// where it applies to the streams of that context, and refuses to repeat it.
///
/// # Errors
/// Returns the host's status; `NotFound` (1) if the host does not have the function.
pub fn declare_request_property(name: &str) -> Result<(), Refused> {
    const FUNCTION: &[u8] = b"declare_property";
    let argument = property_declaration(name);
    let (mut result, mut result_length) = (null_mut(), 0);
    // SAFETY: both slices are readable for their lengths during the call; the results are valid for
    // writes. The function returns no result, so there is no memory to take over.
    let status = unsafe {
        proxy_call_foreign_function(
            FUNCTION.as_ptr(),
            FUNCTION.len(),
            argument.as_ptr(),
            argument.len(),
            &raw mut result,
            &raw mut result_length,
        )
    };
    const BAD_ARGUMENT: u32 = 2;
    match status {
        // A new configuration of the same plugin declares it again.
        BAD_ARGUMENT => Ok(()),
        status => ok(status),
    }
}

/// Returns a protobuf message of Envoy, `envoy.source.extensions.common.wasm.DeclarePropertyArguments`,
/// with `name` (field 1) and `span: DownstreamRequest` (field 5, value 1). All other fields keep their
/// defaults.
fn property_declaration(name: &str) -> Vec<u8> {
    let mut message = vec![0x0a];
    let mut length = name.len();
    // A length of 128 or more takes several bytes, seven bits each.
    while length > 0x7f {
        message.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap_or_default());
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(&[0x28, 0x01]);
    message
}

/// Answers the current request, which then goes no further. Available in the request callback.
///
/// `headers` are in their serialized form ([`crate::header_map`]). `details` is what Envoy's access
/// log shows as `%RESPONSE_CODE_DETAILS%`.
///
/// # Errors
/// Returns the host's status; the request continues.
pub fn send_local_response(
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

/// Returns the time of the host's clock.
pub fn milliseconds_since_1970() -> Option<u64> {
    let mut nanoseconds = 0_u64;
    // SAFETY: `nanoseconds` is valid for the write.
    ok(unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) }).ok()?;
    nanoseconds.checked_div(1_000_000)
}

/// Defines a counter, or finds the one that another VM defined under this name.
///
/// # Errors
/// Returns the host's status; some hosts have no metrics.
pub fn define_counter(name: &str) -> Result<u32, Refused> {
    const COUNTER: u32 = 0;
    let mut id = 0;
    // SAFETY: `name` is readable for its length during the call; `id` is valid for the write.
    ok(unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds a positive number to a counter.
pub fn increment_counter(counter: u32, by: i64) {
    // SAFETY: the call takes no pointer. The host does not refuse a counter that was defined.
    let _ = ok(unsafe { proxy_increment_metric(counter, by) });
}

/// Returns the level of the host's log for this module.
///
/// # Errors
/// Returns the host's status.
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

/// Makes the host call `on_tick` at this interval.
///
/// # Errors
/// Returns the host's status; some hosts have no timers.
pub fn set_tick_period(period: Duration) -> Result<(), Refused> {
    let milliseconds = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: the call takes no pointer.
    ok(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

fn ok(status: u32) -> Result<(), Refused> {
    match status {
        0 => Ok(()),
        status => Err(Refused(status)),
    }
}

/// Returns the value that a host function passes in memory of this module's allocator.
fn receive(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data = null_mut();
    let mut length = 0;
    ok(call(&raw mut data, &raw mut length)).ok()?;
    if data.is_null() || length == 0 {
        return Some(Vec::new()); // Envoy allocates no memory for an empty value.
    }
    // SAFETY: the host got the memory from `proxy_on_memory_allocate`, which leaks a boxed slice
    // of exactly `length` bytes of the global allocator, and passes its ownership on.
    Some(unsafe { Vec::from_raw_parts(data, length, length) })
}
