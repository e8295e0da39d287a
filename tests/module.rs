//! The module that is deployed: what it offers, what it asks for, how large it is.

use std::fs;
use std::sync::LazyLock;

use xtask::{module, post_link, root};

static MODULE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    fs::read(module::build().expect("the module can be built")).expect("the module can be read")
});

#[test]
fn it_exports_what_envoy_has_to_call_and_nothing_else() {
    let (exports, _) = module::interface(&MODULE).expect("the module is valid");
    assert_eq!(exports, post_link::EXPORTS);
}

/// A dependency that drags in another import could keep the module from loading.
#[test]
fn it_imports_what_it_calls_and_nothing_else() {
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

/// What we call, and what the SDK calls for us.
const IMPORTS: &str = "proxy_call_foreign_function proxy_define_metric proxy_get_buffer_bytes \
     proxy_get_current_time_nanoseconds proxy_get_header_map_pairs proxy_get_header_map_value proxy_get_log_level \
     proxy_get_property proxy_increment_metric proxy_log proxy_remove_header_map_value \
     proxy_replace_header_map_value proxy_send_local_response proxy_set_property \
     proxy_set_tick_period_milliseconds";
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
const LARGEST_CODE: usize = 104_000;
/// The limit of the largest function, in bytes. V8 compiles each function in one go, and the memory that
/// takes stays with the process. The largest are of the configuration's reader; of those that V8 inlines into,
/// which counts for more, the allocator's.
const LARGEST_FUNCTION: usize = 3_500;
/// The limit of the share of functions with less than 50 bytes, in percent. V8 inlines direct calls until the
/// calling function has grown to three times its size. If more than 25 % of the functions are small, it
/// inlines more (`InliningTree::BudgetScaleFactor`).
const MOST_SMALL_FUNCTIONS: usize = 31;

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

/// Which calls V8 may inline goes by the names of functions, and a dependency may rename them.
#[test]
fn every_name_on_the_path_of_a_request_exists() {
    let module = walrus::Module::from_buffer(&MODULE).expect("the module is valid");
    for path in post_link::REQUEST_PATH {
        let mut functions = module.funcs.iter();
        let exists = functions.any(|function| post_link::is_on(path, function));
        assert!(exists, "{path}");
    }
}

#[test]
fn the_names_of_functions_make_a_stack_trace_readable() {
    assert!(MODULE.windows(4).any(|window| window == b"name"));
}
