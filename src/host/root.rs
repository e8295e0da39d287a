//! Life of the plugin: start, configuration, and what it does from time to time.

use core::arch::wasm32::memory_size;
use std::rc::Rc;

use log::{debug, error, info, warn};
use proxy_wasm::traits::{Context, RootContext};
use proxy_wasm::types::LogLevel;

use super::metrics::Metrics;
use super::plugin::Plugin;
use super::{abi, exports};
use crate::config;

/// How often counts are handed to the host, and the log level in force is read: an administrator
/// may change it at any time (`/logging?wasm=debug`). Doing either for each request would cost each
/// request.
const TICK_MILLISECONDS: u32 = 1000;

pub fn create(context: u32) -> Box<dyn RootContext> {
    Box::new(Root { context })
}

struct Root {
    context: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_vm_start(&mut self, _configuration_size: usize) -> bool {
        follow_log_level();
        info!(
            "{} {} started",
            env!("CARGO_PKG_NAME"),
            env!("CARGO_PKG_VERSION")
        );
        true
    }

    fn on_configure(&mut self, configuration_size: usize) -> bool {
        follow_log_level();
        let text = match configuration_size {
            0 => Vec::new(),
            _ => match self.get_plugin_configuration() {
                Some(text) => text,
                None => {
                    error!("configuration refused: the host does not hand it over");
                    return false;
                }
            },
        };
        let accepted = match config::parse(&text) {
            Ok(accepted) => accepted,
            Err(problems) => {
                for problem in problems {
                    error!("configuration refused: {problem}");
                }
                return false;
            }
        };
        for warning in accepted.policy.warnings() {
            warn!("{warning}");
        }
        let mut metrics = Metrics::default();
        let has_timer = abi::set_tick_period(TICK_MILLISECONDS).is_ok();
        if !has_timer {
            warn!("this host has no timers: no counters, and a changed log level goes unnoticed");
        } else if metrics.define().is_err() {
            warn!("this host has no metrics: no counters");
        }
        info!("configured: {}", accepted.effective);
        let plugin = Plugin {
            policy: accepted.policy,
            metrics,
            ..Plugin::default()
        };
        exports::configure(self.context, Rc::new(plugin));
        true
    }

    fn on_tick(&mut self) {
        follow_log_level();
        if let Some(plugin) = exports::plugin(self.context) {
            plugin.metrics.flush();
        }
        debug!(
            "{} streams open, {} KiB of memory",
            exports::open_streams(),
            memory_size::<0>().saturating_mul(64)
        );
    }
}

/// Nothing is formatted that the host would drop.
fn follow_log_level() {
    proxy_wasm::set_log_level(abi::log_level().unwrap_or(LogLevel::Info));
}
