//! The lifecycle of the plugin and its configuration.

use core::arch::wasm32::memory_size;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use log::{debug, error, info, warn};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};
use request_id_configuration::{self as configuration, Configuration};
use request_id_rules::generator::Generator;
use request_id_rules::policy::Policy;

use crate::counters::Counters;
use crate::host_calls::{self, Refused};
use crate::http_context::{FilterStream, open_streams};
use crate::random::RandomBytes;

/// How often counts are passed to the host and the log level is read, which an administrator can
/// change at any time (`/logging?wasm=debug`). Doing either for every request would make every
/// request more expensive.
const TICK: Duration = Duration::from_secs(1);

/// The property for [`Policy::log_origin`]; in an access log of Envoy
/// `%FILTER_STATE(wasm.request_id.origin:PLAIN)%`.
pub const ORIGIN_PROPERTY: &str = "request_id.origin";

/// The root context of one plugin in one VM.
#[derive(Default)]
pub struct FilterRoot {
    plugin: Rc<Plugin>,
}

/// One configuration in force. It lives as long as its last stream, even if another configuration
/// has replaced it.
#[derive(Default)]
pub struct Plugin {
    pub policy: Policy,
    pub counters: Counters,
    pub random: RefCell<RandomBytes>,
    pub generator: RefCell<Generator>,
    /// The property that remembers the id of a request for a later run of the filter.
    pub id_property: String,
}

impl Context for FilterRoot {}

impl RootContext for FilterRoot {
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
        let Some(configuration) = self.read_configuration(configuration_size) else {
            return false;
        };
        let policy = configuration.policy;
        // The name has a part before the header's because a header may be called `origin`.
        let id_property = ["request_id.given.", policy.headers.id().as_str()].concat();
        let counters = define_counters();
        declare_properties(&policy, &id_property);
        info!("configured: {}", configuration.effective);
        self.plugin = Rc::new(Plugin {
            policy,
            counters,
            id_property,
            ..Plugin::default()
        });
        true
    }

    fn on_tick(&mut self) {
        follow_log_level();
        self.plugin.counters.flush();
        debug!(
            "{} streams open, {} KiB of memory",
            open_streams(),
            memory_size::<0>().saturating_mul(64)
        );
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(FilterStream::new(Rc::clone(&self.plugin))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl FilterRoot {
    /// Reads the configuration of the plugin, and logs its problems or what its user should know.
    fn read_configuration(&self, size: usize) -> Option<Configuration> {
        let text = match size {
            0 => Vec::new(),
            _ => self.get_plugin_configuration().or_else(|| {
                error!("configuration refused: the host does not supply its text");
                None
            })?,
        };
        match configuration::read(&text) {
            Ok(configuration) => {
                for warning in configuration::warnings(&configuration.policy) {
                    warn!("{warning}");
                }
                Some(configuration)
            }
            Err(problems) => {
                for problem in problems {
                    error!("configuration refused: {problem}");
                }
                None
            }
        }
    }
}

/// Returns the counters of a new configuration; on a host without timers or metrics they count
/// nothing.
fn define_counters() -> Counters {
    let mut counters = Counters::default();
    if host_calls::set_tick_period(TICK).is_err() {
        warn!("this host has no timers: there are no counters, and a new log level has no effect");
    } else if counters.define().is_err() {
        warn!("this host has no metrics: there are no counters");
    }
    counters
}

/// Makes the host keep the filter's properties for a later run for the same request. Declaring them
/// is always right, but only some policies depend on it, so only those warn.
fn declare_properties(policy: &Policy, id_property: &str) {
    let mut declared = host_calls::declare_request_property(id_property);
    if policy.log_origin {
        declared = declared.and(host_calls::declare_request_property(ORIGIN_PROPERTY));
    }
    if let Err(Refused(status)) = declared
        && policy.may_misjudge_own_ids()
    {
        warn!(
            "this host does not remember ids across internal redirects (declare_property: status \
             {status}): after one, the filter takes its own id for the client's"
        );
    }
}

/// Sets the level of the host, so that nothing is formatted that the host would drop.
fn follow_log_level() {
    proxy_wasm::set_log_level(host_calls::log_level().unwrap_or(LogLevel::Info));
}
