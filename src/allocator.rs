//! The memory allocator, which Rust itself uses for WebAssembly without WASI. It has the same algorithm as libc's
//! allocator and half the code, and every proxy that loads the module compiles all of its code.

use std::ffi::c_char;
use std::ptr;

use dlmalloc::GlobalDlmalloc;

#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

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
