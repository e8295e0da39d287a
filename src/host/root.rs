//! Life of the plugin: start, configuration, log level.

use std::cell::RefCell;
use std::rc::Rc;

use log::{error, info, warn};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use super::abi;
use super::random::Random;
use super::stream::Stream;
use crate::config;
use crate::generate::Generator;
use crate::policy::Policy;

/// How often the log level in force is read. An administrator may change it at any time
/// (`/logging?wasm=debug`), and asking the host for each request would cost each request.
const TICK_MILLISECONDS: u32 = 1000;

pub fn create(_context_id: u32) -> Box<dyn RootContext> {
    Box::new(Root {
        policy: Rc::default(),
        ids: Rc::default(),
    })
}

/// Where new ids come from: one for all streams of the plugin in this VM.
#[derive(Default)]
pub struct Ids {
    pub random: Random,
    pub generator: Generator,
}

struct Root {
    policy: Rc<Policy>,
    ids: Rc<RefCell<Ids>>,
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
            _ => self.get_plugin_configuration().unwrap_or_default(),
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
        if abi::set_tick_period(TICK_MILLISECONDS).is_err() {
            warn!(
                "this host has no timers: a changed log level is noticed only with a new configuration"
            );
        }
        info!("configured: {}", accepted.effective);
        self.policy = Rc::new(accepted.policy);
        true
    }

    fn on_tick(&mut self) {
        follow_log_level();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        let (policy, ids) = (Rc::clone(&self.policy), Rc::clone(&self.ids));
        Some(Box::new(Stream::new(policy, ids)))
    }
}

/// Nothing is formatted that the host would drop.
fn follow_log_level() {
    proxy_wasm::set_log_level(abi::log_level().unwrap_or(LogLevel::Info));
}
