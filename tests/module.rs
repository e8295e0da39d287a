//! The module that is deployed: what it offers, what it asks for, how large it is.

use std::fs;
use std::sync::LazyLock;

use xtask::{module, root};

static MODULE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    fs::read(module::build().expect("the module can be built")).expect("the module can be read")
});

#[test]
fn it_exports_what_envoy_has_to_call_and_nothing_else() {
    let (exports, _) = module::interface(&MODULE).expect("the module is valid");
    assert_eq!(exports, module::EXPORTS);
}

/// A dependency that drags in another import could keep the module from loading.
#[test]
fn it_imports_what_envoy_has() {
    let (_, imports) = module::interface(&MODULE).expect("the module is valid");
    let from = |module, names: &str| -> Vec<String> {
        names
            .split(' ')
            .map(|name| format!("{module}.{name}"))
            .collect()
    };
    let expected = [
        from("env", IMPORTS),
        from("wasi_snapshot_preview1", WASI_IMPORTS),
    ];
    assert_eq!(imports, expected.concat());
}

/// What we call, and what the SDK's traits refer to.
const IMPORTS: &str = "proxy_add_header_map_value proxy_call_foreign_function proxy_close_stream proxy_continue_stream \
     proxy_define_metric proxy_dequeue_shared_queue proxy_done proxy_enqueue_shared_queue \
     proxy_get_buffer_bytes proxy_get_current_time_nanoseconds proxy_get_header_map_pairs \
     proxy_get_header_map_value proxy_get_log_level proxy_get_property proxy_get_shared_data proxy_get_status \
     proxy_grpc_call proxy_grpc_cancel proxy_grpc_close proxy_grpc_send proxy_grpc_stream proxy_http_call \
     proxy_increment_metric proxy_log proxy_register_shared_queue proxy_remove_header_map_value \
     proxy_replace_header_map_value proxy_resolve_shared_queue proxy_send_local_response proxy_set_buffer_bytes \
     proxy_set_header_map_pairs proxy_set_property proxy_set_shared_data proxy_set_tick_period_milliseconds";
const WASI_IMPORTS: &str = "fd_write random_get";

/// Panics name files, which are in other folders on other machines.
#[test]
fn it_names_no_folder_of_this_machine() {
    let home = std::env::home_dir().expect("there is a home directory");
    for folder in [home, root()] {
        let name = format!("{}/", folder.display());
        let mut windows = MODULE.windows(name.len());
        assert!(
            !windows.any(|window| window == name.as_bytes()),
            "the module names {name}"
        );
    }
}

/// The limit of the code section, in bytes: Envoy compiles all of it for each start.
const LARGEST_CODE: usize = 121_000;
/// The limit of the largest function, in bytes. V8 compiles each function in one go, and the memory that
/// takes stays with the process. The largest is the allocator's.
const LARGEST_FUNCTION: usize = 2_700;
/// The limit of the share of functions with less than 50 bytes, in percent. V8 inlines calls until the
/// calling function has grown to three times its size. If more than 25 % of the functions are small, it
/// inlines more: at 50 %, that takes 3 MB of memory (`InliningTree::BudgetScaleFactor`).
const MOST_SMALL_FUNCTIONS: usize = 28;

#[test]
fn its_code_takes_little_memory_to_compile() {
    let size = module::code_size(&MODULE).expect("the module is valid");
    assert!(size.section <= LARGEST_CODE, "{} bytes", size.section);
    let largest = size.functions.first().expect("the module has functions");
    assert!(*largest <= LARGEST_FUNCTION, "{largest} bytes");
    let small = size.functions.iter().filter(|function| **function < 50);
    let percent = small.count() * 100 / size.functions.len();
    assert!(percent <= MOST_SMALL_FUNCTIONS, "{percent} %");
}

#[test]
fn the_names_of_functions_make_a_stack_trace_readable() {
    assert!(MODULE.windows(4).any(|window| window == b"name"));
}
