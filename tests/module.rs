//! The module that is deployed: what it offers, what it asks for, how large it is.

use std::fs;
use std::sync::LazyLock;

use xtask::{module, root};

static MODULE: LazyLock<Vec<u8>> =
    LazyLock::new(|| fs::read(module::build().expect("a module")).expect("the built module"));

#[test]
fn it_exports_what_envoy_has_to_call_and_nothing_else() {
    let (exports, _) = module::interface(&MODULE).expect("a module");
    assert_eq!(exports, module::EXPORTS);
}

/// A dependency that drags in another import could keep the module from loading.
#[test]
fn it_imports_what_envoy_has() {
    let (_, imports) = module::interface(&MODULE).expect("a module");
    assert_eq!(imports, IMPORTS);
}

/// What we call, and what the SDK's traits refer to.
const IMPORTS: [&str; 39] = [
    "env.proxy_add_header_map_value",
    "env.proxy_call_foreign_function",
    "env.proxy_close_stream",
    "env.proxy_continue_stream",
    "env.proxy_define_metric",
    "env.proxy_dequeue_shared_queue",
    "env.proxy_done",
    "env.proxy_enqueue_shared_queue",
    "env.proxy_get_buffer_bytes",
    "env.proxy_get_current_time_nanoseconds",
    "env.proxy_get_header_map_pairs",
    "env.proxy_get_header_map_value",
    "env.proxy_get_log_level",
    "env.proxy_get_property",
    "env.proxy_get_shared_data",
    "env.proxy_get_status",
    "env.proxy_grpc_call",
    "env.proxy_grpc_cancel",
    "env.proxy_grpc_close",
    "env.proxy_grpc_send",
    "env.proxy_grpc_stream",
    "env.proxy_http_call",
    "env.proxy_increment_metric",
    "env.proxy_log",
    "env.proxy_register_shared_queue",
    "env.proxy_remove_header_map_value",
    "env.proxy_replace_header_map_value",
    "env.proxy_resolve_shared_queue",
    "env.proxy_send_local_response",
    "env.proxy_set_buffer_bytes",
    "env.proxy_set_header_map_pairs",
    "env.proxy_set_property",
    "env.proxy_set_shared_data",
    "env.proxy_set_tick_period_milliseconds",
    "wasi_snapshot_preview1.environ_get",
    "wasi_snapshot_preview1.environ_sizes_get",
    "wasi_snapshot_preview1.fd_write",
    "wasi_snapshot_preview1.proc_exit",
    "wasi_snapshot_preview1.random_get",
];

/// Panics name files, which are in other folders on other machines.
#[test]
fn it_names_no_folder_of_this_machine() {
    let home = std::env::home_dir().expect("a home");
    for folder in [home, root()] {
        let name = format!("{}/", folder.display());
        let found = MODULE
            .windows(name.len())
            .position(|window| window == name.as_bytes());
        if let Some(at) = found {
            panic!("{}", MODULE[at..at + 100].escape_ascii());
        }
    }
}

/// The limit of the code section, in bytes: Envoy compiles all of it for each start.
const LARGEST_CODE: usize = 133_000;
/// The limits of the two largest functions, in bytes. V8 compiles each function in one go, two functions at
/// a time, and the memory that takes stays with the process. The largest is `dlmalloc` of wasi-libc, the
/// second is hifijson's parser.
const LARGEST_FUNCTIONS: [usize; 2] = [5_200, 2_900];
/// The limit of the share of functions with less than 50 bytes, in percent. The more of them it has above
/// 25 %, the more V8 inlines, which takes memory: 3 MB at 50 % (`InliningTree::BudgetScaleFactor`).
const MOST_SMALL_FUNCTIONS: usize = 28;

#[test]
fn its_code_takes_little_memory_to_compile() {
    let size = module::code_size(&MODULE).expect("a module");
    assert!(size.section <= LARGEST_CODE, "{} bytes", size.section);
    for (function, limit) in size.functions.iter().zip(LARGEST_FUNCTIONS) {
        assert!(*function <= limit, "{function} bytes, not {limit}");
    }
    let small = size.functions.iter().filter(|function| **function < 50);
    let percent = small.count() * 100 / size.functions.len();
    assert!(percent <= MOST_SMALL_FUNCTIONS, "{percent} %");
}

#[test]
fn the_names_of_functions_make_a_stack_trace_readable() {
    assert!(MODULE.windows(4).any(|window| window == b"name"));
}
