//! The memory allocator: a small one in place of libc's, whose code is ten times as large and is compiled in
//! every proxy that loads the module.

use std::ffi::c_char;
use std::ptr;

use rlsf::{GlobalTlsf, GlobalTlsfOptions};

#[global_allocator]
static ALLOCATOR: GlobalTlsf<Options> = GlobalTlsf::new();

struct Options;

impl GlobalTlsfOptions for Options {
    /// Vectors grow by a copy, which takes no more instructions per request and less code.
    const ENABLE_REALLOCATION: bool = false;
}

// The standard library's own panic hook, which the SDK replaces before anything can panic, asks libc for
// environment variables and the working directory, and libc would need its own allocator for the answers. A
// proxy gives the module neither.

#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn getenv(_name: *const c_char) -> *mut c_char {
    ptr::null_mut()
}

#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn getcwd(_buffer: *mut c_char, _size: usize) -> *mut c_char {
    ptr::null_mut()
}
