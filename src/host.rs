//! The adapter: the only code that knows Envoy. It reads what a decision asks for and carries out
//! what was decided; nothing is decided here.

mod abi;
mod exports;
mod metrics;
mod plugin;
mod random;
mod root;
mod stream;

// `_initialize` runs before the host allows `define_metric` or `get_log_level`: calling one of
// them here would keep the module from loading.
proxy_wasm::main! {{
    proxy_wasm::set_root_context(root::create);
}}
