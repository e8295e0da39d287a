//! What is done to the module after linking, shown with modules that are written out here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::{last_line, post_link, root};

/// Returns the text of a module after linking.
fn finished(linked: &str) -> String {
    let linked = wat::parse_str(linked).expect("this is the text of a module");
    let finished = post_link::run(&linked).expect("the module is valid");
    wasmprinter::print_bytes(finished).expect("the module is valid")
}

#[test]
fn default_methods_leave_the_table_unless_they_are_callbacks() {
    let module = finished(
        r#"
        (module
          (import "env" "proxy_done" (func $proxy_done (result i32)))
          (import "env" "proxy_get_status" (func $proxy_get_status (result i32)))
          (table 5 5 funcref)
          (elem (i32.const 1)
            $"proxy_wasm::traits::Context::done"
            $"proxy_wasm::traits::Context::get_status"
            $"proxy_wasm::traits::Context::on_done"
            $"<request_id_filter::Root as proxy_wasm::traits::Context>::done")
          (func $"proxy_wasm::traits::Context::done" (result i32) call $proxy_done)
          (func $"proxy_wasm::traits::Context::get_status" (result i32) call $proxy_get_status)
          (func $"proxy_wasm::traits::Context::on_done" (result i32) i32.const 1)
          (func $"<request_id_filter::Root as proxy_wasm::traits::Context>::done" (result i32)
            i32.const 2)
          (func $proxy_on_configure (export "proxy_on_configure")
            call $"proxy_wasm::traits::Context::done"
            drop
            i32.const 3
            call_indirect (result i32)
            drop))
        "#,
    );
    let table = module.lines().find(|line| line.contains("(elem "));
    assert_eq!(
        table.map(str::trim),
        Some(
            r#"(elem (;0;) (i32.const 1) func $"unused method of the SDK" $"unused method of the SDK" $proxy_wasm::traits::Context::on_done $"<request_id_filter::Root as proxy_wasm::traits::Context>::done")"#
        )
    );
    // It is called by name, so it stays in the module.
    assert!(
        module.contains("func $proxy_wasm::traits::Context::done"),
        "{module}"
    );
    // Only the table referred to it.
    assert!(!module.contains("get_status"), "{module}");
}

#[test]
fn calls_that_no_request_makes_become_indirect() {
    let module = finished(
        r#"
        (module
          (import "env" "proxy_done" (func $proxy_done (result i32)))
          (table 3 3 funcref)
          (func $"request_id_rules::request::decide_on_request" (param i32) (result i32)
            local.get 0
            call $"request_id_rules::sources::search")
          (func $"request_id_rules::sources::search" (param i32) (result i32)
            local.get 0)
          (func $"request_id_configuration::read" (param i32)
            local.get 0
            if
              i32.const 1
              call $"request_id_rules::sources::search"
              call $"request_id_rules::request::decide_on_request"
              call $"request_id_rules::sources::search"
              drop
            end
            call $proxy_done
            drop)
          (func $proxy_on_configure (export "proxy_on_configure")
            i32.const 0
            call $"request_id_configuration::read"
            i32.const 1
            call_indirect))
        "#,
    );
    let expected = [
        "(table (;0;) 5 5 funcref)",
        "(elem (;0;) (i32.const 3) func $request_id_rules::sources::search $request_id_rules::request::decide_on_request)",
        // On the path of a request a call stays.
        "call $request_id_rules::sources::search",
        // In the configuration it becomes indirect, unless it is a host call.
        "i32.const 3 call_indirect (type 3) i32.const 4 call_indirect (type 3) i32.const 3 call_indirect (type 3)",
        "call $proxy_done",
        "call $request_id_configuration::read",
    ];
    let words: Vec<&str> = module.split_whitespace().collect();
    let module = words.join(" ");
    for part in expected {
        assert!(module.contains(part), "{part} is not in {module}");
    }
    assert_eq!(module.matches("call $request_id_rules::").count(), 1);
}

#[test]
fn a_module_without_what_is_needed_is_an_error() {
    let error = |linked| {
        let linked = wat::parse_str(linked).expect("this is the text of a module");
        let error = post_link::run(&linked).expect_err("something is missing");
        error.to_string()
    };
    assert_eq!(
        error("(module (func))"),
        "the module does not name its functions; build it with the profile's `strip = \"debuginfo\"`"
    );
    assert_eq!(
        error("(module (func $named))"),
        "the module has no function table"
    );
}

/// If the dispatcher called another method, it would find a trap in its place.
#[test]
fn the_dispatcher_of_the_sdk_calls_no_method_but_callbacks() {
    let source = sdk().join("src");
    let read = |file: &Path| fs::read_to_string(file).expect("the SDK's source can be read");
    let methods = words_after("fn ", &read(&source.join("traits.rs")));
    assert!(methods.contains("get_http_request_headers"));
    let mut called = BTreeSet::new();
    for file in fs::read_dir(source).expect("the SDK's source can be read") {
        let file = file.expect("the SDK's source can be read").path();
        if !file.ends_with("traits.rs") {
            called.extend(words_after(".", &read(&file)));
        }
    }
    called.retain(|name| methods.contains(name));
    for callback in [
        "create_http_context",
        "get_type",
        "on_http_request_headers",
        "on_tick",
    ] {
        assert!(called.contains(callback), "{callback}");
    }
    called.retain(|method| !post_link::is_callback(method));
    assert_eq!(called, BTreeSet::new());
}

/// Returns the folder of the SDK's source.
fn sdk() -> PathBuf {
    let output = Command::new("cargo")
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "wasm32-wasip1"])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", last_line(&output));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let sdk = packages
        .iter()
        .find(|package| package["name"] == "proxy-wasm");
    let manifest = sdk.expect("the module needs the SDK")["manifest_path"].as_str();
    let manifest = Path::new(manifest.expect("a package has a manifest"));
    manifest.parent().expect("a file is in a folder").into()
}

/// Returns the words that follow `mark` directly.
fn words_after(mark: &str, text: &str) -> BTreeSet<String> {
    let rest = text.split(mark).skip(1);
    let end = |char: char| !char.is_alphanumeric() && char != '_';
    rest.filter_map(|rest| rest.split(end).next())
        .map(Into::into)
        .collect()
}
